//! Whether every volume that an earlier deployment left of a store gets its member again.

use clearwater::component::Component;
use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::manifest::{Object, SERVICE_LABEL, held};
use clearwater::remedy::Remedy;
use k8s_openapi::api::apps::v1::StatefulSetSpec;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::ListParams;

use super::super::checks::{line, unseen, with_fix};
use super::super::prepare::ApplyPlan;
use crate::cluster::{Cluster, list_all};
use crate::owner;

/// How many members of cassandra are to be made on volumes, where it does not stand.
fn members(work: &ApplyPlan) -> Option<usize> {
    let made = work.all().filter(|p| p.operation == Operation::Create).find_map(|p| match &p.item.object {
        Object::StatefulSet(set) if p.item.object.name() == Component::Cassandra.name() => Some(set),
        _ => None,
    })?;
    let spec = held::<StatefulSetSpec>(&made.spec)?;
    spec.volume_claim_templates.as_ref().filter(|t| !t.is_empty())?;
    usize::try_from(spec.replicas.unwrap_or(1)).ok()
}

/// The claims of members beyond the first so many, and how many members had some.
fn beyond(namespace: &str, claims: &[PersistentVolumeClaim], members: usize) -> Option<(Vec<String>, usize)> {
    let ours = claims.iter().filter(|c| owner::is_claim_of_ours(namespace, &c.metadata, &[]));
    let number = |name: &str| name.rsplit_once('-').and_then(|(_, n)| n.parse::<usize>().ok());
    let named = ours.map(ResourceExt::name_any).filter_map(|name| Some((number(&name)?, name)));
    let mut left: Vec<(usize, String)> = named.filter(|(n, _)| *n >= members).collect();
    left.sort_unstable();
    let all = left.last()?.0 + 1;
    Some((left.into_iter().map(|(_, name)| name).collect(), all))
}

pub(super) async fn check(cluster: &Cluster, namespace: Option<bool>, work: &ApplyPlan) -> Option<CheckLine> {
    let members = members(work).filter(|_| namespace != Some(false))?;
    let title = "volumes that members of cassandra left";
    let params = ListParams::default().labels(&format!("{SERVICE_LABEL}={}", Component::Cassandra));
    let claims = match list_all(&cluster.api::<PersistentVolumeClaim>(), &params).await {
        Ok(claims) => claims,
        Err(error) => return Some(unseen(CheckId::Leftovers, title, "list persistentvolumeclaims", &error)),
    };
    let (names, all) = beyond(&cluster.namespace, &claims, members)?;
    let detail = format!(
        "{} would get no member, and rows that are on them alone would be missing: {members} are to be made",
        names.join(", ")
    );
    let fix = Remedy::any([
        format!("set components.cassandra.replicas: {all} in the deployment file"),
        format!("kubectl delete pvc -n {} {}, where they are not wanted", cluster.namespace, names.join(" ")),
    ]);
    Some(with_fix(line(CheckId::Leftovers, title, CheckStatus::Failed, detail), fix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn volumes_without_a_member_are_named() {
        let claim = |name: &str, mark: &str| -> PersistentVolumeClaim {
            serde_json::from_value(
                json!({"metadata": {"name": name, "annotations": {"kubectl-clearwater/origin": mark}}}),
            )
            .unwrap()
        };
        let ours = |n: u32| claim(&format!("data-cassandra-{n}"), "created by statefulset ims/cassandra");
        let claims = [ours(2), ours(0), ours(1), claim("data-cassandra-7", "another's")];
        assert_eq!(beyond("ims", &claims, 3), None);
        let two = vec!["data-cassandra-1".to_owned(), "data-cassandra-2".to_owned()];
        assert_eq!(beyond("ims", &claims, 1), Some((two, 3)));
        assert_eq!(beyond("ims", &[], 1), None);
    }
}
