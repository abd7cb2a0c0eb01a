use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::pod_security::namespace as namespace_object;
use super::{Deployment, ItemOwner, Manifest, Object};
use crate::config::KeyPolicy;
use crate::yaml::{self, YamlError};

/// Whether a kustomize base creates its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceObject {
    /// It does, under the Pod Security Standard that the objects keep to. `kubectl delete -k` then deletes the
    /// namespace with everything in it.
    Included,
    /// The namespace is somebody else's.
    LeftOut,
}

impl Manifest {
    /// The objects as one YAML text, a document each.
    ///
    /// # Errors
    /// A text that YAML cannot hold.
    pub fn to_yaml(&self) -> Result<String, YamlError> {
        let objects: Vec<&Object> = self.objects().collect();
        yaml::write_many(&objects)
    }

    /// The objects as one JSON value: a v1 List.
    ///
    /// # Errors
    /// What serde says.
    pub fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
        let items = self.objects().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
        Ok(serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}))
    }
}

/// The objects as the files of a kustomize base, by file name: `kustomization.yaml`, `shared.yaml` and one file for each
/// component.
///
/// # Errors
/// A text that YAML cannot hold.
pub fn kustomize(
    d: &Deployment,
    manifest: &Manifest,
    namespace: NamespaceObject,
) -> Result<BTreeMap<String, String>, YamlError> {
    let mut order = Vec::new();
    let mut objects: BTreeMap<String, Vec<&Object>> = BTreeMap::new();
    for item in &manifest.items {
        let file = format!("{}.yaml", item.owner.name());
        if !order.contains(&file) {
            order.push(file.clone());
        }
        objects.entry(file).or_default().push(&item.object);
    }
    let mut files = BTreeMap::new();
    for (file, objects) in objects {
        files.insert(file, yaml::write_many(&objects)?);
    }
    if namespace == NamespaceObject::Included {
        let file = "namespace.yaml".to_owned();
        files.insert(file.clone(), yaml::write_one(&namespace_object(d.namespace(), manifest.pod_security()))?);
        order.insert(0, file);
    }
    files.insert("kustomization.yaml".to_owned(), kustomization(d, &order));
    Ok(files)
}

/// The text of `kustomization.yaml`. Its comments say what an overlay has to know.
fn kustomization(d: &Deployment, files: &[String]) -> String {
    let (namespace, zone) = (d.namespace(), d.zone());
    let mut text = format!(
        "# Clearwater, release {}, rendered by kubectl-clearwater.\n\
         #\n\
         # The objects are made for the namespace {namespace}: Clearwater's own resolver takes no search list, so every\n\
         # host name is written out in full, below the ZONE {zone} in the ConfigMap env-vars. An\n\
         # overlay with another namespace must patch ZONE with it, or be rendered for that namespace.\n",
        d.release()
    );
    text.push_str(match &d.file().keys {
        KeyPolicy::Upstream => {
            "#\n\
             # The keys that protect sign-up, Ellis' API and its cookies are upstream's public default, \"secret\": fit for a\n\
             # laboratory and for upstream's live tests, not for a network that others reach. Keys of your own:\n\
             # `keys: random` in the file that is rendered, which has them made when the deployment is brought up, or\n\
             # `keys: {secret: NAME}`.\n"
        }
        KeyPolicy::Random => {
            "#\n\
             # The keys that protect sign-up, Ellis' API and its cookies are read from the Secret clearwater-keys, which\n\
             # is made when the deployment is brought up and which must stand before the pods can start.\n"
        }
        KeyPolicy::Secret(_) => "",
    });
    text.push_str("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n");
    for file in files {
        let _ = writeln!(text, "- {file}");
    }
    text
}

impl ItemOwner {
    /// The component's name, or `shared`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Component(component) => component.name(),
        }
    }
}
