//! What starts the pods of a component anew, and what that would lose. Pure.

use clearwater::component::{Component, Entry, Lifetime};
use clearwater::remedy::{Permission, Remedy};
use k8s_openapi::api::core::v1::Pod;

use crate::pod::object::claims;

/// What starts the pods of a component anew, with what stands now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Renewal {
    /// Bringing the deployment up does.
    ByUp,
    /// The members of a store are replaced, one after the other, where that is asked for.
    ByReplacing,
    /// It goes with what its pods hold, which is named.
    Losing(String),
}

impl Renewal {
    /// What it takes of a component with these pods.
    pub(crate) fn of(entry: &Entry, pods: &[&Pod]) -> Self {
        let on_claims = pods.iter().all(|pod| claims(pod).next().is_some());
        if entry.component.is_store() {
            return loss_of_replacing(entry, pods.len(), on_claims).map_or(Self::ByReplacing, Self::Losing);
        }
        match kept(entry) {
            data if data.is_empty() || on_claims => Self::ByUp,
            data => Self::Losing(format!("{data} would be lost")),
        }
    }

    /// What one can do. A store that would lose what it holds is never replaced member by member.
    pub(crate) fn remedy(&self, component: Component) -> Remedy {
        match self {
            Self::ByUp => Remedy::BringUp.then(", which starts them anew"),
            Self::ByReplacing => Permission::ReplaceStores.into(),
            Self::Losing(loss) if component.is_store() => Remedy::anew([component]).then(format!(" ({loss})")),
            Self::Losing(loss) => Remedy::from(Permission::LoseData).then(format!(" ({loss})")),
        }
    }
}

/// What a component keeps outside of processes: what lives in these goes with every change of a template, too.
pub(crate) fn kept(entry: &Entry) -> String {
    let kept = entry.data.iter().filter(|d| d.lifetime != Lifetime::Process);
    kept.map(|d| d.what).collect::<Vec<_>>().join(", ")
}

/// What would be lost by replacing so many members of a store one by one, whose data is on claims or in their pods; `None` where
/// nothing would.
pub(crate) fn loss_of_replacing(entry: &Entry, members: usize, on_claims: bool) -> Option<String> {
    let data: Vec<&str> = entry.data.iter().map(|d| d.what).collect();
    let data = data.join(", ");
    let why = match entry.component {
        Component::Etcd | Component::Cassandra if on_claims => return None,
        Component::Cassandra => "a member that goes stays in the ring, and the new one cannot join".to_owned(),
        _ if entry.pre_stop.is_some() && members >= 2 => return None,
        _ => format!("there is no second member that holds {data}"),
    };
    Some(format!("replacing its pods would lose {data}: {why}"))
}

#[cfg(test)]
mod tests {
    use clearwater::component::{Release, entry};
    use serde_json::json;

    use super::*;

    /// What `up` would refuse is not advised.
    #[test]
    fn pods_are_started_anew_by_what_is_not_refused() {
        let pod = |claim: bool| -> Pod {
            let volumes = claim.then(|| json!([{"name": "data", "persistentVolumeClaim": {"claimName": "x"}}]));
            serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [], "volumes": volumes}})).unwrap()
        };
        let advice = |component: Component, pods: &[Pod]| {
            let entry = entry(Release::Hunter, component).unwrap();
            Renewal::of(entry, &pods.iter().collect::<Vec<_>>()).remedy(component).to_string()
        };
        let (bare, kept) = (pod(false), pod(true));
        let replaced = "bring the deployment up, and have its stores replaced";
        for (component, pods, begins) in [
            (Component::Homer, vec![bare.clone()], "bring the deployment up, which starts them anew"),
            (Component::Bono, vec![bare.clone()], "bring the deployment up, which starts them anew"),
            (
                Component::Chronos,
                vec![bare.clone()],
                "take chronos down, then bring the deployment up (replacing its pods",
            ),
            (Component::Chronos, vec![bare.clone(), bare.clone()], replaced),
            (
                Component::Cassandra,
                vec![bare.clone(), bare.clone()],
                "take cassandra down, then bring the deployment up (",
            ),
            (Component::Cassandra, vec![kept.clone()], replaced),
            (Component::Ellis, vec![bare], "bring the deployment up, and agree to lose the data ("),
            (Component::Ellis, vec![kept], "bring the deployment up, which starts them anew"),
        ] {
            let told = advice(component, &pods);
            assert!(told.starts_with(begins), "{component}: {told}");
        }
    }
}
