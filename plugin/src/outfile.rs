//! Files that people have written: whether that can be done is found out before what is to stand in them is made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use crate::error::CliError;

/// Refuses a place where no new file can be made.
pub(crate) fn can_be_made(path: &Path) -> Result<(), CliError> {
    let tried = match path.symlink_metadata() {
        Ok(_) => Err(ErrorKind::AlreadyExists.into()),
        Err(_) => made_and_gone(path),
    };
    tried.map_err(failed(path))
}

/// Refuses a place where no file can be written, be one there or not.
pub(crate) fn can_be_written(path: &Path) -> Result<(), CliError> {
    let tried = match path.metadata() {
        Ok(_) if is_pipe(path) => Err(io::Error::other(
            "it is a pipe, whose reader would be waited for without end: name a file, or /dev/stdout",
        )),
        // Of a pipe that this program was given to write to.
        Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
        Ok(_) => OpenOptions::new().write(true).open(path).map(drop),
        Err(error) if error.kind() == ErrorKind::NotFound => made_and_gone(path),
        Err(error) => Err(error),
    };
    tried.map_err(failed(path))
}

/// Whether a pipe stands there itself: what stands at /dev/stdout or /dev/fd leads to one that is open.
#[cfg(unix)]
fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;

    path.symlink_metadata().is_ok_and(|found| found.file_type().is_fifo())
}

#[cfg(not(unix))]
fn is_pipe(_: &Path) -> bool {
    false
}

/// Nobody but the system knows whether a file can be made there.
fn made_and_gone(path: &Path) -> io::Result<()> {
    File::create_new(path)?;
    fs::remove_file(path)
}

/// Writes a new file that nobody else may read, and leaves none that is half.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(failed(path))?;
    file.write_all(bytes).map_err(|source| {
        let _ = fs::remove_file(path);
        failed(path)(source)
    })
}

/// Writes a file, over one that is there.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), CliError> {
    fs::write(path, bytes).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CliError {
    |source| CliError::Write { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("r.zip");
        write_private(&to, b"one").unwrap();
        assert!(write_private(&to, b"two").is_err());
        assert_eq!(fs::read(&to).unwrap(), b"one");
    }

    #[test]
    fn what_cannot_be_written_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("one"), b"one").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(at("round"), at("round")).unwrap();
        for (name, new, over) in [
            ("none", true, true),
            ("one", false, true),
            ("", false, false),
            ("none/one", false, false),
            ("one/one", false, false),
            ("round", false, !cfg!(unix)),
        ] {
            assert_eq!((can_be_made(&at(name)).is_ok(), can_be_written(&at(name)).is_ok()), (new, over), "{name:?}");
        }
        // Nothing is left of it, and nothing is lost.
        assert!(!at("none").exists() && fs::read(at("one")).unwrap() == b"one");
        assert!(can_be_written(Path::new("/dev/null")).is_ok() || !cfg!(unix));
        #[cfg(unix)]
        {
            assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
            let error = can_be_written(&at("pipe")).unwrap_err().to_string();
            assert!(error.contains("/pipe") && error.contains("it is a pipe"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        write_private(&dir.path().join("r.zip"), b"one").unwrap();
        assert_eq!(dir.path().join("r.zip").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
