use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapKeySelector, EnvVar, EnvVarSource, ObjectFieldSelector, Secret, SecretKeySelector,
};

use super::extras::Extras;
use super::meta::metadata;
use super::{Deployment, Inputs, Item, ItemOwner, Lifecycle};
use crate::component::{Component, Entry};
use crate::config::shared::{ContainerEnvironment, KEYS_SECRET, Variable, VariableValue};
use crate::config::{KeyPolicy, Keys, LevelFile, ORIGINAL_AUTO_CONFIG};

/// The ConfigMap that every Clearwater container takes its environment from, under upstream's name
/// (clearwater-docker `README.md`).
pub const ENV_VARS: &str = "env-vars";
/// The annotation of [`ENV_VARS`] that says when what the services tell of subscribers was last kept (RFC 3339). It stands
/// there because every deployment has that object, whoever made it, and no pod is replaced for its annotations.
pub const LAST_BACKUP_ANNOTATION: &str = "kubectl-clearwater/last-backup";
/// The ConfigMap with the configuration generator of the classic release.
pub const AUTO_CONFIG: &str = "clearwater-auto-config";

/// The ConfigMap with the file that each component's daemons read their log level from, by component.
pub const LOG_LEVELS: &str = "clearwater-log-levels";

const AUTO_CONFIG_PATH: &str = "/opt/clearwater/auto-config";
const GENERATOR: &str = "/etc/init.d/clearwater-auto-config-docker";
const GENERATOR_KEY: &str = "clearwater-auto-config-docker";
const STARTER: &str = "start.sh";

/// The objects that all components share.
pub(super) fn items(d: &Deployment, inputs: &Inputs, environment: &ContainerEnvironment) -> Vec<Item> {
    let mut items = vec![config_map(d, ItemOwner::Shared, ENV_VARS, environment.config_map.clone())];
    if let Some(script) = &environment.auto_config {
        let data =
            BTreeMap::from([(GENERATOR_KEY.to_owned(), script.clone()), (STARTER.to_owned(), auto_config_starter())]);
        items.push(config_map(d, ItemOwner::Shared, AUTO_CONFIG, data));
    }
    let levels = d.components().filter_map(|e| Some((e.component.name().to_owned(), level_text(d, e.component)?)));
    items.push(config_map(d, ItemOwner::Shared, LOG_LEVELS, levels.collect()));
    if d.file().keys == KeyPolicy::Random
        && let Some(keys) = &inputs.keys
    {
        items.push(secret(d, keys));
    }
    items
}

pub(super) fn config_map(d: &Deployment, owner: ItemOwner, name: &str, data: BTreeMap<String, String>) -> Item {
    let object = ConfigMap { metadata: metadata(d, owner, None, name), data: Some(data), ..ConfigMap::default() };
    match owner {
        ItemOwner::Shared => Item::shared(Lifecycle::Applied, object),
        ItemOwner::Component(component) => Item::applied(component, object),
    }
}

fn secret(d: &Deployment, keys: &Keys) -> Item {
    let data = keys.settings().into_iter().map(|(name, key)| (name.to_owned(), ByteString(key.as_bytes().to_vec())));
    let object = Secret {
        metadata: metadata(d, ItemOwner::Shared, None, KEYS_SECRET),
        type_: Some("Opaque".to_owned()),
        data: Some(data.collect()),
        ..Secret::default()
    };
    Item::shared(Lifecycle::CreatedOnce, object)
}

/// Puts the generator in the place of the image's own, which it calls: a mount there would hide that one.
fn auto_config_starter() -> String {
    format!(
        "#!/bin/sh\n\
         # Puts the deployment's configuration generator before the image's own, then starts what follows.\n\
         set -e\n\
         if [ -e {GENERATOR} ] && [ ! -e {ORIGINAL_AUTO_CONFIG} ]; then\n  \
           mv {GENERATOR} {ORIGINAL_AUTO_CONFIG}\n\
         fi\n\
         cp {AUTO_CONFIG_PATH}/{GENERATOR_KEY} {GENERATOR}\n\
         chmod 755 {GENERATOR}\n\
         exec \"$@\"\n"
    )
}

/// What a pod needs to run the generator that `environment` brings along, if it does.
pub(super) fn auto_config(environment: &ContainerEnvironment, mut extras: Extras) -> Extras {
    let Some(script) = &environment.auto_config else { return extras };
    extras.mount(AUTO_CONFIG, AUTO_CONFIG_PATH);
    extras.starters.push(format!("{AUTO_CONFIG_PATH}/{STARTER}"));
    extras.config.push(script.clone());
    extras
}

fn level_text(d: &Deployment, component: Component) -> Option<String> {
    Some(LevelFile::of(component)?.text(d.log_level(component)))
}

/// Gives a pod the file that its daemons read their log level from. It is there without a level too, so that a level
/// that is set later changes no template; and of a store it does not count as configuration whose change is worth a
/// new pod.
pub(super) fn log_level(d: &Deployment, entry: &Entry, mut extras: Extras) -> Extras {
    let (Some(file), Some(text)) = (LevelFile::of(entry.component), level_text(d, entry.component)) else {
        return extras;
    };
    extras.mount_file(LOG_LEVELS, entry.component.name(), file.path());
    if entry.clustering.is_none() {
        extras.config.push(text);
    }
    extras
}

pub(super) fn variable(variable: &Variable) -> EnvVar {
    let name = variable.name.clone();
    let (value, source) = match &variable.value {
        VariableValue::Text(text) => (Some(text.clone()), None),
        VariableValue::ConfigMap { key } => {
            let selector = ConfigMapKeySelector { name: ENV_VARS.to_owned(), key: key.clone(), optional: None };
            (None, Some(EnvVarSource { config_map_key_ref: Some(selector), ..EnvVarSource::default() }))
        }
        VariableValue::Secret { secret, key } => {
            let selector = SecretKeySelector { name: secret.clone(), key: key.clone(), optional: None };
            (None, Some(EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() }))
        }
    };
    EnvVar { name, value, value_from: source }
}

/// A variable that takes its value from the pod itself.
pub(super) fn from_field(name: &str, path: &str) -> EnvVar {
    let source = EnvVarSource {
        // Written out, because the API server would add it: who applied the same text with another tool would then hold
        // another value of this atomic field, and the next apply would conflict.
        field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), api_version: Some("v1".to_owned()) }),
        ..EnvVarSource::default()
    };
    EnvVar { name: name.to_owned(), value_from: Some(source), ..EnvVar::default() }
}
