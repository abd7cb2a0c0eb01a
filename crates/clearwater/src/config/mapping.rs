//! Values of the deployment file that take more than one type, and mappings whose keys are not known beforehand: what
//! they may hold, and how they are read.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[cfg(feature = "schema")]
use crate::component::Component;

/// A mapping whose keys are components.
#[cfg(feature = "schema")]
pub(super) fn by_component<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let value = generator.subschema_for::<T>();
    let key = generator.subschema_for::<Component>();
    json_schema!({ "type": "object", "propertyNames": key, "additionalProperties": value })
}

/// A mapping whose values are text, where numbers and truth values are taken as they are written.
#[cfg(feature = "schema")]
pub(super) fn scalars(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } })
}

/// A mapping of resource names to quantities, which may be written as numbers.
#[cfg(feature = "schema")]
pub(super) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "type": ["string", "number"] } })
}

const AUTO: &str = "auto";

/// A truth value, or `auto`.
#[cfg(feature = "schema")]
pub(super) fn persistent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "oneOf": [
            { "const": AUTO, "type": "string",
              "description": "A volume where the cluster has a default StorageClass, or one is named; offline: none. What \
                              stands already is left as it is." },
            { "type": "boolean" },
        ]
    })
}

/// Reads a truth value, or `auto`, which is none.
pub(super) fn truth_or_auto<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Bool(value) => Ok(Some(value)),
        Value::String(s) if s == AUTO => Ok(None),
        other => Err(serde::de::Error::custom(format_args!("wants auto, true or false, found {other}"))),
    }
}

/// Reads a mapping whose values are text, numbers or truth values as text.
pub(super) fn text_of_scalars<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let text = |value: Value| match value {
        Value::String(s) => Ok(s),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        other => Err(serde::de::Error::custom(format_args!("wants a text, found {other}"))),
    };
    values.into_iter().map(|(key, value)| Ok((key, text(value)?))).collect()
}
