use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use clearwater_kube::exercise::{Bonos, ExerciseError, Via, exercise};
use clearwater_kube::subscribers::{Provisioning, ProvisioningOptions, SubscriberError};
use clearwater_sip::case::{Case, CaseOutcome, TestVerdict, all, chosen};
use clearwater_sip::{Account, Heading, TranscriptEntry, Transport, suspect_of};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as XmlEvent};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Serialize;

use crate::cli::PlaceArgs;
use crate::context::Context;
use crate::duration::duration;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;
use crate::reporter::{BAD, DIM, GOOD, WARN, plain};
use crate::runtime::{block_on, unless_ended};
use crate::signal::Signals;

/// Try whether it is a telephone exchange: phones register, write to each other and call each other through bono
///
/// Lines are made for it through Ellis (or homestead-prov, where there is no Ellis) and taken away again. The phones are
/// this program's own. They reach bono through its pods, or with --via ADDRESS as any phone outside would. What fails is
/// told with the messages that were exchanged and with the component that such an answer points at.
///
/// A namespace is tried by one at a time: what an earlier run left behind when it was killed is taken away first.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  kubectl clearwater test
  kubectl clearwater test --only register,call --transport udp
  kubectl clearwater test --via 203.0.113.7           from here, as a phone: this tries the exposure too
  kubectl clearwater test --repeat 50 -o json --junit test.xml

Exit code 8 says that a case failed, 1 that something could not be tried.")]
pub(crate) struct Test {
    #[command(flatten)]
    place: PlaceArgs,
    /// Only these cases, by their names or what these begin with: `call` means all that begin so
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    only: Vec<String>,
    /// All cases but these
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    skip: Vec<String>,
    /// How SIP travels: tcp, udp
    #[arg(long, value_name = "TRANSPORT", value_delimiter = ',', default_value = "tcp,udp")]
    transport: Vec<Transport>,
    /// How the phones reach bono: `pod`, or an address as HOST[:PORT]
    #[arg(long, value_name = "pod|ADDRESS", default_value = "pod")]
    via: String,
    /// How often everything is tried
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: u32,
    /// How long one answer may take
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    timeout: Duration,
    /// Name the cases and what each shows, and stop
    #[arg(long)]
    list: bool,
    /// A format for programs
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// Write the outcome as JUnit XML too, for a CI server
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// The account at Ellis that the lines belong to, so that the next run finds what a killed one left. `.invalid` is no
/// domain of anybody's (RFC 2606).
const ACCOUNT: &str = "kubectl-clearwater-test@clearwater.invalid";

/// The same at homestead-prov, which has no accounts: what the private identities begin with.
const PREFIX: &str = "kubectl-clearwater-test.";

/// How long taking the lines away may take.
const TIDYING: Duration = Duration::from_secs(5);
/// And how long where somebody wants the end: the process ends within a second.
const TIDYING_IN_HASTE: Duration = Duration::from_millis(800);

/// The numbers of its lines: outside of Ellis' pool, and of an area that no numbering plan of that form has.
const NUMBERS: RangeInclusive<u32> = 1_999_000_000..=1_999_099_999;

/// The shortest time in which an answer can be awaited.
const SHORTEST: Duration = Duration::from_millis(100);

/// What was tried.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The version of this form: 1.
    version: u32,
    /// The namespace.
    namespace: String,
    /// Whether every case passed.
    passed: bool,
    /// How long it all took, in milliseconds.
    millis: u64,
    /// Each case, in the order they were tried.
    cases: Vec<Tried>,
}

/// One case.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Tried {
    /// Its name.
    id: &'static str,
    /// `tcp` or `udp`.
    transport: String,
    /// How it ended.
    verdict: Ended,
    /// How long it took, in milliseconds.
    millis: u64,
    /// The pods of bono, or the address, that its phones went through.
    through: Vec<String>,
    /// What was seen, where it did not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failed>,
    /// What the phones sent and were sent, where it did not pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Message>,
}

/// How a case ended: `notTried` where there was no way to bono.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Ended {
    Passed,
    Failed,
    NotTried,
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

/// A SIP message as a phone had it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Message {
    /// When, in milliseconds since the first phone was there.
    millis: u64,
    /// The phone's number.
    phone: String,
    /// Whether it was `sent` by the phone or `received`.
    direction: &'static str,
    /// The method, or the status and the method that it answers.
    line: String,
    /// The Call-ID, by which `trace` finds it in the logs.
    call_id: String,
}

/// How many passed, failed, and were not tried.
fn counts(tried: &[Tried]) -> [usize; 3] {
    [Ended::Passed, Ended::Failed, Ended::NotTried].map(|ended| tried.iter().filter(|t| t.verdict == ended).count())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Tried {
    fn of(outcome: CaseOutcome) -> Self {
        let CaseOutcome { id, transport, verdict, took, through, messages } = outcome;
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
        };
        let messages = if failure.is_some() { messages.iter().map(Message::of).collect() } else { Vec::new() };
        Self { id, transport: transport.to_string(), verdict: word, millis: millis(took), through, failure, messages }
    }

    /// A line for the terminal, and more where it did not pass.
    fn text(&self) -> String {
        let (style, word) = match self.verdict {
            Ended::Passed => (GOOD, "ok"),
            Ended::Failed => (BAD, "FAILED"),
            Ended::NotTried => (WARN, "not tried"),
        };
        let through = self.through.join(", ");
        let mut text = format!(
            "{style}{word:9}{style:#} {:24} {:4} {:>7} ms  {DIM}{through}{DIM:#}\n",
            self.id, self.transport, self.millis
        );
        if let Some(failed) = &self.failure {
            let right = if failed.wanted.is_empty() { String::new() } else { format!("; {} is right", failed.wanted) };
            let _ = writeln!(text, "  {}: {}{right}", failed.step, failed.seen);
            if let (Some(component), Some(reason)) = (failed.component, failed.reason) {
                let _ = writeln!(text, "  look at {component}: {reason}");
            }
        }
        for message in &self.messages {
            let arrow = if message.direction == "sent" { "-->" } else { "<--" };
            let _ = writeln!(text, "  {:>7} ms  {} {arrow} {}", message.millis, message.phone, message.line);
        }
        if let Some(last) = self.messages.last() {
            let _ = writeln!(text, "  kubectl clearwater trace {}", last.call_id);
        }
        text
    }
}

impl Message {
    fn of(entry: &TranscriptEntry) -> Self {
        Self {
            millis: millis(entry.at),
            phone: entry.phone.to_string(),
            direction: match entry.heading {
                Heading::Sent => "sent",
                Heading::Received => "received",
            },
            line: plain(&entry.message),
            call_id: plain(&entry.call_id),
        }
    }
}

/// The cases that are meant.
fn cases(only: &[String], skip: &[String]) -> Result<Vec<&'static Case>, CliError> {
    let every: Vec<&Case> = all().collect();
    let unknown = |words: &[&str]| {
        let names: Vec<&str> = every.iter().map(|c| c.id).collect();
        CliError::Usage(format!("no case is called {}; there are {}", words.join(" or "), names.join(", ")))
    };
    let (left_out, strange) = chosen(skip, &every);
    if !strange.is_empty() {
        return Err(unknown(&strange));
    }
    let (meant, strange) = if only.is_empty() { (every.clone(), Vec::new()) } else { chosen(only, &every) };
    if !strange.is_empty() {
        return Err(unknown(&strange));
    }
    let cases: Vec<&Case> = meant.into_iter().filter(|c| !left_out.iter().any(|s| s.id == c.id)).collect();
    if cases.is_empty() {
        return Err(CliError::Usage("--skip leaves no case to try".to_owned()));
    }
    Ok(cases)
}

/// Reads `pod` or `HOST[:PORT]`.
fn via(word: &str) -> Result<Via, CliError> {
    if word == "pod" {
        return Ok(Via::Pod);
    }
    if let Ok(address) = word.parse::<SocketAddr>() {
        return Ok(Via::Address(address));
    }
    if let Ok(ip) = word.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok(Via::Address(SocketAddr::new(ip, 5060)));
    }
    let (host, port) = match word.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (word, Some(5060)),
    };
    let Some(port) = port.filter(|_| !host.is_empty()) else {
        return Err(CliError::Usage(format!("--via {word}: say `pod`, or an address as HOST or HOST:PORT")));
    };
    let found = (host, port).to_socket_addrs();
    let found = found.map_err(|e| CliError::Connection(format!("--via {word}: {host} has no address: {e}")))?;
    found
        .into_iter()
        .next()
        .map(Via::Address)
        .ok_or_else(|| CliError::Connection(format!("--via {word}: {host} has no address; name an address, or `pod`")))
}

impl From<ExerciseError> for CliError {
    fn from(error: ExerciseError) -> Self {
        match error {
            ExerciseError::NoBono { .. } => {
                Self::Unready(format!("{error}; see `kubectl clearwater status`, and bring it up first"))
            }
            ExerciseError::List { source: kube::Error::Api(ref status), .. } if status.is_forbidden() => {
                Self::Unready(format!("{error}; `kubectl clearwater rbac test` writes the Role that is needed"))
            }
            error => Self::Connection(error.to_string()),
        }
    }
}

impl Test {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let cases = cases(&self.only, &self.skip)?;
        if self.list {
            for case in cases {
                context.results().text(&format!("{:24} {}\n", case.id, case.shows))?;
            }
            return Ok(exit::OK);
        }
        let mut transports = self.transport.clone();
        transports.sort_unstable();
        transports.dedup();
        if !cases.iter().any(|c| c.over.iter().any(|t| transports.contains(t))) {
            let [case, ..] = &cases[..] else { return Ok(exit::OK) };
            return Err(CliError::Usage(format!("{} makes no sense over {}", case.id, transports[0])));
        }
        if self.timeout < SHORTEST {
            let shortest = SHORTEST.as_millis();
            return Err(CliError::Usage(format!(
                "--timeout: no answer comes in so short a time; say {shortest}ms or more"
            )));
        }
        let folder = self.junit.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(CliError::Usage(format!("--junit: there is no folder {}; make it first", folder.display())));
        }
        let via = via(&self.via)?;
        let namespace = self.place.namespace(context, self.output.is_none())?;
        let signals = context.signals();
        let began = Instant::now();
        let tried = block_on(self.attempt(context, &signals, namespace.clone(), via, &cases, &transports))?;
        let [passed, failed, not_tried] = counts(&tried);
        if let Some(path) = &self.junit {
            write_junit(path, &namespace, &tried, began.elapsed())?;
        }
        let millis = millis(began.elapsed());
        if let Some(format) = self.output {
            let (version, passed) = (1, passed == tried.len());
            context.results().value(format, &Report { version, namespace, passed, millis, cases: tried })?;
        } else {
            let style = if failed > 0 {
                BAD
            } else if not_tried > 0 {
                WARN
            } else {
                GOOD
            };
            let rest = if not_tried > 0 { format!(", {not_tried} not tried") } else { String::new() };
            let seconds = Duration::from_millis(millis).as_secs_f64();
            let line = format!("{style}{passed} passed, {failed} failed{rest}{style:#}, in {seconds:.1} s\n");
            match context.results().styled(&line).and_then(|()| Ok(context.results().flush()?)) {
                Err(error) if !error.is_broken_pipe() => return Err(error),
                _ => {}
            }
        }
        Ok(match (failed, not_tried) {
            (0, 0) => exit::OK,
            (0, _) => exit::FAILURE,
            _ => exit::TESTS_FAILED,
        })
    }

    /// Makes lines, tries the cases, and takes the lines away whatever became of them.
    async fn attempt(
        &self,
        context: &mut Context,
        signals: &Signals,
        namespace: String,
        via: Via,
        cases: &[&'static Case],
        transports: &[Transport],
    ) -> Result<Vec<Tried>, CliError> {
        let (bonos, subscribers) = unless_ended(signals, async {
            let cluster = context.connection().cluster(namespace).await?;
            let bonos = Bonos::find(&cluster, via).await?;
            let options = ProvisioningOptions::for_account(ACCOUNT).with_private_prefix(PREFIX);
            let subscribers = Provisioning::open(&cluster, options).await?;
            Ok((bonos, subscribers))
        })
        .await?;
        // Before this nothing can be left behind.
        let mut making = false;
        let done = unless_ended(signals, async {
            let left = subscribers.delete_account().await?;
            if left > 0 {
                context.talk().note(format!(
                    "{left} lines that an earlier run left behind, or that one uses which is under way, were taken away"
                ));
            }
            let lines = cases.iter().map(|c| c.lines).max().unwrap_or_default();
            making = true;
            let mut made = Vec::new();
            while made.len() < lines {
                match subscribers.create_number(&number()).await {
                    Ok(line) => made.push(line),
                    // Somebody has it: another, then.
                    Err(SubscriberError::Taken { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let accounts = made.iter().map(|line| {
                let password = line.password.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
                Account::new(&line.public_identity.to_string(), &line.private_identity, password)
                    .map_err(|e| CliError::Connection(e.to_string()))
            });
            let accounts: Vec<Account> = accounts.collect::<Result<_, _>>()?;
            let mut tried = Vec::new();
            for _ in 0..self.repeat {
                let mut broken = None;
                exercise(&bonos, &accounts, cases, transports, self.timeout, |outcome| {
                    let outcome = Tried::of(outcome);
                    if self.output.is_none() && broken.is_none() {
                        let results = context.results();
                        broken = results.styled(&outcome.text()).and_then(|()| Ok(results.flush()?)).err();
                    }
                    tried.push(outcome);
                })
                .await;
                // A reader that has seen enough changes nothing of the outcome.
                if let Some(error) = broken.take_if(|e| !e.is_broken_pipe()) {
                    return Err(error);
                }
            }
            Ok(tried)
        })
        .await;
        if !making {
            return done;
        }
        let patience = if signals.came().is_some() { TIDYING_IN_HASTE } else { TIDYING };
        let tidied = async {
            let deleting = tokio::time::timeout(patience, subscribers.delete_account());
            tokio::pin!(deleting);
            loop {
                tokio::select! {
                    deleted = &mut deleting => return deleted,
                    () = signals.still_at_work() => {}
                }
            }
        };
        let why = match tidied.await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("it takes longer than {} ms", patience.as_millis())),
        };
        if let Some(why) = why {
            context.talk().warning(format!("the lines of this run are left behind, for the next to take away: {why}"));
        }
        done
    }
}

/// One of the numbers, by chance.
fn number() -> String {
    let count = NUMBERS.end() - NUMBERS.start() + 1;
    // Each of the standard library's hashers has keys of its own, from the system's random numbers.
    let chance = RandomState::new().hash_one(0) % u64::from(count);
    (u64::from(*NUMBERS.start()) + chance).to_string()
}

/// Writes the form that CI servers read: a test suite with its test cases, where `failure` is a case that failed and
/// `error` one that could not be tried.
fn write_junit(path: &Path, namespace: &str, tried: &[Tried], took: Duration) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: path.to_owned(), source };
    std::fs::write(path, junit(namespace, tried, took).map_err(failed)?).map_err(failed)
}

fn junit(namespace: &str, tried: &[Tried], took: Duration) -> std::io::Result<Vec<u8>> {
    let seconds = |millis: u64| format!("{:.3}", Duration::from_millis(millis).as_secs_f64());
    let [_, failures, errors] = counts(tried).map(|count| count.to_string());
    let tests = tried.len().to_string();
    let time = seconds(millis(took));
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(XmlEvent::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suite = xml.create_element("testsuite").with_attributes([
        ("name", namespace),
        ("tests", &tests),
        ("failures", &failures),
        ("errors", &errors),
        ("time", &time),
    ]);
    suite.write_inner_content(|xml| {
        for one in tried {
            let (class, time) = (format!("{namespace}.{}", one.transport), seconds(one.millis));
            let case = xml.create_element("testcase").with_attributes([
                ("name", one.id),
                ("classname", &class),
                ("time", &time),
            ]);
            let Some(why) = &one.failure else {
                case.write_empty()?;
                continue;
            };
            let kind = if one.verdict == Ended::Failed { "failure" } else { "error" };
            let message = format!("{}: {}", why.step, why.seen);
            let text = anstream::adapter::strip_str(&one.text()).to_string();
            case.write_inner_content(|xml| {
                let why = xml.create_element(kind).with_attribute(("message", message.as_str()));
                why.write_text_content(BytesText::new(&text)).map(drop)
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
    use super::*;

    #[test]
    fn cases_are_chosen_and_left_out_by_name() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let ids = |only: &[&str], skip: &[&str]| {
            cases(&words(only), &words(skip)).map(|all| all.iter().map(|c| c.id).collect::<Vec<_>>())
        };
        assert_eq!(ids(&["options"], &[]).unwrap(), ["options"]);
        assert_eq!(ids(&["message"], &["message-long"]).unwrap(), ["message", "message-unknown"]);
        assert!(ids(&[], &["call"]).unwrap().iter().all(|id| !id.starts_with("call")));
        let error = ids(&["cal"], &[]).unwrap_err().to_string();
        assert!(error.contains("called cal") && error.contains("call-hold"), "{error}");
        assert!(ids(&["call"], &["call"]).is_err());
    }

    #[test]
    fn a_way_is_a_pod_or_an_address() {
        let address = |text: &str| Via::Address(text.parse().unwrap());
        assert_eq!(via("pod").unwrap(), Via::Pod);
        assert_eq!(via("192.0.2.1").unwrap(), address("192.0.2.1:5060"));
        assert_eq!(via("192.0.2.1:30060").unwrap(), address("192.0.2.1:30060"));
        assert_eq!(via("[2001:db8::1]").unwrap(), address("[2001:db8::1]:5060"));
        assert_eq!(via("2001:db8::1").unwrap(), address("[2001:db8::1]:5060"));
        for wrong in ["", ":5060", "host:port", "host:99999"] {
            assert!(matches!(via(wrong), Err(CliError::Usage(_))), "{wrong:?}");
        }
    }

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
        };
        let passed =
            CaseOutcome { id: "options", verdict: TestVerdict::Passed, messages: Vec::new(), ..outcome.clone() };
        let tried = [passed, outcome].map(Tried::of);
        let text = tried.each_ref().map(|t| anstream::adapter::strip_str(&t.text()).to_string()).concat();
        insta::assert_snapshot!("tried", text);
        let xml = junit("ims", &tried, Duration::from_millis(41)).unwrap();
        insta::assert_snapshot!("junit", String::from_utf8(xml).unwrap());
    }
}
