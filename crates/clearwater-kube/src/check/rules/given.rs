//! What containers were given when they were started, judged: their zone and their keys.

use std::collections::BTreeSet;

use clearwater::component::Component;
use clearwater::config::Keys;
use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::manifest::{ENV_VARS, KEYS_SECRET};
use clearwater::remedy::{Permission, Remedy};

use super::super::facts::Facts;
use super::super::inside::Inside;
use super::Said;
use super::inner::{any, each, judged};
use crate::observe::snapshot::component_of;
use crate::pod::object::own_container;

pub(super) fn lines(facts: &Facts) -> Vec<CheckLine> {
    [zone(facts), keys(facts)].concat()
}

fn zone(facts: &Facts) -> Vec<CheckLine> {
    let said = judged(facts, (CheckId::Zone, "a zone is set"), any, |said, pod, _, inside| {
        if inside.shared.get("home_domain") == Some("example.com") && facts.other_zone(pod).is_none() {
            let detail = "home_domain is example.com, upstream's value where ZONE is not set";
            let fix = "set ZONE in the containers' environment, and start them again";
            said.wrong(CheckStatus::Failed, pod, detail, fix);
        }
    });
    let Some(mut said) = said else { return Vec::new() };
    other_zone(&mut said, facts);
    said.lines("")
}

/// The zone that stands in the ConfigMap, and pods that were started with another one: one fault, whatever follows from it.
fn other_zone(said: &mut Said, facts: &Facts) {
    let astray: Vec<(&str, &str)> =
        facts.zones.keys().filter_map(|pod| Some((pod.as_str(), facts.other_zone(pod)?))).collect();
    let (pods, zones): (Vec<&str>, BTreeSet<&str>) = astray.iter().copied().unzip();
    let (pods, zones) = (pods.join(", "), zones.into_iter().collect::<Vec<_>>().join(", "));
    let (what, namespace) = (format!("configmap/{ENV_VARS}, key ZONE"), facts.namespace());
    let delete = format!("kubectl delete pod -n {namespace} {}", pods.replace(", ", " "));
    let holds = |pod: &str| facts.pod(pod).and_then(component_of).is_some_and(Component::is_store);
    let (detail, write) = match (facts.zone.wrong(), astray.is_empty()) {
        (None, true) => return,
        (None, false) => {
            let right = facts.zone.right().unwrap_or_default();
            let detail = format!(
                "it is {right}, and these pods were started with {zones} and look names up there until they are started again: {pods}"
            );
            (detail, Remedy::BringUp.then(", which starts them anew"))
        }
        (Some((stands, wanted)), is_unused) => {
            let reach = if is_unused {
                "no pod was started with it yet, and each that is started finds nobody".to_owned()
            } else {
                format!("these pods were started with {zones}, and find nobody: {pods}")
            };
            let write = Remedy::from(Permission::TakeBack);
            (
                format!("it is {stands}, and should be {wanted}: {reach}"),
                write.then(", which writes it, and starts anew what was started with another"),
            )
        }
    };
    let stores = if astray.iter().any(|(pod, _)| holds(pod)) {
        vec!["; members of stores by ".into(), Permission::ReplaceStores.into()]
    } else {
        Vec::new()
    };
    let write = Remedy::sentence(std::iter::once(write).chain(stores));
    let edit = facts.zone.wrong().map(|(_, wanted)| {
        let patch =
            format!(r#"kubectl patch configmap {ENV_VARS} -n {namespace} -p '{{"data":{{"ZONE":"{wanted}"}}}}'"#);
        if astray.is_empty() { patch } else { format!("{patch}, then {delete}") }
    });
    // A member of a store does not go without its data.
    let by_hand = edit.or(Some(delete)).filter(|_| !astray.iter().any(|(pod, _)| holds(pod)));
    said.wrong(
        CheckStatus::Failed,
        &what,
        detail,
        Remedy::any(std::iter::once(write).chain(by_hand.map(Remedy::from))),
    );
}

fn keys(facts: &Facts) -> Vec<CheckLine> {
    let upstream = Keys::upstream();
    let public = upstream.settings();
    // Who does not read a key is not given it, and its configuration keeps the image's.
    let has = |of: Component, inside: &Inside, key: &str, value: &str| {
        Keys::reader(key) == of && inside.shared.get(key) == Some(value)
    };
    let known: Vec<(&str, &str)> = facts
        .said(any)
        .flat_map(|(pod, of, inside)| {
            public.iter().filter(move |(k, v)| has(of, inside, k, v)).map(move |(k, _)| (pod, *k))
        })
        .collect();
    let (pods, names): (BTreeSet<&str>, BTreeSet<&str>) = known.iter().copied().unzip();
    let pods: Vec<&str> = pods.into_iter().collect();
    let detail = format!("upstream's public value: {}", names.into_iter().collect::<Vec<_>>().join(", "));
    let mut told = known.is_empty();
    each(facts, (CheckId::Keys, "keys are not those that everybody knows"), any, "", |said, _, _, _| {
        if !std::mem::replace(&mut told, true) {
            said.wrong(CheckStatus::Warning, &pods.join(", "), detail.clone(), new_keys(facts, &known, &pods));
        }
    })
}

/// The Secret that a pod is given a key from.
fn secret_of<'f>(facts: &'f Facts, pod: &str, key: &str) -> Option<&'f str> {
    let found = facts.pod(pod)?;
    let own = own_container(found.spec.as_ref()?, component_of(found)?)?;
    let variable = own.env.iter().flatten().find(|variable| variable.name.eq_ignore_ascii_case(key))?;
    Some(&variable.value_from.as_ref()?.secret_key_ref.as_ref()?.name)
}

/// What gives these pods keys of their own. A Secret that stands is never written over, and a pod that stands never reads it again.
fn new_keys(facts: &Facts, known: &[(&str, &str)], pods: &[&str]) -> Remedy {
    let namespace = facts.namespace();
    let secrets: BTreeSet<&str> = known.iter().filter_map(|(pod, key)| secret_of(facts, pod, key)).collect();
    if secrets.is_empty() {
        let up = Remedy::BringUp.then(", which makes them and starts these pods anew");
        return Remedy::sentence(["keys: random in the deployment file, then ".into(), up]);
    }
    let secrets: Vec<&str> = secrets.into_iter().collect();
    let pods = pods.join(" ");
    if secrets == [KEYS_SECRET] {
        return Remedy::sentence([
            format!("kubectl delete secret -n {namespace} {KEYS_SECRET}, then ").into(),
            Remedy::BringUp,
            format!(", which makes it anew, then kubectl delete pod -n {namespace} {pods}: they read it when they are started")
                .into(),
        ]);
    }
    let secrets = secrets.join(" and Secret ");
    format!("put other values into Secret {secrets}, then kubectl delete pod -n {namespace} {pods}: they read it when they are started")
        .into()
}
