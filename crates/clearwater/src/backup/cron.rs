//! When something is to be done again and again, as a CronJob takes it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Five fields as a CronJob's `schedule` has them: minute, hour, day of the month, month, day of the week (Kubernetes reads
/// them by robfig/cron 3 `ParseStandard`, which knows no day 7 and no `L`, `W` or `#`).
///
/// ```
/// use clearwater::backup::CronSchedule;
///
/// assert_eq!("30  3 * * mon-fri".parse::<CronSchedule>()?.to_string(), "30 3 * * mon-fri");
/// assert!("30 3 * *".parse::<CronSchedule>().is_err());
/// # Ok::<(), clearwater::backup::InvalidCron>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronSchedule(String);

/// A text that no CronJob takes for a schedule, or that never comes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no schedule of a CronJob: {reason}")]
pub struct InvalidCron {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

struct Field {
    what: &'static str,
    first: u8,
    last: u8,
    /// Names of its values, from the first.
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Of each month, in a year in which February is longest.
const LONGEST: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const FIELDS: [Field; 5] = [
    Field { what: "minute", first: 0, last: 59, names: &[] },
    Field { what: "hour", first: 0, last: 23, names: &[] },
    Field { what: "day of the month", first: 1, last: 31, names: &[] },
    Field { what: "month", first: 1, last: 12, names: &MONTHS },
    Field { what: "day of the week", first: 0, last: 6, names: &DAYS },
];

impl Field {
    fn value(&self, text: &str) -> Result<u8, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|at| u8::try_from(at).ok()).map(|at| at + self.first);
        let is_number = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        let value = named.or_else(|| text.parse().ok().filter(|_| is_number));
        value.filter(|value| (self.first..=self.last).contains(value)).ok_or_else(|| {
            let Self { what, first, last, names } = self;
            let or = match names {
                [] => String::new(),
                [one, .., other] => format!(" or {one} to {other}"),
                [one] => format!(" or {one}"),
            };
            format!("{text:?} is no {what} (a number from {first} to {last}{or}, *, a range or a list)")
        })
    }

    /// The values that a text between commas means.
    fn part(&self, text: &str) -> Result<Vec<u8>, String> {
        let (range, step) = match text.split_once('/') {
            None => (text, None),
            Some((range, step)) => (range, Some(step)),
        };
        let (first, last) = match range.split_once('-') {
            None if matches!(range, "*" | "?") => (self.first, self.last),
            None => {
                let value = self.value(range)?;
                // With a step it is where counting begins.
                (value, if step.is_some() { self.last } else { value })
            }
            Some((first, last)) => (self.value(first)?, self.value(last)?),
        };
        if first > last {
            return Err(format!("{range:?} begins after its end"));
        }
        let step: usize = match step {
            None => 1,
            Some(step) => match step.parse() {
                Ok(count @ 1..) if !step.starts_with('+') => count,
                _ => return Err(format!("{step:?} is no step: a number from 1")),
            },
        };
        Ok((first..=last).step_by(step).collect())
    }

    fn values(&self, text: &str) -> Result<Vec<u8>, String> {
        let parts: Result<Vec<Vec<u8>>, String> = text.split(',').map(|part| self.part(part)).collect();
        parts.map(|parts| parts.concat())
    }
}

/// Whether a day of the week says nothing. With a step it does, and one of the two days is then enough (robfig/cron `getRange`).
fn is_any(text: &str) -> bool {
    text.split(',').any(|part| matches!(part, "*" | "?"))
}

impl FromStr for CronSchedule {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        let wrong = |reason: String| InvalidCron { text: text.to_owned(), reason };
        let words: Vec<&str> = text.split_whitespace().collect();
        let fields: [&str; 5] = words.as_slice().try_into().map_err(|_| {
            let all = FIELDS.map(|field| field.what).join(", ");
            wrong(format!("it has {} fields in place of five ({all})", words.len()))
        })?;
        let mut values = Vec::new();
        for (field, text) in FIELDS.iter().zip(fields) {
            values.push(field.values(text).map_err(wrong)?);
        }
        // Where both days are given one of them is enough.
        let is_by_date = is_any(fields[4]);
        let longest = |month: &u8| LONGEST.get(usize::from(*month).wrapping_sub(1)).copied().unwrap_or(0);
        let longest = values[3].iter().map(longest).max().unwrap_or(0);
        if is_by_date && values[2].iter().all(|day| *day > longest) {
            return Err(wrong("no such month has such a day, so it never comes".to_owned()));
        }
        Ok(Self(fields.join(" ")))
    }
}

impl fmt::Display for CronSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_cron_job_takes_is_taken() {
        for text in [
            "* * * * *",
            "30 3 * * *",
            "*/15 0-6,22-23 1,15 JAN-mar,12 Mon-Fri",
            "5/10 ? ? * 0",
            "0 0 29 2 *",
            "0 0 31 2 1",
            "0 0 31 2 */2",
            "0 0 31 4,5 *",
            "1-9/3 0 1 */2 6",
        ] {
            assert_eq!(text.parse::<CronSchedule>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_it_refuses_or_what_never_comes_is_refused_with_what_is_wrong() {
        for (text, reason) in [
            ("", "it has 0 fields"),
            ("@daily", "it has 1 fields"),
            ("TZ=UTC 30 3 * * *", "it has 6 fields"),
            ("60 * * * *", "\"60\" is no minute (a number from 0 to 59, *"),
            ("0 24 * * *", "is no hour"),
            ("0 0 0 * *", "is no day of the month"),
            ("0 0 * 13 *", "is no month (a number from 1 to 12 or jan to dec"),
            ("0 0 * * 7", "is no day of the week (a number from 0 to 6 or sun to sat"),
            ("0 0 * * mon#2", "is no day of the week"),
            ("0 0 L * *", "is no day of the month"),
            ("5-1 * * * *", "\"5-1\" begins after its end"),
            ("*/0 * * * *", "\"0\" is no step"),
            ("*/+5 * * * *", "\"+5\" is no step"),
            ("*/x * * * *", "\"x\" is no step"),
            ("+5 * * * *", "is no minute"),
            (", * * * *", "\"\" is no minute"),
            ("0 0 31 4,6 *", "it never comes"),
            ("0 0 30-31 feb *", "it never comes"),
        ] {
            let error = text.parse::<CronSchedule>().unwrap_err();
            assert!(error.reason.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_taken_as_it_stands_or_refused(text in "([-0-9a-z*/,?]{0,6} ){4}[-0-9a-z*/,?]{0,6}") {
            if let Ok(schedule) = text.parse::<CronSchedule>() {
                prop_assert_eq!(schedule.to_string().parse::<CronSchedule>(), Ok(schedule));
            }
        }
    }
}
