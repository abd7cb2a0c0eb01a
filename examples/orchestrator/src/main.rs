//! Clearwater over HTTP, as an NFV orchestrator drives a VNF (ETSI GS NFV-SOL 003, in miniature): instances are made,
//! scaled, healed and terminated, what happens is told as server-sent events, and the deed ends with whoever ordered it.
//!
//! `cargo run -p orchestrator -- 127.0.0.1:8080` on the current context's cluster, then for example
//!
//! ```console
//! $ curl -N -X POST localhost:8080/instances/lab -d '{"file": "apiVersion: clearwater/v1\n"}' -H 'content-type: application/json'
//! $ curl localhost:8080/instances/lab
//! $ curl -N -X POST localhost:8080/instances/lab/scale -d '{"sprout": 3}' -H 'content-type: application/json'
//! $ curl -N -X POST localhost:8080/instances/lab/heal
//! $ curl -N -X DELETE localhost:8080/instances/lab
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clearwater_kube::clearwater::component::Component;
use clearwater_kube::clearwater::config::{ConfigErrors, DeploymentFile};
use clearwater_kube::clearwater::event::{CancelReason, EventKind};
use clearwater_kube::clearwater::scale::Target;
use clearwater_kube::down::{DownOptions, down};
use clearwater_kube::logs::{self, Said};
use clearwater_kube::run::Run;
use clearwater_kube::scale::{ScaleOptions, scale};
use clearwater_kube::status::{StatusOptions, status};
use clearwater_kube::up::{UpOptions, up};
use clearwater_kube::{Cluster, kube};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::json;

/// What every request knows.
#[derive(Clone)]
struct Orchestrator {
    client: kube::Client,
    /// The deployment files that instances were made of.
    files: Arc<Mutex<BTreeMap<String, DeploymentFile>>>,
    /// Instances that something is done with: one deed at a time.
    busy: Arc<Mutex<BTreeSet<String>>>,
}

/// An instance is nobody else's for as long as this lives.
struct Claimed {
    busy: Arc<Mutex<BTreeSet<String>>>,
    name: String,
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Why a request is not carried out.
struct Refused(StatusCode, String);

impl From<ConfigErrors> for Refused {
    fn from(errors: ConfigErrors) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, errors.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"title": self.0.canonical_reason(), "detail": self.1}))).into_response()
    }
}

type Events = Sse<KeepAliveStream>;
type KeepAliveStream = sse::KeepAliveStream<futures::stream::BoxStream<'static, Result<sse::Event, Infallible>>>;

impl Orchestrator {
    fn new(client: kube::Client) -> Self {
        Self { client, files: Arc::default(), busy: Arc::default() }
    }

    fn cluster(&self, name: &str) -> Cluster {
        Cluster::new(self.client.clone(), name)
    }

    /// The file of an instance; the default's where it was made by somebody else.
    fn file(&self, name: &str) -> DeploymentFile {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default()
    }

    fn claim(&self, name: &str) -> Result<Claimed, Refused> {
        if !self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
            return Err(Refused(StatusCode::CONFLICT, format!("something is done with {name} already")));
        }
        Ok(Claimed { busy: self.busy.clone(), name: name.to_owned() })
    }
}

fn router(orchestrator: Orchestrator) -> Router {
    Router::new()
        .route("/instances/{name}", post(instantiate).get(look).delete(terminate))
        .route("/instances/{name}/scale", post(scale_to))
        .route("/instances/{name}/heal", post(heal))
        .route("/instances/{name}/logs", get(follow))
        .with_state(orchestrator)
}

fn events(told: impl Stream<Item = sse::Event> + Send + 'static) -> Events {
    Sse::new(told.map(Ok).boxed()).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)))
}

/// What may be lost for an instance's sake.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Losses {
    /// Nothing.
    #[default]
    None,
    /// What sessions hold and phones bring again by themselves.
    Sessions,
    /// Everything.
    All,
}

impl Losses {
    fn allow(self, loses: &[String]) -> bool {
        match self {
            Self::None => false,
            Self::Sessions => loses.iter().all(|what| what.contains("registration") || what.contains("timer")),
            Self::All => true,
        }
    }
}

/// The events of a run, its end as the last of them. A reader that goes drops the run, which cancels it.
fn told<T: Send + 'static>(run: Run<T>, losses: Losses, claimed: Claimed) -> Events {
    let state = (Some(run), claimed);
    events(stream::unfold(state, move |(run, claimed)| async move {
        let mut run = run?;
        let Some(event) = run.next().await else {
            let end = match run.finished().await {
                Ok(end) => json!({"outcome": end.outcome, "summary": end.summary, "stats": end.stats}),
                Err(broke) => json!({"outcome": "failed", "summary": broke.to_string()}),
            };
            return Some((sse::Event::default().event("end").data(end.to_string()), (None, claimed)));
        };
        match &event.what {
            EventKind::Asked { id, loses, .. } => run.consent(*id, losses.allow(loses)),
            // Whoever ordered it wants to know, and not to wait for the rest.
            EventKind::Failed { .. } => run.cancel(CancelReason::Failure),
            _ => {}
        }
        let name = event.component().map_or("run", Component::name);
        let data = serde_json::to_string(&event).unwrap_or_default();
        Some((sse::Event::default().event(name).id(event.seq.to_string()).data(data), (Some(run), claimed)))
    }))
}

#[derive(Deserialize)]
struct Instantiation {
    /// A deployment file, as YAML.
    file: String,
}

async fn instantiate(
    State(orchestrator): State<Orchestrator>,
    Path(name): Path<String>,
    Json(wanted): Json<Instantiation>,
) -> Result<Events, Refused> {
    let cluster = orchestrator.cluster(&name);
    let file = DeploymentFile::parse(&wanted.file, "file")?;
    let deployment = cluster.deploy(&file)?;
    let claimed = orchestrator.claim(&name)?;
    orchestrator.files.lock().unwrap_or_else(PoisonError::into_inner).insert(name, file);
    let run = up(&cluster, UpOptions::new(deployment).create_namespace());
    Ok(told(run, Losses::None, claimed))
}

async fn look(State(orchestrator): State<Orchestrator>, Path(name): Path<String>) -> Result<Response, Refused> {
    let seen = status(&orchestrator.cluster(&name), &StatusOptions::new()).await;
    let seen = seen.map_err(|error| Refused(StatusCode::BAD_GATEWAY, error.to_string()))?;
    Ok(Json(seen).into_response())
}

async fn scale_to(
    State(orchestrator): State<Orchestrator>,
    Path(name): Path<String>,
    Json(wanted): Json<BTreeMap<Component, u32>>,
) -> Result<Events, Refused> {
    let cluster = orchestrator.cluster(&name);
    let deployment = cluster.deploy(&orchestrator.file(&name))?;
    let claimed = orchestrator.claim(&name)?;
    let targets = wanted.into_iter().map(|(component, n)| (component, Target::Absolute(n)));
    Ok(told(scale(&cluster, ScaleOptions::new(targets).deployment(deployment)), Losses::None, claimed))
}

#[derive(Default, Deserialize)]
struct Healing {
    #[serde(default)]
    losses: Losses,
}

/// Brings up what is missing and repairs what is broken; what that may cost is said with the order.
async fn heal(
    State(orchestrator): State<Orchestrator>,
    Path(name): Path<String>,
    Query(healing): Query<Healing>,
) -> Result<Events, Refused> {
    let cluster = orchestrator.cluster(&name);
    let deployment = cluster.deploy(&orchestrator.file(&name))?;
    let claimed = orchestrator.claim(&name)?;
    let run = up(&cluster, UpOptions::new(deployment).ask());
    // The plan was ordered; what would lose data is asked by itself.
    run.answer(true);
    Ok(told(run, healing.losses, claimed))
}

async fn terminate(State(orchestrator): State<Orchestrator>, Path(name): Path<String>) -> Result<Events, Refused> {
    let claimed = orchestrator.claim(&name)?;
    orchestrator.files.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
    let run = down(&orchestrator.cluster(&name), DownOptions::new().delete_namespace());
    Ok(told(run, Losses::All, claimed))
}

#[derive(Deserialize)]
struct Following {
    /// A component; all where none is named.
    of: Option<Component>,
}

async fn follow(
    State(orchestrator): State<Orchestrator>,
    Path(name): Path<String>,
    Query(following): Query<Following>,
) -> Events {
    let options = following.of.map_or_else(logs::Options::new, |one| logs::Options::of([one])).follow();
    let records = logs::read(&orchestrator.cluster(&name), options).filter_map(async |said| match said {
        Said::Record(entry) => {
            let text = String::from_utf8_lossy(entry.record.bytes()).into_owned();
            Some(sse::Event::default().event(entry.source.pod.clone()).data(text.trim_end().replace('\r', "")))
        }
        Said::Trouble(_, text) | Said::Unread(_, text) => {
            Some(sse::Event::default().event("trouble").data(text.as_str()))
        }
        _ => None,
    });
    events(records)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let orchestrator = Orchestrator::new(kube::Client::try_default().await?);
    axum::serve(tokio::net::TcpListener::bind(address).await?, router(orchestrator)).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
