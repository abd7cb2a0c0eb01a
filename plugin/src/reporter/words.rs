//! What an event says, as people read it.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use clearwater::event::{
    Change, CheckLine, CheckStatus, Cost, DnsStep, EventKind, Evidence, Hop, Operation, Outcome, Pending, PlannedStep,
    Whose,
};
use clearwater::text::counted;

use crate::duration::time;

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const DIM: Style = Style::new().dimmed();

/// A component's line without its name in front, for where the name stands already.
pub(super) fn without_name(text: &str, component: &str) -> String {
    text.replacen(&format!("{component}: "), "", 1)
}

/// The text as one line that is only seen: it may quote what others wrote.
pub(crate) fn plain(text: &str) -> String {
    clearwater::text::printable(text).into_owned()
}

/// One line of the preflight.
pub(super) fn check(line: &CheckLine) -> String {
    let (style, mark) = match line.status {
        CheckStatus::Ok => (GOOD, "ok"),
        CheckStatus::NotApplicable => (DIM, "n/a"),
        CheckStatus::Skipped => (DIM, "skipped"),
        CheckStatus::Unseen => (WARN, "unseen"),
        CheckStatus::Warning => (WARN, "warning"),
        CheckStatus::Failed => (BAD, "failed"),
        CheckStatus::Refused => (BAD, "refused"),
        _ => (WARN, "unknown"),
    };
    let detail = if line.detail.is_empty() { String::new() } else { format!(": {}", plain(&line.detail)) };
    let mut text = format!("  {style}{mark:<8}{style:#} {}{detail}", line.title);
    if let Some(fix) = &line.fix {
        let _ = write!(text, "\n           fix: {fix}");
    }
    text
}

/// What would be written, object by object, with differences. What is new is named, and not shown.
pub(crate) fn changes(changes: &[Change]) -> String {
    changes.iter().map(|c| one_change(c, c.operation != Operation::Create)).collect()
}

/// The same, with what is new in full.
pub(crate) fn changes_in_full(changes: &[Change]) -> String {
    changes.iter().map(|c| one_change(c, true)).collect()
}

fn one_change(change: &Change, with_difference: bool) -> String {
    let (style, word) = match change.operation {
        Operation::Create => (GOOD, "create"),
        Operation::Change => (WARN, "change"),
        Operation::Delete => (BAD, "delete"),
        Operation::Restore => (WARN, "give back"),
        Operation::Keep => return String::new(),
        _ => (WARN, "unknown"),
    };
    let whose = match change.whose {
        Whose::Adopted => " (stood before up)",
        Whose::Foreign => " (not of this deployment)",
        _ => "",
    };
    let mut text = format!("{style}{word}{style:#} {}{whose}\n", change.object);
    for line in change.diff.lines().filter(|_| with_difference) {
        let style = match line.as_bytes().first() {
            Some(b'+') => GOOD,
            Some(b'-') => BAD,
            _ => DIM,
        };
        let _ = writeln!(text, "    {style}{}{style:#}", plain(line));
    }
    text
}

/// What a plan comes to: counts of objects, pods that restart for it, and changes that wait, with what would be lost.
pub(crate) fn summary(changes: &[Change], pending: &[Pending]) -> String {
    let mut text = count(changes) + "\n";
    for change in changes.iter().filter(|c| c.restarts > 0) {
        let _ = writeln!(text, "{WARN}restart{WARN:#} {} of {}", counted(change.restarts, "pod"), change.object);
    }
    text + &waiting(pending)
}

/// Changes that wait, a line each.
pub(crate) fn waiting(pending: &[Pending]) -> String {
    let line = |p: &Pending| {
        format!("{WARN}wait{WARN:#} {}: {}; {}\n", p.component, plain(&p.what), plain(&p.command.to_string()))
    };
    pending.iter().map(line).collect()
}

/// How many objects a plan creates, changes, removes and keeps.
pub(super) fn count(changes: &[Change]) -> String {
    let of = |operation| changes.iter().filter(|c| c.operation == operation).count();
    let whose = |whose| changes.iter().filter(|c| c.operation != Operation::Keep && c.whose == whose).count();
    let parts = [
        (of(Operation::Create), "to create"),
        (of(Operation::Change), "to change"),
        (of(Operation::Delete), "to remove"),
        (of(Operation::Restore), "to give back"),
        (whose(Whose::Adopted), "of these stood before up"),
        (whose(Whose::Foreign), "of these not of this deployment"),
        (of(Operation::Keep), "as they should be"),
    ];
    let said: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if said.is_empty() { "no objects".to_owned() } else { format!("objects: {}", said.join(", ")) }
}

/// What was seen of a failure.
pub(super) fn evidence(evidence: &[Evidence]) -> String {
    let mut text = String::new();
    for one in evidence {
        let _ = writeln!(text, "    {}: {}", one.object, plain(&one.reason));
        for event in &one.events {
            let _ = writeln!(text, "      event: {}", plain(event));
        }
        for log in &one.logs {
            let _ = writeln!(text, "      last lines of {}:", log.from);
            for line in &log.lines {
                let _ = writeln!(text, "        {DIM}{}{DIM:#}", plain(line));
            }
        }
    }
    text
}

/// The end of a run.
pub(super) fn finished(outcome: Outcome, summary: &str, path: &[Hop], pending: &[Pending]) -> String {
    let style = match outcome {
        Outcome::Done | Outcome::NothingToDo | Outcome::DryRun => GOOD,
        Outcome::ChangesPending | Outcome::Cancelled => WARN,
        _ => BAD,
    };
    let summary: Vec<String> = summary.lines().map(plain).collect();
    let mut text = format!("{style}{}{style:#}\n", summary.join("\n"));
    if path.len() > 1 {
        let hops: Vec<String> = path.iter().map(|h| format!("{} {}", h.component, time(h.took))).collect();
        let _ = writeln!(text, "critical path: {}", hops.join(" → "));
    }
    for one in pending {
        let _ =
            writeln!(text, "{WARN}pending{WARN:#} {}: {}; carried out by: {}", one.component, one.what, one.command);
    }
    text
}

/// The steps of a plan, as a dry run shows them.
fn planned_steps(component: &str, from: u32, to: u32, steps: &[PlannedStep], notices: &[String]) -> String {
    if steps.is_empty() {
        return format!("{component}: nothing to do, there are {to}");
    }
    let mut text =
        if from == to { format!("{component}: {to} stay, after") } else { format!("{component}: from {from} to {to}") };
    for (i, step) in steps.iter().enumerate() {
        let _ = write!(text, "\n  {}. {} (about {} s)", i + 1, plain(&step.step), step.expected_seconds);
    }
    let _ = write!(text, "\n  about {} s in all", steps.iter().map(|s| s.expected_seconds).sum::<u64>());
    for notice in notices {
        let _ = write!(text, "\n  {WARN}note:{WARN:#} {}", plain(notice));
    }
    text
}

/// A step of a change of the cluster's DNS.
fn dns_step(step: &DnsStep) -> Option<String> {
    Some(match step {
        DnsStep::Waiting { at_most, because } => {
            format!("waiting for the servers, up to {}: {because}", time(*at_most))
        }
        DnsStep::Reloaded { pod, after } => format!("DNS pod {pod} has read it, {} after it was written", time(*after)),
        DnsStep::Verified { pod, questions, after } => {
            format!("DNS pod {pod} answers {questions} questions as it must, {} later", time(*after))
        }
        other => return other.words(),
    })
}

/// An event as one line or more, or `None` where it says nothing that a line is worth.
pub(crate) fn line(what: &EventKind) -> Option<String> {
    Some(match what {
        EventKind::RunStarted { namespace, components, .. } => {
            format!("{}, namespace {namespace}", counted(components.len(), "component"))
        }
        EventKind::Checked { line } => check(line),
        EventKind::Planned { changes, .. } => count(changes),
        EventKind::Waiting { component, awaited, cause, .. } if awaited.is_empty() => {
            format!("{component}: {}", plain(cause))
        }
        EventKind::Waiting { component, awaited, held, .. } => {
            let names: Vec<&str> = awaited.iter().map(|a| a.component.as_str()).collect();
            let held = held.as_ref().map_or_else(String::new, |held| format!("; held: {}", plain(held)));
            format!("{component}: waiting for {}{held}", names.join(", "))
        }
        EventKind::Applying { component, objects } => format!("{component}: applying {}", counted(*objects, "object")),
        EventKind::Applied { component, created, changed, kept } => match (created, changed) {
            (0, 0) => format!("{component}: {} as they should be", counted(*kept, "object")),
            _ => format!("{component}: {} created, {changed} changed", counted(*created, "object")),
        },
        EventKind::Pulling { component, cause, .. } => format!("{component}: {}", plain(cause)),
        EventKind::Starting { component, ready, wanted, cause } => {
            format!("{component}: {ready}/{wanted} ready: {}", plain(cause))
        }
        EventKind::Settling { component, cause } => format!("{component}: ready, not serving yet: {}", plain(cause)),
        EventKind::Serving { component, durations, unchecked } => {
            let mut text = format!("{GOOD}{component}: serving{GOOD:#} after {}", time(durations.own()));
            for one in unchecked {
                let _ = write!(text, "\n  skipped: {}", plain(one));
            }
            text
        }
        EventKind::Unsteady { component, cause } => {
            format!("{WARN}{component}: served, and does not any more{WARN:#}: {}", plain(cause))
        }
        EventKind::Failed { component, causes, fix, evidence: seen, .. } => {
            let mut text =
                format!("{BAD}{component}: failed{BAD:#}: {}\n", plain(causes.first().map_or("", String::as_str)));
            for cause in causes.iter().skip(1) {
                let _ = writeln!(text, "    because: {}", plain(cause));
            }
            let _ = writeln!(text, "    fix: {}", plain(&fix.to_string()));
            text.push_str(&evidence(seen));
            text.trim_end().to_owned()
        }
        EventKind::Skipped { component, because } => format!("{component}: left out: {because}"),
        EventKind::Repaired { repair } => {
            let cost = if repair.cost == Cost::Data { " (data is lost)" } else { "" };
            format!(
                "{WARN}{}: repairing{WARN:#}: {}: {}, because {}{cost}",
                repair.component, repair.object, repair.action, repair.because
            )
        }
        EventKind::Asked { repair, .. } => {
            format!(
                "{BAD}{}: broken, and repairing it costs data{BAD:#}: {}: {}, because {}",
                repair.component,
                repair.object,
                repair.action,
                plain(&repair.because)
            )
        }
        EventKind::Removing { component, cause } => format!("{component}: removing: {cause}"),
        EventKind::Removed { component, objects, took } => {
            format!("{component}: gone, {}, {}", counted(*objects, "object"), time(*took))
        }
        EventKind::StepsPlanned { component, from, to, steps, notices } => {
            planned_steps(component, *from, *to, steps, notices)
        }
        EventKind::StepBegun { component, step, expected_seconds } => {
            format!("{component}: {} (about {expected_seconds} s)", plain(step))
        }
        EventKind::StepEnded { component, step, took } => {
            format!("{component}: {GOOD}done{GOOD:#}: {} ({})", plain(step), time(*took))
        }
        EventKind::RolledOut { component, took } => format!("{component}: rolled out after {}", time(*took)),
        EventKind::MembersChanged { component, members, violation } => {
            let members: Vec<String> = members.iter().map(|(a, s)| format!("{a} {}", plain(s))).collect();
            let members = if members.is_empty() { "nobody".to_owned() } else { members.join("; ") };
            match violation {
                Some(why) => format!("{component}: members: {members} {BAD}({}){BAD:#}", plain(why)),
                None => format!("{component}: members: {members}"),
            }
        }
        EventKind::Scaled { component, from, to, took } if from == to => {
            format!("{GOOD}{component}: {to} serving{GOOD:#} ({})", time(*took))
        }
        EventKind::Scaled { component, from, to, took } => {
            format!("{GOOD}{component}: scaled from {from} to {to}, serving{GOOD:#} after {}", time(*took))
        }
        EventKind::Dns { step } => return dns_step(step),
        EventKind::Notice { text } => format!("note: {}", plain(&text.to_string())),
        EventKind::CancelRequested { reason } => format!("stopping ({reason:?}): nothing new is begun").to_lowercase(),
        EventKind::RunFinished { outcome, summary, critical_path, pending, .. } => {
            finished(*outcome, &summary.to_string(), critical_path, pending).trim_end().to_owned()
        }
        _ => return None,
    })
}
