//! One pod asked again and again whether it serves, and what its programs do while it does not.

use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::{Asks, Component, Entry, LogFile};
use clearwater::event::LogExcerpt;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::problem::{Part, Problem};
use super::subject::Subject;
use crate::backoff::{Backoff, doubling};
use crate::cluster::Cluster;
use crate::pod::object::own_container;
use crate::pod::supervisor::{self, Trouble};
use crate::pod::{AskError, Forward, Output, Script, Shell, Verdict, judge, script};

/// The longest that opening a connection into a pod may take.
const OPEN: Duration = Duration::from_secs(8);
/// The longest that one question may take. The questions in the pod give up after three seconds by themselves.
const ANSWER: Duration = Duration::from_secs(8);
/// A pod that is not ready is left alone for so long before its programs are looked at.
const UNREADY_FIRST: Duration = Duration::from_secs(3);
/// And is looked at this often from then on.
const UNREADY_EVERY: Duration = Duration::from_secs(2);
/// A pod that serves is looked at this often.
const STEADY_EVERY: Duration = Duration::from_secs(5);
/// A container that runs is connected to after so long, so that nothing is left to be opened when it is ready.
const OPEN_AFTER: Duration = Duration::from_millis(500);
/// A pod's names are not asked for before it has been ready for so long: the cluster's DNS hears of it at the same time as
/// we do, and remembers for seconds that there was nothing when it is asked before.
const NAMES_AFTER: Duration = Duration::from_millis(250);
/// The pauses after bad answers.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Some services hang on a question that they cannot answer yet. The first question is given up after a second, later
/// ones are given more, so that a slow machine is not taken for a broken service.
const PATIENCE_FIRST: u32 = 1;
/// The most that a question is given, in seconds.
const PATIENCE_LONGEST: u32 = 4;
/// How many last lines of a log are shown.
const TAIL: usize = 12;
/// Whether a member has what it got when it joined, and else whether there is data: the file, the directory of the data.
const JOINED: &str = r#"if [ -e "$1" ]; then echo joined
elif find "$2" -type f 2>/dev/null | head -n 1 | grep -q .; then echo data
else echo bare; fi"#;
/// Names the newest log of a program that holds something, and prints its last lines: how many, the program, and
/// patterns of its files besides what supervisord keeps. With an empty IFS a pattern is expanded and not split.
const NEWEST_LOG: &str = r#"(
  IFS= files=() newest=
  for place in "${@:3}"; do files+=($place); done
  files+=(/var/log/supervisor/"$2"-std*---supervisor-*.log)
  for f in "${files[@]}"; do
    if [ -f "$f" ] && [ -s "$f" ] && { [ -z "$newest" ] || [ "$f" -nt "$newest" ]; }; then newest=$f; fi
  done
  [ -n "$newest" ] && printf '%s\n' "${newest//[[:cntrl:]]/?}" && tail -n "$1" "$newest"
)"#;

/// A pod that is asked.
#[derive(Clone, Debug)]
pub struct Target {
    /// The pod's uid.
    pub uid: String,
    /// The pod's name.
    pub pod: String,
    /// The container to ask in.
    pub container: String,
    /// The pod's address.
    pub address: IpAddr,
    /// What the catalogue knows of the component.
    pub entry: &'static Entry,
    /// Names that must be found from inside the pod: those by which others know the component.
    pub names: Vec<String>,
}

impl Target {
    /// How a pod is asked, or `None` while it has no address yet or does not run.
    pub(crate) fn of(subject: &Subject, pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref()?;
        let address = status.pod_ip.as_deref()?.parse().ok()?;
        let own = own_container(pod.spec.as_ref()?, subject.component())?;
        let mut statuses = status.container_statuses.iter().flatten();
        let running = statuses.any(|c| c.name == own.name && c.state.as_ref().is_some_and(|s| s.running.is_some()));
        running.then(|| Self {
            uid: pod.uid().unwrap_or_default(),
            pod: pod.name_any(),
            container: own.name.clone(),
            address,
            entry: subject.entry,
            names: subject.names.clone(),
        })
    }
}

/// How deep a pod is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Programs only: the pod is not ready, and asking for a name now could plant a negative answer.
    Programs,
    /// Programs, health questions and names.
    Full,
}

/// What was seen of a pod.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The pod's uid.
    pub uid: String,
    /// How deep it was looked into.
    pub full: bool,
    /// What is wrong, most telling first.
    pub problems: Vec<Problem<Part>>,
    /// Programs that are not as they should be.
    pub troubles: Vec<Trouble>,
    /// The last lines of the log of the first such program.
    pub log: Option<LogExcerpt>,
    /// Checks that could not be made, each with what it needs.
    pub unchecked: Vec<String>,
    /// The programs that are as they should be.
    pub programs_well: usize,
    /// Health questions.
    pub answers: Tally,
    /// Names that must be found from inside the pod.
    pub names: Tally,
    /// What a member has only from its joining is missing from its container.
    pub not_joined: Option<NotJoined>,
}

/// How many of some questions were answered as they should be. Those that could not be put are in neither number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered well.
    pub well: u32,
    /// Put in all.
    pub put: u32,
}

/// A container without what its member got when it joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJoined {
    /// Whether there is data all the same: on a volume, which outlives the container.
    pub holds_data: bool,
}

impl Tally {
    /// Takes a question in by what it left behind: a problem, or a check that could not be made.
    fn count(&mut self, before: (usize, usize), after: (usize, usize)) {
        if after.1 == before.1 {
            self.put += 1;
            self.well += u32::from(after.0 == before.0);
        }
    }
}

impl Report {
    /// supervisord counts a program as running when its first second is over. One that answers for itself before is
    /// taken at its word.
    fn answers_while_starting(&mut self) {
        let answers = self.answers.put > 0 && self.answers.well == self.answers.put;
        let only_starting = self.problems.len() == self.troubles.len()
            && self.troubles.iter().all(|t| t.is_first_start || t.is_under_way());
        if answers && only_starting {
            self.programs_well += self.troubles.len();
            self.troubles.clear();
            self.problems.clear();
        }
    }

    fn wrong(&mut self, about: Part, text: impl Into<String>) {
        self.problems.push(Problem::new(about, text));
    }

    /// Whether the pod serves, as far as could be asked.
    pub fn is_good(&self) -> bool {
        self.full && self.problems.is_empty()
    }
}

/// Connections into one pod, opened when they are needed.
pub struct Prober {
    pods: Api<Pod>,
    target: Target,
    shell: Option<Shell>,
    forward: Option<Forward>,
    asked: u64,
    /// Connections opened so far.
    pub connections: u32,
    /// Seconds that a question in the pod waits for the next line of its answer.
    pub patience: u32,
    /// Before this moment no name is asked for.
    names_from: Option<Instant>,
    /// Why no shell can be had, once that is known.
    no_shell: Option<String>,
    no_forward: Option<String>,
}

impl Prober {
    /// A prober of a pod. Nothing is opened yet.
    pub fn new(cluster: &Cluster, target: Target) -> Self {
        Self {
            pods: cluster.api(),
            target,
            shell: None,
            forward: None,
            asked: 0,
            connections: 0,
            patience: PATIENCE_LONGEST,
            names_from: None,
            no_shell: None,
            no_forward: None,
        }
    }

    /// The same with another patience, in seconds, as far as that is sensible.
    #[must_use]
    pub fn patient(mut self, patience: u32) -> Self {
        self.patience = patience.clamp(PATIENCE_FIRST, PATIENCE_LONGEST);
        self
    }

    /// Opens what questions will need. What does not open now is opened, and judged, with the first question.
    async fn open(&mut self) {
        let wants_shell = !self.target.entry.programs.is_empty();
        if wants_shell && self.shell.is_none() {
            self.connections += 1;
            self.shell = Shell::open(&self.pods, &self.target.pod, &self.target.container, OPEN).await.ok();
        }
    }

    /// Runs a script in the pod's shell, which is opened where it is not.
    pub async fn run(&mut self, script: &Script) -> Result<Output, AskError> {
        self.run_for(script, ANSWER).await
    }

    /// The same, for a script that may take longer.
    pub async fn run_for(&mut self, script: &Script, within: Duration) -> Result<Output, AskError> {
        let mut shell = if let Some(shell) = self.shell.take() {
            shell
        } else {
            self.connections += 1;
            Shell::open(&self.pods, &self.target.pod, &self.target.container, OPEN).await?
        };
        let output = shell.run(script, within).await?;
        self.shell = Some(shell);
        Ok(output)
    }

    async fn get(&mut self, port: u16, path: &str) -> Result<(u16, String), AskError> {
        let mut forward = match self.forward.take() {
            Some(forward) if forward.port() == port => forward,
            _ => {
                self.connections += 1;
                Forward::open(&self.pods, &self.target.pod, port, OPEN).await?
            }
        };
        let answer = forward.get(path, ANSWER).await?;
        self.forward = Some(forward);
        Ok(answer)
    }

    /// Looks once.
    pub async fn look(&mut self, depth: Depth) -> Report {
        let mut report = self.report(depth);
        self.look_into(depth, &mut report).await;
        report
    }

    /// Looks once, and says whether it came to the end before that moment. What was seen until then is kept.
    pub async fn look_until(&mut self, depth: Depth, until: Instant) -> (Report, bool) {
        let mut report = self.report(depth);
        let whole = timeout_at(until, self.look_into(depth, &mut report)).await.is_ok();
        if !whole {
            report.wrong(Part::Reach, "the pod did not answer in time");
        }
        (report, whole)
    }

    fn report(&self, depth: Depth) -> Report {
        Report { uid: self.target.uid.clone(), full: depth == Depth::Full, ..Report::default() }
    }

    async fn look_into(&mut self, depth: Depth, report: &mut Report) {
        self.programs(report).await;
        if depth == Depth::Programs {
            report.not_joined = self.not_joined().await;
        }
        if depth == Depth::Full {
            for (number, question) in self.target.entry.health.iter().enumerate() {
                let before = (report.problems.len(), report.unchecked.len());
                if let Err(text) = self.question(&question.asks, report).await {
                    report.wrong(Part::Question(number), text);
                }
                report.answers.count(before, (report.problems.len(), report.unchecked.len()));
            }
            report.answers_while_starting();
            if let Some(at) = self.names_from {
                sleep_until(at).await;
            }
            for name in self.target.names.clone() {
                let before = (report.problems.len(), report.unchecked.len());
                if let Err(text) = self.name(&name, report).await {
                    report.wrong(Part::Name(name), text);
                }
                report.names.count(before, (report.problems.len(), report.unchecked.len()));
            }
        }
        if let Some(first) = report.troubles.first().filter(|t| !t.is_starting()) {
            let program = first.program.clone();
            report.log = self.log_of(&program).await;
        }
        report.unchecked.dedup();
    }

    async fn programs(&mut self, report: &mut Report) {
        let expected = self.target.entry.programs;
        if expected.is_empty() {
            return;
        }
        if let Some(why) = &self.no_shell {
            report.unchecked.push(format!("programs: {why}"));
            return;
        }
        let seen = match self.ask_supervisord().await {
            Ok(Ok(seen)) => seen,
            Ok(Err(text)) => {
                report.wrong(Part::Programs, text);
                return;
            }
            Err(error) if error.is_lasting() => {
                self.no_shell = Some(error.to_string());
                report.unchecked.push(format!("programs: {error}"));
                return;
            }
            Err(error) => {
                report.wrong(Part::Programs, error.to_string());
                return;
            }
        };
        report.troubles = supervisor::judge(expected, &seen);
        report.programs_well = expected.len() - report.troubles.len();
        // What will not mend itself first: it is the cause of the rest.
        report.troubles.sort_by_key(|t| (!t.is_fatal(), t.state != Some(supervisor::State::Backoff)));
        let troubles = report.troubles.iter();
        report.problems.extend(troubles.map(|t| Problem::new(Part::Program(t.program.clone()), t.text.clone())));
    }

    /// Whether what the member got when it joined is missing. `None` also where nobody may look.
    async fn not_joined(&mut self) -> Option<NotJoined> {
        let from_joining = self.target.entry.clustering.as_ref()?.from_joining.filter(|_| self.no_shell.is_none())?;
        let look = Script::new(JOINED).arg(from_joining.file).arg(from_joining.data);
        let output = self.run(&look).await.ok()?;
        match output.text.trim() {
            "data" => Some(NotJoined { holds_data: true }),
            "bare" => Some(NotJoined { holds_data: false }),
            _ => None,
        }
    }

    async fn ask_supervisord(&mut self) -> Result<Result<Vec<supervisor::ProgramState>, String>, AskError> {
        let request = Script::new("printf %s \"$1\" | nc -w 5 -U /var/run/supervisor.sock").arg(supervisor::request());
        let over_socket = self.run(&request).await?;
        let unreadable = match supervisor::parse_answer(&over_socket.text) {
            Ok(seen) => return Ok(Ok(seen)),
            Err(error) => error,
        };
        let by_ctl = self.run(&Script::new("supervisorctl status")).await?;
        let seen = supervisor::parse_supervisorctl(&by_ctl.text);
        if !seen.is_empty() {
            return Ok(Ok(seen));
        }
        let said = by_ctl.text.lines().next().unwrap_or("nothing").trim().to_owned();
        Ok(Err(format!("supervisord does not answer: {unreadable}; supervisorctl says {said:?}")))
    }

    /// Puts one of the health questions; an error is what is wrong.
    async fn question(&mut self, asks: &Asks, report: &mut Report) -> Result<(), String> {
        self.asked += 1;
        let nonce = u64::from(std::process::id()) * 100_000 + self.asked;
        let has_bash = !self.target.entry.programs.is_empty();
        let script = script(asks, self.target.address, nonce, self.patience).filter(|_| has_bash);
        let Some(script) = script else {
            return self.forwarded_question(asks, report).await;
        };
        if let Some(why) = &self.no_shell {
            report.unchecked.push(format!("health: {why}"));
            return Ok(());
        }
        match self.run(&script).await {
            Ok(output) => judged(asks, &output.text),
            Err(error) if error.is_lasting() => {
                self.no_shell = Some(error.to_string());
                report.unchecked.push(format!("health: {error}"));
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn forwarded_question(&mut self, asks: &Asks, report: &mut Report) -> Result<(), String> {
        let Asks::EtcdHealth(port) = asks else {
            // Its readiness probe asks the same of the same ports.
            return Ok(());
        };
        if let Some(why) = &self.no_forward {
            report.unchecked.push(format!("health: {why}"));
            return Ok(());
        }
        match self.get(*port, "/health").await {
            Ok((_, body)) => judged(asks, &body),
            Err(error) if error.is_lasting() => {
                self.no_forward = Some(error.to_string());
                report.unchecked.push(format!("health: {error}"));
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Asks for a name; an error is what is wrong.
    async fn name(&mut self, name: &str, report: &mut Report) -> Result<(), String> {
        if self.no_shell.is_some() {
            report.unchecked.push(format!("name {name}: needs get and create pods/exec"));
            return Ok(());
        }
        match self.run(&Script::new("getent ahosts \"$1.\"").arg(name)).await {
            Ok(output) if output.status == 0 && !output.text.trim().is_empty() => Ok(()),
            Ok(_) => Err(format!("name {name} is not found from inside pod {}", self.target.pod)),
            Err(error) if error.is_lasting() => {
                self.no_shell = Some(error.to_string());
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The last lines of the log of a program: its own log file where the catalogue knows one, else what supervisord
    /// kept of its output.
    pub async fn log_of(&mut self, program: &str) -> Option<LogExcerpt> {
        let short = program.rsplit(':').next().unwrap_or(program);
        let known = self.target.entry.logs.iter().filter(|l| l.directory.ends_with(&format!("/{short}")));
        let look = Script::new(NEWEST_LOG).arg(TAIL).arg(short).args(known.map(place));
        let output = timeout(ANSWER, self.run(&look)).await.ok()?.ok()?;
        let mut lines = output.text.lines().map(str::to_owned);
        let file = lines.next().filter(|f| f.starts_with('/'))?;
        Some(LogExcerpt { from: format!("pod {}, {file}", self.target.pod), lines: lines.collect() })
    }
}

fn judged(asks: &Asks, answer: &str) -> Result<(), String> {
    match judge(asks, answer) {
        Verdict::Good => Ok(()),
        Verdict::Bad(text) => Err(text),
    }
}

fn place(log: &LogFile) -> String {
    format!("{}/{}", log.directory, log.current.unwrap_or(log.pattern))
}

/// Whether nothing is wrong but that supervisord does not count a program as running before its first second is over.
fn good_but_starting(report: &Report) -> bool {
    report.problems.len() == report.troubles.len() && report.troubles.iter().any(Trouble::is_starting)
}

/// News from a prober.
#[derive(Debug)]
pub struct Look {
    /// The component.
    pub component: Component,
    /// What was seen.
    pub report: Report,
    /// Connections into the pod that were opened for it.
    pub connections: u32,
}

/// Asks a pod until nobody listens any more: its programs while it is not ready, everything from the moment it is, with
/// pauses of 100 ms doubling to 1 s until all is well, and now and then from then on.
pub async fn watch_pod(cluster: Cluster, target: Target, mut ready: watch::Receiver<bool>, out: mpsc::Sender<Look>) {
    let component = target.entry.component;
    let mut prober = Prober::new(&cluster, target);
    prober.patience = PATIENCE_FIRST;
    let mut pauses = doubling(PAUSES.0, PAUSES.1);
    let mut unready_for = UNREADY_FIRST;
    let mut told = 0;
    let mut opened = false;
    let mut was_ready = false;
    loop {
        let is_ready = *ready.borrow_and_update();
        if is_ready != was_ready {
            was_ready = is_ready;
            prober.names_from = is_ready.then(|| Instant::now() + NAMES_AFTER);
        }
        if !is_ready {
            let next = if opened { unready_for } else { OPEN_AFTER };
            tokio::select! {
                changed = ready.changed() => if changed.is_err() { return } else { continue },
                () = tokio::time::sleep(next) => {}
            }
            if !opened {
                opened = true;
                prober.open().await;
                continue;
            }
            unready_for = UNREADY_EVERY;
            pauses.reset();
        }
        let report = prober.look(if is_ready { Depth::Full } else { Depth::Programs }).await;
        let good = report.is_good();
        let starting = good_but_starting(&report);
        let look = Look { component, report, connections: prober.connections - told };
        told = prober.connections;
        if out.send(look).await.is_err() {
            return;
        }
        if !is_ready {
            continue;
        }
        prober.patience = (prober.patience + 1).min(PATIENCE_LONGEST);
        if good || starting {
            pauses.reset();
        }
        let wait = if good { STEADY_EVERY } else { pauses.next().unwrap_or(PAUSES.1) };
        tokio::select! {
            changed = ready.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::supervisor::State;

    fn bash(script: &Script) -> String {
        let line = script.line().unwrap();
        let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_newest_log_is_shown_whatever_other_files_are_called() {
        let folder = std::env::temp_dir().join(format!("clearwater-newest-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("homer_$(touch hurt).txt", "old\n");
        write("homer_a b.txt", "old\n");
        write("homer_\n-n.txt", "old\n");
        std::thread::sleep(Duration::from_millis(20));
        write("homer_1.txt", "first\nlast\n");
        std::thread::sleep(Duration::from_millis(20));
        write("homer_2.txt", "");
        let place = format!("{}/homer_*.txt", folder.display());
        let shown = bash(&Script::new(NEWEST_LOG).arg(1).arg("no*ne").arg(place));
        assert_eq!(shown, format!("{}/homer_1.txt\nlast\n", folder.display()));
        std::thread::sleep(Duration::from_millis(20));
        write("homer_\n-n.txt", "it speaks\n");
        let shown = bash(&Script::new(NEWEST_LOG).arg(1).arg("none").arg(format!("{}/homer_*", folder.display())));
        assert_eq!(shown, format!("{}/homer_?-n.txt\nit speaks\n", folder.display()));
        let joined = |file: &str| bash(&Script::new(JOINED).arg(folder.join(file).display()).arg(folder.display()));
        assert_eq!((joined("homer_1.txt").as_str(), joined("none").as_str()), ("joined\n", "data\n"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    fn report(first: bool, well: u32) -> Report {
        let trouble = Trouble {
            program: "clearwater-group:sprout".to_owned(),
            state: Some(State::Starting),
            text: "program clearwater-group:sprout is STARTING".to_owned(),
            stopped_at: None,
            is_first_start: first,
        };
        let mut report = Report {
            full: true,
            problems: vec![Problem::new(Part::Program(trouble.program.clone()), trouble.text.clone())],
            troubles: vec![trouble],
            answers: Tally { well, put: 2 },
            ..Report::default()
        };
        report.answers_while_starting();
        report
    }

    #[test]
    fn a_program_that_answers_in_its_first_second_serves() {
        assert!(report(true, 2).is_good());
        assert!(!report(true, 1).is_good(), "a question was not answered");
        assert!(!report(false, 2).is_good(), "it has ended before");
    }
}
