use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use clearwater::component::Component;
use clearwater::log::{Assembler, Line, LogGrammar};
use clearwater_kube::logs::{Entry, Origin, Source};
use jiff::Timestamp;

use crate::error::CliError;

/// Logs that were saved, in time order.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    pub(crate) entries: Vec<Entry>,
}

impl Saved {
    /// Every file of a directory and those below it. The component is the one that a file's name or directory begins
    /// with.
    pub(crate) fn of_directory(dir: &Path) -> Result<Self, CliError> {
        let mut saved = Self::default();
        saved.directory(dir)?;
        // The order of equal times is that of the files.
        saved.entries.sort_by_key(|e| e.time);
        Ok(saved)
    }

    /// Standard input: the lines as they come.
    pub(crate) fn of_stdin() -> Result<Self, CliError> {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|source| CliError::Read { path: "standard input".into(), source })?;
        let mut saved = Self::default();
        saved.file("standard input", "", &bytes);
        Ok(saved)
    }

    fn directory(&mut self, dir: &Path) -> Result<(), CliError> {
        let fail = |source| CliError::Read { path: dir.to_owned(), source };
        let mut paths: Vec<_> = std::fs::read_dir(dir)
            .map_err(fail)?
            .map(|e| e.map(|e| e.path()))
            .collect::<Result<_, _>>()
            .map_err(fail)?;
        paths.sort();
        for path in paths {
            // A link to the current file would show it twice.
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                self.directory(&path)?;
                continue;
            }
            let bytes = std::fs::read(&path).map_err(|source| CliError::Read { path: path.clone(), source })?;
            self.file(&path.display().to_string(), &component(&path), &bytes);
        }
        Ok(())
    }

    fn file(&mut self, path: &str, component: &str, bytes: &[u8]) {
        let source = Arc::new(Source {
            component: component.to_owned(),
            namespace: String::new(),
            pod: if component.is_empty() { path.to_owned() } else { component.to_owned() },
            node: String::new(),
            address: String::new(),
            container: component.to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            origin: Origin::File(path.to_owned()),
        });
        let grammar = grammar(bytes);
        let mut assembler = Assembler::new(grammar);
        let mut records: Vec<_> =
            bytes.split_inclusive(|b| *b == b'\n').filter_map(|line| assembler.push(line)).collect();
        records.extend(assembler.finish());
        let mut time = Timestamp::UNIX_EPOCH;
        for record in records {
            time = record.head().time.unwrap_or(time);
            self.entries.push(Entry { source: source.clone(), time, record, late: false });
        }
    }
}

/// The grammar that most of the first lines follow.
fn grammar(bytes: &[u8]) -> LogGrammar {
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').take(50).collect();
    let of = |g: LogGrammar| lines.iter().filter(|l| Line::begins_record(g, l)).count();
    let known = [LogGrammar::Cpp, LogGrammar::Supervisord, LogGrammar::Cassandra, LogGrammar::CppAccess];
    let best = known.into_iter().rev().max_by_key(|g| of(*g)).filter(|g| of(*g) > 0);
    best.unwrap_or(LogGrammar::Plain)
}

fn component(path: &Path) -> String {
    let mut names = path.iter().rev().take(2).filter_map(|p| p.to_str());
    let starts = |name: &str| {
        let begins = |c: &&Component| {
            name.strip_prefix(c.name()).is_some_and(|rest| !rest.starts_with(|l: char| l.is_ascii_alphanumeric()))
        };
        // homestead-prov begins with homestead.
        Component::ALL.iter().filter(begins).max_by_key(|c| c.name().len()).map(|c| c.name().to_owned())
    };
    names.find_map(starts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_directory_are_told_apart_and_merged() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("homestead-prov-0")).unwrap();
        std::fs::write(dir.path().join("homestead-prov-0/a.txt"), "23-11-2026 10:00:02.000 UTC INFO a.py:1: two\n")
            .unwrap();
        let sprout =
            "23-11-2026 10:00:01.000 UTC Error a.cpp:1: one\nmore\n23-11-2026 10:00:03.000 UTC Info a.cpp:1: x\n";
        std::fs::write(dir.path().join("sprout_20261123T100000Z.txt"), sprout).unwrap();
        let saved = Saved::of_directory(dir.path()).unwrap();
        let names: Vec<_> = saved.entries.iter().map(|e| e.source.component.as_str()).collect();
        assert_eq!(names, ["sprout", "homestead-prov", "sprout"]);
        assert!(saved.entries[0].record.bytes().ends_with(b"more\n"));
    }
}
