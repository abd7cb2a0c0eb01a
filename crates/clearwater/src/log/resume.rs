use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use jiff::{SignedDuration, Timestamp, Unit};

use super::line::rfc3339;

/// A stretch of a source that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the last line before it was written.
    pub after: Timestamp,
    /// When the first line behind it was written, or when the source was seen to have written nothing since; `None`
    /// where the source ended.
    pub before: Option<Timestamp>,
}

/// What became of a line that a [`Resume`] was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is new.
    New,
    /// It is new, and between it and the last one before it something may be missing.
    NewAfter(Gap),
    /// It has been seen before the stream was cut.
    Again,
}

/// Reads one container's output over many streams so that every line is seen once.
///
/// The kubelet serves a log from a whole second on (`sinceTime` reaches it without its fraction: kubernetes
/// `pkg/registry/core/pod/strategy.go`) and stamps every line with nanoseconds. A resumed stream therefore begins with
/// lines that were seen before: they are told by time and text. It repeats the last line that was seen unless the file
/// that held it was rotated away; only then something may be missing.
///
/// ```
/// use clearwater::log::{Resume, Seen};
///
/// let mut resume = Resume::new();
/// let at = |s: &str| format!("2026-11-23T10:00:{s}Z").parse::<jiff::Timestamp>();
/// assert_eq!(resume.line(at("00.1")?, b"one"), Seen::New);
/// assert_eq!(resume.line(at("02.5")?, b"two"), Seen::New);
/// resume.cut();
/// assert_eq!(resume.since(), Some(at("01")?));
/// assert_eq!(resume.line(at("02.5")?, b"two"), Seen::Again);
/// assert_eq!(resume.line(at("02.7")?, b"three"), Seen::New);
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Resume {
    most: usize,
    /// What was seen within [`KEPT`] of the last line, in the order of the file, and no more than [`MOST`].
    recent: VecDeque<Print>,
    /// When the youngest line was written that is no longer among the recent ones because there were too many.
    forgotten: Option<Timestamp>,
    /// What was seen before the cut and has not come again.
    expected: VecDeque<Print>,
    /// The last line before the cut, until it, or one that stands before it, has come again.
    last_before: Option<Print>,
    /// Until when it has been told that something may be missing behind the last line.
    told: Option<Timestamp>,
}

/// A line's time and a hash of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print {
    time: Timestamp,
    text: u64,
}

impl Print {
    fn of(time: Timestamp, text: &[u8]) -> Self {
        Self { time, text: FixedState::with_seed(0).hash_one(text) }
    }
}

/// How far before the last line a resumed stream begins: a container's two outputs are stamped apart, so that lines of
/// a log are not strictly in order.
const MARGIN: SignedDuration = SignedDuration::from_secs(1);

/// How long lines are remembered: the margin and the second that the kubelet cuts to, and as much again.
const KEPT: SignedDuration = SignedDuration::from_secs(4);

/// How many lines are remembered. What was written before all of them, and comes again, was seen: a container's two
/// outputs are not that many lines apart.
const MOST: usize = 16 * 1024;

impl Default for Resume {
    fn default() -> Self {
        Self {
            most: MOST,
            recent: VecDeque::new(),
            forgotten: None,
            expected: VecDeque::new(),
            last_before: None,
            told: None,
        }
    }
}

impl Resume {
    /// Nothing seen so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// When the last line that was seen was written.
    pub fn last(&self) -> Option<Timestamp> {
        self.recent.back().map(|p| p.time)
    }

    /// Where a new stream must begin (`sinceTime`), a whole second. `None`: at the beginning.
    pub fn since(&self) -> Option<Timestamp> {
        let from = self.last()?.checked_sub(MARGIN).ok()?;
        from.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor)).ok()
    }

    /// Says that the stream was cut; the next lines come from a new one, opened at [`since`](Self::since).
    pub fn cut(&mut self) {
        self.last_before = self.recent.back().copied();
        let since = self.since();
        self.expected = self.recent.iter().filter(|p| since.is_some_and(|s| p.time >= s)).copied().collect();
    }

    /// Whether a line would be told as [`Seen::NewAfter`].
    pub fn misses(&self, time: Timestamp, text: &[u8]) -> bool {
        self.last_before.is_some() && !self.is_forgotten(time) && !self.expected.contains(&Print::of(time, text))
    }

    /// Takes the next line of the stream: its time, and its text without the time.
    pub fn line(&mut self, time: Timestamp, text: &[u8]) -> Seen {
        let print = Print::of(time, text);
        if let Some(at) = self.expected.iter().position(|p| *p == print) {
            // Both streams have the order of the file: what was passed over is no longer served, and what stood behind is.
            self.expected.drain(..=at);
            self.last_before = None;
            return Seen::Again;
        }
        if self.is_forgotten(time) {
            return Seen::Again;
        }
        let gap = self.last_before.take().map(|last| self.gap(last, Some(time)));
        self.expected.clear();
        self.told = None;
        self.remember(print);
        gap.map_or(Seen::New, Seen::NewAfter)
    }

    /// Whether a line that comes again is older than all that are remembered.
    fn is_forgotten(&self, time: Timestamp) -> bool {
        !self.expected.is_empty() && self.forgotten.is_some_and(|f| time <= f)
    }

    /// The gap that stands where the source ended before the last line came again.
    pub fn ended_in_gap(&self) -> Option<Gap> {
        self.last_before.map(|last| self.gap(last, None))
    }

    /// Says that all that is served was read, at `now`, without the last line: who falls silent just while the stream is
    /// cut, and whose file is rotated, would otherwise be marked by its next line only, or never. The gap is told once.
    pub fn read_to_end(&mut self, now: Timestamp) -> Option<Gap> {
        // What was seen stays expected: a stream can end as if it were whole, and what comes then came before.
        let gap = self.last_before.take().map(|last| self.gap(last, Some(now)))?;
        let first = self.told.is_none();
        self.told.get_or_insert(now);
        first.then_some(gap)
    }

    fn gap(&self, last: Print, before: Option<Timestamp>) -> Gap {
        Gap { after: self.told.unwrap_or(last.time), before }
    }

    /// Whether the stream was cut, and what was seen before has not come again and is not known to be gone.
    pub fn is_repeating(&self) -> bool {
        self.last_before.is_some() && self.told.is_none()
    }

    fn remember(&mut self, print: Print) {
        if self.recent.len() == self.most
            && let Some(oldest) = self.recent.pop_front()
        {
            self.forgotten = self.forgotten.max(Some(oldest.time));
        }
        self.recent.push_back(print);
        while self.recent.front().is_some_and(|p| print.time.duration_since(p.time) > KEPT) {
            self.recent.pop_front();
        }
    }
}

/// Splits a line as the kubelet serves it with `timestamps=true` into its time and its text.
pub fn kubelet_line(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let space = memchr::memchr(b' ', line)?;
    let (stamp, text) = (&line[..space], &line[space + 1..]);
    let time = rfc3339(stamp).or_else(|| std::str::from_utf8(stamp).ok()?.parse().ok())?;
    Some((time, text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A container's log as a kubelet keeps it: the lines that rotation has left.
    struct Kubelet {
        lines: Vec<(Timestamp, Vec<u8>)>,
        first_kept: usize,
    }

    impl Kubelet {
        fn serve(&self, since: Option<Timestamp>) -> impl Iterator<Item = &(Timestamp, Vec<u8>)> {
            self.lines[self.first_kept..].iter().filter(move |(t, _)| since.is_none_or(|s| *t >= s))
        }
    }

    #[test]
    fn a_line_of_the_kubelet_is_split() {
        let (time, text) = kubelet_line(b"2026-11-23T10:00:00.123456789+02:00 a b").unwrap();
        assert_eq!((time.to_string().as_str(), text), ("2026-11-23T08:00:00.123456789Z", &b"a b"[..]));
        let (time, text) = kubelet_line(b"2026-11-23T10:00:00.1234567Z a").unwrap();
        assert_eq!((time.to_string().as_str(), text), ("2026-11-23T10:00:00.1234567Z", &b"a"[..]));
        assert_eq!(kubelet_line(b"unable to retrieve container logs"), None);
    }

    #[test]
    fn what_rotation_took_is_marked_with_its_bounds() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let mut resume = Resume::new();
        assert_eq!(resume.line(at(1000), b"1"), Seen::New);
        resume.cut();
        assert_eq!(resume.ended_in_gap(), Some(Gap { after: at(1000), before: None }));
        assert_eq!(resume.line(at(9000), b"9"), Seen::NewAfter(Gap { after: at(1000), before: Some(at(9000)) }));
        assert_eq!(resume.line(at(9001), b"10"), Seen::New);
    }

    #[test]
    fn a_line_that_comes_again_says_that_those_behind_it_are_still_there() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let mut resume = Resume::new();
        assert_eq!(resume.line(at(1000), b"twin"), Seen::New);
        assert_eq!(resume.line(at(1000), b"twin"), Seen::New);
        resume.cut();
        // The file was rotated between the two.
        assert_eq!(resume.line(at(1000), b"twin"), Seen::Again);
        assert_eq!(resume.line(at(1001), b"next"), Seen::New);
    }

    #[test]
    fn who_falls_silent_while_its_file_is_rotated_is_marked_once() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let mut resume = Resume::new();
        assert_eq!(resume.line(at(1000), b"1"), Seen::New);
        assert_eq!(resume.read_to_end(at(2000)), None, "no stream was cut");
        resume.cut();
        assert_eq!(resume.read_to_end(at(9000)), Some(Gap { after: at(1000), before: Some(at(9000)) }));
        assert!(!resume.is_repeating());
        resume.cut();
        assert_eq!(resume.read_to_end(at(12_000)), None, "it has been told");
        // The stream had ended as if it were whole.
        assert_eq!(resume.line(at(1000), b"1"), Seen::Again);
        assert_eq!(resume.line(at(13_000), b"2"), Seen::New);
        // Between two cuts a file may have come and gone.
        let mut resume = Resume::new();
        assert_eq!(resume.line(at(1000), b"1"), Seen::New);
        resume.cut();
        assert!(resume.read_to_end(at(9000)).is_some());
        resume.cut();
        assert_eq!(resume.ended_in_gap(), Some(Gap { after: at(9000), before: None }));
        assert_eq!(resume.line(at(15_000), b"9"), Seen::NewAfter(Gap { after: at(9000), before: Some(at(15_000)) }));
    }

    proptest! {
        /// Lines may be equal, may share a time, and the two outputs of a container may be out of order by less than
        /// the margin. Streams are cut anywhere, and rotation takes any number of lines away while one is cut.
        #[test]
        fn every_line_is_seen_once_or_lies_in_a_marked_gap(
            steps in proptest::collection::vec((0..700_i64, 0..300_i64, 0..3_u8), 1..150),
            cuts in proptest::collection::vec((0..12_usize, 0..6_usize), 1..40),
        ) {
            let mut clock = 0;
            let lines = steps.iter().map(|(step, back, text)| {
                clock += step;
                (Timestamp::from_millisecond(1_000_000 + clock - back).unwrap(), vec![*text])
            });
            let mut kubelet = Kubelet { lines: lines.collect(), first_kept: 0 };
            let total = kubelet.lines.len();
            let mut resume = Resume::new();
            let (mut got, mut gaps): (Vec<(Timestamp, Vec<u8>)>, Vec<usize>) = (Vec::new(), Vec::new());
            let (mut start, mut seen_to) = (None, 0);
            let streams = cuts.into_iter().chain([(usize::MAX, 0)]);
            for (n, (take, rotated)) in streams.enumerate() {
                if n > 0 {
                    resume.cut();
                }
                // New lines that this stream gives before it is cut.
                let mut left = take;
                for (time, text) in kubelet.serve(resume.since()) {
                    if left == 0 {
                        break;
                    }
                    match resume.line(*time, text) {
                        Seen::Again => continue,
                        Seen::New => {}
                        Seen::NewAfter(gap) => {
                            prop_assert_eq!(gap.before, Some(*time));
                            prop_assert_eq!(got.last().map(|g| g.0), Some(gap.after));
                            prop_assert!(kubelet.first_kept >= seen_to, "the last line is still served");
                            gaps.push(got.len());
                        }
                    }
                    start.get_or_insert(kubelet.first_kept);
                    got.push((*time, text.clone()));
                    left -= 1;
                }
                // After a gap the place of what was seen last is no longer its count: nothing more is rotated.
                if gaps.is_empty() {
                    seen_to = start.unwrap_or(0) + got.len();
                    // Of lines of one nanosecond and one text nobody can say which of them a rotation has left.
                    let (seen, unseen) = kubelet.lines.split_at(seen_to);
                    if !unseen.iter().any(|line| seen.contains(line)) {
                        kubelet.first_kept = (kubelet.first_kept + rotated).min(total);
                    }
                }
            }
            if gaps.is_empty() && resume.ended_in_gap().is_none() {
                prop_assert_eq!(&got[..], &kubelet.lines[start.unwrap_or(total)..]);
            } else {
                // Nothing doubled or invented: what was got is a subsequence of the log.
                let mut rest = kubelet.lines.iter();
                prop_assert!(got.iter().all(|g| rest.any(|l| l == g)));
            }
        }

        /// A stream that is too quick for its lines to be remembered.
        #[test]
        fn lines_that_are_forgotten_are_not_seen_twice(
            steps in proptest::collection::vec((0..40_i64, 0..3_u8), 1..200),
            cuts in proptest::collection::vec(0..60_usize, 1..10),
        ) {
            let mut clock = 0;
            let lines: Vec<_> = steps
                .iter()
                .map(|(step, text)| {
                    clock += step;
                    (Timestamp::from_millisecond(1_000_000 + clock).unwrap(), vec![*text])
                })
                .collect();
            let kubelet = Kubelet { lines, first_kept: 0 };
            let mut resume = Resume { most: 8, ..Resume::new() };
            let mut got = Vec::new();
            for (n, take) in cuts.into_iter().chain([usize::MAX]).enumerate() {
                if n > 0 {
                    resume.cut();
                }
                let mut left = take;
                for (time, text) in kubelet.serve(resume.since()) {
                    if left == 0 {
                        break;
                    }
                    match resume.line(*time, text) {
                        Seen::Again => continue,
                        Seen::New => got.push((*time, text.clone())),
                        Seen::NewAfter(gap) => prop_assert!(false, "{gap:?}"),
                    }
                    left -= 1;
                }
            }
            prop_assert_eq!(got, kubelet.lines);
        }
    }
}
