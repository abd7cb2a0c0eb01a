use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anstyle::Style;
use clap::Args;
use clearwater::scale::MemberState;
use clearwater::text::Clean as _;
use clearwater_kube::status::{
    ComponentStatus, Health, PodStatus, Status as Seen, StatusOptions, VERSION, metrics, status,
};
use jiff::Timestamp;

use super::everywhere::{self, Told, first_of};
use crate::advice;
use crate::arguments::FileArgs;
use crate::context::Context;
use crate::duration::{age, limit};
use crate::error::CliError;
use crate::exit;
use crate::output::Format;
use crate::reporter::{BAD, DIM, GOOD, WARN, plain};
use crate::runtime::{block_on, unless_ended};
use crate::table::{Table, screen};

/// Look at a deployment in depth: pods, programs, answers, store members, names, and the cause of whatever is wrong
///
/// Works for deployments that other manifests made, too. Exit code 5 says that something does not serve.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater status -n ims
  kubectl clearwater status --watch
  kubectl clearwater status --watch -o json           a line for each change
  kubectl clearwater status -A --metrics              for Prometheus
  kubectl clearwater status --from night.zip
  kubectl clearwater status -f clearwater.yaml -o json")]
pub(crate) struct Status {
    /// The deployment file to compare with. Default: clearwater.yaml where that exists, else what is there is judged
    #[arg(short, long, visible_alias = "file", value_name = "FILE")]
    filename: Option<PathBuf>,
    /// How long one look may take
    #[arg(long, value_name = "DURATION", value_parser = limit, default_value = "10s")]
    timeout: Duration,
    /// Look again every two seconds, until interrupted; with -o, tell changes alone
    #[arg(short, long)]
    watch: bool,
    /// Write metrics in Prometheus' text format; the exit code is 0 whatever they say
    #[arg(long, conflicts_with_all = ["watch", "output"])]
    metrics: bool,
    /// Show what a report holds, a zip that `report` wrote, instead of looking at a cluster
    #[arg(long, value_name = "FILE", conflicts_with_all = ["filename", "watch", "timeout", "all_namespaces"])]
    from: Option<PathBuf>,
    /// Every namespace that holds a deployment, a line each; the exit code is the worst of all
    #[arg(short = 'A', long, conflicts_with_all = ["filename", "watch"])]
    all_namespaces: bool,
    /// A format for programs
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// How often what is watched is looked at.
const EVERY: Duration = Duration::from_secs(2);

impl Status {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        if let Some(path) = &self.from {
            let mut seen: Seen = super::reported::read(path, "status.json", VERSION)?;
            seen.clean();
            context.talk().note(format!("as it was at {}", seen.at));
            match self.output {
                _ if self.metrics => return told(context, &[(&seen.namespace, Some(&seen))]),
                Some(format) => context.results().value(format, &seen)?,
                None => context.results().styled(&table(&seen, screen()))?,
            }
            return Ok(code(&seen));
        }
        if self.all_namespaces {
            let timeout = self.timeout;
            let look = |cluster| async move {
                let options = StatusOptions::new().timeout(timeout);
                status(&cluster, &options).await.map(advice::status_worded).map_err(|error| error.to_string())
            };
            if self.metrics {
                let places = everywhere::look(context, timeout, look)?;
                let looks: Vec<_> = places.iter().map(|p| (p.namespace.as_str(), p.seen.as_ref())).collect();
                for (place, why) in places.iter().filter_map(|p| Some((p, p.error.as_ref()?))) {
                    context.talk().warning(format!("{}: {why}", place.namespace));
                }
                return told(context, &looks);
            }
            return everywhere::run(context, HEAD_EVERYWHERE, (timeout, self.output), look, place);
        }
        let file = FileArgs::named(self.filename.clone());
        let (deployment, namespace) = file.deployment_or_namespace(context, self.output.is_none() && !self.metrics)?;
        let mut options = StatusOptions::new().timeout(self.timeout);
        options.deployment = deployment;
        let signals = context.signals();
        block_on(unless_ended(&signals, async {
            let (cluster, left) = context.connection().cluster_within(namespace, self.timeout).await?;
            let mut before: Option<Seen> = None;
            options.timeout = left;
            loop {
                let looked = status(&cluster, &options).await;
                options.timeout = self.timeout;
                let seen = match looked {
                    Ok(seen) => advice::status_worded(seen),
                    // What is watched may be seen again.
                    Err(error) if before.is_some() => {
                        context.talk().warning(error);
                        tokio::time::sleep(EVERY).await;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                if self.metrics {
                    return told(context, &[(&seen.namespace, Some(&seen))]);
                }
                if let Some(format) = self.output.filter(|_| !self.watch) {
                    context.results().value(format, &seen)?;
                } else if let Some(format) = self.output {
                    if before.as_ref().is_none_or(|before| !before.tells_the_same(&seen)) {
                        context.results().one_of_many(format, &seen)?;
                    }
                } else {
                    let shown = table(&seen, screen());
                    if self.watch && std::io::stdout().is_terminal() {
                        // Over what stands there, line by line: clearing the screen first would flicker.
                        let over = context.results().painted(&shown).replace('\n', "\u{1b}[K\n");
                        context.results().text(&format!("\u{1b}[H{over}\u{1b}[J"))?;
                    } else {
                        context.results().styled(&shown)?;
                    }
                }
                if !self.watch {
                    return Ok(code(&seen));
                }
                context.results().flush()?;
                before = Some(seen);
                tokio::time::sleep(EVERY).await;
            }
        }))
    }
}

/// What was seen, as metrics: they say how it is, and the exit code whether something was looked at.
fn told(context: &mut Context, looks: &[(&str, Option<&Seen>)]) -> Result<u8, CliError> {
    if !looks.iter().any(|(_, seen)| seen.is_some()) {
        context.talk().error("nothing was looked at: no namespace holds a deployment that could be");
        return Ok(exit::FAILURE);
    }
    context.results().text(&metrics(looks))?;
    Ok(exit::OK)
}

fn code(seen: &Seen) -> u8 {
    let is_wrong = seen.components.is_empty() || seen.components.iter().any(|c| c.health < Health::Unseen);
    let serves = seen.healthy && seen.components.iter().all(|c| c.health == Health::Serving);
    exit::of_look(!is_wrong, seen.complete && serves && !seen.unreached)
}

const HEAD_EVERYWHERE: [&str; 7] = ["NAMESPACE", "HEALTH", "RELEASE", "SERVING", "PODS", "RESTARTS", "PROBLEM"];

/// A namespace's line of the table of all.
fn place(namespace: &str, seen: &Seen) -> Told<{ HEAD_EVERYWHERE.len() }> {
    let (style, health) = match (!seen.complete || seen.unreached, seen.components.iter().map(|c| c.health).min()) {
        (true, _) if seen.healthy => (WARN, "unseen"),
        (_, Some(health)) => word(health),
        // Pods may run in it still.
        (_, None) if seen.leaving => (BAD, "leaving"),
        (_, None) => (BAD, "nothing"),
    };
    let (ready, wanted) = seen.components.iter().fold((0, 0), |(r, w), c| (r + c.ready, w + c.wanted));
    let restarts: u32 = seen.components.iter().flat_map(|c| &c.pods).map(|p| p.restarts).sum();
    let told = |text: String| if seen.components.is_empty() { "-".to_owned() } else { text };
    let problems = seen.components.iter().flat_map(|c| c.problems.iter().map(move |p| format!("{}: {p}", c.component)));
    // A note tells what is worth knowing where nothing is wrong.
    let notes = seen.notes.iter().filter(|_| seen.components.is_empty() || !seen.complete).cloned();
    let problems: Vec<String> = problems.chain(notes).collect();
    let cells = [
        namespace.to_owned(),
        health.to_owned(),
        told(seen.release.to_string()),
        told(serving(seen)),
        told(format!("{ready}/{wanted}")),
        told(restarts.to_string()),
        first_of(problems.iter().map(String::as_str)),
    ];
    (cells, style, code(seen))
}

/// How many components serve. Of one that could not be asked it is not known.
fn serving(seen: &Seen) -> String {
    let count = |health: Health| seen.components.iter().filter(|c| c.health == health).count();
    match (count(Health::Serving), count(Health::Unseen), seen.components.len()) {
        (serving, 0, all) => format!("{serving}/{all}"),
        (serving, unseen, all) => format!("{serving}/{all}, {unseen} unseen"),
    }
}

fn word(health: Health) -> (Style, &'static str) {
    match health {
        Health::Absent => (BAD, "absent"),
        Health::Stalled => (BAD, "stalled"),
        Health::Starting => (WARN, "starting"),
        Health::Unwell => (BAD, "unwell"),
        Health::Unseen => (WARN, "unseen"),
        Health::Serving => (GOOD, "serving"),
    }
}

fn members(c: &ComponentStatus) -> String {
    if c.members.is_empty() {
        return "-".to_owned();
    }
    let normal = c.members.values().filter(|s| **s == MemberState::Normal).count();
    format!("{normal}/{} normal", c.members.len())
}

/// A sum over the pods as `well/all`; a dash where nothing could be asked.
fn sum(c: &ComponentStatus, of: fn(&PodStatus) -> Option<(u32, u32)>) -> String {
    let known: Vec<(u32, u32)> = c.pods.iter().filter_map(of).collect();
    if known.is_empty() {
        return "-".to_owned();
    }
    format!("{}/{}", known.iter().map(|p| p.0).sum::<u32>(), known.iter().map(|p| p.1).sum::<u32>())
}

const HEAD: [&str; 11] =
    ["COMPONENT", "HEALTH", "PODS", "PROGRAMS", "PING", "MEMBERS", "DNS", "RESTARTS", "AGE", "ROLES", "IMAGE"];

fn row(c: &ComponentStatus, at: Timestamp) -> [String; HEAD.len()] {
    let restarts: u32 = c.pods.iter().map(|p| p.restarts).sum();
    [
        c.component.name().to_owned(),
        word(c.health).1.to_owned(),
        format!("{}/{}", c.ready, c.wanted),
        sum(c, |p| p.programs),
        sum(c, |p| p.answers),
        members(c),
        sum(c, |p| p.names),
        restarts.to_string(),
        c.pods.iter().filter_map(|p| p.started).min().map_or_else(|| "-".to_owned(), |since| age(since, at)),
        c.roles.join(", "),
        c.image.rsplit('/').next().unwrap_or_default().to_owned(),
    ]
}

/// The whole as text, no table line longer than the screen is wide.
fn table(seen: &Seen, screen: usize) -> String {
    let mut text = format!("namespace {}, release {}\n", seen.namespace, seen.release);
    let rows = seen.components.iter().map(|c| row(c, seen.at)).collect();
    let table = Table::new(HEAD, rows, screen);
    if !seen.components.is_empty() {
        let _ = writeln!(text, "{}", table.head());
    }
    for (n, c) in seen.components.iter().enumerate() {
        let _ = writeln!(text, "{}", table.row(n, word(c.health).0));
        for problem in &c.problems {
            let _ = writeln!(text, "  {BAD}{}{BAD:#}", plain(&problem.to_string()));
        }
        if let Some(log) = &c.log {
            let _ = writeln!(text, "  last lines of {}:", log.from);
            for line in &log.lines {
                let _ = writeln!(text, "    {DIM}{}{DIM:#}", plain(line));
            }
        }
        for one in &c.unchecked {
            let _ = writeln!(text, "  {DIM}skipped: {}{DIM:#}", plain(one));
        }
        if c.pending > 0 {
            // Reports of before it was told have none.
            let renewal =
                c.renewal.as_ref().map_or_else(String::new, |renewal| format!("; what renews them: {renewal}"));
            let _ = writeln!(
                text,
                "  {WARN}pending: {} of its pods run the old revision{}{WARN:#}",
                c.pending,
                plain(&renewal)
            );
        }
    }
    for note in &seen.notes {
        let _ = writeln!(text, "{DIM}{}{DIM:#}", plain(note));
    }
    if !seen.complete {
        let _ =
            writeln!(text, "{WARN}not everything could be looked at: what could not be asked is told above{WARN:#}");
    }
    if seen.partial {
        let _ = writeln!(text, "{WARN}not everything answered in time: --timeout gives it longer{WARN:#}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(components: &serde_json::Value, complete: bool) -> Seen {
        serde_json::from_value(json!({"v": 1, "namespace": "ims", "release": "hunter", "at": "2026-11-23T10:00:00Z",
            "healthy": true, "partial": false, "complete": complete, "looks": 1, "notes": ["worth knowing"],
            "components": components}))
        .unwrap()
    }

    fn bono(health: &str) -> serde_json::Value {
        json!([{"component": "bono", "roles": [], "health": health, "image": "x", "ready": 1, "wanted": 1,
            "pods": [], "members": {}, "problems": [], "unchecked": [], "pending": 0}])
    }

    #[test]
    fn a_note_is_no_problem_of_a_namespace() {
        let problem = |seen: &Seen| place("ims", seen).0[6].clone();
        assert_eq!(problem(&seen(&bono("serving"), true)), "");
        assert_eq!(problem(&seen(&bono("serving"), false)), "worth knowing");
        assert_eq!(problem(&seen(&json!([]), true)), "worth knowing");
    }

    /// What goes is not absent, and what could not be asked is not told as a number.
    #[test]
    fn of_what_was_not_seen_nothing_is_counted() {
        let cells = |seen: &Seen| place("ims", seen).0[1..6].join(" ");
        let leaving = |leaving: bool| Seen { leaving, healthy: false, ..seen(&json!([]), true) };
        assert_eq!(cells(&leaving(true)), "leaving - - - -");
        assert_eq!(cells(&leaving(false)), "nothing - - - -");
        assert_eq!(cells(&seen(&bono("serving"), true)), "serving hunter 1/1 1/1 0");
        let unseen = Seen { healthy: false, ..seen(&bono("unseen"), false) };
        assert_eq!(cells(&unseen), "unseen hunter 0/1, 1 unseen 1/1 0");
    }

    /// What would be refused is not advised.
    #[test]
    fn old_pods_are_renewed_by_what_works_for_them() {
        let mut one = bono("serving");
        one[0]["pending"] = json!(1);
        assert!(table(&seen(&one, true), 200).contains("pending: 1 of its pods run the old revision\u{1b}"));
        one[0]["renewal"] = json!("take chronos down");
        assert!(table(&seen(&one, true), 200).contains("run the old revision; what renews them: take chronos down"));
    }

    #[test]
    fn what_could_not_be_looked_at_is_never_well_and_hides_nothing_that_is_wrong() {
        let code_of = |health: &str, complete: bool, unreached: bool| {
            let healthy = health == "serving";
            code(&Seen { healthy, unreached, ..seen(&bono(health), complete) })
        };
        for (health, complete, unreached, expected) in [
            ("serving", true, false, exit::OK),
            ("serving", false, false, exit::FAILURE),
            ("unseen", false, false, exit::FAILURE),
            ("unwell", true, false, exit::UNHEALTHY),
            ("unwell", false, false, exit::UNHEALTHY),
            ("unwell", false, true, exit::UNHEALTHY),
        ] {
            assert_eq!(code_of(health, complete, unreached), expected, "{health}, {complete}, {unreached}");
        }
        assert_eq!(code(&seen(&json!([]), true)), exit::UNHEALTHY);
    }
}
