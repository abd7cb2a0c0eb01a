//! Corefiles of every shape, patched, in the real CoreDNS.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clearwater::config::DeploymentFile;
use clearwater::dns::corefile::{Corefile, Owner};
use clearwater::dns::rules;
use clearwater_testbed::Program;

/// CoreDNS without an API server starts by itself after five seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many run at a time.
const AT_ONCE: usize = 8;

const SHIPPED: [(&str, &str); 7] = [
    ("kubeadm", include_str!("../../../../crates/clearwater/tests/corefiles/kubeadm.yaml")),
    ("kind", include_str!("../../../../crates/clearwater/tests/corefiles/kind.yaml")),
    ("k3s", include_str!("../../../../crates/clearwater/tests/corefiles/k3s.yaml")),
    ("eks", include_str!("../../../../crates/clearwater/tests/corefiles/eks.yaml")),
    ("aks", include_str!("../../../../crates/clearwater/tests/corefiles/aks.yaml")),
    ("kops", include_str!("../../../../crates/clearwater/tests/corefiles/kops.yaml")),
    ("openshift", include_str!("../../../../crates/clearwater/tests/corefiles/openshift.yaml")),
];

const KUBERNETES: &str = "kubernetes cluster.local {\n        endpoint http://127.0.0.1:1\n    }";

/// Shapes that CoreDNS accepts and that a careless editor would break.
fn odd() -> Vec<(&'static str, String)> {
    let usual = format!(
        ".:53 {{\n    errors\n    health\n    ready\n    {KUBERNETES}\n    prometheus :9153\n    cache 30\n    reload\n}}\n"
    );
    let with = |from: &str, to: &str| usual.replacen(from, to, 1);
    let body = format!("    errors\n    {KUBERNETES}\n    reload\n");
    vec![
        ("usual", usual.clone()),
        ("crlf", usual.replace('\n', "\r\n")),
        ("tabs", usual.replace("    ", "\t")),
        ("no-last-line-break", usual.trim_end().to_owned()),
        ("byte-order-mark", format!("\u{feff}{usual}")),
        ("comment-after-the-brace", with("{\n", "{ # the root\n")),
        ("directive-after-the-brace", with("{\n    errors", "{ errors")),
        ("no-braces", format!(".:53\n{body}")),
        ("no-braces-with-comments", format!("# first\n.:53 # the root\n{body}# last")),
        ("comma-and-two-lines-of-keys", format!("cluster.local:53,\n.:1053 {{\n{body}}}\n")),
        ("scheme", format!("dns://.:53 {{\n{body}}}\n")),
        (
            "quoted-brace",
            with(
                "    errors\n",
                "    template IN A x. {\n        answer \"{{ .Name }} 60 IN A 10.0.0.1\"\n    }\n    errors\n",
            ),
        ),
        ("snippet", format!("(k8s) {{\n{body}}}\n.:53 {{\n    import k8s\n    cache\n}}\n")),
        (
            "import-that-matches-nothing",
            format!("import ./custom/*.server\n.:53 {{\n{body}    import ./custom/*.override\n}}\n"),
        ),
        (
            "several-blocks",
            format!("example.org:53 {{\n    whoami\n}}\n.:53 {{\n{body}}}\nother.org:5300 {{\n    whoami\n}}\n"),
        ),
        ("two-blocks-that-serve", format!(".:53 {{\n{body}}}\n.:5353 {{\n    {KUBERNETES}\n}}\n")),
        (
            "own-rewrite",
            with("    errors\n", "    rewrite name exact foo.cluster.local bar.cluster.local\n    errors\n"),
        ),
        (
            "regex-rewrite",
            with(
                "    errors\n",
                "    rewrite {\n        name regex (.*)\\.my\\.org {1}.default.svc.cluster.local\n        answer name (.*)\\.default\\.svc\\.cluster\\.local {1}.my.org\n    }\n    errors\n",
            ),
        ),
        ("blank-lines", with("    errors\n", "  \n\n    errors\n")),
        ("comment-that-holds-a-brace", with("    errors\n", "    # } not the end {\n    errors\n")),
        ("hash-behind-a-word", with("errors\n", "errors # comment\n")),
        ("environment-variable", with(".:53", ".:{$DNS_PORT}")),
        (
            "hosts-inline",
            with("    errors\n", "    hosts {\n        10.0.0.1 a.example\n        fallthrough\n    }\n    errors\n"),
        ),
        ("reverse-zone-key", format!(".:53 in-addr.arpa:53 {{\n{body}}}\n")),
    ]
}

struct Case {
    name: String,
    text: String,
}

fn cases() -> Result<Vec<Case>> {
    let yaml = "apiVersion: clearwater/v1\nrelease: classic\nimages: {registry: r.example/cw, tag: '2016'}\n";
    let deployment = DeploymentFile::parse(yaml, "clearwater.yaml")?.deploy("ims")?;
    let lines = rules(&deployment)?.corefile_lines()?;
    let (owner, domain) = (Owner::namespace("ims"), "cluster.local".parse()?);
    let shipped = SHIPPED.into_iter().map(|(name, yaml)| {
        let map: serde_json::Value = clearwater::yaml::read_one(yaml)?;
        let text = map["data"]["Corefile"].as_str().context("no Corefile")?;
        // Nothing that lies on this machine, nor an API server.
        let text = text
            .replace("ip6.arpa {\n", "ip6.arpa {\n          endpoint http://127.0.0.1:1\n")
            .replace("hosts /etc/coredns/NodeHosts {", "hosts {")
            .replace("import /etc/coredns/custom/", "import ./custom/")
            .replace("loop\n", "\n");
        Ok::<_, anyhow::Error>((name, text))
    });
    let mut all = Vec::new();
    for case in shipped.chain(odd().into_iter().map(Ok)) {
        let (name, before) = case?;
        let file = Corefile::parse(&before).with_context(|| name.to_owned())?;
        let after = file.with_lines(&owner, &domain, &lines).with_context(|| name.to_owned())?;
        ensure!(after.with_lines(&owner, &domain, &lines)? == after, "{name}: patched twice it is not the same");
        ensure!(after.without_lines(&owner) == before, "{name}: not restored to the byte");
        all.push(Case { name: name.to_owned(), text: after.to_string() });
        // What is left when somebody deletes the first of our lines loads too, or is repaired by the next patch.
        let first = after.as_str().lines().find(|l| l.contains("rewrite name exact bgcf")).unwrap_or_default();
        let half = after.as_str().replacen(&format!("{first}\n"), "", 1);
        let repaired = Corefile::parse(&half)?.with_lines(&owner, &domain, &lines)?;
        ensure!(repaired == after, "{name}: half deleted it is not made whole");
    }
    Ok(all)
}

/// Starts CoreDNS in a network of its own, where ports collide with nobody's.
fn loads(program: &Path, directory: &Path, case: &Case) -> Result<()> {
    let path = directory.join(format!("{}.corefile", case.name));
    std::fs::write(&path, &case.text)?;
    let mut child = Command::new("unshare")
        .args(["--net", "--", "sh", "-c", "ip link set lo up; exec \"$0\" -conf \"$1\" 2>&1"])
        .arg(program)
        .arg(&path)
        .env("DNS_PORT", "53")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("unshare")?;
    let output = child.stdout.take().context("no output")?;
    let (say, said) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut seen = String::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            seen.push_str(&line);
            seen.push('\n');
            // It says its version when all its servers listen.
            if line.starts_with("CoreDNS-") {
                let _ = say.send(Ok(()));
                return;
            }
        }
        let _ = say.send(Err(seen));
    });
    let outcome = said.recv_timeout(PATIENCE);
    let _ = child.kill();
    let _ = child.wait();
    let _ = reader.join();
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(seen)) => bail!("{}: CoreDNS does not take it:\n{seen}\n{}", case.name, case.text),
        Err(_) => bail!("{}: CoreDNS does not start", case.name),
    }
}

#[test]
#[ignore = "needs the test bed's CoreDNS, and root"]
fn every_shape_of_corefile_loads_in_the_real_coredns() -> Result<()> {
    let program = Program::CoreDns.get(&|_| ())?;
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("corefiles");
    std::fs::create_dir_all(&directory)?;
    let cases = cases()?;
    ensure!(cases.len() >= 27, "{} shapes", cases.len());
    // A file that CoreDNS refuses is told from one that it takes.
    let wrong = Case { name: "wrong".to_owned(), text: ".:53 {\n    rewrit name exact a b\n}\n".to_owned() };
    ensure!(loads(&program, &directory, &wrong).is_err(), "CoreDNS takes whatever it is given");
    let failures: Vec<String> = cases
        .chunks(AT_ONCE)
        .flat_map(|chunk| {
            thread::scope(|scope| {
                let running: Vec<_> =
                    chunk.iter().map(|case| scope.spawn(|| loads(&program, &directory, case))).collect();
                running.into_iter().filter_map(|r| r.join().ok()?.err()).map(|e| format!("{e:#}")).collect::<Vec<_>>()
            })
        })
        .collect();
    ensure!(failures.is_empty(), "{} of {} shapes:\n{}", failures.len(), cases.len(), failures.join("\n"));
    Ok(())
}
