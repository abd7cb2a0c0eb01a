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
        match self.origin() {
            Some(origin) => self.finals().filter(|h| h.to == *origin).last(),
            None => self.finals().last(),
        }
    }

    /// The answer as it left whoever made it: followed back through those who handed it on. Clocks are not asked, which may
    /// differ by more than a hop takes.
    fn made(&self, outcome: &'l LadderHop) -> &'l LadderHop {
        let mut made = outcome;
        let mut seen = HashSet::from([&outcome.to, &outcome.from]);
        while let Some(before) = self.finals().find(|h| h.status == made.status && h.to == made.from) {
            if !seen.insert(&before.from) {
                break;
            }
            made = before;
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
        let is_in_time = |h: &LadderHop| outcome.is_none_or(|o| (h.time, h.place) < (o.time, o.place));
        let answered = |request| self.answers(request).any(|h| h.status >= Some(200) && is_in_time(h));
        let mut seen = HashSet::from([from]);
        let mut found = None;
        let mut at = from;
        while let Some(request) = self.requests().find(|h| h.from == *at && !answered(h)) {
            found = Some(request);
            if !seen.insert(&request.to) {
                break;
            }
            at = &request.to;
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
                Some(status) if is_challenge(status) => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A ladder of rows `from to message [branch]`, a millisecond each; the CSeq is `1 INVITE` where a row names no other
    /// as `message/CSEQ`.
    fn ladder(rows: &str) -> Ladder {
        let begin: jiff::Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let hop = |(place, row): (usize, &str)| {
            let mut words = row.split_whitespace();
            let mut word = || words.next().unwrap_or("z");
            let (from, to, message, branch) = (word(), word(), word(), word());
            let (text, cseq) = message.split_once('/').unwrap_or((message, "1-INVITE"));
            LadderHop {
                time: begin + std::time::Duration::from_millis(place as u64),
                from: from.into(),
                to: to.into(),
                text: text.into(),
                status: text.parse().ok(),
                cseq: cseq.replace('-', " ").as_str().into(),
                call_id: "c".into(),
                function: None,
                is_cut: false,
                place,
                // Both ends of a hop have the same one.
                branch: if branch == "z" {
                    format!("{}{}", from.min(to), from.max(to)).as_str().into()
                } else {
                    branch.into()
                },
                sent: true,
                received: true,
                is_peer_unknown: false,
            }
        };
        let rows = rows.split(',').map(str::trim).enumerate();
        Ladder { lanes: Vec::new(), hops: rows.map(hop).collect(), notes: Vec::new() }
    }

    fn said(ladder: &Ladder) -> String {
        match ladder.failure() {
            None => "-".to_owned(),
            Some(CallFailure::Refused(hop)) => format!("{} made {}", hop.from, hop.text),
            Some(CallFailure::Unanswered(hop)) => format!("{} is silent to {}", hop.to, hop.from),
        }
    }

    #[test]
    fn endings_of_calls() {
        // (how the call went, who broke it)
        let rows = [
            // Well.
            (
                "a bono INVITE, bono sprout INVITE, sprout b INVITE, b sprout 200, sprout bono 200, bono a 200, a b ACK/1-ACK",
                "-",
            ),
            (
                "a bono REGISTER/1-REGISTER, bono a 401/1-REGISTER, a bono REGISTER/2-REGISTER, bono a 200/2-REGISTER",
                "-",
            ),
            ("a bono INVITE, bono a 407, a bono INVITE/2-INVITE, bono a 200/2-INVITE", "-"),
            // A challenge that is not taken up is not somebody else's fault.
            ("a bono REGISTER/1-REGISTER, bono a 401/1-REGISTER", "-"),
            // Refused: by the callee, by sprout, by bono, by a peer behind bono.
            (
                "a bono INVITE, bono sprout INVITE, sprout b INVITE, b sprout 486, sprout bono 486, bono a 486",
                "b made 486",
            ),
            ("a bono INVITE, bono sprout INVITE, sprout bono 404, bono a 404", "sprout made 404"),
            ("a bono INVITE, bono a 403", "bono made 403"),
            (
                "a bono INVITE, bono sprout INVITE, sprout a2 INVITE, a2 sprout 503, sprout bono 503, bono a 503",
                "a2 made 503",
            ),
            // One who says something else than what came to it made that itself.
            (
                "a bono INVITE, bono sprout INVITE, sprout b INVITE, b sprout 503, sprout bono 480, bono a 480",
                "sprout made 480",
            ),
            // The log of the last hop was flushed first.
            ("bono a 404, sprout bono 404, a bono INVITE, bono sprout INVITE", "sprout made 404"),
            // Forks: one answers, another is busy or is told that it is too late.
            ("a s INVITE, s b INVITE b1, s c INVITE b2, c s 486 b2, b s 200 b1, s a 200", "-"),
            (
                "a s INVITE, s b INVITE b1, s c INVITE b2, b s 200 b1, s a 200, s c CANCEL/1-CANCEL b2, c s 200/1-CANCEL b2, c s 487 b2",
                "-",
            ),
            ("a s INVITE, s b INVITE b1, s c INVITE b2, b s 486 b1, c s 486 b2, s a 486", "b made 486"),
            // The caller gives up.
            (
                "a s INVITE, s b INVITE, b s 180, s a 180, a s CANCEL/1-CANCEL, s a 200/1-CANCEL, s b CANCEL/1-CANCEL, b s 200/1-CANCEL, b s 487, s a 487",
                "-",
            ),
            ("a s INVITE, s b INVITE, b s 487, s a 487", "b made 487"),
            // Nobody answers: at once, behind those that try, while it rings.
            ("a bono INVITE", "bono is silent to a"),
            (
                "a bono INVITE, bono a 100, bono sprout INVITE, sprout bono 100, sprout b INVITE",
                "b is silent to sprout",
            ),
            (
                "a bono INVITE, bono a 100, bono sprout INVITE, sprout bono 100, sprout b INVITE, b sprout 180, sprout bono 180, bono a 180",
                "-",
            ),
            (
                "a bono MESSAGE/1-MESSAGE, bono sprout MESSAGE/1-MESSAGE, sprout b MESSAGE/1-MESSAGE",
                "b is silent to sprout",
            ),
            // A timeout is that of the furthest who kept silent, not of who stopped waiting.
            (
                "a bono INVITE, bono sprout INVITE, sprout b INVITE, sprout bono 408, bono a 408",
                "b is silent to sprout",
            ),
            ("a bono INVITE, bono sprout INVITE, bono a 408", "sprout is silent to bono"),
            (
                "a bono INVITE, bono sprout INVITE, sprout b INVITE, b sprout 180, sprout bono 408, bono a 408",
                "b is silent to sprout",
            ),
            (
                "a bono INVITE, bono sprout INVITE, sprout b INVITE, b sprout 180, sprout bono 408, bono a 408, sprout b CANCEL/1-CANCEL, \
                 b sprout 200/1-CANCEL, b sprout 487",
                "b is silent to sprout",
            ),
            ("a bono REGISTER/1-REGISTER, bono a 408/1-REGISTER", "bono made 408"),
            (
                "a bono INVITE, bono sprout INVITE, sprout b INVITE, b sprout 408, sprout bono 408, bono a 408",
                "b made 408",
            ),
            // It is tried again and goes well; or the next one fails as well.
            ("a s INVITE, s a 503, a s INVITE/2-INVITE, s a 200/2-INVITE", "-"),
            ("a s REGISTER/1-REGISTER, s a 423/1-REGISTER, a s REGISTER/2-REGISTER, s a 200/2-REGISTER", "-"),
            ("a s INVITE, s a 503, a s INVITE/2-INVITE, s a 486/2-INVITE", "s made 503"),
            // What comes later in a call that stood.
            ("a s INVITE, s a 200, a s INFO/2-INFO, s a 200/2-INFO, a s BYE/3-BYE, s a 481/3-BYE", "s made 481"),
            ("a s INVITE, s a 200, a s BYE/2-BYE", "s is silent to a"),
            // Only answers are in these logs.
            ("b sprout 486, sprout bono 486", "b made 486"),
            // Two that hand each other the same answer for ever.
            ("a b INVITE, c b 500, b c 500, b a 500", "c made 500"),
        ];
        for (rows, expected) in rows {
            assert_eq!(said(&ladder(rows)), expected, "{rows}");
        }
    }
}
