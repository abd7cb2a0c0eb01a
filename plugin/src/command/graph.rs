use clap::Args;
use clearwater::component::Component;
use clearwater::order::{self, Detail, Drawing, Plan, Policy};
use serde::Serialize;

use crate::cli::FileArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::output::Format;

/// Draw which component waits for which, and why
#[derive(Debug, Args)]
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
#[derive(Debug, Serialize)]
struct View<'g> {
    /// The version of this format.
    v: u32,
    /// Nodes and edges.
    graph: &'g order::Graph,
    /// The order that follows.
    plan: Plan,
}

impl Graph {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let deployment = self.file.deployment(context)?;
        let mut graph = order::Graph::of(&deployment);
        if !self.only.is_empty() {
            let selection = graph.only(self.only.iter().map(|c| c.name()))?;
            selection.along.iter().for_each(|a| context.talk().note(a));
            graph = selection.graph;
        }
        if !self.skip.is_empty() {
            let selection = graph.skip(self.skip.iter().map(|c| c.name()))?;
            selection.along.iter().for_each(|a| context.talk().note(a));
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
