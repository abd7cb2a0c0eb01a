//! The grammar of Clearwater's log lines.
//!
//! A component writes lines of its own grammar ([`LogGrammar`]); some records take several lines: a SIP message, a
//! Python traceback, a Java stack trace. [`Assembler`] puts lines together into whole [`Record`]s, [`Line::parse`]
//! reads the head of one, and [`SipMessage::of`] the message in it. All of it works on bytes: a log may hold anything,
//! and what is not understood stays as it was.
//!
//! ```
//! use clearwater::component::LogGrammar;
//! use clearwater::log::{Assembler, Level, Line, SipMessage};
//!
//! let file = b"23-11-2026 10:00:00.123 UTC Verbose common_sip_processing.cpp:87: RX 131 bytes Request msg \
//! OPTIONS/cseq=1 (rdata0x1) from TCP 10.244.1.7:40000:\n--start msg--\n\nOPTIONS sip:10.244.1.4:5054 SIP/2.0\r\n\
//! Call-ID: 8f3a@10.244.1.7\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n\n--end msg--\n";
//!
//! let mut assembler = Assembler::new(LogGrammar::Cpp);
//! let mut records: Vec<_> = file.split_inclusive(|b| *b == b'\n').filter_map(|l| assembler.push(l)).collect();
//! records.extend(assembler.finish());
//!
//! assert_eq!(records.len(), 1);
//! assert_eq!(records[0].head().level, Some(Level::Verbose));
//! let message = SipMessage::of(&records[0]).expect("the record holds a SIP message");
//! assert_eq!(message.call_id(), Some("8f3a@10.244.1.7".into()));
//! ```

mod assemble;
mod dialogs;
mod ending;
mod guess;
mod identity;
mod ladder;
mod line;
mod lines;
mod merge;
mod record;
mod resume;
mod saved;
mod sip;

pub use assemble::Assembler;
pub use dialogs::{BrokenRequest, Dialog, DialogOutcome, Dialogs};
pub use guess::guess_grammar;
pub use identity::{Identity, InvalidIdentity};
pub use ladder::{
    CallFailure, CallStore, Ladder, LadderHop, LadderLine, LadderNote, LadderNotes, LadderStep, Logged, Sketch, Traced,
};
pub use line::{Level, Line, UnknownLevel};
pub use lines::{LONGEST_LINE, Lines};
pub use merge::{Merge, Released, SourceId, Waits};
pub use record::Record;
pub use resume::{Gap, Resume, Seen, kubelet_line};
pub use saved::{SavedForm, SavedLine, SavedLines, component_of};
pub use sip::{Direction, SipMessage};

pub use crate::component::LogGrammar;
