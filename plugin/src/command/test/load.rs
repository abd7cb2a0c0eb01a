//! `test --load`: calls at a rate, and how the exchange bears them.

use std::time::{Duration, Instant};

use clearwater_kube::exercise::Bonos;
use clearwater_sip::case::NoWay;
use clearwater_sip::load::{LoadPlan, LoadTally, NoLoad, load};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use schemars::JsonSchema;
use serde::Serialize;

use super::lines::Lines;
use super::report::millis;
use crate::advice::command;
use crate::duration::time;
use crate::error::CliError;
use crate::reporter::{BAD, GOOD, line, plain};

/// How many pairs of phones there are at most where nobody says how many: each phone is a process in a pod.
const PAIRS: usize = 20;
/// How often a line is written where nothing can be redrawn.
const EVERY: Duration = Duration::from_secs(5);

/// What came of calls at a rate.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::command) struct LoadReport {
    /// The version of this format.
    v: u32,
    /// The namespace.
    pub(super) namespace: String,
    /// Whether no more than the stated share of the calls failed.
    pub(super) passed: bool,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// `tcp` or `udp`.
    transport: String,
    /// The calls that were to be begun in a second.
    rate: f64,
    /// How long it took, in milliseconds.
    millis: u64,
    /// The pairs of phones.
    pairs: usize,
    /// The calls that were due.
    attempts: u64,
    /// Those that were answered and hung up as they should.
    answered: u64,
    /// The others.
    failed: u64,
    /// The others, of a hundred.
    failed_percent: f64,
    /// The share that may fail, of a hundred.
    allowed_percent: f64,
    /// What was seen of those that failed.
    failures: Vec<LoadFailure>,
    /// From when a call was due to its 200, of those that were answered.
    answered_after: Option<LoadTimes>,
}

/// What was seen of calls that failed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LoadFailure {
    /// What was seen.
    seen: String,
    /// How often.
    count: u64,
}

/// Times in milliseconds, within which so many of a hundred calls were answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LoadTimes {
    /// Half of them.
    p50: f64,
    /// 90 of a hundred.
    p90: f64,
    /// 99 of a hundred.
    p99: f64,
    /// All.
    longest: f64,
}

impl LoadTimes {
    fn of(tally: &LoadTally) -> Option<Self> {
        let at = |percent: f64| (tally.percentile(percent).as_secs_f64() * 10_000.0).round() / 10.0;
        (tally.answered > 0).then(|| Self { p50: at(50.0), p90: at(90.0), p99: at(99.0), longest: at(100.0) })
    }

    fn text(&self) -> String {
        let Self { p50, p90, p99, longest } = self;
        format!("answered after {p50:.0} ms (50 %), {p90:.0} ms (90 %), {p99:.0} ms (99 %), {longest:.0} ms at most")
    }
}

/// How many pairs of phones a rate takes where nobody says how many.
pub(super) fn pairs(rate: f64) -> usize {
    // A call takes less than a second where nothing is slow.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the rate is between 0 and 1000")]
    let pairs = rate.ceil() as usize;
    pairs.clamp(1, PAIRS)
}

/// A rate as it is typed: calls in a second, as 5, 0.5 or 5/s.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.strip_suffix("/s").unwrap_or(text).parse::<f64>().ok();
    rate.filter(|r| (0.01..=1000.0).contains(r))
        .ok_or_else(|| format!("{text:?} is no rate; write calls in a second, from 0.01 to 1000, like 5 or 0.5/s"))
}

/// A share as it is typed: of a hundred, with or without the sign.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let share = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
    share
        .filter(|s| (0.0..=100.0).contains(s))
        .ok_or_else(|| format!("{text:?} is no share; write one like 1% or 0.5%"))
}

impl LoadReport {
    /// One of nothing yet.
    pub(super) fn new(namespace: &str, plan: &LoadPlan, pairs: usize, allowed_percent: f64) -> Self {
        Self {
            v: 1,
            namespace: namespace.to_owned(),
            passed: false,
            error: None,
            transport: plan.transport.to_string(),
            rate: plan.rate,
            millis: 0,
            pairs,
            attempts: 0,
            answered: 0,
            failed: 0,
            failed_percent: 0.0,
            allowed_percent,
            failures: Vec::new(),
            answered_after: None,
        }
    }

    fn take(&mut self, tally: &LoadTally, took: Duration) {
        self.millis = millis(took);
        (self.attempts, self.answered, self.failed) = (tally.begun, tally.answered, tally.failed());
        let ended = self.answered + self.failed;
        #[expect(clippy::cast_precision_loss, reason = "nobody makes so many calls")]
        let share = self.failed as f64 * 100.0 / (ended.max(1)) as f64;
        self.failed_percent = (share * 100.0).round() / 100.0;
        let failure = |(seen, count): (&String, &u64)| LoadFailure { seen: plain(seen), count: *count };
        self.failures = tally.failures.iter().map(failure).collect();
        self.answered_after = LoadTimes::of(tally);
    }

    /// What is told while it goes on.
    fn line(&self) -> String {
        let times = self.answered_after.as_ref().map(|t| format!(", {}", t.text())).unwrap_or_default();
        format!("{} calls, {} answered, {} failed{times}", self.attempts, self.answered, self.failed)
    }

    /// The summary for a person.
    pub(super) fn text(&self) -> String {
        let style = if self.passed { GOOD } else { BAD };
        let mut text = format!(
            "{style}{} calls in {} over {}, {} answered, {} failed ({} %; {} % may){style:#}\n",
            self.attempts,
            time(self.millis),
            self.transport,
            self.answered,
            self.failed,
            self.failed_percent,
            self.allowed_percent,
        );
        if let Some(times) = &self.answered_after {
            text += &format!("{}\n", times.text());
        }
        for LoadFailure { seen, count } in &self.failures {
            text += &format!("  {count} x {seen}\n");
        }
        text
    }

    /// Makes the calls, and tells on standard error how it stands. The report is as true where it is cut off.
    pub(super) async fn run(&mut self, bonos: &Bonos, lines: &Lines, plan: &LoadPlan) -> Result<(), CliError> {
        let accounts = lines.for_a_time(self.pairs * 2, plan.lasting).await?;
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
        if let Ok(style) = ProgressStyle::with_template("{elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        let (began, mut said) = (Instant::now(), Instant::now());
        let done = load(bonos, &accounts, plan, |tally| {
            self.take(tally, began.elapsed());
            if !bar.is_hidden() {
                bar.set_message(self.line());
            } else if said.elapsed() > EVERY {
                said = Instant::now();
                line(&mut anstream::stderr(), &self.line());
            }
        })
        .await;
        bar.finish_and_clear();
        let tally = done.map_err(|error| match error {
            NoLoad::NoWay(NoWay::Refused { through, why }) => CliError::Connection(format!("{through}: {why}")),
            NoLoad::NoWay(NoWay::Unknown(why)) => CliError::Connection(why),
            NoLoad::Register(seen) => CliError::Unready(format!(
                "a phone that calls cannot be registered, {}; `{}` says where it goes wrong",
                plain(&seen),
                command("test")
            )),
        })?;
        self.take(&tally, began.elapsed());
        self.passed = self.failed_percent <= self.allowed_percent;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_shares_are_read_as_they_are_typed() {
        assert_eq!((rate("5"), rate("0.5/s"), percent("1%"), percent("0.5")), (Ok(5.0), Ok(0.5), Ok(1.0), Ok(0.5)));
        for wrong in ["", "0", "-1", "1e9", "NaN", "inf", "5/m"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "-1", "101", "NaN", "%"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
        assert_eq!([0.1, 5.0, 500.0].map(pairs), [1, 5, PAIRS]);
    }
}
