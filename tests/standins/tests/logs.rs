//! Log files in the real programs' forms: threads, messages, cut calls, levels, access logs.

mod kit;

use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::{Bed, Node, http, until};

struct Pipe {
    child: Child,
    input: Option<ChildStdin>,
}

impl Pipe {
    fn start(node: &Node, args: &[&str]) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_standin"))
            .arg("logpipe")
            .args(args)
            .env("STANDIN_ROOT", &node.root)
            .envs(node.env.iter().cloned())
            .stdin(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        Ok(Self { child, input })
    }

    fn say(&mut self, text: &str) -> Result<()> {
        Ok(self.input.as_mut().context("stdin")?.write_all(text.as_bytes())?)
    }

    fn end(mut self) -> Result<()> {
        drop(self.input.take());
        ensure!(self.child.wait()?.success());
        Ok(())
    }
}

/// A datagram as Kamailio's siptrace sends it.
fn mirrored(micros: u32, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), text: &str) -> Result<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut chunk = |kind: u16, value: &[u8]| -> Result<()> {
        chunks.extend([0, 0]);
        chunks.extend(kind.to_be_bytes());
        chunks.extend(u16::try_from(value.len() + 6)?.to_be_bytes());
        chunks.extend(value);
        Ok(())
    };
    chunk(0x02, &[6])?;
    chunk(0x03, &from.0.octets())?;
    chunk(0x04, &to.0.octets())?;
    chunk(0x07, &from.1.to_be_bytes())?;
    chunk(0x08, &to.1.to_be_bytes())?;
    chunk(0x09, &1_800_000_000u32.to_be_bytes())?;
    chunk(0x0a, &micros.to_be_bytes())?;
    chunk(0x0f, text.as_bytes())?;
    Ok([b"HEP3", &u16::try_from(chunks.len() + 6)?.to_be_bytes()[..], &chunks].concat())
}

fn request(method: &str, body: &str) -> String {
    format!(
        "{method} sip:zone SIP/2.0\r\nCall-ID: a@b\r\nCSeq: 1 {method}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn current(node: &Node, name: &str) -> Result<String> {
    let folder = name.split('_').next().unwrap_or(name);
    Ok(std::fs::read_to_string(node.path("/var/log").join(folder).join(format!("{name}_current.txt")))?)
}

/// Whether the line is `date UTC [thread] `, and what follows.
fn behind_thread(line: &str) -> Option<&str> {
    let (thread, rest) = line.get(28..)?.strip_prefix('[')?.split_once("] ")?;
    (thread.len() == 12 && thread.bytes().all(|b| b.is_ascii_hexdigit())).then_some(rest)
}

fn of_classic(node: &Node) -> Result<()> {
    let file = node.path("/usr/share/clearwater/standin/release");
    std::fs::create_dir_all(file.parent().unwrap_or(Path::new("/")))?;
    Ok(std::fs::write(file, "classic\n")?)
}

#[test]
fn logs_roll_and_obey_their_level() -> Result<()> {
    let bed = Bed::new()?;
    let mut node = bed.node(10, "bono")?;
    node.set("STANDIN_LOG_ROTATE_S", "1");
    // A level in shared_config is not bono's: its start script says which one is.
    std::fs::write(node.path("/etc/clearwater/user_settings"), "log_level=5\n")?;
    let mut pipe = Pipe::start(&node, &["bono", "--level", "3"])?;
    pipe.say(" 4(18) DEBUG: {1800000000.5} core: hidden\nwith its continuation\n 4(18) ERROR: {1800000000.6} tm: shown\nand more\n")?;
    std::thread::sleep(Duration::from_millis(1100));
    pipe.say("Status main.cpp:9: later\n")?;
    pipe.end()?;
    let folder = node.path("/var/log/bono");
    let mut names: Vec<String> =
        std::fs::read_dir(&folder)?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    ensure!(names.len() >= 3 && names.last().is_some_and(|n| n == "bono_current.txt"), "{names:?}");
    ensure!(current(&node, "bono")?.lines().last().and_then(behind_thread) == Some("Status main.cpp:9: later"));
    let all = node.log("bono");
    ensure!(!all.contains("hidden") && !all.contains("continuation"), "{all}");
    let shown = all.lines().find(|l| l.contains("shown")).and_then(behind_thread);
    ensure!(shown == Some("Error pjsip: tm: shown") && all.contains("shown\nand more\n"), "{all}");
    Ok(())
}

#[test]
fn each_message_is_logged_whole_in_the_order_of_its_time_or_cut_as_the_real_one() -> Result<()> {
    let bed = Bed::new()?;
    let node = bed.node(10, "sprout")?;
    let (own, peer) = ((node.ip, 5052), (bed.ip(11), 41_000));
    let address = node.at(9060).to_string();
    let mut pipe = Pipe::start(&node, &["sprout", "--level", "4", "--ports", "5052,5054", "--messages", &address])?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    // Until it listens, the kernel refuses.
    until("the pipe listens", || {
        socket.connect(node.at(9060))?;
        let _ = socket.send(b"nonsense");
        std::thread::sleep(Duration::from_millis(20));
        Ok(socket.send(b"nonsense").is_ok())
    })?;
    let (invite, trying) = (request("INVITE", ""), "SIP/2.0 100 Trying\r\nCall-ID: a@b\r\nCSeq: 1 INVITE\r\n\r\n");
    let big = request("MESSAGE", &"0123456789abcde\n".repeat(1280));
    // Said before it, heard after it.
    socket.send(&mirrored(300, own, peer, trying)?)?;
    socket.send(&mirrored(100, peer, own, &invite)?)?;
    pipe.say(" 3(17) NOTICE: {1800000000.000200} <script>: Verbose sproutletproxy.cpp:2816: to icscf 1 INVITE a@b\n")?;
    std::thread::sleep(Duration::from_millis(100));
    socket.send(&mirrored(400, peer, own, &big)?)?;
    std::thread::sleep(Duration::from_millis(100));
    socket.send(&mirrored(500, peer, own, &request("ACK", ""))?)?;
    std::thread::sleep(Duration::from_millis(100));
    pipe.end()?;
    let log = current(&node, "sprout")?;
    let calls: Vec<&str> = log
        .lines()
        .filter(|l| l.len() > 28 && l[..28].ends_with(" UTC "))
        .map(|l| behind_thread(l).unwrap_or(&l[28..]))
        .collect();
    let rx = |text: &str, what: &str| {
        format!("Verbose common_sip_processing.cpp:77: RX {} bytes Request msg {what}/cseq=1 (rdata0x7f", text.len())
    };
    let begins = [
        rx(&invite, "INVITE"),
        "Verbose sproutletproxy.cpp:2816: Routing Request msg INVITE/cseq=1 (tdta0x7f".to_owned(),
        format!(
            "Verbose common_sip_processing.cpp:93: TX {} bytes Response msg 100/INVITE/cseq=1 (tdta0x7f",
            trying.len()
        ),
        rx(&big, "MESSAGE"),
        "Previous log was truncated by 12".to_owned(),
        rx(&request("ACK", ""), "ACK"),
    ];
    ensure!(calls.len() == begins.len(), "{calls:#?}");
    for (call, begin) in calls.iter().zip(begins) {
        ensure!(call.starts_with(&begin), "{call:?} is not {begin:?}");
    }
    ensure!(calls[0].ends_with(&format!(") from TCP {}:41000:", peer.0)), "{}", calls[0]);
    ensure!(calls[1].ends_with(&format!(" ({} bytes) to downstream sproutlet icscf:", invite.len())), "{}", calls[1]);
    ensure!(log.matches("\n--start msg--\n\n").count() == 5 && log.matches("\n--end msg--\n").count() == 4, "{log}");
    let cut =
        log.split(&format!("RX {}", big.len())).nth(1).and_then(|r| r.split(" UTC Previous").next()).context("cut")?;
    ensure!(!cut.contains("--end msg--"), "{cut}");
    Ok(())
}

#[test]
fn classic_daemons_name_no_thread() -> Result<()> {
    let bed = Bed::new()?;
    let node = bed.node(10, "bono")?;
    of_classic(&node)?;
    let mut pipe = Pipe::start(&node, &["bono"])?;
    pipe.say("Status main.cpp:9: now\n")?;
    pipe.end()?;
    let log = current(&node, "bono")?;
    ensure!(log.get(28..) == Some("Status main.cpp:9: now\n"), "{log}");
    Ok(())
}

#[test]
fn bono_names_an_upstream_that_does_not_resolve_each_second() -> Result<()> {
    let bed = Bed::new()?;
    let node = bed.node(10, "bono")?;
    let pipe = Pipe::start(&node, &["bono", "--pool", "nowhere.zone:5052"])?;
    let wanted =
        "Error sip_connection_pool.cpp:188: Failed to resolve nowhere.zone to an IP address - Not found (PJ_ENOTFOUND)";
    until("two errors", || {
        let log = current(&node, "bono")?;
        Ok(log.lines().filter_map(behind_thread).filter(|l| *l == wanted).count() >= 2)
    })?;
    pipe.end()
}

/// Kamailio tells of a server that fails and of a name that is missing in the same words.
#[test]
fn bono_tells_why_a_name_was_not_found() -> Result<()> {
    let bed = Bed::new()?;
    let node = bed.node(10, "bono")?;
    let upstream = format!("{}:5052", bed.ip(11));
    let mut pipe = Pipe::start(&node, &["bono", "--pool", &upstream])?;
    for name in ["broken.zone", "nowhere.zone"] {
        let line =
            format!("Warning dnscachedresolver.cpp:698: Failed to retrieve record for {name}: Domain name not found");
        pipe.say(&format!(" 3(17) NOTICE: {{1800000000.5}} <script>: {line}\n"))?;
    }
    let wanted = ["broken.zone: Could not contact DNS servers", "nowhere.zone: Domain name not found"];
    let head = "Warning dnscachedresolver.cpp:698: Failed to retrieve record for ";
    until("both lines", || {
        let log = current(&node, "bono")?;
        let seen: Vec<&str> = log.lines().filter_map(|l| behind_thread(l)?.strip_prefix(head)).collect();
        Ok(seen == wanted)
    })
    .with_context(|| node.log("bono"))?;
    pipe.end()
}

#[test]
fn daemons_with_an_http_port_write_access_logs() -> Result<()> {
    let bed = Bed::new()?;
    let mut ralf = bed.node(10, "ralf")?;
    ralf.start_until(&["ralf"], ralf.at(10888))?;
    http("GET", ralf.at(10888), "/ping", "")?;
    http("POST", ralf.at(10888), "/call-id/a%40b", "{}")?;
    let mut sprout = bed.node(11, "sprout")?;
    sprout.start_until(&["sprout-http"], sprout.at(9888))?;
    http("POST", sprout.at(9888), "/timers", "nonsense")?;
    http("GET", sprout.at(9888), "/standin/served/a", "")?;
    let read = |node: &Node, folder: &str| -> Result<Vec<String>> {
        let log = std::fs::read_to_string(node.path("/var/log").join(folder).join("access_current.txt"))?;
        log.lines().map(|l| l.get(28..).map(str::to_owned).context("no time")).collect()
    };
    let of_ralf = read(&ralf, "ralf")?;
    ensure!(of_ralf[0].starts_with("200 GET /ping 0.0") && of_ralf[0].ends_with(" seconds"), "{of_ralf:?}");
    ensure!(of_ralf[1].starts_with("400 POST /call-id/a%40b 0.0"), "{of_ralf:?}");
    let of_sprout = read(&sprout, "sprout")?;
    ensure!(of_sprout.len() == 1 && of_sprout[0].contains(" POST /timers 0.0"), "{of_sprout:?}");
    Ok(())
}

/// Which file each daemon takes its level from: all in one folder, told apart by what they then say.
#[test]
fn each_daemon_takes_its_level_from_its_own_file() -> Result<()> {
    let mut bed = Bed::new()?;
    bed.shared.insert("log_level".to_owned(), "5".to_owned());
    bed.shared.insert("etcd_cluster_key".to_owned(), "node_type_chronos".to_owned());
    let says_debug = |node: &mut Node, program: &str, folder: &str, word: &str| -> Result<bool> {
        node.start(&[program])?;
        let address = match program {
            "chronos" => node.at(7253),
            "ralf" => node.at(10888),
            _ => node.at(11311),
        };
        until(program, || Ok(kit::open(address)))?;
        until("its first lines", || Ok(!node.log(folder).is_empty()))?;
        node.kill(program)?;
        Ok(node.log(folder).contains(word))
    };
    let mut node = bed.node(10, "node_type_chronos")?;
    std::fs::create_dir_all(node.path("/etc/clearwater"))?;
    std::fs::write(node.path("/etc/clearwater/cluster_settings"), format!("servers={}:11211\n", node.ip))?;
    ensure!(says_debug(&mut node, "rogers", "rogers", " Debug ")?, "{}", node.log("rogers"));
    ensure!(node.log("rogers").contains("Status utils.cpp:762: Log level set to 5\n"), "{}", node.log("rogers"));
    // chronos: its own file alone.
    std::fs::create_dir_all(node.path("/etc/chronos"))?;
    std::fs::write(node.path("/etc/chronos/chronos.conf"), "[http]\nlevel = 5\n\n[logging]\nlevel = 1\n")?;
    node.start(&["chronos"])?;
    until("chronos", || Ok(kit::open(node.at(7253))))?;
    ensure!(!node.log("chronos").contains(" Status "), "{}", node.log("chronos"));
    node.kill("chronos")?;
    // astaire and the cluster manager: user_settings alone.
    let astaire = |node: &mut Node| -> Result<String> {
        std::fs::remove_dir_all(node.path("/var/log/astaire")).ok();
        node.start(&["astaire"])?;
        let line = "Log level set to ";
        until("astaire", || Ok(node.log("astaire").contains(line)))?;
        node.kill("astaire")?;
        Ok(node.log("astaire").split(line).nth(1).unwrap_or_default().chars().take(1).collect())
    };
    ensure!(astaire(&mut node)? == "2", "{}", node.log("astaire"));
    node.start(&["cluster-agent"])?;
    let manager = |node: &Node| node.log("clearwater-cluster-manager");
    until("the manager", || Ok(manager(&node).contains("UTC INFO main.py:180 (thread MainThread)")))?;
    std::thread::sleep(Duration::from_millis(200));
    ensure!(!manager(&node).contains(" DEBUG "), "{}", manager(&node));
    node.kill("cluster-agent")?;
    std::fs::write(node.path("/etc/clearwater/user_settings"), "log_level=4\n")?;
    ensure!(astaire(&mut node)? == "4", "{}", node.log("astaire"));
    Ok(())
}

#[test]
fn python_daemons_write_info_and_name_no_thread() -> Result<()> {
    let mut bed = Bed::new()?;
    bed.shared.insert("log_level".to_owned(), "0".to_owned());
    let mut node = bed.node(10, "homer")?;
    node.start(&["homer"])?;
    until("homer", || Ok(node.log("homer").contains("listen for HTTP")))?;
    let log = node.log("homer");
    let line = log.lines().next().and_then(|l| l.get(28..)).unwrap_or_default();
    ensure!(line.starts_with("INFO main.py:81: Going to listen for HTTP on UNIX socket "), "{log}");
    Ok(())
}
