use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{Deployment, ItemOwner};
use crate::component::Component;
use crate::labels::{COMPONENT_LABEL, MANAGED_BY_LABEL, NAME_LABEL, PART_OF_LABEL, SERVICE_LABEL, VERSION_LABEL};

/// The value of [`PART_OF_LABEL`].
pub const PART_OF: &str = "clearwater";
/// The value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "kubectl-clearwater";

pub(super) type Labels = BTreeMap<String, String>;

/// The smallest set of labels that tells a workload's pods from all others. It can never be changed once the workload
/// stands, so it holds nothing that a file can set.
pub(super) fn selector(component: Component, part: Option<&str>) -> Labels {
    let mut labels = Labels::from([(SERVICE_LABEL.to_owned(), component.name().to_owned())]);
    if let Some(part) = part {
        labels.insert(COMPONENT_LABEL.to_owned(), part.to_owned());
    }
    labels
}

pub(super) fn label_selector(labels: Labels) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

/// The labels of a pod: of every object they are the ones that a selector may name.
pub(super) fn pod_labels(d: &Deployment, component: Component, part: Option<&str>) -> Labels {
    let mut labels = d.file().labels.clone();
    if let Some(overrides) = d.file().components.get(&component) {
        labels.extend(overrides.labels.clone());
    }
    labels.insert(SERVICE_LABEL.to_owned(), component.name().to_owned());
    labels.insert(NAME_LABEL.to_owned(), component.name().to_owned());
    labels.insert(COMPONENT_LABEL.to_owned(), part.unwrap_or(component.name()).to_owned());
    labels.insert(PART_OF_LABEL.to_owned(), PART_OF.to_owned());
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
    labels
}

/// The metadata of an object.
pub(super) fn metadata(d: &Deployment, owner: ItemOwner, part: Option<&str>, name: &str) -> ObjectMeta {
    let mut labels = match owner {
        ItemOwner::Component(component) => pod_labels(d, component, part),
        ItemOwner::Shared => {
            let mut labels = d.file().labels.clone();
            labels.insert(NAME_LABEL.to_owned(), PART_OF.to_owned());
            labels.insert(PART_OF_LABEL.to_owned(), PART_OF.to_owned());
            labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
            labels
        }
    };
    labels.insert(VERSION_LABEL.to_owned(), d.release().name().to_owned());
    let annotations = &d.file().annotations;
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(d.namespace().to_owned()),
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then(|| annotations.clone()),
        ..ObjectMeta::default()
    }
}
