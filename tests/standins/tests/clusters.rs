//! Joining, leaving, stale members, and data that must survive them.

mod kit;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kit::{Bed, Binary, Node, http, until};

const MEMCACHED: &str = "site1/node_type_memcached/clustering/memcached";
/// How long the timers run: members must join, leave and die meanwhile, also on a busy machine.
const LIFE: Duration = Duration::from_secs(12);
const CHRONOS: &str = "site1/node_type_chronos/clustering/chronos";

fn store(bed: &Bed, host: u8) -> Result<Node> {
    let mut node = bed.node(host, "node_type_memcached")?;
    node.memcached()?;
    node.start(&["cluster-agent"])?;
    Ok(node)
}

fn serve(node: &mut Node) -> Result<()> {
    let settings = node.path("/etc/clearwater/cluster_settings");
    until("cluster_settings", || Ok(settings.exists()))?;
    node.start(&["astaire"])?;
    node.start_until(&["rogers"], node.at(11311))
}

#[test]
fn members_join_leave_and_a_dead_one_blocks_until_marked() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    // The agent is there first and waits for etcd.
    let mut one = store(&bed, 1)?;
    let refused = one.run(&["rogers"])?;
    ensure!(refused.status.code() == Some(3), "{refused:?}");
    ensure!(one.run(&["astaire"])?.status.code() == Some(3));
    bed.start_etcd()?;
    serve(&mut one)?;
    bed.until_map(MEMCACHED, "1=normal")?;

    let mut two = store(&bed, 2)?;
    let mut three = store(&bed, 3)?;
    serve(&mut two)?;
    serve(&mut three)?;
    bed.until_map(MEMCACHED, "1=normal,2=normal,3=normal")?;
    let checked = three.run(&["check-cluster-state"])?;
    let text = String::from_utf8(checked.stdout)?;
    ensure!(checked.status.code() == Some(0), "{text}");
    ensure!(text.contains(&format!("This node ({}) should be in the Memcached cluster.\n", three.ip)), "{text}");
    ensure!(text.contains("Describing the Memcached cluster:\n  The cluster is stable.\n"), "{text}");

    two.pre_stop()?;
    bed.until_map(MEMCACHED, "1=normal,3=normal")?;

    // Killed without leaving: the next one stalls.
    for program in ["cluster-agent", "astaire", "rogers", "memcached"] {
        three.kill(program)?;
    }
    let mut four = store(&bed, 4)?;
    bed.until_map(MEMCACHED, "1=normal, acknowledged change,3=normal,4=joining, acknowledged change")?;
    std::thread::sleep(Duration::from_millis(500));
    bed.until_map(MEMCACHED, "1=normal, acknowledged change,3=normal,4=joining, acknowledged change")?;
    let checked = one.run(&["check-cluster-state"])?;
    ensure!(checked.status.code() == Some(1));
    ensure!(String::from_utf8(checked.stderr)?.contains("1 unstable cluster(s)"));

    let (dead, starts) = (three.ip.to_string(), Instant::now());
    let marker = bed.node(1, "node_type_memcached")?;
    let marking =
        std::thread::spawn(move || marker.run(&["mark-node-failed", "node_type_memcached", "memcached", &dead]));
    serve(&mut four)?;
    let outcome = marking.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    let text = String::from_utf8(outcome.stdout)?;
    ensure!(
        text == format!(
            "Detailed output being sent to /var/log/clearwater-etcd/mark_node_failed.log\nMarking node as failed and removing it from the cluster - will take at least 30 seconds\nProcess complete - {} has left the cluster\n",
            three.ip
        ),
        "{text} {}",
        String::from_utf8_lossy(&outcome.stderr)
    );
    ensure!(starts.elapsed() >= Duration::from_millis(150));
    bed.until_map(MEMCACHED, "1=normal,4=normal")?;
    Ok(())
}

#[test]
fn a_map_survives_etcd_and_a_held_member_stalls_a_join() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    let mut one = bed.node(1, "node_type_cassandra")?;
    one.etcd_proxy(&bed)?;
    one.start(&["cluster-agent"])?;
    let missing = one.run(&["cassandra"])?;
    ensure!(missing.status.code() == Some(0));
    ensure!(String::from_utf8(missing.stdout)? == "Exiting: cassandra.yaml is missing\n");
    let key = "node_type_cassandra/clustering/cassandra";
    // It stays joining until Cassandra has booted, and serves only once it is normal.
    bed.until_map(key, "1=joining, acknowledged change")?;
    let yaml = one.path("/etc/cassandra/cassandra.yaml");
    until("cassandra.yaml", || Ok(yaml.exists()))?;
    ensure!(!kit::open(one.at(9160)));
    one.start_until(&["cassandra"], one.at(9160))?;
    bed.until_map(key, "1=normal")?;
    until("schema", || Ok(http("GET", one.at(9160), "/ks/homer", "")?.status == 200))?;

    bed.stop_etcd();
    std::thread::sleep(Duration::from_millis(300));
    bed.start_etcd()?;
    bed.until_map(key, "1=normal")?;

    std::fs::create_dir_all(one.path("/run/standin/fault"))?;
    std::fs::write(one.path("/run/standin/fault/agent.hold"), "")?;
    ensure!(http("PUT", one.at(9160), "/ks/homer/simservs/a%20b", "\"kept\"")?.status == 200);
    let mut two = bed.node(2, "node_type_cassandra")?;
    two.start(&["cluster-agent"])?;
    bed.until_map(key, "1=normal,2=joining, acknowledged change")?;
    std::fs::remove_file(one.path("/run/standin/fault/agent.hold"))?;
    two.start_until(&["cassandra"], two.at(9160)).with_context(|| {
        format!("{:?} {} {}", bed.map(key), two.log("cassandra"), two.log("clearwater-cluster-manager"))
    })?;
    bed.until_map(key, "1=normal,2=normal")?;
    until("the row is on the new member", || {
        Ok(http("GET", two.at(9160), "/ks/homer/simservs/a%20b", "")?.body == "\"kept\"")
    })?;
    ensure!(http("PUT", two.at(9160), "/ks/homer/simservs/c", "1")?.status == 200);
    ensure!(http("GET", one.at(9160), "/ks/homer/simservs/c", "")?.body == "1");
    let status = String::from_utf8(two.run(&["nodetool", "status"])?.stdout)?;
    ensure!(status.matches("\nUN  127.").count() == 2, "{status}");

    // A container restarted in place has no yaml and never gets it back.
    one.kill("cassandra")?;
    one.kill("cluster-agent")?;
    std::fs::remove_dir_all(one.path("/etc/cassandra"))?;
    one.start(&["cluster-agent"])?;
    std::thread::sleep(Duration::from_millis(600));
    ensure!(String::from_utf8(one.run(&["cassandra"])?.stdout)?.starts_with("Exiting:"));
    bed.until_map(key, "1=normal,2=normal")?;
    Ok(())
}

#[test]
fn a_thousand_keys_outlive_one_to_three_to_one() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    let mut one = store(&bed, 1)?;
    serve(&mut one)?;
    bed.until_map(MEMCACHED, "1=normal")?;
    let mut client = Binary::connect(one.at(11311))?;
    for i in 0..1000 {
        ensure!(client.store(Binary::SET, &format!("key{i}"), &format!("value{i}"), 0)? == 0);
    }
    let mut two = store(&bed, 2)?;
    let mut three = store(&bed, 3)?;
    serve(&mut two)?;
    serve(&mut three)?;
    // Written while the members change.
    for i in 0..200 {
        ensure!(client.store(Binary::SET, &format!("key{i}"), &format!("fresh{i}"), 0)? == 0);
    }
    bed.until_map(MEMCACHED, "1=normal,2=normal,3=normal")?;
    let mut of_two = Binary::connect(two.at(11311))?;
    all_there(&mut of_two).context("asked of the second of three")?;
    let (_, token) = of_two.get("key7")?.context("key7")?;
    let (not_found, exists) = (1, 2);
    ensure!(client.store(Binary::SET, "key7", "fresh7", token)? == 0);
    ensure!(client.store(Binary::SET, "key7", "fresh8", token)? == exists);
    ensure!(client.store(Binary::ADD, "key7", "x", 0)? == exists);
    ensure!(client.store(Binary::DELETE, "nothing", "", 0)? == not_found);

    one.pre_stop()?;
    bed.until_map(MEMCACHED, "2=normal,3=normal")?;
    all_there(&mut of_two).context("after the first left")?;
    // RAM of a member is lost without it leaving: the other copy serves.
    three.kill("memcached")?;
    three.memcached()?;
    all_there(&mut of_two).context("after one lost its memory")?;
    three.pre_stop()?;
    bed.until_map(MEMCACHED, "2=normal")?;
    all_there(&mut Binary::connect(two.at(11311))?).context("on the last one")?;
    Ok(())
}

fn all_there(client: &mut Binary) -> Result<()> {
    for i in 0..1000 {
        let wanted = if i < 200 { format!("fresh{i}") } else { format!("value{i}") };
        let found = client.get(&format!("key{i}"))?;
        ensure!(found.as_ref().is_some_and(|(v, _)| *v == wanted), "key{i} is {found:?}");
    }
    Ok(())
}

/// Takes callbacks and passes their bodies on.
fn receiver(address: std::net::SocketAddr) -> Result<mpsc::Receiver<String>> {
    let listener = TcpListener::bind(address)?;
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut text = String::new();
            let mut buffer = [0u8; 2048];
            while !text.contains("\r\n\r\n") || text.ends_with("\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(n) if n > 0 => text.push_str(&String::from_utf8_lossy(&buffer[..n])),
                    _ => break,
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let body = text.split_once("\r\n\r\n").map_or("", |(_, b)| b).to_owned();
            if send.send(body).is_err() {
                return;
            }
        }
    });
    Ok(receive)
}

#[test]
fn timers_are_handed_over_and_each_pops_once() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    bed.dns.set("callback.zone", &[bed.ip(200)]);
    let pops = receiver((bed.ip(200), 9888).into())?;
    let start = |bed: &Bed, host: u8| -> Result<Node> {
        let mut node = bed.node(host, "node_type_chronos")?;
        node.start(&["chronos"])?;
        let address = node.at(7253);
        until("chronos", || Ok(http("GET", address, "/ping", "")?.body == "OK"))?;
        node.start(&["cluster-agent"])?;
        Ok(node)
    };
    let mut one = start(&bed, 1)?;
    bed.until_map(CHRONOS, "1=normal")?;
    let timer = |name: &str, seconds: f64| {
        serde_json::json!({
            "timing": {"interval": seconds, "repeat-for": seconds},
            "callback": {"http": {"uri": "http://callback.zone:9888/timers", "opaque": name}},
            "reliability": {"replication-factor": 2},
        })
        .to_string()
    };
    let begun = Instant::now();
    for i in 0..20 {
        let made = http("POST", one.at(7253), "/timers", &timer(&format!("t{i}"), LIFE.as_secs_f64()))?;
        ensure!(made.status == 200);
        let place = made.header("location").context("location")?.to_owned();
        if i == 19 {
            ensure!(http("DELETE", one.at(7253), &place, "")?.status == 200);
        }
    }
    let two = start(&bed, 2)?;
    let mut three = start(&bed, 3)?;
    bed.until_map(CHRONOS, "1=normal,2=normal,3=normal")?;
    let conf = std::fs::read_to_string(two.path("/etc/chronos/chronos_cluster.conf"))?;
    ensure!(conf.contains(&format!("localhost = {}\nnode = {}\n", two.ip, one.ip)), "{conf}");
    one.pre_stop()?;
    bed.until_map(CHRONOS, "2=normal,3=normal")?;
    // And one dies without leaving.
    three.kill("chronos")?;
    ensure!(begun.elapsed() < LIFE, "too slow to show anything");
    let mut got = Vec::new();
    while let Ok(name) = pops.recv_timeout(LIFE.saturating_sub(begun.elapsed()) + Duration::from_secs(2)) {
        got.push(name);
        if got.len() == 19 {
            break;
        }
    }
    let early = begun.elapsed() < LIFE;
    ensure!(pops.recv_timeout(Duration::from_millis(800)).is_err(), "a timer popped twice");
    got.sort();
    got.dedup();
    ensure!(got.len() == 19 && !early, "{got:?} after {:?}", begun.elapsed());
    Ok(())
}

/// An agent whose pause is long enough to be told from all else.
fn slow(bed: &Bed, host: u8, delay: Duration) -> Result<Node> {
    let mut node = bed.node(host, "node_type_chronos")?;
    node.set("STANDIN_JOIN_DELAY_MS", &delay.as_millis().to_string());
    // The copying of data is not what is measured.
    node.set("STANDIN_RESYNC_WAIT_MS", "10");
    Ok(node)
}

/// Answers for chronos: nothing is to be copied.
fn copied(node: &mut Node) -> Result<()> {
    node.start(&["chronos"])?;
    let address = node.at(7253);
    until("chronos", || Ok(http("GET", address, "/ping", "")?.body == "OK"))
}

#[test]
fn a_batch_costs_one_pause_and_who_comes_later_another() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let pause = Duration::from_secs(2);
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    let (mut one, mut two, mut three) = (slow(&bed, 1, pause)?, slow(&bed, 2, pause)?, slow(&bed, 3, pause)?);
    for node in [&mut one, &mut two, &mut three] {
        copied(node)?;
    }
    // Both listed before either reads: one poll.
    bed.set_map(CHRONOS, &[(1, "waiting to join"), (2, "waiting to join")])?;
    let begun = Instant::now();
    one.start(&["cluster-agent"])?;
    two.start(&["cluster-agent"])?;
    bed.until_map(CHRONOS, "1=normal,2=normal")?;
    let batch = begun.elapsed();
    ensure!(batch >= pause && batch + Duration::from_millis(200) < pause * 2, "a batch took {batch:?}");
    // They leave together, and come back one in the other's pause.
    one.signal("cluster-agent", rustix::process::Signal::QUIT)?;
    two.signal("cluster-agent", rustix::process::Signal::QUIT)?;
    ensure!(one.ended("cluster-agent")? == 0 && two.ended("cluster-agent")? == 0);
    bed.until_map(CHRONOS, "")?;
    let begun = Instant::now();
    one.start(&["cluster-agent"])?;
    bed.until_map(CHRONOS, "1=waiting to join")?;
    std::thread::sleep(pause / 3);
    three.start(&["cluster-agent"])?;
    // The later one moves both and acknowledges; the first sleeps on and cannot.
    bed.until_map(CHRONOS, "1=joining,3=joining, acknowledged change")?;
    bed.until_map(CHRONOS, "1=normal,3=normal")?;
    let staggered = begun.elapsed();
    ensure!(staggered >= pause * 2 && staggered < pause * 3, "a staggered join took {staggered:?}");
    let log = one.log("clearwater-cluster-manager");
    ensure!(log.contains(" UTC INFO main.py:180 (thread MainThread): Loaded plugin <ChronosPlugin>\n"), "{log}");
    ensure!(
        log.matches("(thread ChronosPlugin): Pausing for 2 seconds in case more nodes are joining").count() >= 3,
        "{log}"
    );
    Ok(())
}

#[test]
fn sigquit_does_what_the_map_allows() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let quit = |node: &Node| node.signal("cluster-agent", rustix::process::Signal::QUIT);
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    // One not listed, held so that it does not join first.
    let mut two = slow(&bed, 2, Duration::from_millis(150))?;
    two.set("STANDIN_FAULT", "agent.hold");
    bed.set_map(CHRONOS, &[(1, "normal")])?;
    two.start(&["cluster-agent"])?;
    until("the agent is there", || Ok(two.log("clearwater-cluster-manager").contains("Loaded plugin")))?;
    quit(&two)?;
    bed.until_map(CHRONOS, "1=normal,2=waiting to leave")?;
    two.kill("cluster-agent")?;
    // Where somebody waits to join, it joins first and leaves then.
    let mut three = slow(&bed, 3, Duration::from_millis(150))?;
    let fault = three.path("/run/standin/fault");
    std::fs::create_dir_all(&fault)?;
    std::fs::write(fault.join("agent.hold"), "")?;
    bed.set_map(CHRONOS, &[(1, "normal"), (9, "waiting to join")])?;
    three.start(&["cluster-agent"])?;
    until("the agent is there", || Ok(three.log("clearwater-cluster-manager").contains("Loaded plugin")))?;
    quit(&three)?;
    std::thread::sleep(Duration::from_millis(200));
    bed.until_map(CHRONOS, "1=normal,9=waiting to join")?;
    std::fs::remove_file(fault.join("agent.hold"))?;
    until("it wrote", || Ok(bed.map(CHRONOS)?.contains("3=")))?;
    ensure!(!bed.map(CHRONOS)?.contains("3=waiting to leave"), "{}", bed.map(CHRONOS)?);
    three.kill("cluster-agent")?;
    // A member in error keeps the others in.
    let mut one = slow(&bed, 1, Duration::from_millis(150))?;
    copied(&mut one)?;
    bed.set_map(CHRONOS, &[(1, "normal"), (9, "error")])?;
    one.start(&["cluster-agent"])?;
    until("the agent settled", || Ok(one.log("clearwater-cluster-manager").contains("on_stable_cluster")))?;
    quit(&one)?;
    std::thread::sleep(Duration::from_millis(700));
    bed.until_map(CHRONOS, "1=normal,9=error")?;
    ensure!(one.runs("cluster-agent")?, "it must wait");
    // And leaves when that one is gone.
    let dead = bed.ip(9).to_string();
    ensure!(one.run(&["mark-node-failed", "node_type_chronos", "chronos", &dead])?.status.success());
    ensure!(one.ended("cluster-agent")? == 0);
    bed.until_map(CHRONOS, "")?;
    Ok(())
}

#[test]
fn several_dead_members_leave_together_and_one_alone_waits_for_the_others() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let pause = Duration::from_millis(300);
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    let mut one = slow(&bed, 1, pause)?;
    copied(&mut one)?;
    let mark = |host: u8| {
        ["mark-node-failed", "node_type_chronos", "chronos"]
            .map(str::to_owned)
            .into_iter()
            .chain([bed.ip(host).to_string()])
    };
    let run = |node: &Node, host: u8| {
        let args: Vec<String> = mark(host).collect();
        node.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let start = |node: &mut Node, host: u8| -> Result<String> {
        let args: Vec<String> = mark(host).collect();
        node.start(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(args.join(" "))
    };
    bed.set_map(CHRONOS, &[(1, "normal"), (7, "normal"), (8, "normal"), (9, "normal")])?;
    one.start(&["cluster-agent"])?;
    let mut names = Vec::new();
    for host in [7, 8, 9] {
        names.push(start(&mut one, host)?);
    }
    for name in names {
        ensure!(one.ended(&name)? == 0);
    }
    bed.until_map(CHRONOS, "1=normal")?;
    let absent = run(&one, 9)?;
    ensure!(absent.status.success());
    ensure!(String::from_utf8(absent.stdout)?.ends_with("\nNot in cluster - no work required\n"));
    // One by one: nobody acknowledges for the other dead one.
    bed.set_map(CHRONOS, &[(1, "normal"), (7, "normal"), (8, "normal")])?;
    let name = start(&mut one, 7)?;
    bed.until_map(CHRONOS, "1=normal, acknowledged change,7=leaving, acknowledged change,8=normal")?;
    std::thread::sleep(pause * 4);
    ensure!(one.runs(&name)?, "it must hang");
    let second = start(&mut one, 8)?;
    ensure!(one.ended(&name)? == 0 && one.ended(&second)? == 0);
    bed.until_map(CHRONOS, "1=normal")
}

#[test]
fn a_map_written_again_as_it_was_keeps_nobody_waiting() -> Result<()> {
    if !kit::ready() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    bed.start_etcd()?;
    let mut one = slow(&bed, 1, Duration::from_millis(1500))?;
    copied(&mut one)?;
    bed.set_map(CHRONOS, &[(1, "normal"), (9, "normal")])?;
    one.start(&["cluster-agent"])?;
    let dead = bed.ip(9).to_string();
    let mark = ["mark-node-failed", "node_type_chronos", "chronos", dead.as_str()];
    one.start(&mark)?;
    // The pause before the next step has begun: the step's write finds another index and the same text.
    bed.until_map(CHRONOS, "1=normal,9=waiting to leave")?;
    bed.set_map(CHRONOS, &[(1, "normal"), (9, "waiting to leave")])?;
    ensure!(one.ended(&mark.join(" "))? == 0);
    bed.until_map(CHRONOS, "1=normal")
}
