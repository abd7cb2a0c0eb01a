//! Times before lines, as stern writes them.

use std::fmt::Write as _;

use clap::ValueEnum;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::CliError;

/// How times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stamp {
    Default,
    Short,
}

/// The time zone of that name.
pub(in crate::command::logs) fn zone(name: &str) -> Result<TimeZone, CliError> {
    match name {
        "Local" | "local" => Ok(TimeZone::system()),
        name => TimeZone::get(name).map_err(|e| {
            CliError::Usage(format!("--timezone {name:?}: {e}; write a name like Europe/Berlin, UTC or Local"))
        }),
    }
}

/// The second that was written last: most lines share theirs with the one before.
#[derive(Debug, Default)]
pub(super) struct Second {
    at: Option<i64>,
    before: String,
    after: String,
}

impl Second {
    /// Writes a time as stern does.
    pub(super) fn write(&mut self, out: &mut String, time: Timestamp, stamp: Stamp, zone: &TimeZone) {
        let at = time.as_second() - i64::from(time.subsec_nanosecond() < 0);
        if self.at != Some(at) {
            let whole = Timestamp::from_second(at).unwrap_or(time).to_zoned(zone.clone());
            (self.before, self.after) = match stamp {
                Stamp::Short => (whole.strftime("%m-%d %H:%M:%S").to_string(), String::new()),
                Stamp::Default => {
                    let offset =
                        if whole.offset().is_zero() { "Z".to_owned() } else { whole.strftime("%:z").to_string() };
                    (whole.strftime("%Y-%m-%dT%H:%M:%S").to_string(), offset)
                }
            };
            self.at = Some(at);
        }
        out.push_str(&self.before);
        if stamp == Stamp::Default {
            let nanos = i64::from(time.subsec_nanosecond()).rem_euclid(1_000_000_000);
            let _ = write!(out, ".{nanos:09}{}", self.after);
        }
    }
}
