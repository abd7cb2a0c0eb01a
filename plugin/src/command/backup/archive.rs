//! The file of a backup.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clearwater::backup::Backup;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::bounded;
use crate::error::CliError;
use crate::zipped::{unzipped, zipped};

/// The longest file that is read: more than a million subscribers.
const LONGEST: u64 = 1 << 30;
/// What the parts of a file may be together: so many times its length, or so much. What is packed ten times as tight as any backup
/// is none.
const LOOSEST: u64 = 100;
const LEAST: u64 = 64 << 20;

/// A backup as a file's bytes.
pub(in crate::command) fn packed(backup: &Backup) -> Result<Vec<u8>, CliError> {
    Ok(zipped(&backup.parts())?)
}

/// Writes a new file that nobody else may read. Where that fails, there is none.
pub(in crate::command) fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600));
    let mut file = builder.prefix(".clearwater-backup-").tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist_noclobber(path).map_err(|e| failed(e.error)).map(drop)
}

/// The name of a file that is made in a directory.
pub(super) fn name(namespace: &str, at: Timestamp) -> String {
    format!("clearwater-backup-{namespace}-{}.zip", at.strftime(STAMP))
}

const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// Removes all files of that name from a directory but the newest so many, and yields those that it removed. A file that somebody
/// called otherwise, or that is of another namespace, is none of them.
pub(super) fn prune(folder: &Path, namespace: &str, most: u32) -> Result<Vec<PathBuf>, CliError> {
    let failed = |source| CliError::Read { path: folder.to_owned(), source };
    let mut ours = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let called = entry.file_name();
        let made = called.to_str().and_then(|called| {
            let stamp = called.strip_prefix("clearwater-backup-")?.strip_prefix(namespace)?.strip_prefix('-')?;
            // What it is read as has to be written the same.
            let at = DateTime::strptime(STAMP, stamp.strip_suffix(".zip")?).ok()?.to_zoned(TimeZone::UTC).ok()?;
            (name(namespace, at.timestamp()) == called).then(|| at.timestamp())
        });
        if let Some(made) = made {
            ours.push((made, entry.path()));
        }
    }
    ours.sort();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let old: Vec<PathBuf> = ours.iter().rev().skip(most).map(|(_, path)| path.clone()).collect();
    for path in &old {
        fs::remove_file(path).map_err(|source| CliError::Write { path: path.clone(), source })?;
    }
    Ok(old)
}

/// Reads a backup, and checks that it is what was written; - reads standard input.
pub(in crate::command) fn read(path: &Path) -> Result<Backup, CliError> {
    let bytes = bounded::ending(path, LONGEST)?;
    let wrong = |reason: String| CliError::Archive { path: bounded::named(path), reason };
    let most = (bytes.len() as u64).saturating_mul(LOOSEST).max(LEAST);
    let parts = unzipped(&bytes, most).map_err(wrong)?;
    Backup::of_parts(&parts).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Backup {
        Backup { namespace: "ims".to_owned(), ..Backup::default() }
    }

    #[test]
    fn a_file_is_read_again_and_nothing_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.zip");
        let bytes = packed(&backup()).unwrap();
        write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), backup());
        assert!(write(&path, b"other").is_err());
        assert_eq!((std::fs::read(&path).unwrap(), dir.path().read_dir().unwrap().count()), (bytes, 1));
        assert!(write(&dir.path().join("none/b.zip"), b"").unwrap_err().to_string().contains("none/b.zip"));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.zip");
        write(&path, b"").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_oldest_of_its_own_files_go_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let at = |day: u8| format!("2026-11-{day:02}T03:30:00Z").parse::<Timestamp>().unwrap();
        let mut others = vec!["notes.zip".to_owned(), name("ims-2", at(1)), name("lab", at(1))];
        others.extend(
            ["clearwater-backup-ims-20261101.zip", "clearwater-backup-ims-20261101T033000Z.zip.old"].map(str::to_owned),
        );
        let own: Vec<String> = [3, 1, 4, 2].map(|day| name("ims", at(day))).to_vec();
        for file in others.iter().chain(&own) {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let old = prune(dir.path(), "ims", 2).unwrap();
        assert_eq!(old, [2, 1].map(|day| dir.path().join(name("ims", at(day)))));
        others.extend([3, 4].map(|day| name("ims", at(day))));
        others.sort();
        let mut left: Vec<String> =
            dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, others);
        assert!(prune(dir.path(), "ims", 2).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_backup_takes_no_more_room_than_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.zip");
        let parts = (0..4).map(|n| (format!("{n}.json"), vec![0; 40 << 20])).collect();
        std::fs::write(&path, zipped(&parts).unwrap()).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("it holds more than 67108864 bytes"));
        #[cfg(unix)]
        assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("it is a device"));
    }

    #[test]
    fn a_torn_file_and_a_foreign_one_are_refused_with_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let told = |bytes: &[u8]| {
            let path = dir.path().join("b.zip");
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path).unwrap_err();
            assert_eq!(error.exit_code(), crate::exit::USAGE);
            error.to_string()
        };
        let bytes = packed(&backup()).unwrap();
        for end in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let text = told(&bytes[..end]);
            assert!(
                text.contains("b.zip: it is no whole zip archive: ") && text.ends_with("nothing was written"),
                "{text}"
            );
        }
        let other = zipped(&[("a.txt".to_owned(), b"a".to_vec())].into()).unwrap();
        assert!(told(&other).contains("it is no backup of a Clearwater deployment: it has no manifest.json"));
        let mut parts = backup().parts();
        parts.insert("simservs.json".to_owned(), b"{}".to_vec());
        assert!(told(&zipped(&parts).unwrap()).contains("simservs.json was altered: it has 2 bytes"));
    }
}
