//! A file that a follower reads, and what came of it.

use std::time::Instant;

use clearwater::log::{Line, LogGrammar};
use jiff::Timestamp;

use super::super::feed::Feed;
use super::talk::PartialLine;

/// A file, over all followers.
pub(super) struct OpenFile {
    pub(super) feed: Feed,
    pub(super) grammar: LogGrammar,
    pub(super) inode: u64,
    /// Up to which byte it was read, as a follower told it last: what it sends does not tell, because bash leaves NUL
    /// bytes out of a line.
    pub(super) offset: u64,
    /// How many lines came since.
    pub(super) lines: u64,
    /// What came of a line as bytes, without its end.
    pub(super) part: PartialLine,
    /// The time of the last line that had one, whether it was wanted or not.
    pub(super) read_to: Option<Timestamp>,
    /// Since when nothing more of it waits to be read.
    pub(super) idle_since: Option<Instant>,
    /// Its number in the present follower.
    pub(super) id: Option<u64>,
}

impl OpenFile {
    /// A file of which nothing came yet.
    pub(super) fn new(feed: Feed, grammar: LogGrammar) -> Self {
        let part = PartialLine::default();
        Self { feed, grammar, inode: 0, offset: 0, lines: 0, part, read_to: None, idle_since: None, id: None }
    }

    /// A follower has opened it, and reads on from this byte.
    pub(super) fn begin(&mut self, id: u64, inode: u64, offset: u64) {
        (self.id, self.inode, self.offset, self.lines) = (Some(id), inode, offset, 0);
        self.part = PartialLine::default();
    }

    /// Takes a line; gives how many bytes of it are wanted.
    fn line(&mut self, text: &[u8], since: Option<Timestamp>) -> usize {
        self.lines += 1;
        self.idle_since = None;
        let time = Line::parse(self.grammar, text).time;
        self.read_to = time.or(self.read_to);
        let is_wanted = since.is_none_or(|s| self.read_to.is_none_or(|t| t >= s));
        if is_wanted {
            self.feed.line(time, text);
        }
        if is_wanted { text.len() } else { 0 }
    }

    /// Takes a line that bash read: the end of one that was begun as bytes, where one was.
    pub(super) fn whole(&mut self, text: &[u8], since: Option<Timestamp>) -> usize {
        if !self.part.is_begun() {
            return self.line(text, since);
        }
        let mut part = std::mem::take(&mut self.part);
        part.add(text.strip_suffix(b"\n").unwrap_or(text));
        self.line(part.finish(), since)
    }

    /// Takes bytes that stand at this place of the file; gives how many of them are wanted.
    pub(super) fn bytes(&mut self, at: u64, bytes: &[u8], since: Option<Timestamp>) -> usize {
        let (mut wanted, mut begin) = (0, 0);
        let mut part = std::mem::take(&mut self.part);
        for end in memchr::memchr_iter(b'\n', bytes) {
            part.add(&bytes[begin..end]);
            wanted += self.line(part.finish(), since);
            begin = end + 1;
            (self.offset, self.lines) = (at + begin as u64, 0);
        }
        part.add(&bytes[begin..]);
        self.part = part;
        wanted
    }
}
