//! One reading: what is written of what a stream says, where to, and what was seen.

use std::collections::{BTreeSet, HashSet};
use std::io::IsTerminal;
use std::sync::Arc;

use clearwater::text::counted;
use clearwater_kube::logs::{LogEntry, LogSource, Said};

use super::by_source::BySource;
use super::folder::Folder;
use super::span::Span;
use super::unread::Unread;
use super::{Filter, Printer, format};
use crate::advice::command;
use crate::context::Context;
use crate::error::CliError;

/// What was seen, for the end.
#[derive(Debug, Default)]
pub(super) struct ReadingSummary {
    pub(super) records: u64,
    pub(super) lines: u64,
    pub(super) late: u64,
    pub(super) gaps: u64,
    /// Records that were left out because they tell of nothing but that somebody looked.
    pub(super) of_looking: u64,
    /// Whether it is known which pods there are.
    pub(super) is_listed: bool,
    /// How many sources were opened, and how many records came of them, whether they were wanted or not.
    pub(super) opened: u64,
    pub(super) came: u64,
    /// Until it is known which there are: the containers that are read, each with its namespace and its pod.
    containers: BTreeSet<(String, String, String)>,
    /// What was asked for and could not be read.
    pub(super) unread: Unread,
    /// Those that a record came of, by name.
    pub(super) sources: HashSet<String>,
    /// Those that are among them already, so that no name is put together for every record.
    known: BySource<()>,
}

impl ReadingSummary {
    /// Why nothing was written, where that is so.
    pub(super) fn emptiness(&self) -> Option<String> {
        match (self.opened, self.came, self.records) {
            (0, ..) => Some(no_container()),
            (_, 0, _) => Some("what was read holds nothing that was written in that time".to_owned()),
            (_, came, 0) => {
                let came = counted(usize::try_from(came).unwrap_or(usize::MAX), "record");
                Some(if self.of_looking > 0 {
                    format!(
                        "{came} came, and none but what looking has caused is one that was asked for; --all shows it"
                    )
                } else {
                    format!("{came} came, and none is one that was asked for")
                })
            }
            _ => None,
        }
    }

    fn opens(&mut self, source: &LogSource) {
        self.opened += 1;
        if !self.is_listed {
            let LogSource { namespace, pod, container, .. } = source;
            self.containers.insert((namespace.clone(), pod.clone(), container.clone()));
        }
    }

    /// What is read, when it is known for the first time.
    fn listed(&mut self) -> Option<String> {
        self.is_listed = true;
        let containers = std::mem::take(&mut self.containers);
        let pods: BTreeSet<_> = containers.iter().map(|(namespace, pod, _)| (namespace, pod)).collect();
        let mut namespaces = containers.iter().map(|(namespace, ..)| namespace).collect::<BTreeSet<_>>().into_iter();
        let place = match (namespaces.next()?, namespaces.len()) {
            (only, 0) => format!("namespace {only}"),
            (_, others) => counted(others + 1, "namespace"),
        };
        Some(format!("{} of {} in {place}", counted(containers.len(), "container"), counted(pods.len(), "pod")))
    }

    fn source(&mut self, source: &Arc<LogSource>) {
        self.known.get(source, |source| {
            self.sources.insert(format::name(source));
        });
    }
}

/// Said where there was nothing to read.
pub(in crate::command) fn no_container() -> String {
    format!("no container was found to read; see {}", command("status"))
}

/// One reading: which records are written, how, where to, and what was seen.
pub(super) struct Reading {
    pub(super) span: Span,
    pub(super) filter: Filter,
    pub(super) printer: Printer,
    pub(super) out: Out,
    pub(super) seen: ReadingSummary,
}

/// Where lines go.
pub(super) enum Out {
    Results,
    Folder(Folder),
}

impl Reading {
    /// Writes a record, if it is one of those that are wanted; tells whether it is.
    pub(super) fn write(&mut self, entry: &LogEntry, context: &mut Context) -> Result<bool, CliError> {
        let passes = self.span.holds(entry.time) && self.filter.passes(&entry.record);
        if passes && self.filter.is_beside_the_point(&entry.record) {
            self.seen.of_looking += 1;
            return Ok(false);
        }
        if passes {
            self.out.write(&entry.source, self.printer.record(entry), context)?;
        }
        Ok(passes)
    }

    /// Takes a record of what was saved.
    pub(super) fn take_saved(&mut self, entry: &LogEntry, context: &mut Context) -> Result<(), CliError> {
        self.seen.came += 1;
        self.seen.records += u64::from(self.write(entry, context)?);
        Ok(())
    }

    /// Takes what was said; tells whether something was written.
    pub(super) fn take(&mut self, said: Said, talks: bool, context: &mut Context) -> Result<bool, CliError> {
        let shows = talks && std::io::stderr().is_terminal();
        if let Said::Opened(source) = &said {
            self.seen.opens(source);
        }
        self.seen.came += u64::from(matches!(said, Said::Record(_)));
        match said {
            Said::Record(entry) => {
                self.seen.source(&entry.source);
                self.seen.late += u64::from(entry.late);
                if self.write(&entry, context)? {
                    self.seen.records += 1;
                    self.seen.lines += entry.record.lines().count() as u64;
                    return Ok(true);
                }
            }
            Said::Gap(source, gap) => {
                self.seen.gaps += 1;
                if let Some(line) = self.printer.gap(&source, &gap) {
                    self.out.write(&source, line, context)?;
                }
                let until = gap.before.map_or_else(|| "its end".to_owned(), |t| t.to_string());
                context.talk().warning(format!(
                    "{}: what was written between {} and {until} is no longer served",
                    format::name(&source),
                    gap.after
                ));
                return Ok(true);
            }
            Said::Trouble(source, text) => {
                self.seen.unread.trouble(source.as_deref(), &text, context);
            }
            Said::Unread(source, why) => self.seen.unread.take(source.as_deref(), &why, context),
            Said::Opened(source) if shows => tell(context, '+', &source),
            Said::Closed(source) if shows => tell(context, '-', &source),
            Said::Listed => {
                if let Some(what) = self.seen.listed().filter(|_| talks) {
                    context.talk().note(what);
                }
            }
            Said::Opened(_) | Said::Closed(_) => {}
        }
        Ok(false)
    }
}

/// Tells that a source comes or goes.
fn tell(context: &mut Context, sign: char, source: &LogSource) {
    let name = format::name(source);
    if !name.ends_with(' ') {
        context.talk().note(format!("{sign} {name}"));
    }
}

impl Out {
    fn write(&mut self, source: &LogSource, bytes: &[u8], context: &mut Context) -> Result<(), CliError> {
        match self {
            Self::Results => context.results().bytes(bytes),
            Self::Folder(folder) => folder.write(source, bytes),
        }
    }

    pub(super) fn flush(&mut self, context: &mut Context) -> Result<(), CliError> {
        match self {
            Self::Results => Ok(context.results().flush()?),
            Self::Folder(folder) => folder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_said_once() {
        let mut seen = ReadingSummary::default();
        assert_eq!(seen.listed(), None);
        seen.is_listed = false;
        for (namespace, pod, container) in [("a", "bono-0", "main"), ("a", "bono-0", "x"), ("a", "bono-1", "main")] {
            seen.containers.insert((namespace.to_owned(), pod.to_owned(), container.to_owned()));
        }
        assert_eq!(seen.listed().unwrap(), "3 containers of 2 pods in namespace a");
        assert_eq!(seen.listed(), None);
        seen.containers.extend(["a", "b"].map(|namespace| (namespace.to_owned(), "p".to_owned(), "main".to_owned())));
        assert_eq!(seen.listed().unwrap(), "2 containers of 2 pods in 2 namespaces");
    }

    #[test]
    fn why_nothing_was_written_is_said() {
        let seen = |opened, came, records| ReadingSummary { records, opened, came, ..ReadingSummary::default() };
        assert!(seen(0, 0, 0).emptiness().unwrap().contains("no container"));
        assert!(seen(2, 0, 0).emptiness().unwrap().contains("holds nothing"));
        assert!(seen(2, 5, 0).emptiness().unwrap().starts_with("5 records came, and none"));
        assert!(seen(2, 5, 1).emptiness().is_none());
    }
}
