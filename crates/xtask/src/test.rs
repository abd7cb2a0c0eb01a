//! `cargo xtask test`: what CI runs.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use crate::bed::{NAME_VARIABLE, TESTBED, program, standin};
use crate::build::Features;
use crate::check::{self, Checks, test_programs};
use crate::embed::Outside;
use crate::steps::{Step, Steps, say};
use crate::tools::phone;

/// The programs of tests that need a cluster. cargo runs the programs of a group one after the other, and at the end of
/// each the machine waits for its slowest test; groups side by side fill that time for each other. Each takes about as long.
const GROUPS: [&[&str]; 3] = [&["standins", "dns"], &["scale", "subscribers"], &["cluster", "life", "logs", "up"]];

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

/// What is tested, and where.
#[derive(Debug, Args)]
pub struct Options {
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

/// Runs the checks and the tests.
///
/// # Errors
/// What failed each time, and the deadline.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut steps = Steps::within(DEADLINE);
    warn_of_a_full_disk()?;
    let features = Features::found()?;
    let outside = Outside::new()?;
    let mut checks = if options.no_check { None } else { Some(check::all(&features, &outside)?) };
    if let Some(checks) = &mut checks {
        // What the cluster is made of takes minutes to build, the first time.
        checks.beside.splice(0..0, made());
    }
    let prepared = prepared(&options.name);
    // The tests: side by side, and one by one; and the cluster's end.
    let tests = if options.filter.is_some() { 1 } else { 2 };
    let checked = checks.as_ref().map_or(1, Checks::count);
    steps.expect(checked + prepared.len() + tests + usize::from(!options.keep));
    match checks {
        Some(checks) => checks.run(&mut steps)?,
        None => steps.run([test_programs(&features)])?,
    }
    let stood = stands(&options.name);
    let done = steps.run(prepared).and_then(|()| on_cluster(options, &features, &mut steps));
    if !options.keep && !stood {
        steps.run([bed("cluster", &["cluster", "down", "--name", &options.name]).named("take the cluster down")])?;
    }
    steps.summary();
    done.map(|()| ExitCode::SUCCESS)
}

/// A step that is the test bed's program with these words.
fn bed(group: &'static str, words: &[&str]) -> Step<'static> {
    Step::new(group, program(TESTBED), words)
}

fn stands(cluster: &str) -> bool {
    let status = Command::new(program(TESTBED)).args(["cluster", "status", "--name", cluster]).output();
    status.is_ok_and(|o| o.status.success())
}

/// What the cluster and its images are made of.
fn made() -> [Step<'static>; 3] {
    [
        standin(),
        bed("cluster", &["cluster", "build"]).named("build the cluster's programs"),
        bed("images", &["standins", "build"]).named("build the images"),
    ]
}

/// What the tests need: a cluster with the images.
fn prepared(cluster: &str) -> [Step<'static>; 3] {
    [
        standin(),
        bed("cluster", &["cluster", "up", "--name", cluster]).named("a cluster"),
        bed("images", &["standins", "import", "--name", cluster]).named("give it the images"),
    ]
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

fn on_cluster(options: &Options, features: &Features, steps: &mut Steps) -> anyhow::Result<()> {
    let phone = phone()?;
    let tests_of = |of: &[&str], group, threads: &str, which: &[&str]| {
        let mut args = vec!["test", "--no-fail-fast", "--workspace"];
        args.extend(of.iter().flat_map(|program| ["--test", program]));
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
    let groups = GROUPS.map(|programs| tests_of(programs, "together", TOGETHER, &others));
    let mut failed = steps.tests("end to end, side by side", groups)?;
    let mut alone = vec!["--skip", BY_HAND, "--skip", OF_PROOFS];
    if !features.etcd() {
        alone.extend(["--skip", OF_ETCD]);
    }
    alone.push(ALONE);
    let (own, shared): (Vec<_>, Vec<_>) = all.iter().copied().partition(|program| *program == OWN_CLUSTER);
    let parts = [own, shared].map(|programs| tests_of(&programs, "alone", "1", &alone));
    failed.extend(steps.tests("end to end, what disturbs the cluster", parts)?);
    // A machine of two cores may be too slow for a deadline when others use it; what fails by itself, and again, is wrong.
    for group in AGAIN {
        if failed.is_empty() {
            return Ok(());
        }
        say(&format!("failed, and tried {group} one by one: {}", failed.join(", ")));
        let again: Vec<&str> = std::iter::once("--exact").chain(failed.iter().map(String::as_str)).collect();
        failed = steps.tests(group, [tests(group, "1", &again)])?;
    }
    ensure!(failed.is_empty(), "failed each time: {}", failed.join(", "));
    Ok(())
}
