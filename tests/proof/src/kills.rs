//! SIGKILL of `up` at random moments, then `up` again.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use clearwater::order::Policy;
use clearwater_e2e::{Plugin, cluster, kept_order, stamps};

use crate::common::{gone, now};
use xtask::steps::say;

const LIMIT: Duration = Duration::from_secs(600);
const COMPONENTS: usize = 11;

/// xorshift64: enough to have no pattern, and a seed in the page repeats a run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

pub(crate) fn run(moments: u32) -> Result<String> {
    let seed = now()? | 1;
    let mut dice = Dice(seed);
    let cluster = cluster();
    say("==> an undisturbed run, to know how long one takes");
    let namespace = cluster.namespace("e2e-kills")?;
    let whole = Plugin::new(cluster, namespace.name())?.follow(&["up", "--yes"])?.finish(LIMIT)?.0.expect(0)?.took;
    gone(namespace)?;

    let mut page = format!(
        "An undisturbed `up` took {:.1} s. Each row is a namespace of its own: `up`, SIGKILL at a random moment (seed \
         {seed}), `up` again, which has to end with all components serving, one pod and one workload each, every gate \
         kept by the stand-ins' stamps, and nothing left to write for a third.\n\n\
         | killed after (s) | components told to serve by then | `up` again (s) | converged |\n|---|---|---|---|\n",
        whole.as_secs_f64()
    );
    for i in 0..moments {
        let moment = Duration::from_millis(dice.below(u64::try_from(whole.as_millis())?));
        say(&format!("==> {} of {moments}: SIGKILL after {moment:.1?}", i + 1));
        let namespace = cluster.namespace("e2e-kills")?;
        let kubectl = namespace.kubectl();
        let plugin = Plugin::new(cluster, namespace.name())?;
        let mut first = plugin.follow(&["up", "--yes"])?;
        first.for_a_while(moment)?;
        let served = first.seen().matches("\"kind\":\"serving\"").count();
        first.kill()?;
        let again = plugin.follow(&["up", "--yes"])?.finish(LIMIT)?.0.expect(0)?;

        let count = |what: &str| {
            Ok::<_, anyhow::Error>(kubectl.run(["get", what, "--selector=service", "--output=name"])?.lines().count())
        };
        ensure!(count("pods")? == COMPONENTS, "{moment:?}: there are {} pods", count("pods")?);
        ensure!(count("deployments,statefulsets")? == COMPONENTS, "{moment:?}: workloads are left over");
        kept_order(&stamps(kubectl)?, Policy::Dependency)?;
        let third = plugin.run(&["up", "--yes", "-o", "json"])?.expect(0)?;
        ensure!(third.out.contains("\"outcome\":\"nothingToDo\""), "{moment:?}: {}", third.out);
        writeln!(page, "| {:.1} | {served} | {:.1} | yes |", moment.as_secs_f64(), again.took.as_secs_f64())?;
        gone(namespace)?;
    }
    Ok(page)
}
