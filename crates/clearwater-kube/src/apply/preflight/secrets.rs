//! The Secrets that pods will read: whether they are there, and whether the images' own scripts can carry what they
//! hold. A value is looked at and never told.

use std::collections::{BTreeMap, BTreeSet};

use clearwater::component::Release;
use clearwater::config::shared::Unfit;
use clearwater::event::{CheckId, CheckLine, CheckStatus, Operation};
use clearwater::manifest::Object;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;

use super::{AT_ONCE, line, with_fix};
use crate::apply::prepare::ApplyPlan;
use crate::cluster::{Cluster, say};

/// The types of Secrets that the kubelet takes for a registry's password (kubernetes `pkg/credentialprovider/secrets`).
const PULL_TYPES: [&str; 2] = ["kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"];
const TITLE: &str = "secrets that the pods read";

/// What objects take from one Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Uses {
    /// Keys that containers have in their environment.
    keys: BTreeSet<String>,
    /// Whether images are pulled with it.
    pull: bool,
    /// Whether an Ingress takes its certificate from it.
    certificate: bool,
}

/// What reading a Secret showed.
enum SecretSeen {
    Found(Box<Secret>),
    Missing,
    Forbidden,
    Unknown(String),
}

/// What these objects take from Secrets, by name. Those that are among the objects themselves are made by the run.
fn uses<'o>(objects: impl Iterator<Item = (&'o Object, Operation)>) -> BTreeMap<String, Uses> {
    let mut uses: BTreeMap<String, Uses> = BTreeMap::new();
    let mut made = BTreeSet::new();
    for (object, operation) in objects {
        match object {
            Object::Secret(_) if operation == Operation::Create => {
                made.insert(object.name());
            }
            Object::Ingress(ingress) => {
                let tls = ingress.spec.iter().flat_map(|s| s.tls.iter().flatten());
                for name in tls.filter_map(|t| t.secret_name.clone()) {
                    uses.entry(name).or_default().certificate = true;
                }
            }
            _ => {}
        }
        let Some(pod) = object.pod_template().and_then(|t| t.spec.as_ref()) else { continue };
        for pull in pod.image_pull_secrets.iter().flatten() {
            uses.entry(pull.name.clone()).or_default().pull = true;
        }
        let containers = pod.init_containers.iter().flatten().chain(&pod.containers);
        let variables = containers.flat_map(|c| c.env.iter().flatten());
        let keys = variables.filter_map(|v| v.value_from.as_ref()?.secret_key_ref.as_ref());
        for key in keys.filter(|k| k.optional != Some(true)) {
            uses.entry(key.name.clone()).or_default().keys.insert(key.key.clone());
        }
    }
    uses.retain(|name, _| !made.contains(name.as_str()));
    uses
}

/// What is wrong with one Secret.
fn judge(namespace: &str, release: Release, name: &str, uses: &Uses, seen: &SecretSeen) -> Vec<CheckLine> {
    let title = format!("secret {name}");
    let told =
        |status, detail: String, fix: String| with_fix(line(CheckId::Secrets, title.clone(), status, detail), fix);
    let secret = match seen {
        SecretSeen::Forbidden => {
            return vec![line(CheckId::Secrets, title.clone(), CheckStatus::Skipped, "needs get secrets")];
        }
        SecretSeen::Unknown(why) => {
            return vec![line(CheckId::Secrets, title.clone(), CheckStatus::Unseen, why.as_str())];
        }
        SecretSeen::Missing if !uses.keys.is_empty() => {
            let keys: String = uses.keys.iter().map(|k| format!(" --from-literal={k}=VALUE")).collect();
            let fix = format!("kubectl create secret generic {name} -n {namespace}{keys}");
            return vec![told(CheckStatus::Failed, "it does not exist".to_owned(), fix)];
        }
        // The kubelet goes on without, and a certificate may be made once its Ingress stands.
        SecretSeen::Missing if uses.pull => {
            let fix =
                format!("kubectl create secret docker-registry {name} -n {namespace} …, or correct images.pullSecrets");
            return vec![told(CheckStatus::Warning, "it does not exist: images are pulled without it".to_owned(), fix)];
        }
        SecretSeen::Missing => {
            let detail = "it does not exist: Ellis has no certificate of its own until somebody makes it".to_owned();
            let fix =
                format!("kubectl create secret tls {name} -n {namespace} --cert=FILE --key=FILE, or cert-manager");
            return vec![told(CheckStatus::Warning, detail, fix)];
        }
        SecretSeen::Found(secret) => secret,
    };
    let mut lines = Vec::new();
    for key in &uses.keys {
        match secret.data.as_ref().and_then(|d| d.get(key)) {
            None => {
                let fix = format!("put the key {key} into secret {name} in namespace {namespace}");
                lines.push(told(CheckStatus::Failed, format!("it has no key {key}"), fix));
            }
            Some(value) => lines.extend(
                Unfit::of(release, &value.0)
                    .map(|u| told(CheckStatus::Failed, format!("key {key}: the value has {u}"), u.fix(release))),
            ),
        }
    }
    let kind = secret.type_.as_deref().unwrap_or("Opaque");
    if uses.pull && !PULL_TYPES.contains(&kind) {
        let detail = format!("its type is {kind}: images are pulled without it");
        let fix = format!("make it anew with: kubectl create secret docker-registry {name} -n {namespace} …");
        lines.push(told(CheckStatus::Warning, detail, fix));
    }
    lines
}

async fn read(cluster: &Cluster, name: &str) -> SecretSeen {
    match cluster.api::<Secret>().get_opt(name).await {
        Ok(Some(secret)) => SecretSeen::Found(Box::new(secret)),
        Ok(None) => SecretSeen::Missing,
        Err(kube::Error::Api(status)) if status.is_forbidden() => SecretSeen::Forbidden,
        Err(error) => SecretSeen::Unknown(say(&error)),
    }
}

/// Reads every Secret that the pods will, and says what of it would not arrive.
pub(super) async fn check(cluster: &Cluster, release: Release, work: &ApplyPlan) -> Vec<CheckLine> {
    check_objects(cluster, release, work.all().map(|p| (&p.item.object, p.operation))).await
}

async fn check_objects<'o>(
    cluster: &Cluster,
    release: Release,
    objects: impl Iterator<Item = (&'o Object, Operation)>,
) -> Vec<CheckLine> {
    let uses = uses(objects);
    let questions: Vec<BoxFuture<'_, _>> =
        uses.iter().map(|(name, uses)| async move { (name, uses, read(cluster, name).await) }.boxed()).collect();
    let seen: Vec<_> = stream::iter(questions).buffered(AT_ONCE).collect().await;
    let lines: Vec<CheckLine> =
        seen.iter().flat_map(|(name, uses, seen)| judge(&cluster.namespace, release, name, uses, seen)).collect();
    if !lines.is_empty() || uses.is_empty() {
        return lines;
    }
    let names: Vec<&str> = uses.keys().map(String::as_str).collect();
    vec![line(CheckId::Secrets, TITLE, CheckStatus::Ok, names.join(", "))]
}

#[cfg(test)]
mod tests {
    use clearwater::config::DeploymentFile;
    use clearwater::manifest::{Inputs, render};
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api;

    const FILE: &str = "apiVersion: clearwater/v1\nkeys: {secret: own}\n\
        email: {smarthost: m.example.com, username: u, password: {secret: mail, key: pass}}\n\
        images: {pullSecrets: [pull]}\n";

    fn secret(data: &[(&str, &str)]) -> Value {
        let data: BTreeMap<&str, _> =
            data.iter().map(|(k, v)| (*k, json!(k8s_openapi::ByteString(v.as_bytes().to_vec())))).collect();
        json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}, "data": data})
    }

    fn own() -> Value {
        secret(&[("signup_key", "a"), ("turn_workaround", "b"), ("ellis_api_key", "c"), ("ellis_cookie_key", "d")])
    }

    async fn lines(yaml: &str, secrets: Value) -> Vec<CheckLine> {
        let (cluster, asked) =
            fake_api::cluster(move |path| secrets.get(path.rsplit('/').next().unwrap_or_default()).cloned());
        let deployment = DeploymentFile::parse(yaml, "clearwater.yaml").unwrap().deploy("ims").unwrap();
        let manifest = render(&deployment, &Inputs::default()).unwrap();
        let objects = manifest.objects().map(|o| (o, Operation::Create));
        let lines = check_objects(&cluster, deployment.release(), objects).await;
        assert!(asked.all().iter().all(|a| a.starts_with("GET ")), "{asked:?}");
        lines
    }

    fn told(lines: &[CheckLine]) -> Vec<String> {
        lines.iter().map(|l| format!("{:?} {}: {}", l.status, l.title, l.detail)).collect()
    }

    #[tokio::test]
    async fn values_that_the_images_scripts_cannot_carry_are_refused_and_not_shown() {
        let mut pull = secret(&[]);
        pull["type"] = json!("kubernetes.io/dockerconfigjson");
        let well = json!({"mail": secret(&[("pass", "pa$$w0rd")]), "own": own(), "pull": pull});
        assert_eq!(told(&lines(FILE, well.clone()).await), ["Ok secrets that the pods read: mail, own, pull"]);
        for (value, kind) in
            [("hid'den", "a single quote"), ("hidden\n", "a line break at its end"), ("hid den", "a blank")]
        {
            let mut bad = well.clone();
            bad["mail"] = secret(&[("pass", value)]);
            let lines = lines(FILE, bad).await;
            assert_eq!(told(&lines), [format!("Failed secret mail: key pass: the value has {kind}")]);
            assert!(lines[0].fix.is_some() && !format!("{lines:?}").contains("hid"), "{lines:?}");
        }
        // The classic release's script quotes what it is given.
        let classic = format!(
            "{}release: classic\n",
            FILE.replace("images: {", "images: {registry: r.example/cw, tag: '2016', ")
        );
        let mut odd = well;
        odd["mail"] = secret(&[("pass", "it's fine")]);
        assert_eq!(lines(&classic, odd).await.iter().filter(|l| l.status != CheckStatus::Ok).count(), 0);
    }

    #[tokio::test]
    async fn what_is_missing_is_named_and_what_may_not_be_read_is_skipped() {
        let found = lines(FILE, json!({"mail": null, "own": secret(&[("signup_key", "a"), ("turn_workaround", "b"), ("ellis_api_key", "c")])})).await;
        assert_eq!(
            told(&found),
            [
                "Skipped secret mail: needs get secrets",
                "Failed secret own: it has no key ellis_cookie_key",
                "Warning secret pull: it does not exist: images are pulled without it",
            ]
        );
        let found = lines(FILE, json!({"own": own(), "pull": secret(&[])})).await;
        assert_eq!(
            told(&found),
            [
                "Failed secret mail: it does not exist",
                "Warning secret pull: its type is Opaque: images are pulled without it",
            ]
        );
        assert!(
            found[0]
                .fix
                .as_ref()
                .unwrap()
                .to_string()
                .contains("create secret generic mail -n ims --from-literal=pass=")
        );
    }

    #[tokio::test]
    async fn a_secret_that_the_run_makes_is_not_missed_and_what_nobody_names_is_not_read() {
        let deployment = DeploymentFile::default().deploy("ims").unwrap();
        let inputs = Inputs { keys: Some(clearwater::config::Keys::upstream()), ..Inputs::default() };
        let manifest = render(&deployment, &inputs).unwrap();
        let uses = uses(manifest.objects().map(|o| (o, Operation::Create)));
        assert!(uses.is_empty(), "{uses:?}");
        // It stands already: its values are looked at like any other's.
        let found =
            lines("apiVersion: clearwater/v1\n", json!({"clearwater-keys": secret(&[("signup_key", "a b")])})).await;
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(lines("apiVersion: clearwater/v1\nkeys: upstream\n", json!({})).await, []);
    }
}
