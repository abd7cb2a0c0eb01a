//! What several proofs need.

use std::env;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::cluster;
use clearwater_testbed::{Kubectl, Namespace};

/// The build that is measured: the shipped one.
pub(crate) fn shipped() -> Result<PathBuf> {
    if let Some(named) = env::var_os(clearwater_e2e::PLUGIN_VARIABLE) {
        return Ok(named.into());
    }
    xtask::build::built("dist")
}

/// Pods on their way out would slow down the next round.
pub(crate) fn gone(namespace: Namespace<'_>) -> Result<()> {
    // Their controllers first, or pods made anew meanwhile take their whole grace period to go.
    namespace.kubectl().run(["delete", "deployments,replicasets,statefulsets", "--all", "--cascade=orphan"])?;
    namespace.kubectl().run(["delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false"])?;
    cluster().kubectl().run(["delete", "namespace", namespace.name(), "--timeout=180s"])?;
    drop(namespace);
    Ok(())
}

/// What a program says; an error with all of it where it fails.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{command:?}: {out}{}", String::from_utf8_lossy(&output.stderr));
    Ok(out)
}

/// Microseconds since 1970.
pub(crate) fn now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}

/// What kubectl sees of EndpointSlices as they change, a line each by this template.
pub(crate) fn endpoints(
    kubectl: &Kubectl,
    line: &str,
    more: &[&str],
) -> Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let output = format!("--output=jsonpath={line}");
    let mut watch = kubectl
        .command(["get", "endpointslices", "--watch", &output].into_iter().chain(more.iter().copied()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start kubectl")?;
    let lines = BufReader::new(watch.stdout.take().context("no standard output")?).lines();
    Ok((watch, lines))
}
