//! `up` against the longest chain of what its components need themselves, and beside other ways to deploy.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clearwater::component::Release;
use clearwater::order::{Graph, Policy, Subscribers};
use clearwater_e2e::{Plugin, Stamps, cluster, stamps};
use clearwater_testbed::{ApiProxy, Fault, Namespace, Rule};

use super::competitors;
use super::floor::{self, Floor};
use super::register::{First, error_lines, now};
use crate::steps::say;

const LIMIT: Duration = Duration::from_secs(600);

/// How much more than the critical path a run may take.
fn allowed(path: Duration) -> Duration {
    path.mul_f64(1.10) + Duration::from_secs(1)
}

/// One way to deploy, once.
pub(super) struct Round {
    /// From the command to its end.
    pub(super) wall: Duration,
    /// What the components needed themselves, by the gates of the policy; none for those who have none.
    pub(super) path: Option<Duration>,
    /// From the command to the first registered telephone.
    pub(super) register: Duration,
    /// Errors in the components' logs.
    pub(super) errors: u64,
}

pub(super) fn median(rounds: &[Round], of: impl Fn(&Round) -> Option<Duration>) -> Option<Duration> {
    let mut all: Vec<Duration> = rounds.iter().filter_map(of).collect();
    all.sort();
    all.get(all.len() / 2).copied()
}

fn critical_path(policy: Policy, seen: &std::collections::BTreeMap<String, Stamps>, floor: Floor) -> Result<Duration> {
    let plan = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan(policy)?;
    ensure!(seen.len() == plan.len(), "stamps of {:?}", seen.keys());
    Ok(plan
        .critical_path(|name| {
            let own = seen.get(name).map_or(0, |s| s.serving.saturating_sub(s.start));
            Duration::from_micros(own) + floor.hop()
        })
        .total)
}

fn round(policy: Policy, tag: &str, floor: Floor, plant: Option<&mut ApiProxy>) -> Result<Round> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-bench")?;
    let kubectl = namespace.kubectl();
    let planted = plant.is_some();
    let plugin = match plant {
        None => Plugin::new(cluster, namespace.name())?,
        Some(proxy) => {
            let slow =
                Rule::new(Fault::Delay(Duration::from_secs(2))).method("PATCH").path("statefulsets/cassandra\\?[^d]*$");
            proxy.set(&[slow])?;
            Plugin::as_user(&proxy.kubeconfig()?, namespace.name())?
        }
    };
    let phone = if planted { None } else { Some(First::start(kubectl)?) };
    let began = now()?;
    let tag = format!("images.tag={tag}");
    let up = plugin.follow(&["up", "--yes", "--order", policy.name(), "--set", "keys=upstream", "--set", &tag])?;
    let up = up.finish(LIMIT)?.0.expect(0)?;
    let register = match phone {
        Some(phone) => Duration::from_micros(phone.registered()?.saturating_sub(began)),
        None => Duration::ZERO,
    };
    let path = critical_path(policy, &stamps(kubectl)?, floor)?;
    let errors = error_lines(kubectl)?;
    gone(namespace)?;
    Ok(Round { wall: up.took, path: Some(path), register, errors })
}

/// Pods on their way out would slow down the next round.
pub(super) fn gone(namespace: Namespace<'_>) -> Result<()> {
    namespace.kubectl().run(["delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false"])?;
    cluster().kubectl().run(["delete", "namespace", namespace.name(), "--timeout=180s"])?;
    drop(namespace);
    Ok(())
}

fn seconds(span: Option<Duration>) -> String {
    span.map_or_else(|| "-".to_owned(), |s| format!("{:.2}", s.as_secs_f64()))
}

fn row(page: &mut String, images: &str, way: &str, rounds: &[Round]) -> Result<()> {
    let wall = median(rounds, |r| Some(r.wall)).context("no round")?;
    let path = median(rounds, |r| r.path);
    let verdict = match path {
        Some(path) if wall <= allowed(path) => "yes",
        Some(_) => "**no**",
        None => "-",
    };
    let errors: Vec<String> = rounds.iter().map(|r| r.errors.to_string()).collect();
    writeln!(
        page,
        "| {images} | {way} | {} | {} | {} | {} | {verdict} | {} | {} |",
        rounds.len(),
        seconds(Some(wall)),
        seconds(path),
        seconds(path.map(allowed)),
        seconds(median(rounds, |r| (!r.register.is_zero()).then_some(r.register))),
        errors.join(" ")
    )?;
    Ok(())
}

/// Runs it; `short` is one round a way with quick images only.
pub(super) fn run(short: bool) -> Result<String> {
    let local = cluster().local()?;
    let namespace = cluster().namespace("e2e-floor")?;
    let pods = if short { 4 } else { 20 };
    say(&format!("==> the floor, {pods} pods"));
    let floor = floor::measure(local, &namespace, pods)?;
    drop(namespace);
    let mut page = format!(
        "Times in seconds, medians. *Path* is the longest chain, over the policy's gates, of could-serve − start by the \
         stand-ins' own stamps, plus for each hop the floor: {:.2} s from apply to PID 1 and {:.2} s from the open port to \
         the endpoint (mean of {pods} pods that open a port after 0 to 2 s, under the same probes). *Allowed* is 1.10 × \
         path + 1 s. *REGISTER* is the time to the first registered telephone, which asks Ellis for its number \
         first. *Errors* are the ERROR lines in the components' logs, round by round. Images are on the nodes.\n\n",
        Duration::from_micros(floor.start).as_secs_f64(),
        Duration::from_micros(floor.seen).as_secs_f64(),
    );
    if short {
        page.push_str("**Short form: one round a way; no verdict is to be drawn from it.**\n\n");
    }
    page.push_str("| images | way | rounds | wall | path | allowed | within | REGISTER | errors |\n");
    page.push_str("|---|---|---|---|---|---|---|---|---|\n");
    let tags: &[&str] = if short { &["hunter"] } else { &["hunter", "hunter-lifelike"] };
    let rounds = if short { 1 } else { 5 };
    let mut within = true;
    for tag in tags {
        for policy in [Policy::Dependency, Policy::Earliest, Policy::Article] {
            let mut all = Vec::new();
            for i in 0..rounds {
                say(&format!("==> {tag}, {}, round {}", policy.name(), i + 1));
                all.push(round(policy, tag, floor, None)?);
            }
            if policy == Policy::Dependency {
                let (Some(wall), Some(path)) = (median(&all, |r| Some(r.wall)), median(&all, |r| r.path)) else {
                    bail!("no round");
                };
                within &= wall <= allowed(path);
            }
            row(&mut page, tag, &format!("`up --order {}`", policy.name()), &all)?;
        }
        for way in competitors::ALL {
            let mut all = Vec::new();
            for i in 0..rounds {
                say(&format!("==> {tag}, {}, round {}", way.name(), i + 1));
                match way.round(tag) {
                    Ok(round) => all.push(round),
                    Err(error) => {
                        writeln!(page, "| {tag} | {} | 0 | {error:#} | | | | | |", way.name())?;
                        break;
                    }
                }
            }
            if !all.is_empty() {
                row(&mut page, tag, way.name(), &all)?;
            }
        }
    }
    say("==> a planted delay of 2 s");
    let mut proxy = local.api_proxy()?;
    let planted = round(Policy::Dependency, "hunter", floor, Some(&mut proxy))?;
    let path = planted.path.context("no path")?;
    let noticed = planted.wall > allowed(path);
    writeln!(
        page,
        "\nA delay of 2 s planted before Cassandra's creation: wall {}, allowed {}: {}.",
        seconds(Some(planted.wall)),
        seconds(Some(allowed(path))),
        if noticed { "noticed" } else { "**not noticed**" }
    )?;
    writeln!(
        page,
        "\nVerdict for the default order: {}.",
        if within { "within what is allowed" } else { "**too slow**" }
    )?;
    Ok(page)
}
