use std::mem;

/// The most that is kept of one line, in bytes. Far above what any of the programs writes at once (8192 bytes, or a SIP
/// message of 65,535), and far below what a program that writes no line end would take.
pub const LONGEST_LINE: usize = 256 * 1024;

/// Puts lines together from pieces of a stream. What is longer than [`LONGEST_LINE`] is cut there: nothing of the rest is
/// kept but its length, which the line ends with.
///
/// ```
/// let mut lines = clearwater::log::Lines::default();
/// let mut piece: &[u8] = b"one\ntw";
/// assert_eq!(lines.next(&mut piece), Some(&b"one\n"[..]));
/// assert_eq!(lines.next(&mut piece), None);
/// let mut piece: &[u8] = b"o\n";
/// assert_eq!(lines.next(&mut piece), Some(&b"two\n"[..]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Lines {
    part: Vec<u8>,
    /// How many bytes of the open line were left out.
    left_out: u64,
    /// Whether `part` is a line that was handed out.
    is_taken: bool,
}

impl Lines {
    /// The next line, with its end, from the front of a piece, which is then shorter. `None` where the piece is used up:
    /// what it began is kept for the next one.
    pub fn next<'l, 'p: 'l>(&'l mut self, piece: &mut &'p [u8]) -> Option<&'l [u8]> {
        self.clear_taken();
        let Some(end) = memchr::memchr(b'\n', piece) else {
            let rest = mem::take(piece);
            self.keep(rest);
            return None;
        };
        let (line, rest) = piece.split_at(end + 1);
        *piece = rest;
        if self.part.is_empty() && line.len() <= LONGEST_LINE {
            return Some(line);
        }
        self.keep(&line[..end]);
        Some(self.take(b"\n"))
    }

    /// The line that was begun and has no end, at the end of a stream.
    pub fn rest(&mut self) -> Option<&[u8]> {
        self.clear_taken();
        (!self.part.is_empty()).then(|| self.take(b""))
    }

    /// Whether a line was begun whose end has not come.
    pub fn is_open(&self) -> bool {
        !self.is_taken && !self.part.is_empty()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let (kept, left_out) = bytes.split_at(bytes.len().min(LONGEST_LINE - self.part.len().min(LONGEST_LINE)));
        self.part.extend_from_slice(kept);
        self.left_out += left_out.len() as u64;
    }

    fn take(&mut self, end: &[u8]) -> &[u8] {
        self.is_taken = true;
        if self.left_out > 0 {
            self.part.extend_from_slice(format!(" [cut here: {} more bytes]", self.left_out).as_bytes());
        }
        self.part.extend_from_slice(end);
        &self.part
    }

    fn clear_taken(&mut self) {
        if mem::take(&mut self.is_taken) {
            self.part.clear();
            self.left_out = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut all = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(line) = lines.next(&mut piece) {
                all.push(line.to_vec());
            }
        }
        assert_eq!(lines.is_open(), !pieces.concat().is_empty() && !pieces.concat().ends_with(b"\n"));
        all.extend(lines.rest().map(<[u8]>::to_vec));
        assert!(lines.rest().is_none() && !lines.is_open());
        all
    }

    #[test]
    fn a_line_without_end_is_kept_up_to_the_bound() {
        let piece = vec![b'x'; 100_000];
        let mut lines = Lines::default();
        for _ in 0..100 {
            assert_eq!(lines.next(&mut &piece[..]), None);
        }
        assert!(lines.part.capacity() <= 2 * LONGEST_LINE, "{}", lines.part.capacity());
        let mut end: &[u8] = b"y\nnext\n";
        let cut = lines.next(&mut end).unwrap();
        let mark = format!(" [cut here: {} more bytes]\n", 10_000_001 - LONGEST_LINE);
        assert_eq!(cut.len(), LONGEST_LINE + mark.len());
        assert!(cut.ends_with(mark.as_bytes()), "{}", String::from_utf8_lossy(&cut[LONGEST_LINE..]));
        assert_eq!(lines.next(&mut end), Some(&b"next\n"[..]));
    }

    #[test]
    fn a_line_of_one_piece_is_cut_like_any_other() {
        let line = [vec![b'x'; LONGEST_LINE + 1], b"\nnext".to_vec()].concat();
        let got = read(&[&line]);
        assert!(got[0].ends_with(b"x [cut here: 1 more bytes]\n") && got[1] == b"next");
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut_into_pieces(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            sizes in proptest::collection::vec(1..20usize, 1..50),
        ) {
            let mut rest = &text[..];
            let mut pieces = Vec::new();
            for size in sizes.iter().cycle() {
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            let whole: Vec<Vec<u8>> = text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            prop_assert_eq!(read(&pieces), whole);
        }
    }
}
