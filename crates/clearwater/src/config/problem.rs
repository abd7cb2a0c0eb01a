use std::collections::BTreeMap;
use std::fmt;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::Serialize;

use crate::yaml::Position;

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A key of a mapping.
    Key(String),
    /// An element of a list, counted from 0.
    Index(usize),
}

/// The way from the root of a deployment file to one of its values: `components.bono.tolerations[0].key`.
///
/// A key that has other characters than letters, digits, `-` and `_` is shown in brackets:
/// `labels["example.com/team"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Vec<Step>);

impl KeyPath {
    /// The path of these keys.
    pub fn of<S: AsRef<str>>(keys: &[S]) -> Self {
        Self(keys.iter().map(|k| Step::Key(k.as_ref().to_owned())).collect())
    }

    /// The path with a key added.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    /// The path with an element added.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    pub(crate) fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// The steps, the root's first.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, rest)| Self(rest.to_vec()))
    }

    /// Whether one of the two paths lies below the other, or both are the same.
    pub(crate) fn touches(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(k) if !k.is_empty() && k.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_') => {
                    write!(f, "{}{k}", if n == 0 { "" } else { "." })?;
                }
                Step::Key(k) => write!(f, "[{k:?}]")?,
                Step::Index(i) => write!(f, "[{i}]")?,
            }
        }
        Ok(())
    }
}

impl Serialize for KeyPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(rename = "Place"))]
#[non_exhaustive]
pub enum Location {
    /// In a text.
    File {
        /// The name the text was read under.
        name: String,
        /// The line and column.
        #[serde(flatten)]
        position: Position,
    },
    /// Put over the texts; how it was given.
    Flag(String),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, position } => write!(f, "{name}:{}:{}", position.line, position.column),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Where the values of a deployment file were written. Empty for one that was built in code.
///
/// Two deployment files that differ only in where their values were written are equal.
#[derive(Clone, Debug, Default)]
pub struct Places(BTreeMap<KeyPath, Location>);

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Places {
    pub(crate) fn insert(&mut self, path: KeyPath, place: Location) {
        self.0.insert(path, place);
    }

    /// Where the value at `path` was written.
    pub fn at(&self, path: &KeyPath) -> Option<&Location> {
        self.0.get(path)
    }

    /// Where the value at `path` was written, or the nearest one above it that was.
    pub fn of(&self, path: &KeyPath) -> Option<&Location> {
        self.at(path).or_else(|| self.of(&path.parent()?))
    }
}

/// What kind of problem was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// The text is not YAML, or is larger than the limits.
    Syntax,
    /// A key that the format does not know.
    UnknownKey,
    /// A key given more than once.
    Duplicate,
    /// A key that must be given and is not.
    Missing,
    /// A value of the wrong type.
    WrongType,
    /// A value that is not one of those allowed, or does not have the form wanted.
    WrongValue,
    /// Values that are right by themselves and wrong together.
    Combination,
    /// A setting that works and is likely not meant, or needs something of the cluster.
    Warning,
}

/// One thing that is wrong with a deployment file: where, with which key, what was seen and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Problem {
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// Where it was written, where that is known.
    pub place: Option<Location>,
    /// The key.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub key: KeyPath,
    /// What was seen, and what to do next.
    pub message: String,
}

impl Problem {
    pub(super) fn is_error(&self) -> bool {
        self.kind != ProblemKind::Warning
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if !self.key.is_root() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a deployment file, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
}

impl ConfigErrors {
    /// Those problems as an error, or `Ok` where there are none.
    pub(crate) fn unless_empty(mut problems: Vec<Problem>) -> Result<(), Self> {
        sort(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// The problems.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// Puts problems into the order of the text: those of the file first, then those of flags.
pub(crate) fn sort(problems: &mut Vec<Problem>) {
    problems.sort_by(|a, b| (a.place.is_none(), &a.place).cmp(&(b.place.is_none(), &b.place)));
    problems.dedup();
}

impl fmt::Display for ConfigErrors {
    /// One problem a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The text in quotes, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    if text.chars().count() > SHOWN {
        format!("{:?}…", text.chars().take(SHOWN).collect::<String>())
    } else {
        format!("{text:?}")
    }
}
