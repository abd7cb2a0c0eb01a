//! A credential that a plugin of the kubeconfig gives: asked for once when the client is made, and again when it has run out or the
//! API server does not know it. kube would run the plugin three times, and wait for it as long as it runs.

use std::fmt::Display;
use std::io::{self, IsTerminal as _};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use clearwater::text::{in_one_line, printable};
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
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
use crate::credential::{KEPT, NOT_STARTED, SEEN, WORD, why};

/// A credential is renewed so long before it runs out: the request that carries it takes its time.
const EARLY: SignedDuration = SignedDuration::from_secs(10);

/// The plugin that a kubeconfig's user names.
pub(super) struct Plugin {
    exec: ExecConfig,
    tell: Arc<dyn Fn(&str) + Send + Sync>,
}

/// What it gave.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ExecCredential {
    api_version: String,
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

impl NoCredential {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// The versions of the interface that kubectl takes; it took `v1alpha1` until 1.24 (client-go `plugin/pkg/client/auth/exec`).
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// What a plugin gave, as requests and handshakes take it.
#[derive(Clone, Default)]
pub(super) struct Credential {
    /// The value of `Authorization`.
    token: Option<HeaderValue>,
    /// The certificate and its key, both in PEM.
    certificate: Option<(String, String)>,
    /// When it runs out.
    expires: Option<Timestamp>,
}

impl Credential {
    /// Puts what of it belongs to a handshake among the credentials.
    pub(super) fn put(&self, auth: &mut AuthInfo) {
        let Some((certificate, key)) = &self.certificate else { return };
        (auth.client_certificate, auth.client_key) = (None, None);
        auth.client_certificate_data = Some(base64(certificate.as_bytes()));
        auth.client_key_data = Some(SecretString::from(base64(key.as_bytes())));
    }
}

impl Plugin {
    /// The one that these credentials come from, where they come from one: it is taken out of them.
    pub(super) fn of(auth: &mut AuthInfo, tell: impl Fn(&str) + Send + Sync + 'static) -> Option<Self> {
        let exec = auth.exec.take()?;
        // What the kubeconfig itself holds, or a file, comes first.
        let has_password = auth.username.is_some() && auth.password.is_some();
        let has_token = auth.token.is_some() || auth.token_file.is_some();
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

    /// Which version of the interface is spoken.
    fn version(&self) -> Result<&str, NoCredential> {
        let version = self.exec.api_version.as_deref().unwrap_or_default();
        if VERSIONS.contains(&version) {
            return Ok(version);
        }
        let [known, older] = VERSIONS;
        let why = if version.ends_with("/v1alpha1") { ", which kubectl does not take since 1.24" } else { "" };
        Err(NoCredential(format!(
            "the credential plugin {:?} is to speak apiVersion {version:?}{why}: {known} and {older} are taken; have the \
             kubeconfig made anew (`aws eks update-kubeconfig` and the like)",
            self.name()
        )))
    }

    /// Has it give a credential.
    pub(super) async fn give(&self, limit: Duration) -> Result<Credential, NoCredential> {
        let given = self.credential(limit).await?;
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let token = some(given.token).map(|token| {
            let mut header =
                HeaderValue::try_from(format!("Bearer {token}")).map_err(|e| self.failed("gave a token", &e))?;
            header.set_sensitive(true);
            Ok(header)
        });
        let expires = some(given.expiration_timestamp).map(|text| text.parse::<Timestamp>());
        Ok(Credential {
            token: token.transpose()?,
            certificate: some(given.client_certificate_data).zip(some(given.client_key_data)),
            expires: expires.transpose().map_err(|e| self.failed("gave an expirationTimestamp", &e))?,
        })
    }

    fn failed(&self, what: &str, why: &dyn Display) -> NoCredential {
        NoCredential(format!("the credential plugin {:?} {what}: {why}", self.name()))
    }

    /// Runs it within its bounds. It ends when nobody waits any more for what it gives.
    async fn credential(&self, limit: Duration) -> Result<ExecCredentialStatus, NoCredential> {
        let version = self.version()?;
        let (tell, name) = (Arc::clone(&self.tell), self.name().to_owned());
        let _awaited = awaited(Written::default(), move || tell(&format!("the credential plugin {name:?}")));
        let child = self.guarded(limit).and_then(|mut command| command.spawn());
        let mut child = child.map_err(|e| self.failed("cannot be started", &e))?;
        // What runs it hears the end of this, and ends it.
        let _waited_for = child.stdin.take();
        let out = child.wait_with_output().await.map_err(|e| self.failed("cannot be read", &e))?;
        if !out.status.success() {
            let why = why(&out.stdout);
            // Who made the kubeconfig says there how the plugin is come by.
            let hint = self.exec.install_hint.as_deref().map(in_one_line);
            let hint = hint.filter(|hint| why.contains(NOT_STARTED) && !hint.is_empty());
            return Err(NoCredential(match hint {
                Some(hint) => format!("{why}. Its installHint: {}", printable(&hint)),
                None => why,
            }));
        }
        let given = clearwater::yaml::read_one::<ExecCredential>(&String::from_utf8_lossy(&out.stdout));
        let given = given.map_err(|e| self.failed("wrote no ExecCredential", &e))?;
        if given.api_version != version {
            return Err(
                self.failed("gave another version", &format!("{:?}, and {version} is asked for", given.api_version))
            );
        }
        Ok(given.status)
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
pub(super) fn base64(bytes: &[u8]) -> String {
    let value = serde_json::to_value(ByteString(bytes.to_vec()));
    value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// How a client is made that shows a certificate.
type Make = dyn Fn(&Credential) -> Result<Client, NoCredential> + Send + Sync;

/// What requests are made with now, and what follows it.
struct Renewed {
    plugin: Plugin,
    limit: Duration,
    make: Box<Make>,
    last: Mutex<Last>,
}

#[derive(Clone)]
struct Last {
    client: Client,
    credential: Credential,
    /// How many came before it.
    number: u64,
    /// Whether it was asked for because its predecessor was refused, and nothing was taken from it yet: a plugin is not run
    /// again and again for who may not come in.
    on_trial: bool,
}

impl Renewed {
    /// What a request is made with. What has run out is renewed by the request that needs it, in the time that the request has.
    async fn now(&self) -> Result<Last, NoCredential> {
        let mut last = self.last.lock().await;
        if last.credential.expires.is_some_and(|expires| Timestamp::now() + EARLY >= expires) {
            self.renew(&mut last, false).await?;
        }
        Ok(last.clone())
    }

    /// What follows one that the API server did not know (client-go does the same, `maybeRefreshCreds`); `None` where nothing
    /// new is to be had.
    async fn after_refusal(&self, number: u64) -> Result<Option<Last>, NoCredential> {
        let mut last = self.last.lock().await;
        if last.number == number {
            if last.on_trial {
                return Ok(None);
            }
            self.renew(&mut last, true).await?;
        }
        Ok(Some(last.clone()))
    }

    async fn taken(&self, number: u64) {
        let mut last = self.last.lock().await;
        last.on_trial &= last.number != number;
    }

    async fn renew(&self, last: &mut Last, on_trial: bool) -> Result<(), NoCredential> {
        let credential = self.plugin.give(self.limit).await?;
        if last.credential.token.is_some() && credential.token.is_none() {
            return Err(NoCredential("the credential plugin gave a token no more".to_owned()));
        }
        // What stands goes on over the connections that it has; what is new is asked over those with the new certificate.
        if credential.certificate != last.credential.certificate {
            last.client = (self.make)(&credential)?;
        }
        *last = Last { credential, number: last.number + 1, on_trial, client: last.client.clone() };
        Ok(())
    }
}

impl Last {
    async fn send(&self, mut request: http::Request<Body>) -> Result<http::Response<Body>, BoxError> {
        if let Some(token) = &self.credential.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        self.client.send(request).await.map_err(BoxError::from)
    }
}

/// The client, whose requests carry what the plugin gave, and what it gives later where that has run out or is refused.
pub(super) fn renewing(
    client: Client,
    plugin: Plugin,
    first: Credential,
    limit: Duration,
    make: impl Fn(&Credential) -> Result<Client, NoCredential> + Send + Sync + 'static,
) -> Client {
    let namespace = client.default_namespace().to_owned();
    let last = Mutex::new(Last { client, credential: first, number: 0, on_trial: false });
    let shared = Arc::new(Renewed { plugin, limit, make: Box::new(make), last });
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let shared = Arc::clone(&shared);
        async move {
            let now = shared.now().await?;
            let (parts, body) = request.into_parts();
            // A body that is being written cannot be sent twice; ours are whole.
            let again = body.try_clone().map(|body| http::Request::from_parts(parts.clone(), body));
            let answer = now.send(http::Request::from_parts(parts, body)).await?;
            if answer.status() != StatusCode::UNAUTHORIZED {
                shared.taken(now.number).await;
                return Ok(answer);
            }
            match (shared.after_refusal(now.number).await?, again) {
                (Some(next), Some(again)) => {
                    let answer = next.send(again).await?;
                    if answer.status() != StatusCode::UNAUTHORIZED {
                        shared.taken(next.number).await;
                    }
                    Ok(answer)
                }
                _ => Ok::<_, BoxError>(answer),
            }
        }
    });
    Client::new(service, namespace)
}
