use std::fmt;
use std::str::FromStr;

use ezk_sip_types::uri::{NameAddr, SipUri, SipUriUserPart};
use thiserror::Error;

use crate::SipError;

/// How SIP travels between a phone and the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// One connection for all messages.
    Tcp,
    /// A datagram a message.
    Udp,
}

impl Transport {
    /// Each, in the order they are tried.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];
}

/// As a SIP URI's parameter `transport` has it (RFC 3261 §19.1.1).
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|t| t.to_string().eq_ignore_ascii_case(word));
        found.ok_or_else(|| format!("{word:?} is no transport: tcp or udp"))
    }
}

/// A line that a phone can speak for.
#[derive(Clone)]
pub struct Account {
    /// The public identity (IMPU), as `sip:6505550000@example.com`.
    pub public_identity: String,
    /// The private identity (IMPI), which digest authentication calls the user name.
    pub private_identity: String,
    /// The password.
    pub(crate) password: String,
    /// The user part of the public identity.
    pub number: String,
    domain: String,
}

/// The password is for nobody's eyes.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("public_identity", &self.public_identity).finish_non_exhaustive()
    }
}

/// What is no account.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{identity:?} is no public identity as sip:USER@DOMAIN")]
pub struct AccountError {
    /// What was given.
    pub identity: String,
}

impl Account {
    /// Reads a public identity and puts it together with what its owner knows.
    pub fn new(public: &str, private: &str, password: &str) -> Result<Self, AccountError> {
        let wrong = || AccountError { identity: public.to_owned() };
        let uri = uri(public).map_err(|_| wrong())?;
        let SipUriUserPart::User(number) = &uri.user_part else { return Err(wrong()) };
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-_.".contains(c);
        if number.is_empty() || !number.chars().all(plain) || private.chars().any(char::is_control) {
            return Err(wrong());
        }
        Ok(Self {
            public_identity: public.to_owned(),
            private_identity: private.to_owned(),
            password: password.to_owned(),
            number: number.to_string(),
            domain: uri.host_port.host.to_string(),
        })
    }

    /// The host of the public identity: the home domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The same line, whose owner has forgotten the password.
    #[must_use]
    pub(crate) fn with_password(&self, password: &str) -> Self {
        Self { password: password.to_owned(), ..self.clone() }
    }

    /// Another number of the same domain, for which nothing is known.
    pub fn neighbour(&self, number: &str) -> String {
        format!("sip:{number}@{}", self.domain)
    }
}

/// A SIP URI.
pub(crate) fn uri(text: &str) -> Result<SipUri, SipError> {
    // A line break would begin a header of somebody else's.
    if text.chars().any(char::is_control) {
        return Err(SipError::protocol(format!("{text:?} is no SIP URI")));
    }
    NameAddr::from_str(text).map(|n| n.uri).map_err(|_| SipError::protocol(format!("{text:?} is no SIP URI")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_of_a_number_and_a_domain() {
        let account = Account::new("sip:6505550000@example.com", "6505550000@example.com", "s").unwrap();
        assert_eq!((account.number.as_str(), account.domain()), ("6505550000", "example.com"));
        assert_eq!(account.neighbour("1"), "sip:1@example.com");
        assert!(!format!("{account:?}").contains("password"));
        for wrong in ["", "6505550000", "sip:example.com", "sip:a b@c", "sip:a@c\r\nX: y", "tel:1", "sip:\u{1b}@c"] {
            assert!(Account::new(wrong, "a", "b").is_err(), "{wrong:?}");
        }
        assert!(Account::new("sip:1@c", "a\r\nb", "b").is_err());
    }

    #[test]
    fn transports_are_read_as_they_are_written() {
        for transport in Transport::ALL {
            assert_eq!(transport.to_string().to_uppercase().parse(), Ok(transport));
        }
        assert!("tls".parse::<Transport>().is_err());
    }
}
