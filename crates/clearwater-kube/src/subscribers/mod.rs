//! Subscribers of a deployment: made, listed, shown and deleted, through Ellis where it stands and else at homestead-prov.
//!
//! Both are asked over ports of their pods that are forwarded, each connection once for many requests, so that neither needs
//! an address outside of the cluster.
//!
//! ```no_run
//! use clearwater_kube::Cluster;
//! use clearwater_kube::subscribers::{Provisioning, ProvisioningOptions};
//! use futures::TryStreamExt;
//!
//! # async fn two_lines(client: kube::Client) -> Result<(), clearwater_kube::subscribers::SubscriberError> {
//! let cluster = Cluster::new(client, "ims");
//! let options = ProvisioningOptions::for_account("clearwater-test@example.com").with_private_prefix("clearwater-test-");
//! let subscribers = Provisioning::open(&cluster, options).await?;
//! // What an earlier run of the same name left behind.
//! for left in subscribers.list().await? {
//!     subscribers.delete(&left.public_identity).await?;
//! }
//! let lines: Vec<_> = subscribers.create(2).try_collect().await?;
//! # drop(lines);
//! # Ok(()) }
//! ```

mod create;
mod ellis;
mod error;
mod homer;
mod keys;
mod prov;
mod relay;
mod stores;
mod wire;

use std::future::{Future, ready};

use clearwater::component::Component;
use clearwater::subscriber::{PublicIdentity, Subscriber};
use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use ellis::EllisClient;
pub use error::SubscriberError;
pub use homer::HomerClient;
pub use keys::EllisKeys;
pub use prov::ProvClient;
pub use relay::{Relay, RelayEvent};

pub(crate) use prov::Document;
pub(crate) use stores::{Ellis, Stores};

use crate::cluster::Cluster;
use crate::pod::object::{own_container, pod_is_ready};
use create::filling;
pub(crate) use create::new_password;
use keys::Given;
pub(crate) use wire::pods;

/// How many are made at the same time where nothing else is said: Ellis and homestead-prov have a process a CPU each.
pub const AT_ONCE: usize = 4;

/// Whose lines they are, and how they are made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProvisioningOptions {
    /// The account at Ellis, made where it is not there. Lists and deletions keep to its numbers.
    pub account: String,
    /// The name of the account's owner, which the address book of Ellis shows.
    pub full_name: String,
    /// What the private identities of chosen numbers begin with. At homestead-prov, which has no accounts, lists and
    /// deletions keep to those.
    pub private_prefix: String,
    /// Whom to ask: Ellis or homestead-prov; the first that stands where nothing is said.
    pub through: Option<Component>,
    /// The home domain; where nothing is said, the one that the pods were given.
    pub home_domain: Option<String>,
    /// How many are made at the same time.
    pub at_once: usize,
    /// Once cancelled, no other line is begun; those that are on their way still come, with their passwords.
    pub cancel: CancellationToken,
}

impl ProvisioningOptions {
    /// Those of an account, by its e-mail address, with everything else as it usually is.
    pub fn for_account(email: impl Into<String>) -> Self {
        Self {
            account: email.into(),
            full_name: "kubectl-clearwater".to_owned(),
            private_prefix: String::new(),
            through: None,
            home_domain: None,
            at_once: AT_ONCE,
            cancel: CancellationToken::new(),
        }
    }

    /// The same, with private identities that begin with this.
    #[must_use]
    pub fn with_private_prefix(self, prefix: impl Into<String>) -> Self {
        Self { private_prefix: prefix.into(), ..self }
    }
}

/// Whom it goes through.
#[derive(Debug)]
enum ProvisioningWay {
    Ellis {
        ellis: Box<EllisClient>,
        keys: EllisKeys,
        signed_up: OnceCell<()>,
        /// Until then an empty pool may be one that is filled yet.
        filled: Instant,
    },
    Prov,
}

/// The subscribers of a deployment that belong to one account.
#[derive(Debug)]
pub struct Provisioning {
    options: ProvisioningOptions,
    home_domain: String,
    way: ProvisioningWay,
    prov: Option<ProvClient>,
}

/// Whether the next one would meet the same.
fn is_end<T>(done: &Result<T, SubscriberError>) -> bool {
    done.as_ref().is_err_and(|e| !e.is_of_one())
}

/// Where homestead-prov listens: in pods of its own or, in the classic release, in those of homestead.
async fn prov_pods(cluster: &Cluster) -> Result<Option<(Component, Vec<Pod>)>, SubscriberError> {
    for component in [Component::HomesteadProv, Component::Homestead] {
        let all = pods(cluster, component).await?;
        let listens = |pod: &Pod| {
            let own = pod.spec.as_ref().and_then(|spec| own_container(spec, component));
            let mut ports = own.into_iter().flat_map(|c| c.ports.iter().flatten());
            component == Component::HomesteadProv || ports.any(|p| p.container_port == i32::from(prov::PORT))
        };
        if all.iter().any(listens) {
            return Ok(Some((component, all)));
        }
    }
    Ok(None)
}

/// The keys of a deployment's Ellis, from where its pods take them.
///
/// # Errors
/// Where the keys could not be read.
pub async fn ellis_keys(cluster: &Cluster) -> Result<EllisKeys, SubscriberError> {
    let all = pods(cluster, Component::Ellis).await?;
    let Some(pod) = all.iter().find(|p| pod_is_ready(p)).or(all.first()) else {
        return Err(SubscriberError::nothing(cluster, Some(Component::Ellis)).await);
    };
    Given::read(cluster, Component::Ellis, pod).await?.keys().await
}

impl Provisioning {
    /// Looks which of Ellis and homestead-prov stands, and reads what its pods were given. Nothing is written, and no
    /// account is made before something is.
    ///
    /// # Errors
    /// [`SubscriberError::NoProvisioning`] or [`SubscriberError::NoNamespace`] where neither stands, [`SubscriberError::NotReady`] where none of its pods is
    /// ready, and what went wrong with reading the keys.
    pub async fn open(cluster: &Cluster, options: ProvisioningOptions) -> Result<Self, SubscriberError> {
        let namespace = || cluster.namespace.clone();
        let ellis = match options.through {
            Some(Component::HomesteadProv) => Vec::new(),
            _ => pods(cluster, Component::Ellis).await?,
        };
        let prov = prov_pods(cluster).await?;
        let (component, of) = match (&prov, options.through) {
            _ if !ellis.is_empty() => (Component::Ellis, &ellis),
            (Some((component, of)), None | Some(Component::HomesteadProv)) => (*component, of),
            (_, wanted) => return Err(SubscriberError::nothing(cluster, wanted).await),
        };
        let Some(pod) = of.iter().find(|p| pod_is_ready(p)) else {
            return Err(SubscriberError::NotReady { component, namespace: namespace() });
        };
        let given = Given::read(cluster, component, pod).await?;
        let home_domain = options.home_domain.clone().unwrap_or_else(|| given.home_domain.clone());
        if home_domain.is_empty() {
            return Err(SubscriberError::Keys {
                what: format!("pod/{}", pod.metadata.name.as_deref().unwrap_or_default()),
                message:
                    "its environment tells no home domain: neither ZONE nor home_domain in ADDITIONAL_SHARED_CONFIG"
                        .to_owned(),
            });
        }
        let way = if component == Component::Ellis {
            let keys = given.keys().await?;
            let ellis = Box::new(EllisClient::new(cluster).with_api_key(&keys.api_key));
            let filled = Instant::now() + filling(pod, Timestamp::now() + cluster.clock_skew().await);
            ProvisioningWay::Ellis { ellis, keys, signed_up: OnceCell::new(), filled }
        } else {
            ProvisioningWay::Prov
        };
        let prov = prov.map(|(component, _)| ProvClient::new(cluster, component));
        Ok(Self { options, home_domain, way, prov })
    }

    /// Whom it goes through: Ellis or homestead-prov.
    pub fn through(&self) -> Component {
        match self.way {
            ProvisioningWay::Ellis { .. } => Component::Ellis,
            ProvisioningWay::Prov => Component::HomesteadProv,
        }
    }

    /// What ends the beginning of lines: that of the options.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.options.cancel
    }

    /// The SIP home domain.
    pub fn home_domain(&self) -> &str {
        &self.home_domain
    }

    /// The client of homestead-prov, which stands behind Ellis as well. `None` where subscribers are an HSS'.
    pub fn prov(&self) -> Option<&ProvClient> {
        self.prov.as_ref()
    }

    /// The client of Ellis, where that is the way.
    pub fn ellis(&self) -> Option<&EllisClient> {
        match &self.way {
            ProvisioningWay::Ellis { ellis, .. } => Some(ellis),
            ProvisioningWay::Prov => None,
        }
    }

    /// The public identity of a number.
    ///
    /// # Errors
    /// A text that is neither a number nor an identity of the home domain.
    pub fn identity(&self, number: &str) -> Result<PublicIdentity, SubscriberError> {
        Ok(PublicIdentity::of(number, &self.home_domain)?)
    }

    fn behind(&self) -> Result<&ProvClient, SubscriberError> {
        self.prov.as_ref().ok_or(SubscriberError::Missing { identity: "homestead-prov".to_owned(), account: None })
    }

    /// Does something to each, several at a time. After one that is the end, those that are on their way are finished and no
    /// other is begun.
    fn several<T, O, F>(
        &self,
        all: impl IntoIterator<Item = T>,
        one: impl Fn(T) -> F,
        is_end: impl Fn(&O) -> bool + Copy,
    ) -> impl Stream<Item = O>
    where
        F: Future<Output = O>,
    {
        let ended = self.options.cancel.child_token();
        let stop = ended.clone();
        stream::iter(all)
            .take_while(move |_| ready(!stop.is_cancelled()))
            .map(move |item| {
                let (doing, ended) = (one(item), ended.clone());
                async move {
                    let done = doing.await;
                    if is_end(&done) {
                        ended.cancel();
                    }
                    done
                }
            })
            .buffer_unordered(self.options.at_once.max(1))
    }

    /// The account's lines, in the order of their identities, without passwords.
    ///
    /// # Errors
    /// Where whoever is asked could not be, or gave no list.
    pub async fn list(&self) -> Result<Vec<Subscriber>, SubscriberError> {
        let mut all = match &self.way {
            ProvisioningWay::Ellis { ellis, .. } => ellis.numbers(&self.options.account).await?,
            ProvisioningWay::Prov => self.list_prov().await?,
        };
        all.sort_by(|a, b| a.public_identity.cmp(&b.public_identity));
        Ok(all)
    }

    async fn list_prov(&self) -> Result<Vec<Subscriber>, SubscriberError> {
        let prov = self.behind()?;
        let identities = prov.public_identities().await?;
        let asking = |identity: PublicIdentity| async move { prov.show(&identity).await };
        let found: Vec<_> = self.several(identities, asking, is_end).collect().await;
        let mut all = Vec::new();
        for one in found {
            // One that went away meanwhile is not there.
            all.extend(one?.filter(|s| s.private_identity.starts_with(&self.options.private_prefix)));
        }
        Ok(all)
    }

    /// One of the account's lines, without its password. `None` where there is none of that identity.
    ///
    /// # Errors
    /// Where homestead-prov could not be asked.
    pub async fn show(&self, identity: &PublicIdentity) -> Result<Option<Subscriber>, SubscriberError> {
        match &self.way {
            ProvisioningWay::Ellis { ellis, .. } => {
                let all = ellis.numbers(&self.options.account).await?;
                Ok(all.into_iter().find(|s| s.public_identity == *identity))
            }
            ProvisioningWay::Prov => {
                let found = self.behind()?.show(identity).await?;
                Ok(found.filter(|s| s.private_identity.starts_with(&self.options.private_prefix)))
            }
        }
    }

    /// The password of a line; `None` where only its digest is kept.
    ///
    /// # Errors
    /// Where homestead-prov could not be asked.
    pub async fn password(&self, line: &Subscriber) -> Result<Option<SecretString>, SubscriberError> {
        self.behind()?.password(&line.private_identity).await
    }

    /// Gives a line this password, or a new one where none is given. The old one is worth nothing from then on.
    ///
    /// # Errors
    /// Where whoever is asked could not be, or does not know the subscriber.
    pub async fn set_password(
        &self,
        line: &Subscriber,
        password: Option<SecretString>,
    ) -> Result<SecretString, SubscriberError> {
        match (&self.way, password) {
            (ProvisioningWay::Ellis { ellis, .. }, None) => {
                ellis.new_password(&self.options.account, &line.public_identity).await
            }
            (_, password) => {
                let password = password.map_or_else(new_password, Ok)?;
                self.behind()?.put_password(&line.private_identity, &self.home_domain, &password).await?;
                Ok(password)
            }
        }
    }

    /// Deletes one of the account's lines. Says whether it was there.
    ///
    /// # Errors
    /// Where whoever is asked could not be, or refused.
    pub async fn delete(&self, identity: &PublicIdentity) -> Result<bool, SubscriberError> {
        match &self.way {
            ProvisioningWay::Ellis { ellis, .. } => ellis.delete(&self.options.account, identity).await,
            // Another's is none of this account's.
            ProvisioningWay::Prov if self.show(identity).await?.is_none() => Ok(false),
            ProvisioningWay::Prov => self.behind()?.delete(identity).await,
        }
    }

    /// Deletes lines, several at a time; each comes as soon as it is gone, with whether it was there.
    pub fn delete_all(
        &self,
        identities: impl IntoIterator<Item = PublicIdentity>,
    ) -> impl Stream<Item = (PublicIdentity, Result<bool, SubscriberError>)> + '_ {
        let all: Vec<PublicIdentity> = identities.into_iter().collect();
        let deleting = move |identity: PublicIdentity| async move {
            let deleted = self.delete(&identity).await;
            (identity, deleted)
        };
        self.several(all, deleting, |(_, deleted)| is_end(deleted))
    }

    /// Removes the account at Ellis with all its lines and, at homestead-prov, all lines of the prefix: those too that an
    /// Ellis which was replaced does not know any more. Says how many lines there were.
    ///
    /// # Errors
    /// Where Ellis could not be asked, or refused.
    pub async fn delete_account(&self) -> Result<usize, SubscriberError> {
        let all = self.list().await?;
        let identities = all.iter().map(|s| s.public_identity.clone());
        let deleted: Vec<_> = self.delete_all(identities).collect().await;
        let mut count = 0;
        for (_, deleted) in deleted {
            count += usize::from(deleted?);
        }
        if let ProvisioningWay::Ellis { ellis, .. } = &self.way {
            ellis.delete_account(&self.options.account).await?;
            // Without a prefix they would be everybody's.
            if !self.options.private_prefix.is_empty()
                && let Some(prov) = &self.prov
            {
                for line in self.list_prov().await? {
                    count += usize::from(prov.delete(&line.public_identity).await?);
                }
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::fake_api;

    fn is_send<T: Send>(_: &T) {}

    #[tokio::test]
    async fn where_nothing_knows_subscribers_it_says_so_and_a_right_that_is_missing_is_named() {
        let none = serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []});
        let (cluster, _) = fake_api::cluster(move |_| Some(none.clone()));
        let options = || ProvisioningOptions::for_account("a@b");
        let error = Provisioning::open(&cluster, options()).await.unwrap_err();
        assert_eq!(error.to_string(), "namespace ims: neither ellis nor homestead-prov runs there");
        let error = ellis_keys(&cluster).await.unwrap_err();
        assert_eq!(error.to_string(), "namespace ims: no ellis runs there");
        let (cluster, _) = fake_api::cluster(|_| Some(serde_json::Value::Null));
        let error = Provisioning::open(&cluster, options()).await.unwrap_err();
        assert_eq!(error.to_string(), "pods of ellis: needs the right to list pods");
    }

    #[tokio::test]
    async fn after_an_error_that_lasts_no_other_is_begun() {
        let (cluster, _) = fake_api::cluster(|_| None);
        let options = ProvisioningOptions { at_once: 2, ..ProvisioningOptions::for_account("a@b") };
        let prov = ProvClient::new(&cluster, Component::HomesteadProv);
        let all = Provisioning { options, home_domain: "d".to_owned(), way: ProvisioningWay::Prov, prov: Some(prov) };
        let try_all = async |fail: SubscriberError| {
            let fail = std::cell::RefCell::new(Some(fail));
            let one = |n: u32| {
                ready(match fail.borrow_mut().take().filter(|_| n == 0) {
                    Some(error) => Err(error),
                    None => Ok(n),
                })
            };
            let done: Vec<_> = all.several(0..10, one, is_end).collect().await;
            done.len()
        };
        assert_eq!(try_all(SubscriberError::Taken { identity: "x".to_owned() }).await, 10);
        assert!(try_all(SubscriberError::PoolEmpty { component: Component::Ellis }).await <= 3);
        // What is on its way comes, and nothing after it.
        let one = |n: u32| {
            all.options.cancel.cancel();
            ready(n)
        };
        let done: Vec<_> = all.several(0..10, one, |_| false).collect().await;
        assert_eq!(done, [0]);
        is_send(&all.create(2));
        is_send(&all.create_numbers([]));
        is_send(&all.list());
    }
}
