mod by_source;
mod filter;
mod folder;
mod format;
mod pace;
mod reading;
mod saved;
mod selection;
mod span;
mod unread;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use clearwater::component::Component;
use clearwater::text::counted;
use clearwater_kube::logs::LogEntry;
use jiff::Timestamp;

use crate::arguments::PlaceArgs;
use crate::context::Context;
use crate::duration::duration;
use crate::error::CliError;
use crate::exit;
use crate::runtime::{block_on_two, unless_ended};
use crate::signal::code;

use folder::Folder;
use pace::Pace;
use reading::{Out, Reading, ReadingSummary};
use span::Span;

pub(super) use filter::Filter;
pub(super) use format::{Form, Printer};
pub(super) use reading::no_container;
pub(crate) use saved::each_of_path;
pub(super) use saved::{each_of_stdin, each_of_texts, stopped};
pub(super) use selection::Selection;
pub(crate) use unread::Unread;

/// Follow what components say: container output and the files inside containers, as one stream in time order
///
/// Streams that break are resumed: what the cluster still serves is printed once, what it no longer serves is marked
/// with its bounds. Letters are stern's where they mean the same; -s stays kubectl's --server.
#[derive(Debug, Args)]
#[command(
    alias = "tail",
    after_help = "Examples:
  kubectl clearwater logs -n ims
  kubectl clearwater logs -n ims sprout homestead --level warning --since 10m
  kubectl clearwater logs --from night --around 03:12:45"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Logs {
    /// Only these components; every component when none is named
    #[arg(value_name = "COMPONENT")]
    components: Vec<Component>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    filter: filter::FilterArgs,
    /// Also what looking alone causes: probes that were answered with 200 in access logs, and supervisord's "reaped unknown
    /// pid". Left out otherwise in the form default, and counted; never where --source is given, with --dir, or when
    /// a pattern is to be included
    #[arg(long)]
    all: bool,
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
    /// byte for byte), or typed (one JSON object a record, with its level, thread, place and component); default unless --dir
    /// is given, raw then
    #[arg(short, long, value_name = "FORM", value_enum)]
    output: Option<Form>,
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
    /// Only what was written around this time: RFC 3339, or a clock time in --timezone: of today, or with --from and
    /// --stdin the first one after the logs begin
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
    /// Read what was saved in a file, an archive or a directory instead of a cluster: as kubectl, stern, docker, a node or
    /// this command writes logs, packed with gzip, zstd or tar or not
    #[arg(long, value_name = "PATH")]
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

/// How long nothing is said of that there is nothing to read.
const WAITS: Duration = Duration::from_secs(3);

impl Logs {
    fn form(&self) -> Form {
        // A directory is read by programs, mostly.
        self.output.unwrap_or(if self.dir.is_some() { Form::Raw } else { Form::Default })
    }

    fn look(&self) -> format::Look {
        format::Look {
            form: self.form(),
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
        let mut filter = self.filter.build()?;
        filter.quiet = self.is_quiet();
        let printer = Printer::new(self.look(), &filter)?;
        let around = self.around.as_deref().map(|a| Span::around(a, self.within, &self.timezone, None)).transpose()?;
        let span = around.unwrap_or(Span { from: self.selection.since(), to: None });
        let out = match &self.dir {
            Some(dir) => Out::Folder(Folder::new(dir, self.dir_size, self.dir_keep)?),
            None => Out::Results,
        };
        let mut reading = Reading { span, filter, printer, out, seen: ReadingSummary::default() };
        if self.stdin || self.from.is_some() {
            return self.saved(&mut reading, context);
        }
        let ends = span.to.filter(|to| *to > Timestamp::now());
        let follow = !self.no_follow && (around.is_none() || ends.is_some());
        let place = PlaceArgs::named(self.filename.clone());
        let namespace = self.selection.namespace(&place, context, !self.only_log_lines)?;
        let signals = context.signals();
        block_on_two(async {
            let cluster = context.connection().cluster(namespace).await?;
            let mut stream = self.selection.read(&cluster, &self.components, follow, span.from);
            let no_place = || unless_ended(&signals, async { Ok(self.selection.no_place(&cluster).await) });
            let deadline = ends.map(|to| {
                let wait = Duration::try_from(to.duration_since(Timestamp::now())).unwrap_or_default();
                Instant::now() + wait + self.selection.window + Duration::from_secs(1)
            });
            // When it is said that nothing is there to read.
            let mut waiting = (follow && !self.only_log_lines).then(|| Instant::now() + WAITS);
            let mut rhythm = Pace::new(Instant::now());
            let code = loop {
                // Where lines come without a pause, nothing is waited for.
                if let Some(reason) = signals.came() {
                    break code(reason);
                }
                let said = if let Some(said) = stream.try_next() {
                    Some(said)
                } else {
                    let due = rhythm.due();
                    if due.is_some_and(|due| due <= Instant::now()) {
                        reading.out.flush(context)?;
                        rhythm.wrote(Instant::now());
                        continue;
                    }
                    tokio::select! {
                        said = stream.next() => said,
                        () = until(due) => continue,
                        () = until(waiting) => {
                            // Before it is known which pods there are, the list is what is waited for.
                            waiting = (!reading.seen.is_listed).then(|| Instant::now() + WAITS);
                            if reading.seen.is_listed && reading.seen.opened == 0 {
                                let why = no_place().await?.unwrap_or_else(|| "no container is there to read".to_owned());
                                context.talk().note(format!("{why}; waiting for one"));
                            }
                            continue;
                        }
                        () = until(deadline) => break exit::OK,
                        reason = signals.next() => break code(reason),
                    }
                };
                let Some(said) = said else { break exit::OK };
                if reading.take(said, !self.only_log_lines, context)? {
                    rhythm.wants();
                }
            };
            reading.out.flush(context)?;
            self.summary(&reading.seen, context);
            let is_told = follow || reading.seen.opened > 0 || reading.seen.unread.nothing().is_some();
            if code == exit::OK && !is_told {
                return Err(CliError::Connection(no_place().await?.unwrap_or_else(no_container)));
            }
            if code == exit::OK {
                self.judge(&reading.seen, follow, context)?;
            }
            Ok(code)
        })
    }

    /// Whether what looking alone causes is left out: what is for eyes, where nobody asked for it.
    fn is_quiet(&self) -> bool {
        let is_for_eyes = self.form() == Form::Default && self.format.is_none() && self.dir.is_none();
        is_for_eyes && !self.all && self.selection.is_source_chosen_here() && !self.filter.includes()
    }

    /// Says what was seen.
    fn summary(&self, seen: &ReadingSummary, context: &mut Context) {
        if self.only_log_lines {
            return;
        }
        context.talk().note(format!(
            "{} in {} of {}; {} late; {}{}",
            counted(seen.lines, "line"),
            counted(seen.records, "record"),
            counted(seen.sources.len(), "source"),
            seen.late,
            counted(seen.gaps, "gap"),
            if seen.of_looking > 0 {
                format!("; {} of what looking causes left out (--all)", counted(seen.of_looking, "record"))
            } else {
                String::new()
            }
        ));
    }

    /// Says why nothing came, where that is no failure.
    fn judge(&self, seen: &ReadingSummary, follow: bool, context: &mut Context) -> Result<(), CliError> {
        if let Some(error) = seen.unread.error() {
            return Err(error);
        }
        let Some(why) = seen.emptiness().filter(|_| !follow) else { return Ok(()) };
        if seen.came == 0
            && let Some(error) = seen.unread.nothing()
        {
            return Err(error);
        }
        if !self.only_log_lines {
            context.talk().warning(why);
        }
        Ok(())
    }

    /// What was saved, or comes by standard input.
    fn saved(&self, reading: &mut Reading, context: &mut Context) -> Result<u8, CliError> {
        let mut unread = Unread::default();
        reading.seen.opened = 1;
        if !self.only_log_lines {
            self.selection.warn_of_pods_only(context);
        }
        let mut clock = self.around.as_deref().filter(|around| Span::is_clock(around));
        let mut print = |entry: &LogEntry, context: &mut Context| {
            if entry.time != Timestamp::UNIX_EPOCH
                && let Some(clock) = clock.take()
            {
                reading.span = Span::around(clock, self.within, &self.timezone, Some(entry.time))?;
            }
            let is_wanted = self.stdin || self.selection.has(&self.components, &entry.source.component);
            if is_wanted && self.selection.has_pod(&entry.source.pod) {
                reading.take_saved(entry, context)?;
            }
            Ok(())
        };
        if let Some(dir) = &self.from {
            each_of_path(dir, context, &mut unread, print)?;
        } else {
            each_of_stdin(|said| match said {
                Some(entry) => print(&entry, context),
                None => Ok(context.results().flush()?),
            })?;
        }
        reading.out.flush(context)?;
        if let Some(error) = unread.error() {
            return Err(error);
        }
        if !self.only_log_lines
            && let Some(why) = reading.seen.emptiness()
        {
            context.talk().warning(why);
        }
        Ok(exit::OK)
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
