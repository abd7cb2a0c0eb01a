//! Credential plugins of a kubeconfig that misbehave.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A kubeconfig whose user is what a shell script says; the server is a port where nobody listens.
fn kubeconfig(dir: &Path, script: &str) {
    let user = format!(
        "{{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: ['-c', {}]}}}}",
        serde_json::Value::from(script)
    );
    kubeconfig_of(dir, "https://127.0.0.1:1", &user);
}

fn kubeconfig_of(dir: &Path, server: &str, user: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\nclusters:\n- {{name: c, cluster: {{server: '{server}'}}}}\n\
         users:\n- {{name: u, user: {user}}}\ncontexts:\n- {{name: lab, context: {{cluster: c, user: u}}}}\n"
    );
    std::fs::write(dir.join("kubeconfig"), text).unwrap();
}

fn plugin(dir: &Path, timeout: &str) -> Command {
    let mut command = bare(dir);
    command.args(["status", "--request-timeout", timeout]);
    command
}

fn bare(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
    command.current_dir(dir).env_clear();
    command.env("HOME", dir).env("PATH", "/usr/bin:/bin").env("KUBECONFIG", dir.join("kubeconfig"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn a_plugin_that_hangs_floods_or_gives_nonsense_is_named() {
    let credential = |token: &str| {
        let status = serde_json::json!({"token": token});
        let all = serde_json::json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status});
        format!("cat <<'E'\n{all}\nE")
    };
    let cases = [
        ("exec sleep 1000", "gave no credential within 2 s"),
        ("sleep 1000", "gave no credential within 2 s"),
        ("exec yes", "wrote more than 1048576 bytes"),
        ("yes >&2", "gave no credential within 2 s"),
        ("echo '{'", "wrote no ExecCredential"),
        ("echo mine >&2; exit 3", "failed: exit status: 3; it said: mine;"),
        (r"printf 'log in\n\033[2Jfirst\n' >&2; exit 3", r"exit status: 3; it said: log in / \u{1b}[2Jfirst;"),
        ("echo slow >&2; exec sleep 1000", "gave no credential within 2 s; it said: slow;"),
        (&credential("a\nb"), "no HTTP header can carry"),
        // A credential that can be used leads to the server.
        (&credential("good"), "refused"),
    ];
    for (script, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        kubeconfig(dir.path(), script);
        let began = Instant::now();
        let output = plugin(dir.path(), "2s").output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{script}: {said}");
        assert!(said.contains(expected) && !said.contains("__credential"), "{script}: {said}");
        assert!(began.elapsed() < Duration::from_secs(30), "{script} took {:?}", began.elapsed());
    }
}

/// What a plugin writes that gives this.
fn gives(status: &serde_json::Value) -> String {
    let all = serde_json::json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status});
    format!("cat <<'E'\n{all}\nE")
}

/// As client-go takes none of these: the requests would be nobody's.
#[test]
fn half_a_credential_is_none() {
    use serde_json::{Value, json};
    for (status, expected) in [
        (json!({}), "gave neither a token nor a certificate with its key; check the kubeconfig's user"),
        (json!({"token": ""}), "gave neither a token nor a certificate"),
        (json!({"clientCertificateData": "x"}), "gave a certificate or its key, and not both"),
        (json!({"token": "t", "clientKeyData": "x"}), "gave a certificate or its key, and not both"),
        (json!({"token": "t", "expirationTimestamp": "soon"}), "gave an expirationTimestamp that is no time"),
        (Value::Null, "it has no status"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        kubeconfig(dir.path(), &gives(&status));
        let output = plugin(dir.path(), "2s").output().unwrap();
        let said = said(&output);
        assert!(output.status.code() == Some(1) && said.contains(expected), "{status}: {said}");
        assert!(!said.contains("refused"), "{status}: somebody was asked: {said}");
    }
}

/// The time of the whole binds the plugin too, where each request may take longer, or for ever.
#[test]
fn a_plugin_takes_no_longer_than_the_command_may() {
    let lines =
        ["status", "check", "check --images", "check -A", "up --yes", "down --yes", "scale bono 2 --yes", "report"];
    std::thread::scope(|scope| {
        for line in lines {
            for request in ["30s", "0"] {
                scope.spawn(move || {
                    let dir = tempfile::tempdir().unwrap();
                    kubeconfig(dir.path(), TWO);
                    let mut command = bare(dir.path());
                    command.args(line.split(' ')).args(["--timeout", "3s", "--request-timeout", request]);
                    let began = Instant::now();
                    let output = command.output().unwrap();
                    let (took, said) = (began.elapsed(), said(&output));
                    let is_told = said.contains("gave no credential within 3 s");
                    assert!(output.status.code() == Some(1) && is_told, "{line} {request}: {said}");
                    assert!(took < Duration::from_secs(15), "{line} {request} took {took:?}");
                    all_end(&pids(&dir.path().join("pids"), 2));
                });
            }
        }
    });
}

/// It is asked once, told whom it serves, and again when what it gave has run out.
#[test]
fn a_plugin_is_run_once_for_each_token() {
    let until = |time: &str| gives(&serde_json::json!({"token": "t", "expirationTimestamp": time}));
    for (time, runs) in [("2999-01-01T00:00:00Z", 1..=1), ("2001-01-01T00:00:00Z", 2..=50)] {
        let dir = tempfile::tempdir().unwrap();
        // What it started says it, when the credential is there already.
        let note = "echo \"$KUBERNETES_EXEC_INFO\" >>runs; { sleep 0.05; echo 'log in first' >&2; } >/dev/null &";
        kubeconfig(dir.path(), &format!("{note} {}", until(time)));
        let path = dir.path().join("kubeconfig");
        let text =
            std::fs::read_to_string(&path).unwrap().replace("interactiveMode: Never", "interactiveMode: IfAvailable");
        std::fs::write(&path, text).unwrap();
        let output = plugin(dir.path(), "2s").output().unwrap();
        let said = said(&output);
        assert!(output.status.code() == Some(1) && said.contains("refused"), "{said}");
        let told = std::fs::read_to_string(dir.path().join("runs")).unwrap();
        assert!(runs.contains(&told.lines().count()), "{time}: {told}");
        assert_eq!(said.matches("log in first").count(), told.lines().count(), "{said}");
        let info: serde_json::Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
        assert_eq!(info["apiVersion"], "client.authentication.k8s.io/v1", "{info}");
        assert_eq!(info["spec"]["interactive"], false, "{info}");
    }
}

/// A plugin that is told of a cluster is told of the one that is asked: what the flags say counts before the kubeconfig.
#[test]
fn a_plugin_is_told_of_the_server_that_is_asked() {
    use serde_json::{Value, json};

    for (flags, server, name, is_unsafe) in [
        ("", "https://127.0.0.1:1", Value::Null, Value::Null),
        ("--server http://127.0.0.1:2", "http://127.0.0.1:2", Value::Null, Value::Null),
        (
            "-s 127.0.0.1:2/api --tls-server-name api --insecure-skip-tls-verify",
            "https://127.0.0.1:2/api",
            "api".into(),
            true.into(),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        kubeconfig(dir.path(), &format!("echo \"$KUBERNETES_EXEC_INFO\" >info; {}", gives(&json!({"token": "t"}))));
        let path = dir.path().join("kubeconfig");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(
            &path,
            text.replace("interactiveMode: Never", "interactiveMode: Never, provideClusterInfo: true"),
        )
        .unwrap();
        let output = plugin(dir.path(), "2s").args(flags.split_whitespace()).output().unwrap();
        let info = std::fs::read_to_string(dir.path().join("info")).unwrap_or_else(|_| panic!("{}", said(&output)));
        let told = &serde_json::from_str::<Value>(&info).unwrap()["spec"]["cluster"];
        let seen = (&told["server"], &told["tls-server-name"], &told["insecure-skip-tls-verify"]);
        assert_eq!(seen, (&Value::from(server), &name, &is_unsafe), "{flags}: {told}");
    }
}

/// A server that knows only who shows this token, and what was shown to it.
fn server_of(token: &'static str) -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use std::io::{BufRead, BufReader, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, shown) = (listener.local_addr().unwrap(), std::sync::Arc::default());
    let told: std::sync::Arc<std::sync::Mutex<Vec<String>>> = std::sync::Arc::clone(&shown);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let told = std::sync::Arc::clone(&told);
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                while let Some(first) = lines.next() {
                    let headers: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                    let given = headers
                        .iter()
                        .find_map(|h| h.to_lowercase().strip_prefix("authorization: bearer ").map(str::to_owned));
                    let given = given.unwrap_or_default();
                    told.lock().unwrap().push(format!("{given} {first}"));
                    let (code, reason) = if given == token { (404, "NotFound") } else { (401, "Unauthorized") };
                    let body = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                        "reason": reason, "code": code, "message": reason})
                    .to_string();
                    let head = format!(
                        "HTTP/1.1 {code} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    if stream.write_all((head + &body).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (format!("http://{address}"), shown)
}

/// A plugin that gives another token each time.
const NEXT: &str = "n=$(cat n 2>/dev/null || echo 0); n=$((n+1)); echo $n >n; \
                    echo '{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": {\"token\": \"t'$n'\"}}'";

fn user(version: &str, script: &str) -> String {
    let script = serde_json::Value::from(script);
    format!("{{exec: {{apiVersion: {version}, interactiveMode: Never, command: sh, args: ['-c', {script}]}}}}")
}

/// As client-go does; and not again and again for somebody who may not come in.
#[test]
fn a_credential_that_is_refused_is_asked_for_once_more() {
    for (known, taken) in [("t1", false), ("t2", true), ("none", false)] {
        let dir = tempfile::tempdir().unwrap();
        let (server, shown) = server_of(known);
        kubeconfig_of(dir.path(), &server, &user("client.authentication.k8s.io/v1", NEXT));
        let output = plugin(dir.path(), "5s").args(["-n", "ims"]).output().unwrap();
        let runs = std::fs::read_to_string(dir.path().join("n")).unwrap();
        let expected = if known == "t1" { "1" } else { "2" };
        assert_eq!(runs.trim(), expected, "{known}: {}", said(&output));
        let shown = shown.lock().unwrap();
        if taken {
            // What was refused was asked again, and whoever came later came with the new one.
            assert_eq!(shown.last().map(|line| line.starts_with("t2 ")), Some(true), "{shown:?}");
            let first = shown[0].split_once(' ').unwrap().1;
            assert!(shown.iter().any(|line| *line == format!("t2 {first}")), "{shown:?}");
        }
        assert_eq!(said(&output).contains("401"), known == "none", "{known}: {}", said(&output));
    }
}

/// kubectl takes two versions, and what was asked for.
#[test]
fn a_version_that_kubectl_does_not_take_is_named() {
    for (asked, words) in [
        ("client.authentication.k8s.io/v1alpha1", "which kubectl does not take since 1.24"),
        ("client.authentication.k8s.io/v2", "\"client.authentication.k8s.io/v2\": client.authentication.k8s.io/v1 and"),
        ("client.authentication.k8s.io/v1beta1", "gave another version: \"client.authentication.k8s.io/v1\""),
    ] {
        let dir = tempfile::tempdir().unwrap();
        kubeconfig_of(dir.path(), "https://127.0.0.1:1", &user(asked, NEXT));
        let output = plugin(dir.path(), "2s").output().unwrap();
        let said = said(&output);
        assert!(output.status.code() == Some(1) && said.contains(words), "{asked}: {said}");
        assert!(!said.contains("refused"), "{asked}: somebody was asked: {said}");
    }
}

/// A certificate that has run out is followed by the next one, over connections of its own.
#[test]
fn a_certificate_that_has_run_out_is_given_anew() {
    let dir = tempfile::tempdir().unwrap();
    let of = |certificate: &str, key: &str| {
        gives(&serde_json::json!({"clientCertificateData": certificate, "clientKeyData": key,
            "expirationTimestamp": "2001-01-01T00:00:00Z"}))
    };
    let good = of(include_str!("certificates/leaf.pem"), include_str!("certificates/leaf.key"));
    let unknown = of(include_str!("certificates/p521.pem"), include_str!("certificates/p521.key"));
    kubeconfig(dir.path(), &format!("if [ -e second ]; then\n{unknown}\nelse touch second\n{good}\nfi"));
    let output = plugin(dir.path(), "2s").output().unwrap();
    let said = said(&output);
    let words = "the client-key of the credential plugin \"sh\" is of a kind that is not known";
    assert!(output.status.code() == Some(1) && said.contains(words), "{said}");
}

/// The file or key is named, with what is wrong with it.
#[test]
fn a_key_that_is_not_known_is_named_with_where_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("u.pem"), include_str!("certificates/p521.pem")).unwrap();
    std::fs::write(dir.path().join("u.key"), include_str!("certificates/p521.key")).unwrap();
    kubeconfig_of(dir.path(), "https://127.0.0.1:1", "{client-certificate: u.pem, client-key: u.key}");
    let output = plugin(dir.path(), "2s").output().unwrap();
    let said = said(&output);
    let words = format!(
        "client-key {} of the kubeconfig's user \"u\" is of a kind that is not known",
        dir.path().join("u.key").display()
    );
    assert!(output.status.code() == Some(1) && said.contains(&words) && said.contains("P-521"), "{said}");
}

/// Whoever shows a certificate has its key, and each stands in its own place.
#[test]
fn a_certificate_without_its_key_is_named_with_where_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("u.pem"), include_str!("certificates/leaf.pem")).unwrap();
    std::fs::write(dir.path().join("u.key"), include_str!("certificates/leaf.key")).unwrap();
    let here = |name: &str| dir.path().join(name).display().to_string();
    for (user, words) in [
        (
            "{client-certificate: u.pem}",
            format!(
                "client-certificate {} of the kubeconfig's user \"u\" stands without client-key: put",
                here("u.pem")
            ),
        ),
        (
            "{client-certificate: u.pem, client-key: u.pem}",
            format!("client-key {} of the kubeconfig's user \"u\" holds no private key in PEM", here("u.pem")),
        ),
        (
            "{client-certificate: u.key, client-key: u.key}",
            format!("client-certificate {} of the kubeconfig's user \"u\" holds no certificate in PEM", here("u.key")),
        ),
        (
            "{client-certificate: u.pem, client-key-data: 'no base64'}",
            "client-key-data of the kubeconfig's user \"u\": failed to decode base64 data".to_owned(),
        ),
        (
            "{client-certificate-data: eA==, client-key: u.key}",
            "client-certificate-data of the kubeconfig's user \"u\" holds no certificate in PEM".to_owned(),
        ),
    ] {
        kubeconfig_of(dir.path(), "https://127.0.0.1:1", user);
        let output = plugin(dir.path(), "2s").output().unwrap();
        let said = said(&output);
        assert!(output.status.code() == Some(1) && said.contains(&words), "{user}: {said}");
    }
    kubeconfig_of(dir.path(), "https://127.0.0.1:1", "{token: t}");
    let output = plugin(dir.path(), "2s").args(["--client-certificate", "u.pem"]).output().unwrap();
    let said = said(&output);
    assert!(said.contains("--client-certificate u.pem stands without client-key: put"), "{said}");
}

/// Where people see it as it comes, and where its last lines are told with why there is no credential.
#[test]
fn what_a_plugin_says_is_shown_once() {
    for mode in ["Never", "IfAvailable"] {
        let dir = tempfile::tempdir().unwrap();
        kubeconfig(dir.path(), "echo 'log in first' >&2; exit 3");
        let path = dir.path().join("kubeconfig");
        let text = std::fs::read_to_string(&path)
            .unwrap()
            .replace("interactiveMode: Never", &format!("interactiveMode: {mode}"));
        std::fs::write(&path, text).unwrap();
        let output = plugin(dir.path(), "2s").output().unwrap();
        let said = said(&output);
        assert_eq!((output.status.code(), said.matches("log in first").count()), (Some(1), 1), "{mode}: {said}");
        assert_eq!(said.matches("failed: exit status: 3").count(), 1, "{mode}: {said}");
    }
}

#[test]
fn a_plugin_that_takes_its_time_is_told_without_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path(), "exec sleep 1000");
    let output = plugin(dir.path(), "7s").output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("waiting for the credential plugin \"sh\"").count(), 1, "{said}");
}

/// The numbers that a script writes into a file, once all are there.
fn pids(file: &Path, count: usize) -> Vec<String> {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let pids: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if pids.len() == count && text.ends_with('\n') {
            return pids;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "the plugin was not started");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn all_end(pids: &[String]) {
    let began = Instant::now();
    for pid in pids {
        while Path::new("/proc").join(pid).join("cwd").read_link().is_ok() {
            assert!(began.elapsed() < Duration::from_secs(10), "{pid} outlives the run");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A plugin, and a program that it has started.
const TWO: &str = "sleep 1000 & echo $! >pids; echo $$ >>pids; wait";

#[test]
fn a_plugin_ends_with_the_run() {
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path(), TWO);
    let mut child = plugin(dir.path(), "60s").spawn().unwrap();
    let pids = pids(&dir.path().join("pids"), 2);
    child.kill().unwrap();
    child.wait().unwrap();
    all_end(&pids);
}

#[test]
fn what_a_plugin_has_started_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path(), TWO);
    let output = plugin(dir.path(), "1s").output().unwrap();
    assert!(said(&output).contains("gave no credential within 1 s"), "{}", said(&output));
    all_end(&pids(&dir.path().join("pids"), 2));
}

#[test]
fn what_the_kubeconfig_names_is_looked_at_before_it_is_used() {
    let cases = [
        ("127.0.0.1:1", "{token: t}", "refused"),
        ("foo.invalid", "{token: t}", "dns error"),
        ("https://127.0.0.1:1", "{tokenFile: /dev/zero}", "tokenFile of the kubeconfig: /dev/zero is no file"),
        ("https://127.0.0.1:1", "{client-certificate: /dev/zero, client-key: /dev/zero}", "is a device; name another"),
        ("https://127.0.0.1:1", "{tokenFile: pipe}", "/pipe is no file that a credential could be in: it is a pipe"),
        ("https://127.0.0.1:1", "{client-certificate: pipe, client-key: x}", "client-certificate of the kubeconfig: "),
        ("https://127.0.0.1:1", "{client-certificate-data: eA==, client-key: pipe}", "client-key of the kubeconfig: "),
        ("https://127.0.0.1:1", "{tokenFile: .}", "is a directory"),
        ("https://127.0.0.1:1", "{tokenFile: gone}", "/gone cannot be read: No such file or directory"),
        (
            "https://127.0.0.1:1', certificate-authority: 'gone.crt",
            "{token: t}",
            "/gone.crt cannot be read: No such file",
        ),
        ("https://127.0.0.1:1", "{tokenFile: large}", "is longer than 16777216 bytes"),
        ("https://127.0.0.1:1', certificate-authority: 'pipe", "{token: t}", "kubeconfig's cluster \"c\": "),
    ];
    for (server, user, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        kubeconfig_of(dir.path(), server, user);
        pipe(&dir.path().join("pipe"));
        std::fs::File::create(dir.path().join("large")).unwrap().set_len(1 << 25).unwrap();
        let output = plugin(dir.path(), "2s").env("TOKIO_WORKER_THREADS", "x").output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{server} {user}: {said}");
        assert!(said.contains(expected) && !said.contains("panicked"), "{server} {user}: {said}");
    }
}

/// Each is told in a sentence that says what is to be put right.
#[test]
fn what_is_wrong_in_a_kubeconfig_is_said() {
    let exec = "{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: no-such-plugin, \
                installHint: \"brew install it\\nor not\"}}";
    let here = "https://127.0.0.1:1";
    let cases = [
        (
            "https://127.0.0.1:70000",
            "{token: t}",
            "server of the kubeconfig's cluster \"c\" is \"https://127.0.0.1:70000\", which is no address of an API server",
        ),
        (here, exec, "No such file or directory (os error 2). Its installHint: brew install it"),
        (
            here,
            "{auth-provider: {name: gcp, config: {}}}",
            "user \"u\" has the auth-provider \"gcp\", which Kubernetes' programs have not taken since 1.26: have the kubeconfig",
        ),
        (here, "{auth-provider: {name: oidc, config: {}}}", "kubectl oidc-login"),
        // What stands beside it counts.
        (here, "{token: t, auth-provider: {name: gcp, config: {}}}", "refused"),
        (
            "https://127.0.0.1:1', certificate-authority-data: 'eHh4",
            "{token: t}",
            "certificate-authority-data of the kubeconfig's cluster \"c\" is no certificate in PEM (there is none in it): take",
        ),
        (
            "https://127.0.0.1:1', certificate-authority-data: '!!",
            "{token: t}",
            "certificate-authority-data of the kubeconfig's cluster \"c\" is no certificate in PEM (",
        ),
    ];
    for (server, user, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        kubeconfig_of(dir.path(), server, user);
        let output = plugin(dir.path(), "2s").output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{server} {user}: {said}");
        assert!(said.contains(expected), "{server} {user}: {said}");
    }
    let dir = tempfile::tempdir().unwrap();
    kubeconfig_of(dir.path(), here, "{token: t}");
    let output = plugin(dir.path(), "2s").args(["--certificate-authority", "kubeconfig"]).output().unwrap();
    let said = said(&output);
    assert!(
        output.status.code() == Some(2) && said.contains("is no certificate in PEM (there is none in it)"),
        "{said}"
    );
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_kubeconfig_may_come_through_a_pipe_and_is_not_waited_for_without_end() {
    let dir = tempfile::tempdir().unwrap();
    kubeconfig_of(dir.path(), "https://127.0.0.1:1", "{token: t}");
    let path = dir.path().join("pipe");
    pipe(&path);
    let run = |kubeconfig: &Path| {
        said(&plugin(dir.path(), "2s").args(["-n", "ims"]).env("KUBECONFIG", kubeconfig).output().unwrap())
    };
    assert!(run(&path).contains("the kubeconfig cannot be read: it does not end within 2 s; name another"));
    assert!(run(Path::new("/dev/zero")).contains("/dev/zero: it is longer than 16777216 bytes; name another"));
    assert!(run(Path::new("/dev/null")).contains("names no cluster"));
    // As a shell's `--kubeconfig <(...)`.
    let writer = std::thread::spawn({
        let (from, to) = (dir.path().join("kubeconfig"), path.clone());
        move || std::fs::copy(from, to).map(drop)
    });
    let said = run(&path);
    assert!(said.contains("refused"), "{said}");
    drop(writer.join());
}

#[test]
fn members_of_the_list_that_are_not_there_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    kubeconfig_of(dir.path(), "https://127.0.0.1:1", "{token: t}");
    let list = format!("/nowhere/config:{}", dir.path().join("kubeconfig").display());
    let output = plugin(dir.path(), "2s").env("KUBECONFIG", list).output().unwrap();
    assert!(said(&output).contains("refused"), "{}", said(&output));
}

/// At half a character kube's own reader would panic.
#[test]
fn a_kubeconfig_cut_in_the_middle_of_a_character_is_an_error() {
    for list in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join(".kube");
        std::fs::create_dir(&home).unwrap();
        for place in [dir.path().join("kubeconfig"), home.join("config")] {
            std::fs::write(place, b"\xff\xfe\x00").unwrap();
        }
        let mut command = plugin(dir.path(), "2s");
        if !list {
            command.env_remove("KUBECONFIG");
        }
        let output = command.output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("in the middle of a character") && !said.contains("panicked"), "{said}");
    }
}
