//! `logs` and `trace` on the real cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::sip::{Phone, TOOLS_IMAGE, Transport};
use clearwater_testbed::{Attempt, Fault, Rule, wait_for};
use serde_json::Value;

/// A pod that writes 200 numbered lines a second to its output, and others to a file that rolls every two seconds.
fn counting_pod(name: &str, numbers: u32) -> String {
    let script = format!(
        "exec {{z}}<> <(:); mkdir -p /var/log/sprout; t0=${{EPOCHREALTIME/./}}; for ((i=1; i<={numbers}; i++)); do echo out $i; \
         now=$EPOCHREALTIME; printf '%(%d-%m-%Y %H:%M:%S)T.%s UTC Status main.cpp:1: file %s\\n' ${{now%.*}} ${{now:11:3}} $i \
         >> /var/log/sprout/sprout_20261123T$((10 + i / 400))0000Z.txt; \
         ((t0 + i * 5000 > ${{EPOCHREALTIME/./}})) && read -t 0.004 -u $z; done; sleep infinity"
    );
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"service": "sprout"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
            "name": "sprout", "image": TOOLS_IMAGE, "imagePullPolicy": "Never", "command": ["bash", "-c", script],
        }]},
    })
    .to_string()
}

/// The numbers behind a word, smallest first.
fn numbers(records: &[Value], word: &str) -> Vec<u32> {
    let number = |r: &Value| r["message"].as_str()?.split_once(word)?.1.trim().parse().ok();
    let mut all: Vec<u32> = records.iter().filter_map(number).collect();
    all.sort_unstable();
    all
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn nothing_is_lost_or_doubled_while_streams_are_cut() -> Result<()> {
    const LAST: u32 = 1200;
    let cluster = cluster();
    let namespace = cluster.namespace("l1-logs-cut")?;
    let kubectl = namespace.kubectl();
    kubectl.apply(&counting_pod("count", LAST))?;
    let mut proxy = cluster.local()?.api_proxy()?;
    proxy.set(&[
        Rule::new(Fault::Cut(Duration::from_secs(2))).path("/log"),
        Rule::new(Fault::Cut(Duration::from_secs(2))).path("/exec"),
    ])?;
    let plugin = Plugin::as_user(&proxy.kubeconfig()?, namespace.name())?;
    let mut child = plugin.spawn(&["logs", "--source", "all", "-o", "typed"])?;
    let out = BufReader::new(child.stdout.take().context("no standard output")?);
    let mut records: Vec<Value> = Vec::new();
    let last = [format!("out {LAST}"), format!("file {LAST}")];
    let mut left = last.len();
    for line in out.lines() {
        let record: Value = serde_json::from_str(&line?)?;
        left -= usize::from(record["message"].as_str().is_some_and(|m| last.iter().any(|l| m.ends_with(l))));
        records.push(record);
        // A line of a stream that was cut may come after the last one of another.
        if left == 0
            && last.iter().all(|l| l.split_once(' ').is_some_and(|(w, _)| numbers(&records, w).len() == LAST as usize))
        {
            break;
        }
    }
    ensure!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success());
    let err = String::from_utf8_lossy(&child.wait_with_output()?.stderr).into_owned();
    let cuts = proxy.requests().iter().filter(|r| r.action == "cut").count();
    ensure!(cuts >= 4, "only {cuts} streams were cut");
    for word in ["out ", "file "] {
        let seen = numbers(&records, word);
        ensure!(seen.iter().copied().eq(1..=LAST), "{word}after {cuts} cuts: {seen:?}\n{err}");
    }
    let unmarked: Vec<jiff::Timestamp> = records
        .iter()
        .filter(|r| r["late"] != true)
        .filter_map(|r| r["time"].as_str())
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    ensure!(unmarked.is_sorted(), "lines without a late mark are not in order\n{err}");
    ensure!(err.contains("; 0 gaps"), "{err}");
    // A follower takes longer to start on a busy machine than its connection lives here; output has no such excuse.
    let late = records.iter().filter(|r| r["late"] == true && r["source"] == "stdout").count();
    ensure!(late * 4 < records.len(), "{late} lines of the output are late\n{err}");
    // The followers end when nobody speaks to them any more.
    wait_for("the follower in the container to end", Duration::from_secs(20), || {
        let found = kubectl.run([
            "exec",
            "count",
            "--",
            "bash",
            "-c",
            "for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $p; echo; done 2>/dev/null | grep '[f]ollow-logs' || true",
        ])?;
        Ok(if found.is_empty() { Attempt::Done(()) } else { Attempt::not_yet(found) })
    })?;
    Ok(())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn one_call_is_traced_through_bono_and_sprout() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("l1-logs-call")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    plugin.run(&["up", "--yes", "--set", "logLevel=4", "--set", "keys=upstream"])?.expect(0)?;
    let phone = Phone::start(namespace.kubectl())?;
    let users = phone.provision("ellis", 2)?;
    phone.exercise("bono", &users[0], &users[1], Transport::Tcp)?.check()?;

    // Everything that every component wrote comes in order, but for what says that it is late.
    let logs = plugin.run(&["logs", "--no-follow", "-o", "typed"])?.expect(0)?;
    let records = logs.events()?;
    let mut before = (jiff::Timestamp::MIN, "");
    for record in records.iter().filter(|r| r["late"] != true) {
        let text = record["time"].as_str().context("a record without a time")?;
        let time = text.parse().with_context(|| format!("the time of {record}"))?;
        ensure!(before.0 <= time, "not in order: {record} after {}\n{}", before.1, logs.err);
        before = (time, text);
    }
    let late = records.iter().filter(|r| r["late"] == true).count();
    ensure!(late * 4 < records.len(), "{late} of {} lines are late\n{}", records.len(), logs.err);
    for component in ["bono", "sprout", "homestead", "chronos", "cassandra", "etcd"] {
        ensure!(records.iter().any(|r| r["component"] == component), "nothing of {component}:\n{}", logs.err);
    }
    let named = plugin.run(&["logs", "bono", "--no-follow", "--format", "{time} {component}"])?.expect(0)?;
    ensure!(named.out.lines().all(|l| l.ends_with(" bono")), "{}", named.out);
    let trace = plugin.run(&["trace", &users[0].uri])?.expect(0)?;
    for message in ["REGISTER", "INVITE", "200 OK", "BYE"] {
        ensure!(trace.out.contains(message), "no {message}:\n{}\n{}", trace.out, trace.err);
    }
    let head = trace.out.lines().next().unwrap_or_default();
    ensure!(head.contains("phone 1") && head.contains("bono") && head.contains("sprout"), "{}", trace.out);
    ensure!(trace.err.contains("bono is bono-"), "{}", trace.err);
    ensure!(!trace.out.contains("● From: "), "a message came in pieces:\n{}", trace.out);
    // homestead's part of it stands between the messages.
    let asked = trace.out.lines().find(|l| l.contains("● ") && (l.contains("/impu/") || l.contains("/impi/")));
    ensure!(asked.is_some(), "nothing of homestead:\n{}\n{}", trace.out, trace.err);

    // What is saved can be looked at later, and drawn.
    let saved = tempfile::tempdir()?;
    let dir = saved.path().to_str().context("a path")?;
    plugin.run(&["logs", "--no-follow", "--dir", dir, "-o", "typed"])?.expect(0)?;
    // What there was is listed, with how it ended, the same of the pods and of what was saved.
    let listed = |args: &[&str]| -> Result<Vec<String>> {
        let ran = plugin.run(&[&["trace", "-o", "json"], args].concat())?.expect(0)?;
        let report: serde_json::Value = serde_json::from_str(&ran.out).with_context(|| ran.said())?;
        let all = report["dialogs"].as_array().context("no dialogs")?;
        Ok(all.iter().map(|d| format!("{} {} {} {}", d["callId"], d["method"], d["outcome"], d["status"])).collect())
    };
    let all = listed(&[])?;
    ensure!(all.iter().any(|d| d.ends_with(r#""INVITE" "succeeded" 200"#)), "{all:?}");
    ensure!(listed(&["--from", dir])? == all, "{all:?}\nof files: {:?}", listed(&["--from", dir])?);
    ensure!(listed(&["--failed"])?.is_empty(), "{all:?}");
    ensure!(saved.path().join("bono.log").exists() && saved.path().join("homestead.log").exists(), "no file for each");
    let again = plugin.run(&["logs", "--from", dir, "--role", "p-cscf", "-o", "raw"])?.expect(0)?;
    let live = plugin.run(&["logs", "bono", "--no-follow", "-o", "raw"])?.expect(0)?;
    let invites = |text: &str| text.lines().filter(|l| l.starts_with("INVITE ")).count();
    ensure!(
        invites(&again.out) > 0 && invites(&again.out) == invites(&live.out),
        "bono's saved lines are not bono's lines"
    );
    let drawn = plugin.run(&["trace", &users[0].uri, "--from", dir])?.expect(0)?;
    // Lines of one millisecond may stand in another order.
    let arrows = |text: &str| text.lines().filter(|l| !l.contains('●')).count();
    ensure!(
        arrows(&drawn.out) == arrows(&trace.out),
        "drawn from files:\n{}\ndrawn from the pods:\n{}",
        drawn.out,
        trace.out
    );
    plugin.run(&["down", "--yes", "--now"])?.expect(0)?;
    Ok(())
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn messages_are_written_for_a_while() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("l1-logs-while")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let pods = || -> Result<BTreeMap<String, String>> {
        let all =
            namespace.kubectl().json(["get", "pods", "--field-selector=status.phase=Running", "--selector=service"])?;
        let all = all["items"].as_array().cloned().unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        Ok(all.iter().map(|p| (text(&p["metadata"]["uid"]), text(&p["metadata"]["labels"]["service"]))).collect())
    };
    let made = |before: &BTreeMap<String, String>| -> Result<BTreeSet<String>> {
        Ok(pods()?.into_iter().filter(|(uid, _)| !before.contains_key(uid)).map(|(_, service)| service).collect())
    };
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(&file, "apiVersion: clearwater/v1\nkeys: upstream\n")?;
    let named = ["-f", file.path().to_str().context("a path")?];
    let run = |args: &[&str]| plugin.run(&[args, &named].concat());
    run(&["up", "--yes"])?.expect(0)?;
    let phone = Phone::start(namespace.kubectl())?;
    let users = phone.provision("ellis", 2)?;
    phone.exercise("bono", &users[0], &users[1], Transport::Tcp)?.check()?;
    let silent = run(&["trace"])?;
    ensure!(silent.err.contains("trace --enable"), "{}", silent.said());

    let before = pods()?;
    let asked = run(&["trace", "--enable"])?;
    ensure!(asked.code != 0 && made(&before)?.is_empty(), "nobody agreed to it: {}", asked.said());
    let enabled = run(&["trace", "--enable", "--yes"])?.expect(0)?;
    ensure!(enabled.err.contains("trace --disable"), "{}", enabled.said());
    ensure!(made(&before)? == BTreeSet::from(["bono".to_owned(), "sprout".to_owned()]), "{:?}", made(&before)?);
    phone.exercise("bono", &users[0], &users[1], Transport::Tcp)?.check()?;
    let listed = run(&["trace"])?.expect(0)?;
    ensure!(listed.out.contains("INVITE"), "{}", listed.said());

    let before = pods()?;
    run(&["trace", "--disable", "--yes"])?.expect(0)?;
    ensure!(made(&before)? == BTreeSet::from(["bono".to_owned(), "sprout".to_owned()]), "{:?}", made(&before)?);
    run(&["up", "--yes"])?.expect(0)?;
    ensure!(made(&before)?.len() == 2, "that was all that differed: {:?}", made(&before)?);
    plugin.run(&["down", "--yes", "--now"])?.expect(0)?;
    Ok(())
}

/// What any user of a container may make in a folder of logs: names that a shell would run, names that would forge a
/// line, and what would hang who opens it.
const HOSTILE: &str = r"
mkdir -p /var/log/sprout; cd /var/log/sprout
echo x > 'sprout_$(id>${PWD}tmp${PWD}x).txt'
echo x > 'sprout_$(touch ran).txt'
echo x > 'sprout_`touch ran`.txt'
echo x > 'sprout_x],a[$(touch ran)].txt'
echo x > $'sprout_\n0 forged\n.txt'
echo x > $'sprout_\e[2J.txt'
mkfifo sprout_fifo.txt
mkdir sprout_folder.txt
printf 'nul\0bytes \0and 1\nno \0\0second\n' > sprout_20261124T100000Z.txt
";

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn names_of_files_are_told_and_never_run() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("l1-logs-names")?;
    let kubectl = namespace.kubectl();
    kubectl.apply(&counting_pod("names", 3))?;
    kubectl.run(["wait", "--for=condition=Ready", "pod/names", "--timeout=60s"])?;
    kubectl.run(["exec", "names", "--", "bash", "-c", HOSTILE])?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    for args in [&["--no-follow"][..], &["--no-follow", "--tail", "5", "--since", "1h"]] {
        let args = [&["logs", "--source", "files", "-o", "raw"], args].concat();
        let logs = plugin.run(&args)?.expect(0)?;
        ensure!(!logs.out.contains("forged") && !logs.out.contains('x'), "{}", logs.out);
        ensure!(logs.out.contains("nulbytes and 1\nno second\n"), "{}", logs.out);
        let told = logs.err.lines().filter(|l| l.contains("left out: ")).count();
        ensure!(told == 8, "{told} are told:\n{}", logs.err);
        for name in [r"sprout_\$\(touch\ ran\).txt: its name", "sprout_fifo.txt: it is no regular file", r"$'/var/log/"]
        {
            ensure!(logs.err.contains(name), "{name} is not told:\n{}", logs.err);
        }
        ensure!(!logs.err.contains('\u{1b}') && !logs.err.contains("\n0 forged"), "{}", logs.err);
    }
    // The working directory of what is run in a container is its root.
    let made = kubectl.run([
        "exec",
        "names",
        "--",
        "bash",
        "-c",
        "cd /; for f in ran tmp/x /tmp/x x var/log/sprout/ran; do [[ -e $f ]] && echo $f; done; true",
    ])?;
    ensure!(made.trim().is_empty(), "a name ran, and made {made}");
    Ok(())
}

/// A pod that writes as fast as it can, to its output and to a file.
fn busy_pod(name: &str) -> String {
    let script = "mkdir -p /var/log/sprout; while :; do for ((i = 0; i < 500; i++)); do echo \"out $i\"; \
        printf '%(%d-%m-%Y %H:%M:%S)T.000 UTC Status main.cpp:1: file %s\\n' -1 $i; done | tee /dev/stdout \
        > /var/log/sprout/sprout_20261123T100000Z.txt; sleep 0.01; done";
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"service": "sprout"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
            "name": "sprout", "image": TOOLS_IMAGE, "imagePullPolicy": "Never", "command": ["bash", "-c", script],
        }]},
    })
    .to_string()
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn busy_streams_do_not_hold_back_ctrl_c_by_hand() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("signals-busy")?;
    let kubectl = namespace.kubectl();
    for name in ["busy-0", "busy-1", "busy-2"] {
        kubectl.apply(&busy_pod(name))?;
    }
    kubectl.run(["wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s"])?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let mut took = Vec::new();
    for (round, signal) in ["-INT", "-TERM"].into_iter().cycle().take(10).enumerate() {
        let mut child = plugin.spawn(&["logs", "--source", "all", "--tail", "1000"])?;
        let mut out = child.stdout.take().context("no standard output")?;
        // In every second round the reader stops taking what is written.
        let reads = round % 4 < 2;
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            let mut read = 0;
            while let Ok(n @ 1..) = out.read(&mut bytes) {
                read += n;
                if !reads && read > 1 << 17 {
                    std::thread::sleep(Duration::from_secs(6));
                    return read;
                }
            }
            read
        });
        std::thread::sleep(Duration::from_secs(3));
        ensure!(Command::new("kill").args([signal, &child.id().to_string()]).status()?.success());
        let began = Instant::now();
        let mut code = None;
        while code.is_none() && began.elapsed() < Duration::from_secs(5) {
            code = child.try_wait()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        took.push(began.elapsed());
        let _ = child.kill();
        let wanted = if signal == "-INT" { 130 } else { 143 };
        ensure!(code.and_then(|c| c.code()) == Some(wanted), "round {round}: {code:?} after {took:?}");
        ensure!(reader.join().is_ok_and(|read| read > 1 << 17), "round {round}: the streams were not busy");
    }
    println!("{took:?}");
    // The promise is a second; what else runs on the machine has another one.
    ensure!(took.iter().all(|t| *t < Duration::from_secs(2)), "{took:?}");
    Ok(())
}
