//! The logs in what somebody saved: files, packed or not, and the members of archives.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use encoding_rs_io::DecodeReaderBytesBuilder;
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

/// How much is read at once, in bytes.
pub(super) const ROOM: usize = 64 * 1024;
/// How much of a file that is opened anew for each piece.
const PIECE: usize = 16 * 1024;

/// How UTF-16 begins.
const UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const ZIP: &[u8] = b"PK\x03\x04";
/// A zip without a file.
const EMPTY_ZIP: &[u8] = b"PK\x05\x06";
/// What is packed in a way that is not read, by how it begins.
const FOREIGN: [(&[u8], &str); 7] = [
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x1f\x9d", "compress"),
    (b"LZIP", "lzip"),
    (b"Rar!\x1a\x07", "RAR"),
];
/// What names of packed files end with.
const PACKED: [&str; 6] = ["zip", "gz", "tgz", "zst", "tzst", "tar"];
/// No more than this is taken out of an archive, in bytes: a small one may hold what no disk does.
const MOST: u64 = 4 << 30;
/// Where a report's logs are.
pub(super) const OF_REPORT: &str = "logs/";
/// Where a tar archive says what it is (POSIX.1-1988), and how.
const TAR: (usize, &[u8]) = (257, b"ustar");
/// As many files stay open while they wait for their turn: a process may often have 256 in all.
const MOST_OPEN: usize = 64;

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
    /// Taken out of an archive: from here to there in the spool.
    Taken {
        spool: Arc<File>,
        at: u64,
        end: u64,
    },
}

/// What was taken out of archives, in one file without a name: one is open, however many members they have.
#[derive(Debug, Default)]
pub(super) struct Spool {
    file: Option<Arc<File>>,
    end: u64,
}

/// What is in a file, which may be an archive.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) members: Vec<Member>,
    /// An archive's links, and what else in it is neither a file nor a directory.
    pub(super) passed_over: Vec<PathBuf>,
    /// Why there is no more of it.
    pub(super) error: Option<io::Error>,
}

/// Counts the files that stay open.
#[derive(Clone, Debug, Default)]
pub(super) struct Handles(Arc<()>);

impl Spool {
    /// Takes in a member of an archive, as far as it can be read, and as there is room for all of them. Where it comes to an end
    /// before its length, that is an error.
    fn take(
        &mut self,
        name: PathBuf,
        member: impl Read,
        length: Option<u64>,
        room: &mut u64,
    ) -> (Option<Member>, io::Result<()>) {
        let spool = match &self.file {
            Some(file) => file.clone(),
            None => match tempfile::tempfile() {
                Ok(file) => self.file.insert(Arc::new(file)).clone(),
                Err(error) => return (None, Err(error)),
            },
        };
        let (at, mut end) = (self.end, self.end);
        let mut out = Tail { spool: &spool, end: &mut end };
        let mut taken = io::copy(&mut member.take(*room + 1), &mut out).map(|_| ());
        let copied = end - at;
        let Some(rest) = room.checked_sub(copied) else {
            let most = MOST >> 30;
            let error = format!("it holds more than {most} GiB: unpack it, and name the directory");
            let _ = spool.set_len(at);
            return (None, Err(io::Error::new(io::ErrorKind::FileTooLarge, error)));
        };
        *room = rest;
        self.end = end;
        if taken.is_ok() && length.is_some_and(|length| copied < length) {
            taken = Err(io::ErrorKind::UnexpectedEof.into());
        }
        let is_something = copied > 0 || taken.is_ok();
        (is_something.then_some(Member { name, data: Data::Taken { spool, at, end } }), taken)
    }
}

/// Writes at the end of the spool.
struct Tail<'s> {
    spool: &'s File,
    end: &'s mut u64,
}

impl io::Write for Tail<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut spool = self.spool;
        spool.seek(SeekFrom::Start(*self.end))?;
        let written = spool.write(bytes)?;
        *self.end += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Found {
    /// The logs in a file.
    pub(super) fn of(path: &Path, spool: &mut Spool) -> Self {
        let mut found = Self::default();
        found.error = found.look(path, spool).err().map(plainly);
        found
    }

    fn look(&mut self, path: &Path, spool: &mut Spool) -> io::Result<()> {
        let file = File::open(path)?;
        let is_file = file.metadata()?.is_file();
        let mut input = BufReader::with_capacity(ROOM, file);
        let begin = input.fill_buf()?;
        let is_packed = [GZIP, ZSTD].into_iter().any(|mark| begin.starts_with(mark));
        let mut input = unpacked(Box::new(input))?;
        let first = match input.fill_buf() {
            Ok(first) => first,
            // What came before is found out when it is read.
            Err(error) if is_cut(&error) => &[],
            Err(error) => return Err(error),
        };
        if first.starts_with(ZIP) || first.starts_with(EMPTY_ZIP) {
            if !is_file {
                let why = "it is a zip that comes through a pipe, and its end is read first: save it to a file";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            return self.look_into_zip(path, spool);
        }
        let mut room = MOST;
        if first.get(TAR.0..).is_none_or(|rest| !rest.starts_with(TAR.1)) {
            let is_to_be_packed = path.extension().is_some_and(|end| PACKED.iter().any(|packed| end == *packed));
            if !is_text(first) || is_to_be_packed && !is_packed && has_odd(first) {
                return Err(no_text());
            }
            if !is_file {
                // What comes through a pipe comes once.
                return self.take(spool.take(path.to_owned(), input, None, &mut room));
            }
            self.members.push(Member { name: path.to_owned(), data: Data::File });
            return Ok(());
        }
        let mut archive = tar::Archive::new(input);
        for entry in archive.entries()? {
            let entry = entry?;
            let (kind, length) = (entry.header().entry_type(), entry.size());
            let name = path.join(String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches('/'));
            if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
                self.take(spool.take(name, entry, Some(length), &mut room))?;
            } else if !kind.is_dir() && !kind.is_pax_global_extensions() {
                self.passed_over.push(name);
            }
        }
        // What it is packed with may end after it, and tells only then whether all was whole.
        io::copy(&mut archive.into_inner().take(MOST), &mut io::sink()).map(drop)
    }

    /// The logs of a zip: those of a report, which are below `logs`, or else every file.
    fn look_into_zip(&mut self, path: &Path, spool: &mut Spool) -> io::Result<()> {
        let mut archive = zip::ZipArchive::new(BufReader::new(File::open(path)?))?;
        let is_report = archive.file_names().any(|name| name.starts_with(OF_REPORT));
        let mut room = MOST;
        for n in 0..archive.len() {
            let entry = archive.by_index(n)?;
            if entry.is_dir() || is_report && !entry.name().starts_with(OF_REPORT) {
                continue;
            }
            let name = path.join(entry.name().trim_start_matches('/'));
            if entry.is_file() {
                let length = entry.size();
                self.take(spool.take(name, entry, Some(length), &mut room))?;
            } else {
                self.passed_over.push(name);
            }
        }
        Ok(())
    }

    fn take(&mut self, (member, taken): (Option<Member>, io::Result<()>)) -> io::Result<()> {
        self.members.extend(member);
        taken
    }
}

/// Whether something is missing at the end, as each of the readers says it.
fn is_cut(error: &io::Error) -> bool {
    let said = error.to_string();
    let says = |words: &str| said.contains(words);
    error.kind() == io::ErrorKind::UnexpectedEof || says("failed to read entire block") || says("UnexpectedEof")
}

/// An error in the words of those who know nothing of formats.
pub(super) fn plainly(error: io::Error) -> io::Error {
    if is_cut(&error) {
        io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut off, its end is missing")
    } else {
        error
    }
}

impl Member {
    /// What is not in a file of that name.
    pub(super) fn taken(name: PathBuf, text: impl Read, spool: &mut Spool) -> io::Result<Self> {
        let (member, taken) = spool.take(name, text, None, &mut MOST.clone());
        taken?;
        member.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Its text from the beginning, unpacked and in UTF-8 where it was in UTF-16.
    pub(super) fn open(&self, handles: &Handles) -> io::Result<Box<dyn BufRead>> {
        let input: Box<dyn BufRead> = match &self.data {
            Data::File => {
                let file = Pieces::new(&self.name, handles)?;
                let room = if file.held.is_some() { ROOM } else { PIECE };
                Box::new(BufReader::with_capacity(room, file))
            }
            Data::Taken { spool, at, end } => {
                let part = Part { spool: spool.clone(), at: *at, end: *end };
                Box::new(BufReader::with_capacity(PIECE, part))
            }
        };
        unpacked(input).and_then(text).map_err(plainly)
    }
}

/// A part of the spool.
struct Part {
    spool: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(room.len());
        let mut spool = self.spool.as_ref();
        // Others read other parts of it meanwhile.
        spool.seek(SeekFrom::Start(self.at))?;
        let read = spool.read(&mut room[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A file. One of the first so many stays open while it waits for its turn; others are opened for each piece.
struct Pieces {
    path: PathBuf,
    at: u64,
    /// The file's device and inode, where they are told: what has its name later may be another.
    which: (u64, u64),
    held: Option<(File, Handles)>,
}

#[cfg(unix)]
fn which(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn which(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

impl Pieces {
    fn new(path: &Path, handles: &Handles) -> io::Result<Self> {
        let file = File::open(path)?;
        let which = which(&file.metadata()?);
        let stays = Arc::strong_count(&handles.0) <= MOST_OPEN;
        Ok(Self { path: path.to_owned(), at: 0, which, held: stays.then(|| (file, handles.clone())) })
    }
}

impl Read for Pieces {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = if let Some((file, _)) = &mut self.held {
            file.read(room)?
        } else {
            let mut file = File::open(&self.path)?;
            if which(&file.metadata()?) != self.which {
                return Err(io::Error::other("another file was given its name while it was read"));
            }
            file.seek(SeekFrom::Start(self.at))?;
            file.read(room)?
        };
        self.at += read as u64;
        Ok(read)
    }
}

/// What is packed, unpacked, as its first bytes tell.
pub(super) fn unpacked(mut input: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
    let first = input.fill_buf()?;
    let foreign = FOREIGN.iter().find(|(mark, _)| first.starts_with(mark));
    if let Some((_, name)) =
        foreign.filter(|(_, name)| *name != "bzip2" || first.get(3).is_some_and(u8::is_ascii_digit))
    {
        let error = format!("it is packed with {name}, which is not understood: unpack it first");
        return Err(io::Error::new(io::ErrorKind::Unsupported, error));
    }
    Ok(if first.starts_with(GZIP) {
        Box::new(BufReader::with_capacity(ROOM, MultiGzDecoder::new(input)))
    } else if first.starts_with(ZSTD) {
        let decoder = StreamingDecoder::new(input).map_err(io::Error::other)?;
        Box::new(BufReader::with_capacity(ROOM, decoder))
    } else {
        input
    })
}

/// Control characters as no log has them. Zeros are none: a log that was cut at its begin while it was written has as many as were cut.
fn controls(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| b.is_ascii_control() && !b"\0\t\n\r\x07\x08\x0b\x0c\x1b\x7f".contains(b)).count()
}

/// Whether anything of it is not as text in UTF-8 is, of which the end may be missing.
fn has_odd(bytes: &[u8]) -> bool {
    controls(bytes) > 0 || std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_some())
}

/// Whether it may be text, in whichever encoding: what is packed, or drawn by lot, has one such character among nine or ten.
fn is_text(first: &[u8]) -> bool {
    UTF_16.into_iter().any(|mark| first.starts_with(mark)) || controls(first) * 20 <= first.len()
}

fn no_text() -> io::Error {
    let why = "it is neither text nor packed in a way that is known, or its beginning is missing";
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// What is in UTF-16 as its mark tells, in UTF-8, and without a mark. All else stays as it is, byte for byte; what is no text is an
/// error.
pub(super) fn text(mut input: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
    let first = input.fill_buf()?;
    if !is_text(first) {
        return Err(no_text());
    }
    if first.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    } else if UTF_16.into_iter().any(|mark| first.starts_with(mark)) {
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
        let (mut room, mut spool) = (10, Spool::default());
        let mut member = |length: u64| spool.take("x".into(), io::repeat(b'x').take(length), Some(length), &mut room).1;
        assert!(member(6).is_ok() && member(4).is_ok());
        assert!(member(1).unwrap_err().to_string().contains("more than 4 GiB"));
    }

    #[test]
    fn members_share_a_file_and_each_has_its_own_part() {
        let mut spool = Spool::default();
        let texts = ["one", "", "three"];
        let members: Vec<_> =
            texts.iter().map(|text| Member::taken((*text).into(), text.as_bytes(), &mut spool).unwrap()).collect();
        let mut open: Vec<_> = members.iter().map(|m| m.open(&Handles::default()).unwrap()).collect();
        for (input, text) in open.iter_mut().zip(texts) {
            assert_eq!(io::read_to_string(input).unwrap(), text);
        }
        // A member of which something is missing is kept as far as it goes.
        let (member, taken) = spool.take("x".into(), &b"cut"[..], Some(5), &mut 10);
        assert!(member.is_some() && taken.unwrap_err().kind() == io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_file_that_does_not_stay_open_is_read_whole_and_only_while_it_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let text: Vec<u8> = (b'a'..=b'e').flat_map(|letter| [letter; PIECE]).collect();
        std::fs::write(&path, &text).unwrap();
        let handles = Handles::default();
        let held: Vec<_> = (0..MOST_OPEN).map(|_| Pieces::new(&path, &handles).unwrap()).collect();
        let mut further = Pieces::new(&path, &handles).unwrap();
        assert!(held.iter().all(|file| file.held.is_some()) && further.held.is_none());
        let mut read = Vec::new();
        further.read_to_end(&mut read).unwrap();
        assert!(read == text);
        further.at = 0;
        std::fs::write(dir.path().join("y.log"), "other").unwrap();
        std::fs::rename(dir.path().join("y.log"), &path).unwrap();
        assert!(further.read(&mut [0; 10]).unwrap_err().to_string().contains("another file"));
    }
}
