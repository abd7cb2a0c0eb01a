use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clearwater::log::{Identity, Ladder, Logged, SipMessage, Subject};
use clearwater_kube::logs::{Entry, Said};

use super::logs::{Saved, Selection};
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::runtime::block_on;
use crate::signal::Signals;

/// How a ladder is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Drawing {
    #[default]
    Text,
    Mermaid,
    Svg,
}

/// Draw the SIP messages of one call, or of one subscriber, over all components
///
/// Bono and sprout write SIP messages from log level 4 on. What they wrote is drawn; what is still in the pods is read,
/// or logs that were saved.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// A Call-ID, or a subscriber: a number, a sip: or a tel: URI
    #[arg(value_name = "CALL-ID|SUBSCRIBER")]
    subject: String,
    #[command(flatten)]
    selection: Selection,
    /// How it is drawn: text, mermaid or svg
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Drawing,
    /// Read lines from standard input instead of a cluster
    #[arg(long, conflicts_with = "from")]
    stdin: bool,
    /// Read the log files of a directory instead of a cluster
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

impl Trace {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let entries = if self.stdin {
            Saved::of_stdin()?.entries
        } else if let Some(dir) = &self.from {
            Saved::of_directory(dir)?.entries
        } else {
            block_on(self.collect(context))??
        };
        let messages: Vec<&Entry> = entries.iter().filter(|e| SipMessage::of(&e.record).is_some()).collect();
        if messages.is_empty() {
            context.talk().warning(
                "no SIP message is in these logs: bono and sprout write them from log level 4 on; set `logLevel: 4` in \
                 the deployment file and run `kubectl clearwater up`, which restarts them",
            );
            return Ok(exit::FAILURE);
        }
        // The Call-ID is tried first: it may look like user@host.
        let mut ladder = Self::ladder(&messages, &Subject::Call(self.subject.clone()));
        if ladder.hops().is_empty()
            && let Ok(identity) = self.subject.parse::<Identity>()
        {
            ladder = Self::ladder(&messages, &Subject::Subscriber(identity));
        }
        if ladder.hops().is_empty() {
            context.talk().warning(format!(
                "none of {} SIP messages names {:?}; `kubectl clearwater logs --include Call-ID` shows what there is",
                messages.len(),
                self.subject
            ));
            return Ok(exit::FAILURE);
        }
        let drawn = match self.format {
            Drawing::Text => ladder.text(),
            Drawing::Mermaid => ladder.mermaid(),
            Drawing::Svg => ladder.svg(),
        };
        context.results().text(&drawn)?;
        if let Some(hop) = ladder.failure() {
            context
                .talk()
                .note(format!("{} answered {:?} (CSeq {}, Call-ID {})", hop.from, hop.text, hop.cseq, hop.call_id));
        }
        Ok(exit::OK)
    }

    fn ladder(messages: &[&Entry], subject: &Subject) -> Ladder {
        let mut lanes: BTreeMap<&str, &str> = BTreeMap::new();
        for entry in messages {
            if !entry.source.address.is_empty() {
                lanes.insert(&entry.source.address, lane(entry));
            }
        }
        let logged = messages.iter().map(|e| Logged { lane: lane(e), time: e.time, record: &e.record });
        Ladder::of(logged, subject, |host| lanes.get(host).map(|l| (*l).to_owned()))
    }

    /// Every SIP message that the pods still hold.
    async fn collect(&self, context: &mut Context) -> Result<Vec<Entry>, CliError> {
        let mut stream = self.selection.read(context, &[], false).await?;
        let mut signals = Signals::new();
        let mut entries = Vec::new();
        loop {
            let said = tokio::select! {
                said = stream.next() => said,
                _ = signals.next() => break,
            };
            match said {
                Some(Said::Record(entry)) if SipMessage::of(&entry.record).is_some() => entries.push(entry),
                Some(Said::Trouble(source, text)) => {
                    let name = source.map(|s| format!("{}: ", s.pod)).unwrap_or_default();
                    context.talk().warning(name + &text);
                }
                Some(_) => {}
                None => break,
            }
        }
        Ok(entries)
    }
}

/// The column of a record: its pod.
fn lane(entry: &Entry) -> &str {
    if entry.source.pod.is_empty() { &entry.source.component } else { &entry.source.pod }
}
