//! "Could not look" is never "all is well": what every command says of a server that does not answer as it should.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod server;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server::{Manners, Server};

/// The commands that have to look, and cannot say anything good without.
const COMMANDS: [&str; 44] = [
    "up --yes",
    "up --dry-run",
    "diff",
    "status",
    "check",
    "check --before",
    "check --images",
    "check -A",
    "status -A",
    "report",
    "scale bono 2 --yes",
    "version --running",
    "status --metrics",
    "status -A --metrics",
    "autoscale --list",
    "autoscale sprout --max 3",
    "autoscale sprout --remove",
    "down --yes",
    "logs --no-follow",
    "trace",
    "trace someone",
    "test --only register",
    "dns-patch --explain",
    "dns-patch --check",
    "dns-patch --yes",
    "dns-patch --dry-run",
    "dns-patch --check --backend pods",
    // A release that needs none of these names is asked for, too.
    "dns-patch --backend pods --dry-run",
    "dns-patch --backend coredns --dry-run",
    "dns-patch --backend coredns --yes",
    "dns-patch --backend endpoints --dry-run",
    "dns-patch --backend print",
    "dns-patch --remove --yes",
    "subscriber list",
    "subscriber create 6505550000",
    "subscriber show 6505550000",
    "subscriber export",
    "subscriber password 6505550000",
    "subscriber delete 6505550000 --yes",
    "subscriber import lines.csv",
    "ellis --show url",
    "ellis --show code",
    "backup",
    "restore b.zip --dry-run",
];

/// Each request is given so long.
const REQUEST: &str = "2s";
/// No command makes so many requests one after the other that it may take longer.
const LONGEST: Duration = Duration::from_secs(60);

fn plugin(dir: &Path, line: &str) -> Command {
    plugin_within(dir, line, REQUEST)
}

fn plugin_within(dir: &Path, line: &str, request: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
    command
        .args(line.split_whitespace())
        .args(["--request-timeout", request, "-n", "ims"])
        .current_dir(dir)
        .env_clear();
    command.env("HOME", dir).env("KUBECONFIG", dir.join("kubeconfig"));
    command.stdin(Stdio::null());
    command
}

/// How it ended; what does not end is killed and has no code.
fn run(dir: &Path, line: &str) -> (Option<i32>, String) {
    let mut child = plugin(dir, line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() && began.elapsed() < LONGEST {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn table(server: &Server) {
    table_of(server, &COMMANDS, &[]);
}

/// A place with the files that commands read.
fn home(server: &Server) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    std::fs::write(dir.path().join("lines.csv"), "SEQUENTIAL\nsip:1@a.b;[authentication username=1@a.b password=x]\n")
        .unwrap();
    let mut backup = zip::ZipWriter::new(std::fs::File::create(dir.path().join("b.zip")).unwrap());
    for (name, bytes) in clearwater::backup::Backup::default().parts() {
        backup.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        backup.write_all(&bytes).unwrap();
    }
    backup.finish().unwrap();
    dir
}

/// Each command ends with 1, and says what it could not look at, in one of these words where there are any.
fn table_of(server: &Server, commands: &[&str], words: &[&str]) {
    let dir = home(server);
    let ended: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = commands.iter().map(|line| (line, scope.spawn(|| run(dir.path(), line)))).collect();
        running.into_iter().map(|(line, run)| (line, run.join().unwrap())).collect()
    });
    let wrong: Vec<String> = ended
        .into_iter()
        .filter(|(_, (code, said))| {
            *code != Some(1) || said.trim().is_empty() || !(words.is_empty() || words.iter().any(|w| said.contains(w)))
        })
        .map(|(line, (code, said))| format!("{line}: {code:?}\n{said}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_server_that_lets_nobody_do_anything() {
    let looking: Vec<&str> = COMMANDS.into_iter().filter(|line| !line.ends_with("--yes")).collect();
    table_of(&Server::start(Manners::Refusing), &looking, &[]);
}

#[test]
fn a_server_that_hangs() {
    table(&Server::start(Manners::Silent));
}

#[test]
fn a_server_that_drips() {
    table(&Server::start(Manners::Dripping));
}

#[test]
fn a_server_that_asks_for_patience() {
    table(&Server::start(Manners::Throttling));
    let dir = tempfile::tempdir().unwrap();
    Server::start(Manners::Throttling).kubeconfig(&dir.path().join("kubeconfig"), None);
    let (code, said) = run(dir.path(), "subscriber list");
    assert!(code == Some(1) && said.contains("it said 429 Too Many Requests"), "{said}");
}

#[test]
fn a_server_that_does_not_know_who_asks() {
    table(&Server::start(Manners::Unauthorized));
}

#[test]
fn a_server_that_has_nothing() {
    table(&Server::start(Manners::Nothing));
}

#[test]
fn a_page_for_people() {
    table(&Server::start(Manners::Garbage));
}

/// Nothing is followed, and where it would lead to is told.
#[test]
fn a_server_that_leads_elsewhere() {
    table_of(
        &Server::start(Manners::Redirecting),
        &COMMANDS,
        &["a redirect (302 Found) to https://sso.example.com/login"],
    );
}

/// Whatever a command asks for, one after the other: a server that is not there is waited for once, be it that it says nothing, that it
/// asks for patience, or that nobody gets to it.
#[test]
fn a_dead_server_is_waited_for_once() {
    let proxy = Server::start(Manners::Silent);
    for (server, by, named) in [
        (Server::start(Manners::Silent), None, "within 7 s"),
        (Server::start(Manners::Throttling), None, "it said 429"),
        (Server::gone(), Some(&proxy), "by the proxy"),
    ] {
        let dir = home(&server);
        if let Some(proxy) = by {
            let path = dir.path().join("kubeconfig");
            let way = format!("'https://192.0.2.1:6443', proxy-url: '{}'", proxy.url());
            let text = std::fs::read_to_string(&path).unwrap().replace(&format!("'{}'", server.url()), &way);
            std::fs::write(path, text).unwrap();
        }
        let wrong: Vec<String> = std::thread::scope(|scope| {
            let ended: Vec<_> = COMMANDS
                .iter()
                .map(|line| {
                    let dir = dir.path();
                    scope.spawn(move || {
                        let began = Instant::now();
                        let out = plugin_within(dir, line, "7s").output().unwrap();
                        let (took, code) = (began.elapsed(), out.status.code());
                        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
                        // Twice would be 14 s; `status` gives itself 10 s. A proxy is given up after two thirds of the time; the machine
                        // may be busy.
                        let is_once = took > Duration::from_secs(4) && took < Duration::from_secs(14);
                        let is_well =
                            code == Some(1) && said.contains(named) && !said.contains("ServiceError") && is_once;
                        (!is_well).then(|| format!("{line}: {code:?} after {took:?}\n{said}"))
                    })
                })
                .collect();
            ended.into_iter().filter_map(|ended| ended.join().unwrap()).collect()
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// The same where it dies after some answers: whatever is asked for then is waited for once.
#[test]
fn a_server_that_dies_in_the_middle_is_waited_for_once() {
    let mut wrong = Vec::new();
    for answers in [1, 3, 8] {
        let ended: Vec<Option<String>> = std::thread::scope(|scope| {
            let running: Vec<_> = COMMANDS
                .iter()
                .map(|line| {
                    scope.spawn(move || {
                        let standing = if line.starts_with("up") { Vec::new() } else { deployment() };
                        let server = Server::with(Manners::Dying(answers), standing);
                        let dir = home(&server);
                        // What has begun to write waits for as long as it may: the server may come back.
                        let writes = ["up --yes", "down --yes", "scale bono 2 --yes"].contains(line);
                        let asked = if writes { format!("{line} --timeout 12s") } else { (*line).to_owned() };
                        let began = Instant::now();
                        let out = plugin_within(dir.path(), &asked, "10s").output().unwrap();
                        let (took, code) = (began.elapsed(), out.status.code());
                        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
                        let is_over = server.requests().len() <= answers;
                        // Twice would be 20 s. Logs are tried for half a minute to be read on, and who looks
                        // twice has a time for the whole.
                        let most = if ["logs", "trace", "check", "report"].iter().any(|own| line.starts_with(own)) {
                            Duration::from_secs(49)
                        } else {
                            Duration::from_secs(19)
                        };
                        // Metrics say what could not be seen; a release that needs none of the names needs nobody's answer.
                        let may_be_0 = line.ends_with("--metrics") || said.contains("nothing to change");
                        let is_well = (code != Some(0) || may_be_0) && took < most;
                        (!is_over && !is_well).then(|| {
                            format!("{line} after {answers}: {code:?} after {took:?}\n{said}\n{:#?}", server.requests())
                        })
                    })
                })
                .collect();
            running.into_iter().map(|run| run.join().unwrap()).collect()
        });
        wrong.extend(ended.into_iter().flatten());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What no request asked for is no answer: a connection that is changed into another, or a status that nobody knows.
#[test]
fn a_server_whose_answers_have_a_status_of_their_own() {
    table_of(&Server::start(Manners::Switching), &COMMANDS, &["101 Switching Protocols: is this the API server?"]);
}

/// Connections into pods take no longer than one request may, and an answer that is definite is not asked for again.
#[test]
fn a_port_that_is_not_forwarded_is_told_in_the_time_of_a_request() {
    let objects = || vec![pod("ellis"), pod("homestead-prov"), pod("homer"), pod("etcd")];
    let lines = ["subscriber list", "subscriber show 6505550000", "backup"];
    let mut wrong = Vec::new();
    for (manners, most) in [
        // It was tried for 20 s; the machine may be busy.
        (&Manners::Nothing, Duration::from_secs(10)),
        (&Manners::Refusing, Duration::from_secs(10)),
        (&Manners::Silent, Duration::from_secs(12)),
    ] {
        let server = Server::with(Manners::But("pods/portforward", manners), objects());
        let dir = home(&server);
        for line in lines {
            let began = Instant::now();
            let out = plugin_within(dir.path(), line, "4s").output().unwrap();
            let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
            if out.status.code() == Some(0) || began.elapsed() > most {
                wrong.push(format!("{manners:?} {line}: {:?} after {:?}\n{said}", out.status.code(), began.elapsed()));
            }
        }
        assert!(server.requests().iter().any(|request| request.contains("/portforward")), "{:?}", server.requests());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_server_whose_answers_say_nothing() {
    table(&Server::start(Manners::Hollow));
}

#[test]
fn a_port_where_nobody_listens() {
    table(&Server::gone());
}

/// A pod that runs, as far as Kubernetes sees.
fn pod(component: &str) -> Value {
    let status = json!({"name": component, "containerID": "c://1", "image": "", "imageID": "", "ready": true,
        "restartCount": 0, "state": {"running": {}}});
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("{component}-0"), "namespace": "ims", "uid": component, "labels": {"service": component},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{component}-5f6"),
                "uid": "set", "controller": true}]},
        "spec": {"containers": [{"name": component}]},
        "status": {"phase": "Running", "podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.9"}],
            "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [status]}})
}

fn replicas(component: &str) -> Value {
    let labels = json!({"service": component});
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": component, "namespace": "ims", "uid": component, "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": component}]}}},
        "status": {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
            "observedGeneration": 1}})
}

fn deployment() -> Vec<Value> {
    ["bono", "sprout"].into_iter().flat_map(|component| [pod(component), replicas(component)]).collect()
}

/// Of all namespaces each has its line, and the worst is the exit code.
#[test]
fn every_namespace_that_holds_a_deployment_is_told() {
    let mut objects = deployment();
    for name in ["one", "two"] {
        objects.extend(deployment().into_iter().map(|mut object| {
            object["metadata"]["namespace"] = name.into();
            object
        }));
    }
    let mut other = pod("etcd");
    other["metadata"]["namespace"] = "of-others".into();
    objects.push(other);
    let server = Server::with(Manners::But("pods/exec", &Manners::Refusing), objects);
    let dir = tempfile::tempdir().unwrap();
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    for line in ["status -A", "check -A"] {
        let (code, said) = run(dir.path(), line);
        let places: Vec<&str> = said.lines().filter_map(|l| l.split_whitespace().next()).collect();
        // What is said beside the result says for which namespaces it is.
        assert_eq!(places, ["NAMESPACE", "ims", "one", "two", "all"], "{code:?} {said}");
    }
    let (code, said) = run(dir.path(), "check -A --only zone,workloads -o json");
    let told: Value = serde_json::from_str(&said).unwrap();
    assert!(code != Some(0) && told["namespaces"][2]["seen"]["namespace"] == "two", "{code:?} {said}");
    let server = Server::with(Manners::Forbidding("statefulsets"), Vec::new());
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    let (code, said) = run(dir.path(), "status -A");
    assert!(code == Some(1) && said.contains("needs list statefulsets in all namespaces"), "{code:?} {said}");
}

/// What asks nobody, and what is followed for ever.
const ASIDE: [&str; 11] =
    ["init", "render", "config", "graph", "rbac", "completion", "options", "version", "man", "help", "logs"];

#[test]
fn every_command_that_looks_is_in_the_table() {
    let mut missing = Vec::new();
    for command in kubectl_clearwater::tree().get_subcommands() {
        let name = command.get_name();
        let parts: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let lines = if parts.is_empty() {
            vec![name.to_owned()]
        } else {
            parts.iter().map(|p| format!("{name} {p}")).collect()
        };
        let is_there = |line: &str| COMMANDS.iter().any(|c| *c == line || c.starts_with(&format!("{line} ")));
        let looks = lines.into_iter().filter(|line| !ASIDE.contains(&name) && !line.ends_with(" help"));
        missing.extend(looks.filter(|line| !is_there(line)));
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// The time that was given is for all requests together, however many of them hang, one after the other.
#[test]
fn a_command_ends_when_its_time_is_up() {
    const REVIEWS: &str = "selfsubjectaccessreviews";
    /// (what hangs, what is asked, how it ends, what is named)
    const ROWS: [(Option<&str>, &str, i32, &str); 12] = [
        (None, "up --yes", 1, "no answer from the API server within"),
        (None, "up --dry-run", 1, "no answer from the API server within"),
        (None, "down --yes", 1, "no answer from the API server within"),
        (None, "scale bono 2 --yes", 1, "no answer from the API server"),
        (None, "status", 1, "no answer from the API server within"),
        (None, "check", 1, "no answer from the API server within"),
        // One thing that hangs hides nothing of the others.
        (
            Some("resourcequotas"),
            "check --before",
            1,
            "quotas against the sum of what will be made: no answer from the API server",
        ),
        (Some(REVIEWS), "up --yes", 1, "the time was up before anything was written: rights in the namespace"),
        (Some("resourcequotas"), "up --yes", 1, "the time was up before anything was written: quotas"),
        (
            Some(REVIEWS),
            "scale bono 2 --yes",
            1,
            "the time was up before anything was changed: rights in the namespace",
        ),
        (Some(REVIEWS), "up --dry-run", 1, "rights in the namespace: no answer from the API server"),
        (Some(REVIEWS), "scale bono 2 --dry-run", 1, "rights in the namespace: no answer from the API server"),
    ];
    std::thread::scope(|scope| {
        for (what, line, expected, named) in ROWS {
            scope.spawn(move || {
                let dir = tempfile::tempdir().unwrap();
                let manners = what.map_or(Manners::Silent, |what| Manners::But(what, &Manners::Silent));
                let nothing = line.starts_with("up") || line.ends_with("--before");
                let standing = if nothing { Vec::new() } else { deployment() };
                Server::with(manners, standing).kubeconfig(&dir.path().join("kubeconfig"), None);
                let began = Instant::now();
                let out = plugin_within(dir.path(), &format!("{line} --timeout 3s"), "30s").output().unwrap();
                let took = began.elapsed();
                let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
                let case = format!("{what:?} {line}: {:?} after {took:?}\n{said}", out.status.code());
                assert!(out.status.code() == Some(expected) && said.contains(named), "{case}");
                // One request alone would take 30 s; the machine may be busy.
                assert!(took > Duration::from_millis(2500) && took < Duration::from_secs(10), "{case}");
            });
        }
    });
}

/// What is under way when the time is up stands as it is, and the same command goes on.
#[test]
fn a_command_whose_time_is_up_while_it_writes_says_to_run_it_again() {
    const ROWS: [(&str, &str); 3] = [
        ("up --yes", "run up again to go on"),
        (
            "scale bono 2 --yes",
            "bono: the time was up with this to do: set the replicas from 1 to 2. What works: run the same scale",
        ),
        ("down --yes", "run down again to go on"),
    ];
    std::thread::scope(|scope| {
        for (line, named) in ROWS {
            scope.spawn(move || {
                let mut standing = if line.starts_with("up") { Vec::new() } else { deployment() };
                for object in &mut standing {
                    object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "kubectl-clearwater".into();
                    object["metadata"]["annotations"] = json!({"kubectl-clearwater/origin": "created"});
                }
                let dir = tempfile::tempdir().unwrap();
                let server = Server::with(Manners::ButWrites(&Manners::Silent), standing);
                server.kubeconfig(&dir.path().join("kubeconfig"), None);
                let out = plugin_within(dir.path(), &format!("{line} --timeout 4s"), "30s").output().unwrap();
                let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
                assert!(
                    out.status.code() == Some(3) && said.contains(named),
                    "{line}: {:?}\n{said}",
                    out.status.code()
                );
            });
        }
    });
}

/// `--timeout` is told to give longer where it was what was over.
#[test]
fn the_time_that_was_up_is_the_one_that_is_named() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(Manners::Silent).kubeconfig(&dir.path().join("kubeconfig"), None);
    for line in ["status", "check"] {
        for (whole, request, named) in [("20s", "1s", "; --request-timeout gives"), ("1s", "20s", "; --timeout gives")]
        {
            let out = plugin_within(dir.path(), &format!("{line} --timeout {whole}"), request).output().unwrap();
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.code() == Some(1) && said.contains(named), "{line} {whole}: {said}");
        }
    }
}

/// Events tell why, and nothing that is wrong: without them all others are seen.
#[test]
fn events_that_cannot_be_listed_hide_nothing_else() {
    for (manners, why) in [
        (&Manners::Broken, "etcdserver: no leader"),
        (&Manners::Throttling, "no answer from the API server within"),
        (&Manners::Silent, "no answer from the API server within"),
        (&Manners::Nothing, "listing events"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        Server::with(Manners::But("events", manners), deployment()).kubeconfig(&dir.path().join("kubeconfig"), None);
        let (_, said) = run(dir.path(), "status");
        let shown = |component: &str| said.lines().any(|line| line.starts_with(component) && line.contains("1/1"));
        assert!(
            shown("bono") && shown("sprout") && said.contains("what is seen in events") && said.contains(why),
            "{said}"
        );
        let (code, said) = run(dir.path(), "check --only workloads");
        let named = said.contains("why pods wait and what was refused: listing events") && said.contains(why);
        assert!(code != Some(0) && named, "{manners:?}: {code:?} {said}");
    }
}

/// What nobody has listed yet is not said to be nothing, and of nothing nobody says that all is well.
#[test]
fn logs_of_nothing_are_told_as_that() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(Manners::Answering).kubeconfig(&dir.path().join("kubeconfig"), None);
    for line in ["logs --no-follow", "logs --no-follow --only-log-lines", "trace", "trace someone"] {
        let (code, said) = run(dir.path(), line);
        assert!(code == Some(1) && said.contains("no container was found to read"), "{line}: {code:?} {said}");
    }
    for (manners, told) in [(Manners::Answering, true), (Manners::But("pods", &Manners::Silent), false)] {
        Server::start(manners).kubeconfig(&dir.path().join("kubeconfig"), None);
        let mut logs = plugin_within(dir.path(), "logs", "60s").stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(5));
        let _ = logs.kill();
        let said = String::from_utf8_lossy(&logs.wait_with_output().unwrap().stderr).into_owned();
        assert_eq!(said.contains("no container is there to read"), told, "{said}");
    }
}

/// One `status` reads the settings once, though several things of them are told.
#[test]
fn settings_are_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with(Manners::Answering, [deployment(), vec![pod("cassandra")]].concat());
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    let (_, said) = run(dir.path(), "status --timeout 4s");
    let requests = server.requests();
    let all = requests.iter().filter(|r| r.ends_with("/configmaps/env-vars"));
    assert_eq!(all.count(), 1, "{requests:?}\n{said}");
    assert!(said.contains("no backup is known of"), "{said}");
}

/// One `up` asks for the nodes once.
#[test]
fn nodes_are_listed_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Manners::Answering);
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    let _ = plugin_within(dir.path(), "up --yes --timeout 4s", "30s").output().unwrap();
    let requests = server.requests();
    assert!(requests.iter().any(|request| request.starts_with("PATCH")), "{requests:?}");
    // Beside them a few are looked at whose kubelets are asked.
    let all = requests.iter().filter(|r| r.starts_with("GET /api/v1/nodes?") && r.contains("limit=250"));
    assert_eq!(all.count(), 1, "{requests:?}");
}

/// What is not there looks like what is empty, and is told as that, by each command with the code that README gives it.
#[test]
fn a_namespace_that_does_not_exist() {
    const ROWS: [(&str, i32); 30] = [
        ("up --yes", 4),
        ("up --dry-run", 4),
        ("status", 5),
        ("check", 5),
        ("down --yes", 0),
        ("check --images", 1),
        ("report", 1),
        ("scale bono 2 --yes", 1),
        ("autoscale --list", 1),
        ("autoscale sprout --max 3", 1),
        ("autoscale sprout --remove", 1),
        ("version --running", 1),
        ("logs --no-follow", 1),
        ("trace", 1),
        ("trace someone", 1),
        ("test --only register", 1),
        ("subscriber list", 1),
        ("subscriber create 6505550000", 1),
        ("ellis --show url", 1),
        ("ellis --show code", 1),
        ("backup", 1),
        ("dns-patch --check", 1),
        ("dns-patch --explain", 1),
        ("dns-patch --dry-run", 1),
        ("dns-patch --yes", 1),
        ("dns-patch --backend coredns --dry-run", 1),
        ("dns-patch --backend pods --check", 1),
        ("dns-patch --backend endpoints --dry-run", 1),
        ("dns-patch --backend print", 1),
        ("dns-patch --set release=classic --set images.registry=r --set images.tag=1 --check", 1),
    ];
    let dir = tempfile::tempdir().unwrap();
    Server::start(Manners::But("namespaces", &Manners::Nothing)).kubeconfig(&dir.path().join("kubeconfig"), None);
    let mut wrong = Vec::new();
    for (line, expected) in ROWS {
        let (code, said) = run(dir.path(), line);
        let is_named = said.contains("there is no namespace ims") || said.contains("namespace ims: it does not exist");
        if code != Some(expected) || !is_named {
            wrong.push(format!("{line}: {code:?}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Nothing is said of logs that nobody could read, but why.
#[test]
fn a_trace_of_nothing_says_why() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(Manners::Unauthorized).kubeconfig(&dir.path().join("kubeconfig"), None);
    for line in ["trace", "trace someone"] {
        let (code, said) = run(dir.path(), line);
        assert!(code == Some(1) && said.contains("401"), "{line}: {said}");
        assert!(!said.contains("no call, registration") && !said.contains("none of 0"), "{line}: {said}");
    }
}

/// That no connection into a pod is to be had says nothing of the pod.
#[test]
fn a_server_that_opens_no_connection_into_a_pod() {
    const MANNERS: [&Manners; 11] = [
        &Manners::HangingUp,
        &Manners::Mute,
        &Manners::Gushing,
        &Manners::Trickling,
        &Manners::Silent,
        &Manners::Throttling,
        &Manners::Broken,
        &Manners::Unauthorized,
        &Manners::Nothing,
        &Manners::Garbage,
        &Manners::Flooding,
    ];
    for manners in MANNERS {
        let server = Server::with(Manners::But("pods/exec", manners), deployment());
        let commands = ["status", "check --only programs,answers", "check --images", "report"];
        table_of(&server, &commands, &["not everything", "not in it", "could not be looked at"]);
    }
    let server = Server::with(Manners::But("pods/exec", &Manners::Broken), deployment());
    let dir = tempfile::tempdir().unwrap();
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    let (_, said) = run(dir.path(), "status");
    for component in ["bono", "sprout"] {
        let health = said.lines().find_map(|line| line.strip_prefix(component)?.split_whitespace().next());
        assert_eq!(health, Some("unseen"), "{said}");
    }
}

/// What one check could not look at is not passed over, where nothing but looking was asked for.
#[test]
fn a_server_that_fails_at_one_kind() {
    const ROWS: [(&str, &Manners, &str); 24] = [
        ("horizontalpodautoscalers", &Manners::Broken, "scale bono 2 --dry-run"),
        ("poddisruptionbudgets", &Manners::Broken, "scale bono 0 --dry-run"),
        ("configmaps", &Manners::Broken, "scale bono 2 --dry-run"),
        ("resourcequotas", &Manners::Broken, "up --dry-run"),
        ("selfsubjectaccessreviews", &Manners::Broken, "up --dry-run"),
        ("selfsubjectaccessreviews", &Manners::Hollow, "up --dry-run"),
        ("nodes", &Manners::Broken, "up --dry-run"),
        ("storageclasses", &Manners::Broken, "up --dry-run"),
        ("services", &Manners::Broken, "up --dry-run"),
        ("pods", &Manners::Hollow, "up --dry-run"),
        ("version", &Manners::Broken, "check --only version"),
        ("version", &Manners::Hollow, "check --only version"),
        ("persistentvolumeclaims", &Manners::Broken, "check --only leftovers"),
        ("persistentvolumeclaims", &Manners::Other, "check --only leftovers"),
        ("resourcequotas", &Manners::Other, "up --dry-run"),
        ("services", &Manners::Other, "diff"),
        ("horizontalpodautoscalers", &Manners::Other, "scale bono 2 --dry-run"),
        ("horizontalpodautoscalers", &Manners::Other, "autoscale --list"),
        ("deployments", &Manners::Other, "down --yes"),
        ("kube-system/services", &Manners::Broken, "down --yes"),
        // Whoever was told that it may look, and may not.
        ("horizontalpodautoscalers", &Manners::Refusing, "down --yes"),
        ("secrets", &Manners::Refusing, "down --yes"),
        ("pods", &Manners::Other, "subscriber list"),
        ("deployments", &Manners::Broken, "scale bono 2 --dry-run"),
    ];
    for (resource, manners, line) in ROWS {
        let standing = if line.starts_with("up") || line.starts_with("down") { Vec::new() } else { deployment() };
        let server = Server::with(Manners::But(resource, manners), standing);
        let why: &[&str] = match manners {
            Manners::Hollow => &["no object of Kubernetes", "the API server tells none"],
            Manners::Other => &["a SecretList and no list of", "the SecretList \"\" and not"],
            Manners::Refusing => &["you may not list"],
            _ => &["etcdserver: no leader"],
        };
        table_of(&server, &[line], why);
    }
}

/// Of names that nobody was asked for nothing is known.
#[test]
fn a_namespace_in_which_nobody_can_be_asked() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(Manners::Answering).kubeconfig(&dir.path().join("kubeconfig"), None);
    let no_pod = "there is no pod of sprout";
    for (line, why) in [
        ("--check", no_pod),
        ("--backend pods --check", no_pod),
        ("--backend pods --dry-run", no_pod),
        // It would be proved at the cluster's DNS, which this server has none of.
        ("--backend pods --yes", "whether it could be proved is not known"),
    ] {
        let (code, said) = run(dir.path(), &format!("dns-patch {line}"));
        let is_told = said.contains(why) && !said.contains("as it must be");
        assert!(code == Some(1) && is_told, "{line}: {code:?} {said}");
    }
}

/// Neither is a pod that says nothing waited for in silence.
#[test]
fn the_silence_of_a_pod_is_broken_by_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with(Manners::But("pods/exec", &Manners::Mute), deployment());
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    for (line, what) in [
        ("status --timeout 20s", "what pods answer"),
        ("trace", "what the pods have written"),
        ("report --timeout 20s", "what pods answer"),
    ] {
        let began = Instant::now();
        let said = plugin_within(dir.path(), line, "7s").output().unwrap();
        let said = String::from_utf8_lossy(&said.stderr);
        assert!(said.contains(&format!("waiting for {what}")), "{line}: {said}");
        // Of many things at once one is told, and every ten seconds once.
        let words = said.matches("waiting for").count() as u64;
        let may = began.elapsed().as_secs() / 10 + 1;
        assert!(line == "trace" || words <= may, "{line} after {:?}: {said}", began.elapsed());
    }
}

#[test]
fn silence_is_broken_by_a_word() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(Manners::Silent).kubeconfig(&dir.path().join("kubeconfig"), None);
    let said = plugin_within(dir.path(), "autoscale --list", "7s").output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("waiting for the API server: GET /"), "{said}");
}

/// The time that was given is for the look as well, and what is seen meanwhile is told while it is waited.
#[test]
fn a_look_at_etcd_takes_no_longer_than_the_whole_may() {
    let mut objects = deployment();
    objects.extend([pod("etcd"), pod("chronos"), replicas("chronos")]);
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with(Manners::But("pods/portforward", &Manners::Broken), objects);
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    let began = Instant::now();
    let said = plugin_within(dir.path(), "scale chronos 2 --dry-run --timeout 7s", "40s").output().unwrap();
    let (code, said) = (said.status.code(), String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned());
    assert!(code == Some(1) && began.elapsed() < Duration::from_secs(20), "{code:?} {:?} {said}", began.elapsed());
    let told = said.lines().find(|l| l.contains("waiting for what etcd says of the members"));
    assert!(told.is_some_and(|told| told.contains("etcdserver: no leader")), "{said}");
}

/// Each try of a request is short, and so is the answer of a connection that is closed at once; all of them are not.
#[test]
fn the_silence_of_several_tries_is_broken_by_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with(Manners::But("pods/portforward", &Manners::HangingUp), vec![pod("ellis")]);
    server.kubeconfig(&dir.path().join("kubeconfig"), None);
    let (code, said) = run(dir.path(), "subscriber list");
    assert!(code == Some(1) && said.contains("waiting for ellis: GET /"), "{code:?} {said}");
}

/// What `dns-patch --check` has seen is a finding (7), also that something is not there; what it could not see is 1. Neither is a fault
/// of the command line, and what is advised is about the same deployment.
#[test]
fn a_check_of_names_tells_what_is_not_there() {
    const CLASSIC: &str = "--set release=classic --set images.registry=r --set images.tag=1";
    let service = |namespace: &str, name: &str, address: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace, "resourceVersion": "1"},
            "spec": {"clusterIP": address, "clusterIPs": [address], "selector": {"service": name},
                "ports": [{"name": "sip", "port": 5054, "protocol": "TCP"}]}})
    };
    let sprout = || vec![pod("sprout"), service("ims", "sprout", "None")];
    let unready = || {
        let mut all = sprout();
        all[0]["status"]["conditions"][0]["status"] = "False".into();
        all
    };
    let dns = |lines: &str, more: Vec<Value>| {
        let corefile = format!(".:53 {{\n    kubernetes cluster.local\n    reload\n}}\n{lines}");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "coredns-1", "namespace": "kube-system", "uid": "c",
            "labels": {"service": "kube-dns"}}, "spec": {"containers": [{"name": "coredns", "image": "coredns",
                "args": ["-conf", "/etc/coredns/Corefile"], "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}]}],
            "volumes": [{"name": "config", "configMap": {"name": "coredns"}}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let file = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "kube-system",
            "resourceVersion": "1"}, "data": {"Corefile": corefile}});
        [vec![service("kube-system", "kube-dns", "10.96.0.10"), pod, file], more].concat()
    };
    let with_address = || [sprout(), vec![service("ims", "sprout-address", "10.96.0.77")]].concat();
    let broken: &Manners = &Manners::Broken;
    let rows: [(&str, Manners, Vec<Value>, i32, &str); 10] = [
        ("pods", Manners::Answering, sprout(), 7, "no ready pod of sprout has the host name scscf"),
        (
            "endpoints",
            Manners::Answering,
            sprout(),
            7,
            "endpointslice/clearwater-sprout-names in namespace ims is not as it must be. What works: kubectl clearwater dns-patch \
             --backend endpoints -n ims --set release=classic",
        ),
        (
            "endpoints",
            Manners::Answering,
            sprout(),
            7,
            "dns-patch --check --backend endpoints -n ims --set release=classic",
        ),
        ("endpoints", Manners::Answering, vec![pod("sprout")], 7, "there is no service ims/sprout"),
        ("endpoints", Manners::Answering, unready(), 7, "no pod of sprout is ready"),
        ("endpoints", Manners::But("services", broken), sprout(), 1, "etcdserver: no leader"),
        ("etcd", Manners::Answering, dns("", sprout()), 7, "names no etcd"),
        ("etcd --etcd-endpoint http://127.0.0.1:1", Manners::Answering, dns("", sprout()), 7, "no Service has one"),
        (
            "etcd --etcd-endpoint http://127.0.0.1:1",
            Manners::Answering,
            dns("", with_address()),
            1,
            "etcd at http://127.0.0.1:1",
        ),
        (
            "etcd --etcd-endpoint http://10.96.0.99:2379",
            Manners::But("services", broken),
            dns("", with_address()),
            1,
            "etcdserver: no leader",
        ),
    ];
    let mut wrong = Vec::new();
    for (backend, manners, objects, expected, named) in rows {
        let dir = tempfile::tempdir().unwrap();
        Server::with(manners, objects).kubeconfig(&dir.path().join("kubeconfig"), None);
        let (code, said) = run(dir.path(), &format!("dns-patch --check --backend {backend} {CLASSIC}"));
        if code != Some(expected) || !said.contains(named) || said.contains("nothing was written") {
            wrong.push(format!("{backend}: {code:?}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
