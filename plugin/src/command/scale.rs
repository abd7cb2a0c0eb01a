use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clearwater::component::Component;
use clearwater::config::Set;
use clearwater::event::{Change, Event, EventKind};
use clearwater::scale::Target;
use clearwater_kube::scale::{ScaleOptions, scale};

use crate::arguments::{FileArgs, set};
use crate::context::Context;
use crate::drive::{ConsentQuestion, drive};
use crate::duration::limit;
use crate::error::CliError;
use crate::reporter::{EventFormat, Reporter, choose, text};
use crate::runtime::block_on;

/// Change how many members components have, in steps that lose neither data nor calls
///
/// What keeps nothing is set to the number at once. Stores are scaled step by step, each begun when the one before is seen
/// to be complete. What would lose data is refused, with the way that works. An interrupted run is gone on with by
/// running it again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater scale bono 2
  kubectl clearwater scale bono=2 sprout=+1
  kubectl clearwater scale chronos 3 --dry-run
  kubectl clearwater scale -f clearwater.yaml     to what the file names")]
pub(crate) struct Scale {
    /// COMPONENT N, or COMPONENT=N for several; N may be relative: +1, -1
    #[arg(value_name = "COMPONENT[=]N", allow_negative_numbers = true)]
    targets: Vec<String>,
    /// The deployment file. Without components, the replicas that it names are carried out; with them, it only tells how
    /// bonos are reached. Default: clearwater.yaml where that exists, else what stands tells
    #[arg(short = 'f', long = "filename", visible_alias = "file", value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Put a value over the deployment file's, as in --set bono.exposure=nodePort. May be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = set)]
    set: Vec<Set>,
    /// Show the steps with the times they usually take, and stop
    #[arg(long)]
    dry_run: bool,
    /// Mark members of stores as failed that have no pod any more, where they block the others
    #[arg(long)]
    mark_failed: bool,
    /// How long the whole may take
    #[arg(long, value_name = "DURATION", value_parser = limit, default_value = "30m")]
    timeout: Duration,
    /// Go on without asking
    #[arg(short, long)]
    yes: bool,
    /// The format of the events on standard output
    #[arg(short, long, value_enum)]
    output: Option<EventFormat>,
}

impl Scale {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let mut targets = targets(&self.targets)?;
        let file = self.set.iter().cloned().fold(FileArgs::named(self.filename.clone()), FileArgs::over);
        if targets.is_empty() && !file.is_told() {
            return Err(CliError::Usage(
                "say what to scale, as in: kubectl clearwater scale sprout 3; or carry out a file's replicas with --file \
                 clearwater.yaml"
                    .to_owned(),
            ));
        }
        let (deployment, namespace) = file.deployment_or_namespace(context, self.output.is_none())?;
        if let (true, Some(deployment)) = (targets.is_empty(), &deployment) {
            // What the file does not name may have been scaled by hand since.
            let named = |c| deployment.file().components.get(&c).and_then(|settings| settings.replicas);
            targets = deployment
                .components()
                .filter_map(|e| Some((e.component, Target::Absolute(named(e.component)?))))
                .collect();
            if targets.is_empty() {
                return Err(CliError::Usage(
                    "the file names no replicas: write them, as in `components: {sprout: {replicas: 3}}`, or say what to \
                     scale, as in: kubectl clearwater scale sprout 3"
                        .to_owned(),
                ));
            }
        }
        let mut options = ScaleOptions::new(targets).timeout(self.timeout);
        options.deployment = deployment;
        options.dry_run = self.dry_run;
        options.mark_failed = self.mark_failed;
        options.ask = !self.yes && !self.dry_run;
        // The steps are the result of a dry run, and told once.
        let mut reporter = WithoutSteps { inner: choose(self.output), quiet: self.dry_run && self.output.is_none() };
        let ask = |all: &[Change]| {
            let marked: Vec<&str> = all.iter().filter_map(Change::member).collect();
            let marking = if marked.is_empty() {
                String::new()
            } else {
                format!("No pod has the address of {}: they will be marked as failed. ", marked.join(", "))
            };
            format!("{marking}Go on? [y/N] ")
        };
        let question = options.ask.then_some(ConsentQuestion { ask: &ask, yes: "y" });
        let signals = context.signals();
        let ended = block_on(async {
            let (cluster, left) = context.connection().cluster_within(namespace, self.timeout).await?;
            drive(scale(&cluster, options.timeout(left)), &mut reporter, question, &signals).await
        })?;
        if reporter.quiet {
            let planned = ended.events.iter().filter(|e| matches!(e.what, EventKind::StepsPlanned { .. }));
            for steps in planned.filter_map(|e| text(&e.what)) {
                context.results().styled(&format!("{steps}\n"))?;
            }
        }
        Ok(ended.code())
    }
}

/// A reporter that leaves the steps of a plan to standard output.
struct WithoutSteps {
    inner: Box<dyn Reporter>,
    quiet: bool,
}

impl Reporter for WithoutSteps {
    fn event(&mut self, event: &Event) -> Result<(), CliError> {
        if self.quiet && matches!(event.what, EventKind::StepsPlanned { .. }) {
            return Ok(());
        }
        self.inner.event(event)
    }

    fn rest(&mut self) {
        self.inner.rest();
    }
}

/// Reads `COMPONENT N` and `COMPONENT=N`, any number of them.
fn targets(words: &[String]) -> Result<Vec<(Component, Target)>, CliError> {
    let mut found: Vec<(Component, Target)> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, number) = match word.split_once('=') {
            Some((name, number)) => (name, number),
            None => match words.next() {
                Some(number) => (word.as_str(), number.as_str()),
                None => return Err(CliError::Usage(format!("{word}: how many members? Say {word} 2, or {word}=+1"))),
            },
        };
        let component: Component = name.parse().map_err(|e| CliError::Usage(format!("{e}")))?;
        let target: Target = number.parse().map_err(|e| CliError::Usage(format!("{component}: {e}")))?;
        if found.iter().any(|(c, _)| *c == component) {
            return Err(CliError::Usage(format!("{component} is named twice")));
        }
        found.push((component, target));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Vec<(Component, Target)>, String> {
        targets(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).map_err(|e| e.to_string())
    }

    #[test]
    fn targets_are_read_in_both_forms() {
        assert_eq!(read(&["bono", "2"]), Ok(vec![(Component::Bono, Target::Absolute(2))]));
        assert_eq!(
            read(&["bono=2", "sprout", "+1", "chronos=-1"]),
            Ok(vec![
                (Component::Bono, Target::Absolute(2)),
                (Component::Sprout, Target::More(1)),
                (Component::Chronos, Target::Fewer(1))
            ])
        );
        for wrong in [&["bono"][..], &["bono", "two"], &["bonno", "2"], &["bono=1", "bono=2"], &["=2"], &["2", "bono"]]
        {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
