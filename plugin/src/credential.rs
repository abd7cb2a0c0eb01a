//! The credential plugin of a kubeconfig, run so that it can neither hang nor flood, and never outlives who waits for it: this
//! program is started once more, runs the plugin within bounds, and hands on what it wrote.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use clearwater::text::{self, printable};
use http::HeaderValue;
use jiff::Timestamp;

use crate::awaited::PATIENCE;

/// The first word of the command line that runs a plugin; no command of ours.
pub(crate) const WORD: &str = "__credential";

/// A credential is a token or a certificate with its key, some kilobytes.
const LONGEST: u64 = 1 << 20;
/// What is handed on of what a plugin says beside its credential.
const SAID: usize = 64 << 10;
/// What is kept of its end, in bytes; how many lines of that are told in an error, and how many letters of each.
const TAIL: usize = 4 << 10;
const LINES: usize = 3;
const LETTERS: usize = 200;
/// How long what a plugin has started may say something more once the plugin is done.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How often it is looked whether the plugin has ended, or whoever waits for it.
const LOOK: Duration = Duration::from_millis(100);

/// Whether what a plugin says is seen by people as it comes; else its last lines are told with why there is no credential.
pub(crate) const SEEN: &str = "seen";
pub(crate) const KEPT: &str = "kept";

/// What is said of a plugin that is not there, or is no program.
pub(crate) const NOT_STARTED: &str = "cannot be started";

/// Runs the plugin: the limit in milliseconds, who hears it, its name and its arguments. Standard output has the credential, or
/// why there is none. Where there is a limit nobody is asked, and standard input stays open as long as somebody waits; without
/// one it is the terminal, by which the plugin may ask.
pub(crate) fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let limit = args.next().and_then(|l| l.to_str()?.parse().ok()).map(Duration::from_millis);
    let is_seen = args.next().is_some_and(|heard| heard == SEEN);
    let Some(command) = args.next() else { return ExitCode::FAILURE };
    let name = command.to_string_lossy().into_owned();
    let heard = Heard { is_seen, ..Heard::default() };
    let given = within_bounds(Command::new(command).args(args), limit, &heard);
    heard.to_its_end();
    match given {
        Ok(credential) => match std::io::stdout().write_all(&credential) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(why) => {
            // What was seen as it came is not said again.
            let lines = heard.last_lines().filter(|_| !is_seen);
            let said = lines.map(|lines| format!("; it said: {lines}")).unwrap_or_default();
            let _ = writeln!(std::io::stdout(), "the credential plugin {name:?} {why}{said}");
            ExitCode::FAILURE
        }
    }
}

/// Why there is no credential, as [`run`] said it by its standard output.
pub(crate) fn why(out: &[u8]) -> String {
    let said = String::from_utf8_lossy(out);
    said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("the credential plugin failed").to_owned()
}

/// What a plugin says beside its credential.
#[derive(Debug, Default)]
struct Heard {
    /// Whether people see it as it comes.
    is_seen: bool,
    tail: Arc<Mutex<Vec<u8>>>,
}

impl Heard {
    /// Hands on the beginning to whoever sees it, and keeps the end. All of it is read: a plugin that only talks much goes on.
    fn listen(&self, mut said: impl Read + Send + 'static) {
        let (tail, is_seen) = (Arc::clone(&self.tail), self.is_seen);
        thread::spawn(move || {
            let (mut left, mut piece) = (if is_seen { SAID } else { 0 }, [0; 4096]);
            while let Ok(read @ 1..) = said.read(&mut piece) {
                let shown = read.min(left);
                left -= shown;
                let _ = std::io::stderr().write_all(&piece[..shown]);
                let Ok(mut tail) = tail.lock() else { return };
                tail.extend_from_slice(&piece[..read]);
                let before = tail.len().saturating_sub(TAIL);
                tail.drain(..before);
            }
        });
    }

    /// Waits until all was heard that was said.
    fn to_its_end(&self) {
        let began = Instant::now();
        // Who listens holds it as long as anything may be said.
        while Arc::strong_count(&self.tail) > 1 && began.elapsed() < LAST_WORDS {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its last lines in one.
    fn last_lines(&self) -> Option<String> {
        last_lines(&self.tail.lock().ok()?)
    }
}

/// The last lines of a text in one, as they may be shown.
fn last_lines(said: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let shown = |line: &&str| {
        let end = line.char_indices().nth(LETTERS).map(|(at, _)| at);
        let cut = if end.is_some() { "…" } else { "" };
        format!("{}{cut}", printable(&line[..end.unwrap_or(line.len())]))
    };
    let last: Vec<String> = lines[lines.len().saturating_sub(LINES)..].iter().map(shown).collect();
    (!last.is_empty()).then(|| last.join(" / "))
}

fn within_bounds(command: &mut Command, limit: Option<Duration>, heard: &Heard) -> Result<Vec<u8>, String> {
    let at_terminal = std::io::stderr().is_terminal();
    let stderr = if at_terminal { Stdio::inherit() } else { Stdio::piped() };
    // One that may ask somebody has to stay in the terminal's own group.
    let apart = limit.is_some() && apart(command);
    let left = limit.map(|_| left_alone());
    let stdin = if limit.is_some() { Stdio::null() } else { Stdio::inherit() };
    let child = command.stdin(stdin).stdout(Stdio::piped()).stderr(stderr).spawn();
    let child = child.map_err(|e| format!("{NOT_STARTED}: {e}"))?;
    let mut child = Killed { child, with_its_own: apart };
    if let Some(said) = child.child.stderr.take() {
        heard.listen(said);
    }
    let (send, read) = mpsc::channel();
    if let Some(out) = child.child.stdout.take() {
        thread::spawn(move || {
            let mut all = Vec::new();
            let done = out.take(LONGEST + 1).read_to_end(&mut all).map(|_| all);
            let _ = send.send(done);
        });
    }
    let (began, mut ended) = (Instant::now(), None);
    let waiter = parent();
    let written = loop {
        match read.recv_timeout(LOOK) {
            Ok(done) => break done.map_err(|e| format!("cannot be read: {e}"))?,
            Err(RecvTimeoutError::Disconnected) => return Err("cannot be read".to_owned()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(limit) = limit.filter(|limit| began.elapsed() > *limit) {
            return Err(format!("gave no credential within {}", text::limit(limit)));
        }
        if parent() != waiter || left.as_ref().is_some_and(|left| left.load(Ordering::Relaxed)) {
            return Err("is not waited for any more".to_owned());
        }
        // One that has ended and left its output open to another has nothing more to say.
        ended = ended.or(child.child.try_wait().ok().flatten().map(|_| Instant::now()));
        if ended.is_some_and(|at| at.elapsed() > PATIENCE) {
            return Err("has ended, and something that it started holds its output open".to_owned());
        }
    };
    if written.len() as u64 > LONGEST {
        return Err(format!("wrote more than {LONGEST} bytes"));
    }
    let status = child.child.wait().map_err(|e| format!("cannot be waited for: {e}"))?;
    // What it leaves running for the next time may stay.
    child.with_its_own = false;
    if !status.success() {
        return Err(format!("failed: {status}"));
    }
    checked(written)
}

/// Hears when nobody waits any more: standard input, over which nothing is ever said, has ended.
fn left_alone() -> Arc<AtomicBool> {
    let left = Arc::<AtomicBool>::default();
    let heard = Arc::clone(&left);
    thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        heard.store(true, Ordering::Relaxed);
    });
    left
}

/// What it wrote, where it is a credential as client-go takes one (`plugin/pkg/client/auth/exec/exec.go`), whose token can be carried
/// by a header: with less the requests would be nobody's.
fn checked(written: Vec<u8>) -> Result<Vec<u8>, String> {
    let value: serde_json::Value = match clearwater::yaml::read_one(&String::from_utf8_lossy(&written)) {
        Ok(value) => value,
        Err(e) => return Err(format!("wrote no ExecCredential: {e}")),
    };
    if !value.get("status").is_some_and(serde_json::Value::is_object) {
        return Err("wrote no ExecCredential: it has no status".to_owned());
    }
    let of = |key: &str| value["status"].get(key).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
    let (certificate, key) = (of("clientCertificateData"), of("clientKeyData"));
    if certificate.is_some() != key.is_some() {
        return Err("gave a certificate or its key, and not both".to_owned());
    }
    let Some(token) = of("token") else {
        let none = || "gave neither a token nor a certificate with its key".to_owned();
        return certificate.map(|_| written).ok_or_else(none);
    };
    if HeaderValue::from_str(token).is_err() {
        return Err("gave a token with characters that no HTTP header can carry (a line end?)".to_owned());
    }
    match of("expirationTimestamp").map(str::parse::<Timestamp>) {
        Some(Err(e)) => Err(format!("gave an expirationTimestamp that is no time: {e}")),
        _ => Ok(written),
    }
}

#[cfg(unix)]
fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

#[cfg(not(unix))]
fn parent() -> u32 {
    0
}

/// Puts the plugin, with all that it will start, into a process group of its own, and this program into another: Ctrl-C
/// reaches neither, and this program ends the plugin's as soon as whoever waits for it has gone.
#[cfg(unix)]
fn apart(command: &mut Command) -> bool {
    use std::os::unix::process::CommandExt;
    let own = rustix::process::setpgid(None, None).is_ok();
    if own {
        command.process_group(0);
    }
    own
}

#[cfg(not(unix))]
fn apart(_: &mut Command) -> bool {
    false
}

/// A child that does not outlive this program.
struct Killed {
    child: Child,
    /// Whether what it has started goes with it.
    with_its_own: bool,
}

impl Drop for Killed {
    fn drop(&mut self) {
        #[cfg(unix)]
        if self.with_its_own
            && let Some(group) = rustix::process::Pid::from_raw(self.child.id().cast_signed())
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_told_in_one_that_is_short_and_harmless() {
        assert_eq!(last_lines(b"\n \n"), None);
        assert_eq!(last_lines(b"one\ntwo\n\n three\r\nfo\x1b[2Jur").unwrap(), r"two / three / fo\u{1b}[2Jur");
        let long = last_lines("é".repeat(5000).as_bytes()).unwrap();
        assert_eq!(long, format!("{}…", "é".repeat(LETTERS)));
    }
}
