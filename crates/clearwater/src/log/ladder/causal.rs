//! The order in which a ladder is drawn: each column's own, and nothing above what it came of, whatever clocks say.

use super::{LadderHop, LadderNote, Logging};
use crate::text::Printable;

/// What one column logged: that it sent or received a message, or a line between.
struct Mark<'l> {
    lane: &'l Printable,
    logged: Logging,
    /// Which of the messages, or behind them which of the notes.
    step: usize,
    is_sent: bool,
}

fn events<'l>(hops: &'l [LadderHop], notes: &'l [LadderNote]) -> Vec<Mark<'l>> {
    let mut all = Vec::with_capacity(2 * hops.len() + notes.len());
    for (step, hop) in hops.iter().enumerate() {
        if let Some(logged) = hop.sent {
            all.push(Mark { lane: &hop.from, logged, step, is_sent: true });
        }
        // What comes back to its sender stands where it was sent.
        if let Some(logged) = hop.received.filter(|_| hop.sent.is_none() || hop.from != hop.to) {
            all.push(Mark { lane: &hop.to, logged, step, is_sent: false });
        }
    }
    for (n, note) in notes.iter().enumerate() {
        all.push(Mark { lane: &note.lane, logged: note.logged, step: hops.len() + n, is_sent: true });
    }
    all.sort_unstable_by(|a, b| (a.lane, a.logged).cmp(&(b.lane, b.logged)));
    all
}

/// The steps in the order in which they are drawn: the messages by their places, and behind them the notes.
///
/// A message stands where everything that its two columns logged before it has been drawn. Where two cross on their way no
/// line can hold both ends' order: then that of the sender holds, so that an effect never stands above its cause. What
/// nothing decides is decided by the clocks, and then by what is usual and by the columns' names, so that it does not matter which log was
/// read first.
fn order(hops: &[LadderHop], notes: &[LadderNote]) -> Vec<usize> {
    let events = events(hops, notes);
    let steps = hops.len() + notes.len();
    // How many of its events have not come to the head of their column.
    let mut hidden = vec![0_u8; steps];
    for event in &events {
        hidden[event.step] += 1;
    }
    let mut columns: Vec<&[Mark<'_>]> = events.chunk_by(|a, b| a.lane == b.lane).collect();
    for head in columns.iter().filter_map(|column| column.first()) {
        hidden[head.step] -= 1;
    }
    let mut is_drawn = vec![false; steps];
    let mut order = Vec::with_capacity(steps);
    loop {
        let rank = |event: &Mark<'_>| match (hidden[event.step], event.is_sent) {
            (0, _) => 0,
            (_, true) => 1,
            // Received before it was sent: the logs are not of one call.
            (_, false) => 2,
        };
        // Of one moment: what is asked, what is logged of it, what is answered.
        let kind = |event: &Mark<'_>| hops.get(event.step).map_or(1, |hop| if hop.status.is_none() { 0 } else { 2 });
        let heads = columns.iter().enumerate().filter_map(|(n, column)| Some((n, column.first()?)));
        let Some((_, next)) = heads.min_by_key(|(n, event)| (rank(event), event.logged.time, kind(event), *n)) else {
            break;
        };
        is_drawn[next.step] = true;
        order.push(next.step);
        for column in &mut columns {
            while let Some((head, rest)) = column.split_first()
                && is_drawn[head.step]
            {
                *column = rest;
                if let Some(head) = rest.first() {
                    hidden[head.step] -= 1;
                }
            }
        }
    }
    order
}

/// Puts messages and notes in order, and tells each note which messages stand above it.
pub(super) fn arrange(hops: Vec<LadderHop>, notes: Vec<LadderNote>) -> (Vec<LadderHop>, Vec<LadderNote>) {
    let order = order(&hops, &notes);
    let (mut hops, mut notes): (Vec<_>, Vec<_>) =
        (hops.into_iter().map(Some).collect(), notes.into_iter().map(Some).collect());
    let (mut arranged, mut between) = (Vec::with_capacity(hops.len()), Vec::with_capacity(notes.len()));
    for step in order {
        if let Some(hop) = hops.get_mut(step) {
            arranged.extend(hop.take());
        } else if let Some(mut note) = notes.get_mut(step - hops.len()).and_then(Option::take) {
            note.above = arranged.len();
            between.push(note);
        }
    }
    (arranged, between)
}
