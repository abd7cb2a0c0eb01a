//! `status` of healthy deployments on a busy machine: none may be called unwell; and of one that is not, which must be.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, Ran, cluster};
use serde_json::Value;

use crate::common::gone;
use xtask::steps::say;

const LIMIT: Duration = Duration::from_secs(900);
/// Looks at each of the two deployments.
const LOOKS: usize = 100;
/// Looks at the one that is unwell.
const UNWELL: usize = 20;

/// One look.
struct Look {
    code: i32,
    /// How often it had to look.
    times: u64,
    took: Duration,
    /// What it called wrong.
    wrong: Vec<String>,
}

fn look(plugin: &Plugin) -> Result<Look> {
    let Ran { code, out, err, took } = plugin.run(&["status", "-o", "json"])?;
    ensure!(code == 0 || code == 5, "status ended with {code}: {err}");
    let seen: Value = serde_json::from_str(&out).with_context(|| format!("status -o json: {out}"))?;
    let all = seen["components"].as_array().context("no components")?;
    let bad = all.iter().filter(|c| c["health"] != "serving");
    let wrong = bad.map(|c| format!("{}: {} {}", c["component"], c["health"], c["problems"])).collect();
    Ok(Look { code, times: seen["looks"].as_u64().unwrap_or(1), took, wrong })
}

fn looks(plugin: &Plugin, number: usize) -> Result<Vec<Look>> {
    (0..number).map(|_| look(plugin)).collect()
}

/// Keeps twice as many threads busy as there are processors, until the work is done.
fn busy<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = AtomicBool::new(false);
    let threads = 2 * thread::available_parallelism()?.get();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let worked = work();
        done.store(true, Ordering::Relaxed);
        worked
    })
}

fn row(page: &mut String, what: &str, right: i32, looks: &[Look]) -> Result<()> {
    let mut times: Vec<f64> = looks.iter().map(|l| l.took.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    let of = |share: usize| times.get((times.len() * share / 100).min(times.len() - 1)).copied().unwrap_or_default();
    writeln!(
        page,
        "| {what} | {} | {} | {} | {:.1} | {:.1} | {:.1} |",
        looks.len(),
        looks.iter().filter(|l| l.code != right).count(),
        looks.iter().filter(|l| l.times > 1).count(),
        of(50),
        of(95),
        of(100),
    )?;
    Ok(())
}

pub(crate) fn run() -> Result<String> {
    let cluster = cluster();
    let spaces = [cluster.namespace("status-a")?, cluster.namespace("status-b")?];
    let plugins = [Plugin::new(cluster, spaces[0].name())?, Plugin::new(cluster, spaces[1].name())?];
    for plugin in &plugins {
        say("==> a deployment comes up");
        plugin.follow(&["up", "--yes"])?.finish(LIMIT)?.0.expect(0)?;
    }
    say("==> two hundred looks while the machine is busy");
    let (healthy, load) = busy(|| {
        thread::scope(|scope| {
            let tasks: Vec<_> = plugins.iter().map(|p| scope.spawn(|| looks(p, LOOKS))).collect();
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.join().map_err(|_| anyhow::anyhow!("a task panicked"))??);
            }
            Ok((all, fs::read_to_string("/proc/loadavg")?))
        })
    })?;
    say("==> and at a deployment whose homer is stopped");
    let stop = "supervisorctl stop clearwater-group:homer; true";
    spaces[0].kubectl().run(["exec", "deployment/homer", "--", "bash", "-c", stop])?;
    let unwell = busy(|| looks(&plugins[0], UNWELL))?;

    let mut page = format!(
        "Two deployments of all components, looked at by two loops at the same time, while twice as many threads as the \
         machine has processors do nothing but count, beside what else ran on it (load average at the end: {}). A look is \
         wrong where its exit code is not that of the truth: 0, and 5 once homer's program was stopped. The deadline of a \
         look is 10 s.\n\n\
         | deployment | looks | wrong | looked again | median (s) | 95 % (s) | longest (s) |\n|---|---|---|---|---|---|---|\n",
        load.split(' ').next().unwrap_or_default()
    );
    row(&mut page, "healthy", 0, &healthy)?;
    row(&mut page, "homer stopped", 5, &unwell)?;
    for look in healthy.iter().filter(|l| l.code != 0) {
        writeln!(page, "\nWrong: {}", look.wrong.join("; "))?;
    }
    say(&page);
    ensure!(healthy.iter().all(|l| l.code == 0), "a healthy deployment was called unwell\n{page}");
    ensure!(
        unwell.iter().all(|l| l.code == 5 && l.wrong.iter().any(|w| w.contains("homer") && w.contains("STOPPED"))),
        "homer's trouble was not said\n{page}"
    );
    for space in spaces {
        gone(space)?;
    }
    Ok(page)
}
