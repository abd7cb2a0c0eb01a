//! A file that was built in code, or read without its schema, beside that schema.

use serde_json::Value;

use super::super::DeploymentFile;
use super::super::problem::{KeyPath, Location, Problem, ProblemKind};
use super::super::schema::schema;
use super::{Content, FileReader, Item, WrittenKey};
use crate::yaml::Position;

impl Item {
    /// A value that was not written anywhere.
    fn of_json(value: &Value) -> Self {
        let place = Location::File { name: String::new(), position: Position { line: 1, column: 1 } };
        let what = match value {
            Value::Null => Content::Null,
            Value::Bool(b) => Content::Bool(*b),
            Value::Number(n) => n.as_i64().map_or(Content::Float, |n| Content::Integer(n.into())),
            Value::String(s) => Content::Text(s.clone()),
            Value::Array(all) => Content::List(all.iter().map(Self::of_json).collect()),
            Value::Object(all) => {
                let key = |(key, value): (&String, &Value)| WrittenKey {
                    key: key.clone(),
                    place: place.clone(),
                    value: Self::of_json(value),
                };
                Content::Map(all.iter().map(key).collect())
            }
        };
        let written = matches!(value, Value::Bool(_) | Value::Number(_)).then(|| value.to_string());
        Self { what, place, written }
    }
}

/// What is wrong with the single values of a file that may have been built in code or read without its schema.
pub(in super::super) fn values(file: &DeploymentFile) -> Vec<Problem> {
    let written = match serde_json::to_value(file) {
        Ok(written) => written,
        Err(e) => {
            let (kind, key) = (ProblemKind::WrongValue, KeyPath::default());
            return vec![Problem { kind, place: None, key, message: e.to_string() }];
        }
    };
    let mut reader = FileReader::default();
    reader.value(schema(), &Item::of_json(&written), &KeyPath::default());
    let placed = |p: Problem| Problem { place: file.places.of(&p.key).cloned(), ..p };
    reader.problems.into_iter().map(placed).collect()
}
