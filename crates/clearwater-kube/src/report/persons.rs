//! Where in a text somebody's numbers, identities and names stand: the one grammar of what is a person's. Pure.
//!
//! It knows them by what stands around them: schemes of URIs, an `@`, header fields, keys of JSON and elements of XML. Texts may
//! be what others escaped: line ends as `\n` and quotes as `\"` (JSON), `%40` (RFC 3986 §2.1), `&lt;` (XML).

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

/// No user's name is longer, in bytes (RFC 5321 §4.5.3.1.1).
const LONGEST_USER: usize = 64;
/// No display name is looked for further back, in bytes.
const LONGEST_NAME: usize = 256;
/// A number has no more digits (E.164), but for one that is written without anything between them.
const MOST_DIGITS: usize = 15;
/// What has a plus sign and fewer digits is no number.
const FEWEST_DIGITS: usize = 7;
/// No more stands between two groups of digits, as in `(0) - 5`.
const WIDEST_GAP: usize = 3;

/// What is somebody's. It is sure where it cannot be anything else; then it is somebody's wherever it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PersonKind {
    /// A telephone number, an IMSI or an IMEI as it is written, without its plus sign.
    Number,
    /// The user part of an identity, public or private.
    User { is_sure: bool },
    /// What people call themselves, or write to each other.
    Name { is_sure: bool },
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) at: Range<usize>,
    pub(super) kind: PersonKind,
}

struct Patterns {
    /// Schemes whose URIs have a user part (RFC 3261 §19.1.1, RFC 3860, RFC 3859).
    scheme: Regex,
    /// RFC 3966.
    tel: Regex,
    /// Where an address begins that may have a name before it (RFC 3261 §20.10).
    bracket: Regex,
    /// Header fields with such addresses.
    header: Regex,
    /// Header fields that are somebody's words (RFC 3261 §20.25, §20.36), or tell of somebody's device or where it is (§20.41,
    /// RFC 7315 §4.4), or lead to somebody's picture (§20.9); what a session is called (RFC 8866 §5.3, §5.4).
    words: Regex,
    /// Keys of JSON, parameters and attributes, up to their values.
    key: Regex,
    /// Elements of XML (3GPP TS 29.228 annex E, RFC 3680, RFC 4575), up to their texts.
    element: Regex,
    /// Who made a session (RFC 8866 §5.2).
    origin: Regex,
    /// E.164 with its plus sign.
    plus: Regex,
    /// What names a device (RFC 5626 §4.1), or one of its calls where no `@` does (RFC 3261 §20.8).
    device: Regex,
}

impl Patterns {
    fn new() -> Result<Self, regex::Error> {
        let fields = "From|To|Contact|Reply-To|Referred-By|Refer-To|Remote-Party-ID|Diversion|History-Info|P-[a-z-]+";
        let identities = "user[_-]?name|impi|impu|imsi|msisdn|imei(?:sv)?|(?:private|public)[_-]?(?:id|identity|identities|user[_-]?identity)s?|(?:formatted|phone)[_-]?number|telephone|machineID|systemUUID|bootID";
        let names = "(?:full|display|given|family|first|last)[_-]?name";
        let element = "(PublicIdentity|PrivateID|PrivateIdentity|Identity|UserName|IMPI|IMPU|IMSI|MSISDN)|(display-?name|display-text|given-?name|family-?name)|note|subject";
        Ok(Self {
            scheme: Regex::new("(?i-u)(?:sips?|im|pres)(?::|%3A)")?,
            tel: Regex::new("(?i-u)tel(?::|%3A) ?")?,
            bracket: Regex::new(r"(?i-u)(?:<|&lt;|\\u003c)(?:sips?|tel|im|pres|mailto|urn|https?):")?,
            header: Regex::new(&format!(r#"(?i-u)(?:{fields})(?:\\*["'])?[ \t]*:|(?m:^|\\n)[ftmrb][ \t]*:"#))?,
            words: Regex::new(
                r"(?im-u)(?:^|\\n)(?:(?:Subject|Organization|User-Agent|P-Access-Network-Info|User-to-User|Call-Info|Alert-Info)[ \t]*:[ \t]*|[si]=)([^\s\\][^\r\n\\]+)",
            )?,
            key: Regex::new(&format!(
                r#"(?i-u)(?:({identities})|({names}))(?:\*|\\*["'])?[ \t]*[:=][ \t]*(?:UTF-8'[^'\s]*')?"#
            ))?,
            element: Regex::new(&format!(
                r"(?i-u)(?:<|&lt;|\\u003c)(?:[a-z0-9]+:)?(?:{element})(?:\s[^<>\n]*)?(?:>|&gt;|\\u003e)\s*"
            ))?,
            origin: Regex::new(r"(?-u)o=([^\s\\]+) [0-9]+ [0-9]+ IN IP[46] ")?,
            plus: Regex::new(r"(?-u)\+\(?[0-9]")?,
            device: Regex::new(
                r"(?im-u)urn:uuid:([0-9a-f-]{8,64})|(?:^|\\n)(?:Call-ID|i)[ \t]*:[ \t]*([^\s@\\]{8,64})[ \t]*(?:\r?$|\\)",
            )?,
        })
    }
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| Patterns::new().ok());

/// The places in their order, none over another. `None` where they cannot be found.
pub(super) fn of(text: &[u8]) -> Option<Vec<Person>> {
    let patterns = PATTERNS.as_ref()?;
    let mut all = Vec::new();
    // Of two that begin at one place the first is taken.
    names(patterns, text, &mut all);
    uris(patterns, text, &mut all);
    keyed(patterns, text, &mut all);
    before_at(text, &mut all);
    numbers(patterns, text, &mut all);
    all.sort_by_key(|one| one.at.start);
    let mut end = 0;
    all.retain_mut(|one| {
        one.at.start = one.at.start.max(end);
        let is_left = one.at.start < one.at.end;
        end = end.max(one.at.end);
        is_left
    });
    Some(all)
}

/// The digits of a number as it is written from here (RFC 3966 §5.1.1), which may have blanks between them where it is not part
/// of a URI: where each group of them ends.
pub(super) fn groups(text: &[u8], has_blanks: bool) -> Vec<usize> {
    let (mut ends, mut digits, mut at) = (Vec::new(), 0, 0);
    while let Some(byte) = text.get(at) {
        let group = text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        if group > 0 {
            if digits > 0 && digits + group > MOST_DIGITS {
                break;
            }
            digits += group;
            at += group;
            ends.push(at);
            continue;
        }
        let is_between = b"-.()".contains(byte) || has_blanks && *byte == b' ';
        if !is_between || at - ends.last().copied().unwrap_or(0) >= WIDEST_GAP {
            break;
        }
        at += 1;
    }
    ends
}

pub(super) fn digits(written: &[u8]) -> Vec<u8> {
    written.iter().filter(|b| b.is_ascii_digit()).copied().collect()
}

/// Whether all of it is a number with nothing in it but digits and what stands between them.
pub(super) fn is_number(written: &[u8]) -> bool {
    written.first().is_some_and(|b| b.is_ascii_digit() || *b == b'(')
        && written.last().is_some_and(u8::is_ascii_digit)
        && written.iter().all(|b| b.is_ascii_digit() || b"-.() ".contains(b))
}

/// Whether an escape ends here, so that what follows is no part of the same word.
fn ends_escape(before: &[u8]) -> bool {
    let is_hex = |digits: usize| before[before.len() - digits..].iter().all(u8::is_ascii_hexdigit);
    match before {
        [.., b'\\', b'n' | b'r' | b't'] => true,
        [.., b'%', _, _] => is_hex(2),
        [.., b'\\', b'u', _, _, _, _] => is_hex(4),
        _ => false,
    }
}

/// Whether a word may begin here.
fn begins(text: &[u8], at: usize) -> bool {
    text[..at].last().is_none_or(|b| !b.is_ascii_alphanumeric()) || ends_escape(&text[..at])
}

fn plus_at(text: &[u8]) -> usize {
    let is_escaped = text.get(..3).is_some_and(|sign| sign.eq_ignore_ascii_case(b"%2B"));
    if is_escaped { 3 } else { usize::from(text.starts_with(b"+")) }
}

fn is_before_at(behind: &[u8]) -> bool {
    behind.starts_with(b"@") && !behind.starts_with(b"@sha256") || behind.starts_with(b"%40")
}

fn is_of_user(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"-_.!~*'()&=+$:".contains(&byte)
}

/// A user part, or what is written in its place, as what it is.
fn identity(text: &[u8], at: Range<usize>, is_sure: bool) -> Option<Person> {
    let start = at.start + plus_at(&text[at.clone()]);
    let whole = &text[start..at.end];
    // What says more of a number is no part of it.
    let length = whole.iter().position(|b| b";%".contains(b)).unwrap_or(whole.len());
    if is_number(&whole[..length]) && (is_sure || whole.iter().all(u8::is_ascii_digit)) {
        return Some(Person { at: start..start + length, kind: PersonKind::Number });
    }
    (!at.is_empty()).then_some(Person { at, kind: PersonKind::User { is_sure } })
}

fn uris(patterns: &Patterns, text: &[u8], all: &mut Vec<Person>) {
    for scheme in patterns.scheme.find_iter(text).filter(|found| begins(text, found.start())) {
        let from = scheme.end();
        let mut end = from;
        let mut is_number = true;
        while let Some(byte) = text.get(end) {
            let behind = &text[end..];
            if is_before_at(behind) || end - from > LONGEST_NAME {
                break;
            }
            match behind {
                [b'%', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => end += 3,
                // Parameters before the `@` are those of a number (RFC 3966 §3); others are of a host.
                [b';', ..] if is_number => end += 1,
                _ if is_of_user(*byte) => {
                    is_number &= b"+-.()0123456789".contains(byte) || text[from..end].contains(&b';');
                    end += 1;
                }
                _ => break,
            }
        }
        if is_before_at(&text[end..]) {
            all.extend(identity(text, from..end, true));
            continue;
        }
        // A number without a domain.
        let start = from + plus_at(&text[from..]);
        let length = text[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        let is_host = text.get(start + length).is_some_and(|b| b.is_ascii_alphanumeric() || b".-_".contains(b));
        if length >= 5 && !is_host {
            all.push(Person { at: start..start + length, kind: PersonKind::Number });
        }
    }
}

fn numbers(patterns: &Patterns, text: &[u8], all: &mut Vec<Person>) {
    for tel in patterns.tel.find_iter(text).filter(|found| begins(text, found.start())) {
        let start = tel.end() + plus_at(&text[tel.end()..]);
        let end = groups(&text[start..], tel.as_bytes().ends_with(b" ")).last().copied();
        all.extend(end.map(|end| Person { at: start..start + end, kind: PersonKind::Number }));
    }
    for plus in patterns.plus.find_iter(text).filter(|found| begins(text, found.start())) {
        let start = plus.start() + 1;
        let Some(end) = groups(&text[start..], true).last().map(|end| start + end) else { continue };
        if digits(&text[start..end]).len() >= FEWEST_DIGITS {
            all.push(Person { at: start..end, kind: PersonKind::Number });
        }
    }
}

/// What stands before an `@`: an identity, an address of mail, or a Call-ID.
fn before_at(text: &[u8], all: &mut Vec<Person>) {
    let is_of_word = |b: &u8| b.is_ascii_alphanumeric() || b"+._-~!*'".contains(b);
    for end in memchr::memchr2_iter(b'@', b'%', text).filter(|at| is_before_at(&text[*at..])) {
        let length = text[..end].iter().rev().take(LONGEST_USER + 7).take_while(|b| is_of_word(b)).count();
        let mut start = end - length;
        // What an escape ends with is no part of it.
        let is_escape = |n: &usize| {
            let mark = text[..start].last().map(|mark| (mark, *n));
            let is_one = matches!(mark, Some((b'\\', 5 | 1) | (b'%', 2)));
            is_one && *n <= length && ends_escape(&text[..start + n])
        };
        start += [5, 2, 1].into_iter().find(is_escape).unwrap_or(0);
        if start < end && end - start <= LONGEST_USER {
            all.extend(identity(text, start..end, false));
        }
    }
}

/// What stands before an address, in quotes or without any, and what is written as somebody's words.
fn names(patterns: &Patterns, text: &[u8], all: &mut Vec<Person>) {
    for bracket in patterns.bracket.find_iter(text) {
        let from = bracket.start().saturating_sub(LONGEST_NAME);
        all.extend(quoted(text, from, bracket.start()).or_else(|| unquoted(patterns, text, from, bracket.start())));
    }
    let words = patterns.words.captures_iter(text).filter_map(|found| found.get(1));
    all.extend(words.map(|found| Person { at: found.range(), kind: PersonKind::Name { is_sure: false } }));
    let devices = patterns.device.captures_iter(text).filter_map(|found| found.get(1).or_else(|| found.get(2)));
    all.extend(devices.map(|found| Person { at: found.range(), kind: PersonKind::User { is_sure: true } }));
}

/// How many bytes of blanks, folded lines among them, are at the end.
fn blanks(text: &[u8]) -> usize {
    let mut length = 0;
    for (n, byte) in text.iter().enumerate().rev() {
        let is_folded = matches!(byte, b'\r' | b'\n') && length > 0;
        if !matches!(byte, b' ' | b'\t') && !is_folded {
            break;
        }
        length = text.len() - n;
    }
    length
}

fn backslashes(text: &[u8]) -> usize {
    text.iter().rev().take_while(|b| **b == b'\\').count()
}

/// A name in quotes that ends here. Where the text is escaped, so are its quotes, and those inside of it once more.
fn quoted(text: &[u8], from: usize, bracket: usize) -> Option<Person> {
    let before = &text[from..bracket];
    let gap = blanks(before);
    let before = &before[..before.len() - gap];
    let (begin, end) = if let Some(before) = before.strip_suffix(b"&quot;") {
        let mark = b"&quot;";
        (memchr::memmem::rfind(before, mark)? + mark.len(), before.len())
    } else {
        let before = before.strip_suffix(b"\"")?;
        let depth = backslashes(before);
        let inner = &before[..before.len() - depth];
        let quotes = || memchr::memrchr_iter(b'"', inner);
        let is_its = |at: &usize| backslashes(&inner[..*at]) == depth;
        let line = memchr::memrchr(b'\n', inner).map_or(0, |at| at + 1);
        // One that ends with a backslash hides how its quotes are written: as far as the line goes.
        let begin = quotes().find(is_its).or_else(|| quotes().take_while(|at| *at >= line).last())?;
        (begin + 1, inner.len())
    };
    // The quote may be one that begins a text, as in JSON; then what is before it is no name.
    let name = &before[begin..end];
    let is_blank = |b: Option<&u8>| b.is_none_or(u8::is_ascii_whitespace);
    let is_other = is_blank(name.first()) || is_blank(name.last()) || b":,=".contains(&name[0]);
    if name.is_empty() || gap == 0 && is_other {
        return None;
    }
    Some(Person { at: from + begin..from + end, kind: PersonKind::Name { is_sure: true } })
}

/// A name of tokens: all that stands between the header field's colon, or the comma behind another address, and this one.
fn unquoted(patterns: &Patterns, text: &[u8], from: usize, bracket: usize) -> Option<Person> {
    let before = &text[from..bracket];
    let fields = patterns.header.find_iter(before);
    let field =
        fields.filter(|found| begins(before, found.start()) && before[..found.start()].last() != Some(&b'-')).last()?;
    let value = &before[field.end()..];
    let is_other_line = |at: usize| value.get(at + 1).is_none_or(|b| !matches!(b, b' ' | b'\t'));
    if memchr::memchr_iter(b'\n', value).any(is_other_line) || memchr::memmem::find(value, b"\\n").is_some() {
        return None;
    }
    let begin = match memchr::memrchr(b'>', value) {
        Some(other) => other + memchr::memchr(b',', &value[other..])? + 1,
        None => 0,
    };
    let end = value.len() - blanks(value);
    // A quote that is left is that of a text that holds all of it.
    let begin = begin + value[begin..].iter().take_while(|b| b" \t\r\n\\\"'".contains(b)).count();
    let at = from + field.end();
    (begin < end).then_some(Person { at: at + begin..at + end, kind: PersonKind::Name { is_sure: true } })
}

/// What keys and elements name as somebody's.
fn keyed(patterns: &Patterns, text: &[u8], all: &mut Vec<Person>) {
    for found in patterns.key.captures_iter(text) {
        let Some(key) = found.get(0).filter(|key| begins(text, key.start())) else { continue };
        let is_name = found.get(2).is_some();
        let Some(mut at) = text[key.end()..].starts_with(b"[").then_some(key.end() + 1) else {
            let one = value(text, key.end(), is_name);
            all.extend(named(text, one.at, is_name, one.is_quoted));
            continue;
        };
        // Of a list all its texts.
        loop {
            at += text[at..].iter().take_while(|b| b.is_ascii_whitespace() || **b == b',').count();
            let one = value(text, at, is_name);
            if !one.is_quoted {
                break;
            }
            all.extend(named(text, one.at, is_name, true));
            at = one.end;
        }
    }
    for found in patterns.element.captures_iter(text) {
        let Some(begin) = found.get(0).map(|whole| whole.end()) else { continue };
        let rest = &text[begin..text.len().min(begin + LONGEST_NAME)];
        let end = rest.iter().position(|b| b"<&\\\n".contains(b)).unwrap_or(rest.len());
        let end = end - blanks(&rest[..end]);
        // What is neither an identity nor a name is what somebody wrote.
        let is_user = found.get(1).is_some();
        all.extend(named(text, begin..begin + end, !is_user, is_user || found.get(2).is_some()));
    }
    for found in patterns.origin.captures_iter(text) {
        let user = found.get(1).filter(|user| begins(text, user.start() - 2) && user.as_bytes() != b"-");
        all.extend(user.and_then(|user| identity(text, user.range(), false)));
    }
}

struct Value {
    at: Range<usize>,
    is_quoted: bool,
    /// Behind its closing quote.
    end: usize,
}

/// The value that begins here.
fn value(text: &[u8], at: usize, is_name: bool) -> Value {
    let rest = &text[at..text.len().min(at + LONGEST_NAME)];
    let escapes = rest.iter().take_while(|b| **b == b'\\').count();
    let quote = rest.get(escapes).filter(|b| b"\"'".contains(b));
    let begin = if quote.is_some() { escapes + 1 } else { 0 };
    let is_end = |b: &u8| match quote {
        Some(quote) => b == quote || *b == b'\n',
        None if is_name => b"\r\n\"'<>,;&\\{}[]".contains(b),
        None => b.is_ascii_whitespace() || b"\"'<>,;&\\{}[]()".contains(b),
    };
    let inner = &rest[begin..];
    let length = inner.iter().position(is_end).unwrap_or(inner.len());
    let end = text.len().min(at + begin + length + 1);
    let begin = at + begin;
    Value { at: begin..begin + length - backslashes(&inner[..length]), is_quoted: quote.is_some(), end }
}

/// What a value names. URIs in it are found by their schemes.
fn named(text: &[u8], at: Range<usize>, is_name: bool, is_sure: bool) -> Option<Person> {
    let value = &text[at.clone()];
    let has_scheme =
        |scheme: &str| value.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme.as_bytes()));
    let is_nobody =
        value.is_empty() || ["null", "true", "false", "none"].iter().any(|w| value.eq_ignore_ascii_case(w.as_bytes()));
    if is_nobody || ["sip:", "sips:", "tel:", "sip%3A", "tel%3A", "system:"].iter().any(|scheme| has_scheme(scheme)) {
        return None;
    }
    if is_name {
        return Some(Person { at, kind: PersonKind::Name { is_sure } });
    }
    let user = (0..value.len()).find(|n| is_before_at(&value[*n..])).unwrap_or(value.len());
    let start = at.start + plus_at(value);
    if start < at.start + user && is_number(&text[start..at.start + user]) {
        return Some(Person { at: start..at.start + user, kind: PersonKind::Number });
    }
    (user > 0).then_some(Person { at: at.start..at.start + user, kind: PersonKind::User { is_sure } })
}
