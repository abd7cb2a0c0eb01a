use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use clearwater::component::{Component, Release, entry};
use clearwater::manifest::starts_alone;
use clearwater::order::{Graph, Policy, Subscribers};

use crate::Stamps;

/// Every gating edge of the policy was kept: no component's own programs started before what they wait for could serve,
/// but for those that ask nobody when they start.
pub fn kept_order(seen: &BTreeMap<String, Stamps>, policy: Policy) -> Result<()> {
    let plan = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan(policy)?;
    ensure!(seen.len() == plan.len(), "stamps of {:?}", seen.keys());
    let alone = |node: &&str| {
        let entry = node.parse::<Component>().ok().and_then(|component| entry(Release::Hunter, component));
        policy != Policy::Article && entry.is_some_and(starts_alone)
    };
    for node in plan.order().filter(|node| !alone(node)) {
        for gate in plan.gates(node) {
            let of = |name: &str| seen.get(name).with_context(|| format!("no stamps of {name}"));
            let (started, served) = (of(node)?.start, of(gate)?.serving);
            ensure!(started >= served, "{node} started {} µs before {gate} served", served.saturating_sub(started));
        }
    }
    Ok(())
}
