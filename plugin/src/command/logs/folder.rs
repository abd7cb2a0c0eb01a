use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clearwater_kube::logs::LogSource;

use crate::error::CliError;

/// A directory with a file for each component: NAME.log, and NAME.log.1 and so on for what was rotated, newest first.
pub(super) struct Folder {
    path: PathBuf,
    size: u64,
    keep: u32,
    files: BTreeMap<String, OpenLog>,
}

struct OpenLog {
    file: BufWriter<File>,
    written: u64,
}

/// Reads a size as Kubernetes writes it: `500Ki`, `10Mi`, or a number of bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("", 1),
    ];
    let fail = || format!("{text:?} is not a size; write one like 500Ki or 10Mi");
    let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(fail)?;
    let number: u64 = text[..text.len() - unit.len()].parse().map_err(|_| fail())?;
    number.checked_mul(*factor).filter(|n| *n > 0).ok_or_else(fail)
}

impl Folder {
    /// Makes the directory where it is missing.
    pub(super) fn new(path: &Path, size: u64, keep: u32) -> Result<Self, CliError> {
        // With all that is above it: there is nothing left that somebody could make before.
        let made = fs::create_dir_all(path).map_err(io::Error::other);
        made.map_err(|source| CliError::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), size, keep, files: BTreeMap::new() })
    }

    /// Appends to the file of a source's component; a pod that is of none has its own.
    pub(super) fn write(&mut self, source: &LogSource, bytes: &[u8]) -> Result<(), CliError> {
        let name = match (source.component.as_str(), source.pod.as_str()) {
            ("", "") => "input",
            ("", pod) => pod,
            (component, _) => component,
        };
        // Labels hold no slash; names that were read from elsewhere might.
        let name = name.replace(['/', '\\'], "_");
        let path = self.path.join(format!("{name}.log"));
        self.append(name, &path, bytes).map_err(|source| CliError::Write { path, source })
    }

    fn append(&mut self, name: String, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        if let Some(open) = self.files.get_mut(&name)
            && open.written + length > self.size
            && open.written > 0
        {
            open.file.flush()?;
            self.files.remove(&name);
            rotate(path, self.keep)?;
        }
        let open = match self.files.entry(name) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                // Opening a pipe would wait for its reader.
                if path.metadata().is_ok_and(|meta| !meta.is_file()) {
                    return Err(io::Error::other("it is no regular file"));
                }
                let file = OpenOptions::new().append(true).create(true).open(path)?;
                let written = file.metadata()?.len();
                place.insert(OpenLog { file: BufWriter::with_capacity(64 * 1024, file), written })
            }
        };
        open.written += length;
        open.file.write_all(bytes)
    }

    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        for (name, open) in &mut self.files {
            let path = || self.path.join(format!("{name}.log"));
            open.file.flush().map_err(|source| CliError::Write { path: path(), source })?;
        }
        Ok(())
    }
}

fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    let numbered = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    };
    if keep == 0 {
        return fs::remove_file(path);
    }
    for n in (1..keep).rev() {
        match fs::rename(numbered(n), numbered(n + 1)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearwater_kube::logs::LogOrigin;

    fn source(component: &str) -> LogSource {
        LogSource {
            component: component.to_owned(),
            namespace: "ims".to_owned(),
            pod: "p-0".to_owned(),
            node: String::new(),
            address: String::new(),
            container: "c".to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            origin: LogOrigin::Output,
        }
    }

    #[test]
    fn each_component_has_its_file_and_files_are_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(&dir.path().join("new"), 8, 2).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n", "five\n", "six\n"] {
            folder.write(&source("sprout"), line.as_bytes()).unwrap();
        }
        folder.write(&source(""), b"x\n").unwrap();
        folder.flush().unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join("new").join(name)).unwrap_or_default();
        assert_eq!(read("p-0.log"), "x\n");
        assert_eq!([read("sprout.log"), read("sprout.log.1"), read("sprout.log.2")], ["six\n", "five\n", "four\n"]);
        assert!(!dir.path().join("new/sprout.log.3").exists());
        // A file that is there is continued.
        drop(folder);
        let mut folder = Folder::new(&dir.path().join("new"), 8, 2).unwrap();
        folder.write(&source("sprout"), b"7\n").unwrap();
        folder.flush().unwrap();
        assert_eq!(read("sprout.log"), "six\n7\n");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = std::process::Command::new("mkfifo").arg(dir.path().join("sprout.log")).status().unwrap();
        assert!(fifo.success());
        let error = Folder::new(dir.path(), 8, 2).unwrap().write(&source("sprout"), b"one\n").unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
    }

    #[test]
    fn sizes_are_those_of_kubernetes() {
        assert_eq!((size("10Mi"), size("2k"), size("7")), (Ok(10 << 20), Ok(2000), Ok(7)));
        assert!(size("ten").is_err() && size("0").is_err() && size("-1Mi").is_err());
    }
}
