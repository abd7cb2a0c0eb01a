//! What people read of a run.

use std::fmt::Write as _;

use clearwater::config::DnsBackend;
use clearwater::remedy::NamesDeed;
use clearwater_kube::dns::{DnsAction, Explained, SeenAnswer, ServerProof};

use super::report::{PatchOutcome, Report};
use crate::advice;
use crate::reporter::{BAD, DIM, GOOD, WARN, plain};

pub(super) fn coloured(diff: &str) -> String {
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

pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    let is_dry = matches!(report.outcome, PatchOutcome::DryRun | PatchOutcome::Unasked);
    match report.outcome {
        PatchOutcome::DryRun | PatchOutcome::Unasked => {
            let _ = writeln!(text, "backend {}: {}", report.backend, plain(&report.because));
            if let Some(manager) = &report.managed_by {
                let _ = writeln!(text, "the file is kept by {}", plain(manager));
            }
            text.push_str(&coloured(&report.diff));
        }
        PatchOutcome::Unchanged
        | PatchOutcome::Written
        | PatchOutcome::Finished
        | PatchOutcome::Right
        | PatchOutcome::Unknown
        | PatchOutcome::Stale => {}
    }
    // What is answered before anything was written tells a person nothing that the difference does not.
    for (i, server) in report.servers.iter().enumerate().filter(|_| !is_dry) {
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
    let dangling = report.servers.iter().flat_map(|s| &s.answers).any(|a| a.is_missing);
    if dangling && report.action == DnsAction::Put && report.outcome != PatchOutcome::Stale && !is_dry {
        let _ = writeln!(
            text,
            "{WARN}no pod of sprout stands behind the names yet: they lead to it as soon as one is ready{WARN:#}"
        );
    }
    let backend = DnsBackend::ALL.into_iter().find(|backend| backend.name() == report.backend);
    if let Some(kept) = report.kept.as_ref().filter(|_| report.action == DnsAction::Put) {
        let _ = writeln!(
            text,
            "what was there before: {kept}; to take the names out again: {}",
            advice::deed(&NamesDeed::Remove { namespace: report.namespace.clone(), backend }.into())
        );
    }
    let (style, word) = match (report.outcome, report.action) {
        (PatchOutcome::Written, DnsAction::Put) => (GOOD, "the names are in DNS, and every server gives them"),
        (PatchOutcome::Written, DnsAction::Remove) => (GOOD, "the names are out of DNS again"),
        (PatchOutcome::Finished, _) => (GOOD, "the names are out of DNS, and what an earlier run had left is gone"),
        (PatchOutcome::Unchanged, DnsAction::Remove) => (GOOD, "nothing to take out"),
        (PatchOutcome::Unchanged, DnsAction::Put) => (GOOD, "nothing to change"),
        (PatchOutcome::DryRun, _) => (WARN, "nothing was written (--dry-run)"),
        (PatchOutcome::Unasked, _) => {
            (WARN, "nothing was written, and whether it could be proved is not known: not everybody could be asked")
        }
        (PatchOutcome::Right, _) => (GOOD, "everything is as it must be"),
        (PatchOutcome::Unknown, _) => (WARN, "what was asked is as it must be; not everybody could be asked"),
        (PatchOutcome::Stale, _) => (BAD, "something is missing or stale"),
    };
    let _ = writeln!(text, "{style}{word}{style:#}");
    text
}

pub(super) fn explanation(explained: &Explained) -> String {
    let mut text = String::new();
    for name in &explained.names {
        let (style, word) = match (name.found, name.optional, name.symptoms.is_empty()) {
            _ if name.seen.is_empty() => (WARN, "not asked"),
            (true, _, true) => (GOOD, "found"),
            (true, _, false) => (BAD, "wrong"),
            (false, true, _) => (WARN, "missing, optional"),
            (false, false, _) => (BAD, "missing"),
        };
        let _ = writeln!(text, "{} {}  {style}{word}{style:#}", name.name, name.types.join("/"));
        let _ = writeln!(text, "  for        {}", plain(&name.why));
        let _ = writeln!(text, "  asked by   {}", name.askers.join(", "));
        for (i, seen) in name.seen.iter().enumerate() {
            let same = |other: &&SeenAnswer| {
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
    for why in &explained.unasked {
        let _ = writeln!(text, "{BAD}could not be asked: {}{BAD:#}", plain(&advice::text(why)));
    }
    text
}
