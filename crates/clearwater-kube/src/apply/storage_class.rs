//! Which StorageClass claims get that name none.

use std::cmp::Reverse;

use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;

/// The annotation of the StorageClass that claims without one get
/// (k8s.io/component-helpers `storage/volume/helpers.go`).
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// The class that claims get which name none: of several the newest, and of those the first by name (kubernetes
/// `pkg/volume/util/storageclass.go`).
pub(super) fn default(classes: &[StorageClass]) -> Option<String> {
    let defaults = classes.iter().filter(|c| c.annotations().get(DEFAULT_CLASS).is_some_and(|v| v == "true"));
    let made = |c: &StorageClass| c.metadata.creation_timestamp.as_ref().map(|t| t.0);
    defaults.min_by_key(|c| (Reverse(made(c)), c.name_any())).map(ResourceExt::name_any)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_of_several_is_taken() {
        let class = |name: &str, made: u32, is_default: &str| -> StorageClass {
            serde_json::from_value(json!({"provisioner": "x", "metadata": {"name": name,
                "creationTimestamp": format!("2026-01-0{made}T00:00:00Z"),
                "annotations": {DEFAULT_CLASS: is_default}}}))
            .unwrap()
        };
        let [old, new, same] = [class("old", 1, "true"), class("new", 2, "true"), class("also", 2, "true")];
        assert_eq!(default(&[old.clone(), new.clone()]).as_deref(), Some("new"));
        assert_eq!(default(&[new, same, old]).as_deref(), Some("also"));
        assert_eq!(default(&[class("none", 3, "false")]), None);
        assert_eq!(default(&[]), None);
    }
}
