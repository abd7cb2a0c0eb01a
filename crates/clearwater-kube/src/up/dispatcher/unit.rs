//! What a run knows of one component.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use clearwater::component::Component;
use clearwater::event::{Durations, Early, Operation};
use clearwater::manifest::{Object, WorkloadKind};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::api::DynamicObject;
use serde_json::Value;
use tokio::time::Instant;

use super::SAY_EVERY;
use crate::apply::prepare::ComponentPlan;
use crate::apply::{self, ApplyError, Planned};
use crate::cluster::Cluster;
use crate::observe::Workload;
use crate::observe::snapshot::Snapshot;
use crate::run::millis;

/// The components of a run, in the order of the catalogue.
pub(super) struct Units(BTreeMap<Component, Unit>);

impl Units {
    pub(super) fn new(units: impl IntoIterator<Item = Unit>) -> Self {
        Self(units.into_iter().map(|u| (u.component(), u)).collect())
    }

    pub(super) fn components(&self) -> Vec<Component> {
        self.0.keys().copied().collect()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Unit> {
        self.0.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Unit> {
        self.0.values_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A component that may be left out of the run.
    pub(super) fn get(&self, component: Component) -> Option<&Unit> {
        self.0.get(&component)
    }
}

/// A component that is of the run.
impl Index<Component> for Units {
    type Output = Unit;

    fn index(&self, component: Component) -> &Unit {
        &self.0[&component]
    }
}

impl IndexMut<Component> for Units {
    fn index_mut(&mut self, component: Component) -> &mut Unit {
        self.0.get_mut(&component).expect("only components of the run have news")
    }
}

/// What was stated of a component last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stated {
    Nothing,
    /// It waits for other components.
    Waiting,
    /// It waits for its load balancers' addresses.
    AwaitingAddress,
    /// It waits for a name that would be remembered as missing.
    AwaitingName,
    /// It waits for images that are needed sooner.
    AwaitingPulls,
    Pulling,
    Starting,
    Settling,
    Serving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Waiting,
    Applying,
    Rolling,
    Serving,
    Failed,
    Skipped,
}

/// Whether a component is made before its gates open, and how far that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It is made when its gates open.
    No,
    /// It is to be made, and its programs are to be held.
    Wanted,
    /// It is being made.
    Making,
    /// Its pods are there or come, and hold their programs.
    Held,
    /// Its programs were let go.
    LetGo,
}

/// When what is done for a component before its gates open was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    /// Its objects were begun to be written.
    pub(super) made: Option<Instant>,
    /// A pull of its images was seen first.
    pub(super) pulling: Option<Instant>,
    /// Its images were all there.
    pub(super) there: Option<Instant>,
}

impl Before {
    /// The parts of the time until its gates opened.
    fn parts(self, opened: Option<Instant>) -> Early {
        let (Some(made), Some(opened)) = (self.made, opened) else { return Early::default() };
        let span = |from: Instant, to: Instant| millis(to.saturating_duration_since(from));
        let there = self.there.unwrap_or(opened).min(opened);
        let pulling = self.pulling.unwrap_or(there).min(there);
        Early { making: span(made, pulling), pulling: span(pulling, there), held: span(there, opened) }
    }
}

pub(super) struct Unit {
    pub(super) part: ComponentPlan,
    /// What is written when the gates open.
    pub(super) planned: Vec<Planned>,
    /// What was written before; `None` while that is under way.
    pub(super) early: Option<Applied>,
    /// Whether it is made before its gates open.
    pub(super) hold: Hold,
    /// What was written for it then.
    pub(super) made: Option<Applied>,
    pub(super) before: Before,
    /// Whether its programs are not held where it is made early.
    pub(super) starts_alone: bool,
    pub(super) phase: Phase,
    /// Whether it served and does not any more.
    pub(super) unsteady: bool,
    pub(super) opened: Option<Instant>,
    pub(super) opened_by: Option<Component>,
    pub(super) applied: Option<Instant>,
    pub(super) pulled: Option<Instant>,
    pub(super) ready: Option<Instant>,
    pub(super) serving: Option<Instant>,
    pub(super) pending: u32,
    /// What was stated last, its cause, and when.
    stated: (Stated, String, Instant),
    pub(super) cause: String,
    /// A failure whose evidence is being gathered.
    pub(super) failing: bool,
}

impl Unit {
    /// A component that nothing was done for yet.
    pub(super) fn new(part: ComponentPlan, planned: Vec<Planned>, early: Option<Applied>, began: Instant) -> Self {
        Self {
            part,
            planned,
            early,
            hold: Hold::No,
            made: None,
            before: Before::default(),
            starts_alone: false,
            phase: Phase::Waiting,
            unsteady: false,
            opened: None,
            opened_by: None,
            applied: None,
            pulled: None,
            ready: None,
            serving: None,
            pending: 0,
            stated: (Stated::Nothing, String::new(), began),
            cause: String::new(),
            failing: false,
        }
    }

    pub(super) fn component(&self) -> Component {
        self.part.subject.component()
    }

    pub(super) fn name(&self) -> &'static str {
        self.part.subject.name()
    }

    /// Takes note of what is stated now.
    pub(super) fn state(&mut self, stated: Stated, cause: String) {
        self.stated = (stated, cause, Instant::now());
    }

    /// What was stated last.
    pub(super) fn stated(&self) -> Stated {
        self.stated.0
    }

    /// Whether just this was stated last, whenever that was.
    pub(super) fn has_stated(&self, stated: Stated, cause: &str) -> bool {
        self.stated.0 == stated && self.stated.1 == cause
    }

    /// Whether this was stated last, or something else of the same stage a moment ago.
    pub(super) fn has_just_stated(&self, stated: Stated, cause: &str) -> bool {
        self.stated.0 == stated && (self.stated.1 == cause || self.stated.2.elapsed() < SAY_EVERY)
    }

    pub(super) fn durations(&self, began: Instant) -> Durations {
        let span = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => millis(to.saturating_duration_since(from)),
            _ => 0,
        };
        let pulled = self.pulled.or(self.applied);
        let ready = self.ready.max(pulled);
        Durations {
            waiting: span(Some(began), self.opened),
            early: self.before.parts(self.opened),
            applying: span(self.opened, self.applied),
            pulling: span(self.applied, pulled),
            starting: span(pulled, ready),
            settling: span(ready, self.serving),
        }
    }

    /// The state as another component's line tells it.
    pub(super) fn phrase(&self) -> String {
        match self.phase {
            Phase::Waiting => "is waiting".to_owned(),
            Phase::Applying => "is being applied".to_owned(),
            Phase::Rolling if self.cause.is_empty() => "is starting".to_owned(),
            Phase::Rolling => format!("does not serve yet: {}", self.cause),
            Phase::Serving => "serves".to_owned(),
            Phase::Failed => "failed".to_owned(),
            Phase::Skipped => "is left out".to_owned(),
        }
    }
}

/// What a run wrote that another could write over.
#[derive(Default)]
pub(super) struct Written {
    /// The templates of workloads, as the API server gave them back.
    templates: BTreeMap<Workload, PodTemplateSpec>,
    /// What Services were to be, and the version that this made.
    services: BTreeMap<String, (Value, u64)>,
}

impl Written {
    fn take(&mut self, object: &Object, written: &DynamicObject) {
        let kind = match object {
            Object::Deployment(_) => WorkloadKind::Deployment,
            Object::StatefulSet(_) => WorkloadKind::StatefulSet,
            Object::Service(service) => {
                let version = written.metadata.resource_version.as_deref().and_then(|v| v.parse().ok());
                let sent = serde_json::to_value(&service.spec).ok().zip(version);
                self.services.extend(sent.map(|sent| (object.name().to_owned(), sent)));
                return;
            }
            _ => return,
        };
        let template = written.data.pointer("/spec/template").and_then(|t| serde_json::from_value(t.clone()).ok());
        self.templates.extend(template.map(|t| (Workload { kind, name: object.name().to_owned() }, t)));
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.templates.extend(other.templates);
        self.services.extend(other.services);
    }

    /// The workloads whose pods are to be made in another way than this run wrote, and the Services that lead elsewhere, as
    /// kubectl names them. What configures pods is in their templates, by its hash.
    pub(super) fn over(&self, snapshot: &Snapshot) -> Vec<String> {
        let workloads = self.templates.iter().filter_map(|(workload, written)| {
            let live = snapshot.workload(workload)?.template?;
            (live != written).then(|| format!("{}/{}", workload.kind.name().to_lowercase(), workload.name))
        });
        let services = self.services.iter().filter_map(|(name, (sent, version))| {
            let live = snapshot.services.get(name)?;
            // The watch may not have told of this run's own write yet.
            let newer = live.metadata.resource_version.as_deref()?.parse::<u64>().ok()? > *version;
            (newer && !covers(&serde_json::to_value(&live.spec).ok()?, sent)).then(|| format!("service/{name}"))
        });
        workloads.chain(services).collect()
    }
}

/// Whether all that was sent stands; the API server and controllers fill in more.
fn covers(live: &Value, sent: &Value) -> bool {
    match (live, sent) {
        (_, Value::Null) => true,
        (Value::Object(live), Value::Object(sent)) => {
            sent.iter().all(|(key, sent)| covers(live.get(key).unwrap_or(&Value::Null), sent))
        }
        (Value::Array(live), Value::Array(sent)) => {
            live.len() == sent.len() && live.iter().zip(sent).all(|(live, sent)| covers(live, sent))
        }
        _ => live == sent,
    }
}

/// What was written for a component.
pub(super) struct Applied {
    pub(super) component: Component,
    pub(super) created: u32,
    pub(super) changed: u32,
    pub(super) kept: u32,
    /// The generation of each workload that was written.
    pub(super) generations: Vec<(String, i64)>,
    /// What others could write over.
    pub(super) written: Written,
    pub(super) error: Option<ApplyError>,
}

impl Applied {
    pub(super) fn of(component: Component) -> Self {
        Self {
            component,
            created: 0,
            changed: 0,
            kept: 0,
            generations: Vec::new(),
            written: Written::default(),
            error: None,
        }
    }

    /// Writes an object. Yields whether more may be written.
    pub(super) async fn write(&mut self, cluster: &Cluster, planned: &Planned, force: bool, until: Instant) -> bool {
        match apply::apply(cluster, planned, force, until).await {
            Ok(None) => self.kept += 1,
            Ok(Some(written)) => {
                match planned.operation {
                    Operation::Create => self.created += 1,
                    _ => self.changed += 1,
                }
                if planned.item.object.replicas().is_some()
                    && let Some(generation) = written.metadata.generation
                {
                    self.generations.push((planned.item.object.name().to_owned(), generation));
                }
                self.written.take(&planned.item.object, &written);
            }
            Err(error) => self.error = Some(error),
        }
        self.error.is_none()
    }

    /// Writes objects, one after the other, as far as they can be.
    pub(super) async fn write_all(&mut self, cluster: &Cluster, planned: &[Planned], force: bool, until: Instant) {
        for planned in planned {
            if !self.write(cluster, planned, force, until).await {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::observe::snapshot::{Update, WatchEvent};

    #[test]
    fn what_another_run_has_written_over_is_seen() {
        let written = |image: &str| {
            let spec =
                json!({"selector": {}, "template": {"spec": {"containers": [{"name": "sprout", "image": image}]}}});
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "sprout", "generation": 4},
                "spec": spec})
        };
        let live = |image: &str, replicas: i32| {
            let mut object = written(image);
            object["spec"]["replicas"] = replicas.into();
            let mut snapshot = Snapshot::default();
            let all = vec![serde_json::from_value(object).unwrap()];
            snapshot.absorb(WatchEvent::Deployment(Update::All(all)));
            snapshot
        };
        let object: Object =
            serde_json::from_value::<k8s_openapi::api::apps::v1::Deployment>(written("a")).unwrap().into();
        let mut ours = Written::default();
        ours.take(&object, &serde_json::from_value(written("a")).unwrap());
        // An autoscaler changes the count, which is nobody's but its own.
        assert!(ours.over(&live("a", 3)).is_empty());
        assert_eq!(ours.over(&live("b", 1)), ["deployment/sprout"]);
        assert!(ours.over(&Snapshot::default()).is_empty());
    }

    #[test]
    fn a_service_that_leads_elsewhere_is_seen_and_what_is_filled_in_is_not() {
        let sent = json!({"clusterIP": "None", "selector": {"service": "homer"}, "ports": [{"port": 7888}]});
        let service = |version: &str, spec: &serde_json::Value| {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "homer", "resourceVersion": version},
                "spec": spec})
        };
        let object: Object =
            serde_json::from_value::<k8s_openapi::api::core::v1::Service>(service("7", &sent)).unwrap().into();
        let mut ours = Written::default();
        ours.take(&object, &serde_json::from_value(service("7", &sent)).unwrap());
        let over = |version: &str, change: &dyn Fn(&mut serde_json::Value)| {
            let mut spec = sent.clone();
            change(&mut spec);
            let mut snapshot = Snapshot::default();
            let all = vec![serde_json::from_value(service(version, &spec)).unwrap()];
            snapshot.absorb(WatchEvent::Service(Update::All(all)));
            ours.over(&snapshot)
        };
        let filled: &dyn Fn(&mut serde_json::Value) = &|spec| {
            spec["ipFamilies"] = json!(["IPv4"]);
            spec["ports"][0]["protocol"] = "TCP".into();
        };
        let elsewhere: &dyn Fn(&mut serde_json::Value) = &|spec| spec["selector"]["service"] = "other".into();
        assert!(over("9", filled).is_empty());
        assert_eq!(over("9", elsewhere), ["service/homer"]);
        assert_eq!(over("9", &|spec| spec["ports"] = json!([])), ["service/homer"]);
        assert!(over("6", elsewhere).is_empty(), "as it stood before this run wrote it");
    }

    #[test]
    fn what_is_done_before_the_gates_open_is_told_in_parts() {
        let began = Instant::now();
        let at = |ms: u64| Some(began + Duration::from_millis(ms));
        for (before, opened, [making, pulling, held]) in [
            (Before::default(), at(90), [0, 0, 0]),
            (Before { made: at(10), pulling: at(15), there: at(40) }, None, [0, 0, 0]),
            (Before { made: at(10), pulling: None, there: at(40) }, at(90), [30, 0, 50]),
            (Before { made: at(10), pulling: at(15), there: at(40) }, at(90), [5, 25, 50]),
            (Before { made: at(10), pulling: at(15), there: None }, at(90), [5, 75, 0]),
            (Before { made: at(10), pulling: None, there: None }, at(90), [80, 0, 0]),
            (Before { made: at(10), pulling: at(15), there: at(95) }, at(90), [5, 75, 0]),
        ] {
            assert_eq!(before.parts(opened), Early { making, pulling, held }, "{before:?}");
        }
    }
}
