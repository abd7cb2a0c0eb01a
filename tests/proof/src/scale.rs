//! `scale` with much in the stores, SIGKILL at random moments, and beside `kubectl scale`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Hoard, Plugin, Ran, addresses, cluster};
use clearwater_testbed::sip::{Calls, Phone, Transport};
use clearwater_testbed::{Attempt, Kubectl, wait_for};

use crate::common::{gone, now};
use crate::kills::Dice;
use xtask::steps::say;

const LIMIT: Duration = Duration::from_secs(600);

/// How large the proof is.
struct Size {
    keys: u32,
    timers: u32,
    /// When the timers are due, in seconds.
    due: u32,
    kills: u32,
    rollouts: u32,
}

pub(crate) fn run(short: bool) -> Result<String> {
    let size = if short {
        Size { keys: 1000, timers: 100, due: 240, kills: 2, rollouts: 5 }
    } else {
        Size { keys: 10_000, timers: 1000, due: 600, kills: 10, rollouts: 9 }
    };
    let (mut page, mut compared) = (String::new(), String::new());
    // First, for it is the shortest and the one that a machine doing something else spoils.
    rollouts(&size, &mut compared)?;
    stores(&size, &mut page)?;
    calls(&mut page)?;
    Ok(page + &compared)
}

fn scale(plugin: &Plugin, targets: &[&str]) -> Result<Ran> {
    let args: Vec<&str> =
        ["scale"].into_iter().chain(targets.iter().copied()).chain(["--yes", "--mark-failed"]).collect();
    plugin.follow(&args)?.finish(LIMIT)?.0.expect(0)
}

fn stores(size: &Size, page: &mut String) -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-prove-scale")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    plugin.run_within(LIMIT, &["up", "--yes", "--only", "astaire,chronos,cassandra"])?.expect(0)?;
    say(&format!("==> {} keys, {} timers", size.keys, size.timers));
    let began = Instant::now();
    let hoard = Hoard::put(kubectl, size.keys, size.timers, size.due)?;

    writeln!(
        page,
        "{} keys are written through astaire's port 11311 and {} timers set in chronos, due {} s later, before the first \
         step. After every row all keys are read back.\n\n\
         | step | time (s) | keys |\n|---|---|---|",
        size.keys, size.timers, size.due
    )?;
    let row = |page: &mut String, what: &str, took: Duration| -> Result<()> {
        hoard.check_keys().with_context(|| format!("after {what}"))?;
        Ok(writeln!(page, "| {what} | {:.1} | all |", took.as_secs_f64())?)
    };
    say("==> up and down, undisturbed");
    let up = scale(&plugin, &["astaire=3", "chronos=3", "cassandra=3"])?.took;
    row(page, "astaire, chronos, cassandra 1→3", up)?;
    let refused = plugin.run_within(LIMIT, &["scale", "cassandra", "2", "--yes"])?.expect(6)?;
    row(page, "cassandra 3→2: refused", refused.took)?;
    let down = scale(&plugin, &["astaire=1", "chronos=1"])?.took;
    row(page, "astaire, chronos 3→1", down)?;

    let seed = now()? | 1;
    let mut dice = Dice(seed);
    for i in 0..size.kills {
        let (targets, whole) =
            if i % 2 == 0 { (["astaire=3", "chronos=3"], up) } else { (["astaire=1", "chronos=1"], down) };
        let moment = Duration::from_millis(dice.below(u64::try_from(whole.as_millis())?));
        say(&format!("==> {} of {}: SIGKILL after {moment:.1?}", i + 1, size.kills));
        let args = ["scale", targets[0], targets[1], "--yes"];
        let mut first = plugin.follow(&args)?;
        first.for_a_while(moment)?;
        first.kill()?;
        let again = scale(&plugin, &targets)?;
        let what = format!("{} SIGKILL after {:.1} s, again", targets.join(" "), moment.as_secs_f64());
        row(page, &what, again.took)?;
        converged(kubectl, &plugin, &targets)?;
    }
    if size.kills % 2 == 1 {
        scale(&plugin, &["astaire=1", "chronos=1"])?;
    }

    say("==> a member dies without a word");
    scale(&plugin, &["chronos=3"])?;
    let dead = pod_address(kubectl, "chronos-2")?;
    kubectl.run(["delete", "pod", "chronos-2", "--force", "--grace-period=0"])?;
    let without = plugin.run_within(LIMIT, &["scale", "chronos", "3", "--yes"])?.expect(6)?;
    ensure!(without.said().contains(&dead), "{}", without.said());
    let repaired = scale(&plugin, &["chronos=3"])?;
    ensure!(repaired.out.contains("cw-mark_node_failed"), "{}", repaired.out);
    row(page, "chronos-2 deleted by force: named, marked as failed, 3 again", repaired.took)?;

    let before_due = began.elapsed() < Duration::from_secs(size.due.into());
    let changes: BTreeMap<String, usize> = hoard.obeyed(&[dead])?;
    let total: usize = changes.values().sum();
    writeln!(
        page,
        "\nThe kills' seed is {seed}. A recorder of its own, waiting on etcd, wrote down {total} changes of the lists of \
         members ({changes:?}): at no moment did one join while another left, or did two leave."
    )?;
    say("==> waiting for the timers");
    wait_for("every timer to fire", LIMIT + Duration::from_secs(size.due.into()), || {
        let fired = hoard.fired()?;
        Ok(if fired == hoard.timers() {
            Attempt::Done(())
        } else {
            Attempt::not_yet(format!("{fired} of {}", hoard.timers()))
        })
    })?;
    let when = if before_due { "after the last step" } else { "some before the last step" };
    writeln!(page, "All {} timers fired, {when}.\n", size.timers)?;
    gone(namespace)
}

fn pod_address(kubectl: &Kubectl, pod: &str) -> Result<String> {
    kubectl.run(["get", "pod", pod, "--output=jsonpath={.status.podIP}"])
}

/// As many pods as were asked for, and nothing more to do.
fn converged(kubectl: &Kubectl, plugin: &Plugin, targets: &[&str]) -> Result<()> {
    for target in targets {
        let (component, count) = target.split_once('=').context("a target")?;
        let pods = addresses(kubectl, component)?;
        ensure!(pods.len().to_string() == count, "{component}: {pods:?}");
    }
    let again = scale(plugin, targets)?;
    ensure!(again.out.contains("\"outcome\":\"nothingToDo\""), "{}", again.out);
    Ok(())
}

/// How many calls a second are made while sprout is scaled.
const CALLS: u32 = 5;

/// sprout 1→3→1 while calls are made.
fn calls(page: &mut String) -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-prove-calls")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    plugin.run_within(LIMIT, &["up", "--yes", "--set", "keys=upstream"])?.expect(0)?;
    let phone = Phone::start(kubectl)?;
    let users = phone.provision("ellis", 2)?;
    let bono = addresses(kubectl, "bono")?.pop().context("no bono")?;
    phone.register(&bono, &users[0], &users[1], Transport::Tcp)?.check()?;
    say("==> sprout 1→3→1 under load");
    phone.load(&bono, &users[0], &users[1], Transport::Tcp, CALLS, 60)?;
    writeln!(
        page,
        "{CALLS} calls a second through bono, sprout and homestead, each of INVITE, 180, 200, ACK, BYE, while sprout is \
         scaled:\n\n| | time (s) | calls | failed |\n|---|---|---|---|"
    )?;
    let mut seen = Calls { done: 0, failed: 0, over: false };
    let mut failed = BTreeMap::new();
    let mut phase = |page: &mut String, what: &'static str, took: Duration| -> Result<()> {
        let now = phone.calls()?;
        let (done, lost) = (now.done - seen.done, now.failed - seen.failed);
        failed.insert(what, lost);
        seen = now;
        Ok(writeln!(page, "| {what} | {:.1} | {} | {lost} |", took.as_secs_f64(), done + lost)?)
    };
    wait_for("some calls", LIMIT, || {
        let now = phone.calls()?;
        Ok(if now.done >= 20 { Attempt::Done(()) } else { Attempt::not_yet(format!("{now:?}")) })
    })?;
    phase(page, "before", Duration::ZERO)?;
    let up = scale(&plugin, &["sprout=3"])?.took;
    phase(page, "1→3", up)?;
    let down = scale(&plugin, &["sprout=1"])?.took;
    phase(page, "3→1", down)?;
    let rest = Instant::now();
    wait_for("the load to end", LIMIT, || {
        let now = phone.calls()?;
        Ok(if now.over { Attempt::Done(()) } else { Attempt::not_yet(format!("{now:?}")) })
    })?;
    phase(page, "after", rest.elapsed())?;
    page.push('\n');
    ensure!(failed["before"] == 0 && failed["1→3"] == 0, "calls failed on the way up: {failed:?}\n{page}");
    gone(namespace)
}

/// sprout from 1 to 3, by this program and by kubectl, in turns.
fn rollouts(size: &Size, page: &mut String) -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-prove-rollout")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    plugin.run_within(LIMIT, &["up", "--yes", "--only", "sprout"])?.expect(0)?;
    let (mut ours, mut whole, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..size.rollouts {
        say(&format!("==> rollout {} of {}", i + 1, size.rollouts));
        let ran = scale(&plugin, &["sprout=3"])?;
        let events = ran.events()?;
        let rolled = events.iter().find(|e| e["what"]["kind"] == "rolledOut").context("no rollout was told")?;
        ours.push(Duration::from_millis(rolled["what"]["took"].as_u64().context("no time")?));
        whole.push(ran.took);
        scale(&plugin, &["sprout=1"])?;
        let began = Instant::now();
        kubectl.run(["scale", "deployment/sprout", "--replicas=3"])?;
        kubectl.run(["rollout", "status", "deployment/sprout", "--timeout=300s"])?;
        theirs.push(began.elapsed());
        scale(&plugin, &["sprout=1"])?;
    }
    let median = |all: &mut Vec<Duration>| -> f64 {
        all.sort();
        all[all.len() / 2].as_secs_f64()
    };
    let (ours, whole, theirs) = (median(&mut ours), median(&mut whole), median(&mut theirs));
    let more = (ours / theirs - 1.0) * 100.0;
    writeln!(
        page,
        "sprout from 1 to 3, {} times each in turns, medians:\n\n\
         | | time (s) |\n|---|---|\n\
         | rollout part of `scale sprout 3`: from the first write until as many pods are ready | {ours:.2} |\n\
         | `kubectl scale` + `kubectl rollout status`, both programs' own starts included | {theirs:.2} |\n\
         | difference | {more:+.0} % |\n\
         | all of `scale sprout 3`: checks before, every pod serving and every DNS pod answering | {whole:.2} |",
        size.rollouts
    )?;
    ensure!(more <= 10.0, "the rollout takes {more:.0} % longer than kubectl's: {ours:.2} s and {theirs:.2} s");
    gone(namespace)
}
