//! Reads a deployment file and finds everything that is wrong with its single values, by walking it beside the JSON
//! Schema. Derived deserializers stop at the first fault and do not know where a value was written.

mod built;
mod words;

use std::net::IpAddr;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::DeploymentFile;
use super::problem::{ConfigErrors, KeyPath, Location, Places, Problem, ProblemKind, Step, quoted};
use super::schema::schema;
use super::{check, set::Set};
use crate::names::nearest;
use crate::yaml::{self, Kind, Node, Position};

pub(super) use built::values;
use words::{clause, digits, fix, wanted};

/// A value of the file or of a flag, and where it was written.
#[derive(Clone)]
struct Item {
    what: Content,
    place: Location,
    /// A scalar as it was written, where that stands on one line.
    written: Option<String>,
}

#[derive(Clone)]
enum Content {
    Null,
    Bool(bool),
    Integer(i128),
    Float,
    Text(String),
    List(Vec<Item>),
    Map(Vec<WrittenKey>),
}

#[derive(Clone)]
struct WrittenKey {
    key: String,
    place: Location,
    value: Item,
}

impl Item {
    fn of(node: Node, text: &str, place: &dyn Fn(Option<Position>) -> Location) -> Self {
        let at = place(node.at);
        let written = node.written(text).map(str::to_owned);
        let what = match node.kind {
            Kind::Null => Content::Null,
            Kind::Bool(b) => Content::Bool(b),
            Kind::Integer(i) => Content::Integer(i),
            Kind::Float(_) => Content::Float,
            Kind::Text(s) => Content::Text(s),
            Kind::List(items) => Content::List(items.into_iter().map(|n| Self::of(n, text, place)).collect()),
            Kind::Map(entries) => Content::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| WrittenKey {
                        place: place(key.at),
                        key: match (&key.kind, key.written(text)) {
                            (Kind::Text(s), _) => s.clone(),
                            (_, Some(written)) => written.to_owned(),
                            _ => String::new(),
                        },
                        value: Self::of(value, text, place),
                    })
                    .collect(),
            ),
        };
        Self { what, place: at, written }
    }

    /// The value in words, for "found …".
    fn seen(&self) -> String {
        let written = || self.written.clone().unwrap_or_default();
        match &self.what {
            Content::Null => "nothing".to_owned(),
            Content::Bool(_) => format!("the truth value {}", written()),
            Content::Integer(_) | Content::Float => format!("the number {}", written()),
            Content::Text(s) => format!("the text {}", quoted(s)),
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a mapping".to_owned(),
        }
    }
}

impl DeploymentFile {
    /// Reads and checks a deployment file. `name` stands in front of what is wrong: `clearwater.yaml:3:10: …`.
    ///
    /// Content needs the namespace is checked by [`DeploymentFile::deploy`].
    ///
    /// ```
    /// use clearwater::config::DeploymentFile;
    ///
    /// let errors = DeploymentFile::parse("apiVersion: clearwater/v1\nbono: {exposure: nodeport}\n", "clearwater.yaml");
    /// assert_eq!(
    ///     errors.unwrap_err().to_string(),
    ///     "clearwater.yaml:2:18: bono.exposure: unknown value \"nodeport\", did you mean \"nodePort\"? \
    ///      known: headless, hostPort, nodePort, loadBalancer, externalIPs"
    /// );
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong, each with its line, column and key.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigErrors> {
        Self::parse_with(text, name, &[])
    }

    /// Reads and checks a deployment file with values from the command line put over it, in their order.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line, column and key, or the flag it was given by.
    pub fn parse_with(text: &str, name: &str, sets: &[Set]) -> Result<Self, ConfigErrors> {
        let mut reader = FileReader::default();
        let file = reader.read(text, name, sets);
        if let Some(file) = &file {
            let found = check::file(file);
            let damaged = &reader.damaged;
            let sound = |p: &check::Fault| !p.about.iter().any(|path| damaged.iter().any(|d| d.touches(path)));
            reader.problems.extend(found.into_iter().filter(sound).map(|f| f.problem).filter(Problem::is_error));
        }
        match (ConfigErrors::unless_empty(reader.problems), file) {
            (Ok(()), Some(file)) => Ok(file),
            (Err(errors), _) => Err(errors),
            // A file that cannot be built has left a problem behind.
            (Ok(()), None) => Ok(Self::default()),
        }
    }
}

#[derive(Default)]
struct FileReader {
    problems: Vec<Problem>,
    /// Values that were left out because something is wrong with them: nothing more is said about these.
    damaged: Vec<KeyPath>,
    places: Places,
}

impl FileReader {
    fn read(&mut self, text: &str, name: &str, sets: &[Set]) -> Option<DeploymentFile> {
        let place = |at: Option<Position>| Location::File {
            name: name.to_owned(),
            position: at.unwrap_or(Position { line: 1, column: 1 }),
        };
        let mut root = match yaml::read_tree(text) {
            Ok(node) => Item::of(node, text, &place),
            Err(e) => {
                self.report(ProblemKind::Syntax, place(e.place), &KeyPath::default(), e.message);
                Item { what: Content::Null, place: place(None), written: None }
            }
        };
        let unread = !self.problems.is_empty();
        for set in sets {
            self.put(&mut root, set);
        }
        if unread {
            return None;
        }
        if matches!(root.what, Content::Null) {
            root.what = Content::Map(Vec::new());
        }
        let value = self.value(schema(), &root, &KeyPath::default())?;
        match serde_json::from_value::<DeploymentFile>(value) {
            Ok(mut file) => {
                file.places = std::mem::take(&mut self.places);
                Some(file)
            }
            Err(e) => {
                self.report(ProblemKind::WrongValue, root.place, &KeyPath::default(), e.to_string());
                None
            }
        }
    }

    fn report(&mut self, kind: ProblemKind, place: Location, key: &KeyPath, message: String) {
        self.problems.push(Problem { kind, place: Some(place), key: key.clone(), message });
        self.damaged.push(key.clone());
    }

    /// Puts a flag's value into the tree.
    fn put(&mut self, root: &mut Item, set: &Set) {
        let place = Location::Flag(set.shown());
        let node = match yaml::read_tree(set.value()) {
            Ok(node) => node,
            Err(e) => {
                let message = format!("the value is not YAML: {}", e.message);
                return self.report(ProblemKind::Syntax, place, set.path(), message);
            }
        };
        let mut value = Item::of(node, set.value(), &|_| place.clone());
        if !matches!(value.what, Content::List(_) | Content::Map(_)) {
            value.written = Some(set.value().to_owned());
        }
        let mut at = root;
        for step in set.path().steps() {
            at = match step {
                Step::Key(key) => {
                    if !matches!(at.what, Content::Map(_)) {
                        *at = Item { what: Content::Map(Vec::new()), place: place.clone(), written: None };
                    }
                    let Content::Map(entries) = &mut at.what else { return };
                    let found = entries.iter().position(|e| e.key == *key).unwrap_or(entries.len());
                    if found == entries.len() {
                        let value = Item { what: Content::Null, place: place.clone(), written: None };
                        entries.push(WrittenKey { key: key.clone(), place: place.clone(), value });
                    }
                    &mut entries[found].value
                }
                Step::Index(index) => {
                    if matches!(at.what, Content::Null) {
                        *at = Item { what: Content::List(Vec::new()), place: place.clone(), written: None };
                    }
                    let seen = at.seen();
                    let Content::List(items) = &mut at.what else {
                        let message = format!("wants a list to put element {index} into, found {seen}");
                        return self.report(ProblemKind::WrongType, place, set.path(), message);
                    };
                    if *index > items.len() {
                        let message = format!("the list has {} elements; the next is [{}]", items.len(), items.len());
                        return self.report(ProblemKind::WrongValue, place, set.path(), message);
                    }
                    if *index == items.len() {
                        items.push(Item { what: Content::Null, place: place.clone(), written: None });
                    }
                    &mut items[*index]
                }
            };
        }
        *at = value;
    }

    /// The value as the types want it, or `None` where it had to be left out.
    fn value(&mut self, schema: &Value, item: &Item, path: &KeyPath) -> Option<Value> {
        self.places.insert(path.clone(), item.place.clone());
        let schema = resolve(schema);
        if schema.get("x-secret").is_some() && !matches!(item.what, Content::Map(_)) {
            let message = "wants a reference to a Secret, so that it never stands in this file: put it into a Secret \
                           of the namespace and write {secret: NAME, key: KEY}";
            self.report(ProblemKind::WrongType, item.place.clone(), path, message.to_owned());
            return None;
        }
        let alternatives: Vec<&Value> =
            ["oneOf", "anyOf"].iter().filter_map(|k| schema.get(*k)?.as_array()).flatten().map(resolve).collect();
        if alternatives.is_empty() { self.typed(schema, item, path) } else { self.one_of(&alternatives, item, path) }
    }

    fn one_of(&mut self, alternatives: &[&Value], item: &Item, path: &KeyPath) -> Option<Value> {
        let structured = |s: &Value| s.get("properties").is_some();
        let real: Vec<&Value> =
            alternatives.iter().copied().filter(|s| s.get("type") != Some(&json!("null"))).collect();
        if matches!(item.what, Content::Null) && real.len() < alternatives.len() {
            return Some(Value::Null);
        }
        // An alternative that is itself a choice: an optional enumeration.
        if let [only] = real[..]
            && only.get("const").is_none()
        {
            return self.value(only, item, path);
        }
        if matches!(item.what, Content::Map(_))
            && let Some(mapping) = real.iter().find(|s| structured(s))
        {
            return self.typed(mapping, item, path);
        }
        let truth = real.iter().find(|s| s.get("type") == Some(&json!("boolean")));
        if let (Content::Bool(_), Some(truth)) = (&item.what, truth) {
            return self.typed(truth, item, path);
        }
        let known: Vec<&str> = real.iter().filter_map(|s| s.get("const")?.as_str()).collect();
        let mut forms: Vec<String> = known.iter().map(|k| (*k).to_owned()).collect();
        forms.extend(truth.iter().flat_map(|_| ["true".to_owned(), "false".to_owned()]));
        for mapping in real.iter().filter(|s| structured(s)) {
            let keys: Vec<String> = properties(mapping).map(|(k, _)| format!("{k}: …")).collect();
            forms.push(format!("{{{}}}", keys.join(", ")));
        }
        self.choice(&known, &forms, item, path)
    }

    fn choice(&mut self, known: &[&str], forms: &[String], item: &Item, path: &KeyPath) -> Option<Value> {
        let place = item.place.clone();
        let forms = forms.join(", ");
        match &item.what {
            Content::Text(s) if known.contains(&s.as_str()) => Some(json!(s)),
            Content::Text(s) => {
                let message = match nearest(s, known.iter().copied()) {
                    Some(near) => format!("unknown value {}, did you mean {near:?}? known: {forms}", quoted(s)),
                    None => format!("unknown value {}; known: {forms}", quoted(s)),
                };
                self.report(ProblemKind::WrongValue, place, path, message);
                None
            }
            _ => {
                let message = format!("wants one of {forms}; found {}", item.seen());
                self.report(ProblemKind::WrongType, place, path, message);
                None
            }
        }
    }

    fn typed(&mut self, schema: &Value, item: &Item, path: &KeyPath) -> Option<Value> {
        if let Some(known) = schema.get("enum").and_then(Value::as_array) {
            let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
            if !matches!(item.what, Content::Null) {
                let forms: Vec<String> = known.iter().map(|k| (*k).to_owned()).collect();
                return self.choice(&known, &forms, item, path);
            }
        }
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let takes = |kind: &str| kinds.contains(&kind);
        let written = || item.written.clone().unwrap_or_default();
        let flag = matches!(item.place, Location::Flag(_));
        let scalar = !matches!(item.what, Content::List(_) | Content::Map(_) | Content::Null);
        match &item.what {
            Content::Null if takes("null") => Some(Value::Null),
            Content::Bool(b) if takes("boolean") && !takes("string") => Some(json!(b)),
            Content::Integer(i) if takes("integer") => self.integer(schema, *i, item, path),
            Content::Float if takes("integer") && digits(&written()) => {
                self.out_of_range(schema, item, path);
                None
            }
            Content::Text(s) if takes("string") => self.text(schema, s, item, path),
            // A flag's value has no quotes of its own: the shell has taken them.
            _ if scalar && takes("string") && (flag || (takes("number") && !matches!(item.what, Content::Bool(_)))) => {
                self.text(schema, &written(), item, path)
            }
            Content::Bool(_) if takes("string") && takes("boolean") => Some(json!(written())),
            Content::List(items) if takes("array") => Some(self.list(schema, items, path)),
            Content::Map(entries) if takes("object") => self.mapping(schema, entries, item, path),
            _ => {
                let message = format!("{}; found {}{}", wanted(schema, &kinds), item.seen(), fix(&kinds, item));
                self.report(ProblemKind::WrongType, item.place.clone(), path, message);
                None
            }
        }
    }

    fn integer(&mut self, schema: &Value, value: i128, item: &Item, path: &KeyPath) -> Option<Value> {
        let (low, high) = bounds(schema);
        let fits = i64::try_from(value).ok().filter(|v| (low..=high).contains(v));
        if fits.is_none() {
            self.out_of_range(schema, item, path);
        }
        fits.map(|v| json!(v))
    }

    fn out_of_range(&mut self, schema: &Value, item: &Item, path: &KeyPath) {
        let (low, high) = bounds(schema);
        let message = format!("{} is out of range; allowed: {low} to {high}", item.written.as_deref().unwrap_or("it"));
        self.report(ProblemKind::WrongValue, item.place.clone(), path, message);
    }

    fn text(&mut self, schema: &Value, text: &str, item: &Item, path: &KeyPath) -> Option<Value> {
        if schema.get("format").and_then(Value::as_str) == Some("ip") && IpAddr::from_str(text).is_err() {
            let message = format!("{} is not an IP address; write one like 192.0.2.10 or 2001:db8::10", quoted(text));
            self.report(ProblemKind::WrongValue, item.place.clone(), path, message);
            return None;
        }
        Some(json!(text))
    }

    fn list(&mut self, schema: &Value, items: &[Item], path: &KeyPath) -> Value {
        let each = schema.get("items").unwrap_or(&Value::Null);
        let values = items.iter().enumerate().filter_map(|(n, item)| self.value(each, item, &path.index(n)));
        Value::Array(values.collect())
    }

    fn mapping(&mut self, schema: &Value, entries: &[WrittenKey], item: &Item, path: &KeyPath) -> Option<Value> {
        let mut seen: Vec<&WrittenKey> = Vec::new();
        let mut map = Map::new();
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        for entry in entries {
            let below = path.key(&entry.key);
            if let Some(first) = seen.iter().find(|e| e.key == entry.key) {
                let message = format!("given twice, first at {}; remove one of them", first.place);
                self.report(ProblemKind::Duplicate, entry.place.clone(), &below, message);
                continue;
            }
            seen.push(entry);
            let Some(schema) = self.entry_schema(schema, entry, path) else { continue };
            if matches!(entry.value.what, Content::Null) && !required.contains(&entry.key.as_str()) {
                continue;
            }
            if let Some(value) = self.value(schema, &entry.value, &below) {
                map.insert(entry.key.clone(), value);
            }
        }
        let missing: Vec<&str> = required.iter().copied().filter(|r| !seen.iter().any(|e| e.key == *r)).collect();
        for key in &missing {
            let about = properties(schema).find(|(k, _)| k == key).map_or(&Value::Null, |(_, s)| s);
            let message = match choices(resolve(about))[..] {
                [only] => format!("missing: write {key}: {only}"),
                _ => format!("missing: add {key}, {}", clause(about)),
            };
            self.report(ProblemKind::Missing, item.place.clone(), &path.key(key), message);
        }
        if path.is_root() {
            // The rest of the file is worth reading whatever its version.
            map.insert("apiVersion".to_owned(), json!("clearwater/v1"));
        } else if required.iter().any(|r| !map.contains_key(*r)) {
            self.damaged.push(path.clone());
            return None;
        }
        Some(Value::Object(map))
    }

    /// The schema of an entry's value, or `None` where its key is not known.
    fn entry_schema<'s>(&mut self, schema: &'s Value, entry: &WrittenKey, path: &KeyPath) -> Option<&'s Value> {
        let known: Vec<&str> = match schema.get("propertyNames").map(resolve) {
            Some(names) => choices(names),
            None => properties(schema).map(|(k, _)| k).collect(),
        };
        let additional = schema.get("additionalProperties").filter(|s| s.is_object());
        if let Some((_, found)) = properties(schema).find(|(k, _)| *k == entry.key) {
            return Some(found);
        }
        if let Some(additional) = additional
            && (known.is_empty() || known.contains(&entry.key.as_str()))
        {
            return Some(additional);
        }
        let near = nearest(&entry.key, known.iter().copied());
        let elsewhere = if near.is_none() && path.is_root() { elsewhere(&entry.key) } else { None };
        let message = match (near, elsewhere) {
            (Some(near), _) => format!("unknown key, did you mean {near:?}?"),
            (None, Some(place)) => format!("unknown key here; it belongs to {place:?}"),
            (None, None) => format!("unknown key; known here: {}", known.join(", ")),
        };
        self.report(ProblemKind::UnknownKey, entry.place.clone(), &path.key(&entry.key), message);
        // Content was meant is not known either.
        self.damaged.extend(near.map(|near| path.key(near)));
        None
    }
}

fn resolve(schema: &Value) -> &Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
    target.and_then(|pointer| self::schema().pointer(pointer)).unwrap_or(schema)
}

fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(k, v)| (k.as_str(), v))
}

/// The values of an enumeration.
fn choices(schema: &Value) -> Vec<&str> {
    let alternatives = schema.get("oneOf").and_then(Value::as_array);
    alternatives.into_iter().flatten().filter_map(|s| s.get("const")?.as_str()).collect()
}

/// The section of the file that knows a key which was written at its top.
fn elsewhere(key: &str) -> Option<&'static str> {
    properties(schema()).find_map(|(section, found)| {
        let alternatives = found.get("anyOf").and_then(Value::as_array);
        let targets = alternatives.into_iter().flatten().chain([found]);
        targets.map(resolve).any(|t| properties(t).any(|(k, _)| k == key)).then_some(section)
    })
}

fn bounds(schema: &Value) -> (i64, i64) {
    let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
    (bound("minimum").unwrap_or(i64::MIN), bound("maximum").unwrap_or(i64::MAX))
}
