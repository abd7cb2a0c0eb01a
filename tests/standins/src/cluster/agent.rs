//! The running cluster manager: watches the map in etcd and moves its own state through it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::rules::{self, Hook, Step};
use super::{Members, State, Store, format_members, parse_members, plugin};
use crate::log::{Grammar, Level, Log, log};
use crate::net::etcd::{Etcd, Seen, Swapped};
use crate::place::{self, Settings};

/// Runs until SIGTERM, or until it has left after SIGQUIT.
pub(crate) async fn run() -> Result<()> {
    let settings = Settings::load()?;
    let key = settings.cluster_key();
    let store = Store::of_node_type(&key);
    let plugin = store.map_or("Main", Store::title);
    let grammar = Log::new("clearwater-cluster-manager", "cluster-manager", Grammar::PythonThreads, level(&settings));
    crate::log::init(grammar.of_plugin(plugin));
    if key.is_empty() {
        bail!("etcd_cluster_key is empty: nothing says which cluster this node is for");
    }
    let mut quit = signal(SignalKind::quit())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut hup = signal(SignalKind::hangup())?;
    let Some(store) = store else {
        // A node of an unclustered type keeps a manager without plugins.
        log!(Info, "main.py:180", "No plugin for node type {key}");
        tokio::select! { _ = quit.recv() => {}, _ = term.recv() => {} }
        return Ok(());
    };
    let agent = Agent::new(store, settings.local_ip()?, false);
    log!(Info, "main.py:180", "Loaded plugin <{}Plugin>", store.title());
    let work = agent.work();
    tokio::pin!(work);
    // The order to leave acts beside the work, also while that pauses.
    let leave = std::pin::pin!(async {
        loop {
            quit.recv().await;
            log!(Info, "main.py:91", "Handling SIGQUIT");
            agent.leave().await;
        }
    });
    let mut leave: Pin<&mut dyn Future<Output = std::convert::Infallible>> = leave;
    loop {
        tokio::select! {
            done = &mut work => return done,
            never = &mut leave => match never {},
            _ = term.recv() => return Ok(()),
            _ = hup.recv() => {}
        }
    }
}

/// The manager's level is 3 unless `user_settings` says otherwise: its start script sets it after it has read the
/// configuration, as bono's does.
fn level(settings: &Settings) -> u8 {
    match settings.of_user("log_level").as_deref() {
        // Python knows no more than these.
        Some("0") => Level::Error as u8,
        Some("1") => Level::Warning as u8,
        Some("2" | "3") | None => Level::Info as u8,
        Some(_) => Level::Debug as u8,
    }
}

/// How one round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// What was due is written, or nothing was.
    Done,
    /// Somebody else wrote first, if only the same again, or etcd did not answer.
    Unwritten,
    /// The plugin could not do its part.
    HookFailed,
    /// This node is off the map.
    Left,
}

/// One node's part in one store's cluster.
pub(crate) struct Agent {
    store: Store,
    me: IpAddr,
    etcd: Etcd,
    delay: Duration,
    /// Told to leave, and not yet waiting to.
    leaving: watch::Sender<bool>,
    /// Set when acting for a dead node: no hooks, no files, and it leaves a cluster with members in error too.
    proxy: bool,
}

impl Agent {
    /// An agent for node `me`; as `proxy` it only moves states, for a node that is dead.
    pub(crate) fn new(store: Store, me: IpAddr, proxy: bool) -> Self {
        Self {
            store,
            me,
            etcd: Etcd::new(place::etcd_address()),
            delay: place::knob_ms("STANDIN_JOIN_DELAY_MS", 30_000),
            leaving: watch::Sender::new(false),
            proxy,
        }
    }

    /// Works until this node has left. Each round begins with a map that differs from the one before, but after a
    /// write that did not come about: there the map may be as it was, and nobody else writes what is due.
    pub(crate) async fn work(&self) -> Result<()> {
        let key = self.store.key();
        let mut before: Option<(Option<String>, bool)> = None;
        let limit = place::knob_ms("STANDIN_ETCD_WAIT_MS", 10_000);
        loop {
            if !self.proxy && place::fault("agent.hold") {
                tokio::time::sleep(place::poll_interval()).await;
                continue;
            }
            let (seen, members) = self.read(&key).await;
            let leaving = *self.leaving.borrow();
            let now = (seen.value.clone(), leaving);
            if before.as_ref() == Some(&now) {
                self.changed(&key, &seen, limit).await;
                continue;
            }
            self.publish(&members);
            before = match self.act(&key, &seen, &members, leaving).await {
                Round::Left => {
                    log!(Info, "etcd_synchronizer.py:74", "Quitting FSM");
                    return Ok(());
                }
                Round::Done => Some(now),
                Round::Unwritten => None,
                Round::HookFailed => {
                    self.changed(&key, &seen, Duration::from_secs(1)).await;
                    None
                }
            };
        }
    }

    async fn act(&self, key: &str, seen: &Seen, members: &Members, leaving: bool) -> Round {
        log!(Info, "etcd_synchronizer.py:47", "Got new state {} from etcd", format_members(members));
        let own = members.get(&self.me).copied();
        log!(
            Info,
            "synchronization_fsm.py:108",
            "Entered state machine for {} with local state {}, cluster state {:?} and cluster view {}",
            self.me,
            words(own),
            rules::cluster(members),
            format_members(members)
        );
        if leaving && own != Some(State::WaitingToLeave) && rules::can_leave(members, self.proxy) {
            log!(Info, "etcd_synchronizer.py:60", "Cluster is in a stable state, so leaving the cluster now");
            return self.round(key, seen, members, Some(State::WaitingToLeave)).await;
        }
        match rules::step(members, self.me) {
            Step::Wait => {
                log!(Debug, "etcd_synchronizer.py:71", "No state change");
                Round::Done
            }
            Step::Settle(hook) => {
                if self.hook(hook, members).await {
                    Round::Done
                } else {
                    Round::HookFailed
                }
            }
            Step::Become(hook, state) => {
                if let Some(hook) = hook
                    && !self.hook(hook, members).await
                {
                    return Round::HookFailed;
                }
                self.round(key, seen, members, Some(state)).await
            }
            Step::PauseThenMoveAll(from, to) => {
                let what = if from == State::WaitingToJoin { "joining" } else { "leaving" };
                let seconds = self.delay.as_secs();
                log!(
                    Info,
                    "synchronization_fsm.py:175",
                    "Pausing for {seconds} seconds in case more nodes are {what} the cluster"
                );
                // Deaf meanwhile, as the real one: who comes later makes the write fail, and the pause begins anew.
                tokio::time::sleep(self.delay).await;
                let mut moved = members.clone();
                for state in moved.values_mut().filter(|s| **s == from) {
                    *state = to;
                }
                match self.swap(key, seen, &moved).await {
                    Some(Swapped::Yes) => Round::Done,
                    Some(Swapped::Raced) => {
                        contended(to.words());
                        Round::Unwritten
                    }
                    None => Round::Unwritten,
                }
            }
            Step::Remove(hook) => {
                self.hook(hook, members).await;
                match self.round(key, seen, members, None).await {
                    Round::Done => Round::Left,
                    other => other,
                }
            }
        }
    }

    /// A round that ends with a write of this node's own state.
    async fn round(&self, key: &str, seen: &Seen, members: &Members, state: Option<State>) -> Round {
        if self.write_own(key, seen, members, state).await { Round::Done } else { Round::Unwritten }
    }

    /// The order to leave: at once where the cluster allows it, else when it does.
    pub(crate) async fn leave(&self) {
        self.leaving.send_replace(true);
        let key = self.store.key();
        let (seen, members) = self.read(&key).await;
        if rules::can_leave(&members, self.proxy) {
            log!(Info, "main.py:92", "Cluster is in a stable state, so leaving the cluster immediately");
            self.write_own(&key, &seen, &members, Some(State::WaitingToLeave)).await;
        } else {
            log!(
                Info,
                "main.py:92",
                "Can't leave the cluster immediately - will do so when the cluster next stabilises"
            );
        }
    }

    /// Writes that this node is in error, whatever others write meanwhile.
    pub(crate) async fn fail(&self) {
        let key = self.store.key();
        let (seen, members) = self.read(&key).await;
        self.write_own(&key, &seen, &members, Some(State::Error)).await;
    }

    /// Reads the map, however long that takes.
    async fn read(&self, key: &str) -> (Seen, Members) {
        let mut trouble = Duration::from_millis(100);
        loop {
            let read = match self.etcd.get(key).await {
                Ok(seen) => parse_members(seen.value.as_deref()).map(|members| (seen, members)),
                Err(err) => Err(err),
            };
            match read {
                Ok(found) => return found,
                Err(err) => {
                    log!(
                        Error,
                        "common_etcd_synchronizer.py:340",
                        "{} caught {err:#} when trying to read - pause before retry",
                        self.me
                    );
                    tokio::time::sleep(trouble).await;
                    trouble = (trouble * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    /// Waits for the map to change, for the order to leave, or for `limit`: a server that vanished without closing its
    /// connections must be noticed.
    async fn changed(&self, key: &str, seen: &Seen, limit: Duration) {
        let mut leaving = self.leaving.subscribe();
        leaving.borrow_and_update();
        tokio::select! {
            result = self.etcd.wait(key, seen.index, limit) => {
                if let Err(err) = result {
                    log!(Warning, "common_etcd_synchronizer.py:264", "Waiting for {key}: {err:#}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            _ = leaving.changed() => {}
        }
    }

    async fn hook(&self, hook: Hook, members: &Members) -> bool {
        if self.proxy {
            return true;
        }
        log!(Info, "synchronization_fsm.py:24", "Calling plugin method {}Plugin.{}", self.store.title(), hook.method());
        match plugin::run(self.store, hook, members, self.me).await {
            Ok(()) => true,
            Err(err) => {
                log!(
                    Error,
                    "synchronization_fsm.py:40",
                    "Call to {}Plugin.{} caused exception {err:#}",
                    self.store.title(),
                    hook.method()
                );
                false
            }
        }
    }

    /// Writes this node's own state, or takes it out. Who else wrote meanwhile makes no difference while this node and
    /// the cluster are in the states that decided; where they are not, the next round decides anew.
    async fn write_own(&self, key: &str, seen: &Seen, members: &Members, state: Option<State>) -> bool {
        let (mut seen, mut now) = (seen.clone(), members.clone());
        loop {
            let mut changed = now.clone();
            match state {
                Some(state) => changed.insert(self.me, state),
                None => changed.remove(&self.me),
            };
            match self.swap(key, &seen, &changed).await {
                Some(Swapped::Yes) => {
                    if state == Some(State::WaitingToLeave) {
                        self.leaving.send_replace(false);
                    }
                    return true;
                }
                Some(Swapped::Raced) => contended(words(state)),
                None => return false,
            }
            (seen, now) = self.read(key).await;
            let same = now.get(&self.me) == members.get(&self.me) && rules::cluster(&now) == rules::cluster(members);
            if !same && !matches!(state, None | Some(State::Error)) {
                return false;
            }
            log!(Debug, "etcd_synchronizer.py:165", "Retrying contended write with updated value");
        }
    }

    /// Writes the map if nobody else wrote since; `None` where etcd did not answer.
    async fn swap(&self, key: &str, seen: &Seen, members: &Members) -> Option<Swapped> {
        let text = format_members(members);
        log!(Debug, "etcd_synchronizer.py:132", "Writing state {text} into etcd");
        match self.etcd.swap(key, seen, &text).await {
            Ok(swapped) => Some(swapped),
            Err(err) => {
                log!(
                    Error,
                    "etcd_synchronizer.py:180",
                    "{} caught {err:#} when trying to write {text} - pause before retrying",
                    self.me
                );
                tokio::time::sleep(Duration::from_millis(200)).await;
                None
            }
        }
    }

    /// Leaves the map, and the first moment of `normal`, where neighbours find them.
    fn publish(&self, members: &Members) {
        if self.proxy {
            return;
        }
        let file = members_file(self.store);
        let text = format_members(members);
        if std::fs::read_to_string(&file).ok().as_deref() != Some(text.as_str())
            && let Err(err) = place::write_whole(&file, &text)
        {
            log!(Error, "etcd_synchronizer.py:118", "{err:#}");
        }
        let normal = place::path("/run/standin/normal_us");
        if members.get(&self.me) == Some(&State::Normal) && !normal.exists() {
            let _ = place::write_whole(&normal, &place::now_us().to_string());
        }
    }
}

fn contended(state: &str) {
    log!(Debug, "etcd_synchronizer.py:147", "Contention on etcd write - new_state is {state}");
}

fn words(state: Option<State>) -> &'static str {
    state.map_or("None", State::words)
}

/// Where the agent leaves the map it saw last.
pub(crate) fn members_file(store: Store) -> PathBuf {
    place::path("/run/standin").join(format!("members-{}.json", store.short()))
}

/// Reads the map the agent saw last.
pub(crate) fn read_members(store: Store) -> Result<Members> {
    let file = members_file(store);
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("{}: has the cluster manager run?", file.display()))?;
    parse_members(Some(&text))
}
