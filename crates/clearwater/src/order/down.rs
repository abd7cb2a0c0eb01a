use std::collections::BTreeSet;

use super::error::OrderError;
use super::graph::{Edge, Graph, Need};
use super::plan::StartPlan;
use super::policy::Policy;

/// What is known of a node while others are taken down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// It is not there, or it stands and stays.
    #[default]
    Aside,
    /// It is to go, and something of it is still there.
    Goes,
    /// It is on its way out although this run does not take it down: an earlier one did, or it is being scaled down.
    Leaves,
}

/// Whether the dependency must outlast the dependent.
fn outlasts(edge: &Edge<'_>) -> bool {
    Policy::Dependency.gates(edge) || edge.leave == Need::Hard
}

impl Graph {
    /// The order for taking everything down: nothing goes before what cannot start, work or leave without it is gone.
    ///
    /// ```
    /// use clearwater::component::Release;
    /// use clearwater::order::{Graph, Subscribers};
    ///
    /// let down = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan_down()?;
    /// assert_eq!(down.gates("etcd").collect::<Vec<_>>(), ["astaire", "cassandra", "chronos"]);
    /// # Ok::<(), clearwater::order::OrderError>(())
    /// ```
    ///
    /// # Errors
    /// The cycle of those that would each have to go before the next.
    pub fn plan_down(&self) -> Result<StartPlan, OrderError> {
        Ok(StartPlan::new(self, None, outlasts)?.reversed())
    }

    /// What must be gone before a node may go, given what is known of each; nothing where it may go now.
    ///
    /// What goes as well holds it when it needs the node, through whatever stands between them; what merely leaves holds
    /// it when it needs the node to leave. Named are those next to the node, in the order in which they were added.
    /// Nothing for an unknown name.
    ///
    /// ```
    /// use clearwater::component::Release;
    /// use clearwater::order::{Graph, Presence, Subscribers};
    ///
    /// let graph = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn);
    /// // An earlier run was killed while chronos left; now only etcd is taken down.
    /// let seen = |node: &str| match node {
    ///     "chronos" => Presence::Leaves,
    ///     "etcd" => Presence::Goes,
    ///     _ => Presence::Aside,
    /// };
    /// assert_eq!(graph.held_by("etcd", seen), ["chronos"]);
    /// ```
    pub fn held_by(&self, node: &str, presence: impl Fn(&str) -> Presence) -> Vec<&str> {
        let Ok(node) = self.index(node) else { return Vec::new() };
        let mut holders = BTreeSet::new();
        let mut passed = BTreeSet::from([node]);
        let mut queue = vec![node];
        while let Some(needed) = queue.pop() {
            for data in self.edges.iter().filter(|e| e.to == needed && e.from != node) {
                let edge = self.edge(data);
                if !outlasts(&edge) {
                    continue;
                }
                let holds = match presence(edge.from) {
                    Presence::Goes => true,
                    Presence::Leaves => edge.leave == Need::Hard,
                    Presence::Aside => false,
                };
                if holds {
                    holders.insert(data.from);
                } else if passed.insert(data.from) {
                    queue.push(data.from);
                }
            }
        }
        holders.into_iter().filter_map(|n| self.nodes.get(n as usize)).map(|n| &*n.name).collect()
    }
}
