mod explain;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use clearwater::component::Component;
use clearwater::config::generator::Generated;
use clearwater::config::shared::{Pod, Setting, rendered, settings};
use clearwater::config::{Deployment, Problem, schema};
use clearwater::manifest::{self, Inputs, ManifestError};
use schemars::JsonSchema;
use serde::Serialize;

use crate::arguments::FileArgs;
use crate::bounded::{self, LARGEST};
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;

pub(crate) use explain::keys;

/// Check a deployment file, and show the configuration that follows from it
#[derive(Debug, Subcommand)]
#[command(
    disable_help_subcommand = true,
    after_help = "Examples:
  kubectl clearwater config check -f clearwater.yaml
  kubectl clearwater config explain bono.exposure
  kubectl clearwater config show --set logLevel=4 -o json"
)]
#[expect(clippy::enum_variant_names, reason = "the files are called shared_config and local_config")]
pub(crate) enum Config {
    Check(Check),
    Show(Show),
    Explain(explain::Explain),
    Schema(Schema),
    /// Show shared_config as a component's containers will hold it
    #[command(after_help = "Examples:
  kubectl clearwater config shared-config -f clearwater.yaml
  kubectl clearwater config shared-config --component bono --pod-ip 192.0.2.7")]
    SharedConfig(Files),
    /// Show local_config as a component's containers will hold it
    #[command(after_help = "Examples:
  kubectl clearwater config local-config -f clearwater.yaml
  kubectl clearwater config local-config --component bono --pod-ip 192.0.2.7")]
    LocalConfig(Files),
}

impl Config {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        match self {
            Self::Check(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Explain(command) => command.run(context),
            Self::Schema(command) => command.run(context),
            Self::SharedConfig(command) => command.run(context, |files| files.shared_config.as_deref()),
            Self::LocalConfig(command) => command.run(context, |files| Some(&files.local_config)),
        }
    }
}

/// Say everything that is wrong with a deployment file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater config check
  kubectl clearwater config check -f clearwater.yaml -o json")]
pub(crate) struct Check {
    #[command(flatten)]
    file: FileArgs,
    /// Write it for programs
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// What `config check -o json` writes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ConfigCheck")]
pub(crate) struct Checked {
    /// The version of this format.
    v: u32,
    /// Whether the file can be deployed.
    ok: bool,
    /// What is wrong with it, in the order of the file.
    errors: Vec<Problem>,
    /// What is likely not meant, or needs something of the cluster.
    warnings: Vec<Problem>,
    /// What is to be known about objects that follow from it.
    notes: Vec<Note>,
}

/// What is to be known about an object.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Note {
    /// The object, as KIND/NAME.
    about: String,
    /// A sentence.
    text: String,
}

impl Check {
    fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let deployed = self.deploy(context);
        let (errors, warnings, notes) = match deployed {
            Ok((deployment, notes)) => (Vec::new(), deployment.warnings(), notes),
            Err(CliError::Config(e)) if self.output.is_some() => (e.problems().to_vec(), Vec::new(), Vec::new()),
            Err(e) => return Err(e),
        };
        let code = if errors.is_empty() { exit::OK } else { exit::USAGE };
        if let Some(format) = self.output {
            let checked = Checked { v: 1, ok: errors.is_empty(), errors, warnings, notes };
            context.results().value(format, &checked)?;
            return Ok(code);
        }
        for warning in &warnings {
            context.talk().warning(warning);
        }
        for note in &notes {
            context.talk().note(format!("{}: {}", note.about, note.text));
        }
        context.talk().note("nothing is wrong with it");
        Ok(code)
    }

    fn deploy(&self, context: &mut Context) -> Result<(Deployment, Vec<Note>), CliError> {
        let file = self.file.read()?;
        let namespace = context.connection().namespace_for(&file)?;
        if self.output.is_none() {
            context.announce(&namespace);
        }
        let deployment = file.file.deploy(&namespace.name)?;
        let notes = match manifest::render(&deployment, &Inputs::default()) {
            Ok(manifest) => manifest.notes().to_vec(),
            // What only a cluster can tell is no fault of the file.
            Err(ManifestError::BonoAddresses { .. } | ManifestError::Settings(_)) => Vec::new(),
            Err(e) => return Err(e.into()),
        };
        let notes = notes.into_iter().map(|n| Note { about: n.about, text: n.text }).collect();
        Ok((deployment, notes))
    }
}

/// Show a deployment file with the command line's values put over it, defaults left out
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater config show -f clearwater.yaml
  kubectl clearwater config show --set logLevel=4 -o json")]
pub(crate) struct Show {
    #[command(flatten)]
    file: FileArgs,
    /// The format
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
}

impl Show {
    fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let deployment = self.file.deployment(context, false)?;
        let mut file = deployment.file().clone();
        file.namespace = Some(deployment.namespace().to_owned());
        context.results().value(self.output, &file)?;
        Ok(exit::OK)
    }
}

/// Show the JSON Schema of deployment files
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater config schema
  kubectl clearwater config schema > clearwater.v1.json")]
pub(crate) struct Schema {}

impl Schema {
    #[expect(clippy::unused_self, reason = "every command has the same shape")]
    fn run(self, context: &mut Context) -> Result<u8, CliError> {
        context.results().value(Format::Json, schema())?;
        Ok(exit::OK)
    }
}

/// A file in the containers. What comes from Secrets is shown by reference.
#[derive(Debug, Args)]
pub(crate) struct Files {
    #[command(flatten)]
    file: FileArgs,
    /// The component. The files differ in the addresses only
    #[arg(long, value_name = "COMPONENT", default_value = "sprout")]
    component: Component,
    /// The pod's address
    #[arg(long, value_name = "IP", default_value = "192.0.2.1")]
    pod_ip: IpAddr,
    /// The pod's PUBLIC_IP. Default: for bono the first of bono.addresses, else the pod's address
    #[arg(long, value_name = "IP")]
    public_ip: Option<IpAddr>,
    /// The pod's /etc/resolv.conf, for its name servers. Default: none, and then signaling_dns_server is left out
    #[arg(long, value_name = "FILE")]
    resolv_conf: Option<PathBuf>,
}

impl Files {
    fn run(self, context: &mut Context, pick: fn(&Generated) -> Option<&str>) -> Result<u8, CliError> {
        let deployment = self.file.deployment(context, true)?;
        let component = self.component;
        if component == Component::Etcd || !deployment.has(component) {
            let having: Vec<&str> =
                deployment.components().map(|e| e.component.name()).filter(|n| *n != "etcd").collect();
            return Err(CliError::Usage(format!(
                "--component {component}: it has no such file in this deployment; those that have one: {}",
                having.join(", ")
            )));
        }
        let resolv_conf = match &self.resolv_conf {
            Some(path) => bounded::text(path, LARGEST)?,
            None => String::new(),
        };
        let of_file = deployment.file().bono.addresses.first().filter(|_| component == Component::Bono);
        let public_ip = self.public_ip.as_ref().or(of_file).map(ToString::to_string);
        let pod = Pod { ip: self.pod_ip.to_string(), resolv_conf, public_ip };
        let files =
            rendered(&deployment, &BTreeMap::new(), &pod, &references(&deployment)?).map_err(ManifestError::from)?;
        context.results().text(pick(&files).unwrap_or_default())?;
        Ok(exit::OK)
    }
}

/// In the place of each secret, where it comes from.
fn references(deployment: &Deployment) -> Result<BTreeMap<String, String>, CliError> {
    let settings = settings(deployment, &BTreeMap::new()).map_err(ManifestError::from)?;
    let reference = |(_, setting)| match setting {
        Setting::Secret { variable, secret, key } => Some((variable, format!("<Secret:{secret}/{key}>"))),
        Setting::Text(_) => None,
    };
    Ok(settings.into_iter().filter_map(reference).collect())
}
