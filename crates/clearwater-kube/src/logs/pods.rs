use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clearwater::component::{Component, LogFile, LogGrammar, PROGRAM_LOGS, Release, entry};
use clearwater::manifest::SERVICE_LABEL;
use futures::StreamExt;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::container::{Output, run_of, statuses};
use super::feed::{Feed, ReceiverClosed, SPARE};
use super::files::{Files, Follower};
use super::hub::{Key, Update};
use super::patience::Reminder;
use super::{Candidate, Choice, LogOrigin, LogSource, Options};
use crate::Cluster;
use crate::cluster::{is_forbidden, is_unauthorized, list_all, say};

/// How many streams are opened at once: enough to hide the way to the API server, few enough not to bury it.
const OPENING: usize = 64;

/// How long the API server is asked to let one watch last, in seconds: one that hangs is noticed a little later.
const WATCH: u32 = 60;

/// The pauses between words about pods that cannot be watched.
const REMINDER: Duration = Duration::from_secs(30);

/// Watches the pods and reads what is chosen of them.
pub(super) async fn run(cluster: Cluster, options: Options, updates: mpsc::Sender<Update>) {
    let skew = cluster.clock_skew().await;
    let mut reader = PodsReader {
        cluster,
        options,
        updates,
        skew,
        seen: HashSet::new(),
        keys: Arc::new(AtomicU64::new(0)),
        opening: Arc::new(Semaphore::new(OPENING)),
        spare: Arc::new(Semaphore::new(SPARE)),
        tasks: JoinSet::new(),
    };
    // The only error is that nobody listens any more.
    let _ = if reader.options.follow { reader.watch().await } else { reader.list().await };
}

struct PodsReader {
    cluster: Cluster,
    options: Options,
    updates: mpsc::Sender<Update>,
    skew: SignedDuration,
    /// The runs of containers that are read, or were.
    seen: HashSet<(String, String, String)>,
    keys: Arc<AtomicU64>,
    opening: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

/// A source that is about to be read.
enum Job {
    Output(Output, Key, LogGrammar),
    Files(Follower),
}

impl PodsReader {
    fn pods(&self) -> Api<Pod> {
        if self.options.all_namespaces { Api::all(self.cluster.client.clone()) } else { self.cluster.api() }
    }

    fn place(&self) -> String {
        if self.options.all_namespaces { "all namespaces".to_owned() } else { self.cluster.namespace.clone() }
    }

    async fn list(&mut self) -> Result<(), ReceiverClosed> {
        let params = kube::api::ListParams::default().labels(&self.options.labels).fields(&self.options.fields);
        match list_all(&self.pods(), &params).await {
            Ok(pods) => {
                self.take(&pods).await?;
                self.listed().await?;
            }
            Err(error) => {
                return self.end(format!("the pods of {} cannot be listed: {}", self.place(), say(&error))).await;
            }
        }
        while self.tasks.join_next().await.is_some() {}
        Ok(())
    }

    async fn watch(&mut self) -> Result<(), ReceiverClosed> {
        let config = watcher::Config::default().labels(&self.options.labels).fields(&self.options.fields);
        let mut events = watcher(self.pods(), config.timeout(WATCH)).default_backoff().boxed();
        let mut listed = Vec::new();
        let mut reminder = Reminder::new(REMINDER, REMINDER);
        let mut has_list = false;
        reminder.awaits();
        loop {
            // A watch that goes on has no more to say until a pod changes: only the first list is awaited in silence.
            let due = reminder.next().filter(|_| !has_list);
            let event = tokio::select! {
                event = events.next() => event,
                () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                    if let Some(time) = reminder.due() {
                        self.trouble(format!("the pods of {} are awaited {time}", self.place())).await?;
                    }
                    continue;
                }
            };
            let Some(event) = event else { return Ok(()) };
            if event.is_ok() && !matches!(event, Ok(watcher::Event::Init)) && reminder.came() {
                self.trouble(format!("the pods of {} are watched again", self.place())).await?;
            }
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(pod)) => listed.push(pod),
                Ok(watcher::Event::InitDone) => {
                    has_list = true;
                    let pods = std::mem::take(&mut listed);
                    self.take(&pods).await?;
                    self.listed().await?;
                    // Names are forgotten with their pods.
                    let present: HashSet<_> = pods.iter().filter_map(|p| p.metadata.uid.clone()).collect();
                    self.seen.retain(|(uid, ..)| present.contains(uid));
                }
                Ok(watcher::Event::Apply(pod)) => self.take(&[pod]).await?,
                Ok(watcher::Event::Delete(pod)) => {
                    let uid = pod.metadata.uid.unwrap_or_default();
                    self.seen.retain(|(seen, ..)| *seen != uid);
                }
                Err(error) => {
                    let why = say(&error);
                    if is_forbidden(&error) || is_unauthorized(&error) {
                        return self.end(format!("the pods of {} cannot be watched: {why}", self.place())).await;
                    }
                    if let Some(time) = reminder.failed() {
                        let place = self.place();
                        let text = format!("the pods of {place} are awaited {time}, and asked for again: {why}");
                        self.trouble(text).await?;
                    }
                }
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }

    /// Says that nothing more can be read.
    async fn end(&self, text: String) -> Result<(), ReceiverClosed> {
        self.updates.send(Update::End(text)).await.map_err(|_| ReceiverClosed)
    }

    async fn listed(&self) -> Result<(), ReceiverClosed> {
        self.updates.send(Update::Listed).await.map_err(|_| ReceiverClosed)
    }

    async fn trouble(&self, text: String) -> Result<(), ReceiverClosed> {
        self.updates.send(Update::Trouble(None, text)).await.map_err(|_| ReceiverClosed)
    }

    /// Begins to read what is new. All of it is announced first, so that the merge waits for every source's past.
    async fn take(&mut self, pods: &[Pod]) -> Result<(), ReceiverClosed> {
        let mut jobs = Vec::new();
        for pod in pods {
            let init = pod.status.as_ref().and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
            for status in statuses(pod) {
                let is_init = init.iter().any(|i| i.name == status.name);
                let candidate = Candidate { pod, container: &status.name, init: is_init, status };
                if (self.options.select)(&candidate) {
                    self.consider(pod, status, &mut jobs).await?;
                }
            }
        }
        for job in jobs {
            match job {
                Job::Output(output, key, grammar) => {
                    let feed = Feed::new(key, self.updates.clone(), self.spare.clone(), grammar, self.skew);
                    let feed = feed.with_tail(output.tail);
                    self.tasks.spawn(async move { drop(output.run(feed).await) });
                }
                Job::Files(follower) => {
                    self.tasks.spawn(async move { drop(follower.run().await) });
                }
            }
        }
        Ok(())
    }

    async fn consider(
        &mut self,
        pod: &Pod,
        status: &ContainerStatus,
        jobs: &mut Vec<Job>,
    ) -> Result<(), ReceiverClosed> {
        let Some(id) = run_of(status) else { return Ok(()) };
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let state = status.state.as_ref();
        let runs = state.is_some_and(|s| s.running.is_some());
        let restarted = self.seen.iter().any(|(u, name, _)| *u == uid && *name == status.name);
        let source = source(pod, &status.name);
        let files = self.files(&source);
        let choice = self.options.choice;
        let wants_files = !files.is_empty() && runs;
        let wants_output = match choice {
            Choice::Auto => files.is_empty() && !repeats_a_file(&source),
            Choice::Output | Choice::All => true,
            Choice::Files | Choice::Supervisor => false,
        };
        // A container that does not stay up writes to its output what its files would say.
        let wants_output = wants_output || (choice == Choice::Auto && !runs && !repeats_a_file(&source));
        if !(wants_files || wants_output) || !self.seen.insert((uid, status.name.clone(), id.clone())) {
            return Ok(());
        }
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &source.namespace);
        let grammar = output_grammar(&source);
        let since = self.options.since;
        // A container that was started while its pod is watched is read from its beginning.
        let tail = if restarted { None } else { self.options.tail };
        if wants_output {
            let output = |previous: bool| Output {
                pods: pods.clone(),
                pod: source.pod.clone(),
                uid: pod.metadata.uid.clone(),
                container: source.container.clone(),
                id: id.clone(),
                restart: status.restart_count,
                follow: self.options.follow,
                previous,
                since,
                tail,
                opening: self.opening.clone(),
            };
            if self.options.previous && !restarted && status.restart_count > 0 {
                let key = self.announce(LogSource { origin: LogOrigin::Previous, ..source.clone() }).await?;
                jobs.push(Job::Output(output(true), key, grammar));
            }
            let key = self.announce(source.clone()).await?;
            jobs.push(Job::Output(output(false), key, grammar));
        }
        if wants_files {
            let key = self.announce(LogSource { origin: LogOrigin::Files, ..source.clone() }).await?;
            jobs.push(Job::Files(Follower {
                pods,
                source: Arc::new(source),
                uid: pod.metadata.uid.clone(),
                id,
                files,
                follow: self.options.follow,
                since,
                tail,
                updates: self.updates.clone(),
                keys: self.keys.clone(),
                skew: self.skew,
                opening: self.opening.clone(),
                spare: self.spare.clone(),
                key,
                left_out: HashSet::new(),
                past: 0,
            }));
        }
        Ok(())
    }

    async fn announce(&self, source: LogSource) -> Result<Key, ReceiverClosed> {
        let key = self.keys.fetch_add(1, Ordering::Relaxed);
        self.updates.send(Update::Opened(key, Arc::new(source))).await.map_err(|_| ReceiverClosed)?;
        Ok(key)
    }

    /// The files of a container that are chosen.
    fn files(&self, source: &LogSource) -> Vec<Files> {
        let choice = self.options.choice;
        if choice == Choice::Output {
            return Vec::new();
        }
        let Some(logs) = catalogued(source) else { return Vec::new() };
        let mut files: Vec<Files> = logs
            .filter(|f| match choice {
                Choice::Auto | Choice::All => true,
                Choice::Files => f.grammar != LogGrammar::Supervisord,
                Choice::Supervisor => f.grammar == LogGrammar::Supervisord,
                Choice::Output => false,
            })
            .map(|f| Files { pattern: format!("{}/{}", f.directory, f.pattern), grammar: f.grammar })
            .collect();
        if matches!(choice, Choice::Supervisor | Choice::All) {
            files.push(Files { pattern: PROGRAM_LOGS.to_owned(), grammar: LogGrammar::Plain });
        }
        files
    }
}

fn source(pod: &Pod, container: &str) -> LogSource {
    let meta = &pod.metadata;
    let labels = meta.labels.clone().unwrap_or_default();
    LogSource {
        component: labels.get(SERVICE_LABEL).cloned().unwrap_or_default(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        pod: meta.name.clone().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default(),
        address: pod.status.as_ref().and_then(|s| s.pod_ip.clone()).unwrap_or_default(),
        container: container.to_owned(),
        labels,
        annotations: meta.annotations.clone().unwrap_or_default(),
        origin: LogOrigin::Output,
    }
}

/// The files that the component of a container is known to write. Both releases keep them in the same places.
fn catalogued(source: &LogSource) -> Option<impl Iterator<Item = &'static LogFile>> {
    let component: Component = source.component.parse().ok()?;
    if source.container != source.component {
        return None;
    }
    let mut files: Vec<&'static LogFile> = Vec::new();
    for release in Release::ALL {
        for file in entry(release, component).map(|e| e.logs).unwrap_or_default() {
            if !files.iter().any(|f| (f.directory, f.pattern) == (file.directory, file.pattern)) {
                files.push(file);
            }
        }
    }
    (!files.is_empty()).then(|| files.into_iter())
}

/// Whether a container does nothing but print another one's file (clearwater-docker `kubernetes/templates`: `tailer`).
fn repeats_a_file(source: &LogSource) -> bool {
    source.container == "tailer"
}

/// The grammar of a container's output.
fn output_grammar(source: &LogSource) -> LogGrammar {
    if repeats_a_file(source) { LogGrammar::Cpp } else { LogGrammar::Plain }
}
