//! `cargo xtask test`: what CI runs.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use clearwater_testbed::layout::NAME_VARIABLE;
use clearwater_testbed::{Local, Options as ClusterOptions};

use crate::build::Features;
use crate::check;
use crate::standins;
use crate::steps::{Steps, say};
use crate::tools::phone;

/// The programs of tests that need a cluster. cargo runs the programs of a group one after the other, and at the end of
/// each the machine waits for its slowest test; groups side by side fill that time for each other.
const GROUPS: [&[&str]; 3] = [&["standins"], &["dns", "scale"], &["cluster", "life", "logs", "subscribers", "up"]];

/// How many tests of each group run at once. They wait for the cluster most of the time, but with a seventh of them calls
/// begin to fail on two cores.
const TOGETHER: &str = "2";

/// Tests whose path contains this disturb the cluster that all share, and run one by one.
const ALONE: &str = "alone";

/// Its tests that run one by one disturb a cluster of their own: beside those that disturb the one that all share.
const OWN_CLUSTER: &str = "life";

/// It kills every part of a cluster of its own and compares the whole machine before and after: by hand, when nothing
/// else runs on it.
const BY_HAND: &str = "a_cluster_survives_kills";

/// What takes longer and belongs to a proof.
const OF_PROOFS: &str = "by_hand";

/// What takes a plugin with the backend etcd.
const OF_ETCD: &str = "alone::keys";

/// What failed is tried so many times more, each by itself.
const AGAIN: [&str; 2] = ["once more", "a last time"];

/// How long a run may take; CI gives up at 90 minutes.
const DEADLINE: Duration = Duration::from_secs(70 * 60);

/// What a run from nothing writes to the disk, in MB: what is built, the images, the nodes' own files.
const NEEDED: u64 = 16_000;

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
    warn_of_a_full_disk()?;
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

/// A disk that fills in the middle is told by kubelets that evict pods, and by nothing that names it.
fn warn_of_a_full_disk() -> anyhow::Result<()> {
    let disk = rustix::fs::statvfs(".").context("cannot ask how much of the disk is free")?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize) / 1_000_000;
    if free < NEEDED {
        say(&format!(
            "warning: {free} MB of this disk are free, and a run from nothing takes {NEEDED}: `cargo clean` frees what was built"
        ));
    }
    Ok(())
}

fn on_cluster(options: &Options, steps: &mut Steps) -> anyhow::Result<()> {
    timed(steps, "cluster", || Local::up(&options.name, ClusterOptions::default(), &say).map(drop))?;
    timed(steps, "images", || standins::import(&options.name))?;
    // The whole workspace each time: a part of it would choose other features of its dependencies and build them anew.
    let features = Features::found()?;
    steps.run([features.step("build", &["build", "--quiet", "--workspace", "--bin", "kubectl-clearwater"])])?;
    let phone = phone()?;
    let tests_of = |programs: &[&str], group, threads: &str, which: &[&str]| {
        let mut args = vec!["test", "--quiet", "--no-fail-fast", "--workspace"];
        args.extend(programs.iter().flat_map(|program| ["--test", program]));
        args.extend(["--", "--ignored"]);
        args.extend(["--test-threads", threads]);
        args.extend(which);
        let step = features.step(group, &args).env(NAME_VARIABLE, &options.name);
        match &phone {
            Some(program) => step.env("CLEARWATER_BARESIP", program),
            None => step,
        }
    };
    let all = GROUPS.concat();
    let tests = |group, threads: &str, which: &[&str]| tests_of(&all, group, threads, which);
    if let Some(filter) = &options.filter {
        return steps.run([tests("end to end", "1", &[filter])]);
    }
    let others = ["--skip", ALONE, "--skip", BY_HAND, "--skip", OF_PROOFS];
    // Built before the groups run side by side, or one would wait for the other's build.
    steps.run([features.step("build", &["test", "--quiet", "--workspace", "--no-run"])])?;
    let mut failed = steps.tests(GROUPS.map(|programs| tests_of(programs, "together", TOGETHER, &others)))?;
    let mut alone = vec!["--skip", BY_HAND, "--skip", OF_PROOFS];
    if !features.etcd() {
        alone.extend(["--skip", OF_ETCD]);
    }
    alone.push(ALONE);
    let (own, shared): (Vec<_>, Vec<_>) = all.iter().copied().partition(|program| *program == OWN_CLUSTER);
    failed.extend(steps.tests([own, shared].map(|programs| tests_of(&programs, "alone", "1", &alone)))?);
    // A machine of two cores may be too slow for a deadline when others use it; what fails by itself, and again, is wrong.
    for group in AGAIN {
        if failed.is_empty() {
            return Ok(());
        }
        say(&format!("failed, and tried {group} one by one: {}", failed.join(", ")));
        let again: Vec<&str> = std::iter::once("--exact").chain(failed.iter().map(String::as_str)).collect();
        failed = steps.tests([tests(group, "1", &again)])?;
    }
    ensure!(failed.is_empty(), "failed each time: {}", failed.join(", "));
    Ok(())
}

fn timed<T>(steps: &mut Steps, group: &'static str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    let done = work();
    steps.note(group, began.elapsed());
    done
}
