use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapKeySelector, EnvVar, EnvVarSource, ObjectFieldSelector, Secret, SecretKeySelector,
};

use super::meta::metadata;
use super::{Deployment, Inputs, Item, Lifecycle, Owner};
use crate::config::{KeyPolicy, Keys};

/// The ConfigMap that every Clearwater container takes its environment from, under upstream's name
/// (clearwater-docker `README.md`).
pub const ENV_VARS: &str = "env-vars";
/// The Secret with the keys that protect sign-up and Ellis.
pub const KEYS_SECRET: &str = "clearwater-keys";
/// The ConfigMap with the configuration generator of the classic release.
pub const AUTO_CONFIG: &str = "clearwater-auto-config";

const ADDITIONAL: &str = "ADDITIONAL_SHARED_CONFIG";

/// The data of the ConfigMap `env-vars`.
pub(super) fn env_vars(d: &Deployment) -> BTreeMap<String, String> {
    let mut data =
        BTreeMap::from([(ADDITIONAL.to_owned(), additional_shared_config(d)), ("ZONE".to_owned(), d.zone())]);
    if let Some(hss) = &d.file().hss {
        data.insert("HSS".to_owned(), hss.hostname.clone());
    }
    data
}

fn additional_shared_config(d: &Deployment) -> String {
    d.file().shared_config.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("\\n")
}

pub(super) fn items(d: &Deployment, inputs: &Inputs) -> Vec<Item> {
    let mut items = vec![config_map(d, Owner::Shared, ENV_VARS, env_vars(d))];
    if d.file().keys == KeyPolicy::Random
        && let Some(keys) = &inputs.keys
    {
        items.push(secret(d, keys));
    }
    items
}

pub(super) fn config_map(d: &Deployment, owner: Owner, name: &str, data: BTreeMap<String, String>) -> Item {
    let object = ConfigMap { metadata: metadata(d, owner, None, name), data: Some(data), ..ConfigMap::default() };
    Item { owner, lifecycle: Lifecycle::Applied, object: object.into() }
}

fn secret(d: &Deployment, keys: &Keys) -> Item {
    let data = keys.settings().into_iter().map(|(name, key)| (name.to_owned(), ByteString(key.as_bytes().to_vec())));
    let object = Secret {
        metadata: metadata(d, Owner::Shared, None, KEYS_SECRET),
        type_: Some("Opaque".to_owned()),
        data: Some(data.collect()),
        ..Secret::default()
    };
    Item { owner: Owner::Shared, lifecycle: Lifecycle::CreatedOnce, object: object.into() }
}

/// The Secret that the keys are read from, or `None` where the images' own defaults stand.
pub(super) fn keys_secret(d: &Deployment) -> Option<&str> {
    match &d.file().keys {
        KeyPolicy::Random => Some(KEYS_SECRET),
        KeyPolicy::Secret(name) => Some(name),
        KeyPolicy::Upstream => None,
    }
}

/// The variables by which secrets reach the containers: each from its Secret, then `ADDITIONAL_SHARED_CONFIG` put
/// together from them and from the ConfigMap's value, which comes last and therefore wins.
pub(super) fn secret_env(d: &Deployment) -> Vec<EnvVar> {
    let mut env = Vec::new();
    let mut lines = Vec::new();
    let mut add = |setting: &str, secret: &str, key: &str| {
        let variable = setting.to_uppercase();
        lines.push(format!("{setting}=$({variable})"));
        env.push(from_secret(&variable, secret, key));
    };
    if let Some(secret) = keys_secret(d) {
        for setting in Keys::upstream().settings().keys() {
            add(setting, secret, setting);
        }
    }
    if let Some(password) = d.file().email.as_ref().and_then(|e| e.password.as_ref()) {
        add("smtp_password", &password.secret, &password.key);
    }
    if !env.is_empty() {
        const BASE: &str = "CLEARWATER_SHARED_CONFIG";
        env.push(from_config_map(BASE, ENV_VARS, ADDITIONAL));
        lines.push(format!("$({BASE})"));
        env.push(EnvVar { name: ADDITIONAL.to_owned(), value: Some(lines.join("\\n")), ..EnvVar::default() });
    }
    env
}

pub(super) fn from_field(name: &str, path: &str) -> EnvVar {
    let source = EnvVarSource {
        field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), ..ObjectFieldSelector::default() }),
        ..EnvVarSource::default()
    };
    EnvVar { name: name.to_owned(), value_from: Some(source), ..EnvVar::default() }
}

fn from_secret(name: &str, secret: &str, key: &str) -> EnvVar {
    let selector = SecretKeySelector { name: secret.to_owned(), key: key.to_owned(), optional: None };
    let source = EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value_from: Some(source), ..EnvVar::default() }
}

fn from_config_map(name: &str, config_map: &str, key: &str) -> EnvVar {
    let selector = ConfigMapKeySelector { name: config_map.to_owned(), key: key.to_owned(), optional: None };
    let source = EnvVarSource { config_map_key_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value_from: Some(source), ..EnvVar::default() }
}
