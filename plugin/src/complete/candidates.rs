//! What each argument of the tree may be, beyond what clap knows of itself.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use clap::{Arg, Command, CommandFactory as _, ValueHint};
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _,
};
use clearwater::component::{Component, Release, catalogue};
use clearwater::log::Level;
use clearwater::order::{Drawing, Policy};
use clearwater_kube::logs::Choice;
use clearwater_sip::case::all as cases;

use super::is_plain;
use super::lookup::{Found, Lookup};
use crate::cli::Cli;
use crate::command::keys;

/// The tree of commands, each argument with its candidates.
pub(super) fn tree(lookup: Lookup) -> Command {
    with(Cli::command(), &Arc::new(lookup))
}

fn with(command: Command, lookup: &Arc<Lookup>) -> Command {
    let name = command.get_name().to_owned();
    let command = command.mut_args(|arg| candidates(&name, arg, lookup));
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, |c| with(c, lookup)))
}

fn candidates(command: &str, arg: Arg, lookup: &Arc<Lookup>) -> Arg {
    let named = arg.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
    let id = arg.get_id().as_str().to_owned();
    let found = |arg: Arg, look: fn(&Lookup) -> Found| {
        let lookup = lookup.clone();
        arg.add(ArgValueCandidates::new(move || foreign(look(&lookup))))
    };
    match (command, id.as_str(), named.as_str()) {
        (_, "namespace", _) => found(arg, Lookup::namespaces),
        (_, "context", "NAME") => found(arg, Lookup::contexts),
        (_, "cluster", "NAME") => found(arg, Lookup::clusters),
        (_, "user", "NAME") => found(arg, Lookup::users),
        (_, "pod" | "exclude_pod", _) => found(arg, Lookup::pods),
        (_, "node", _) => found(arg, Lookup::nodes),
        ("trace", "subject", _) | (_, "call_id", _) => found(arg, Lookup::call_ids),
        (_, _, "COMPONENT" | "COMPONENT[=]N") => ours(arg, components),
        ("explain", "key", _) => ours(arg, || described_keys("")),
        (_, "set", _) => ours(arg, || described_keys("=")),
        (_, _, "ROLE") => ours(arg, roles),
        (_, _, "CASE") => ours(arg, || cases().map(|case| described(case.id, case.shows)).collect()),
        (_, _, "RELEASE") => ours(arg, || words(&Release::ALL.map(Release::name))),
        (_, _, "POLICY") => ours(arg, || words(&Policy::ALL.map(Policy::name))),
        (_, _, "LEVEL") => ours(arg, || words(&Level::ALL.map(Level::name))),
        (_, _, "SOURCE") => ours(arg, || words(&Choice::ALL.map(Choice::name))),
        (_, _, "TRANSPORT") => ours(arg, || words(&["tcp", "udp"])),
        ("graph", "format", _) => ours(arg, || words(&Drawing::ALL.map(Drawing::name))),
        (_, "filename", _) => paths(arg, |path| path.extension().is_some_and(|e| e == "yaml" || e == "yml")),
        (_, _, "DIR") => paths(arg, |_| false),
        _ if arg.get_value_hint() == ValueHint::AnyPath => paths(arg, |_| true),
        _ => arg,
    }
}

fn ours(arg: Arg, list: fn() -> Vec<CompletionCandidate>) -> Arg {
    arg.add(ArgValueCandidates::new(list))
}

fn described(value: impl Into<std::ffi::OsString>, help: impl Into<clap::builder::StyledStr>) -> CompletionCandidate {
    CompletionCandidate::new(value).help(Some(help.into()))
}

fn words(words: &[&'static str]) -> Vec<CompletionCandidate> {
    words.iter().map(|word| CompletionCandidate::new(*word)).collect()
}

/// Each component of either release, with the roles that it plays.
fn components() -> Vec<CompletionCandidate> {
    let entries = || Release::ALL.into_iter().flat_map(catalogue);
    let of = |component: Component| {
        let roles: Vec<_> = entries().find(|e| e.component == component).into_iter().flat_map(|e| e.roles).collect();
        described(component.name(), roles.iter().map(|r| r.name()).collect::<Vec<_>>().join(", "))
    };
    Component::ALL.into_iter().map(of).collect()
}

/// The keys of the deployment file, with what follows them.
fn described_keys(after: &str) -> Vec<CompletionCandidate> {
    keys().into_iter().map(|(key, what)| described(format!("{key}{after}"), what)).collect()
}

fn roles() -> Vec<CompletionCandidate> {
    let mut names: Vec<_> =
        Release::ALL.into_iter().flat_map(catalogue).flat_map(|e| e.roles).map(|r| r.name()).collect();
    names.sort_unstable();
    names.dedup();
    words(&names)
}

/// Names that others gave. One that a shell would take for more than a word is left out.
fn foreign(found: Found) -> Vec<CompletionCandidate> {
    found
        .into_iter()
        .filter(|(name, _)| is_plain(name))
        .map(|(name, what)| if what.is_empty() { CompletionCandidate::new(name) } else { described(name, what) })
        .collect()
}

/// Directories, and the files that are meant.
fn paths(arg: Arg, is_meant: fn(&Path) -> bool) -> Arg {
    arg.add(ArgValueCompleter::new(move |word: &OsStr| {
        let mut found = PathCompleter::any().filter(is_meant).complete(word);
        found.retain(|candidate| candidate.get_value().to_str().is_some_and(is_plain));
        found
    }))
}
