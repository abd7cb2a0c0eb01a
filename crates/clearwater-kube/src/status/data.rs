//! Where what people would miss lives, how full that is, and when it was last kept.

use std::collections::BTreeMap;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::manifest::{ENV_VARS, LAST_BACKUP_ANNOTATION};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use kube::api::ListParams;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ComponentStatus, Status};
use crate::cluster::{Cluster, list_all};
use crate::observe::report::Report;
use crate::observe::snapshot::Snapshot;
use crate::observe::unasked::Unasked;
use crate::observe::volumes;
use crate::pod::Room;
use crate::pod::object::claims;

/// Where a pod keeps what people would miss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodData {
    /// The claim of the volume that it is on; left out where it is in the pod, and dies with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// The StorageClass of that claim; left out where it has none, or could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The room in the file system that it is on; left out where it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Room>,
}

/// When what the services tell of subscribers was last kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastBackup {
    /// When; left out where no backup is known of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub at: Option<Timestamp>,
}

/// Where a pod keeps its data, as the pod says; `None` for one that keeps none.
pub(super) fn of(component: Component, pod: &Pod, report: Option<&Report>) -> Option<PodData> {
    volumes::keeper(component)?;
    let claim = claims(pod).next().map(str::to_owned);
    Some(PodData { claim, class: None, room: report.and_then(|report| report.room) })
}

/// What the API server says of it.
pub(super) struct Told {
    /// The classes of claims, by the claim.
    classes: Result<BTreeMap<String, String>, Unasked>,
    /// None where nothing in the deployment is ever kept.
    backup: Result<Option<LastBackup>, Unasked>,
}

impl Told {
    /// Asks for it, where there is something to ask for.
    pub(super) async fn ask(
        cluster: &Cluster,
        snapshot: &Snapshot,
        settings: Result<Option<ConfigMap>, Unasked>,
        within: Duration,
    ) -> Self {
        let mut pods = volumes::keepers().flat_map(|keeper| snapshot.pods_of(keeper.component));
        let has_claims = pods.any(|pod| claims(pod).next().is_some());
        let keeps = volumes::KEEPERS.iter().any(|keeper| !snapshot.pods_of(keeper.component).is_empty());
        let classes = if has_claims { classes(cluster, within).await } else { Ok(BTreeMap::new()) };
        let backup = if keeps { settings.and_then(last_backup) } else { Ok(None) };
        Self { classes, backup }
    }

    /// Puts it where it belongs, and says it.
    pub(super) fn into_status(self, snapshot: &Snapshot, seen: &mut Status) {
        if let Ok(classes) = &self.classes {
            let data = seen.components.iter_mut().flat_map(|c| &mut c.pods).filter_map(|pod| pod.data.as_mut());
            for data in data {
                data.class = data.claim.as_ref().and_then(|claim| classes.get(claim).cloned());
            }
        }
        let kept = volumes::keepers().filter_map(|keeper| volumes::of(snapshot, keeper));
        let places = kept.map(|kept| kept.with(|claim| known(&seen.components, claim)).to_string());
        let mut notes: Vec<String> = places.collect();
        if let Err(why) = &self.classes {
            notes.push(why.note("of which class volumes are"));
        }
        match self.backup {
            Ok(Some(backup)) => {
                notes.push(match backup.at {
                    Some(at) => format!("the last backup is of {}", at.strftime("%Y-%m-%dT%H:%M:%SZ")),
                    None => "no backup is known of".to_owned(),
                });
                seen.last_backup = Some(backup);
            }
            Ok(None) => {}
            Err(why) => notes.push(why.note("when the last backup was")),
        }
        seen.notes.extend(notes);
    }
}

/// What is known of a claim beside its name.
fn known(components: &[ComponentStatus], claim: &str) -> Option<String> {
    let mut all = components.iter().flat_map(|c| &c.pods).filter_map(|pod| pod.data.as_ref());
    let data = all.find(|data| data.claim.as_deref() == Some(claim))?;
    let class = data.class.as_ref().map(|class| format!("class {class}"));
    let full = data.room.and_then(|room| room.percent()).map(|percent| format!("{percent} % full"));
    let known: Vec<String> = class.into_iter().chain(full).collect();
    (!known.is_empty()).then(|| known.join(", "))
}

async fn classes(cluster: &Cluster, within: Duration) -> Result<BTreeMap<String, String>, Unasked> {
    let api = cluster.api::<PersistentVolumeClaim>();
    let params = ListParams::default();
    let all = Unasked::unless_answered(list_all(&api, &params), "list persistentvolumeclaims", within).await?;
    let of = |claim: PersistentVolumeClaim| Some((claim.name_any(), claim.spec?.storage_class_name?));
    Ok(all.into_iter().filter_map(of).filter(|(_, class)| !class.is_empty()).collect())
}

/// Where an HSS has the subscribers there is nothing to keep.
fn last_backup(settings: Option<ConfigMap>) -> Result<Option<LastBackup>, Unasked> {
    let Some(map) = settings else { return Ok(Some(LastBackup { at: None })) };
    if map.data.as_ref().and_then(|data| data.get("HSS")).is_some_and(|hss| !hss.is_empty()) {
        return Ok(None);
    }
    let Some(text) = map.annotations().get(LAST_BACKUP_ANNOTATION) else { return Ok(Some(LastBackup { at: None })) };
    match text.parse() {
        Ok(at) => Ok(Some(LastBackup { at: Some(at) })),
        Err(_) => Err(Unasked::failed(format!(
            "configmap/{ENV_VARS}: its annotation {LAST_BACKUP_ANNOTATION} is no time: {text:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api;

    const SOON: Duration = Duration::from_secs(5);

    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (component, claim) in [("cassandra", Some("data-cassandra-0")), ("ellis", None)] {
            let volumes = claim.map(|claim| json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]));
            let name = format!("{component}-0");
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name, "labels": {"service": component}},
                "spec": {"containers": [], "volumes": volumes}}))
            .unwrap();
            snapshot.pods.insert(name, pod);
        }
        snapshot
    }

    fn status(snapshot: &Snapshot) -> Status {
        let component = |component: Component| {
            let pods: Vec<Value> = snapshot
                .pods_of(component)
                .into_iter()
                .map(|pod| {
                    let report =
                        Report { room: Some(Room { capacity: 1000, used: 372, available: 628 }), ..Report::default() };
                    json!({"name": pod.name_any(), "node": "n", "address": "10.0.0.1", "ready": true, "restarts": 0,
                    "data": of(component, pod, Some(&report))})
                })
                .collect();
            json!({"component": component, "roles": [], "health": "serving", "image": "x", "ready": 1, "wanted": 1,
                "pods": pods, "members": {}, "problems": [], "unchecked": [], "pending": 0})
        };
        serde_json::from_value(json!({"v": 1, "namespace": "ims", "release": "hunter", "at": "2026-11-23T10:00:00Z",
            "healthy": true, "partial": false, "components": [component(Component::Cassandra), component(Component::Ellis)],
            "notes": []}))
        .unwrap()
    }

    /// The claims and the ConfigMap as the API server has them: `null` is a right that is missing.
    async fn told(claims: Value, map: Value) -> (Status, Vec<String>) {
        let (cluster, asked) = fake_api::cluster(move |path| match path.rsplit('/').next()? {
            "persistentvolumeclaims" => Some(claims.clone()),
            _ => None,
        });
        let snapshot = snapshot();
        let mut seen = status(&snapshot);
        let settings = match map {
            Value::Null => Err(Unasked::forbidden("needs get configmaps")),
            map => Ok(Some(serde_json::from_value(map).unwrap())),
        };
        Told::ask(&cluster, &snapshot, settings, SOON).await.into_status(&snapshot, &mut seen);
        (seen, asked.all())
    }

    fn claims_of_fast() -> Value {
        json!({"metadata": {}, "items": [{"metadata": {"name": "data-cassandra-0"}, "spec": {"storageClassName": "fast"}}]})
    }

    #[tokio::test]
    async fn it_is_told_where_data_lives_how_full_that_is_and_when_it_was_kept() {
        let map = json!({"metadata": {"annotations": {LAST_BACKUP_ANNOTATION: "2026-11-22T03:30:00.5Z"}}, "data": {}});
        let (seen, _) = told(claims_of_fast(), map).await;
        assert_eq!(
            seen.notes,
            [
                "cassandra keeps subscribers and their settings on a persistent volume, data-cassandra-0 (class fast, 38 % full)",
                "ellis keeps accounts in its pods, and they die with these",
                "the last backup is of 2026-11-22T03:30:00Z",
            ]
        );
        let data = |n: usize| seen.components[n].pods[0].data.clone().unwrap();
        assert_eq!((data(0).claim.as_deref(), data(0).class.as_deref()), (Some("data-cassandra-0"), Some("fast")));
        assert_eq!((data(1).claim, data(1).room.map(|room| room.used)), (None, Some(372)));
        assert_eq!(seen.last_backup.unwrap().at, Some("2026-11-22T03:30:00.5Z".parse().unwrap()));
    }

    #[tokio::test]
    async fn what_may_not_be_asked_is_told_and_is_not_taken_for_none() {
        let (seen, _) = told(Value::Null, Value::Null).await;
        assert_eq!(seen.last_backup, None);
        assert_eq!(
            seen.notes[2..],
            [
                "skipped: of which class volumes are (needs list persistentvolumeclaims)",
                "skipped: when the last backup was (needs get configmaps)",
            ]
        );
        let none = told(claims_of_fast(), json!({"metadata": {}})).await.0;
        assert_eq!(none.last_backup, Some(LastBackup { at: None }));
        assert_eq!(none.notes[2..], ["no backup is known of"]);
        let odd = json!({"metadata": {"annotations": {LAST_BACKUP_ANNOTATION: "yesterday"}}});
        let odd = told(claims_of_fast(), odd).await.0;
        assert!(odd.last_backup.is_none() && odd.notes[2].contains("is no time: \"yesterday\""), "{odd:?}");
    }

    /// Subscribers of an HSS are in no backup, and what has no pod is not asked for.
    #[tokio::test]
    async fn nothing_is_asked_for_that_is_not_there() {
        let (seen, _) = told(claims_of_fast(), json!({"metadata": {}, "data": {"HSS": "hss.example"}})).await;
        assert!(seen.last_backup.is_none() && seen.notes.len() == 2, "{:?}", seen.notes);
        let (cluster, asked) = fake_api::cluster(|_| None);
        let mut empty = Status { components: Vec::new(), ..seen };
        empty.notes.clear();
        Told::ask(&cluster, &Snapshot::default(), Ok(None), SOON).await.into_status(&Snapshot::default(), &mut empty);
        assert!(asked.all().is_empty() && empty.notes.is_empty(), "{:?} {:?}", asked.all(), empty.notes);
    }
}
