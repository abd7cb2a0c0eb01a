//! The cluster's own processes: started detached, found again by later runs, ended by process id and start time.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::host::{Attempt, wait_for};

/// A part of the cluster that is one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) part: Part,
    /// The network namespace's file; none for a process in the host's.
    pub(crate) namespace: Option<PathBuf>,
    pub(crate) command: Vec<String>,
}

/// The parts of the cluster that run as processes on this machine. Nodes are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The store behind the API server.
    Etcd,
    /// `kube-apiserver`.
    ApiServer,
    /// `kube-controller-manager`.
    ControllerManager,
    /// `kube-scheduler`.
    Scheduler,
    /// The test bed's own controllers: volumes and load balancers.
    Controllers,
    /// containerd of a node.
    Containerd(u8),
    /// The kubelet of a node.
    Kubelet(u8),
    /// `kube-proxy` of a node.
    Proxy(u8),
    /// What enforces NetworkPolicy on a node, where a test asks for it ([`Local::network_policies`](crate::Local)).
    Policies(u8),
}

impl Part {
    /// The parts of every cluster, in the order in which they start.
    pub const ALL: [Self; 11] = [
        Self::Etcd,
        Self::ApiServer,
        Self::Containerd(1),
        Self::Containerd(2),
        Self::ControllerManager,
        Self::Scheduler,
        Self::Controllers,
        Self::Kubelet(1),
        Self::Kubelet(2),
        Self::Proxy(1),
        Self::Proxy(2),
    ];
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Etcd => formatter.pad("etcd"),
            Self::ApiServer => formatter.pad("apiserver"),
            Self::ControllerManager => formatter.pad("controller-manager"),
            Self::Scheduler => formatter.pad("scheduler"),
            Self::Controllers => formatter.pad("controllers"),
            Self::Containerd(node) => formatter.pad(&format!("containerd-{node}")),
            Self::Kubelet(node) => formatter.pad(&format!("kubelet-{node}")),
            Self::Proxy(node) => formatter.pad(&format!("proxy-{node}")),
            Self::Policies(node) => formatter.pad(&format!("policies-{node}")),
        }
    }
}

/// A process as it was when it started; a later process with the same id has another start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) pid: i32,
    start: u64,
}

impl Record {
    fn parse(text: &str) -> Option<Self> {
        let (pid, start) = text.trim().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, start: start.parse().ok()? })
    }

    fn is_alive(self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        // The command's name may hold blanks and parentheses; the state follows the last parenthesis.
        let Some((_, rest)) = stat.rsplit_once(')') else {
            return false;
        };
        let mut fields = rest.split_whitespace();
        let state = fields.next().unwrap_or("X");
        let began = fields.nth(18).and_then(|field| field.parse::<u64>().ok());
        !matches!(state, "Z" | "X") && began == Some(self.start)
    }
}

/// The processes of one cluster: where their ids and logs are, and the groups they belong to.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) pids: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) groups: Vec<PathBuf>,
}

/// Go's collector works rarely while a heap is small, and as ever when it grows: all of a cluster's parts on two cores
/// spend much of their time on it otherwise.
const GO_MEMORY: &str = "GOGC=400 GOMEMLIMIT=768MiB";

impl Supervisor {
    fn pid_file(&self, part: Part) -> PathBuf {
        self.pids.join(part.to_string())
    }

    pub(crate) fn log_file(&self, part: Part) -> PathBuf {
        self.logs.join(format!("{part}.log"))
    }

    /// The process id, when the part is running.
    pub(crate) fn running(&self, part: Part) -> Option<i32> {
        let record = Record::parse(&fs::read_to_string(self.pid_file(part)).ok()?)?;
        record.is_alive().then_some(record.pid)
    }

    /// Starts a part unless it is running; whether it was started.
    pub(crate) fn start(&self, process: &Process) -> Result<bool> {
        let part = process.part;
        if self.running(part).is_some() {
            return Ok(false);
        }
        let pid_file = self.pid_file(part);
        let _ = fs::remove_file(&pid_file);
        fs::create_dir_all(&self.pids).with_context(|| format!("cannot create {}", self.pids.display()))?;
        fs::create_dir_all(&self.logs).with_context(|| format!("cannot create {}", self.logs.display()))?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file(part))
            .with_context(|| format!("cannot open the log of {part}"))?;
        let status = Command::new("setsid")
            .args(["--fork", "sh", "-c", &self.script(process)])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .current_dir("/")
            .status()
            .context("cannot run setsid: is util-linux installed?")?;
        if !status.success() {
            bail!("cannot start {part}: setsid ended with {status}");
        }
        wait_for(&format!("{part} to start"), Duration::from_secs(20), || {
            Ok(match fs::read_to_string(&pid_file).ok().as_deref().and_then(Record::parse) {
                Some(_) => Attempt::Done(()),
                None => Attempt::not_yet(format!("nothing in {}", pid_file.display())),
            })
        })?;
        Ok(true)
    }

    /// The shell writes its own id down before it becomes the part: whoever is killed in between leaves no process
    /// that nobody knows of, and the group is entered before anything can fork.
    fn script(&self, process: &Process) -> String {
        let pid_file = self.pid_file(process.part).display().to_string();
        let temporary = quote(&format!("{pid_file}.new"));
        let mut lines = vec!["set -e".to_owned()];
        for group in &self.groups {
            lines.push(format!("echo $$ > {}", quote(&group.display().to_string())));
        }
        lines.push("read -r stat < /proc/$$/stat\nset -- $stat\nshift 21".to_owned());
        lines.push(format!("echo \"$$ $1\" > {temporary}"));
        lines.push(format!("mv {temporary} {}", quote(&pid_file)));
        lines.push(format!("export {GO_MEMORY}"));
        let mut last = vec!["exec".to_owned()];
        if let Some(namespace) = &process.namespace {
            last.push("nsenter".to_owned());
            last.push(quote(&format!("--net={}", namespace.display())));
        }
        last.extend(process.command.iter().map(|argument| quote(argument)));
        lines.push(last.join(" "));
        lines.join("\n")
    }

    /// Sends a signal to a part; whether it was running.
    pub(crate) fn signal(&self, part: Part, signal: Signal) -> Result<bool> {
        let Some(pid) = self.running(part).and_then(Pid::from_raw) else {
            return Ok(false);
        };
        kill_process(pid, signal).with_context(|| format!("cannot signal {part}"))?;
        Ok(true)
    }

    /// Ends a part: SIGTERM, and SIGKILL after ten seconds.
    pub(crate) fn stop(&self, part: Part) -> Result<()> {
        if !self.signal(part, Signal::TERM)? {
            return Ok(());
        }
        if self.await_end(part, Duration::from_secs(10)).is_err() {
            self.kill(part)?;
        }
        Ok(())
    }

    /// Ends a part with SIGKILL.
    pub(crate) fn kill(&self, part: Part) -> Result<()> {
        if self.signal(part, Signal::KILL)? {
            self.await_end(part, Duration::from_secs(10))?;
        }
        Ok(())
    }

    fn await_end(&self, part: Part, limit: Duration) -> Result<()> {
        wait_for(&format!("{part} to end"), limit, || {
            Ok(match self.running(part) {
                None => Attempt::Done(()),
                Some(pid) => Attempt::not_yet(format!("process {pid} is alive")),
            })
        })
    }

    /// The last lines of a part's log.
    pub(crate) fn tail(&self, part: Part, lines: usize) -> String {
        tail(&self.log_file(part), lines)
    }
}

/// The last lines of a file; empty when it cannot be read.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    const MOST: u64 = 64 * 1024;
    let Ok(mut file) = File::open(path) else {
        return String::new();
    };
    let length = file.metadata().map_or(0, |meta| meta.len());
    let _ = file.seek(SeekFrom::Start(length.saturating_sub(MOST)));
    let mut bytes = Vec::new();
    let _ = file.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=/.,:@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor(directory: &Path) -> Supervisor {
        Supervisor { pids: directory.join("pids"), logs: directory.join("logs"), groups: Vec::new() }
    }

    fn sleeper(script: &str) -> Process {
        Process { part: Part::Etcd, namespace: None, command: ["sh", "-c", script].map(str::to_owned).to_vec() }
    }

    #[test]
    fn a_part_is_started_once_found_again_and_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let process = sleeper("echo it\\'s \"$$\"; exec sleep 60");
        assert!(supervisor(directory.path()).start(&process).unwrap());
        let found = supervisor(directory.path());
        assert!(!found.start(&process).unwrap());
        found.stop(Part::Etcd).unwrap();
        assert_eq!(found.running(Part::Etcd), None);
    }

    #[test]
    fn a_process_that_took_over_the_id_is_not_the_part() {
        let directory = tempfile::tempdir().unwrap();
        let supervisor = supervisor(directory.path());
        fs::create_dir_all(&supervisor.pids).unwrap();
        fs::write(supervisor.pid_file(Part::Etcd), format!("{} 1", std::process::id())).unwrap();
        assert_eq!(supervisor.running(Part::Etcd), None);
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        fs::write(&file, "one\ntwo\nthree\n").unwrap();
        assert_eq!(tail(&file, 2), "two\nthree");
        assert_eq!(tail(&file, 9), "one\ntwo\nthree");
        assert_eq!(tail(&directory.path().join("none"), 9), "");
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quote("--a=b/c"), "--a=b/c");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }
}
