//! The Contact of a REGISTER (RFC 3261 §20.10), as sprout reads and tells it (sprout `src/registrarsproutlet.cpp`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One address of a Contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) uri: String,
    /// Thousandths; 0 where none is given.
    pub(crate) q: u16,
    /// Seconds that it asks for itself.
    pub(crate) expires: Option<u64>,
    /// The other parameters, quotes and all.
    pub(crate) params: BTreeMap<String, String>,
}

/// What a REGISTER asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contacts {
    /// `*`: all that there are.
    All,
    /// These; none where the bindings are asked for alone.
    These(Vec<Contact>),
}

impl Contacts {
    /// Reads the values of all Contacts, which commas part. What is no SIP URI is passed over.
    pub(crate) fn read(text: &str) -> Self {
        if text.trim() == "*" {
            return Self::All;
        }
        let is_sip = |c: &Contact| c.uri.starts_with("sip:") || c.uri.starts_with("sips:");
        Self::These(parts(text, ',').into_iter().filter_map(Contact::read).filter(is_sip).collect())
    }
}

impl Contact {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (uri, rest) = match parts(text, '<').as_slice() {
            // Without brackets what follows the URI is the header's own.
            [_] => text.split_once(';').map_or((text, ""), |(uri, rest)| (uri, rest)),
            [name, ..] => {
                let inner = text.get(name.len() + 1..)?;
                let end = end_of(inner)?;
                (&inner[..end], &inner[end + 1..])
            }
            [] => return None,
        };
        let mut read = Self { uri: uri.trim().to_owned(), q: 0, expires: None, params: BTreeMap::new() };
        for part in parts(rest, ';') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (name.trim().to_lowercase(), value.trim());
            match name.as_str() {
                // A phone does not choose its GRUU.
                "" | "pub-gruu" => {}
                "q" => read.q = thousandths(value),
                "expires" => read.expires = value.parse().ok(),
                _ => drop(read.params.insert(name, value.to_owned())),
            }
        }
        Some(read)
    }
}

/// What a registration is known by: the phone, where it names itself (RFC 5626 §4.1), or its address.
pub(crate) fn id_of<'a>(uri: &'a str, params: &'a BTreeMap<String, String>) -> std::borrow::Cow<'a, str> {
    let own = params.get("+sip.instance").and_then(|quoted| quoted.get(1..quoted.len().checked_sub(1)?));
    match (own, params.get("reg-id")) {
        (Some(own), Some(number)) => format!("{own}:{number}").into(),
        (Some(own), None) => own.into(),
        (None, _) => uri.into(),
    }
}

/// The header of a 200, without its name.
pub(crate) fn told(uri: &str, q: u16, expires: u64, params: &BTreeMap<String, String>) -> String {
    let mut out = format!("<{uri}>");
    if q > 0 {
        let _ =
            write!(out, ";q={}", format!("{}.{:03}", q / 1000, q % 1000).trim_end_matches('0').trim_end_matches('.'));
    }
    let _ = write!(out, ";expires={expires}");
    for (name, value) in params {
        let _ = if value.is_empty() { write!(out, ";{name}") } else { write!(out, ";{name}={value}") };
    }
    out
}

/// The pieces between separators that stand neither in quotes nor, unless it is what is looked for, in brackets.
fn parts(text: &str, separator: char) -> Vec<&str> {
    let (mut all, mut begin, mut is_quoted, mut is_inside, mut is_escaped) = (Vec::new(), 0, false, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            _ if c == separator && !is_inside => {
                all.push(&text[begin..at]);
                begin = at + 1;
            }
            '<' => is_inside = true,
            '>' => is_inside = false,
            _ => {}
        }
    }
    all.push(&text[begin..]);
    all.retain(|part| separator == '<' || !part.trim().is_empty());
    all
}

/// Where the bracket closes.
fn end_of(inner: &str) -> Option<usize> {
    let mut is_quoted = false;
    inner.char_indices().find_map(|(at, c)| {
        is_quoted ^= c == '"';
        (c == '>' && !is_quoted).then_some(at)
    })
}

/// `0.5` is 500; what is no such number is 0.
fn thousandths(text: &str) -> u16 {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{rest:0<3}");
    let part = digits.get(..3).and_then(|d| d.parse::<u16>().ok()).unwrap_or(0);
    whole.parse::<u16>().map_or(0, |whole| (whole.min(1) * 1000 + part).min(1000))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn these(text: &str) -> Vec<Contact> {
        match Contacts::read(text) {
            Contacts::These(all) => all,
            Contacts::All => panic!("{text} is no star"),
        }
    }

    #[test]
    fn each_contact_has_its_uri_and_its_own_parameters() {
        let all = these(
            "\"B, <b>\" <sip:b@1;x=\"1,2>\";transport=tcp>;q=0.7;+sip.instance=\"<urn:uuid:1>\";reg-id=2;expires=60;audio;\
             pub-gruu=\"sip:own\", sip:c@1:7;expires=7,<tel:+1>, <sips:d@1>",
        );
        let uris: Vec<&str> = all.iter().map(|c| c.uri.as_str()).collect();
        assert_eq!(uris, ["sip:b@1;x=\"1,2>\";transport=tcp", "sip:c@1:7", "sips:d@1"]);
        assert_eq!((all[0].q, all[0].expires, all[1].expires, all[2].expires), (700, Some(60), Some(7), None));
        assert_eq!(id_of(&all[0].uri, &all[0].params), "<urn:uuid:1>:2");
        assert_eq!(id_of(&all[1].uri, &all[1].params), "sip:c@1:7");
        assert_eq!(
            told(&all[0].uri, all[0].q, 59, &all[0].params),
            "<sip:b@1;x=\"1,2>\";transport=tcp>;q=0.7;expires=59;+sip.instance=\"<urn:uuid:1>\";audio;reg-id=2"
        );
        assert_eq!(Contacts::read(" * "), Contacts::All);
        assert_eq!(these(""), []);
    }

    #[test]
    fn a_preference_is_told_as_it_was_given() {
        for (given, seen) in [
            ("1", ";q=1"),
            ("1.0", ";q=1"),
            ("0.5", ";q=0.5"),
            ("0.05", ";q=0.05"),
            ("0", ""),
            ("x", ""),
            ("7", ";q=1"),
        ] {
            let one = &these(&format!("<sip:a@b>;q={given}"))[0];
            assert_eq!(told(&one.uri, one.q, 1, &one.params), format!("<sip:a@b>{seen};expires=1"));
        }
    }

    proptest! {
        #[test]
        fn what_is_told_is_read_as_the_same(
            uri in "sip:[a-z]{1,5}@[a-z]{1,5}(;[a-z]{1,3}=\"[a-z;,> ]{0,4}\")?",
            q in 0u16..=1000,
            expires in 0u64..9_999,
            params in prop::collection::btree_map("[+a-df-z][a-df-z.]{1,6}", "([a-z0-9]{1,4}|\"[a-z<>;,= ]{0,6}\")?", 0..4),
        ) {
            let text = told(&uri, q, expires, &params);
            let one = Contact { uri, q, expires: Some(expires), params };
            prop_assert_eq!(these(&format!("{text},{text}")), [one.clone(), one]);
        }

        #[test]
        fn anything_is_read(text in "[a-z<>\",;=* \\\\]{0,30}") {
            let _ = Contacts::read(&text);
        }
    }
}
