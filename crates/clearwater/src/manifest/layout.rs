use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::meta::metadata;
use super::pod_security::namespace as namespace_object;
use super::{Deployment, ItemOwner, Lifecycle, Manifest, Object};
use crate::config::shared::KEYS_SECRET;
use crate::config::{KeyPolicy, Keys};
use crate::yaml::{self, YamlError};

/// What kustomize reads first in a directory.
pub(super) const KUSTOMIZATION: &str = "kustomization.yaml";
/// The file of a [`Bundle`] that holds the keys. They are made once: a writer leaves one that stands as it is.
pub const KEYS_FILE: &str = "keys.yaml";

/// The texts of a directory by their paths in it, with `/` between the parts.
pub type Files = BTreeMap<String, String>;

/// A manifest with what stands beside it in a directory that is applied without this program.
///
/// ```
/// use clearwater::config::DeploymentFile;
/// use clearwater::manifest::{Bundle, Inputs, render};
///
/// let deployment = DeploymentFile::default().deploy("ims")?;
/// let manifest = render(&deployment, &Inputs::default())?;
/// let files = Bundle::new(&deployment, &manifest).with_namespace().kustomize()?;
/// assert!(files["namespace.yaml"].contains("pod-security.kubernetes.io/enforce: baseline"));
/// assert!(files["kustomization.yaml"].contains("- sprout.yaml\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) manifest: &'a Manifest,
    pub(super) with_namespace: bool,
    pub(super) key_store: Option<&'a str>,
}

/// A file of a bundle.
pub(super) struct Part {
    /// Its name.
    pub(super) file: String,
    /// Its documents.
    pub(super) text: String,
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

impl<'a> Bundle<'a> {
    /// The objects alone: the namespace is somebody else's.
    pub const fn new(deployment: &'a Deployment, manifest: &'a Manifest) -> Self {
        Self { deployment, manifest, with_namespace: false, key_store: None }
    }

    /// With the namespace, under the Pod Security Standard that the objects keep to. Whoever deletes the bundle deletes the
    /// namespace with everything in it.
    #[must_use]
    pub const fn with_namespace(self) -> Self {
        Self { with_namespace: true, ..self }
    }

    /// With an `ExternalSecret`, by which the External Secrets Operator makes the keys' Secret from a `ClusterSecretStore`.
    #[must_use]
    pub const fn with_key_store(self, store: &'a str) -> Self {
        Self { key_store: Some(store), ..self }
    }

    /// The files of a kustomize base: `kustomization.yaml`, `shared.yaml` and one for each component, and where they are a
    /// part of it `namespace.yaml` and [`KEYS_FILE`].
    ///
    /// # Errors
    /// A text that YAML cannot hold.
    pub fn kustomize(&self) -> Result<Files, YamlError> {
        let mut parts = self.first()?;
        parts.extend(self.parts()?);
        let names: Vec<String> = parts.iter().map(|p| p.file.clone()).collect();
        let mut files: Files = parts.into_iter().map(|p| (p.file, p.text)).collect();
        let has_keys = files.contains_key(KEYS_FILE);
        files.insert(KUSTOMIZATION.to_owned(), kustomization(self.deployment, has_keys, &names));
        Ok(files)
    }

    /// What the objects need and are not: the namespace, and where the keys come from.
    pub(super) fn first(&self) -> Result<Vec<Part>, YamlError> {
        let namespace = self.deployment.namespace();
        let mut parts = Vec::new();
        if self.with_namespace {
            let text = yaml::write_one(&namespace_object(namespace, self.manifest.pod_security()))?;
            parts.push(Part { file: "namespace.yaml".to_owned(), text });
        }
        parts.extend(self.keys()?);
        Ok(parts)
    }

    /// Where the keys come from.
    pub(super) fn keys(&self) -> Result<Option<Part>, YamlError> {
        let Some(store) = self.key_store else { return Ok(None) };
        let text = yaml::write_one(&external_secret(self.deployment, store))?;
        Ok(Some(Part { file: KEYS_FILE.to_owned(), text }))
    }

    /// The files of the objects, in the order in which they can be applied.
    pub(super) fn parts(&self) -> Result<Vec<Part>, YamlError> {
        let mut files: Vec<(String, Vec<&Object>)> = Vec::new();
        for item in &self.manifest.items {
            let file = match item.lifecycle {
                Lifecycle::CreatedOnce => KEYS_FILE.to_owned(),
                Lifecycle::Applied => format!("{}.yaml", item.owner.name()),
            };
            match files.iter_mut().find(|(name, _)| *name == file) {
                Some((_, objects)) => objects.push(&item.object),
                None => files.push((file, vec![&item.object])),
            }
        }
        files.into_iter().map(|(file, objects)| Ok(Part { file, text: yaml::write_many(&objects)? })).collect()
    }
}

/// What makes the keys' Secret from a store: it looks for an entry of the Secret's own name with a property for each key.
fn external_secret(d: &Deployment, store: &str) -> Value {
    let data: Vec<Value> = Keys::upstream()
        .settings()
        .into_keys()
        .map(|key| json!({"secretKey": key, "remoteRef": {"key": KEYS_SECRET, "property": key}}))
        .collect();
    json!({
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": metadata(d, ItemOwner::Shared, None, KEYS_SECRET),
        "spec": {
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": store},
            "target": {"name": KEYS_SECRET},
            "data": data,
        },
    })
}

/// The text of `kustomization.yaml`. Its comments say what an overlay has to know.
fn kustomization(d: &Deployment, has_keys: bool, files: &[String]) -> String {
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
        KeyPolicy::Random if has_keys => "",
        KeyPolicy::Random => {
            "#\n\
             # The keys that protect sign-up, Ellis' API and its cookies are read from the Secret clearwater-keys, which\n\
             # is made when the deployment is brought up and which must stand before the pods can start.\n"
        }
        KeyPolicy::Secret(_) => "",
    });
    text.push_str(&resources(files));
    text
}

/// A kustomization of these files and nothing else.
pub(super) fn resources(files: &[String]) -> String {
    let mut text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n".to_owned();
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
