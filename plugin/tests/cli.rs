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
        "",
        "--help",
        "help up",
        "options",
        "init -h",
        "render -h",
        "config -h",
        "config check -h",
        "config show -h",
        "config explain -h",
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
        "test -h",
        "ellis -h",
        "rbac -h",
        "subscriber -h",
        "subscriber create -h",
        "backup -h",
        "restore -h",
        "completion -h",
        "completion install -h",
        "version -h",
    ] {
        pages += &transcript(line, &run(dir.path(), &line.split_whitespace().collect::<Vec<_>>()));
    }
    assert_golden("help_pages", &pages);
}

/// Every page of the tree, with the words that lead to it.
fn pages(tree: &clap::Command, words: &[String], take: &mut dyn FnMut(&[String], &clap::Command)) {
    take(words, tree);
    for command in tree.get_subcommands().filter(|c| c.get_name() != "help") {
        pages(command, &[words, &[command.get_name().to_owned()]].concat(), take);
    }
}

/// A line as a shell cuts it, up to what is done with its output and what is said of it.
fn words_of(example: &str) -> Vec<String> {
    let line = example.split(" | ").next().unwrap().split(" > ").next().unwrap();
    let line = line.split_once("   ").map_or(line, |(line, _)| line);
    let mut words = Vec::new();
    for (n, part) in line.split('\'').enumerate() {
        // What stands between two marks is one word.
        if n % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn examples_stand_on_every_page_and_are_true() {
    let tree = kubectl_clearwater::tree();
    let mut wrong = Vec::new();
    let mut seen = 0;
    pages(&tree, &[], &mut |path, command| {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = text.lines().skip_while(|l| *l != "Examples:").skip(1).take_while(|l| l.starts_with("  "));
        let examples: Vec<&str> = examples.map(str::trim).collect();
        let own = examples.iter().filter(|e| e.starts_with("kubectl clearwater")).count();
        if own == 0 || examples.len() < 2 {
            wrong.push(format!("{path:?}: {examples:?}"));
        }
        for example in examples {
            if example.len() > 78 {
                wrong.push(format!("{example}: wider than a terminal"));
            }
            let Some(line) = example.strip_prefix("kubectl clearwater ") else { continue };
            seen += 1;
            let words = ["kubectl-clearwater".to_owned()].into_iter().chain(words_of(line));
            if let Err(e) = tree.clone().try_get_matches_from(words) {
                wrong.push(format!("{example}: {e}"));
            }
        }
    });
    assert!(wrong.is_empty() && seen > 60, "{seen}\n{}", wrong.join("\n"));
}

#[test]
fn nothing_asked_for_is_asked_for_help() {
    let dir = scratch();
    let page = out(&run(dir.path(), &[]));
    assert!(page.contains("Usage: kubectl clearwater <COMMAND>"), "{page}");
    for line in [&["-h"][..], &["help"]] {
        assert!(out(&run(dir.path(), line)).contains("Usage: kubectl clearwater <COMMAND>"), "{line:?}");
    }
    assert_eq!(run(dir.path(), &["-n", "ims"]).status.code(), Some(2));
    for group in ["config", "subscriber", "completion"] {
        let page = out(&run(dir.path(), &[group]));
        assert!(page.contains(&format!("Usage: kubectl clearwater {group} ")), "{group}: {page}");
    }
}

#[test]
fn names_of_other_tools_lead_on() {
    let dir = scratch();
    for (alias, name) in
        [("delete", "down"), ("uninstall", "down"), ("doctor", "check"), ("tail", "logs"), ("install", "up")]
    {
        let page = out(&run(dir.path(), &[alias, "-h"]));
        assert_eq!(page, out(&run(dir.path(), &[name, "-h"])), "{alias}");
        assert!(!out(&run(dir.path(), &[])).contains(&format!("\n  {alias} ")), "{alias} is hidden");
    }
}

#[test]
fn flags_of_the_connection_stand_on_one_page() {
    let dir = scratch();
    let page = out(&run(dir.path(), &["options"]));
    pages(&kubectl_clearwater::tree(), &[], &mut |path, _| {
        let help = out(&run(dir.path(), &path.iter().map(String::as_str).chain(["--help"]).collect::<Vec<_>>()));
        assert!(help.contains("Use \"kubectl clearwater options\""), "{path:?}\n{help}");
        assert!(!help.contains("--kubeconfig <"), "{path:?}\n{help}");
    });
    let mut tree = kubectl_clearwater::tree();
    tree.build();
    let flags = tree.get_arguments().filter(|a| a.get_help_heading() == Some("Connection, as for kubectl"));
    let flags: Vec<&str> = flags.filter_map(clap::Arg::get_long).collect();
    assert!(flags.len() >= 19, "{flags:?}");
    for flag in flags {
        assert!(page.contains(&format!("--{flag}")), "{flag}\n{page}");
    }
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let dir = scratch();
    out(&run(dir.path(), &["man", "--dir", "man1"]));
    let page = |name: &str| std::fs::read_to_string(dir.path().join("man1").join(name)).unwrap();
    let mut count = 0;
    pages(&kubectl_clearwater::tree(), &[], &mut |path, command| {
        if command.is_hide_set() {
            return;
        }
        count += 1;
        let name = std::iter::once("kubectl-clearwater".to_owned()).chain(path.iter().cloned()).collect::<Vec<_>>();
        let text = page(&format!("{}.1", name.join("-")));
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS", ".SH NOTES"] {
            assert_eq!(text.matches(&format!("\n{section}\n")).count(), 1, "{name:?} {section}\n{text}");
        }
        // What begins with a dot is an order to the formatter: only those that were meant.
        let orders = ["ie ", "el ", "TH ", "SH ", "TP", "RS ", "RE", "nf", "fi", "br", "PP", "IP ", "B ", "I "];
        for order in text.lines().filter_map(|l| l.strip_prefix('.')) {
            assert!(orders.iter().any(|o| order.starts_with(o)), "{name:?} .{order}");
        }
        assert_eq!(text.matches("\n.nf\n").count(), text.matches("\n.fi\n").count(), "{name:?}");
    });
    assert_eq!(std::fs::read_dir(dir.path().join("man1")).unwrap().count(), count);
    assert!(page("kubectl-clearwater-options.1").contains("kubeconfig"));
    if let Ok(lint) = Command::new("mandoc")
        .args(["-T", "lint", "-W", "error"])
        .arg(dir.path().join("man1/kubectl-clearwater-up.1"))
        .output()
    {
        assert!(lint.status.success(), "{}", text(&lint.stdout));
    }
}

#[test]
fn keys_are_explained() {
    let dir = scratch();
    let mut shown = String::new();
    for line in [
        "config explain",
        "config explain bono.exposure",
        "config explain logLevel",
        "config explain bono.addresses[0]",
        "config explain components",
        "config explain components.sprout.logLevel",
        "config explain securityContext",
        "config explain bonno",
        "config explain bono.exposur",
        "config explain bono.exposure.deeper",
        "config explain components.sproud.env",
    ] {
        shown += &transcript(line, &run(dir.path(), &line.split_whitespace().collect::<Vec<_>>()));
    }
    assert_golden("explain", &shown);
}

/// Each key that docs/deployment-file.md has is explained by its name there.
#[test]
fn every_key_of_the_page_is_explained() {
    let dir = scratch();
    let page = include_str!("../../docs/deployment-file.md");
    let keys: Vec<&str> = page.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next()).collect();
    assert!(keys.len() > 100, "{}", keys.len());
    for key in keys.iter().step_by(3) {
        let key = key.replace("COMPONENT", "bono");
        assert!(out(&run(dir.path(), &["config", "explain", &key])).starts_with(&key), "{key}");
    }
}

#[test]
fn what_it_is() {
    let dir = scratch();
    let mut shown = String::new();
    for line in ["version", "version -o json", "version -o yaml", "--version"] {
        shown += &transcript(line, &run(dir.path(), &line.split_whitespace().collect::<Vec<_>>()));
    }
    let mut shown = shown.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    if cfg!(not(feature = "etcd")) {
        for (without, with) in [
            ("features: none", "features: etcd"),
            ("\"features\": []", "\"features\": [\n    \"etcd\"\n  ]"),
            ("features: []", "features:\n- etcd"),
        ] {
            shown = shown.replace(without, with);
        }
    }
    assert_golden("version", &shown);
}

#[test]
fn init_then_check_then_render() {
    let dir = scratch();
    let mut shown = String::new();
    for line in [
        "init",
        "init -o clearwater.yaml",
        "init --force",
        "config check",
        "config check -o json",
        "config show",
        "config show -o json --set logLevel=4 -n lab",
    ] {
        shown += &transcript(line, &run(dir.path(), &line.split_whitespace().collect::<Vec<_>>()));
    }
    assert_golden("init_then_check", &shown);
    let starter = out(&run(dir.path(), &["init", "-o", "-"]));
    assert_eq!(starter, out(&run(dir.path(), &["init", "-f", "-"])));
    // Editors find by it what the file of the repository says, and `config schema`.
    let schema: serde_json::Value = serde_json::from_str(&out(&run(dir.path(), &["config", "schema"]))).unwrap();
    let place = schema["$id"].as_str().unwrap();
    assert_eq!(starter.lines().next().unwrap(), format!("# yaml-language-server: $schema={place}"));
    let kept = place.split_once("/main/").unwrap().1;
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(kept);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(kept).unwrap()).unwrap(), schema);
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
    assert!(kustomization.contains("- namespace.yaml\n") && base.join("namespace.yaml").exists());
    let images = out(&run(dir.path(), &["render", "--list-images", "--set", "images.mirror=mirror.example.com:5000"]));
    assert!(images.lines().all(|l| l.starts_with("mirror.example.com:5000/")), "{images}");
    assert_eq!(images.lines().count(), 11);
    let json: serde_json::Value = serde_json::from_str(&out(&run(dir.path(), &["render", "-o", "json"]))).unwrap();
    assert_eq!(json["kind"], "List");
}

#[test]
fn keys_of_a_directory_are_made_once_and_are_their_owners_alone() {
    let dir = scratch();
    let render = |args: &[&str]| run(dir.path(), &[&["render", "-n", "ims", "--dir", "d"], args].concat());
    let read = |name: &str| std::fs::read_to_string(dir.path().join("d").join(name)).unwrap();
    let first = render(&["--keys", "generate"]);
    assert!(text(&first.stderr).contains("seal them before they are committed"), "{}", text(&first.stderr));
    let keys = read("keys.yaml");
    assert!(keys.contains("kind: Secret\n") && read("kustomization.yaml").contains("- keys.yaml\n"), "{keys}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = dir.path().join("d/keys.yaml").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let again = render(&["--keys", "generate"]);
    assert!(text(&again.stderr).contains("exists and is left as it is"), "{}", text(&again.stderr));
    assert_eq!(read("keys.yaml"), keys);
    std::fs::remove_file(dir.path().join("d/keys.yaml")).unwrap();
    let store = render(&["--keys", "external-secret:vault", "--without-namespace"]);
    assert!(!text(&store.stderr).contains("clearwater-keys"), "{}", text(&store.stderr));
    assert!(read("keys.yaml").contains("kind: ExternalSecret\n") && read("bono.yaml").contains("clearwater-keys"));
    assert!(!read("kustomization.yaml").contains("namespace.yaml"));
    out(&render(&["--keys", "secret:mine"]));
    assert!(read("bono.yaml").contains("name: mine\n") && !read("kustomization.yaml").contains("keys.yaml"));
}

/// What other tools apply lies where they look for it.
#[test]
fn render_writes_for_argo_flux_and_helm() {
    let dir = scratch();
    std::fs::create_dir(dir.path().join(".git")).unwrap();
    out(&run(dir.path(), &["render", "-n", "ims", "--dir", "apps/ims", "--flux"]));
    let flux = std::fs::read_to_string(dir.path().join("apps/ims/flux.yaml")).unwrap();
    assert!(
        flux.contains("path: ./apps/ims/wave-1\n") && dir.path().join("apps/ims/wave-1/etcd.yaml").exists(),
        "{flux}"
    );
    let argo = out(&run(dir.path(), &["render", "-n", "ims", "--argo"]));
    assert!(argo.contains("argocd.argoproj.io/sync-wave: \"2\"\n"), "{argo}");
    out(&run(dir.path(), &["render", "-n", "ims", "--dir", "chart", "--helm", "--default-storage-class"]));
    assert!(dir.path().join("chart/Chart.yaml").exists());
    let etcd = std::fs::read_to_string(dir.path().join("chart/templates/etcd.yaml")).unwrap();
    assert!(etcd.contains("volumeClaimTemplates:\n"), "{etcd}");
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
    for args in [&["version"][..], &["render"], &["--help"]] {
        let output = plugin(dir.path(), args).stdout(full.try_clone().unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = text(&output.stderr);
        assert!(said.lines().last().is_some_and(|l| l.starts_with("error: standard output: ")), "{args:?}: {said}");
    }
}

#[test]
fn what_is_named_and_is_not_there_is_a_wrong_command_line() {
    let dir = scratch();
    std::fs::write(dir.path().join("kubeconfig"), "apiVersion: v1\nkind: Config\ncontexts:\n- name: lab\n").unwrap();
    let wrong = [
        ("utf16.yaml", b"\xff\xfea\0".to_vec()),
        ("latin1.yaml", b"a: \xe4".to_vec()),
        ("long.yaml", vec![b' '; 17 << 20]),
        ("empty", Vec::new()),
    ];
    for (name, bytes) in wrong {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    for (args, said) in [
        // A file that holds no text is as wrong as one whose text is.
        (&["config", "check", "-f", "utf16.yaml"][..], "error: utf16.yaml: cannot be read: it is UTF-16"),
        (&["config", "check", "-f", "latin1.yaml", "-o", "json"], "error: latin1.yaml: cannot be read: it is no UTF-8"),
        (&["config", "check", "-f", "long.yaml"], "error: long.yaml: cannot be read: it is longer than"),
        (&["config", "check", "-f", "nope.yaml"], "error: nope.yaml: cannot be read: No such file or directory"),
        (&["config", "check", "-f", "latin1.yaml/x"], "error: latin1.yaml/x: cannot be read: "),
        (&["config", "check", "-f", "."], "error: .: cannot be read: "),
        (&["up", "-f", "nope.yaml"], "error: nope.yaml: cannot be read: No such file or directory"),
        (&["render", "-f", "."], "error: .: cannot be read: "),
        (&["status", "--from", "nope.zip"], "error: nope.zip: cannot be read: "),
        (&["status", "--kubeconfig", "nope"], "error: the kubeconfig cannot be read: "),
        (&["status", "--kubeconfig", "."], "error: the kubeconfig cannot be read: "),
        (&["status", "--kubeconfig", "empty"], "error: the kubeconfig empty names no cluster; name another"),
        (&["status", "--context", "nope"], "error: the kubeconfig has no context \"nope\"; it has: lab"),
    ] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(said), "{args:?}: {}", text(&output.stderr));
    }
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
