//! What a follower says, read with bounds: it may be something else that has bash's name.

use std::time::{Duration, Instant};

use clearwater::log::LONGEST_LINE;
use jiff::SignedDuration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// What a follower says beside lines of files is a few words each second, and a word for each file and each thousand
/// lines. What says more in [`CHATTER_TIME`], in bytes, is something else that has bash's name.
pub(super) const CHATTER: usize = 1024 * 1024;
pub(super) const CHATTER_TIME: Duration = Duration::from_secs(10);

/// Counts what a follower says beside lines of files: see [`CHATTER`]. Of one that does not end by itself, in pieces of time.
pub(super) struct Chatter {
    is_endless: bool,
    pub(super) since: Instant,
    pub(super) bytes: usize,
}

impl Chatter {
    pub(super) fn new(follow: bool) -> Self {
        Self { is_endless: follow, since: Instant::now(), bytes: 0 }
    }

    pub(super) fn is_too_much(&mut self, bytes: usize) -> bool {
        if self.is_endless && self.since.elapsed() >= CHATTER_TIME {
            (self.since, self.bytes) = (Instant::now(), 0);
        }
        self.bytes += bytes;
        self.bytes > CHATTER
    }
}

/// What is sent of a file as bytes: see `follower.sh`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// The file's number.
    pub(super) id: u64,
    /// How many bytes are still to come.
    pub(super) left: u64,
    /// Where in the file they end.
    pub(super) end: u64,
}

impl Block {
    /// Where the next byte stands in the file.
    pub(super) fn at(self) -> u64 {
        self.end.saturating_sub(self.left)
    }

    /// Takes so many of the bytes that came as belong to it.
    pub(super) fn take<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= most as u64;
        &bytes[..most]
    }
}

/// A line that comes in pieces, of which no more than [`LONGEST_LINE`] is kept.
#[derive(Default)]
pub(super) struct PartialLine {
    bytes: Vec<u8>,
    left_out: u64,
    is_whole: bool,
}

impl PartialLine {
    /// Reads on to the end of the line; `false` where the stream ends before it. What came stays where the future is
    /// dropped before it is ready.
    pub(super) async fn read<R: AsyncBufRead + Unpin>(&mut self, from: &mut R) -> std::io::Result<bool> {
        if std::mem::take(&mut self.is_whole) {
            self.bytes.clear();
            self.left_out = 0;
        }
        loop {
            let chunk = from.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(false);
            }
            let end = memchr::memchr(b'\n', chunk);
            let taken = end.unwrap_or(chunk.len());
            let room = LONGEST_LINE.saturating_sub(self.bytes.len());
            let kept = taken.min(room);
            self.bytes.extend_from_slice(&chunk[..kept]);
            self.left_out += (taken - kept) as u64;
            from.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                self.is_whole = true;
                return Ok(true);
            }
        }
    }

    /// Adds what came of a line as bytes, without its end. Bytes that are NUL are left out, as bash leaves them out.
    pub(super) fn add(&mut self, text: &[u8]) {
        if std::mem::take(&mut self.is_whole) {
            self.bytes.clear();
            self.left_out = 0;
        }
        for text in text.split(|b| *b == 0) {
            let kept = text.len().min(LONGEST_LINE.saturating_sub(self.bytes.len()));
            self.bytes.extend_from_slice(&text[..kept]);
            self.left_out += (text.len() - kept) as u64;
        }
    }

    /// Whether something came of a line that is not whole.
    pub(super) fn is_begun(&self) -> bool {
        !self.is_whole && (!self.bytes.is_empty() || self.left_out > 0)
    }

    /// The line that was added, which is whole now.
    pub(super) fn finish(&mut self) -> &[u8] {
        // Nothing may have come of it.
        self.add(b"");
        self.is_whole = true;
        self.take()
    }

    /// The whole line, with its end.
    pub(super) fn take(&mut self) -> &[u8] {
        if self.left_out > 0 {
            let mark = format!(" [cut here: {} more bytes]", self.left_out);
            self.bytes.extend_from_slice(mark.as_bytes());
        }
        self.bytes.push(b'\n');
        &self.bytes
    }
}

/// Splits `number text`.
pub(super) fn numbered(line: &[u8]) -> Option<(u64, &[u8])> {
    let space = memchr::memchr(b' ', line)?;
    let id = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    Some((id, &line[space + 1..]))
}

/// The numbers that follow the letter of a line of the protocol.
pub(super) fn numbers<const N: usize>(line: &[u8]) -> [Option<u64>; N] {
    let mut words = line.trim_ascii_end().split(|b| *b == b' ').skip(1);
    std::array::from_fn(|_| std::str::from_utf8(words.next()?).ok()?.parse().ok())
}

/// How far the follower's clock is ahead, as `H seconds` tells it.
pub(super) fn clock(line: &[u8]) -> Option<SignedDuration> {
    let text = std::str::from_utf8(line).ok()?.trim_end().strip_prefix("H ")?;
    text.parse().ok().map(SignedDuration::from_secs)
}

/// Whether a file's name has only characters that mean nothing to a shell, a terminal or this protocol.
pub(super) fn is_plain(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:+-".contains(&b))
}

/// Whether a path is one that the pattern stands for.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let mut rest = path;
    let mut pieces = pattern.split('*');
    let Some(head) = pieces.next().and_then(|p| rest.strip_prefix(p)) else { return false };
    rest = head;
    let mut last = None;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        last = Some(piece);
    }
    match last {
        None => rest.is_empty(),
        Some(piece) => rest.is_empty() || piece.is_empty() || path.ends_with(piece),
    }
}
