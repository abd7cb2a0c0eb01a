//! One rule says the namespace, for every command that goes to one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod server;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use server::{Manners, Server};

/// Every command that goes to a namespace, with the flag by which it takes a deployment file.
const COMMANDS: [(&str, &str); 13] = [
    ("up --yes", "-f"),
    ("diff", "-f"),
    ("status", "-f"),
    ("check", "-f"),
    ("report", "-f"),
    ("scale sprout 2 --yes", "-f"),
    ("down --yes", "-f"),
    ("logs", "--file"),
    ("trace 6505550000", "-f"),
    ("autoscale --list", "-f"),
    ("backup", "-f"),
    ("autoscale sprout --max 3", "-f"),
    ("dns-patch --set release=classic --set images.registry=r --set images.tag=1 --backend print", "-f"),
];

/// What of the sources is there: flag, named file, usual file, context.
const CASES: [(bool, bool, bool, bool, &str); 7] = [
    (true, true, true, true, "namespace of-flag (from --namespace)"),
    (true, false, true, true, "namespace of-flag (from --namespace)"),
    (false, true, true, true, "namespace of-named (from named.yaml)"),
    (false, true, false, false, "namespace of-named (from named.yaml)"),
    (false, false, true, true, "namespace of-usual (from clearwater.yaml)"),
    (false, false, false, true, "namespace of-context (from context lab)"),
    (false, false, false, false, "namespace default (nothing names another)"),
];

/// The namespaces that a request could be meant for.
const KNOWN: [&str; 5] = ["of-flag", "of-named", "of-usual", "of-context", "default"];

fn asked_for(request: &str) -> Option<&str> {
    let (_, rest) = request.split_once("/namespaces/")?;
    let name = rest.split(['/', '?']).next()?;
    KNOWN.contains(&name).then_some(name)
}

#[test]
fn every_command_goes_where_the_one_rule_says_and_says_so_first() {
    let file = |dir: &Path, name: &str, namespace: &str| {
        std::fs::write(dir.join(name), format!("apiVersion: clearwater/v1\nnamespace: {namespace}\n")).unwrap();
    };
    let mut wrong = Vec::new();
    for (flag, named, usual, context, said) in CASES {
        for (line, file_flag) in COMMANDS {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            let server = Server::start(Manners::Refusing);
            server.kubeconfig(&dir.join("kubeconfig"), context.then_some("of-context"));
            file(dir, "named.yaml", "of-named");
            if usual {
                file(dir, "clearwater.yaml", "of-usual");
            }
            let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
            command.args(line.split_whitespace()).current_dir(dir).env_clear();
            command.env("HOME", dir).env("KUBECONFIG", dir.join("kubeconfig"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            if flag {
                command.args(["-n", "of-flag"]);
            }
            if named {
                command.args([file_flag, "named.yaml"]);
            }
            let mut child = command.spawn().unwrap();
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
            let first = lines.next().map(Result::unwrap).unwrap_or_default();
            std::thread::spawn(move || lines.count());
            let request = server.await_request(|r| asked_for(r).is_some());
            child.kill().unwrap();
            child.wait().unwrap();
            let name = said.split(' ').nth(1).unwrap();
            let strays: Vec<String> =
                server.requests().into_iter().filter(|r| asked_for(r).is_some_and(|n| n != name)).collect();
            if first != said || asked_for(&request) != Some(name) || !strays.is_empty() {
                wrong.push(format!("{line} (expected: {said}): said {first:?}, asked {request}, {strays:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_broken_file_matters_only_where_it_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
        command.args(args).current_dir(dir.path()).env_clear().env("KUBECONFIG", dir.path().join("kubeconfig"));
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let server = Server::start(Manners::Refusing);
    server.kubeconfig(&dir.path().join("kubeconfig"), Some("of-context"));
    std::fs::write(dir.path().join("clearwater.yaml"), "apiVersion: clearwater/v1\nnamespace: [ims]\n").unwrap();
    // Another namespace than the file's is never guessed.
    let (code, said) = run(&["down", "--yes"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(server.requests().is_empty(), "{:?}", server.requests());
    let (code, said) = run(&["down", "--yes", "-n", "ims"]);
    assert_eq!(code, Some(1), "{said}");
    // What is no name never becomes a part of a request.
    let (code, said) = run(&["down", "--yes", "-n", "ims/pods/../.."]);
    assert_eq!(code, Some(2), "{said}");
    assert!(server.requests().iter().all(|r| !r.contains("..")), "{:?}", server.requests());
}

#[test]
fn what_programs_read_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Manners::Refusing);
    server.kubeconfig(&dir.path().join("kubeconfig"), Some("of-context"));
    for line in ["up --yes -o json", "down --yes -o json", "diff -o json", "logs --no-follow --only-log-lines"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
        command.args(line.split_whitespace()).current_dir(dir.path()).env_clear();
        command.env("KUBECONFIG", dir.path().join("kubeconfig")).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("(from context lab)"), "{line}: {said}");
    }
}
