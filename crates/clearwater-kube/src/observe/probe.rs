//! One pod asked how it is: its programs, its own answers and the names by which others know it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use clearwater::component::{Asks, Entry, LogFile, SUPERVISOR_LOGS, SUPERVISOR_SOCKET};
use clearwater::event::LogExcerpt;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::finding::{Finding, Part};
use super::given::{GivenVariable, RunsWith, compare, variables};
use super::report::{NotJoined, Report};
use super::subject::Subject;
use crate::cluster::Cluster;
use crate::pod::object::own_container;
use crate::pod::supervisor;
use crate::pod::{
    AskError, EXEC, Forward, HANGS, OPEN, Output, Room, Script, Shell, Verdict, ask_room, judge, read_room, script,
};

/// The longest that one question may take. The questions in the pod give up after three seconds by themselves.
const ANSWER: Duration = Duration::from_secs(8);
/// Some services hang on a question that they cannot answer yet. The first question is given up after a second, later
/// ones are given more, so that a slow machine is not taken for a broken service.
pub(super) const PATIENCE_FIRST: u32 = 1;
/// The most that a question is given, in seconds.
pub(super) const PATIENCE_LONGEST: u32 = 4;
/// How long supervisorctl is waited for, in seconds: where nobody answered at the socket, and where that was not asked.
const CTL_AFTER_SILENCE: u32 = 2;
const CTL: u32 = 5;
/// How many last lines of a log are shown.
const TAIL: usize = 12;
/// Whether a member has what it got when it joined, and else whether there is data: the file, the directory of the data.
const JOINED: &str = r#"if [ -e "$1" ]; then echo joined
elif find "$2" -type f 2>/dev/null | head -n 1 | grep -q .; then echo data
else echo bare; fi"#;
/// Names the newest log of a program that holds something, and prints its last lines: how many, where supervisord keeps
/// what programs print, the program, and patterns of its other files. With an empty IFS a pattern is expanded and not split.
const NEWEST_LOG: &str = r#"(
  IFS= files=() newest=
  for place in "${@:4}"; do files+=($place); done
  files+=("$2"/"$3"-std*---supervisor-*.log)
  for f in "${files[@]}"; do
    if [ -f "$f" ] && [ -s "$f" ] && { [ -z "$newest" ] || [ "$f" -nt "$newest" ]; }; then newest=$f; fi
  done
  [ -n "$newest" ] && printf '%s\n' "${newest//[[:cntrl:]]/?}" && tail -n "$1" "$newest"
)"#;

/// A pod that is asked.
#[derive(Clone, Debug)]
pub struct ProbeTarget {
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
    /// The variables that its container takes from the deployment's ConfigMap and from Secrets, with what stands there.
    pub settings: BTreeMap<String, GivenVariable>,
}

impl ProbeTarget {
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
            settings: variables(own, &subject.settings, &subject.secrets),
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

/// Connections into one pod, opened when they are needed.
pub struct Prober {
    pods: Api<Pod>,
    target: ProbeTarget,
    shell: Option<Shell>,
    forward: Option<Forward>,
    asked: u64,
    /// Whether anything in the pod ever answered.
    heard: bool,
    /// Connections opened so far.
    pub connections: u32,
    /// Seconds that a question in the pod waits for the next line of its answer.
    pub patience: u32,
    /// Before this moment no name is asked for.
    pub(super) names_from: Option<Instant>,
    /// Why no shell can be had, once that is known.
    no_shell: Option<String>,
    no_forward: Option<String>,
    /// The directory whose room is asked for.
    data: Option<&'static str>,
}

impl Prober {
    /// A prober of a pod. Nothing is opened yet.
    pub fn new(cluster: &Cluster, target: ProbeTarget) -> Self {
        Self {
            pods: cluster.api(),
            target,
            shell: None,
            forward: None,
            asked: 0,
            heard: false,
            connections: 0,
            patience: PATIENCE_LONGEST,
            names_from: None,
            no_shell: None,
            no_forward: None,
            data: None,
        }
    }

    /// The same with another patience, in seconds, as far as that is sensible.
    #[must_use]
    pub(crate) fn patient(mut self, patience: u32) -> Self {
        self.patience = patience.clamp(PATIENCE_FIRST, PATIENCE_LONGEST);
        self
    }

    /// The same, which also asks for the room where the pod keeps its data.
    #[must_use]
    pub(crate) fn with_room_of(mut self, data: Option<&'static str>) -> Self {
        self.data = data;
        self
    }

    /// Opens what questions will need. What does not open now is opened, and judged, with the first question.
    pub(super) async fn open(&mut self) {
        let wants_shell = !self.target.entry.programs.is_empty();
        if wants_shell && self.shell.is_none() {
            self.connections += 1;
            self.shell = Shell::open(&self.pods, &self.target.pod, &self.target.container, OPEN).await.ok();
        }
    }

    /// Runs a script in the pod's shell, which is opened where it is not.
    ///
    /// # Errors
    /// Why the pod could not be asked.
    pub async fn run(&mut self, script: &Script) -> Result<Output, AskError> {
        self.run_for(script, ANSWER).await
    }

    /// The same, for a script that may take longer.
    pub(crate) async fn run_for(&mut self, script: &Script, within: Duration) -> Result<Output, AskError> {
        let mut shell = if let Some(shell) = self.shell.take() {
            shell
        } else {
            self.connections += 1;
            Shell::open(&self.pods, &self.target.pod, &self.target.container, OPEN).await?
        };
        self.heard = true;
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
        self.heard = true;
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
    pub(crate) async fn look_until(&mut self, depth: Depth, until: Instant) -> (Report, bool) {
        let mut report = self.report(depth);
        let whole = timeout_at(until, self.look_into(depth, &mut report)).await.is_ok();
        if !whole {
            // A word that did not come says no more of the pod than a connection that was not opened.
            report.unreached |= !self.heard;
            report.wrong(Part::Reach, "the pod did not answer in time");
        }
        (report, whole)
    }

    fn report(&self, depth: Depth) -> Report {
        Report { uid: self.target.uid.clone(), full: depth == Depth::Full, ..Report::default() }
    }

    async fn look_into(&mut self, depth: Depth, report: &mut Report) {
        self.programs(report).await;
        if report.unreached {
            return;
        }
        if depth == Depth::Programs {
            report.not_joined = self.not_joined().await;
            report.runs_with = self.runs_with().await;
        }
        if depth == Depth::Full {
            for (number, question) in self.target.entry.health.iter().enumerate() {
                let before = (report.problems.len(), report.unchecked.len());
                let answered = self.question(&question.asks, report).await;
                report.take(Part::Question(number), answered);
                if report.unreached {
                    return;
                }
                report.answers.count(before, (report.problems.len(), report.unchecked.len()));
            }
            report.answers_while_starting();
            if let Some(at) = self.names_from {
                sleep_until(at).await;
            }
            for name in self.target.names.clone() {
                let before = (report.problems.len(), report.unchecked.len());
                let answered = self.name(&name, report).await;
                report.take(Part::Name(name), answered);
                if report.unreached {
                    return;
                }
                report.names.count(before, (report.problems.len(), report.unchecked.len()));
            }
            report.runs_with = self.runs_with().await;
        }
        report.room = self.room().await;
        if let Some(first) = report.troubles.first().filter(|t| !t.is_starting()) {
            let program = first.program.clone();
            report.log = self.log_of(&program).await;
            report.tell_kept_port();
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
                report.failed(Part::Programs, &error);
                return;
            }
        };
        report.troubles = supervisor::judge(expected, &seen);
        report.programs = supervisor::count(expected, &seen);
        report.programs_well = report.programs.saturating_sub(report.troubles.len());
        // What will not recover by itself first: it is the cause of the rest.
        report.troubles.sort_by_key(|t| (!t.is_fatal(), t.state != Some(supervisor::State::Backoff)));
        let of = |t: &supervisor::Trouble| Finding {
            is_stopped: t.is_stopped,
            ..Finding::new(Part::Program(t.program.clone()), t.text.clone())
        };
        report.problems.extend(report.troubles.iter().map(of));
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

    /// With what of its settings the container runs. `None` also where nobody may look: its programs are not known then, either.
    async fn runs_with(&mut self) -> Option<RunsWith> {
        if self.target.settings.is_empty() || self.target.entry.programs.is_empty() || self.no_shell.is_some() {
            return None;
        }
        let asked = compare(&self.target.settings);
        RunsWith::read(&self.run(&asked).await.ok()?.text, &self.target.settings)
    }

    /// The room where its data is. `None` also where nobody may look.
    async fn room(&mut self) -> Option<Room> {
        let data = self.data.filter(|_| self.no_shell.is_none())?;
        let output = self.run(&ask_room([data])).await.ok()?;
        read_room(&output.text)?.into_iter().next().map(|(_, room)| room)
    }

    async fn ask_supervisord(&mut self) -> Result<Result<Vec<supervisor::ProgramState>, String>, AskError> {
        let request =
            Script::new("printf %s \"$1\" | nc -w 5 -U \"$2\"").arg(supervisor::request()).arg(SUPERVISOR_SOCKET);
        let over_socket = self.run(&request).await?;
        let unreadable = match supervisor::parse_answer(&over_socket.text) {
            Ok(seen) => return Ok(Ok(seen)),
            Err(error) => error,
        };
        let is_silent = over_socket.text.trim().is_empty();
        let patience = if is_silent { CTL_AFTER_SILENCE } else { CTL };
        let by_ctl = self.run(&Script::new("timeout \"$1\" supervisorctl status").arg(patience)).await?;
        Ok(supervisor::said_by_ctl(&by_ctl, is_silent).map_err(|said| {
            let why =
                said.map_or_else(|| HANGS.to_owned(), |said| format!("{unreadable}; supervisorctl says {said:?}"));
            format!("supervisord does not answer: {why}")
        }))
    }

    /// Puts one of the health questions; an error inside is what is wrong.
    async fn question(&mut self, asks: &Asks, report: &mut Report) -> Result<Result<(), String>, AskError> {
        self.asked += 1;
        let nonce = u64::from(std::process::id()) * 100_000 + self.asked;
        let has_bash = !self.target.entry.programs.is_empty();
        let script = script(asks, self.target.address, nonce, self.patience).filter(|_| has_bash);
        let Some(script) = script else {
            return self.forwarded_question(asks, report).await;
        };
        if let Some(why) = &self.no_shell {
            report.unchecked.push(format!("health: {why}"));
            return Ok(Ok(()));
        }
        match self.run(&script).await {
            Ok(output) => Ok(judged(asks, &output.text)),
            Err(error) if error.is_lasting() => {
                self.no_shell = Some(error.to_string());
                report.unchecked.push(format!("health: {error}"));
                Ok(Ok(()))
            }
            Err(error) => Err(error),
        }
    }

    async fn forwarded_question(&mut self, asks: &Asks, report: &mut Report) -> Result<Result<(), String>, AskError> {
        let Asks::EtcdHealth(port) = asks else {
            // Its readiness probe asks the same of the same ports.
            return Ok(Ok(()));
        };
        if let Some(why) = &self.no_forward {
            report.unchecked.push(format!("health: {why}"));
            return Ok(Ok(()));
        }
        let is_new = self.forward.is_none();
        match self.get(*port, "/health").await {
            Err(error) if is_silent(&error, is_new) => Ok(Err(format!("GET /health on port {port}: {HANGS}"))),
            Ok((_, body)) => Ok(judged(asks, &body)),
            Err(error) if error.is_lasting() => {
                self.no_forward = Some(error.to_string());
                report.unchecked.push(format!("health: {error}"));
                Ok(Ok(()))
            }
            Err(error) => Err(error),
        }
    }

    /// Asks for a name; an error is what is wrong.
    async fn name(&mut self, name: &str, report: &mut Report) -> Result<Result<(), String>, AskError> {
        if self.no_shell.is_some() {
            report.unchecked.push(format!("name {name}: needs {EXEC}"));
            return Ok(Ok(()));
        }
        match self.run(&Script::new("getent ahosts \"$1.\"").arg(name)).await {
            Ok(output) if output.status == 0 && !output.text.trim().is_empty() => Ok(Ok(())),
            Ok(_) => Ok(Err(format!("name {name} is not found from inside pod {}", self.target.pod))),
            Err(error) if error.is_lasting() => {
                self.no_shell = Some(error.to_string());
                Ok(Ok(()))
            }
            Err(error) => Err(error),
        }
    }

    /// The last lines of the log of a program: its own log file where the catalogue knows one, else what supervisord
    /// kept of its output.
    pub(crate) async fn log_of(&mut self, program: &str) -> Option<LogExcerpt> {
        let short = program.rsplit(':').next().unwrap_or(program);
        let known = self.target.entry.logs.iter().filter(|l| l.directory.ends_with(&format!("/{short}")));
        let look = Script::new(NEWEST_LOG).arg(TAIL).arg(SUPERVISOR_LOGS).arg(short).args(known.map(place));
        let output = timeout(ANSWER, self.run(&look)).await.ok()?.ok()?;
        let mut lines = output.text.lines().map(str::to_owned);
        let file = lines.next().filter(|f| f.starts_with('/'))?;
        Some(LogExcerpt { from: format!("pod {}, {file}", self.target.pod), lines: lines.collect() })
    }
}

/// Whether nothing came from whom a connection was just made to: one that was made before may have broken on its way.
const fn is_silent(error: &AskError, is_new: bool) -> bool {
    is_new && matches!(error, AskError::Deadline { .. })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bash(script: &Script) -> String {
        let line = script.line().unwrap();
        let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// One that hangs is told from one on whose way something broke.
    #[test]
    fn who_takes_connections_and_answers_nothing_hangs() {
        let late = AskError::Deadline { pod: "etcd-0".to_owned(), within: ANSWER };
        let broken = AskError::NotOpened { pod: "etcd-0".to_owned(), within: ANSWER };
        assert!(is_silent(&late, true) && !is_silent(&late, false) && !is_silent(&broken, true));
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
        let shown = bash(&Script::new(NEWEST_LOG).arg(1).arg(SUPERVISOR_LOGS).arg("no*ne").arg(place));
        assert_eq!(shown, format!("{}/homer_1.txt\nlast\n", folder.display()));
        std::thread::sleep(Duration::from_millis(20));
        write("homer_\n-n.txt", "it speaks\n");
        let place = format!("{}/homer_*", folder.display());
        let shown = bash(&Script::new(NEWEST_LOG).arg(1).arg(SUPERVISOR_LOGS).arg("none").arg(place));
        assert_eq!(shown, format!("{}/homer_?-n.txt\nit speaks\n", folder.display()));
        let joined = |file: &str| bash(&Script::new(JOINED).arg(folder.join(file).display()).arg(folder.display()));
        assert_eq!((joined("homer_1.txt").as_str(), joined("none").as_str()), ("joined\n", "data\n"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
