use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use clearwater::log::{Identity, Level, Record, Traced};
use regex::bytes::Regex;

use crate::error::CliError;

/// Which records are printed.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only records of this level and graver: error, warning, status, info, verbose or debug. Records that say no level
    /// are left out
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// Only records that match one of these. May be given more than once
    #[arg(short = 'i', long, value_name = "REGEX")]
    include: Vec<String>,
    /// No records that match one of these. May be given more than once
    #[arg(short = 'e', long, value_name = "REGEX")]
    exclude: Vec<String>,
    /// Colour what matches, and hide nothing. May be given more than once
    #[arg(short = 'H', long, value_name = "REGEX")]
    highlight: Vec<String>,
    /// Only records that name this Call-ID
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    call_id: Option<String>,
    /// Only records that name this subscriber: a number, user@domain, a sip: or a tel: URI
    #[arg(long, value_name = "IDENTITY")]
    subscriber: Option<Identity>,
}

/// Decides which records are printed. Every pattern is compiled once.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    level: Option<Level>,
    include: Option<Regex>,
    exclude: Option<Regex>,
    subjects: Vec<Traced>,
    /// Leave out what looking alone has caused.
    pub(super) quiet: bool,
    /// What is coloured: what matches one of the patterns to include or to highlight.
    pub(super) highlight: Option<Regex>,
}

impl FilterArgs {
    /// Whether patterns say what is printed.
    pub(super) fn includes(&self) -> bool {
        !self.include.is_empty()
    }

    pub(super) fn build(&self) -> Result<Filter, CliError> {
        // The crate draws the place below the pattern, in lines of its own, and says what is wrong there in the last.
        let wrong = |flag: &str, pattern: &str, e: &regex::Error| {
            let drawn = e.to_string();
            let last = drawn.lines().last().unwrap_or_default();
            let why = last.strip_prefix("error: ").unwrap_or(last);
            CliError::Usage(format!("{flag} {pattern:?}: not a regular expression: {why}"))
        };
        // One expression of all patterns: its literal parts are searched for at once.
        let any = |flag: &str, patterns: &[&String]| {
            for pattern in patterns {
                Regex::new(pattern).map_err(|e| wrong(flag, pattern, &e))?;
            }
            // Longer matches first, as stern colours them.
            let mut patterns: Vec<&str> = patterns.iter().map(|p| p.as_str()).collect();
            patterns.sort_by_key(|p| std::cmp::Reverse(p.len()));
            let all: Vec<String> = patterns.iter().map(|p| format!("(?:{p})")).collect();
            let all = Some(all.join("|")).filter(|all| !all.is_empty());
            all.map(|all| Regex::new(&all).map_err(|e| wrong(flag, &all, &e))).transpose()
        };
        let include = any("--include", &self.include.iter().collect::<Vec<_>>())?;
        let exclude = any("--exclude", &self.exclude.iter().collect::<Vec<_>>())?;
        let highlight = any("--highlight", &self.include.iter().chain(&self.highlight).collect::<Vec<_>>())?;
        Ok(Filter {
            level: self.level,
            include,
            exclude,
            subjects: self
                .call_id
                .clone()
                .map(Traced::Call)
                .into_iter()
                .chain(self.subscriber.clone().map(Traced::Subscriber))
                .collect(),
            quiet: false,
            highlight,
        })
    }
}

impl Filter {
    /// Whether a record is left out for what it tells of: nothing but that somebody looked.
    pub(super) fn is_beside_the_point(&self, record: &Record) -> bool {
        self.quiet && record.is_of_looking()
    }

    /// Whether a record is printed.
    pub(crate) fn passes(&self, record: &Record) -> bool {
        let bytes = record.bytes();
        self.level.is_none_or(|level| record.head().level.is_some_and(|l| l <= level))
            && self.include.as_ref().is_none_or(|i| i.is_match(bytes))
            && !self.exclude.as_ref().is_some_and(|e| e.is_match(bytes))
            && self.subjects.iter().all(|s| s.is_in(bytes))
    }
}
