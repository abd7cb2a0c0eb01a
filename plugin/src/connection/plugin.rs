//! A credential that a plugin of the kubeconfig gives: asked for once when the client is made, and again when its token has
//! run out. kube would run the plugin three times, and wait for it as long as it runs.

use std::fmt::Display;
use std::io::{self, IsTerminal as _};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use kube::Client;
use kube::client::Body;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Mutex;
use tower::BoxError;

use crate::awaited::{Written, awaited};
use crate::credential::{KEPT, SEEN, WORD, why};

/// A token is renewed so long before it runs out: the request that carries it takes its time.
const EARLY: SignedDuration = SignedDuration::from_secs(10);

/// The plugin that a kubeconfig's user names.
pub(super) struct Plugin {
    exec: ExecConfig,
    tell: Arc<dyn Fn(&str) + Send + Sync>,
}

/// What it gave.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ExecCredential {
    status: ExecCredentialStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ExecCredentialStatus {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
#[error("{0}; check the kubeconfig's user")]
pub(super) struct NoCredential(String);

/// The value of `Authorization`, and when it runs out.
type Token = (HeaderValue, Option<Timestamp>);

impl Plugin {
    /// The one that these credentials come from, where they come from one: it is taken out of them.
    pub(super) fn of(auth: &mut AuthInfo, tell: impl Fn(&str) + Send + Sync + 'static) -> Option<Self> {
        let exec = auth.exec.take()?;
        // What the kubeconfig itself holds, or a file, comes first.
        let has_password = auth.username.is_some() && auth.password.is_some();
        let has_token = auth.token.is_some() || auth.token_file.is_some() || auth.auth_provider.is_some();
        (!has_password && !has_token).then(|| Self { exec, tell: Arc::new(tell) })
    }

    /// Whether it may ask somebody, who takes his time.
    pub(super) fn asks(&self) -> bool {
        self.may_ask() && io::stdin().is_terminal()
    }

    fn may_ask(&self) -> bool {
        self.exec.interactive_mode != Some(ExecInteractiveMode::Never)
    }

    fn name(&self) -> &str {
        self.exec.command.as_deref().unwrap_or_default()
    }

    /// Has it give a credential, and puts what of that belongs to a handshake among the credentials. Yields the token, where
    /// there is one.
    pub(super) async fn first(&self, auth: &mut AuthInfo, limit: Duration) -> Result<Option<Token>, NoCredential> {
        let given = self.credential(limit).await?;
        if let (Some(certificate), Some(key)) = (&given.client_certificate_data, &given.client_key_data)
            && !certificate.is_empty()
        {
            (auth.client_certificate, auth.client_key) = (None, None);
            auth.client_certificate_data = Some(base64(certificate));
            auth.client_key_data = Some(SecretString::from(base64(key)));
        }
        self.token(&given)
    }

    fn token(&self, given: &ExecCredentialStatus) -> Result<Option<Token>, NoCredential> {
        let Some(token) = given.token.as_deref().filter(|token| !token.is_empty()) else { return Ok(None) };
        let mut header =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|e| self.failed("gave a token", &e))?;
        header.set_sensitive(true);
        let expires = given.expiration_timestamp.as_deref().filter(|text| !text.is_empty());
        let expires =
            expires.map(str::parse).transpose().map_err(|e| self.failed("gave an expirationTimestamp", &e))?;
        Ok(Some((header, expires)))
    }

    fn failed(&self, what: &str, why: &dyn Display) -> NoCredential {
        NoCredential(format!("the credential plugin {:?} {what}: {why}", self.name()))
    }

    /// Runs it within its bounds. It ends when nobody waits any more for what it gives.
    async fn credential(&self, limit: Duration) -> Result<ExecCredentialStatus, NoCredential> {
        let (tell, name) = (Arc::clone(&self.tell), self.name().to_owned());
        let _awaited = awaited(Written::default(), move || tell(&format!("the credential plugin {name:?}")));
        let child = self.guarded(limit).and_then(|mut command| command.spawn());
        let mut child = child.map_err(|e| self.failed("cannot be started", &e))?;
        // What runs it hears the end of this, and ends it.
        let _waited_for = child.stdin.take();
        let out = child.wait_with_output().await.map_err(|e| self.failed("cannot be read", &e))?;
        if !out.status.success() {
            return Err(NoCredential(why(&out.stdout)));
        }
        let given = clearwater::yaml::read_one::<ExecCredential>(&String::from_utf8_lossy(&out.stdout));
        Ok(given.map_err(|e| self.failed("wrote no ExecCredential", &e))?.status)
    }

    /// This program, which runs the plugin and is told what client-go tells one. One that may ask somebody has no limit.
    fn guarded(&self, limit: Duration) -> io::Result<Command> {
        let (asks, exec) = (self.asks(), &self.exec);
        let mut command = Command::new(std::env::current_exe()?);
        let limit = if asks { String::new() } else { limit.as_millis().to_string() };
        command.args([WORD, &limit, if self.may_ask() { SEEN } else { KEPT }, self.name()]);
        command.args(exec.args.iter().flatten());
        let pairs = exec.env.iter().flatten().filter_map(|env| Some((env.get("name")?, env.get("value")?)));
        command.envs(pairs).env("KUBERNETES_EXEC_INFO", self.info(asks).to_string());
        command.stdin(if asks { Stdio::inherit() } else { Stdio::piped() }).stdout(Stdio::piped());
        command.stderr(if self.may_ask() { Stdio::inherit() } else { Stdio::null() });
        Ok(command)
    }

    /// What a plugin reads of whom it serves.
    fn info(&self, asks: bool) -> Value {
        let mut spec = json!({"interactive": asks});
        if self.exec.provide_cluster_info {
            spec["cluster"] = serde_json::to_value(&self.exec.cluster).unwrap_or_default();
        }
        json!({"kind": "ExecCredential", "apiVersion": self.exec.api_version, "spec": spec})
    }
}

/// As the kubeconfig holds certificates and keys.
fn base64(text: &str) -> String {
    let value = serde_json::to_value(ByteString(text.as_bytes().to_vec()));
    value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The client, whose requests carry the plugin's token. One that has run out is renewed by the request that needs it, in the
/// time that the request has, and no longer than the limit.
pub(super) fn with_token(client: Client, plugin: Plugin, first: Token, limit: Duration) -> Client {
    let namespace = client.default_namespace().to_owned();
    let shared = Arc::new((plugin, Mutex::new(first)));
    let service = tower::service_fn(move |mut request: http::Request<Body>| {
        let (client, shared) = (client.clone(), Arc::clone(&shared));
        async move {
            request.headers_mut().insert(AUTHORIZATION, header(&shared.0, &shared.1, limit).await?);
            client.send(request).await.map_err(BoxError::from)
        }
    });
    Client::new(service, namespace)
}

async fn header(plugin: &Plugin, last: &Mutex<Token>, limit: Duration) -> Result<HeaderValue, NoCredential> {
    let mut last = last.lock().await;
    if last.1.is_some_and(|expires| Timestamp::now() + EARLY >= expires) {
        let given = plugin.credential(limit).await?;
        *last = plugin
            .token(&given)?
            .ok_or_else(|| NoCredential("the credential plugin gave a token no more".to_owned()))?;
    }
    Ok(last.0.clone())
}
