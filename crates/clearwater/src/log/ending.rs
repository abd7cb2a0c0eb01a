//! How what was asked under one Call-ID ended: the one judgement of which the list and the drawing of a call are made.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};

use super::{Direction, SipMessage};
use crate::text::Printable;

/// The most branches of one request that are kept, of each kind.
const MOST_BRANCHES: usize = 64;
/// The most requests of one call that are kept, those that were told of first and last: a registration is refreshed for years.
const MOST: usize = 32;
/// How far the clocks of two programs may be apart, for what began when logs were cut.
const CLOCKS: SignedDuration = SignedDuration::from_secs(1);
/// How long whoever asked waits for an answer at the most: to an INVITE that was told to ring as long as a proxy lets it (timer
/// C, RFC 3261 §16.6), to anything else as long as a transaction lasts (timer F, §17.1.2.2).
const LONGEST_RINGING: SignedDuration = SignedDuration::from_secs(180);
const LONGEST_SILENCE: SignedDuration = SignedDuration::from_secs(32);
/// How much further than any other hop what stays inside sprout is: its functions may answer in another's place.
const INSIDE: u16 = 1000;

/// What one message tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'m> {
    pub(super) time: Timestamp,
    /// The method of the request, or of the one that is answered.
    pub(super) method: &'m str,
    pub(super) cseq: &'m str,
    pub(super) status: Option<u16>,
    /// The status with its reason.
    pub(super) text: &'m str,
    /// The tags of who asks and of whom it is for; empty where there is none.
    pub(super) tags: (&'m str, &'m str),
    /// The [`mark`] of the topmost Via's branch.
    pub(super) branch: u64,
    pub(super) depth: u16,
    pub(super) has_credentials: bool,
    pub(super) is_sent: bool,
}

impl Told<'_> {
    fn number(&self) -> u64 {
        self.cseq.split_ascii_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}

/// How many hops a message is from whoever asks: each writes a Via (RFC 3261 §16.6), and answers have the same.
pub(super) fn depth(message: &SipMessage<'_>) -> u16 {
    let vias: usize = message.headers("Via").map(|via| via.split(',').count()).sum();
    let inside = if message.direction == Direction::Internal { INSIDE } else { 0 };
    u16::try_from(vias).unwrap_or(u16::MAX).saturating_add(inside)
}

/// A few bytes by which something is known again.
pub(super) fn mark(of: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Keeps a branch.
fn keep(branches: &mut Vec<u64>, branch: u64) {
    if branches.len() < MOST_BRANCHES && !branches.contains(&branch) {
        branches.push(branch);
    }
}

/// The branch of the topmost Via; a header field may hold several, with commas between (RFC 3261 §7.3.1).
pub(super) fn branch(via: &str) -> &str {
    let topmost = via.split(',').next().unwrap_or_default();
    topmost.split(';').find_map(|p| p.trim().strip_prefix("branch=")).unwrap_or_default().trim()
}

/// The tag of a From or To field; empty where it has none.
pub(super) fn tag(field: Option<Cow<'_, str>>) -> String {
    let field = field.unwrap_or_default();
    let parameters = field.rsplit_once('>').map_or(&*field, |(_, parameters)| parameters);
    let named = parameters.split(';').filter_map(|p| p.split_once('='));
    let mut tags = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("tag"));
    tags.next().map(|(_, tag)| tag.trim().to_owned()).unwrap_or_default()
}

/// Whether a request answers a challenge. A phone's first REGISTER names its user in the same field, with nothing in the
/// place of the answer (3GPP TS 24.229 §5.1.1.2).
pub(super) fn has_credentials(message: &SipMessage<'_>) -> bool {
    let is_answer = |value: Cow<'_, str>| {
        value
            .split(',')
            .filter_map(|p| p.split_once("response="))
            .any(|(_, answer)| !matches!(answer.trim(), "" | "\"\""))
    };
    ["Authorization", "Proxy-Authorization"].iter().any(|name| message.headers(name).any(is_answer))
}

/// A request, and what whoever asked was told. What others were told on the way counts only where that is not known.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is something that a message told")]
pub(super) struct Asked {
    pub(super) method: Printable,
    /// The tag and the number of who asked.
    pub(super) tag: Printable,
    pub(super) number: u64,
    /// The final answer, with its reason.
    pub(super) answer: Option<(u16, Printable)>,
    pub(super) began: Timestamp,
    pub(super) depth: u16,
    /// When the first and the last of all its messages were logged, and whether it is itself among them.
    first: Timestamp,
    last: Timestamp,
    is_told: bool,
    is_seen: bool,
    has_credentials: bool,
    /// Whether anybody on its way was told that it is terminated (487).
    is_terminated: bool,
    /// Its branch where it is nearest to who asked, and the branches of its CANCELs, of its ACKs and of where it was refused.
    branch: u64,
    cancels: Vec<u64>,
    acks: Vec<u64>,
    refused: Vec<u64>,
    /// The tag of who accepted it, and how often that was logged by who sent it and by who got it.
    accepted: (Printable, [u8; 2]),
}

impl Asked {
    fn is(&self, told: &Told<'_>, method: &str) -> bool {
        self.number == told.number() && self.tag == *told.tags.0 && self.method == *method
    }

    pub(super) fn went_well(&self) -> bool {
        self.answer.as_ref().is_some_and(|(status, _)| *status < 300)
    }

    fn take(&mut self, told: &Told<'_>) {
        if told.depth > self.depth {
            return;
        }
        if told.depth < self.depth {
            (self.depth, self.branch, self.began, self.answer) = (told.depth, told.branch, told.time, None);
            self.accepted = (Printable::default(), [0, 0]);
        }
        self.began = self.began.min(told.time);
        let Some(status) = told.status else {
            (self.is_seen, self.has_credentials) = (true, self.has_credentials | told.has_credentials);
            return;
        };
        if status < 200 {
            return;
        }
        // Of two phones one may answer and another refuse later.
        if !self.went_well() {
            self.answer = Some((status, told.text.into()));
        }
        if status < 300 {
            let (by, times) = &mut self.accepted;
            if *times == [0, 0] {
                *by = told.tags.1.into();
            }
            if *by == *told.tags.1 {
                let times = &mut times[usize::from(told.is_sent)];
                *times = times.saturating_add(1);
            }
        }
    }

    /// Whether it was accepted again and again, and nobody acknowledged that (RFC 3261 §13.3.1.4). The ACK of a refusal has the
    /// branch of what was refused (§17.1.1.3).
    fn is_unacknowledged(&self) -> bool {
        let has_ack = self.acks.iter().any(|branch| !self.refused.contains(branch));
        self.method == "INVITE" && !has_ack && self.accepted.1.iter().any(|times| *times > 1)
    }

    /// Whether whoever asked gave it up, and was told that; or was told what somebody else had said before.
    fn is_given_up(&self) -> bool {
        match self.answer {
            Some((487, _)) => !self.cancels.is_empty(),
            Some((300.., _)) => self.is_terminated && self.cancels.contains(&self.branch),
            _ => false,
        }
    }
}

/// How a request came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Refused,
    /// Whoever asked was challenged, and did not try again.
    Challenged,
    Unanswered,
    Unacknowledged,
}

impl Broken {
    /// Whether it is none as soon as something more comes: an answer, or the same request with credentials.
    pub(super) const fn may_pass(self) -> bool {
        matches!(self, Self::Unanswered | Self::Challenged)
    }
}

/// What is known of the time that logs cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cover {
    /// They were cut, and hold all only from then on.
    pub(super) cut: Option<Timestamp>,
    /// They were taken then, while more was to come.
    pub(super) taken: Option<Timestamp>,
}

impl Cover {
    /// The same of logs that hold something of this time: they were not taken before.
    pub(super) fn reaching(self, latest: Option<Timestamp>) -> Self {
        Self { taken: self.taken.map(|taken| latest.map_or(taken, |latest| taken.max(latest))), ..self }
    }
}

/// What logs may lack of a request that came to nothing as far as they tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Beginning,
    Answer,
}

/// All that was asked in one call, or under one Call-ID outside of any.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// The tags of who began it and, until it is known who that was, of the other.
    tags: (Printable, Printable),
    is_sure: bool,
    is_call: bool,
    /// When its first message was logged.
    began: Timestamp,
    asked: Vec<Asked>,
}

impl Ending {
    pub(super) fn new(told: &Told<'_>) -> Self {
        let tags = (told.tags.0.into(), told.tags.1.into());
        Self { tags, is_sure: false, is_call: false, began: told.time, asked: Vec::new() }
    }

    /// Which of those with one Call-ID a message is of. Two calls may have the same: they are told apart by the tag of who
    /// began them (RFC 3261 §12). What is asked outside of calls is not, as a phone that registers again may take another tag.
    pub(super) fn find<'e>(all: &(impl Iterator<Item = &'e Self> + Clone), told: &Told<'_>) -> Option<usize> {
        let (from, to) = told.tags;
        let begins = to.is_empty() && told.status.is_none();
        let has = |one: &Self, tag: &str| one.tags.0 == *tag && (one.is_call || told.method != "INVITE");
        all.clone()
            .position(|one| has(one, from) || (!begins && !to.is_empty() && has(one, to)))
            .or_else(|| all.clone().position(|one| !one.is_sure && (one.tags.1 == *from || one.tags.0 == *from)))
            .or_else(|| all.clone().position(|one| !one.is_call && told.method != "INVITE"))
    }

    pub(super) fn take(&mut self, told: &Told<'_>) {
        if !self.is_sure && told.tags.1.is_empty() && told.status.is_none() && told.method != "ACK" {
            (self.tags.0, self.is_sure) = (told.tags.0.into(), true);
        }
        self.is_call |= told.method == "INVITE";
        self.began = self.began.min(told.time);
        // Both are part of what they end: neither is answered for itself.
        let is_part = matches!(told.method, "ACK" | "CANCEL");
        let method = if is_part { "INVITE" } else { told.method };
        let known = self.asked.iter().position(|asked| asked.is(told, method));
        let place = known.unwrap_or_else(|| {
            if self.asked.len() >= MOST {
                // The first is what all began with.
                self.asked.remove(1);
            }
            self.asked.push(Asked {
                method: method.into(),
                tag: told.tags.0.into(),
                number: told.number(),
                answer: None,
                began: told.time,
                depth: u16::MAX,
                first: told.time,
                last: told.time,
                is_told: false,
                is_seen: false,
                has_credentials: false,
                is_terminated: false,
                branch: 0,
                cancels: Vec::new(),
                acks: Vec::new(),
                refused: Vec::new(),
                accepted: (Printable::default(), [0, 0]),
            });
            self.asked.len() - 1
        });
        let Some(asked) = self.asked.get_mut(place) else { return };
        (asked.first, asked.last) = (asked.first.min(told.time), asked.last.max(told.time));
        asked.is_told |= told.status.is_none();
        match told.method {
            "ACK" => keep(&mut asked.acks, told.branch),
            "CANCEL" if told.status.is_none() => keep(&mut asked.cancels, told.branch),
            "CANCEL" => {}
            method => {
                asked.is_terminated |= told.status == Some(487);
                if method == "INVITE" && told.status >= Some(300) {
                    keep(&mut asked.refused, told.branch);
                }
                asked.take(told);
            }
        }
    }

    /// What it began with, as far as its messages go back: the last try of it, or the one that was accepted.
    pub(super) fn asked_first(&self) -> Option<&Asked> {
        let told = || self.asked.iter().filter(|asked| asked.depth < u16::MAX);
        let first = told().min_by_key(|asked| asked.began)?;
        let tries = || told().filter(|asked| asked.method == first.method && (asked.tag == first.tag || !self.is_call));
        let accepted = tries().filter(|asked| asked.method == "INVITE" && asked.went_well());
        accepted
            .min_by_key(|asked| asked.number)
            .or_else(|| tries().filter(|asked| asked.answer.is_some()).max_by_key(|asked| asked.number))
            .or(Some(first))
    }

    /// Whether who began it gave it up.
    pub(super) fn is_cancelled(&self) -> bool {
        self.asked_first().is_some_and(Asked::is_given_up)
    }

    /// What of it may be missing in logs of a cover: its beginning, where they were cut and its call began before, or what it
    /// began with is not there; or the answer, or what answers a challenge, where that was still waited for when they were taken.
    pub(super) fn lacks(&self, asked: &Asked, how: Broken, cover: Cover) -> Option<Lack> {
        let (began, has_begin) = if self.is_call { (self.began, self.is_sure) } else { (asked.first, asked.is_told) };
        if cover.cut.is_some_and(|cut| !has_begin || began.duration_since(cut) <= CLOCKS) {
            return Some(Lack::Beginning);
        }
        let patience = if asked.method == "INVITE" { LONGEST_RINGING } else { LONGEST_SILENCE };
        let patience = if how == Broken::Challenged { LONGEST_SILENCE } else { patience };
        let waits = |taken: Timestamp| how.may_pass() && taken.duration_since(asked.last) < patience;
        cover.taken.is_some_and(waits).then_some(Lack::Answer)
    }

    /// The first request that came to nothing; `None` where all went well.
    ///
    /// What was challenged, what was tried again and went well, what one of several phones refused while another
    /// answered, and what the caller gave up are no failures; nor is what became of a CANCEL, or of a second BYE.
    pub(super) fn broken(&self) -> Option<(&Asked, Broken)> {
        // What is asked of a phone to see whether it is there is not part of the call.
        let is_part = |asked: &&Asked| asked.depth < u16::MAX && !(self.is_call && asked.method == "OPTIONS");
        let all = self.asked.iter().filter(is_part);
        let broken = all.filter_map(|one| {
            let is_side = |other: &&Asked| !self.is_call || other.tag == one.tag;
            let alike = || self.asked.iter().filter(|other| other.method == one.method && !std::ptr::eq(*other, one));
            let mut later = alike().filter(is_side).filter(|other| other.number > one.number);
            if later.clone().any(Asked::went_well) || (one.method == "BYE" && alike().any(Asked::went_well)) {
                return None;
            }
            let how = match one.answer.as_ref().map(|(status, _)| *status) {
                None => one.is_seen.then_some(Broken::Unanswered),
                Some(..300) => one.is_unacknowledged().then_some(Broken::Unacknowledged),
                Some(300..=399) => None,
                Some(_) if one.is_given_up() => None,
                // Whoever tries again is told then.
                Some(401 | 407) if later.next().is_some() => None,
                Some(401 | 407) if !one.has_credentials => Some(Broken::Challenged),
                Some(_) => Some(Broken::Refused),
            };
            Some((one, how?))
        });
        broken.min_by_key(|(one, _)| one.began)
    }
}
