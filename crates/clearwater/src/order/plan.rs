use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::error::{Cycle, CycleEdge, OrderError};
use super::graph::{Edge, Graph};
use super::policy::Policy;

/// Adjacency in two arrays: the neighbours of node `i` are `items[starts[i]..starts[i + 1]]`, in ascending order.
#[derive(Clone, Debug, Default)]
struct Neighbours {
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Neighbours {
    /// From pairs (node, neighbour), which are sorted and may repeat.
    fn new(nodes: usize, pairs: &mut Vec<(u32, u32)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        let mut starts = vec![0_u32; nodes + 1];
        for &(node, _) in pairs.iter() {
            starts[node as usize + 1] += 1;
        }
        for i in 0..nodes {
            starts[i + 1] += starts[i];
        }
        Self { starts, items: pairs.iter().map(|&(_, neighbour)| neighbour).collect() }
    }

    fn of(&self, node: u32) -> &[u32] {
        let node = node as usize;
        match (self.starts.get(node), self.starts.get(node + 1)) {
            (Some(&from), Some(&to)) => &self.items[from as usize..to as usize],
            _ => &[],
        }
    }
}

#[derive(Debug)]
struct Inner {
    names: Vec<Arc<str>>,
    by_name: HashMap<Arc<str>, u32>,
    gates: Neighbours,
    dependents: Neighbours,
    wave_of: Vec<u32>,
    waves: Vec<Vec<u32>>,
}

/// An order of a graph's nodes: what each one waits for, and so what may start when.
///
/// A plan is made by [`Graph::plan`]. It is cheap to clone.
#[derive(Clone, Debug)]
pub struct StartPlan {
    inner: Arc<Inner>,
    policy: Option<Policy>,
    reversed: bool,
}

impl Graph {
    /// Orders the graph by the edges that gate under a policy.
    ///
    /// # Errors
    /// The cycle of edges that gate.
    pub fn plan(&self, policy: Policy) -> Result<StartPlan, OrderError> {
        StartPlan::new(self, Some(policy), |e| policy.gates(e))
    }
}

impl StartPlan {
    pub(super) fn new(
        graph: &Graph,
        policy: Option<Policy>,
        gates: impl Fn(&Edge<'_>) -> bool,
    ) -> Result<Self, OrderError> {
        let gating: Vec<_> = graph.edges.iter().filter(|e| gates(&graph.edge(e))).collect();
        let mut pairs: Vec<_> = gating.iter().map(|e| (e.from, e.to)).collect();
        let gates = Neighbours::new(graph.nodes.len(), &mut pairs);
        let mut pairs: Vec<_> = pairs.into_iter().map(|(from, to)| (to, from)).collect();
        let dependents = Neighbours::new(graph.nodes.len(), &mut pairs);
        let Some(wave_of) = waves(graph.nodes.len(), &gates, &dependents) else {
            return Err(find_cycle(graph, &gates, &gating).into());
        };
        let names = graph.nodes.iter().map(|n| Arc::clone(&n.name)).collect();
        Ok(Self {
            inner: Arc::new(Inner {
                names,
                by_name: graph.by_name.clone(),
                gates,
                dependents,
                waves: by_wave(&wave_of),
                wave_of,
            }),
            policy,
            reversed: false,
        })
    }

    /// The plan backwards: each node waits for those that waited for it. For taking things down.
    ///
    /// ```
    /// use clearwater::component::Release;
    /// use clearwater::order::{Graph, Policy, Subscribers};
    ///
    /// let up = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan(Policy::Dependency)?;
    /// let down = up.reversed();
    /// assert_eq!(down.gates("etcd").collect::<Vec<_>>(), ["astaire", "cassandra"]);
    /// assert_eq!(down.order().last(), Some("etcd"));
    /// # Ok::<(), clearwater::order::OrderError>(())
    /// ```
    #[must_use]
    pub fn reversed(&self) -> Self {
        let Inner { names, by_name, gates, dependents, .. } = &*self.inner;
        // What has an order forwards has one backwards.
        let wave_of = waves(names.len(), dependents, gates).unwrap_or_default();
        Self {
            inner: Arc::new(Inner {
                names: names.clone(),
                by_name: by_name.clone(),
                gates: dependents.clone(),
                dependents: gates.clone(),
                waves: by_wave(&wave_of),
                wave_of,
            }),
            policy: self.policy,
            reversed: !self.reversed,
        }
    }

    fn name(&self, node: u32) -> &str {
        self.inner.names.get(node as usize).map_or("", |n| n)
    }

    fn neighbours<'p>(&'p self, of: &'p Neighbours, node: &str) -> impl Iterator<Item = &'p str> {
        let node = self.inner.by_name.get(node).copied();
        node.map_or(&[][..], |n| of.of(n)).iter().map(|&n| self.name(n))
    }

    /// The policy it was made by, or `None` for a rule of one's own.
    pub fn policy(&self) -> Option<Policy> {
        self.policy
    }

    /// How many nodes it has.
    pub fn len(&self) -> usize {
        self.inner.names.len()
    }

    /// Whether it has no node.
    pub fn is_empty(&self) -> bool {
        self.inner.names.is_empty()
    }

    /// An order in which one could start the nodes one after the other: by wave, and within a wave as the nodes were
    /// added.
    pub fn order(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.inner.waves.iter().flatten().map(|&n| self.name(n))
    }

    /// The nodes by wave: those of wave 0 wait for nothing, each other one waits for something in the wave before.
    ///
    /// Waves are for people to read. An executor that started a wave only when the one before is complete would waste
    /// time: use [`StartPlan::schedule`], which opens each node's gate as soon as its own gates allow.
    pub fn waves(&self) -> impl ExactSizeIterator<Item = Vec<&str>> {
        self.inner.waves.iter().map(|w| w.iter().map(|&n| self.name(n)).collect())
    }

    /// The wave of a node, counted from 0, or `None` for an unknown name.
    pub fn wave(&self, node: &str) -> Option<usize> {
        let node = *self.inner.by_name.get(node)?;
        self.inner.wave_of.get(node as usize).map(|&w| w as usize)
    }

    /// What the node waits for, in the order in which the nodes were added. Nothing for an unknown name.
    pub fn gates<'p>(&'p self, node: &str) -> impl Iterator<Item = &'p str> {
        self.neighbours(&self.inner.gates, node)
    }

    /// What waits for the node.
    pub fn dependents<'p>(&'p self, node: &str) -> impl Iterator<Item = &'p str> {
        self.neighbours(&self.inner.dependents, node)
    }

    /// A run of this plan, with nothing done yet.
    pub fn schedule(&self) -> Schedule {
        let open = (0..self.inner.names.len()).map(|n| self.inner.gates.of(index(n)).len()).collect();
        Schedule {
            plan: self.clone(),
            open,
            state: vec![NodeState::Waiting; self.inner.names.len()],
            unfinished: self.len(),
        }
    }

    /// The chain of nodes that decides how long the whole takes, when each node takes as long as `duration` says from
    /// its gates being open to its being done, and nothing else makes it wait.
    ///
    /// Where several chains take equally long, the one of the nodes that were added first.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use clearwater::component::Release;
    /// use clearwater::order::{Graph, Policy, Subscribers};
    ///
    /// let plan = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan(Policy::Dependency)?;
    /// let path = plan.critical_path(|node| Duration::from_secs(if node == "cassandra" { 120 } else { 10 }));
    /// assert_eq!(path.total, Duration::from_secs(160));
    /// assert_eq!(path.to_string(), "etcd 10s, cassandra 120s, homestead 10s, sprout 10s, bono 10s: 160s in all");
    /// # Ok::<(), clearwater::order::OrderError>(())
    /// ```
    pub fn critical_path(&self, duration: impl Fn(&str) -> Duration) -> CriticalPath {
        let mut finished = vec![Duration::ZERO; self.len()];
        let mut before: Vec<Option<u32>> = vec![None; self.len()];
        let mut last: Option<u32> = None;
        for &node in self.inner.waves.iter().flatten() {
            let mut begins = Duration::ZERO;
            for &gate in self.inner.gates.of(node) {
                if before[node as usize].is_none() || finished[gate as usize] > begins {
                    begins = finished[gate as usize];
                    before[node as usize] = Some(gate);
                }
            }
            finished[node as usize] = begins.saturating_add(duration(self.name(node)));
            if last.is_none_or(|l| finished[node as usize] > finished[l as usize]) {
                last = Some(node);
            }
        }
        let total = last.map_or(Duration::ZERO, |l| finished[l as usize]);
        let mut steps = Vec::new();
        while let Some(node) = last {
            last = before[node as usize];
            let begins = last.map_or(Duration::ZERO, |l| finished[l as usize]);
            steps.push(PathStep { node: self.name(node).to_owned(), begins, ends: finished[node as usize] });
        }
        steps.reverse();
        CriticalPath { total, steps }
    }
}

impl Serialize for StartPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Node<'p> {
            name: &'p str,
            wave: usize,
            waits_for: Vec<&'p str>,
        }
        let nodes: Vec<_> = self
            .order()
            .map(|name| Node { name, wave: self.wave(name).unwrap_or_default(), waits_for: self.gates(name).collect() })
            .collect();
        let mut plan = serializer.serialize_struct("Plan", 3)?;
        plan.serialize_field("policy", &self.policy)?;
        plan.serialize_field("reversed", &self.reversed)?;
        plan.serialize_field("nodes", &nodes)?;
        plan.end()
    }
}

fn index(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The wave of each node, or `None` where there is a cycle.
fn waves(nodes: usize, gates: &Neighbours, dependents: &Neighbours) -> Option<Vec<u32>> {
    let mut open: Vec<_> = (0..nodes).map(|n| gates.of(index(n)).len()).collect();
    let mut wave_of = vec![0_u32; nodes];
    let mut current: Vec<u32> = (0..nodes).filter(|&n| open[n] == 0).map(index).collect();
    let mut placed = 0;
    let mut wave = 0;
    while !current.is_empty() {
        placed += current.len();
        let mut next = Vec::new();
        for &node in &current {
            wave_of[node as usize] = wave;
            for &dependent in dependents.of(node) {
                open[dependent as usize] -= 1;
                if open[dependent as usize] == 0 {
                    next.push(dependent);
                }
            }
        }
        wave += 1;
        current = next;
    }
    (placed == nodes).then_some(wave_of)
}

fn by_wave(wave_of: &[u32]) -> Vec<Vec<u32>> {
    let count = wave_of.iter().max().map_or(0, |&w| w as usize + 1);
    let mut waves = vec![Vec::new(); count];
    for (node, &wave) in wave_of.iter().enumerate() {
        waves[wave as usize].push(index(node));
    }
    waves
}

/// A cycle of a graph that is known to have one.
fn find_cycle(graph: &Graph, gates: &Neighbours, gating: &[&super::graph::EdgeData]) -> Cycle {
    let nodes = graph.nodes.len();
    // Whoever is not on or behind a cycle drops out; from any node that is left, gates lead around for ever.
    let mut alive = vec![true; nodes];
    let mut dependents: Vec<_> =
        (0..nodes).flat_map(|n| gates.of(index(n)).iter().map(move |&g| (g, index(n)))).collect();
    let dependents = Neighbours::new(nodes, &mut dependents);
    let mut open: Vec<_> = (0..nodes).map(|n| gates.of(index(n)).len()).collect();
    let mut free: Vec<_> = (0..nodes).filter(|&n| open[n] == 0).map(index).collect();
    while let Some(node) = free.pop() {
        alive[node as usize] = false;
        for &dependent in dependents.of(node) {
            open[dependent as usize] -= 1;
            if open[dependent as usize] == 0 {
                free.push(dependent);
            }
        }
    }
    let mut position = vec![None; nodes];
    let mut path: Vec<u32> = Vec::new();
    let mut node = alive.iter().position(|&a| a).map(index);
    while let Some(here) = node {
        if let Some(at) = position[here as usize] {
            path.drain(..at);
            break;
        }
        position[here as usize] = Some(path.len());
        path.push(here);
        node = gates.of(here).iter().copied().find(|&g| alive[g as usize]);
    }
    // A cycle has no first node; that of the lowest index makes the text the same each time.
    if let Some(first) = (0..path.len()).min_by_key(|&i| path[i]) {
        path.rotate_left(first);
    }
    let edges = path.iter().enumerate().map(|(i, &from)| {
        let to = path[(i + 1) % path.len()];
        let evidence = gating.iter().find(|e| e.from == from && e.to == to).map(|e| e.link.evidence.to_string());
        CycleEdge {
            from: graph.nodes[from as usize].name.to_string(),
            to: graph.nodes[to as usize].name.to_string(),
            evidence: evidence.unwrap_or_default(),
        }
    });
    Cycle { edges: edges.collect() }
}

/// The chain of nodes that decides how long a plan takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CriticalPath {
    /// How long the whole takes.
    pub total: Duration,
    /// The chain, first to last; each step begins when the one before ends.
    pub steps: Vec<PathStep>,
}

/// One step of a critical path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathStep {
    /// The node.
    pub node: String,
    /// When its last gate opened, from the beginning of the whole.
    pub begins: Duration,
    /// When it was done, from the beginning of the whole.
    pub ends: Duration,
}

impl PathStep {
    /// How long the step took.
    pub fn took(&self) -> Duration {
        self.ends.saturating_sub(self.begins)
    }
}

impl std::fmt::Display for CriticalPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} {:?}", step.node, step.took())?;
        }
        write!(f, ": {:?} in all", self.total)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeState {
    Waiting,
    Done,
    /// It failed, or something that it waits for did.
    Lost,
}

/// A run of a plan: what is done, and so what may start now.
///
/// Each call costs as much as the node has dependents, so that a run of ten thousand nodes is cheap.
///
/// ```
/// use clearwater::component::Release;
/// use clearwater::order::{Graph, Policy, Subscribers};
///
/// let plan = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan(Policy::Dependency)?;
/// let mut run = plan.schedule();
/// assert_eq!(run.ready(), ["etcd", "chronos"].map(Into::into));
/// assert_eq!(run.complete("etcd"), ["astaire", "cassandra"].map(Into::into));
/// assert_eq!(run.waiting_for("sprout"), ["astaire", "homestead"].map(Into::into));
/// # Ok::<(), clearwater::order::OrderError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    plan: StartPlan,
    open: Vec<usize>,
    state: Vec<NodeState>,
    unfinished: usize,
}

impl Schedule {
    /// The plan that is run.
    pub fn plan(&self) -> &StartPlan {
        &self.plan
    }

    fn shared(&self, node: u32) -> Option<Arc<str>> {
        self.plan.inner.names.get(node as usize).cloned()
    }

    /// Every node that may start and is not done, in the order in which the nodes were added.
    pub fn ready(&self) -> Vec<Arc<str>> {
        (0..self.open.len())
            .filter(|&n| self.open[n] == 0 && self.state[n] == NodeState::Waiting)
            .filter_map(|n| self.shared(index(n)))
            .collect()
    }

    /// Says that a node is done, and returns those whose last gate that opens.
    ///
    /// A node may be done before its own gates are open (it was running already). Nothing happens for a name that is
    /// unknown, or done or lost already.
    pub fn complete(&mut self, node: &str) -> Vec<Arc<str>> {
        let Some(&node) = self.plan.inner.by_name.get(node) else { return Vec::new() };
        if self.state[node as usize] != NodeState::Waiting {
            return Vec::new();
        }
        self.state[node as usize] = NodeState::Done;
        self.unfinished -= 1;
        let mut ready = Vec::new();
        for &dependent in self.plan.inner.dependents.of(node) {
            let dependent = dependent as usize;
            self.open[dependent] -= 1;
            if self.open[dependent] == 0 && self.state[dependent] == NodeState::Waiting {
                ready.extend(self.shared(index(dependent)));
            }
        }
        ready
    }

    /// Says that a node failed, and returns those that can now never start: its dependents, theirs, and so on, less
    /// those that are done. In the order in which the nodes were added.
    pub fn fail(&mut self, node: &str) -> Vec<Arc<str>> {
        let Some(&node) = self.plan.inner.by_name.get(node) else { return Vec::new() };
        if self.state[node as usize] != NodeState::Waiting {
            return Vec::new();
        }
        let mut lost = Vec::new();
        let mut stack = vec![node];
        while let Some(n) = stack.pop() {
            if self.state[n as usize] != NodeState::Waiting {
                continue;
            }
            self.state[n as usize] = NodeState::Lost;
            self.unfinished -= 1;
            if n != node {
                lost.push(n);
            }
            stack.extend(self.plan.inner.dependents.of(n));
        }
        lost.sort_unstable();
        lost.into_iter().filter_map(|n| self.shared(n)).collect()
    }

    /// What the node still waits for: those of its gates that are not done.
    pub fn waiting_for(&self, node: &str) -> Vec<Arc<str>> {
        let Some(&node) = self.plan.inner.by_name.get(node) else { return Vec::new() };
        let gates = self.plan.inner.gates.of(node).iter();
        gates.filter(|&&g| self.state[g as usize] != NodeState::Done).filter_map(|&g| self.shared(g)).collect()
    }

    /// Whether nothing is left to start: each node is done, or can never start.
    pub fn is_finished(&self) -> bool {
        self.unfinished == 0
    }
}
