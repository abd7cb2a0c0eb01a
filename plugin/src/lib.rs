//! kubectl-clearwater: command line, reporters and exit codes around the crates `clearwater` and `clearwater-kube`.
//!
//! Results go to standard output, everything else to standard error. Parsing a command line never touches a file or a
//! cluster, and an asynchronous runtime is built by the commands that need one only, so that `--help` and `version`
//! answer at once.
#![forbid(unsafe_code)]

mod advice;
mod arguments;
mod awaited;
mod bounded;
mod cli;
mod command;
mod complete;
mod connection;
mod context;
mod credential;
mod drive;
mod duration;
mod error;
pub mod exit;
mod outfile;
mod output;
mod question;
mod reporter;
mod runtime;
mod signal;
mod table;
mod timeline;
mod zipped;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::FromArgMatches as _;
use clap::error::ErrorKind;

use cli::Cli;
use context::Context;
use error::CliError;
use signal::Listener;

/// The tree of commands with all that each takes, for whoever writes pages of it, or tries all of it.
pub fn tree() -> clap::Command {
    cli::tree()
}

/// Runs a command line, the program's name first, and says how it ended: see [`exit`].
pub fn main_impl(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter().peekable();
    let program = args.next().unwrap_or_default();
    if args.next_if(|word| word == credential::WORD).is_some() {
        return credential::run(args);
    }
    if args.next_if(|word| word == complete::WORD).is_some() {
        return complete::run(args);
    }
    end_at_a_fault();
    // Before anything else, so that no signal is lost between two waits.
    let listener = Listener::install();
    let words = std::iter::once(program).chain(args);
    let mut tree = tree();
    let matches = tree.try_get_matches_from_mut(words);
    let cli = match matches.and_then(|m| Cli::from_arg_matches(&m).map_err(|e| e.format(&mut tree))) {
        Ok(cli) => cli,
        Err(e) => return said_by_the_parser(&e),
    };
    let Cli { command, connection } = cli;
    advice::lead_to(connection.place());
    let mut context = Context::new(connection, listener);
    let (code, is_told) = match command.run(&mut context) {
        Ok(code) => (code, false),
        Err(e) if e.is_broken_pipe() => (exit::OK, true),
        Err(CliError::Ended(reason)) => {
            context.talk().note("interrupted");
            (signal::code(reason), true)
        }
        Err(e) => {
            context.talk().error(advice::said(&e));
            (e.exit_code(), true)
        }
    };
    match context.finish() {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe && !is_told => {
            context.talk().error(CliError::Output(e));
            // What nobody could read is no verdict.
            exit::FAILURE.into()
        }
        _ => code.into(),
    }
}

/// What is shipped does not unwind: a fault of the program's own ends it as an error does, after its words, and by no signal.
#[expect(clippy::exit, reason = "there is no way back from a panic")]
fn end_at_a_fault() {
    if cfg!(panic = "abort") {
        let say = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |fault| {
            say(fault);
            std::process::exit(exit::FAILURE.into());
        }));
    }
}

/// Help and version, asked for, are results; everything else the parser says is about a wrong command line. Who names only
/// what has commands below it asks for its help.
fn said_by_the_parser(e: &clap::Error) -> ExitCode {
    let text = e.render();
    if e.use_stderr() && e.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = write!(anstream::stderr(), "{}", text.ansi());
        return exit::USAGE.into();
    }
    match write!(anstream::stdout(), "{}", text.ansi()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ = writeln!(anstream::stderr(), "error: {}", CliError::Output(e));
            exit::FAILURE.into()
        }
        _ => exit::OK.into(),
    }
}
