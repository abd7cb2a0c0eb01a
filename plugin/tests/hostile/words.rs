//! Command lines, made from the tree of commands that the parser has.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use crate::random::Random;
use crate::surroundings::SERVERS;

/// A command line without the program's name.
pub(crate) fn line(random: &mut Random, tree: &Command) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    let mut command = tree;
    loop {
        // `completion install` would write beside the program itself.
        let below: Vec<&Command> = command.get_subcommands().filter(|c| c.get_name() != "install").collect();
        if below.is_empty() || random.one_in(40) {
            break;
        }
        command = below[random.below(below.len())];
        words.push(command.get_name().into());
    }
    let is_talk = |a: &Arg| {
        matches!(a.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version)
    };
    let (shared, own): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(|a| !is_talk(a)).partition(|a| a.is_global_set());
    for arg in own.iter().filter(|a| a.is_positional()) {
        let times = if arg.is_required_set() { 1 } else { random.below(3) };
        words.extend((0..times).map(|_| value(random, arg)));
    }
    let mut given = BTreeSet::new();
    for _ in 0..random.below(5) {
        let from = if own.is_empty() || random.one_in(3) { &shared } else { &own };
        if !from.is_empty() {
            let arg = from[random.below(from.len())];
            // Once each, or the parser refuses most lines for that alone.
            if given.insert(arg.get_id()) || random.one_in(20) {
                option(random, arg, &mut words);
            }
        }
    }
    if random.one_in(8) {
        spoil(random, &mut words);
    }
    words
}

fn option(random: &mut Random, arg: &Arg, words: &mut Vec<OsString>) {
    let Some(long) = arg.get_long() else { return };
    let flag = format!("--{long}");
    if !arg.get_action().takes_values() {
        let short = arg.get_short().filter(|_| random.one_in(3));
        words.push(short.map_or(flag, |s| format!("-{s}")).into());
        return;
    }
    let value = value(random, arg);
    // A server stays with its flag, whatever becomes of the other words.
    if arg.is_require_equals_set() || is_url(arg) || random.one_in(2) {
        let mut word = OsString::from(flag + "=");
        word.push(value);
        words.push(word);
    } else {
        words.extend([flag.into(), value]);
    }
}

/// Puts in, takes out and repeats words.
fn spoil(random: &mut Random, words: &mut Vec<OsString>) {
    for _ in 0..=random.below(3) {
        let at = random.below(words.len() + 1);
        match random.below(3) {
            0 => words.insert(at, random.word()),
            1 if at < words.len() => drop(words.remove(at)),
            _ if at < words.len() => words.push(words[at].clone()),
            _ => words.insert(at, "--".into()),
        }
    }
}

fn named(arg: &Arg) -> &str {
    arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str())
}

fn is_url(arg: &Arg) -> bool {
    named(arg) == "URL"
}

/// A value: mostly one that the parser takes, or nearly.
fn value(random: &mut Random, arg: &Arg) -> OsString {
    if is_url(arg) {
        return random.pick(&SERVERS).into();
    }
    if random.one_in(9) {
        return random.word();
    }
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        return random.pick(&possible).get_name().into();
    }
    let all: &[&str] = match named(arg) {
        "DURATION" => {
            &["0", "0s", "1ms", "1s", "90m", "5000000h", "18446744073709551615", "18446744073709551615h", "1.5s"]
        }
        "FILE" | "FILE.svg" | "DIR" => {
            &["clearwater.yaml", "kubeconfig", "empty", "folder", "binary", "missing", "sprout.txt", "-", "missing/x"]
        }
        "COMPONENT" | "COMPONENT[=]N" => {
            &["sprout", "bono", "etcd", "chronos", "bono=2", "sprout=+1", "2", "ralf=-1", "hss"]
        }
        "NAMESPACE" | "NAME" | "USER" | "[NAMESPACE:]NAME" => &["ims", "lab", "c", "u", "a:b", "Not-A-Name", "x.y"],
        "KEY=VALUE" => {
            &["zone=example.com", "components.sprout.replicas=2", "components.sprout.replicas=-2", "a.b.c=1"]
        }
        "TIME" => &[
            "2026-11-28T10:00:00+01:00",
            "1970-01-01T00:00:00Z",
            "2026-01-01T00:00:00Z",
            "-009999-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "24-11-2017 11:00:08.123 UTC",
            "now",
        ],
        "REGEX" => &["^bono", ".*", "(?x) a", "\\", "[z-a]", "\\d{999999}"],
        "LINES" | "N" | "COUNT" | "PERCENT" => &["1", "2", "60", "0", "-1", "100", "4294967295", "9223372036854775807"],
        "SIZE" => &["1", "10Mi", "3Gi", "0", "-1", "16Ei", "999999999Ei", "1e99"],
        "ZONE" => &["UTC", "Europe/Berlin", "America/New_York", "Local", "+25:00", "Nowhere/Else"],
        "TEMPLATE" => &["{message}", "{{message}}", "{time} x", "{{", "{nothing}", "{time:x}", "}"],
        "IDENTITY" | "ID" | "CALL-ID|SUBSCRIBER" => {
            &["sip:6505550001@example.com", "6505550001", "0gQAAC8WAAACBAAALxYAAA"]
        }
        "SELECTOR" | "NAME[=VALUE]" => &["a=b", "Ready", "Ready=true", "a in (b", "!"],
        _ => &["auto", "all", "files", "debug", "error", "hunter", "classic", "pods", "5"],
    };
    // The first three are what the parser takes.
    let few = if random.one_in(5) { all } else { &all[..3] };
    (*random.pick(few)).into()
}
