//! What the containers of Ellis were given: the sign-up code, the API key and the home domain, each from where the
//! deployment keeps it, be it this project's or upstream's own.

use std::collections::BTreeMap;

use clearwater::component::{Component, Release};
use clearwater::config::generator::{Environment, generate};
use clearwater::config::{Keys, shell::Settings};
use clearwater::manifest::AUTO_CONFIG;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSpec, Secret};
use secrecy::{ExposeSecret, SecretString};

use super::error::SubscriberError;
use crate::cluster::Cluster;
use crate::pod::object::own_container;

const SIGNUP_KEY: &str = "SIGNUP_KEY";
const API_KEY: &str = "ELLIS_API_KEY";
const ADDITIONAL: &str = "ADDITIONAL_SHARED_CONFIG";
const ZONE: &str = "ZONE";

/// What lets somebody make an account at Ellis, and a program do what only the operator may.
#[derive(Clone, Debug)]
pub struct EllisKeys {
    /// What people type when they make an account (`signup_key`).
    pub sign_up_code: SecretString,
    /// What a program shows to act for every account (`ellis_api_key`).
    pub api_key: SecretString,
    /// Where the sign-up code is kept, for who looks for it.
    pub kept_in: String,
    /// The Secret that holds the sign-up code, and the key of it; `None` where it is kept elsewhere.
    pub secret: Option<(String, String)>,
    /// The SIP home domain that the containers were given; empty where they were told none.
    pub home_domain: String,
}

/// Where a variable's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum VariableSource {
    Text(String),
    /// What the pod says of itself, in which nothing refers to another variable.
    Own(String),
    Map {
        map: String,
        key: String,
    },
    Secret {
        secret: String,
        key: String,
    },
}

/// What a pod says of itself, by the path that a `fieldRef` names (kubernetes `pkg/fieldpath/fieldpath.go`); `None` for what is
/// not needed here.
fn own_field(pod: &Pod, path: &str) -> Option<String> {
    let (metadata, spec, status) = (&pod.metadata, pod.spec.as_ref(), pod.status.as_ref());
    match path {
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.name" => metadata.name.clone(),
        "status.podIP" => status?.pod_ip.clone(),
        "status.hostIP" => status?.host_ip.clone(),
        "spec.nodeName" => spec?.node_name.clone(),
        "spec.serviceAccountName" => spec?.service_account_name.clone(),
        _ => {
            let (map, key) = path.strip_suffix("']")?.split_once("['")?;
            let all = match map {
                "metadata.labels" => metadata.labels.as_ref()?,
                "metadata.annotations" => metadata.annotations.as_ref()?,
                _ => return None,
            };
            all.get(key).cloned()
        }
    }
}

/// The variables of a pod's container, in their order, and the ConfigMaps that all of the data is taken from.
fn sources(pod: &Pod, container: &Container) -> (Vec<(String, VariableSource)>, Vec<String>) {
    let mut variables = Vec::new();
    for variable in container.env.iter().flatten() {
        let from = variable.value_from.as_ref();
        let map = from.and_then(|f| f.config_map_key_ref.as_ref());
        let secret = from.and_then(|f| f.secret_key_ref.as_ref());
        let source = match (map, secret) {
            (Some(r), _) => VariableSource::Map { map: r.name.clone(), key: r.key.clone() },
            (_, Some(r)) => VariableSource::Secret { secret: r.name.clone(), key: r.key.clone() },
            _ if from.is_some() => {
                let path = from.and_then(|f| f.field_ref.as_ref()).map(|r| r.field_path.as_str());
                let Some(text) = path.and_then(|path| own_field(pod, path)) else { continue };
                VariableSource::Own(text)
            }
            _ => VariableSource::Text(variable.value.clone().unwrap_or_default()),
        };
        variables.push((variable.name.clone(), source));
    }
    let whole = container.env_from.iter().flatten().filter_map(|f| f.config_map_ref.as_ref().map(|r| r.name.clone()));
    (variables, whole.collect())
}

/// Replaces `$(NAME)` where the name is known, as Kubernetes does (kubernetes `third_party/forked/golang/expansion`).
fn expanded(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("$(") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        rest = after;
        let Some(end) = after.find(')') else { break };
        let (reference, behind) = after.split_at(end + 1);
        match known.get(&reference[2..reference.len() - 1]) {
            Some(value) => out.push_str(value),
            None => out.push_str(reference),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// The plain variables of a container. Those that a Secret holds stay out, and what refers to them keeps the reference.
fn plain(
    variables: &[(String, VariableSource)],
    whole: &[String],
    maps: &BTreeMap<String, BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let mut known: BTreeMap<String, String> =
        whole.iter().filter_map(|name| maps.get(name)).flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    for (name, source) in variables {
        let value = match source {
            VariableSource::Text(text) => Some(expanded(text, &known)),
            VariableSource::Own(text) => Some(text.clone()),
            VariableSource::Map { map, key } => maps.get(map).and_then(|m| m.get(key)).cloned(),
            VariableSource::Secret { .. } => None,
        };
        match value {
            Some(value) => known.insert(name.clone(), value),
            None => known.remove(name),
        };
    }
    known
}

/// The settings that the images' generator makes of the environment; none where it would make an accident of it.
fn settings(known: &BTreeMap<String, String>) -> Settings {
    let environment = Environment {
        zone: known.get(ZONE).cloned(),
        additional_shared_config: known.get(ADDITIONAL).cloned(),
        ip: "192.0.2.1".to_owned(),
        ..Environment::default()
    };
    generate(Release::Hunter, &environment).ok().and_then(|g| g.settings().ok()).unwrap_or_default()
}

/// The home domain that the classic release's script sets.
fn home_domain_in(script: &str) -> Option<String> {
    let line = script.lines().find_map(|line| line.strip_prefix("put \"$shared\" home_domain "))?;
    Some(line.trim().trim_matches('\'').to_owned()).filter(|d| !d.is_empty())
}

/// What the containers of a component were given.
pub(super) struct Given {
    cluster: Cluster,
    variables: Vec<(String, VariableSource)>,
    settings: Settings,
    /// The SIP home domain.
    pub(super) home_domain: String,
}

impl Given {
    /// Reads what a pod's own container was given. Secrets are not read yet.
    pub(super) async fn read(cluster: &Cluster, component: Component, pod: &Pod) -> Result<Self, SubscriberError> {
        let spec = pod.spec.clone().unwrap_or_default();
        let own = own_container(&spec, component).cloned().unwrap_or_default();
        let (variables, whole) = sources(pod, &own);
        let mut maps = BTreeMap::new();
        let named = variables.iter().filter_map(|(_, s)| match s {
            VariableSource::Map { map, .. } => Some(map),
            _ => None,
        });
        for name in named.chain(&whole) {
            if !maps.contains_key(name) {
                maps.insert(name.clone(), config_map(cluster, name).await?);
            }
        }
        let known = plain(&variables, &whole, &maps);
        let settings = settings(&known);
        let by_script = if has_script(&spec) {
            let script = config_map(cluster, AUTO_CONFIG).await?;
            script.values().find_map(|text| home_domain_in(text))
        } else {
            None
        };
        let home_domain = by_script.or_else(|| settings.get("home_domain").map(str::to_owned)).unwrap_or_default();
        Ok(Self { cluster: cluster.clone(), variables, settings, home_domain })
    }

    /// Ellis' keys, from where the container takes them.
    pub(super) async fn keys(&self) -> Result<EllisKeys, SubscriberError> {
        let (sign_up_code, kept_in) = self.key(SIGNUP_KEY, "signup_key").await?;
        let (api_key, _) = self.key(API_KEY, "ellis_api_key").await?;
        let secret = match self.source(SIGNUP_KEY) {
            Some(VariableSource::Secret { secret, key }) => Some((secret.clone(), key.clone())),
            _ => None,
        };
        Ok(EllisKeys { sign_up_code, api_key, kept_in, secret, home_domain: self.home_domain.clone() })
    }

    fn source(&self, variable: &str) -> Option<&VariableSource> {
        self.variables.iter().rfind(|(name, _)| name == variable).map(|(_, source)| source)
    }

    async fn key(&self, variable: &str, setting: &'static str) -> Result<(SecretString, String), SubscriberError> {
        match self.source(variable) {
            Some(VariableSource::Secret { secret, key }) => {
                let value = secret_value(&self.cluster, secret, key).await?;
                Ok((value, format!("key {key} of Secret/{secret}")))
            }
            Some(VariableSource::Text(text) | VariableSource::Own(text)) => {
                Ok((text.as_str().into(), "the pod's own environment".to_owned()))
            }
            _ => {
                let upstream = Keys::upstream();
                let default = upstream.settings().get(setting).copied().unwrap_or_default().to_owned();
                let value = self.settings.get(setting).map_or_else(|| default.clone(), str::to_owned);
                let kept = if value == default { "upstream's default" } else { "the deployment's ConfigMap" };
                Ok((value.into(), kept.to_owned()))
            }
        }
    }
}

fn has_script(spec: &PodSpec) -> bool {
    spec.volumes.iter().flatten().any(|v| v.config_map.as_ref().is_some_and(|m| m.name == AUTO_CONFIG))
}

async fn config_map(cluster: &Cluster, name: &str) -> Result<BTreeMap<String, String>, SubscriberError> {
    let what = format!("ConfigMap/{name}");
    let found = cluster.api::<ConfigMap>().get_opt(name).await;
    let found = found.map_err(|e| SubscriberError::of_api(&what, "get configmaps", e))?;
    Ok(found.and_then(|m| m.data).unwrap_or_default())
}

async fn secret_value(cluster: &Cluster, name: &str, key: &str) -> Result<SecretString, SubscriberError> {
    let what = format!("Secret/{name}");
    let found = cluster.api::<Secret>().get_opt(name).await;
    let found = found.map_err(|e| SubscriberError::of_api(&what, "get secrets", e))?;
    let wrong = |message: String| SubscriberError::Keys { what: what.clone(), message };
    let Some(secret) = found else {
        return Err(wrong("it does not exist, though ellis' pod was made from it".to_owned()));
    };
    let Some(value) = secret.data.as_ref().and_then(|d| d.get(key)) else {
        return Err(wrong(format!("it has no key {key}")));
    };
    let text = String::from_utf8(value.0.clone()).map_err(|_| wrong(format!("key {key} is no text")))?;
    let text = SecretString::from(text);
    if text.expose_secret().is_empty() { Err(wrong(format!("key {key} is empty"))) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use clearwater::config::DeploymentFile;
    use clearwater::manifest::{Inputs, Object, render};
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api;

    const REGISTRY: &str = "release: classic\nimages: {registry: r.example/cw, tag: '2016'}\n";

    /// What Ellis' pod of a deployment is given, and its sign-up code.
    async fn given(yaml: &str, secret: Option<&str>) -> (String, String, String) {
        let yaml = format!("apiVersion: clearwater/v1\n{yaml}");
        let deployment = DeploymentFile::parse(&yaml, "clearwater.yaml").unwrap().deploy("ims").unwrap();
        let inputs = Inputs { keys: Some(Keys::upstream()), ..Inputs::default() };
        let manifest = render(&deployment, &inputs).unwrap();
        let mut objects: BTreeMap<String, Value> = BTreeMap::new();
        let mut pod = None;
        for object in manifest.objects() {
            match object {
                Object::ConfigMap(map) => {
                    objects.insert(object.name().to_owned(), serde_json::to_value(map).unwrap());
                }
                _ if object.name() == "ellis" && object.pod_template().is_some() => {
                    pod = Some(Pod { spec: object.pod_template().unwrap().spec.clone(), ..Pod::default() });
                }
                _ => {}
            }
        }
        if let Some(name) = secret {
            let key = |text: &str| json!(k8s_openapi::ByteString(text.as_bytes().to_vec()));
            let data = json!({"signup_key": key("own code"), "ellis_api_key": key("own key")});
            objects.insert(
                name.to_owned(),
                json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name}, "data": data}),
            );
        }
        let (cluster, _) =
            fake_api::cluster(move |path| objects.get(path.rsplit('/').next().unwrap_or_default()).cloned());
        let given = Given::read(&cluster, Component::Ellis, &pod.unwrap()).await.unwrap();
        let keys = given.keys().await;
        let told = match keys {
            Ok(keys) => (keys.sign_up_code.expose_secret().to_owned(), keys.kept_in),
            Err(error) => (String::new(), error.to_string()),
        };
        (given.home_domain, told.0, told.1)
    }

    #[tokio::test]
    async fn keys_and_domain_are_read_from_where_the_deployment_keeps_them() {
        // (deployment file, Secret that is there, home domain, code, where it is kept)
        let zone = "ims.svc.cluster.local";
        let kept = "key signup_key of Secret/clearwater-keys";
        let rows = [
            ("", Some("clearwater-keys"), zone, "own code", kept),
            (
                "keys: {secret: own}\nhomeDomain: ims.example.com\n",
                Some("own"),
                "ims.example.com",
                "own code",
                "key signup_key of Secret/own",
            ),
            ("keys: upstream\n", None, zone, "secret", "upstream's default"),
            ("", None, zone, "", "Secret/clearwater-keys: it does not exist, though ellis' pod was made from it"),
        ];
        for (yaml, secret, domain, code, kept_in) in rows {
            let found = given(yaml, secret).await;
            assert_eq!(found, (domain.to_owned(), code.to_owned(), kept_in.to_owned()), "{yaml}");
        }
        let classic = format!("{REGISTRY}homeDomain: ims.example.com\n");
        let found = given(&classic, Some("clearwater-keys")).await;
        assert_eq!(found, ("ims.example.com".to_owned(), "own code".to_owned(), kept.to_owned()));
    }

    #[test]
    fn upstreams_own_way_of_setting_a_key_is_read() {
        let data = BTreeMap::from([
            (ZONE.to_owned(), "x.svc.cluster.local".to_owned()),
            (ADDITIONAL.to_owned(), "signup_key=topsecret\\nhome_domain=example.org".to_owned()),
        ]);
        let settings = settings(&data);
        assert_eq!(settings.get("signup_key"), Some("topsecret"));
        assert_eq!(settings.get("home_domain"), Some("example.org"));
    }

    #[test]
    fn a_zone_that_is_made_of_the_pods_own_namespace_is_known() {
        let own = |path: &str| json!({"fieldRef": {"fieldPath": path}});
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "ellis-x", "namespace": "ims", "labels": {"a/b": "label"}},
            "spec": {"containers": [{"name": "ellis", "env": [
                {"name": "MY_NAMESPACE", "valueFrom": own("metadata.namespace")},
                {"name": "LABEL", "valueFrom": own("metadata.labels['a/b']")},
                {"name": "UNKNOWN", "valueFrom": own("metadata.uid")},
                {"name": ZONE, "value": "$(MY_NAMESPACE).svc.cluster.local"},
            ]}]},
            "status": {"podIP": "10.244.1.9"},
        }))
        .unwrap();
        let (variables, whole) = sources(&pod, &pod.spec.as_ref().unwrap().containers[0]);
        let known = plain(&variables, &whole, &BTreeMap::new());
        assert_eq!(known.get(ZONE).map(String::as_str), Some("ims.svc.cluster.local"));
        assert_eq!((known.get("LABEL").map(String::as_str), known.get("UNKNOWN")), (Some("label"), None));
        assert_eq!(settings(&known).get("home_domain"), Some("ims.svc.cluster.local"));
        assert_eq!(own_field(&pod, "status.podIP").as_deref(), Some("10.244.1.9"));
    }

    #[test]
    fn references_are_replaced_where_they_are_known() {
        let known = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expected) in
            [("x$(A)y$(B)", "x1y$(B)"), ("$(A)", "1"), ("$(A", "$(A"), ("", ""), ("$(A)$(A)z", "11z")]
        {
            assert_eq!(expanded(text, &known), expected);
        }
    }
}
