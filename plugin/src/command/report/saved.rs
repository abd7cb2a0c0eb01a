//! What a report holds, where there is no cluster.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde::de::DeserializeOwned;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::bounded::{LARGEST, all};
use crate::error::CliError;

/// Reads one of a report's files. Anybody may have made it: it is bounded, and its texts are not yet printable.
pub(in crate::command) fn read<T: DeserializeOwned>(path: &Path, name: &str) -> Result<T, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let wrong = |why: String| failed(io::Error::new(io::ErrorKind::InvalidData, why));
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
