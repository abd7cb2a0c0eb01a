//! Who broke a call: read from where answers were made, not from where they were logged first.

use std::collections::{HashMap, HashSet};

use super::{Ladder, LadderHop};
use crate::log::ending::{Broken, Cover, Ending, Lack, Told, mark};
use crate::text::Printable;

/// How a request came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure<'l> {
    /// Somebody refused it: the answer as it left whoever made it.
    Refused(&'l LadderHop),
    /// Who asked was challenged, and did not try again: the challenge as it came there.
    Challenged(&'l LadderHop),
    /// Nobody answered it: the request at the last place that it is known to have been sent to.
    Unanswered(&'l LadderHop),
    /// It rang there, or something else was said but no final answer.
    Rang(&'l LadderHop),
    /// It was accepted again and again, and that was never acknowledged: the answer as it came to who should have done so.
    Unacknowledged(&'l LadderHop),
    /// It may be none: the logs were cut ([`Sketch::cut`](super::Sketch::cut)), and may lack some of it. The first message of
    /// what came to nothing that they have.
    Cut(&'l LadderHop),
}

/// A request on its way, with its answers: the messages of one side of a call and one CSeq (RFC 3261 §17).
struct Transaction<'l> {
    hops: Vec<&'l LadderHop>,
}

impl<'l> Transaction<'l> {
    fn requests(&self) -> impl Iterator<Item = &'l LadderHop> {
        self.hops.iter().copied().filter(|h| h.status.is_none())
    }

    /// What whoever asked was told in the end.
    fn outcome(&self) -> Option<&'l LadderHop> {
        let depth = self.hops.iter().map(|h| h.depth).min()?;
        let finals = || self.hops.iter().copied().filter(|h| h.status >= Some(200) && h.depth == depth);
        // Of two phones one may answer and another refuse later.
        finals().find(|h| h.status < Some(300)).or_else(|| finals().next_back())
    }

    /// The answer as it left whoever made it: followed back through those who handed it on, by the Vias, of which each has
    /// one more, and by the tag where several said the same; else it was the last that said so before. Whoever hands a 503 on
    /// makes 500 of it (RFC 3261 §16.7).
    fn made(&self, outcome: &'l LadderHop) -> &'l LadderHop {
        let mut made = outcome;
        let is_within_a_call = self.requests().any(LadderHop::asks_within_a_call);
        loop {
            let place = self.hops.iter().position(|hop| std::ptr::eq(*hop, made));
            let is_same = |hop: &LadderHop| {
                let is_status = hop.status == made.status || (made.status, hop.status) == (Some(500), Some(503));
                is_status && hop.depth > made.depth && hop.below == made.path && hop.to == made.from
            };
            let all = self.hops.iter().enumerate().filter(|(_, hop)| is_same(hop));
            let ranked = all.map(|(n, hop)| (!is_within_a_call && hop.tags.1 == made.tags.1, Some(n) < place, n, hop));
            let before = ranked.filter(|(is_told, is_before, ..)| *is_told || *is_before);
            let Some((.., hop)) = before.max_by_key(|(is_told, is_before, n, _)| (*is_told, *is_before, *n)) else {
                return made;
            };
            made = hop;
        }
    }

    /// The answers to a request at one hop.
    fn answers(&self, request: &LadderHop) -> impl Iterator<Item = &'l LadderHop> {
        let is_answer = |h: &&LadderHop| h.to == request.from && h.from == request.to && h.branch == request.branch;
        self.hops.iter().copied().filter(|h| h.status.is_some()).filter(is_answer)
    }

    /// The furthest request below a column that had no final answer when `outcome` was sent. That it was given up (487)
    /// is none: whoever stopped waiting asked for that. Nor is that somebody who had sent it on gave up waiting (408).
    fn furthest(&self, from: &Printable, outcome: Option<&LadderHop>) -> Option<&'l LadderHop> {
        let in_time = self.hops.iter().copied().take_while(|hop| !outcome.is_some_and(|o| std::ptr::eq(*hop, o)));
        let senders: HashSet<_> = self.requests().map(|h| &h.from).collect();
        let is_late = |h: &LadderHop| h.status == Some(408) && senders.contains(&h.from);
        let is_final = |h: &&LadderHop| h.status >= Some(200) && h.status != Some(487) && !is_late(h);
        let finals = in_time.filter(is_final).map(|h| (&h.to, &h.from, &h.branch));
        let answered: HashSet<_> = finals.collect();
        let (mut found, mut at) = (None, from);
        // Each comes after what it was sent for.
        for request in self.requests().filter(|h| !answered.contains(&(&h.from, &h.to, &h.branch))) {
            if request.from == *at {
                (found, at) = (Some(request), &request.to);
            }
        }
        found
    }

    /// That nobody answered a request in the end. Who only tries (100) is as good as silent.
    fn silence(&self, request: &'l LadderHop) -> CallFailure<'l> {
        let mut answers = self.answers(request);
        if answers.any(|h| h.status > Some(100) && h.status < Some(200)) {
            CallFailure::Rang(request)
        } else {
            CallFailure::Unanswered(request)
        }
    }

    fn failure(&self, how: Broken) -> Option<CallFailure<'l>> {
        let Some(outcome) = self.outcome() else {
            let origin = self.requests().min_by_key(|h| h.depth)?;
            return Some(self.silence(self.furthest(&origin.from, None).unwrap_or(origin)));
        };
        let made = self.made(outcome);
        Some(match how {
            Broken::Challenged => CallFailure::Challenged(outcome),
            Broken::Unacknowledged => CallFailure::Unacknowledged(outcome),
            Broken::Refused | Broken::Unanswered => {
                let is_given_up = |request: &&LadderHop| self.answers(request).any(|h| h.status == Some(487));
                let silent = match made.status {
                    Some(408) => self.furthest(&made.from, Some(made)),
                    Some(480) => self.furthest(&made.from, Some(made)).filter(is_given_up),
                    _ => None,
                };
                silent.map_or(CallFailure::Refused(made), |request| self.silence(request))
            }
        })
    }
}

/// The messages of one call.
struct Conversation<'l> {
    ending: Ending,
    transactions: HashMap<(&'l Printable, &'l Printable), Transaction<'l>>,
}

impl<'l> Conversation<'l> {
    fn failure(&self, cover: Cover) -> Option<CallFailure<'l>> {
        let (asked, how) = self.ending.broken()?;
        let number = asked.number.to_string();
        let is_asked = |hop: &LadderHop| hop.cseq.split_ascii_whitespace().eq([&*number, &*asked.method]);
        let mut all = self.transactions.iter();
        let one = all.find(|((tag, _), one)| **tag == asked.tag && one.hops.first().is_some_and(|hop| is_asked(hop)));
        let (_, one) = one?;
        match self.ending.lacks(asked, how, cover) {
            Some(Lack::Beginning) => one.hops.first().map(|hop| CallFailure::Cut(hop)),
            Some(Lack::Answer) => None,
            None => one.failure(how),
        }
    }
}

impl LadderHop {
    /// What it tells, as it was logged by whoever sent it and by whoever it came to.
    fn told(&self) -> impl Iterator<Item = Told<'_>> {
        let method = self.cseq.split_ascii_whitespace().nth(1).unwrap_or_default();
        let of = move |is_sent| Told {
            time: self.time,
            method: if self.status.is_none() { &self.text } else { method },
            cseq: &self.cseq,
            status: self.status,
            text: &self.text,
            tags: (&self.tags.0, &self.tags.1),
            branch: mark(self.branch.as_str()),
            depth: self.depth,
            has_credentials: self.has_credentials,
            is_sent,
        };
        let is_received = self.received.is_some() && self.function.is_none();
        self.sent.map(|_| of(true)).into_iter().chain(is_received.then(|| of(false)))
    }
}

impl Ladder {
    /// Each call with its requests, in the order in which they began. What stays inside sprout counts only where nothing
    /// was sent: its functions may answer in another's place.
    fn conversations(&self) -> Vec<Conversation<'_>> {
        let is_sent = self.hops.iter().any(|h| h.function.is_none());
        let mut all: HashMap<&Printable, Vec<Conversation<'_>>> = HashMap::new();
        let mut order = Vec::new();
        for hop in self.hops.iter().filter(|h| h.function.is_none() || !is_sent) {
            let calls = all.entry(&hop.call_id).or_default();
            for told in hop.told() {
                let place = Ending::find(&calls.iter().map(|call| &call.ending), &told).unwrap_or_else(|| {
                    order.push((&hop.call_id, calls.len()));
                    calls.push(Conversation { ending: Ending::new(&told), transactions: HashMap::new() });
                    calls.len() - 1
                });
                let Some(call) = calls.get_mut(place) else { continue };
                call.ending.take(&told);
                let one = call.transactions.entry((&hop.tags.0, &hop.cseq));
                let one = one.or_insert_with(|| Transaction { hops: Vec::new() });
                if one.hops.last().is_none_or(|last| !std::ptr::eq(*last, hop)) {
                    one.hops.push(hop);
                }
            }
        }
        let mut all: HashMap<_, Vec<_>> =
            all.into_iter().map(|(id, calls)| (id, calls.into_iter().map(Some).collect())).collect();
        order.into_iter().filter_map(|(id, n)| all.get_mut(id)?.get_mut(n)?.take()).collect()
    }

    /// How many calls, registrations and messages are drawn. Two calls may have one Call-ID.
    pub fn calls(&self) -> usize {
        self.conversations().len()
    }

    /// How the first request of each call that failed came to nothing: the same as
    /// [`Dialog::broken`](super::super::Dialog::broken) tells, and who broke it.
    ///
    /// What was challenged and tried again, what was tried again and went well, what one of several phones refused while
    /// another answered, what the caller gave up, and what was still waited for when the logs were taken ([`Sketch::taken`](super::Sketch::taken)) are no failures. For a timeout (408) it is the furthest request that nobody
    /// answered, and not the one who stopped waiting.
    pub fn failures(&self) -> Vec<CallFailure<'_>> {
        self.conversations().iter().filter_map(|one| one.failure(self.cover)).collect()
    }

    /// The first of them.
    pub fn failure(&self) -> Option<CallFailure<'_>> {
        self.failures().into_iter().next()
    }
}
