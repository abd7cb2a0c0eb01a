//! Runs what a command is made of one after another, shows how far it is, says how long each took, and stops at a
//! deadline naming what was left.

mod running;

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::running::Running;
pub use crate::display::say;
use crate::display::{Display, Stream};
use crate::workspace::as_typed;

/// What is over so soon that a quiet run says nothing of it.
const SOON: Duration = Duration::from_secs(5);

/// One step of a run.
pub struct Step<'a> {
    group: &'static str,
    name: String,
    deed: Deed<'a>,
}

enum Deed<'a> {
    Command(Command),
    /// A program that shows by itself what it does.
    Shown(Command),
    Call(Box<Call<'a>>),
}

/// What is done here.
type Call<'a> = dyn FnOnce(&Display) -> Result<()> + Send + 'a;

impl fmt::Debug for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.group, self.name)
    }
}

impl<'a> Step<'a> {
    /// A step that runs `program` with `args` in the workspace.
    pub fn new(group: &'static str, program: impl AsRef<Path>, args: &[&str]) -> Self {
        let mut command = Command::new(program.as_ref());
        as_typed(command.args(args));
        let file = program.as_ref().file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Self { group, name: format!("{file} {}", args.join(" ")), deed: Deed::Command(command) }
    }

    /// A step that is done here.
    pub fn call(group: &'static str, name: &str, deed: impl FnOnce(&Display) -> Result<()> + Send + 'a) -> Self {
        Self { group, name: name.to_owned(), deed: Deed::Call(Box::new(deed)) }
    }

    /// The same under a name that says more than the command.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The same of a program that shows by itself what it does, and is given the terminal.
    #[must_use]
    pub fn shown(mut self) -> Self {
        if let Deed::Command(command) = self.deed {
            self.deed = Deed::Shown(command);
        }
        self
    }

    /// The same in a folder.
    #[must_use]
    pub fn within(self, folder: &Path) -> Self {
        self.with(|command| _ = command.current_dir(folder))
    }

    /// The same without an environment variable.
    #[must_use]
    pub fn without(self, key: &str) -> Self {
        self.with(|command| _ = command.env_remove(key))
    }

    /// The same, with an environment variable.
    #[must_use]
    pub fn env(self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.with(|command| _ = command.env(key, value))
    }

    fn with(mut self, change: impl FnOnce(&mut Command)) -> Self {
        if let Deed::Command(command) | Deed::Shown(command) = &mut self.deed {
            change(command);
        }
        self
    }
}

/// Ended because something beside it failed.
#[derive(Debug)]
struct Ended;

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ended, because what ran beside it failed")
    }
}

impl std::error::Error for Ended {}

/// What a run has spent so far.
#[derive(Debug)]
pub struct Steps {
    started: Instant,
    deadline: Duration,
    spent: Vec<(&'static str, Duration)>,
    done: usize,
    of: usize,
    quiet: bool,
    /// Somebody else's failure, after which nothing more is done.
    is_over: Arc<AtomicBool>,
}

impl Steps {
    /// A run that may take `deadline` in all.
    pub fn within(deadline: Duration) -> Self {
        Self {
            started: Instant::now(),
            deadline,
            spent: Vec::new(),
            done: 0,
            of: 0,
            quiet: false,
            is_over: Arc::default(),
        }
    }

    /// The same, which says nothing of a step that is soon over.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Counts steps that are to come, so that each knows which of how many it is.
    pub fn expect(&mut self, steps: usize) {
        self.of += steps;
    }

    /// Runs the steps in order.
    ///
    /// # Errors
    /// The first step that fails, or the steps that were left when the deadline came.
    pub fn run<'a>(&mut self, steps: impl IntoIterator<Item = Step<'a>>) -> Result<()> {
        let mut steps = steps.into_iter();
        while let Some(step) = steps.next() {
            let name = step.name.clone();
            if !self.step(step)? {
                let left: Vec<_> = std::iter::once(name).chain(steps.map(|s| s.name)).collect();
                bail!("stopped after {} minutes; left undone: {}", self.deadline.as_secs() / 60, left.join("; "));
            }
        }
        Ok(())
    }

    /// Runs a step that waits most of the time, and beside it others one after another with what it leaves of the machine.
    ///
    /// # Errors
    /// What fails first; the other ends with it.
    pub fn run_beside<'a>(&mut self, step: Step<'a>, others: Vec<Step<'a>>) -> Result<()> {
        let is_over = Arc::new(AtomicBool::new(false));
        self.is_over = Arc::clone(&is_over);
        let mut beside = Self {
            started: self.started,
            done: self.done + 1,
            of: self.of,
            quiet: self.quiet,
            is_over: Arc::clone(&is_over),
            ..Self::within(self.deadline)
        };
        let count = others.len();
        let ending = |done: Result<()>| done.inspect_err(|_| is_over.store(true, Ordering::Relaxed));
        let (own, other) = thread::scope(|scope| {
            let other = scope.spawn(|| ending(modestly().and_then(|()| beside.run(others))));
            (ending(self.run([step])), other.join())
        });
        self.is_over = Arc::default();
        self.done += count;
        for (group, spent) in beside.spent {
            self.note(group, spent);
        }
        let other = other.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match own {
            // What failed first is told.
            Err(error) if error.is::<Ended>() => other.and(Err(error)),
            own => own.and(other),
        }
    }

    /// Whether it was done before the deadline.
    fn step(&mut self, step: Step<'_>) -> Result<bool> {
        let title = self.title(&step.name);
        let cannot = || format!("cannot start `{}`", step.name);
        let (took, well) = match step.deed {
            Deed::Call(call) => {
                let display = Display::of(&title);
                call(&display)?;
                (display.end(), Some(true))
            }
            Deed::Shown(mut command) => {
                let display = Display::beside(&title);
                let well = self.wait(&mut command.spawn().with_context(cannot)?)?;
                (display.end(), well)
            }
            Deed::Command(command) => {
                let display = Arc::new(Display::of(&title));
                let mut running = Running::start(command, &display).with_context(cannot)?;
                let well = self.wait(&mut running.child)?;
                if well.is_some() {
                    running.read();
                }
                (display.end(), well)
            }
        };
        self.note(step.group, took);
        ensure!(well != Some(false), "`{}` failed after {} s", step.name, took.as_secs());
        if well.is_some() && !(self.quiet && took < SOON) {
            say(&done(&title, took));
        }
        Ok(well.is_some())
    }

    fn title(&mut self, name: &str) -> String {
        self.done += 1;
        if self.quiet {
            return name.to_owned();
        }
        self.of = self.of.max(self.done);
        format!("[{}/{}] {name}", self.done, self.of)
    }

    /// Runs steps of `cargo test` side by side to their ends, what they print passed on, and gives the names of the tests
    /// that failed.
    ///
    /// # Errors
    /// A failure that no test explains, and the deadline.
    pub fn tests<'a>(&mut self, name: &str, steps: impl IntoIterator<Item = Step<'a>>) -> Result<Vec<String>> {
        let title = self.title(name);
        let display = Arc::new(Display::of(&title));
        let mut running = Vec::new();
        let mut group = "tests";
        for step in steps {
            let Deed::Command(command) = step.deed else { bail!("`{}` is no command", step.name) };
            display.pass(Stream::Err, &format!("==> {}", step.name));
            let started = Running::start(command, &display).with_context(|| format!("cannot start `{}`", step.name))?;
            group = step.group;
            running.push((step.name, started));
        }
        let (mut failed, mut undone) = (Vec::new(), Vec::new());
        let mut ended = Vec::new();
        for (name, mut started) in running {
            ended.push((self.wait(&mut started.child)?, name, started));
        }
        for (status, name, started) in ended {
            if status.is_none() {
                // What it started may still hold its output open.
                undone.push(name);
                continue;
            }
            let names = started.read();
            ensure!(status == Some(true) || !names.is_empty(), "`{name}` failed");
            failed.extend(names);
        }
        let took = display.end();
        self.note(group, took);
        say(&done(&title, took));
        ensure!(
            undone.is_empty(),
            "stopped after {} minutes; left undone: {}",
            self.deadline.as_secs() / 60,
            undone.join("; ")
        );
        Ok(failed)
    }

    /// Adds time spent in a group by other means than a step.
    pub fn note(&mut self, group: &'static str, spent: Duration) {
        match self.spent.iter_mut().find(|(g, _)| *g == group) {
            Some((_, sum)) => *sum += spent,
            None => self.spent.push((group, spent)),
        }
    }

    /// Prints what each group has taken.
    pub fn summary(&self) {
        let total = self.started.elapsed().as_secs();
        for (group, spent) in &self.spent {
            say(&format!("{group:<12} {:>5} s", spent.as_secs()));
        }
        say(&format!("{:<12} {total:>5} s of {} s", "in all", self.deadline.as_secs()));
    }

    /// Whether the process ended well; `None` when the deadline came first and it was stopped.
    fn wait(&self, child: &mut Child) -> Result<Option<bool>> {
        // std has no wait with a timeout; asking ten times a second costs nothing beside what is waited for.
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status.success()));
            }
            if self.is_over.load(Ordering::Relaxed) {
                child.kill()?;
                child.wait()?;
                bail!(Ended);
            }
            if self.started.elapsed() > self.deadline {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Leaves the machine to everybody else, from now on: on Linux this thread, and what it starts.
fn modestly() -> Result<()> {
    rustix::process::setpriority_process(None, 19).context("cannot lower the priority of a thread")
}

fn done(title: &str, took: Duration) -> String {
    format!("{title}: {:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_leaves_running_holds_nothing_up() {
        let mut steps = Steps::within(Duration::from_secs(60));
        let began = Instant::now();
        steps.run([Step::new("a", "sh", &["-c", "sleep 30 & exit 0"])]).unwrap();
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }

    #[test]
    fn steps_are_counted_and_the_first_that_fails_ends_the_run() {
        let mut steps = Steps::within(Duration::from_secs(60));
        steps.expect(3);
        let mut ran = false;
        let sh = |script: &str| Step::new("a", "sh", &["-c", script]);
        steps.run([sh("exit 0")]).unwrap();
        assert_eq!(steps.title("two"), "[2/3] two");
        let more = Step::call("a", "more", |_| {
            ran = true;
            Ok(())
        });
        let error = steps.run([sh("exit 1"), more]).unwrap_err();
        assert!(error.to_string().starts_with("`sh -c exit 1` failed"), "{error}");
        assert!(!ran);
    }

    #[test]
    fn what_fails_beside_ends_the_other_and_is_the_one_that_is_told() {
        let sh = |script: &str| Step::new("a", "sh", &["-c", script]);
        let mut steps = Steps::within(Duration::from_secs(60));
        steps.run_beside(sh("exit 0"), vec![sh("test $(nice) = 19"), sh("exit 0")]).unwrap();
        assert_eq!(steps.title("four"), "[4/4] four");
        let began = Instant::now();
        let error = steps.run_beside(sh("exec sleep 30"), vec![sh("exit 1"), sh("exec sleep 30")]).unwrap_err();
        assert!(error.to_string().starts_with("`sh -c exit 1` failed"), "{error}");
        let error = steps.run_beside(sh("exit 1"), vec![sh("exec sleep 30")]).unwrap_err();
        assert!(error.to_string().starts_with("`sh -c exit 1` failed"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        steps.run([sh("exit 0")]).unwrap();
    }

    #[test]
    fn a_deadline_names_what_was_left() {
        let mut steps = Steps::within(Duration::ZERO);
        let error = steps.run([Step::new("a", "sleep", &["5"]), Step::new("a", "true", &[])]).unwrap_err();
        assert_eq!(error.to_string(), "stopped after 0 minutes; left undone: sleep 5; true ");
    }

    #[test]
    fn tests_that_failed_are_named_and_a_failure_without_one_is_an_error() {
        let mut steps = Steps::within(Duration::from_secs(60));
        let sh = |script: &str| Step::new("a", "sh", &["-c", script]);
        let failing = "printf 'failures:\\n    up::one\\n'; exit 101";
        assert_eq!(steps.tests("tests", [sh("true"), sh(failing)]).unwrap(), ["up::one"]);
        assert!(steps.tests("tests", [sh("exit 101")]).is_err());
    }
}
