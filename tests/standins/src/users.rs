//! The users of a sprout, which the store keeps for all of them.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::aor::{self, Aor, Subscription, Trigger};
use crate::astaire_client::StoreClient;
use crate::net::dns::Ares;
use crate::net::memcached::Wrote;
use crate::notify::Notifier;
use crate::place::{self, Settings};

/// Who reads and changes them, and tells those who have subscribed.
pub(crate) struct Users {
    store: StoreClient,
    notifier: Notifier,
}

fn key_of(impu: &str) -> String {
    format!("reg\\\\{impu}")
}

impl Users {
    /// `contact` is the S-CSCF's URI, which NOTIFYs carry.
    pub(crate) fn new(ares: Arc<Ares>, settings: &Settings, contact: &str) -> Result<Self> {
        Ok(Self {
            store: StoreClient::new(ares, settings.get("sprout_registration_store")),
            notifier: Notifier::new(SocketAddr::new(settings.local_ip()?, 5054), contact),
        })
    }

    /// Reads a user with the store's token, what is past its time too.
    async fn read(&self, impu: &str) -> Result<(Aor, Option<u64>)> {
        let Some(item) = self.store.get(&key_of(impu)).await? else {
            return Ok((Aor::default(), None));
        };
        Ok((serde_json::from_slice(&item.data).context("bindings in the store")?, Some(item.cas)))
    }

    /// A user as he is now.
    pub(crate) async fn load(&self, impu: &str) -> Result<Aor> {
        let (mut aor, _) = self.read(impu).await?;
        aor.expire(place::now_ms());
        Ok(aor)
    }

    /// Changes a user; others may change him at the same time.
    pub(crate) async fn change(&self, impu: &str, trigger: Trigger, change: impl Fn(&mut Aor)) -> Result<Aor> {
        self.changed(impu, trigger, None, change).await
    }

    /// Makes a subscription, or renews it, for a user with these identities.
    pub(crate) async fn subscribe(&self, impu: &str, asked: &Subscription, set: &[String]) -> Result<Aor> {
        let change = |aor: &mut Aor| {
            aor.subscribe(asked);
            set.clone_into(&mut aor.identities);
        };
        self.changed(impu, Trigger::User, Some(asked), change).await
    }

    async fn changed(
        &self,
        impu: &str,
        trigger: Trigger,
        asked: Option<&Subscription>,
        change: impl Fn(&mut Aor),
    ) -> Result<Aor> {
        for _ in 0..10 {
            let (before, token) = self.read(impu).await?;
            let (mut after, now) = (before.clone(), place::now_ms());
            change(&mut after);
            after.expire(now);
            let notices = aor::notices(&before, &mut after, trigger, asked, now);
            let data = serde_json::to_vec(&after)?;
            let last = after.bindings.iter().map(|b| b.expires_at).max().unwrap_or(0);
            let life = u32::try_from(last.saturating_sub(now) / 1000 + 10)?;
            if self.store.put(&key_of(impu), &data, life, token).await? == Wrote::Done {
                self.notifier.send(notices);
                return Ok(after);
            }
        }
        bail!("bindings of {impu} changed ten times while being written")
    }

    /// Takes a user's bindings away, and him with them.
    pub(crate) async fn remove(&self, impu: &str, trigger: Trigger) -> Result<()> {
        self.change(impu, trigger, |aor| aor.bindings.clear()).await?;
        self.store.delete(&key_of(impu)).await
    }
}
