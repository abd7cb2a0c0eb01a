//! docs/deployment-file.md is the JSON Schema of the deployment file, as people read it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use std::fmt::Write;

use clearwater::config::schema;
use serde_json::Value;

const HEAD: &str = "# The deployment file\n\n\
    Every key but `apiVersion` has a default, so the smallest file is one line; `kubectl clearwater init` writes a \
    commented one. `--set KEY=VALUE` sets a key from the command line, and `kubectl clearwater config check` names every \
    problem at once. `kubectl clearwater config explain KEY` says in a terminal what stands here; editors read it from the \
    [JSON Schema](https://github.com/kubectl-clearwater/kubectl-clearwater/blob/main/crates/clearwater/schema/clearwater.v1.json), \
    which this page is made from.\n\n\
    | key | what it takes | what it is for |\n|---|---|---|\n";

/// The schema behind references and behind the null that stands for a key without a value.
fn meant<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = schema["$ref"].as_str() {
        return meant(root, &root["$defs"][name.rsplit('/').next().unwrap()]);
    }
    match schema["anyOf"].as_array() {
        Some(ways) => meant(root, ways.iter().find(|w| w["type"] != "null").unwrap()),
        None => schema,
    }
}

fn kind(root: &Value, schema: &Value) -> String {
    let schema = meant(root, schema);
    if let Some(ways) = schema["oneOf"].as_array() {
        let words = ways.iter().map(|way| match (&way["const"], way["properties"].as_object()) {
            (Value::String(word), _) => format!("`{word}`"),
            _ if way["$ref"].is_string() => "the keys below".to_owned(),
            _ if way["type"] == "boolean" => "`true`, `false`".to_owned(),
            (_, Some(keys)) => {
                format!("`{{{}}}`", keys.keys().map(|k| format!("{k}: …")).collect::<Vec<_>>().join(", "))
            }
            _ => way.to_string(),
        });
        return words.collect::<Vec<_>>().join(", ");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().filter_map(Value::as_str).map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
    }
    let named = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect::<Vec<_>>(),
        Value::String(one) => vec![one.as_str()],
        _ => Vec::new(),
    };
    match named.as_slice() {
        ["string"] if schema["format"] == "ip" => "an address".to_owned(),
        ["string"] => "text".to_owned(),
        ["integer"] => match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
            (Some(low), Some(high)) => format!("{low} to {high}"),
            _ => "a whole number".to_owned(),
        },
        ["boolean"] => "`true`, `false`".to_owned(),
        ["array"] => format!("a list, each {}", kind(root, &schema["items"])),
        ["object"] if schema["properties"].is_object() => "the keys below".to_owned(),
        ["object"] => format!("a map to {}", kind(root, &schema["additionalProperties"])),
        several => several.join(" or "),
    }
}

fn rows(root: &Value, schema: &Value, path: &str, page: &mut String) {
    for (key, property) in meant(root, schema)["properties"].as_object().unwrap() {
        let of = meant(root, property);
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let text = property["description"].as_str().or(of["description"].as_str()).unwrap_or_default();
        let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        if let Some(ways) = of["oneOf"].as_array() {
            for way in ways {
                if let (Some(word), Some(why)) = (way["const"].as_str(), way["description"].as_str()) {
                    let _ = write!(text, "<br>`{word}`: {}", why.split_whitespace().collect::<Vec<_>>().join(" "));
                }
            }
        }
        if let Some(default) = property.get("default").or(of.get("default")).filter(|d| !d.is_null()) {
            let _ =
                write!(text, " Default: `{}`.", default.as_str().map_or_else(|| default.to_string(), str::to_owned));
        }
        writeln!(page, "| `{path}` | {} | {text} |", kind(root, property)).unwrap();
        let other = of["oneOf"].as_array().and_then(|ways| ways.iter().find(|way| way["$ref"].is_string()));
        let inner = [
            (of, path.clone()),
            (other.unwrap_or(&Value::Null), path.clone()),
            (&of["items"], format!("{path}[]")),
            (&of["additionalProperties"], {
                let each = if path.starts_with("components") { "COMPONENT" } else { "NAME" };
                format!("{path}.{each}")
            }),
        ];
        for (schema, path) in inner {
            if meant(root, schema)["properties"].is_object() {
                rows(root, schema, &path, page);
            }
        }
    }
}

#[test]
fn the_committed_reference_is_the_schema() {
    let root = schema();
    let mut page = HEAD.to_owned();
    rows(root, root, "", &mut page);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/deployment-file.md");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|v| v == "always") {
        std::fs::write(path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == page, "{path} has drifted: run the tests with INSTA_UPDATE=always and commit it");
    for key in
        ["`bono.exposure`", "`components.COMPONENT.replicas`", "`components.COMPONENT.tolerations[].key`", "`keys`"]
    {
        assert!(page.contains(key), "{key} is missing");
    }
}
