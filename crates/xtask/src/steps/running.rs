//! A program that runs, and what it prints: shown as it comes, and read for the tests that failed.

use std::io::{BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::display::{Display, Stream};

/// How long the output of a program that has ended is waited for: what it started may hold it open for ever.
const REST: Duration = Duration::from_secs(5);

/// A program whose output is read, to show how far it is.
pub(crate) struct Running {
    pub(crate) child: Child,
    failed: Arc<Mutex<Failed>>,
    ends: mpsc::Receiver<()>,
}

impl Running {
    pub(crate) fn start(mut command: Command, display: &Arc<Display>) -> Result<Self> {
        // cargo draws its bar for us, too, when it is told how wide.
        command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "100");
        if std::env::var_os("CARGO_TERM_COLOR").is_none() && display.is_on_a_terminal() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (out, err) = (child.stdout.take().context("no output")?, child.stderr.take().context("no errors")?);
        let (end, ends) = mpsc::channel();
        let failed = Arc::new(Mutex::new(Failed::default()));
        let (shown, seen, ended) = (Arc::clone(display), Arc::clone(&failed), end.clone());
        thread::spawn(move || {
            pieces(out, |piece| {
                shown.read(Stream::Out, piece);
                seen.lock().unwrap_or_else(PoisonError::into_inner).read(piece);
            });
            let _ = ended.send(());
        });
        let shown = Arc::clone(display);
        thread::spawn(move || {
            pieces(err, |piece| shown.read(Stream::Err, piece));
            let _ = end.send(());
        });
        Ok(Self { child, failed, ends })
    }

    /// The tests that failed, when all that it printed was read.
    pub(crate) fn read(self) -> Vec<String> {
        for _ in [Stream::Out, Stream::Err] {
            let _ = self.ends.recv_timeout(REST);
        }
        std::mem::take(&mut self.failed.lock().unwrap_or_else(PoisonError::into_inner).names)
    }
}

/// Reads lines, and what is drawn over by what comes next.
fn pieces(from: impl Read, mut take: impl FnMut(&str)) {
    let mut piece = Vec::new();
    for byte in BufReader::new(from).bytes().map_while(std::io::Result::ok) {
        match byte {
            b'\r' if piece.is_empty() => {}
            b'\n' | b'\r' => take(&String::from_utf8_lossy(&std::mem::take(&mut piece))),
            byte => piece.push(byte),
        }
    }
    if !piece.is_empty() {
        take(&String::from_utf8_lossy(&piece));
    }
}

/// The tests that libtest lists as failed: the last block that begins with `failures:` in each program's output.
#[derive(Default)]
struct Failed {
    listing: bool,
    names: Vec<String>,
}

impl Failed {
    fn read(&mut self, line: &str) {
        if line == "failures:" {
            self.listing = true;
        } else if let Some(name) =
            line.strip_prefix("    ").filter(|n| self.listing && !n.contains(char::is_whitespace))
        {
            if !self.names.iter().any(|n| n == name) {
                self.names.push(name.to_owned());
            }
        } else if !line.is_empty() {
            self.listing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_read_from_what_libtest_prints() {
        let text = "running 3 tests\ntest x ... FAILED\nfailures:\n\n---- up::one stdout ----\nError: x\n    at here\n\n\nfailures:\n    \
                    up::one\n    up::two\n\ntest result: FAILED. 1 passed; 2 failed\n    no-name\n";
        let mut failed = Failed::default();
        text.lines().for_each(|line| failed.read(line));
        assert_eq!(failed.names, ["up::one", "up::two"]);
    }

    #[test]
    fn what_is_drawn_over_is_a_piece_as_a_line_is() {
        let mut seen = Vec::new();
        pieces(&b"one\n 1/2\r 2/2\r\r\nlast"[..], |piece| seen.push(piece.to_owned()));
        assert_eq!(seen, ["one", " 1/2", " 2/2", "", "last"]);
    }
}
