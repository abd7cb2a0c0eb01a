use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use clearwater::component::{Component, Release};
use clearwater::event::{Change, Operation, Whose};
use clearwater::text::counted;
use clearwater_kube::down::{DownOptions, down, losses};

use crate::arguments::PlaceArgs;
use crate::context::Context;
use crate::drive::{ConsentQuestion, drive};
use crate::duration::limit;
use crate::error::CliError;
use crate::reporter::{BAD, EventFormat, changes, choose};
use crate::runtime::block_on;

/// Take a deployment down, what others need last
///
/// Registrations and timers die with the pods, and so do subscribers and accounts where these are not on volumes. Volumes
/// with subscribers and accounts are kept, with the keys, and the next `up` finds them. Only objects that this program
/// made are removed; one that stood before `up` wrote to it is given back without what `up` wrote.
#[derive(Debug, Args)]
#[command(aliases = ["delete", "uninstall"], after_help = "Examples:
  kubectl clearwater down -n ims
  kubectl clearwater down -f clearwater.yaml     in the file's namespace
  kubectl clearwater down --only bono --yes")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct Down {
    #[command(flatten)]
    place: PlaceArgs,
    /// Only these components
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    only: Vec<Component>,
    /// Kill the pods at once: stores do not leave their cluster, and what stays of it must be repaired or made anew
    #[arg(long)]
    now: bool,
    /// Keep the configuration and the keys, so that the next `up` uses them again
    #[arg(long)]
    keep_config: bool,
    /// Remove the volumes with subscribers and accounts too: what is on them cannot be brought back
    #[arg(long)]
    delete_volumes: bool,
    /// Remove the namespace too, and all volumes. What others have in it is named, and goes only where the namespace's name is typed, or
    /// with --yes --foreign
    #[arg(long, conflicts_with_all = ["keep_config", "only"])]
    delete_namespace: bool,
    /// With --delete-namespace and --yes: lose what others have in the namespace
    #[arg(long, requires_all = ["delete_namespace", "yes"])]
    foreign: bool,
    /// How long the whole may take
    #[arg(long, value_name = "DURATION", value_parser = limit, default_value = "15m")]
    timeout: Duration,
    /// Go on without asking
    #[arg(short, long)]
    yes: bool,
    /// The format of the events on standard output
    #[arg(short, long, value_enum)]
    output: Option<EventFormat>,
}

impl Down {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let namespace = self.place.namespace(context, self.output.is_none())?;
        let mut options = DownOptions::new().only(self.only.clone()).timeout(self.timeout);
        options.now = self.now;
        options.keep_config = self.keep_config;
        options.delete_volumes = self.delete_volumes;
        options.delete_namespace = self.delete_namespace;
        options.foreign = self.foreign;
        options.ask = !self.yes;
        let mut reporter = choose(self.output);
        let ask = |all: &[Change]| warning(all, &namespace, self.now);
        let question = options.ask.then_some(ConsentQuestion { ask: &ask, yes: &namespace });
        let signals = context.signals();
        let ended = block_on(async {
            let (cluster, left) = context.connection().cluster_within(namespace.clone(), self.timeout).await?;
            drive(down(&cluster, options.timeout(left)), reporter.as_mut(), question, &signals).await
        })?;
        Ok(ended.code())
    }
}

fn warning(all: &[Change], namespace: &str, now: bool) -> String {
    let mut text = changes(all);
    let components: BTreeSet<Component> = all.iter().filter_map(|c| c.component.as_deref()?.parse().ok()).collect();
    let release = if components.contains(&Component::Memcached) { Release::Classic } else { Release::Hunter };
    let claims = |operation: Operation| {
        let of = move |c: &&Change| c.operation == operation && c.object.starts_with("persistentvolumeclaim/");
        all.iter().filter(move |c| of(c) && c.component.as_deref() != Some(Component::Etcd.name()))
    };
    let kept: BTreeSet<Component> =
        claims(Operation::Keep).filter_map(|c| c.component.as_deref()?.parse().ok()).collect();
    let mut lost: Vec<&str> =
        components.into_iter().filter(|c| !kept.contains(c)).flat_map(|c| losses(release, c)).collect();
    lost.sort_unstable();
    lost.dedup();
    if !lost.is_empty() {
        let _ = writeln!(text, "\nWhat dies with the pods and cannot be brought back: {}.", lost.join(", "));
    }
    let volumes = claims(Operation::Delete).filter(|c| c.whose == Whose::Ours).count();
    if volumes > 0 {
        let volumes = counted(volumes, "volume");
        let _ = writeln!(text, "\n{BAD}{volumes} with subscribers or accounts would be lost.{BAD:#}");
    }
    let others = all.iter().filter(|c| c.operation == Operation::Delete && c.whose != Whose::Ours).count();
    if others > 0 {
        let _ =
            writeln!(text, "\n{BAD}{others} of these are not of this deployment, and go with the namespace.{BAD:#}");
    }
    if now {
        text.push_str("--now: the pods are killed without leaving their clusters.\n");
    }
    let _ = write!(text, "Type the namespace's name ({namespace}) to go on: ");
    text
}
