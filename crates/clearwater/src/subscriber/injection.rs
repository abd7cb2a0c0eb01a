//! sipp's injection file, one line a phone (sipp `docs/usage.rst`, "Injecting values from an external CSV").
//!
//! The first line says how lines are taken; each of the others has three fields with semicolons between: the public
//! identity, the keyword that sipp answers a challenge with, and whom the line calls, which is the next one.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use super::{PublicIdentity, Subscriber};

/// How sipp takes the lines: one after the other.
const HEAD: &str = "SEQUENTIAL";

/// What is no injection file, or cannot be in one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InjectionError {
    /// A line that is not of the form.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// sipp knows no way to quote: a field ends at the semicolon, a keyword at the bracket, a value at the blank.
    #[error("the password of {identity} has {character:?}, which no field of sipp's can hold")]
    Password {
        /// Whose.
        identity: PublicIdentity,
        /// The character, which is told alone.
        character: char,
    },
}

/// Lines as an injection file. A line whose password is not known has an empty keyword: it can be called, and not register.
///
/// # Errors
/// An identity that sipp's file cannot hold.
pub fn injection(lines: &[Subscriber]) -> Result<String, InjectionError> {
    let mut text = format!("{HEAD}\n");
    for (n, line) in lines.iter().enumerate() {
        let peer = lines.get(n + 1).or(lines.first()).map_or("", |l| l.public_identity.as_str());
        let keyword = line.password.as_ref().map_or_else(|| Ok(String::new()), |p| keyword(line, p))?;
        text.push_str(&format!("{};{keyword};{peer}\n", line.public_identity));
    }
    Ok(text)
}

fn keyword(line: &Subscriber, password: &SecretString) -> Result<String, InjectionError> {
    let password = password.expose_secret();
    if let Some(character) =
        password.chars().find(|c| matches!(c, ';' | ']' | '[') || c.is_whitespace() || c.is_control())
    {
        return Err(InjectionError::Password { identity: line.public_identity.clone(), character });
    }
    Ok(format!("[authentication username={} password={password}]", line.private_identity))
}

/// The lines of an injection file; what it says of calls is left out.
///
/// # Errors
/// The first line that is none of such a file.
pub fn read_injection(text: &str) -> Result<Vec<Subscriber>, InjectionError> {
    let mut found = Vec::new();
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader.delimiter(b';').quoting(false).flexible(true).has_headers(false).comment(Some(b'#'));
    for record in reader.from_reader(text.as_bytes()).records() {
        let wrong = |line, reason: &dyn fmt::Display| InjectionError::Line { line, reason: reason.to_string() };
        let record = record.map_err(|e| wrong(e.position().map_or(0, csv::Position::line), &e))?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |n: usize| record.get(n).unwrap_or_default().trim();
        if line == 1 && ["SEQUENTIAL", "RANDOM", "USER"].iter().any(|way| field(0).starts_with(way)) {
            continue;
        }
        let public_identity: PublicIdentity = field(0).parse().map_err(|e| wrong(line, &e))?;
        let inner = field(1).strip_prefix("[authentication").and_then(|f| f.strip_suffix(']'));
        if inner.is_none() && !field(1).is_empty() {
            return Err(wrong(line, &"the second field is not [authentication username=… password=…]"));
        }
        let value = |name: &str| {
            let words = inner.unwrap_or_default().split_whitespace();
            words.filter_map(|w| w.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        let private_identity = value("username").unwrap_or_else(|| public_identity.private_identity().to_owned());
        let password = value("password").map(SecretString::from);
        found.push(Subscriber { public_identity, private_identity, password });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(number: &str, password: Option<&str>) -> Subscriber {
        let public_identity = PublicIdentity::of(number, "a.b").unwrap();
        let private_identity = public_identity.private_identity().to_owned();
        Subscriber { public_identity, private_identity, password: password.map(SecretString::from) }
    }

    #[test]
    fn each_line_calls_the_next_and_the_last_the_first() {
        let text = injection(&[line("1", Some("x")), line("2", None), line("3", Some("z"))]).unwrap();
        assert_eq!(
            text,
            "SEQUENTIAL\n\
             sip:1@a.b;[authentication username=1@a.b password=x];sip:2@a.b\n\
             sip:2@a.b;;sip:3@a.b\n\
             sip:3@a.b;[authentication username=3@a.b password=z];sip:1@a.b\n"
        );
        assert_eq!(injection(&[]).unwrap(), "SEQUENTIAL\n");
    }

    #[test]
    fn what_sipp_would_cut_is_refused_without_showing_it() {
        for bad in ["a;b", "a]b", "a b", "a\nb"] {
            let error = injection(&[line("1", Some(bad))]).unwrap_err().to_string();
            assert!(!error.contains(bad) && error.contains("sip:1@a.b"), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let told = |text: &str| read_injection(text).unwrap_err().to_string();
        assert!(
            told("SEQUENTIAL\nsip:1@a.b;\nnobody;x\n").starts_with("line 3: \"nobody\""),
            "{}",
            told("SEQUENTIAL\nsip:1@a.b;\nnobody;x\n")
        );
        assert!(told("sip:1@a.b;[field0]\n").starts_with("line 1: the second field"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in proptest::collection::vec(("[0-9]{1,9}", proptest::option::of("[!-:<-Z\\^-~]{1,9}")), 0..9)) {
            let lines: Vec<_> = all.iter().map(|(n, p)| line(n, p.as_deref())).collect();
            let read = read_injection(&injection(&lines).unwrap()).unwrap();
            prop_assert_eq!(read.len(), lines.len());
            for (a, b) in read.iter().zip(&lines) {
                prop_assert_eq!(&a.public_identity, &b.public_identity);
                prop_assert_eq!(&a.private_identity, &b.private_identity);
                let shown = |l: &Subscriber| l.password.as_ref().map(|p| p.expose_secret().to_owned());
                prop_assert_eq!(shown(a), shown(b));
            }
        }

        #[test]
        fn any_line_is_read_or_refused_by_its_number(text in prop_oneof![
            "\\PC{0,80}",
            "sip:[0-9]{1,3}@[a-z.]{1,5};(\\[authentication (username=\\PC{0,9} )?(password=\\PC{0,9})?\\])?;\\PC{0,9}",
        ]) {
            match read_injection(&text) {
                Ok(lines) => prop_assert!(lines.len() <= 1, "{:?}", lines),
                Err(refused) => prop_assert!(refused.to_string().starts_with("line 1: "), "{}", refused),
            }
        }
    }
}
