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
            "Marking node as failed and removing it from the cluster - will take at least 30 seconds\nProcess complete - {} has left the cluster\n",
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
