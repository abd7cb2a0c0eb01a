mod lines;
mod live;
mod load;
mod report;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use clearwater::component::{Component, port};
use clearwater::text::counted;
use clearwater_kube::exercise::{Bonos, ExerciseError, ExercisePlan, Via, exercise};
use clearwater_sip::Transport;
use clearwater_sip::case::{Case, CaseTimes, all, chosen};
use clearwater_sip::load::LoadPlan;

use crate::advice::command;
use crate::arguments::PlaceArgs;
use crate::context::Context;
use crate::duration::{duration, limit, time};
use crate::error::{CliError, spelled};
use crate::exit;
use crate::outfile;
use crate::output::Format;
use crate::reporter::{BAD, GOOD, WARN};
use crate::runtime::{block_on, unless_ended};
use crate::signal::Signals;
use lines::Lines;
pub(super) use load::LoadReport;
pub(super) use report::Report;
use report::{Tried, counts, millis, write_junit};

/// Try whether it is a telephone exchange: phones register, write to each other and call each other through bono
///
/// Lines are made for it through Ellis (or homestead-prov, where there is no Ellis) and taken away again. The phones are
/// this program's own. They reach bono through its pods, or with --via ADDRESS as any phone outside would. What fails is
/// told with the messages that were exchanged and with the component that such an answer points at.
///
/// Several runs at once do not disturb each other: each has lines of its own. What a run left behind when it was killed is
/// taken away by one that begins later, once its time is over.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater test
  kubectl clearwater test --only register,call --transport udp
  kubectl clearwater test --via 203.0.113.7       from here, as a phone
  kubectl clearwater test --repeat 50 -o json --junit test.xml
  kubectl clearwater test --load 5/s --for 2m     calls at a rate
  kubectl clearwater test --live-test             upstream's own suite

Exit code 8 says that a case failed, or more calls than may; 1 that something could not be tried.")]
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
    /// How long one answer may take [default: 10s]; with --live-test, how long all of it may [default: 30m]
    #[arg(long, value_name = "DURATION", value_parser = limit)]
    timeout: Option<Duration>,
    /// How long media flows in the cases call-voice and call-video
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1s")]
    talk: Duration,
    /// How many cases are tried at once, each with lines of its own; with --load, how many pairs of phones there are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: Option<u16>,
    /// Make so many calls in a second, instead of trying cases
    #[arg(long, value_name = "RATE", value_parser = load::rate, conflicts_with_all = ["only", "skip", "repeat", "talk", "junit"])]
    load: Option<f64>,
    /// For how long calls are made
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, default_value = "30s", requires = "load")]
    lasting: Duration,
    /// How many of a hundred calls may fail
    #[arg(long, value_name = "PERCENT", value_parser = load::percent, default_value = "1", requires = "load")]
    failures: f64,
    /// Run upstream's live tests from their image as a Job in the namespace, instead of the cases here, and tell what they
    /// found. Unproved on the real image
    #[arg(
        long = "live-test",
        value_name = "IMAGE",
        num_args = 0..=1,
        default_missing_value = live::IMAGE,
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
        conflicts_with_all = ["only", "skip", "talk", "parallel", "load", "via", "list"],
    )]
    live: Option<String>,
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

/// How long taking the lines away may take, and how much longer for each of them.
const TIDYING: Duration = Duration::from_secs(5);
const TIDYING_A_LINE: Duration = Duration::from_millis(200);
/// And how long where somebody wants the end: the process ends within a second.
const TIDYING_IN_HASTE: Duration = Duration::from_millis(800);

/// How long one answer may take where nobody says how long.
const ANSWER: Duration = Duration::from_secs(10);
/// The shortest time in which an answer can be awaited.
const SHORTEST: Duration = Duration::from_millis(100);
/// Media flows no longer: a case has an end.
const LONGEST_TALK: Duration = Duration::from_secs(30);
/// Calls are made no longer.
const LONGEST_LOAD: Duration = Duration::from_secs(24 * 60 * 60);

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

/// Where bono takes phones that name no port.
const SIP: u16 = port(Component::Bono, "sip-tcp");

/// Reads `pod` or `HOST[:PORT]`.
fn via(word: &str) -> Result<Via, CliError> {
    if word == "pod" {
        return Ok(Via::Pod);
    }
    if let Ok(address) = word.parse::<SocketAddr>() {
        return Ok(Via::Address(address));
    }
    if let Ok(ip) = word.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok(Via::Address(SocketAddr::new(ip, SIP)));
    }
    let (host, port) = match word.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (word, Some(SIP)),
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
            ExerciseError::NoBono { pods: 1.., .. } => {
                Self::Unready(format!("{error}; see `{}`, and bring it up first", command("status")))
            }
            ExerciseError::NoBono { .. } => {
                Self::Connection(format!("{error}; see `{}`, and bring it up first", command("status")))
            }
            error if error.is_of_rights() => Self::Connection(format!(
                "{error}; `{}` writes the Role that is needed",
                command("rbac test --for-user NAME")
            )),
            error => Self::Connection(error.to_string()),
        }
    }
}

/// What a run tries.
enum Work<'a> {
    /// Cases; each that ends is added.
    Cases { cases: &'a [&'static Case], transports: &'a [Transport], tried: &'a mut Vec<Tried> },
    /// Calls at a rate.
    Load { plan: LoadPlan, report: &'a mut LoadReport },
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
        self.check(&cases, &transports)?;
        let via = via(&self.via)?;
        let namespace = self.place.namespace(context, self.output.is_none())?;
        if let Some(image) = &self.live {
            return self.run_live(context, namespace, image, &transports);
        }
        match self.load {
            Some(rate) => self.make_calls(context, namespace, via, rate, &transports),
            None => self.try_cases(context, namespace, via, &cases, &transports),
        }
    }

    fn answer(&self) -> Duration {
        self.timeout.unwrap_or(ANSWER)
    }

    /// What can be seen to make no sense before anything is asked.
    fn check(&self, cases: &[&Case], transports: &[Transport]) -> Result<(), CliError> {
        let usage = |why: String| Err(CliError::Usage(why));
        if !cases.iter().any(|c| c.over.iter().any(|t| transports.contains(t))) {
            let [case, ..] = cases else { return Ok(()) };
            return usage(format!("{} makes no sense over {}", case.id, transports[0]));
        }
        if self.answer() < SHORTEST {
            let shortest = SHORTEST.as_millis();
            return usage(format!("--timeout: no answer comes in so short a time; say {shortest}ms or more"));
        }
        if self.talk < SHORTEST || self.talk > LONGEST_TALK {
            let (shortest, longest) = (SHORTEST.as_millis(), LONGEST_TALK.as_secs());
            return usage(format!("--talk: media flows for {shortest}ms to {longest}s; say a time between"));
        }
        if self.lasting < Duration::from_secs(1) || self.lasting > LONGEST_LOAD {
            return usage("--for: calls are made for 1s to 24h; say a time between".to_owned());
        }
        let folder = self.junit.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return usage(format!("--junit: there is no folder {}; make it first", spelled(folder)));
        }
        self.junit.as_deref().map_or(Ok(()), outfile::can_be_written)
    }

    fn try_cases(
        &self,
        context: &mut Context,
        namespace: String,
        via: Via,
        cases: &[&'static Case],
        transports: &[Transport],
    ) -> Result<u8, CliError> {
        let (signals, began, mut tried) = (context.signals(), Instant::now(), Vec::new());
        let work = Work::Cases { cases, transports, tried: &mut tried };
        let done = block_on(self.attempt(context, &signals, namespace.clone(), via, work));
        self.tell(context, namespace, began, tried, done)
    }

    /// Tells how everything ended, and makes an exit code of it.
    fn tell(
        &self,
        context: &mut Context,
        namespace: String,
        began: Instant,
        tried: Vec<Tried>,
        done: Result<(), CliError>,
    ) -> Result<u8, CliError> {
        let [passed, failed, not_tried, skipped] = counts(&tried);
        let error = done.as_ref().err().map(ToString::to_string);
        let all_passed = error.is_none() && passed + skipped == tried.len();
        let report =
            Report { v: 1, namespace, passed: all_passed, millis: millis(began.elapsed()), error, cases: tried };
        let written = self.junit.as_deref().map_or(Ok(()), |path| write_junit(path, &report));
        if let Some(format) = self.output {
            context.results().value(format, &report)?;
        } else if !report.cases.is_empty() {
            let style = if failed > 0 {
                BAD
            } else if not_tried > 0 || done.is_err() {
                WARN
            } else {
                GOOD
            };
            let some = |count: usize, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
            let rest = some(not_tried, "not tried") + &some(skipped, "skipped");
            let took = time(report.millis);
            told(context, &format!("{style}{passed} passed, {failed} failed{rest}{style:#}, in {took}\n"))?;
        }
        // Why it ended comes before why that could not be written down.
        done.and(written)?;
        Ok(match (failed, not_tried) {
            (0, 0) => exit::OK,
            (0, _) => exit::FAILURE,
            _ => exit::TESTS_FAILED,
        })
    }

    fn make_calls(
        &self,
        context: &mut Context,
        namespace: String,
        via: Via,
        rate: f64,
        transports: &[Transport],
    ) -> Result<u8, CliError> {
        let transport = transports.first().copied().unwrap_or(Transport::Tcp);
        let plan = LoadPlan { rate, lasting: self.lasting, answer: self.answer(), transport };
        let pairs = self.parallel.map_or_else(|| load::pairs(rate), usize::from);
        let mut report = LoadReport::new(&namespace, &plan, pairs, self.failures);
        let signals = context.signals();
        let work = Work::Load { plan, report: &mut report };
        let done = block_on(self.attempt(context, &signals, namespace, via, work));
        report.error = done.as_ref().err().map(ToString::to_string);
        match self.output {
            Some(format) => context.results().value(format, &report)?,
            None if done.is_ok() => told(context, &report.text())?,
            None => {}
        }
        done.map(|()| if report.passed { exit::OK } else { exit::TESTS_FAILED })
    }

    /// Looks who is there, does the work, and takes the lines away whatever became of it.
    async fn attempt(
        &self,
        context: &mut Context,
        signals: &Signals,
        namespace: String,
        via: Via,
        work: Work<'_>,
    ) -> Result<(), CliError> {
        let (at_once, each) = match &work {
            Work::Cases { cases, .. } => {
                (self.parallel.unwrap_or(1).into(), cases.iter().map(|c| c.lines).max().unwrap_or_default())
            }
            Work::Load { .. } => (0, 0),
        };
        let (bonos, lines) = unless_ended(signals, async {
            let cluster = context.connection().cluster(namespace).await?;
            let bonos = Bonos::find(&cluster, via).await?;
            Ok((bonos, Lines::new(&cluster, at_once, each).await))
        })
        .await?;
        let done = unless_ended(
            signals,
            Box::pin(async {
                let left = lines.sweep().await?;
                if left > 0 {
                    context.talk().note(format!("taken away: {} that earlier runs left behind", counted(left, "line")));
                }
                match work {
                    Work::Load { plan, report } => report.run(&bonos, &lines, &plan).await,
                    Work::Cases { cases, transports, tried } => {
                        lines.begin().await?;
                        let times = CaseTimes { answer: self.answer(), talk: self.talk };
                        let plan = ExercisePlan { cases, transports, times, at_once };
                        for round in 1..=self.repeat {
                            let mut broken = None;
                            exercise(&bonos, &lines, &plan, |outcome| {
                                let outcome = Tried::of(outcome, round);
                                if self.output.is_none() && broken.is_none() {
                                    broken = told(context, &outcome.text()).err();
                                }
                                tried.push(outcome);
                            })
                            .await;
                            if let Some(error) = broken {
                                return Err(error);
                            }
                        }
                        Ok(())
                    }
                }
            }),
        )
        .await;
        let count = lines.count();
        if count == 0 {
            return done;
        }
        let more = TIDYING_A_LINE * u32::try_from(count).unwrap_or(u32::MAX);
        let patience = if signals.came().is_some() { TIDYING_IN_HASTE } else { TIDYING + more };
        let why = tidied(signals, patience, lines.take_away()).await;
        if let Some(why) = why {
            context.talk().warning(format!(
                "the lines of this run are left behind, for one that begins some minutes later to take away: {why}"
            ));
        }
        done
    }
}

/// Does what has to be done before the end, within a time; why it was not done.
async fn tidied<E: ToString>(
    signals: &Signals,
    patience: Duration,
    deed: impl Future<Output = Result<(), E>>,
) -> Option<String> {
    let doing = tokio::time::timeout(patience, deed);
    tokio::pin!(doing);
    loop {
        tokio::select! {
            done = &mut doing => return match done {
                Ok(done) => done.err().map(|error| error.to_string()),
                Err(_) => Some(format!("it takes longer than {} ms", patience.as_millis())),
            },
            () = signals.still_at_work() => {}
        }
    }
}

/// Says something at once. A reader that has seen enough changes nothing of the outcome.
fn told(context: &mut Context, text: &str) -> Result<(), CliError> {
    let results = context.results();
    match results.styled(text).and_then(|()| Ok(results.flush()?)) {
        Err(error) if !error.is_broken_pipe() => Err(error),
        _ => Ok(()),
    }
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
}
