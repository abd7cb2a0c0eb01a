//! Numbers that a seed decides (SplitMix64), and words that nobody expects.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `n`, which is not zero.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let n = self.below(all.len());
        &all[n]
    }

    /// A word that is valid UTF-8. None of them leads out of the folder that a row runs in, and none is a host's name that
    /// somebody could be asked for.
    pub(crate) fn text(&mut self) -> String {
        match self.below(8) {
            0 => self.next().to_string(),
            1 => "a".repeat(1 << self.below(17)),
            2 => (0..self.below(40)).map(|_| inside(self.character())).collect(),
            3 => (0..self.below(9)).map(|_| *self.pick(&HOSTILE)).collect::<String>().chars().map(inside).collect(),
            _ => (*self.pick(&HOSTILE)).to_owned(),
        }
    }

    fn character(&mut self) -> char {
        let code = u32::try_from(self.below(0x500).max(1)).unwrap();
        char::from_u32(code).unwrap()
    }

    /// Less than `n` bytes.
    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..self.below(n)).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// A word of any bytes but NUL.
    pub(crate) fn word(&mut self) -> OsString {
        if self.one_in(6) {
            let bytes = self.bytes(12).into_iter().filter(|b| !matches!(b, 0 | b'/' | b'.'));
            return OsString::from_vec(bytes.collect());
        }
        self.text().into()
    }
}

/// No path leads out of the folder.
fn inside(c: char) -> char {
    if c == '/' || c == '.' { '_' } else { c }
}

const HOSTILE: [&str; 52] = [
    "",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\u{1}",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{9b}",
    "\u{202e}",
    "\u{feff}",
    "🦀",
    "٣",
    "é",
    "-",
    "--",
    "---",
    "-1",
    "0",
    "-0",
    "+1",
    "1e309",
    "NaN",
    "inf",
    "0x10",
    "255",
    "256",
    "65536",
    "4294967296",
    "2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "null",
    "true",
    "~",
    "*",
    "(",
    "[",
    "(?i)(?:a{9}){9}",
    "(a{1000}){1000}{1000}",
    "%s%n",
    "%",
    "{{",
    "{{.}}",
    "$(HOME)",
    "=",
    "=x",
    ",",
    ":",
];
