use std::time::Duration;

use clearwater::component::Component;

use crate::options::setters;

/// What `down` is to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct DownOptions {
    /// Only these components; all where it is empty.
    pub only: Vec<Component>,
    /// Whether pods are removed at once, without their pre-stop hooks.
    pub now: bool,
    /// Whether the configuration and the keys are kept.
    pub keep_config: bool,
    /// Whether the volumes with subscribers and accounts are removed too. They go with the namespace in any case.
    pub delete_volumes: bool,
    /// Whether the namespace is removed too.
    pub delete_namespace: bool,
    /// Whether the namespace is removed, without asking, where others have something in it.
    pub foreign: bool,
    /// How long the whole may take, without the time that a question stands open.
    pub timeout: Duration,
    /// Whether the run waits after [`Planned`](clearwater::event::EventKind::Planned) until it is told to go on, where something would be done.
    pub ask: bool,
}

impl DownOptions {
    /// Everything, orderly, within 15 minutes.
    pub fn new() -> Self {
        Self {
            only: Vec::new(),
            now: false,
            keep_config: false,
            delete_volumes: false,
            delete_namespace: false,
            foreign: false,
            timeout: Duration::from_secs(15 * 60),
            ask: false,
        }
    }
}

impl Default for DownOptions {
    fn default() -> Self {
        Self::new()
    }
}

setters! { DownOptions {
    /// Only these components.
    each only: Component,
    /// Removes pods at once, without their pre-stop hooks.
    flag now,
    /// Keeps the configuration and the keys.
    flag keep_config,
    /// Removes the volumes with subscribers and accounts too.
    flag delete_volumes,
    /// Removes the namespace too.
    flag delete_namespace,
    /// Removes the namespace, without asking, where others have something in it.
    flag foreign,
    /// How long the whole may take, without the time that a question stands open.
    value timeout: Duration,
    /// Waits after [`Planned`](clearwater::event::EventKind::Planned) until it is told to go on.
    flag ask,
} }
