//! Reading and writing YAML as kubectl understands it. The only place that names the YAML crate.
//!
//! kubectl reads YAML 1.1 scalars (`yes` is a boolean, `0644` is 420), so that is how text is read here; and what is
//! written here means the same to kubectl as it does to this crate.

mod plain;

use std::fmt;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Options, Spanned};
use thiserror::Error;

use plain::Plain;

/// The largest text that is read, in bytes. The API server takes no larger request.
pub(crate) const MAX_BYTES: usize = 3 * 1024 * 1024;
/// How deep mappings and lists may be nested.
pub(crate) const MAX_DEPTH: usize = 64;
/// The same for a text that is read with places: no deployment file is half as deep, and each level takes some 30 kB of
/// stack in a debug build, where threads have 2 MB.
const MAX_TREE_DEPTH: usize = 24;
/// How many values one text may hold, those repeated by aliases included.
pub(crate) const MAX_NODES: usize = 200_000;

/// How many values aliases may come to: a few of them in one kilobyte come to millions.
const MAX_REPEATED: usize = 20_000;

/// A text that is not YAML, is not YAML of the wanted shape, or is larger than the limits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{message}", .place.map_or_else(String::new, |p| format!("line {}, column {}: ", p.line, p.column)))]
pub struct YamlError {
    /// What is wrong.
    pub message: String,
    /// Where, if that is known.
    pub place: Option<Position>,
}

/// A position in a text. Both figures count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl YamlError {
    fn limit(message: String) -> Self {
        Self { message, place: None }
    }
}

impl From<serde_saphyr::Error> for YamlError {
    fn from(e: serde_saphyr::Error) -> Self {
        use serde_saphyr::Error;
        let place = e.location().and_then(position);
        let message = match e.without_snippet() {
            Error::MultipleDocuments { .. } => {
                "a second document begins here; one is wanted: remove the `---`".to_owned()
            }
            Error::UnknownAnchor { .. } => {
                "this alias names no anchor: write `&NAME` before the value meant".to_owned()
            }
            other => {
                let said = without_place(&other.render_with_formatter(&serde_saphyr::UserMessageFormatter));
                // Inside of an alias each of several errors comes as its words.
                if said.starts_with(TOO_LARGE) { limits() } else { said }
            }
        };
        Self { message, place }
    }
}

/// How the YAML crate's words begin where one of the limits is passed.
const TOO_LARGE: &str = "YAML document too large or too complex";

fn limits() -> String {
    format!(
        "it is larger than what is read: {MAX_TREE_DEPTH} levels, {MAX_NODES} values and {MAX_BYTES} bytes are allowed, and \
         {MAX_REPEATED} values by aliases"
    )
}

/// Takes off the position that the YAML crate ends its messages with: it is told apart here.
fn without_place(message: &str) -> String {
    let first = message.lines().next().unwrap_or(message);
    first.find(" at line ").map_or(first, |at| &first[..at]).to_owned()
}

fn position(location: serde_saphyr::Location) -> Option<Position> {
    let line = u32::try_from(location.line()).ok().filter(|l| *l > 0)?;
    Some(Position { line, column: u32::try_from(location.column()).unwrap_or(u32::MAX) })
}

fn options(max_depth: usize) -> Options {
    serde_saphyr::options! {
        emit_comments: false,
        legacy_octal_numbers: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: max_depth,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_total_scalar_bytes: MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPEATED,
        },
    }
}

fn within_size(text: &str) -> Result<(), YamlError> {
    if text.len() > MAX_BYTES {
        return Err(YamlError::limit(format!("it has {} bytes, {MAX_BYTES} are allowed", text.len())));
    }
    Ok(())
}

/// Reads a text of one document.
///
/// # Errors
/// What is not YAML of that shape, or larger than the limits.
pub fn read_one<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    within_size(text)?;
    Ok(serde_saphyr::from_str_with_options(text, options(MAX_DEPTH))?)
}

/// Whether a text of any number of documents can be handed on to another reader: a few anchors and aliases may come to millions
/// of values.
///
/// # Errors
/// What is not YAML, or comes to more.
pub fn within_limits(text: &str) -> Result<(), YamlError> {
    let mut options = options(MAX_DEPTH);
    options.budget = Some(serde_saphyr::Budget::default());
    serde_saphyr::from_multiple_with_options::<serde::de::IgnoredAny>(text, options)?;
    Ok(())
}

/// Writes one document, with a newline at its end and without a document marker.
///
/// # Errors
/// A text that YAML cannot hold.
pub fn write_one<T: Serialize + ?Sized>(value: &T) -> Result<String, YamlError> {
    let failed = |e: &dyn fmt::Display| YamlError { message: format!("cannot be written: {e}"), place: None };
    // JSON says it first: the YAML crate's writer is compiled once, and not for every type that is ever written.
    let json = serde_json::to_string(value).map_err(|e| failed(&e))?;
    let plain: Plain = serde_json::from_str(&json).map_err(|e| failed(&e))?;
    written(&plain).map_err(|e| failed(&e))
}

fn written(value: &Plain) -> Result<String, serde_saphyr::SerializeError> {
    // kubectl refuses a block scalar whose first line begins with a tab, so texts with such a string are written with
    // quotes in the place of block scalars.
    let options = serde_saphyr::ser_options! {
        folded_wrap_chars: usize::MAX,
        prefer_block_scalars: !value.has_string(&|s| s.contains('\n') && s.trim_start_matches('\n').starts_with('\t')),
    };
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, value, options)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Writes documents one after the other, each after a `---` line but the first.
///
/// # Errors
/// A text that YAML cannot hold.
pub fn write_many<T: Serialize>(values: &[T]) -> Result<String, YamlError> {
    let documents = values.iter().map(write_one).collect::<Result<Vec<_>, _>>()?;
    Ok(documents.join("---\n"))
}

/// A value and where it stands in the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) at: Option<Position>,
    /// The value's bytes in the text: for a scalar, as it was written.
    bytes: Option<(usize, usize)>,
}

/// What a value is, by the rules of YAML 1.1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// The entries in the order of the text, repeated keys included.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The scalar as it was written, where it is one and stands on one line.
    pub(crate) fn written<'a>(&self, text: &'a str) -> Option<&'a str> {
        let (start, len) = self.bytes?;
        text.get(start..start.checked_add(len)?).filter(|s| !s.is_empty() && !s.contains('\n'))
    }
}

/// Reads a text of one document as values with their places, repeated keys included.
pub(crate) fn read_tree(text: &str) -> Result<Node, YamlError> {
    within_size(text)?;
    let mut options = options(MAX_TREE_DEPTH);
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    let tree: Spanned<Tree> = serde_saphyr::from_str_with_options(text, options)?;
    Ok(node(tree))
}

struct Tree(Kind);

fn node(spanned: Spanned<Tree>) -> Node {
    let span = spanned.defined.span();
    let byte = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok());
    Node {
        kind: spanned.value.0,
        at: position(spanned.referenced),
        bytes: byte(span.byte_offset()).zip(byte(span.byte_len())),
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree(Kind::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree(Kind::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Tree, E> {
        Ok(Tree(Kind::Bool(v)))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Tree, E> {
        Ok(Tree(Kind::Integer(v.into())))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Tree, E> {
        Ok(Tree(Kind::Integer(v.into())))
    }

    fn visit_i128<E>(self, v: i128) -> Result<Tree, E> {
        Ok(Tree(Kind::Integer(v)))
    }

    fn visit_u128<E>(self, v: u128) -> Result<Tree, E> {
        Ok(Tree(i128::try_from(v).map_or(Kind::Float(f64::INFINITY), Kind::Integer)))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Tree, E> {
        Ok(Tree(Kind::Float(v)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Tree, E> {
        Ok(Tree(Kind::Text(v.to_owned())))
    }

    fn visit_string<E>(self, v: String) -> Result<Tree, E> {
        Ok(Tree(Kind::Text(v)))
    }

    fn visit_bytes<E>(self, v: &[u8]) -> Result<Tree, E> {
        Ok(Tree(Kind::Text(String::from_utf8_lossy(v).into_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Tree>>()? {
            items.push(node(item));
        }
        Ok(Tree(Kind::List(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<Tree>>()? {
            entries.push((node(key), node(map.next_value()?)));
        }
        Ok(Tree(Kind::Map(entries)))
    }
}
