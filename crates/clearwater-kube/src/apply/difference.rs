//! The difference between two states of an object, and what it means for pods.

use clearwater::manifest::Object;
use kube::api::DynamicObject;
use serde_json::Value;

use super::name;
use crate::unified::unified;

/// The object without what only the API server writes.
fn bare(object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"] {
            metadata.remove(field);
        }
    }
    value
}

/// The difference between two states of an object, as a unified diff of YAML. A Secret's values are hidden: only that
/// they differ is shown.
pub(super) fn difference(object: &Object, live: &DynamicObject, wanted: &DynamicObject) -> String {
    let (mut old, mut new) = (bare(live), bare(wanted));
    if old == new {
        return String::new();
    }
    if let Object::Secret(_) = object {
        hide(&mut old, &mut new);
    }
    let name = name(object);
    let (old, new) = (text(&old), text(&new));
    unified(&old, &new, 2, [&format!("{name} (live)"), &format!("{name} (after)")])
}

/// An object that is to be made, as a unified diff of YAML: every line of it is new. A Secret's values are hidden.
pub(super) fn whole(object: &Object, body: &Value) -> String {
    let mut new = body.clone();
    if let Object::Secret(_) = object {
        hide(&mut new.clone(), &mut new);
    }
    unified("", &text(&new), 3, ["/dev/null", &format!("{} (after)", name(object))])
}

fn text(value: &Value) -> String {
    clearwater::yaml::write_one(value).unwrap_or_else(|_| value.to_string())
}

/// The pods that run something else once the object is as it is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// Pods that their controller replaces at once.
    pub at_once: u32,
    /// Pods of a store, which go on as they are until they are replaced on demand.
    pub on_demand: u32,
}

/// Which pods of a workload are replaced, from its two states.
pub(super) fn replaced(live: &DynamicObject, wanted: &DynamicObject) -> Replaced {
    let at = |object: &DynamicObject, path: &str| object.data.pointer(path).cloned();
    let template = |object| at(object, "/spec/template");
    if template(live) == template(wanted) {
        return Replaced::default();
    }
    let pods = at(live, "/spec/replicas").and_then(|n| u32::try_from(n.as_u64()?).ok()).unwrap_or(1);
    match at(wanted, "/spec/updateStrategy/type") {
        Some(update) if update == "OnDelete" => Replaced { on_demand: pods, ..Replaced::default() },
        _ => Replaced { at_once: pods, ..Replaced::default() },
    }
}

fn hide(old: &mut Value, new: &mut Value) {
    for field in ["data", "stringData"] {
        let keys: Vec<String> =
            [&*old, &*new].iter().filter_map(|v| v.get(field)?.as_object()).flat_map(|m| m.keys().cloned()).collect();
        for key in keys {
            let same = old.get(field).and_then(|m| m.get(&key)) == new.get(field).and_then(|m| m.get(&key));
            for (value, text) in
                [(&mut *old, "(hidden)"), (&mut *new, if same { "(hidden)" } else { "(hidden, differs)" })]
            {
                if let Some(slot) = value.get_mut(field).and_then(|m| m.get_mut(&key)) {
                    *slot = text.into();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
