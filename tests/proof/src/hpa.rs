//! A HorizontalPodAutoscaler that follows the load on sprout, on figures of a real metrics-server.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clearwater::svg::{self, Element, Picture};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::sip::{Phone, Subscriber};
use clearwater_testbed::{Kubectl, Local};
use serde_json::Value;

use crate::common::gone;
use xtask::steps::say;
use xtask::workspace::root;

const LIMIT: Duration = Duration::from_secs(600);
/// How long the load lasts at most.
const LOAD: Duration = Duration::from_secs(150);
/// How long fewer members must have been wanted; ten minutes are the default, and too long to watch.
const WINDOW: &str = "30s";
const EVERY: Duration = Duration::from_secs(2);

/// What was seen at one moment.
struct Sample {
    at: f64,
    members: u32,
    percent: Option<u32>,
}

pub(crate) fn run() -> Result<String> {
    let cluster = cluster();
    let local = cluster.local()?;
    local.metrics_server(&say)?;
    let page = measured(local);
    local.no_metrics_server()?;
    page
}

fn measured(local: &Local) -> Result<String> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-prove-hpa")?;
    let kubectl = namespace.kubectl();
    let plugin = Plugin::new(cluster, namespace.name())?;
    plugin.run_within(LIMIT, &["up", "--yes", "--set", "keys=upstream"])?.expect(0)?;
    let phone = Phone::start(kubectl)?;
    let users = phone.provision("ellis", 8)?;
    let args = ["autoscale", "sprout", "--min", "1", "--max", "4", "--cpu", "60", "--scale-down-window", WINDOW];
    let written = plugin.run_within(LIMIT, &args)?.expect(0)?;
    say(written.out.trim());
    let refused = plugin.run_within(LIMIT, &["scale", "sprout", "3", "--yes"])?.expect(6)?;
    ensure!(refused.said().contains("autoscale sprout --remove"), "{}", refused.said());

    let began = Instant::now();
    let mut samples = Vec::new();
    watch(kubectl, began, &mut samples, Duration::from_secs(90), |s| s.percent.is_some())
        .context("the autoscaler has no figures")?;
    let on = began.elapsed().as_secs_f64();
    say("==> load");
    register(&phone, &users, LOAD)?;
    watch(kubectl, began, &mut samples, LOAD, |s| s.members >= 2).context("the load never made a second sprout")?;
    let up = began.elapsed().as_secs_f64();
    let most = |samples: &[Sample]| samples.iter().map(|s| s.members).max().unwrap_or(0);
    let result = phone_result(&phone)?;
    let off = began.elapsed().as_secs_f64();
    say(&format!("==> no load any more; {result}"));
    watch(kubectl, began, &mut samples, LIMIT, |s| s.members == 1).context("it did not come back to one")?;
    let back = began.elapsed().as_secs_f64();
    let listed = plugin.run(&["autoscale", "--list"])?.expect(0)?.out;
    plugin.run(&["autoscale", "sprout", "--remove"])?.expect(0)?;
    let version = local.kubectl().run(["version", "--output=json"])?;
    let version: Value = serde_json::from_str(&version)?;

    let chart = root().join("docs/proof/hpa.svg");
    fs::write(&chart, draw(&samples, on, off)).with_context(|| format!("cannot write {}", chart.display()))?;
    gone(namespace)?;
    Ok(format!(
        "metrics-server 0.9.0 on Kubernetes {}; `kubectl clearwater {}`; sprout requests 100m of CPU. Load: registrations \
         by sipp through bono.\n\n\
         | | |\n|---|---|\n\
         | load begins | {on:.0} s |\n\
         | second sprout | {up:.0} s |\n\
         | most sprouts | {} |\n\
         | load ends | {off:.0} s; {result} |\n\
         | one sprout again | {back:.0} s |\n\n\
         `scale sprout 3` was refused meanwhile, with the autoscaler's name. `autoscale --list` at the end:\n\n\
         ```\n{listed}```\n\n\
         ![members and CPU over time](hpa.svg)\n",
        version["serverVersion"]["gitVersion"].as_str().unwrap_or("?"),
        args.join(" "),
        most(&samples),
    ))
}

fn sample(kubectl: &Kubectl, began: Instant) -> Result<Sample> {
    let hpa = kubectl.json(["get", "horizontalpodautoscaler", "sprout"])?;
    let deployment = kubectl.json(["get", "deployment", "sprout"])?;
    let percent = hpa["status"]["currentMetrics"][0]["containerResource"]["current"]["averageUtilization"].as_u64();
    Ok(Sample {
        at: began.elapsed().as_secs_f64(),
        members: u32::try_from(deployment["status"]["readyReplicas"].as_u64().unwrap_or(0))?,
        percent: percent.and_then(|p| u32::try_from(p).ok()),
    })
}

fn watch(
    kubectl: &Kubectl,
    began: Instant,
    samples: &mut Vec<Sample>,
    limit: Duration,
    done: impl Fn(&Sample) -> bool,
) -> Result<()> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        let one = sample(kubectl, began)?;
        let found = done(&one);
        samples.push(one);
        if found {
            return Ok(());
        }
        std::thread::sleep(EVERY);
    }
    anyhow::bail!("not within {} s", limit.as_secs())
}

/// Registers these users again and again, in the phone's pod.
fn register(phone: &Phone, users: &[Subscriber], lasting: Duration) -> Result<()> {
    let mut script = "cd /tmp\n{ echo SEQUENTIAL\n".to_owned();
    for user in users {
        let _ = writeln!(
            script,
            "echo '{};[authentication username={} password={}];x'",
            user.uri, user.private_id, user.password
        );
    }
    let domain = users.first().context("no user")?.domain();
    let _ = writeln!(
        script,
        "}} > users.csv\n\
         own=$(hostname -I | cut -d ' ' -f 1)\n\
         target=$(getent ahostsv4 bono | sed -n '1s/ .*//p')\n\
         rm -f load.code\n\
         ((timeout {} sipp \"$target:5060\" -i \"$own\" -t t1 -r 30 -l 100 -m 1000000 -timeout {}s -nostdin -recv_timeout 8000 \
         -inf users.csv -key domain '{domain}' -key expires 300 -trace_stat -stf load.stat -fd 1 -sf \
         /usr/share/clearwater-sip/register.xml) ; echo $? > load.code) > load.out 2>&1 < /dev/null &\n\
         exit 0",
        lasting.as_secs() + 20,
        lasting.as_secs(),
    );
    phone.script(&script).map(drop)
}

/// How the load went, once it has ended.
fn phone_result(phone: &Phone) -> Result<String> {
    let said = phone.script(
        "cd /tmp; for i in $(seq 2000); do [ -s load.code ] && break; sleep 0.1; done\n\
         awk -F ';' 'NR==1 {for (i=1;i<=NF;i++) n[$i]=i} END {print $n[\"SuccessfulCall(C)\"], $n[\"FailedCall(C)\"]}' load.stat\n",
    )?;
    let mut numbers = said.split_whitespace();
    let (Some(good), Some(bad)) = (numbers.next(), numbers.next()) else {
        anyhow::bail!("sipp left no figures: {said}");
    };
    Ok(format!("{good} registrations, {bad} failed"))
}

/// Two panels over time: members as steps, CPU as a line with its target.
fn draw(samples: &[Sample], on: f64, off: f64) -> String {
    const WIDTH: f64 = 840.0;
    const PANEL: f64 = 150.0;
    const LEFT: f64 = 60.0;
    let end = samples.last().map_or(1.0, |s| s.at).max(1.0);
    let x = |at: f64| LEFT + at / end * (WIDTH - LEFT - 20.0);
    let most = f64::from(samples.iter().map(|s| s.members).max().unwrap_or(1).max(2));
    let top = f64::from(samples.iter().filter_map(|s| s.percent).max().unwrap_or(60).max(100));
    let members = |n: f64| 40.0 + PANEL - n / most * PANEL;
    let cpu = |p: f64| 90.0 + 2.0 * PANEL - p / top * PANEL;
    let root = Element::new("svg").set("viewBox", format_args!("0 0 {WIDTH} {}", 130.0 + 2.0 * PANEL));
    let mut svg = Picture::new(root.set("font-family", "sans-serif").set("font-size", 12));
    let tenth = |n: f64| format!("{n:.1}");
    svg.line([Element::new("rect").set("width", "100%").set("height", "100%").set("fill", "white")]);
    svg.line([svg::rect(tenth(x(on)), 40, tenth(x(off) - x(on)), 50.0 + 2.0 * PANEL).set("fill", "#f2e6c8")]);
    svg.line([svg::text(tenth(x(on) + 6.0), 56, "load")]);
    let level = |y: f64| svg::line(LEFT, tenth(y), WIDTH - 20.0, tenth(y));
    let beside = |y: f64, words: &str| svg::text(LEFT - 8.0, tenth(y + 4.0), words).set("text-anchor", "end");
    for n in 0..=samples.iter().map(|s| s.members).max().unwrap_or(1) {
        let y = members(f64::from(n));
        svg.line([level(y).set("stroke", "#ddd"), beside(y, &n.to_string())]);
    }
    let y = cpu(60.0);
    svg.line([level(y).set("stroke", "#999").set("stroke-dasharray", 4), beside(y, "60 %")]);
    svg.line([svg::text(LEFT, 20, "sprouts that are ready")]);
    svg.line([svg::text(LEFT, 80.0 + PANEL, "CPU of a sprout on average, in percent of its request")]);
    let mut steps = Vec::new();
    let mut last = None;
    for s in samples {
        let now = members(f64::from(s.members));
        steps.extend(last.map(|before: f64| format!("{:.1},{before:.1}", x(s.at))));
        steps.push(format!("{:.1},{now:.1}", x(s.at)));
        last = Some(now);
    }
    let line: Vec<String> =
        samples.iter().filter_map(|s| Some(format!("{:.1},{:.1}", x(s.at), cpu(f64::from(s.percent?))))).collect();
    for (points, colour) in [(steps, "#1f5fa8"), (line, "#b03a2e")] {
        let line = Element::new("polyline").set("points", points.join(" ")).set("fill", "none");
        svg.line([line.set("stroke", colour).set("stroke-width", 2)]);
    }
    let mut second = 0.0;
    while second <= end {
        let words = format!("{second:.0} s");
        svg.line([svg::text(tenth(x(second)), 112.0 + 2.0 * PANEL, &words).set("text-anchor", "middle")]);
        second += 60.0;
    }
    svg.finish()
}
