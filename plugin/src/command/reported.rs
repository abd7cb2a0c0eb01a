//! What a report holds, where there is no cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use clearwater::component::Component;
use clearwater::log::component_of;
use clearwater::text::{counted, printable};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::bounded::{LARGEST, all};
use crate::error::CliError;

/// What each file of a report begins with.
#[derive(Deserialize)]
struct Versioned {
    /// The version of its format.
    v: Option<u32>,
}

/// Reads one of a report's files, of this version. Anybody may have made it: it is bounded, and its texts are not yet printable.
pub(super) fn read<T: DeserializeOwned>(path: &Path, name: &str, version: u32) -> Result<T, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let wrong = |why: String| failed(io::Error::new(io::ErrorKind::InvalidData, why));
    // One that comes through a pipe comes once, and its end is read first; it is not waited for, either.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no file: a report is one")));
    }
    let file = File::open(path).map_err(failed)?;
    let none = "it is no report: `kubectl clearwater report` writes one";
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| wrong(format!("{none} ({error})")))?;
    let is_report = archive.index_for_name(CONTENTS).is_some();
    let entry = archive.by_name(name).map_err(|error| match error {
        ZipError::FileNotFound if is_report => failed(io::Error::other(format!(
            "there is no {name} in it: {CONTENTS} says what the report lacks, and why"
        ))),
        ZipError::FileNotFound => wrong(format!("there is no {name} in it, nor a {CONTENTS}: {none}")),
        other => wrong(format!("{name}: {other}")),
    })?;
    let text = all(entry, LARGEST).map_err(|error| wrong(format!("{name}: {error}")))?;
    let foreign = |why: String| wrong(format!("{name} is not what this version writes: {why}"));
    let Versioned { v } = serde_json::from_slice(&text).map_err(|error| foreign(error.to_string()))?;
    if let Some(why) = other_version(v, version) {
        return Err(foreign(why));
    }
    serde_json::from_slice(&text).map_err(|error| foreign(error.to_string()))
}

/// Why what says that it is of this version, or says none, is not read.
fn other_version(said: Option<u32>, read: u32) -> Option<String> {
    let named = said.map_or_else(|| "none".to_owned(), |v| v.to_string());
    (said != Some(read)).then(|| format!("its format's version is {named}, and {read} is read"))
}

/// Where a report says what is in it.
pub(super) const CONTENTS: &str = "report.json";
/// Where its logs are.
const OF_LOGS: &str = "logs/";
/// The version of that file's format.
pub(super) const VERSION: u32 = 1;

/// What a report says of the logs in it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ReportedLogs {
    /// The version of the file's format: what has none is no report's.
    #[serde(default)]
    v: Option<u32>,
    /// What could not be had, each with what it needs.
    #[serde(default)]
    lacked: BTreeSet<String>,
    /// When it was begun to gather them.
    #[serde(default)]
    pub(super) at: Option<Timestamp>,
    #[serde(default)]
    cut: BTreeMap<String, Timestamp>,
}

impl ReportedLogs {
    /// The path is that of a report, of a directory that it was unpacked in, or of anything else that is read as logs: of that
    /// nothing is said.
    pub(super) fn of(path: &Path) -> Self {
        let said = if path.is_dir() {
            let file = File::open(path.join(CONTENTS)).ok().and_then(|file| all(file, LARGEST).ok());
            file.and_then(|text| serde_json::from_slice(&text).ok())
        } else {
            read(path, CONTENTS, VERSION).ok()
        };
        said.unwrap_or_default()
    }

    /// Why what a report says of its logs cannot be read, where the path is a report's: which of them are whole is not known then.
    pub(super) fn unreadable(path: &Path) -> Option<io::Error> {
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let kind = path.metadata().ok()?;
        let text = if kind.is_dir() {
            let contents = path.join(CONTENTS);
            if !contents.exists() || !path.join(OF_LOGS).is_dir() {
                return None;
            }
            File::open(contents).and_then(|file| all(file, LARGEST))
        } else if kind.is_file() {
            let mut archive = ZipArchive::new(BufReader::new(File::open(path).ok()?)).ok()?;
            archive.index_for_name(CONTENTS)?;
            if !archive.file_names().any(|name| name.starts_with(OF_LOGS)) {
                return None;
            }
            archive.by_name(CONTENTS).map_err(io::Error::from).and_then(|entry| all(entry, LARGEST))
        } else {
            return None;
        };
        let said = text.and_then(|text| serde_json::from_slice::<Self>(&text).map_err(|e| wrong(e.to_string())));
        match said {
            Err(error) => Some(error),
            Ok(said) => other_version(said.v, VERSION).map(wrong),
        }
    }

    /// The same of a file of that name, where it is a report's.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().filter(|said: &Self| said.v.is_some())
    }

    /// What it lacks, as the end of a sentence; empty where it names nothing.
    pub(super) fn lacks(&self) -> String {
        let lacked = folded(&self.lacked).iter().map(|lacked| printable(lacked).into_owned()).collect::<Vec<_>>();
        if lacked.is_empty() { String::new() } else { format!("; not in it: {}", lacked.join("; ")) }
    }

    /// From when on all that there was is in the logs of those who log SIP messages, where some of them were cut.
    pub(super) fn cut(&self) -> Option<Timestamp> {
        last_cut(&self.cut)
    }
}

/// The same of what a report says.
pub(super) fn last_cut(cut: &BTreeMap<String, Timestamp>) -> Option<Timestamp> {
    let logs_calls = |name: &str| {
        let pod = name.split('/').nth(1).unwrap_or_default();
        component_of(pod).is_none_or(Component::speaks_sip)
    };
    cut.iter().filter(|(name, _)| logs_calls(name)).map(|(_, time)| *time).max()
}

/// What is lacking, in few lines: all that lacks for one right is one.
pub(super) fn folded(lacked: &BTreeSet<String>) -> Vec<String> {
    let mut by_right: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut others = Vec::new();
    for line in lacked {
        match line.rsplit_once(": needs ") {
            Some((what, right)) => by_right.entry(right).or_default().push(what),
            None => others.push(line.clone()),
        }
    }
    let rights = by_right.into_iter().map(|(right, all)| match all.as_slice() {
        [one] => format!("{one}: needs {right}"),
        all => format!("{} that need {right}, as {}", counted(all.len(), "part"), all[0]),
    });
    rights.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_for_one_right_is_one_line() {
        let lacked =
            ["a: needs get x", "b: c: needs get x", "d: needs list y", "e: no answer in time", "f: no answer in time"];
        let said = folded(&lacked.map(str::to_owned).into());
        assert_eq!(
            said,
            ["2 parts that need get x, as a", "d: needs list y", "e: no answer in time", "f: no answer in time"]
        );
    }
}
