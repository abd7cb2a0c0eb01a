//! Completion, as a real kubectl, a real bash, zsh and fish ask for it.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod server;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;
use server::{Manners, Server};

const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-clearwater");

/// A program in an empty directory of its own, with the plugin on its PATH.
fn command(dir: &Path, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
    let own = Path::new(PLUGIN).parent().unwrap();
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env_clear().stdin(Stdio::null());
    command.env("HOME", dir).env("KUBECONFIG", dir.join("kubeconfig"));
    command.env("PATH", format!("{}:{}:/usr/bin:/bin", dir.join("bin").display(), own.display()));
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The candidates for the last word, and the directive. Nothing else may be said.
fn complete(dir: &Path, words: &[&str]) -> (Vec<String>, String) {
    let output = command(dir, PLUGIN, &[&["__complete"], words].concat()).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{words:?}");
    let shown = text(&output.stdout);
    let mut values: Vec<_> = shown.lines().map(|l| l.split('\t').next().unwrap().to_owned()).collect();
    let directive = values.pop().unwrap();
    (values, directive)
}

/// The same, asked again where something is missing: a machine that is busy may need longer than a shell waits.
fn expect(dir: &Path, words: &[&str], expected: &[&str]) {
    let found = (0..20).map(|_| complete(dir, words).0).find(|found| found == expected);
    assert!(found.is_some(), "{words:?}: {:?}", complete(dir, words));
}

/// The kubectl of the test bed, else one that is installed.
fn kubectl() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let kept = std::fs::read_dir(cache.join("kubectl-clearwater")).into_iter().flatten().flatten();
    let kept = kept.map(|entry| entry.path().join("kubectl"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed: Vec<_> = std::env::split_paths(&path).map(|dir| dir.join("kubectl")).collect();
    kept.chain(installed).find(|path| path.is_file())
}

/// Whether a shell is there; a word where it is not.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn is_there(shell: &str) -> bool {
    let found = Command::new(shell).args(["-c", "exit 0"]).status().is_ok();
    if !found {
        eprintln!("left out: there is no {shell}");
    }
    found
}

fn install(dir: &Path, args: &[&str]) -> Output {
    command(dir, PLUGIN, &[&["completion", "install"], args].concat()).output().unwrap()
}

#[test]
fn kubectl_asks_and_is_answered() {
    let Some(kubectl) = kubectl() else {
        eprintln!("left out: there is no kubectl");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("bin")).unwrap();
    let installed = install(dir.path(), &["--dir", "bin"]);
    assert_eq!(installed.status.code(), Some(0), "{}", text(&installed.stderr));
    let ask = |words: &[&str]| {
        let output = command(dir.path(), &kubectl, &[&["__complete", "clearwater"], words].concat()).output().unwrap();
        text(&output.stdout)
    };
    let scale = ask(&["sca"]);
    assert!(scale.starts_with("scale\tChange how many members") && scale.ends_with(":4\n"), "{scale}");
    assert_eq!(ask(&["up", "--create"]), "--create-namespace\tMake the namespace where it is missing\n:4\n");
    assert!(ask(&["logs", "--tail=5", "spr"]).starts_with("sprout\t"));
    let key = ask(&["config", "show", "--set", "logLev"]);
    // What is before the value is no whole word yet.
    assert!(key.starts_with("logLevel=\t") && key.ends_with(":6\n"), "{key}");
}

const BASH: &str = r#"
source <(kubectl-clearwater completion bash)
line="kubectl-clearwater $1"; COMP_LINE="$line"; COMP_POINT=${#line}
_kubectl_clearwater kubectl-clearwater "$2" "" && printf '%s\n' "${COMPREPLY[@]}"
complete -p kubectl-clearwater
"#;

#[test]
fn bash_completes() {
    if !is_there("bash") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let contexts = "contexts: [{name: 'arn:aws:eks', context: {cluster: c, user: u}}]";
    std::fs::write(dir.path().join("kubeconfig"), format!("apiVersion: v1\nkind: Config\n{contexts}\n")).unwrap();
    for (line, word, replies) in [
        ("sca", "sca", "scale"),
        ("render --output=j", "j", "json"),
        ("up --only etcd,asta", "etcd,asta", "etcd,astaire"),
        // bash replaces what follows the last colon alone.
        ("status --context arn:aws:", "", "eks"),
        ("-n ims config sch", "sch", "schema"),
    ] {
        let output = command(dir.path(), "bash", &["--norc", "-c", BASH, "-", line, word]).output().unwrap();
        let expected = format!("{replies}\ncomplete -F _kubectl_clearwater kubectl-clearwater\n");
        assert_eq!((text(&output.stdout), text(&output.stderr)), (expected, String::new()), "{line}");
    }
}

#[test]
fn fish_completes() {
    if !is_there("fish") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = "kubectl-clearwater completion fish | source; complete -C $argv[1]";
    for (line, reply) in [("sca", "scale\tChange how many"), ("up --only etcd,asta", "etcd,astaire\t")] {
        let line = format!("kubectl-clearwater {line}");
        let output = command(dir.path(), "fish", &["--no-config", "-c", script, &line]).output().unwrap();
        assert!(text(&output.stdout).starts_with(reply), "{line} {output:?}");
    }
}

/// Types into a zsh at a terminal of its own.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell 'TERM=dumb zsh -f -i'
zpty -w shell 'PS1=; autoload -U compinit; compinit -u -D; source <(kubectl-clearwater completion zsh); echo read''y'
zpty -r shell shown '*ready*'
zpty -n -w shell $'kubectl-clearwater sca\tsprout 2 --dry\t'
zpty -r shell shown '*--dry-run*'
print -r -- "$shown"
zpty -d shell
"#;

#[test]
fn zsh_completes() {
    if !is_there("zsh") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = command(dir.path(), "timeout", &["60", "zsh", "-f", "-c", ZSH]).output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains("scale") && shown.contains("sprout 2 --dry-run"), "{output:?}");
}

#[test]
fn install_says_where_and_leaves_what_others_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let (elsewhere, bin) = (dir.path().join("elsewhere"), dir.path().join("bin"));
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::create_dir(&bin).unwrap();
    let file = elsewhere.join("kubectl_complete-clearwater");
    let planned = install(dir.path(), &["--dir", "elsewhere", "--dry-run"]);
    assert!(text(&planned.stderr).contains("would be written") && !file.exists(), "{planned:?}");
    for _ in 0..2 {
        let output = install(dir.path(), &["--dir", "elsewhere"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("is written") && said.contains("elsewhere is not on the PATH"), "{said}");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o111, 0o111);
    }
    let output = install(dir.path(), &["--dir", "bin"]);
    assert!(text(&output.stderr).contains("bin is on the PATH"), "{output:?}");
    std::fs::write(&file, "#!/bin/sh\n# mine\n").unwrap();
    for args in [&["--dir", "elsewhere"][..], &["--dir", "elsewhere", "--dry-run"]] {
        let output = install(dir.path(), args);
        assert_eq!(output.status.code(), Some(6), "{output:?}");
        assert!(text(&output.stderr).contains("is none of ours"), "{output:?}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "#!/bin/sh\n# mine\n");
    // Nor is a link followed, which may lead to anything.
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(dir.path().join("target"), &file).unwrap();
    assert_eq!(install(dir.path(), &["--dir", "elsewhere"]).status.code(), Some(6));
    assert!(!dir.path().join("target").exists());
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 1, "nothing half written is left");
    assert_eq!(install(dir.path(), &["--dir", "no/such"]).status.code(), Some(1));
}

#[test]
fn names_come_from_the_kubeconfig_and_none_that_a_shell_would_run() {
    let dir = tempfile::tempdir().unwrap();
    expect(dir.path(), &["status", "--context", ""], &[]);
    let names = ["lab", "ann@lab/x", "`reboot`", "a b", "$(reboot)", "a\\tb", "a\\u001b[2J", "-x"];
    let context = |name: &&str| format!("- {{name: \"{name}\", context: {{cluster: c, user: u}}}}\n");
    let head = "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://192.0.2.1'}}]\nusers: \
                [{name: u, user: {token: t}}]\ncontexts:\n";
    let kubeconfig = format!("{head}{}", names.iter().map(context).collect::<String>());
    std::fs::write(dir.path().join("kubeconfig"), &kubeconfig).unwrap();
    std::fs::write(dir.path().join("other"), kubeconfig.replace("name: \"lab\"", "name: \"far\"")).unwrap();
    expect(dir.path(), &["status", "--context", ""], &["lab", "ann@lab/x"]);
    expect(dir.path(), &["--kubeconfig", "other", "status", "--context=f"], &["--context=far"]);
    expect(dir.path(), &["--user", ""], &["u"]);
    std::fs::write(dir.path().join("kubeconfig"), "{").unwrap();
    expect(dir.path(), &["status", "--context", ""], &[]);
}

#[test]
fn a_cluster_is_asked_for_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sprout-0", "namespace": "ims"}});
    let server = Server::with(Manners::Answering, vec![namespace("ims"), namespace("lab"), pod]);
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    expect(dir.path(), &["status", "-n", ""], &["ims", "lab"]);
    expect(dir.path(), &["logs", "-n", "ims", "--pod", "spr"], &["sprout-0"]);
}

#[test]
fn whatever_a_cluster_does_nothing_is_said() {
    for manners in [
        Manners::Silent,
        Manners::Throttling,
        Manners::Refusing,
        Manners::Unauthorized,
        Manners::Garbage,
        Manners::Flooding,
    ] {
        let dir = tempfile::tempdir().unwrap();
        Server::start(manners).kubeconfig(&dir.path().join("kubeconfig"), None);
        assert_eq!(complete(dir.path(), &["status", "-n", ""]), (Vec::new(), ":4".to_owned()), "{manners:?}");
    }
}

#[test]
fn files_and_what_is_in_saved_logs() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["ims.yaml", "b.yml", "notes.txt", "a b.yaml", "$(reboot).yaml"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    std::fs::create_dir(dir.path().join("night")).unwrap();
    expect(dir.path(), &["up", "-f", ""], &["b.yml", "ims.yaml", "night/"]);
    assert_eq!(complete(dir.path(), &["render", "--dir", ""]), (vec!["night/".to_owned()], ":6".to_owned()));
    let message = |call: &str| {
        let body =
            format!("OPTIONS sip:2@ims SIP/2.0\r\nVia: SIP/2.0/TCP a\r\nCall-ID: {call}\r\nCSeq: 1 OPTIONS\r\n\r\n");
        format!(
            "23-11-2026 10:00:00.000 UTC Verbose common_sip_processing.cpp:87: RX {} bytes Request msg \
             OPTIONS/cseq=1 (rdata0x1) from TCP 10.244.1.7:40000:\n--start msg--\n\n{body}\n--end msg--\n",
            body.len()
        )
    };
    let log: String = ["8f3a@10.244.1.7", "`reboot`", "9@ims", "8f3a@10.244.1.7"].map(message).concat();
    std::fs::write(dir.path().join("night/sprout.log"), log).unwrap();
    expect(dir.path(), &["trace", "--from", "night", ""], &["8f3a@10.244.1.7", "9@ims"]);
    expect(dir.path(), &["logs", "--from=night", "--call-id", "9"], &["9@ims"]);
    expect(dir.path(), &["trace", "--from", "missing", ""], &[]);
}
