//! What there is to take down, and whose it is.

use std::collections::BTreeSet;

use clearwater::component::{Component, Release};
use clearwater::event::{Change, Operation, Whose};
use clearwater::manifest::{ENV_VARS, KEYS_SECRET, MANAGED_BY, MANAGED_BY_LABEL, PART_OF, PART_OF_LABEL, WorkloadKind};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams, PartialObjectMeta};

use super::pods::{Theirs, pod_of_ours};
use super::{DownError, DownOptions};
use crate::cluster::{Cluster, list_all};
use crate::kinds::{self, ObjectKind};
use crate::observe::Workload;
use crate::observe::snapshot::component_of;
use crate::owner::{self, ClaimMaker};
use crate::rights::Right;

/// The kinds of which a deployment has objects, those first that others hang on.
const KINDS: [ObjectKind; 10] = [
    kinds::HORIZONTAL_POD_AUTOSCALER,
    kinds::DEPLOYMENT,
    kinds::STATEFUL_SET,
    kinds::INGRESS,
    kinds::NETWORK_POLICY,
    kinds::POD_DISRUPTION_BUDGET,
    kinds::SERVICE,
    kinds::PERSISTENT_VOLUME_CLAIM,
    kinds::CONFIG_MAP,
    kinds::SECRET,
];

/// What a person would miss who had put it into a namespace that goes.
const OF_OTHERS: [ObjectKind; 19] = [
    kinds::DEPLOYMENT,
    kinds::STATEFUL_SET,
    kinds::DAEMON_SET,
    kinds::REPLICA_SET,
    kinds::CRON_JOB,
    kinds::JOB,
    kinds::REPLICATION_CONTROLLER,
    kinds::POD,
    kinds::SERVICE,
    kinds::PERSISTENT_VOLUME_CLAIM,
    kinds::CONFIG_MAP,
    kinds::SECRET,
    kinds::SERVICE_ACCOUNT,
    kinds::INGRESS,
    kinds::NETWORK_POLICY,
    kinds::HORIZONTAL_POD_AUTOSCALER,
    kinds::POD_DISRUPTION_BUDGET,
    kinds::ROLE,
    kinds::ROLE_BINDING,
];

/// What every namespace has of itself.
const OF_THE_CLUSTER: [(ObjectKind, &str); 3] = [
    (kinds::CONFIG_MAP, "kube-root-ca.crt"),
    (kinds::CONFIG_MAP, "openshift-service-ca.crt"),
    (kinds::SERVICE_ACCOUNT, "default"),
];

/// How many kinds are listed at the same time.
const AT_ONCE: usize = 6;

/// An object that this run removes or gives back.
#[derive(Clone, Debug)]
pub(super) struct Deletion {
    pub(super) kind: ObjectKind,
    pub(super) name: String,
    /// One of the same name that was made since is another object.
    pub(super) uid: Option<String>,
    pub(super) component: Option<Component>,
    pub(super) whose: Whose,
}

impl Deletion {
    fn new(kind: ObjectKind, object: &DynamicObject, whose: Whose) -> Self {
        let component = component_of(object);
        Self { kind, name: object.name_any(), uid: object.uid(), component, whose }
    }

    /// What removing it takes, or giving it back.
    fn right(&self) -> Right {
        let verb = if self.whose == Whose::Ours { "delete" } else { "patch" };
        Right::new(verb, self.kind.group(), self.kind.plural)
    }

    pub(super) fn object(&self) -> String {
        self.kind.named(&self.name)
    }

    /// The workload that it is, where it is one.
    pub(super) fn workload(&self) -> Option<Workload> {
        let kind = match self.kind {
            kinds::DEPLOYMENT => WorkloadKind::Deployment,
            kinds::STATEFUL_SET => WorkloadKind::StatefulSet,
            _ => return None,
        };
        Some(Workload { kind, name: self.name.clone() })
    }

    fn change(&self, operation: Operation) -> Change {
        Change {
            object: self.object(),
            component: self.component.map(|c| c.name().to_owned()),
            operation,
            whose: self.whose,
            diff: String::new(),
            restarts: 0,
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is removed, or given back where it is adopted.
    pub(super) deletion: Vec<Deletion>,
    /// Volumes with what people would miss, and the keys that go with it: the next deployment finds them.
    pub(super) kept: Vec<Deletion>,
    /// Objects with this program's labels that it did not make, each with who did: they stay as they are.
    pub(super) strangers: Vec<String>,
    /// Claims that look like a component's and are nobody's that we know.
    pub(super) claims: Vec<String>,
    /// Workloads whose pods are none of ours, whatever labels they have.
    pub(super) theirs: Theirs,
    /// This deployment's pods, with whether this run takes their component down.
    pub(super) pods: Vec<(String, Component)>,
    /// The components that stand, or have pods left, whether this run takes them down or not.
    pub(super) standing: BTreeSet<Component>,
    /// Those of them whose workloads nobody has told to go.
    pub(super) staying: BTreeSet<Component>,
    pub(super) release: Release,
    /// Kinds of objects that may be there: they could not be listed for want of a right.
    pub(super) unlisted: Vec<&'static str>,
}

impl Found {
    /// The components that this run takes down.
    pub(super) fn components(&self) -> BTreeSet<Component> {
        self.deletion.iter().filter_map(|d| d.component).chain(self.pods.iter().map(|(_, c)| *c)).collect()
    }

    /// Leaves out what holds subscribers and accounts, and the keys that these were made with. etcd's claim goes: kept, it
    /// would give the next deployment the members of this one.
    fn keep(&mut self) {
        let holds = |d: &Deletion| d.kind == kinds::PERSISTENT_VOLUME_CLAIM && d.component != Some(Component::Etcd);
        let (kept, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.deletion).into_iter().partition(holds);
        (self.kept, self.deletion) = (kept, rest);
        if !self.kept.is_empty() {
            let is_key = |d: &Deletion| d.kind == kinds::SECRET && d.name == KEYS_SECRET;
            self.kept.extend(self.deletion.extract_if(.., |d| is_key(d)));
        }
    }

    /// What removing it takes beyond looking.
    pub(super) fn rights(&self, options: &DownOptions) -> BTreeSet<Right> {
        let spared = |d: &&Deletion| options.delete_namespace && d.whose != Whose::Ours;
        let mut rights: BTreeSet<Right> = self.deletion.iter().filter(|d| !spared(d)).map(Deletion::right).collect();
        let left_behind = self.deletion.iter().all(|d| d.component.is_none()) && !self.pods.is_empty();
        if options.now || left_behind {
            rights.insert(Right::new("delete", "", "pods"));
        }
        if options.delete_namespace {
            rights.extend(["get", "delete"].map(|verb| Right::new(verb, "", "namespaces")));
        }
        rights
    }

    /// What will be done, object by object. With the namespace everything goes.
    pub(super) fn changes(&self, with_namespace: bool) -> Vec<Change> {
        let operation = |d: &Deletion| match d.whose {
            Whose::Adopted if !with_namespace => Operation::Restore,
            _ => Operation::Delete,
        };
        let objects = self.deletion.iter().map(|d| d.change(operation(d)));
        // Pods go with their workloads; those that an earlier run left behind are told of themselves.
        let has_objects: BTreeSet<_> = self.deletion.iter().filter_map(|d| d.component).collect();
        let pods = self.pods.iter().filter(|(_, c)| !has_objects.contains(c)).map(|(name, component)| Change {
            object: format!("pod/{name}"),
            component: Some(component.name().to_owned()),
            operation: Operation::Delete,
            whose: Whose::Ours,
            diff: String::new(),
            restarts: 0,
        });
        let kept = self.kept.iter().map(|d| d.change(Operation::Keep));
        objects.chain(pods).chain(kept).collect()
    }
}

/// What was listed; `None` where the user may not.
fn allowed<T>(kind: ObjectKind, listed: Result<T, kube::Error>) -> Result<Option<T>, DownError> {
    match listed {
        Ok(listed) => Ok(Some(listed)),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        Err(error) => Err(DownError::broken(format!("listing {} objects", kind.name), error)),
    }
}

/// Objects of a kind: all workloads and claims, because those of others matter too, and of the rest what has our labels.
async fn list(cluster: &Cluster, kind: ObjectKind) -> Result<Option<Vec<DynamicObject>>, DownError> {
    let all = matches!(kind, kinds::DEPLOYMENT | kinds::STATEFUL_SET | kinds::PERSISTENT_VOLUME_CLAIM);
    let ours = format!("{PART_OF_LABEL}={PART_OF},{MANAGED_BY_LABEL}={MANAGED_BY}");
    let params = if all { ListParams::default() } else { ListParams::default().labels(&ours) };
    allowed(kind, list_all(&cluster.of_kind(kind), &params).await)
}

/// The names and owners of all objects of a kind. Secrets' values are none of our business here.
async fn list_names(
    cluster: &Cluster,
    kind: ObjectKind,
) -> Result<Option<Vec<PartialObjectMeta<DynamicObject>>>, DownError> {
    let params = match kind {
        kinds::SECRET => ListParams::default().fields("type!=kubernetes.io/service-account-token"),
        _ => ListParams::default(),
    };
    allowed(kind, cluster.of_kind(kind).list_metadata(&params).await.map(|l| l.items))
}

fn has_our_labels(object: &DynamicObject) -> bool {
    let labels = object.labels();
    labels.get(PART_OF_LABEL).is_some_and(|v| v == PART_OF) && owner::has_our_label(&object.metadata)
}

pub(super) async fn find(cluster: &Cluster, options: &DownOptions) -> Result<Found, DownError> {
    let meant = |c: Option<Component>| options.only.is_empty() || c.is_some_and(|c| options.only.contains(&c));
    let questions: Vec<BoxFuture<'_, _>> = KINDS.into_iter().map(|kind| list(cluster, kind).boxed()).collect();
    let answers: Vec<_> = stream::iter(questions).buffered(AT_ONCE).collect().await;
    let mut found = Found::default();
    let mut sets: Vec<DynamicObject> = Vec::new();
    let mut claims = Vec::new();
    for (kind, listed) in KINDS.into_iter().zip(answers) {
        let Some(listed) = listed? else {
            found.unlisted.push(kind.plural);
            continue;
        };
        for object in listed {
            if kind == kinds::PERSISTENT_VOLUME_CLAIM {
                claims.push(object);
                continue;
            }
            let whose = owner::whose(&object.metadata);
            let deletion = Deletion::new(kind, &object, whose);
            if let Some(workload) = deletion.workload() {
                found.standing.extend(deletion.component);
                if object.metadata.deletion_timestamp.is_none() {
                    found.staying.extend(deletion.component);
                }
                if whose != Whose::Ours {
                    found.theirs.insert(workload);
                } else if kind.name == "StatefulSet" {
                    sets.push(object.clone());
                }
            }
            let kept = options.keep_config
                && (deletion.name == ENV_VARS || deletion.name == KEYS_SECRET || deletion.component.is_none());
            if !has_our_labels(&object) || !meant(deletion.component) || kept {
                continue;
            }
            if whose == Whose::Foreign {
                found.strangers.push(format!("{} ({})", deletion.object(), owner::managers(&object.metadata)));
            } else {
                found.deletion.push(deletion);
            }
        }
    }
    look_at_claims(cluster, &sets, &claims, meant, &mut found);
    if !options.delete_volumes && !options.delete_namespace {
        found.keep();
    }
    look_at_pods(cluster, meant, &mut found).await?;
    found.release = if found.standing.contains(&Component::Memcached) { Release::Classic } else { Release::Hunter };
    Ok(found)
}

/// The claims that StatefulSets of ours made for their pods, and those that this program made itself.
fn look_at_claims(
    cluster: &Cluster,
    sets: &[DynamicObject],
    claims: &[DynamicObject],
    meant: impl Fn(Option<Component>) -> bool,
    found: &mut Found,
) {
    let makers: Vec<ClaimMaker<'_>> = sets
        .iter()
        .map(|set| {
            let templates = set.data.pointer("/spec/volumeClaimTemplates").and_then(|t| t.as_array());
            let name = |t: &serde_json::Value| t.pointer("/metadata/name")?.as_str().map(str::to_owned);
            ClaimMaker { meta: &set.metadata, templates: templates.into_iter().flatten().filter_map(name).collect() }
        })
        .collect();
    for claim in claims {
        let component = component_of(claim);
        if component.is_none() || !meant(component) {
            continue;
        }
        let ours = owner::is_claim_of_ours(&cluster.namespace, &claim.metadata, &makers);
        if ours || (has_our_labels(claim) && owner::whose(&claim.metadata) == Whose::Ours) {
            found.deletion.push(Deletion::new(kinds::PERSISTENT_VOLUME_CLAIM, claim, Whose::Ours));
        } else {
            found.claims.push(claim.name_any());
        }
    }
}

async fn look_at_pods(
    cluster: &Cluster,
    meant: impl Fn(Option<Component>) -> bool,
    found: &mut Found,
) -> Result<(), DownError> {
    let params = ListParams::default().labels(&owner::our_label());
    let Some(listed) = allowed(kinds::POD, list_all(&cluster.api::<Pod>(), &params).await)? else {
        found.unlisted.push(kinds::POD.plural);
        return Ok(());
    };
    for pod in &listed {
        let Some(component) = pod_of_ours(pod, &found.theirs) else { continue };
        found.standing.insert(component);
        if meant(Some(component)) {
            found.pods.push((pod.name_any(), component));
        }
    }
    Ok(())
}

/// What a namespace holds beside what this run removes, and what could not be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Others {
    pub(super) objects: BTreeSet<String>,
}

impl Others {
    /// What of it was not told before.
    pub(super) fn beyond(&self, told: &Self) -> Vec<String> {
        self.objects.difference(&told.objects).cloned().collect()
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = Change> {
        self.objects.iter().map(|object| Change {
            object: object.clone(),
            component: None,
            operation: Operation::Delete,
            whose: Whose::Foreign,
            diff: String::new(),
            restarts: 0,
        })
    }
}

/// Looks for what others have in the namespace. A kind that may not be listed counts as being there.
pub(super) async fn others(cluster: &Cluster, found: &Found) -> Result<Others, DownError> {
    let ours: BTreeSet<String> =
        found.deletion.iter().filter(|d| d.whose == Whose::Ours).map(Deletion::object).collect();
    let questions: Vec<BoxFuture<'_, _>> =
        OF_OTHERS.into_iter().map(|kind| list_names(cluster, kind).boxed()).collect();
    let answers: Vec<_> = stream::iter(questions).buffered(AT_ONCE).collect().await;
    let mut others = Others::default();
    for (kind, listed) in OF_OTHERS.into_iter().zip(answers) {
        match listed? {
            None => drop(others.objects.insert(kind.named("* (may not be listed)"))),
            Some(listed) => others.objects.extend(
                listed
                    .iter()
                    .filter(|o| !is_of_the_cluster(kind, o))
                    .map(|o| kind.named(&o.name_any()))
                    .filter(|object| !ours.contains(object)),
            ),
        }
    }
    Ok(others)
}

/// Whether it goes and comes with something else, or with the namespace.
fn is_of_the_cluster(kind: ObjectKind, object: &PartialObjectMeta<DynamicObject>) -> bool {
    !object.owner_references().is_empty() || OF_THE_CLUSTER.contains(&(kind, object.name_any().as_str()))
}
