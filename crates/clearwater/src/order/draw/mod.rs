mod dot;
mod mermaid;
mod svg;
mod tree;

use std::collections::BTreeMap;

use super::error::OrderError;
use super::graph::{Edge, Graph};
use super::plan::StartPlan;
use super::policy::Policy;
use crate::names::named;
use crate::text::Printable;

/// A format of drawings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Drawing {
    /// Text, for a terminal.
    #[default]
    Tree,
    /// Graphviz.
    Dot,
    /// Mermaid, as Markdown viewers draw it.
    Mermaid,
    /// A picture that suits light and dark pages.
    Svg,
}

named! {
    /// The name used on the command line.
    Drawing, "drawing" {
        Tree = "tree",
        Dot = "dot",
        Mermaid = "mermaid",
        Svg = "svg",
    }
}

/// Which edges a drawing shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Detail {
    /// Those that gate under the policy.
    #[default]
    Gating,
    /// Those and, dashed, the needs that do not gate.
    All,
}

/// What is drawn: the plan, and pairs of nodes (dependency, dependent) with what their edges say.
struct Picture<'g> {
    graph: &'g Graph,
    /// Programs that embed this give their nodes names of their own.
    names: Vec<Printable>,
    plan: StartPlan,
    policy: Policy,
    gating: Pairs,
    loose: Pairs,
}

type Pairs = BTreeMap<(u32, u32), Vec<Printable>>;

impl Graph {
    /// Draws the graph as a policy sees it. Arrows lead from what is started first to what waits for it.
    ///
    /// ```
    /// use clearwater::component::Release;
    /// use clearwater::order::{Detail, Drawing, Graph, Policy, Subscribers};
    ///
    /// let graph = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn).only(["homer"])?.graph;
    /// assert_eq!(
    ///     graph.draw(Drawing::Tree, Policy::Dependency, Detail::Gating)?,
    ///     "\
    /// etcd
    /// └─ cassandra
    ///    └─ homer
    /// "
    /// );
    /// # Ok::<(), clearwater::order::OrderError>(())
    /// ```
    ///
    /// # Errors
    /// The cycle of edges that gate, where there is no plan to draw.
    pub fn draw(&self, drawing: Drawing, policy: Policy, detail: Detail) -> Result<String, OrderError> {
        let plan = self.plan(policy)?;
        let (mut gating, mut loose) = (Pairs::new(), Pairs::new());
        for data in &self.edges {
            let edge = self.edge(data);
            let pair = (data.to, data.from);
            let pairs = if policy.gates(&edge) {
                &mut gating
            } else if detail == Detail::All && is_need(&edge) {
                &mut loose
            } else {
                continue;
            };
            pairs.entry(pair).or_default().push(self.explain(&edge).into());
        }
        loose.retain(|pair, _| !gating.contains_key(pair));
        let names = self.nodes.iter().map(|n| Printable::from(&*n.name)).collect();
        let picture = Picture { graph: self, names, plan, policy, gating, loose };
        Ok(match drawing {
            Drawing::Tree => tree::draw(&picture),
            Drawing::Dot => dot::draw(&picture),
            Drawing::Mermaid => mermaid::draw(&picture),
            Drawing::Svg => svg::draw(&picture),
        })
    }
}

/// The article's edges say nothing of need: where they do not gate they are noise.
fn is_need(edge: &Edge<'_>) -> bool {
    use super::graph::Need;
    edge.start != Need::None || edge.run != Need::None
}

impl Picture<'_> {
    fn name(&self, node: u32) -> &str {
        self.names.get(node as usize).map_or("", |n| n)
    }

    fn nodes(&self) -> impl Iterator<Item = u32> + use<> {
        0..u32::try_from(self.graph.nodes.len()).unwrap_or(u32::MAX)
    }

    fn wave(&self, node: u32) -> usize {
        self.graph.nodes.get(node as usize).and_then(|n| self.plan.wave(&n.name)).unwrap_or_default()
    }
}
