use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anstyle::Style;
use clap::Args;
use clearwater_kube::Cluster;
use clearwater_kube::status::{ComponentStatus, Health, Status as Seen, StatusOptions, status};
use jiff::Timestamp;

use crate::cli::{FileArgs, USUAL};
use crate::connection::duration;
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;
use crate::reporter::{BAD, DIM, GOOD, WARN, plain};
use crate::runtime::block_on;
use crate::signal::Signals;

/// Look at a deployment in depth: pods, programs, answers, store members, names, and the cause of whatever is wrong
///
/// Works for deployments that other manifests made, too. Exit code 5 says that something does not serve.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The deployment file to compare with. Default: clearwater.yaml where that exists, else what is there is judged
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,
    /// How long one look may take
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    timeout: Duration,
    /// Look again every two seconds, until interrupted
    #[arg(short, long)]
    watch: bool,
    /// A format for programs
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

impl Status {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let deployment = if self.filename.is_some() || std::path::Path::new(USUAL).exists() {
            Some(FileArgs::named(self.filename.clone()).deployment(context)?)
        } else {
            None
        };
        let namespace = match &deployment {
            Some(deployment) => deployment.namespace().to_owned(),
            None => context.connection().namespace_for(&clearwater::config::DeploymentFile::default())?,
        };
        let options = StatusOptions { deployment, timeout: self.timeout };
        block_on(async {
            let client = context.connection().client().await?;
            let cluster = Cluster::new(client, namespace);
            let mut signals = Signals::new();
            loop {
                let seen = status(&cluster, &options).await.map_err(|e| CliError::Connection(e.to_string()))?;
                if let Some(format) = self.output {
                    context.results().value(format, &seen)?;
                } else {
                    if self.watch && std::io::stdout().is_terminal() {
                        context.results().text("\u{1b}[H\u{1b}[2J")?;
                    }
                    context.results().styled(&table(&seen))?;
                }
                let code = if seen.healthy { exit::OK } else { exit::UNHEALTHY };
                if !self.watch {
                    return Ok(code);
                }
                context.results().flush()?;
                tokio::select! {
                    _ = signals.next() => return Ok(code),
                    () = tokio::time::sleep(Duration::from_secs(2)) => {}
                }
            }
        })?
    }
}

fn word(health: Health) -> (Style, &'static str) {
    match health {
        Health::Absent => (BAD, "absent"),
        Health::Stalled => (BAD, "stalled"),
        Health::Starting => (WARN, "starting"),
        Health::Unwell => (BAD, "unwell"),
        Health::Serving => (GOOD, "serving"),
    }
}

fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    let Some(since) = since else { return "-".to_owned() };
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

fn members(c: &ComponentStatus) -> String {
    if c.members.is_empty() {
        return "-".to_owned();
    }
    let normal = c.members.values().filter(|s| *s == "normal").count();
    format!("{normal}/{} normal", c.members.len())
}

fn programs(c: &ComponentStatus) -> String {
    let known: Vec<(u32, u32)> = c.pods.iter().filter_map(|p| p.programs).collect();
    if known.is_empty() {
        return "-".to_owned();
    }
    format!("{}/{}", known.iter().map(|p| p.0).sum::<u32>(), known.iter().map(|p| p.1).sum::<u32>())
}

fn table(seen: &Seen) -> String {
    let mut text = format!("namespace {}, release {}\n", seen.namespace, seen.release);
    let _ = writeln!(
        text,
        "{:<15}{:<10}{:<6}{:<10}{:<13}{:<9}{:<5}{:<35}ROLES",
        "COMPONENT", "HEALTH", "PODS", "PROGRAMS", "MEMBERS", "RESTARTS", "AGE", "IMAGE"
    );
    for c in &seen.components {
        let (style, health) = word(c.health);
        let image = c.image.rsplit('/').next().unwrap_or_default();
        let restarts: u32 = c.pods.iter().map(|p| p.restarts).sum();
        let oldest = c.pods.iter().filter_map(|p| p.started).min();
        let _ = writeln!(
            text,
            "{:<15}{style}{health:<10}{style:#}{:<6}{:<10}{:<13}{restarts:<9}{:<5}{image:<35}{}",
            c.component.name(),
            format!("{}/{}", c.ready, c.wanted),
            programs(c),
            members(c),
            age(oldest, seen.at),
            c.roles.join(", ")
        );
        for problem in &c.problems {
            let _ = writeln!(text, "  {BAD}{}{BAD:#}", plain(problem));
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
            let _ = writeln!(
                text,
                "  {WARN}pending: {} of its pods run the old revision; kubectl clearwater up --replace-stores renews \
                 them{WARN:#}",
                c.pending
            );
        }
    }
    for note in &seen.notes {
        let _ = writeln!(text, "{DIM}{}{DIM:#}", plain(note));
    }
    if seen.partial {
        let _ = writeln!(text, "{WARN}not everything answered in time: --timeout gives it longer{WARN:#}");
    }
    text
}
