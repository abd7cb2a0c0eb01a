//! What a case is, what it is given, and how it ends.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::error::seconds;
use crate::{
    Account, Heading, MediaKind, MediaReport, MediaSocket, MediaWay, Phone, Reply, SipError, Transcript,
    TranscriptEntry, Transport, Way, together,
};

/// Where ways for phones come from.
#[async_trait::async_trait]
pub trait WaySource: Send + Sync {
    /// Opens a way for one phone.
    async fn open(&self, transport: Transport) -> Result<Opened, NoWay>;

    /// Opens a way for one phone's media of one kind, from where its other way is.
    async fn open_media(&self) -> Result<OpenedMedia, NoWay>;
}

/// Who keeps the telephony services of lines.
#[async_trait::async_trait]
pub trait ServiceSource: Send + Sync {
    /// Puts a line's document of services (3GPP TS 24.623, `simservs`) in the place of the one that is there; without one,
    /// takes that away.
    async fn put(&self, line: &Account, document: Option<&str>) -> Result<(), NoServices>;
}

/// Why a line's services could not be set, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoServices {
    /// The deployment has none.
    Absent(String),
    /// It has, and it went wrong.
    Failed(String),
}

/// Why there is no way for a phone, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoWay {
    /// A proxy was asked and took no connection.
    Refused {
        /// Whose it is, in a word.
        through: String,
        /// What was seen.
        why: String,
    },
    /// Nobody could be asked.
    Unknown(String),
}

/// A way, and what must be held as long as it is used.
pub struct Opened {
    /// The way.
    pub way: Way,
    /// Whose it is, in a word: the pod, or the address.
    pub through: String,
    /// Closes the way when it goes.
    pub way_held: Box<dyn Send + Sync>,
}

/// A way for media, and what must be held as long as it is used.
pub struct OpenedMedia {
    /// The way.
    pub way: MediaWay,
    /// Closes the way when it goes.
    pub way_held: Box<dyn Send + Sync>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaseTimes {
    /// One answer.
    pub answer: Duration,
    /// Media, where a case sends some.
    pub talk: Duration,
}

/// What is tried.
pub struct Case {
    /// Its name, for people, and by which it is chosen.
    pub id: &'static str,
    /// What it shows when it passes.
    pub shows: &'static str,
    /// How many lines it takes.
    pub lines: usize,
    /// Over which transports it makes sense.
    pub over: &'static [Transport],
    pub(super) run: for<'a> fn(&'a Bench<'a>) -> BoxFuture<'a, Result<(), EarlyEnd>>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What was seen where something else was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFailure {
    /// What was being done, as `REGISTER with the password`.
    pub step: String,
    /// What is right.
    pub wanted: String,
    /// What came.
    pub seen: String,
    /// The method that was answered, and the status, where an answer is what failed.
    pub answer: Option<(String, u16)>,
}

impl fmt::Display for CaseFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, wanted, seen, .. } = self;
        write!(f, "{step}: {seen}; {wanted} is right")
    }
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestVerdict {
    /// As it should.
    Passed,
    /// Otherwise.
    Failed(CaseFailure),
    /// It could not be tried: there was no way to the proxy. That says nothing of the exchange.
    NotTried(String),
    /// It makes no sense here: what it tries is no part of the deployment.
    Skipped(String),
}

/// What became of a case.
#[derive(Clone, Debug)]
pub struct CaseOutcome {
    /// The case.
    pub id: &'static str,
    /// Over which transport.
    pub transport: Transport,
    /// How it ended.
    pub verdict: TestVerdict,
    /// How long it took.
    pub took: Duration,
    /// The ways that its phones took, each once.
    pub through: Vec<String>,
    /// The messages of all its phones, in order.
    pub messages: Vec<TranscriptEntry>,
    /// How media arrived, where it sends some.
    pub media: Vec<MediaReport>,
}

/// What ends a case early.
pub(super) enum EarlyEnd {
    Failed(CaseFailure),
    NotTried(String),
    Skipped(String),
}

impl EarlyEnd {
    fn failed(step: &str, wanted: &str, seen: String) -> Self {
        Self::Failed(CaseFailure { step: step.to_owned(), wanted: wanted.to_owned(), seen, answer: None })
    }
}

/// A case takes no longer than this whatever happens: two of SIP's own time-outs (RFC 3261 timer B, 32 s) and some more.
const LONGEST: Duration = Duration::from_secs(80);

/// What a phone leaves behind when it is gone.
struct PhoneLeft {
    transcript: Transcript,
    through: String,
    _way_held: Box<dyn Send + Sync>,
}

/// What a case is given.
pub(super) struct Bench<'a> {
    reach: &'a dyn WaySource,
    services: &'a dyn ServiceSource,
    /// The lines whose services are set.
    served: Mutex<BTreeSet<usize>>,
    accounts: &'a [Account],
    transport: Transport,
    /// How long one answer may take.
    pub(super) patience: Duration,
    /// How long media flows.
    pub(super) talk: Duration,
    held: Mutex<Vec<PhoneLeft>>,
    /// The lines whose earlier registrations are taken back.
    cleared: Mutex<BTreeSet<usize>>,
    pub(super) media: Mutex<Vec<MediaReport>>,
}

impl Case {
    /// Tries it with these lines. Those whose services it sets have none afterwards.
    ///
    /// # Panics
    /// Where there are fewer lines than [`lines`](Self::lines).
    pub async fn attempt(
        &self,
        reach: &dyn WaySource,
        services: &dyn ServiceSource,
        accounts: &[Account],
        transport: Transport,
        times: CaseTimes,
    ) -> CaseOutcome {
        assert!(accounts.len() >= self.lines, "{} takes {} lines", self.id, self.lines);
        let bench = Bench {
            reach,
            services,
            served: Mutex::default(),
            accounts,
            transport,
            patience: times.answer,
            talk: times.talk,
            held: Mutex::default(),
            cleared: Mutex::default(),
            media: Mutex::default(),
        };
        let began = Instant::now();
        let late = || EarlyEnd::failed("the whole", "an end", format!("not over after {}", seconds(LONGEST)));
        let verdict = match timeout(LONGEST, (self.run)(&bench)).await.unwrap_or_else(|_| Err(late())) {
            Ok(()) => TestVerdict::Passed,
            Err(EarlyEnd::Failed(failure)) => TestVerdict::Failed(failure),
            Err(EarlyEnd::NotTried(why)) => TestVerdict::NotTried(why),
            Err(EarlyEnd::Skipped(why)) => TestVerdict::Skipped(why),
        };
        bench.unserve().await;
        let took = began.elapsed();
        let held = bench.held.into_inner();
        let transcripts: Vec<Transcript> = held.iter().map(|h| h.transcript.clone()).collect();
        let mut through: Vec<String> = held.into_iter().map(|h| h.through).collect();
        through.sort();
        through.dedup();
        let (messages, media) = (together(&transcripts), bench.media.into_inner());
        CaseOutcome { id: self.id, transport, verdict, took, through, messages, media }
    }

    /// Leaves it out, and says why.
    pub fn not_tried(&self, transport: Transport, why: String) -> CaseOutcome {
        let (through, messages) = (Vec::new(), Vec::new());
        CaseOutcome {
            id: self.id,
            transport,
            verdict: TestVerdict::NotTried(why),
            took: Duration::ZERO,
            through,
            messages,
            media: Vec::new(),
        }
    }
}

impl CaseOutcome {
    /// Whether it failed and nothing came back at all: no connection, or no answer to anything.
    pub fn is_silence(&self) -> bool {
        let failed = matches!(self.verdict, TestVerdict::Failed(_));
        failed && !self.messages.iter().any(|m| m.heading == Heading::Received)
    }
}

/// Media has no proxy that could refuse it: where there is no way, nothing is said of the exchange.
fn not_tried(no: NoWay) -> EarlyEnd {
    EarlyEnd::NotTried(match no {
        NoWay::Refused { through, why } => format!("{through}: {why}"),
        NoWay::Unknown(why) => why,
    })
}

impl Bench<'_> {
    pub(super) fn account(&self, line: usize) -> &Account {
        &self.accounts[line]
    }

    /// A phone for a line; several times the same line are several phones of one owner.
    pub(super) async fn phone(&self, line: usize) -> Result<Phone, EarlyEnd> {
        self.phone_of(self.accounts[line].clone()).await
    }

    pub(super) async fn phone_of(&self, account: Account) -> Result<Phone, EarlyEnd> {
        let opened = self.reach.open(self.transport).await.map_err(|no| match no {
            NoWay::Refused { through, why } => {
                EarlyEnd::failed(&format!("connecting to {through}"), "a connection", why)
            }
            NoWay::Unknown(why) => EarlyEnd::NotTried(why),
        })?;
        let phone = Phone::open(account, opened.way).await;
        let phone = phone.map_err(|e| EarlyEnd::failed("connecting", "a connection to bono", e.to_string()))?;
        let Opened { through, way_held, .. } = opened;
        self.held.lock().push(PhoneLeft { transcript: phone.transcript().clone(), through, _way_held: way_held });
        Ok(phone)
    }

    /// Sets a line's services.
    pub(super) async fn serve(&self, line: usize, document: &str) -> Result<(), EarlyEnd> {
        self.served.lock().insert(line);
        self.services.put(&self.accounts[line], Some(document)).await.map_err(|no| match no {
            NoServices::Absent(why) => EarlyEnd::Skipped(why),
            NoServices::Failed(why) => EarlyEnd::NotTried(why),
        })
    }

    /// Takes the services away that were set: the line is tried with other cases.
    async fn unserve(&self) {
        let served = std::mem::take(&mut *self.served.lock());
        for line in served {
            // A case that needs others sets them.
            let _ = self.services.put(&self.accounts[line], None).await;
        }
    }

    /// A socket for a phone's media, and what keeps its way open.
    pub(super) async fn media_socket(&self, kind: MediaKind) -> Result<(MediaSocket, Box<dyn Send + Sync>), EarlyEnd> {
        let opened = self.reach.open_media().await.map_err(not_tried)?;
        let socket = MediaSocket::open(kind, opened.way).await;
        let socket = socket.map_err(|e| EarlyEnd::NotTried(format!("a socket for {kind}: {e}")))?;
        Ok((socket, opened.way_held))
    }

    /// A phone that is registered. The first of a line takes back what others left: a phone that went away without a word
    /// is called for as long as its registration lasts.
    pub(super) async fn registered(&self, line: usize) -> Result<Phone, EarlyEnd> {
        let mut phone = self.phone(line).await?;
        if self.cleared.lock().insert(line) {
            let step = format!("REGISTER of {} for 0 s, all phones", phone.account().number);
            is(&step, "REGISTER", 200, phone.unregister_all(self.patience).await)?;
        }
        let step = format!("REGISTER of {}", phone.account().number);
        let reply = phone.register(REGISTERED, self.patience).await;
        is(&step, "REGISTER", 200, reply)?;
        Ok(phone)
    }

    /// Takes a registration back. What it ends with is not what the case is about.
    pub(super) async fn leave(&self, phones: impl IntoIterator<Item = &mut Phone>) {
        for phone in phones {
            let _ = phone.register(0, self.patience).await;
        }
    }
}

/// How long a registration of a case lasts, in seconds: longer than any case.
const REGISTERED: u32 = 300;

/// What was seen, where it is not this answer.
pub(super) fn is(step: &str, method: &str, code: u16, reply: Result<Reply, SipError>) -> Result<Reply, EarlyEnd> {
    let failed = |seen: String, answer| {
        let (step, wanted) = (step.to_owned(), code.to_string());
        EarlyEnd::Failed(CaseFailure { step, wanted, seen, answer })
    };
    match reply {
        Ok(reply) if reply.code() == code => Ok(reply),
        Ok(reply) => Err(failed(reply.to_string(), Some((method.to_owned(), reply.code())))),
        Err(error) => Err(failed(error.to_string(), None)),
    }
}

/// What was seen, where something did not happen.
pub(super) fn done<T>(step: &str, wanted: &str, result: Result<T, SipError>) -> Result<T, EarlyEnd> {
    result.map_err(|e| EarlyEnd::failed(step, wanted, e.to_string()))
}

/// What was seen, where it is not as it should be.
pub(super) fn holds(step: &str, wanted: &str, fine: bool, seen: impl FnOnce() -> String) -> Result<(), EarlyEnd> {
    if fine { Ok(()) } else { Err(EarlyEnd::failed(step, wanted, seen())) }
}
