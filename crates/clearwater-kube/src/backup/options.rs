use crate::options::setters;
use crate::subscribers::AT_ONCE;

/// What `backup` is to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackupOptions {
    /// Accounts of Ellis that are looked for besides those that its address book shows.
    pub accounts: Vec<String>,
    /// The text of the deployment file, which is kept with the rest.
    pub deployment: Option<String>,
    /// How many are asked about at the same time.
    pub at_once: usize,
}

impl BackupOptions {
    /// Everything.
    pub fn new() -> Self {
        Self { accounts: Vec::new(), deployment: None, at_once: AT_ONCE }
    }
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self::new()
    }
}

setters! { BackupOptions {
    /// Accounts of Ellis that are looked for besides those that its address book shows.
    each accounts: String,
    /// The text of the deployment file, which is kept with the rest.
    some deployment: String,
    /// How many are asked about at the same time.
    value at_once: usize,
} }

/// What `restore` is to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Whether what differs is replaced; else it is left as it is.
    pub replace: bool,
    /// Only looks, and writes nothing.
    pub dry_run: bool,
    /// Whether the run waits after [`Planned`](clearwater::event::EventKind::Planned) until it is told to go on, where
    /// something would be done.
    pub ask: bool,
    /// How many are put back at the same time.
    pub at_once: usize,
}

impl RestoreOptions {
    /// What is missing, without asking.
    pub fn new() -> Self {
        Self { replace: false, dry_run: false, ask: false, at_once: AT_ONCE }
    }
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self::new()
    }
}

setters! { RestoreOptions {
    /// Replaces what differs.
    flag replace,
    /// Only looks, and writes nothing.
    flag dry_run,
    /// Waits to be told to go on.
    flag ask,
    /// How many are put back at the same time.
    value at_once: usize,
} }
