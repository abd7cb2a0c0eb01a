use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::Ran;

/// The most memory that a run held, in kilobytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Beside its own code, at an event. Unoptimised code is several times the shipped one, so it is not counted here.
    pub held: u64,
    /// In all (`VmHWM`).
    pub resident: u64,
}

impl Memory {
    fn of(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|l| l.strip_prefix(name))?;
            line.trim().trim_end_matches("kB").trim().parse().ok()
        };
        Some(Self { held: field("RssAnon:")?, resident: field("VmHWM:")? })
    }

    fn take(&mut self, other: Self) {
        self.held = self.held.max(other.held);
        self.resident = self.resident.max(other.resident);
    }
}

/// A run under way, with its events as they come. It is killed when this is dropped.
#[derive(Debug)]
pub struct Following {
    child: Child,
    began: Instant,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    out: String,
    peak: Memory,
}

impl Following {
    pub(crate) fn new(mut child: Child) -> Result<Self> {
        let out = child.stdout.take().context("no standard output")?;
        let mut err = child.stderr.take().context("no standard error")?;
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = err.read_to_string(&mut text);
            text
        });
        Ok(Self {
            child,
            began: Instant::now(),
            lines,
            errors: Some(errors),
            out: String::new(),
            peak: Memory::default(),
        })
    }

    /// The next event; `None` when there will be no more.
    fn next(&mut self, limit: Duration) -> Result<Option<Value>> {
        let line = match self.lines.recv_timeout(limit) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("no event within {limit:?} after:\n{}", self.out),
        };
        self.peak.take(Memory::of(self.child.id()).unwrap_or_default());
        self.out.push_str(&line);
        self.out.push('\n');
        let event: Value = serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
        Ok(Some(event["what"].clone()))
    }

    /// Reads on until an event fits.
    pub fn until(&mut self, limit: Duration, mut fits: impl FnMut(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + limit;
        while let Some(event) = self.next(end.saturating_duration_since(Instant::now()))? {
            if fits(&event) {
                return Ok(event);
            }
        }
        let (out, err) = (self.out.clone(), self.errors());
        bail!("it ended before what was waited for\n--- stdout\n{out}\n--- stderr\n{err}")
    }

    /// Reads on for so long, or to the end where that comes first; whether it is still under way.
    pub fn for_a_while(&mut self, span: Duration) -> Result<bool> {
        let end = Instant::now() + span;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.out.push_str(&line);
                    self.out.push('\n');
                }
                Err(RecvTimeoutError::Timeout) => return Ok(self.child.try_wait()?.is_none()),
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
            }
        }
    }

    /// What it wrote so far, as JSON lines.
    pub fn seen(&self) -> &str {
        &self.out
    }

    /// Kills it with SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) -> Result<()> {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status()?;
        ensure!(sent.success(), "no process {} to interrupt", self.child.id());
        Ok(())
    }

    /// Reads on to the end.
    pub fn finish(mut self, limit: Duration) -> Result<(Ran, Memory)> {
        let end = Instant::now() + limit;
        while self.next(end.saturating_duration_since(Instant::now()))?.is_some() {}
        let status = self.child.wait()?;
        let err = self.errors();
        let out = std::mem::take(&mut self.out);
        Ok((Ran { code: status.code().unwrap_or(-1), out, err, took: self.began.elapsed() }, self.peak))
    }

    fn errors(&mut self) -> String {
        self.errors.take().and_then(|e| e.join().ok()).unwrap_or_default()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
