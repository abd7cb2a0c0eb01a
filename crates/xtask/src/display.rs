//! What runs, how far it is and for how long: a line that moves on a terminal; elsewhere a line whenever nothing else was
//! said for five seconds.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use console::strip_ansi_codes;
use indicatif::{ProgressBar, ProgressStyle};

/// How long it may be silent where there is no terminal.
const SILENCE: Duration = Duration::from_secs(5);

/// How wide a detail may be.
const WIDTH: usize = 70;

/// cargo's words for what it does, which tell how far it is and are worth no line of their own.
const DOING: [&str; 23] = [
    "Adding",
    "Archiving",
    "Blocking",
    "Building",
    "Checking",
    "Compiling",
    "Doc-tests",
    "Documenting",
    "Downloaded",
    "Downloading",
    "Executable",
    "Finished",
    "Fresh",
    "Generated",
    "Ignored",
    "Installing",
    "Locking",
    "Packaged",
    "Packaging",
    "Running",
    "Unpacking",
    "Updating",
    "Waiting",
];

/// Where a line came from, and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What is shown of one piece of work while it lasts.
#[derive(Debug)]
pub struct Display {
    shared: Arc<Shared>,
    ticking: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    title: String,
    began: Instant,
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    detail: String,
    said: Instant,
    /// The last piece was a line that was passed on.
    passed: bool,
    over: bool,
}

impl Display {
    /// Begins to show a piece of work.
    #[must_use]
    pub fn of(title: &str) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_prefix(title.to_owned());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self::with(title, bar)
    }

    /// The same of work that has the terminal to itself.
    #[must_use]
    pub fn beside(title: &str) -> Self {
        if io::stderr().is_terminal() {
            say(title);
            return Self { shared: Shared::of(title, None), ticking: None };
        }
        Self::with(title, None)
    }

    fn with(title: &str, bar: Option<ProgressBar>) -> Self {
        let ticks = bar.is_none();
        let shared = Shared::of(title, bar);
        let ticking = ticks.then(|| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.tick())
        });
        Self { shared, ticking }
    }

    /// Takes a piece of what a program prints: how far it is, or a line to pass on.
    pub fn read(&self, stream: Stream, piece: &str) {
        match far(piece) {
            Far::Detail(detail) => self.detail(&detail),
            Far::Nothing => {}
            // Between lines that were passed on it belongs to them.
            Far::Blank if !self.shared.state().passed => {}
            Far::Blank | Far::Line => return self.pass(stream, piece),
        }
        self.shared.state().passed = false;
    }

    /// Says how far the work is.
    pub fn detail(&self, detail: &str) {
        let detail: String = detail.chars().take(WIDTH).collect();
        if let Some(bar) = &self.shared.bar {
            bar.set_message(detail.clone());
        }
        self.shared.state().detail = detail;
    }

    /// Passes a line on.
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "what a program prints is passed on")]
    pub fn pass(&self, stream: Stream, line: &str) {
        let print = || match stream {
            Stream::Out => println!("{line}"),
            Stream::Err => eprintln!("{line}"),
        };
        match &self.shared.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
        let mut state = self.shared.state();
        (state.said, state.passed) = (Instant::now(), true);
    }

    /// Whether a line moves on a terminal.
    pub fn is_on_a_terminal(&self) -> bool {
        self.shared.bar.is_some()
    }

    /// Shows nothing of it any more: how long it took.
    pub fn end(&self) -> Duration {
        self.shared.state().over = true;
        if let Some(bar) = &self.shared.bar {
            bar.finish_and_clear();
        }
        if let Some(ticking) = &self.ticking {
            ticking.thread().unpark();
        }
        self.shared.began.elapsed()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn of(title: &str, bar: Option<ProgressBar>) -> Arc<Self> {
        let state = Mutex::new(State { detail: String::new(), said: Instant::now(), passed: false, over: false });
        Arc::new(Self { title: title.to_owned(), began: Instant::now(), bar, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the work goes on whenever nothing else was said for a while.
    fn tick(&self) {
        loop {
            let mut state = self.state();
            if state.over {
                return;
            }
            let quiet = state.said.elapsed();
            if quiet >= SILENCE {
                state.said = Instant::now();
                say(&goes_on(&self.title, self.began.elapsed(), &state.detail));
            }
            drop(state);
            thread::park_timeout(SILENCE.saturating_sub(quiet).max(Duration::from_millis(100)));
        }
    }
}

fn goes_on(title: &str, since: Duration, detail: &str) -> String {
    let between = if detail.is_empty() { "" } else { ": " };
    format!("{title}, {} s{between}{detail}", since.as_secs())
}

/// What a piece of a program's output is.
#[derive(Debug, PartialEq, Eq)]
enum Far {
    /// How far it is.
    Detail(String),
    /// Nothing that anybody needs.
    Nothing,
    /// An empty line.
    Blank,
    /// A line to pass on.
    Line,
}

fn far(piece: &str) -> Far {
    let plain = strip_ansi_codes(piece);
    let plain = plain.trim_end();
    let words = plain.trim_start();
    // cargo puts its words flush right in twelve columns.
    let verb = words.split(' ').next().unwrap_or_default();
    if plain.len() - words.len() + verb.len() == 12 && DOING.contains(&verb) {
        let rest = words[verb.len()..].trim_start();
        // Its bar: [====>    ] 12/34: names.
        let counted = rest.strip_prefix('[').and_then(|r| r.split_once("] ")).map(|(_, counted)| counted);
        return Far::Detail(counted.map_or_else(|| words.to_owned(), |counted| counted.replacen(": ", " ", 1)));
    }
    // libtest's lines of tests that passed, and what stands around them.
    if let Some(test) = plain.strip_prefix("test ").filter(|t| [" ... ok", "... ignored"].iter().any(|e| t.contains(e)))
    {
        return Far::Detail(test.to_owned());
    }
    let around = ["running ", "test result: ok. "].iter().any(|s| plain.starts_with(s));
    match plain {
        "" => Far::Blank,
        _ if around => Far::Nothing,
        _ => Far::Line,
    }
}

/// Says something to the developer. Who has left does not stop the work.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_s_words_and_bar_tell_how_far_it_is_and_what_it_warns_of_is_passed_on() {
        let detail = |piece: &str| far(piece);
        assert_eq!(detail("   Compiling serde v1.0.0"), Far::Detail("Compiling serde v1.0.0".to_owned()));
        assert_eq!(
            detail("\u{1b}[1m\u{1b}[92m    Building\u{1b}[0m [====>   ] 12/345: kube, k8s-openapi          "),
            Far::Detail("12/345 kube, k8s-openapi".to_owned())
        );
        assert_eq!(detail("warning: unused variable"), Far::Line);
        assert_eq!(detail("  Compiling is a word of somebody's own"), Far::Line);
        assert_eq!(detail("error: could not compile `x`"), Far::Line);
    }

    #[test]
    fn of_tests_what_failed_is_passed_on() {
        assert_eq!(far("test up::one ... ok"), Far::Detail("up::one ... ok".to_owned()));
        assert_eq!(
            far("test up::two ... ignored, needs cluster"),
            Far::Detail("up::two ... ignored, needs cluster".to_owned())
        );
        assert_eq!(far("running 3 tests"), Far::Nothing);
        assert_eq!(far(""), Far::Blank);
        for line in ["test up::three ... FAILED", "failures:", "    up::three", "test result: FAILED. 1 passed"] {
            assert_eq!(far(line), Far::Line, "{line}");
        }
    }

    #[test]
    fn a_line_says_what_goes_on_for_how_long_and_how_far_it_is() {
        assert_eq!(goes_on("[2/6] the plugin", Duration::from_secs(65), ""), "[2/6] the plugin, 65 s");
        assert_eq!(goes_on("[2/6] x", Duration::from_secs(5), "12/34 kube"), "[2/6] x, 5 s: 12/34 kube");
    }
}
