//! One module a command. Each has its arguments and a `run` that says how it ended.

mod autoscale;
mod backup;
mod check;
mod completion;
mod config;
mod diff;
mod dns_patch;
mod down;
mod ellis;
mod everywhere;
mod graph;
mod init;
mod logs;
mod man;
mod options;
mod rbac;
mod render;
mod report;
mod reported;
mod scale;
mod status;
mod subscriber;
mod test;
mod trace;
mod up;
mod version;

use clap::Subcommand;

pub(crate) use config::keys;
pub(crate) use logs::{Unread, each_of_path};

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
    Diff(diff::Diff),
    Up(Box<up::Up>),
    Down(down::Down),
    Status(status::Status),
    Check(check::Check),
    Report(report::Report),
    Test(test::Test),
    Scale(scale::Scale),
    Autoscale(autoscale::Autoscale),
    DnsPatch(dns_patch::DnsPatch),
    #[command(subcommand)]
    Subscriber(Box<subscriber::Subscriber>),
    Ellis(ellis::Ellis),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Logs(Box<logs::Logs>),
    Trace(Box<trace::Trace>),
    Rbac(rbac::Rbac),
    #[command(subcommand)]
    Completion(completion::Completion),
    Options(options::Options),
    Version(version::Version),
    #[command(hide = true)]
    Man(man::Man),
}

impl Command {
    /// Does it. The code is one of [`crate::exit`].
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        match self {
            Self::Init(command) => command.run(context),
            Self::Render(command) => command.run(context),
            Self::Config(command) => command.run(context),
            Self::Graph(command) => command.run(context),
            Self::Diff(command) => command.run(context),
            Self::Up(command) => command.run(context),
            Self::Down(command) => command.run(context),
            Self::Status(command) => command.run(context),
            Self::Check(command) => command.run(context),
            Self::Report(command) => command.run(context),
            Self::Test(command) => command.run(context),
            Self::Scale(command) => command.run(context),
            Self::Autoscale(command) => command.run(context),
            Self::DnsPatch(command) => command.run(context),
            Self::Subscriber(command) => command.run(context),
            Self::Ellis(command) => command.run(context),
            Self::Backup(command) => command.run(context),
            Self::Restore(command) => command.run(context),
            Self::Logs(command) => command.run(context),
            Self::Trace(command) => command.run(context),
            Self::Rbac(command) => command.run(context),
            Self::Completion(command) => command.run(context),
            Self::Options(command) => command.run(context),
            Self::Man(command) => command.run(context),
            Self::Version(command) => command.run(context),
        }
    }
}
