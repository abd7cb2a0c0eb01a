//! What was asked for and could not be read: said when it happens, and named at the end.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fmt, io};

use clearwater::text::{Printable, counted};
use clearwater_kube::logs::LogSource;

use super::format;
use crate::context::Context;
use crate::error::{CliError, spelled};

/// How many are named at the end.
const MOST_NAMED: usize = 12;

/// What could not be read.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    sources: BTreeSet<String>,
    /// How often something was gone without: for want of a right, or of a program in the container.
    troubles: u64,
    /// Why nothing more could be read at all.
    all: Option<Printable>,
    /// Whether nothing is said of what was saved: it is not what was asked for.
    quiet: bool,
}

impl Unread {
    /// One that says nothing of what was saved.
    pub(in crate::command) fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    pub(in crate::command) fn take(&mut self, source: Option<&LogSource>, why: &Printable, context: &mut Context) {
        match source {
            None => self.all = Some(why.clone()),
            Some(source) => {
                let name = format::name(source);
                let name = name.trim_end();
                context.talk().warning(format!("{name}: {why}"));
                self.sources.insert(name.to_owned());
            }
        }
    }

    /// What was saved and cannot be read.
    pub(super) fn file(&mut self, path: &Path, why: &io::Error, context: &mut Context) {
        self.saved(path, format_args!("not read: {why}"), context);
    }

    /// What was saved and cannot be read to its end.
    pub(super) fn part(&mut self, path: &Path, why: &io::Error, context: &mut Context) {
        self.saved(path, format_args!("read in part only: {why}"), context);
    }

    fn saved(&mut self, path: &Path, what: fmt::Arguments<'_>, context: &mut Context) {
        let name = spelled(path);
        if !self.quiet {
            context.talk().warning(format!("{name}: {what}"));
        }
        self.sources.insert(name);
    }

    /// Takes in how many of a log's lines were in a form that is known. Where none was, what was looked for may be in it.
    pub(in crate::command) fn understood(&mut self, path: &Path, lines: u64, known: u64, context: &mut Context) {
        if known > 0 || lines == 0 {
            return;
        }
        self.troubles += 1;
        if self.quiet {
            return;
        }
        context.talk().warning(format!(
            "{}: none of its {} is in a form that is known; they stand as they are, without a time",
            spelled(path),
            counted(lines, "line")
        ));
    }

    /// Something was gone without.
    pub(in crate::command) fn trouble(&mut self, source: Option<&LogSource>, why: &Printable, context: &mut Context) {
        self.troubles += 1;
        let name = source.map(|s| format!("{}: ", format::name(s).trim_end())).unwrap_or_default();
        context.talk().warning(format!("{name}{why}"));
    }

    /// Why the command failed where it found nothing: what was gone without may have held it.
    pub(in crate::command) fn nothing(&self) -> Option<CliError> {
        let gone_without = || CliError::Connection("not everything could be read; the warnings say why".to_owned());
        self.error().or_else(|| (self.troubles > 0).then(gone_without))
    }

    /// Why the command failed, where anything is among them.
    pub(in crate::command) fn error(&self) -> Option<CliError> {
        if let Some(why) = &self.all {
            return Some(CliError::Connection(why.to_string()));
        }
        let all = self.sources.len();
        let named: Vec<&str> = self.sources.iter().take(MOST_NAMED).map(String::as_str).collect();
        let more = if all > MOST_NAMED { format!(" and {} more", all - MOST_NAMED) } else { String::new() };
        let named = named.join(", ");
        (all > 0).then(|| CliError::Connection(format!("could not be read: {named}{more}; the warnings say why")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_named_and_the_others_counted() {
        let of = |n: usize| Unread { sources: (0..n).map(|n| format!("pod-{n:02}")).collect(), ..Unread::default() };
        let said = |unread: &Unread| unread.error().map(|e| e.to_string());
        assert_eq!(said(&of(0)), None);
        assert_eq!(said(&of(2)).unwrap(), "could not be read: pod-00, pod-01; the warnings say why");
        assert!(said(&of(20)).unwrap().ends_with("pod-11 and 8 more; the warnings say why"));
        let without = Unread { troubles: 1, ..of(0) };
        assert!(without.error().is_none() && without.nothing().is_some() && of(0).nothing().is_none());
        let lost = Unread { all: Some("Unauthorized".into()), ..of(2) };
        assert_eq!(said(&lost).unwrap(), "Unauthorized");
    }
}
