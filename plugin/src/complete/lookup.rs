//! What has to be looked up: in the kubeconfig, on the cluster, in saved logs. What does not come in time is not there.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args as _, Command, FromArgMatches as _};
use clearwater::log::SipMessage;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{Api, ListParams};
use kube::config::Kubeconfig;
use kube::core::PartialObjectMeta;

use super::MOST;
use crate::arguments::FileArgs;
use crate::command::{Unread, each_of_path};
use crate::connection::Connection;
use crate::context::Context;
use crate::error::CliError;
use crate::signal::Listener;

/// Names, each with what is said of it.
pub(super) type Found = Vec<(String, String)>;

/// What the words so far say of where to look, and until when.
#[derive(Debug)]
pub(super) struct Lookup {
    connection: Connection,
    /// The deployment file that is named.
    filename: Option<PathBuf>,
    /// The saved logs that are named.
    saved: Option<PathBuf>,
    until: Instant,
}

/// What the words tell, wherever they stand.
#[derive(Debug, clap::Args)]
struct Told {
    #[command(flatten)]
    connection: Connection,
    #[arg(short, long, alias = "file")]
    filename: Option<PathBuf>,
    #[arg(long)]
    from: Option<PathBuf>,
}

impl Lookup {
    pub(super) fn new(words: &[OsString], patience: Duration) -> Self {
        let until = Instant::now() + patience;
        let told = told(words.split_last().map_or(&[], |(_, before)| before));
        match told {
            Some(Told { connection, filename, from }) => Self { connection, filename, saved: from, until },
            None => Self { connection: Connection::default(), filename: None, saved: None, until },
        }
    }

    pub(super) fn contexts(&self) -> Found {
        self.kubeconfig(|kubeconfig| {
            let of = |c: kube::config::NamedContext| (c.name, c.context.map(|c| c.cluster).unwrap_or_default());
            kubeconfig.contexts.into_iter().map(of).collect()
        })
    }

    pub(super) fn clusters(&self) -> Found {
        self.kubeconfig(|kubeconfig| kubeconfig.clusters.into_iter().map(|c| (c.name, String::new())).collect())
    }

    pub(super) fn users(&self) -> Found {
        self.kubeconfig(|kubeconfig| kubeconfig.auth_infos.into_iter().map(|u| (u.name, String::new())).collect())
    }

    fn kubeconfig(&self, pick: fn(Kubeconfig) -> Found) -> Found {
        let connection = self.connection.clone();
        self.gathered(move |found| {
            let Ok(Some(kubeconfig)) = connection.read_kubeconfig() else { return };
            for name in pick(kubeconfig) {
                let _ = found.send(name);
            }
        })
    }

    pub(super) fn namespaces(&self) -> Found {
        self.asked(|client, _| Box::pin(names(Api::<PartialObjectMeta<Namespace>>::all(client))))
    }

    pub(super) fn nodes(&self) -> Found {
        self.asked(|client, _| Box::pin(names(Api::<PartialObjectMeta<Node>>::all(client))))
    }

    pub(super) fn pods(&self) -> Found {
        self.asked(|client, namespace| {
            Box::pin(async move { names(Api::<PartialObjectMeta<Pod>>::namespaced(client, &namespace)).await })
        })
    }

    /// What a cluster answers. The connection is made anew for each question, and ends with it.
    fn asked(&self, ask: Ask) -> Found {
        let (connection, filename) = (self.connection.clone(), self.filename.clone());
        self.gathered(move |found| {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            let names: Result<Vec<String>, CliError> = runtime.block_on(async {
                let namespace = match connection.named_namespace() {
                    Some(namespace) => namespace,
                    None => connection.namespace_for(&FileArgs::named(filename).read()?)?,
                };
                Ok(ask(connection.client().await?, namespace.name).await)
            });
            for name in names.unwrap_or_default() {
                let _ = found.send((name, String::new()));
            }
        })
    }

    /// The Call-IDs of the logs that `--from` names, in the order in which they come, with what each begins with.
    pub(super) fn call_ids(&self) -> Found {
        let Some(path) = self.saved.clone() else { return Vec::new() };
        self.gathered(move |found| {
            let mut seen = BTreeSet::new();
            let mut context = Context::new(Connection::default(), Listener::silent());
            let _ = each_of_path(&path, &mut context, &mut Unread::default(), |entry, _| {
                let Some(message) = SipMessage::of(&entry.record) else { return Ok(()) };
                let Some(id) = message.call_id() else { return Ok(()) };
                if seen.len() < MOST && seen.insert(id.to_string()) {
                    let _ = found.send((id.into_owned(), message.start_line().into_owned()));
                }
                Ok(())
            });
        })
    }

    /// What has been found when the time is up. Whoever still looks then ends with the process.
    fn gathered(&self, look: impl FnOnce(&mpsc::Sender<(String, String)>) + Send + 'static) -> Found {
        let (send, found) = mpsc::channel();
        thread::spawn(move || look(&send));
        let next = || found.recv_timeout(self.until.saturating_duration_since(Instant::now())).ok();
        std::iter::from_fn(next).take(MOST).collect()
    }
}

type Ask = fn(kube::Client, String) -> std::pin::Pin<Box<dyn Future<Output = Vec<String>>>>;

async fn names<K>(api: Api<PartialObjectMeta<K>>) -> Vec<String>
where
    PartialObjectMeta<K>: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    // From the API server's cache: what is offered may be a second old.
    let page = ListParams::default().limit(u32::try_from(MOST).unwrap_or(u32::MAX)).match_any();
    let list = api.list_metadata(&page).await;
    list.map(|list| list.items.into_iter().filter_map(|o| o.metadata.name).collect()).unwrap_or_default()
}

/// The flags among the words that say where to look, as clap reads them; the other words are left out.
fn told(words: &[OsString]) -> Option<Told> {
    let parser = Told::augment_args(Command::new("told").no_binary_name(true).disable_help_flag(true));
    let flags: Vec<(String, bool)> = parser
        .get_arguments()
        .flat_map(|arg| {
            let is_lone = arg.get_num_args().is_some_and(|n| n.min_values() == 0);
            let long = arg.get_long_and_visible_aliases().unwrap_or_default().into_iter().map(|l| format!("--{l}"));
            let hidden = arg.get_all_aliases().unwrap_or_default().into_iter().map(|l| format!("--{l}"));
            let short = arg.get_short().map(|s| format!("-{s}"));
            long.chain(hidden).chain(short).map(move |name| (name, is_lone)).collect::<Vec<_>>()
        })
        .collect();
    let mut meant = Vec::new();
    let mut words = words.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        if let Some((_, is_lone)) = flags.iter().find(|(flag, _)| flag == name) {
            // One whose value is what is being typed leads nowhere yet.
            let value = if name == word && !is_lone { words.next().map(Some) } else { Some(None) };
            let Some(value) = value else { continue };
            meant.push(word);
            meant.extend(value);
        } else if flags.iter().any(|(flag, _)| flag.len() == 2 && word.starts_with(flag.as_str())) {
            meant.push(word);
        }
    }
    let matches = parser.try_get_matches_from(meant).ok()?;
    Told::from_arg_matches(&matches).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_look_is_said_anywhere() {
        let told = |line: &str| told(&line.split(' ').map(OsString::from).collect::<Vec<_>>()).unwrap();
        let namespace = |line| told(line).connection.named_namespace().map(|n| n.name);
        assert_eq!(namespace("logs -n ims sprout --pod").as_deref(), Some("ims"));
        assert_eq!(namespace("-nims logs").as_deref(), Some("ims"));
        assert_eq!(namespace("up --yes --namespace=ims --only etcd").as_deref(), Some("ims"));
        assert_eq!(namespace("up"), None);
        assert_eq!(told("trace --from night --failed").from, Some("night".into()));
        assert_eq!(namespace("status --context lab -n").as_deref(), None);
        assert_eq!(told("status -s http://192.0.2.1 -n").connection.place().namespace, "");
        assert_eq!(told("up --file x.yaml").filename, Some("x.yaml".into()));
    }
}
