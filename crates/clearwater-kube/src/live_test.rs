//! Upstream's live tests (clearwater-live-test), run as a Job beside the deployment: their output is followed, and read by
//! [`clearwater::live_test`].
//!
//! ```no_run
//! # async fn example(cluster: clearwater_kube::Cluster) -> Result<(), clearwater_kube::live_test::LiveTestError> {
//! use std::time::Duration;
//!
//! use clearwater_kube::live_test::{LiveTest, LiveTestPlan, SignUpCode};
//!
//! let plan = LiveTestPlan {
//!     image: "registry.example.com/clearwater-live-test:hunter".to_owned(),
//!     home_domain: "ims.svc.cluster.local".to_owned(),
//!     sign_up: SignUpCode::InSecret { name: "clearwater-keys".to_owned(), key: "signup_key".to_owned() },
//!     transports: "tcp,udp".to_owned(),
//!     rounds: 1,
//!     lasting: Duration::from_secs(1800),
//! };
//! let test = LiveTest::new(&cluster, plan);
//! let done = test.run(|case| println!("{}: {:?}", case.name, case.verdict)).await;
//! test.take_away().await?;
//! done
//! # }
//! ```

mod object;
mod state;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clearwater::live_test::{LiveCase, LiveTestLog, LiveTestLogError, LiveVerdict};
use clearwater::text::{limit, printable};
use futures::AsyncReadExt;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use secrecy::SecretString;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::backoff;
use crate::cluster::{Cluster, FailedAt, code_of, is_passing, lacks_right, list_all, no_namespace};
use object::CONTAINER;
use state::PodState;

pub use object::{LEFTOVERS, is_left_over};

/// What is run, and how.
#[derive(Clone, Debug)]
pub struct LiveTestPlan {
    /// The image that holds upstream's tests.
    pub image: String,
    /// The SIP home domain.
    pub home_domain: String,
    /// What an account at Ellis takes.
    pub sign_up: SignUpCode,
    /// How SIP travels, as upstream reads it: `tcp`, `udp`, or both with a comma between.
    pub transports: String,
    /// How often everything is tried.
    pub rounds: u32,
    /// How long all of it may take.
    pub lasting: Duration,
}

/// Where the sign-up code is taken from. It stands in no object but a Secret.
#[derive(Clone, Debug)]
pub enum SignUpCode {
    /// A Secret of the namespace.
    InSecret {
        /// Its name.
        name: String,
        /// The key that holds the code.
        key: String,
    },
    /// It is kept elsewhere, and put into a Secret that lasts as long as the Job.
    Known(SecretString),
}

/// Why upstream's tests proved nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LiveTestError {
    /// The API server refused something, or could not be asked.
    #[error(transparent)]
    Asked(#[from] FailedAt),
    /// There is not even the namespace.
    #[error("{}", no_namespace(.namespace))]
    NoNamespace {
        /// The namespace.
        namespace: String,
    },
    /// Its container cannot be started, however long one waits.
    #[error("job/{job} cannot be started: {why}")]
    NotStarted {
        /// The Job.
        job: String,
        /// What was seen of its pod.
        why: String,
    },
    /// The time was up.
    #[error("job/{job} has not ended within {}: {seen}", limit(*.within))]
    TimeUp {
        /// The Job.
        job: String,
        /// The time that there was.
        within: Duration,
        /// What was seen last.
        seen: String,
    },
    /// Its pod went away before it ended.
    #[error("the pod of job/{job} went away before it ended: {seen}")]
    Gone {
        /// The Job.
        job: String,
        /// What was seen last.
        seen: String,
    },
    /// What it wrote is not whole, or something else.
    #[error("job/{job}, which ended with {code}{}: {source}", aside(.why))]
    Output {
        /// The Job.
        job: String,
        /// What its program ended with.
        code: i32,
        /// What the runtime said of that.
        why: String,
        /// What is wrong with the output.
        source: LiveTestLogError,
    },
    /// It wrote that nothing failed, and ended as if something had.
    #[error("job/{job} wrote that no case failed, and ended with {code}{}", aside(.why))]
    EndedBadly {
        /// The Job.
        job: String,
        /// What its program ended with.
        code: i32,
        /// What the runtime said of that.
        why: String,
    },
}

impl LiveTestError {
    /// Whether the user may not do what it takes.
    pub fn is_of_rights(&self) -> bool {
        matches!(self, Self::Asked(failed) if lacks_right(failed.source.as_ref()))
    }
}

fn aside(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(" ({why})") }
}

/// How long a pull may fail before it is no longer waited for.
const PULLING: Duration = Duration::from_secs(60);
/// How much longer than the run the Job may last, should nobody be there to end it.
const LONGER: Duration = Duration::from_secs(60);
/// A log that gives nothing for so long is opened anew: a connection can die without a word.
const SILENT: Duration = Duration::from_secs(60);
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// How often what a pod that has ended wrote is read, until it is whole.
const READINGS: u32 = 3;

/// A run of upstream's tests.
#[derive(Debug)]
pub struct LiveTest {
    cluster: Cluster,
    plan: LiveTestPlan,
    /// Chosen before it is made, so that it can be taken away whatever was heard of that.
    job: String,
    /// Whether the API server refused to make it: there is nothing to be taken away.
    refused: AtomicBool,
}

impl LiveTest {
    /// One that is not begun.
    pub fn new(cluster: &Cluster, plan: LiveTestPlan) -> Self {
        let word = RandomState::new().hash_one(0_u8) & 0xffff_ffff;
        Self {
            cluster: cluster.clone(),
            plan,
            job: format!("clearwater-live-test-{word:08x}"),
            refused: AtomicBool::new(false),
        }
    }

    /// The name of its Job.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// Makes the Job and follows it to its end; each case is given on when it has ended. What comes of cases is no error:
    /// one says that they prove nothing. The Job stays until [`LiveTest::take_away`].
    ///
    /// # Errors
    /// It could not be made or started, did not end in time, or wrote what cannot be understood.
    pub async fn run(&self, mut each: impl FnMut(&LiveCase)) -> Result<(), LiveTestError> {
        let until = Instant::now() + self.plan.lasting;
        let cluster = self.cluster.before(until);
        self.make(&cluster).await?;
        let mut seen = "no pod of it has come".to_owned();
        let done = timeout_at(until, async {
            let pod = self.started(&cluster, &mut seen).await?;
            self.follow(&cluster, &pod, &mut seen, &mut each).await
        })
        .await;
        let (job, within) = (self.job.clone(), self.plan.lasting);
        done.unwrap_or_else(|_| Err(LiveTestError::TimeUp { job, within, seen }))
    }

    async fn make(&self, cluster: &Cluster) -> Result<(), LiveTestError> {
        let jobs = cluster.api::<Job>();
        let job = object::job(&self.job, &cluster.namespace, &self.plan, self.plan.lasting + LONGER);
        let made = match jobs.create(&PostParams::default(), &job).await {
            Ok(made) => made,
            Err(error) if code_of(&error) == Some(404) && cluster.lacks_namespace().await => {
                return Err(LiveTestError::NoNamespace { namespace: cluster.namespace.clone() });
            }
            Err(error) => {
                // Who refuses has made nothing; of one that was not heard nobody knows.
                self.refused.store(code_of(&error).is_some_and(|code| (400..500).contains(&code)), Ordering::Relaxed);
                return Err(FailedAt::new(format!("creating job/{}", self.job), error).into());
            }
        };
        if let Some(secret) = object::secret(&self.job, &self.plan.sign_up, made.metadata.uid.as_deref()) {
            let secrets = cluster.api::<Secret>();
            let done = secrets.create(&PostParams::default(), &secret).await;
            done.map_err(|error| FailedAt::new(format!("creating secret/{}", self.job), error))?;
        }
        Ok(())
    }

    /// The Job's pod, as it is now.
    async fn look(&self, cluster: &Cluster) -> Result<Option<Pod>, kube::Error> {
        let own = ListParams::default().labels(&format!("job-name={}", self.job));
        Ok(list_all(&cluster.api::<Pod>(), &own).await?.into_iter().next())
    }

    /// The same, asked again while the API server is busy.
    async fn look_again(&self, cluster: &Cluster) -> Result<Option<Pod>, LiveTestError> {
        let mut pauses = backoff::doubling(PAUSES.0, PAUSES.1);
        loop {
            match self.look(cluster).await {
                Ok(pod) => return Ok(pod),
                Err(error) => {
                    let told = backoff::unless_lasting(error, is_passing, &mut pauses).await;
                    told.map_err(|error| FailedAt::new(format!("listing the pods of job/{}", self.job), error))?;
                }
            }
        }
    }

    /// Waits for the container to run, or to have run; the pod's name.
    async fn started(&self, cluster: &Cluster, seen: &mut String) -> Result<String, LiveTestError> {
        let mut pauses = backoff::doubling(PAUSES.0, PAUSES.1);
        let mut failing: Option<Instant> = None;
        loop {
            let pod = self.look_again(cluster).await?;
            let name = pod.as_ref().and_then(|pod| pod.metadata.name.clone()).unwrap_or_default();
            let state = pod.as_ref().map(state::of);
            let is_failing = matches!(state, Some(PodState::Pulling(_)));
            failing = failing.filter(|_| is_failing).or_else(|| is_failing.then(Instant::now));
            match state {
                Some(PodState::Running | PodState::Ended { .. }) => return Ok(name),
                Some(PodState::Pulling(why)) if failing.is_some_and(|since| since.elapsed() > PULLING) => {
                    return Err(LiveTestError::NotStarted { job: self.job.clone(), why });
                }
                Some(PodState::Failed(why)) => return Err(LiveTestError::NotStarted { job: self.job.clone(), why }),
                Some(PodState::Waiting(why) | PodState::Pulling(why)) => *seen = why,
                None => {}
            }
            backoff::pause(&mut pauses).await;
        }
    }

    async fn follow(
        &self,
        cluster: &Cluster,
        pod: &str,
        seen: &mut String,
        each: &mut impl FnMut(&LiveCase),
    ) -> Result<(), LiveTestError> {
        let (mut told, mut readings) = (0, 0);
        "no case of it has ended".clone_into(seen);
        let mut pauses = backoff::doubling(PAUSES.0, PAUSES.1);
        loop {
            // From its beginning each time: what was given on already is not given on again.
            let mut log = LiveTestLog::new();
            let mut tell = |log: &LiveTestLog| {
                for case in log.cases().iter().skip(told) {
                    told += 1;
                    *seen = format!("its last case was {}", case.name);
                    each(case);
                }
            };
            let broken = self.read(cluster, pod, &mut log, &mut tell).await;
            let state = self.look_again(cluster).await?.as_ref().map(state::of);
            match state {
                Some(PodState::Ended { code, why }) => {
                    log.end();
                    readings += 1;
                    let whole = log.conclude();
                    if whole.is_ok() || readings >= READINGS {
                        log.cases().iter().skip(told).for_each(&mut *each);
                        return self.judged(&log, whole, code, why);
                    }
                }
                Some(PodState::Failed(why)) => {
                    return Err(LiveTestError::Gone { job: self.job.clone(), seen: why });
                }
                None => return Err(LiveTestError::Gone { job: self.job.clone(), seen: seen.clone() }),
                Some(_) => {}
            }
            if let Some(error) = broken.filter(|error| !is_passing(error)) {
                return Err(FailedAt::new(format!("reading the log of pod/{pod}"), error).into());
            }
            backoff::pause(&mut pauses).await;
        }
    }

    /// Whether the cases stand.
    fn judged(
        &self,
        log: &LiveTestLog,
        whole: Result<(), LiveTestLogError>,
        code: i32,
        why: String,
    ) -> Result<(), LiveTestError> {
        let job = self.job.clone();
        whole.map_err(|source| LiveTestError::Output { job: job.clone(), code, why: why.clone(), source })?;
        let has_failed = log.cases().iter().any(|case| matches!(case.verdict, LiveVerdict::Failed(_)));
        if code != 0 && !has_failed { Err(LiveTestError::EndedBadly { job, code, why }) } else { Ok(()) }
    }

    /// Reads the log until it ends, breaks, or is silent for too long.
    async fn read(
        &self,
        cluster: &Cluster,
        pod: &str,
        log: &mut LiveTestLog,
        told: &mut impl FnMut(&LiveTestLog),
    ) -> Option<kube::Error> {
        let params = LogParams { follow: true, container: Some(CONTAINER.to_owned()), ..LogParams::default() };
        let stream = match cluster.api::<Pod>().log_stream(pod, &params).await {
            Ok(stream) => stream,
            Err(error) => return Some(error),
        };
        let (mut stream, mut buffer) = (pin!(stream), vec![0; 16 << 10]);
        while let Ok(Ok(length)) = tokio::time::timeout(SILENT, stream.read(&mut buffer)).await {
            if length == 0 {
                break;
            }
            log.feed(&buffer[..length]);
            told(log);
        }
        None
    }

    /// Takes the Job away, with its pod and what else was made for it. That it is not there is no error.
    ///
    /// # Errors
    /// It could not be deleted.
    pub async fn take_away(&self) -> Result<(), LiveTestError> {
        if self.refused.load(Ordering::Relaxed) {
            return Ok(());
        }
        delete(&self.cluster, &self.job).await?;
        if matches!(self.plan.sign_up, SignUpCode::Known(_)) {
            let gone = self.cluster.api::<Secret>().delete(&self.job, &DeleteParams::default()).await;
            if let Err(error) = gone.map(drop).or_else(unless_absent) {
                return Err(FailedAt::new(format!("deleting secret/{}", self.job), error).into());
            }
        }
        Ok(())
    }

    /// Takes away the Jobs of runs that were killed: those that have ended, or whose time is over. Their names, and those of
    /// the ones that are at work still, of which nobody knows whether somebody follows them.
    ///
    /// # Errors
    /// They could not be listed or deleted.
    pub async fn sweep(cluster: &Cluster) -> Result<(Vec<String>, Vec<String>), LiveTestError> {
        let own = ListParams::default().labels(LEFTOVERS);
        let found = list_all(&cluster.api::<Job>(), &own).await;
        let found =
            found.map_err(|error| FailedAt::new(format!("listing jobs in namespace {}", cluster.namespace), error))?;
        let now = Timestamp::now() + cluster.clock_skew().await;
        let (over, at_work): (Vec<Job>, Vec<Job>) = found.into_iter().partition(|job| is_left_over(job, now));
        let names = |jobs: Vec<Job>| -> Vec<String> {
            jobs.into_iter().filter_map(|job| job.metadata.name).map(|name| printable(&name).into_owned()).collect()
        };
        let (over, at_work) = (names(over), names(at_work));
        for name in &over {
            delete(cluster, name).await?;
        }
        Ok((over, at_work))
    }
}

fn unless_absent(error: kube::Error) -> Result<(), kube::Error> {
    if code_of(&error) == Some(404) { Ok(()) } else { Err(error) }
}

async fn delete(cluster: &Cluster, job: &str) -> Result<(), LiveTestError> {
    let gone = cluster.api::<Job>().delete(job, &DeleteParams::background()).await;
    gone.map(drop).or_else(unless_absent).map_err(|error| FailedAt::new(format!("deleting job/{job}"), error).into())
}
