//! Whether the quotas have room.

use std::collections::{BTreeMap, BTreeSet};

use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::manifest::Object;
use clearwater::remedy::Remedy;
use k8s_openapi::api::core::v1::{LimitRange, PersistentVolumeClaim, PodSpec, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use kube::api::ListParams;

use super::super::Planned;
use super::super::checks::{line, unseen, with_fix};
use super::super::prepare::{ApplyPlan, LiveState};
use super::volumes::{PlannedClaim, claims_of};
use crate::cluster::{Cluster, list_all};
use crate::judge::policy::quota_fix;
use crate::kinds::ObjectKind;

const TITLE: &str = "quotas against the sum of what will be made";
const DEFAULTS: &str = "what the namespace gives containers by default, against quotas";

/// What containers are given of which nothing was said: the defaults of the namespace's LimitRanges (kubernetes
/// `plugin/pkg/admission/limitranger`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Defaults {
    requests: Quantities,
    limits: Quantities,
}

type Quantities = BTreeMap<String, Quantity>;

impl Defaults {
    fn of(ranges: &[LimitRange]) -> Self {
        let limits = ranges.iter().filter_map(|range| range.spec.as_ref()).flat_map(|spec| &spec.limits);
        let limits = || limits.clone().filter(|limit| limit.type_ == "Container");
        Self {
            requests: first(limits().filter_map(|limit| limit.default_request.as_ref())),
            limits: first(limits().filter_map(|limit| limit.default.as_ref())),
        }
    }
}

/// Of each thing the first quantity.
fn first<'q>(all: impl IntoIterator<Item = &'q Quantities>) -> Quantities {
    let mut found = Quantities::new();
    for (name, quantity) in all.into_iter().flatten() {
        found.entry(name.clone()).or_insert_with(|| quantity.clone());
    }
    found
}

/// What one pod takes of each thing that a quota can count.
pub(crate) fn demand(spec: &PodSpec, defaults: &Defaults) -> BTreeMap<String, f64> {
    let mut sum: BTreeMap<String, f64> = BTreeMap::from([("pods".to_owned(), 1.0), ("count/pods".to_owned(), 1.0)]);
    for container in &spec.containers {
        let said = container.resources.as_ref();
        let (requests, limits) = (said.and_then(|r| r.requests.as_ref()), said.and_then(|r| r.limits.as_ref()));
        // What is limited and not requested is requested as it is limited.
        let requests = first(requests.into_iter().chain(limits).chain([&defaults.requests]));
        let limits = first(limits.into_iter().chain([&defaults.limits]));
        for (prefix, map) in [("requests.", requests), ("limits.", limits)] {
            for (name, quantity) in map {
                let Some(n) = clearwater::quantity::parse(&quantity.0) else { continue };
                *sum.entry(format!("{prefix}{name}")).or_default() += n;
                if prefix == "requests." {
                    *sum.entry(name).or_default() += n;
                }
            }
        }
    }
    sum
}

/// What making these objects takes in all. Claims that stand already, by these names, are taken as they are; those that name no
/// class get the default one before they are counted (kubernetes `plugin/pkg/admission/storage/storageclass/setdefault`).
fn total_demand<'p>(
    planned: impl Iterator<Item = &'p Planned>,
    standing: &BTreeSet<String>,
    default_class: Option<&str>,
    defaults: &Defaults,
) -> BTreeMap<String, f64> {
    let mut sum: BTreeMap<String, f64> = BTreeMap::new();
    for one in planned {
        let object = &one.item.object;
        let made = one.pods();
        for (name, n) in made.iter().flat_map(|pods| demand(pods.spec, defaults)) {
            *sum.entry(name).or_default() += n * made.map_or(0.0, |pods| f64::from(pods.more));
        }
        for claim in claims_of(one).iter().filter(|claim| !standing.contains(&claim.name)) {
            claim_demand(claim, default_class, &mut sum);
        }
        if matches!(object, Object::PersistentVolumeClaim(_)) {
            continue;
        }
        if one.operation == Operation::Create
            && let Some(kind) = ObjectKind::of(object)
        {
            let (group, resource) = (kind.group(), kind.plural);
            let counted =
                if group.is_empty() { format!("count/{resource}") } else { format!("count/{resource}.{group}") };
            *sum.entry(counted).or_default() += 1.0;
            if group.is_empty() {
                *sum.entry(resource.to_owned()).or_default() += 1.0;
            }
        }
    }
    sum
}

/// What a claim takes.
fn claim_demand(claim: &PlannedClaim<'_>, default_class: Option<&str>, sum: &mut BTreeMap<String, f64>) {
    let size = claim.size();
    // An empty name is one: that of claims that are to have no class.
    let class = claim.spec.storage_class_name.as_deref().or(default_class).filter(|class| !class.is_empty());
    let class = class.map(|class| format!("{class}.storageclass.storage.k8s.io/"));
    let mut add = |name: String, n: f64| *sum.entry(name).or_default() += n;
    add("count/persistentvolumeclaims".to_owned(), 1.0);
    for prefix in [String::new()].into_iter().chain(class) {
        add(format!("{prefix}persistentvolumeclaims"), 1.0);
        add(format!("{prefix}requests.storage"), size);
    }
}

pub(super) async fn check(cluster: &Cluster, standing: &LiveState, work: &ApplyPlan) -> Vec<CheckLine> {
    if standing.namespace == Some(false) {
        return Vec::new();
    }
    let default_class = standing.default_class.as_deref();
    let Seen { quotas, defaults, unseen } = match Seen::look(cluster).await {
        Ok(seen) => seen,
        Err(line) => return vec![line],
    };
    let wanted = |standing: &BTreeSet<String>| total_demand(work.all(), standing, default_class, &defaults);
    let all = wanted(&BTreeSet::new());
    let mut lines = judge(&quotas, &all, fix);
    if all.contains_key("persistentvolumeclaims")
        && lines.iter().any(|line| line.status == CheckStatus::Failed)
        // Those that an earlier deployment left are in what is used already. Who may not see them is told what they would take.
        && let Ok(claims) = list_all(&cluster.api::<PersistentVolumeClaim>(), &ListParams::default()).await
    {
        lines = judge(&quotas, &wanted(&claims.iter().map(ResourceExt::name_any).collect()), fix);
    }
    lines.extend(unseen);
    lines
}

/// What makes room for a thing that a quota counts.
fn fix(name: &str) -> Remedy {
    quota_fix("NAME", [name])
}

/// Compares what will be taken of each thing that a quota can count with what the quotas have left.
pub(crate) async fn against(
    cluster: &Cluster,
    wanted: impl Fn(&Defaults) -> BTreeMap<String, f64>,
    fix: impl Fn(&str) -> Remedy,
) -> Vec<CheckLine> {
    match Seen::look(cluster).await {
        Ok(seen) => judge(&seen.quotas, &wanted(&seen.defaults), fix).into_iter().chain(seen.unseen).collect(),
        Err(line) => vec![line],
    }
}

/// The quotas, and what they count.
struct Seen {
    quotas: Vec<ResourceQuota>,
    defaults: Defaults,
    /// The line of what could not be seen of the defaults.
    unseen: Option<CheckLine>,
}

impl Seen {
    /// An error is the line that says why there are no quotas to be seen.
    async fn look(cluster: &Cluster) -> Result<Self, CheckLine> {
        let quotas = list_all(&cluster.api::<ResourceQuota>(), &ListParams::default()).await;
        let quotas = quotas.map_err(|error| unseen(CheckId::Quota, TITLE, "list resourcequotas", &error))?;
        let given = |name: &str| name.starts_with("limits.") || name.ends_with("cpu") || name.ends_with("memory");
        if !quotas.iter().filter_map(hard).flatten().any(|(name, _)| given(name)) {
            return Ok(Self { quotas, defaults: Defaults::default(), unseen: None });
        }
        let ranges = list_all(&cluster.api::<LimitRange>(), &ListParams::default()).await;
        let unseen = ranges.as_ref().err().map(|error| unseen(CheckId::Quota, DEFAULTS, "list limitranges", error));
        Ok(Self { quotas, defaults: Defaults::of(&ranges.unwrap_or_default()), unseen })
    }
}

/// What a quota allows.
fn hard(quota: &ResourceQuota) -> Option<&Quantities> {
    let told = quota.status.as_ref().and_then(|s| s.hard.as_ref());
    told.or_else(|| quota.spec.as_ref()?.hard.as_ref())
}

fn judge(quotas: &[ResourceQuota], wanted: &BTreeMap<String, f64>, fix: impl Fn(&str) -> Remedy) -> Vec<CheckLine> {
    let mut lines = Vec::new();
    for quota in quotas {
        let scoped = quota.spec.as_ref().is_some_and(|s| s.scopes.is_some() || s.scope_selector.is_some());
        if scoped {
            continue;
        }
        let status = quota.status.as_ref();
        for (name, limit) in hard(quota).into_iter().flatten() {
            let used = status.and_then(|s| s.used.as_ref()?.get(name)).map_or("0", |q| q.0.as_str());
            let (Some(limit_n), Some(used_n)) =
                (clearwater::quantity::parse(&limit.0), clearwater::quantity::parse(used))
            else {
                continue;
            };
            let need = wanted.get(name).copied().unwrap_or(0.0);
            if need > 0.0 && used_n + need > limit_n * (1.0 + 1e-9) {
                // What stood before the quota is not taken back.
                let left = (limit_n - used_n).max(0.0);
                let detail = format!("{name}: {} is needed, {} of {} are left", short(need), short(left), limit.0);
                let seen = line(CheckId::Quota, format!("quota {}", quota.name_any()), CheckStatus::Failed, detail);
                lines.push(with_fix(seen, fix(name)));
            }
        }
    }
    if lines.is_empty() {
        let detail = match quotas.len() {
            0 => "there are none".to_owned(),
            n => format!("{n} have room"),
        };
        lines.push(line(CheckId::Quota, TITLE, CheckStatus::Ok, detail));
    }
    lines
}

pub(super) fn short(n: f64) -> String {
    const MI: f64 = 1024.0 * 1024.0;
    if n >= MI {
        format!("{:.0}Mi", n / MI)
    } else if n.fract().abs() < 1e-9 {
        format!("{n:.0}")
    } else {
        format!("{:.0}m", n * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use clearwater::config::DeploymentFile;
    use clearwater::manifest::{Inputs, render};
    use serde_json::json;

    use super::*;
    use crate::fake_api;

    #[tokio::test]
    async fn claims_are_counted_against_quotas_of_storage() {
        let yaml = "apiVersion: clearwater/v1\netcdStorage: {storageClass: fast, size: 2Gi}\n";
        let deployment = DeploymentFile::parse(yaml, "clearwater.yaml").unwrap().deploy("ims").unwrap();
        let manifest = render(&deployment, &Inputs::default()).unwrap();
        let planned: Vec<Planned> =
            manifest.items().iter().cloned().map(|item| Planned::new(item, None, Operation::Create)).collect();
        let defaults = Defaults::default();
        let wanted = total_demand(planned.iter(), &BTreeSet::new(), None, &defaults);
        let standing = BTreeSet::from(["data-etcd-0".to_owned(), "data-etcd-1".to_owned()]);
        let beside_standing = total_demand(planned.iter(), &standing, None, &defaults);
        assert!((wanted["persistentvolumeclaims"] - 1.0).abs() < 1e-9);
        assert!(beside_standing.get("persistentvolumeclaims").is_none_or(|n| n.abs() < 1e-9));
        // A quota that is full with the claim that an earlier deployment left has room for it.
        let work = ApplyPlan { shared: planned.clone(), ..ApplyPlan::default() };
        let live = LiveState { namespace: Some(true), ..LiveState::default() };
        for (left, status) in [("data-etcd-0", CheckStatus::Ok), ("data-other-0", CheckStatus::Failed)] {
            let (cluster, asked) = fake_api::cluster(move |path| {
                let items = match path.rsplit('/').next() {
                    Some("persistentvolumeclaims") => json!([{"metadata": {"name": left}}]),
                    _ => json!([{"metadata": {"name": "q"}, "status": {"hard": {"persistentvolumeclaims": "1"},
                        "used": {"persistentvolumeclaims": "1"}}}]),
                };
                Some(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
            });
            let lines = check(&cluster, &live, &work).await;
            assert_eq!(lines[0].status, status, "{left}: {lines:?}");
            assert_eq!(asked.all().iter().filter(|a| a.ends_with("/resourcequotas")).count(), 1, "{:?}", asked.all());
        }
        for (name, limit, used, fits) in [
            ("persistentvolumeclaims", "1", "0", true),
            ("persistentvolumeclaims", "1", "1", false),
            ("persistentvolumeclaims", "1", "2", false),
            ("requests.storage", "2Gi", "0", true),
            ("requests.storage", "2Gi", "1Gi", false),
            ("fast.storageclass.storage.k8s.io/requests.storage", "1Gi", "0", false),
            ("fast.storageclass.storage.k8s.io/persistentvolumeclaims", "0", "0", false),
            ("slow.storageclass.storage.k8s.io/requests.storage", "0", "0", true),
        ] {
            let quota = json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [
                {"metadata": {"name": "q"}, "status": {"hard": {name: limit}, "used": {name: used}}}]});
            let (cluster, _) = fake_api::cluster(move |_| Some(quota.clone()));
            let lines = against(&cluster, |_| wanted.clone(), fix).await;
            let status = if fits { CheckStatus::Ok } else { CheckStatus::Failed };
            assert_eq!(lines[0].status, status, "{name} {limit} {used}: {lines:?}");
            assert!(!lines[0].detail.contains('-') || lines[0].status == CheckStatus::Ok, "{lines:?}");
        }
    }

    /// The API server gives a claim the default class before it counts it.
    #[tokio::test]
    async fn claims_that_name_no_class_count_against_quotas_of_the_default_one() {
        let file = "apiVersion: clearwater/v1\netcdStorage: {persistent: true, size: 2Gi}\n";
        let deployment = DeploymentFile::parse(file, "clearwater.yaml").unwrap().deploy("ims").unwrap();
        let manifest = render(&deployment, &Inputs::default()).unwrap();
        let of = |item| Planned::new(item, None, Operation::Create);
        let shared: Vec<Planned> = manifest.items().iter().cloned().map(of).collect();
        let work = ApplyPlan { shared, ..ApplyPlan::default() };
        for (default_class, quota, status) in [
            (Some("gold"), "gold.storageclass.storage.k8s.io/requests.storage", CheckStatus::Failed),
            (Some("gold"), "gold.storageclass.storage.k8s.io/persistentvolumeclaims", CheckStatus::Failed),
            (Some("gold"), "slow.storageclass.storage.k8s.io/persistentvolumeclaims", CheckStatus::Ok),
            (None, "gold.storageclass.storage.k8s.io/requests.storage", CheckStatus::Ok),
        ] {
            let live = LiveState {
                namespace: Some(true),
                default_class: default_class.map(str::to_owned),
                ..LiveState::default()
            };
            let (cluster, _) = fake_api::cluster(move |path| {
                let items = match path.rsplit('/').next() {
                    Some("persistentvolumeclaims") => json!([]),
                    _ => json!([{"metadata": {"name": "q"}, "status": {"hard": {quota: "0"}, "used": {quota: "0"}}}]),
                };
                Some(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
            });
            let lines = check(&cluster, &live, &work).await;
            assert_eq!(lines[0].status, status, "{default_class:?} {quota}: {lines:?}");
        }
    }

    /// As admission has it, which gives a container what it does not say before quotas count it.
    #[tokio::test]
    async fn what_limits_of_the_namespace_give_counts_against_quotas() {
        let spec = |resources: serde_json::Value| -> PodSpec {
            serde_json::from_value(json!({"containers": [{"name": "a", "resources": resources}]})).unwrap()
        };
        let own = json!({"requests": {"cpu": "100m"}});
        let told = async |spec: &PodSpec, counted: &'static str, ranges: bool| {
            let (cluster, _) = fake_api::cluster(move |path| match path.rsplit('/').next() {
                Some("limitranges") if !ranges => Some(serde_json::Value::Null),
                Some("limitranges") => Some(json!({"metadata": {}, "items": [
                    {"metadata": {"name": "l"}, "spec": {"limits": [
                        {"type": "Pod", "max": {"cpu": "9"}},
                        {"type": "Container", "default": {"cpu": "500m", "memory": "64Mi"},
                            "defaultRequest": {"cpu": "300m", "memory": "32Mi"}}]}},
                    {"metadata": {"name": "m"}, "spec": {"limits": [
                        {"type": "Container", "default": {"memory": "1Gi"}}]}}]})),
                _ => Some(json!({"metadata": {}, "items": [{"metadata": {"name": "q"},
                    "status": {"hard": {counted: "1"}, "used": {counted: "0"}}}]})),
            });
            let lines = against(&cluster, |defaults| demand(spec, defaults), fix).await;
            let details: Vec<String> = lines.iter().map(|line| line.detail.clone()).collect();
            details.join(" / ")
        };
        for (resources, counted, words) in [
            (&own, "limits.memory", "limits.memory: 64Mi is needed"),
            (&own, "requests.memory", "requests.memory: 32Mi is needed"),
            (&own, "limits.cpu", "1 have room"),
            (&json!({"limits": {"memory": "128Mi"}}), "requests.memory", "requests.memory: 128Mi is needed"),
            (&json!({"limits": {"memory": "128Mi"}}), "memory", "memory: 128Mi is needed"),
        ] {
            let said = told(&spec(resources.clone()), counted, true).await;
            assert!(said.starts_with(words), "{resources} {counted}: {said}");
        }
        let unseen = told(&spec(own.clone()), "limits.memory", false).await;
        assert_eq!(unseen, "1 have room / needs list limitranges");
        // What is not counted is not asked for.
        assert_eq!(told(&spec(own), "pods", false).await, "1 have room");
    }

    #[test]
    fn what_makes_room_is_of_what_is_counted() {
        for (name, words) in [
            ("pods", "lower components.NAME.replicas"),
            ("count/pods", "lower components.NAME.replicas"),
            ("requests.memory", "lower components.NAME.resources"),
            ("cpu", "lower components.NAME.resources"),
            ("fast.storageclass.storage.k8s.io/requests.storage", "lower components.NAME.storage.size"),
        ] {
            let said = fix(name).to_string();
            assert!(said.starts_with("raise the quota; or ") && said.contains(words), "{name}: {said}");
        }
        assert!(!fix("services").to_string().contains("lower"), "{}", fix("services"));
    }
}
