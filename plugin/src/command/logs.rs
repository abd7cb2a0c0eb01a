mod filter;
mod format;
mod saved;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args};
use clearwater::component::{Component, Release, catalogue};
use clearwater::config::DeploymentFile;
use clearwater::event::CancelReason;
use clearwater::manifest::SERVICE_LABEL;
use clearwater_kube::Cluster;
use clearwater_kube::logs::{Candidate, Choice, Entry, Logs as Stream, Options, Said, Select, read};
use jiff::Timestamp;
use regex::Regex;

use crate::connection::duration;
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::runtime::block_on;
use crate::signal::Signals;

pub(super) use filter::Filter;
pub(super) use format::{Form, Printer};
pub(super) use saved::Saved;

/// Which pods and containers are read, and how far back. Shared by logs and trace.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Only components that play this role, as s-cscf or hss-gateway
    #[arg(long, value_name = "ROLE", value_delimiter = ',', value_parser = role)]
    role: Vec<Component>,
    /// Only pods with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    selector: String,
    /// Only pods with these fields
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    field_selector: String,
    /// Only pods on this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only containers whose name matches
    #[arg(short = 'c', long, value_name = "REGEX")]
    container: Option<Regex>,
    /// No containers whose name matches. May be given more than once
    #[arg(short = 'E', long, value_name = "REGEX")]
    exclude_container: Vec<Regex>,
    /// No pods whose name matches. May be given more than once
    #[arg(long, value_name = "REGEX")]
    exclude_pod: Vec<Regex>,
    /// What of each container is read: auto (its files where it is known to write files, else its output), stdout,
    /// files, supervisor or all
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_parser = choice)]
    source: Choice,
    /// Nothing older than this, as 5m or 2h
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "since_time")]
    since: Option<Duration>,
    /// Nothing older than this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since_time: Option<Timestamp>,
    /// At most so many lines of the past of each source; -1 for all of them
    #[arg(long, value_name = "LINES", default_value_t = -1, allow_negative_numbers = true)]
    tail: i64,
    /// The containers before the present ones as well
    #[arg(short = 'p', long)]
    previous: bool,
    /// How long lines are held so that older lines of other sources can go before them
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "300ms")]
    window: Duration,
    /// How long a source whose stream broke may hold back all others while it resumes
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s")]
    max_hold: Duration,
}

fn choice(text: &str) -> Result<Choice, String> {
    match text {
        "auto" => Ok(Choice::Auto),
        "stdout" => Ok(Choice::Output),
        "files" => Ok(Choice::Files),
        "supervisor" => Ok(Choice::Supervisor),
        "all" => Ok(Choice::All),
        _ => Err("known: auto, stdout, files, supervisor, all".to_owned()),
    }
}

fn role(text: &str) -> Result<Component, String> {
    let entries = || Release::ALL.into_iter().flat_map(catalogue);
    let playing = entries().find(|e| e.roles.iter().any(|r| r.name() == text));
    playing.map(|e| e.component).ok_or_else(|| {
        let mut known: Vec<_> = entries().flat_map(|e| e.roles).map(|r| r.name()).collect();
        known.sort_unstable();
        known.dedup();
        format!("known: {}", known.join(", "))
    })
}

impl Selection {
    fn select(&self, components: &[Component]) -> Select {
        let wanted: Vec<&'static str> = components.iter().chain(&self.role).map(|c| c.name()).collect();
        let (container, node) = (self.container.clone(), self.node.clone());
        let (without, without_pods) = (self.exclude_container.clone(), self.exclude_pod.clone());
        // Pods that other manifests made carry upstream's label as well; what carries another label was asked for.
        let any_pod = !self.selector.is_empty();
        Arc::new(move |c: &Candidate<'_>| {
            let service = c.pod.metadata.labels.as_ref().and_then(|l| l.get(SERVICE_LABEL)).map(String::as_str);
            let ours = service.is_some_and(|s| s.parse::<Component>().is_ok());
            let name = c.pod.metadata.name.as_deref().unwrap_or_default();
            let on = c.pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
            (if wanted.is_empty() { ours || any_pod } else { service.is_some_and(|s| wanted.contains(&s)) })
                && container.as_ref().is_none_or(|r| r.is_match(c.container))
                && !without.iter().any(|r| r.is_match(c.container))
                && !without_pods.iter().any(|r| r.is_match(name))
                && node.as_deref().is_none_or(|n| on == Some(n))
        })
    }

    fn since(&self) -> Option<Timestamp> {
        self.since.and_then(|s| Timestamp::now().checked_sub(s).ok()).or(self.since_time)
    }

    /// Begins to read. Must be called inside the runtime.
    pub(super) async fn read(
        &self,
        context: &Context,
        components: &[Component],
        follow: bool,
    ) -> Result<Stream, CliError> {
        let namespace = context.connection().namespace_for(&DeploymentFile::default())?;
        let client = context.connection().client().await?;
        Ok(read(
            Cluster::new(client, namespace),
            Options {
                labels: self.selector.clone(),
                fields: self.field_selector.clone(),
                select: self.select(components),
                choice: self.source,
                follow,
                since: self.since(),
                tail: (self.tail >= 0).then_some(self.tail),
                previous: self.previous,
                window: self.window,
                max_hold: self.max_hold,
            },
        ))
    }
}

/// Follow what components say: container output and the files inside containers, as one stream in time order
///
/// Streams that break are resumed: what the cluster still serves is printed once, what it no longer serves is marked
/// with its bounds. Letters are stern's where they mean the same; -s stays kubectl's --server.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Logs {
    /// Only these components; every component when none is named
    #[arg(value_name = "COMPONENT")]
    components: Vec<Component>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    filter: filter::FilterArgs,
    /// Go on when the present is reached: the default, accepted as kubectl's
    #[arg(short = 'f', long, conflicts_with = "no_follow")]
    follow: bool,
    /// End when the present is reached; the order is exact
    #[arg(long)]
    no_follow: bool,
    /// How lines are written: default (pod, container, line), raw (the line alone), json (stern's fields) or typed (one
    /// JSON object a record, with its level, place and component)
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
    /// A form of your own, as '{time} {component} {message}'. Fields: time, component, pod, container, node, namespace,
    /// source, level, place, text, message
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "output", value_parser = format::template)]
    format: Option<format::Template>,
    /// Begin each line with the time: default or short
    #[arg(short = 't', long, value_name = "FORM", value_enum, num_args = 0..=1, require_equals = true,
          default_missing_value = "default")]
    timestamps: Option<format::Stamp>,
    /// The time zone of times that are printed
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    timezone: String,
    /// Colour: auto, always or never
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: format::Colour,
    /// Say nothing on standard error: not which sources come and go, nor what was seen at the end
    #[arg(long)]
    only_log_lines: bool,
    /// Read lines from standard input instead of a cluster
    #[arg(long, conflicts_with = "from")]
    stdin: bool,
    /// Read the log files of a directory instead of a cluster
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    #[arg(long, hide = true, action = ArgAction::SetTrue)]
    all_containers: bool,
}

/// What was seen, for the end.
#[derive(Debug, Default)]
struct Seen {
    records: u64,
    lines: u64,
    late: u64,
    gaps: u64,
    sources: BTreeMap<String, u64>,
}

impl Logs {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let filter = self.filter.build()?;
        let mut printer =
            Printer::new(self.output, self.format.clone(), self.timestamps, &self.timezone, self.color, &filter)?;
        if self.stdin || self.from.is_some() {
            let saved = match &self.from {
                Some(dir) => Saved::of_directory(dir)?,
                None => Saved::of_stdin()?,
            };
            for entry in saved.entries.iter().filter(|e| filter.passes(&e.record)) {
                context.results().bytes(printer.record(entry))?;
            }
            return Ok(exit::OK);
        }
        block_on(async {
            let mut stream = self.selection.read(context, &self.components, !self.no_follow).await?;
            let mut signals = Signals::new();
            let mut seen = Seen::default();
            let code = loop {
                let said = if let Some(said) = stream.try_next() {
                    Some(said)
                } else {
                    // Nothing waits: what was written so far is shown.
                    context.results().flush()?;
                    tokio::select! {
                        said = stream.next() => said,
                        reason = signals.next() => break match reason {
                            CancelReason::Interrupted => exit::INTERRUPTED,
                            _ => exit::TERMINATED,
                        },
                    }
                };
                let Some(said) = said else { break exit::OK };
                self.take(said, &filter, &mut printer, &mut seen, context)?;
            };
            context.results().flush()?;
            if !self.only_log_lines {
                context.talk().note(format!(
                    "{} lines in {} records of {} sources; {} late; {} gaps",
                    seen.lines,
                    seen.records,
                    seen.sources.len(),
                    seen.late,
                    seen.gaps
                ));
            }
            let nothing = seen.sources.is_empty() && self.no_follow;
            if nothing {
                context.talk().warning("no container was found to read; see kubectl clearwater status");
            }
            Ok(code)
        })?
    }

    fn take(
        &self,
        said: Said,
        filter: &Filter,
        printer: &mut Printer,
        seen: &mut Seen,
        context: &mut Context,
    ) -> Result<(), CliError> {
        match said {
            Said::Record(entry) => {
                *seen.sources.entry(format::name(&entry.source)).or_default() += 1;
                seen.late += u64::from(entry.late);
                if filter.passes(&entry.record) {
                    seen.records += 1;
                    seen.lines += count_lines(&entry);
                    context.results().bytes(printer.record(&entry))?;
                }
            }
            Said::Gap(source, gap) => {
                seen.gaps += 1;
                if let Some(line) = printer.gap(&source, &gap) {
                    context.results().bytes(line)?;
                }
                let until = gap.before.map_or_else(|| "its end".to_owned(), |t| t.to_string());
                context.talk().warning(format!(
                    "{}: what was written between {} and {until} is no longer served",
                    format::name(&source),
                    gap.after
                ));
            }
            Said::Trouble(source, text) => {
                let name = source.map(|s| format::name(&s) + ": ").unwrap_or_default();
                context.talk().warning(name + &text);
            }
            Said::Opened(source) if !self.only_log_lines && std::io::stderr().is_terminal() => {
                let name = format::name(&source);
                if !name.ends_with(' ') {
                    context.talk().note(format!("+ {name}"));
                }
            }
            Said::Closed(source) if !self.only_log_lines && std::io::stderr().is_terminal() => {
                let name = format::name(&source);
                if !name.ends_with(' ') {
                    context.talk().note(format!("- {name}"));
                }
            }
            Said::Opened(_) | Said::Closed(_) => {}
        }
        Ok(())
    }
}

fn count_lines(entry: &Entry) -> u64 {
    entry.record.bytes().split_inclusive(|b| *b == b'\n').count() as u64
}
