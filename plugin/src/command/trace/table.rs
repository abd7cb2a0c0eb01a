//! What calls, registrations and messages there were, a line each.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anstyle::{AnsiColor, Style};
use clap::Args;
use clearwater::log::{BrokenRequest, Dialog, DialogOutcome, Dialogs, Identity, SipMessage, Traced};
use clearwater::text::{Printable, counted};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Serialize;

use super::writers::Writers;
use super::{NOT_WHOLE, Trace};
use crate::advice::command;
use crate::command::logs::Unread;
use crate::connection::typed;
use crate::context::Context;
use crate::error::{CliError, spelled};
use crate::exit;
use crate::output::Format;
use crate::signal::code;
use crate::table::Table;

/// The version of what `-o json` writes.
const VERSION: u32 = 1;
/// How wide the columns of a table are whose rows come one by one: what a number, its domain and a reason take as a rule.
const LIVE: [usize; 8] = [12, 22, 28, 28, 8, 7, 9, 0];

/// Which dialogs are listed, and how.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Of the list: only what failed or has no answer
    #[arg(long, conflicts_with = "subject")]
    pub(super) failed: bool,
    /// Of the list: only what names this subscriber. (--user is the kubeconfig's)
    #[arg(long, value_name = "SUBSCRIBER", conflicts_with = "subject", value_parser = subscriber)]
    pub(super) subscriber: Option<Identity>,
    /// Go on, and list each as its outcome comes. Without a letter: -f is the deployment file
    #[arg(long, conflicts_with_all = ["subject", "stdin", "from", "output"])]
    pub(super) follow: bool,
    /// Look around in the list on the terminal, with the keys of sngrep: dialogs, drawings, messages in full. F1 shows the keys
    #[arg(long, conflicts_with_all = ["subject", "stdin", "output"])]
    pub(super) tui: bool,
}

/// What is written, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// A list for people.
    Table,
    /// A list for programs.
    Json,
    /// The messages of one call, in a file of packets.
    Capture(PathBuf),
}

impl FromStr for Output {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = Path::new(text);
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            _ if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("pcapng")) => {
                Ok(Self::Capture(path.to_owned()))
            }
            _ => Err(
                "a list is written as table or json, and the messages of a call to a file whose name ends with .pcapng",
            ),
        }
    }
}

fn subscriber(text: &str) -> Result<Identity, String> {
    Identity::of_header(text)
        .ok_or_else(|| "it names no subscriber; write a number, user@domain, a sip: or a tel: URI".to_owned())
}

/// What `trace -o json` writes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// The version of this format.
    v: u32,
    /// The dialogs, in the order in which they began.
    dialogs: Vec<Row>,
    /// How many OPTIONS there were, which are not listed.
    options: u64,
    /// How many messages were left out, because there were more dialogs than are kept.
    left_out: u64,
}

/// All messages of one call, of one registration, or of what else has a Call-ID.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Row {
    /// The Call-ID.
    call_id: String,
    /// When its first message was logged.
    #[schemars(with = "String")]
    began: Timestamp,
    /// From its first message to its last, in milliseconds.
    duration_ms: i64,
    /// The method that it began with.
    method: String,
    /// Who began it, as user@domain; empty where nobody is named.
    from: String,
    /// Whom it was for.
    to: String,
    /// How it ended: succeeded, failed, cancelled, unanswered, proceeding where whoever asked still waited for
    /// an answer when the logs were taken, or cut where a report's logs were cut and may lack some of it.
    outcome: &'static str,
    /// The final answer to what it began with.
    status: Option<u16>,
    /// The answer's reason.
    reason: Option<String>,
    /// The first request of it that came to nothing.
    broken: Option<Broken>,
    /// How many times one of its messages was logged.
    messages: u64,
}

/// A request that came to nothing.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Broken {
    /// Its method.
    method: String,
    /// The number of its CSeq.
    cseq: u64,
    /// Its final answer, where it had one.
    status: Option<u16>,
    /// The answer's reason.
    reason: Option<String>,
    /// Whether it was accepted, and that never acknowledged.
    is_unacknowledged: bool,
}

impl Broken {
    fn of(broken: &BrokenRequest<'_>) -> Self {
        Self {
            method: broken.method.to_string(),
            cseq: broken.cseq,
            status: broken.answered.map(|a| a.0),
            reason: broken.answered.map(reason),
            is_unacknowledged: broken.is_unacknowledged,
        }
    }
}

fn reason((status, text): (u16, &Printable)) -> String {
    text.trim_start_matches(&status.to_string()).trim_start().to_owned()
}

/// How it ended, in a few words: what it began with, and what came to nothing afterwards.
pub(super) fn ending(dialog: &Dialog) -> String {
    let begun = match (dialog.answered(), dialog.outcome()) {
        (_, DialogOutcome::Cut) => return NOT_WHOLE.to_owned(),
        (Some((_, text)), DialogOutcome::Cancelled) => format!("{text} (cancelled)"),
        (Some((_, text)), _) => text.to_string(),
        (None, DialogOutcome::Unanswered) => "no answer".to_owned(),
        (None, DialogOutcome::Proceeding) => "no answer yet".to_owned(),
        // These logs have no more of it than an ACK.
        (None, _) => "not known".to_owned(),
    };
    match dialog.broken() {
        Some(broken) if broken.is_unacknowledged => format!("{begun}, no ACK"),
        Some(broken) if broken.is_within => {
            let answer = broken.answered.map_or("no answer", |(_, text)| text.as_str());
            format!("{begun}, then {answer} ({})", broken.method)
        }
        _ => begun,
    }
}

impl Row {
    fn of(dialog: &Dialog) -> Self {
        let answer = dialog.answered();
        Self {
            call_id: dialog.call_id.to_string(),
            began: dialog.began,
            duration_ms: i64::try_from(dialog.duration().as_millis()).unwrap_or(i64::MAX),
            method: dialog.method.to_string(),
            from: dialog.from.to_string(),
            to: dialog.to.to_string(),
            outcome: dialog.outcome().name(),
            status: answer.map(|a| a.0),
            reason: answer.map(reason),
            broken: dialog.broken().as_ref().map(Broken::of),
            messages: dialog.messages,
        }
    }
}

/// What stands in the columns: with the date where a list has several.
pub(super) fn cells(dialog: &Dialog, has_date: bool) -> [String; 8] {
    let form = if has_date { "%Y-%m-%d %H:%M:%S%.3f" } else { "%H:%M:%S%.3f" };
    [
        dialog.began.strftime(form).to_string(),
        ending(dialog),
        dialog.from.to_string(),
        dialog.to.to_string(),
        dialog.method.to_string(),
        dialog.messages.to_string(),
        format!("{:.3} s", dialog.duration().as_secs_f64()),
        dialog.call_id.to_string(),
    ]
}

pub(super) const HEAD: [&str; 8] = ["BEGAN", "ENDING", "FROM", "TO", "METHOD", "LOGGED", "DURATION", "CALL-ID"];

pub(super) fn style(outcome: DialogOutcome) -> Style {
    match outcome {
        DialogOutcome::Succeeded => AnsiColor::Green.on_default(),
        DialogOutcome::Failed | DialogOutcome::Unanswered => AnsiColor::Red.on_default(),
        DialogOutcome::Cancelled | DialogOutcome::Cut | DialogOutcome::Proceeding => Style::new(),
    }
}

/// The day on which it began, in UTC as its time.
pub(super) fn day(dialog: &Dialog) -> Date {
    dialog.began.to_zoned(TimeZone::UTC).date()
}

/// Whether it did not go well as far as the logs tell.
pub(super) fn is_failed(outcome: DialogOutcome) -> bool {
    matches!(outcome, DialogOutcome::Failed | DialogOutcome::Unanswered | DialogOutcome::Cut)
}

impl Trace {
    /// Lists the dialogs.
    pub(super) fn tabulate(self, context: &mut Context) -> Result<u8, CliError> {
        if let Some(Output::Capture(path)) = &self.output {
            return Err(CliError::Usage(format!(
                "{} would hold the messages of one call or subscriber: name it; `{}` lists what there is",
                spelled(path),
                command("trace")
            )));
        }
        let (mut writers, mut unread) = (Writers::default(), Unread::default());
        let reported = self.reported();
        let mut dialogs = Dialogs::new(self.list.subscriber.clone().map(Traced::Subscriber)).cut(reported.cut());
        let (follow, only_failed) = (self.list.follow, self.list.failed);
        if follow {
            let head = Table::new(HEAD, Vec::new(), usize::MAX).least(LIVE).head();
            context.results().text(&format!("{head}\n"))?;
            context.results().flush()?;
        }
        let says = self.output != Some(Output::Json);
        let mut first_day = None;
        let stopped = self.each(context, says, &mut unread, |entry, context| {
            let message = SipMessage::of(&entry.record);
            writers.take(&entry.source.component, &entry.record, message.is_some());
            let Some(message) = message else { return Ok(()) };
            let Some(dialog) = dialogs.take(entry.time, &message) else { return Ok(()) };
            let now = dialog.outcome();
            if follow && (!only_failed || is_failed(now)) {
                let has_date = *first_day.get_or_insert(day(dialog)) != day(dialog);
                let table = Table::new(HEAD, vec![cells(dialog, has_date)], usize::MAX).least(LIVE);
                let line = table.row(0, style(now));
                context.results().styled(&format!("{line}\n"))?;
                context.results().flush()?;
            }
            Ok(())
        })?;
        writers.advise(self.made_here.get(), context);
        let (polls, left_out) = (dialogs.polls(), dialogs.left_out());
        if left_out > 0 {
            context.talk().warning(format!(
                "{} of further calls are left out: the list is full; --since or --subscriber makes it shorter",
                counted(usize::try_from(left_out).unwrap_or(usize::MAX), "message")
            ));
        }
        let all = dialogs.taken(self.taken(&reported)).finish();
        let count = all.len();
        let all: Vec<Dialog> = all.into_iter().filter(|d| !only_failed || is_failed(d.outcome())).collect();
        match self.output {
            Some(Output::Json) => {
                let report =
                    Report { v: VERSION, dialogs: all.iter().map(Row::of).collect(), options: polls, left_out };
                context.results().value(Format::Json, &report)?;
            }
            _ if all.is_empty() && stopped.is_some() => {}
            // Of nothing that was read there is nothing to say, but why.
            _ if count == 0 && unread.nothing().is_some() => {}
            _ if all.is_empty() => {
                let of = if only_failed {
                    format!("none of {} failed", counted(count, "dialog"))
                } else if let Some(subscriber) = &self.list.subscriber {
                    format!("no call, registration or message in these logs names {subscriber}")
                } else {
                    "no call, registration or message is in these logs".to_owned()
                };
                let of = if polls > 0 { format!("{of}; OPTIONS, which are not listed: {polls}") } else { of };
                context.talk().note(of);
            }
            _ => {
                // A Call-ID is copied from the screen: no line is cut.
                let has_date = all.iter().any(|dialog| day(dialog) != day(&all[0]));
                let rows = all.iter().map(|dialog| cells(dialog, has_date)).collect();
                let table = Table::new(HEAD, rows, usize::MAX);
                context.results().text(&format!("{}\n", table.head()))?;
                for (n, dialog) in all.iter().enumerate() {
                    context.results().styled(&format!("{}\n", table.row(n, style(dialog.outcome()))))?;
                }
                let from = self.from.as_ref().map(|path| format!(" --from {}", typed(&spelled(path))));
                let draw = command(&format!("trace CALL-ID{}", from.unwrap_or_default()));
                context.talk().note(format!("`{draw}` draws one of them"));
            }
        }
        if let Some(reason) = stopped {
            return Ok(code(reason));
        }
        let failed = if count == 0 { unread.nothing() } else { unread.error() };
        failed.map_or(Ok(exit::OK), Err)
    }
}
