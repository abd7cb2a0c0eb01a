//! What is said of a value that is not what its schema wants.

use serde_json::Value;

use super::{Content, Item, properties};

pub(super) fn digits(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '_'))
}

/// A schema's description as the end of a sentence.
pub(super) fn clause(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default().trim_end_matches('.');
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

pub(super) fn wanted(schema: &Value, kinds: &[&str]) -> String {
    let wants = match kinds.iter().find(|k| **k != "null") {
        Some(&"string") => "a text".to_owned(),
        Some(&"integer") => "a whole number".to_owned(),
        Some(&"number") => "a number".to_owned(),
        Some(&"boolean") => "true or false".to_owned(),
        Some(&"array") => "a list".to_owned(),
        Some(&"object") => {
            let keys: Vec<&str> = properties(schema).map(|(k, _)| k).collect();
            if keys.is_empty() { "a mapping".to_owned() } else { format!("a mapping of {}", keys.join(", ")) }
        }
        _ => "something else".to_owned(),
    };
    format!("wants {wants}")
}

pub(super) fn fix(kinds: &[&str], item: &Item) -> String {
    let written = item.written.as_deref().unwrap_or_default();
    match &item.what {
        Content::Bool(_) | Content::Integer(_) | Content::Float if kinds.contains(&"string") => {
            format!("; put it in quotes: {written:?}")
        }
        Content::Text(s) if kinds.contains(&"integer") && s.parse::<i64>().is_ok() => {
            format!("; take the quotes off: {s}")
        }
        Content::Text(s) if kinds.contains(&"boolean") && matches!(s.as_str(), "true" | "false" | "yes" | "no") => {
            format!("; take the quotes off: {s}")
        }
        Content::Text(s) if kinds.contains(&"array") => format!("; write it as a list of one: [{s}]"),
        _ => String::new(),
    }
}
