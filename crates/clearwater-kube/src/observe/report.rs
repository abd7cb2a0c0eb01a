//! What was seen of a pod.

use clearwater::event::LogExcerpt;

use super::finding::{Finding, Part};
use super::given::RunsWith;
use crate::pod::supervisor::{State, Trouble};
use crate::pod::{AskError, Room};

/// What a program's log says whose port somebody holds (`strerror` of `EADDRINUSE`).
const IN_USE: &str = "address already in use";
/// What is told of such a program.
const KEPT_PORT: &str = "its port is in use: an earlier process of it lives on, and supervisord knows nothing of it";

/// Whether this is said of a program that does not start because an earlier process of it keeps the port.
pub(crate) fn is_kept_out(text: &str) -> bool {
    text.ends_with(KEPT_PORT)
}

/// What was seen of a pod.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The pod's uid.
    pub uid: String,
    /// How deep it was looked into.
    pub full: bool,
    /// What is wrong, most telling first.
    pub problems: Vec<Finding<Part>>,
    /// Programs that are not as they should be.
    pub troubles: Vec<Trouble>,
    /// The last lines of the log of the first such program.
    pub log: Option<LogExcerpt>,
    /// Checks that could not be made, each with what it needs.
    pub unchecked: Vec<String>,
    /// Whether nothing was heard out of the pod though it was asked: that says nothing of the pod itself.
    pub unreached: bool,
    /// What the API server said where it did not know who asks.
    pub(crate) unauthorized: Option<String>,
    /// The programs that are to run in it, or to have run.
    pub programs: usize,
    /// Those of them that are as they should be.
    pub programs_well: usize,
    /// Health questions.
    pub answers: Tally,
    /// Names that must be found from inside the pod.
    pub names: Tally,
    /// What a member has only from its joining is missing from its container.
    pub not_joined: Option<NotJoined>,
    /// With what of its settings its container runs, where it was asked.
    pub runs_with: Option<RunsWith>,
    /// The room where its data is, where that was asked for and told.
    pub room: Option<Room>,
}

/// How many of some questions were answered as they should be. Those that could not be put are in neither number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered well.
    pub well: u32,
    /// Put in all.
    pub put: u32,
}

/// A container without what its member got when it joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJoined {
    /// Whether there is data all the same: on a volume, which outlives the container.
    pub holds_data: bool,
}

impl Tally {
    /// Takes a question in by what it left behind: a problem, or a check that could not be made.
    pub(super) fn count(&mut self, before: (usize, usize), after: (usize, usize)) {
        if after.1 == before.1 {
            self.put += 1;
            self.well += u32::from(after.0 == before.0);
        }
    }
}

impl Report {
    /// supervisord counts a program as running when its first second is over. One that answers for itself before is
    /// taken at its word.
    pub(super) fn answers_while_starting(&mut self) {
        let answers = self.answers.put > 0 && self.answers.well == self.answers.put;
        let only_starting = self.problems.len() == self.troubles.len()
            && self.troubles.iter().all(|t| t.is_first_start || t.is_under_way());
        if answers && only_starting {
            self.programs_well += self.troubles.len();
            self.troubles.clear();
            self.problems.clear();
        }
    }

    /// Tells of a program that ends at its start, again and again, why it does where its log says that its port is in use.
    pub(super) fn tell_kept_port(&mut self) {
        let says = |log: &LogExcerpt| log.lines.iter().any(|line| line.to_lowercase().contains(IN_USE));
        let Some(trouble) = self.troubles.first_mut().filter(|_| self.log.as_ref().is_some_and(says)) else { return };
        if !(trouble.is_fatal() || trouble.state == Some(State::Backoff)) {
            return;
        }
        trouble.text = format!("{}; {KEPT_PORT}", trouble.text);
        let about = Part::Program(trouble.program.clone());
        let told = self.problems.iter_mut().filter(|problem| problem.about == about);
        told.for_each(|problem| problem.text.clone_from(&trouble.text));
    }

    /// Takes in why a question was not answered. One that broke off or took too long says nothing of the pod: what is asked
    /// inside of it has times of its own, and tells when these are over.
    pub(super) fn failed(&mut self, about: Part, error: &AskError) {
        let is_unheard = error.is_of_the_way() || matches!(error, AskError::Broken { .. } | AskError::Deadline { .. });
        self.unreached |= is_unheard;
        if error.is_unauthorized() {
            self.unauthorized = Some(error.to_string());
        }
        self.wrong(if is_unheard { Part::Reach } else { about }, error.to_string());
    }

    /// Takes in how a question was answered: an error inside is what is wrong.
    pub(super) fn take(&mut self, about: Part, answered: Result<Result<(), String>, AskError>) {
        match answered {
            Ok(Ok(())) => {}
            Ok(Err(text)) => self.wrong(about, text),
            Err(error) => self.failed(about, &error),
        }
    }

    pub(super) fn wrong(&mut self, about: Part, text: impl Into<String>) {
        self.problems.push(Finding::new(about, text));
    }

    /// Whether the pod serves, as far as could be asked.
    pub fn is_good(&self) -> bool {
        self.full && self.problems.is_empty()
    }

    /// Whether nothing is wrong but that supervisord does not count a program as running before its first second is over.
    pub(super) fn is_good_but_starting(&self) -> bool {
        self.problems.len() == self.troubles.len() && self.troubles.iter().any(Trouble::is_starting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(first: bool, well: u32) -> Report {
        let trouble = Trouble {
            program: "clearwater-group:sprout".to_owned(),
            state: Some(State::Starting),
            text: "program clearwater-group:sprout is STARTING".to_owned(),
            stopped_at: None,
            is_stopped: false,
            is_first_start: first,
        };
        let mut report = Report {
            full: true,
            problems: vec![Finding::new(Part::Program(trouble.program.clone()), trouble.text.clone())],
            troubles: vec![trouble],
            answers: Tally { well, put: 2 },
            ..Report::default()
        };
        report.answers_while_starting();
        report
    }

    /// What ended at its start tells it; what was stopped, or whose log says something else, does not.
    #[test]
    fn a_port_that_an_earlier_process_keeps_is_told() {
        for (state, line, is_told) in [
            (State::Backoff, "bind: Address already in use", true),
            (State::Backoff, "java.net.BindException: Address already in use (Bind failed)", true),
            (State::Fatal, "[emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", true),
            (State::Backoff, "no such file", false),
            (State::Starting, "bind: Address already in use", false),
        ] {
            let mut report = report(false, 0);
            report.troubles[0].state = Some(state);
            report.log = Some(LogExcerpt { from: "a log".to_owned(), lines: vec![line.to_owned()] });
            report.tell_kept_port();
            assert_eq!(is_kept_out(&report.problems[0].text), is_told, "{state:?} {line}: {report:?}");
            assert_eq!(is_kept_out(&report.troubles[0].text), is_told);
        }
    }

    #[test]
    fn a_program_that_answers_in_its_first_second_serves() {
        assert!(report(true, 2).is_good());
        assert!(!report(true, 1).is_good(), "a question was not answered");
        assert!(!report(false, 2).is_good(), "it has ended before");
    }
}
