//! What applying a deployment would do to each object, and doing it: server-side apply with one field manager.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use clearwater_kube::apply::{apply, plan};
//! use clearwater_kube::clearwater::config::DeploymentFile;
//! use clearwater_kube::clearwater::manifest::{Inputs, render};
//!
//! let deployment = cluster.deploy(&DeploymentFile::default())?;
//! let manifest = render(&deployment, &Inputs::default())?;
//! let until = tokio::time::Instant::now() + Duration::from_secs(60);
//! for planned in plan(&cluster, manifest.items(), true, false).await {
//!     let planned = planned?;
//!     println!("{}: {:?}\n{}", planned.name(), planned.operation, planned.diff);
//!     apply(&cluster, &planned, false, until).await?;
//! }
//! # Ok(()) }
//! ```

pub(crate) mod checks;
mod difference;
mod keys;
mod name_servers;
pub(crate) mod preflight;
pub(crate) mod prepare;
mod storage_class;

use std::time::Duration;

use clearwater::component::Component;
use clearwater::event::{Operation, Whose};
use clearwater::manifest::{Item, Lifecycle, ManifestError, Object};
use clearwater::remedy::{NamesDeed, Permission, Remedied, Remedy};
use clearwater::text::in_one_line;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::core::v1::PodSpec;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::Status;
use serde_json::Value;
use thiserror::Error;
use tokio::time::Instant;
use tower::BoxError;

use crate::backoff::{before, doubling, unless_lasting};
use crate::cluster::{CONNECTION, Cluster, FIELD_MANAGER, FailedAt, is_passing, lacks_right};
use crate::judge::policy::{exception, limits_fix, policy};
use crate::judge::said::Meaning;
use crate::owner;

use self::difference::{difference, replaced, whole};
pub use difference::Replaced;
pub use keys::random_keys;

/// How many objects are asked about at the same time.
const AT_ONCE: usize = 8;
/// The pauses before a write is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// An object of a deployment beside what stands on the cluster.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The object.
    pub item: Item,
    /// What applying it would do.
    pub operation: Operation,
    /// The difference as a unified diff of YAML, of an object that is to be made all of it; empty where there is none.
    pub diff: String,
    /// The pods that run something else for it.
    pub replaced: Replaced,
    /// Whose the object is. What stood before this program wrote to it is adopted: `down` gives it back.
    pub whose: Whose,
    /// The object as it is written, with the mark that says whose it is.
    body: Value,
    /// The version at which its live count was read, for a workload that stands.
    version: Option<String>,
}

impl Planned {
    fn new(item: Item, live: Option<&DynamicObject>, operation: Operation) -> Self {
        let whose = owner::whose_then(live.map(|l| &l.metadata));
        let body = body(&item.object, whose, live);
        let version = live.and_then(|l| l.metadata.resource_version.clone());
        let diff = match operation {
            Operation::Create => whole(&item.object, &body),
            _ => String::new(),
        };
        Self { item, operation, diff, replaced: Replaced::default(), whose, body, version }
    }

    /// The object as kubectl names it.
    pub fn name(&self) -> String {
        name(&self.item.object)
    }

    /// The pods that are made for it, or made anew: what every question about pods is asked of. `None` where all go on as they
    /// are.
    pub(crate) fn pods(&self) -> Option<PlannedPods<'_>> {
        let more = match (self.operation, &self.item.object) {
            (Operation::Create, object) => object.replicas().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            (Operation::Change, _) if self.replaced == Replaced::default() => return None,
            // It rolls with one pod more than it has.
            (Operation::Change, Object::Deployment(_)) => 1,
            (Operation::Change, _) => 0,
            _ => return None,
        };
        let spec = self.item.object.pod_template()?.spec.as_ref()?;
        Some(PlannedPods { owner: self.item.owner.name(), spec, more })
    }

    /// The plan for the same object in another form. One that is to be made is simply made in the new form.
    pub(crate) async fn again(&self, cluster: &Cluster, item: Item, force: bool) -> Result<Self, ApplyError> {
        if self.operation == Operation::Create {
            let body = body(&item.object, self.whose, None);
            let diff = whole(&item.object, &body);
            return Ok(Self { item, diff, body, ..self.clone() });
        }
        plan_one(cluster, item, force).await
    }
}

/// Pods of one workload that are made, or made anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedPods<'p> {
    /// Whose they are.
    pub(crate) owner: &'static str,
    /// What each of them is.
    pub(crate) spec: &'p PodSpec,
    /// How many of them stand beside those that there are.
    pub(crate) more: u32,
}

/// An object as kubectl names it: `kind/name` in lower case.
pub fn name(object: &Object) -> String {
    format!("{}/{}", object.kind().to_lowercase(), object.name())
}

/// Why an object could not be planned or applied.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// Somebody else owns a field and gave it another value.
    #[error("{object}: {fields}: set by somebody else to another value")]
    Conflict {
        /// The object.
        object: String,
        /// The fields with their owners, in the API server's words.
        fields: String,
    },
    /// The API server refuses the object.
    #[error("{object}: the API server refuses it: {message}")]
    Refused {
        /// The object.
        object: String,
        /// The API server's words.
        message: String,
        /// Whether the user lacks the right.
        forbidden: bool,
    },
    /// The objects cannot be rendered.
    #[error("manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// The names that the component asks for could not be put into DNS.
    #[error("names in DNS: {source}")]
    Names {
        /// What was seen.
        source: BoxError,
        /// Whether the user lacks the right.
        forbidden: bool,
        /// What works for what was seen, where something does.
        instead: Option<Remedy>,
    },
    /// The API server does not know who asks: a token has run out.
    #[error("{object}: {message}")]
    Unauthorized {
        /// The object.
        object: String,
        /// The API server's words.
        message: String,
    },
    /// The API server could not be asked.
    #[error(transparent)]
    Unreachable(FailedAt),
}

impl ApplyError {
    /// Whether it says nothing of the object: the API server could not be asked, or does not know who asks.
    pub const fn is_unseen(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Unreachable(_))
    }

    /// What it is about, as kubectl names it where it is one object.
    pub fn object(&self) -> &str {
        match self {
            Self::Conflict { object, .. }
            | Self::Refused { object, .. }
            | Self::Unauthorized { object, .. }
            | Self::Unreachable(FailedAt { what: object, .. }) => object,
            Self::Manifest(_) => "manifest",
            Self::Names { .. } => "names in DNS",
        }
    }
}

impl Remedied for ApplyError {
    fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            Self::Conflict { .. } => Remedy::any([
                "set the field to that value in the deployment file".into(),
                Remedy::from(Permission::ForceConflicts),
            ]),
            Self::Refused { forbidden: true, .. } => Remedy::sentence([
                "ask for the right that the message names (to see all that are needed: ".into(),
                Remedy::DryRun,
                ")".into(),
            ]),
            Self::Refused { message, .. } if Meaning::Immutable.is_in(message) => Remedy::from(
                "this field cannot be changed on a workload that stands: put the old value back, or take the component \
                     down first",
            ),
            Self::Refused { message, .. } if policy(message).is_some() => {
                // Of what is applied they bind claims alone, and all but Ellis' are made by StatefulSets.
                let limits = limits_fix(Component::Ellis.name(), message);
                limits.unwrap_or_else(|| {
                    let file = "change what the message names in the deployment file".to_owned();
                    Remedy::any([Some(file), exception(message)].into_iter().flatten())
                })
            }
            Self::Refused { message, .. } if Meaning::QuotaExceeded.is_in(message) => "raise the quota".into(),
            Self::Refused { message, .. } if Meaning::NodePortRange.is_in(message) => Remedy::from(
                "these node ports lie outside the cluster's range: start the API server with \
                 --service-node-port-range=3000-32767, or choose another bono.exposure",
            ),
            Self::Manifest(error) => return error.remedy(),
            Self::Unauthorized { .. } => return None,
            Self::Refused { .. } => "change what the message names in the deployment file".into(),
            Self::Names { forbidden: true, .. } => Remedy::any([
                Remedy::from(NamesDeed::Put { namespace: None, backend: None, clients: false })
                    .after("ask whoever keeps the cluster's DNS for this: "),
                "write `dns: {backend: pods}`".into(),
            ]),
            Self::Names { instead, .. } => Remedy::any(instead.clone().into_iter().chain([NamesDeed::Explain.into()])),
            Self::Unreachable(_) => CONNECTION.into(),
        })
    }
}

/// What an error that the API server gave about an object means.
pub(crate) fn refusal(object: &str, error: kube::Error) -> ApplyError {
    match &error {
        kube::Error::Api(status) if status.code == 409 => ApplyError::Conflict {
            object: object.to_owned(),
            fields: status.details.as_ref().map_or_else(
                || status.message.clone(),
                |d| {
                    let causes: Vec<_> = d.causes.iter().map(|c| format!("{} ({})", c.field, c.message)).collect();
                    if causes.is_empty() { status.message.clone() } else { causes.join(", ") }
                },
            ),
        },
        kube::Error::Api(status) if status.code == 401 => {
            ApplyError::Unauthorized { object: object.to_owned(), message: status.message.clone() }
        }
        kube::Error::Api(status) if !is_passing(&error) => ApplyError::Refused {
            object: object.to_owned(),
            message: in_one_line(&status.message),
            forbidden: lacks_right(&error),
        },
        _ => ApplyError::Unreachable(FailedAt::new(object, error)),
    }
}

/// The object as it stands.
async fn standing(cluster: &Cluster, object: &Object) -> Result<Option<DynamicObject>, ApplyError> {
    let api = cluster.dynamic(object.api_version(), object.kind());
    api.get_opt(object.name()).await.map_err(|e| refusal(&name(object), e))
}

fn params(force: bool, dry: bool) -> PatchParams {
    let params = PatchParams { dry_run: dry, ..PatchParams::apply(FIELD_MANAGER).validation_strict() };
    if force { params.force() } else { params }
}

/// Compares every object with what stands. `namespace_exists` tells whether dry runs have somewhere to run.
pub async fn plan(
    cluster: &Cluster,
    items: &[Item],
    namespace_exists: bool,
    force: bool,
) -> Vec<Result<Planned, ApplyError>> {
    let planning: Vec<BoxFuture<'_, _>> = items
        .iter()
        .cloned()
        .map(|item| {
            async move {
                if namespace_exists {
                    plan_one(cluster, item, force).await
                } else {
                    Ok(Planned::new(item, None, Operation::Create))
                }
            }
            .boxed()
        })
        .collect();
    stream::iter(planning).buffered(AT_ONCE).collect().await
}

/// Plans an object that the API server refused to try: whether it stands is known, and what would come of the write is not.
pub(crate) async fn unproved(cluster: &Cluster, item: Item) -> Result<Planned, ApplyError> {
    let live = standing(cluster, &item.object).await?;
    let operation = if live.is_some() { Operation::Change } else { Operation::Create };
    Ok(Planned::new(item, live.as_ref(), operation))
}

async fn plan_one(cluster: &Cluster, item: Item, force: bool) -> Result<Planned, ApplyError> {
    let object = &item.object;
    let name = name(object);
    let api = cluster.dynamic(object.api_version(), object.kind());
    let live = standing(cluster, object).await?;
    if live.is_some() && item.lifecycle == Lifecycle::CreatedOnce {
        return Ok(Planned::new(item, live.as_ref(), Operation::Keep));
    }
    let mut planned = Planned::new(item, live.as_ref(), Operation::Create);
    let (params, patch) = (params(force, true), Patch::Apply(&planned.body));
    let dry = api.patch(planned.item.object.name(), &params, &patch).await.map_err(|e| refusal(&name, e))?;
    if let Some(live) = live {
        planned.diff = difference(&planned.item.object, &live, &dry);
        planned.replaced = replaced(&live, &dry);
        planned.operation = if planned.diff.is_empty() { Operation::Keep } else { Operation::Change };
    }
    Ok(planned)
}

/// The object with the mark that says whose it is.
fn body(object: &Object, whose: Whose, live: Option<&DynamicObject>) -> Value {
    let mut body = serde_json::to_value(object).unwrap_or_default();
    owner::set_mark(&mut body, whose, live.map(|l| &l.data));
    body
}

/// The body as it is sent: with the version that the count of a workload was read at, and a count that was read since.
fn sent(body: &Value, version: Option<&str>, replicas: Option<i64>) -> Value {
    let mut body = body.clone();
    if let Some(version) = version {
        body["metadata"]["resourceVersion"] = version.into();
    }
    if let Some(replicas) = replicas {
        body["spec"]["replicas"] = replicas.into();
    }
    body
}

/// Applies one object at once, with the mark that says whose it is: what is written without a plan before it.
pub(crate) async fn apply_now(cluster: &Cluster, object: &Object) -> Result<(), ApplyError> {
    let api = cluster.dynamic(object.api_version(), object.kind());
    let live = standing(cluster, object).await?;
    let body = body(object, owner::whose_then(live.as_ref().map(|l| &l.metadata)), live.as_ref());
    let written = api.patch(object.name(), &params(false, false), &Patch::Apply(&body)).await;
    written.map(drop).map_err(|e| refusal(&name(object), e))
}

/// Carries a plan for one object out, and yields the object as it was written, or `None` where there was nothing to
/// write. Trouble that may pass is borne until the deadline.
///
/// # Errors
/// Who owns a field in another way, what the API server refuses, or that it could not be asked by `until`.
pub async fn apply(
    cluster: &Cluster,
    planned: &Planned,
    force: bool,
    until: Instant,
) -> Result<Option<DynamicObject>, ApplyError> {
    if planned.operation == Operation::Keep {
        return Ok(None);
    }
    let mut at = planned.version.clone();
    let mut replicas = None;
    let mut pauses = before(until, doubling(PAUSES.0, PAUSES.1));
    loop {
        let error = match attempt(cluster, planned, force, at.as_deref(), replicas).await {
            Ok(written) => return Ok(written),
            Err(Attempt::Failed(error)) => error,
            // The count may have been changed by an autoscaler or by hand: read it again, never set it back.
            Err(Attempt::Moved) => match standing(cluster, &planned.item.object).await {
                Ok(live) => {
                    replicas = live.as_ref().and_then(|l| l.data.pointer("/spec/replicas")?.as_i64());
                    at = live.and_then(|l| l.metadata.resource_version);
                    ApplyError::Unreachable(FailedAt::new(planned.name(), "it keeps changing"))
                }
                Err(error) => error,
            },
        };
        let may_pass = |error: &ApplyError| matches!(error, ApplyError::Unreachable(_));
        unless_lasting(error, may_pass, &mut pauses).await?;
    }
}

enum Attempt {
    Moved,
    Failed(ApplyError),
}

async fn attempt(
    cluster: &Cluster,
    planned: &Planned,
    force: bool,
    version: Option<&str>,
    replicas: Option<i64>,
) -> Result<Option<DynamicObject>, Attempt> {
    let object = &planned.item.object;
    let name = planned.name();
    let api = cluster.dynamic(object.api_version(), object.kind());
    let counted = object.replicas().is_some();
    let body = sent(&planned.body, version.filter(|_| counted), replicas.filter(|_| counted));
    let outcome = if planned.item.lifecycle == Lifecycle::CreatedOnce {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let body: DynamicObject = serde_json::from_value(body).map_err(|e| {
            Attempt::Failed(ApplyError::Refused { object: name.clone(), message: e.to_string(), forbidden: false })
        })?;
        match api.create(&params, &body).await {
            // Somebody else made it in the meantime; what is in it is theirs and in use.
            Err(kube::Error::Api(status)) if status.is_already_exists() => return Ok(None),
            outcome => outcome,
        }
    } else {
        match api.patch(object.name(), &params(force, false), &Patch::Apply(&body)).await {
            // It was not there when it was looked for, and somebody else has made it since.
            Ok(written) if planned.operation == Operation::Create && owner::is_shared(&written.metadata) => {
                let mut adopted = planned.body.clone();
                owner::set_mark(&mut adopted, Whose::Adopted, Some(&written.data));
                api.patch(object.name(), &params(force, false), &Patch::Apply(&adopted)).await
            }
            written => written,
        }
    };
    match outcome {
        Ok(written) => Ok(Some(written)),
        Err(kube::Error::Api(status)) if status.code == 409 && !is_conflict_of_managers(&status) => Err(Attempt::Moved),
        Err(error) => Err(Attempt::Failed(refusal(&name, error))),
    }
}

fn is_conflict_of_managers(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|d| d.causes.iter().any(|c| c.reason == "FieldManagerConflict"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The API server says `Forbidden` of what a user may not do, and of what nobody may.
    #[test]
    fn only_who_lacks_a_right_is_sent_for_one() {
        for (message, words) in [
            (
                r#"services "bono" is forbidden: User "jane" cannot patch resource "services" in API group "" in the namespace "ims""#,
                "ask for the right",
            ),
            (
                r#"persistentvolumeclaims "data-ellis" is forbidden: maximum storage usage per PersistentVolumeClaim is 512Mi, but request is 1Gi"#,
                "set components.ellis.storage.size in the deployment file; or change the limits",
            ),
            (
                r#"persistentvolumeclaims "data-ellis" is forbidden: exceeded quota: q, requested: requests.storage=1Gi, used: requests.storage=0, limited: requests.storage=512Mi"#,
                "raise the quota",
            ),
            (
                r#"services "bono-0" is forbidden: spec.externalIPs: Forbidden: Use of external IPs is denied by admission control"#,
                "change what the message names in the deployment file",
            ),
        ] {
            let status = Status::failure(message, "Forbidden").with_code(403).boxed();
            let fix = refusal("an object", kube::Error::Api(status)).remedy().unwrap().to_string();
            assert!(fix.starts_with(words), "{message}: {fix}");
        }
    }
}
