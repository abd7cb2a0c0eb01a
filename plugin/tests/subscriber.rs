//! `subscriber` and `ellis` where there is nothing to ask, or no right to.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod server;

use std::path::Path;
use std::process::{Command, Stdio};

use server::{Manners, Server};

fn run(dir: &Path, line: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
    command.args(line.split_whitespace()).args(["-n", "ims"]).current_dir(dir).env_clear();
    command.env("HOME", dir).env("KUBECONFIG", dir.join("kubeconfig")).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_is_missing_is_named_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    // (what the server does, the exit code, what is said)
    let rows = [
        (Manners::Answering, 1, "namespace ims: neither ellis nor homestead-prov runs there"),
        (Manners::Refusing, 1, "needs the right to list pods"),
    ];
    for (manners, wanted, words) in rows {
        let server = Server::start(manners);
        server.kubeconfig(&dir.path().join("kubeconfig"), None);
        for line in ["list", "create --count 2", "create 1..9", "password 1", "delete --all --yes", "export", "show 1"]
        {
            let (code, out, err) = run(dir.path(), &format!("subscriber {line}"));
            assert!(code == Some(wanted) && out.is_empty() && err.contains(words), "{line}: {code:?}\n{out}\n{err}");
        }
        let (code, _, err) = run(dir.path(), "subscriber list --through homestead-prov");
        assert_eq!(code, Some(wanted), "{err}");
        assert!(server.requests().iter().all(|r| r.starts_with("GET ")), "{:?}", server.requests());
    }
    let server = Server::start(Manners::Refusing);
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    for line in ["ellis --show url", "ellis --no-open"] {
        let (code, out, err) = run(dir.path(), line);
        assert!(
            code == Some(1) && out.is_empty() && err.contains("needs the right to"),
            "{line}: {code:?}\n{out}\n{err}"
        );
    }
    let server = Server::start(Manners::Answering);
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    for line in ["ellis --show url", "ellis --show code", "ellis --no-open"] {
        let (code, out, err) = run(dir.path(), line);
        assert!(
            code == Some(1) && out.is_empty() && err.contains("no ellis runs there"),
            "{line}: {code:?}\n{out}\n{err}"
        );
    }
}

#[test]
fn a_wrong_command_line_asks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Manners::Answering);
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    std::fs::write(dir.path().join("lines.csv"), "SEQUENTIAL\nnobody;x\n").unwrap();
    std::fs::write(dir.path().join("twice.csv"), "sip:1@a.b;\nsip:1@c.d;\n").unwrap();
    for line in [
        "create 9..1",
        "create 1..2 --count 3",
        "create --count 0",
        "create --account nobody",
        "list --through bono",
        "list --private-prefix a/b",
        "delete",
        "delete 1 --all",
        "show 1 --qr",
        "show 1 --phone telegraph",
        "show sip:alice",
        "show 1 --phone text --proxy 192.0.2.7:0",
        "show 1 --phone text --proxy http://192.0.2.7/",
        "import twice.csv",
        "import lines.csv",
    ] {
        let (code, out, err) = run(dir.path(), &format!("subscriber {line}"));
        assert!(code == Some(2) && out.is_empty() && !err.is_empty(), "{line}: {code:?}\n{out}\n{err}");
    }
    let (code, _, err) = run(dir.path(), "subscriber import missing.json");
    assert!(code == Some(2) && err.contains("missing.json"), "{code:?} {err}");
    assert_eq!(server.requests(), Vec::<String>::new());
}
