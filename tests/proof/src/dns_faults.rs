//! The faults of `dns-patch`'s end-to-end tests, one after another, while a pod looks names up all along.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{PLUGIN_VARIABLE, cluster};
use clearwater_testbed::{Attempt, Kubectl, wait_for};
use serde_json::{Value, json};

use xtask::build::{Features, built};
use xtask::steps::say;
use xtask::workspace::root;

/// The cases, whether the fault is DNS itself, and what they break.
const CASES: [(&str, bool, &str); 8] = [
    ("neighbours::two_namespaces", false, "nothing: two deployments side by side"),
    (
        "alone::faults::what_stands_in_the_way",
        false,
        "no right to kube-system; another writer in between; a DNS pod that is not ready; a manager that puts its file back",
    ),
    (
        "alone::faults::what_goes_wrong",
        true,
        "a reload that is late; CoreDNS killed on the new file; another writer's line that CoreDNS refuses; the answer to the write lost",
    ),
    (
        "alone::by_hand::a_reload_that_never_comes",
        true,
        "CoreDNS that looks at its file once an hour (the test restarts CoreDNS)",
    ),
    ("alone::by_hand::without_reload", true, "CoreDNS without `reload`: its pods replaced one at a time"),
    ("alone::by_hand::the_managers_write_target", true, "a manager's `coredns-custom` (the test restarts CoreDNS)"),
    (
        "alone::keys::",
        false,
        "etcd away, with a wrong certificate, emptied below the Services' subtree; half of the keys gone (the test restarts CoreDNS)",
    ),
    ("calls::", false, "classic without names, then with each backend"),
];

/// Looks a name up a hundred times a second: one try after another on fresh sockets, a second each, three at most.
const LOOK_UPS: &str = r#"
import json, os, random, socket, struct, sys, threading, time
server, name, expected = sys.argv[1], sys.argv[2], socket.inet_aton(sys.argv[3])
lock, seen = threading.Lock(), {"lookups": 0, "retried": 0, "failed": 0, "slowest": 0.0, "first": ""}
def once(query):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(1.0)
    try:
        s.sendto(query, (server, 53))
        answer, _ = s.recvfrom(4096)
        return answer[:2] == query[:2] and answer[3] & 15 == 0 and expected in answer
    except OSError:
        return False
    finally:
        s.close()
def look():
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0"
    began, tries = time.monotonic(), 0
    good = False
    while not good and tries < 3:
        tries += 1
        good = once(struct.pack(">HHHHHH", random.randrange(65536), 256, 1, 0, 0, 0) + labels + b"\0\1\0\1")
    with lock:
        seen["lookups"] += 1
        seen["retried"] += tries > 1
        seen["slowest"] = max(seen["slowest"], time.monotonic() - began)
        if not good:
            seen["failed"] += 1
            seen["first"] = seen["first"] or time.strftime("%H:%M:%S")
def work(n):
    due = time.monotonic() + n * 0.01
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        look()
        due = max(due + 0.1, time.monotonic())
for n in range(10):
    threading.Thread(target=work, args=(n,), daemon=True).start()
while True:
    time.sleep(0.2)
    with lock:
        text = json.dumps(seen)
    with open("/tmp/seen.new", "w") as f:
        f.write(text)
    os.rename("/tmp/seen.new", "/tmp/seen")
"#;

fn seen(kubectl: &Kubectl) -> Result<Value> {
    let text = kubectl.run(["exec", "look-ups", "--", "cat", "/tmp/seen"])?;
    serde_json::from_str(&text).with_context(|| text)
}

pub(crate) fn run() -> Result<String> {
    let cluster = cluster();
    let namespace = cluster.namespace("prove-dns")?;
    let kubectl = namespace.kubectl();
    let address = |args: &[&str]| kubectl.run(args.iter().copied());
    let dns =
        address(&["get", "service", "kube-dns", "--namespace=kube-system", "--output=jsonpath={.spec.clusterIP}"])?;
    let api = address(&["get", "service", "kubernetes", "--namespace=default", "--output=jsonpath={.spec.clusterIP}"])?;
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "look-ups"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "look-ups",
                "image": "localhost/clearwater-classic/bono:2016",
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-c", LOOK_UPS, dns, "kubernetes.default.svc.cluster.local", api],
            }],
        },
    });
    kubectl.apply(&pod.to_string())?;
    wait_for("the look-ups", Duration::from_secs(60), || {
        Ok(seen(kubectl).map_or_else(|e| Attempt::not_yet(format!("{e:#}")), Attempt::Done))
    })?;

    let mut page = String::from(
        "One pod looks `kubernetes.default.svc.cluster.local` up at the DNS Service by UDP, a hundred times a second where \
         the machine can, from ten threads; a look-up has three tries of one second on fresh sockets, and fails when none is \
         answered rightly. Each row is a case of the end-to-end tests, which assert what the user is told and that the old \
         state stands.\n\n\
         | case | what is broken | fault is DNS itself | took (s) | look-ups | second tries | failed | slowest (s) |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let mut wrong = Vec::new();
    let plugin = built("dev")?;
    let features = Features::found()?;
    for (case, is_dns, what) in CASES {
        say(&format!("==> {case}"));
        let before = seen(kubectl)?;
        let began = Instant::now();
        let status = features
            .cargo(&["test", "--quiet", "--workspace", "--test", "dns", "--", "--ignored", "--test-threads=1", case])
            .env(PLUGIN_VARIABLE, &plugin)
            .current_dir(root())
            .status()
            .context("cannot start cargo")?;
        let took = began.elapsed();
        let after = seen(kubectl)?;
        let count = |key: &str| after[key].as_u64().unwrap_or(0) - before[key].as_u64().unwrap_or(0);
        writeln!(
            page,
            "| `{case}` | {what} | {} | {:.0} | {} | {} | {} | {:.2} |",
            if is_dns { "yes" } else { "no" },
            took.as_secs_f64(),
            count("lookups"),
            count("retried"),
            count("failed"),
            after["slowest"].as_f64().unwrap_or(0.0),
        )?;
        if !status.success() {
            wrong.push(format!("{case} failed"));
        }
        if !is_dns && count("failed") > 0 {
            wrong.push(format!("{case}: {} look-ups failed, the first at {}", count("failed"), after["first"]));
        }
    }
    page.push_str("\nThe column \"slowest\" is the slowest so far.\n");
    ensure!(wrong.is_empty(), "{}\n{page}", wrong.join("; "));
    Ok(page)
}
