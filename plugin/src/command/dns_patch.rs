use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use clearwater::config::{Deployment, DnsBackend};
use clearwater::event::{Change, Event, What};
use clearwater::remedy::Advice;
use clearwater_kube::Cluster;
use clearwater_kube::dns::{
    Action, DnsError, DnsOptions, EtcdAccess, Explained, Form, Patched, Plan, Seen, ServerProof, check, explain, patch,
    plan, print, zone,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::advice;
use crate::cli::{FileArgs, one_of};
use crate::connection::duration;
use crate::context::Context;
use crate::drive::{Question, drive};
use crate::error::CliError;
use crate::exit;
use crate::output::Format;
use crate::reporter::{BAD, DIM, GOOD, Reporter, WARN, plain, text as line};
use crate::runtime::{block_on, unless_ended};
use crate::signal::{Signals, code};

/// The version of what `-o json` and `-o yaml` write.
const VERSION: u32 = 1;

/// Put the DNS names in that Clearwater needs and Kubernetes cannot give, and prove them
///
/// The change is shown first, written only if nobody else wrote in between, and proved by asking every DNS server
/// itself. Where one of them does not answer as it must, the change is taken back. Exit code 7 says that --check found
/// something missing or stale.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
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
    #[arg(long, value_name = "DURATION", value_parser = duration)]
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

/// How etcd is reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "For --backend etcd")]
#[expect(clippy::struct_field_names, reason = "the fields are the flags")]
struct EtcdArgs {
    /// The URL of etcd. Default: the one that CoreDNS' file names
    #[arg(long, value_name = "URL")]
    etcd_endpoint: Option<String>,
    /// The certificate of etcd's authority, as PEM
    #[arg(long, value_name = "FILE")]
    etcd_cacert: Option<PathBuf>,
    /// A client certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "etcd_key")]
    etcd_cert: Option<PathBuf>,
    /// The client certificate's key, as PEM
    #[arg(long, value_name = "FILE", requires = "etcd_cert")]
    etcd_key: Option<PathBuf>,
    /// The user
    #[arg(long, value_name = "NAME", requires = "etcd_password_file")]
    etcd_user: Option<String>,
    /// The file that holds the user's password
    #[arg(long, value_name = "FILE", requires = "etcd_user")]
    etcd_password_file: Option<PathBuf>,
}

impl EtcdArgs {
    fn access(&self) -> Result<EtcdAccess, CliError> {
        let read = |path: &PathBuf| std::fs::read(path).map_err(|source| CliError::Read { path: path.clone(), source });
        let certificate = match (&self.etcd_cert, &self.etcd_key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        let user = match (&self.etcd_user, &self.etcd_password_file) {
            (Some(user), Some(file)) => {
                let password = String::from_utf8_lossy(&read(file)?).trim_end_matches(['\n', '\r']).to_owned();
                Some((user.clone(), password))
            }
            _ => None,
        };
        let ca = self.etcd_cacert.as_ref().map(read).transpose()?;
        Ok(EtcdAccess { endpoint: self.etcd_endpoint.clone(), ca, certificate, user })
    }
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Json,
    Yaml,
    Zone,
    Corefile,
    EtcdV3,
    EtcdV2,
}

impl Output {
    fn format(self) -> Option<Format> {
        match self {
            Self::Json => Some(Format::Json),
            Self::Yaml => Some(Format::Yaml),
            _ => None,
        }
    }
}

/// What `-o json` and `-o yaml` write.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// The version of this format.
    v: u32,
    /// The deployment's namespace.
    namespace: String,
    /// Put in, or taken out.
    action: Action,
    /// The backend; `auto` where none is needed.
    backend: String,
    /// Why this one.
    because: String,
    /// How it ended.
    outcome: Outcome,
    /// What is written to, as kubectl names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    /// Who keeps CoreDNS' file, and by what that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    keeper: Option<String>,
    /// The difference as a unified diff.
    #[serde(skip_serializing_if = "String::is_empty")]
    diff: String,
    /// Where what was there before is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<String>,
    /// What each server answered.
    servers: Vec<ServerProof>,
    /// What is missing or stale.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    /// What is worth knowing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// Nothing had to be written.
    Unchanged,
    /// It was written and proved.
    Written,
    /// Nothing had to be written, and what an earlier run had left was taken away once all was proved.
    Finished,
    /// It would be written.
    DryRun,
    /// Looked, and all is as it must be.
    Right,
    /// Looked, and something is missing or stale.
    Stale,
}

/// What `--explain -o json` writes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExplainReport {
    /// The version of this format.
    v: u32,
    /// The deployment's namespace.
    namespace: String,
    /// The names.
    #[serde(flatten)]
    explained: Explained,
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
        let options = DnsOptions {
            backend: Some(self.backend),
            action: if self.remove { Action::Remove } else { Action::Put },
            clients: self.clients,
            restart: self.restart_dns,
            timeout: self.timeout,
            etcd: self.etcd.access()?,
            dry_run: self.dry_run,
            ask: !self.yes && !self.dry_run,
            ..DnsOptions::new(deployment.clone())
        };
        let signals = context.signals();
        block_on(async {
            let client = context.connection().client().await?;
            let cluster = Cluster::new(client, deployment.namespace());
            if self.explain {
                return unless_ended(&signals, self.explain(context, &cluster, &deployment)).await;
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
        let bad = explained.names.iter().any(|n| !n.optional && (!n.found || !n.symptoms.is_empty()));
        let code = if bad { exit::UNHEALTHY } else { exit::OK };
        match self.output.and_then(Output::format) {
            Some(format) => {
                let namespace = deployment.namespace().to_owned();
                context.results().value(format, &ExplainReport { v: VERSION, namespace, explained })?;
            }
            None => context.results().styled(&explanation(&explained))?,
        }
        Ok(code)
    }

    async fn print(&self, context: &mut Context, cluster: &Cluster, options: &DnsOptions) -> Result<u8, CliError> {
        let form = match self.output.unwrap_or(Output::Zone) {
            Output::Zone => Form::Zone,
            Output::Corefile => Form::Corefile,
            Output::EtcdV3 => Form::EtcdV3,
            Output::EtcdV2 => Form::EtcdV2,
            Output::Json => {
                let zone = zone(cluster, options).await?;
                context.results().value(Format::Json, &zone)?;
                return Ok(exit::OK);
            }
            Output::Yaml => {
                let zone = zone(cluster, options).await?;
                context.results().value(Format::Yaml, &zone)?;
                return Ok(exit::OK);
            }
        };
        let text = print(cluster, options, form).await?;
        context.results().text(&text)?;
        Ok(exit::OK)
    }

    async fn check(&self, context: &mut Context, cluster: &Cluster, options: &DnsOptions) -> Result<u8, CliError> {
        let could_not_look = |error: DnsError| match error {
            DnsError::Right { .. } => CliError::Connection(advice::said(&error)),
            error => error.into(),
        };
        let plan = plan(cluster, &DnsOptions { restart: true, ..options.clone() }).await.map_err(could_not_look)?;
        let findings = check(cluster, &options.deployment, &plan).await.map_err(could_not_look)?;
        let right = findings.problems.is_empty();
        let code = if right { exit::OK } else { exit::PENDING };
        let mut notes = texts(&plan.notes);
        notes.extend(findings.skipped.iter().map(|s| format!("skipped: {s}")));
        let report = Report {
            servers: findings.servers,
            problems: texts(&findings.problems),
            notes,
            ..report(&plan, if right { Outcome::Right } else { Outcome::Stale })
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
        let question = options.ask.then_some(Question { ask: &ask, yes: "y" });
        let mut steps = Steps { quiet: options.dry_run };
        let ended = drive(patch(cluster, options), &mut steps, question, signals).await?;
        let Patched { plan, proof } = match ended.value {
            Ok(patched) => patched,
            Err(error @ DnsError::Interrupted { .. }) => {
                context.talk().error(advice::said(&error));
                return Ok(ended.reason.map_or(exit::INTERRUPTED, code));
            }
            Err(error) => return Err(error.into()),
        };
        let pending = plan.is_change() || plan.finishing().is_some();
        let outcome = match (&proof, plan.finishing()) {
            (None, _) if pending => Outcome::DryRun,
            (Some(_), Some(_)) => Outcome::Finished,
            (Some(_), None) if pending => Outcome::Written,
            _ => Outcome::Unchanged,
        };
        let mut report = report(&plan, outcome);
        if let Some(proof) = proof {
            if self.output.is_none() {
                // Told already.
                report.notes.clear();
            }
            report.notes.extend(texts(&proof.notes));
            (report.servers, report.kept) = (proof.servers, proof.kept);
        }
        self.finish(context, &report)?;
        Ok(exit::OK)
    }

    fn finish(&self, context: &mut Context, report: &Report) -> Result<(), CliError> {
        match self.output.and_then(Output::format) {
            Some(format) => context.results().value(format, report),
            None => context.results().styled(&text(report)),
        }
    }
}

fn texts(all: &[Advice]) -> Vec<String> {
    all.iter().map(advice::text).collect()
}

fn report(plan: &Plan, outcome: Outcome) -> Report {
    Report {
        v: VERSION,
        namespace: plan.namespace.clone(),
        action: plan.action,
        backend: plan.backend_name().to_owned(),
        because: plan.because.clone(),
        outcome,
        object: plan.object.clone(),
        keeper: plan.kept.as_ref().map(|k| format!("{} ({})", k.by, k.shown_by)),
        diff: plan.diff.clone(),
        kept: None,
        servers: Vec::new(),
        problems: Vec::new(),
        notes: texts(&plan.notes),
    }
}

/// Tells the steps on standard error.
struct Steps {
    quiet: bool,
}

impl Reporter for Steps {
    fn event(&mut self, event: &Event) -> Result<(), CliError> {
        let said = match &event.what {
            _ if self.quiet => None,
            What::RunStarted { .. } | What::RunFinished { .. } => None,
            What::Planned { changes, .. } => {
                let diffs: String = changes.iter().map(|c| coloured(&c.diff)).collect();
                Some(diffs).filter(|d| !d.is_empty())
            }
            What::Notice { text } => Some(format!("{text}\n")),
            What::CancelRequested { .. } => {
                Some("stopping; what is not proved is taken back (once more to leave at once)\n".to_owned())
            }
            other => line(other).map(|text| format!("{text}\n")),
        };
        if let Some(said) = said {
            // Nobody has to read it.
            let _ = write!(anstream::stderr(), "{said}");
        }
        Ok(())
    }

    fn rest(&mut self) {}
}

fn coloured(diff: &str) -> String {
    let mut text = String::new();
    for line in diff.lines() {
        let style = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] | [b'@', ..] => DIM,
            [b'+', ..] => GOOD,
            [b'-', ..] => BAD,
            _ => {
                let _ = writeln!(text, "{}", plain(line));
                continue;
            }
        };
        let _ = writeln!(text, "{style}{}{style:#}", plain(line));
    }
    text
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    match report.outcome {
        Outcome::DryRun => {
            let _ = writeln!(text, "backend {}: {}", report.backend, plain(&report.because));
            if let Some(keeper) = &report.keeper {
                let _ = writeln!(text, "the file is kept by {}", plain(keeper));
            }
            text.push_str(&coloured(&report.diff));
        }
        Outcome::Unchanged | Outcome::Written | Outcome::Finished | Outcome::Right | Outcome::Stale => {}
    }
    for (i, server) in report.servers.iter().enumerate() {
        let same = |other: &ServerProof| other.by == server.by && other.answers == server.answers;
        if server.answers.is_empty() || report.servers[..i].iter().any(same) {
            continue;
        }
        // Servers that say the same are told once.
        let names: Vec<String> = report.servers[i..].iter().filter(|s| same(s)).map(|s| plain(&s.server)).collect();
        let _ = writeln!(text, "{} ({})", names.join(", "), plain(&server.by));
        for answer in &server.answers {
            let _ = writeln!(text, "  {:<52} {:<6} {}", answer.name, answer.r#type, plain(&answer.answer));
        }
    }
    for problem in &report.problems {
        let _ = writeln!(text, "{BAD}{}{BAD:#}", plain(problem));
    }
    for note in &report.notes {
        let _ = writeln!(text, "{DIM}{}{DIM:#}", plain(note));
    }
    let dangling = report.servers.iter().flat_map(|s| &s.answers).any(|a| a.answer.starts_with("NXDOMAIN"));
    if dangling && report.action == Action::Put && report.outcome != Outcome::Stale {
        let _ = writeln!(
            text,
            "{WARN}no pod of sprout stands behind the names yet: they lead to it as soon as one is ready{WARN:#}"
        );
    }
    if let Some(kept) = report.kept.as_ref().filter(|_| report.action == Action::Put) {
        let _ = writeln!(
            text,
            "what was there before: {kept}; to take the names out again: kubectl clearwater dns-patch --remove"
        );
    }
    let (style, word) = match (report.outcome, report.action) {
        (Outcome::Written, Action::Put) => (GOOD, "the names are in DNS, and every server gives them"),
        (Outcome::Written, Action::Remove) => (GOOD, "the names are out of DNS again"),
        (Outcome::Finished, _) => (GOOD, "the names are out of DNS, and what an earlier run had left is gone"),
        (Outcome::Unchanged, Action::Remove) => (GOOD, "nothing to take out"),
        (Outcome::Unchanged, Action::Put) => (GOOD, "nothing to change"),
        (Outcome::DryRun, _) => (WARN, "nothing was written (--dry-run)"),
        (Outcome::Right, _) => (GOOD, "everything is as it must be"),
        (Outcome::Stale, _) => (BAD, "something is missing or stale: kubectl clearwater dns-patch puts it right"),
    };
    let _ = writeln!(text, "{style}{word}{style:#}");
    text
}

fn explanation(explained: &Explained) -> String {
    let mut text = String::new();
    for name in &explained.names {
        let (style, word) = match (name.found, name.optional, name.symptoms.is_empty()) {
            (true, _, true) => (GOOD, "found"),
            (true, _, false) => (BAD, "wrong"),
            (false, true, _) => (WARN, "missing, optional"),
            (false, false, _) => (BAD, "missing"),
        };
        let _ = writeln!(text, "{} {}  {style}{word}{style:#}", name.name, name.types.join("/"));
        let _ = writeln!(text, "  for        {}", plain(&name.why));
        let _ = writeln!(text, "  asked by   {}", name.askers.join(", "));
        for (i, seen) in name.seen.iter().enumerate() {
            let same = |other: &&Seen| {
                (&other.asked, &other.r#type, &other.answer) == (&seen.asked, &seen.r#type, &seen.answer)
            };
            if name.seen[..i].iter().any(|other| same(&other)) {
                continue;
            }
            let servers: Vec<&str> = name.seen[i..].iter().filter(same).map(|s| s.server.as_str()).collect();
            let _ = writeln!(text, "  {} {} -> {}", seen.asked, seen.r#type, plain(&seen.answer));
            let _ = writeln!(text, "    {DIM}{}{DIM:#}", plain(&servers.join("; ")));
        }
        for symptom in &name.symptoms {
            let _ = writeln!(text, "  {style}symptom    {}{style:#}", plain(symptom));
        }
    }
    if !explained.resolvers.is_empty() {
        text.push_str("\nName servers\n");
    }
    for line in &explained.resolvers {
        let _ = writeln!(text, "  {}", plain(line));
    }
    for note in &explained.notes {
        let _ = writeln!(text, "{DIM}{}{DIM:#}", plain(&advice::text(note)));
    }
    text
}
