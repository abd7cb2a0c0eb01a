use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use clearwater::component::Release;
use clearwater::order::{Graph, Policy, Subscribers};

use crate::Stamps;

/// Every gating edge of the policy was kept: nothing started before what it waits for could serve.
pub fn kept_order(seen: &BTreeMap<String, Stamps>, policy: Policy) -> Result<()> {
    let plan = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan(policy)?;
    ensure!(seen.len() == plan.len(), "stamps of {:?}", seen.keys());
    for node in plan.order() {
        for gate in plan.gates(node) {
            let of = |name: &str| seen.get(name).with_context(|| format!("no stamps of {name}"));
            let (started, served) = (of(node)?.start, of(gate)?.serving);
            ensure!(started >= served, "{node} started {} µs before {gate} served", served.saturating_sub(started));
        }
    }
    Ok(())
}
