//! The records of all calls, as many as have room, so that each call can be drawn as soon as somebody wants to see it.

use std::collections::{BTreeSet, VecDeque};

use jiff::Timestamp;

use super::lanes::Names;
use super::{AROUND, Logged, Sketch, Traced, may_be_note};
use crate::log::{Record, SipMessage};
use crate::text::Printable;

/// What a record takes beside its text, in bytes.
const BESIDE: usize = 200;

/// A record that may be drawn.
#[derive(Debug)]
struct Stored {
    time: Timestamp,
    lane: Printable,
    component: Printable,
    record: Record,
    /// The Call-ID of a message; other lines have none.
    call_id: Option<Printable>,
}

impl Stored {
    fn size(&self) -> usize {
        self.record.bytes().len() + BESIDE
    }
}

/// Keeps the messages of all calls, and what was logged between them. Where that is too much, the oldest is given up.
#[derive(Debug)]
pub struct CallStore {
    most: usize,
    size: usize,
    all: VecDeque<Stored>,
    names: Names,
    given_up: Option<Timestamp>,
}

impl CallStore {
    /// Keeps so many bytes.
    pub fn new(most: usize) -> Self {
        Self { most, size: 0, all: VecDeque::new(), names: Names::default(), given_up: None }
    }

    /// Takes a record, with the message that it is.
    pub fn take(&mut self, logged: Logged<'_>, message: Option<&SipMessage<'_>>) {
        let (record, call_id) = match message {
            Some(message) => {
                let Some(call_id) = message.call_id() else { return };
                (logged.record.copied(), Some(call_id.as_ref().into()))
            }
            None if may_be_note(logged.record) => (logged.record.compact(), None),
            None => return,
        };
        let (lane, component) = (self.names.of(logged.lane), self.names.of(logged.component));
        let stored = Stored { time: logged.time, lane, component, record, call_id };
        self.size += stored.size();
        self.all.push_back(stored);
        while self.size > self.most {
            let Some(oldest) = self.all.pop_front() else { break };
            self.size = self.size.saturating_sub(oldest.size());
            self.given_up = self.given_up.max(Some(oldest.time));
        }
    }

    /// The last time of which something was given up: what began before is not whole.
    pub fn given_up(&self) -> Option<Timestamp> {
        self.given_up
    }

    /// What is kept of these calls, by their Call-IDs, with their messages in full.
    pub fn sketch(&self, calls: &BTreeSet<String>) -> Sketch {
        let is_of = |stored: &&Stored| stored.call_id.as_ref().is_some_and(|id| calls.contains(id.as_str()));
        let times = || self.all.iter().filter(is_of).map(|stored| stored.time);
        // What another's message follows is not of these calls.
        let span = times().min().zip(times().max()).map(|(first, last)| first - AROUND..=last + AROUND * 2);
        let is_near = |stored: &&Stored| span.as_ref().is_some_and(|span| span.contains(&stored.time));
        let mut sketch = Sketch::new([Traced::Calls(calls.clone())]).with_messages();
        for stored in self.all.iter().filter(|stored| is_of(stored) || is_near(stored)) {
            let Stored { time, lane, component, record, .. } = stored;
            let message = stored.call_id.as_ref().and_then(|_| SipMessage::of(record));
            sketch.take(Logged { lane, component, time: *time, record }, message.as_ref());
        }
        sketch
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::{Ladder, LogGrammar};

    type Row = (&'static str, Timestamp, Record);

    /// What was logged of a call at this second, by bono or by sprout; or a line that names it, or nobody.
    fn record(second: usize, call: &str, kind: usize) -> Row {
        let time: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let head = format!("23-11-2026 10:00:{second:02}.000 UTC");
        let message = |first: &str, way: &str, peer: &str| {
            let body = format!(
                "{first}\r\nVia: SIP/2.0/TCP x.ims;branch=z9{call}\r\nFrom: <sip:1@ims>;tag=a\r\nTo: <sip:2@ims>\r\nCall-ID: \
                 {call}\r\nCSeq: 1 INVITE\r\n\r\n"
            );
            format!(
                "{head} Verbose a.cpp:8: {way} {} bytes msg {peer}:\n--start msg--\n\n{body}\n--end msg--\n",
                body.len()
            )
        };
        let (lane, text) = match kind {
            0 => ("bono", message("INVITE sip:2@ims SIP/2.0", "TX", "to TCP 10.0.0.2:5054")),
            1 => ("sprout", message("INVITE sip:2@ims SIP/2.0", "RX", "from TCP 10.0.0.1:4000")),
            2 => ("sprout", message("SIP/2.0 404 Not Found", "TX", "to TCP 10.0.0.1:4000")),
            3 => ("bono", message("SIP/2.0 404 Not Found", "RX", "from TCP 10.0.0.2:5054")),
            4 => ("homestead", format!("{head} Error a.cpp:9: no answer\n")),
            5 => ("homestead", format!("{head} Info a.cpp:9: {call} is known\n")),
            _ => ("homestead", format!("{head} Debug a.cpp:9: {call} is looked for\n")),
        };
        (lane, time + std::time::Duration::from_secs(second as u64), Record::new(LogGrammar::Cpp, text))
    }

    fn host(host: &str) -> Option<String> {
        let known = [("10.0.0.1", "bono"), ("10.0.0.2", "sprout")];
        known.iter().find(|(address, _)| *address == host).map(|(_, lane)| (*lane).to_owned())
    }

    fn shown(ladder: &Ladder) -> String {
        let mut text = ladder.text(None);
        let Ok(()) = ladder.message_lines(|line| {
            text.push_str(line);
            Ok::<_, std::convert::Infallible>(())
        });
        text
    }

    fn logged((lane, time, record): &Row) -> Logged<'_> {
        Logged { lane, component: lane, time: *time, record }
    }

    #[test]
    fn what_has_no_room_is_given_up_the_oldest_first() {
        let records: Vec<_> = (0..20).map(|second| record(second, &format!("c{second}"), 0)).collect();
        let one = records[0].2.bytes().len() + BESIDE;
        let mut store = CallStore::new(one * 6);
        for record in &records {
            store.take(logged(record), SipMessage::of(&record.2).as_ref());
        }
        let hops = |n: usize| store.sketch(&[format!("c{n}")].into()).finish(host).hops().len();
        assert_eq!((hops(19), hops(15), hops(10), hops(0)), (1, 1, 0, 0));
        assert!(store.given_up().is_some_and(|time| time >= records[10].1 && time < records[15].1));
        assert!(store.size <= store.most);
    }

    proptest! {
        /// What is not fed to a sketch would not have been drawn.
        #[test]
        fn a_call_that_is_kept_is_drawn_as_if_all_had_been_read_for_it(
            rows in prop::collection::vec((0..50_usize, 0..4_usize, 0..7_usize), 0..40),
            wanted in prop::collection::btree_set(0..4_usize, 1..3),
        ) {
            let records: Vec<_> = rows.iter().map(|(second, call, kind)| record(*second, &format!("c{call}@x"), *kind)).collect();
            let calls: BTreeSet<String> = wanted.iter().map(|call| format!("c{call}@x")).collect();
            let mut store = CallStore::new(usize::MAX);
            let mut sketch = Sketch::new([Traced::Calls(calls.clone())]).with_messages();
            for record in &records {
                let message = SipMessage::of(&record.2);
                store.take(logged(record), message.as_ref());
                sketch.take(logged(record), message.as_ref());
            }
            let ladder = store.sketch(&calls).finish(host);
            // Without a message there is nothing that a line would stand near.
            if ladder.hops().is_empty() {
                prop_assert!(sketch.finish(host).hops().is_empty() && ladder.notes().is_empty());
            } else {
                prop_assert_eq!(shown(&ladder), shown(&sketch.finish(host)));
            }
        }
    }
}
