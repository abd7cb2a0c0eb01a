//! No command line, environment or kubeconfig makes the program panic, hang or say nothing of a failure: rows that a seed
//! decides are made from the program's own tree of commands, and each is run.
//!
//! Nothing is reached but a port of the loopback interface where nobody listens.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod random;
mod surroundings;
mod words;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use random::Random;
use surroundings::Surroundings;

/// What does not end by itself within this time hangs. Most rows take a few hundredths of a second.
const PATIENCE: Duration = Duration::from_secs(40);
/// What may last is asked to end after this time, and has to within [`PATIENCE`].
const LASTS: Duration = Duration::from_secs(3);
/// The most that a row may print, in bytes.
const FLOOD: u64 = 16 << 20;
/// The exit codes that the help page lists.
const CODES: [i32; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 130, 143];
/// Rows at the same time.
const AT_ONCE: usize = 2;

/// One run of the program.
struct Row {
    seed: u64,
    words: Vec<OsString>,
    surroundings: Surroundings,
}

impl Row {
    fn new(seed: u64, tree: &clap::Command) -> Self {
        let mut random = Random::new(seed);
        let words = words::line(&mut random, tree);
        Self { seed, words, surroundings: Surroundings::new(&mut random) }
    }

    /// What follows logs, or watches, lasts until it is ended.
    fn may_last(&self) -> bool {
        self.words.iter().any(|word| word == "logs" || word == "status")
    }

    /// Runs it. An error is what is wrong with how it ended.
    fn run(&self) -> Result<i32, String> {
        let dir = tempfile::tempdir().unwrap();
        self.surroundings.write(dir.path());
        let file = |name| File::create(dir.path().join(name)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-clearwater"));
        command.args(&self.words).current_dir(dir.path()).env_clear().envs(self.surroundings.environment(dir.path()));
        command.stdin(File::open(dir.path().join("stdin")).unwrap()).stdout(file(".out")).stderr(file(".err"));
        let ended = self.ended(&mut command.spawn().unwrap());
        let said = |name| {
            let mut text = Vec::new();
            File::open(dir.path().join(name)).unwrap().take(FLOOD + 1).read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        };
        let (out, err) = (said(".out"), said(".err"));
        let wrong = |what: &str| Err(format!("{what}\n{}", err.chars().take(2000).collect::<String>()));
        let code = match ended {
            None => return wrong("does not end"),
            Some(status) => match status.code() {
                None => return wrong(&format!("killed by signal {:?}", status.signal())),
                Some(code) => code,
            },
        };
        if code == 101 || err.contains("panicked at") {
            return wrong("panics");
        }
        if !CODES.contains(&code) {
            return wrong(&format!("ends with {code}, which the help page does not know"));
        }
        if code != 0 && out.trim().is_empty() && err.trim().is_empty() {
            return wrong(&format!("ends with {code} and says nothing"));
        }
        if out.len().max(err.len()) as u64 > FLOOD {
            return wrong("floods");
        }
        Ok(code)
    }

    fn ended(&self, child: &mut Child) -> Option<ExitStatus> {
        let (began, mut asked) = (Instant::now(), false);
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(status);
            }
            if self.may_last() && !asked && began.elapsed() > LASTS {
                asked = true;
                let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            }
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            thread::sleep(Duration::from_millis(if began.elapsed() < LASTS { 5 } else { 50 }));
        }
    }
}

/// The row as it can be read, beside its seed, by which it can be run again.
impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |text: String| text.chars().take(1000).collect::<String>();
        writeln!(f, "seed {}: {}", self.seed, short(format!("{:?}", self.words)))?;
        write!(f, "{}", short(format!("{:?}", self.surroundings.variables)))
    }
}

/// What many rows came to.
#[derive(Default)]
struct Figures {
    codes: BTreeMap<i32, u64>,
    wrong: Vec<String>,
}

/// Runs row after row from a seed on, as long as `goes_on` says.
fn rows(first: u64, goes_on: impl Fn(u64) -> bool + Sync) -> Figures {
    let mut tree = kubectl_clearwater::tree();
    tree.build();
    let (next, figures) = (AtomicU64::new(0), Mutex::new(Figures::default()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if !goes_on(n) {
                        return;
                    }
                    let row = Row::new(first + n, &tree);
                    let ended = row.run();
                    let mut figures = figures.lock().unwrap();
                    match ended {
                        Ok(code) => *figures.codes.entry(code).or_default() += 1,
                        Err(why) => figures.wrong.push(format!("{row}\n{why}")),
                    }
                }
            });
        }
    });
    figures.into_inner().unwrap()
}

#[test]
fn a_few_dozen_rows() {
    let figures = rows(0, |n| n < 72);
    assert!(figures.wrong.is_empty(), "{}", figures.wrong.join("\n\n"));
    // Rows of which the parser refuses all, or none, would show nothing.
    assert!(figures.codes.len() > 2 && figures.codes[&2] < 68, "{:?}", figures.codes);
}

/// The row of a seed is the same in every run.
#[test]
fn a_seed_decides_a_row() {
    let mut tree = kubectl_clearwater::tree();
    tree.build();
    let row = |seed| Row::new(seed, &tree).to_string();
    assert_eq!(row(7), row(7));
    assert_ne!(row(7), row(8));
}

/// For `cargo xtask prove fuzz`, which reads the line that begins with `rows:`. A row that failed is run again by
/// `CLEARWATER_HOSTILE_SEED` alone.
#[test]
#[ignore = "takes as long as CLEARWATER_HOSTILE_SECONDS says"]
fn as_many_rows_as_there_is_time_for() {
    let number = |name: &str, usual| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let first: u64 = number("CLEARWATER_HOSTILE_SEED", 1 << 20);
    let time = Duration::from_secs(number("CLEARWATER_HOSTILE_SECONDS", 0));
    let began = Instant::now();
    let figures = rows(first, |n| n == 0 || began.elapsed() < time);
    let all = figures.codes.values().sum::<u64>() + figures.wrong.len() as u64;
    let mut codes = String::new();
    for (code, count) in &figures.codes {
        write!(codes, " {code}={count}").unwrap();
    }
    println!("rows: {all} {}{codes}", figures.wrong.len());
    assert!(figures.wrong.is_empty(), "{}", figures.wrong.join("\n\n"));
}
