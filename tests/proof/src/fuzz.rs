//! Coverage-guided fuzzing of the parsers on a stable toolchain.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use xtask::steps::say;
use xtask::workspace::root;

/// What cargo-fuzz passes too, less the address sanitizer, which needs a nightly compiler; the model forbids unsafe code.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// The instrumented flags must not reach build scripts, so a target is always named.
const TRIPLE: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

/// Fuzzes each target for its share of `minutes`; a crash is an error that names its input.
pub(crate) fn run(minutes: u64) -> anyhow::Result<String> {
    let dir = root().join("tests/fuzz");
    let built = Command::new("cargo")
        .args(["build", "--release", "--target", TRIPLE])
        .current_dir(&dir)
        .env("RUSTFLAGS", COVERAGE)
        .status()
        .context("cannot start cargo")?;
    ensure!(built.success(), "the fuzzer does not build");
    let program = dir.join("target").join(TRIPLE).join("release/clearwater-fuzz");

    let targets: Vec<_> = fs::read_dir(dir.join("corpus"))?
        .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
        .collect::<anyhow::Result<_>>()?;
    let seconds = minutes * 60 / u64::try_from(targets.len())?;
    let mut rows: Vec<String> = Vec::new();
    for target in &targets {
        say(&format!("==> fuzzing {target} for {seconds} s"));
        let work = dir.join("target/corpus").join(target);
        fs::create_dir_all(&work)?;
        let out = Command::new(&program)
            .arg(&work)
            .arg(dir.join("corpus").join(target))
            .args([format!("-max_total_time={seconds}"), "-timeout=10".to_owned(), "-print_final_stats=1".to_owned()])
            .arg(format!("-artifact_prefix={}/", work.display()))
            .env("CLEARWATER_FUZZ_TARGET", target)
            .stdout(Stdio::null())
            .output()
            .context("cannot start the fuzzer")?;
        let log = String::from_utf8_lossy(&out.stderr).into_owned();
        if !out.status.success() {
            let tail: Vec<_> = log.lines().rev().take(30).collect();
            bail!("{target}: {}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        let stat = |key: &str| log.lines().find_map(|l| l.strip_prefix(key)).map_or("?", str::trim).to_owned();
        let covered = log.lines().rev().find_map(|l| l.split(" cov: ").nth(1)?.split(' ').next()).unwrap_or("?");
        rows.push(format!(
            "| {target} | {seconds} | {} | {covered} | {} | 0 |",
            stat("stat::number_of_executed_units:"),
            stat("stat::peak_rss_mb:")
        ));
    }
    let mut page = String::from(
        "| target | seconds | inputs run | edges covered | peak MB | found |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        writeln!(page, "{row}")?;
    }
    Ok(page)
}
