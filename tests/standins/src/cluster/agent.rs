//! The running cluster manager: watches the map in etcd and moves its own state through it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::rules::{self, Hook, Step};
use super::{Members, State, Store, format_members, parse_members, plugin};
use crate::log::{Grammar, Log, log};
use crate::net::etcd::{Etcd, Seen, Swapped};
use crate::place::{self, Settings};

/// Runs until SIGTERM, or until it has left after SIGQUIT.
pub(crate) async fn run() -> Result<()> {
    let settings = Settings::load()?;
    crate::log::init(Log::new("clearwater-cluster-manager", "cluster-manager", Grammar::Python, settings.log_level()));
    let key = settings.cluster_key();
    if key.is_empty() {
        bail!("etcd_cluster_key is empty: nothing says which cluster this node is for");
    }
    let me = settings.local_ip()?;
    let (leave, leaving) = watch::channel(false);
    let mut quit = signal(SignalKind::quit())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut hup = signal(SignalKind::hangup())?;
    let work = async {
        if let Some(store) = Store::of_node_type(&key) {
            return Agent::new(store, me, leaving.clone(), false).work().await;
        }
        // A node of an unclustered type keeps a manager without plugins.
        log!(Status, "main.py:170", "No cluster for node type {key}");
        let mut leaving = leaving.clone();
        let _ = leaving.wait_for(|l| *l).await;
        Ok(())
    };
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = quit.recv() => {
                log!(Status, "main.py:91", "Leaving the cluster");
                let _ = leave.send(true);
            }
            _ = term.recv() => return Ok(()),
            _ = hup.recv() => {}
        }
    }
}

/// One node's part in one store's cluster.
pub(crate) struct Agent {
    store: Store,
    me: IpAddr,
    etcd: Etcd,
    delay: Duration,
    leaving: watch::Receiver<bool>,
    /// Set when acting for a dead node: no hooks, no files.
    proxy: bool,
}

impl Agent {
    /// An agent for node `me`; as `proxy` it only moves states, for a node that is dead.
    pub(crate) fn new(store: Store, me: IpAddr, leaving: watch::Receiver<bool>, proxy: bool) -> Self {
        Self {
            store,
            me,
            etcd: Etcd::new(place::etcd_address()),
            delay: place::knob_ms("STANDIN_JOIN_DELAY_MS", 30_000),
            leaving,
            proxy,
        }
    }

    /// Works until this node has left.
    pub(crate) async fn work(mut self) -> Result<()> {
        let key = self.store.key();
        let mut trouble = Duration::from_millis(100);
        let mut pause: Option<(State, Instant)> = None;
        let mut settled: Option<Members> = None;
        // A hook whose result could not be written yet, because others wrote first.
        let mut ran: Option<Step> = None;
        loop {
            if !self.proxy && place::fault("agent.hold") {
                tokio::time::sleep(place::poll_interval()).await;
                continue;
            }
            let Some((seen, members)) = self.look(&key, &mut trouble).await else {
                continue;
            };
            self.publish(&members);
            let leaving = *self.leaving.borrow_and_update();
            if leaving && !members.contains_key(&self.me) {
                return Ok(());
            }
            let step = rules::step(&members, self.me, leaving);
            if !matches!(step, Step::PauseThenMoveAll(..)) {
                pause = None;
            }
            ran = ran.filter(|before| *before == step);
            match step {
                Step::Wait => self.changed(&key, &seen, None).await,
                Step::Settle(hook) => {
                    if settled.as_ref() != Some(&members) && self.hook(hook, &members).await {
                        settled = Some(members);
                    }
                    self.changed(&key, &seen, None).await;
                }
                Step::Become(hook, state) => {
                    if ran.is_none()
                        && let Some(hook) = hook
                        && !self.hook(hook, &members).await
                    {
                        self.changed(&key, &seen, Some(Duration::from_secs(1))).await;
                        continue;
                    }
                    ran = Some(step);
                    self.write(
                        &key,
                        |m| {
                            if m.get(&self.me) == members.get(&self.me) {
                                m.insert(self.me, state);
                            }
                        },
                        &seen,
                        members.clone(),
                    )
                    .await;
                }
                Step::PauseThenMoveAll(from, to) => {
                    let until = match pause {
                        Some((of, until)) if of == from => until,
                        _ => Instant::now() + self.delay,
                    };
                    pause = Some((from, until));
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        self.write(
                            &key,
                            |m| {
                                for state in m.values_mut().filter(|s| **s == from) {
                                    *state = to;
                                }
                            },
                            &seen,
                            members,
                        )
                        .await;
                    } else {
                        self.changed(&key, &seen, Some(left)).await;
                    }
                }
                Step::Remove(hook) => {
                    self.hook(hook, &members).await;
                    self.write(
                        &key,
                        |m| {
                            m.remove(&self.me);
                        },
                        &seen,
                        members.clone(),
                    )
                    .await;
                }
            }
        }
    }

    /// Reads the map; `None` after waiting because that failed.
    async fn look(&mut self, key: &str, trouble: &mut Duration) -> Option<(Seen, Members)> {
        let read = match self.etcd.get(key).await {
            Ok(seen) => parse_members(seen.value.as_deref()).map(|members| (seen, members)),
            Err(err) => Err(err),
        };
        match read {
            Ok(found) => {
                *trouble = Duration::from_millis(100);
                Some(found)
            }
            Err(err) => {
                log!(Warning, "etcd_synchronizer.py:258", "{err:#}; trying again in {trouble:?}");
                tokio::time::sleep(*trouble).await;
                *trouble = (*trouble * 2).min(Duration::from_secs(5));
                None
            }
        }
    }

    /// Waits for the map to change, for the order to leave, or for `limit` (ten seconds when
    /// not given: a server that vanished without closing its connections must be noticed).
    async fn changed(&mut self, key: &str, seen: &Seen, limit: Option<Duration>) {
        let limit = limit.unwrap_or(place::knob_ms("STANDIN_ETCD_WAIT_MS", 10_000));
        let mut leaving = self.leaving.clone();
        let was_leaving = *leaving.borrow_and_update();
        tokio::select! {
            result = self.etcd.wait(key, seen.index, limit) => {
                if let Err(err) = result {
                    log!(Warning, "etcd_synchronizer.py:264", "Waiting for {key}: {err:#}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            result = leaving.changed(), if !was_leaving => {
                if result.is_err() {
                    tokio::time::sleep(limit).await;
                }
            }
        }
    }

    async fn hook(&self, hook: Hook, members: &Members) -> bool {
        if self.proxy {
            return true;
        }
        match plugin::run(self.store, hook, members, self.me).await {
            Ok(()) => true,
            Err(err) => {
                log!(
                    Error,
                    "synchronization_fsm.py:230",
                    "Plugin of {} stays where it is: {hook:?}: {err:#}",
                    self.store.title()
                );
                false
            }
        }
    }

    /// Applies a change to the map if nobody else wrote since; else the next round decides anew.
    async fn write(&self, key: &str, change: impl FnOnce(&mut Members), seen: &Seen, mut members: Members) {
        let before = members.get(&self.me).copied();
        change(&mut members);
        let text = format_members(&members);
        match self.etcd.swap(key, seen, &text).await {
            Ok(Swapped::Yes) => {
                let words = |s: Option<State>| s.map_or("absent", State::words);
                log!(
                    Status,
                    "etcd_synchronizer.py:196",
                    "{} {} was {}, is {}",
                    self.store.title(),
                    self.me,
                    words(before),
                    words(members.get(&self.me).copied())
                );
            }
            Ok(Swapped::Raced) => log!(Debug, "etcd_synchronizer.py:201", "Raced; reading again"),
            Err(err) => {
                log!(Warning, "etcd_synchronizer.py:205", "Cannot write {key}: {err:#}");
                tokio::time::sleep(Duration::from_millis(200)).await;
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
