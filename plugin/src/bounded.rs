//! Files that people name: read whole, and not for ever.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::awaited::{Written, awaited};
use crate::error::{CliError, spelled};

/// What no file that is meant is as long as.
pub(crate) const LARGEST: u64 = 16 << 20;

/// Whether what was found is a device: one may never end.
#[cfg(unix)]
pub(crate) fn is_device(found: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_char_device() || found.file_type().is_block_device()
}

#[cfg(not(unix))]
pub(crate) fn is_device(_: &Metadata) -> bool {
    false
}

/// All of a reader; longer than `limit` is an error.
pub(crate) fn all(reader: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = reader.take(limit + 1).read_to_end(&mut bytes)?;
    if length as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {limit} bytes")));
    }
    Ok(bytes)
}

/// The same of a file, which is no device.
fn of_no_device(file: File, limit: u64) -> io::Result<Vec<u8>> {
    if is_device(&file.metadata()?) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a device, which may never end"));
    }
    all(file, limit)
}

/// Has a word said of what is waited for where that is no file of a disk: of a pipe nobody knows when somebody writes to it.
fn awaiting<T>(path: &Path, read: impl FnOnce() -> T) -> T {
    let of_disk = path.metadata().is_ok_and(|found| found.is_file() || found.is_dir());
    let what = format!("waiting for {} to be read", spelled(named(path)));
    let tell = move || crate::reporter::line(&mut anstream::stderr(), &what);
    let _awaited = (!of_disk).then(|| awaited(Written::default(), tell));
    read()
}

/// A file as it is told.
pub(crate) fn named(path: &Path) -> PathBuf {
    if path == Path::new("-") { "standard input".into() } else { path.to_owned() }
}

/// What reads the whole of an open file within a limit.
type ReadAll = fn(File, u64) -> io::Result<Vec<u8>>;

fn whole(path: &Path, limit: u64, read: ReadAll) -> io::Result<Vec<u8>> {
    awaiting(path, || match path {
        path if path == Path::new("-") => all(io::stdin().lock(), limit),
        path => File::open(path).and_then(|file| read(file, limit)),
    })
}

/// The bytes of a file.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, CliError> {
    whole(path, LARGEST, all).map_err(|source| CliError::Read { path: named(path), source })
}

/// The bytes of a file, which is no device, or of standard input where it is `-`.
pub(crate) fn ending(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    whole(path, limit, of_no_device).map_err(|source| CliError::Read { path: named(path), source })
}

/// The text of a file, or of standard input where it is `-`.
pub(crate) fn text(path: &Path, limit: u64) -> Result<String, CliError> {
    let text = whole(path, limit, all).and_then(decoded);
    text.map_err(|source| CliError::Read { path: named(path), source })
}

/// The text of a file. What PowerShell's `>` writes is named as that.
pub(crate) fn decoded(bytes: Vec<u8>) -> io::Result<String> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    // YAML and JSON are ASCII at their begin, so that a zero byte there is half of a character.
    if matches!(bytes[..], [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0, _, ..] | [_, 0, ..]) {
        return Err(wrong(
            "it is UTF-16, as PowerShell writes by itself: save it as UTF-8 (| Out-File -Encoding utf8)",
        ));
    }
    String::from_utf8(bytes)
        .map_err(|e| wrong(&format!("it is no UTF-8 from byte {} on", e.utf8_error().valid_up_to())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_powershell_is_named_as_such() {
        let text = "apiVersion: clearwater/v1\n";
        assert_eq!(decoded(text.as_bytes().to_vec()).unwrap(), text);
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [[&[0xFF, 0xFE][..], &little].concat(), [&[0xFE, 0xFF][..], &big].concat(), little, big] {
            assert!(decoded(bytes).unwrap_err().to_string().contains("UTF-16, as PowerShell"));
        }
        assert_eq!(decoded(b"a: \xE4".to_vec()).unwrap_err().to_string(), "it is no UTF-8 from byte 3 on");
        assert_eq!(decoded(Vec::new()).unwrap(), "");
    }

    #[test]
    fn what_does_not_end_is_an_error_and_takes_no_more_room_than_the_limit() {
        assert_eq!(all(&b"12345"[..], 5).unwrap(), b"12345");
        assert!(all(io::repeat(0), 1000).unwrap_err().to_string().contains("longer than 1000 bytes"));
        #[cfg(unix)]
        for read in [bytes(Path::new("/dev/zero")).err(), text(Path::new("/dev/zero"), LARGEST).err()] {
            let told = read.expect("an error").to_string();
            assert!(told.contains("/dev/zero") && told.contains("longer than"), "{told}");
        }
    }
}
