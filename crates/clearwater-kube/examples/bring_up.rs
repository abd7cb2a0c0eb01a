//! Bring a deployment up from a program of one's own and follow what happens: the events that the plugin shows are all
//! there is.
//!
//! `cargo run -p clearwater-kube --example bring_up -- NAMESPACE` on the current context's cluster.

use std::error::Error;
use std::io::Write;

use clearwater::component::Component;
use clearwater::config::DeploymentFile;
use clearwater::event::{CancelReason, Event, EventKind, Outcome};
use clearwater_kube::Cluster;
use clearwater_kube::run::Run;
use clearwater_kube::up::{UpOptions, up};

/// The registrar alone, with what it needs, and no question asked.
pub(crate) fn options(namespace: &str) -> Result<UpOptions, Box<dyn Error>> {
    let file = DeploymentFile::parse("apiVersion: clearwater/v1\nlogLevel: 3\n", "built-in")?;
    let deployment = file.deploy(namespace)?;
    Ok(UpOptions::new(deployment).only([Component::Sprout]).create_namespace())
}

/// Follows a run to its end, and yields how it ended. A component that fails ends it: the handle cancels the rest.
pub(crate) async fn follow<T>(mut run: Run<T>, out: &mut impl Write) -> Result<Outcome, Box<dyn Error>> {
    while let Some(Event { elapsed, what, .. }) = run.next().await {
        match what {
            EventKind::Checked { line } => writeln!(out, "{:?}: {} {}", line.status, line.title, line.detail)?,
            EventKind::Waiting { component, cause, .. } | EventKind::Starting { component, cause, .. } => {
                writeln!(out, "{elapsed:>7} ms {component}: {cause}")?;
            }
            EventKind::Serving { component, durations, .. } => {
                writeln!(out, "{elapsed:>7} ms {component} serves, {} ms after its gates opened", durations.own())?;
            }
            EventKind::Failed { component, causes, fix, .. } => {
                writeln!(out, "{elapsed:>7} ms {component} failed: {}; {fix}", causes.join(": "))?;
                run.cancel(CancelReason::Failure);
            }
            // Kinds may be added: a program goes on without those that it does not know.
            _ => {}
        }
    }
    let end = run.finished().await?;
    writeln!(out, "{}", end.summary)?;
    Ok(end.outcome)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let namespace = std::env::args().nth(1).ok_or("which namespace?")?;
    let cluster = Cluster::new(kube::Client::try_default().await?, namespace.as_str());
    let run = up(&cluster, options(&namespace)?);
    match follow(run, &mut std::io::stdout()).await? {
        Outcome::Done | Outcome::NothingToDo => Ok(()),
        other => Err(format!("it ended with {other:?}").into()),
    }
}
