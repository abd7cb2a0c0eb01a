//! Who broke a call: read from where answers were made, not from where they were logged first.

use std::collections::HashSet;

use super::{Ladder, LadderHop};
use crate::text::Printable;

/// How a request came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure<'l> {
    /// Somebody refused it: the answer as it left whoever made it.
    Refused(&'l LadderHop),
    /// Nobody answered it: the request at the last place that it is known to have been sent to.
    Unanswered(&'l LadderHop),
}

/// A request on its way, with its answers: the messages of one Call-ID and CSeq (RFC 3261 §17).
struct Transaction<'l> {
    hops: Vec<&'l LadderHop>,
}

impl<'l> Transaction<'l> {
    fn requests(&self) -> impl Iterator<Item = &'l LadderHop> {
        self.hops.iter().copied().filter(|h| h.status.is_none())
    }

    /// The final answers.
    fn finals(&self) -> impl Iterator<Item = &'l LadderHop> {
        self.hops.iter().copied().filter(|h| h.status >= Some(200))
    }

    fn first(&self) -> Option<&'l LadderHop> {
        self.hops.first().copied()
    }

    fn method(&self) -> &'l str {
        self.first().and_then(|h| h.cseq.split_ascii_whitespace().nth(1)).unwrap_or_default()
    }

    /// Where it began, as far as these logs go back.
    fn origin(&self) -> Option<&'l Printable> {
        self.requests().next().map(|h| &h.from)
    }

    /// What whoever began it was told in the end. Where it began is not known without a request: then what was told last.
    fn outcome(&self) -> Option<&'l LadderHop> {
        let told = |h: &&'l LadderHop| self.origin().is_none_or(|origin| h.to == *origin);
        // Of two phones one may answer and another refuse later.
        self.finals().filter(told).find(|h| h.status < Some(300)).or_else(|| self.finals().filter(told).last())
    }

    /// The answer as it left whoever made it: followed back through those who handed it on, of which one may have done so
    /// twice (bono stands on both sides of sprout).
    fn made(&self, outcome: &'l LadderHop) -> &'l LadderHop {
        let mut made = outcome;
        let is_outcome = |hop: &&LadderHop| std::ptr::eq(*hop, outcome);
        let before = self.hops.iter().copied().rev().skip_while(|hop| !is_outcome(hop)).skip(1);
        for hop in before {
            if hop.status == made.status && hop.to == made.from {
                made = hop;
            }
        }
        made
    }

    /// The answers to a request at one hop.
    fn answers(&self, request: &LadderHop) -> impl Iterator<Item = &'l LadderHop> {
        let is_answer = |h: &&LadderHop| h.to == request.from && h.from == request.to && h.branch == request.branch;
        self.hops.iter().copied().filter(|h| h.status.is_some()).filter(is_answer)
    }

    /// The furthest request below a column that had no final answer when `outcome` was sent.
    fn furthest(&self, from: &Printable, outcome: Option<&LadderHop>) -> Option<&'l LadderHop> {
        let in_time = self.hops.iter().copied().take_while(|hop| !outcome.is_some_and(|o| std::ptr::eq(*hop, o)));
        let finals = in_time.filter(|h| h.status >= Some(200)).map(|h| (&h.to, &h.from, &h.branch));
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
}

fn is_challenge(status: u16) -> bool {
    matches!(status, 401 | 407)
}

impl Ladder {
    /// Each request with its answers, in the order in which they began. What stays inside sprout counts only where nothing
    /// was sent: its functions may answer in another's place.
    fn transactions(&self) -> Vec<Transaction<'_>> {
        let is_sent = self.hops.iter().any(|h| h.function.is_none());
        let mut all: Vec<Transaction<'_>> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for hop in self.hops.iter().filter(|h| h.function.is_none() || !is_sent) {
            let place = *places.entry((&hop.call_id, &hop.cseq)).or_insert_with(|| {
                all.push(Transaction { hops: Vec::new() });
                all.len() - 1
            });
            all[place].hops.push(hop);
        }
        // An ACK is not answered.
        all.retain(|t| t.method() != "ACK");
        all
    }

    /// How the first request that failed came to nothing; `None` where all went well.
    ///
    /// What was challenged, what was tried again and went well, what one of several phones refused while another
    /// answered, and what the caller gave up are no failures. For a timeout (408) it is the furthest request that nobody
    /// answered, and not the one who stopped waiting.
    pub fn failure(&self) -> Option<CallFailure<'_>> {
        let all = self.transactions();
        let is_same_call = |a: &Transaction<'_>, b: &Transaction<'_>| {
            a.first().map(|h| &h.call_id) == b.first().map(|h| &h.call_id) && a.origin() == b.origin()
        };
        let went_well = |t: &Transaction<'_>| t.outcome().is_some_and(|h| h.status < Some(300));
        all.iter().enumerate().find_map(|(n, one)| {
            let mut later = all[n + 1..].iter().filter(|later| is_same_call(one, later));
            if later.clone().any(|later| later.method() == one.method() && went_well(later)) {
                return None;
            }
            let Some(outcome) = one.outcome() else {
                let origin = one.origin()?;
                let request = one.furthest(origin, None)?;
                // Whoever rings may answer yet; who only tries (100) is as good as silent.
                let rings = one.answers(request).any(|h| h.status > Some(100));
                return (!rings).then_some(CallFailure::Unanswered(request));
            };
            match outcome.status {
                Some(..400) | None => None,
                Some(status) if is_challenge(status) => {
                    // Who knows no password has not been refused one.
                    let is_refused =
                        one.requests().any(|h| h.has_credentials) && !later.any(|l| l.method() == one.method());
                    is_refused.then(|| CallFailure::Refused(one.made(outcome)))
                }
                Some(487) if later.any(|later| later.method() == "CANCEL") => None,
                Some(408) => {
                    let made = one.made(outcome);
                    let silent = one.furthest(&made.from, Some(made));
                    Some(silent.map_or(CallFailure::Refused(made), CallFailure::Unanswered))
                }
                Some(_) => Some(CallFailure::Refused(one.made(outcome))),
            }
        })
    }
}
