//! The program behind `cargo xtask prove NAME`: long and lifelike runs, by hand; each writes its figures to docs/proof/NAME.md.

mod absent;
mod bench_logs;
mod bench_up;
mod common;
mod competitors;
mod course;
mod dns_faults;
mod floor;
mod fuzz;
mod fuzz_lines;
mod go;
mod hpa;
mod kills;
mod kwok;
mod measured;
mod proxies;
mod register;
mod release;
mod round;
mod scale;
mod shipped;
mod soak_logs;
mod status_load;
mod test_kills;
mod trace;
mod validators;

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use xtask::steps::say;
use xtask::workspace::root;

/// A long or lifelike run, by hand; writes its figures to docs/proof.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask prove", bin_name = "cargo xtask prove")]
struct Options {
    /// The proof.
    name: Proof,
    /// How many minutes it may take, for proofs that have no end of their own.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Only the parts whose name contains this, for proofs that have parts.
    #[arg(long)]
    only: Option<String>,
    /// Rounds of each measurement, for proofs that take medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// A proof.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Proof {
    /// Times `up` against its own critical path, and beside other ways to deploy. What was measured of the same commit
    /// is kept, so it can be run in parts (--only).
    BenchUp,
    /// Times `logs` beside stern on the same containers: processor time, memory, writes, latency, equal bytes.
    BenchLogs,
    /// Follows numbered lines beside stern while streams are cut, the API server restarts, a pod is replaced and files
    /// roll. Five minutes, or less where fewer are given.
    SoakLogs,
    /// Follows 1,000 containers of nodes that KWOK plays.
    #[value(name = "kwok-1000")]
    Kwok1000,
    /// Kills `up` at ten random moments and runs it again. Below ten minutes: two moments.
    Kills,
    /// Scales stores with keys and timers in them, kills `scale` at ten random moments, and times it beside kubectl.
    /// Below ten minutes: two moments and fewer keys.
    Scale,
    /// Brings five deployments up at once on one cluster, and takes one of them away.
    Course,
    /// Lets a HorizontalPodAutoscaler follow the load on sprout, up and down, and draws it.
    Hpa,
    /// Breaks what `dns-patch` relies on, one thing after another, with a hundred look-ups a second all along.
    DnsFaults,
    /// Looks two hundred times at two healthy deployments while the machine is busy, and at one that is not.
    StatusLoad,
    /// Kills `test` at ten random moments, and looks what it leaves behind.
    TestKills,
    /// Reads a log of a million SIP messages, of which it lists the calls, and draws one.
    Trace,
    /// Builds, documents and tests each crate as it is published, alone in an empty folder, with every version of
    /// Kubernetes' types; and installs the program as others would. In parts (--only): programs, docs, tests, versions,
    /// helm, install, promtool, book; shipped, or of that: size, installers, root; elsewhere.
    Release,
    /// Asks Go's own rules which proxy each server of the plugin's table is reached by.
    Proxies,
    /// Fuzzes every parser, and command lines with their environments and kubeconfigs; ten minutes in all unless told
    /// otherwise. In parts (--only): parsers, lines.
    Fuzz,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs a proof and writes its page.
fn run(options: &Options) -> anyhow::Result<()> {
    let (minutes, only, rounds) = (options.minutes, options.only.as_deref(), options.rounds);
    match options.name {
        Proof::BenchUp => write_page("bench-up", &bench_up::run(&bench_up::Parts { only, rounds }, &head()?)?),
        Proof::BenchLogs => write_page("bench-logs", &bench_logs::run()?),
        Proof::SoakLogs => write_page("soak-logs", &soak_logs::run(minutes.clamp(1, 5))?),
        Proof::Kwok1000 => write_page("kwok-1000", &kwok::run()?),
        Proof::Kills => write_page("kills", &kills::run(if minutes < 10 { 2 } else { 10 })?),
        Proof::Scale => write_page("scale", &scale::run(minutes < 10)?),
        Proof::Course => write_page("course", &course::run()?),
        Proof::Hpa => write_page("hpa", &hpa::run()?),
        Proof::DnsFaults => write_page("dns-faults", &dns_faults::run()?),
        Proof::StatusLoad => write_page("status-load", &status_load::run()?),
        Proof::TestKills => write_page("test-kills", &test_kills::run()?),
        Proof::Trace => write_page("trace", &trace::run()?),
        Proof::Release => release(only),
        Proof::Proxies => write_page("proxies", &proxies::run()?),
        Proof::Fuzz => fuzz(minutes, only),
    }
}

/// A page is written of the whole alone.
fn release(only: Option<&str>) -> anyhow::Result<()> {
    const SHIPPED: [&str; 4] = ["shipped", "size", "installers", "root"];
    const ELSEWHERE: &str = "elsewhere";
    if only.is_none_or(|only| only == ELSEWHERE) {
        write_page_of(ELSEWHERE, "release --only elsewhere", &shipped::elsewhere()?)?;
    }
    if only.is_none_or(|only| SHIPPED.contains(&only)) {
        let page = shipped::run(only)?;
        if only.is_none_or(|only| only == "shipped") {
            write_page_of("shipped", "release --only shipped", &page)?;
        }
    }
    if only.is_some_and(|only| only == ELSEWHERE || SHIPPED.contains(&only)) {
        return Ok(());
    }
    let page = release::run(only)?;
    if only.is_some() { Ok(()) } else { write_page("release", &page) }
}

fn fuzz(minutes: u64, only: Option<&str>) -> anyhow::Result<()> {
    let wanted = |part: &str| only.is_none_or(|only| part.contains(only));
    // A row of command lines starts a program, which takes as long as thousands of inputs of a parser.
    let lines = if only.is_none() { minutes / 3 } else { minutes };
    if wanted("lines") {
        write_page_of("fuzz-lines", "fuzz --only lines", &fuzz_lines::run(lines)?)?;
    }
    if wanted("parsers") {
        write_page("fuzz", &fuzz::run(if only.is_none() { minutes - lines } else { minutes })?)?;
    }
    Ok(())
}

/// Writes docs/proof/NAME.md: the figures, with the machine and the commit they were taken on.
fn write_page(name: &str, body: &str) -> anyhow::Result<()> {
    write_page_of(name, name, body)
}

/// The same, of a proof that is run by other words than its page's name.
fn write_page_of(name: &str, words: &str, body: &str) -> anyhow::Result<()> {
    let path = root().join("docs/proof").join(format!("{name}.md"));
    let mut page = format!("# Proof: {name}\n\n`cargo xtask prove {words}`\n\n");
    writeln!(page, "- commit: {}", commit()?)?;
    writeln!(page, "- machine: {}\n", machine()?)?;
    page.push_str(body);
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn git(args: &[&str]) -> anyhow::Result<String> {
    let out = Command::new("git").args(args).current_dir(root()).output().context("cannot start git")?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn head() -> anyhow::Result<String> {
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn commit() -> anyhow::Result<String> {
    // The pages themselves change with every run.
    let changed = git(&["status", "--porcelain", "--", ".", ":!docs/proof"])?;
    let dirty = if changed.is_empty() { "" } else { ", with uncommitted changes" };
    Ok(format!("{}{dirty}", head()?))
}

fn machine() -> anyhow::Result<String> {
    let field = |file: &str, key: &str| -> anyhow::Result<String> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_default();
        Ok(line.split_once([':', '=']).map_or("", |(_, v)| v).trim().trim_matches('"').to_owned())
    };
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "{cores} cores ({}), {} of memory, Linux {}, {}",
        field("/proc/cpuinfo", "model name")?,
        field("/proc/meminfo", "MemTotal")?,
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        field("/etc/os-release", "PRETTY_NAME")?,
    ))
}

#[cfg(test)]
mod tests {
    use clearwater_testbed::layout;
    use xtask::bed;

    /// xtask knows the test bed by its command line alone.
    #[test]
    fn a_cluster_is_named_alike_by_the_test_bed_and_by_xtask() {
        assert_eq!((bed::NAME_VARIABLE, bed::DEFAULT_NAME), (layout::NAME_VARIABLE, layout::DEFAULT_NAME));
    }
}
