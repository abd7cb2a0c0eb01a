//! Files as a zip, and a zip as files.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read as _, Write as _};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The files as a zip, the same bytes for the same files.
pub(crate) fn zipped(files: &BTreeMap<String, Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (path, bytes) in files {
        zip.start_file(path.as_str(), options).map_err(io::Error::other)?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish().map_err(io::Error::other)?.into_inner())
}

/// The files of a zip, which together are no longer than `most` bytes; or what is wrong with it.
pub(crate) fn unzipped(bytes: &[u8], most: u64) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let failed = |error: ZipError| format!("it is no whole zip archive: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(failed)?;
    let (mut files, mut left) = (BTreeMap::new(), most);
    for n in 0..archive.len() {
        let mut file = archive.by_index(n).map_err(failed)?;
        let name = file.name().to_owned();
        let mut read = Vec::new();
        // What an archive says of its lengths is not believed.
        let length = file.by_ref().take(left + 1).read_to_end(&mut read);
        let length = length.map_err(|error| format!("{name} in it cannot be read: {error}"))? as u64;
        left = left.checked_sub(length).ok_or_else(|| format!("it holds more than {most} bytes"))?;
        if files.insert(name.clone(), read).is_some() {
            return Err(format!("it holds {name} twice"));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> BTreeMap<String, Vec<u8>> {
        [("a/b.log".to_owned(), [0, 159, 146, 150].repeat(1000)), ("report.json".to_owned(), b"{}".to_vec())].into()
    }

    #[test]
    fn what_was_put_in_is_read_back() {
        let bytes = zipped(&files()).unwrap();
        assert_eq!(bytes, zipped(&files()).unwrap());
        assert_eq!(unzipped(&bytes, 1 << 20).unwrap(), files());
    }

    #[test]
    fn what_is_torn_altered_or_too_long_is_told() {
        let bytes = zipped(&files()).unwrap();
        for end in 0..bytes.len() {
            assert!(unzipped(&bytes[..end], 1 << 20).is_err(), "{end}");
        }
        assert_eq!(unzipped(&bytes, 100).unwrap_err(), "it holds more than 100 bytes");
        let told = (0..bytes.len()).filter(|n| {
            let mut other = bytes.clone();
            other[*n] ^= 0xff;
            unzipped(&other, 1 << 20).as_ref() != Ok(&files())
        });
        // Some bytes, as the times of the files, say nothing of what is in them.
        assert!(told.count() * 2 > bytes.len());
        assert!(unzipped(b"PK", 1).unwrap_err().starts_with("it is no whole zip archive: "));
    }
}
