//! One module a command. Each has its arguments and a `run` that says how it ended.

mod config;
mod graph;
mod init;
mod render;
mod version;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

#[cfg(test)]
mod schema;

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Init),
    Render(render::Render),
    #[command(subcommand)]
    Config(config::Config),
    Graph(graph::Graph),
    Version(version::Version),
}

impl Command {
    /// Does it. The code is one of [`crate::exit`].
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        match self {
            Self::Init(command) => command.run(context),
            Self::Render(command) => command.run(context),
            Self::Config(command) => command.run(context),
            Self::Graph(command) => command.run(context),
            Self::Version(command) => command.run(context),
        }
    }
}
