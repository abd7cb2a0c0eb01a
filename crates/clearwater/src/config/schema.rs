use std::sync::LazyLock;

#[cfg(feature = "schema")]
use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::Value;
#[cfg(feature = "schema")]
use serde_json::json;

#[cfg(feature = "schema")]
use super::DeploymentFile;

/// Where the schema is published.
#[cfg(feature = "schema")]
const ID: &str =
    "https://github.com/kubectl-clearwater/kubectl-clearwater/raw/main/crates/clearwater/schema/clearwater.v1.json";

#[cfg(feature = "schema")]
static SCHEMA: LazyLock<Value> = LazyLock::new(generate);
/// As it was generated: a test holds it against the types.
#[cfg(not(feature = "schema"))]
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../schema/clearwater.v1.json")).expect("it is what the generator wrote")
});

/// The JSON Schema (draft 2020-12) of the deployment file, generated from [`DeploymentFile`](super::DeploymentFile).
///
/// What a single value may be is said here and nowhere else: the reader checks files against this same schema.
pub fn schema() -> &'static Value {
    &SCHEMA
}

#[cfg(feature = "schema")]
fn generate() -> Value {
    let schema = SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(prose))
        .with_transform(RecursiveTransform(nullable))
        .into_generator()
        .into_root_schema_for::<DeploymentFile>();
    let mut schema = schema.to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), json!(ID));
        root.insert("title".to_owned(), json!("clearwater.yaml"));
    }
    schema
}

#[cfg(feature = "schema")]
/// Takes the source's line breaks out of descriptions.
fn prose(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let paragraphs: Vec<_> = text.split("\n\n").map(|p| p.replace('\n', " ")).collect();
        *text = paragraphs.join("\n\n");
    }
}

#[cfg(feature = "schema")]
/// Allows null for every key that may be left out: a key whose value is commented out says nothing.
fn nullable(schema: &mut Schema) {
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (name, property) in properties {
        let Some(property) = property.as_object_mut().filter(|_| !required.contains(&json!(name))) else { continue };
        if let Some(Value::String(kind)) = property.get("type") {
            property.insert("type".to_owned(), json!([kind, "null"]));
        } else if let Some(Value::Array(kinds)) = property.get_mut("type") {
            if !kinds.contains(&json!("null")) {
                kinds.push(json!("null"));
            }
        } else if let Some(target) = property.remove("$ref") {
            property.insert("anyOf".to_owned(), json!([{ "$ref": target }, { "type": "null" }]));
        }
    }
}
