//! Making lines: their numbers, their passwords, and the account that they belong to.

use std::collections::HashSet;
use std::time::Duration;

use clearwater::component::Component;
use clearwater::subscriber::{PublicIdentity, Subscriber};
use futures::{Stream, StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use secrecy::SecretString;

use super::{Provisioning, ProvisioningWay, SubscriberError, is_end};
use crate::backoff::{before, doubling, unless_lasting};
use crate::pod::object::{containers, running_since};

/// The numbers that Ellis' pool begins with, and how many it has (clearwater-docker `ellis/create_numbers.sh`). Where there
/// is no Ellis, numbers that nobody chose are taken from the same.
const POOL: (u64, u64) = (6_505_550_000, 1000);

/// How long after its start Ellis may be without numbers: a script puts them in once MySQL answers, and the pod is ready
/// before (clearwater-docker `ellis/create_numbers.sh`).
const FILLS: SignedDuration = SignedDuration::from_secs(60);
/// The first and the longest pause before a pool that is filled yet is asked again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// A password of 16 letters and digits: 92 bits, and nothing that a phone's keyboard or a file would spoil.
pub(crate) fn new_password() -> Result<SecretString, SubscriberError> {
    // Without those that are taken for one another.
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut text = String::new();
    while text.len() < 16 {
        // Those that would make some letters likelier are thrown away.
        let low = (getrandom::u32()? & 0x3f) as usize;
        text.extend(LETTERS.get(low).map(|b| char::from(*b)));
    }
    Ok(text.into())
}

/// For how long yet an empty pool of this pod may be one that is being filled.
pub(super) fn filling(pod: &Pod, now: Timestamp) -> Duration {
    let started = containers(pod).filter_map(|(c, _)| running_since(c)).max();
    let left = started.map(|started| FILLS - now.duration_since(started));
    left.and_then(|left| left.min(FILLS).try_into().ok()).unwrap_or_default()
}

impl Provisioning {
    /// The private identity that goes with a public one that is made here.
    fn private_identity(&self, identity: &PublicIdentity) -> String {
        format!("{}{}", self.options.private_prefix, identity.private_identity())
    }

    /// Makes the account, once.
    async fn sign_up(&self) -> Result<(), SubscriberError> {
        let ProvisioningWay::Ellis { ellis, keys, signed_up, .. } = &self.way else { return Ok(()) };
        let making = || async {
            let (account, name) = (&self.options.account, &self.options.full_name);
            // Nobody logs in with it: the API key acts for the account.
            ellis.sign_up(account, name, &new_password()?, &keys.sign_up_code).await.map(drop)
        };
        signed_up.get_or_try_init(making).await.map(drop)
    }

    /// Makes so many lines, several at a time, with numbers that are free. Each comes as soon as it is made, with its
    /// password.
    ///
    /// After an error that the next one would meet as well, those that are on their way are finished and no other is begun.
    /// An empty pool is [`SubscriberError::PoolEmpty`].
    pub fn create(&self, count: usize) -> impl Stream<Item = Result<Subscriber, SubscriberError>> + '_ {
        let free = async move {
            if let Err(error) = self.sign_up().await {
                return stream::iter([Err(error)]).left_stream();
            }
            let numbers: Vec<Option<PublicIdentity>> = match self.way {
                ProvisioningWay::Ellis { .. } => vec![None; count],
                ProvisioningWay::Prov => match self.free_numbers(count).await {
                    Ok(free) => free.into_iter().map(Some).collect(),
                    Err(error) => return stream::iter([Err(error)]).left_stream(),
                },
            };
            let missing = count - numbers.len();
            let making = move |number: Option<PublicIdentity>| async move {
                match (&self.way, number) {
                    (ProvisioningWay::Ellis { ellis, filled, .. }, None) => {
                        let mut pauses = before(*filled, doubling(PAUSES.0, PAUSES.1));
                        loop {
                            let made = ellis.create(&self.options.account).await;
                            let Err(error @ SubscriberError::PoolEmpty { .. }) = made else { return made };
                            unless_lasting(error, |_| true, &mut pauses).await?;
                        }
                    }
                    (_, Some(identity)) => self.create_identity(&identity).await,
                    (ProvisioningWay::Prov, None) => {
                        Err(SubscriberError::PoolEmpty { component: Component::HomesteadProv })
                    }
                }
            };
            let all = numbers.into_iter().chain(std::iter::repeat_n(None, missing.min(1)));
            self.several(all, making, is_end).right_stream()
        };
        stream::once(free).flatten()
    }

    /// Makes lines of one's own numbers, several at a time. Each comes with its number as soon as it is made or not: one
    /// that is taken ([`SubscriberError::Taken`]) does not keep the others from being made.
    pub fn create_numbers(
        &self,
        numbers: impl IntoIterator<Item = PublicIdentity>,
    ) -> impl Stream<Item = (PublicIdentity, Result<Subscriber, SubscriberError>)> + '_ {
        let numbers: Vec<PublicIdentity> = numbers.into_iter().collect();
        let making = move |identity: PublicIdentity| async move {
            let made = self.create_identity(&identity).await;
            (identity, made)
        };
        let beginning = async move {
            let failed = self.sign_up().await.err().and_then(|error| Some((numbers.first()?.clone(), Err(error))));
            match failed {
                Some(failed) => stream::iter([failed]).left_stream(),
                None => self.several(numbers, making, |(_, made)| is_end(made)).right_stream(),
            }
        };
        stream::once(beginning).flatten()
    }

    async fn create_identity(&self, identity: &PublicIdentity) -> Result<Subscriber, SubscriberError> {
        self.create_line(identity, &self.private_identity(identity)).await
    }

    /// Makes a line whose private identity is chosen as well.
    ///
    /// # Errors
    /// [`SubscriberError::Taken`] where the number is given away.
    pub async fn create_line(
        &self,
        identity: &PublicIdentity,
        private_identity: &str,
    ) -> Result<Subscriber, SubscriberError> {
        match &self.way {
            ProvisioningWay::Ellis { ellis, .. } => {
                // Ellis forgets its numbers with its pod and would write over what homestead-prov has kept.
                if let Some(prov) = &self.prov
                    && prov.private_identities(identity).await?.is_some()
                {
                    return Err(SubscriberError::Taken { identity: identity.to_string() });
                }
                self.sign_up().await?;
                ellis.create_chosen(&self.options.account, identity, private_identity, true).await
            }
            ProvisioningWay::Prov => {
                let password = new_password()?;
                self.behind()?.create(identity, private_identity, &self.home_domain, &password).await?;
                Ok(Subscriber {
                    public_identity: identity.clone(),
                    private_identity: private_identity.to_owned(),
                    password: Some(password),
                })
            }
        }
    }

    async fn free_numbers(&self, count: usize) -> Result<Vec<PublicIdentity>, SubscriberError> {
        let taken: HashSet<PublicIdentity> = self.behind()?.public_identities().await?.into_iter().collect();
        let all = (POOL.0..POOL.0 + POOL.1).map(|n| self.identity(&n.to_string()));
        all.filter(|one| one.as_ref().is_ok_and(|i| !taken.contains(i)) || one.is_err()).take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn passwords_are_long_and_never_the_same() {
        let all: HashSet<String> = (0..100).map(|_| new_password().unwrap().expose_secret().to_owned()).collect();
        assert_eq!(all.len(), 100);
        assert!(all.iter().all(|p| p.len() == 16 && p.chars().all(|c| c.is_ascii_alphanumeric())), "{all:?}");
    }

    #[test]
    fn a_pool_is_waited_for_while_its_pod_is_young() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let of = |started: &str| {
            let status = serde_json::json!({"containerStatuses": [{"name": "ellis", "image": "", "imageID": "", "ready": true,
                "restartCount": 0, "state": {"running": {"startedAt": started}}}]});
            filling(&serde_json::from_value(serde_json::json!({"status": status})).unwrap(), now).as_secs()
        };
        assert_eq!(of("2026-01-01T00:00:50Z"), 50);
        assert_eq!(of("2025-12-31T00:00:00Z"), 0);
        // A clock that is ahead makes no longer patience.
        assert_eq!(of("2026-01-01T00:09:00Z"), 60);
        assert_eq!(filling(&Pod::default(), now), Duration::ZERO);
    }
}
