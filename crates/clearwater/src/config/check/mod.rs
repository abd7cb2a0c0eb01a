//! What single values cannot tell: combinations that cannot work, and values whose form Kubernetes or Clearwater
//! refuses later and less clearly.

mod components;
mod exposure;
mod form;
mod images;
mod names;
mod security;
mod settings;
mod storage;

use super::problem::{KeyPath, Problem, ProblemKind, quoted};
use super::{Deployment, DeploymentFile};

/// A problem, and the values it was concluded from: where one of them could not be read, nothing is concluded.
pub(super) struct Fault {
    pub(super) problem: Problem,
    pub(super) about: Vec<KeyPath>,
}

/// What is wrong with a file on whatever namespace it is put.
pub(super) fn file(file: &DeploymentFile) -> Vec<Fault> {
    let mut check = Check { file, found: Vec::new() };
    names::check(&mut check);
    images::check(&mut check);
    exposure::check(&mut check);
    components::check(&mut check);
    security::check(&mut check);
    settings::check(&mut check);
    storage::check(&mut check);
    check.found
}

/// What is wrong with a file on this namespace.
pub(super) fn deployment(deployment: &Deployment) -> Vec<Fault> {
    let mut check = Check { file: deployment.file(), found: Vec::new() };
    names::check_namespace(&mut check, deployment);
    check.found
}

/// What the containers' own scripts would make of a deployment that is sound otherwise.
pub(super) fn environment(deployment: &Deployment) -> Vec<Fault> {
    let mut check = Check { file: deployment.file(), found: Vec::new() };
    settings::check_environment(&mut check, deployment);
    check.found
}

struct Check<'a> {
    file: &'a DeploymentFile,
    found: Vec<Fault>,
}

impl Check<'_> {
    /// Values that cannot stand together. The first is the one to show.
    fn refuse(&mut self, about: &[KeyPath], message: impl Into<String>) {
        self.find(ProblemKind::Combination, about, message.into());
    }

    /// A value that has not the form wanted.
    fn wrong(&mut self, key: &KeyPath, message: impl Into<String>) {
        self.find(ProblemKind::WrongValue, std::slice::from_ref(key), message.into());
    }

    fn warn(&mut self, about: &[KeyPath], message: impl Into<String>) {
        self.find(ProblemKind::Warning, about, message.into());
    }

    fn find(&mut self, kind: ProblemKind, about: &[KeyPath], message: String) {
        let key = about.first().cloned().unwrap_or_default();
        // What is missing stands nowhere: what it is missing for does.
        let places = &self.file.places;
        let place = about.iter().find_map(|path| places.at(path)).or_else(|| places.of(&key)).cloned();
        self.found.push(Fault { problem: Problem { kind, place, key, message }, about: about.to_vec() });
    }

    /// Says so where a value has not the form that `of` wants.
    fn form(&mut self, key: &KeyPath, value: &str, of: impl Fn(&str) -> Result<(), String>) {
        if let Err(why) = of(value) {
            self.wrong(key, format!("{} {why}", quoted(value)));
        }
    }
}

/// The path of keys joined by dots. Only for keys without dots in them.
fn path(keys: &str) -> KeyPath {
    KeyPath::of(&keys.split('.').collect::<Vec<_>>())
}
