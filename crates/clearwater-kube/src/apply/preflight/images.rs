//! Which components' images the nodes lack, so that pulls are begun in the order in which they are needed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use clearwater::component::Component;
use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::manifest::ItemOwner;
use clearwater::text::counted;
use k8s_openapi::api::core::v1::{ContainerImage, Node, PodSpec};

use super::super::checks;
use super::super::prepare::ApplyPlan;
use super::nodes::{Wants, is_usable};

/// A kubelet names no more images than so many, the largest ones (kubernetes `pkg/kubelet/apis/config/v1beta1/defaults.go`,
/// `nodeStatusMaxImages`): a node that names as many may have others, smaller than the smallest named.
const NAMED: usize = 50;
/// What is smaller is brought so soon that it does not matter whether it is there, in bytes. The images of Clearwater are
/// larger by far.
const SMALL: i64 = 100 * MEGABYTE;
const MEGABYTE: i64 = 1_000_000;

/// The pods that are to be made.
fn made(work: &ApplyPlan) -> impl Iterator<Item = (Component, &PodSpec)> {
    work.all().filter(|p| p.operation == Operation::Create).filter_map(|p| {
        let ItemOwner::Component(component) = p.item.owner else { return None };
        Some((component, p.item.object.pod_template()?.spec.as_ref()?))
    })
}

/// The components that are to be made and of which a node that may get a pod lacks an image. None where nodes may not be
/// looked at: what is not known to be missing is taken to be there.
pub(super) fn lacking(work: &ApplyPlan, nodes: &[Node]) -> BTreeSet<Component> {
    made(work).filter(|(_, spec)| is_lacking(spec, nodes)).map(|(component, _)| component).collect()
}

/// How many images are to be brought, and how large they are, as far as a node has them already.
pub(super) fn line(work: &ApplyPlan, lacking: &BTreeSet<Component>, nodes: &[Node]) -> Option<CheckLine> {
    let images: BTreeSet<&String> = made(work).flat_map(|(_, spec)| named(spec)).collect();
    if images.is_empty() || nodes.is_empty() {
        return None;
    }
    let lacked = made(work).filter(|(component, _)| lacking.contains(component)).flat_map(|(_, spec)| named(spec));
    let sizes: BTreeMap<&String, Option<i64>> = lacked.map(|image| (image, size(image, nodes))).collect();
    let known: Vec<i64> = sizes.values().copied().flatten().collect();
    let told = match known.len() {
        _ if sizes.is_empty() => "every node names them all".to_owned(),
        0 => format!("{} of {} to be brought, of sizes that no node tells", sizes.len(), images.len()),
        n => format!(
            "{} of {} to be brought, {} MB at most for the {} that another node has",
            sizes.len(),
            images.len(),
            known.iter().sum::<i64>() / MEGABYTE,
            counted(n, "image")
        ),
    };
    Some(checks::line(CheckId::Images, "images on the nodes", CheckStatus::Ok, told))
}

/// The images of a pod.
fn named(spec: &PodSpec) -> impl Iterator<Item = &String> {
    spec.containers.iter().filter_map(|c| c.image.as_ref())
}

/// The images that a node names.
fn held(node: &Node) -> impl Iterator<Item = &ContainerImage> + Clone {
    node.status.iter().flat_map(|s| s.images.iter().flatten())
}

/// How large an image is, by a node that has it.
fn size(image: &str, nodes: &[Node]) -> Option<i64> {
    let of = |held: &ContainerImage| held.names.iter().flatten().any(|name| is_same(name, image));
    nodes.iter().flat_map(held).find(|held| of(held))?.size_bytes
}

/// Whether a node that may get such a pod lacks one of its images.
fn is_lacking(spec: &PodSpec, nodes: &[Node]) -> bool {
    let wants = Wants::of(spec);
    let lacks = |node: &Node| {
        let images = held(node);
        let names: Vec<&String> = images.clone().flat_map(|i| i.names.iter().flatten()).collect();
        let is_there = |image: &String| names.iter().any(|name| is_same(name, image));
        let smallest = images.clone().filter_map(|i| i.size_bytes).min().unwrap_or_default();
        let names_all = images.count() < NAMED || smallest < SMALL;
        names_all && !named(spec).all(is_there)
    };
    nodes.iter().filter(|node| is_usable(node) && wants.fit(node)).any(lacks)
}

/// Whether a name that a node gives an image is this reference, which need not be whole.
fn is_same(name: &str, reference: &str) -> bool {
    // With a digest the tag says nothing (and the node's own name for it has none).
    let reference = match reference.split_once('@') {
        Some((tagged, digest)) => format!("{}@{digest}", untagged(tagged)),
        None if untagged(reference) == reference => format!("{reference}:latest"),
        None => reference.to_owned(),
    };
    let rest = name.strip_suffix(reference.as_str());
    rest.is_some_and(|prefix| matches!(prefix, "" | "docker.io/" | "docker.io/library/"))
}

/// A reference without its tag.
fn untagged(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => reference,
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use clearwater::config::DeploymentFile;
    use clearwater::manifest::{Inputs, render};
    use serde_json::{Value, json};

    use super::*;
    use crate::apply::Planned;

    fn node(name: &str, images: &[&str], extra: &Value) -> Node {
        let images: Vec<Value> = images.iter().map(|i| json!({"names": [i], "sizeBytes": 2 * SMALL})).collect();
        let mut node = json!({"metadata": {"name": name}, "spec": {}, "status": {"images": images,
            "conditions": [{"type": "Ready", "status": "True"}]}});
        node["spec"] = extra.clone();
        serde_json::from_value(node).unwrap()
    }

    fn pod(image: &str) -> PodSpec {
        serde_json::from_value(json!({"containers": [{"name": "c", "image": image}]})).unwrap()
    }

    #[test]
    fn an_image_is_there_where_each_node_that_may_need_it_has_it() {
        let (own, none) = ("docker.io/ollivier/clearwater-sprout:hunter", json!({}));
        let both = [node("a", &[own], &none), node("b", &[own], &none)];
        assert!(!is_lacking(&pod(own), &both) && !is_lacking(&pod("ollivier/clearwater-sprout:hunter"), &both));
        assert!(is_lacking(&pod("ollivier/clearwater-bono:hunter"), &both));
        let one = [node("a", &[own], &none), node("b", &[], &none)];
        assert!(is_lacking(&pod(own), &one));
        let kept_off = json!({"taints": [{"key": "own", "effect": "NoSchedule"}]});
        assert!(!is_lacking(&pod(own), &[node("a", &[own], &none), node("control", &[], &kept_off)]));
        assert!(!is_lacking(&pod(own), &[]), "where nothing is known of nodes nothing is missing");
    }

    #[test]
    fn a_node_with_many_images_does_not_name_them_all() {
        let many: Vec<String> = (0..NAMED).map(|n| format!("example.com/{n}:1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let image = pod("example.com/other:1");
        assert!(!is_lacking(&image, &[node("a", &many, &json!({}))]));
        assert!(is_lacking(&image, &[node("a", &many[1..], &json!({}))]));
        let mut with_a_small_one = node("a", &many, &json!({}));
        with_a_small_one.status.as_mut().unwrap().images.as_mut().unwrap()[7].size_bytes = Some(SMALL - 1);
        assert!(is_lacking(&image, &[with_a_small_one]), "all that is larger is named");
    }

    #[test]
    fn what_is_to_be_brought_is_counted() {
        let deployment = DeploymentFile::default().deploy("ims").unwrap();
        let manifest = render(&deployment, &Inputs::default()).unwrap();
        let planned = manifest.items().iter().cloned().map(|item| Planned::new(item, None, Operation::Create));
        let work = ApplyPlan { shared: planned.collect(), ..ApplyPlan::default() };
        let all: BTreeSet<&str> = made(&work).flat_map(|(_, spec)| named(spec)).map(String::as_str).collect();
        let all: Vec<&str> = all.into_iter().collect();
        assert_eq!(all.len(), 11);
        let fit = |name: &str, images: &[&str]| {
            let mut node = node(name, images, &json!({}));
            let labels = [("kubernetes.io/arch", "amd64"), ("kubernetes.io/os", "linux")];
            node.metadata.labels = Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
            node
        };
        let (full, two, empty) = (fit("a", &all), fit("b", &all[..2]), fit("c", &[]));
        for (nodes, told) in [
            (&[full.clone()][..], Some("every node names them all")),
            (from_ref(&empty), Some("11 of 11 to be brought, of sizes that no node tells")),
            (
                &[two.clone(), empty.clone()],
                Some("11 of 11 to be brought, 400 MB at most for the 2 images that another node has"),
            ),
            (&[two, full], Some("9 of 11 to be brought, 1800 MB at most for the 9 images that another node has")),
            (&[], None),
        ] {
            let line = line(&work, &lacking(&work, nodes), nodes);
            assert_eq!(line.as_ref().map(|line| line.detail.as_str()), told);
        }
        let nothing = ApplyPlan::default();
        assert!(line(&nothing, &BTreeSet::new(), &[fit("a", &[])]).is_none(), "where no pod is to be made");
    }

    #[test]
    fn references_are_completed() {
        for (name, reference, same) in [
            ("docker.io/library/busybox:latest", "busybox", true),
            ("localhost:5000/a/b:1", "localhost:5000/a/b:1", true),
            ("localhost:5000/a/b:latest", "localhost:5000/a/b", true),
            ("quay.io/a/b@sha256:0", "quay.io/a/b:1@sha256:0", true),
            ("quay.io/a/b:1", "quay.io/a/b:2", false),
            ("example.com/a/b:1", "a/b:1", false),
        ] {
            assert_eq!(is_same(name, reference), same, "{name} {reference}");
        }
    }
}
