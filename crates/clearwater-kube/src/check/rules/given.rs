//! What containers were given when they were started, judged: their zone and their keys.

use std::collections::BTreeSet;

use clearwater::component::Component;
use clearwater::config::Keys;
use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::manifest::{ENV_VARS, KEYS_SECRET};
use clearwater::remedy::{Permission, Remedy};

use super::super::facts::{Facts, NO_ZONE};
use super::super::inside::Inside;
use super::Said;
use super::inner::{any, each, judged};
use crate::judge::renewal::Renewal;
use crate::observe::snapshot::component_of;
use crate::pod::object::own_container;

pub(super) fn lines(facts: &Facts) -> Vec<CheckLine> {
    [zone(facts), keys(facts)].concat()
}

fn zone(facts: &Facts) -> Vec<CheckLine> {
    let said = judged(facts, (CheckId::Zone, "a zone is set"), any, |said, pod, _, inside| {
        if inside.shared.get("home_domain") == Some(NO_ZONE)
            && !facts.zone.is_missing()
            && facts.other_zone(pod).is_none()
        {
            let detail = format!("home_domain is {NO_ZONE}, upstream's value where ZONE is not set");
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
    let (pods, zones): (Vec<&str>, BTreeSet<&str>) =
        astray.iter().map(|(pod, zone)| (*pod, if zone.is_empty() { "none" } else { *zone })).unzip();
    let (pods, zones) = (pods.join(", "), zones.into_iter().collect::<Vec<_>>().join(", "));
    let namespace = facts.namespace();
    let right = facts.zone.right().unwrap_or_default();
    let fault = facts.zone.fault();
    let detail = match &fault {
        None if astray.is_empty() => return,
        None => format!(
            "it is {right}, and these pods were started with {zones} and look names up there until they are started again: {pods}"
        ),
        Some(fault) if astray.is_empty() => {
            format!("{fault}: no pod was started with it yet, and each that is started finds nobody")
        }
        Some(fault) => format!("{fault}: these pods were started with {zones}, and find nobody: {pods}"),
    };
    let write = match &fault {
        None => Remedy::BringUp.then(", which starts them anew"),
        Some(_) => {
            Remedy::from(Permission::TakeBack).then(", which writes it, and starts anew what was started with another")
        }
    };
    let components: BTreeSet<Component> = astray.iter().filter_map(|(pod, _)| component_of(facts.pod(pod)?)).collect();
    let others: Vec<(Component, Renewal)> =
        components.iter().map(|c| (*c, facts.renewal(*c))).filter(|(_, renewal)| *renewal != Renewal::ByUp).collect();
    let mut ways = vec![write];
    for (component, renewal) in &others {
        ways.extend([format!("; {component} by ").into(), renewal.remedy(*component)]);
    }
    let delete = format!("kubectl delete pod -n {namespace} {}", pods.replace(", ", " "));
    let by_hand = match &fault {
        // What keeps something does not go without that.
        _ if !others.is_empty() => None,
        None => Some(delete),
        Some(_) if right.is_empty() => None,
        Some(_) => {
            let patch =
                format!(r#"kubectl patch configmap {ENV_VARS} -n {namespace} -p '{{"data":{{"ZONE":"{right}"}}}}'"#);
            Some(if astray.is_empty() { patch } else { format!("{patch}, then {delete}") })
        }
    };
    let ways = std::iter::once(Remedy::sentence(ways)).chain(by_hand.map(Remedy::from));
    let what = format!("configmap/{ENV_VARS}, key ZONE");
    said.wrong(CheckStatus::Failed, &what, detail, Remedy::any(ways));
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
    let known: Vec<(&str, &str)> =
        known.into_iter().chain(facts.public_keys.iter().map(|(pod, key)| (&**pod, &**key))).collect();
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

/// What gives these pods keys of their own. A Secret that stands is never written over, and who reads it is
/// started anew where it has other values.
fn new_keys(facts: &Facts, known: &[(&str, &str)], pods: &[&str]) -> Remedy {
    let namespace = facts.namespace();
    let secrets: BTreeSet<&str> = known.iter().filter_map(|(pod, key)| secret_of(facts, pod, key)).collect();
    if secrets.is_empty() {
        let up = Remedy::BringUp.then(", which makes them and starts these pods anew");
        return Remedy::sentence(["keys: random in the deployment file, then ".into(), up]);
    }
    let write = if secrets.iter().eq([&KEYS_SECRET]) {
        format!("kubectl delete secret -n {namespace} {KEYS_SECRET}")
    } else {
        format!("put other values into Secret {}", secrets.into_iter().collect::<Vec<_>>().join(" and Secret "))
    };
    // The word that one of them needs, because it would lose something, starts the others anew as well.
    let readers = pods.iter().filter_map(|pod| component_of(facts.pod(pod)?));
    let up = readers.map(|c| (facts.renewal(c), c)).max().map(|(renewal, component)| renewal.remedy(component));
    Remedy::sentence([format!("{write}, then ").into(), up.unwrap_or(Remedy::BringUp)])
}
