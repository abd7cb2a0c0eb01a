//! kubectl's connection flags, which kubectl itself does not hand to plugins, and the cluster that they lead to.

mod certificate;
mod client;
mod credential_file;
mod kubeconfig;
mod namespace;
mod plugin;
mod proxy;
mod server;
mod token_file;

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::Duration;

use clap::Args;
use clearwater::config::shell::quote;
use clearwater::text::is_harmful;
use clearwater_kube::{Cluster, REQUEST_TIMEOUT, RequestPolicy};
use rustls::pki_types::ServerName;

use crate::advice::Place;
use crate::duration::{LONGEST, duration};
use crate::error::{CliError, is_other};
use crate::output::Word;

pub(crate) use client::{certificate_at, key_at};
pub(crate) use namespace::Namespace;

/// What stands over them where they are told.
pub(crate) const HEADING: &str = "Connection, as for kubectl";

/// How the cluster is reached: kubectl's flags, with kubectl's meaning.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Connection {
    /// The namespace. Default: the deployment file's, else the context's, else in a pod its own, else default
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The kubeconfig's context to use
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig file. Default: those in the environment variable KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's cluster to use
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    cluster: Option<String>,
    /// The kubeconfig's user to use
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    user: Option<String>,
    /// The user to impersonate
    #[arg(long = "as", global = true, value_name = "USER", value_parser = sendable, hide_short_help = true)]
    impersonate: Option<String>,
    /// A group to impersonate. May be given more than once
    #[arg(long, global = true, value_name = "GROUP", value_parser = sendable, requires = "impersonate", hide_short_help = true)]
    as_group: Vec<String>,
    /// The UID to impersonate
    #[arg(long, global = true, value_name = "UID", value_parser = sendable, requires = "impersonate", hide_short_help = true)]
    as_uid: Option<String>,
    /// The API server's URL
    #[arg(short, long, global = true, value_name = "URL", hide_short_help = true)]
    server: Option<String>,
    /// A bearer token
    #[arg(long, global = true, value_name = "TOKEN", value_parser = sendable, hide_short_help = true)]
    token: Option<String>,
    /// The user for basic authentication
    #[arg(long, global = true, value_name = "USER", hide_short_help = true)]
    username: Option<String>,
    /// The password for basic authentication
    #[arg(long, global = true, value_name = "PASSWORD", hide_short_help = true)]
    password: Option<String>,
    /// The certificate of the API server's authority
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    certificate_authority: Option<PathBuf>,
    /// The client certificate
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    client_certificate: Option<PathBuf>,
    /// The client certificate's key
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    client_key: Option<PathBuf>,
    /// The name to expect in the API server's certificate
    #[arg(long, global = true, value_name = "NAME", value_parser = server_name, hide_short_help = true)]
    tls_server_name: Option<String>,
    /// Do not check the API server's certificate
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true,
          value_name = "BOOL", hide_short_help = true)]
    insecure_skip_tls_verify: Option<bool>,
    /// Do not ask for compressed answers
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true,
          value_name = "BOOL", hide_short_help = true)]
    disable_compression: Option<bool>,
    /// How long to wait for one answer of the API server, as in 30s, 2m [default: 30s]; 0 waits without end
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, hide_short_help = true)]
    request_timeout: Option<Duration>,
    /// Who hears what is waited for, where that is not said on standard error.
    #[arg(skip)]
    words: Option<Sender<Word>>,
}

/// What goes to the API server in a header: it takes no control characters, and of others those of ASCII.
fn sendable(text: &str) -> Result<String, String> {
    match text.chars().find(|c| c.is_control() || !c.is_ascii()) {
        Some(c) => Err(format!("it holds the character {c:?}, which no request can carry")),
        None => Ok(text.to_owned()),
    }
}

/// A name as a certificate has it; an empty one is none, as for kubectl.
fn server_name(text: &str) -> Result<String, String> {
    match ServerName::try_from(text) {
        Err(_) if !text.is_empty() => Err("it is neither a host name nor an address".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

impl Connection {
    /// A namespace of the cluster, each request within the time that was asked for.
    pub(crate) async fn cluster(&self, namespace: impl Into<String>) -> Result<Cluster, CliError> {
        Ok(self.cluster_within(namespace, LONGEST).await?.0)
    }

    /// The same for what may take so long as a whole. Also yields how much of that is left: a credential plugin takes of it.
    pub(crate) async fn cluster_within(
        &self,
        namespace: impl Into<String>,
        time: Duration,
    ) -> Result<(Cluster, Duration), CliError> {
        let policy = RequestPolicy::new(self.deadline()).telling(self.teller());
        let (client, left) = self.client_within(time).await?;
        Ok((Cluster::with_requests(client, namespace, &policy), left))
    }

    /// The flags that led to the cluster and the namespace, as they are typed again; those that say who asks are left out,
    /// which may be secret.
    pub(crate) fn place(&self) -> Place {
        let flag =
            |flag: &str, value: Option<&str>| value.map_or_else(String::new, |v| format!(" {flag} {}", typed(v)));
        let kubeconfig = self.kubeconfig.as_ref().map(|path| path.to_string_lossy());
        let cluster = [
            flag("--context", self.context.as_deref()),
            flag("--kubeconfig", kubeconfig.as_deref()),
            flag("--cluster", self.cluster.as_deref()),
        ];
        Place { namespace: flag("-n", self.namespace.as_deref()), cluster: cluster.concat() }
    }

    /// Tells what is waited for.
    pub(crate) fn teller(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let words = self.words.clone();
        move |what| {
            let said = format!("waiting for {what}");
            match &words {
                Some(words) => {
                    let _ = words.send(Word::note(&said));
                }
                None => crate::reporter::line(&mut anstream::stderr(), &said),
            }
        }
    }

    /// The same, of which another hears what is waited for.
    pub(crate) fn heard_by(self, words: Sender<Word>) -> Self {
        Self { words: Some(words), ..self }
    }

    /// How long one request may take.
    fn deadline(&self) -> Duration {
        match self.request_timeout {
            None => REQUEST_TIMEOUT,
            Some(Duration::ZERO) => LONGEST,
            Some(timeout) => timeout,
        }
    }
}

/// A word as it is typed into a shell.
pub(crate) fn typed(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,=+".contains(c);
    if word.contains(is_harmful) {
        // As bash and zsh read it, in one line.
        let escaped = |c: char| match c {
            '\\' | '\'' => format!("\\{c}"),
            c if is_harmful(c) => c.to_string().bytes().map(|byte| format!("\\x{byte:02x}")).collect(),
            c => c.to_string(),
        };
        return format!("$'{}'", word.chars().map(escaped).collect::<String>()).into();
    }
    if !word.is_empty() && word.chars().all(is_plain) { word.into() } else { quote(word).into() }
}

/// Why a file that says how the cluster is reached is of no use.
#[derive(Debug)]
struct Unusable {
    /// What is wrong with it.
    why: String,
    /// Whether nothing is known of what is in it: it may be right.
    is_unread: bool,
}

impl Unusable {
    /// What is in it is wrong, or it is not there.
    fn wrong(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_unread: false }
    }

    /// It could not be read.
    fn unread(error: &io::Error, why: impl Into<String>) -> Self {
        Self { why: why.into(), is_unread: !is_other(error) }
    }
}

/// An error with its causes, each said once.
fn causes(error: &dyn std::error::Error) -> String {
    // Some draw the place below their first line.
    let first = |e: &dyn std::error::Error| e.to_string().lines().next().unwrap_or_default().to_owned();
    let mut text = first(error);
    let mut source = error.source();
    while let Some(cause) = source {
        let said = first(cause);
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advised_leads_to_the_same_place_and_tells_no_secret() {
        let connection = Connection {
            namespace: Some("ims".to_owned()),
            context: Some("the lab's".to_owned()),
            kubeconfig: Some("/tmp/a b".into()),
            token: Some("secret".to_owned()),
            ..Connection::default()
        };
        let place = connection.place();
        assert_eq!(place.namespace, " -n ims");
        let echo = format!("printf '%s\\n'{}", place.cluster);
        let words = std::process::Command::new("sh").args(["-c", &echo]).output().unwrap().stdout;
        assert_eq!(String::from_utf8(words).unwrap(), "--context\nthe lab's\n--kubeconfig\n/tmp/a b\n");
        let nothing = Connection::default().place();
        assert_eq!((nothing.namespace, nothing.cluster), (String::new(), String::new()));
    }
}
