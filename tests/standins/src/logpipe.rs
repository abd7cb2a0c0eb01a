//! Turns what a foreign program prints into a Clearwater log file.

use std::io::BufRead as _;

use anyhow::Result;
use clap::Parser;

use crate::Exit;
use crate::log::{Grammar, Level, Log};
use crate::place::Settings;

/// Whose log it is.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// bono, sprout, …: the folder and the file's name.
    component: String,
    /// The `file:line` shown for lines that name none.
    #[arg(long, default_value = "main.cpp:1")]
    at: String,
    /// Python's grammar and no `_current` link.
    #[arg(long)]
    python: bool,
}

/// Copies stdin into the log until it ends.
///
/// A line that begins with a level word and `file:line:` is taken as such; Kamailio's own
/// prefixes are mapped; any other line continues the one before, so that a SIP message obeys one level. It is written
/// in one piece, as the real daemons do: another process may write to the same file.
pub(crate) fn run(options: &Options) -> Result<Exit> {
    let level = Settings::load()?.log_level();
    let grammar = if options.python { Grammar::Python } else { Grammar::Cpp };
    let log = Log::new(&options.component, &options.component, grammar, level);
    let mut shown = false;
    let mut message = String::new();
    let mut input = std::io::stdin().lock();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if input.read_until(b'\n', &mut bytes)? == 0 {
            log.raw(&message);
            return Ok(Exit(0));
        }
        let text = String::from_utf8_lossy(&bytes);
        let line = text.trim_end_matches(['\r', '\n']);
        match read(line) {
            Some(entry) => {
                shown = log.shows(entry.level);
                if !message.is_empty() {
                    log.raw(&std::mem::take(&mut message));
                }
                let at = entry.at.unwrap_or(&options.at);
                if shown && announces_message(entry.text) {
                    message = log.form(entry.level, at, entry.text);
                } else {
                    log.line(entry.level, at, entry.text);
                }
            }
            None if message.is_empty() => {
                if shown {
                    log.raw(&format!("{line}\n"));
                }
            }
            None => {
                message.push_str(line);
                message.push('\n');
                if line == "--end msg--" {
                    log.raw(&std::mem::take(&mut message));
                }
            }
        }
    }
}

/// `RX 300 bytes …` and `TX 300 bytes …` are followed by the message, up to `--end msg--`.
fn announces_message(text: &str) -> bool {
    let rest = text.strip_prefix("RX ").or_else(|| text.strip_prefix("TX "));
    rest.and_then(|r| r.split_once(" bytes ")).is_some_and(|(count, _)| count.parse::<u64>().is_ok())
}

#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    level: Level,
    at: Option<&'a str>,
    text: &'a str,
}

/// Reads the head of a line; `None` for a continuation.
fn read(line: &str) -> Option<Entry<'_>> {
    if let Some(entry) = levelled(line) {
        return Some(entry);
    }
    // Kamailio on stderr: ` 7(1234) NOTICE: <script>: text`.
    let (process, rest) = line.trim_start().split_once(") ")?;
    let (index, pid) = process.split_once('(')?;
    if index.parse::<u32>().is_err() || pid.parse::<u32>().is_err() {
        return None;
    }
    // With a log_prefix in braces between.
    let rest = match rest.strip_prefix('{') {
        Some(prefixed) => prefixed.split_once("} ").map_or(prefixed, |(_, r)| r),
        None => rest,
    };
    let (word, rest) = rest.split_once(": ")?;
    let level = match word {
        "ALERT" | "BUG" | "CRITICAL" | "ERROR" => Level::Error,
        "WARNING" => Level::Warning,
        "NOTICE" => Level::Status,
        "INFO" => Level::Info,
        "DEBUG" => Level::Debug,
        _ => return None,
    };
    let text = rest.strip_prefix("<script>: ").unwrap_or(rest);
    levelled(text).or(Some(Entry { level, at: None, text }))
}

/// `Level file.cpp:12: text`
fn levelled(line: &str) -> Option<Entry<'_>> {
    let (word, rest) = line.split_once(' ')?;
    let level = Level::ALL.into_iter().find(|l| l.word() == word)?;
    let (at, text) = rest.split_once(": ")?;
    let (file, number) = at.rsplit_once(':')?;
    if file.contains(' ') || number.parse::<u32>().is_err() {
        return None;
    }
    Some(Entry { level, at: Some(at), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_told_from_continuations() {
        assert_eq!(
            read(" 7(1234) NOTICE: <script>: Verbose common_sip_processing.cpp:77: RX 300 bytes"),
            Some(Entry { level: Level::Verbose, at: Some("common_sip_processing.cpp:77"), text: "RX 300 bytes" })
        );
        assert_eq!(
            read(" 0(9) ERROR: tm [t_fwd.c:1]: no"),
            Some(Entry { level: Level::Error, at: None, text: "tm [t_fwd.c:1]: no" })
        );
        assert_eq!(read("Error bono.cpp:3: x").map(|e| e.level), Some(Level::Error));
        for continued in
            ["REGISTER sip:a SIP/2.0", "Via: SIP/2.0/TCP 1.2.3.4", "", "--end msg--", "Error in Contact: <sip:a>"]
        {
            assert_eq!(read(continued), None, "{continued}");
        }
    }
}
