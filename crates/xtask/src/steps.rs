//! Runs commands one after another, says how long each took, and stops at a deadline naming what was left.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};

/// A command of a run.
pub(crate) struct Step {
    group: &'static str,
    name: String,
    command: Command,
}

impl Step {
    /// A step that runs `program` with `args` in the workspace.
    pub(crate) fn new(group: &'static str, program: impl AsRef<Path>, args: &[&str]) -> Self {
        let mut command = Command::new(program.as_ref());
        command.args(args);
        let file = program.as_ref().file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Self { group, name: format!("{file} {}", args.join(" ")), command }
    }

    /// The same in a folder.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// The same without an environment variable.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    /// The same, with an environment variable.
    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }
}

/// What a run has spent so far.
pub(crate) struct Steps {
    started: Instant,
    deadline: Duration,
    spent: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// A run that may take `deadline` in all.
    pub(crate) fn within(deadline: Duration) -> Self {
        Self { started: Instant::now(), deadline, spent: Vec::new() }
    }

    /// Runs the steps in order.
    ///
    /// # Errors
    /// The first step that fails, or the steps that were left when the deadline came.
    pub(crate) fn run(&mut self, steps: impl IntoIterator<Item = Step>) -> anyhow::Result<()> {
        let mut steps = steps.into_iter();
        while let Some(mut step) = steps.next() {
            say(&format!("==> {}", step.name));
            let began = Instant::now();
            let mut child = step.command.spawn().with_context(|| format!("cannot start `{}`", step.name))?;
            let status = self.wait(&mut child)?;
            self.note(step.group, began.elapsed());
            match status {
                Some(true) => {}
                Some(false) => bail!("`{}` failed", step.name),
                None => {
                    let left: Vec<_> = std::iter::once(step.name).chain(steps.map(|s| s.name)).collect();
                    bail!("stopped after {} minutes; left undone: {}", self.deadline.as_secs() / 60, left.join("; "));
                }
            }
        }
        Ok(())
    }

    /// Runs steps of `cargo test` side by side to their ends, what they print passed on, and gives the names of the tests
    /// that failed.
    ///
    /// # Errors
    /// A failure that no test explains, and the deadline.
    pub(crate) fn tests(&mut self, steps: impl IntoIterator<Item = Step>) -> anyhow::Result<Vec<String>> {
        let began = Instant::now();
        let mut running = Vec::new();
        for mut step in steps {
            say(&format!("==> {}", step.name));
            let mut child =
                step.command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{}`", step.name))?;
            let output = child.stdout.take().context("no standard output")?;
            let reader = std::thread::spawn(move || {
                let mut failed = Failed::default();
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    show(&line);
                    failed.read(&line);
                }
                failed.names
            });
            running.push((step, child, reader));
        }
        let group = running.first().map_or("tests", |(step, ..)| step.group);
        let (mut failed, mut undone) = (Vec::new(), Vec::new());
        let mut ended = Vec::new();
        for (step, mut child, reader) in running {
            ended.push((self.wait(&mut child)?, step, reader));
        }
        self.note(group, began.elapsed());
        for (status, step, reader) in ended {
            if status.is_none() {
                // What it started may still hold its output open.
                undone.push(step.name);
                continue;
            }
            let names = reader.join().map_err(|_| anyhow!("nobody reads what `{}` prints", step.name))?;
            ensure!(status == Some(true) || !names.is_empty(), "`{}` failed", step.name);
            failed.extend(names);
        }
        ensure!(
            undone.is_empty(),
            "stopped after {} minutes; left undone: {}",
            self.deadline.as_secs() / 60,
            undone.join("; ")
        );
        Ok(failed)
    }

    /// Adds time spent in a group by other means than a step.
    pub(crate) fn note(&mut self, group: &'static str, spent: Duration) {
        match self.spent.iter_mut().find(|(g, _)| *g == group) {
            Some((_, sum)) => *sum += spent,
            None => self.spent.push((group, spent)),
        }
    }

    /// Prints what each group has taken.
    pub(crate) fn summary(&self) {
        let total = self.started.elapsed().as_secs();
        for (group, spent) in &self.spent {
            say(&format!("{group:<12} {:>5} s", spent.as_secs()));
        }
        say(&format!("{:<12} {total:>5} s of {} s", "in all", self.deadline.as_secs()));
    }

    /// Whether the process ended well; `None` when the deadline came first and it was stopped.
    fn wait(&self, child: &mut Child) -> anyhow::Result<Option<bool>> {
        // std has no wait with a timeout; asking twice a second costs nothing beside what is waited for.
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status.success()));
            }
            if self.started.elapsed() > self.deadline {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The tests that libtest lists as failed: the last block that begins with `failures:` in each program's output.
#[derive(Default)]
struct Failed {
    listing: bool,
    names: Vec<String>,
}

impl Failed {
    fn read(&mut self, line: &str) {
        if line == "failures:" {
            self.listing = true;
        } else if let Some(name) =
            line.strip_prefix("    ").filter(|n| self.listing && !n.contains(char::is_whitespace))
        {
            if !self.names.iter().any(|n| n == name) {
                self.names.push(name.to_owned());
            }
        } else if !line.is_empty() {
            self.listing = false;
        }
    }
}

#[expect(clippy::print_stdout, reason = "what a test prints is passed on")]
fn show(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "xtask talks to the developer")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_read_from_what_libtest_prints() {
        let text = "running 3 tests\n.F.\nfailures:\n\n---- up::one stdout ----\nError: x\n    at here\n\n\nfailures:\n    \
                    up::one\n    up::two\n\ntest result: FAILED. 1 passed; 2 failed\n    no-name\n";
        let mut failed = Failed::default();
        text.lines().for_each(|line| failed.read(line));
        assert_eq!(failed.names, ["up::one", "up::two"]);
    }
}
