//! What commands say and make beside their exit code.

use anyhow::{Context, Result};
use clearwater_testbed::Kubectl;
use serde_json::Value;

use crate::Plugin;

/// What the private identities of the lines of every `test` begin with.
pub const TEST_LINES: &str = "kubectl-clearwater-test.";

/// The lines of what `check -o json` wrote.
pub fn check_lines(checks: &Value) -> impl Iterator<Item = &Value> {
    let groups = checks["groups"].as_array().into_iter().flatten();
    groups.flat_map(|g| g["checks"].as_array().into_iter().flatten())
}

/// How many lines there are whose private identities begin so.
pub fn lines_of(plugin: &Plugin, prefix: &str) -> Result<usize> {
    let list = ["subscriber", "list", "--through", "homestead-prov", "--private-prefix", prefix];
    Ok(plugin.run(&list)?.expect(0)?.out.matches("sip:").count())
}

/// How many of the relays that phones speak through run in a workload's container.
pub fn relays_in(kubectl: &Kubectl, workload: &str) -> Result<usize> {
    let count = "cat /proc/[0-9]*/cmdline | grep -ac struct[.]pack; true";
    let said = kubectl.run(["exec", workload, "--", "bash", "-c", count])?;
    said.trim().parse().with_context(|| format!("{workload}: {said}"))
}
