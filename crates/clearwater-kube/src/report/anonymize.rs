//! Numbers, users and addresses under other names, the same for the same in all texts. Pure.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use clearwater::component::Component;
use regex::bytes::Regex;

/// What stands for the first number.
const FIRST_NUMBER: u64 = 9_990_000_001;
/// A number of fewer digits is one only where something says so, as `sip:` does.
const SHORTEST: usize = 5;
/// How many addresses are nobody's: two /16.
const MOST_OTHERS: u32 = 0x1_FFFF;
/// No user's name is longer, in bytes (RFC 5321 4.5.3.1.1).
const LONGEST_USER: usize = 64;

/// Inside of a word: an address with dots or dashes (as in names of nodes), or digits that may be a number.
static PART: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?-u)[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9]{1,3}(?:-[0-9]{1,3}){3}|[0-9]+").ok());

/// Who stands for whom.
#[derive(Debug, Default)]
pub(super) struct Anonymizer {
    /// Digits, without a plus sign.
    numbers: Others<Vec<u8>>,
    users: Others<Vec<u8>>,
    v4: Others<Ipv4Addr>,
    v6: Others<Ipv6Addr>,
}

/// One in the place of each, and none that is itself one of those: else a reader could not tell whose it is.
#[derive(Debug)]
struct Others<T> {
    of: HashMap<T, T>,
    whose: HashMap<T, T>,
    made: u32,
}

impl<T> Default for Others<T> {
    fn default() -> Self {
        Self { of: HashMap::new(), whose: HashMap::new(), made: 0 }
    }
}

impl<T: Clone + Eq + Hash> Others<T> {
    /// Who stands for `one`, of those that `make` makes of 1, 2 and so on.
    fn of(&mut self, one: &T, make: impl Fn(u32) -> T) -> T {
        if let Some(other) = self.of.get(one) {
            return other.clone();
        }
        // Who has stood for somebody until now, and is met, stands for nobody any more.
        if let Some(evicted) = self.whose.remove(one) {
            self.give(evicted, one, &make);
        }
        self.give(one.clone(), one, &make)
    }

    fn give(&mut self, one: T, met: &T, make: impl Fn(u32) -> T) -> T {
        let other = loop {
            self.made = self.made.saturating_add(1);
            let other = make(self.made);
            let is_met = self.of.contains_key(&other) || other == *met;
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

impl Anonymizer {
    /// A text under other names. Numbers are known by what says that they are some (`sip:`, `tel:`, what stands before an
    /// `@`); elsewhere only those are replaced that are known by then: every text is read once before any is kept.
    pub(super) fn text(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.first() {
            if !is_of_word(*first) {
                out.push(*first);
                rest = &rest[1..];
                // An escaped line end (JSON), and what a URI escapes (RFC 3986 2.1), are no part of the word behind it.
                if *first == b'\\' && rest.first().is_some_and(|b| b"nrt".contains(b)) {
                    out.push(rest[0]);
                    rest = &rest[1..];
                } else if *first == b'%' && rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit) {
                    out.extend_from_slice(&rest[..2]);
                    let is_scheme = out[out.len().saturating_sub(6)..].eq_ignore_ascii_case(b"tel%3a");
                    rest = &rest[2..];
                    if is_scheme {
                        rest = self.number_at(rest, &mut out);
                    }
                }
                continue;
            }
            let end = rest.iter().position(|b| !is_of_word(*b)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            let is_before_at =
                behind.starts_with(b"@") && !behind.starts_with(b"@sha256") || behind.starts_with(b"%40");
            self.word(word, is_before_at, &mut out);
            rest = behind;
        }
        out
    }

    fn word(&mut self, word: &[u8], is_before_at: bool, out: &mut Vec<u8>) {
        if is_before_at {
            let at = word.iter().rposition(|b| *b == b':').map_or(0, |at| at + 1);
            let (before, user) = word.split_at(at);
            if !user.is_empty() && user.len() <= LONGEST_USER {
                self.word(before, false, out);
                out.extend_from_slice(&self.user(user));
                return;
            }
        }
        if word.len() > 4 && word[..4].eq_ignore_ascii_case(b"tel:") {
            out.extend_from_slice(&word[..4]);
            let rest = self.number_at(&word[4..], out);
            out.extend_from_slice(rest);
            return;
        }
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

    /// Digits that are a number because of what stands before them; yields what is behind.
    fn number_at<'t>(&mut self, text: &'t [u8], out: &mut Vec<u8>) -> &'t [u8] {
        let plus = usize::from(text.starts_with(b"+"));
        let length = text[plus..].iter().take_while(|b| b.is_ascii_digit()).count();
        out.extend_from_slice(&text[..plus]);
        let (digits, behind) = text[plus..].split_at(length);
        if !digits.is_empty() {
            out.extend_from_slice(&self.number(digits));
        }
        behind
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
                None if part.len() >= SHORTEST => self.numbers.of.get(part).cloned(),
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

    fn user(&mut self, user: &[u8]) -> Vec<u8> {
        let digits = user.strip_prefix(b"+").unwrap_or(user);
        if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
            let plus = &user[..user.len() - digits.len()];
            return [plus, &self.number(digits)].concat();
        }
        let is_component = Component::ALL.iter().any(|c| c.name().as_bytes() == user);
        if is_component {
            return user.to_vec();
        }
        self.users.of(&user.to_vec(), |n| format!("user-{n}").into_bytes())
    }

    fn number(&mut self, digits: &[u8]) -> Vec<u8> {
        self.numbers.of(&digits.to_vec(), |n| (FIRST_NUMBER + u64::from(n) - 1).to_string().into_bytes())
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every text read once, then all of them under other names.
    fn anonymized(texts: &[&str]) -> Vec<String> {
        let mut anonymizer = Anonymizer::default();
        for text in texts {
            anonymizer.text(text.as_bytes());
        }
        texts.iter().map(|text| String::from_utf8(anonymizer.text(text.as_bytes())).unwrap()).collect()
    }

    #[test]
    fn the_same_number_and_address_are_the_same_in_every_text() {
        let texts = [
            "24-11-2026 10:00:00.178 UTC [7f01] Info a.cpp:1: number 6505550001 of 10.244.1.4:5060\n",
            "INVITE sip:6505550001@ims.svc SIP/2.0\r\nVia: SIP/2.0/TCP 10.244.1.4;rport\r\nCall-ID: 1-69@10.244.1.4\r\n",
            "503 GET /impi/6505550001%40ims.svc/av 0.000198 seconds; /impu/sip%3A+16505550002%40ims.svc",
            r#"tel:+16505550002;phone-context=x tel%3A6505550001 ann@ims.svc {"log": "a\n6505550001@ims\ttel:6505550001\nann@x"}"#,
            r#"{"hostIP": "10.244.1.4", "name": "ip-10-244-1-4.ec2.internal", "v6": "fd00::12", "at": "[fd00::12]:5060"}"#,
        ];
        let got = anonymized(&texts);
        assert_eq!(
            got,
            [
                "24-11-2026 10:00:00.178 UTC [7f01] Info a.cpp:1: number 9990000001 of 198.18.0.1:5060\n",
                "INVITE sip:9990000001@ims.svc SIP/2.0\r\nVia: SIP/2.0/TCP 198.18.0.1;rport\r\nCall-ID: user-1@198.18.0.1\r\n",
                "503 GET /impi/9990000001%40ims.svc/av 0.000198 seconds; /impu/sip%3A+9990000002%40ims.svc",
                r#"tel:+9990000002;phone-context=x tel%3A9990000001 user-2@ims.svc {"log": "a\n9990000001@ims\ttel:9990000001\nuser-2@x"}"#,
                r#"{"hostIP": "198.18.0.1", "name": "ip-198-18-0-1.ec2.internal", "v6": "2001:db8::1", "at": "[2001:db8::1]:5060"}"#,
            ]
        );
    }

    #[test]
    fn what_tells_of_nobody_stays() {
        for text in [
            "sprout-5f649d585b-92x7j bono.ims.svc.cluster.local:5060 127.0.0.1:4000 0.0.0.0 ::1 std::string",
            "24-11-2026 10:00:00.178 UTC [7f6063c00c00] Status globals.cpp:141: 23:29:10 1764240000 v1.34.0 3.2.32",
            "quay.io/coreos/etcd@sha256:0a1b2c 1000000 65536 Content-Length: 16505 sprout@ims",
            "{\"resourceVersion\": \"123456\", \"startTime\": \"2026-11-27T10:00:00Z\"}",
        ] {
            assert_eq!(anonymized(&[text]), [text]);
        }
    }

    proptest! {
        #[test]
        fn no_number_and_no_address_is_left(
            number in "[1-8][0-9]{6,11}", a in 1_u8..127, b in 10_u8..250, before in "[ -~]{0,12}[ <;=\"]", behind in "[ >;,\"\n][ -~]{0,12}"
        ) {
            let address = format!("{a}.{b}.{b}.{b}");
            prop_assume!(!address.starts_with("127."));
            let texts = [format!("sip:{number}@ims"), format!("{before}{number}{behind}"), format!("{before}{address}{behind}")];
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let got = anonymized(&texts);
            prop_assert!(!got[0].contains(&number) && !got[1].contains(&number) && !got[2].contains(&address), "{:?}", got);
        }

        /// Addresses of the range that the others are taken from, and numbers as the others are, may well be met.
        #[test]
        fn who_stands_for_somebody_is_nobody_that_was_met(
            addresses in prop::collection::vec(0..20_u8, 1..12), numbers in prop::collection::vec(0..20_u64, 1..12), users in prop::collection::vec(0..20_u8, 1..12)
        ) {
            let addresses = addresses.iter().map(|n| format!("198.18.0.{n}"));
            let numbers = numbers.iter().map(|n| format!("sip:{}@x", FIRST_NUMBER + n));
            let texts: Vec<String> = addresses.chain(numbers).chain(users.iter().map(|n| format!("sip:user-{n}@x"))).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let got = anonymized(&texts);
            for (other, one) in got.iter().zip(&texts) {
                prop_assert!(!texts.contains(&other.as_str()), "{:?}", got);
                let same = |of: &[&str], as_: &str| of.iter().map(|o| *o == as_).collect::<Vec<_>>();
                let others: Vec<&str> = got.iter().map(String::as_str).collect();
                prop_assert_eq!(same(&others, other), same(&texts, one));
            }
        }

        #[test]
        fn any_bytes_are_read(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut anonymizer = Anonymizer::default();
            anonymizer.text(&text);
        }
    }
}
