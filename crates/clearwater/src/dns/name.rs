use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

/// An absolute DNS name in lower case, kept without its trailing dot (RFC 1035 §2.3.1; labels may begin with `_`, as
/// SRV owner names do, RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

/// A text that is not a DNS name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name:?} is not a DNS name: {why}")]
pub struct InvalidName {
    /// The text as it was given.
    pub name: String,
    /// What is wrong with it.
    pub why: String,
}

impl Name {
    /// The name without its trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels, leftmost first.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// The name with a label (or several, joined by dots) put before it.
    pub(crate) fn prepend(&self, labels: &str) -> Result<Self, InvalidName> {
        format!("{labels}.{self}").parse()
    }

    /// The name without its leftmost label, or `None` for a name of one label.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_once('.').map(|(_, rest)| Self(rest.to_owned()))
    }

    /// Whether the name lies below `other` or is `other`.
    pub fn is_within(&self, other: &Self) -> bool {
        self == other || self.0.strip_suffix(&other.0).is_some_and(|head| head.ends_with('.'))
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(s: &str) -> Result<Self, InvalidName> {
        let text = s.strip_suffix('.').unwrap_or(s).to_ascii_lowercase();
        let fail = |why: String| Err(InvalidName { name: s.to_owned(), why });
        if text.len() > 253 {
            return fail(format!("it has {} characters, 253 are allowed", text.len()));
        }
        for label in text.split('.') {
            let body = label.strip_prefix('_').unwrap_or(label);
            if body.is_empty() {
                return fail("it has an empty label".to_owned());
            }
            if label.len() > 63 {
                return fail(format!("the label {label:?} has {} characters, 63 are allowed", label.len()));
            }
            if let Some(c) = body.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
                return fail(format!(
                    "the label {label:?} has the character {c:?}; letters, digits and hyphens are allowed"
                ));
            }
            if body.starts_with('-') || body.ends_with('-') {
                return fail(format!("the label {label:?} begins or ends with a hyphen"));
            }
        }
        Ok(Self(text))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    /// The canonical order of DNS names: by label from the right (RFC 4034 §6.1), so that a zone's parents precede
    /// their children.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.labels().rev().cmp(other.labels().rev())
    }
}
