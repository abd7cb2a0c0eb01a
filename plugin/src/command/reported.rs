//! What a report holds, where there is no cluster.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use clearwater::component::Component;
use clearwater::log::component_of;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::bounded::{LARGEST, all};
use crate::error::CliError;

/// Reads one of a report's files. Anybody may have made it: it is bounded, and its texts are not yet printable.
pub(super) fn read<T: DeserializeOwned>(path: &Path, name: &str) -> Result<T, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let wrong = |why: String| failed(io::Error::new(io::ErrorKind::InvalidData, why));
    // One that comes through a pipe comes once, and its end is read first; it is not waited for, either.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no file: a report is one")));
    }
    let file = File::open(path).map_err(failed)?;
    let none = "it is no report: `kubectl clearwater report` writes one";
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| wrong(format!("{none} ({error})")))?;
    let entry = archive.by_name(name).map_err(|error| match error {
        ZipError::FileNotFound => {
            wrong(format!("there is no {name} in it: report.json says what the report lacks, and why"))
        }
        other => wrong(format!("{name}: {other}")),
    })?;
    let text = all(entry, LARGEST).map_err(|error| wrong(format!("{name}: {error}")))?;
    serde_json::from_slice(&text).map_err(|error| wrong(format!("{name} is not what this version writes: {error}")))
}

/// What a report says of the logs in it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ReportedLogs {
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
        let name = "report.json";
        let said = if path.is_dir() {
            let file = File::open(path.join(name)).ok().and_then(|file| all(file, LARGEST).ok());
            file.and_then(|text| serde_json::from_slice(&text).ok())
        } else {
            read(path, name).ok()
        };
        said.unwrap_or_default()
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
