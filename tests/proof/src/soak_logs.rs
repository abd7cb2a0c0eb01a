//! Numbered lines followed by `logs` and by stern while everything between is disturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clearwater_e2e::cluster;
use clearwater_testbed::sip::TOOLS_IMAGE;
use clearwater_testbed::{Attempt, Fault, Kubectl, Local, NODES, Part, Rule, wait_for};
use jiff::Timestamp;
use serde_json::Value;

use crate::common::shipped;
use crate::{go, measured};
use xtask::steps::say;

const PODS: u32 = 20;
const RATE: u32 = 200;
const CUT: Duration = Duration::from_secs(2);

/// The pods that write numbered lines into a file as well.
const WITH_FILES: u32 = 2;

/// A pod that prints `RATE` numbered lines a second; some also write them to a file that rolls every ten seconds, as a
/// component's files do every hour.
fn pod(name: &str, lines: u32, files: bool) -> String {
    let file = "/var/log/sprout/sprout_20261123T$((10 + (i - 10) / 2000))0000Z.txt";
    let to_file = if files {
        format!(
            "now=$EPOCHREALTIME; printf \"%(%d-%m-%Y %H:%M:%S)T.%s UTC Status main.cpp:1: file $n\\n\" ${{now%.*}} ${{now:11:3}} \
             >> {file}; "
        )
    } else {
        String::new()
    };
    // Lines are written ten at a time, and a shell that fell behind catches up.
    let script = format!(
        "exec {{z}}<> <(:); mkdir -p /var/log/sprout; pad=$(printf 'x%.0s' {{1..100}}); t0=${{EPOCHREALTIME/./}}; \
         for ((i = 10; i <= {lines}; i += 10)); do for ((n = i - 9; n <= i; n++)); do echo \"out $n $pad\"; {to_file}done; \
         wait=$((t0 + i * 1000000 / {RATE} - ${{EPOCHREALTIME/./}})); \
         ((wait > 1000)) && {{ printf -v wait '%d.%06d' $((wait / 1000000)) $((wait % 1000000)); read -t $wait -u $z; }}; \
         done; exec sleep infinity"
    );
    let labels = if files {
        serde_json::json!({"soak": "logs", "service": "sprout"})
    } else {
        serde_json::json!({"soak": "logs"})
    };
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
            "name": "sprout", "image": TOOLS_IMAGE, "imagePullPolicy": "Never", "command": ["bash", "-c", script],
        }]},
    })
    .to_string()
}

/// No greater part of the lines may come with a late mark.
const LATE: f64 = 0.005;

/// The first number in each file that a container's log has had, by pod: read from the nodes' disks while it runs.
#[derive(Default)]
struct Rolls {
    firsts: BTreeMap<String, BTreeSet<u32>>,
}

impl Rolls {
    fn look(&mut self, local: &Local, namespace: &str) {
        for node in NODES {
            let Ok(pods) = fs::read_dir(local.pod_logs(node)) else { continue };
            for pod in pods.flatten() {
                let name = pod.file_name().to_string_lossy().into_owned();
                let Some(name) = name.strip_prefix(&format!("{namespace}_")).and_then(|n| n.split('_').next()) else {
                    continue;
                };
                let path = pod.path().join("sprout/0.log");
                let is_empty = fs::metadata(&path).is_ok_and(|m| m.len() == 0);
                // What rolled when nothing more came begins with no number.
                if let Some(first) = first_number(&path).or(is_empty.then_some(u32::MAX)) {
                    self.firsts.entry(name.to_owned()).or_default().insert(first);
                }
            }
        }
    }
}

fn first_number(path: &Path) -> Option<u32> {
    let line = BufReader::new(File::open(path).ok()?).lines().next()?.ok()?;
    // The time, `stdout`, and whether the line is whole stand before the line.
    number(line.splitn(4, ' ').nth(3)?, "out ")
}

fn number(message: &str, word: &str) -> Option<u32> {
    message.split_once(word)?.1.split(' ').next()?.parse().ok()
}

/// What one stream of one pod gave.
#[derive(Default)]
struct Stream {
    /// Every number with its time, as they came.
    got: Vec<(u32, Timestamp)>,
    gaps: Vec<(Timestamp, Option<Timestamp>)>,
}

/// What a tool gave in all.
#[derive(Default)]
struct Tally {
    lines: u64,
    missing: u64,
    doubled: u64,
    /// Missing numbers that no mark explains.
    unexplained: u64,
    /// Marks with no rotation between their ends.
    idle_marks: u64,
    marks: u64,
}

impl Stream {
    fn tally(&self, last: Option<u32>, firsts: Option<&BTreeSet<u32>>, all: &mut Tally) {
        let mut times: BTreeMap<u32, Timestamp> = BTreeMap::new();
        for (n, time) in &self.got {
            all.lines += 1;
            if times.insert(*n, *time).is_some() {
                all.doubled += 1;
            }
        }
        let at = |n: Option<u32>| n.and_then(|n| times.get(&n)).copied();
        let marked = |before: Option<Timestamp>, after: Option<Timestamp>| {
            self.gaps
                .iter()
                .any(|(a, b)| before.is_none_or(|t| *a >= t) && (after.is_none() || b.is_none() || *b <= after))
        };
        let mut previous = None;
        for n in times.keys().copied().chain(last.map(|l| l + 1)) {
            let absent = u64::from(n - previous.unwrap_or(0) - 1);
            all.missing += absent;
            if absent > 0 && !marked(at(previous), at(Some(n))) {
                all.unexplained += absent;
            }
            previous = Some(n);
        }
        for (after, before) in &self.gaps {
            all.marks += 1;
            let Some(before) = before else { continue };
            let from = times.iter().find(|(_, t)| *t == after).map(|(n, _)| *n);
            // A mark up to the moment of the look, made for who fell silent, ends before the next line, if one came.
            let to = times.iter().find(|(_, t)| *t >= before).map_or(u32::MAX, |(n, _)| *n);
            let Some(from) = from.filter(|from| *from < to && times.range(from + 1..to).next().is_none()) else {
                all.idle_marks += 1;
                continue;
            };
            let rolled = firsts.is_some_and(|f| f.range(from + 1..=to).next().is_some());
            all.idle_marks += u64::from(!rolled);
        }
    }
}

/// By pod, and by the word before its numbers.
type Streams = BTreeMap<(String, &'static str), Stream>;

/// Reads what `logs -o typed` wrote: the streams, how many lines were late, and whether the rest was in order.
fn ours(path: &Path) -> Result<(Streams, u64, bool)> {
    let mut streams = Streams::new();
    let (mut late, mut ordered, mut last) = (0, true, Timestamp::MIN);
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        let value: Value = serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
        let text = |key: &str| value[key].as_str().unwrap_or_default();
        let word = if text("source") == "stdout" { "out " } else { "file " };
        let stream = streams.entry((text("pod").to_owned(), word)).or_default();
        if value["kind"] == "gap" {
            stream.gaps.push((text("after").parse()?, text("before").parse().ok()));
            continue;
        }
        let time: Timestamp = text("time").parse()?;
        if value["late"] == true {
            late += 1;
        } else {
            ordered &= last <= time;
            last = time;
        }
        if let Some(n) = number(text("message"), word) {
            stream.got.push((n, time));
        }
    }
    Ok((streams, late, ordered))
}

fn stern(path: &Path) -> Result<BTreeMap<String, Stream>> {
    let mut streams: BTreeMap<String, Stream> = BTreeMap::new();
    for line in BufReader::new(File::open(path)?).lines() {
        let Ok(value) = serde_json::from_str::<Value>(&line?) else { continue };
        let Some(n) = value["message"].as_str().and_then(|m| number(m, "out ")) else { continue };
        let pod = value["podName"].as_str().unwrap_or_default().to_owned();
        streams.entry(pod).or_default().got.push((n, Timestamp::UNIX_EPOCH));
    }
    Ok(streams)
}

/// Followers of ours that run inside containers of this cluster.
fn followers(local: &Local) -> usize {
    let group = format!("clearwater-{}", local.layout().name());
    let read = |path: PathBuf| fs::read(path).unwrap_or_default();
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    processes
        .flatten()
        .filter(|p| {
            let line = read(p.path().join("cmdline"));
            line.split(|b| *b == 0).any(|word| word == b"follow-logs")
                && String::from_utf8_lossy(&read(p.path().join("cgroup"))).contains(&group)
        })
        .count()
}

fn interrupt(child: &Child) -> Result<()> {
    ensure!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success(), "cannot interrupt it");
    Ok(())
}

/// The name of a pod that counts.
fn name(n: u32) -> String {
    format!("count-{n:02}")
}

/// One soak: who prints, and where what was seen is kept.
struct Soak<'a> {
    local: &'a Local,
    kubectl: &'a Kubectl,
    namespace: &'a str,
    /// How long the pods print.
    seconds: u32,
    /// The lines of each pod.
    lines: u32,
    work: PathBuf,
    began: Instant,
}

/// What happened while both tools followed.
struct Course {
    /// How long after the beginning stern ended by itself.
    stern_ended: Option<Duration>,
    /// The last number that was seen of the pod that was replaced.
    replaced_last: u32,
    rolls: Rolls,
}

/// What was counted of both tools.
struct Counted {
    output: Tally,
    files: Tally,
    theirs: Tally,
    late: u64,
    ordered: bool,
}

impl Counted {
    fn late_share(&self) -> f64 {
        let lines = u32::try_from(self.output.lines + self.files.lines).unwrap_or(u32::MAX);
        f64::from(u32::try_from(self.late).unwrap_or(u32::MAX)) / f64::from(lines.max(1))
    }

    fn held(&self) -> bool {
        let (output, files) = (&self.output, &self.files);
        output.unexplained + output.doubled + output.idle_marks + files.missing + files.doubled + files.marks == 0
            && self.ordered
            && self.late_share() < LATE
    }
}

impl Soak<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// Starts a tool that follows every pod, with its output in a file of its name.
    fn follow(&self, tool: &str, program: &Path, arguments: &[&str], kubeconfig: &Path) -> Result<Child> {
        Ok(Command::new(program)
            .args(arguments)
            .args(["-n", self.namespace])
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(File::create(self.file(tool))?)
            .stderr(File::create(self.file(&format!("{tool}.err")))?)
            .spawn()?)
    }

    /// Disturbs what is between the pods and both tools, until the last lines have come or should have.
    fn course(&self, stern: &mut Child) -> Result<Course> {
        let rolls = Mutex::new(Rolls::default());
        let over = AtomicBool::new(false);
        let (mut stern_ended, mut replaced_last) = (None, 0);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    rolls.lock().unwrap_or_else(PoisonError::into_inner).look(self.local, self.namespace);
                    thread::sleep(Duration::from_millis(500));
                }
            });
            let mut look = || -> Result<()> {
                if stern_ended.is_none() && stern.try_wait()?.is_some() {
                    stern_ended = Some(self.began.elapsed());
                }
                Ok(())
            };
            let done = self.disturb(&mut look, &mut replaced_last).and_then(|()| self.last_lines(&mut look));
            over.store(true, Ordering::Relaxed);
            done
        })?;
        Ok(Course { stern_ended, replaced_last, rolls: rolls.into_inner().unwrap_or_else(PoisonError::into_inner) })
    }

    fn disturb(&self, look: &mut dyn FnMut() -> Result<()>, replaced_last: &mut u32) -> Result<()> {
        let moment = |part: u32| Duration::from_secs(u64::from(self.seconds * part / 8));
        for (at, what) in [(2, "restart"), (4, "replace"), (6, "restart")] {
            while self.began.elapsed() < moment(at) {
                thread::sleep(Duration::from_millis(100));
                look()?;
            }
            if what == "restart" {
                say("==> the API server is restarted");
                self.local.restart(Part::ApiServer)?;
            } else {
                say("==> a pod is replaced");
                let last = self.kubectl.run(["logs", "--tail=1", &name(PODS - 1)])?;
                *replaced_last = number(&last, "out ").unwrap_or_default();
                self.kubectl.run(["delete", "pod", &name(PODS - 1), "--force", "--grace-period=0"])?;
                self.kubectl.apply(&pod(&name(PODS), self.lines / 4, false))?;
            }
        }
        Ok(())
    }

    /// Waits until the last line of all has come, or should have.
    fn last_lines(&self, look: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let patience = Duration::from_secs(u64::from(self.seconds) * 2 + 60);
        let last = format!("out {} ", self.lines);
        let finished = |text: &str| text.lines().filter(|l| l.contains(&last)).count();
        loop {
            thread::sleep(Duration::from_secs(2));
            look()?;
            if self.began.elapsed().as_secs() >= u64::from(self.seconds)
                && finished(&fs::read_to_string(self.file("logs"))?) >= PODS as usize - 1
            {
                // What comes after a cut may come a little later.
                thread::sleep(Duration::from_secs(8));
                return Ok(());
            }
            if self.began.elapsed() > patience {
                bail!("the last lines had not come after {patience:?}; see {}", self.work.display());
            }
        }
    }

    fn count(&self, course: &Course) -> Result<Counted> {
        let (streams, late, ordered) = ours(&self.file("logs"))?;
        let stern_streams = stern(&self.file("stern"))?;
        let (mut output, mut files, mut theirs) = (Tally::default(), Tally::default(), Tally::default());
        for n in 0..=PODS {
            let wanted = match n {
                n if n == PODS - 1 => course.replaced_last,
                n if n == PODS => self.lines / 4,
                _ => self.lines,
            };
            stern_streams.get(&name(n)).unwrap_or(&Stream::default()).tally(Some(wanted), None, &mut theirs);
            let stream = streams.get(&(name(n), "out ")).context("a pod of which nothing came")?;
            // The replaced pod printed on for a moment after it was looked at.
            let wanted =
                if n == PODS - 1 { stream.got.iter().map(|g| g.0).max().max(Some(wanted)) } else { Some(wanted) };
            stream.tally(wanted, course.rolls.firsts.get(&name(n)), &mut output);
            if n < WITH_FILES {
                let stream = streams.get(&(name(n), "file ")).context("a pod of whose files nothing came")?;
                stream.tally(Some(self.lines), None, &mut files);
            }
        }
        Ok(Counted { output, files, theirs, late, ordered })
    }

    fn page(&self, course: &Course, counted: &Counted, cuts: usize) -> Result<String> {
        let roll_count: usize = course.rolls.firsts.values().map(|f| f.len() - 1).sum();
        let mut page = format!(
            "{PODS} containers print {RATE} numbered lines a second each for {} min ({} lines with the replaced pod's); \
             {WITH_FILES} of them write the same numbers into files that roll every ten seconds. A proxy before the API server \
             closes every log stream and every exec stream {} s after it was opened ({cuts} were cut), the API server is \
             restarted twice, one pod is replaced, and container logs roll at 1 MiB ({roll_count} rolls). `logs --source all` \
             and stern v1.34.0 run side by side through the same proxy. What rolled away while a stream was cut is no longer \
             served by the API: a number that is missing for this reason has to lie inside a mark, and every mark has to hold \
             a roll (the files on the nodes' disks say which numbers they begin with).\n\n\
             | | logs, output | logs, files | stern, output |\n|---|---|---|---|\n",
            self.seconds / 60,
            (PODS - 1) * self.lines + course.replaced_last + self.lines / 4,
            CUT.as_secs(),
        );
        let Counted { output, files, theirs, late, ordered } = counted;
        let mut row = |what: &str, of: &dyn Fn(&Tally) -> String, stern_has: bool| {
            let theirs = if stern_has { of(theirs) } else { "has none".to_owned() };
            writeln!(page, "| {what} | {} | {} | {theirs} |", of(output), of(files))
        };
        row("lines printed", &|t| t.lines.to_string(), true)?;
        row("numbers missing", &|t| t.missing.to_string(), true)?;
        row("of these outside of any mark", &|t| t.unexplained.to_string(), true)?;
        row("lines printed twice", &|t| t.doubled.to_string(), true)?;
        row("marks", &|t| t.marks.to_string(), false)?;
        row("marks without a roll between their ends", &|t| t.idle_marks.to_string(), false)?;
        let order = if *ordered { "in order" } else { "**not in order**" };
        let share = counted.late_share() * 100.0;
        writeln!(
            page,
            "\n- lines with a late mark: {late} ({share:.2} %; wanted: below {:.1} %); the others are {order}",
            LATE * 100.0
        )?;
        match course.stern_ended {
            Some(at) => {
                let why = fs::read_to_string(self.file("stern.err"))?;
                let why = why.lines().rfind(|l| !l.starts_with(['+', '-'])).unwrap_or("nothing").to_owned();
                writeln!(page, "- stern ended by itself after {:.0} s, saying: {why}", at.as_secs_f64())?;
            }
            None => writeln!(page, "- stern ran to the end")?,
        }
        Ok(page)
    }
}

/// Runs it.
pub(crate) fn run(minutes: u64) -> Result<String> {
    let program = shipped()?;
    let stern_program = go::program(go::STERN)?;
    let cluster = cluster();
    let local = cluster.local()?;
    let namespace = cluster.namespace("e2e-soak-logs")?;
    let kubectl = namespace.kubectl();
    let seconds = u32::try_from(minutes * 60)?;
    let lines = seconds * RATE;
    let mut proxy = local.api_proxy()?;
    let kubeconfig = proxy.kubeconfig()?;
    let work = std::env::temp_dir().join(format!("clearwater-soak-{}", std::process::id()));
    fs::create_dir_all(&work)?;

    say(&format!("==> {PODS} pods, {RATE} lines a second each, {minutes} min"));
    for n in 0..PODS {
        kubectl.apply(&pod(&name(n), lines, n < WITH_FILES))?;
    }
    kubectl.run(["wait", "--for=condition=Ready", "pods", "--all", "--timeout=120s"])?;
    let soak = Soak { local, kubectl, namespace: namespace.name(), seconds, lines, work, began: Instant::now() };
    proxy.set(&[Rule::new(Fault::Cut(CUT)).path("/log\\?"), Rule::new(Fault::Cut(CUT)).path("/exec\\?")])?;
    let arguments = ["logs", "--source", "all", "--pod", "^count-", "-o", "typed"];
    let mut logs = soak.follow("logs", &program, &arguments, &kubeconfig)?;
    let arguments = ["^count-", "-o", "json", "--max-log-requests", "500", "--qps", "-1"];
    let mut other = soak.follow("stern", &stern_program, &arguments, &kubeconfig)?;

    let course = soak.course(&mut other);
    let memory = measured::peak(&logs);
    let cpu = measured::cpu(&logs);
    interrupt(&logs)?;
    let code = logs.wait()?.code();
    let _ = other.kill();
    let _ = other.wait();
    let course = course?;
    let interrupted = Instant::now();
    wait_for("the followers inside the containers to end", Duration::from_secs(20), || {
        let left = followers(local);
        Ok(if left == 0 { Attempt::Done(()) } else { Attempt::not_yet(format!("{left} run")) })
    })?;
    let followers_gone = interrupted.elapsed();

    let cuts = proxy.requests().iter().filter(|r| r.action == "cut").count();
    let err = fs::read_to_string(soak.file("logs.err"))?;
    let summary = err.lines().last().unwrap_or_default().to_owned();
    let counted = soak.count(&course)?;
    let mut page = soak.page(&course, &counted, cuts)?;
    writeln!(page, "- Ctrl-C: exit code {}, {summary:?}", code.unwrap_or(-1))?;
    writeln!(page, "- no process of ours was left in any container {:.1} s after it", followers_gone.as_secs_f64())?;
    writeln!(page, "- `logs` took {:.0} s of processor time and {} MiB at most", cpu?, memory / 1024)?;
    let held = counted.held();
    writeln!(page, "\nWhat was promised held: {}.", if held { "yes" } else { "**no**" })?;
    if held {
        fs::remove_dir_all(&soak.work)?;
    } else {
        say(&format!("what was seen is in {}", soak.work.display()));
    }
    Ok(page)
}
