mod images;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValue;
use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::text::{Clean as _, counted};
use clearwater_kube::check::{CheckOptions, Checks, VERSION, check};
use clearwater_kube::contract::ContractOptions;

use super::everywhere::{self, Told, first_of};
use crate::advice;
use crate::arguments::{FileArgs, one_of};
use crate::context::Context;
use crate::duration::limit;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;
use crate::reporter::{BAD, DIM, GOOD, WARN, plain};
use crate::runtime::{block_on, unless_ended};

/// What each check looks at and what to do, an anchor for each id.
const PAGE: &str = "https://github.com/kubectl-clearwater/kubectl-clearwater/blob/main/docs/check.md";

/// Look for the known pitfalls of Clearwater on Kubernetes, one by one, each with what to do about it
///
/// Works for deployments that other manifests made, too. Exit code 5 says that something is unwell, seen twice; 1 that
/// something could not be looked at and nothing else is unwell. Warnings change no code.
#[derive(Debug, Args)]
#[command(
    alias = "doctor",
    after_help = "Examples:
  kubectl clearwater check -n ims
  kubectl clearwater check --before -f clearwater.yaml
  kubectl clearwater check --only programs,disk -o json
  kubectl clearwater check --images
  kubectl clearwater check -A --skip disk
  kubectl clearwater check --from night.zip"
)]
pub(crate) struct Check {
    /// The deployment file to compare with. Default: clearwater.yaml where that exists, else what is there is judged
    #[arg(short, long, visible_alias = "file", value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Look whether the cluster takes a deployment, before there is one: nothing is written
    #[arg(long)]
    before: bool,
    /// Make these checks alone. May be given more than once
    #[arg(long, value_name = "CHECK", value_delimiter = ',', hide_possible_values = true, value_parser = ids())]
    only: Vec<CheckId>,
    /// Leave these checks out. May be given more than once
    #[arg(long, value_name = "CHECK", value_delimiter = ',', hide_possible_values = true, value_parser = ids())]
    skip: Vec<CheckId>,
    /// Put to the pods that run what this program takes Clearwater's images to be, claim by claim: files, programs, scripts,
    /// forms of logs, ports, answers. Nothing is written there. 5 says that one differs, twice
    #[arg(long, conflicts_with_all = ["before", "only", "skip"])]
    images: bool,
    /// Show what a report holds, a zip that `report` wrote, instead of looking at a cluster; with --images what the pods answered
    /// to the claims
    #[arg(long, value_name = "FILE", conflicts_with_all = ["filename", "before", "only", "skip", "timeout", "all_namespaces"])]
    from: Option<PathBuf>,
    /// Every namespace that holds a deployment, a line each; the exit code is the worst of all
    #[arg(short = 'A', long, conflicts_with_all = ["filename", "before", "images"])]
    all_namespaces: bool,
    /// How long the whole may take (with -A in each namespace); with --images 60s where nothing is said
    #[arg(long, value_name = "DURATION", value_parser = limit, default_value = "20s", default_value_if("images", "true", "60s"))]
    timeout: Duration,
    /// A format for programs
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

fn ids() -> impl clap::builder::TypedValueParser<Value = CheckId> {
    one_of(CheckId::ALL.map(|id| PossibleValue::new(id.name())))
}

impl Check {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        if let Some(path) = &self.from {
            if self.images {
                return images::reported(context, path, self.output);
            }
            let mut seen: Checks = super::reported::read(path, "check.json", VERSION)?;
            seen.clean();
            by_its_lines(&mut seen);
            context.talk().note(format!("as it was at {}", seen.at));
            return tell(context, &seen, self.output);
        }
        if self.all_namespaces {
            let options = CheckOptions::new().only(self.only).skip(self.skip).timeout(self.timeout);
            let look = |cluster| async {
                let cluster = cluster;
                let mut seen = check(&cluster, &options).await.map_err(|error| error.to_string())?;
                advice::word_lines(seen.groups.iter_mut().flat_map(|g| &mut g.checks));
                Ok(seen)
            };
            return everywhere::run(context, HEAD_EVERYWHERE, (self.timeout, self.output), look, place);
        }
        let file = FileArgs::named(self.filename);
        let (deployment, namespace) = file.deployment_or_namespace(context, self.output.is_none())?;
        if self.images {
            let mut options = ContractOptions::new().timeout(self.timeout);
            options.deployment = deployment;
            return images::run(context, namespace, options, self.output);
        }
        let mut options = CheckOptions::new().only(self.only).skip(self.skip).timeout(self.timeout);
        options.deployment = deployment;
        options.before = self.before;
        let signals = context.signals();
        let mut seen = block_on(unless_ended(&signals, async {
            let (cluster, left) = context.connection().cluster_within(namespace, self.timeout).await?;
            Ok(check(&cluster, &options.timeout(left)).await?)
        }))?;
        advice::word_lines(seen.groups.iter_mut().flat_map(|g| &mut g.checks));
        tell(context, &seen, self.output)
    }
}

fn tell(context: &mut Context, seen: &Checks, output: Option<Format>) -> Result<u8, CliError> {
    match output {
        Some(format) => context.results().value(format, seen)?,
        None => context.results().styled(&text(seen))?,
    }
    Ok(exit::of_look(seen.healthy, seen.complete))
}

/// What somebody saved says no more of itself than its lines do.
fn by_its_lines(seen: &mut Checks) {
    let is_unwell = seen.lines().any(|line| line.status > CheckStatus::Warning);
    let is_whole = seen.lines().next().is_some() && seen.lines().all(|line| line.status.is_known());
    seen.healthy &= !is_unwell;
    seen.complete &= is_whole;
}

const HEAD_EVERYWHERE: [&str; 7] = ["NAMESPACE", "RESULT", "OK", "WARNINGS", "UNWELL", "UNSEEN", "FIRST"];

/// A namespace's line of the table of all.
fn place(namespace: &str, seen: &Checks) -> Told<{ HEAD_EVERYWHERE.len() }> {
    let count = |status: fn(CheckStatus) -> bool| seen.lines().filter(|l| status(l.status)).count().to_string();
    let code = exit::of_look(seen.healthy, seen.complete);
    let (style, result) = match code {
        exit::UNHEALTHY => (BAD, "unwell"),
        exit::OK => (GOOD, "well"),
        _ => (WARN, "unseen"),
    };
    let mut told: Vec<&CheckLine> = seen.lines().filter(|l| l.status > CheckStatus::NotApplicable).collect();
    told.sort_by_key(|l| std::cmp::Reverse(l.status));
    let mut told: Vec<String> = told.iter().map(|l| format!("{} {}: {}", l.id, l.title, l.detail)).collect();
    if seen.lines().next().is_none() {
        told.push("nothing was looked at".to_owned());
    }
    let cells = [
        namespace.to_owned(),
        result.to_owned(),
        count(|s| s == CheckStatus::Ok),
        count(|s| s == CheckStatus::Warning),
        count(|s| s > CheckStatus::Warning),
        count(|s| !s.is_known()),
        first_of(told.iter().map(String::as_str)),
    ];
    (cells, style, code)
}

/// A line, with what to do about it and where that stands, unless the line before it said the same.
fn row(line: &CheckLine, before: Option<&CheckLine>) -> String {
    let (style, mark) = match line.status {
        CheckStatus::Ok => (GOOD, "ok"),
        CheckStatus::NotApplicable => (DIM, "n/a"),
        CheckStatus::Skipped | CheckStatus::Unseen => (WARN, "unseen"),
        CheckStatus::Warning => (WARN, "warning"),
        CheckStatus::Failed | CheckStatus::Refused => (BAD, "failed"),
        _ => (WARN, "unknown"),
    };
    let mut text = format!("  {style}{mark:<8}{style:#} {DIM}{:<15}{DIM:#} {}", line.id, plain(&line.title));
    if !line.detail.is_empty() {
        let _ = write!(text, ": {}", plain(&line.detail));
    }
    text.push('\n');
    let told = before.filter(|b| b.id == line.id && b.status > CheckStatus::NotApplicable);
    let said = told.filter(|b| b.status >= CheckStatus::Warning).and_then(|b| b.fix.as_ref());
    if let Some(fix) = line.fix.as_ref().filter(|fix| line.status >= CheckStatus::Warning && said != Some(fix)) {
        let _ = writeln!(text, "           fix: {}", plain(&fix.to_string()));
    }
    if line.status > CheckStatus::NotApplicable && told.is_none() {
        let _ = writeln!(text, "           {DIM}see {PAGE}#{}{DIM:#}", line.id);
    }
    text
}

fn text(seen: &Checks) -> String {
    let mut text = String::new();
    for group in &seen.groups {
        let _ = writeln!(text, "{}", group.group);
        for (n, line) in group.checks.iter().enumerate() {
            let before = n.checked_sub(1).and_then(|n| group.checks.get(n));
            text.push_str(&row(line, before));
        }
    }
    let count = |status: fn(CheckStatus) -> bool| seen.lines().filter(|l| status(l.status)).count();
    let warnings = count(|s| s == CheckStatus::Warning);
    let unwell = count(|s| s > CheckStatus::Warning);
    let unseen = count(|s| !s.is_known());
    let also = if warnings == 0 { String::new() } else { format!(", {}", counted(warnings, "warning")) };
    let _ = match (unwell, unseen) {
        (0, 0) if seen.complete => writeln!(text, "{GOOD}all is well{GOOD:#}{also}"),
        (0, 0) if seen.lines().next().is_some() => writeln!(text, "{WARN}not everything was looked at{WARN:#}"),
        (0, 0) => writeln!(text, "{WARN}nothing was looked at{WARN:#}"),
        (0, _) => writeln!(
            text,
            "{WARN}nothing unwell was seen, but not everything: {} could not be made{WARN:#}{also}; --skip leaves them out",
            counted(unseen, "check")
        ),
        (_, 0) => writeln!(text, "{BAD}{} unwell{BAD:#}{also}", counted(unwell, "finding")),
        (_, _) => writeln!(
            text,
            "{BAD}{} unwell{BAD:#}{also}, and {} could not be made",
            counted(unwell, "finding"),
            counted(unseen, "check")
        ),
    };
    if seen.partial {
        let _ = writeln!(text, "{WARN}not everything answered in time: --timeout gives it longer{WARN:#}");
    }
    text
}

#[cfg(test)]
mod tests {
    use clearwater::event::CheckGroup;
    use clearwater_kube::check::CheckedGroup;
    use jiff::Timestamp;

    use super::*;

    fn checks(statuses: &[CheckStatus]) -> Checks {
        let checks: Vec<CheckLine> = statuses
            .iter()
            .map(|status| CheckLine {
                id: CheckId::Disk,
                title: "room in the file systems".to_owned(),
                status: *status,
                detail: "97 %\u{1b}[2J are taken".to_owned(),
                fix: Some("make room".into()),
            })
            .collect();
        Checks {
            v: 1,
            namespace: "ims".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            before: false,
            healthy: !statuses.iter().any(|s| *s > CheckStatus::Warning),
            complete: !statuses.is_empty() && !statuses.contains(&CheckStatus::Skipped),
            partial: false,
            looks: 1,
            groups: vec![CheckedGroup { group: CheckGroup::Pods, checks }],
        }
    }

    #[test]
    fn could_not_look_is_never_all_is_well() {
        use CheckStatus::{Failed, NotApplicable, Ok as Good, Skipped, Warning};
        for (statuses, expected, said) in [
            (&[Good][..], exit::OK, "all is well"),
            (&[Good, NotApplicable], exit::OK, "all is well"),
            (&[Good, Warning], exit::OK, "all is well, 1 warning"),
            (&[Good, Skipped], exit::FAILURE, "1 check could not be made"),
            (&[], exit::FAILURE, "nothing was looked at"),
            (&[Skipped, Failed], exit::UNHEALTHY, "1 finding unwell, and 1 check could not be made"),
            (&[Failed, Warning], exit::UNHEALTHY, "1 finding unwell, 1 warning"),
        ] {
            let seen = checks(statuses);
            let shown = anstream::adapter::strip_str(&text(&seen)).to_string();
            assert_eq!(exit::of_look(seen.healthy, seen.complete), expected, "{statuses:?}");
            assert!(shown.contains(said), "{statuses:?}\n{shown}");
            assert_eq!(shown.contains("all is well"), expected == exit::OK, "{shown}");
        }
    }

    #[test]
    fn of_all_namespaces_each_has_a_line_and_a_code() {
        use CheckStatus::{Failed, Ok as Good, Skipped};
        let (cells, _, code) = place("a", &checks(&[Good, Failed, Skipped]));
        assert_eq!((&cells[..6], code), (&["a", "unwell", "1", "0", "1", "1"].map(str::to_owned)[..], exit::UNHEALTHY));
        assert!(cells[6].starts_with("disk room in") && cells[6].ends_with("(and 1 more)"), "{cells:?}");
        let (cells, _, code) = place("a", &checks(&[]));
        assert_eq!((cells[1].as_str(), cells[6].as_str(), code), ("unseen", "nothing was looked at", exit::FAILURE));
    }

    #[test]
    fn every_check_has_its_place_on_the_page() {
        let page = include_str!("../../../docs/check.md");
        for id in CheckId::ALL {
            assert!(page.contains(&format!("\n### {id}\n")), "docs/check.md has no section {id}");
        }
        for heading in page.lines().filter_map(|line| line.strip_prefix("### ")) {
            assert!(
                heading.parse::<CheckId>().is_ok(),
                "docs/check.md has a section {heading}, and there is no such check"
            );
        }
    }
}
