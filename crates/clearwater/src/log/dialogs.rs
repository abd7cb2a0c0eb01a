//! What calls, registrations and messages there were: a line each.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::ending::{Asked, Broken, Cover, Ending, Lack, Told, branch, depth, has_credentials, mark, tag};
use super::{Direction, Identity, SipMessage, Traced};
use crate::names::named;
use crate::text::Printable;

/// The most that are kept. A busy bono has as many in an hour of ten calls a second; each takes some hundred bytes.
const MOST: usize = 100_000;

/// How what a Call-ID began with ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DialogOutcome {
    /// All that was asked in it was answered.
    Succeeded,
    /// It, or something within it, was refused, challenged and not tried again, or accepted and not acknowledged.
    Failed,
    /// Whoever began it gave it up.
    Cancelled,
    /// No final answer to it, or to something within it, is in these logs.
    Unanswered,
    /// The same, and whoever asked still waited for it when the logs were taken ([`Dialogs::taken`]).
    Proceeding,
    /// It did not go well as far as these logs tell, and they may lack some of it: they were cut ([`Dialogs::cut`]).
    Cut,
}

named!(
    /// Its name in JSON.
    DialogOutcome, "outcome" {
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
        Unanswered = "unanswered",
        Proceeding = "proceeding",
        Cut = "cut",
    }
);

/// What came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenRequest<'d> {
    /// Its method.
    pub method: &'d Printable,
    /// The number of its CSeq.
    pub cseq: u64,
    /// Its final answer, where it had one: the code and its reason.
    pub answered: Option<(u16, &'d Printable)>,
    /// Whether it was accepted, and that never acknowledged.
    pub is_unacknowledged: bool,
    /// Whether what it was asked within had been accepted: the call stood.
    pub is_within: bool,
}

/// All messages of one call, of one registration, or of what else has a Call-ID. Two calls with one Call-ID are two.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// The Call-ID.
    pub call_id: Printable,
    /// When its first message was logged.
    pub began: Timestamp,
    /// When its last message was logged.
    pub ended: Timestamp,
    /// The method that it began with, as far as these logs go back.
    pub method: Printable,
    /// Who began it, as `user@domain`; empty where the header names nobody.
    pub from: Printable,
    /// Whom it was for.
    pub to: Printable,
    /// How many times one of its messages was logged: twice at most for each hop.
    pub messages: u64,
    ending: Ending,
    cover: Cover,
    /// The last outcome that was more than that something has no answer yet.
    settled: DialogOutcome,
    is_of_subject: bool,
}

fn answer(asked: &Asked) -> Option<(u16, &Printable)> {
    asked.answer.as_ref().map(|(status, text)| (*status, text))
}

impl Dialog {
    /// The final answer to what it began with: the code and its reason, as `486 Busy Here`.
    pub fn answered(&self) -> Option<(u16, &Printable)> {
        self.ending.asked_first().and_then(answer)
    }

    /// The first request of it that came to nothing: the same that [`Ladder::failures`](super::Ladder::failures) tells more of.
    /// `None` where that is not known, because the logs were cut, or were taken before.
    pub fn broken(&self) -> Option<BrokenRequest<'_>> {
        let is_known = |(asked, how): &(&Asked, Broken)| self.ending.lacks(asked, *how, self.cover).is_none();
        let (asked, how) = self.ending.broken().filter(is_known)?;
        Some(BrokenRequest {
            method: &asked.method,
            cseq: asked.number,
            answered: answer(asked),
            is_unacknowledged: how == Broken::Unacknowledged,
            is_within: self.ending.asked_first().is_some_and(|first| first.went_well() && !std::ptr::eq(first, asked)),
        })
    }

    /// How it ended.
    pub fn outcome(&self) -> DialogOutcome {
        self.outcome_of(self.ending.broken())
    }

    fn outcome_of(&self, broken: Option<(&Asked, Broken)>) -> DialogOutcome {
        let Some((asked, how)) = broken else {
            return if self.ending.is_cancelled() { DialogOutcome::Cancelled } else { DialogOutcome::Succeeded };
        };
        match (self.ending.lacks(asked, how, self.cover), how) {
            (Some(Lack::Beginning), _) => DialogOutcome::Cut,
            (Some(Lack::Answer), _) => DialogOutcome::Proceeding,
            (None, Broken::Unanswered) => DialogOutcome::Unanswered,
            (None, _) => DialogOutcome::Failed,
        }
    }

    /// From the first message to the last.
    pub fn duration(&self) -> SignedDuration {
        self.ended.duration_since(self.began)
    }
}

/// Finds the dialogs of a log, message by message, in any order.
#[derive(Debug)]
pub struct Dialogs {
    subject: Option<Traced>,
    cover: Cover,
    most: usize,
    /// By their Call-IDs.
    all: HashMap<String, Vec<Dialog>>,
    count: usize,
    left_out: u64,
    polls: u64,
}

impl Dialogs {
    /// All, or those that name the subject in any message.
    pub fn new(subject: Option<Traced>) -> Self {
        Self { subject, cover: Cover::default(), most: MOST, all: HashMap::new(), count: 0, left_out: 0, polls: 0 }
    }

    /// The same, of logs that were cut and hold all only from then on.
    #[must_use]
    pub fn cut(self, cut: Option<Timestamp>) -> Self {
        Self { cover: Cover { cut, ..self.cover }, ..self }
    }

    /// The same, of logs that were taken at that moment or later, while more was to come: what had waited for its answer for less
    /// than RFC 3261 lets it is not unanswered.
    #[must_use]
    pub fn taken(self, taken: Option<Timestamp>) -> Self {
        Self { cover: Cover { taken, ..self.cover }, ..self }
    }

    /// Takes a message, and gives its dialog where it has an outcome that it did not have before; that something has no answer
    /// yet, or was challenged, is none. OPTIONS are counted and not kept: bono and sprout ask themselves every few seconds whether they answer
    /// (clearwater-infrastructure `poll-sip`).
    pub fn take(&mut self, time: Timestamp, message: &SipMessage<'_>) -> Option<&Dialog> {
        let (call_id, method) = (message.call_id()?, message.method()?);
        if method == "OPTIONS" {
            self.polls += u64::from(message.status().is_none());
            return None;
        }
        let cseq = message.header("CSeq").unwrap_or_default();
        let tags = (tag(message.header("From")), tag(message.header("To")));
        let line = message.start_line();
        let told = Told {
            time,
            method: &method,
            cseq: &cseq,
            status: message.status(),
            text: line.trim_start_matches("SIP/2.0 "),
            tags: (&tags.0, &tags.1),
            branch: mark(branch(&message.header("Via").unwrap_or_default())),
            depth: depth(message),
            has_credentials: has_credentials(message),
            is_sent: message.direction != Direction::Received,
        };
        let known =
            self.all.get(&*call_id).and_then(|all| Ending::find(&all.iter().map(|dialog| &dialog.ending), &told));
        if known.is_none() && self.count >= self.most {
            self.left_out += 1;
            return None;
        }
        let named = |name: &str| {
            let party = message.header(name).and_then(|value| Identity::of_header(&value));
            Printable::from(party.map(|p| p.to_string()).unwrap_or_default())
        };
        let all = self.all.entry(call_id.to_string()).or_default();
        let place = known.unwrap_or_else(|| {
            all.push(Dialog {
                call_id: call_id.as_ref().into(),
                began: time,
                ended: time,
                method: method.as_ref().into(),
                from: named("From"),
                to: named("To"),
                messages: 0,
                ending: Ending::new(&told),
                cover: Cover { taken: None, ..self.cover },
                settled: DialogOutcome::Unanswered,
                is_of_subject: false,
            });
            self.count += 1;
            all.len() - 1
        });
        let dialog = all.get_mut(place)?;
        if time < dialog.began {
            // What comes back in a call names its parties the other way round.
            (dialog.began, dialog.method) = (time, method.as_ref().into());
            (dialog.from, dialog.to) = (named("From"), named("To"));
        }
        dialog.ended = dialog.ended.max(time);
        dialog.messages += 1;
        dialog.is_of_subject |= self.subject.as_ref().is_none_or(|subject| subject.has(message));
        dialog.ending.take(&told);
        if told.status < Some(200) || !dialog.is_of_subject {
            return None;
        }
        let broken = dialog.ending.broken();
        let outcome = dialog.outcome_of(broken);
        let is_new = !broken.is_some_and(|(_, how)| how.may_pass()) && outcome != dialog.settled;
        if is_new {
            dialog.settled = outcome;
        }
        is_new.then_some(&*dialog)
    }

    /// The dialogs of a Call-ID as they are by now, each with its place among them, which stays. Those that do not name the
    /// subject are left out.
    pub fn of_call(&self, call_id: &str) -> impl Iterator<Item = (usize, &Dialog)> {
        let all = self.all.get(call_id).into_iter().flatten().enumerate();
        all.filter(|(_, dialog)| dialog.is_of_subject)
    }

    /// How many messages were left out, because there were more dialogs than are kept.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How many OPTIONS there were.
    pub fn polls(&self) -> u64 {
        self.polls
    }

    /// The dialogs, in the order in which they began.
    pub fn finish(self) -> Vec<Dialog> {
        let cover = self.cover.reaching(self.all.values().flatten().map(|dialog| dialog.ended).max());
        let all = self.all.into_values().flatten().filter(|dialog| dialog.is_of_subject);
        let mut all: Vec<Dialog> = all.map(|dialog| Dialog { cover, ..dialog }).collect();
        all.sort_unstable_by(|a, b| (a.began, &a.call_id).cmp(&(b.began, &b.call_id)));
        all
    }
}

#[cfg(test)]
mod tests;
