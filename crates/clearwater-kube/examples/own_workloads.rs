//! Bring up Deployments of one's own, in an order of one's own, with the parts that know nothing of Clearwater: a graph and
//! its schedule, the watches of a namespace, and the judgement of a rollout.
//!
//! `cargo run -p clearwater-kube --example own_workloads -- NAMESPACE` on the current context's cluster.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;

use clearwater_kube::clearwater::order::{Graph, Link, Need, Policy};
use clearwater_kube::judge::rollout::{Rollout, deployment};
use clearwater_kube::k8s_openapi::api::apps::v1::Deployment;
use clearwater_kube::kube::api::{Patch, PatchParams};
use clearwater_kube::observe::snapshot::{Snapshot, watch};
use clearwater_kube::{Cluster, kube};
use serde_json::json;

/// A media server, a bridge that cannot start without it, and a portal in front of both.
fn graph() -> Result<Graph, Box<dyn Error>> {
    let mut graph = Graph::new();
    graph.add("media-server").add("bridge").add("portal");
    let needs = || Link::new(Need::Hard, Need::Hard).evidence("its manual").seen("it exits");
    graph.depend("bridge", "media-server", needs())?.depend("portal", "bridge", needs())?;
    Ok(graph)
}

async fn apply(cluster: &Cluster, name: &str) -> Result<(), kube::Error> {
    let labels = json!({"app": name});
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": name, "image": "registry.k8s.io/pause:3.10"}]},
            },
        },
    });
    let params = PatchParams::apply("own-workloads").force();
    cluster.api::<Deployment>().patch(name, &params, &Patch::Apply(object)).await.map(drop)
}

/// Starts each as soon as what it needs is complete.
#[allow(clippy::print_stdout, reason = "an example shows what it does")]
async fn bring_up(cluster: &Cluster) -> Result<(), Box<dyn Error>> {
    let mut schedule = graph()?.plan(Policy::Dependency)?.schedule();
    let (mut news, _watching) = watch(&cluster.client, &cluster.namespace);
    let mut seen = Snapshot::default();
    let mut begun: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut ready = schedule.ready();
    while !schedule.is_finished() {
        for name in ready.drain(..) {
            println!("{name}: applied");
            apply(cluster, &name).await?;
            begun.insert(name);
        }
        seen.absorb(news.recv().await.ok_or("the watches have ended")?);
        for name in begun.clone() {
            let rollout = deployment(seen.deployments.get(&*name));
            if let Rollout::Stalled { .. } = rollout {
                return Err(format!("{name}: {rollout:?}").into());
            }
            if rollout.is_complete() {
                println!("{name}: complete");
                begun.remove(&name);
                ready.extend(schedule.complete(&name));
            }
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let namespace = std::env::args().nth(1).ok_or("which namespace?")?;
    bring_up(&Cluster::new(kube::Client::try_default().await?, namespace)).await
}
