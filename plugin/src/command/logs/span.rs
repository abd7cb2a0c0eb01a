use std::time::Duration;

use jiff::civil::Time;
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
    /// What lies around a time: RFC 3339, or a clock time of today in a zone.
    pub(super) fn around(text: &str, within: Duration, zone: &str) -> Result<Self, CliError> {
        let zone = format::zone(zone)?;
        let today = Zoned::now().with_time_zone(zone.clone()).date();
        let moment = text.parse::<Timestamp>().ok().or_else(|| {
            let clock: Time = text.parse().ok()?;
            today.to_datetime(clock).to_zoned(zone).ok().map(|z| z.timestamp())
        });
        let moment = moment.ok_or_else(|| {
            CliError::Usage(format!(
                "--around {text:?} is no time; write one like 2026-11-23T10:00:00Z, or 10:00:00 for today"
            ))
        })?;
        Ok(Self { from: moment.checked_sub(within).ok(), to: moment.checked_add(within).ok() })
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
        let span = Span::around("2026-11-23T10:00:00Z", Duration::from_secs(5), "UTC").unwrap();
        let at = |s: &str| format!("2026-11-23T10:00:{s}Z").parse().unwrap();
        assert_eq!(span, Span { from: Some("2026-11-23T09:59:55Z".parse().unwrap()), to: Some(at("05")) });
        assert!(span.holds(at("05")) && !span.holds(at("05.1")));
        let clock = Span::around("10:00", Duration::ZERO, "Europe/Berlin").unwrap();
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(clock.from.unwrap().to_zoned(zone).time(), jiff::civil::time(10, 0, 0, 0));
        assert!(Span::around("noon", Duration::ZERO, "UTC").is_err());
    }
}
