//! What others wrote, made safe to show.
//!
//! Names of members, reason phrases of SIP peers, lines of logs and messages of an API may hold anything: escape
//! sequences that a terminal obeys, line ends that forge a line, marks that turn the order of the text around, and
//! characters that XML cannot hold. They are made visible once, where foreign text comes in: [`Printable`] is text that
//! was, [`Clean`] does it to every text of a value, and [`harmless`] to a line of a log on its way to a terminal.
//!
//! ```
//! use clearwater::text::{Printable, printable};
//!
//! assert_eq!(printable("180 Ringing"), "180 Ringing");
//! assert_eq!(printable("\u{1b}[2J\r\nabc\u{202e}"), r"\u{1b}[2J\r\nabc\u{202e}");
//! assert_eq!(Printable::from("a\tb"), "a b");
//! ```

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Whether a character does something other than to be seen: controls (C0, DEL, C1), line and paragraph separators,
/// marks, embeddings, overrides and isolates of bidirectional text, the byte order mark, and what is no character and
/// no XML.
pub const fn is_harmful(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}'
    )
}

/// Whether a byte may be part of what [`is_harmful`]: most text has none of them and is left alone at once.
const fn is_suspect(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | 0x7f | 0xc2 | 0xd8 | 0xe2 | 0xef)
}

fn escape(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        c => out.extend(c.escape_unicode()),
    }
}

/// The text as one line of characters that are only seen: what [`is_harmful`] as an escape, a tab as a space.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(is_suspect) || !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            c if is_harmful(c) => escape(&mut out, c),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A sentence of somebody else's in one line, whatever lines it was written in.
///
/// ```
/// let said = "denied the request: \n\nresource Pod/ims/a was blocked\n  rule: no";
/// assert_eq!(clearwater::text::in_one_line(said), "denied the request: resource Pod/ims/a was blocked rule: no");
/// ```
pub fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines of a log for a terminal: tabs and line ends stay, a carriage return before a line end goes, what [`is_harmful`]
/// becomes an escape, and so does a byte that is not UTF-8.
pub fn harmless(text: &[u8]) -> Cow<'_, [u8]> {
    let is_wrong = |c: char| is_harmful(c) && !matches!(c, '\t' | '\n');
    if text.iter().all(|b| matches!(b, b' '..=b'~' | b'\t' | b'\n')) {
        return Cow::Borrowed(text);
    }
    if std::str::from_utf8(text).is_ok_and(|t| !t.contains(is_wrong)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut at = 0;
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            at += c.len_utf8();
            match c {
                '\r' if text.get(at).is_none_or(|b| *b == b'\n') => {}
                c if is_wrong(c) => escape(&mut out, c),
                c => out.push(c),
            }
        }
        at += chunk.invalid().len();
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(out.into_bytes())
}

/// One line of text that is only seen, whoever wrote it. Copies share it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Printable(Arc<str>);

impl From<&str> for Printable {
    fn from(text: &str) -> Self {
        Self(printable(text).into())
    }
}

impl From<String> for Printable {
    fn from(text: String) -> Self {
        Self(cleaned(text).into())
    }
}

fn cleaned(text: String) -> String {
    match printable(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(clean) => clean,
    }
}

impl Printable {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Printable {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Printable {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Printable {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PartialEq<str> for Printable {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Printable {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

/// A value that holds text of others.
pub trait Clean {
    /// Makes every text of it [`printable`]; line ends at a text's end go.
    fn clean(&mut self);
}

impl Clean for String {
    fn clean(&mut self) {
        self.truncate(self.trim_end_matches(['\r', '\n']).len());
        *self = cleaned(std::mem::take(self));
    }
}

impl<T: Clean> Clean for Vec<T> {
    fn clean(&mut self) {
        self.iter_mut().for_each(Clean::clean);
    }
}

impl<T: Clean> Clean for Option<T> {
    fn clean(&mut self) {
        self.iter_mut().for_each(Clean::clean);
    }
}

impl<T: Clean> Clean for BTreeMap<String, T> {
    fn clean(&mut self) {
        let is_clean = |key: &String| !key.contains(is_harmful);
        if !self.keys().all(is_clean) {
            *self = std::mem::take(self).into_iter().map(|(key, value)| (cleaned(key), value)).collect();
        }
        self.values_mut().for_each(Clean::clean);
    }
}

/// Makes every line of a text of several lines [`printable`].
pub(crate) fn clean_lines(text: &mut String) {
    if text.contains(|c| is_harmful(c) && c != '\n') {
        *text = text.split('\n').map(printable).collect::<Vec<_>>().join("\n");
    }
}

/// A time as people say it.
///
/// ```
/// use std::time::Duration;
///
/// use clearwater::text::seconds;
///
/// assert_eq!(seconds(Duration::from_millis(850)), "850 ms");
/// assert_eq!(seconds(Duration::from_millis(12_340)), "12.3 s");
/// assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
/// ```
pub fn seconds(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1_000 => format!("{ms} ms"),
        1_000..100_000 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60),
    }
}

/// A time that was given, as it was given: whole where it is.
///
/// ```
/// use std::time::Duration;
/// use clearwater::text::limit;
///
/// assert_eq!(limit(Duration::from_millis(2997)), "3 s");
/// assert_eq!(limit(Duration::from_millis(250)), "250 ms");
/// ```
pub fn limit(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{} s", (time.as_secs_f64() * 10.0).round() / 10.0)
    }
}

/// A number of things, as a sentence names it; nouns that take an `s`.
///
/// ```
/// use clearwater::text::counted;
///
/// assert_eq!(counted(1_u32, "pod"), "1 pod");
/// assert_eq!(counted(0_u32, "pod"), "0 pods");
/// assert_eq!(counted(2_u32, "address"), "2 addresses");
/// ```
pub fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {noun}"),
        n if noun.ends_with('s') => format!("{n} {noun}es"),
        n => format!("{n} {noun}s"),
    }
}

/// A text as XML holds it, between tags or in double quotes. What XML cannot hold at all is not in a [`Printable`].
pub fn xml_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_only_seen_stays_as_it_is() {
        for text in ["", "180 Ringing", "Größe 10 µm → ok", "日本語 🙂", "back\\slash", "\u{a0}\u{200b}\u{fffd}"]
        {
            assert!(matches!(printable(text), Cow::Borrowed(t) if t == text), "{text}");
            assert!(matches!(harmless(text.as_bytes()), Cow::Borrowed(t) if t == text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn every_kind_of_harmful_character_is_shown_as_an_escape() {
        let kinds = [
            ("\0", r"\u{0}"),
            ("\u{1b}]0;x\u{7}", r"\u{1b}]0;x\u{7}"),
            ("\r", r"\r"),
            ("a\nb", r"a\nb"),
            ("\u{7f}", r"\u{7f}"),
            ("\u{9b}2J", r"\u{9b}2J"),
            ("\u{85}", r"\u{85}"),
            ("\u{61c}\u{200e}\u{200f}", r"\u{61c}\u{200e}\u{200f}"),
            ("\u{2028}\u{2029}", r"\u{2028}\u{2029}"),
            ("\u{202a}\u{202e}", r"\u{202a}\u{202e}"),
            ("\u{2066}\u{2069}", r"\u{2066}\u{2069}"),
            ("\u{feff}\u{fffe}\u{ffff}", r"\u{feff}\u{fffe}\u{ffff}"),
        ];
        for (raw, shown) in kinds {
            assert_eq!(printable(raw), shown);
            assert_eq!(Printable::from(raw), shown);
            assert_eq!(Printable::from(raw.to_owned()).to_string(), shown);
        }
    }

    #[test]
    fn lines_of_a_log_keep_tabs_and_line_ends() {
        let shown = |text: &[u8]| String::from_utf8(harmless(text).into_owned()).unwrap();
        assert_eq!(shown(b"a\tb\r\nc\r"), "a\tb\nc");
        assert_eq!(shown(b"over\rwritten\x1b[1A"), r"over\rwritten\u{1b}[1A");
        assert_eq!(shown(b"\xff\x9b2J \xc3\xa9\r\n\xe2\x80"), "\\xff\\x9b2J \u{e9}\n\\xe2\\x80");
    }

    #[test]
    fn every_text_of_a_value_is_cleaned() {
        let mut value = BTreeMap::from([("10.0.0.1\n".to_owned(), vec![Some("up\u{1b}\r\n".to_owned()), None])]);
        value.clean();
        assert_eq!(value, BTreeMap::from([("10.0.0.1\\n".to_owned(), vec![Some("up\\u{1b}".to_owned()), None])]));
        let mut diff = "-a\u{202e}\n+b\r\n".to_owned();
        clean_lines(&mut diff);
        assert_eq!(diff, "-a\\u{202e}\n+b\\r\n");
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_left(text in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!printable(&text).contains(is_harmful));
            let twice = printable(&text).into_owned();
            prop_assert!(matches!(printable(&twice), Cow::Borrowed(_)));
            for input in [text.as_bytes(), &bytes] {
                let shown = String::from_utf8(harmless(input).into_owned());
                prop_assert!(shown.is_ok_and(|t| !t.contains(|c| is_harmful(c) && c != '\n' && c != '\t')));
            }
        }
    }
}
