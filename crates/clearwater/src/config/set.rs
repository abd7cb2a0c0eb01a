use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::problem::{KeyPath, Step};
use crate::yaml;

/// A value that is put over a deployment file: `bono.exposure=nodePort`.
///
/// The key is the way to the value, joined by dots; a dot inside a key is written `\.`, an element of a list `[0]`.
/// The value is YAML, where a scalar needs no quotes: `images.tag=1.10` is the text 1.10. An empty value takes the key
/// away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    path: KeyPath,
    value: String,
    text: String,
    by: Option<String>,
}

/// A text that does not say which key is to be set to what.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{why}; write KEY=VALUE, as in bono.exposure=nodePort or bono.addresses[0]=192.0.2.10")]
pub struct InvalidSet {
    why: String,
}

impl Set {
    /// The way to the value.
    pub fn path(&self) -> &KeyPath {
        &self.path
    }

    /// The value, as YAML.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The same, given by an option of the embedding program: problems with the value name it before the text.
    #[must_use]
    pub fn given_by(self, option: impl Into<String>) -> Self {
        Self { by: Some(option.into()), ..self }
    }

    /// How it was given, without the value where that may be a password.
    pub fn shown(&self) -> String {
        let secret = |step: &Step| matches!(step, Step::Key(key) if key.to_lowercase().contains("password"));
        let by = self.by.as_ref().map_or_else(String::new, |by| format!("{by} "));
        if self.path.steps().iter().any(secret) {
            return format!("{by}{}=…", self.path);
        }
        format!("{by}{}", self.text)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Set {
    type Err = InvalidSet;

    fn from_str(text: &str) -> Result<Self, InvalidSet> {
        let fail = |why: &str| InvalidSet { why: why.to_owned() };
        let mut path = KeyPath::default();
        let mut key = String::new();
        let mut wants_key = true;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, c)) => key.push(c),
                    None => return Err(fail("it ends with a backslash")),
                },
                '.' | '[' | '=' => {
                    if !key.is_empty() {
                        path.push(Step::Key(std::mem::take(&mut key)));
                        wants_key = false;
                    }
                    if wants_key {
                        return Err(fail(if at == 0 { "the key is missing" } else { "the key has an empty part" }));
                    }
                    if path.steps().len() > yaml::MAX_DEPTH {
                        return Err(fail("the key has too many parts"));
                    }
                    if c == '=' {
                        return Ok(Self { path, value: text[at + 1..].to_owned(), text: text.to_owned(), by: None });
                    }
                    wants_key = c == '.';
                    if c == '[' {
                        let digits: String =
                            std::iter::from_fn(|| chars.next_if(|(_, c)| c.is_ascii_digit())).map(|(_, c)| c).collect();
                        let index = digits.parse().map_err(|_| fail("[ must be followed by a number and ]"))?;
                        if chars.next().is_none_or(|(_, c)| c != ']') {
                            return Err(fail("[ must be followed by a number and ]"));
                        }
                        path.push(Step::Index(index));
                    }
                }
                c if !wants_key && !matches!(path.steps().last(), Some(Step::Key(_)) | None) && key.is_empty() => {
                    return Err(fail(&format!("{c:?} stands where a dot or = is wanted")));
                }
                c => key.push(c),
            }
        }
        Err(fail(if text.is_empty() { "it is empty" } else { "there is no =" }))
    }
}
