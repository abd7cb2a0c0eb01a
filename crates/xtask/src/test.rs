//! `cargo xtask test`: what CI runs.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use clearwater_testbed::layout::NAME_VARIABLE;
use clearwater_testbed::{Local, Options as ClusterOptions};

use crate::check;
use crate::standins;
use crate::steps::{Step, Steps, say};

/// How long a run may take; CI gives up at 90 minutes.
const DEADLINE: Duration = Duration::from_secs(70 * 60);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Name of the cluster. One that runs already is used and left running.
    #[arg(long, env = NAME_VARIABLE, default_value = "ci")]
    name: String,
    /// Leave the cluster running afterwards, to look at what failed.
    #[arg(long)]
    keep: bool,
    /// Leave out the checks that need no cluster.
    #[arg(long)]
    no_check: bool,
    /// Run only the end-to-end tests whose name contains this.
    filter: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut steps = Steps::within(DEADLINE);
    if !options.no_check {
        check::all(&mut steps)?;
    }
    let stood = Local::open(&options.name).is_ok_and(|local| local.status().is_healthy());
    let done = on_cluster(options, &mut steps);
    if !options.keep && !stood {
        timed(&mut steps, "cluster", || Local::down(&options.name, false, &say))?;
    }
    steps.summary();
    done.map(|()| ExitCode::SUCCESS)
}

fn on_cluster(options: &Options, steps: &mut Steps) -> anyhow::Result<()> {
    timed(steps, "cluster", || Local::up(&options.name, ClusterOptions::default(), &say).map(drop))?;
    timed(steps, "images", || standins::import(&options.name))?;
    steps.run([Step::new("build", "cargo", &["build", "--quiet", "-p", "kubectl-clearwater"])])?;
    let mut args = vec!["test", "--quiet", "--no-fail-fast", "-p", "clearwater-testbed", "-p", "clearwater-e2e", "--"];
    // It kills every part of a cluster of its own and compares the whole machine before and after: by hand, when nothing
    // else runs on it.
    args.extend(["--ignored", "--test-threads=1", "--skip", "a_cluster_survives_kills"]);
    args.extend(options.filter.as_deref());
    steps.run([Step::new("end to end", "cargo", &args).env(NAME_VARIABLE, &options.name)])
}

fn timed<T>(steps: &mut Steps, group: &'static str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    let done = work();
    steps.note(group, began.elapsed());
    done
}
