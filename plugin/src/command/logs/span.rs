use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::{Timestamp, Zoned};

use super::format;
use crate::error::CliError;

/// A stretch of time; open where an end is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
}

impl Span {
    /// What lies around a time: RFC 3339, or a clock time in a zone: of today, or the first one that is not all before
    /// where logs `begin`.
    pub(super) fn around(text: &str, within: Duration, zone: &str, begin: Option<Timestamp>) -> Result<Self, CliError> {
        let zone = format::zone(zone)?;
        let on = |date: Date| {
            let clock: Time = text.parse().ok()?;
            date.to_datetime(clock).to_zoned(zone.clone()).ok().map(|z| z.timestamp())
        };
        let date =
            begin.map_or_else(Zoned::now, |begin| begin.to_zoned(zone.clone())).with_time_zone(zone.clone()).date();
        let own = text.parse::<Timestamp>().ok();
        let is_over = |at: &Timestamp| begin.is_some_and(|begin| at.checked_add(within).is_ok_and(|end| end < begin));
        let clock = || on(date).and_then(|at| if is_over(&at) { on(date.tomorrow().ok()?) } else { Some(at) });
        let moment = own.or_else(clock).ok_or_else(|| {
            CliError::Usage(format!(
                "--around {text:?} is no time; write one like 2026-11-23T10:00:00Z, or 10:00:00 for today"
            ))
        })?;
        Ok(Self { from: moment.checked_sub(within).ok(), to: moment.checked_add(within).ok() })
    }

    /// Whether a time names no day.
    pub(super) fn is_clock(text: &str) -> bool {
        text.parse::<Timestamp>().is_err()
    }

    /// Whether it holds a moment. What has no known time is in no stretch that has an end.
    pub(super) fn holds(&self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_time_is_of_today() {
        let span = Span::around("2026-11-23T10:00:00Z", Duration::from_secs(5), "UTC", None).unwrap();
        let at = |s: &str| format!("2026-11-23T10:00:{s}Z").parse().unwrap();
        assert_eq!(span, Span { from: Some("2026-11-23T09:59:55Z".parse().unwrap()), to: Some(at("05")) });
        assert!(span.holds(at("05")) && !span.holds(at("05.1")));
        let clock = Span::around("10:00", Duration::ZERO, "Europe/Berlin", None).unwrap();
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(clock.from.unwrap().to_zoned(zone).time(), jiff::civil::time(10, 0, 0, 0));
        // Logs that begin on another day have their own.
        let begin = |text: &str| Some(text.parse().unwrap());
        let on =
            |begin| Span::around("03:12:45", Duration::from_secs(30), "UTC", begin).unwrap().to.unwrap().to_string();
        assert_eq!(on(begin("2024-02-28T01:00:00Z")), "2024-02-28T03:13:15Z");
        assert_eq!(on(begin("2024-02-28T22:00:00Z")), "2024-02-29T03:13:15Z");
        assert_eq!(on(begin("2024-02-28T03:13:00Z")), "2024-02-28T03:13:15Z");
        assert!(Span::around("noon", Duration::ZERO, "UTC", None).is_err());
    }
}
