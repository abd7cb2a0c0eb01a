use clap::Args;
use clearwater::component::Component;
use clearwater::order::{self, Detail, Drawing, Policy, StartPlan};
use schemars::JsonSchema;
use serde::Serialize;

use crate::arguments::FileArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;

/// Draw which component waits for which, and why
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater graph
  kubectl clearwater graph --only bono --order earliest
  kubectl clearwater graph --format svg --all > graph.svg")]
pub(crate) struct Graph {
    #[command(flatten)]
    file: FileArgs,
    /// What makes a component wait: dependency (what it cannot start or work without), earliest (what it cannot start
    /// without) or article (the sequence of the article "Clearwater On Kubernetes")
    #[arg(long, value_name = "POLICY", default_value_t)]
    order: Policy,
    /// How it is drawn: tree, dot (Graphviz), mermaid or svg
    #[arg(long, value_name = "FORMAT", default_value_t, conflicts_with = "output")]
    format: Drawing,
    /// Only these components and what they need
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    only: Vec<Component>,
    /// Without these components and those that need them
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    skip: Vec<Component>,
    /// Draw the needs that nothing waits for as well
    #[arg(long)]
    all: bool,
    /// Write the graph and the plan for programs instead
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// What `graph -o json` writes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Graph")]
pub(crate) struct View<'g> {
    /// The version of this format.
    v: u32,
    /// Nodes and edges.
    #[schemars(with = "shape::Graph")]
    graph: &'g order::Graph,
    /// The order that follows.
    #[schemars(with = "shape::StartPlan")]
    plan: StartPlan,
}

/// How the model writes graphs and plans, for the schema. A test reads what is written back into these.
#[expect(dead_code, reason = "the schema is taken from them, and a test reads into them")]
pub(crate) mod shape {
    use schemars::JsonSchema;
    use serde::Deserialize;

    /// Nodes and edges.
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[schemars(rename = "Edges")]
    pub(crate) struct Graph {
        /// The nodes, in listing order.
        nodes: Vec<Node>,
        /// The edges.
        edges: Vec<Edge>,
    }

    /// A node.
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub(crate) struct Node {
        /// Its name.
        name: String,
        /// The component of Clearwater that it is, where it is one.
        component: Option<String>,
    }

    /// An edge: `from` depends on `to`.
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(crate) struct Edge {
        /// The node that depends.
        from: String,
        /// The node it depends on.
        to: String,
        /// What starting needs: hard, soft or none.
        start: String,
        /// What working needs: hard, soft or none.
        run: String,
        /// What leaving needs: hard or soft; left out where it needs nothing.
        #[serde(default)]
        leave: Option<String>,
        /// Where that was read or seen.
        evidence: String,
        /// What is seen when the dependency is missing.
        seen_when_missing: String,
        /// Where the edge comes from.
        origin: String,
    }

    /// An order.
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub(crate) struct StartPlan {
        /// The policy that it follows.
        policy: String,
        /// Whether it is for stopping.
        reversed: bool,
        /// The nodes, in an order in which they can be started.
        nodes: Vec<Planned>,
    }

    /// A node of an order.
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    #[schemars(rename = "PlannedNode")]
    pub(crate) struct Planned {
        /// Its name.
        name: String,
        /// Its wave, counted from 0: it starts after those before it, where all take the same time.
        wave: u32,
        /// What it waits for.
        waits_for: Vec<String>,
    }
}

impl Graph {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let deployment = self.file.deployment(context, false)?;
        let mut graph = order::Graph::of(&deployment).with_names_of(&deployment);
        for (flag, named) in [("--only", &self.only), ("--skip", &self.skip)] {
            if let Some(component) = named.iter().find(|c| !graph.contains(c.name())) {
                let known: Vec<&str> = graph.nodes().collect();
                return Err(CliError::Usage(format!(
                    "{flag} {component}: this deployment has no {component}; it has: {}",
                    known.join(", ")
                )));
            }
        }
        if !self.only.is_empty() {
            let selection = graph.only(self.only.iter().map(|c| c.name()))?;
            for along in &selection.along {
                context.talk().note(along);
            }
            graph = selection.graph;
        }
        if !self.skip.is_empty() {
            let selection = graph.skip(self.skip.iter().map(|c| c.name()))?;
            for along in &selection.along {
                context.talk().note(along);
            }
            graph = selection.graph;
        }
        if let Some(format) = self.output {
            let view = View { v: 1, graph: &graph, plan: graph.plan(self.order)? };
            context.results().value(format, &view)?;
            return Ok(exit::OK);
        }
        let detail = if self.all { Detail::All } else { Detail::Gating };
        let drawing = graph.draw(self.format, self.order, detail)?;
        context.results().text(&drawing)?;
        Ok(exit::OK)
    }
}
