use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use clearwater::component::Component;
use clearwater::log::{Identity, Ladder, Logged, SipMessage, Sketch, Traced};
use clearwater_kube::logs::{LogEntry, LogSource, Said};

use super::logs::{Saved, Selection, Unread};
use crate::cli::PlaceArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::runtime::{block_on, unless_ended};

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
/// Bono and sprout write SIP messages from log level 4 on. What they wrote is drawn, with the lines between that name the
/// call or its parties and with every warning and error, and where it failed is said. What is still in the pods is read,
/// or logs that were saved.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// A Call-ID, or a subscriber: a number, a sip: or a tel: URI
    #[arg(value_name = "CALL-ID|SUBSCRIBER", value_parser = NonEmptyStringValueParser::new().try_map(subject))]
    subject: String,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    place: PlaceArgs,
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
        let mut sieve = Sieve::new(&self.subject);
        let mut unread = Unread::default();
        if self.stdin {
            Saved::of_stdin(|entry| sieve.take(entry))?;
        } else if let Some(dir) = &self.from {
            Saved::of_directory(dir, |entry| sieve.take(entry))?;
        } else {
            let namespace = self.selection.namespace(&self.place, context, true)?;
            let signals = context.signals();
            block_on(unless_ended(&signals, self.collect(namespace, context, &mut sieve, &mut unread)))?;
        }
        let silent = sieve.silent();
        if !silent.is_empty() {
            context.talk().warning(format!(
                "no SIP message of {} is in these logs: it writes them from log level 4 on; set {} in the deployment file \
                 and run `kubectl clearwater up`, which restarts no other pods",
                silent.join(" and "),
                silent.iter().map(|c| format!("`components.{c}.logLevel: 4`")).collect::<Vec<_>>().join(" and ")
            ));
        }
        let messages = sieve.messages;
        let ladder = sieve.finish();
        if ladder.hops().is_empty() && ladder.notes().is_empty() {
            context.talk().warning(format!(
                "none of {} SIP messages names {:?}, and no other line does; `kubectl clearwater logs --include Call-ID` \
                 shows what there is",
                messages, self.subject
            ));
            return unread.error().map_or(Ok(exit::FAILURE), Err);
        }
        match self.format {
            Drawing::Text => ladder.text_lines(|line| context.results().text(line))?,
            Drawing::Mermaid => context.results().text(&ladder.mermaid())?,
            Drawing::Svg => context.results().text(&ladder.svg())?,
        }
        if let Some(hop) = ladder.failure() {
            let cause = ladder.cause(hop.time);
            let cause = cause.map(|n| format!("; just before it, {} logged: {}", n.lane, n.text)).unwrap_or_default();
            context.talk().note(format!(
                "it failed at {}, which answered \"{}\" (CSeq {}, Call-ID {}){cause}",
                hop.from, hop.text, hop.cseq, hop.call_id
            ));
        } else if let Some(hop) = ladder.unanswered() {
            context.talk().note(format!(
                "{} from {} to {} has no answer in these logs (CSeq {}, Call-ID {})",
                hop.text, hop.from, hop.to, hop.cseq, hop.call_id
            ));
        }
        unread.error().map_or(Ok(exit::OK), Err)
    }

    /// What may be drawn of what the pods still hold.
    async fn collect(
        &self,
        namespace: String,
        context: &mut Context,
        sieve: &mut Sieve,
        unread: &mut Unread,
    ) -> Result<(), CliError> {
        let mut stream = self.selection.read(context, namespace, &[], false, self.selection.since()).await?;
        while let Some(said) = stream.next().await {
            match said {
                Said::Record(entry) => {
                    sieve.take(&entry);
                }
                Said::Trouble(source, text) => {
                    let name = source.map(|s| format!("{}: ", s.pod)).unwrap_or_default();
                    context.talk().warning(name + &text);
                }
                Said::Unread(source, why) => unread.take(source.as_deref(), &why, context),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Keeps what may be drawn and counts what there is, so that logs of any size need room for a few words of one call alone.
#[derive(Debug)]
struct Sieve {
    sketch: Sketch,
    /// The columns of addresses.
    lanes: BTreeMap<String, String>,
    /// The source of the last record.
    last: Option<Arc<LogSource>>,
    messages: u64,
    /// The components that would write SIP messages and wrote something, and whether any of it is one.
    writers: BTreeMap<&'static str, bool>,
}

impl Sieve {
    fn new(subject: &str) -> Self {
        // The Call-ID is tried first: it may look like user@host.
        let call = Traced::Call(subject.to_owned());
        let subscriber = subject.parse::<Identity>().ok().map(Traced::Subscriber);
        let sketch = Sketch::new(Some(call).into_iter().chain(subscriber));
        Self { sketch, lanes: BTreeMap::new(), last: None, messages: 0, writers: BTreeMap::new() }
    }

    /// Takes a record; no more of it needs to be kept.
    fn take(&mut self, entry: &LogEntry) -> bool {
        let message = SipMessage::of(&entry.record);
        self.messages += u64::from(message.is_some());
        let writers = [Component::Bono, Component::Sprout].map(Component::name);
        if let Some(writer) = writers.into_iter().find(|name| *name == entry.source.component) {
            *self.writers.entry(writer).or_default() |= message.is_some();
        }
        if !self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &entry.source)) {
            self.last = Some(entry.source.clone());
            if !entry.source.address.is_empty() {
                self.lanes.insert(entry.source.address.clone(), lane(entry).to_owned());
            }
        }
        let logged = Logged { lane: lane(entry), time: entry.time, record: &entry.record };
        self.sketch.take(logged, message.as_ref());
        false
    }

    /// The components that would write SIP messages, and wrote other lines only.
    fn silent(&self) -> Vec<&'static str> {
        self.writers.iter().filter(|(_, wrote)| !**wrote).map(|(name, _)| *name).collect()
    }

    fn finish(self) -> Ladder {
        self.sketch.finish(|host| self.lanes.get(host).cloned())
    }
}

/// The column of a record: its pod.
fn lane(entry: &LogEntry) -> &str {
    if entry.source.pod.is_empty() { &entry.source.component } else { &entry.source.pod }
}

/// A Call-ID or a subscriber: any text that is not blank.
fn subject(text: String) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("a Call-ID or a subscriber is not blank") } else { Ok(text) }
}
