use std::collections::BTreeSet;
use std::fmt;

use super::error::OrderError;
use super::graph::{EdgeData, Graph, Link, Origin};

/// A part of a graph, and what came or went with the nodes that were named.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The part.
    pub graph: Graph,
    /// What came or went besides the nodes that were named, in the order of the graph.
    pub along: Vec<Along>,
}

/// A node that came or went with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Along {
    /// The node.
    pub node: String,
    /// The node it came or went with.
    pub with: String,
    /// Whether it came (`only`) or went (`skip`).
    pub came: bool,
    /// What is seen when it is missing, from the edge between the two.
    pub seen_when_missing: String,
}

impl fmt::Display for Along {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, with, came, seen_when_missing: seen } = self;
        let (does, needs, needed) = if *came { ("is added", with, node) } else { ("goes too", node, with) };
        write!(f, "{node} {does}: {needs} needs {needed}")?;
        if seen.is_empty() { Ok(()) } else { write!(f, " (without it: {seen})") }
    }
}

impl Graph {
    /// The named nodes and everything that they cannot start or cannot work without, and so on down.
    ///
    /// ```
    /// use clearwater::component::Release;
    /// use clearwater::order::{Graph, Subscribers};
    ///
    /// let part = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).only(["homer"])?;
    /// assert_eq!(part.graph.nodes().collect::<Vec<_>>(), ["etcd", "cassandra", "homer"]);
    /// assert_eq!(
    ///     part.along[1].to_string(),
    ///     "cassandra is added: homer needs cassandra \
    ///      (without it: the port is open, but /ping and requests hang or get 5xx)"
    /// );
    /// # Ok::<(), clearwater::order::OrderError>(())
    /// ```
    ///
    /// # Errors
    /// A name that no node has.
    pub fn only<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<Selection, OrderError> {
        let (kept, along) = self.closure(names, true)?;
        Ok(Selection { graph: self.part(|n| kept[n]), along })
    }

    /// The graph without the named nodes and without everything that cannot start or cannot work without them, and so
    /// on up.
    ///
    /// ```
    /// use clearwater::component::Release;
    /// use clearwater::order::{Graph, Subscribers};
    ///
    /// let part = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).skip(["homestead-prov"])?;
    /// assert_eq!(part.along.len(), 1);
    /// assert_eq!(part.along[0].node, "ellis");
    /// # Ok::<(), clearwater::order::OrderError>(())
    /// ```
    ///
    /// # Errors
    /// A name that no node has.
    pub fn skip<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<Selection, OrderError> {
        let (gone, along) = self.closure(names, false)?;
        Ok(Selection { graph: self.part(|n| !gone[n]), along })
    }

    /// Which nodes the hard edges reach from the named ones, down to what they need or up to what needs them.
    fn closure<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
        down: bool,
    ) -> Result<(Vec<bool>, Vec<Along>), OrderError> {
        let mut neighbours: Vec<Vec<&EdgeData>> = vec![Vec::new(); self.nodes.len()];
        for edge in self.edges.iter().filter(|e| self.edge(e).is_hard()) {
            neighbours[(if down { edge.from } else { edge.to }) as usize].push(edge);
        }
        let mut reached = vec![false; self.nodes.len()];
        let mut queue = std::collections::VecDeque::new();
        for name in names {
            let node = self.index(name)?;
            reached[node as usize] = true;
            queue.push_back(node);
        }
        let mut along = Vec::new();
        while let Some(node) = queue.pop_front() {
            for edge in &neighbours[node as usize] {
                let next = if down { edge.to } else { edge.from };
                if !std::mem::replace(&mut reached[next as usize], true) {
                    queue.push_back(next);
                    along.push((next, node, edge));
                }
            }
        }
        along.sort_by_key(|&(node, ..)| node);
        let name = |n: u32| self.nodes[n as usize].name.to_string();
        let along = along.into_iter().map(|(node, with, edge)| Along {
            node: name(node),
            with: name(with),
            came: down,
            seen_when_missing: edge.link.seen_when_missing.to_string(),
        });
        Ok((reached, along.collect()))
    }

    /// The nodes that `keep` picks with the edges between them. Where a node of a sequence is left out, the sequence
    /// closes over the gap.
    fn part(&self, keep: impl Fn(usize) -> bool) -> Self {
        let mut sequence: BTreeSet<(u32, u32)> = BTreeSet::new();
        for e in self.edges.iter().filter(|e| e.link.origin == Origin::Article) {
            sequence.insert((e.from, e.to));
        }
        for gone in (0..self.nodes.len()).filter(|&n| !keep(n)).filter_map(|n| u32::try_from(n).ok()) {
            let before: Vec<_> = sequence.iter().filter(|&&(from, _)| from == gone).map(|&(_, to)| to).collect();
            let after: Vec<_> = sequence.iter().filter(|&&(_, to)| to == gone).map(|&(from, _)| from).collect();
            sequence.retain(|&(from, to)| from != gone && to != gone);
            for &from in &after {
                sequence.extend(before.iter().map(|&to| (from, to)));
            }
        }
        let mut part = Self::new();
        let mut renumbered = vec![None; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate().filter(|&(i, _)| keep(i)) {
            renumbered[i] = Some(part.intern(std::sync::Arc::clone(&node.name), node.component));
        }
        for edge in self.edges.iter().filter(|e| e.link.origin != Origin::Article) {
            if let (Some(from), Some(to)) = (renumbered[edge.from as usize], renumbered[edge.to as usize]) {
                part.edges.push(EdgeData { from, to, link: edge.link.clone() });
            }
        }
        for (from, to) in sequence {
            if let (Some(from), Some(to)) = (renumbered[from as usize], renumbered[to as usize]) {
                let link = Link { origin: Origin::Article, ..Link::default().evidence("article") };
                part.edges.push(EdgeData { from, to, link });
            }
        }
        part
    }
}
