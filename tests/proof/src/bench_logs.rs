//! `logs` beside stern on the same containers.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clearwater_e2e::cluster;
use clearwater_testbed::sip::TOOLS_IMAGE;
use clearwater_testbed::{Attempt, Kubectl, wait_for};

use crate::common::{now, shipped};
use crate::go;
use crate::measured::{self, Took};
use xtask::steps::say;
use xtask::workspace::root;

const PODS: u64 = 4;
const LINES: u64 = 250_000;
const ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_secs(180);

/// The line that every pod prints, with its number: 126 bytes as a component of Clearwater writes them.
const PRINT: &str = r#"BEGIN { for (i = 1; i <= N; i++) printf "24-11-2026 10:00:00.000 UTC Verbose sproutletproxy.cpp:%d: Routing <request> %08d to sproutlet scscf & \"icscf\"\n", 1000 + i % 1000, i }"#;

/// A way to print.
struct Mode {
    name: &'static str,
    arguments: &'static [&'static str],
    /// How much less processor time than stern it must take.
    factor: f64,
}

const MODES: [Mode; 4] = [
    Mode { name: "raw", arguments: &["-o", "raw", "--color", "never"], factor: 4.0 },
    Mode { name: "default", arguments: &["-o", "default", "--color", "never"], factor: 4.0 },
    Mode { name: "json", arguments: &["-o", "json", "--color", "never"], factor: 4.0 },
    Mode {
        name: "raw, three patterns",
        arguments: &["-o", "raw", "--color", "always", "-i", "scscf", "-i", "icscf", "-H", "Routing <[a-z]+>"],
        factor: 10.0,
    },
];

struct Tool {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Tool {
    fn command(&self, kubeconfig: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(more).env("KUBECONFIG", kubeconfig).stdin(Stdio::null());
        command
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn pod(name: &str, script: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": "logs"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
            "name": "printer", "image": TOOLS_IMAGE, "imagePullPolicy": "Never", "command": ["bash", "-c", script],
        }]},
    })
    .to_string()
}

/// Makes the pods and waits until each has printed its last line.
fn printed(kubectl: &Kubectl) -> Result<()> {
    for n in 0..PODS {
        let script = format!("awk -v N={LINES} '{PRINT}'; sleep infinity");
        kubectl.apply(&pod(&format!("load-{n}"), &script))?;
    }
    for n in 0..PODS {
        let name = format!("load-{n}");
        wait_for(&format!("{name} to print"), Duration::from_secs(180), || {
            let last = kubectl.run(["logs", "--tail=1", &name]).unwrap_or_default();
            let done = last.contains(&format!("{LINES:08}"));
            Ok(if done { Attempt::Done(()) } else { Attempt::not_yet(format!("its last line is {last:?}")) })
        })?;
    }
    Ok(())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn spread(all: &[f64]) -> String {
    let (low, high) = all.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    format!("{low:.2} to {high:.2}")
}

/// Both tools in turn, after a round that is not counted.
fn compare(tools: &[&Tool; 2], kubeconfig: &Path, mode: &Mode) -> Result<[Vec<Took>; 2]> {
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (tool, took) in tools.iter().zip(&mut took) {
            say(&format!("==> {}, {}, round {round}", mode.name, tool.name));
            let mut command = tool.command(kubeconfig, mode.arguments);
            let one = measured::run(command.stdout(Stdio::null()).stderr(Stdio::null()), LIMIT)?;
            if round > 0 {
                took.push(one);
            }
        }
    }
    Ok(took)
}

/// Whether both print the same lines; the order between containers is not stern's concern.
fn same_bytes(tools: &[&Tool; 2], kubeconfig: &Path, more: &[&str]) -> Result<u64> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for tool in tools {
        let out = tool.command(kubeconfig, more).stderr(Stdio::null()).output()?;
        ensure!(out.status.success(), "{} {more:?} ended with {}", tool.name, out.status);
        let mut lines: Vec<&[u8]> = out.stdout.split_inclusive(|b| *b == b'\n').collect();
        lines.sort_unstable();
        all.push(lines.concat());
    }
    let [ours, theirs] = &all[..] else { bail!("two tools") };
    if ours != theirs {
        let (ours, theirs) = (String::from_utf8_lossy(ours).into_owned(), String::from_utf8_lossy(theirs).into_owned());
        let other = ours.lines().zip(theirs.lines()).find(|(a, b)| a != b);
        bail!("{more:?}: {} bytes and {} bytes, first different line {other:?}", ours.len(), theirs.len());
    }
    Ok(ours.split(|b| *b == b'\n').count() as u64 - 1)
}

/// Delays from write to print, in milliseconds, sorted.
fn latency(tool: &Tool, kubeconfig: &Path, more: &[&str], lines: usize) -> Result<Vec<f64>> {
    let mut child = tool
        .command(kubeconfig, more)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start it")?;
    let out = BufReader::new(child.stdout.take().context("no output")?);
    let mut delays = Vec::new();
    let began = Instant::now();
    for line in out.lines() {
        let line = line?;
        // What was written before it was read is no matter of latency.
        if let Some(stamp) = line.rsplit(' ').next().and_then(|w| w.parse::<u64>().ok())
            && began.elapsed() > Duration::from_secs(3)
        {
            delays.push(f64::from(u32::try_from(now()?.saturating_sub(stamp))?) / 1000.0);
        }
        if delays.len() >= lines || began.elapsed() > LIMIT {
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    ensure!(delays.len() >= lines, "{}: only {} stamped lines came", tool.name, delays.len());
    delays.sort_by(f64::total_cmp);
    Ok(delays)
}

/// The flags that stern knows and our table of its flags does not name.
fn unknown_flags(stern: &Path) -> Result<Vec<String>> {
    let help = Command::new(stern).arg("--help").output().context("cannot start stern")?;
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let table = fs::read_to_string(root().join("docs/stern.md"))?;
    let lines = help.lines().map(str::trim_start).filter(|l| l.starts_with('-'));
    let flags = lines.filter_map(|l| l.split("--").nth(1)?.split([' ', '[', '=']).next());
    Ok(flags.filter(|f| *f != "help" && !table.contains(&format!("`--{f}`"))).map(str::to_owned).collect())
}

/// Both tools on the pods of one namespace.
struct Bench<'a> {
    kubectl: &'a Kubectl,
    kubeconfig: &'a Path,
    /// The flag that names the namespace.
    here: String,
    ours: Tool,
    theirs: Tool,
}

/// The lines that are printed in all.
fn lines() -> Result<u32> {
    Ok(u32::try_from(PODS * LINES)?)
}

impl Bench<'_> {
    fn tools(&self) -> [&Tool; 2] {
        [&self.ours, &self.theirs]
    }

    /// What a line costs, read from the API server.
    fn costs(&self) -> Result<String> {
        let mut page = format!(
            "{PODS} containers of a real cluster hold {LINES} lines of about 126 bytes each; both tools read all of them \
             through the API server and print them to /dev/null, in turn, {ROUNDS} rounds after one that is not counted. \
             stern is v1.34.0 with `--max-log-requests 50`; `logs --no-follow` also brings the lines of all containers into \
             exact order, which stern does not. Processor time is user and kernel time of the process, medians; the build \
             that is shipped.\n\n\
             | output | µs per line, logs | stern | stern / logs | wanted | met | spread, logs | spread, stern | peak MiB, \
             logs | stern | wall s, logs | stern |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        );
        let lines = lines()?;
        let mib = |kib: u64| f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0;
        for mode in &MODES {
            let took = compare(&self.tools(), self.kubeconfig, mode)?;
            let cpu = took.each_ref().map(|t| t.iter().map(|t| t.cpu * 1e6 / f64::from(lines)).collect::<Vec<_>>());
            let memory = took.each_ref().map(|t| t.iter().map(|t| t.memory).max().unwrap_or_default());
            let wall = took.each_ref().map(|t| median(t.iter().map(|t| t.wall.as_secs_f64()).collect()));
            let [a, b] = cpu.each_ref().map(|c| median(c.clone()));
            writeln!(
                page,
                "| {} | {a:.2} | {b:.2} | {:.1} | {} | {} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} |",
                mode.name,
                b / a,
                mode.factor,
                if b / a >= mode.factor { "yes" } else { "**no**" },
                spread(&cpu[0]),
                spread(&cpu[1]),
                mib(memory[0]),
                mib(memory[1]),
                wall[0],
                wall[1],
            )?;
        }
        Ok(page)
    }

    /// What a line costs where no network is between.
    fn costs_by_stdin(&self) -> Result<String> {
        say("==> the same by standard input");
        let file = std::env::temp_dir().join(format!("clearwater-bench-logs-{}", std::process::id()));
        let lines = lines()?;
        let mut awk = Command::new("awk");
        let made = awk.args(["-v", &format!("N={lines}"), PRINT]).stdout(File::create(&file)?).status();
        ensure!(made.context("cannot start awk")?.success(), "awk failed");
        let mut page = "\nThe same lines by standard input (`--stdin`), which leaves the network out:\n\n\
                        | output | µs per line, logs | stern | stern / logs |\n|---|---|---|---|\n"
            .to_owned();
        for mode in &MODES {
            let mut cpu = [Vec::new(), Vec::new()];
            for _ in 0..3 {
                for (n, tool) in self.tools().iter().enumerate() {
                    let mut command = Command::new(&tool.program);
                    command.args(if n == 0 { &["logs", "--stdin"][..] } else { &["--stdin"] }).args(mode.arguments);
                    command.stdin(File::open(&file)?).stdout(Stdio::null()).stderr(Stdio::null());
                    cpu[n].push(measured::run(&mut command, LIMIT)?.cpu * 1e6 / f64::from(lines));
                }
            }
            let [a, b] = cpu.map(median);
            writeln!(page, "| {} | {a:.2} | {b:.2} | {:.1} |", mode.name, b / a)?;
        }
        fs::remove_file(&file)?;
        Ok(page)
    }

    fn writes(&self) -> Result<String> {
        say("==> writes");
        let tail = words("--tail 5000 -o raw");
        let mut counted = Vec::new();
        for tool in self.tools() {
            let arguments = [tool.arguments.clone(), tail.clone()].concat();
            counted.push(measured::writes(&tool.program, &arguments, ("KUBECONFIG", self.kubeconfig))?);
        }
        let (a, b) = (counted[0].max(1), counted[1]);
        Ok(format!(
            "\nWrites to standard output for {} lines (`--tail 5000`, counted by strace): logs {a}, stern {b}: {} times fewer \
             (wanted: 100).\n",
            PODS * 5000,
            b / a
        ))
    }

    fn equal_bytes(&self) -> Result<String> {
        say("==> equal bytes");
        let mut page = "\nByte for byte the same lines as stern's, sorted (`--tail 5000`):\n\n".to_owned();
        for more in [
            "-o default",
            "-o raw",
            "-o json",
            "-o extjson",
            "-o ppextjson",
            "-o raw -t",
            "-o default --timestamps=short",
            "-o json -t",
            "-o raw -i 7 -e 77",
            "-o raw --color always -i icscf -i scscf -H Routing",
        ] {
            let arguments: Vec<&str> = more.split(' ').chain(["--tail", "5000"]).collect();
            let lines = same_bytes(&self.tools(), self.kubeconfig, &arguments)?;
            writeln!(page, "- `{more}`: {lines} lines")?;
        }
        Ok(page)
    }

    fn latencies(&self) -> Result<String> {
        say("==> latency");
        let mut page =
            "\nFrom write to print while following, in milliseconds, of two pods; each line carries the time it was written at, \
                        read from the same clock:\n\n\
                        | lines a second | tool | median | 99 % | wanted | met |\n|---|---|---|---|---|---|\n"
                .to_owned();
        for (rate, count) in [(10, 150), (1000, 15_000)] {
            page += &self.latencies_at(rate, count)?;
        }
        Ok(page)
    }

    fn latencies_at(&self, rate: u32, count: usize) -> Result<String> {
        let name = format!("stamp-{rate}");
        // Ten lines at a time where they come quickly: a shell has its limits.
        let (together, pause) = if rate > 100 { (10, "0.009") } else { (1, "0.1") };
        let script = format!(
            "exec {{z}}<> <(:); while :; do for ((i=0;i<{together};i++)); do echo \"a line ${{EPOCHREALTIME/./}}\"; done; \
             read -t {pause} -u $z; done"
        );
        // Two of them, so that there is somebody to be held for.
        let pods = [1, 2].map(|n| format!("{name}-{n}"));
        for name in &pods {
            self.kubectl.apply(&pod(name, &script))?;
            self.kubectl.run(["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"])?;
        }
        let here = &self.here;
        let ours = |window: &str| Tool {
            name: "logs",
            program: self.ours.program.clone(),
            arguments: words(&format!("logs --source stdout --only-log-lines --pod ^{name}-.$ -o raw {window} {here}")),
        };
        let theirs = Tool {
            name: "stern",
            program: self.theirs.program.clone(),
            arguments: words(&format!("^{name}-.$ --only-log-lines -o raw --since 1s {here}")),
        };
        // Where many come, they are shown together.
        let at_once = if together > 1 { 10.0 } else { 2.0 };
        let mut page = String::new();
        for (label, tool, wanted) in [
            ("`logs --window 0`", ours("--window 0"), Some(at_once)),
            ("`logs`", ours(""), Some(50.0)),
            ("stern", theirs, None),
        ] {
            let all = latency(&tool, self.kubeconfig, &[], count)?;
            let (half, most) = (all[all.len() / 2], all[all.len() * 99 / 100]);
            let (wanted, met) = match wanted {
                Some(limit) => (format!("{limit:.0}"), if half < limit { "yes" } else { "**no**" }),
                None => ("-".to_owned(), "-"),
            };
            writeln!(page, "| {rate} | {label} | {half:.1} | {most:.1} | {wanted} | {met} |")?;
        }
        self.kubectl.run(["delete", "pod", &pods[0], &pods[1], "--force", "--grace-period=0"])?;
        Ok(page)
    }
}

/// Runs it.
pub(crate) fn run() -> Result<String> {
    let program = shipped()?;
    let stern = go::program(go::STERN)?;
    let unknown = unknown_flags(&stern)?;
    ensure!(unknown.is_empty(), "docs/stern.md does not name stern's {unknown:?}");
    let local = cluster().local()?;
    let kubeconfig = local.layout().kubeconfig();
    let namespace = cluster().namespace("e2e-bench-logs")?;
    let kubectl = namespace.kubectl();
    let guard = local.keep_logs("1Gi")?;
    say(&format!("==> {PODS} pods print {LINES} lines each"));
    printed(kubectl)?;
    let here = format!("-n {}", namespace.name());
    let arguments = format!("logs --no-follow --only-log-lines --source stdout --pod ^load- {here}");
    let ours = Tool { name: "logs", program, arguments: words(&arguments) };
    let arguments = format!("^load- --no-follow --only-log-lines --max-log-requests 50 --timezone UTC {here}");
    let theirs = Tool { name: "stern", program: stern, arguments: words(&arguments) };
    let bench = Bench { kubectl, kubeconfig: &kubeconfig, here, ours, theirs };

    let mut page = bench.costs()?;
    page += &bench.costs_by_stdin()?;
    page += &bench.writes()?;
    page += &bench.equal_bytes()?;
    kubectl.run(["delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false"])?;
    guard.repair()?;
    page += &bench.latencies()?;
    Ok(page)
}
