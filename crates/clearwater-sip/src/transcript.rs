//! What a phone sent and was sent, in order: for a person who asks why a case failed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Whether the phone sent a message or was sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// From the phone to the proxy.
    Sent,
    /// From the proxy to the phone.
    Received,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptEntry {
    /// When, since the transcript was begun.
    pub at: Duration,
    /// The phone's number.
    pub phone: Arc<str>,
    /// Which way.
    pub heading: Heading,
    /// The Call-ID.
    pub call_id: String,
    /// A method, or a status with its reason and the method that it answers.
    pub message: String,
}

/// No case of ours exchanges more messages than this; whoever floods a phone is not written down without end.
const MOST: usize = 512;

/// The messages of one phone, or of several that are told of together.
#[derive(Clone, Debug)]
pub struct Transcript {
    phone: Arc<str>,
    began: Instant,
    entries: Arc<Mutex<Vec<TranscriptEntry>>>,
}

impl Transcript {
    pub(crate) fn new(phone: &str) -> Self {
        Self { phone: phone.into(), began: Instant::now(), entries: Arc::default() }
    }

    pub(crate) fn add(&self, heading: Heading, call_id: &str, message: &str) {
        let mut entries = self.entries.lock();
        if entries.len() < MOST {
            let at = self.began.elapsed();
            let (call_id, message) = (call_id.to_owned(), message.to_owned());
            entries.push(TranscriptEntry { at, phone: Arc::clone(&self.phone), heading, call_id, message });
        }
    }

    /// The messages until now, oldest first.
    pub fn entries(&self) -> Vec<TranscriptEntry> {
        self.entries.lock().clone()
    }

    /// When it was begun.
    pub fn began(&self) -> Instant {
        self.began
    }
}

/// The messages of several phones in one order, with times since the first of the transcripts was begun.
pub fn together(transcripts: &[Transcript]) -> Vec<TranscriptEntry> {
    let Some(first) = transcripts.iter().map(Transcript::began).min() else { return Vec::new() };
    let mut all: Vec<TranscriptEntry> = transcripts
        .iter()
        .flat_map(|t| {
            let later = t.began() - first;
            t.entries().into_iter().map(move |e| TranscriptEntry { at: e.at + later, ..e })
        })
        .collect();
    all.sort_by_key(|e| e.at);
    all
}
