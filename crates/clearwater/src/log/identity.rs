use std::fmt;
use std::str::FromStr;

use aho_corasick::AhoCorasick;
use thiserror::Error;

/// A subscriber's identity, however it is written: `6505550001`, `6505550001@example.com`, `sip:6505550001@example.com`
/// or `tel:+16505550001`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    user: String,
    domain: Option<String>,
}

/// A text that names no subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} names no subscriber; write a number, user@domain, a sip: or a tel: URI")]
pub struct InvalidIdentity(pub String);

impl Identity {
    /// The subscriber that a header field of a SIP message names: `"Ann" <sip:6505550001@example.com>;tag=1` (RFC 3261
    /// §20.20), or any of the shorter forms.
    pub fn of_header(value: &str) -> Option<Self> {
        // A name in quotes may hold brackets.
        let name_ends = value.trim_start().starts_with('"').then(|| value.rfind('"')).flatten().unwrap_or(0);
        let uri = match value.get(name_ends..)?.split_once('<') {
            Some((_, rest)) => rest.split('>').next()?,
            None => value,
        };
        uri.split(';').next()?.parse().ok()
    }

    /// The user part, or the number without its leading `+`.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The domain, where it was given.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// Whether the text mentions the subscriber: the user part as a word of its own and, where a domain was given, no
    /// other domain after it.
    pub(crate) fn is_mentioned_in(&self, text: &[u8]) -> bool {
        let user = self.user.as_bytes();
        let Some(first) = user.first() else { return false };
        let mut places = memchr::memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), text);
        places.any(|at| {
            text.get(at..at + user.len()).is_some_and(|t| t.eq_ignore_ascii_case(user)) && self.stands_at(text, at)
        })
    }

    /// Whether what stands at this place, which is the user part, is a word of its own with no other domain behind it.
    fn stands_at(&self, text: &[u8], at: usize) -> bool {
        let of_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        // In paths, a colon is written as %3A and a plus as %2B.
        let is_escaped =
            |escape: &[u8]| text[..at].last_chunk::<3>().is_some_and(|last| last.eq_ignore_ascii_case(escape));
        let before = text[..at].last().copied().filter(|_| !is_escaped(b"%3A") && !is_escaped(b"%2B"));
        let after = &text[at + self.user.len()..];
        let whole = !before.is_some_and(of_word) && !after.first().copied().is_some_and(of_word);
        let domain_agrees = match (&self.domain, after.strip_prefix(b"@").or_else(|| after.strip_prefix(b"%40"))) {
            (Some(domain), Some(rest)) => {
                rest.get(..domain.len()).is_some_and(|d| d.eq_ignore_ascii_case(domain.as_bytes()))
                    && !rest.get(domain.len()).copied().is_some_and(of_word)
            }
            _ => true,
        };
        whole && domain_agrees
    }
}

/// Many subscribers, looked for in one pass over a text.
#[derive(Debug)]
pub(super) struct Identities {
    all: Vec<Identity>,
    users: Option<AhoCorasick>,
}

impl Identities {
    pub(super) fn new(all: Vec<Identity>) -> Self {
        let users = AhoCorasick::builder().ascii_case_insensitive(true).build(all.iter().map(Identity::user));
        // What is too much for the automaton is looked for one by one.
        Self { all, users: users.ok() }
    }

    /// Whether the text mentions one of them.
    pub(super) fn are_mentioned_in(&self, text: &[u8]) -> bool {
        match &self.users {
            Some(users) => users
                .find_overlapping_iter(text)
                .any(|found| self.all[found.pattern().as_usize()].stands_at(text, found.start())),
            None => self.all.iter().any(|identity| identity.is_mentioned_in(text)),
        }
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;

    fn from_str(s: &str) -> Result<Self, InvalidIdentity> {
        let fail = || InvalidIdentity(s.to_owned());
        let text = s.trim().trim_start_matches('<').trim_end_matches('>');
        let bare = ["sips:", "sip:", "tel:"]
            .iter()
            .find_map(|scheme| {
                text.get(..scheme.len()).filter(|t| t.eq_ignore_ascii_case(scheme)).map(|_| &text[scheme.len()..])
            })
            .unwrap_or(text);
        let bare = bare.split([';', '?']).next().unwrap_or(bare);
        let (user, domain) = match bare.split_once('@') {
            Some((user, domain)) => (user, Some(domain.split(':').next().unwrap_or(domain))),
            None => (bare, None),
        };
        let user = user.split(':').next().unwrap_or(user);
        // A plus as paths and some phones write it (RFC 3261 §19.1.2).
        let plain =
            user.get(..3).filter(|escape| escape.eq_ignore_ascii_case("%2B")).map(|_| format!("+{}", &user[3..]));
        let user = plain.as_deref().unwrap_or(user);
        // What makes a number easy to read is no part of it (RFC 3966 §3).
        let is_global =
            user.starts_with('+') || text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("tel:"));
        let user = user.trim_start_matches('+');
        let is_number = is_global && user.bytes().all(|b| b.is_ascii_digit() || b"-.()".contains(&b));
        let digits = || user.bytes().filter(u8::is_ascii_digit).map(char::from).collect::<String>();
        let user = if is_number { digits() } else { user.to_owned() };
        let foreign = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | ',');
        if user.is_empty() || domain == Some("") || bare.contains(foreign) {
            return Err(fail());
        }
        Ok(Self { user, domain: domain.map(str::to_owned) })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.domain {
            Some(domain) => write!(f, "{}@{domain}", self.user),
            None => f.write_str(&self.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_means_the_same_subscriber() {
        for form in [
            "6505550001",
            "6505550001@ims.example",
            "sip:6505550001@ims.example:5060;transport=tcp",
            "tel:+6505550001",
            "<sip:6505550001@ims.example>",
        ] {
            let id: Identity = form.parse().expect(form);
            assert!(id.is_mentioned_in(b"To: <sip:6505550001@ims.example>"), "{form}");
            assert!(id.is_mentioned_in(b"GET /impi/6505550001%40ims.example/digest"), "{form}");
            assert!(id.is_mentioned_in(b"GET /impu/sip%3A6505550001%40ims.example/reg-data"), "{form}");
            assert!(id.is_mentioned_in(b"GET /impu/sip%3A%2B6505550001%40ims.example/reg-data"), "{form}");
            assert!(id.is_mentioned_in(b"GET /impu/tel%3a%2b6505550001/reg-data"), "{form}");
            assert!(!id.is_mentioned_in(b"sip:16505550001@ims.example"), "{form}");
        }
        let with_domain: Identity = "1@a.example".parse().expect("an identity");
        assert!(!with_domain.is_mentioned_in(b"sip:1@b.example"));
        assert!(!with_domain.is_mentioned_in(b"sip:1@a.example.org"));
    }

    #[test]
    fn header_fields_and_what_people_type_are_understood() {
        // (as it is written, whom it names)
        let rows = [
            ("<sip:6505550001@ims.example>;tag=1", "6505550001@ims.example"),
            ("\"Ann <x>, the 2nd\" <sip:6505550001@ims.example;user=phone>;tag=1", "6505550001@ims.example"),
            ("Ann <sip:6505550001@ims.example>", "6505550001@ims.example"),
            ("sip:6505550001@ims.example;tag=1", "6505550001@ims.example"),
            ("<tel:+16505550001;phone-context=ims.example>;tag=1", "16505550001"),
            ("tel:+1-650-555-0001", "16505550001"),
            ("+1(650)555.0001", "16505550001"),
            ("%2B16505550001", "16505550001"),
            ("<sip:%2b16505550001@ims.example;user=phone>;tag=1", "16505550001@ims.example"),
            ("6505550001", "6505550001"),
            ("SIPS:bob.smith@ims.example:5061", "bob.smith@ims.example"),
            ("bob.smith", "bob.smith"),
        ];
        for (written, named) in rows {
            assert_eq!(Identity::of_header(written).expect(written).to_string(), named, "{written}");
        }
        assert!("tel:---".parse::<Identity>().is_err());
    }

    #[test]
    fn many_are_found_as_each_is() {
        let of = |text: &str| text.parse::<Identity>().expect("an identity");
        let all = ["6505550001", "650", "a@x.example", "A@y.example", "+1650", "bob.smith"].map(of);
        let texts = [
            "6505550001",
            "x6505550001",
            "sip:650@h",
            "sip%3A650%40h",
            "a@x.example",
            "a@z.example",
            "A@Y.EXAMPLE.",
            "a@y.example.org",
            "tel:1650",
            "bob.smith-x",
            "<bob.smith>",
            "",
            "65",
            "650555000",
        ];
        let together = Identities::new(all.to_vec());
        for text in texts {
            let one_by_one = all.iter().any(|i| i.is_mentioned_in(text.as_bytes()));
            assert_eq!(together.are_mentioned_in(text.as_bytes()), one_by_one, "{text}");
        }
        assert!(!Identities::new(Vec::new()).are_mentioned_in(b"a"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "sip:", "sip:@a", "a@", "a b", "tel\0>>:t", "a<b"] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }
}
