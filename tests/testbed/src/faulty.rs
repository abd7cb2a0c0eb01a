//! Servers that go wrong as they are told: before the API server, and in place of an image registry.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::cluster::Local;
use crate::image::Archive;
use crate::plan::kubeconfig;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The answer comes late.
    Delay(Duration),
    /// This HTTP status is the answer; with `Retry-After` in seconds where that is not 0.
    Status(u16, u32),
    /// The connection is reset.
    Reset,
    /// No answer ever comes.
    Hang,
    /// 410: a watch is told as its first event that its version is too old, another request as its answer.
    Gone,
    /// The connection is closed in the middle of the answer, this long after the request.
    Cut(Duration),
    /// The body comes at so many bytes a second.
    Slow(u32),
}

/// Which requests go wrong, and how. Patterns are Go's regular expressions; an empty one fits everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What happens.
    pub fault: Fault,
    /// HTTP method; empty means any.
    pub method: String,
    /// Pattern for the path with its query.
    pub path: String,
    /// Pattern for the user agent.
    pub user_agent: String,
    /// Only watches, or only what is none.
    pub watch: Option<bool>,
    /// So many requests that fit pass first.
    pub skip: u32,
    /// So many go wrong then; 0 means all.
    pub times: u32,
}

impl Rule {
    /// Every request goes wrong.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            method: String::new(),
            path: String::new(),
            user_agent: String::new(),
            watch: None,
            skip: 0,
            times: 0,
        }
    }

    /// Only requests whose path and query fit the pattern.
    #[must_use]
    pub fn path(self, pattern: &str) -> Self {
        Self { path: pattern.to_owned(), ..self }
    }

    /// Only requests of this HTTP method.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        Self { method: method.to_owned(), ..self }
    }

    /// Only requests of programs whose name fits the pattern.
    #[must_use]
    pub fn user_agent(self, pattern: &str) -> Self {
        Self { user_agent: pattern.to_owned(), ..self }
    }

    /// Only watches, or with `false` only what is none.
    #[must_use]
    pub fn watch(self, watch: bool) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// The first so many requests that fit pass.
    #[must_use]
    pub fn skip(self, count: u32) -> Self {
        Self { skip: count, ..self }
    }

    /// Only so many requests go wrong.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self { times: count, ..self }
    }
}

/// The rule as the helper reads it.
#[derive(Serialize)]
struct Wire<'a> {
    method: &'a str,
    path: &'a str,
    user_agent: &'a str,
    watch: Option<bool>,
    skip: u32,
    times: u32,
    action: &'static str,
    milliseconds: u128,
    status: u16,
    retry_after: u32,
    bytes_per_second: u32,
}

impl<'a> Wire<'a> {
    fn new(rule: &'a Rule) -> Self {
        let mut wire = Self {
            method: &rule.method,
            path: &rule.path,
            user_agent: &rule.user_agent,
            watch: rule.watch,
            skip: rule.skip,
            times: rule.times,
            action: "",
            milliseconds: 0,
            status: 0,
            retry_after: 0,
            bytes_per_second: 0,
        };
        wire.action = match rule.fault {
            Fault::Delay(span) => {
                wire.milliseconds = span.as_millis();
                "delay"
            }
            Fault::Status(status, retry_after) => {
                wire.status = status;
                wire.retry_after = retry_after;
                "status"
            }
            Fault::Reset => "reset",
            Fault::Hang => "hang",
            Fault::Gone => "gone",
            Fault::Cut(span) => {
                wire.milliseconds = span.as_millis();
                "cut"
            }
            Fault::Slow(pace) => {
                wire.bytes_per_second = pace;
                "slow"
            }
        };
        wire
    }
}

/// A request that a faulty server saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Request {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The program that asked.
    pub user_agent: String,
    /// What was done to it; empty when it was served.
    pub action: String,
}

#[derive(Deserialize)]
struct Report {
    ready: Option<String>,
    rules: Option<u64>,
    error: Option<String>,
    #[serde(flatten)]
    request: Request,
}

#[derive(Default)]
struct Seen {
    address: Option<String>,
    answers: u64,
    error: Option<String>,
    requests: Vec<Request>,
    ended: bool,
}

/// A server of the helper; it ends when this is dropped, or when this process ends in whatever way.
struct Server {
    child: Child,
    input: ChildStdin,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    address: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    fn start(mut command: Command) -> Result<Self> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot run the test bed's helper")?;
        let input = child.stdin.take().context("the helper has no standard input")?;
        let output = child.stdout.take().context("the helper has no standard output")?;
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let reader = Arc::clone(&seen);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Ok(report) = serde_json::from_str::<Report>(&line) else {
                    continue;
                };
                let mut seen = reader.0.lock().unwrap_or_else(PoisonError::into_inner);
                if report.ready.is_some() {
                    seen.address = report.ready;
                } else if report.rules.is_some() || report.error.is_some() {
                    seen.answers += 1;
                    seen.error = report.error;
                } else {
                    seen.requests.push(report.request);
                }
                reader.1.notify_all();
            }
            reader.0.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
            reader.1.notify_all();
        });
        let mut server = Self { child, input, seen, address: String::new() };
        server.address = server.await_report(|seen| seen.address.clone())?;
        Ok(server)
    }

    fn await_report<T>(&self, mut look: impl FnMut(&Seen) -> Option<T>) -> Result<T> {
        let end = Instant::now() + Duration::from_secs(20);
        let mut seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(value) = look(&seen) {
                return Ok(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            if seen.ended || left.is_zero() {
                bail!("the test bed's helper gave no answer; what it said is above, on standard error");
            }
            seen = self.seen.1.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn set(&mut self, rules: &[Rule]) -> Result<()> {
        let before = self.await_report(|seen| Some(seen.answers))?;
        let mut line = serde_json::to_string(&rules.iter().map(Wire::new).collect::<Vec<_>>())?;
        line.push('\n');
        self.input.write_all(line.as_bytes()).context("the test bed's helper has ended")?;
        let error = self.await_report(|seen| (seen.answers > before).then(|| seen.error.clone()))?;
        ensure!(error.is_none(), "the rules were refused: {}", error.unwrap_or_default());
        Ok(())
    }

    fn requests(&self) -> Vec<Request> {
        self.seen.0.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy before the API server; without rules it only passes on.
#[derive(Debug)]
pub struct ApiProxy {
    server: Server,
    directory: PathBuf,
    template: (String, String, String),
}

impl ApiProxy {
    pub(crate) fn start(local: &Local) -> Result<Self> {
        let plan = &local.plan;
        let mut command = Command::new(&plan.programs.helper);
        command.arg("proxy").arg(format!("--target={}", plan.server()));
        let server = Server::start({
            command.arg(format!("--pki={}", plan.layout.pki().display()));
            command
        })?;
        let read = |name: &str| {
            let path = plan.layout.pki().join(name);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let template = (read("ca.crt")?, read("admin.crt")?, read("admin.key")?);
        let directory = plan.layout.run().join("proxies");
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(Self { server, directory, template })
    }

    /// `https://…`, to be put into a kubeconfig in place of the API server's address.
    pub fn url(&self) -> String {
        format!("https://{}", self.server.address)
    }

    /// The administrator's kubeconfig by way of this proxy.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        let (authority, certificate, key) = &self.template;
        let text = kubeconfig("proxied", &self.url(), authority, "kubernetes-admin", certificate, key, None);
        let path = self.directory.join(self.server.address.replace(':', "-"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// These rules and no others from now on; connections that are open stay as they are.
    pub fn set(&mut self, rules: &[Rule]) -> Result<()> {
        self.server.set(rules)
    }

    /// Every request since the start.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }
}

/// A registry of images, to pull only, over plain HTTP.
///
/// Its images are those of OCI archives; the host part of their names does not count.
#[derive(Debug)]
pub struct Registry {
    server: Server,
    registries: PathBuf,
    configured: Vec<PathBuf>,
}

impl Registry {
    pub(crate) fn start(local: &Local, archives: &[Archive]) -> Result<Self> {
        let mut command = Command::new(&local.plan.programs.helper);
        command.arg("registry").arg(format!("--listen={}:0", local.addresses().host()));
        command.args(archives.iter().map(|archive| &archive.path));
        let server = Server::start(command)?;
        let mut registry = Self { server, registries: local.plan.registries(), configured: Vec::new() };
        let own = registry.address().to_owned();
        registry.stand_in_for(&own)?;
        Ok(registry)
    }

    /// Host and port, the first part of an image's name.
    pub fn address(&self) -> &str {
        &self.server.address
    }

    /// The nodes ask this registry for images of `host`, for example `docker.io`.
    pub fn stand_in_for(&mut self, host: &str) -> Result<()> {
        let directory = self.registries.join(host);
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let url = format!("http://{}", self.address());
        let text = format!("server = \"{url}\"\n\n[host.\"{url}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
        std::fs::write(directory.join("hosts.toml"), text)
            .with_context(|| format!("cannot write into {}", directory.display()))?;
        self.configured.push(directory);
        Ok(())
    }

    /// These rules and no others from now on.
    pub fn set(&mut self, rules: &[Rule]) -> Result<()> {
        self.server.set(rules)
    }

    /// Every request since the start.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        for directory in &self.configured {
            remove(directory);
        }
    }
}

fn remove(directory: &Path) {
    let _ = std::fs::remove_dir_all(directory);
}
