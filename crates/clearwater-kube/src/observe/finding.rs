//! What is wrong with a component, each line with what it is about, so that it is known again when it is seen once more.

/// What a problem of one pod is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The pod as a whole: it could not be asked to the end.
    Reach,
    /// The pod as a whole: it has not been asked yet.
    NotAsked,
    /// What supervisord says, where it says nothing that can be read.
    Programs,
    /// One program, by its full name.
    Program(String),
    /// One of the component's health questions, by its place in the catalogue.
    Question(usize),
    /// A name that must be found from inside the pod.
    Name(String),
    /// The zone that it was started with, where it is to be another.
    Zone,
}

impl Part {
    /// Whether two problems of one pod can be the same: one that hides another stands for it.
    pub fn meets(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Reach | Self::NotAsked, _)
                | (_, Self::Reach | Self::NotAsked)
                | (Self::Programs, Self::Program(_))
                | (Self::Program(_), Self::Programs)
        ) || self == other
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<A> {
    /// What it is about.
    pub about: A,
    /// One line that says it.
    pub text: String,
    /// Whether it is a program that somebody stopped: nothing else needs to be wrong with it.
    pub is_stopped: bool,
}

impl<A> Finding<A> {
    /// A problem.
    pub fn new(about: A, text: impl Into<String>) -> Self {
        Self { about, text: text.into(), is_stopped: false }
    }
}
