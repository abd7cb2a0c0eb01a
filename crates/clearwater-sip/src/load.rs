//! Calls at a rate: how many are answered, and after what time.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::case::{NoWay, WaySource};
use crate::media::session_description;
use crate::{Account, MediaKind, Phone, Reply, SipError, Transport};

/// How many calls, how fast, for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadPlan {
    /// Calls that are begun in a second.
    pub rate: f64,
    /// For how long.
    pub lasting: Duration,
    /// How long one answer may take.
    pub answer: Duration,
    /// How phones speak.
    pub transport: Transport,
}

impl LoadPlan {
    /// How many calls that makes: one at least.
    pub fn calls(&self) -> u32 {
        let calls = (self.rate * self.lasting.as_secs_f64()).round().clamp(1.0, f64::from(u32::MAX));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was clamped a line before")]
        let calls = calls as u32;
        calls
    }
}

/// What came of the calls until now.
#[derive(Clone, Debug)]
pub struct LoadTally {
    /// Calls that were due.
    pub begun: u64,
    /// Calls that were answered and hung up as they should.
    pub answered: u64,
    /// The others, by what was seen.
    pub failures: BTreeMap<String, u64>,
    /// Microseconds from when a call was due until its 200, of those that were answered. The wait for a phone that is free
    /// counts: who does not count it leaves out what a caller feels when an exchange is slow.
    times: Histogram<u64>,
}

/// The longest time that is told apart, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

impl LoadTally {
    fn new() -> Result<Self, SipError> {
        let times = Histogram::new_with_bounds(1, LONGEST, 3).map_err(SipError::protocol)?;
        Ok(Self { begun: 0, answered: 0, failures: BTreeMap::new(), times })
    }

    fn add(&mut self, ended: Result<Duration, String>) {
        match ended {
            Ok(took) => {
                self.answered += 1;
                self.times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST));
            }
            Err(why) => *self.failures.entry(why).or_default() += 1,
        }
    }

    /// How many failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// The time within which so many of a hundred answered calls were answered.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.times.value_at_percentile(percent))
    }
}

/// Why no call was tried: the phones could not be made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoLoad {
    /// There was no way to the proxy.
    NoWay(NoWay),
    /// What a phone was told that wanted to register.
    Register(String),
}

/// The time of a registration, in seconds, and when it is renewed: no registrar gives less by default.
const REGISTERED: u32 = 300;
const RENEWED: Duration = Duration::from_secs(120);
/// How many phones are made ready at the same time.
const AT_ONCE: usize = 8;

/// A phone with what keeps its way open, and when it was registered.
struct Ready {
    phone: Phone,
    at: Instant,
    _way_held: Box<dyn Send + Sync>,
}

impl Ready {
    async fn new(ways: &dyn WaySource, account: &Account, plan: &LoadPlan) -> Result<Self, NoLoad> {
        let opened = ways.open(plan.transport).await.map_err(NoLoad::NoWay)?;
        let failed = |seen: String| NoLoad::Register(format!("{}: {seen}", account.number));
        let mut phone = Phone::open(account.clone(), opened.way).await.map_err(|e| failed(e.to_string()))?;
        let reply = phone.register(REGISTERED, plan.answer).await.map_err(|e| failed(e.to_string()))?;
        if reply.code() != 200 {
            return Err(failed(reply.to_string()));
        }
        Ok(Self { phone, at: Instant::now(), _way_held: opened.way_held })
    }

    async fn renewed(&mut self, within: Duration) -> Result<(), String> {
        if self.at.elapsed() > RENEWED {
            expect("REGISTER", 200, self.phone.register(REGISTERED, within).await)?;
            self.at = Instant::now();
        }
        Ok(())
    }
}

/// Two phones of which one calls the other.
struct Pair {
    from: Ready,
    to: Ready,
}

/// An answer of another code, or none, as a failure is told: without what differs from call to call.
fn expect(method: &str, code: u16, reply: Result<Reply, SipError>) -> Result<Reply, String> {
    match reply {
        Ok(reply) if reply.code() == code => Ok(reply),
        Ok(reply) => Err(format!("{method}: {reply}")),
        Err(error) => Err(format!("{method}: {error}")),
    }
}

impl Pair {
    /// One call: rung, answered, hung up by the caller. Tells when it was answered.
    async fn call(&mut self, media: &str, within: Duration) -> Result<Instant, String> {
        self.from.renewed(within).await?;
        self.to.renewed(within).await?;
        let to = &mut self.to.phone;
        let recipient = to.account().public_identity.clone();
        let (says, mut own) = watch::channel(None);
        let calling = async {
            let mut invitation = self.from.phone.invite(&recipient, media).await.map_err(|e| format!("INVITE: {e}"))?;
            says.send_replace(Some(invitation.call_id().to_owned()));
            let reply = expect("INVITE", 200, invitation.outcome(within).await)?;
            let answered = Instant::now();
            let call = invitation.confirm(&reply).await.map_err(|e| format!("ACK: {e}"))?;
            expect("BYE", 200, call.hang_up(within).await)?;
            Ok::<_, String>(answered)
        };
        let answering = async {
            let ringing = loop {
                let ringing = to.called(within).await.map_err(|e| format!("the called phone: {e}"))?;
                // One that comes late, of a call that was given up, is not this one.
                let own = own.wait_for(Option::is_some).await;
                if own.is_ok_and(|id| id.as_deref() == Some(ringing.call_id())) {
                    break ringing;
                }
                let _ = ringing.reject(486, within).await;
            };
            let call = ringing.answer(media, within).await.map_err(|e| format!("the called phone: {e}"))?;
            call.hung_up(within).await.map_err(|e| format!("the called phone: {e}"))
        };
        tokio::pin!(calling, answering);
        // What the caller is told ends the call, whatever the called phone still waits for.
        tokio::select! {
            biased;
            called = &mut calling => called,
            heard = &mut answering => {
                let called = calling.await;
                heard.and(called)
            }
        }
    }
}

/// Calls at a rate between pairs of phones, of two lines each, in turn of who is free. Each time that something changed, it
/// is told how it stands.
///
/// Calls are due at their times whatever became of those before. One that finds no phone free for as long as an answer may
/// take is given up.
pub async fn load(
    ways: &dyn WaySource,
    lines: &[Account],
    plan: &LoadPlan,
    mut told: impl FnMut(&LoadTally),
) -> Result<LoadTally, NoLoad> {
    let broken = |e: SipError| NoLoad::Register(e.to_string());
    let mut tally = LoadTally::new().map_err(broken)?;
    let phones = lines.iter().map(|account| Ready::new(ways, account, plan));
    let phones: Vec<Ready> = stream::iter(phones.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await?;
    let mut phones = phones.into_iter();
    let mut pairs = Vec::new();
    while let (Some(from), Some(to)) = (phones.next(), phones.next()) {
        pairs.push(Pair { from, to });
    }
    let media =
        session_description(&[(MediaKind::Audio, std::net::SocketAddr::from(([192, 0, 2, 1], 40_000)))], 1, "sendrecv");
    let (due, queue) = calls_due();
    let (ends, mut ended) = mpsc::unbounded_channel();
    let count = plan.calls();
    let ringing = async {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / plan.rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for _ in 0..count {
            let at = ticks.tick().await;
            let _ = due.send(at);
            let _ = ends.send(None);
        }
        drop(due);
    };
    let working = async {
        let ends = &ends;
        let (queue, media) = (&queue, media.as_str());
        join_all(pairs.iter_mut().map(|pair| async move {
            while let Some(at) = queue.next().await {
                let ended = if at.elapsed() > plan.answer {
                    Err("no phone was free".to_owned())
                } else {
                    Box::pin(pair.call(media, plan.answer)).await.map(|answered| answered - at)
                };
                let _ = ends.send(Some(ended));
            }
        }))
        .await;
    };
    let counting = async {
        let mut left = count;
        while left > 0 {
            match ended.recv().await {
                Some(Some(outcome)) => {
                    tally.add(outcome);
                    left -= 1;
                }
                Some(None) => tally.begun += 1,
                None => break,
            }
            told(&tally);
        }
    };
    tokio::join!(ringing, working, counting);
    join_all(
        pairs.iter_mut().flat_map(|pair| [&mut pair.from, &mut pair.to]).map(|one| one.phone.register(0, plan.answer)),
    )
    .await;
    Ok(tally)
}

/// Calls that are due, for whoever is free.
struct Queue(Mutex<mpsc::UnboundedReceiver<Instant>>);

impl Queue {
    async fn next(&self) -> Option<Instant> {
        self.0.lock().await.recv().await
    }
}

fn calls_due() -> (mpsc::UnboundedSender<Instant>, Queue) {
    let (due, queue) = mpsc::unbounded_channel();
    (due, Queue(Mutex::new(queue)))
}
