mod etcd_args;
mod report;
mod steps;
mod words;

use std::sync::LazyLock;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use clearwater::config::{Deployment, DnsBackend};
use clearwater::event::Change;
use clearwater_kube::Cluster;
use clearwater_kube::dns::{DnsAction, DnsError, DnsOptions, Form, Patched, check, explain, patch, print, zone};

use crate::advice;
use crate::arguments::{FileArgs, one_of};
use crate::context::Context;
use crate::drive::{ConsentQuestion, drive};
use crate::duration::limit;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;
use crate::runtime::{block_on, unless_ended};
use crate::signal::{Signals, code};

use etcd_args::EtcdArgs;
use report::PatchOutcome;
use steps::Steps;
use words::{explanation, text};

pub(crate) use report::{ExplainReport, Report};

/// Put the DNS names in that Clearwater needs and Kubernetes cannot give, and prove them
///
/// The change is shown first, written only if nobody else wrote in between, and proved by asking every DNS server
/// itself. Where one of them does not answer as it must, the change is taken back. Exit code 7 says that --check found
/// something missing or stale.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater dns-patch -n ims
  kubectl clearwater dns-patch -f clearwater.yaml --backend coredns --dry-run
  kubectl clearwater dns-patch --check
  kubectl clearwater dns-patch --explain
  kubectl clearwater dns-patch --backend print -o corefile
  kubectl clearwater dns-patch --remove --yes")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct DnsPatch {
    #[command(flatten)]
    file: FileArgs,
    /// How the names get into DNS. auto takes the deployment file's, else the one that needs least, and says why
    #[arg(long, value_name = "BACKEND", value_parser = one_of::<DnsBackend>(DnsBackend::ALL.map(DnsBackend::name).map(PossibleValue::new)), default_value_t)]
    backend: DnsBackend,
    /// Compare what stands with what must stand, and write nothing
    #[arg(long, conflicts_with_all = ["remove", "explain"])]
    check: bool,
    /// Take the names out again, so that not a byte is left of them
    #[arg(long, conflicts_with = "explain")]
    remove: bool,
    /// Say for each name who asks for it, what each server answers, and what will be seen
    #[arg(long)]
    explain: bool,
    /// Let SIP clients that know the home domain only find Bono too: NAPTR, SRV and A records
    #[arg(long)]
    clients: bool,
    /// Where CoreDNS would not read its file again by itself, replace its pods one at a time
    #[arg(long)]
    restart_dns: bool,
    /// How long CoreDNS may take to read its file again. Default: twice as long as it should take
    #[arg(long, value_name = "DURATION", value_parser = limit, conflicts_with_all = ["check", "explain"])]
    timeout: Option<Duration>,
    /// Go on without asking
    #[arg(short, long)]
    yes: bool,
    /// Show what would be written, and stop
    #[arg(long, conflicts_with_all = ["check", "explain"])]
    dry_run: bool,
    /// A format for programs; the others belong to --backend print
    #[arg(short, long, value_enum)]
    output: Option<Output>,
    // Last, because its heading holds for all flags that follow it.
    #[command(flatten)]
    etcd: EtcdArgs,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Value(Format),
    Text(Form),
}

impl Output {
    fn format(self) -> Option<Format> {
        match self {
            Self::Value(format) => Some(format),
            Self::Text(_) => None,
        }
    }
}

impl ValueEnum for Output {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Output>> = LazyLock::new(|| {
            let values = Format::value_variants().iter().copied().map(Output::Value);
            values.chain(Form::ALL.map(Output::Text)).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Value(format) => format.to_possible_value(),
            Self::Text(form) => Some(PossibleValue::new(form.name())),
        }
    }
}

impl DnsPatch {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let printing = self.backend == DnsBackend::Print;
        if !printing && self.output.is_some_and(|o| o.format().is_none()) {
            return Err(CliError::Usage("-o zone, corefile, etcd-v3 and etcd-v2 belong to --backend print".to_owned()));
        }
        if printing && (self.check || self.remove) {
            return Err(CliError::Usage(
                "--backend print writes nothing to DNS: there is nothing to check or remove".to_owned(),
            ));
        }
        let deployment = self.file.deployment(context, self.output.and_then(Output::format).is_none())?;
        advice::at_etcd(self.etcd.typed());
        let mut options = DnsOptions::new(deployment.clone())
            .backend(self.backend)
            .action(if self.remove { DnsAction::Remove } else { DnsAction::Put })
            .etcd(self.etcd.access()?);
        options.clients = self.clients;
        options.restart = self.restart_dns;
        options.timeout = self.timeout;
        options.dry_run = self.dry_run;
        options.ask = !self.yes && !self.dry_run;
        let signals = context.signals();
        block_on(async {
            let cluster = context.connection().cluster(deployment.namespace()).await?;
            if self.explain {
                return unless_ended(&signals, Box::pin(self.explain(context, &cluster, &deployment))).await;
            }
            if printing {
                return unless_ended(&signals, self.print(context, &cluster, &options)).await;
            }
            if self.check {
                return unless_ended(&signals, Box::pin(self.check(context, &cluster, &options))).await;
            }
            Box::pin(self.patch(context, cluster, options, &signals)).await
        })
    }

    async fn explain(&self, context: &mut Context, cluster: &Cluster, deployment: &Deployment) -> Result<u8, CliError> {
        let mut explained = explain(cluster, deployment).await?;
        explained.notes = explained.notes.iter().map(|note| advice::text(note).into()).collect();
        explained.unasked = explained.unasked.iter().map(|why| advice::text(why).into()).collect();
        let code = exit::of_look(!explained.is_unwell(), explained.unasked.is_empty());
        match self.output.and_then(Output::format) {
            Some(format) => {
                let namespace = deployment.namespace().to_owned();
                context.results().value(format, &ExplainReport::new(namespace, explained))?;
            }
            None => context.results().styled(&explanation(&explained))?,
        }
        Ok(code)
    }

    async fn print(&self, context: &mut Context, cluster: &Cluster, options: &DnsOptions) -> Result<u8, CliError> {
        match self.output.unwrap_or(Output::Text(Form::Zone)) {
            Output::Text(form) => context.results().text(&print(cluster, options, form).await?)?,
            Output::Value(format) => context.results().value(format, &zone(cluster, options).await?)?,
        }
        Ok(exit::OK)
    }

    async fn check(&self, context: &mut Context, cluster: &Cluster, options: &DnsOptions) -> Result<u8, CliError> {
        let could_not_look = |error: DnsError| match error.missing_right() {
            Some(_) => CliError::Connection(advice::said(&error)),
            None => error.into(),
        };
        let (plan, findings) = check(cluster, options).await.map_err(could_not_look)?;
        let is_unknown = !findings.unasked.is_empty();
        let (outcome, code) = match (findings.problems.is_empty(), is_unknown) {
            (false, _) => (PatchOutcome::Stale, exit::PENDING),
            (true, true) => (PatchOutcome::Unknown, exit::FAILURE),
            // Names may stand before the first pod that asks for them.
            (true, false) if findings.skipped.is_empty() => (PatchOutcome::Right, exit::OK),
            (true, false) => (PatchOutcome::Unknown, exit::OK),
        };
        let mut notes = advice::texts(&plan.notes);
        notes.extend(findings.skipped.iter().map(|s| format!("skipped: {s}")));
        notes.extend(findings.unasked.iter().map(|s| format!("could not be asked: {s}")));
        let report = Report {
            servers: findings.servers,
            problems: advice::texts(&findings.problems),
            notes,
            ..Report::of(&plan, outcome)
        };
        self.finish(context, &report)?;
        Ok(code)
    }

    async fn patch(
        &self,
        context: &mut Context,
        cluster: Cluster,
        options: DnsOptions,
        signals: &Signals,
    ) -> Result<u8, CliError> {
        let ask = |all: &[Change]| format!("Write {}? [y/N] ", all.first().map_or("it", |c| c.object.as_str()));
        let question = options.ask.then_some(ConsentQuestion { ask: &ask, yes: "y" });
        let mut steps = Steps { quiet: options.dry_run };
        let ended = drive(patch(&cluster, options), &mut steps, question, signals).await?;
        let patched = match ended.value {
            Ok(patched) => patched,
            Err(error @ DnsError::Interrupted { .. }) => {
                context.talk().error(advice::said(&error));
                return Ok(ended.reason.map_or(exit::INTERRUPTED, code));
            }
            Err(error) => return Err(error.into()),
        };
        let unasked: Vec<String> = patched.unasked().collect();
        let Patched { plan, proof, servers, .. } = patched;
        let pending = plan.is_change() || plan.finishing().is_some();
        let outcome = match (&proof, plan.finishing()) {
            // What was written is proved all the same.
            (None, _) if !unasked.is_empty() => PatchOutcome::Unasked,
            (Some(_), None) if !unasked.is_empty() && !pending => PatchOutcome::Unasked,
            (None, _) if pending => PatchOutcome::DryRun,
            (Some(_), Some(_)) => PatchOutcome::Finished,
            (Some(_), None) if pending => PatchOutcome::Written,
            _ => PatchOutcome::Unchanged,
        };
        let mut report = Report { servers, ..Report::of(&plan, outcome) };
        report.notes.extend(unasked.iter().map(|s| format!("could not be asked: {s}")));
        if let Some(proof) = proof {
            if self.output.is_none() {
                // Told already.
                report.notes.clear();
            }
            report.notes.extend(advice::texts(&proof.notes));
            (report.servers, report.kept) = (proof.servers, proof.kept);
        }
        self.finish(context, &report)?;
        Ok(if unasked.is_empty() { exit::OK } else { exit::FAILURE })
    }

    fn finish(&self, context: &mut Context, report: &Report) -> Result<(), CliError> {
        match self.output.and_then(Output::format) {
            Some(format) => context.results().value(format, report),
            None => context.results().styled(&text(report)),
        }
    }
}
