use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::error::OrderError;
use crate::component::Component;
use crate::names::{named, nearest};

/// How much one thing needs another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Not at all.
    #[default]
    None,
    /// It is better with it: without, it retries, or does less.
    Soft,
    /// It cannot do without.
    Hard,
}

named! {
    /// The name: `none`, `soft` or `hard`.
    Need {
        None = "none",
        Soft = "soft",
        Hard = "hard",
    }
}

impl Need {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Where an edge comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Origin {
    /// Read in upstream's sources.
    Upstream,
    /// The sequence of the article "Clearwater On Kubernetes"; such an edge says nothing about need.
    Article,
    /// Added by the program that embeds this crate.
    #[default]
    Own,
}

/// What an edge says: what starting, working and leaving need, and how that is known.
///
/// ```
/// use clearwater::order::{Link, Need};
///
/// let link = Link::new(Need::Soft, Need::Hard).evidence("our load balancer's manual, §4").seen("503 to every call");
/// assert_eq!(link.run, Need::Hard);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// What starting needs.
    pub start: Need,
    /// What working needs.
    pub run: Need,
    /// What leaving needs: going in good order, as a member that has itself taken off its cluster's list.
    pub leave: Need,
    /// Where it was read or seen.
    pub evidence: Cow<'static, str>,
    /// What is seen when the dependency is missing.
    pub seen_when_missing: Cow<'static, str>,
    /// Where the edge comes from.
    pub origin: Origin,
}

impl Link {
    /// A link of these needs, without evidence.
    pub fn new(start: Need, run: Need) -> Self {
        Self { start, run, ..Self::default() }
    }

    /// A link that says what leaving needs, and nothing of starting and working.
    pub fn leaving(leave: Need) -> Self {
        Self { leave, ..Self::default() }
    }

    /// The link with its evidence.
    #[must_use]
    pub fn evidence(mut self, evidence: impl Into<Cow<'static, str>>) -> Self {
        self.evidence = evidence.into();
        self
    }

    /// The link with what is seen when the dependency is missing.
    #[must_use]
    pub fn seen(mut self, seen: impl Into<Cow<'static, str>>) -> Self {
        self.seen_when_missing = seen.into();
        self
    }
}

/// One edge of a graph: `from` depends on `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge<'g> {
    /// The node that depends.
    pub from: &'g str,
    /// The node it depends on.
    pub to: &'g str,
    /// What starting needs.
    pub start: Need,
    /// What working needs.
    pub run: Need,
    /// What leaving needs.
    #[serde(skip_serializing_if = "Need::is_none")]
    pub leave: Need,
    /// Where it was read or seen.
    pub evidence: &'g str,
    /// What is seen when the dependency is missing.
    pub seen_when_missing: &'g str,
    /// Where the edge comes from.
    pub origin: Origin,
}

impl Edge<'_> {
    /// Whether the dependent cannot start or cannot work without the dependency.
    pub fn is_hard(&self) -> bool {
        self.start == Need::Hard || self.run == Need::Hard
    }
}

#[derive(Clone, Debug)]
pub(super) struct NodeData {
    pub(super) name: Arc<str>,
    pub(super) component: Option<Component>,
}

#[derive(Clone, Debug)]
pub(super) struct EdgeData {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) link: Link,
}

/// The ordering graph: nodes by name, and edges that say what starting and what working needs.
///
/// Nodes keep the order in which they were added; whatever the graph leaves open is settled by it, so every plan and
/// every drawing of the same graph is the same to the byte.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(super) nodes: Vec<NodeData>,
    pub(super) edges: Vec<EdgeData>,
    pub(super) by_name: HashMap<Arc<str>, u32>,
}

impl Graph {
    /// A graph without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node. A node of that name that is there already is left as it is.
    pub fn add(&mut self, name: impl Into<Arc<str>>) -> &mut Self {
        self.intern(name.into(), None);
        self
    }

    /// Adds a Clearwater component as a node of its name.
    pub(crate) fn add_component(&mut self, component: Component) -> &mut Self {
        self.intern(component.name().into(), Some(component));
        self
    }

    pub(super) fn intern(&mut self, name: Arc<str>, component: Option<Component>) -> u32 {
        if let Some(&i) = self.by_name.get(&name) {
            return i;
        }
        let i = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.by_name.insert(Arc::clone(&name), i);
        self.nodes.push(NodeData { name, component });
        i
    }

    /// Says that `from` depends on `to`. Both must have been added: a name that is not known is a slip.
    ///
    /// The same two nodes may be joined by several edges, each with its own evidence.
    ///
    /// # Errors
    /// A name that no node has.
    pub fn depend(&mut self, from: &str, to: &str, link: Link) -> Result<&mut Self, OrderError> {
        let (from, to) = (self.index(from)?, self.index(to)?);
        self.edges.push(EdgeData { from, to, link });
        Ok(self)
    }

    pub(super) fn index(&self, name: &str) -> Result<u32, OrderError> {
        self.by_name.get(name).copied().ok_or_else(|| OrderError::UnknownNode {
            name: name.to_owned(),
            nearest: nearest(name, self.nodes()).map(str::to_owned),
        })
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether there is a node of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The nodes' names, in the order in which they were added.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &str> {
        self.nodes.iter().map(|n| &*n.name)
    }

    /// The component that a node stands for, or `None` for other nodes and unknown names.
    pub fn component(&self, name: &str) -> Option<Component> {
        self.by_name.get(name).and_then(|&i| self.nodes.get(i as usize)).and_then(|n| n.component)
    }

    pub(super) fn edge<'g>(&'g self, data: &'g EdgeData) -> Edge<'g> {
        let name = |i: u32| self.nodes.get(i as usize).map_or("", |n| &*n.name);
        Edge {
            from: name(data.from),
            to: name(data.to),
            start: data.link.start,
            run: data.link.run,
            leave: data.link.leave,
            evidence: &data.link.evidence,
            seen_when_missing: &data.link.seen_when_missing,
            origin: data.link.origin,
        }
    }

    /// Every edge, in the order in which they were added.
    pub fn edges(&self) -> impl ExactSizeIterator<Item = Edge<'_>> {
        self.edges.iter().map(|e| self.edge(e))
    }

    /// The edges between two nodes, none where they are not joined.
    pub fn between<'g>(&'g self, from: &'g str, to: &'g str) -> impl Iterator<Item = Edge<'g>> {
        self.edges().filter(move |e| e.from == from && e.to == to)
    }

    /// What an edge says, in a sentence or three.
    pub fn explain(&self, edge: &Edge<'_>) -> String {
        let (from, to) = (edge.from, edge.to);
        let mut text = match (edge.start, edge.run) {
            _ if edge.origin == Origin::Article => format!("{from} comes after {to} in the article's sequence."),
            (Need::None, Need::None) if edge.leave == Need::Hard => {
                format!("{from} does not get to leave without {to}.")
            }
            (Need::None, Need::None) if edge.leave == Need::Soft => format!("{from} leaves in better order with {to}."),
            (Need::Hard, Need::Hard) => format!("{from} neither starts nor works without {to}."),
            (Need::Hard, Need::Soft) => format!("{from} does not start without {to}; once started it copes without."),
            (Need::Hard, Need::None) => format!("{from} does not start without {to}, and never asks it again."),
            (Need::Soft, Need::Hard) => format!("{from} starts without {to} but does not work without it."),
            (Need::None, Need::Hard) => format!("{from} needs {to} to work, not to start."),
            (Need::Soft, Need::Soft) => format!("{from} starts and works without {to}, retrying."),
            (Need::Soft, Need::None) => format!("{from} asks for {to} when it starts, and goes on without it."),
            (Need::None, Need::Soft) => format!("{from} asks for {to} while it works, and copes without it."),
            (Need::None, Need::None) => format!("{from} does not need {to}."),
        };
        if !edge.seen_when_missing.is_empty() {
            text.push_str(" Seen when it is missing: ");
            text.push_str(edge.seen_when_missing);
            text.push('.');
        }
        if !edge.evidence.is_empty() {
            text.push_str(" Evidence: ");
            text.push_str(edge.evidence);
            text.push('.');
        }
        text
    }
}

impl Serialize for Graph {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Node<'g> {
            name: &'g str,
            #[serde(skip_serializing_if = "Option::is_none")]
            component: Option<Component>,
        }
        #[derive(Serialize)]
        struct View<'g> {
            nodes: Vec<Node<'g>>,
            edges: Vec<Edge<'g>>,
        }
        View {
            nodes: self.nodes.iter().map(|n| Node { name: &n.name, component: n.component }).collect(),
            edges: self.edges().collect(),
        }
        .serialize(serializer)
    }
}
