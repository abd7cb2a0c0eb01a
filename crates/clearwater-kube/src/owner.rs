//! Whose an object is: a mark that is set when this program makes one, and the API server's own record of who wrote what.
//!
//! Labels say nothing of that: `up` gives them to whatever it writes to, and anybody may write them into a manifest.
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use clearwater_kube::k8s_openapi::api::apps::v1::Deployment;
//! use clearwater_kube::kube::ResourceExt;
//! use clearwater_kube::owner::{CREATED, ORIGIN_ANNOTATION};
//!
//! let sprout = cluster.api::<Deployment>().get("sprout").await?;
//! println!("made by up: {}", sprout.annotations().get(ORIGIN_ANNOTATION).is_some_and(|by| by == CREATED));
//! # Ok(()) }
//! ```

use clearwater::event::Whose;
use clearwater::manifest::{MANAGED_BY, MANAGED_BY_LABEL};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::{Value, json};

use crate::cluster::FIELD_MANAGER;

/// The annotation that says where an object of this program comes from.
pub const ORIGIN_ANNOTATION: &str = "kubectl-clearwater/origin";
/// The value of [`ORIGIN_ANNOTATION`] on what this program made.
pub const CREATED: &str = "created";
/// The value of [`ORIGIN_ANNOTATION`] on what stood before this program wrote to it.
pub(crate) const ADOPTED: &str = "adopted";

/// Times are told in whole seconds, and the record is made after the object.
const SAME_MOMENT: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

/// The selector of what `up` wrote to, whether it made it or not.
pub(crate) fn our_label() -> String {
    format!("{MANAGED_BY_LABEL}={MANAGED_BY}")
}

/// Whether an object carries the label that `up` gives to whatever it writes to.
pub(crate) fn has_our_label(meta: &ObjectMeta) -> bool {
    meta.labels.as_ref().and_then(|l| l.get(MANAGED_BY_LABEL)).is_some_and(|by| by == MANAGED_BY)
}

/// The value for an object that is written by this program.
pub(crate) fn mark(whose: Whose) -> &'static str {
    match whose {
        Whose::Ours => CREATED,
        _ => ADOPTED,
    }
}

/// The value for the claims that a StatefulSet of this program makes. Names say what a claim is good for, so a copy of it
/// in another namespace or under another name is not ours.
fn claims_mark(namespace: &str, set: &str) -> String {
    format!("{CREATED} by statefulset {namespace}/{set}")
}

/// Whose an object is.
///
/// The mark counts where this program set it: somebody who copies an object copies its annotations too, and gets an
/// object of his own. What carries none was made by an earlier version or is not ours, which the record of fields tells.
pub(crate) fn whose(meta: &ObjectMeta) -> Whose {
    let entries = meta.managed_fields.as_deref().unwrap_or_default();
    let ours = || entries.is_empty() || entries.iter().any(|e| is_ours(e) && sets_mark(e));
    match meta.annotations.as_ref().and_then(|a| a.get(ORIGIN_ANNOTATION)).filter(|_| ours()).map(String::as_str) {
        Some(CREATED) => Whose::Ours,
        Some(_) => Whose::Adopted,
        None => by_fields(meta, entries),
    }
}

/// Whose an object is once this program has written to it, from what stood before.
pub(crate) fn whose_then(before: Option<&ObjectMeta>) -> Whose {
    match before.map(whose) {
        None | Some(Whose::Ours) => Whose::Ours,
        Some(_) => Whose::Adopted,
    }
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER) && is_whole(entry)
}

/// Whether it is of the object itself, and not of its status or scale.
fn is_whole(entry: &ManagedFieldsEntry) -> bool {
    entry.subresource.as_deref().unwrap_or_default().is_empty()
}

fn sets_mark(entry: &ManagedFieldsEntry) -> bool {
    let annotations = entry.fields_v1.as_ref().and_then(|f| f.0.get("f:metadata")?.get("f:annotations"));
    annotations.is_some_and(|a| a.get(format!("f:{ORIGIN_ANNOTATION}")).is_some())
}

/// Whether it holds more than metadata and status, which controllers write on everybody's objects.
fn holds_content(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref().and_then(|f| f.0.as_object());
    fields.is_some_and(|f| f.keys().any(|k| !matches!(k.as_str(), "f:metadata" | "f:status" | ".")))
}

/// Those that hold something of the object and are not this program.
fn others(entries: &[ManagedFieldsEntry]) -> impl Iterator<Item = &ManagedFieldsEntry> {
    entries.iter().filter(|e| e.manager.as_deref() != Some(FIELD_MANAGER) && is_whole(e) && holds_content(e))
}

/// Whether somebody else holds something of the object.
pub(crate) fn is_shared(meta: &ObjectMeta) -> bool {
    others(meta.managed_fields.as_deref().unwrap_or_default()).next().is_some()
}

/// Without a mark: what this program wrote to is its own, unless somebody else wrote to it before. A record's time moves
/// with each change, so where it leaves a doubt the object is another's: it stays, and can still be removed by hand.
fn by_fields(meta: &ObjectMeta, entries: &[ManagedFieldsEntry]) -> Whose {
    let time = |e: &ManagedFieldsEntry| e.time.as_ref().map(|t| t.0);
    let Some(first) = entries.iter().filter(|e| is_ours(e)).map(time).min() else { return Whose::Foreign };
    let made = meta.creation_timestamp.as_ref().and_then(|t| t.0.checked_add(SAME_MOMENT).ok());
    let older = others(entries).any(|other| {
        let (Some(other), Some(first), Some(made)) = (time(other), first, made) else { return true };
        other <= made || (first > made && other <= first)
    });
    if older { Whose::Adopted } else { Whose::Ours }
}

/// The managers that hold something of an object, for a person to know whom to ask.
pub(crate) fn managers(meta: &ObjectMeta) -> String {
    let entries = meta.managed_fields.iter().flatten().filter(|e| is_whole(e));
    let mut names: Vec<&str> = entries.filter_map(|e| e.manager.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// Puts the mark on an object that is about to be written, and on the claims that it will make.
///
/// A StatefulSet's claims cannot be changed any more once it stands, so theirs is as it stands (`live`).
pub(crate) fn set_mark(body: &mut Value, whose: Whose, live: Option<&Value>) {
    body["metadata"]["annotations"][ORIGIN_ANNOTATION] = mark(whose).into();
    let text = |at: &str| body.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    if text("/kind") != "StatefulSet" {
        return;
    }
    let mark = claims_mark(&text("/metadata/namespace"), &text("/metadata/name"));
    let templates = body.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut);
    for (i, template) in templates.into_iter().flatten().enumerate() {
        let mark = match live {
            None => Some(json!(mark)),
            Some(live) => {
                let stands = live.pointer(&format!("/spec/volumeClaimTemplates/{i}/metadata/annotations"));
                stands.and_then(|a| a.get(ORIGIN_ANNOTATION)).cloned()
            }
        };
        if let Some(mark) = mark {
            template["metadata"]["annotations"][ORIGIN_ANNOTATION] = mark;
        }
    }
}

/// A StatefulSet as claims are compared with it.
#[derive(Debug)]
pub(crate) struct ClaimMaker<'a> {
    pub(crate) meta: &'a ObjectMeta,
    /// The names of its claim templates.
    pub(crate) templates: Vec<String>,
}

/// Whether a claim was made by a StatefulSet of this program: by the mark that it has from the set's template, or, for
/// sets of an earlier version, because one of ours stands (`sets`), gives such names, and is older. What a person wrote is
/// never ours: whoever copies a claim copies its mark.
pub(crate) fn is_claim_of_ours(namespace: &str, claim: &ObjectMeta, sets: &[ClaimMaker<'_>]) -> bool {
    let name = claim.name.as_deref().unwrap_or_default();
    let Some((stem, ordinal)) = name.rsplit_once('-') else { return false };
    if ordinal.parse::<u32>().is_err() {
        return false;
    }
    let by_hand = claim.managed_fields.iter().flatten().filter(|e| holds_content(e)).any(|e| {
        let manager = e.manager.as_deref().unwrap_or_default();
        manager.starts_with("kubectl") || manager == "helm"
    });
    if by_hand {
        return false;
    }
    if let Some(mark) = claim.annotations.as_ref().and_then(|a| a.get(ORIGIN_ANNOTATION)) {
        return sets_of(stem).any(|set| *mark == claims_mark(namespace, set));
    }
    sets.iter().any(|set| {
        let named = set.meta.name.as_deref().unwrap_or_default();
        claim.creation_timestamp >= set.meta.creation_timestamp
            && set.templates.iter().any(|t| stem == format!("{t}-{named}"))
    })
}

/// The names of StatefulSets that a claim `TEMPLATE-SET` may be of: both may have dashes.
fn sets_of(stem: &str) -> impl Iterator<Item = &str> {
    stem.match_indices('-').map(|(at, _)| &stem[at + 1..])
}

#[cfg(test)]
mod tests;
