//! What a word of the command line may become: the answer to `__complete WORD…`, which shells and kubectl ask.
//!
//! kubectl runs `kubectl_complete-clearwater` with the words after the plugin's name, the unfinished one last, and reads
//! what the completion of cobra's programs says: lines `value<TAB>description`, and at last `:DIRECTIVE` (kubectl's
//! `pkg/cmd/plugin_completion.go`). The scripts of `completion SHELL` read the same.
//!
//! A shell waits for the answer while somebody types, and shows whatever is written beside it in the middle of his line:
//! all that is looked up is done within [`PATIENCE`], and nothing goes to standard error.

mod candidates;
mod lookup;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap_complete::CompletionCandidate;
use clearwater::text::{is_harmful, printable};

use crate::{exit, signal};
use lookup::Lookup;

/// The first word of such a question; no command of ours.
pub(crate) const WORD: &str = "__complete";

/// How long all that has to be looked up may take together: with the start of the program a quarter of a second.
const PATIENCE: Duration = Duration::from_millis(220);

/// The most candidates: nobody reads more, and somebody's shell has to hold them.
const MOST: usize = 1000;

/// cobra's ShellCompDirectiveNoSpace: the word goes on.
const NO_SPACE: u8 = 2;
/// cobra's ShellCompDirectiveNoFileComp: files were thought of, where they are meant.
const NO_FILES: u8 = 4;

/// Answers. It never fails: who cannot be told anything gets no candidates.
pub(crate) fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    signal::quiet();
    std::panic::set_hook(Box::new(|_| at_a_fault()));
    let mut words: Vec<OsString> = words.collect();
    if words.is_empty() {
        words.push(OsString::new());
    }
    let _ = std::io::stdout().write_all(answer(words).as_bytes());
    ExitCode::SUCCESS
}

/// Who typed has no use for a fault's words in the middle of his line.
#[expect(clippy::exit, reason = "there is no way back from a panic")]
fn at_a_fault() {
    let _ = std::io::stdout().write_all(format!(":{NO_FILES}\n").as_bytes());
    std::process::exit(exit::OK.into());
}

fn answer(words: Vec<OsString>) -> String {
    let is_empty = words.last().is_some_and(|word| word.is_empty());
    let mut tree = candidates::tree(Lookup::new(&words, PATIENCE));
    let index = words.len();
    let line = std::iter::once(OsString::from("kubectl-clearwater")).chain(words).collect();
    let found = clap_complete::engine::complete(&mut tree, line, index, None).unwrap_or_default();
    // Flags are for whoever begins one: before, they would bury what the command takes.
    let asks_for_flags = |value: &str| !is_empty || !value.starts_with('-');
    let lines: Vec<(String, String)> = found
        .iter()
        .filter(|candidate| !candidate.is_hide_set())
        .filter_map(|candidate| Some((candidate.get_value().to_str()?.to_owned(), description(candidate))))
        .filter(|(value, _)| asks_for_flags(value) && !value.contains(is_harmful))
        .take(MOST)
        .collect();
    let goes_on = !lines.is_empty() && lines.iter().all(|(value, _)| value.ends_with(['=', '/']));
    let directive = if goes_on { NO_FILES | NO_SPACE } else { NO_FILES };
    let mut text = String::new();
    for (value, description) in lines {
        text.push_str(&value);
        if !description.is_empty() {
            text.push('\t');
            text.push_str(&description);
        }
        text.push('\n');
    }
    text + &format!(":{directive}\n")
}

/// The first line of what a candidate is; short, as a shell shows it beside the value.
fn description(candidate: &CompletionCandidate) -> String {
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    let line = printable(help.lines().next().unwrap_or_default()).into_owned();
    match line.char_indices().nth(100) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Whether a shell takes the text as it is for one word, and for nothing else: what others named may be a command to it.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "._:@/+=,%-".contains(c);
    !text.is_empty() && !text.starts_with(['-', ':']) && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(words: &[&str]) -> Vec<String> {
        let answer = answer(words.iter().map(OsString::from).collect());
        let (lines, directive) = answer.trim_end().rsplit_once('\n').unwrap_or(("", answer.trim_end()));
        assert!(directive.starts_with(':'), "{answer}");
        lines.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn commands_flags_and_values_are_known() {
        assert_eq!(values(&["sca"]), ["scale"]);
        assert!(values(&[""]).contains(&"up".to_owned()));
        assert!(!values(&[""]).iter().any(|v| v.starts_with('-')), "{:?}", values(&[""]));
        assert_eq!(values(&["up", "--create"]), ["--create-namespace"]);
        assert_eq!(values(&["render", "-o", ""]), ["yaml", "json"]);
        assert_eq!(values(&["render", "--output=j"]), ["--output=json"]);
        assert_eq!(values(&["logs", "spr"]), ["sprout"]);
        assert_eq!(values(&["up", "--only", "etcd,asta"]), ["etcd,astaire"]);
        assert_eq!(values(&["graph", "--order", "art"]), ["article"]);
        assert_eq!(values(&["-n", "ims", "config", "sch"]), ["schema"]);
        assert_eq!(values(&["test", "--only", "call-vo"]), ["call-voice"]);
        assert_eq!(values(&["check", "--only", "disk"]), ["disk"]);
        assert_eq!(values(&["init", "--release", ""]), ["hunter", "classic"]);
        assert_eq!(values(&["no", "such", "thing", "at", "all"]), Vec::<String>::new());
    }

    #[test]
    fn what_a_shell_would_run_is_no_candidate() {
        for text in ["1-69@10.244.1.4", "ims", "arn:aws:eks:eu:1:cluster/a", "übung.yaml", "a=b"] {
            assert!(is_plain(text), "{text}");
        }
        for text in
            ["", "-n", "a b", "`reboot`", "$(reboot)", "a;b", "a\tb", "a\nb", "a|b", "~root", "a\u{1b}[2J", "a\u{202e}"]
        {
            assert!(!is_plain(text), "{text}");
        }
    }

    #[test]
    fn every_answer_ends_with_a_directive() {
        for words in [&[][..], &["--set", ""], &["--"], &["-"], &["up", "--", "-"], &["\u{202e}", "\t"]] {
            let answer = answer(words.iter().map(OsString::from).chain(words.is_empty().then(OsString::new)).collect());
            assert!(answer.ends_with(":4\n") || answer.ends_with(":6\n"), "{words:?} {answer}");
        }
    }
}
