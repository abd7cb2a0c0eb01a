//! Durations, as they are typed and as they are shown.

use std::time::Duration;

use jiff::Timestamp;

/// Nobody waits for longer, and clocks can count it: a hundred years.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A duration as kubectl takes it: a number of seconds, or numbers with units.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let span = || text.parse().ok().filter(|_| !text.starts_with(['P', 'p', '-']));
    let duration = match text.parse().map(Duration::from_secs) {
        Ok(duration) => Some(duration),
        Err(_) => span().and_then(|d: jiff::SignedDuration| Duration::try_from(d).ok()),
    };
    match duration {
        Some(duration) if duration <= LONGEST => Ok(duration),
        Some(_) => Err(format!("{text:?} is longer than a hundred years; write one like 30s, 2m or 1m30s")),
        None => Err(format!("{text:?} is not a duration; write one like 30s, 2m or 1m30s")),
    }
}

/// How long something may take. None at all leaves nothing to be done, whatever it is.
pub(crate) fn limit(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("{text:?} leaves no time; write one like 30s, 2m or 1m30s")),
        limit => Ok(limit),
    }
}

/// Milliseconds as people say them.
pub(crate) fn time(ms: u64) -> String {
    clearwater::text::seconds(Duration::from_millis(ms))
}

/// Milliseconds where they pass before one's eyes: whole seconds.
pub(crate) fn seconds(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..100 => format!("{s} s"),
        s => format!("{} min {:02} s", s / 60, s % 60),
    }
}

/// How long ago something was, as kubectl shows ages: one unit.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_kubectls() {
        for (text, seconds) in [("0", 0), ("30", 30), ("30s", 30), ("2m", 120), ("1m30s", 90), ("1h", 3600)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "-1", "-5s", "soon", "P1D", "1 s 2", "18446744073709551615", "99999999999999999999", "876001h"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_may_take_no_time_is_not_done() {
        assert_eq!(limit("1ms"), Ok(Duration::from_millis(1)));
        for text in ["0", "0s", "0ms"] {
            assert!(limit(text).unwrap_err().contains("leaves no time"), "{text}");
        }
    }
}
