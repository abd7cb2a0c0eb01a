//! The shipped binary on the test bed's cluster: what every end-to-end test needs.

mod follow;
mod hoard;
mod limited;
mod made;
mod of_cluster;
mod order;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clearwater_testbed::{Cluster, Kubectl};
pub use follow::{Following, Memory};
pub use hoard::{Hoard, addresses};
pub use limited::Limited;
pub use made::{TEST_LINES, check_lines, lines_of, relays_in};
pub use of_cluster::{OfCluster, Refused};
pub use order::kept_order;
use serde_json::Value;

/// Where the binary under test is, when it is not the workspace's own debug build.
pub const PLUGIN_VARIABLE: &str = "CLEARWATER_PLUGIN";

/// The cluster that all tests of a program share.
///
/// # Panics
/// Where there is none and none can be started.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::get().expect("the test bed's cluster"))
}

/// kubectl-clearwater in one namespace.
#[derive(Clone, Debug)]
pub struct Plugin {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: Option<String>,
    variables: Vec<(&'static str, String)>,
}

/// A finished run.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Wall time.
    pub took: Duration,
}

impl Ran {
    /// The run, or an error with all of its output when it ended otherwise than with `code`.
    pub fn expect(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == code,
            "exit {}, not {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.code,
            self.out,
            self.err
        );
        Ok(self)
    }

    /// Everything it said, standard output first.
    pub fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Standard output as JSON lines.
    pub fn events(&self) -> Result<Vec<Value>> {
        self.out.lines().map(|l| serde_json::from_str(l).with_context(|| format!("not JSON: {l}"))).collect()
    }
}

impl Plugin {
    /// The plugin as the administrator of the cluster.
    pub fn new(cluster: &Cluster, namespace: &str) -> Result<Self> {
        Self::as_user(&cluster.local()?.layout().kubeconfig(), namespace)
    }

    /// The plugin as the user of a kubeconfig.
    pub fn as_user(kubeconfig: &Path, namespace: &str) -> Result<Self> {
        let program = match std::env::var_os(PLUGIN_VARIABLE) {
            Some(path) => PathBuf::from(path),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/kubectl-clearwater"),
        };
        let program = program.canonicalize().with_context(|| {
            format!("no plugin at {}: build it with `cargo build -p kubectl-clearwater`", program.display())
        })?;
        let (kubeconfig, namespace) = (kubeconfig.to_owned(), Some(namespace.to_owned()));
        Ok(Self { program, kubeconfig, namespace, variables: Vec::new() })
    }

    /// The same with another build of the plugin, unless the environment names one.
    #[must_use]
    pub fn with_program(self, program: &Path) -> Self {
        if std::env::var_os(PLUGIN_VARIABLE).is_some() {
            return self;
        }
        Self { program: program.to_owned(), ..self }
    }

    /// The same with the context's namespace, by a kubeconfig of its own, and without a namespace on the command line.
    pub fn in_context(self, kubeconfig: &Path, namespace: &str) -> Result<Self> {
        std::fs::copy(&self.kubeconfig, kubeconfig)?;
        let config = kubeconfig.to_str().context("a path")?;
        let args = ["config", "set-context", "--current", "--namespace", namespace, "--kubeconfig", config];
        ensure!(Command::new("kubectl").args(args).stdout(Stdio::null()).status()?.success(), "{args:?}");
        Ok(Self { kubeconfig: kubeconfig.to_owned(), namespace: None, ..self })
    }

    /// The same with a variable in its environment.
    #[must_use]
    pub fn with_variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Where it is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(namespace) = &self.namespace {
            command.args(["-n", namespace]);
        }
        command
    }

    /// Starts it on a terminal of its own: what is written to its standard input are keys, what it shows comes on its
    /// standard output. The arguments must need no quotes.
    pub fn on_terminal(&self, args: &[&str]) -> Result<Child> {
        let namespace = self.namespace.as_ref().map_or(String::new(), |n| format!(" -n {n}"));
        let line = format!("exec {} {}{namespace}", self.program.display(), args.join(" "));
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        command.env("KUBECONFIG", &self.kubeconfig).env("TERM", "xterm").env_remove("CI").env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start script(1)")
    }

    /// Runs it to its end, at most `limit`.
    pub fn run_within(&self, limit: Duration, args: &[&str]) -> Result<Ran> {
        let began = Instant::now();
        let child = self.spawn(args)?;
        let pid = child.id();
        let (done, watch) = std::sync::mpsc::channel();
        let guard = std::thread::spawn(move || {
            if watch.recv_timeout(limit).is_err() {
                // The child is not reaped before the channel is told, so the id is still its own.
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
                return true;
            }
            false
        });
        let output = child.wait_with_output()?;
        let _ = done.send(());
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
            took: began.elapsed(),
        };
        if guard.join().is_ok_and(|killed| killed) {
            bail!("{args:?} did not end within {limit:?}\n--- stdout\n{}\n--- stderr\n{}", ran.out, ran.err);
        }
        Ok(ran)
    }

    /// Runs it to its end, at most ten minutes.
    pub fn run(&self, args: &[&str]) -> Result<Ran> {
        self.run_within(Duration::from_secs(600), args)
    }

    /// Starts it with `-o json` and reads its events as they come.
    pub fn follow(&self, args: &[&str]) -> Result<Following> {
        let mut all = args.to_vec();
        all.extend(["-o", "json"]);
        Following::new(self.spawn(&all)?)
    }

    /// Starts it and leaves it running.
    pub fn spawn(&self, args: &[&str]) -> Result<Child> {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot start the plugin")
    }
}

/// What a stand-in says of its own start, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// Its own programs began, as far as it has any beside PID 1.
    pub start: u64,
    /// Its own answer was right for the first time; for a store, its member was `normal` too.
    pub serving: u64,
}

/// The stamps of every component's first pod, by the pods' `service` label.
pub fn stamps(kubectl: &Kubectl) -> Result<BTreeMap<String, Stamps>> {
    let pods = kubectl.json(["get", "pods", "--output=json"])?;
    let mut all = BTreeMap::new();
    for pod in pods["items"].as_array().context("a list of pods")? {
        let Some(service) = pod["metadata"]["labels"]["service"].as_str() else { continue };
        let name = pod["metadata"]["name"].as_str().context("a pod's name")?;
        let container = pod["spec"]["containers"][0]["name"].as_str().context("a container's name")?;
        let text = kubectl.run(["exec", name, "--container", container, "--", "cat", "/var/run/standin/stamps"])?;
        let said: Value = serde_json::from_str(&text).with_context(|| format!("{name}: {text}"))?;
        let stamp = |key: &str| said[key].as_u64();
        all.insert(
            service.to_owned(),
            Stamps {
                start: stamp("pid1_start_us")
                    .max(stamp("group_start_us"))
                    .with_context(|| format!("{name}: {text}"))?,
                serving: stamp("normal_us").max(stamp("first_serve_us")).with_context(|| format!("{name}: {text}"))?,
            },
        );
    }
    Ok(all)
}
