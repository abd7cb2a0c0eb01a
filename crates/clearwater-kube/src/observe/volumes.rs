//! Where what people would miss lives: in pods, which it dies with, or on volumes.

use std::fmt::{Display, Formatter, Result};

use clearwater::component::Component;

use super::snapshot::Snapshot;
use crate::pod::object::claims;

/// A component that keeps such things.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) component: Component,
    pub(crate) what: &'static str,
}

/// The components that keep what people have put there.
pub(crate) static KEEPERS: [Keeper; 2] = [
    Keeper { component: Component::Cassandra, what: "subscribers and their settings" },
    Keeper { component: Component::Ellis, what: "accounts" },
];

/// Where one of them keeps it.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    keeper: &'a Keeper,
    /// The claims of its pods, or none where a pod is without.
    claims: Vec<&'a str>,
}

/// Where a component keeps it; `None` where it has no pod.
pub(crate) fn of<'a>(snapshot: &'a Snapshot, keeper: &'a Keeper) -> Option<Kept<'a>> {
    let pods = snapshot.pods_of(keeper.component);
    if pods.is_empty() {
        return None;
    }
    let without = pods.iter().any(|pod| claims(pod).next().is_none());
    let mut claims: Vec<&str> = if without { Vec::new() } else { pods.into_iter().flat_map(claims).collect() };
    claims.sort_unstable();
    claims.dedup();
    Some(Kept { keeper, claims })
}

impl Kept<'_> {
    /// Whether it dies with a pod.
    pub(crate) fn is_in_pods(&self) -> bool {
        self.claims.is_empty()
    }
}

impl Display for Kept<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Keeper { component, what } = self.keeper;
        match self.claims.as_slice() {
            [] => write!(f, "{component} keeps {what} in its pods, and they die with these"),
            [one] => write!(f, "{component} keeps {what} on a persistent volume, {one}"),
            several => write!(f, "{component} keeps {what} on persistent volumes: {}", several.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_dies_with_a_pod_and_what_does_not() {
        let mut snapshot = Snapshot::default();
        let [cassandra, _] = &KEEPERS;
        let told = |snapshot: &Snapshot| of(snapshot, cassandra).map(|k| (k.is_in_pods(), k.to_string()));
        assert_eq!(told(&snapshot), None);
        let mut add = |n: usize, claim: Option<&str>| {
            let volumes = claim.map(|claim| json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]));
            let name = format!("cassandra-{n}");
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name, "labels": {"service": "cassandra"}},
                "spec": {"containers": [], "volumes": volumes}}))
            .unwrap();
            snapshot.pods.insert(name, pod);
            told(&snapshot).unwrap()
        };
        let one = "cassandra keeps subscribers and their settings on a persistent volume, data-cassandra-0";
        assert_eq!(add(0, Some("data-cassandra-0")), (false, one.to_owned()));
        let two = add(1, Some("data-cassandra-1")).1;
        assert!(two.ends_with("on persistent volumes: data-cassandra-0, data-cassandra-1"), "{two}");
        assert!(add(2, None).0);
    }
}
