//! Removing what is ours, and giving back what was adopted.

use std::collections::BTreeSet;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::event::{EventKind, Whose};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PropagationPolicy};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::DownError;
use super::find::Deletion;
use super::pods::{Theirs, There, pod_of_ours};
use crate::backoff;
use crate::cluster::{Cluster, FIELD_MANAGER, list_all, only};
use crate::observe::Workload;
use crate::owner;
use crate::run::{Emitter, millis};

/// The first pause between two looks at a namespace that is going, which not everybody may watch; each is twice as long.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Removes an object, or gives it back where it was adopted. Yields what could not be given back.
///
/// A workload is gone only when all that it made is: as long as its controller stands, it makes a new pod for each that
/// is killed.
pub(super) async fn take(cluster: &Cluster, deletion: &Deletion) -> Result<Option<String>, DownError> {
    if deletion.whose != Whose::Ours {
        return give_back(cluster, deletion).await;
    }
    let policy =
        if deletion.workload().is_some() { PropagationPolicy::Foreground } else { PropagationPolicy::Background };
    let params = DeleteParams { propagation_policy: Some(policy), ..only(deletion.uid.clone()) };
    let api: Api<DynamicObject> = cluster.of_kind(deletion.kind);
    match api.delete(&deletion.name, &params).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(DownError::broken(format!("removing {}", deletion.object()), error)),
    }
}

/// Takes this program's fields out of an object that stood before it wrote to it.
async fn give_back(cluster: &Cluster, deletion: &Deletion) -> Result<Option<String>, DownError> {
    let api: Api<DynamicObject> = cluster.of_kind(deletion.kind);
    // With its uid, so that nothing is made where it has gone in the meantime.
    let nothing = json!({"apiVersion": deletion.kind.api_version, "kind": deletion.kind.name,
        "metadata": {"name": deletion.name, "namespace": cluster.namespace, "uid": deletion.uid}});
    match api.patch(&deletion.name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(&nothing)).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.code == 409 => Ok(None),
        // Others' fields that `up` was made to write over are gone, and without ours it would not be whole.
        Err(kube::Error::Api(status)) if status.code == 422 => Ok(Some(format!(
            "{} stays as it was left, repair or remove it by hand: {}",
            deletion.object(),
            status.message
        ))),
        Err(error) => Err(DownError::broken(format!("giving {} back", deletion.object()), error)),
    }
}

/// Kills a pod that is on its way out already, so that nothing makes it anew.
async fn kill(cluster: &Cluster, name: &str) -> Result<(), DownError> {
    let params = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    match cluster.api::<Pod>().delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(DownError::broken(format!("killing pod {name}"), error)),
    }
}

/// What a component's removal came to.
pub(super) struct Removed {
    pub(super) objects: u32,
    /// In milliseconds.
    pub(super) took: u64,
    /// What could not be given back.
    pub(super) kept: Vec<String>,
}

/// How a component is taken down.
pub(super) struct Removal {
    pub(super) cluster: Cluster,
    pub(super) component: Component,
    pub(super) objects: Vec<Deletion>,
    /// Whether its pods are killed.
    pub(super) now: bool,
    pub(super) theirs: Theirs,
    pub(super) there: watch::Receiver<There>,
    pub(super) until: Instant,
}

impl Removal {
    /// Removes the workloads, waits until they and their pods are gone, and removes the rest: a pod that leaves its
    /// cluster needs its name until then.
    pub(super) async fn run(mut self) -> Result<Removed, DownError> {
        let began = Instant::now();
        let (workloads, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.objects).into_iter().partition(|d| d.workload().is_some());
        let mut kept = Vec::new();
        for deletion in &workloads {
            kept.extend(take(&self.cluster, deletion).await?);
        }
        let ours = workloads.iter().filter(|d| d.whose == Whose::Ours).filter_map(Deletion::workload).collect();
        self.gone(ours).await?;
        for deletion in &rest {
            kept.extend(take(&self.cluster, deletion).await?);
        }
        let objects = u32::try_from(workloads.len() + rest.len()).unwrap_or(u32::MAX);
        Ok(Removed { objects, took: millis(began.elapsed()), kept })
    }

    async fn gone(&mut self, workloads: Vec<Workload>) -> Result<(), DownError> {
        let component = self.component;
        let mut killed = BTreeSet::new();
        loop {
            let there = self.there.borrow_and_update().clone();
            if let Some(why) = there.refused {
                return Err(DownError::Unseen(why));
            }
            let pods = there.pods(component);
            let standing: Vec<&Workload> = workloads.iter().filter(|w| there.has(w)).collect();
            let seen_gone = there.is_known() && pods.is_empty() && standing.is_empty();
            // What is watched comes late; what is asked for does not.
            if seen_gone && self.is_empty().await? {
                return Ok(());
            }
            for (name, _) in pods.iter().filter(|(_, leaving)| self.now && *leaving) {
                if killed.insert(name.clone()) {
                    kill(&self.cluster, name).await?;
                }
            }
            let soon = if seen_gone { Instant::now() + PAUSES.1 } else { self.until };
            match timeout_at(soon.min(self.until), self.there.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(DownError::Unseen("the watch has ended".to_owned())),
                Err(_) if Instant::now() < self.until => {}
                Err(_) => {
                    let names = pods.into_iter().map(|(name, _)| format!("pod {name}"));
                    let standing = standing.into_iter().map(|w| format!("{} {}", w.kind.name(), w.name));
                    let what: Vec<String> = names.chain(standing).collect();
                    return Err(DownError::Late(format!("waiting for {component} to go: {}", what.join(", "))));
                }
            }
        }
    }

    async fn is_empty(&self) -> Result<bool, DownError> {
        let params = ListParams::default().labels(&owner::our_label());
        let left = self.until.saturating_duration_since(Instant::now());
        let what = format!("looking for pods of {}", self.component);
        let Ok(listed) = timeout(left, list_all(&self.cluster.api::<Pod>(), &params)).await else {
            return Err(DownError::Late(what));
        };
        let listed = listed.map_err(|e| DownError::broken(what, e))?;
        Ok(!listed.iter().any(|p| pod_of_ours(p, &self.theirs) == Some(self.component)))
    }
}

/// Removes the namespace, and waits until it is gone.
pub(super) async fn delete_namespace(
    cluster: &Cluster,
    emitter: &mut Emitter,
    until: Instant,
) -> Result<(), DownError> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let failed = |e| DownError::broken(format!("removing namespace {}", cluster.namespace), e);
    match namespaces.delete(&cluster.namespace, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(_) => {}
    }
    let mut told = String::new();
    let mut pauses = backoff::doubling(PAUSES.0, PAUSES.1);
    loop {
        let Some(namespace) = namespaces.get_opt(&cluster.namespace).await.map_err(failed)? else {
            return Ok(());
        };
        let holds = holders(&namespace);
        if !holds.is_empty() && holds != told {
            emitter.emit(EventKind::Notice { text: format!("what still holds the namespace: {holds}").into() }).await;
            told.clone_from(&holds);
        }
        backoff::pause(&mut pauses).await;
        if Instant::now() >= until {
            let holds = if told.is_empty() { "nothing that it names".to_owned() } else { told };
            return Err(DownError::Late(format!(
                "waiting for namespace {} to go; it is held by {holds}",
                cluster.namespace
            )));
        }
    }
}

/// What keeps a namespace from going, in the namespace controller's words.
fn holders(namespace: &Namespace) -> String {
    let conditions = namespace.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let said: Vec<String> =
        conditions.filter(|c| c.status == "True").filter_map(|c| c.message.clone().filter(|m| !m.is_empty())).collect();
    said.join("; ")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response};
    use kube::Client;
    use kube::client::Body;
    use serde_json::Value;

    use super::*;
    use crate::kinds;

    /// An API server that takes every deletion and notes it, and that lists these pods.
    #[derive(Clone, Default)]
    struct Server {
        deleted: Arc<Mutex<Vec<(String, Value)>>>,
        pods: Arc<Mutex<Vec<Value>>>,
    }

    impl Server {
        fn client(&self) -> Client {
            let server = self.clone();
            let serve = move |request: Request<Body>| {
                let server = server.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect_bytes().await.unwrap();
                    let answer = if parts.method == Method::DELETE {
                        let path = parts.uri.path().rsplit_once("/namespaces/ims/").unwrap().1.to_owned();
                        server.deleted.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap()));
                        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 200})
                    } else {
                        let items = server.pods.lock().unwrap().clone();
                        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
                    };
                    Ok::<_, std::convert::Infallible>(Response::new(Body::from(answer.to_string().into_bytes())))
                }
            };
            Client::new(tower::service_fn(serve), "ims")
        }

        fn deleted(&self) -> Vec<String> {
            self.deleted.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
        }
    }

    async fn settle() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_component_is_gone_when_its_controllers_are() {
        let server = Server::default();
        let homer = |pods: &[(&str, bool)], deployments: &[&str]| There::of(Component::Homer, pods, deployments);
        let (out, there) = watch::channel(homer(&[("homer-1-a", false)], &["homer"]));
        let removal = Removal {
            cluster: Cluster::new(server.client(), "ims"),
            component: Component::Homer,
            objects: vec![Deletion {
                kind: kinds::DEPLOYMENT,
                name: "homer".to_owned(),
                uid: Some("7".to_owned()),
                component: Some(Component::Homer),
                whose: Whose::Ours,
            }],
            now: true,
            theirs: Theirs::new(),
            there,
            until: Instant::now() + Duration::from_secs(60),
        };
        let run = tokio::spawn(removal.run());
        settle().await;
        // A pod whose controller may still stand is not killed: it would only be made anew.
        assert_eq!(server.deleted(), ["deployments/homer"]);
        let options = server.deleted.lock().unwrap()[0].1.clone();
        assert_eq!(options["propagationPolicy"], "Foreground", "{options}");
        assert_eq!(options["preconditions"]["uid"], "7", "{options}");
        out.send_replace(homer(&[("homer-1-a", true)], &["homer"]));
        settle().await;
        assert_eq!(server.deleted()[1..], ["pods/homer-1-a"]);
        assert_eq!(server.deleted.lock().unwrap()[1].1["gracePeriodSeconds"], 0);
        // Its controller was not told yet, and has made another.
        out.send_replace(homer(&[], &["homer"]));
        settle().await;
        assert!(!run.is_finished(), "it ends while the Deployment is there");
        out.send_replace(homer(&[("homer-1-b", true)], &["homer"]));
        settle().await;
        assert_eq!(server.deleted()[2..], ["pods/homer-1-b"]);
        // What is watched comes late.
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "homer-1", "uid": "8", "controller": true});
        let late =
            json!({"metadata": {"name": "homer-1-c", "labels": {"service": "homer"}, "ownerReferences": [owner]}});
        server.pods.lock().unwrap().push(late);
        out.send_replace(homer(&[], &[]));
        settle().await;
        assert!(!run.is_finished(), "it ends while there is a pod");
        server.pods.lock().unwrap().clear();
        let removed = run.await.unwrap().unwrap();
        assert_eq!((removed.objects, removed.kept.len()), (1, 0));
    }

    #[tokio::test]
    async fn what_cannot_be_removed_keeps_the_answer() {
        let (cluster, _) = crate::fake_api::cluster(|_| Some(serde_json::Value::Null));
        let deletion = Deletion {
            kind: kinds::SERVICE,
            name: "homer".to_owned(),
            uid: None,
            component: Some(Component::Homer),
            whose: Whose::Ours,
        };
        let error = take(&cluster, &deletion).await.unwrap_err();
        assert_eq!(error.to_string(), "removing service/homer: the API server answered 403 Forbidden");
        let cause = std::error::Error::source(&error).and_then(|e| e.downcast_ref());
        assert!(matches!(cause, Some(kube::Error::Api(status)) if status.is_forbidden()), "{cause:?}");
    }
}
