mod by_source;
mod filter;
mod folder;
mod format;
mod saved;
mod span;

use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{ArgAction, Args, ValueEnum};
use clearwater::component::{Component, Release, catalogue};
use clearwater::manifest::SERVICE_LABEL;
use clearwater_kube::Cluster;
use clearwater_kube::logs::{Candidate, Choice, Entry, Logs as Stream, Options, Said, Select, Source, read};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use regex::Regex;

use crate::cli::PlaceArgs;
use crate::connection::duration;
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::runtime::block_on_two;
use crate::signal::code;

use by_source::BySource;
use folder::Folder;
use span::Span;

pub(super) use filter::Filter;
pub(super) use format::{Form, Printer};
pub(super) use saved::Saved;

/// Which pods and containers are read, and how far back. Shared by logs and trace.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
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
    /// Only pods whose name matches
    #[arg(long, value_name = "REGEX")]
    pod: Option<Regex>,
    /// The pods of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only containers whose name matches
    #[arg(short = 'c', long, value_name = "REGEX")]
    container: Option<Regex>,
    /// No containers whose name matches. May be given more than once
    #[arg(short = 'E', long, value_name = "REGEX")]
    exclude_container: Vec<Regex>,
    /// No pods whose name matches. May be given more than once
    #[arg(long, value_name = "REGEX")]
    exclude_pod: Vec<Regex>,
    /// Only containers in this state: running, waiting, terminated or all
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_enum, default_value = "all")]
    container_state: Vec<State>,
    /// Only pods with this condition, as ready or ready=false
    #[arg(long, value_name = "NAME[=VALUE]")]
    condition: Option<String>,
    /// Whether init containers are read
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set, hide_short_help = true)]
    init_containers: bool,
    /// Whether ephemeral containers are read
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set, hide_short_help = true)]
    ephemeral_containers: bool,
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

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    Running,
    Waiting,
    Terminated,
    All,
}

impl State {
    fn is_of(self, status: &ContainerStatus) -> bool {
        let state = status.state.as_ref();
        match self {
            Self::Running => state.is_some_and(|s| s.running.is_some()),
            Self::Waiting => state.is_some_and(|s| s.waiting.is_some()),
            Self::Terminated => state.is_some_and(|s| s.terminated.is_some()),
            Self::All => true,
        }
    }
}

/// Whether a pod has a condition, given as `name` or `name=value`; both are compared without case.
fn meets(pod: &Pod, condition: &str) -> bool {
    let (name, value) = condition.split_once('=').unwrap_or((condition, "true"));
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|c| c.type_.eq_ignore_ascii_case(name) && c.status.eq_ignore_ascii_case(value))
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
        let (container, node, pod) = (self.container.clone(), self.node.clone(), self.pod.clone());
        let (without, without_pods) = (self.exclude_container.clone(), self.exclude_pod.clone());
        let (states, condition) = (self.container_state.clone(), self.condition.clone());
        let (init, ephemeral) = (self.init_containers, self.ephemeral_containers);
        // Pods that other manifests made carry upstream's label as well; what carries another label was asked for.
        let any_pod = !self.selector.is_empty() || self.pod.is_some();
        Arc::new(move |c: &Candidate<'_>| {
            let service = c.pod.metadata.labels.as_ref().and_then(|l| l.get(SERVICE_LABEL)).map(String::as_str);
            let ours = service.is_some_and(|s| s.parse::<Component>().is_ok());
            let name = c.pod.metadata.name.as_deref().unwrap_or_default();
            let on = c.pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
            let is_ephemeral = || {
                let all = c.pod.status.as_ref().and_then(|s| s.ephemeral_container_statuses.as_deref());
                all.unwrap_or_default().iter().any(|s| s.name == c.container)
            };
            (if wanted.is_empty() { ours || any_pod } else { service.is_some_and(|s| wanted.contains(&s)) })
                && pod.as_ref().is_none_or(|r| r.is_match(name))
                && container.as_ref().is_none_or(|r| r.is_match(c.container))
                && !without.iter().any(|r| r.is_match(c.container))
                && !without_pods.iter().any(|r| r.is_match(name))
                && node.as_deref().is_none_or(|n| on == Some(n))
                && states.iter().any(|s| s.is_of(c.status))
                && condition.as_deref().is_none_or(|condition| meets(c.pod, condition))
                && (init || !c.init)
                && (ephemeral || !is_ephemeral())
        })
    }

    /// Whether a component was asked for: by its own name, or by a role that it plays.
    fn has(&self, components: &[Component], name: &str) -> bool {
        let mut wanted = components.iter().chain(&self.role).peekable();
        wanted.peek().is_none() || wanted.any(|c| c.name() == name)
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        self.since.and_then(|s| Timestamp::now().checked_sub(s).ok()).or(self.since_time)
    }

    /// The namespace of the pods, which is the command's first line where `says`.
    pub(super) fn namespace(&self, place: &PlaceArgs, context: &mut Context, says: bool) -> Result<String, CliError> {
        if says && self.all_namespaces {
            context.talk().line("all namespaces");
        }
        place.namespace(context, says && !self.all_namespaces)
    }

    /// Begins to read. Must be called inside the runtime.
    pub(super) async fn read(
        &self,
        context: &Context,
        namespace: String,
        components: &[Component],
        follow: bool,
        since: Option<Timestamp>,
    ) -> Result<Stream, CliError> {
        let client = context.connection().client().await?;
        Ok(read(
            Cluster::new(client, namespace),
            Options {
                all_namespaces: self.all_namespaces,
                labels: self.selector.clone(),
                fields: self.field_selector.clone(),
                select: self.select(components),
                choice: self.source,
                follow,
                since,
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
    /// The deployment file, for its namespace; - reads standard input. Default: clearwater.yaml where that exists. Without
    /// a letter, because -f is kubectl's --follow
    #[arg(long, visible_alias = "file", value_name = "FILE")]
    filename: Option<PathBuf>,
    /// End when the present is reached; the order is exact
    #[arg(long)]
    no_follow: bool,
    /// How lines are written: default (pod, container, line), raw (the line alone), json, extjson and ppextjson (stern's,
    /// byte for byte), or typed (one JSON object a record, with its level, thread, place and component)
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
    /// A form of your own, as '{time} {component} {message}'. Fields: time, component, pod, container, node, namespace,
    /// source, level, thread, place, text, message
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
    /// Give the containers of a pod colours of their own
    #[arg(short = 'd', long)]
    diff_container: bool,
    /// Only what was written around this time: RFC 3339, or a clock time of today in --timezone
    #[arg(long, value_name = "TIME", conflicts_with_all = ["since", "since_time", "tail"])]
    around: Option<String>,
    /// How far around: before it and after it
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s", requires = "around")]
    within: Duration,
    /// Write a file for each component into this directory, in the form raw unless another is given; --from reads them
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How large such a file may become before it is rotated, as 500Ki or 10Mi
    #[arg(long, value_name = "SIZE", value_parser = folder::size, default_value = "10Mi", requires = "dir")]
    dir_size: u64,
    /// How many rotated files are kept for each component
    #[arg(long, value_name = "COUNT", default_value_t = 5, requires = "dir")]
    dir_keep: u32,
    /// Write control characters to a terminal as they are, not as escapes like \u{1b}. Files and pipes always get them
    #[arg(long)]
    raw_control: bool,
    /// Say nothing on standard error: not which sources come and go, nor what was seen at the end
    #[arg(long)]
    only_log_lines: bool,
    /// Read lines from standard input instead of a cluster
    #[arg(long, conflicts_with = "from")]
    stdin: bool,
    /// Read the log files of a directory instead of a cluster
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    #[command(flatten)]
    accepted: Accepted,
}

/// Flags of kubectl and stern that ask for what is done anyway.
#[derive(Debug, Args)]
struct Accepted {
    #[arg(long, hide = true)]
    all_containers: bool,
    #[arg(long, hide = true)]
    prefix: bool,
    #[arg(long, hide = true)]
    ignore_errors: bool,
    #[arg(long, hide = true, allow_negative_numbers = true)]
    max_log_requests: Option<i64>,
    #[arg(long, hide = true, allow_negative_numbers = true)]
    qps: Option<f32>,
    #[arg(long, hide = true, allow_negative_numbers = true)]
    burst: Option<i64>,
}

/// What was seen, for the end.
#[derive(Debug, Default)]
struct Seen {
    records: u64,
    lines: u64,
    late: u64,
    gaps: u64,
    /// Those that a record came of, by name.
    sources: HashSet<String>,
    /// Those that are among them already, so that no name is put together for every record.
    known: BySource<()>,
}

impl Seen {
    fn source(&mut self, source: &Arc<Source>) {
        self.known.get(source, |source| {
            self.sources.insert(format::name(source));
        });
    }
}

/// One reading: which records are written, how, where to, and what was seen.
struct Reading {
    span: Span,
    filter: Filter,
    printer: Printer,
    out: Out,
    seen: Seen,
}

/// Where lines go.
enum Out {
    Results,
    Folder(Folder),
}

/// What is written is shown at the latest after this time.
const HELD_BACK: Duration = Duration::from_millis(8);

impl Logs {
    fn look(&self) -> format::Look {
        // A directory is read again, with --from.
        let form = if self.dir.is_some() && self.output == Form::Default { Form::Raw } else { self.output };
        format::Look {
            form,
            template: self.format.clone(),
            stamp: self.timestamps,
            zone: self.timezone.clone(),
            colour: if self.dir.is_some() { format::Colour::Never } else { self.color },
            by_container: self.diff_container,
            namespaces: self.selection.all_namespaces,
            harmless: self.dir.is_none() && !self.raw_control && std::io::stdout().is_terminal(),
        }
    }

    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let _ = &self.accepted;
        let filter = self.filter.build()?;
        let printer = Printer::new(self.look(), &filter)?;
        let around = self.around.as_deref().map(|a| Span::around(a, self.within, &self.timezone)).transpose()?;
        let span = around.unwrap_or(Span { from: self.selection.since(), to: None });
        let out = match &self.dir {
            Some(dir) => Out::Folder(Folder::new(dir, self.dir_size, self.dir_keep)?),
            None => Out::Results,
        };
        let mut reading = Reading { span, filter, printer, out, seen: Seen::default() };
        if self.stdin || self.from.is_some() {
            return self.saved(&mut reading, context);
        }
        let ends = span.to.filter(|to| *to > Timestamp::now());
        let follow = !self.no_follow && (around.is_none() || ends.is_some());
        let place = PlaceArgs::named(self.filename.clone());
        let namespace = self.selection.namespace(&place, context, !self.only_log_lines)?;
        let signals = context.signals();
        block_on_two(async {
            let mut stream = self.selection.read(context, namespace, &self.components, follow, span.from).await?;
            let deadline = ends.map(|to| {
                let wait = Duration::try_from(to.duration_since(Timestamp::now())).unwrap_or_default();
                Instant::now() + wait + self.selection.window + Duration::from_secs(1)
            });
            // When what was written and not shown has to be shown.
            let mut held: Option<Instant> = None;
            let code = loop {
                // Where lines come without a pause, nothing is waited for.
                if let Some(reason) = signals.came() {
                    break code(reason);
                }
                let said = if let Some(said) = stream.try_next() {
                    Some(said)
                } else {
                    if held.is_some_and(|h| h <= Instant::now()) {
                        reading.out.flush(context)?;
                        held = None;
                    }
                    tokio::select! {
                        said = stream.next() => said,
                        () = until(held) => continue,
                        () = until(deadline) => break exit::OK,
                        reason = signals.next() => break code(reason),
                    }
                };
                let Some(said) = said else { break exit::OK };
                if reading.take(said, !self.only_log_lines, context)? && held.is_none() {
                    held = Some(Instant::now() + HELD_BACK);
                }
            };
            reading.out.flush(context)?;
            let seen = &reading.seen;
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
            if seen.sources.is_empty() && !follow {
                context.talk().warning("no container was found to read; see kubectl clearwater status");
            }
            Ok(code)
        })
    }

    /// What was saved, or comes by standard input.
    fn saved(&self, reading: &mut Reading, context: &mut Context) -> Result<u8, CliError> {
        let mut print = |entry: &Entry, context: &mut Context| {
            if self.stdin || self.selection.has(&self.components, &entry.source.component) {
                reading.write(entry, context)?;
            }
            Ok(())
        };
        if let Some(dir) = &self.from {
            for entry in &Saved::of_directory(dir, |_| true)?.entries {
                print(entry, context)?;
            }
        } else {
            saved::each_of_stdin(|said| match said {
                Some(entry) => print(&entry, context),
                None => Ok(context.results().flush()?),
            })?;
        }
        reading.out.flush(context)?;
        Ok(exit::OK)
    }
}

impl Reading {
    /// Writes a record, if it is one of those that are wanted; tells whether it is.
    fn write(&mut self, entry: &Entry, context: &mut Context) -> Result<bool, CliError> {
        let passes = self.span.holds(entry.time) && self.filter.passes(&entry.record);
        if passes {
            self.out.write(&entry.source, self.printer.record(entry), context)?;
        }
        Ok(passes)
    }

    /// Takes what was said; tells whether something was written.
    fn take(&mut self, said: Said, talks: bool, context: &mut Context) -> Result<bool, CliError> {
        let shows = talks && std::io::stderr().is_terminal();
        match said {
            Said::Record(entry) => {
                self.seen.source(&entry.source);
                self.seen.late += u64::from(entry.late);
                if self.write(&entry, context)? {
                    self.seen.records += 1;
                    self.seen.lines += entry.record.lines().count() as u64;
                    return Ok(true);
                }
            }
            Said::Gap(source, gap) => {
                self.seen.gaps += 1;
                if let Some(line) = self.printer.gap(&source, &gap) {
                    self.out.write(&source, line, context)?;
                }
                let until = gap.before.map_or_else(|| "its end".to_owned(), |t| t.to_string());
                context.talk().warning(format!(
                    "{}: what was written between {} and {until} is no longer served",
                    format::name(&source),
                    gap.after
                ));
                return Ok(true);
            }
            Said::Trouble(source, text) => {
                let name = source.map(|s| format::name(&s) + ": ").unwrap_or_default();
                context.talk().warning(name + &text);
            }
            Said::Opened(source) if shows => tell(context, '+', &source),
            Said::Closed(source) if shows => tell(context, '-', &source),
            Said::Opened(_) | Said::Closed(_) => {}
        }
        Ok(false)
    }
}

/// Tells that a source comes or goes.
fn tell(context: &mut Context, sign: char, source: &Source) {
    let name = format::name(source);
    if !name.ends_with(' ') {
        context.talk().note(format!("{sign} {name}"));
    }
}

impl Out {
    fn write(&mut self, source: &Source, bytes: &[u8], context: &mut Context) -> Result<(), CliError> {
        match self {
            Self::Results => context.results().bytes(bytes),
            Self::Folder(folder) => folder.write(source, bytes),
        }
    }

    fn flush(&mut self, context: &mut Context) -> Result<(), CliError> {
        match self {
            Self::Results => Ok(context.results().flush()?),
            Self::Folder(folder) => folder.flush(),
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use crate::cli::Cli;

    /// What `stern --help` of version 1.34.0 lists.
    const STERN: &[&str] = &[
        "-A",
        "--all-namespaces",
        "--burst",
        "--color",
        "--completion",
        "--condition",
        "--config",
        "-c",
        "--container",
        "--container-colors",
        "--container-state",
        "--context",
        "-d",
        "--diff-container",
        "--ephemeral-containers",
        "-e",
        "--exclude",
        "-E",
        "--exclude-container",
        "--exclude-pod",
        "--field-selector",
        "-H",
        "--highlight",
        "-i",
        "--include",
        "--init-containers",
        "--kubeconfig",
        "--max-log-requests",
        "-n",
        "--namespace",
        "--no-follow",
        "--node",
        "--only-log-lines",
        "-o",
        "--output",
        "--pod-colors",
        "-p",
        "--prompt",
        "--qps",
        "-l",
        "--selector",
        "--show-hidden-options",
        "-s",
        "--since",
        "--stdin",
        "--tail",
        "--template",
        "-T",
        "--template-file",
        "-t",
        "--timestamps",
        "--timezone",
        "--verbosity",
        "-v",
        "--version",
    ];
    fn flags(cell: &str) -> Vec<&str> {
        cell.split('`').filter(|w| w.starts_with('-')).collect()
    }

    #[test]
    fn the_table_of_sterns_flags_is_whole_and_true() {
        let table = include_str!("../../../docs/stern.md");
        let mut cli = Cli::command();
        cli.build();
        let logs = cli.find_subcommand("logs").unwrap();
        let arg = |flag: &str| {
            logs.get_arguments().find(|a| {
                a.get_long().is_some_and(|l| flag == format!("--{l}"))
                    || a.get_short().is_some_and(|s| flag == format!("-{s}"))
            })
        };
        let mut named = BTreeSet::new();
        for row in table.lines().filter(|l| l.starts_with("| `")) {
            let cells: Vec<&str> = row.trim().trim_matches('|').split('|').map(str::trim).collect();
            let [theirs, ours, remark] = cells[..] else { panic!("{row}") };
            let (theirs, ours) = (flags(theirs), flags(ours));
            if remark.starts_with("same") || remark.starts_with("accepted") {
                assert_eq!(theirs, ours, "{row}");
            }
            // A letter and a name in one row are one flag.
            let ids: BTreeSet<_> = ours
                .iter()
                .filter(|f| **f != "--help")
                .map(|f| arg(f).unwrap_or_else(|| panic!("no flag {f}: {row}")).get_id())
                .collect();
            assert!(ids.len() <= 1, "{row}");
            named.extend(theirs);
        }
        let all: BTreeSet<&str> = STERN.iter().copied().collect();
        assert_eq!(named, all);
    }
}
