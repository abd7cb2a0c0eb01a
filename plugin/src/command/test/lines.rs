//! The lines that phones speak for: each run has its own, which say themselves until when they are in use.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clearwater::subscriber::PublicIdentity;
use clearwater_kube::Cluster;
use clearwater_kube::exercise::LineSource;
use clearwater_kube::subscribers::{HomerClient, Provisioning, ProvisioningOptions, SubscriberError};
use clearwater_sip::Account;
use clearwater_sip::case::{NoServices, ServiceSource};
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use secrecy::ExposeSecret;

use crate::error::CliError;

/// What the accounts at Ellis and the private identities begin with.
const NAME: &str = "kubectl-clearwater-test";

/// The numbers of its lines: outside of Ellis' pool, and of an area that no numbering plan of that form has.
const NUMBERS: RangeInclusive<u32> = 1_999_000_000..=1_999_099_999;

/// For how long lines of a lane are made.
const LASTS: SignedDuration = SignedDuration::from_mins(5);
/// A case is begun with lines that are in use for so long yet: longer than any case lasts.
const ENOUGH: SignedDuration = SignedDuration::from_mins(3);
/// How much longer they are left alone: clocks differ, and taking lines away takes time.
const GRACE: SignedDuration = SignedDuration::from_mins(1);

/// How many leftovers are asked about at the same time.
const AT_ONCE: usize = 4;
/// How often other numbers are tried where those that were chosen are given away.
const TRIES: usize = 50;

/// Whose lines: a word that no other has, and the second until which they are in use, by the API server's clock. It stands in
/// the name of the account and of each private identity, so that whoever finds lines of a run that was killed knows, without
/// asking anybody, that they are nobody's any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lease {
    until: i64,
    word: String,
}

impl Lease {
    fn until(time: Timestamp) -> Self {
        Self { until: time.as_second(), word: format!("{:08x}", chance() & 0xffff_ffff) }
    }

    fn name(&self) -> String {
        format!("{NAME}.{}.{}", self.until, self.word)
    }

    /// `.invalid` is no domain of anybody's (RFC 2606).
    fn account(&self) -> String {
        format!("{}@clearwater.invalid", self.name())
    }

    fn options(&self) -> ProvisioningOptions {
        ProvisioningOptions::for_account(self.account()).with_private_prefix(format!("{}.", self.name()))
    }

    /// Reads it from a private identity; `None` where that is not of a run of this command.
    fn of(private_identity: &str) -> Option<Self> {
        let mut parts = private_identity.strip_prefix(NAME)?.strip_prefix('.')?.split('.');
        let (until, word) = (parts.next()?.parse().ok()?, parts.next()?);
        let is_word = word.len() == 8 && word.chars().all(|c| c.is_ascii_hexdigit());
        // What follows is the number.
        (is_word && parts.next().is_some()).then(|| Self { until, word: word.to_owned() })
    }

    /// How long the lines are in use yet.
    fn left(&self, now: Timestamp) -> SignedDuration {
        SignedDuration::from_secs(self.until.saturating_sub(now.as_second()))
    }

    /// Whether nobody uses the lines any more.
    fn is_over(&self, now: Timestamp) -> bool {
        self.left(now) < -GRACE
    }
}

fn chance() -> u64 {
    // Each of the standard library's hashers has keys of its own, from the system's random numbers.
    RandomState::new().hash_one(0)
}

/// The number after this one.
fn next(number: u32) -> u32 {
    if number >= *NUMBERS.end() { *NUMBERS.start() } else { number + 1 }
}

/// Lines that were made, or are about to be.
struct LeasedLines {
    lease: Lease,
    provisioning: Provisioning,
    identities: Mutex<Vec<PublicIdentity>>,
}

impl LeasedLines {
    async fn take_away(&self) -> Result<(), SubscriberError> {
        let identities = self.identities.lock().clone();
        self.provisioning.delete_all(identities).map(|(_, deleted)| deleted).try_collect::<Vec<_>>().await?;
        if let Some(ellis) = self.provisioning.ellis() {
            ellis.delete_account(&self.lease.account()).await?;
        }
        Ok(())
    }
}

/// Lines in use.
struct Lane {
    held: Arc<LeasedLines>,
    accounts: Vec<Account>,
}

/// The lines of a run.
pub(super) struct Lines {
    cluster: Cluster,
    skew: SignedDuration,
    held: Mutex<Vec<Arc<LeasedLines>>>,
    lanes: Vec<tokio::sync::Mutex<Option<Lane>>>,
    /// How many a lane has.
    each: usize,
    /// Who keeps their services, once one was asked for; nobody where there is no homer.
    homer: tokio::sync::OnceCell<Option<HomerClient>>,
}

impl Lines {
    /// Lines for so many lanes, of so many each. None is made yet.
    pub(super) async fn new(cluster: &Cluster, at_once: usize, each: usize) -> Self {
        let lanes = (0..at_once).map(|_| tokio::sync::Mutex::default()).collect();
        let skew = cluster.clock_skew().await;
        let (cluster, held, homer) = (cluster.clone(), Mutex::default(), tokio::sync::OnceCell::new());
        Self { cluster, skew, held, lanes, each, homer }
    }

    fn now(&self) -> Timestamp {
        Timestamp::now() + self.skew
    }

    /// Takes away what runs have left behind whose time is over, and says how many lines those were.
    pub(super) async fn sweep(&self) -> Result<usize, CliError> {
        let provisioning = Provisioning::open(&self.cluster, Lease::until(self.now()).options()).await?;
        let Some(prov) = provisioning.prov() else { return Ok(0) };
        let is_ours = |i: &PublicIdentity| i.number().parse().is_ok_and(|number| NUMBERS.contains(&number));
        let ours =
            prov.public_identities().await?.into_iter().filter(is_ours).map(|i| async move { prov.show(&i).await });
        let found: Vec<_> = stream::iter(ours.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect().await?;
        let (mut left, now): (BTreeMap<Lease, Vec<PublicIdentity>>, _) = (BTreeMap::new(), self.now());
        for line in found.into_iter().flatten() {
            if let Some(lease) = Lease::of(&line.private_identity).filter(|lease| lease.is_over(now)) {
                left.entry(lease).or_default().push(line.public_identity);
            }
        }
        let mut count = 0;
        for (lease, identities) in left {
            let provisioning = Provisioning::open(&self.cluster, lease.options()).await?;
            let held = LeasedLines { lease, provisioning, identities: Mutex::new(identities.clone()) };
            held.take_away().await?;
            for identity in &identities {
                // An Ellis that was replaced meanwhile knows nothing of it.
                prov.delete(identity).await?;
            }
            count += identities.len();
        }
        Ok(count)
    }

    /// Makes lines that are in use for so long.
    async fn make(&self, count: usize, lasting: SignedDuration) -> Result<Lane, CliError> {
        let lease = Lease::until(self.now() + lasting);
        let provisioning = Provisioning::open(&self.cluster, lease.options()).await?;
        let held = Arc::new(LeasedLines { lease, provisioning, identities: Mutex::default() });
        self.held.lock().push(Arc::clone(&held));
        let span = u64::from(NUMBERS.end() - NUMBERS.start()) + 1;
        let mut number = NUMBERS.start() + u32::try_from(chance() % span).unwrap_or_default();
        let mut accounts = Vec::new();
        for _ in 0..TRIES {
            let missing = count - accounts.len();
            let mut batch = Vec::new();
            for _ in 0..missing {
                batch.push(held.provisioning.identity(&number.to_string())?);
                number = next(number);
            }
            // Before they are: what is cut off in the middle is taken away too.
            held.identities.lock().extend(batch.iter().cloned());
            let mut making = pin!(held.provisioning.create_numbers(batch));
            while let Some((_, made)) = making.next().await {
                let line = match made {
                    Ok(line) => line,
                    // Somebody has it: another, then.
                    Err(SubscriberError::Taken { .. }) => continue,
                    Err(error) => return Err(error.into()),
                };
                let password = line.password.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
                let account = Account::new(line.public_identity.as_str(), &line.private_identity, password);
                accounts.push(account.map_err(|e| CliError::Connection(e.to_string()))?);
            }
            if accounts.len() == count {
                return Ok(Lane { held: Arc::clone(&held), accounts });
            }
        }
        let (first, last) = NUMBERS.into_inner();
        Err(CliError::Unready(format!(
            "no {count} numbers of {first} to {last} are free; delete lines of others there"
        )))
    }

    /// Makes the first lines of every lane, so that what stands in the way is known before anything is tried.
    pub(super) async fn begin(&self) -> Result<(), CliError> {
        for lane in &self.lanes {
            *lane.lock().await = Some(self.make(self.each, LASTS).await?);
        }
        Ok(())
    }

    /// So many lines for a time.
    pub(super) async fn for_a_time(&self, count: usize, lasting: Duration) -> Result<Vec<Account>, CliError> {
        let lasting = SignedDuration::try_from(lasting).unwrap_or(SignedDuration::MAX).saturating_add(LASTS);
        Ok(self.make(count, lasting).await?.accounts)
    }

    /// How many there are, or may be.
    pub(super) fn count(&self) -> usize {
        self.held.lock().iter().map(|held| held.identities.lock().len()).sum()
    }

    /// Takes all of them away.
    pub(super) async fn take_away(&self) -> Result<(), SubscriberError> {
        let all = self.held.lock().clone();
        join_all(all.iter().map(|held| held.take_away())).await.into_iter().collect()
    }
}

#[async_trait::async_trait]
impl ServiceSource for Lines {
    async fn put(&self, line: &Account, document: Option<&str>) -> Result<(), NoServices> {
        let failed = |e: SubscriberError| NoServices::Failed(e.to_string());
        let Some(homer) = self.homer.get_or_try_init(|| HomerClient::find(&self.cluster)).await.map_err(failed)? else {
            let namespace = &self.cluster.namespace;
            return Err(NoServices::Absent(format!("no homer runs in namespace {namespace}, which keeps services")));
        };
        let identity: PublicIdentity = line.public_identity.parse().map_err(|e| failed(SubscriberError::from(e)))?;
        match document {
            Some(document) => homer.put_services(identity.as_str(), document).await,
            None => homer.delete_services(identity.as_str()).await,
        }
        .map_err(failed)
    }
}

#[async_trait::async_trait]
impl LineSource for Lines {
    async fn lines(&self, lane: usize) -> Result<Vec<Account>, String> {
        let Some(slot) = self.lanes.get(lane) else { return Err(format!("there is no lane {lane}")) };
        let mut slot = slot.lock().await;
        if let Some(lane) = slot.as_ref().filter(|lane| lane.held.lease.left(self.now()) > ENOUGH) {
            return Ok(lane.accounts.clone());
        }
        let lane = self.make(self.each, LASTS).await.map_err(|e| format!("no lines can be made: {e}"))?;
        let accounts = lane.accounts.clone();
        if let Some(old) = slot.replace(lane) {
            // What does not go now goes at the end.
            if old.held.take_away().await.is_ok() {
                self.held.lock().retain(|held| held.lease != old.held.lease);
            }
        }
        Ok(accounts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_are_left_alone_until_their_time_is_over(now in 0_i64..4_000_000_000, until in 0_i64..4_000_000_000) {
            let time = |seconds: i64| Timestamp::from_second(seconds).unwrap();
            let lease = Lease::until(time(until));
            let identity = format!("{}1999000000@{}", lease.options().private_prefix, "ims.svc.cluster.local");
            prop_assert_eq!(Lease::of(&identity), Some(lease.clone()));
            prop_assert_eq!(lease.is_over(time(now)), now > until + GRACE.as_secs());
            // Who may still begin a case ends it before anybody takes the lines for leftovers.
            if lease.left(time(now)) > ENOUGH {
                prop_assert!(!lease.is_over(time(now + ENOUGH.as_secs())));
            }
            prop_assert!(NUMBERS.contains(&next(NUMBERS.start() + u32::try_from(now % 100_000).unwrap())));
        }

        #[test]
        fn what_others_have_is_nobodys_leftover(identity in "\\PC{0,40}") {
            prop_assert_eq!(Lease::of(&identity), None);
        }
    }

    #[test]
    fn two_runs_share_no_name_and_only_whole_names_are_ours() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let [one, other] = [Lease::until(now), Lease::until(now)];
        assert_ne!(one.account(), other.account());
        for theirs in [
            "1999000000@ims",
            "kubectl-clearwater-test.1999000000@ims.svc",
            "kubectl-clearwater-test.1800000000.0123456@ims",
            "kubectl-clearwater-test.1800000000.01234567",
            "kubectl-clearwater-tests.1800000000.01234567.1999000000@ims",
            "kubectl-clearwater-test.soon.01234567.1999000000@ims",
        ] {
            assert_eq!(Lease::of(theirs), None, "{theirs}");
        }
        let theirs = "kubectl-clearwater-test.-9223372036854775808.01234567.1@ims";
        assert!(Lease::of(theirs).is_some_and(|lease| lease.is_over(now)));
    }
}
