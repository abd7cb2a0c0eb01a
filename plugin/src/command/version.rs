use clap::Args;
use clearwater::component::Release;
use schemars::JsonSchema;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;

/// Show the plugin's version and what it can do
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater version
  kubectl clearwater version -o json")]
pub(crate) struct Version {
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
    /// The version of the deployment file's format.
    api_version: &'static str,
    /// The releases of Clearwater that it knows.
    releases: Vec<Release>,
    /// The oldest Kubernetes that it works with.
    kubernetes: &'static str,
}

impl Version {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let facts = Facts {
            v: 1,
            version: env!("CARGO_PKG_VERSION"),
            api_version: "clearwater/v1",
            releases: Release::ALL.to_vec(),
            kubernetes: "1.28",
        };
        if let Some(format) = self.output {
            context.results().value(format, &facts)?;
            return Ok(exit::OK);
        }
        let releases: Vec<&str> = facts.releases.iter().map(|r| r.name()).collect();
        context.results().text(&format!(
            "kubectl-clearwater {}\ndeployment files: {}\nreleases of Clearwater: {}\nKubernetes: {} and later\n",
            facts.version,
            facts.api_version,
            releases.join(", "),
            facts.kubernetes
        ))?;
        Ok(exit::OK)
    }
}
