//! Turns what Kamailio prints and mirrors into a Clearwater log file.

use std::io::BufRead as _;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::Exit;
use crate::hep::{self, Mirrored};
use crate::log::{Grammar, Level, Log, thread_of};
use crate::place::Settings;
use crate::pool;
use crate::sip_log::SipLog;

/// Lines and messages come by two ways; what arrives within this time is put in order.
const GATHER: Duration = Duration::from_millis(3);
/// The longest that a line waits for others.
const GATHER_AT_MOST: Duration = Duration::from_millis(30);
const STACK: usize = 128 * 1024;

/// Whose log it is.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// bono, sprout, …: the folder and the file's name.
    component: String,
    /// Shown for lines that name no place.
    #[arg(long, default_value = "pjsip")]
    at: String,
    /// Levels up to this one; the settings' `log_level` when not given.
    #[arg(long)]
    level: Option<u8>,
    /// Where Kamailio mirrors its messages to.
    #[arg(long)]
    messages: Option<SocketAddr>,
    /// The ports that Kamailio listens on.
    #[arg(long, value_delimiter = ',')]
    ports: Vec<u16>,
    /// The upstream proxy that a connection is kept to, `host:port`.
    #[arg(long)]
    pool: Option<String>,
}

/// What is to be written, with the time it was said at.
#[derive(Debug)]
enum Said {
    Line { index: u32, level: Level, at: Option<String>, text: String },
    More(String),
    Message(Mirrored),
}

/// Copies stdin and the mirrored messages into the log until stdin ends.
///
/// A line that begins with a level word and `file:line:` is taken as such; Kamailio's own
/// prefixes are mapped; any other line continues the one before, and obeys its level.
pub(crate) fn run(options: &Options) -> Result<Exit> {
    let settings = Settings::load()?;
    let level = options.level.unwrap_or_else(|| settings.log_level());
    let own = settings.local_ip().ok();
    let log = Log::new(&options.component, &options.component, Grammar::Cpp, level);
    let (send, receive) = mpsc::channel();
    if let Some(address) = options.messages {
        let socket = UdpSocket::bind(address).with_context(|| format!("cannot listen for messages on {address}"))?;
        let send = send.clone();
        thread("messages", move || mirror(&socket, &send))?;
    }
    let mut names = None;
    if let Some(target) = options.pool.clone() {
        crate::log::init(Log::new(&options.component, &options.component, Grammar::Cpp, level));
        let (ask, asked) = unbounded_channel();
        names = Some(ask);
        thread("pool", move || pool::keep(&settings, &target, asked))?;
    }
    thread("lines", move || lines(&send))?;
    let sip = SipLog::new(own, options.ports.clone());
    let mut writer = Writer { log, at: &options.at, sip, names, shown: false };
    writer.write_all(&receive);
    Ok(Exit(0))
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(work)
        .with_context(|| format!("cannot start the thread for {name}"))?;
    Ok(())
}

type Timed = Option<(Timestamp, Said)>;

fn mirror(socket: &UdpSocket, send: &Sender<Timed>) {
    let mut buffer = vec![0u8; 65_536];
    while let Ok(length) = socket.recv(&mut buffer) {
        if let Some(message) = hep::read(&buffer[..length])
            && send.send(Some((message.time, Said::Message(message)))).is_err()
        {
            return;
        }
    }
}

fn lines(send: &Sender<Timed>) {
    let mut input = std::io::stdin().lock();
    let (mut bytes, mut last) = (Vec::new(), Timestamp::now());
    while matches!(input.read_until(b'\n', &mut bytes), Ok(length) if length > 0) {
        let text = String::from_utf8_lossy(&bytes);
        let line = text.trim_end_matches(['\r', '\n']);
        let said = match read(line) {
            Some(entry) => {
                last = entry.time.unwrap_or_else(Timestamp::now);
                let (at, text) = (entry.at.map(str::to_owned), entry.text.to_owned());
                Said::Line { index: entry.index, level: entry.level, at, text }
            }
            None => Said::More(line.to_owned()),
        };
        if send.send(Some((last, said))).is_err() {
            return;
        }
        bytes.clear();
    }
    let _ = send.send(None);
}

struct Writer<'a> {
    log: Log,
    at: &'a str,
    sip: SipLog,
    /// Whom to ask why a name was not found.
    names: Option<UnboundedSender<String>>,
    /// Whether the last line was written, so that what continues it is.
    shown: bool,
}

impl Writer<'_> {
    fn write_all(&mut self, receive: &Receiver<Timed>) {
        let mut more = true;
        while more {
            let Ok(Some(first)) = receive.recv() else { return };
            let (begun, mut all) = (Instant::now(), vec![first]);
            while begun.elapsed() < GATHER_AT_MOST {
                match receive.recv_timeout(GATHER) {
                    Ok(Some(said)) => all.push(said),
                    Err(RecvTimeoutError::Timeout) => break,
                    Ok(None) | Err(RecvTimeoutError::Disconnected) => {
                        more = false;
                        break;
                    }
                }
            }
            all.sort_by_key(|(time, _)| *time);
            for (time, said) in all {
                self.write(time, said);
            }
        }
    }

    fn write(&mut self, time: Timestamp, said: Said) {
        let own = std::process::id();
        match said {
            Said::Line { index, level, at, text } => {
                let thread = thread_of(own, index);
                if let Some(hop) = Hop::read(at.as_deref(), &text) {
                    if let Some(call) = self.sip.downstream(hop.sproutlet, hop.call_id, hop.cseq) {
                        self.log.line_of(time, thread, level, call.at, &call.text);
                    }
                    self.shown = false;
                    return;
                }
                let missing = text.strip_prefix(pool::NOT_FOUND).and_then(|rest| rest.split_once(": "));
                if let (Some((name, _)), Some(names)) = (missing, &self.names)
                    && names.send(name.to_owned()).is_ok()
                {
                    self.shown = false;
                    return;
                }
                self.shown = self.log.shows(level);
                self.log.line_of(time, thread, level, at.as_deref().unwrap_or(self.at), &text);
            }
            Said::More(line) if self.shown => self.log.raw(&format!("{line}\n")),
            Said::More(_) => {}
            Said::Message(message) => {
                let thread = thread_of(own, u32::from(message.from.port().wrapping_add(message.to.port()) % 8));
                for call in self.sip.message(&message) {
                    self.log.line_of(time, thread, Level::Verbose, call.at, &call.text);
                }
                self.shown = false;
            }
        }
    }
}

/// `to NAME CSEQ METHOD CALL-ID`, by which Kamailio tells that a request goes to a sproutlet.
#[derive(Debug, PartialEq, Eq)]
struct Hop<'a> {
    sproutlet: &'a str,
    cseq: &'a str,
    call_id: &'a str,
}

impl<'a> Hop<'a> {
    fn read(at: Option<&str>, text: &'a str) -> Option<Self> {
        let (sproutlet, rest) =
            text.strip_prefix("to ").filter(|_| at == Some("sproutletproxy.cpp:2816"))?.split_once(' ')?;
        let method = rest.find(' ')? + 1;
        let end = method + rest[method..].find(' ')?;
        Some(Self { sproutlet, cseq: &rest[..end], call_id: &rest[end + 1..] })
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    /// Kamailio's number of the process.
    index: u32,
    time: Option<Timestamp>,
    level: Level,
    at: Option<&'a str>,
    text: &'a str,
}

/// Reads the head of a line; `None` for a continuation.
fn read(line: &str) -> Option<Entry<'_>> {
    if let Some(entry) = levelled(line) {
        return Some(entry);
    }
    // Kamailio on stderr: ` 7(1234) NOTICE: {1700000000.123456} <script>: text`; the braces are its log_prefix.
    let (process, rest) = line.trim_start().split_once(") ")?;
    let (index, pid) = process.split_once('(')?;
    let index = index.parse().ok()?;
    pid.parse::<u32>().ok()?;
    let (word, rest) = rest.split_once(": ")?;
    let level = match word {
        "ALERT" | "BUG" | "CRITICAL" | "ERROR" => Level::Error,
        "WARNING" => Level::Warning,
        "NOTICE" => Level::Status,
        "INFO" => Level::Info,
        "DEBUG" => Level::Debug,
        _ => return None,
    };
    let (time, rest) = match rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
        Some((time, rest)) => (moment(time), rest.trim_start()),
        None => (None, rest),
    };
    let text = rest.strip_prefix("<script>: ").unwrap_or(rest);
    let entry = levelled(text).unwrap_or(Entry { index, time, level, at: None, text });
    Some(Entry { index, time, ..entry })
}

/// `SECONDS.MICROSECONDS`
fn moment(text: &str) -> Option<Timestamp> {
    let (seconds, micros) = text.split_once('.')?;
    Timestamp::from_microsecond(seconds.parse::<i64>().ok()? * 1_000_000 + micros.parse::<i64>().ok()?).ok()
}

/// `Level file.cpp:12: text`
fn levelled(line: &str) -> Option<Entry<'_>> {
    let (word, rest) = line.split_once(' ')?;
    let level = Level::ALL.into_iter().find(|l| l.word() == word)?;
    let (at, text) = rest.split_once(": ")?;
    if at.contains(' ') || (at != "pjsip" && at.rsplit_once(':')?.1.parse::<u32>().is_err()) {
        return None;
    }
    Some(Entry { index: 0, time: None, level, at: Some(at), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_told_from_continuations() {
        let time = Timestamp::from_microsecond(1_700_000_000_123_456).ok();
        assert_eq!(
            read(" 7(1234) NOTICE: {1700000000.123456} <script>: Verbose a.cpp:77: x"),
            Some(Entry { index: 7, time, level: Level::Verbose, at: Some("a.cpp:77"), text: "x" })
        );
        assert_eq!(
            read(" 0(9) ERROR: tm [t_fwd.c:1]: no"),
            Some(Entry { index: 0, time: None, level: Level::Error, at: None, text: "tm [t_fwd.c:1]: no" })
        );
        assert_eq!(read("Error bono.cpp:3: x").map(|e| e.level), Some(Level::Error));
        assert_eq!(read("Verbose pjsip: x").and_then(|e| e.at), Some("pjsip"));
        for continued in
            ["REGISTER sip:a SIP/2.0", "Via: SIP/2.0/TCP 1.2.3.4", "", "--end msg--", "Error in Contact: <sip:a>"]
        {
            assert_eq!(read(continued), None, "{continued}");
        }
    }

    #[test]
    fn a_hop_is_read_from_its_own_place_alone() {
        let at = Some("sproutletproxy.cpp:2816");
        let hop = Hop { sproutlet: "icscf", cseq: "1 INVITE", call_id: "a b@c" };
        assert_eq!(Hop::read(at, "to icscf 1 INVITE a b@c"), Some(hop));
        assert_eq!(Hop::read(Some("bono.cpp:1"), "to icscf 1 INVITE a b@c"), None);
        assert_eq!(Hop::read(at, "to icscf"), None);
    }
}
