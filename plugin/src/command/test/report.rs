//! What is told of the cases that were tried: lines for a person, JSON, and the XML that CI servers read.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use clearwater::live_test::{LiveCase, LiveVerdict};
use clearwater_sip::case::{CaseOutcome, TestVerdict};
use clearwater_sip::{Heading, MediaReport, TranscriptEntry, suspect_of};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as XmlEvent};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::advice::command;
use crate::error::CliError;
use crate::outfile;
use crate::reporter::{BAD, DIM, GOOD, WARN, plain};

/// What was tried.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::command) struct Report {
    /// The version of this format.
    pub(super) v: u32,
    /// The namespace.
    pub(super) namespace: String,
    /// Whether everything was tried and every case passed, those aside that make no sense here.
    pub(super) passed: bool,
    /// How long it all took, in milliseconds.
    pub(super) millis: u64,
    /// Why it ended before everything was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// Each case that was tried, in the order in which they ended.
    pub(super) cases: Vec<Tried>,
}

/// One case.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tried {
    /// In which round, counted from 1: `--repeat` makes several.
    pub(super) round: u32,
    /// Its name.
    id: Cow<'static, str>,
    /// `tcp` or `udp`.
    transport: String,
    /// How it ended.
    pub(super) verdict: Ended,
    /// How long it took, in milliseconds.
    millis: u64,
    /// The pods of bono, or the address, that its phones went through.
    through: Vec<String>,
    /// How media arrived, each direction of each kind, where the case sends some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    media: Vec<Media>,
    /// What was seen, where it did not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failed>,
    /// What the phones sent and were sent, where it did not pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Message>,
}

/// How a case ended: `notTried` where there was no way to bono, `skipped` where what it tries is no part of the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Ended {
    Passed,
    Failed,
    NotTried,
    Skipped,
}

/// Why a case did not pass.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Failed {
    /// What was being done.
    step: String,
    /// What is right.
    #[serde(skip_serializing_if = "String::is_empty")]
    wanted: String,
    /// What was seen.
    seen: String,
    /// The component that such an answer points at.
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'static str>,
    /// What is likely wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// How one direction of a kind of media arrived.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Media {
    /// `audio` or `video`.
    kind: &'static str,
    /// The number of the phone that sent it.
    from: String,
    /// The number of the phone that it was for.
    to: String,
    /// RTP packets that were sent.
    sent: u32,
    /// RTP packets that arrived.
    received: u32,
    /// The packets that did not, of a hundred.
    loss_percent: f64,
    /// Interarrival jitter (RFC 3550, section 6.4.1), in milliseconds. What a relay adds is in it.
    jitter_millis: f64,
}

impl From<MediaReport> for Media {
    fn from(report: MediaReport) -> Self {
        let rounded = |number: f64| (number * 100.0).round() / 100.0;
        let loss_percent = rounded(report.loss());
        let MediaReport { kind, from, to, sent, received, jitter } = report;
        let jitter_millis = rounded(jitter.as_secs_f64() * 1000.0);
        Self { kind: kind.name(), from, to, sent, received, loss_percent, jitter_millis }
    }
}

/// A SIP message as a phone had it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Message {
    /// When, in milliseconds since the first phone was there.
    millis: u64,
    /// The phone's number.
    phone: String,
    /// Whether it was `sent` by the phone or `received`.
    #[serde(rename = "direction", serialize_with = "direction")]
    #[schemars(with = "String")]
    heading: Heading,
    /// The method, or the status and the method that it answers.
    line: String,
    /// The Call-ID, by which `trace` finds it in the logs.
    call_id: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn direction<S: Serializer>(heading: &Heading, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match heading {
        Heading::Sent => "sent",
        Heading::Received => "received",
    })
}

/// How many passed, failed, were not tried, and were skipped.
pub(super) fn counts(tried: &[Tried]) -> [usize; 4] {
    [Ended::Passed, Ended::Failed, Ended::NotTried, Ended::Skipped]
        .map(|ended| tried.iter().filter(|t| t.verdict == ended).count())
}

/// What others wrote, line by line.
fn lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Tried {
    pub(super) fn of(outcome: CaseOutcome, round: u32) -> Self {
        let CaseOutcome { id, transport, verdict, took, through, messages, media } = outcome;
        let (word, failure) = match verdict {
            TestVerdict::Passed => (Ended::Passed, None),
            TestVerdict::Failed(failure) => {
                let suspect = failure.answer.as_ref().and_then(|(method, code)| suspect_of(method, *code));
                let (component, reason) = (suspect.map(|s| s.component), suspect.map(|s| s.reason));
                let (step, wanted, seen) = (failure.step, failure.wanted, plain(&failure.seen));
                (Ended::Failed, Some(Failed { step, wanted, seen, component, reason }))
            }
            TestVerdict::NotTried(why) => {
                let (step, wanted) = ("the way to bono".to_owned(), String::new());
                (Ended::NotTried, Some(Failed { step, wanted, seen: plain(&why), component: None, reason: None }))
            }
            TestVerdict::Skipped(why) => {
                let (step, wanted) = ("the line's services".to_owned(), String::new());
                (Ended::Skipped, Some(Failed { step, wanted, seen: plain(&why), component: None, reason: None }))
            }
        };
        let is_told = matches!(word, Ended::Failed | Ended::NotTried);
        let messages = if is_told { messages.iter().map(Message::of).collect() } else { Vec::new() };
        let (transport, millis) = (transport.to_string(), millis(took));
        let media = media.into_iter().map(Media::from).collect();
        Self { round, id: id.into(), transport, verdict: word, millis, through, media, failure, messages }
    }

    /// One of upstream's, which took so long.
    pub(super) fn of_live(case: &LiveCase, took: Duration, through: &str) -> Self {
        let (verdict, seen) = match &case.verdict {
            LiveVerdict::Passed => (Ended::Passed, None),
            LiveVerdict::Failed(why) => (Ended::Failed, Some(why.as_str())),
            LiveVerdict::Skipped(why) => (Ended::Skipped, Some(why.as_str())),
            LiveVerdict::Unended => (Ended::NotTried, Some("it was begun, and nothing says how it ended")),
        };
        let numbers = if case.numbers.is_empty() { String::new() } else { format!(", {}", case.numbers.join(", ")) };
        let failure = seen.map(|seen| Failed {
            step: format!("upstream's test{numbers}"),
            wanted: String::new(),
            seen: lines(if seen.is_empty() { "it says no more" } else { seen }),
            component: None,
            reason: None,
        });
        Self {
            round: case.round,
            id: plain(&case.name).into(),
            transport: plain(&case.transport),
            verdict,
            millis: millis(took),
            through: vec![through.to_owned()],
            media: Vec::new(),
            failure,
            messages: Vec::new(),
        }
    }

    /// A line for the terminal, and more where it did not pass.
    pub(super) fn text(&self) -> String {
        let (style, word) = match self.verdict {
            Ended::Passed => (GOOD, "ok"),
            Ended::Failed => (BAD, "FAILED"),
            Ended::NotTried => (WARN, "not tried"),
            Ended::Skipped => (DIM, "skipped"),
        };
        let through = self.through.join(", ");
        let mut text = format!(
            "{style}{word:9}{style:#} {:24} {:4} {:>7} ms  {DIM}{through}{DIM:#}\n",
            self.id, self.transport, self.millis
        );
        for Media { kind, from, to, sent, received, loss_percent, jitter_millis } in &self.media {
            let _ = writeln!(
                text,
                "  {DIM}{kind} {from} -> {to}: {received} of {sent} packets, {loss_percent} % lost, \
                 jitter {jitter_millis:.1} ms{DIM:#}"
            );
        }
        if let Some(failed) = &self.failure {
            let right = if failed.wanted.is_empty() { String::new() } else { format!("; {} is right", failed.wanted) };
            let _ = writeln!(text, "  {}: {}{right}", failed.step, failed.seen.replace('\n', "\n    "));
            if let (Some(component), Some(reason)) = (failed.component, failed.reason) {
                let _ = writeln!(text, "  look at {component}: {reason}");
            }
        }
        for message in &self.messages {
            let arrow = match message.heading {
                Heading::Sent => "-->",
                Heading::Received => "<--",
            };
            let _ = writeln!(text, "  {:>7} ms  {} {arrow} {}", message.millis, message.phone, message.line);
        }
        if let Some(last) = self.messages.last() {
            let _ = writeln!(text, "  {}", command(&format!("trace {}", last.call_id)));
        }
        text
    }
}

impl Message {
    fn of(entry: &TranscriptEntry) -> Self {
        Self {
            millis: millis(entry.at),
            phone: entry.phone.to_string(),
            heading: entry.heading,
            line: plain(&entry.message),
            call_id: plain(&entry.call_id),
        }
    }
}

/// Writes the form that CI servers read: a test suite with its test cases, where `failure` is a case that failed, `error`
/// one that could not be tried, and `skipped` one that makes no sense here.
pub(super) fn write_junit(path: &Path, report: &Report) -> Result<(), CliError> {
    outfile::write(path, junit(report)?)
}

fn junit(report: &Report) -> std::io::Result<Vec<u8>> {
    let Report { namespace, cases: tried, error, .. } = report;
    let seconds = |millis: u64| format!("{:.3}", Duration::from_millis(millis).as_secs_f64());
    let [_, failures, errors, skipped] = counts(tried);
    let early = usize::from(error.is_some());
    let [tests, failures, errors, skipped] =
        [tried.len() + early, failures, errors + early, skipped].map(|count| count.to_string());
    let time = seconds(report.millis);
    let rounds = tried.iter().map(|one| one.round).max().unwrap_or(1);
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(XmlEvent::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suite = xml.create_element("testsuite").with_attributes([
        ("name", namespace.as_str()),
        ("tests", &tests),
        ("failures", &failures),
        ("errors", &errors),
        ("skipped", &skipped),
        ("time", &time),
    ]);
    suite.write_inner_content(|xml| {
        for one in tried {
            // Readers keep one result for each pair of class and name.
            let round = if rounds > 1 { format!(".round-{}", one.round) } else { String::new() };
            let (class, time) = (format!("{namespace}.{}{round}", one.transport), seconds(one.millis));
            let case = xml.create_element("testcase").with_attributes([
                ("name", &*one.id),
                ("classname", &class),
                ("time", &time),
            ]);
            let Some(why) = &one.failure else {
                case.write_empty()?;
                continue;
            };
            let kind = match one.verdict {
                Ended::Failed => "failure",
                Ended::Skipped => "skipped",
                Ended::Passed | Ended::NotTried => "error",
            };
            let message = format!("{}: {}", why.step, why.seen);
            let text = anstream::adapter::strip_str(&one.text()).to_string();
            case.write_inner_content(|xml| {
                let why = xml.create_element(kind).with_attribute(("message", message.as_str()));
                why.write_text_content(BytesText::new(&text)).map(drop)
            })?;
        }
        if let Some(error) = error {
            let case =
                xml.create_element("testcase").with_attributes([("name", "the whole"), ("classname", namespace)]);
            case.write_inner_content(|xml| {
                xml.create_element("error").with_attribute(("message", error.as_str())).write_empty().map(drop)
            })?;
        }
        Ok(())
    })?;
    let mut written = xml.into_inner();
    written.push(b'\n');
    Ok(written)
}

#[cfg(test)]
mod tests {
    use clearwater_sip::Transport;

    use super::*;

    #[test]
    fn what_failed_is_told_with_whom_to_look_at_and_what_was_said() {
        let entry = TranscriptEntry {
            at: Duration::from_millis(12),
            phone: "6505550000".into(),
            heading: Heading::Received,
            call_id: "abc".to_owned(),
            message: "480 Temporarily Unavailable (REGISTER)".to_owned(),
        };
        let failure = clearwater_sip::case::CaseFailure {
            step: "REGISTER with the password".to_owned(),
            wanted: "200".to_owned(),
            seen: "480 Temporarily\u{1b}[2J <Unavailable>".to_owned(),
            answer: Some(("REGISTER".to_owned(), 480)),
        };
        let outcome = CaseOutcome {
            id: "register",
            transport: Transport::Tcp,
            verdict: TestVerdict::Failed(failure),
            took: Duration::from_millis(20),
            through: vec!["bono-1".to_owned()],
            messages: vec![entry],
            media: Vec::new(),
        };
        let media = MediaReport {
            kind: clearwater_sip::MediaKind::Audio,
            from: "6505550000".to_owned(),
            to: "6505550001".to_owned(),
            sent: 50,
            received: 49,
            jitter: Duration::from_micros(1234),
        };
        let passed = CaseOutcome {
            id: "call-voice",
            verdict: TestVerdict::Passed,
            messages: Vec::new(),
            media: vec![media],
            ..outcome.clone()
        };
        let skipped = CaseOutcome {
            id: "diversion",
            verdict: TestVerdict::Skipped("no homer runs in namespace ims, which keeps services".to_owned()),
            messages: Vec::new(),
            ..outcome.clone()
        };
        let live = LiveCase {
            name: "Basic Call - Mainline".to_owned(),
            transport: "tcp".to_owned(),
            round: 1,
            numbers: vec!["6505550000".to_owned()],
            verdict: LiveVerdict::Failed("RuntimeError thrown:\n- Expected 200, got \u{1b}[2J480".to_owned()),
        };
        let live = Tried::of_live(&live, Duration::from_millis(7), "bono").text();
        assert_eq!(
            anstream::adapter::strip_str(&live).to_string(),
            "FAILED    Basic Call - Mainline    tcp        7 ms  bono\n  upstream's test, 6505550000: RuntimeError thrown:\n    \
             - Expected 200, got \\u{1b}[2J480\n"
        );
        let tried = [passed, outcome, skipped].map(|outcome| Tried::of(outcome, 1));
        let text = tried.each_ref().map(|t| anstream::adapter::strip_str(&t.text()).to_string()).concat();
        insta::assert_snapshot!("tried", text);
        let mut report = Report {
            v: 1,
            namespace: "ims".to_owned(),
            passed: false,
            millis: 41,
            error: None,
            cases: Vec::from(tried),
        };
        let xml = |report: &Report| String::from_utf8(junit(report).unwrap()).unwrap();
        insta::assert_snapshot!("junit", xml(&report));
        // What ended early says so, and a case of each round has a name of its own.
        report.error = Some("interrupted".to_owned());
        report.cases[1].round = 2;
        let xml = xml(&report);
        assert!(xml.contains(r#"tests="4" failures="1" errors="1" skipped="1""#), "{xml}");
        assert!(xml.contains("ims.tcp.round-1") && xml.contains("ims.tcp.round-2"), "{xml}");
        assert!(xml.contains(r#"<error message="interrupted"/>"#), "{xml}");
    }
}
