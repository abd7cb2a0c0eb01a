//! `trace`: what calls there were, and one of them drawn.

mod capture;
mod failed;
mod level;
mod table;
mod tui;
mod writers;
pub(crate) use failed::failed_ladders;
#[cfg(test)]
pub(crate) use table::Report;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use clearwater::event::CancelReason;
use clearwater::log::{CallFailure, Identity, Ladder, LadderHop, LadderNotes, Logged, SipMessage, Sketch, Traced};
use clearwater::text::{Printable, counted};
use clearwater_kube::logs::{LogEntry, LogSource, Said, made_here};
use jiff::Timestamp;

use level::{LevelArgs, WRITERS};
use table::Output;
use writers::Writers;

use super::logs::{Selection, Unread, each_of_path, each_of_stdin, no_container, stopped};
use super::reported::ReportedLogs;
use crate::advice::command;
use crate::arguments::PlaceArgs;
use crate::context::Context;
use crate::error::{CliError, spelled};
use crate::exit;
use crate::outfile;
use crate::runtime::{block_on, unless_ended};
use crate::signal::code;

/// What is said of a call in the place of a verdict where a report's logs were cut.
const NOT_WHOLE: &str = "beginning not in the report";
/// No more verdicts are told, of what a subscriber did.
const MOST_VERDICTS: usize = 5;

/// How a ladder is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Drawing {
    #[default]
    Text,
    Mermaid,
    Svg,
}

/// List the calls that there were, or draw the SIP messages of one, or of one subscriber, over all components
///
/// Without a Call-ID, calls, registrations and messages are listed with how each ended. With one, what bono and sprout wrote
/// is drawn, with the lines between that name the call or its parties and with every warning and error, and who broke it is
/// said. Bono and sprout write SIP messages from log level 4 on. What is still in the pods is read, or logs that were saved.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater trace -n ims --enable            let messages be written
  kubectl clearwater trace -n ims --since 10m --failed
  kubectl clearwater trace -n ims --follow --subscriber 6505550000
  kubectl clearwater trace -n ims --follow --tui      to look around in
  kubectl clearwater trace -n ims 1-69@10.244.1.4     one of them, drawn
  kubectl clearwater trace -n ims 1-69@10.244.1.4 -o call.pcapng
  kubectl clearwater trace --from night 6505550000 --format svg > night.svg")]
pub(crate) struct Trace {
    /// A Call-ID, or a subscriber: a number, a sip: or a tel: URI
    #[arg(value_name = "CALL-ID|SUBSCRIBER", value_parser = NonEmptyStringValueParser::new().try_map(subject))]
    subject: Option<String>,
    #[command(flatten)]
    list: table::ListArgs,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    level: LevelArgs,
    /// How it is drawn: text, mermaid or svg
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, requires = "subject")]
    format: Drawing,
    /// How many letters a line may take. Default: the terminal's width; in a file as many as the columns ask for
    #[arg(long, value_name = "LETTERS", requires = "subject", value_parser = clap::value_parser!(u16).range(40..))]
    width: Option<u16>,
    /// Draw also what sprout's functions hand to each other inside of it
    #[arg(long, requires = "subject")]
    internal: bool,
    /// Which lines are drawn between messages: off, errors (and warnings) or all of this call
    #[arg(long, value_name = "WHICH", default_value_t, requires = "subject",
          value_parser = PossibleValuesParser::new(LadderNotes::ALL.map(LadderNotes::name)).try_map(|name| name.parse::<LadderNotes>()))]
    notes: LadderNotes,
    /// Write each message in full below the drawing
    #[arg(long, requires = "subject")]
    messages: bool,
    /// Of the list: table or json. Of a call: FILE.pcapng, which gets its messages as packets for Wireshark and sngrep
    #[arg(short, long, value_name = "FORMAT|FILE", value_hint = clap::ValueHint::FilePath)]
    output: Option<Output>,
    /// Read lines from standard input instead of a cluster
    #[arg(long, conflicts_with = "from")]
    stdin: bool,
    /// Read what was saved in a file, an archive or a directory instead of a cluster, in any form that `logs --from` reads
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    /// Whether the pods whose messages are looked for were made by this program, once that is known.
    #[arg(skip)]
    made_here: OnceLock<bool>,
}

impl Trace {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        if self.level.is_asked() {
            return self.level.run(&self.place, context);
        }
        match self.subject.clone() {
            Some(subject) => self.draw(&subject, context),
            None if self.list.tui => tui::run(self, context),
            None => self.tabulate(context),
        }
    }

    fn draw(self, subject: &str, context: &mut Context) -> Result<u8, CliError> {
        if matches!(self.output, Some(Output::Table | Output::Json)) {
            return Err(CliError::Usage("`-o table` and `-o json` are of the list, which has no Call-ID; of one call there is --format, and -o FILE.pcapng".to_owned()));
        }
        if let Some(Output::Capture(path)) = &self.output {
            outfile::can_be_written(path)?;
        }
        let keeps = self.messages || self.output.is_some();
        let reported = self.reported();
        let mut sieve = Sieve::new(subject, keeps, reported.cut());
        let mut unread = Unread::default();
        let stopped = self.each(context, true, &mut unread, |entry, _| {
            sieve.take(entry);
            Ok(())
        })?;
        sieve.writers.advise(self.made_here.get(), context);
        let messages = sieve.writers.messages;
        let (ladder, addresses) = sieve.finish(self.taken(&reported));
        if ladder.hops().is_empty() && ladder.notes().is_empty() {
            if let Some(reason) = stopped {
                return Ok(code(reason));
            }
            // Of nothing that was read there is nothing to say, but why.
            if let Some(error) = unread.nothing().filter(|_| messages == 0) {
                return Err(error);
            }
            context.talk().warning(format!(
                "none of {messages} SIP messages names {subject:?}, and no other line does; `{}` without it lists what there is",
                command("trace")
            ));
            return unread.nothing().map_or(Ok(exit::FAILURE), Err);
        }
        if let Some(Output::Capture(path)) = &self.output {
            write_capture(path, &ladder, &addresses, context)?;
        } else {
            self.show(&ladder.seen(self.notes, self.internal), context)?;
        }
        if let Some(reason) = stopped {
            // What has not been read may tell otherwise.
            return Ok(code(reason));
        }
        for text in verdicts(&ladder) {
            context.talk().note(text);
        }
        let calls = ladder.calls();
        if calls > 1 && ladder.hops().iter().all(|hop| hop.call_id == *subject) {
            context.talk().note(format!("{calls} calls have this Call-ID: whoever began them gave each another tag"));
        }
        unread.error().map_or(Ok(exit::OK), Err)
    }

    /// What a report says of the logs that are read from it; nothing of others.
    fn reported(&self) -> ReportedLogs {
        self.from.as_deref().map(ReportedLogs::of).unwrap_or_default()
    }

    /// When the logs were taken that have been read, where more was to come: a report's then, and a cluster's now.
    fn taken(&self, reported: &ReportedLogs) -> Option<Timestamp> {
        let is_saved = self.stdin || self.from.is_some();
        if is_saved { reported.at } else { Some(Timestamp::now()) }
    }

    /// Writes a drawing.
    fn show(&self, ladder: &Ladder, context: &mut Context) -> Result<(), CliError> {
        match self.format {
            Drawing::Text => {
                let terminal = console::Term::stdout().size_checked().filter(|_| std::io::stdout().is_terminal());
                let width = self.width.or(terminal.map(|(_, columns)| columns)).map(usize::from);
                self.has_room(ladder, width, context)?;
                ladder.text_lines(width, |line| context.results().text(line))?;
            }
            Drawing::Mermaid => context.results().text(&ladder.mermaid())?,
            Drawing::Svg => context.results().text(&ladder.svg())?,
        }
        if self.messages {
            ladder.message_lines(|line| context.results().text(line))?;
        }
        let legend: Vec<_> = ladder.legend().map(|(lane, whole)| format!("{lane} is {whole}")).collect();
        if self.format == Drawing::Text && !legend.is_empty() {
            context.talk().note(legend.join(", "));
        }
        Ok(())
    }

    /// Says where the columns do not go into the width: in one that was asked for nothing is drawn that nobody can read.
    fn has_room(&self, ladder: &Ladder, width: Option<usize>, context: &mut Context) -> Result<(), CliError> {
        let least = ladder.least_width();
        let Some(width) = width.filter(|width| *width < least) else { return Ok(()) };
        let columns = counted(ladder.lanes().len(), "column");
        if self.width.is_some() {
            return Err(CliError::Usage(format!(
                "--width {width}: {columns} cannot be drawn in fewer than {least} letters: --width {least}, or --notes off \
                 where some have notes only"
            )));
        }
        context.talk().warning(format!("{columns} need {least} letters a line, and the terminal has {width}"));
        Ok(())
    }

    /// Hands on each record: of what was saved, or of what the pods still hold and, with `--follow`, say from now on. Yields
    /// the signal that ended it early, which is said with how far it came.
    fn each(
        &self,
        context: &mut Context,
        says: bool,
        unread: &mut Unread,
        mut take: impl FnMut(&LogEntry, &mut Context) -> Result<(), CliError>,
    ) -> Result<Option<CancelReason>, CliError> {
        let signals = context.signals();
        let (is_saved, since) = (self.stdin || self.from.is_some(), self.selection.since());
        let mut take = |entry: &LogEntry, context: &mut Context| match signals.came() {
            Some(reason) => Err(CliError::Ended(reason)),
            // What pods hold is picked before it is read.
            None if is_saved && !self.selection.has_saved(entry, since) => Ok(()),
            None => take(entry, context),
        };
        if is_saved {
            self.selection.warn_of_pods_only(context);
        }
        let read = if self.stdin {
            each_of_stdin(|said| said.map_or(Ok(()), |entry| take(&entry, context)))
                .map(|(lines, known)| unread.understood(Path::new("standard input"), lines, known, context))
        } else if let Some(path) = &self.from {
            each_of_path(path, context, unread, take)
        } else {
            let namespace = self.selection.namespace(&self.place, context, says)?;
            let (mut opened, mut closed) = (0, 0);
            let read = block_on(unless_ended(&signals, async {
                let cluster = context.connection().cluster(namespace).await?;
                let mut stream = self.selection.read(&cluster, &[], self.list.follow, since);
                while let Some(said) = stream.next().await {
                    match said {
                        Said::Record(entry) => take(&entry, context)?,
                        Said::Trouble(source, why) => unread.trouble(source.as_deref(), &why, context),
                        Said::Unread(source, why) => unread.take(source.as_deref(), &why, context),
                        Said::Opened(_) => opened += 1,
                        Said::Closed(_) => closed += 1,
                        Said::Listed | Said::Gap(..) => {}
                    }
                }
                let is_told = opened > 0 || unread.nothing().is_some();
                if is_told {
                    if let Some(ours) = made_here(&cluster, &WRITERS).await {
                        let _ = self.made_here.set(ours);
                    }
                    return Ok(());
                }
                let no_place = self.selection.no_place(&cluster).await;
                Err(CliError::Connection(no_place.unwrap_or_else(no_container)))
            }));
            // Who follows ends it so.
            if matches!(read, Err(CliError::Ended(_))) && !self.list.follow {
                context.talk().warning(stopped(closed, opened));
            }
            read
        };
        match read {
            Ok(()) => Ok(None),
            Err(CliError::Ended(reason)) if !self.list.follow => Ok(Some(reason)),
            Err(error) => Err(error),
        }
    }
}

/// Writes the messages of a ladder as packets.
fn write_capture(
    path: &Path,
    ladder: &Ladder,
    addresses: &BTreeMap<String, String>,
    context: &mut Context,
) -> Result<(), CliError> {
    let known =
        |lane: &str| addresses.iter().find(|(_, name)| *name == lane).and_then(|(address, _)| address.parse().ok());
    let written =
        capture::write(path, ladder, known).map_err(|source| CliError::Write { path: path.to_owned(), source })?;
    context.talk().note(format!("{} in {}", counted(written.messages, "message"), spelled(path)));
    if written.cut > 0 {
        let of = counted(written.cut, "message");
        context
            .talk()
            .warning(format!("{of} by UDP is longer than any packet and cut there; --messages writes all of it"));
    }
    let made_up = written.made_up;
    if !made_up.is_empty() {
        context.talk().note(format!(
            "no log tells the address of {}: a made-up one of 192.0.2.0/24 stands for it",
            made_up.join(", ")
        ));
    }
    Ok(())
}

/// Who broke the calls of a ladder, a sentence each, and how many more there are.
fn verdicts(ladder: &Ladder) -> Vec<String> {
    let failures = ladder.failures();
    let told = failures.iter().take(MOST_VERDICTS).map(|failure| verdict(ladder, *failure));
    let more = failures.len().saturating_sub(MOST_VERDICTS);
    told.chain((more > 0).then(|| format!("{more} more failed"))).collect()
}

/// Who broke a call, in a sentence.
fn verdict(ladder: &Ladder, failure: CallFailure<'_>) -> String {
    let named = |lane: &Printable| {
        ladder.whole_name(lane).map_or_else(|| lane.to_string(), |whole| format!("{lane} ({whole})"))
    };
    let whose = |hop: &LadderHop| format!("(CSeq {}, Call-ID {})", hop.cseq, hop.call_id);
    match failure {
        CallFailure::Refused(hop) => {
            let cause = ladder.cause(hop);
            let cause = cause.map(|n| format!("; just before it, {} logged: {}", n.lane, n.text)).unwrap_or_default();
            format!("it failed at {}, which answered \"{}\" {}{cause}", named(&hop.from), hop.text, whose(hop))
        }
        CallFailure::Challenged(hop) => format!(
            "it failed at {}, which got \"{}\" and did not try again with a password in these logs {}",
            named(&hop.to),
            hop.text,
            whose(hop)
        ),
        CallFailure::Unanswered(hop) => format!(
            "it failed at {}: {} from {} to it has no answer in these logs {}",
            named(&hop.to),
            hop.text,
            named(&hop.from),
            whose(hop)
        ),
        CallFailure::Rang(hop) => {
            format!("it failed at {}, which rang and was not picked up in these logs {}", named(&hop.to), whose(hop))
        }
        CallFailure::Unacknowledged(hop) => format!(
            "it failed at {}, to which \"{}\" was sent again and again; these logs have no ACK of it {}",
            named(&hop.to),
            hop.text,
            whose(hop)
        ),
        CallFailure::Cut(hop) => format!("{NOT_WHOLE}: how it ended is not judged {}", whose(hop)),
    }
}

/// Keeps what may be drawn and counts what there is, so that logs of any size need room for a few words of one call alone.
#[derive(Debug)]
struct Sieve {
    sketch: Sketch,
    lanes: Lanes,
    writers: Writers,
}

/// The columns of addresses.
#[derive(Debug, Default)]
struct Lanes {
    all: BTreeMap<String, String>,
    /// The source of the last record.
    last: Option<Arc<LogSource>>,
}

impl Lanes {
    /// Takes in where a record came from.
    fn take(&mut self, entry: &LogEntry) {
        if !self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &entry.source)) {
            self.last = Some(entry.source.clone());
            let address = entry.source.sip_address();
            self.all.extend(address.map(|address| (address.to_owned(), lane(entry).to_owned())));
        }
    }

    fn of(&self, host: &str) -> Option<String> {
        self.all.get(host).cloned()
    }
}

impl Sieve {
    fn new(subject: &str, keeps_messages: bool, cut: Option<Timestamp>) -> Self {
        // The Call-ID is tried first: it may look like user@host.
        let call = Traced::Call(subject.to_owned());
        let subscriber = Identity::of_header(subject).map(Traced::Subscriber);
        let sketch = Sketch::new(Some(call).into_iter().chain(subscriber)).cut(cut);
        let sketch = if keeps_messages { sketch.with_messages() } else { sketch };
        Self { sketch, lanes: Lanes::default(), writers: Writers::default() }
    }

    /// Takes a record; no more of it needs to be kept.
    fn take(&mut self, entry: &LogEntry) {
        let message = SipMessage::of(&entry.record);
        self.writers.take(&entry.source.component, &entry.record, message.is_some());
        self.lanes.take(entry);
        self.sketch.take(logged(entry), message.as_ref());
    }

    /// The ladder, and the columns of addresses.
    fn finish(self, taken: Option<Timestamp>) -> (Ladder, BTreeMap<String, String>) {
        let ladder = self.sketch.taken(taken).finish(|host| self.lanes.of(host));
        (ladder, self.lanes.all)
    }
}

/// The column of a record: its pod.
fn lane(entry: &LogEntry) -> &str {
    if entry.source.pod.is_empty() { &entry.source.component } else { &entry.source.pod }
}

/// A record, for who draws it.
fn logged(entry: &LogEntry) -> Logged<'_> {
    Logged { lane: lane(entry), component: &entry.source.component, time: entry.time, record: &entry.record }
}

/// A Call-ID or a subscriber: any text that is not blank.
fn subject(text: String) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("a Call-ID or a subscriber is not blank") } else { Ok(text) }
}
