//! `check --images`: are the images as this program takes them to be?

use std::fmt::Write as _;
use std::path::Path;

use clearwater::text::{Clean as _, counted};
use clearwater_kube::contract::{
    Agreement, AskedClaim, AskedImage, ContractOptions, ContractReport, Known, VERSION, contract,
};

use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;
use crate::reporter::{BAD, DIM, GOOD, WARN, plain};
use crate::runtime::{block_on, unless_ended};

pub(super) fn run(
    context: &mut Context,
    namespace: String,
    options: ContractOptions,
    output: Option<Format>,
) -> Result<u8, CliError> {
    let signals = context.signals();
    let seen = block_on(unless_ended(&signals, async {
        let (cluster, left) = context.connection().cluster_within(namespace, options.timeout).await?;
        let seen = contract(&cluster, &options.timeout(left)).await?;
        // What is not there looks like what is empty.
        let absence = if seen.images.is_empty() { cluster.absence().await } else { None };
        absence.map_or(Ok(seen), |why| Err(CliError::Connection(why)))
    }))?;
    tell(context, &seen, output)
}

/// The same of what a report holds.
pub(super) fn reported(context: &mut Context, path: &Path, output: Option<Format>) -> Result<u8, CliError> {
    let mut seen: ContractReport = super::super::reported::read(path, "check-images.json", VERSION)?;
    seen.images.clean();
    // It says no more of itself than its claims do.
    let (differing, unseen) = counts(&seen);
    seen.agrees &= differing == 0;
    seen.complete &= unseen == 0 && seen.claims().next().is_some();
    context.talk().note(format!("as it was at {}", seen.at));
    tell(context, &seen, output)
}

fn tell(context: &mut Context, seen: &ContractReport, output: Option<Format>) -> Result<u8, CliError> {
    match output {
        Some(format) => context.results().value(format, seen)?,
        None => context.results().styled(&text(seen))?,
    }
    Ok(exit::of_look(seen.agrees, seen.complete))
}

fn row(of: &AskedImage, claim: &AskedClaim) -> Option<String> {
    let (style, mark, seen) = match &claim.agreement {
        Agreement::Agrees => return None,
        Agreement::Differs { seen } => (BAD, "differs", seen),
        Agreement::CouldNotLook { why } => (WARN, "unseen", why),
    };
    let about = if claim.about == of.component { String::new() } else { format!("{} ", claim.about) };
    let known = match claim.known {
        Known::Seen => "seen on the real program;",
        Known::Read => "read in",
    };
    let mut text = format!("  {style}{mark:<8}{style:#} {DIM}{:<16}{DIM:#} {about}{}", claim.id, claim.claim);
    let _ = writeln!(text, " {DIM}({known} {}){DIM:#}", claim.source);
    for line in seen.lines() {
        let _ = writeln!(text, "           {DIM}|{DIM:#} {}", plain(line));
    }
    Some(text)
}

/// How many of an image's claims agree, of those that could be looked at.
fn agreeing(claims: &[AskedClaim]) -> String {
    let agreeing = claims.iter().filter(|c| c.agreement == Agreement::Agrees).count();
    let unseen = claims.iter().filter(|c| matches!(c.agreement, Agreement::CouldNotLook { .. })).count();
    let agree = format!("{agreeing} of {} agree", counted(claims.len() - unseen, "claim"));
    match unseen {
        0 => agree,
        n if n == claims.len() => format!("{} could not be looked at", counted(n, "claim")),
        n => format!("{agree}, {n} could not be looked at"),
    }
}

/// How many claims differ, and how many could not be looked at.
fn counts(seen: &ContractReport) -> (usize, usize) {
    let differing = seen.claims().filter(|c| matches!(c.agreement, Agreement::Differs { .. })).count();
    (differing, seen.claims().filter(|c| matches!(c.agreement, Agreement::CouldNotLook { .. })).count())
}

fn text(seen: &ContractReport) -> String {
    let mut text = String::new();
    for image in &seen.images {
        let shown = image.image.as_deref().unwrap_or("-");
        let _ = write!(text, "{} {}", image.component, plain(shown));
        if let Some(pod) = &image.pod {
            let state = if image.ready { "" } else { ", which is not ready: what differs may come of that" };
            let _ = write!(text, " {DIM}(pod {}{state}){DIM:#}", plain(pod));
        }
        let _ = writeln!(text, ": {}", agreeing(&image.claims));
        image.claims.iter().filter_map(|claim| row(image, claim)).for_each(|row| text.push_str(&row));
    }
    let _ = match counts(seen) {
        (0, 0) if seen.complete => writeln!(text, "{GOOD}the images are as they are taken to be{GOOD:#}"),
        (0, 0) => writeln!(text, "{WARN}nothing was looked at: there is no Clearwater here{WARN:#}"),
        (0, n) => writeln!(
            text,
            "{WARN}nothing that differs was seen, but {} could not be looked at{WARN:#}",
            counted(n, "claim")
        ),
        (n, 0) => writeln!(text, "{BAD}{}{BAD:#}", differs(n)),
        (n, m) => writeln!(text, "{BAD}{}{BAD:#}, and {} could not be looked at", differs(n), counted(m, "claim")),
    };
    text
}

fn differs(n: usize) -> String {
    format!("{} {}", counted(n, "claim"), if n == 1 { "differs" } else { "differ" })
}

#[cfg(test)]
mod tests {
    use clearwater::component::Component;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_differs_is_named_with_what_was_seen_and_nothing_seen_is_not_agreement() {
        let differs = Agreement::Differs { seen: "bono FATAL\u{1b}[2J\nended with 1".to_owned() };
        let unseen = Agreement::CouldNotLook { why: "needs create pods/exec".to_owned() };
        for (all, expected, said) in [
            (vec![Agreement::Agrees], exit::OK, "as they are taken to be"),
            (vec![], exit::FAILURE, "nothing was looked at"),
            (vec![unseen.clone()], exit::FAILURE, "but 1 claim could not be looked at"),
            (vec![Agreement::Agrees, unseen.clone()], exit::FAILURE, "but 1 claim could not be looked at"),
            (vec![Agreement::Agrees, differs.clone()], exit::UNHEALTHY, "1 claim differs"),
            (vec![differs, unseen], exit::UNHEALTHY, "1 claim differs, and 1 claim could not be looked at"),
        ] {
            let claims = all.iter().cloned().map(|agreement| AskedClaim {
                id: "programs".to_owned(),
                about: Component::Bono,
                claim: "has exactly its programs".to_owned(),
                source: "clearwater-docker".to_owned(),
                known: Known::Read,
                agreement,
            });
            let image = AskedImage {
                component: Component::Bono,
                image: Some("bono:1".to_owned()),
                pod: Some("bono-0".to_owned()),
                ready: false,
                claims: claims.collect(),
            };
            let seen = ContractReport {
                v: 1,
                namespace: "ims".to_owned(),
                at: Timestamp::UNIX_EPOCH,
                agrees: !all.iter().any(|a| matches!(a, Agreement::Differs { .. })),
                complete: !all.is_empty() && !all.iter().any(|a| matches!(a, Agreement::CouldNotLook { .. })),
                images: vec![image],
            };
            let shown = anstream::adapter::strip_str(&text(&seen)).to_string();
            assert_eq!(exit::of_look(seen.agrees, seen.complete), expected, "{shown}");
            assert!(shown.contains(said) && !shown.contains('\u{1b}'), "{shown}");
            let counted = match all.as_slice() {
                [Agreement::CouldNotLook { .. }] => ": 1 claim could not be looked at\n",
                [Agreement::Agrees, Agreement::CouldNotLook { .. }] => {
                    ": 1 of 1 claim agree, 1 could not be looked at\n"
                }
                [_, Agreement::CouldNotLook { .. }] => ": 0 of 1 claim agree, 1 could not be looked at\n",
                _ => "",
            };
            assert!(shown.contains(counted), "{shown}");
            if expected == exit::UNHEALTHY {
                assert!(shown.contains("differs  programs") && shown.contains("| bono FATAL"), "{shown}");
            }
        }
    }
}
