use serde_json::{Value, json};

use super::layout::{KUSTOMIZATION, Part, resources};
use super::{Bundle, Deployment, Files, Item, ItemOwner, Manifest};
use crate::order::StartPlan;
use crate::yaml::{self, YamlError};

/// The annotation by which Argo CD orders what it applies
/// (<https://argo-cd.readthedocs.io/en/stable/user-guide/sync-waves/>).
const SYNC_WAVE: &str = "argocd.argoproj.io/sync-wave";
/// The namespace that Flux watches for its own objects, where nothing else was chosen.
const FLUX: &str = "flux-system";

/// When a StatefulSet is ready. Flux takes one that is updated on demand, as stores are, for ready as soon as it stands
/// (cli-utils `pkg/kstatus/status/core.go`, stsConditions), and asks this first.
const READY: &str = "has(status.observedGeneration) && status.observedGeneration == metadata.generation && \
                     (spec.replicas == 0 || has(status.readyReplicas) && status.readyReplicas >= spec.replicas)";

/// The wave of an object: 0 for everything that starts no pod, as what stands beside a workload is written before its turn
/// comes; workloads follow, counted from 1.
fn wave(item: &Item, plan: &StartPlan) -> usize {
    match item.owner {
        ItemOwner::Component(component) if item.object.pod_template().is_some() => {
            plan.wave(component.name()).map_or(0, |wave| wave + 1)
        }
        _ => 0,
    }
}

impl Manifest {
    /// The same objects with the annotation by which Argo CD applies them in this order. It begins a wave when the workloads
    /// of the one before are ready.
    #[must_use]
    pub fn with_sync_waves(mut self, plan: &StartPlan) -> Self {
        for item in &mut self.items {
            let wave = wave(item, plan);
            if wave > 0 {
                let annotations = item.object.metadata_mut().annotations.get_or_insert_default();
                annotations.insert(SYNC_WAVE.to_owned(), wave.to_string());
            }
        }
        self
    }
}

impl Bundle<'_> {
    /// The files by which Flux applies the objects in this order: a directory for each wave, and `flux.yaml` with a
    /// `Kustomization` for each that depends on the one before. `path` is where the directory lies in its repository.
    ///
    /// # Errors
    /// A text that YAML cannot hold.
    pub fn flux(&self, plan: &StartPlan, path: &str) -> Result<Files, YamlError> {
        let mut files = Files::new();
        let waves = self.manifest.items.iter().map(|item| wave(item, plan)).max().map_or(0, |last| last + 1);
        for number in 0..waves {
            let mut parts = if number == 0 { self.first()? } else { Vec::new() };
            let items = self.manifest.items.iter().filter(|item| wave(item, plan) == number).cloned().collect();
            let manifest = Manifest { items, notes: Vec::new() };
            parts.extend(Bundle { manifest: &manifest, ..*self }.parts()?);
            let names: Vec<String> = parts.iter().map(|p| p.file.clone()).collect();
            let folder = folder(number);
            files.insert(format!("{folder}/{KUSTOMIZATION}"), resources(&names));
            files.extend(parts.into_iter().map(|Part { file, text }| (format!("{folder}/{file}"), text)));
        }
        let all: Vec<Value> = (0..waves).map(|number| kustomization(self.deployment, number, path)).collect();
        files.insert("flux.yaml".to_owned(), yaml::write_many(&all)?);
        Ok(files)
    }
}

fn folder(wave: usize) -> String {
    format!("wave-{wave}")
}

/// What Flux applies of one wave, and what it waits for before and after
/// (<https://fluxcd.io/flux/components/kustomize/kustomizations/>).
fn kustomization(d: &Deployment, wave: usize, path: &str) -> Value {
    let name = |wave: usize| format!("clearwater-{}-{wave}", d.namespace());
    let path = path.trim_matches('/');
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut spec = json!({
        "interval": "10m",
        "retryInterval": "1m",
        "timeout": "15m",
        "prune": true,
        "wait": true,
        "healthCheckExprs": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "current": READY}],
        "path": format!("./{path}/{}", folder(wave)),
        "sourceRef": {"kind": "GitRepository", "name": FLUX},
    });
    if let Some(before) = wave.checked_sub(1) {
        spec["dependsOn"] = json!([{"name": name(before)}]);
    }
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name(wave), "namespace": FLUX},
        "spec": spec,
    })
}
