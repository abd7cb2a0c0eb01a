use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The longest identity: what fits into a column of Ellis' and a line of any log.
const LONGEST: usize = 255;

/// What is no public identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{found:?} is no public identity: {reason}")]
pub struct InvalidPublicIdentity {
    /// What was given.
    pub found: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A public identity (IMPU): a SIP or telephone URI without parameters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicIdentity(String);

impl PublicIdentity {
    /// The identity of a number, or of a whole identity as it stands, in a home domain.
    ///
    /// # Errors
    /// A text that is no identity of the domain.
    pub fn of(number: &str, domain: &str) -> Result<Self, InvalidPublicIdentity> {
        if number.contains(':') {
            return number.parse();
        }
        if number.contains('@') { format!("sip:{number}") } else { format!("sip:{number}@{domain}") }.parse()
    }

    /// The URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands between the scheme and the domain.
    pub fn number(&self) -> &str {
        let rest = self.address();
        rest.split_once('@').map_or(rest, |(user, _)| user)
    }

    /// What stands behind the `@`; empty in a telephone URI.
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }

    /// The private identity that Ellis gives with a number: the same without its scheme (metaswitch-common
    /// `utils.py`, sip_public_id_to_private).
    pub fn private_identity(&self) -> &str {
        self.address()
    }

    fn address(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(_, rest)| rest)
    }
}

impl fmt::Display for PublicIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PublicIdentity {
    type Err = InvalidPublicIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidPublicIdentity> {
        let wrong = |reason| Err(InvalidPublicIdentity { found: text.chars().take(LONGEST).collect(), reason });
        if text.len() > LONGEST {
            return wrong("it is longer than 255 characters");
        }
        // Those would have to be written otherwise in XML, in a header or in a line of a table.
        if text.chars().any(|c| !c.is_ascii_graphic() || "<>\"'&;,\\`{}|^".contains(c)) {
            return wrong("only letters, digits and ! # $ % ( ) * + - . / = ? @ [ ] _ ~ may stand in it");
        }
        let Some((scheme, address)) = text.split_once(':') else { return wrong("it has no sip: or tel: before it") };
        let whole = match scheme {
            "sip" | "sips" => {
                address.split_once('@').is_some_and(|(u, d)| !u.is_empty() && !d.is_empty() && !d.contains('@'))
            }
            "tel" => !address.is_empty() && !address.contains('@'),
            _ => return wrong("it has no sip: or tel: before it"),
        };
        if whole { Ok(Self(text.to_owned())) } else { wrong("it is not sip:NUMBER@DOMAIN") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identities_are_read_and_taken_apart() {
        let identity = PublicIdentity::of("6505550000", "ims.example.com").unwrap();
        assert_eq!(identity.to_string(), "sip:6505550000@ims.example.com");
        assert_eq!((identity.number(), identity.domain()), ("6505550000", "ims.example.com"));
        assert_eq!(PublicIdentity::of("sip:a@b", "c").unwrap().as_str(), "sip:a@b");
        assert_eq!(PublicIdentity::of("a@b", "c").unwrap().as_str(), "sip:a@b");
        let tel: PublicIdentity = "tel:+16505550000".parse().unwrap();
        assert_eq!((tel.number(), tel.domain(), tel.private_identity()), ("+16505550000", "", "+16505550000"));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in
            ["", "x", "sip:", "sip:a", "sip:@b", "sip:a@", "sip:a@b@c", "http:a@b", "sip:<a>@b", "sip:a b@c", "sip:ä@b"]
        {
            assert!(text.parse::<PublicIdentity>().is_err(), "{text:?}");
        }
        assert!(format!("sip:{}@b", "1".repeat(300)).parse::<PublicIdentity>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(text in "\\PC{0,40}") {
            if let Ok(identity) = text.parse::<PublicIdentity>() {
                prop_assert_eq!(identity.as_str(), &text);
                prop_assert!(text.ends_with(identity.private_identity()));
            }
        }
    }
}
