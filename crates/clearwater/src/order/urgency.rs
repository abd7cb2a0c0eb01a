use std::collections::HashMap;
use std::time::Duration;

use super::plan::StartPlan;

impl StartPlan {
    /// The nodes, first those from whose begin to the end of all the longest chain leads, when each takes as long as
    /// `duration` says. What they share (a network that brings images) is best given to them in this order.
    ///
    /// Of nodes with equally long chains the one that was added first comes first. A node comes before whatever waits for
    /// it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use clearwater::component::Release;
    /// use clearwater::order::{Graph, Policy, Subscribers};
    ///
    /// let plan = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).plan(Policy::Dependency)?;
    /// let order = plan.by_urgency(|node| Duration::from_secs(if node == "cassandra" { 120 } else { 10 }));
    /// assert_eq!(order[..4], ["etcd", "cassandra", "astaire", "homestead"]);
    /// # Ok::<(), clearwater::order::OrderError>(())
    /// ```
    pub fn by_urgency(&self, duration: impl Fn(&str) -> Duration) -> Vec<&str> {
        let mut left: HashMap<&str, Duration> = HashMap::new();
        for node in self.order().rev() {
            let behind = self.dependents(node).filter_map(|d| left.get(d)).max().copied().unwrap_or_default();
            // What takes no time comes before what waits for it all the same.
            let own = duration(node).max(Duration::from_nanos(1));
            left.insert(node, behind.saturating_add(own));
        }
        let mut nodes: Vec<&str> = self.order().collect();
        nodes.sort_by_key(|node| std::cmp::Reverse(left.get(node).copied().unwrap_or_default()));
        nodes
    }
}
