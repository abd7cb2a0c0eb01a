//! kubectl, pointed at one cluster.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::host::{output, shown};

/// kubectl with a kubeconfig and a context.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    namespace: Option<String>,
}

impl Kubectl {
    pub(crate) fn new(program: PathBuf, kubeconfig: Option<PathBuf>, context: Option<String>) -> Self {
        Self { program, kubeconfig, context, namespace: None }
    }

    /// The same in a namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    /// The same as another user, in the context that the file names as current.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: Some(kubeconfig.to_owned()), context: None, ..self.clone() }
    }

    /// Where the program is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The command, not run yet.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        // It ends before there is much to collect.
        command.env("GOGC", "400");
        if let Some(kubeconfig) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        if let Some(context) = &self.context {
            command.arg("--context").arg(context);
        }
        if let Some(namespace) = &self.namespace {
            command.arg("--namespace").arg(namespace);
        }
        command.args(arguments);
        command
    }

    /// Runs it to its end; standard output, or an error with standard error.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        output(&mut self.command(arguments))
    }

    /// [`Self::run`] with `-o json`, read.
    pub fn json<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Value> {
        let mut command = self.command(arguments);
        command.args(["--output", "json"]);
        let text = output(&mut command)?;
        serde_json::from_str(&text).with_context(|| format!("`{}` did not write JSON", shown(&command)))
    }

    /// Server-side apply of YAML or JSON text.
    pub fn apply(&self, objects: &str) -> Result<String> {
        self.run_with_input(["apply", "--server-side", "--force-conflicts", "--filename", "-"], objects)
    }

    /// Runs it with `input` on its standard input.
    pub fn run_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Result<String> {
        let mut command = self.command(arguments);
        let shown = shown(&command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run `{shown}`"))?;
        let mut pipe = child.stdin.take().context("kubectl has no standard input")?;
        let text = input.to_owned();
        let writer = std::thread::spawn(move || pipe.write_all(text.as_bytes()));
        let ended = child.wait_with_output().with_context(|| format!("cannot wait for `{shown}`"))?;
        let _ = writer.join();
        if !ended.status.success() {
            bail!("`{shown}` ended with {}: {}", ended.status, String::from_utf8_lossy(&ended.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
    }
}
