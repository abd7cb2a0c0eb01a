use std::time::Duration;

use clap::Args;
use clearwater::component::{Component, Release};
use clearwater::text::printable;
use clearwater_kube::observe::running::{RunningImage, running};
use schemars::JsonSchema;
use serde::Serialize;

use crate::arguments::PlaceArgs;
use crate::context::Context;
use crate::duration::limit;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;
use crate::runtime::{block_on, unless_ended};

/// Show the plugin's version and what it can do
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater version
  kubectl clearwater version --running -n ims     and what runs there
  kubectl clearwater version -o json")]
pub(crate) struct Version {
    /// Ask the cluster too: its Kubernetes' version, and the images that the namespace's components run
    #[arg(long)]
    running: bool,
    #[command(flatten)]
    place: PlaceArgs,
    /// How long each answer may take
    #[arg(long, value_name = "DURATION", value_parser = limit, default_value = "10s", requires = "running")]
    timeout: Duration,
    /// Write it for programs
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// What `version -o json` writes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Version")]
pub(crate) struct Facts {
    /// The version of this format.
    v: u32,
    /// The plugin's version.
    version: &'static str,
    /// The commit that it was built from, where its builder told.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'static str>,
    /// What it was built with beyond what every build has.
    features: Vec<&'static str>,
    /// The version of the deployment file's format.
    api_version: &'static str,
    /// The releases of Clearwater that it knows.
    releases: Vec<Release>,
    /// The oldest Kubernetes that it works with.
    kubernetes: &'static str,
    /// What the cluster said, where it was asked and answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Server>,
}

/// What a cluster says of itself and of a deployment.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Server {
    /// The version of its Kubernetes.
    kubernetes: String,
    /// The namespace that was looked at.
    namespace: String,
    /// The images that components run there.
    images: Vec<ImageInUse>,
}

/// Pods of one component that were made from one image.
#[derive(Debug, Serialize, JsonSchema)]
struct ImageInUse {
    /// The component.
    component: Component,
    /// The image.
    image: String,
    /// How many pods.
    pods: u32,
}

/// `cargo xtask` tells it to what is shipped.
const COMMIT: Option<&str> = option_env!("KUBECTL_CLEARWATER_COMMIT");
const FEATURES: &[&str] = if cfg!(feature = "etcd") { &["etcd"] } else { &[] };

impl Version {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        // What is known without the cluster is told whatever became of that.
        let (server, why) = match self.running.then(|| self.asked(context)).transpose() {
            Ok(server) => (server, None),
            Err(why) => (None, Some(why)),
        };
        let facts = Facts {
            v: 1,
            version: env!("CARGO_PKG_VERSION"),
            commit: COMMIT,
            features: FEATURES.to_vec(),
            api_version: "clearwater/v1",
            releases: Release::ALL.to_vec(),
            kubernetes: "1.28",
            server,
        };
        match self.output {
            Some(format) => context.results().value(format, &facts)?,
            None => context.results().text(&facts.told())?,
        }
        why.map_or(Ok(exit::OK), Err)
    }

    /// What the cluster says.
    fn asked(&self, context: &mut Context) -> Result<Server, CliError> {
        let namespace = self.place.namespace(context, self.output.is_none())?;
        let signals = context.signals();
        block_on(unless_ended(&signals, async {
            let (cluster, within) = context.connection().cluster_within(namespace, self.timeout).await?;
            let running = running(&cluster, within).await?;
            // What is not there looks like what is empty.
            let absence = if running.images.is_empty() { cluster.absence().await } else { None };
            if let Some(why) = absence {
                return Err(CliError::Connection(why));
            }
            let image = |r: RunningImage| ImageInUse { component: r.component, image: r.image, pods: r.pods };
            Ok(Server {
                kubernetes: printable(&running.kubernetes).into_owned(),
                namespace: cluster.namespace.clone(),
                images: running.images.into_iter().map(image).collect(),
            })
        }))
    }
}

impl Facts {
    fn told(&self) -> String {
        let commit = self.commit.map_or_else(String::new, |commit| format!(" ({commit})"));
        let features = if self.features.is_empty() { "none" } else { &self.features.join(", ") };
        let releases: Vec<&str> = self.releases.iter().map(|r| r.name()).collect();
        let mut text = format!(
            "kubectl-clearwater {}{commit}\nfeatures: {features}\ndeployment files: {}\nreleases of Clearwater: {}\n\
             Kubernetes: {} and later\n",
            self.version,
            self.api_version,
            releases.join(", "),
            self.kubernetes
        );
        let Some(server) = &self.server else { return text };
        text.push_str(&format!("\nthe cluster: Kubernetes {}\n", server.kubernetes));
        if server.images.is_empty() {
            text.push_str(&format!("namespace {}: no component of Clearwater\n", server.namespace));
        }
        for ImageInUse { component, image, pods } in &server.images {
            text.push_str(&format!("{:15} {pods} × {}\n", component.name(), printable(image)));
        }
        text
    }
}
