//! What several proofs need.

use std::env;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clearwater_e2e::cluster;
use clearwater_testbed::Namespace;

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

/// Microseconds since 1970.
pub(crate) fn now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}
