use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::Args;
use clearwater::component::nearest;
use clearwater::config::schema;
use serde_json::Value;

use crate::context::Context;
use crate::error::CliError;
use crate::exit;

/// Say what a key of the deployment file is, what it takes and what it is without you
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater config explain     every key, as a tree
  kubectl clearwater config explain bono.exposure
  kubectl clearwater config explain components.sprout.replicas")]
pub(crate) struct Explain {
    /// The key, as --set takes it. Without one, all of them are shown
    #[arg(value_name = "KEY")]
    key: Option<String>,
}

/// How deep keys are shown: none of the format's lies deeper.
const DEEPEST: usize = 12;
/// What stands in a path for a name that is chosen by whoever writes the file.
const ANY: &str = "NAME";

impl Explain {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let root = Node::of(schema());
        let text = match self.key.as_deref().filter(|key| !key.is_empty()) {
            None => tree(&root, 0),
            Some(key) => page(key, &find(&root, key)?),
        };
        context.results().text(&text)?;
        Ok(exit::OK)
    }
}

/// Every key, with the first sentence of what it is.
pub(crate) fn keys() -> Vec<(String, String)> {
    fn below(node: &Node, path: &str, keys: &mut Vec<(String, String)>) {
        for (name, child) in node.children() {
            // Which name it is, is up to whoever writes it.
            if name == ANY || path.split('.').count() > DEEPEST {
                continue;
            }
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            keys.push((path.clone(), child.about()));
            below(&child, &path, keys);
        }
    }
    let mut keys = Vec::new();
    below(&Node::of(schema()), "", &mut keys);
    keys
}

/// A part of the schema: what was said where it is used, and what it is.
#[derive(Clone, Debug)]
struct Node {
    /// From the place of use inwards, each more general than the one before.
    layers: Vec<&'static Value>,
}

impl Node {
    fn of(value: &'static Value) -> Self {
        let mut layers = vec![value];
        for _ in 0..DEEPEST {
            let last = layers[layers.len() - 1];
            let is_null = |v: &&Value| v["type"] != "null";
            let next = match last["$ref"].as_str() {
                Some(place) => schema().pointer(place.trim_start_matches('#')),
                None => ["anyOf", "allOf"].iter().find_map(|of| last[*of].as_array()?.iter().find(is_null)),
            };
            let Some(next) = next else { break };
            layers.push(next);
        }
        Self { layers }
    }

    fn get(&self, key: &str) -> Option<&'static Value> {
        self.layers.iter().find_map(|layer| layer.get(key))
    }

    fn about(&self) -> String {
        self.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The kinds that it may be, but for null.
    fn kinds(&self) -> Vec<&'static str> {
        match self.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).filter(|k| *k != "null").collect(),
            _ => Vec::new(),
        }
    }

    fn items(&self) -> Option<Self> {
        self.get("items").map(Self::of)
    }

    fn others(&self) -> Option<Self> {
        self.get("additionalProperties").filter(|v| v.is_object()).map(Self::of)
    }

    /// The values that it may be, each with what it means.
    fn values(&self) -> Vec<(String, String)> {
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let said = |value: &Value| value["description"].as_str().unwrap_or_default().to_owned();
        if let Some(Value::Array(values)) = self.get("enum") {
            return values.iter().filter(|v| !v.is_null()).map(|v| (shown(v), String::new())).collect();
        }
        let Some(Value::Array(choices)) = self.get("oneOf") else { return Vec::new() };
        choices
            .iter()
            .flat_map(|choice| match (&choice["const"], &choice["enum"]) {
                (Value::Null, Value::Array(values)) => values.iter().map(|v| (shown(v), said(choice))).collect(),
                (Value::Null, _) => Vec::new(),
                (value, _) => vec![(shown(value), said(choice))],
            })
            .collect()
    }

    /// The mapping that may stand in the place of one of the values.
    fn mapping(&self) -> Option<Self> {
        let choices = self.get("oneOf")?.as_array()?;
        let mapping = choices.iter().find(|choice| choice.get("const").is_none() && choice.get("enum").is_none());
        mapping.map(Self::of)
    }

    /// What may stand there, in a few words.
    fn kind(&self) -> String {
        if let Some(mapping) = self.mapping() {
            return format!("one of the values, or {}", mapping.kind());
        }
        if let Some(items) = self.items() {
            return format!("list of {}", items.kind());
        }
        if self.get("properties").is_some() {
            return "keys".to_owned();
        }
        if let Some(others) = self.others() {
            return format!("map to {}", others.kind());
        }
        let of = |kind: &str| match kind {
            "string" => "text",
            "integer" => "whole number",
            "boolean" => "true or false",
            "object" => "map",
            _ => "number",
        };
        let kinds: BTreeSet<&str> = self.kinds().into_iter().map(of).collect();
        match (kinds.is_empty(), self.values().is_empty()) {
            (true, true) => "anything".to_owned(),
            (true, false) => "one of the values".to_owned(),
            (false, _) => kinds.into_iter().collect::<Vec<_>>().join(" or "),
        }
    }

    /// The keys below it; in a list those of its members, in a map those of its values below [`ANY`].
    fn children(&self) -> Vec<(String, Self)> {
        if let Some(items) = self.items() {
            return items.children();
        }
        if let Some(mapping) = self.mapping() {
            return mapping.children();
        }
        if let Some(Value::Object(properties)) = self.get("properties") {
            return properties.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect();
        }
        match self.others() {
            Some(others) if !others.children().is_empty() => vec![(ANY.to_owned(), others)],
            _ => Vec::new(),
        }
    }

    /// What is below it by this name.
    fn child(&self, name: &str) -> Option<Self> {
        if let Some(items) = self.items() {
            return items.child(name);
        }
        if let Some(mapping) = self.mapping() {
            return mapping.child(name);
        }
        if let Some(Value::Object(properties)) = self.get("properties") {
            return properties.get(name).map(Self::of);
        }
        let names = self.names();
        self.others().filter(|_| names.is_empty() || names.iter().any(|n| n == name) || name == ANY)
    }

    /// The names that a map may have, where not every one will do.
    fn names(&self) -> Vec<String> {
        let names = self.get("propertyNames").map(Self::of);
        names.map(|names| names.values().into_iter().map(|(name, _)| name).collect()).unwrap_or_default()
    }
}

/// What a key means: places in lists, as in `bono.addresses[0]`, are those of every member.
fn find(root: &Node, key: &str) -> Result<Node, CliError> {
    let mut node = root.clone();
    let mut before: Vec<&str> = Vec::new();
    for name in key.split('.') {
        let bare = name.split('[').next().unwrap_or_default();
        let Some(child) = node.child(bare) else { return Err(unknown(&node, &before.join("."), bare)) };
        node = child;
        if name.len() > bare.len()
            && let Some(items) = node.items()
        {
            node = items;
        }
        before.push(bare);
    }
    Ok(node)
}

fn unknown(node: &Node, path: &str, name: &str) -> CliError {
    let known: Vec<String> = match node.names() {
        names if names.is_empty() => node.children().into_iter().map(|(name, _)| name).collect(),
        names => names,
    };
    let place = if path.is_empty() { "the deployment file".to_owned() } else { path.to_owned() };
    let near = nearest(name, known.iter().map(String::as_str));
    CliError::Usage(match near {
        Some(near) => {
            let near = if path.is_empty() { near.to_owned() } else { format!("{path}.{near}") };
            format!("{place} has no key {name:?}: did you mean {near}?")
        }
        None if known.is_empty() => format!("{place} has no keys below it, so none that is called {name:?}"),
        None => format!("{place} has no key {name:?}; known: {}", known.join(", ")),
    })
}

fn page(key: &str, node: &Node) -> String {
    let mut text = format!("{key}\n");
    for paragraph in node.about().split("\n\n").filter(|p| !p.is_empty()) {
        let _ = writeln!(text, "  {paragraph}");
    }
    text.push('\n');
    let _ = writeln!(text, "type:     {}", node.kind());
    match node.get("default") {
        Some(Value::String(value)) => drop(writeln!(text, "default:  {value}")),
        Some(value) if !value.is_null() => drop(writeln!(text, "default:  {value}")),
        _ => {}
    }
    match (node.get("minimum"), node.get("maximum")) {
        (Some(least), Some(most)) => drop(writeln!(text, "range:    {least} to {most}")),
        (Some(least), None) => drop(writeln!(text, "range:    {least} or more")),
        _ => {}
    }
    let names = node.names();
    if !names.is_empty() {
        let _ = writeln!(text, "names:    {}", names.join(", "));
    }
    let values = node.items().unwrap_or_else(|| node.clone()).values();
    table(&mut text, "values:", values);
    let children = node.children().into_iter().map(|(name, child)| (name, child.about())).collect();
    table(&mut text, "keys:", children);
    text
}

fn table(text: &mut String, head: &str, rows: Vec<(String, String)>) {
    if rows.is_empty() {
        return;
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let _ = writeln!(text, "{head}");
    for (name, about) in rows {
        let line = format!("  {name:<width$}  {}", about.lines().next().unwrap_or_default());
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn tree(node: &Node, depth: usize) -> String {
    let mut text = String::new();
    for (name, child) in node.children() {
        let indent = "  ".repeat(depth);
        let values: Vec<String> = child.values().into_iter().map(|(value, _)| value).collect();
        let kind = match (values.is_empty(), child.mapping()) {
            (true, _) => child.kind(),
            (false, None) => values.join(", "),
            (false, Some(mapping)) => format!("{}, or {}", values.join(", "), mapping.kind()),
        };
        let _ = writeln!(text, "{:<36} {kind}", format!("{indent}{name}"));
        if depth < DEEPEST {
            text.push_str(&tree(&child, depth + 1));
        }
    }
    text
}
