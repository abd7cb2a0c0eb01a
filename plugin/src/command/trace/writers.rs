//! Those that would write SIP messages: whether they did, and what has them do it.

use std::collections::BTreeMap;

use clearwater::component::Component;
use clearwater::config::LevelFile;
use clearwater::log::Record;

use super::level::{SIP_LEVEL, WRITERS};
use crate::advice::{command, up};
use crate::context::Context;

/// Who would write SIP messages, and did.
#[derive(Debug, Default)]
pub(super) struct Writers {
    /// How many SIP messages there were.
    pub(super) messages: u64,
    /// The components that would write SIP messages and wrote something.
    all: BTreeMap<&'static str, Writer>,
}

/// What a component that would write SIP messages wrote.
#[derive(Debug, Default)]
struct Writer {
    has_message: bool,
    /// The log level that it says it has.
    level: Option<u8>,
}

/// The log level that a line of a daemon tells (cpp-common `src/log.cpp`, sprout `src/main.cpp`).
fn told_level(record: &Record) -> Option<u8> {
    let text = record.head().text;
    let mark = b"Log level set to ";
    let at = text.windows(mark.len()).position(|part| part == mark)?;
    text.get(at + mark.len()).filter(|b| b.is_ascii_digit()).map(|digit| digit - b'0')
}

impl Writers {
    pub(super) fn take(&mut self, component: &str, record: &Record, is_message: bool) {
        self.messages += u64::from(is_message);
        let writers = WRITERS.map(Component::name);
        if let Some(name) = writers.into_iter().find(|name| *name == component) {
            let writer = self.all.entry(name).or_default();
            writer.has_message |= is_message;
            if !is_message && let Some(level) = told_level(record) {
                writer.level = Some(level);
            }
        }
    }

    /// Says what to do about those that would write SIP messages, and wrote other lines only.
    pub(super) fn advise(&self, made_here: Option<&bool>, context: &mut Context) {
        self.advice(made_here.copied()).into_iter().for_each(|text| context.talk().warning(text));
    }

    /// The same as texts: what another tool made, `up` refuses, and what nobody can tell whose it is may be either's.
    fn advice(&self, made_here: Option<bool>) -> Vec<String> {
        let silent = || self.all.iter().filter(|(_, writer)| !writer.has_message);
        let is_loud = |writer: &Writer| writer.level.is_some_and(|level| level >= SIP_LEVEL);
        let loud = silent().filter(|(_, writer)| is_loud(writer)).map(|(name, writer)| {
            let level = writer.level.unwrap_or_default();
            format!(
                "no SIP message of {name} is in these logs, though it would write them: its log level is {level}; none came to it"
            )
        });
        let mut texts: Vec<String> = loud.collect();
        let quiet: Vec<&str> = silent().filter(|(_, writer)| !is_loud(writer)).map(|(name, _)| *name).collect();
        let Some(first) = quiet.first() else { return texts };
        let ours = || {
            let keys = quiet.iter().map(|c| format!("`components.{c}.logLevel: {SIP_LEVEL}`")).collect::<Vec<_>>();
            format!(
                "`{}` for a while, or set {} in the deployment file and run `{}`, which restarts no other pods",
                command("trace --enable"),
                keys.join(" and "),
                up("")
            )
        };
        let of_others = || {
            format!(
                "log_level={SIP_LEVEL} in {} of its container, and `supervisorctl restart clearwater-group:{first}` there",
                LevelFile::UserSettings.path()
            )
        };
        let way = match made_here {
            Some(true) => ours(),
            Some(false) => format!("another tool deployed it, so that it takes {}", of_others()),
            None => format!("{}; what another tool deployed takes {}", ours(), of_others()),
        };
        let is_told = quiet.iter().all(|name| self.all.get(name).is_some_and(|writer| writer.level.is_some()));
        let why = if is_told { "" } else { "none came to it, or its log level is lower: " };
        texts.push(format!(
            "no SIP message of {} is in these logs: {why}it writes them from log level {SIP_LEVEL} on: {way}",
            quiet.join(" and ")
        ));
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is advised does what it says: `up` leaves alone what another tool made.
    #[test]
    fn what_another_tool_made_is_not_told_to_be_brought_up() {
        let mut writers = Writers::default();
        writers.all.insert("bono", Writer::default());
        let unsaid = writers.advice(None).join("\n");
        assert!(unsaid.contains("none came to it, or its log level is lower"), "{unsaid}");
        writers.all.insert("bono", Writer { level: Some(2), ..Writer::default() });
        let said = |made_here| writers.advice(made_here).join("\n");
        let (ours, other, unknown) = (said(Some(true)), said(Some(false)), said(None));
        assert!(ours.contains("trace --enable") && !ours.contains("another tool"), "{ours}");
        assert!(!ours.contains("none came"), "{ours}");
        assert!(other.contains("clearwater-group:bono") && !other.contains("--enable"), "{other}");
        assert!(!other.contains("clearwater up"), "{other}");
        assert!(
            unknown.contains("trace --enable") && unknown.contains("what another tool deployed takes"),
            "{unknown}"
        );
    }
}
