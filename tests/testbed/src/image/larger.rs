//! Images that take longer to bring: the same ones with further layers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Archive, Layer, hex_digest, sha256, write};

impl Archive {
    /// The same images with further layers on top, by name; without the blobs that stand in this archive.
    ///
    /// A registry of both archives, this one first, serves them under the same names.
    pub fn larger(&self, to: impl Into<PathBuf>, more: &dyn Fn(&str) -> Vec<Layer>) -> Result<Self> {
        let old = self.descriptions()?;
        let (mut manifests, mut layers) = (Vec::new(), Vec::new());
        for (name, digest) in &self.images {
            let more = more(name);
            let mut manifest = description(&old, digest)?;
            let mut config = description(&old, manifest["config"]["digest"].as_str().unwrap_or_default())?;
            let ids = config["rootfs"]["diff_ids"].as_array_mut().with_context(|| format!("{name}: no diff_ids"))?;
            ids.extend(more.iter().map(|layer| Value::from(sha256(layer.digest()))));
            let descriptors = manifest["layers"].as_array_mut().with_context(|| format!("{name}: no layers"))?;
            descriptors.extend(more.iter().map(Layer::descriptor));
            // What says how each layer came to be has to have one for each, or none at all.
            config.as_object_mut().context("a config that is no object")?.remove("history");
            let config = config.to_string().into_bytes();
            manifest["config"]["digest"] = sha256(&hex_digest(&config)).into();
            manifest["config"]["size"] = config.len().into();
            manifests.push((name.clone(), manifest.to_string().into_bytes(), config));
            layers.extend(more);
        }
        write(to.into(), &manifests, &layers)
    }

    /// The archive's small blobs, by digest: manifests and configs among them.
    pub(super) fn descriptions(&self) -> Result<BTreeMap<String, Value>> {
        let mut found = BTreeMap::new();
        let mut unread: BTreeSet<String> = self.needed()?;
        for entry in self.tar()?.entries_with_seek()? {
            let entry = entry?;
            let name = entry.path()?.display().to_string();
            let Some(digest) = name.strip_prefix("blobs/sha256/").filter(|digest| unread.remove(*digest)) else {
                continue;
            };
            if entry.size() < super::WORTH_SKIPPING
                && let Ok(value) = serde_json::from_reader(entry)
            {
                found.insert(digest.to_owned(), value);
            }
        }
        ensure!(!found.is_empty(), "{} describes no image", self.path.display());
        Ok(found)
    }
}

fn description(all: &BTreeMap<String, Value>, digest: &str) -> Result<Value> {
    let hex = digest.trim_start_matches("sha256:");
    all.get(hex).cloned().with_context(|| format!("the archive lacks {digest}"))
}
