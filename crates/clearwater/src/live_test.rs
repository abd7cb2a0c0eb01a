//! What upstream's live tests write (clearwater-live-test `lib/test-definition.rb`, `lib/live-test.rb`), read case by case.
//!
//! ```
//! use clearwater::live_test::{LiveTestLog, LiveVerdict};
//!
//! let mut log = LiveTestLog::new();
//! log.feed(b"Basic Call - Mainline (TCP) - (6505550000, 6505550001) Passed\n");
//! log.feed(b"0 failures out of 1 tests run\n0 tests skipped\n");
//! log.end();
//! assert_eq!(log.cases()[0].name, "Basic Call - Mainline");
//! assert_eq!(log.cases()[0].verdict, LiveVerdict::Passed);
//! assert!(log.conclude().is_ok());
//! ```

use std::fmt::Write as _;

use thiserror::Error;

use crate::text::{counted, printable};

/// One case, as it was tried once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveCase {
    /// Its name, as `Basic Call - Mainline`.
    pub name: String,
    /// How SIP travelled: `tcp` or `udp`.
    pub transport: String,
    /// In which round, counted from 1.
    pub round: u32,
    /// The numbers that Ellis gave it.
    pub numbers: Vec<String>,
    /// How it ended.
    pub verdict: LiveVerdict,
}

/// How a case of upstream's ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveVerdict {
    /// It passed.
    Passed,
    /// It failed; what it wrote of that, line by line.
    Failed(String),
    /// It was not attempted; why.
    Skipped(String),
    /// It was begun, and nothing says how it ended.
    Unended,
}

/// Why the output proves nothing, whatever its cases say.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LiveTestLogError {
    /// Nothing in it is what upstream's tests write.
    #[error("nothing that it wrote is what upstream's live tests write{}", told(.last))]
    Strange {
        /// Its last lines.
        last: Vec<String>,
    },
    /// It ends before the lines that count the cases.
    #[error("it ended after {} without its last lines, which count them{}", counted(*.cases, "case"), told(.last))]
    Cut {
        /// The cases that had ended.
        cases: usize,
        /// Its last lines.
        last: Vec<String>,
    },
    /// Its last lines count other cases than it named.
    #[error(
        "its last lines count {stated}, and above them stand {read}: some of what it wrote is missing or was not understood"
    )]
    Disagrees {
        /// What the last lines say.
        stated: String,
        /// What was read.
        read: String,
    },
}

fn told(last: &[String]) -> String {
    if last.is_empty() { String::new() } else { format!("; its last words: {}", last.join(" / ")) }
}

/// How many lines of what a case wrote of its failure are kept.
const REASONS: usize = 20;
/// How many bytes of a line are read.
const LONGEST: usize = 8 << 10;
/// How many last lines are told where it cannot be understood.
const LAST: usize = 3;

/// What has been read of the output so far.
#[derive(Clone, Debug, Default)]
pub struct LiveTestLog {
    /// A line that has no end yet.
    pending: Vec<u8>,
    round: u32,
    open: Option<OpenCase>,
    cases: Vec<LiveCase>,
    /// Failures, and cases that were run.
    stated: Option<(usize, usize)>,
    skipped: Option<usize>,
    last: Vec<String>,
}

/// A case whose lines may not all have come.
#[derive(Clone, Debug)]
struct OpenCase {
    case: LiveCase,
    lines: usize,
}

impl LiveTestLog {
    /// One of which nothing was read.
    pub fn new() -> Self {
        Self { round: 1, ..Self::default() }
    }

    /// Reads on, wherever the bytes are cut.
    pub fn feed(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = LONGEST.saturating_sub(self.pending.len());
            self.pending.extend(&text[..text.len().min(room)]);
            if is_whole {
                self.line();
            }
        }
    }

    /// Takes what came as all that comes.
    pub fn end(&mut self) {
        if !self.pending.is_empty() {
            self.line();
        }
        self.close();
    }

    /// The cases that have ended, in the order in which they were tried. One has ended when what follows it was read.
    pub fn cases(&self) -> &[LiveCase] {
        &self.cases
    }

    /// Whether the output is whole, and says of itself what was read in it. Failures are none of its errors.
    ///
    /// # Errors
    /// What was cut, is something else, or does not add up.
    pub fn conclude(&self) -> Result<(), LiveTestLogError> {
        let last = || self.last.clone();
        let (Some((failures, run)), Some(skipped)) = (self.stated, self.skipped) else {
            return Err(match self.cases.len() {
                0 if self.stated.is_none() => LiveTestLogError::Strange { last: last() },
                cases => LiveTestLogError::Cut { cases, last: last() },
            });
        };
        let count = |is: fn(&LiveVerdict) -> bool| self.cases.iter().filter(|case| is(&case.verdict)).count();
        let failed = count(|v| matches!(v, LiveVerdict::Failed(_)));
        let left_out = count(|v| matches!(v, LiveVerdict::Skipped(_)));
        let is_ended = count(|v| *v == LiveVerdict::Unended) == 0;
        // Whether those that were skipped count as run is for them to know.
        let is_all = run == self.cases.len() || run + left_out == self.cases.len();
        if is_ended && is_all && failed == failures && left_out == skipped {
            return Ok(());
        }
        let words = |run: usize, failed: usize, skipped: usize| {
            format!("{} with {} and {skipped} skipped", counted(run, "case"), counted(failed, "failure"))
        };
        let (stated, read) = (words(run, failures, skipped), words(self.cases.len(), failed, left_out));
        Err(LiveTestLogError::Disagrees { stated, read })
    }

    fn line(&mut self) {
        let bytes = std::mem::take(&mut self.pending);
        let raw = String::from_utf8_lossy(&bytes);
        let line = printable(uncoloured(&raw).trim_end()).into_owned();
        if !line.trim().is_empty() {
            self.last.push(line.trim().to_owned());
            if self.last.len() > LAST {
                self.last.remove(0);
            }
        }
        if self.skipped.is_some() {
            return;
        }
        if let Some((name, transport, rest)) = headed(&line) {
            self.close();
            let (numbers, rest) = numbered(rest);
            let (name, numbers) = (name.to_owned(), numbers.map(str::to_owned).collect());
            let transport = transport.to_lowercase();
            let case = LiveCase { name, transport, round: self.round, numbers, verdict: LiveVerdict::Unended };
            self.open = Some(OpenCase { case, lines: 0 });
            self.say(rest);
        } else if let Some(counts) = summary(&line) {
            self.close();
            self.stated = Some(counts);
        } else if self.stated.is_some() {
            self.skipped = line.strip_suffix(" tests skipped").and_then(|count| count.parse().ok());
        } else if let Some(round) = line.strip_prefix("Test iteration ").and_then(|round| round.parse().ok()) {
            self.close();
            self.round = round;
        } else {
            self.say(&line);
        }
    }

    /// What belongs to the case that is open.
    fn say(&mut self, text: &str) {
        let Some(OpenCase { case, lines }) = &mut self.open else { return };
        match &mut case.verdict {
            LiveVerdict::Unended => {
                if let Some(verdict) = verdict(text) {
                    case.verdict = verdict;
                }
            }
            LiveVerdict::Failed(why) if *lines < REASONS && !text.trim().is_empty() => {
                *lines += 1;
                let _ = write!(why, "{}{}", if why.is_empty() { "" } else { "\n" }, text.trim());
            }
            _ => {}
        }
    }

    fn close(&mut self) {
        self.cases.extend(self.open.take().map(|open| open.case));
    }
}

/// `NAME (TCP) - REST`
fn headed(line: &str) -> Option<(&str, &str, &str)> {
    [" (TCP) - ", " (UDP) - "].into_iter().find_map(|mark| {
        let (name, rest) = line.split_once(mark).or_else(|| Some((line.strip_suffix(mark.trim_end())?, "")))?;
        let is_name = name.starts_with(|c: char| c.is_alphanumeric());
        is_name.then(|| (name, &mark[2..5], rest))
    })
}

/// `(NUMBER, NUMBER) REST`
fn numbered(rest: &str) -> (impl Iterator<Item = &str>, &str) {
    let inner = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (numbers, rest) = inner.unwrap_or(("", rest));
    (numbers.split(',').map(str::trim).filter(|number| !number.is_empty()), rest.trim_start())
}

fn verdict(text: &str) -> Option<LiveVerdict> {
    let text = text.trim();
    match text {
        "Passed" => return Some(LiveVerdict::Passed),
        "Failed" => return Some(LiveVerdict::Failed(String::new())),
        _ => {}
    }
    if let Some(why) = text.strip_prefix("Skipped") {
        let why = why.trim();
        return Some(LiveVerdict::Skipped(why.strip_prefix('(').unwrap_or(why).trim_end_matches(')').to_owned()));
    }
    text.starts_with("ERROR (").then(|| LiveVerdict::Failed(text.to_owned()))
}

/// `N failures out of M tests run`
fn summary(line: &str) -> Option<(usize, usize)> {
    let (failures, run) = line.strip_suffix(" tests run")?.split_once(" failures out of ")?;
    Some((failures.parse().ok()?, run.parse().ok()?))
}

/// Without what sets a terminal's colours (ECMA-48 §5.4).
fn uncoloured(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        out.push_str(before);
        let end = after.find(|c: char| ('@'..='~').contains(&c));
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> LiveTestLog {
        let mut log = LiveTestLog::new();
        log.feed(text.as_bytes());
        log.end();
        log
    }

    /// As a terminal would have it, and with what else comes between.
    const WHOLE: &str = "Basic Call - Mainline (TCP) - (6505550001, 6505550002) \u{1b}[37;42mPassed\u{1b}[37;0m\r\n\
        Call Diversion - Not reachable (408) (UDP) - (6505550003) Leaked sip:6505550003@ims, DELETE returned 500\n\
        Passed\n\
        GRUU - Call - AoR as target (TCP) - () \u{1b}[37;41mFailed\u{1b}[37;0m\n\
        \x20 RuntimeError thrown:\n   - Expected 200, got 480\n     - lib/tests/gruu.rb:12:in `block'\n\
        Filtering - Reject-Contact match (TCP) - (6505550004) Failed\nEndpoint threw exception:\n - nothing came\n\
        Gemini - INVITE (TCP) - \u{1b}[30;43mSkipped\u{1b}[37;0m (No gemini hostname provided)\n   - Call with GEMINI=<hostname>\n\
        Deleting leaked number: sip:6505550004@ims\n\
        2 failures out of 5 tests run\n    GRUU - Call - AoR as target (TCP)\n    Filtering - Reject-Contact match (TCP)\n\
        1 tests skipped\nError logs are in the 'logfiles' directory\n";

    #[test]
    fn each_case_has_its_verdict_and_what_was_said_of_it() {
        let log = read(WHOLE);
        let failed = |text: &str| LiveVerdict::Failed(text.to_owned());
        let seen: Vec<_> = log.cases().iter().map(|c| (&*c.name, &*c.transport, c.numbers.len(), &c.verdict)).collect();
        assert_eq!(
            seen,
            [
                ("Basic Call - Mainline", "tcp", 2, &LiveVerdict::Passed),
                ("Call Diversion - Not reachable (408)", "udp", 1, &LiveVerdict::Passed),
                (
                    "GRUU - Call - AoR as target",
                    "tcp",
                    0,
                    &failed("RuntimeError thrown:\n- Expected 200, got 480\n- lib/tests/gruu.rb:12:in `block'")
                ),
                ("Filtering - Reject-Contact match", "tcp", 1, &failed("Endpoint threw exception:\n- nothing came")),
                ("Gemini - INVITE", "tcp", 0, &LiveVerdict::Skipped("No gemini hostname provided".to_owned())),
            ]
        );
        assert_eq!(log.conclude(), Ok(()));
        // Those that were skipped may not count as run.
        assert_eq!(read(&WHOLE.replace("of 5 tests", "of 4 tests")).conclude(), Ok(()));
    }

    #[test]
    fn rounds_are_counted_and_the_older_form_is_read() {
        let log = read(
            "Test iteration 1\nA (TCP) - (1) Passed\nTest iteration 2\nA (TCP) - (1) ERROR (TIMED OUT)\n  Diags can be found at:\n\
             1 failures out of 2 tests run\n    A (TCP)\n0 tests skipped\n",
        );
        let seen: Vec<_> = log.cases().iter().map(|c| (c.round, &c.verdict)).collect();
        let failed = LiveVerdict::Failed("ERROR (TIMED OUT)\nDiags can be found at:".to_owned());
        assert_eq!(seen, [(1, &LiveVerdict::Passed), (2, &failed)]);
        assert_eq!(log.conclude(), Ok(()));
    }

    #[test]
    fn what_is_cut_or_does_not_add_up_is_no_success() {
        for (text, words) in [
            ("", "nothing that it wrote"),
            ("rake aborted!\nDon't know how to build task 'test'\n", "its last words: rake aborted! / Don't know how"),
            ("A (TCP) - (1) Passed\n", "after 1 case without its last lines"),
            ("A (TCP) - (1) Passed\n0 failures out of 1 tests run\n", "after 1 case without"),
            (
                "A (TCP) - (1) \n0 failures out of 1 tests run\n0 tests skipped\n",
                "1 case with 0 failures and 0 skipped, and",
            ),
            ("A (TCP) - (1) Passed\n1 failures out of 1 tests run\n0 tests skipped\n", "1 case with 1 failure"),
            ("A (TCP) - (1) Passed\n0 failures out of 7 tests run\n0 tests skipped\n", "7 cases"),
            ("A (TCP) - (1) Failed\n0 failures out of 1 tests run\n0 tests skipped\n", "1 case with 0 failures"),
        ] {
            let error = read(text).conclude().expect_err(text).to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
        assert_eq!(read("A (UDP) - ").cases()[0].verdict, LiveVerdict::Unended);
    }

    proptest! {
        #[test]
        fn bytes_may_be_cut_anywhere(cuts in prop::collection::vec(0..WHOLE.len(), 0..12)) {
            let (mut log, mut cuts, mut from) = (LiveTestLog::new(), cuts, 0);
            cuts.sort_unstable();
            for cut in cuts {
                log.feed(&WHOLE.as_bytes()[from..cut]);
                from = cut;
            }
            log.feed(&WHOLE.as_bytes()[from..]);
            log.end();
            let whole = read(WHOLE);
            prop_assert_eq!(log.cases(), whole.cases());
            prop_assert_eq!(log.conclude(), Ok(()));
        }

        /// What is not whole never proves that all is well.
        #[test]
        fn no_beginning_of_it_is_a_success(length in 0..WHOLE.len()) {
            let end = WHOLE.find("1 tests skipped").unwrap() + "1 tests skipped".len();
            let mut log = LiveTestLog::new();
            log.feed(&WHOLE.as_bytes()[..length.min(end - 1)]);
            log.end();
            prop_assert!(log.conclude().is_err());
        }

        #[test]
        fn anything_is_read(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "(\\PC|\n|\u{1b}|\\[){0,80}") {
            let mut log = LiveTestLog::new();
            log.feed(&bytes);
            log.feed(text.as_bytes());
            log.end();
            let is_printable = log.cases().iter().all(|case| !case.name.contains('\u{1b}'));
            prop_assert!(is_printable);
        }
    }
}
