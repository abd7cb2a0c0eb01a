//! What a process took, and the machine as a whole, read from /proc.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// What a finished process took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// Processor time, in user mode and in the kernel, in seconds.
    pub(crate) cpu: f64,
    /// The most memory at once, in KiB.
    pub(crate) memory: u64,
    /// Wall time.
    pub(crate) wall: Duration,
}

/// The kernel's clock ticks a second, for user space, on every architecture that Kubernetes runs on.
const TICKS: u32 = 100;

/// Runs a command to its end, at most `limit`. Its output is the caller's.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Took> {
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let mut memory = 0;
    loop {
        memory = memory.max(peak(&child));
        if let Some(cpu) = ended(&child)? {
            let wall = began.elapsed();
            let status = child.wait()?;
            ensure!(status.success(), "{command:?} ended with {status}");
            return Ok(Took { cpu, memory, wall });
        }
        if began.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{command:?} did not end within {limit:?}");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The most memory that a running process has had at once, in KiB; 0 where it is not told any more.
pub(crate) fn peak(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// Processor time of a process so far, in seconds.
pub(crate) fn cpu(child: &Child) -> Result<f64> {
    Ok(fields(child)?.1)
}

/// Its processor time once it has ended and waits to be looked after.
fn ended(child: &Child) -> Result<Option<f64>> {
    let (state, cpu) = fields(child)?;
    Ok((state == "Z").then_some(cpu))
}

fn fields(child: &Child) -> Result<(String, f64)> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).context("the process is gone")?;
    // The name stands in parentheses and may hold anything.
    let rest = stat.rsplit_once(')').context("no name in stat")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let tick = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).context("a field of stat");
    Ok((fields.first().copied().unwrap_or_default().to_owned(), (tick(11)? + tick(12)?) / f64::from(TICKS)))
}

/// How long the machine's processors were busy since it was started, shared among them (proc_stat(5)).
pub(crate) fn busy() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let processors = text.lines().filter(|l| l.starts_with("cpu")).count().saturating_sub(1).max(1);
    let all = text.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<u64> = all.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; then guests, who are in the first two already.
    let idle = [3, 4].iter().filter_map(|at| fields.get(*at)).sum::<u64>();
    let ticks = fields.iter().take(8).sum::<u64>().saturating_sub(idle);
    Ok(Duration::from_secs(ticks) / TICKS / u32::try_from(processors)?)
}

/// How often a command writes to its standard output, counted by strace.
pub(crate) fn writes(program: &Path, arguments: &[String], environment: (&str, &Path)) -> Result<u64> {
    let trace = std::env::temp_dir().join(format!("clearwater-writes-{}", std::process::id()));
    let ran = Command::new("strace")
        .args(["-f", "-e", "trace=write,writev", "-o"])
        .arg(&trace)
        .arg(program)
        .args(arguments)
        .env(environment.0, environment.1)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot start strace")?;
    let text = fs::read_to_string(&trace)?;
    fs::remove_file(&trace)?;
    ensure!(ran.success(), "{} ended with {ran} under strace", program.display());
    Ok(text.lines().filter(|l| l.contains("write(1, ") || l.contains("writev(1, ")).count() as u64)
}
