//! Command lines, with everything that is seen of them: exit code, standard output, standard error.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The plugin in an empty directory of its own, with no kubeconfig but the one given.
fn plugin(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
    command.args(args).current_dir(dir).env_clear();
    command.env("HOME", dir).env("KUBECONFIG", dir.join("kubeconfig")).stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    plugin(dir, args).output().unwrap()
}

fn run_with(dir: &Path, args: &[&str], stdin: &str) -> Output {
    let mut child =
        plugin(dir, args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn out(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// `kubectl clearwater ARGS` and what came of it.
fn transcript(line: &str, output: &Output) -> String {
    let mut shown = format!("$ kubectl clearwater {line}\n");
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let said = text(bytes);
        if !said.is_empty() {
            writeln!(shown, "----- {name}\n{}", said.trim_end_matches('\n')).unwrap();
        }
    }
    writeln!(shown, "----- exit {}\n", output.status.code().unwrap()).unwrap();
    shown
}

fn assert_golden(name: &str, shown: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, shown);
    });
}

#[test]
fn wrong_command_lines() {
    let dir = scratch();
    let mut table = String::new();
    let lines: Vec<&str> = include_str!("cli/wrong.txt").lines().filter(|l| !l.starts_with('#')).collect();
    assert!(lines.len() >= 30, "{}", lines.len());
    std::fs::write(dir.path().join("wrong.yaml"), "apiVersion: clearwater/v1\nlogLevel: 9\nzoen: example.com\n")
        .unwrap();
    std::fs::write(dir.path().join("bare.yaml"), "apiVersion: clearwater/v1\nnamespace: ims\n").unwrap();
    std::fs::write(dir.path().join("broken"), "{").unwrap();
    std::fs::write(
        dir.path().join("contexts"),
        "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n- {name: a, context: {cluster: a, user: a}}\n",
    )
    .unwrap();
    for line in lines {
        let args: Vec<&str> = line.split_whitespace().collect();
        table += &transcript(line, &run(dir.path(), &args));
    }
    assert_golden("wrong_command_lines", &table);
}

#[test]
fn help_pages() {
    let dir = scratch();
    let mut pages = String::new();
    for line in [
        "-h",
        "--help",
        "init -h",
        "render -h",
        "config -h",
        "config check -h",
        "config show -h",
        "config schema -h",
        "config shared-config -h",
        "config local-config -h",
        "graph -h",
        "graph --help",
        "up -h",
        "status -h",
        "check -h",
        "report -h",
        "diff -h",
        "down -h",
        "dns-patch -h",
        "scale -h",
        "autoscale -h",
        "logs -h",
        "trace -h",
        "version -h",
    ] {
        pages += &transcript(line, &run(dir.path(), &line.split_whitespace().collect::<Vec<_>>()));
    }
    assert_golden("help_pages", &pages);
}

#[test]
fn what_it_is() {
    let dir = scratch();
    let mut shown = String::new();
    for line in ["version", "version -o json", "version -o yaml", "--version"] {
        shown += &transcript(line, &run(dir.path(), &line.split_whitespace().collect::<Vec<_>>()));
    }
    assert_golden("version", &shown.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

#[test]
fn init_then_check_then_render() {
    let dir = scratch();
    let mut shown = String::new();
    for line in [
        "init",
        "init",
        "init --force",
        "config check",
        "config check -o json",
        "config show",
        "config show -o json --set logLevel=4 -n lab",
    ] {
        shown += &transcript(line, &run(dir.path(), &line.split_whitespace().collect::<Vec<_>>()));
    }
    assert_golden("init_then_check", &shown);
    let starter = out(&run(dir.path(), &["init", "-f", "-"]));
    assert_eq!(std::fs::read_to_string(dir.path().join("clearwater.yaml")).unwrap(), starter);
    let of_file = out(&run(dir.path(), &["render"]));
    std::fs::remove_file(dir.path().join("clearwater.yaml")).unwrap();
    assert_eq!(out(&run(dir.path(), &["render"])), of_file, "the starter renders the defaults");
}

#[test]
fn namespaces_come_from_flag_then_file_then_context() {
    let dir = scratch();
    let namespace = |args: &[&str]| {
        let shown = out(&run(dir.path(), &[&["config", "show", "-o", "json"], args].concat()));
        serde_json::from_str::<serde_json::Value>(&shown).unwrap()["namespace"].as_str().unwrap().to_owned()
    };
    assert_eq!(namespace(&[]), "default");
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n\
        - {name: a, context: {cluster: c, user: u, namespace: of-a}}\n- {name: b, context: {cluster: c, user: u, namespace: of-b}}\n";
    std::fs::write(dir.path().join("kubeconfig"), kubeconfig).unwrap();
    assert_eq!(namespace(&[]), "of-a");
    assert_eq!(namespace(&["--context", "b"]), "of-b");
    std::fs::write(dir.path().join("other"), kubeconfig.replace("of-a", "elsewhere")).unwrap();
    assert_eq!(namespace(&["--kubeconfig", "other"]), "elsewhere");
    assert_eq!(namespace(&["--set", "namespace=of-file"]), "of-file");
    assert_eq!(namespace(&["--set", "namespace=of-file", "-n", "of-flag"]), "of-flag");
}

#[test]
fn connection_flags_stand_anywhere() {
    let dir = scratch();
    let flags = [
        "-n",
        "ims",
        "--context",
        "",
        "--cluster",
        "c",
        "--user",
        "u",
        "--as",
        "jane",
        "--as-group",
        "a",
        "--as-group",
        "b",
        "--as-uid",
        "7",
        "-s",
        "https://192.0.2.1",
        "--token",
        "t",
        "--username",
        "u",
        "--password",
        "p",
        "--certificate-authority",
        "ca.crt",
        "--client-certificate",
        "c.crt",
        "--client-key",
        "c.key",
        "--tls-server-name",
        "api",
        "--insecure-skip-tls-verify",
        "--disable-compression=false",
        "--request-timeout",
        "30s",
    ];
    for args in [
        [&flags[..], &["config", "show"]].concat(),
        [&["config"], &flags[..], &["show"]].concat(),
        [&["config", "show"], &flags[..]].concat(),
    ] {
        assert!(out(&run(dir.path(), &args)).contains("namespace: ims"));
    }
}

#[test]
fn graphs() {
    let dir = scratch();
    let mut shown = String::new();
    for line in [
        "graph",
        "graph --order earliest",
        "graph --order article",
        "graph --only homer",
        "graph --skip homestead-prov --format dot",
        "graph --set hss.hostname=hss --format mermaid",
        "graph --only etcd,astaire -o yaml",
        "graph --only bono --set release=classic --set images.registry=r --set images.tag=1 --set dns.backend=endpoints",
    ] {
        shown += &transcript(line, &run(dir.path(), &line.split_whitespace().collect::<Vec<_>>()));
    }
    assert_golden("graphs", &shown);
    let svg = out(&run(dir.path(), &["graph", "--format", "svg", "--all"]));
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
}

#[test]
fn files_of_containers() {
    let dir = scratch();
    std::fs::write(dir.path().join("resolv.conf"), "search svc\nnameserver 10.96.0.10\nnameserver 10.96.0.11\n")
        .unwrap();
    let file = "apiVersion: clearwater/v1\nnamespace: ims\nlogLevel: 4\nsharedConfig: {x: 'a  b*'}\n\
                bono: {exposure: loadBalancer, addresses: [198.51.100.7]}\n";
    let mut shown = String::new();
    for line in [
        "config shared-config -f - --resolv-conf resolv.conf",
        "config shared-config -f - --set hss.hostname=hss --set sharedConfig=",
        "config local-config -f - --component bono --pod-ip 10.1.2.3",
        "config local-config -f - --component sprout --pod-ip 10.1.2.3",
        "config local-config -f - --component etcd",
    ] {
        shown += &transcript(line, &run_with(dir.path(), &line.split_whitespace().collect::<Vec<_>>(), file));
    }
    assert_golden("files_of_containers", &shown);
}

#[test]
fn render_writes_a_base_and_names_images() {
    let dir = scratch();
    out(&run(dir.path(), &["render", "-n", "ims", "--dir", "base/ims"]));
    let base = dir.path().join("base/ims");
    let kustomization = std::fs::read_to_string(base.join("kustomization.yaml")).unwrap();
    assert!(kustomization.contains("- bono.yaml\n") && base.join("bono.yaml").exists());
    let images = out(&run(dir.path(), &["render", "--list-images", "--set", "images.mirror=mirror.example.com:5000"]));
    assert!(images.lines().all(|l| l.starts_with("mirror.example.com:5000/")), "{images}");
    assert_eq!(images.lines().count(), 11);
    let json: serde_json::Value = serde_json::from_str(&out(&run(dir.path(), &["render", "-o", "json"]))).unwrap();
    assert_eq!(json["kind"], "List");
}

#[test]
fn a_wrong_file_is_told_whole_and_as_json() {
    let dir = scratch();
    let file = "apiVersion: clearwater/v1\nlogLevel: 9\nzoen: example.com\n";
    let mut shown = String::new();
    for line in ["render -f -", "config check -f -", "config check -f - -o json"] {
        shown += &transcript(line, &run_with(dir.path(), &line.split_whitespace().collect::<Vec<_>>(), file));
    }
    assert_golden("wrong_file", &shown);
}

#[test]
fn a_broken_pipe_is_success() {
    let dir = scratch();
    for args in [&["render"][..], &["--help"], &["graph"], &["config", "schema"], &["version"]] {
        let mut child = plugin(dir.path(), args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_full_disk_is_no_success() {
    let dir = scratch();
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let output = plugin(dir.path(), &["version"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: "), "{}", text(&output.stderr));
}

#[test]
fn no_colour_without_a_terminal() {
    let dir = scratch();
    for args in [&["--help"][..], &["rendr"], &["render"]] {
        let output = run(dir.path(), args);
        assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "{args:?}");
    }
    let forced = plugin(dir.path(), &["rendr"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(forced.stderr.contains(&0x1b));
    let refused = plugin(dir.path(), &["rendr"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output().unwrap();
    assert!(!refused.stderr.contains(&0x1b), "{}", text(&refused.stderr));
}
