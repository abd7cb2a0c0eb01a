//! Where what people would miss lives: in pods, which it dies with, or on volumes.

use std::fmt::{Display, Formatter, Result};

use clearwater::component::{CASSANDRA_DATA, Component, MYSQL_DATA};

use super::snapshot::Snapshot;
use crate::pod::object::claims;

/// A component that keeps such things.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) component: Component,
    what: &'static str,
    /// Where it keeps it without a volume, and what that means.
    in_pods: &'static str,
    /// Its directory, where somebody in the pod can be asked how full that is: etcd's image has no bash.
    pub(crate) directory: Option<&'static str>,
}

const DIE: &str = "in its pods, and they die with these";

/// The components that keep what people have put there.
pub(crate) static KEEPERS: [Keeper; 2] = [
    Keeper {
        component: Component::Cassandra,
        what: "subscribers and their settings",
        in_pods: DIE,
        directory: Some(CASSANDRA_DATA),
    },
    Keeper { component: Component::Ellis, what: "accounts", in_pods: DIE, directory: Some(MYSQL_DATA) },
];

/// etcd, whose data the stores would miss, and nobody else.
static ETCD: Keeper = Keeper {
    component: Component::Etcd,
    what: "the stores' membership",
    in_pods: "in its pod: when the pod goes, the stores must be made anew with it",
    directory: None,
};

/// All of them.
pub(crate) fn keepers() -> impl Iterator<Item = &'static Keeper> {
    std::iter::once(&ETCD).chain(&KEEPERS)
}

/// A component as one of them.
pub(crate) fn keeper(component: Component) -> Option<&'static Keeper> {
    keepers().find(|keeper| keeper.component == component)
}

/// Where one of them keeps it.
#[derive(Debug)]
pub(crate) struct Kept {
    keeper: &'static Keeper,
    /// The claims of its pods, or none where a pod is without.
    claims: Vec<String>,
}

/// Where a component keeps it; `None` where it has no pod.
pub(crate) fn of(snapshot: &Snapshot, keeper: &'static Keeper) -> Option<Kept> {
    let pods = snapshot.pods_of(keeper.component);
    if pods.is_empty() {
        return None;
    }
    let without = pods.iter().any(|pod| claims(pod).next().is_none());
    let mut claims: Vec<&str> = if without { Vec::new() } else { pods.into_iter().flat_map(claims).collect() };
    claims.sort_unstable();
    claims.dedup();
    Some(Kept { keeper, claims: claims.into_iter().map(str::to_owned).collect() })
}

impl Kept {
    /// Whether it dies with a pod.
    pub(crate) fn is_in_pods(&self) -> bool {
        self.claims.is_empty()
    }

    /// The same with what is known of each claim.
    pub(crate) fn with(self, known: impl Fn(&str) -> Option<String>) -> Self {
        let told = |claim: String| known(&claim).map_or_else(|| claim.clone(), |known| format!("{claim} ({known})"));
        Self { claims: self.claims.into_iter().map(told).collect(), ..self }
    }
}

impl Display for Kept {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Keeper { component, what, in_pods, .. } = self.keeper;
        match self.claims.as_slice() {
            [] => write!(f, "{component} keeps {what} {in_pods}"),
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
        let known = |claim: &str| claim.ends_with("-1").then(|| "class fast".to_owned());
        let told = |snapshot: &Snapshot| of(snapshot, cassandra).unwrap().with(known).to_string();
        snapshot.pods.remove("cassandra-2");
        assert!(told(&snapshot).ends_with(": data-cassandra-0, data-cassandra-1 (class fast)"), "{}", told(&snapshot));
    }
}
