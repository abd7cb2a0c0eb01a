use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Name;
use crate::names::named;

/// The types of records that Clearwater and its clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordType {
    /// An IPv4 address (RFC 1035).
    A,
    /// An IPv6 address (RFC 3596).
    Aaaa,
    /// Another name for this one (RFC 1035).
    Cname,
    /// Host and port of a service (RFC 2782).
    Srv,
    /// What a domain offers and where to go on asking (RFC 3403).
    Naptr,
}

named! {
    /// The mnemonic.
    RecordType {
        A = "A",
        Aaaa = "AAAA",
        Cname = "CNAME",
        Srv = "SRV",
        Naptr = "NAPTR",
    }
}

/// What a record says. Its text is the form that zone files have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The canonical name.
    Cname(Name),
    /// Host and port of a service.
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// The share among equals.
        weight: u16,
        /// The port.
        port: u16,
        /// The host.
        target: Name,
    },
    /// What a domain offers and where to go on asking.
    Naptr {
        /// Lower is looked at first.
        order: u16,
        /// Lower is preferred among equals.
        preference: u16,
        /// `s`: ask for SRV next; `a`: for addresses.
        flags: String,
        /// The service, such as `SIP+D2T` (RFC 3263 §4.1).
        service: String,
        /// A rewriting rule; empty where there is a replacement.
        regexp: String,
        /// The name to ask for next.
        replacement: Name,
    },
}

impl RecordData {
    /// The type of record that it makes.
    pub const fn record_type(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::Aaaa,
            Self::Cname(_) => RecordType::Cname,
            Self::Srv { .. } => RecordType::Srv,
            Self::Naptr { .. } => RecordType::Naptr,
        }
    }

    /// The address, where it is one.
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::A(ip) => Some(IpAddr::V4(*ip)),
            Self::Aaaa(ip) => Some(IpAddr::V6(*ip)),
            _ => None,
        }
    }

    /// Reads the form that zone files have.
    ///
    /// # Errors
    /// What is no data of that type.
    pub fn parse(record_type: RecordType, text: &str) -> Result<Self, InvalidData> {
        let fail = |why: String| InvalidData { record_type, text: text.trim().to_owned(), why };
        let words = words(text).map_err(&fail)?;
        let mut rest = words.iter();
        let mut next = |what: &str| rest.next().ok_or_else(|| fail(format!("{what} is missing")));
        let data = match record_type {
            RecordType::A => Self::A(read(next("the address")?).map_err(&fail)?),
            RecordType::Aaaa => Self::Aaaa(read(next("the address")?).map_err(&fail)?),
            RecordType::Cname => Self::Cname(read(next("the name")?).map_err(&fail)?),
            RecordType::Srv => Self::Srv {
                priority: read(next("the priority")?).map_err(&fail)?,
                weight: read(next("the weight")?).map_err(&fail)?,
                port: read(next("the port")?).map_err(&fail)?,
                target: read(next("the target")?).map_err(&fail)?,
            },
            RecordType::Naptr => Self::Naptr {
                order: read(next("the order")?).map_err(&fail)?,
                preference: read(next("the preference")?).map_err(&fail)?,
                flags: next("the flags")?.clone(),
                service: next("the service")?.clone(),
                regexp: next("the regular expression")?.clone(),
                replacement: read(next("the replacement")?).map_err(&fail)?,
            },
        };
        match rest.next() {
            None => Ok(data),
            Some(word) => Err(fail(format!("{word:?} is one word too many"))),
        }
    }
}

impl From<IpAddr> for RecordData {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::A(ip),
            IpAddr::V6(ip) => Self::Aaaa(ip),
        }
    }
}

impl fmt::Display for RecordData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(ip) => write!(f, "{ip}"),
            Self::Aaaa(ip) => write!(f, "{ip}"),
            Self::Cname(name) => write!(f, "{name}."),
            Self::Srv { priority, weight, port, target } => write!(f, "{priority} {weight} {port} {target}."),
            Self::Naptr { order, preference, flags, service, regexp, replacement } => {
                write!(f, "{order} {preference} ")?;
                for text in [flags, service, regexp] {
                    character_string(f, text)?;
                }
                write!(f, "{replacement}.")
            }
        }
    }
}

fn character_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
            b' '..=b'~' => write!(f, "{}", char::from(byte))?,
            _ => write!(f, "\\{byte:03}")?,
        }
    }
    f.write_str("\" ")
}

/// A text that is not what the record type takes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not the data of a record of type {record_type}: {why}")]
pub struct InvalidData {
    /// The type.
    pub record_type: RecordType,
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

fn read<T: FromStr<Err: fmt::Display>>(word: &str) -> Result<T, String> {
    word.parse().map_err(|e| format!("{word:?}: {e}"))
}

/// The words of a zone file's line, quotes and escapes undone (RFC 1035 §5.1).
pub(super) fn words(line: &str) -> Result<Vec<String>, String> {
    let bytes = line.as_bytes();
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quoted = false;
    let mut i = 0;
    let end = |word: Vec<u8>| String::from_utf8(word).map_err(|_| "a word is not UTF-8".to_owned());
    while let Some(&b) = bytes.get(i) {
        i += 1;
        match b {
            b'\\' => {
                let escaped = bytes.get(i..).unwrap_or_default();
                let byte = match escaped {
                    [a @ b'0'..=b'2', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
                        i += 3;
                        let value = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
                        u8::try_from(value).map_err(|_| format!("the escape \\{value} is above 255"))?
                    }
                    [b'0'..=b'9', ..] => return Err("a decimal escape has three digits, at most 255".to_owned()),
                    [other, ..] => {
                        i += 1;
                        *other
                    }
                    [] => return Err("the line ends in a backslash".to_owned()),
                };
                word.get_or_insert_default().push(byte);
            }
            b'"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            b' ' | b'\t' if !quoted => words.extend(word.take().map(end).transpose()?),
            b';' if !quoted => break,
            b'(' | b')' if !quoted => return Err("records over several lines are not read".to_owned()),
            b => word.get_or_insert_default().push(b),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word.map(end).transpose()?);
    Ok(words)
}
