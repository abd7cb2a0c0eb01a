use std::net::IpAddr;

use clearwater::component::Asks;

use super::Script;

/// What is said of whom a connection was made to and nothing came of it in time.
const SILENT: &str = "no answer in time";
/// What is said of whom nothing came for long enough: the kernel takes connections for a program that is stopped.
pub(crate) const HANGS: &str = "it takes connections and answers nothing: it hangs";

/// Whether what a question came to says that a program took the connection and answered nothing.
pub(crate) fn is_silence(text: &str) -> bool {
    text.ends_with(SILENT) || text.ends_with(HANGS)
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It serves.
    Good,
    /// It does not, and this one line says what was seen.
    Bad(String),
}

/// Connects to each port and says which are open: address, ports.
const TCP: &str = r#"for p in "${@:2}"; do { :; } 3<>"/dev/tcp/$1/$p" && echo "open $p"; done"#;

/// GETs a path: address, port, patience, path.
const HTTP: &str = r#"{
  printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$4" >&3
  while IFS= read -r -t "$3" l <&3; do printf '%s\n' "$l"; done
  printf '%s\n' "$l"
} 3<>"/dev/tcp/$1/$2""#;

/// Sends OPTIONS to each port and prints the answers' first lines: address, the same as SIP writes it, patience, nonce,
/// ports.
///
/// The rest of an answer is read up to the empty line: a connection that is closed with something unread is reset, and
/// the server logs an error. The first port that is silent ends it: each costs the whole patience.
const SIP: &str = r#"for p in "${@:5}"; do
  {
    printf 'OPTIONS sip:poll@%s:%s SIP/2.0\r\nVia: SIP/2.0/TCP %s;rport;branch=z9hG4bK-%s-%s\r\nMax-Forwards: 2\r\nTo: <sip:poll@%s:%s>\r\nFrom: <sip:poll@%s>;tag=%s\r\nCall-ID: clearwater-%s-%s\r\nCSeq: 1 OPTIONS\r\nContact: <sip:poll@%s>\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n' "$2" "$p" "$2" "$4" "$p" "$2" "$p" "$2" "$4" "$4" "$p" "$2" >&3
    printf '%s ' "$p"
    IFS= read -r -t "$3" l <&3
    printf '%s\n' "$l"
    [ -n "$l" ] || break
    while IFS= read -r -t "$3" m <&3; do ((${#m} > 1)) || break; done
  } 3<>"/dev/tcp/$1/$p" || break
done"#;

/// Sends a memcached request without key and body (memcached's `protocol_binary.h`): 0x80, the operation, and 22 zero
/// bytes. The first two bytes of the answer tell that it is one; bash leaves out the zero bytes that follow. Address,
/// port, patience.
const MEMCACHED: &str = r#"{
  printf '\x80\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00' >&3
  LC_ALL=C IFS= read -r -t "$3" -N 2 l <&3
  LC_ALL=C printf '%q\n' "$l"
} 3<>"/dev/tcp/$1/$2""#;

/// Sends CQL's `OPTIONS` (`native_protocol_v3.spec` §2 and §4.1.3): version 3, no flags, stream 0, opcode 5, no body. One byte of
/// the answer tells that the program is alive: one that hangs has its connections taken by the kernel, and nothing comes.
/// Address, port, patience.
const CQL: &str = r#"{
  printf '\x03\x00\x00\x00\x05\x00\x00\x00\x00' >&3
  LC_ALL=C IFS= read -r -t "$3" -N 1 l <&3
  case $? in 0) echo answered ;; 1) echo closed ;; *) echo silent ;; esac
} 3<>"/dev/tcp/$1/$2""#;

/// Sends a binding request without attributes (RFC 5389 §6); one byte of the answer tells that it is one. Address, port,
/// patience.
const STUN: &str = r#"{
  printf '\x00\x01\x00\x00\x21\x12\xa4\x42clearwater--' >&3
  IFS= read -r -t "$3" -N 1 l <&3
  printf '%q\n' "$l"
} 3<>"/dev/udp/$1/$2""#;

/// Prints the lines `servers` of the section `[dns]`, and `read` where there was a file: file.
const NAME_SERVERS: &str = r#"s=; while IFS= read -r l || [ -n "$l" ]; do
  case $l in
    '['*) s=$l ;;
    servers*=*) [ "$s" != '[dns]' ] || printf '%s\n' "$l" ;;
  esac
done <"$1" && echo read"#;

/// What bash does to ask a question of a pod at its own address, or `None` for what is asked through a forwarded
/// port. `nonce` tells this question from others in SIP dialogs; `patience`
/// is how many seconds bash waits for the next line of an answer.
///
/// The SIP question is the one of upstream's own poll (clearwater-infrastructure `usr/share/clearwater/bin/poll-sip`):
/// OPTIONS for the node itself with `Max-Forwards: 2`.
pub fn script(asks: &Asks, address: IpAddr, nonce: u64, patience: u32) -> Option<Script> {
    Some(match *asks {
        Asks::Tcp(ports) => Script::new(TCP).arg(address).args(ports),
        Asks::Http { port, path, .. } => Script::new(HTTP).arg(address).arg(port).arg(patience).arg(path),
        Asks::SipOptions(ports) => {
            let host = match address {
                IpAddr::V4(v4) => v4.to_string(),
                IpAddr::V6(v6) => format!("[{v6}]"),
            };
            Script::new(SIP).arg(address).arg(host).arg(patience).arg(nonce).args(ports)
        }
        Asks::MemcachedVersion(port) => Script::new(MEMCACHED).arg(address).arg(port).arg(patience),
        Asks::CqlOptions(port) => Script::new(CQL).arg(address).arg(port).arg(patience),
        Asks::EtcdHealth(_) => return None,
        Asks::OneNameServer { file } => Script::new(NAME_SERVERS).arg(file),
        Asks::Stun(port) => Script::new(STUN).arg(address).arg(port).arg(patience),
    })
}

/// Judges what the [`script`] printed.
pub fn judge(asks: &Asks, answer: &str) -> Verdict {
    let first = answer.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or("");
    let refused = || answer.lines().find(|l| l.contains("/dev/tcp/") || l.contains("/dev/udp/")).map(plain);
    match asks {
        Asks::Tcp(ports) => {
            let closed: Vec<String> = ports
                .iter()
                .filter(|port| !answer.lines().any(|l| l.trim() == format!("open {port}")))
                .map(u16::to_string)
                .collect();
            if closed.is_empty() { Verdict::Good } else { Verdict::Bad(format!("closed: port {}", closed.join(", "))) }
        }
        Asks::Http { port, path, body } => {
            let bad = |text: String| Verdict::Bad(format!("GET {path} on port {port}: {text}"));
            if let Some(refused) = refused() {
                return bad(refused);
            }
            let mut words = first.split_whitespace();
            let (Some(version), Some(status)) = (words.next(), words.next()) else {
                return bad(SILENT.to_owned());
            };
            if !version.starts_with("HTTP/") || status != "200" {
                return bad(format!("it answered {first:?}"));
            }
            let Some(wanted) = body else { return Verdict::Good };
            let mut rest = answer.lines().skip_while(|l| !l.trim().is_empty()).skip(1);
            match rest.next().map(str::trim) {
                Some(seen) if seen == *wanted => Verdict::Good,
                Some("") | None => bad(format!("no body in time, {wanted:?} is expected")),
                Some(seen) => bad(format!("its body begins {seen:?}, {wanted:?} is expected")),
            }
        }
        Asks::SipOptions(ports) => {
            for port in *ports {
                let prefix = format!("{port} ");
                let status = answer.lines().find_map(|l| l.strip_prefix(&prefix)).map(str::trim);
                let seen = match status {
                    Some(s) if s.starts_with("SIP/2.0 200") => continue,
                    Some("") => SILENT.to_owned(),
                    Some(s) => format!("it answered {s:?}"),
                    None => {
                        let ours = |l: &&str| l.contains(&format!("/{port}:"));
                        answer.lines().find(ours).map_or_else(|| "it was not asked".to_owned(), plain)
                    }
                };
                return Verdict::Bad(format!("SIP OPTIONS on port {port}: {seen}"));
            }
            Verdict::Good
        }
        Asks::MemcachedVersion(port) => {
            if first == "$'\\201\\v'" {
                return Verdict::Good;
            }
            let seen = refused().unwrap_or_else(|| match first {
                "" | "''" => SILENT.to_owned(),
                other => format!("it answered {other}"),
            });
            Verdict::Bad(format!("memcached version on port {port}: {seen}"))
        }
        Asks::CqlOptions(port) => {
            let said = |word: &str| answer.lines().any(|line| line.trim() == word);
            let seen = if said("answered") {
                return Verdict::Good;
            } else if said("silent") {
                HANGS.to_owned()
            } else if said("closed") {
                "it closed the connection without an answer".to_owned()
            } else {
                refused().unwrap_or_else(|| format!("it answered {first:?}"))
            };
            Verdict::Bad(format!("CQL OPTIONS on port {port}: {seen}"))
        }
        Asks::EtcdHealth(port) => {
            if etcd_health(answer) == Some(true) {
                Verdict::Good
            } else {
                Verdict::Bad(format!("/health on port {port}: it answered {first:?}"))
            }
        }
        Asks::OneNameServer { file } => one_name_server(file, answer),
        Asks::Stun(port) => {
            if first.contains("\\001") {
                Verdict::Good
            } else {
                Verdict::Bad(format!("STUN binding on UDP port {port}: {SILENT}"))
            }
        }
    }
}

/// Whether etcd says that it is in health; `None` where the answer does not tell. etcd 2 and 3 write the value as a string,
/// later ones may not.
pub(crate) fn etcd_health(answer: &str) -> Option<bool> {
    let answer: serde_json::Value = serde_json::from_str(answer.trim()).ok()?;
    let health = &answer["health"];
    health.as_bool().or_else(|| health.as_str()?.parse().ok())
}

/// Of several addresses in one setting chronos reads none, and asks 127.0.0.1 instead (cpp-common
/// `src/dnscachedresolver.cpp`). The generator writes every name server of the pod there, joined by commas.
fn one_name_server(file: &str, answer: &str) -> Verdict {
    if answer.lines().next_back().map(str::trim) != Some("read") {
        return Verdict::Bad(format!(
            "{file} cannot be read: {}",
            answer.lines().next().map(plain).unwrap_or_default()
        ));
    }
    let settings: Vec<&str> = answer.lines().filter_map(|l| l.split_once('=')).map(|(_, value)| value.trim()).collect();
    let heard = settings.iter().any(|value| value.parse::<IpAddr>().is_ok());
    match settings.iter().find(|value| value.contains(',')).filter(|_| !heard) {
        Some(several) => Verdict::Bad(format!(
            "its pod has several name servers, and it cannot read \"{several}\" as one address: it asks 127.0.0.1, and finds \
             nobody whom a timer calls back"
        )),
        None => Verdict::Good,
    }
}

/// bash's complaint without its own place: `connect: Connection refused`.
fn plain(line: &str) -> String {
    line.rsplit(": ").next().unwrap_or(line).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, UdpSocket};

    /// Runs a question on this machine's bash against a listener that answers the same bytes to everybody.
    fn ask(asks: impl Fn(u16) -> Asks, answer: &'static [u8]) -> Verdict {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            if reader.fill_buf().unwrap().first() == Some(&0x80) {
                let mut head = [0; 24];
                reader.read_exact(&mut head).unwrap();
                assert_eq!((head[1], &head[2..]), (0x0b, &[0u8; 22][..]));
                stream.write_all(answer).unwrap();
                stream.read_to_end(&mut Vec::new()).ok();
                return "version".to_owned();
            }
            let mut line = String::new();
            while !line.ends_with("\r\n\r\n") && reader.read_line(&mut line).unwrap() > 0 {}
            stream.write_all(answer).unwrap();
            // A SIP server keeps its connections.
            if line.starts_with("GET") {
                stream.shutdown(std::net::Shutdown::Both).ok();
            } else {
                stream.read_to_end(&mut Vec::new()).ok();
            }
            line
        });
        let asks = asks(port);
        let verdict = run(&asks);
        assert!(!server.join().unwrap().is_empty());
        verdict
    }

    fn run(asks: &Asks) -> Verdict {
        let line = script(asks, "127.0.0.1".parse().unwrap(), 7, 3).unwrap().line().unwrap();
        let output = std::process::Command::new("bash").args(["-c", &format!("exec 2>&1; {line}")]).output().unwrap();
        judge(asks, &String::from_utf8_lossy(&output.stdout))
    }

    fn leak(port: u16) -> &'static [u16] {
        Box::leak(Box::new([port]))
    }

    #[test]
    fn http() {
        let ping = |port| Asks::Http { port, path: "/ping", body: Some("OK") };
        assert_eq!(ask(ping, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"), Verdict::Good);
        let bad = ask(ping, b"HTTP/1.1 502 Bad Gateway\r\n\r\nno");
        assert!(matches!(&bad, Verdict::Bad(t) if t.contains("502 Bad Gateway")), "{bad:?}");
        let bad = ask(ping, b"HTTP/1.1 200 OK\r\n\r\nKO");
        assert!(matches!(&bad, Verdict::Bad(t) if t.contains("begins \"KO\"")), "{bad:?}");
    }

    #[test]
    fn sip() {
        let options = |port| Asks::SipOptions(leak(port));
        assert_eq!(ask(options, b"SIP/2.0 200 OK\r\nVia: x\r\n\r\n"), Verdict::Good);
        let bad = ask(options, b"SIP/2.0 503 Service Unavailable\r\n\r\n");
        assert!(matches!(&bad, Verdict::Bad(t) if t.contains("503")), "{bad:?}");
    }

    #[test]
    fn a_silent_sip_port_is_named_after_one_patience() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |l: &TcpListener| l.local_addr().unwrap().port();
        let ports: &'static [u16] = Box::leak(Box::new([port(&silent), port(&other)]));
        let asks = Asks::SipOptions(ports);
        let line = script(&asks, "127.0.0.1".parse().unwrap(), 7, 1).unwrap().line().unwrap();
        let began = std::time::Instant::now();
        let output = std::process::Command::new("bash").args(["-c", &format!("exec 2>&1; {line}")]).output().unwrap();
        let Verdict::Bad(text) = judge(&asks, &String::from_utf8_lossy(&output.stdout)) else { panic!("it is silent") };
        assert_eq!(text, format!("SIP OPTIONS on port {}: no answer in time", ports[0]));
        other.set_nonblocking(true).unwrap();
        assert!(other.accept().is_err(), "the other port was asked, {:?} after", began.elapsed());
    }

    #[test]
    fn name_servers() {
        let path = std::env::temp_dir().join(format!("chronos-{}.conf", std::process::id()));
        let file: &'static str = Box::leak(path.to_str().unwrap().to_owned().into_boxed_str());
        let asked = |text: &str| {
            std::fs::write(file, text).unwrap();
            run(&Asks::OneNameServer { file })
        };
        let rest = "[http]\nservers = 1,2\nbind-port = 7253\n";
        for good in
            ["", "\n[dns]\nservers=10.96.0.10", "[dns]\nservers = fd00::a\n", "[dns]\nservers=::1\nservers=::1,::2\n"]
        {
            assert_eq!(asked(&format!("{rest}{good}")), Verdict::Good, "{good}");
        }
        for bad in ["\n[dns]\nservers=10.96.0.10,10.96.0.11", "[dns]\nservers = ::1,::2\n[logging]\nlevel = 2\n"] {
            let Verdict::Bad(text) = asked(&format!("{rest}{bad}")) else { panic!("{bad}") };
            assert!(text.contains("several name servers") && text.contains("asks 127.0.0.1"), "{text}");
        }
        std::fs::remove_file(file).unwrap();
        let Verdict::Bad(text) = run(&Asks::OneNameServer { file }) else { panic!("there is no file") };
        assert!(text.contains("cannot be read: No such file"), "{text}");
    }

    #[test]
    fn memcached() {
        let version = b"\x81\x0b\0\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\x001.6.0";
        assert_eq!(ask(Asks::MemcachedVersion, version), Verdict::Good);
        let bad = ask(Asks::MemcachedVersion, b"ERROR\r\n");
        assert!(matches!(&bad, Verdict::Bad(t) if t.ends_with("it answered ER")), "{bad:?}");
    }

    /// As a program that hangs does: the kernel takes the connection, and nobody answers.
    #[test]
    fn what_takes_connections_and_says_nothing_hangs() {
        let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = hangs.local_addr().unwrap().port();
        for asks in [
            Asks::CqlOptions(port),
            Asks::MemcachedVersion(port),
            Asks::SipOptions(leak(port)),
            Asks::Http { port, path: "/ping", body: Some("OK") },
        ] {
            let line = script(&asks, "127.0.0.1".parse().unwrap(), 7, 1).unwrap().line().unwrap();
            let output =
                std::process::Command::new("bash").args(["-c", &format!("exec 2>&1; {line}")]).output().unwrap();
            let Verdict::Bad(text) = judge(&asks, &String::from_utf8_lossy(&output.stdout)) else { panic!("{asks:?}") };
            assert!(is_silence(&text), "{text}");
        }
        let cql = |answer: &'static [u8]| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 9];
                stream.read_exact(&mut asked).unwrap();
                assert_eq!(asked, [3, 0, 0, 0, 5, 0, 0, 0, 0]);
                stream.write_all(answer).unwrap();
            });
            let verdict = run(&Asks::CqlOptions(port));
            server.join().unwrap();
            verdict
        };
        assert_eq!(cql(b"\x83\0\0\0\x06\0\0\0\x02\0\0"), Verdict::Good);
        let Verdict::Bad(text) = cql(b"") else { panic!("nothing was answered") };
        assert!(text.ends_with("it closed the connection without an answer"), "{text}");
    }

    #[test]
    fn a_closed_port_is_named() {
        for asks in [
            Asks::Tcp(&[1]),
            Asks::Http { port: 1, path: "/ping", body: None },
            Asks::SipOptions(&[1]),
            Asks::MemcachedVersion(1),
            Asks::CqlOptions(1),
        ] {
            let Verdict::Bad(text) = run(&asks) else { panic!("{asks:?}") };
            assert!(text.contains("port 1") && (text.contains("refused") || text.contains("closed")), "{text}");
        }
    }

    #[test]
    fn open_ports() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(run(&Asks::Tcp(leak(port))), Verdict::Good);
    }

    #[test]
    fn stun() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut request = [0; 64];
            let (n, from) = socket.recv_from(&mut request).unwrap();
            assert_eq!((n, &request[..2]), (20, &[0u8, 1][..]));
            socket.send_to(&[1, 1, 0, 0], from).unwrap();
        });
        assert_eq!(run(&Asks::Stun(port)), Verdict::Good);
    }

    #[test]
    fn etcd() {
        for good in [r#"{"health": "true"}"#, r#"{"health":"true","reason":""}"#, r#"{"health":true}"#] {
            assert_eq!(judge(&Asks::EtcdHealth(2379), good), Verdict::Good);
        }
        assert!(matches!(judge(&Asks::EtcdHealth(2379), r#"{"health":"false"}"#), Verdict::Bad(_)));
    }
}
