//! What a follower says, read with bounds: it may be something else that has bash's name.

use std::time::{Duration, Instant};

use clearwater::log::LONGEST_LINE;
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
