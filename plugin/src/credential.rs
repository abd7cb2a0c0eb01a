//! The credential plugin of a kubeconfig, run so that it can neither hang nor flood: kube runs this program in its place,
//! which runs the plugin within bounds, and hands on what it wrote.
//!
//! kube waits for a plugin as long as it runs and keeps all that it writes, and takes it for granted that its token can
//! stand in a header.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use clearwater::text::printable;
use http::HeaderValue;
use kube::config::{ExecConfig, ExecInteractiveMode};

use crate::awaited::{self, Awaited, PATIENCE, Written};

/// The first word of the command line that kube gets; no command of ours.
pub(crate) const WORD: &str = "__credential";

/// A credential is a token or a certificate with its key, some kilobytes.
const LONGEST: u64 = 1 << 20;
/// What is handed on of what a plugin says beside its credential.
const SAID: usize = 64 << 10;
/// What is kept of its end, in bytes; how many lines of that are told in an error, and how many letters of each.
const TAIL: usize = 4 << 10;
const LINES: usize = 3;
const LETTERS: usize = 200;
/// How long what a plugin has started may say something more once it has failed.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How often it is looked whether the plugin has ended, or whoever waits for it.
const LOOK: Duration = Duration::from_millis(100);

/// Whether what a plugin says is seen by people as it comes; else kube keeps it, and shows it to nobody.
const SEEN: &str = "seen";
const KEPT: &str = "kept";

/// Puts this program before the plugin. One that may ask somebody has no deadline as long as there is a terminal.
pub(crate) fn guard(exec: &mut ExecConfig, limit: Duration) {
    let (Ok(own), Some(command)) = (std::env::current_exe(), exec.command.take()) else { return };
    let asks = exec.interactive_mode != Some(ExecInteractiveMode::Never) && std::io::stdin().is_terminal();
    let limit = if asks { String::new() } else { limit.as_millis().to_string() };
    // kube gives its own standard error to a plugin that may ask somebody, and to no other.
    let heard = if exec.interactive_mode == Some(ExecInteractiveMode::Never) { KEPT } else { SEEN };
    let words = [WORD.to_owned(), limit, heard.to_owned(), command];
    exec.args = Some(words.into_iter().chain(exec.args.take().unwrap_or_default()).collect());
    exec.command = Some(own.to_string_lossy().into_owned());
}

/// Tells what is awaited every now and then until what this yields is dropped. Without a terminal the guard's own word is
/// kept by kube, which shows it to nobody.
pub(crate) fn awaited(exec: Option<&ExecConfig>, tell: impl Fn(&str) + Send + 'static) -> Option<Awaited> {
    let name = exec?.args.as_ref()?.get(3)?.clone();
    let is_silent = !std::io::stderr().is_terminal();
    is_silent.then(|| awaited::awaited(Written::default(), move || tell(&format!("the credential plugin {name:?}"))))
}

/// Runs the plugin: the limit in milliseconds, who hears it, its name and its arguments. Standard output has the credential, or
/// why there is none.
pub(crate) fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let limit = args.next().and_then(|l| l.to_str()?.parse().ok()).map(Duration::from_millis);
    let is_seen = args.next().is_some_and(|heard| heard == SEEN);
    let Some(command) = args.next() else { return ExitCode::FAILURE };
    let name = command.to_string_lossy().into_owned();
    let heard = Heard { is_seen, ..Heard::default() };
    match within_bounds(Command::new(command).args(args), &name, limit, &heard) {
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

    /// Its last lines in one.
    fn last_lines(&self) -> Option<String> {
        let began = Instant::now();
        // Who listens holds it as long as anything may be said.
        while Arc::strong_count(&self.tail) > 1 && began.elapsed() < LAST_WORDS {
            thread::sleep(Duration::from_millis(5));
        }
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

fn within_bounds(command: &mut Command, name: &str, limit: Option<Duration>, heard: &Heard) -> Result<Vec<u8>, String> {
    let at_terminal = std::io::stderr().is_terminal();
    let stderr = if at_terminal { Stdio::inherit() } else { Stdio::piped() };
    // One that may ask somebody has to stay in the terminal's own group.
    let apart = limit.is_some() && apart(command);
    let child = command.stdout(Stdio::piped()).stderr(stderr).spawn();
    let child = child.map_err(|e| format!("cannot be started: {e}"))?;
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
    let (began, mut told, mut ended) = (Instant::now(), !at_terminal, None);
    let waiter = parent();
    let written = loop {
        match read.recv_timeout(LOOK) {
            Ok(done) => break done.map_err(|e| format!("cannot be read: {e}"))?,
            Err(RecvTimeoutError::Disconnected) => return Err("cannot be read".to_owned()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(limit) = limit.filter(|limit| began.elapsed() > *limit) {
            return Err(format!("gave no credential within {} s", limit.as_secs()));
        }
        if parent() != waiter {
            return Err("is not waited for any more".to_owned());
        }
        // One that has ended and left its output open to another has nothing more to say.
        ended = ended.or(child.child.try_wait().ok().flatten().map(|_| Instant::now()));
        if ended.is_some_and(|at| at.elapsed() > PATIENCE) {
            return Err("has ended, and something that it started holds its output open".to_owned());
        }
        if !told && began.elapsed() > PATIENCE {
            told = true;
            let _ = writeln!(std::io::stderr(), "waiting for the credential plugin {name:?}");
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

/// What it wrote, where its token can be carried by a header.
fn checked(written: Vec<u8>) -> Result<Vec<u8>, String> {
    let value: serde_json::Value = match clearwater::yaml::read_one(&String::from_utf8_lossy(&written)) {
        Ok(value) => value,
        Err(e) => return Err(format!("wrote no ExecCredential: {e}")),
    };
    match value.pointer("/status/token").and_then(|t| t.as_str()) {
        Some(token) if HeaderValue::from_str(token).is_err() => {
            Err("gave a token with characters that no HTTP header can carry (a line end?)".to_owned())
        }
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
