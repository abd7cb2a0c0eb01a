//! Brings a deployment up from another program and consumes its events.
//!
//! ```console
//! $ cargo run -p clearwater-kube --example bring_up -- NAMESPACE [clearwater.yaml]
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use clearwater::config::DeploymentFile;
use clearwater::event::{Outcome, What};
use clearwater_kube::Cluster;
use clearwater_kube::up::{UpOptions, up};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let namespace = args.next().ok_or("which namespace?")?;
    let file = match args.next() {
        Some(path) => DeploymentFile::parse(&std::fs::read_to_string(&path)?, &path)?,
        None => DeploymentFile::default(),
    };
    let client = kube::Client::try_default().await?;
    let options = UpOptions { create_namespace: true, ..UpOptions::new(file.deploy(&namespace)?) };
    let mut run = up(Cluster::new(client, namespace), options);
    let mut outcome = Outcome::CouldNotLook;
    while let Some(event) = run.events.recv().await {
        println!("{}", serde_json::to_string(&event)?);
        if let What::RunFinished { outcome: last, .. } = event.what {
            outcome = last;
        }
    }
    match outcome {
        Outcome::Done | Outcome::NothingToDo => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}
