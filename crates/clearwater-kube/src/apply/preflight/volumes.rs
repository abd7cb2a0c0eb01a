//! Whether claims can get what they ask for. A dry run does not tell: no claim of a StatefulSet is shown to the API server, and
//! nobody asks whether a class is there.

use std::collections::{BTreeMap, BTreeSet};

use clearwater::component::Component;
use clearwater::config::DeploymentFile;
use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::manifest::{ItemOwner, Object, held};
use clearwater::quantity::parse;
use clearwater::remedy::{Permission, Remedy};
use k8s_openapi::api::apps::v1::StatefulSetSpec;
use k8s_openapi::api::core::v1::{LimitRange, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::super::Planned;
use super::super::checks::{line, unseen, with_fix};
use super::super::prepare::{ApplyPlan, LiveState};
use crate::cluster::{Cluster, list_all};

const CLASSES: &str = "classes of storage that claims name";
const KEPT: &str = "what is held outlives its pods";
const LIMITS: &str = "limits of the namespace for claims";

/// A claim that is to be made.
#[derive(Clone, Debug)]
pub(super) struct PlannedClaim<'p> {
    pub(super) name: String,
    /// The component that it is for.
    owner: Component,
    pub(super) spec: &'p PersistentVolumeClaimSpec,
}

impl PlannedClaim<'_> {
    /// As the claim has it.
    fn asks(&self) -> &str {
        let requests = self.spec.resources.as_ref().and_then(|r| r.requests.as_ref());
        requests.and_then(|requests| requests.get("storage")).map_or("", |quantity| &quantity.0)
    }

    pub(super) fn size(&self) -> f64 {
        parse(self.asks()).unwrap_or_default()
    }
}

/// The claims that come with an object, where it is to be made: those of a StatefulSet's pods are called so by it (kubernetes
/// `pkg/controller/statefulset/stateful_set_utils.go`).
pub(super) fn claims_of(planned: &Planned) -> Vec<PlannedClaim<'_>> {
    let ItemOwner::Component(owner) = planned.item.owner else { return Vec::new() };
    match &planned.item.object {
        _ if planned.operation != Operation::Create => Vec::new(),
        Object::PersistentVolumeClaim(claim) => {
            claim.spec.iter().map(|spec| PlannedClaim { name: claim.name_any(), owner, spec }).collect()
        }
        Object::StatefulSet(set) => {
            let pods = planned.pods().map_or(0, |pods| pods.more);
            let spec = held::<StatefulSetSpec>(&set.spec).into_iter();
            let templates = spec.flat_map(|s| s.volume_claim_templates.iter().flatten());
            let of =
                |template: &'_ PersistentVolumeClaim, pod| format!("{}-{}-{pod}", template.name_any(), set.name_any());
            templates
                .filter_map(|template| Some((template, template.spec.as_ref()?)))
                .flat_map(|(template, spec)| {
                    (0..pods).map(move |pod| PlannedClaim { name: of(template, pod), owner, spec })
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Whose claims can get no volume, by the class that they name, or get where they name none.
fn without_class<'p>(
    claims: &[PlannedClaim<'p>],
    standing: &LiveState,
) -> BTreeMap<Option<&'p str>, BTreeSet<Component>> {
    let mut lacking: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for claim in claims {
        let class = claim.spec.storage_class_name.as_deref();
        let is_there = match (class, &standing.classes) {
            // One that is to have no class takes a volume that stands.
            (Some(""), _) | (_, None) => true,
            (Some(class), Some(classes)) => classes.contains(class),
            (None, Some(_)) => standing.default_class.is_some(),
        };
        if !is_there {
            lacking.entry(class).or_default().insert(claim.owner);
        }
    }
    lacking
}

/// Whether a volume that somebody made by hand may be bound to a claim of the namespace that names this class.
fn takes(volume: &PersistentVolume, class: Option<&str>, namespace: &str) -> bool {
    let Some(spec) = &volume.spec else { return false };
    let is_free = match &spec.claim_ref {
        Some(claim) => claim.namespace.as_deref() == Some(namespace),
        None => true,
    };
    is_free && spec.storage_class_name.as_deref().unwrap_or_default() == class.unwrap_or_default()
}

/// What is said of a class that is not there; `volumes` are those of the cluster, where they may be seen.
fn judge(
    class: Option<&str>,
    owners: &BTreeSet<Component>,
    volumes: Result<&[PersistentVolume], &kube::Error>,
    namespace: &str,
) -> Option<CheckLine> {
    let whose = owners.iter().map(|owner| owner.name()).collect::<Vec<_>>().join(", ");
    let seen = match class {
        Some(class) => format!("there is no StorageClass {class:?}, which claims of {whose} name"),
        None => format!("no StorageClass is the default one, and claims of {whose} name none"),
    };
    let by_hand = Remedy::from(Permission::SkipCheck(CheckId::Objects.name()));
    let fix = Remedy::any([
        "name one that there is (kubectl get storageclass) as components.NAME.storage.storageClass in the deployment file"
            .into(),
        "have none kept on a volume (components.NAME.storage.persistent: false)".into(),
        by_hand.after("where somebody makes the volumes by hand: "),
    ]);
    let of = |status, detail| Some(with_fix(line(CheckId::Objects, CLASSES, status, detail), fix));
    match volumes {
        Ok(volumes) if volumes.iter().any(|volume| takes(volume, class, namespace)) => None,
        Ok(_) => of(CheckStatus::Failed, format!("{seen}, and no volume stands for them")),
        // One that stands for them would do without the class.
        Err(error) => {
            let unseen = unseen(CheckId::Objects, CLASSES, "list persistentvolumes", error);
            of(CheckStatus::Warning, format!("{seen}; whether volumes stand for them was not seen: {}", unseen.detail))
        }
    }
}

async fn classes(cluster: &Cluster, standing: &LiveState, claims: &[PlannedClaim<'_>]) -> Vec<CheckLine> {
    let names_one =
        |claim: &PlannedClaim<'_>| claim.spec.storage_class_name.as_ref().is_some_and(|name| !name.is_empty());
    if standing.classes.is_none() && claims.iter().any(names_one) {
        return vec![line(CheckId::Objects, CLASSES, CheckStatus::Skipped, "needs list storageclasses")];
    }
    let lacking = without_class(claims, standing);
    if lacking.is_empty() {
        return Vec::new();
    }
    let volumes = list_all(&Api::<PersistentVolume>::all(cluster.client.clone()), &ListParams::default()).await;
    let volumes = volumes.as_deref();
    lacking.iter().filter_map(|(class, owners)| judge(*class, owners, volumes, &cluster.namespace)).collect()
}

/// The claims that limits of the namespace refuse, a line each (kubernetes `plugin/pkg/admission/limitranger`).
fn against(file: &DeploymentFile, limits: &[LimitRange], claims: &[PlannedClaim<'_>]) -> Vec<CheckLine> {
    let mut refused = BTreeSet::new();
    for range in limits {
        let of_claims = range.spec.iter().flat_map(|s| &s.limits).filter(|l| l.type_ == "PersistentVolumeClaim");
        for limit in of_claims {
            let bound = |of: &Option<BTreeMap<_, _>>| {
                let quantity: &Quantity = of.as_ref()?.get("storage")?;
                Some((parse(&quantity.0)?, quantity.0.clone()))
            };
            for claim in claims {
                let size = claim.size();
                let least = bound(&limit.min).filter(|(least, _)| size < least * (1.0 - 1e-9));
                let most = bound(&limit.max).filter(|(most, _)| size > most * (1.0 + 1e-9));
                let told = least.map(|(_, least)| format!("at least {least}"));
                let Some(told) = told.or(most.map(|(_, most)| format!("at most {most}"))) else { continue };
                let (name, owner, asks) = (range.name_any(), claim.owner, claim.asks());
                refused
                    .insert((owner, format!("limitrange {name} takes claims of {told}, and {owner} asks for {asks}")));
            }
        }
    }
    let of = |(owner, detail): (Component, String)| {
        let size = format!("set {}.size in the deployment file", file.storage_key(owner));
        let fix = Remedy::any([size, "change the limits".to_owned()]);
        with_fix(line(CheckId::Quota, LIMITS, CheckStatus::Failed, detail), fix)
    };
    refused.into_iter().map(of).collect()
}

async fn limits(cluster: &Cluster, file: &DeploymentFile, claims: &[PlannedClaim<'_>]) -> Vec<CheckLine> {
    match list_all(&cluster.api::<LimitRange>(), &ListParams::default()).await {
        Ok(limits) => against(file, &limits, claims),
        Err(error) => vec![unseen(CheckId::Quota, LIMITS, "list limitranges", &error)],
    }
}

/// What is said of components that would keep what they hold on a volume if the cluster had a class for it, and of which the file
/// does not say that they are to keep nothing.
fn unkept(file: &DeploymentFile, standing: &LiveState, work: &ApplyPlan) -> Option<CheckLine> {
    if standing.classes.is_none() || standing.default_class.is_some() {
        return None;
    }
    let is_open = |component: &Component| {
        let storage = file.storage(*component);
        component.keeps_on_volume(file.release) && storage.persistent.is_none() && storage.storage_class.is_none()
    };
    let made = work.all().filter(|planned| planned.operation == Operation::Create && planned.pods().is_some());
    let owner = |planned: &Planned| match planned.item.owner {
        ItemOwner::Component(component) => Some(component),
        ItemOwner::Shared => None,
    };
    let components: BTreeSet<Component> = made.filter_map(owner).filter(is_open).collect();
    let names = components.iter().map(|component| component.name()).collect::<Vec<_>>().join(", ");
    let detail = format!("no StorageClass is the default one: what {names} hold is in their pods, and goes with these");
    let fix = Remedy::any([
        "name a StorageClass as components.NAME.storage.storageClass in the deployment file",
        "components.NAME.storage.persistent: false there, where it is to be so",
    ]);
    (!components.is_empty()).then(|| with_fix(line(CheckId::EtcdData, KEPT, CheckStatus::Warning, detail), fix))
}

/// What stands in the way of the claims that are to be made. Those that an earlier deployment left are taken as they are.
pub(super) async fn check(
    cluster: &Cluster,
    file: &DeploymentFile,
    standing: &LiveState,
    work: &ApplyPlan,
) -> Vec<CheckLine> {
    let claims: Vec<PlannedClaim<'_>> = work.all().flat_map(claims_of).collect();
    let lines = of_claims(cluster, file, standing, &claims).await;
    lines.into_iter().chain(unkept(file, standing, work)).collect()
}

async fn of_claims(
    cluster: &Cluster,
    file: &DeploymentFile,
    standing: &LiveState,
    claims: &[PlannedClaim<'_>],
) -> Vec<CheckLine> {
    if claims.is_empty() {
        return Vec::new();
    }
    let lines = of(cluster, file, standing, claims).await;
    if !lines.iter().any(|line| line.status > CheckStatus::Unseen) {
        return lines;
    }
    // Who may not see those that stand is told of all.
    let Ok(left) = list_all(&cluster.api::<PersistentVolumeClaim>(), &ListParams::default()).await else {
        return lines;
    };
    let left: BTreeSet<String> = left.iter().map(ResourceExt::name_any).collect();
    let made: Vec<PlannedClaim<'_>> = claims.iter().filter(|claim| !left.contains(&claim.name)).cloned().collect();
    if made.len() == claims.len() { lines } else { of(cluster, file, standing, &made).await }
}

async fn of(
    cluster: &Cluster,
    file: &DeploymentFile,
    standing: &LiveState,
    claims: &[PlannedClaim<'_>],
) -> Vec<CheckLine> {
    if claims.is_empty() {
        return Vec::new();
    }
    let mut lines = classes(cluster, standing, claims).await;
    if standing.namespace != Some(false) {
        lines.extend(limits(cluster, file, claims).await);
    }
    lines
}

#[cfg(test)]
mod tests {
    use clearwater::manifest::{Inputs, render};
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api;

    fn file(text: &str) -> DeploymentFile {
        DeploymentFile::parse(&format!("apiVersion: clearwater/v1\n{text}"), "clearwater.yaml").unwrap()
    }

    fn work(file: &DeploymentFile) -> ApplyPlan {
        let deployment = file.clone().deploy("ims").unwrap();
        let manifest = render(&deployment, &Inputs::default()).unwrap();
        let of = |item| Planned::new(item, None, Operation::Create);
        ApplyPlan { shared: manifest.items().iter().cloned().map(of).collect(), ..ApplyPlan::default() }
    }

    fn live(classes: Option<&[&str]>, default_class: Option<&str>) -> LiveState {
        LiveState {
            namespace: Some(true),
            classes: classes.map(|all| all.iter().map(|class| (*class).to_owned()).collect()),
            default_class: default_class.map(str::to_owned),
            ..LiveState::default()
        }
    }

    const ETCD: &str = "components: {etcd: {storage: {storageClass: fast, size: 2Gi}}}\n";
    const EARLIER: &str = "etcdStorage: {storageClass: fast, size: 2Gi}\n";

    /// What is told of the claims where these objects stand; a kind that is `null` may not be listed.
    async fn told(text: &str, standing: &LiveState, objects: Value) -> Vec<CheckLine> {
        let all = all_told(text, standing, objects).await;
        all.into_iter().filter(|line| line.title != KEPT).collect()
    }

    async fn all_told(text: &str, standing: &LiveState, objects: Value) -> Vec<CheckLine> {
        let (cluster, _) = fake_api::cluster(move |path| {
            let kind = path.rsplit('/').next().unwrap_or_default();
            match objects.get(kind) {
                Some(Value::Null) => Some(Value::Null),
                Some(items) => Some(json!({"metadata": {}, "items": items})),
                None => Some(json!({"metadata": {}, "items": []})),
            }
        });
        let file = file(text);
        check(&cluster, &file, standing, &work(&file)).await
    }

    #[tokio::test]
    async fn a_class_that_is_not_there_is_found_before_claims_are_made() {
        let by_hand = |class: &str, of: Value| json!({"persistentvolumes": [{"metadata": {"name": "v"}, "spec": {"storageClassName": class, "claimRef": of}}]});
        let default = "components: {etcd: {storage: {persistent: true}}}\n";
        let (failed, nothing) = (Some(CheckStatus::Failed), json!({}));
        for (file, standing, objects, expected) in [
            (ETCD, live(Some(&["fast"]), None), nothing.clone(), None),
            (ETCD, live(Some(&["slow"]), Some("slow")), nothing.clone(), failed),
            (ETCD, live(None, None), nothing.clone(), Some(CheckStatus::Skipped)),
            (ETCD, live(Some(&[]), None), json!({"persistentvolumes": null}), Some(CheckStatus::Warning)),
            // Somebody makes the volumes by hand.
            (ETCD, live(Some(&[]), None), by_hand("fast", Value::Null), None),
            (ETCD, live(Some(&[]), None), by_hand("slow", Value::Null), failed),
            (ETCD, live(Some(&[]), None), by_hand("fast", json!({"namespace": "other", "name": "data"})), failed),
            // The claim stands since an earlier deployment.
            (
                ETCD,
                live(Some(&[]), None),
                json!({"persistentvolumeclaims": [{"metadata": {"name": "data-etcd-0"}}]}),
                None,
            ),
            (default, live(Some(&["slow"]), None), nothing.clone(), failed),
            (default, live(Some(&["slow"]), Some("slow")), nothing.clone(), None),
        ] {
            let lines = told(file, &standing, objects.clone()).await;
            assert_eq!(lines.first().map(|line| line.status), expected, "{file} {objects}: {lines:?}");
        }
        let [line] = &told(ETCD, &live(Some(&[]), None), json!({})).await[..] else { panic!("one line") };
        assert!(line.detail.starts_with("there is no StorageClass \"fast\", which claims of etcd name"), "{line:?}");
    }

    /// Nobody asked for stores that lose what they hold with their pods.
    #[tokio::test]
    async fn that_nothing_is_kept_is_said_before_the_first_write() {
        let none = "components: {etcd: {storage: {persistent: false}}, cassandra: {storage: {persistent: false}}, \
                    ellis: {storage: {persistent: false}}}\n";
        for (file, standing, named) in [
            ("", live(Some(&["slow"]), None), Some("what etcd, cassandra, ellis hold")),
            (
                "components: {etcd: {storage: {persistent: false}}}\n",
                live(Some(&[]), None),
                Some("cassandra, ellis hold"),
            ),
            (none, live(Some(&[]), None), None),
            ("", live(Some(&["slow"]), Some("slow")), None),
            ("", live(None, None), None),
        ] {
            let lines = all_told(file, &standing, json!({})).await;
            let kept: Vec<&CheckLine> = lines.iter().filter(|line| line.id == CheckId::EtcdData).collect();
            assert_eq!(kept.len(), usize::from(named.is_some()), "{file}: {lines:?}");
            assert!(kept.iter().all(|line| line.status == CheckStatus::Warning), "{kept:?}");
            assert!(named.is_none_or(|named| kept[0].detail.contains(named)), "{kept:?}");
        }
    }

    #[tokio::test]
    async fn limits_on_claims_are_found_before_claims_are_made() {
        let limits = |of: Value| json!({"limitranges": [{"metadata": {"name": "l"}, "spec": {"limits": [of]}}]});
        let of_claims = |min: &str, max: &str| {
            limits(json!({"type": "PersistentVolumeClaim", "min": {"storage": min}, "max": {"storage": max}}))
        };
        let standing = live(Some(&["fast"]), None);
        for (objects, expected) in [
            (of_claims("1Gi", "2Gi"), None),
            (of_claims("5Gi", "9Gi"), Some(CheckStatus::Failed)),
            (of_claims("1Mi", "1Gi"), Some(CheckStatus::Failed)),
            (limits(json!({"type": "Container", "max": {"storage": "1Gi"}})), None),
            (json!({"limitranges": null}), Some(CheckStatus::Skipped)),
        ] {
            let lines = told(ETCD, &standing, objects.clone()).await;
            assert_eq!(lines.first().map(|line| line.status), expected, "{objects}: {lines:?}");
        }
        // The key is the file's own: the other one beside it would be refused.
        for (file, key) in [(ETCD, "components.etcd.storage.size"), (EARLIER, "etcdStorage.size")] {
            let [line] = &told(file, &standing, of_claims("5Gi", "9Gi")).await[..] else { panic!("one line") };
            assert_eq!(line.detail, "limitrange l takes claims of at least 5Gi, and etcd asks for 2Gi");
            assert!(line.fix.as_ref().unwrap().to_string().starts_with(&format!("set {key} in")), "{line:?}");
        }
    }
}
