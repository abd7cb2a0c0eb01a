//! What `cargo xtask release` makes, as those take it who install it: weighed, started, and put to krew, Debian, a cluster and
//! the checkers of what it is made by.

mod debian;
mod elsewhere;
mod installers;
mod parts;
mod root;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use xtask::release;

/// Programs of more bytes are not published.
const LARGEST: u64 = 20_000_000;
/// How long `version` may take, and a completion that finds no cluster.
const VERSION: Duration = Duration::from_millis(10);
const COMPLETION: Duration = Duration::from_millis(20);
/// Runs of each.
const RUNS: usize = 41;

pub(crate) fn run(only: Option<&str>) -> Result<String> {
    let wanted = |part: &str| only.is_none_or(|only| part.contains(only) || only == "shipped");
    let target = release::default_target();
    let built = release::make(&target)?;
    release::tell()?;
    let mut page = String::new();
    if wanted("size") {
        page.push_str(&weighed(&built)?);
        page.push_str(&files(&target)?);
    }
    writeln!(page, "| what | result |\n|---|---|")?;
    let archive = release::published().join(release::archive_of(&target));
    if wanted("installers") {
        for (what, result) in [
            ("krew installs it by its manifest, which its own validation takes", installers::krew(&archive)?),
            ("the image runs in a pod of the test cluster, as nobody", installers::image()?),
            ("actionlint, with shellcheck, takes the workflow", installers::workflow()?),
            ("shellcheck takes the scripts for shells", installers::scripts(&built.program)?),
            ("Homebrew's formula is Ruby", installers::formula()?),
            ("cargo takes the packages as they would be published, in order (a dry run)", installers::packages()?),
        ] {
            writeln!(page, "| {what} | {result} |")?;
        }
    }
    if wanted("root") {
        for (what, result) in root::tried(&archive)? {
            writeln!(page, "| {what} | {result} |")?;
        }
    }
    Ok(page)
}

/// The same for other processors and systems, started by what plays them.
pub(crate) fn elsewhere() -> Result<String> {
    let built = release::make(&release::default_target())?;
    let page = elsewhere::tried(&built)?;
    release::tell()?;
    Ok(page)
}

/// How large it is, what it is made of, and how soon it answers.
fn weighed(built: &xtask::build::Shipped) -> Result<String> {
    let size = std::fs::metadata(&built.program)?.len();
    let mut page = format!("The static program has {size} bytes; {LARGEST} are allowed.\n\n");
    page.push_str(&parts::table(built)?);
    ensure!(size < LARGEST, "the program has {size} bytes\n{page}");
    writeln!(page, "\n| start, median of {RUNS} | ms | allowed |\n|---|---|---|")?;
    for (words, allowed) in [
        (&["version"][..], VERSION),
        (&["__complete", "sca"], COMPLETION),
        (&["__complete", "up", "--only", ""], COMPLETION),
        (&["__complete", "status", "-n", ""], COMPLETION),
    ] {
        let median = median(&built.program, words)?;
        ensure!(median < allowed, "{words:?} took {median:?}");
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        writeln!(page, "| `{}` | {:.1} | {:.0} |", words.join(" "), ms(median), ms(allowed))?;
    }
    page.push('\n');
    Ok(page)
}

/// What is published of a target, and how large it is.
fn files(target: &str) -> Result<String> {
    let mut page = "| published | bytes |\n|---|---|\n".to_owned();
    for name in release::files_of(target) {
        let size = std::fs::metadata(release::published().join(&name)).with_context(|| name.clone())?.len();
        writeln!(page, "| `{name}` | {size} |")?;
    }
    page.push('\n');
    Ok(page)
}

/// The median of the time from its start to its end, where there is no cluster.
fn median(program: &Path, words: &[&str]) -> Result<Duration> {
    let mut all = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let mut command = Command::new(program);
        command.args(words).env_clear().env("KUBECONFIG", "/nonexistent").env("HOME", "/nonexistent");
        let began = Instant::now();
        let output = command.output().context("cannot start the program")?;
        all.push(began.elapsed());
        ensure!(output.status.success(), "{words:?}: {output:?}");
    }
    all.sort();
    Ok(all[RUNS / 2])
}
