//! Numbers, users, names and addresses under other names, the same for the same in all texts. Pure.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use clearwater::component::Component;
use regex::bytes::Regex;

use super::persons::{self, PersonKind};

/// What stands for the first number.
const FIRST_NUMBER: u64 = 9_990_000_001;
/// A number of fewer digits is one only where something says so, as `sip:` does.
const SHORTEST: usize = 5;
/// A number of fewer digits is not known by itself where it is written in groups, or without what is before its area code.
const SHORTEST_WRITTEN: usize = 7;
/// The most digits before an area code (E.164).
const LONGEST_COUNTRY: usize = 3;
/// How many addresses are nobody's: two /16.
const MOST_OTHERS: u32 = 0x1_FFFF;
/// What is shorter is not known by itself.
const SHORTEST_WORD: usize = 3;
/// What stands for the users and the names.
const USER: &str = "user-";
/// What means nobody wherever it stands alone: words of SIP, of the daemons' log lines, and protocols.
const RESERVED: &str = "ACK BYE CANCEL INFO INVITE MESSAGE NOTIFY OPTIONS PRACK PUBLISH REFER REGISTER SUBSCRIBE UPDATE SIP UDP \
                        TCP TLS SCTP HTTP SDP RTP AVP IP4 IP6 UTC From Contact Via Route Path Allow Accept Require Supported \
                        Subject Reason Event Expires Digest Basic Bearer Error Warning Status Info Verbose Debug Request \
                        Response Routing Content Message User Agent sip sips tel phone bytes msg from";

/// Inside of a word: an address with dots or dashes (as in names of nodes), or digits that may be a number.
static PART: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?-u)[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9]{1,3}(?:-[0-9]{1,3}){3}|[0-9]+").ok());

/// Who stands for whom.
#[derive(Debug, Default)]
pub(super) struct Anonymizer {
    /// Digits, without a plus sign.
    numbers: Others<Vec<u8>>,
    /// Numbers by what is left of them without what is before the area code.
    tails: HashMap<Vec<u8>, Vec<u8>>,
    /// Users and names: somebody may be called as an identity is.
    people: Others<Vec<u8>>,
    /// Those that are known wherever they stand alone, in words with one blank between.
    sure: HashSet<Vec<u8>>,
    /// The first words of these, and how many words the longest has.
    first_words: HashMap<Vec<u8>, usize>,
    v4: Others<Ipv4Addr>,
    v6: Others<Ipv6Addr>,
}

/// One in the place of each, and none that is itself one of those: else a reader could not tell whose it is.
#[derive(Debug)]
struct Others<T> {
    of: HashMap<T, T>,
    whose: HashMap<T, T>,
    /// Those that are met and stand for nobody, nor has anybody to stand for them.
    met: HashSet<T>,
    made: u32,
}

impl<T> Default for Others<T> {
    fn default() -> Self {
        Self { of: HashMap::new(), whose: HashMap::new(), met: HashSet::new(), made: 0 }
    }
}

impl<T: Clone + Eq + Hash> Others<T> {
    /// Who stands for `one`, of those that `make` makes of 1, 2 and so on.
    fn of(&mut self, one: &T, make: impl Fn(u32) -> T) -> T {
        if let Some(other) = self.of.get(one) {
            return other.clone();
        }
        self.meet(one, &make);
        self.give(one.clone(), one, &make)
    }

    /// Takes in that `one` is somebody: who has stood for another until now, and is met, stands for nobody any more.
    fn meet(&mut self, one: &T, make: impl Fn(u32) -> T) {
        if let Some(evicted) = self.whose.remove(one) {
            self.give(evicted, one, &make);
        }
        if !self.met.contains(one) {
            self.met.insert(one.clone());
        }
    }

    fn give(&mut self, one: T, met: &T, make: impl Fn(u32) -> T) -> T {
        let other = loop {
            self.made = self.made.saturating_add(1);
            let other = make(self.made);
            let is_met = self.met.contains(&other) || other == *met;
            // Whoever has more than can be made has some twice.
            if !is_met || self.made > MOST_OTHERS {
                break other;
            }
        };
        self.whose.insert(other.clone(), one.clone());
        self.of.insert(one, other.clone());
        other
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+._-:~!*'".contains(&byte)
}

/// How long the word is that begins here, of those that names are made of.
fn name_word(text: &[u8]) -> usize {
    let is_part = |b: &&u8| b.is_ascii_alphanumeric() || **b >= 0x80 || b"._-".contains(b);
    let length = text.iter().take_while(is_part).count();
    text[..length].iter().rposition(|b| !b".-".contains(b)).map_or(0, |last| last + 1)
}

/// Whether what stands before this names a value: a key, a parameter.
fn is_key(behind: &[u8]) -> bool {
    let unescaped = &behind[behind.iter().take_while(|b| **b == b'\\').count()..];
    let Some(behind) = unescaped.strip_prefix(b"\"") else { return behind.starts_with(b"=") };
    behind.trim_ascii_start().starts_with(b":")
}

/// The number `n` of those that stand for users.
fn user(n: u32) -> Vec<u8> {
    format!("{USER}{n}").into_bytes()
}

/// The number `n` of those that stand for numbers.
fn number(n: u32) -> Vec<u8> {
    (FIRST_NUMBER + u64::from(n) - 1).to_string().into_bytes()
}

impl Anonymizer {
    /// A text under other names. Persons are known by what stands around them, and those that are known by then wherever they
    /// stand: every text is read once before any is kept.
    pub(super) fn text(&mut self, text: &[u8]) -> Vec<u8> {
        // A pattern that is wrong must not let anything through.
        let Some(persons) = persons::of(text) else { return b"(anonymized)".into() };
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        for person in persons {
            self.between(&text[at..person.at.start], &mut out);
            let written = &text[person.at.clone()];
            let other = match person.kind {
                PersonKind::Number => self.number(&persons::digits(written)),
                PersonKind::User { is_sure } => self.user(written, is_sure),
                PersonKind::Name { is_sure } => self.name(written, is_sure),
            };
            out.extend_from_slice(&other);
            at = person.at.end;
        }
        self.between(&text[at..], &mut out);
        out
    }

    /// What stands between those places: addresses, and who is known.
    fn between(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let (mut rest, mut is_begin) = (text, true);
        while let Some(first) = rest.first() {
            if is_begin && let Some((length, other)) = self.known(rest) {
                out.extend_from_slice(&other);
                (rest, is_begin) = (&rest[length..], false);
                continue;
            }
            if !is_of_word(*first) {
                // An escaped line end (JSON), and what a URI escapes (RFC 3986 2.1), are no part of the word behind it.
                let length = match rest {
                    [b'\\', b'n' | b'r' | b't', ..] => 2,
                    [b'%', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => 3,
                    _ => 1,
                };
                out.extend_from_slice(&rest[..length]);
                (rest, is_begin) = (&rest[length..], *first < 0x80);
                continue;
            }
            let end = rest.iter().position(|b| !is_of_word(*b)).unwrap_or(rest.len());
            let mut begins = (1..end).filter(|at| b":~!*'+".contains(&rest[at - 1]));
            let other = begins.find(|at| self.known(&rest[*at..]).is_some());
            let (word, behind) = rest.split_at(other.unwrap_or(end));
            self.word(word, out);
            (rest, is_begin) = (behind, other.is_some());
        }
    }

    fn word(&mut self, word: &[u8], out: &mut Vec<u8>) {
        let bare = word.strip_suffix(b".").or(word.strip_suffix(b":")).unwrap_or(word);
        for whole in [word, bare] {
            if memchr::memchr_iter(b':', whole).count() >= 2
                && let Some(address) = std::str::from_utf8(whole).ok().and_then(|w| w.parse::<Ipv6Addr>().ok())
            {
                out.extend_from_slice(self.address(IpAddr::V6(address)).as_bytes());
                out.extend_from_slice(&word[whole.len()..]);
                return;
            }
        }
        out.extend_from_slice(&self.parts(word));
    }

    /// Who is known by what stands here, with its length.
    fn known(&mut self, text: &[u8]) -> Option<(usize, Vec<u8>)> {
        if text.first().is_some_and(|b| b.is_ascii_digit() || *b == b'(') && !self.numbers.of.is_empty() {
            let known = |end: usize| {
                let written = &text[..end];
                let digits = persons::digits(written);
                let is_cut = text.get(end).is_some_and(u8::is_ascii_alphanumeric)
                    || written.starts_with(b"(") && !written.contains(&b')');
                // Digits alone may be part of an address.
                if is_cut || digits.len() < SHORTEST_WRITTEN || digits.len() == end {
                    return None;
                }
                Some((end, self.known_number(&digits)?))
            };
            if let Some(found) = persons::groups(text, true).into_iter().rev().find_map(known) {
                return Some(found);
            }
        }
        let end = name_word(text);
        let first = &text[..end];
        let number = first.strip_prefix(USER.as_bytes());
        if number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit)) {
            self.people.meet(&first.to_vec(), user);
        }
        let most = *self.first_words.get(first)?;
        let mut ends = vec![end];
        while ends.len() < most
            && let Some(last) = ends.last().copied()
            && text.get(last) == Some(&b' ')
        {
            match name_word(&text[last + 1..]) {
                0 => break,
                length => ends.push(last + 1 + length),
            }
        }
        let is_known = |end: &usize| self.sure.contains(&text[..*end]) && !is_key(&text[*end..]);
        let end = ends.into_iter().rev().find(is_known)?;
        Some((end, self.people.of(&text[..end].to_vec(), user)))
    }

    /// Who stands for a number that is known, with or without what is before its area code.
    fn known_number(&self, digits: &[u8]) -> Option<Vec<u8>> {
        let of = &self.numbers.of;
        let tail = |digits: &[u8]| self.tails.get(digits).and_then(|whole| of.get(whole));
        let other = of.get(digits).or_else(|| tail(digits)).or_else(|| tail(digits.strip_prefix(b"0")?));
        other.cloned()
    }

    /// Addresses, and numbers that are known, in a word.
    fn parts<'w>(&mut self, word: &'w [u8]) -> Cow<'w, [u8]> {
        // A pattern that is wrong must not let anything through.
        let Some(pattern) = &*PART else { return Cow::Borrowed(b"(anonymized)") };
        let mut out = Vec::new();
        let mut at = 0;
        for found in pattern.find_iter(word) {
            let part = found.as_bytes();
            let touches = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
            let is_cut = touches(word[..found.start()].last()) || touches(word.get(found.end()));
            let separator = part.iter().find(|b| !b.is_ascii_digit()).copied();
            let other = match separator {
                _ if is_cut => None,
                Some(separator) => {
                    let dotted: String =
                        part.iter().map(|b| if *b == separator { '.' } else { char::from(*b) }).collect();
                    let address: Option<Ipv4Addr> = dotted.parse().ok();
                    address.map(|a| {
                        self.address(IpAddr::V4(a)).replace('.', &char::from(separator).to_string()).into_bytes()
                    })
                }
                None if part.len() >= SHORTEST => {
                    let other = self.known_number(part);
                    // Who is named stands for nobody.
                    if other.is_none() && part.starts_with(b"999") {
                        self.numbers.meet(&part.to_vec(), number);
                    }
                    other
                }
                None => None,
            };
            if let Some(other) = other {
                out.extend_from_slice(&word[at..found.start()]);
                out.extend_from_slice(&other);
                at = found.end();
            }
        }
        if at == 0 {
            return Cow::Borrowed(word);
        }
        out.extend_from_slice(&word[at..]);
        Cow::Owned(out)
    }

    /// Who stands for the user part of an identity.
    fn user(&mut self, written: &[u8], is_sure: bool) -> Vec<u8> {
        let (plus, bare) = written.split_at(usize::from(written.starts_with(b"+")));
        // Whom digits in groups name is not sure before an `@`: they may be a Call-ID's.
        if persons::is_number(bare)
            && let Some(other) = self.numbers.of.get(&persons::digits(bare))
        {
            return [plus, other].concat();
        }
        // A password is behind a colon (RFC 3261 §19.1.1).
        let one = written.split(|b| *b == b':').next().filter(|one| !one.is_empty()).unwrap_or(written);
        if Component::ALL.iter().any(|c| c.name().as_bytes() == one) {
            return written.to_vec();
        }
        if is_sure {
            self.learn(one);
        }
        self.people.of(&one.to_vec(), user)
    }

    /// Who stands for somebody's name.
    fn name(&mut self, written: &[u8], is_sure: bool) -> Vec<u8> {
        // The same name in JSON has escapes.
        let plain: Vec<u8> = written.iter().filter(|b| **b != b'\\').copied().collect();
        let words: Vec<&[u8]> = plain.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
        let name = words.join(&b' ');
        let is_component = Component::ALL.iter().any(|c| c.name().as_bytes() == name);
        if name.is_empty() || is_component || name.eq_ignore_ascii_case(b"anonymous") {
            return written.to_vec();
        }
        let (plus, bare) = name.split_at(usize::from(name.starts_with(b"+")));
        if persons::is_number(bare) {
            return [plus, &self.number(&persons::digits(bare))].concat();
        }
        // An address in the place of a name.
        if words.len() == 1 && name.contains(&b'@') {
            return self.text(written);
        }
        if is_sure {
            self.learn(&name);
            // A part of a name is known by its first letter.
            let is_of_word = |b: &u8| b.is_ascii_alphanumeric() || *b >= 0x80 || b"_-".contains(b);
            let parts = name.split(|b| !is_of_word(b));
            let is_name = |part: &&[u8]| part.first().is_some_and(|b| b.is_ascii_uppercase() || *b >= 0x80);
            parts.filter(is_name).for_each(|part| self.learn(part));
        }
        self.people.of(&name, user)
    }

    /// Takes in who is known wherever this stands alone.
    fn learn(&mut self, name: &[u8]) {
        let is_nobody = |word: &[u8]| {
            RESERVED.split(' ').any(|reserved| reserved.as_bytes() == word)
                || Component::ALL.iter().any(|c| c.name().as_bytes() == word)
        };
        let words: Vec<&[u8]> = name.split(|b| *b == b' ').collect();
        let is_plain = words.iter().all(|word| !word.is_empty() && name_word(word) == word.len());
        let has_letter = name.iter().any(|b| b.is_ascii_alphabetic() || *b >= 0x80);
        if name.len() < SHORTEST_WORD || !is_plain || !has_letter || is_nobody(name) || self.sure.contains(name) {
            return;
        }
        self.sure.insert(name.to_vec());
        let most = self.first_words.entry(words[0].to_vec()).or_default();
        *most = words.len().max(*most);
        self.people.of(&name.to_vec(), user);
    }

    fn number(&mut self, digits: &[u8]) -> Vec<u8> {
        if !self.numbers.of.contains_key(digits) {
            for country in 1..=LONGEST_COUNTRY {
                let tail = digits.get(country..).filter(|tail| tail.len() > SHORTEST_WRITTEN);
                self.tails.extend(tail.map(|tail| (tail.to_vec(), digits.to_vec())));
            }
        }
        self.numbers.of(&digits.to_vec(), number)
    }

    /// An address of those that are for benchmarks (RFC 2544) or documentation (RFC 3849), which are nobody's. What is the
    /// same everywhere stays.
    fn address(&mut self, address: IpAddr) -> String {
        if address.is_loopback() || address.is_unspecified() {
            return address.to_string();
        }
        match address {
            IpAddr::V4(address) if address.is_broadcast() => address.to_string(),
            IpAddr::V4(address) => {
                self.v4.of(&address, |n| Ipv4Addr::from_bits(0xC612_0000 | (n & MOST_OTHERS))).to_string()
            }
            IpAddr::V6(address) => {
                self.v6.of(&address, |n| Ipv6Addr::from_bits((0x2001_0DB8 << 96) | u128::from(n))).to_string()
            }
        }
    }
}

#[cfg(test)]
mod tests;
