//! The logs in what somebody saved: files, packed or not, and the members of archives.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use encoding_rs_io::DecodeReaderBytesBuilder;
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

/// How much is read at once, in bytes.
pub(super) const ROOM: usize = 64 * 1024;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const ZIP: &[u8] = b"PK\x03\x04";
/// No more than this is taken out of an archive, in bytes: a small one may hold what no disk does.
const MOST: u64 = 4 << 30;
/// Where a report's logs are.
const OF_REPORT: &str = "logs/";
/// Where a tar archive says what it is (POSIX.1-1988), and how.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// One log.
#[derive(Debug)]
pub(super) struct Member {
    /// Its path, for an archive's with that before it. No file is ever opened by a name that an archive gave.
    pub(super) name: PathBuf,
    data: Data,
}

#[derive(Debug)]
enum Data {
    File,
    /// Taken out of an archive, without a name on the disk.
    Taken(File),
}

impl Member {
    /// The logs in a file, which may be an archive.
    pub(super) fn all_of(path: &Path) -> io::Result<Vec<Self>> {
        let mut input = unpacked(Box::new(BufReader::with_capacity(ROOM, File::open(path)?)))?;
        let first = input.fill_buf()?;
        if first.starts_with(ZIP) {
            return Self::all_of_zip(path);
        }
        if first.get(TAR.0..).is_none_or(|rest| !rest.starts_with(TAR.1)) {
            return Ok(vec![Self { name: path.to_owned(), data: Data::File }]);
        }
        let (mut members, mut room) = (Vec::new(), MOST);
        for entry in tar::Archive::new(input).entries()? {
            let entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = path.join(String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches('/'));
            members.push(Self::taken_within(name, entry, &mut room)?);
        }
        Ok(members)
    }

    /// What is not in a file of that name.
    pub(super) fn taken(name: PathBuf, text: impl Read) -> io::Result<Self> {
        Self::taken_within(name, text, &mut MOST.clone())
    }

    /// A member of an archive, out of which it is taken. It takes of the room that there is for all.
    fn taken_within(name: PathBuf, member: impl Read, room: &mut u64) -> io::Result<Self> {
        let mut taken = tempfile::tempfile()?;
        let length = io::copy(&mut member.take(*room + 1), &mut taken)?;
        *room = room.checked_sub(length).ok_or_else(|| {
            let most = MOST >> 30;
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it holds more than {most} GiB: unpack it, and name the directory"),
            )
        })?;
        Ok(Self { name, data: Data::Taken(taken) })
    }

    /// The logs of a zip: those of a report, which are below `logs`, or else every file.
    fn all_of_zip(path: &Path) -> io::Result<Vec<Self>> {
        let mut archive = zip::ZipArchive::new(BufReader::new(File::open(path)?))?;
        let is_report = archive.file_names().any(|name| name.starts_with(OF_REPORT));
        let (mut members, mut room) = (Vec::new(), MOST);
        for n in 0..archive.len() {
            let entry = archive.by_index(n)?;
            if !entry.is_file() || is_report && !entry.name().starts_with(OF_REPORT) {
                continue;
            }
            let name = path.join(entry.name().trim_start_matches('/'));
            members.push(Self::taken_within(name, entry, &mut room)?);
        }
        Ok(members)
    }

    /// Its text from the beginning, unpacked and in UTF-8 where it was in UTF-16.
    pub(super) fn open(&self) -> io::Result<Box<dyn BufRead>> {
        let file = match &self.data {
            Data::File => File::open(&self.name)?,
            Data::Taken(file) => {
                let mut file = file.try_clone()?;
                file.seek(SeekFrom::Start(0))?;
                file
            }
        };
        text(unpacked(Box::new(BufReader::with_capacity(ROOM, file)))?)
    }
}

/// What is packed, unpacked, as its first bytes tell.
pub(super) fn unpacked(mut input: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
    let first = input.fill_buf()?;
    Ok(if first.starts_with(GZIP) {
        Box::new(BufReader::with_capacity(ROOM, MultiGzDecoder::new(input)))
    } else if first.starts_with(ZSTD) {
        let decoder = StreamingDecoder::new(input).map_err(io::Error::other)?;
        Box::new(BufReader::with_capacity(ROOM, decoder))
    } else {
        input
    })
}

/// What is in UTF-16 as its mark tells, in UTF-8, and without a mark. All else stays as it is, byte for byte.
pub(super) fn text(mut input: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
    let first = input.fill_buf()?;
    if first.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    } else if first.starts_with(b"\xff\xfe") || first.starts_with(b"\xfe\xff") {
        let mut decoder = BufReader::with_capacity(ROOM, DecodeReaderBytesBuilder::new().build(input));
        // It hands out its first bytes alone, and a line is needed to tell the form.
        let mut line = Vec::new();
        decoder.by_ref().take(ROOM as u64).read_until(b'\n', &mut line)?;
        return Ok(Box::new(io::Cursor::new(line).chain(decoder)));
    }
    Ok(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_taken_out_within_the_room_that_there_is() {
        let mut room = 10;
        let member =
            |length: u64, room: &mut u64| Member::taken_within("x".into(), io::repeat(b'x').take(length), room);
        assert!(member(6, &mut room).is_ok() && member(4, &mut room).is_ok());
        assert!(member(1, &mut room).unwrap_err().to_string().contains("more than 4 GiB"));
    }
}
