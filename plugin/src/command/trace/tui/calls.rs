//! What was read so far: taken in by who reads, looked at by who draws.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use clearwater::log::{CallStore, Dialogs, Identity, Ladder, SipMessage, Traced};
use clearwater_kube::logs::LogEntry;
use jiff::Timestamp;

use super::super::{Lanes, logged};
use super::list::DialogNews;

/// How many bytes of logs are kept, so that what they hold can be drawn: that of some five thousand calls.
const MOST: usize = 256 << 20;

/// The dialogs that there are, and what was logged of them.
#[derive(Debug)]
pub(super) struct Calls {
    dialogs: Dialogs,
    /// Up to when logs were cut that are read from a report.
    cut: Option<Timestamp>,
    store: CallStore,
    lanes: Lanes,
    /// The Call-IDs of which something came since they were asked for.
    touched: HashSet<String>,
    has_any: bool,
}

impl Calls {
    /// Of all calls, or of those of a subscriber.
    pub(super) fn new(subscriber: Option<Identity>, cut: Option<Timestamp>) -> Self {
        Self {
            dialogs: Dialogs::new(subscriber.map(Traced::Subscriber)).cut(cut),
            cut,
            store: CallStore::new(MOST),
            lanes: Lanes::default(),
            touched: HashSet::new(),
            has_any: false,
        }
    }

    /// Takes in a record, with the message that it is.
    pub(super) fn take(&mut self, entry: &LogEntry, message: Option<&SipMessage<'_>>) {
        self.lanes.take(entry);
        let Some(message) = message else {
            self.store.take(logged(entry), None);
            return;
        };
        let Some(call_id) = message.call_id() else { return };
        self.dialogs.take(entry.time, message);
        // Polls are in no dialog, and of a subscriber only what names it is kept: there is room for a longer time then.
        if self.dialogs.of_call(&call_id).next().is_some() {
            self.store.take(logged(entry), Some(message));
            self.touched.insert(call_id.into_owned());
            self.has_any = true;
        }
    }

    /// How many messages are of dialogs that have no room in the list.
    pub(super) fn left_out(&self) -> u64 {
        self.dialogs.left_out()
    }

    /// Whether nothing came that is listed.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_any
    }

    /// The dialogs of which something came since this was asked last.
    pub(super) fn news(&mut self) -> Vec<DialogNews> {
        let touched = std::mem::take(&mut self.touched);
        let dialogs = touched.iter().flat_map(|call_id| self.dialogs.of_call(call_id));
        dialogs.map(|(place, dialog)| DialogNews { place, dialog: dialog.clone() }).collect()
    }

    /// The drawing of calls, by their Call-IDs.
    pub(super) fn ladder(&self, calls: &BTreeSet<String>) -> Ladder {
        self.store.sketch(calls).cut(self.cut).finish(|host| self.lanes.of(host))
    }

    /// The columns of addresses.
    pub(super) fn addresses(&self) -> BTreeMap<String, String> {
        self.lanes.all.clone()
    }

    /// The last time of which some was given up for want of room, where one of these calls began before it.
    pub(super) fn given_up(&self, calls: &BTreeSet<String>) -> Option<Timestamp> {
        let began = calls.iter().flat_map(|call| self.dialogs.of_call(call)).map(|(_, dialog)| dialog.began).min();
        self.store.given_up().filter(|time| began.is_some_and(|began| began <= *time))
    }
}
