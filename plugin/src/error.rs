use std::io;
use std::path::{Path, PathBuf};

use clearwater::config::ConfigErrors;
use clearwater::dns::RecordsError;
use clearwater::event::CancelReason;
use clearwater::manifest::ManifestError;
use clearwater::order::OrderError;
use clearwater::remedy::{Remedied, Remedy};
use clearwater::text::printable;
use clearwater::yaml::YamlError;
use clearwater_kube::TimeLimit;
use clearwater_kube::backup::BackupError;
use clearwater_kube::dns::DnsError;
use clearwater_kube::observe::CouldNotLook;
use clearwater_kube::subscribers::SubscriberError;
use thiserror::Error;

use crate::{exit, signal};

/// Why a command ended without its result. Each kind has one exit code.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// A command line that parses and makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A deployment file with everything that is wrong with it.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A deployment that cannot be rendered from what is known offline.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A component that is not part of the deployment's graph.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// A file that cannot be read.
    #[error("{}: cannot be read: {source}; name another file", spelled(.path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("{}: cannot be written: {}", spelled(.path), unwritten(path, source))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output that cannot be written to.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// A result that cannot be written as YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A result that cannot be written as JSON.
    #[error("the result cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A cluster that cannot be reached with the flags and the kubeconfig given.
    #[error("{0}")]
    Connection(String),
    /// No runtime for asynchronous work.
    #[error("the threads that the command needs cannot be started: {0}; raise the limit on processes")]
    Runtime(io::Error),
    /// No keys could be made.
    #[error("no random numbers for the keys: {0}")]
    Random(String),
    /// Something that could not work on the cluster as it is.
    #[error("{0}")]
    Unready(String),
    /// Names that were not put into DNS, or not taken out.
    #[error(transparent)]
    Dns(Box<DnsError>),
    /// Something about subscribers that could not be done.
    #[error(transparent)]
    Subscriber(Box<SubscriberError>),
    /// A backup that was not made, or not put back.
    #[error(transparent)]
    Backup(Box<BackupError>),
    /// An archive that is no backup that can be put back.
    #[error("{}: {reason}; nothing was written", spelled(.path))]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that is not done because it could do harm.
    #[error("{0}")]
    Refused(String),
    /// A signal that ended it, with nothing left to be put right.
    #[error("interrupted")]
    Ended(CancelReason),
}

impl From<DnsError> for CliError {
    fn from(error: DnsError) -> Self {
        Self::Dns(Box::new(error))
    }
}

impl From<CouldNotLook> for CliError {
    /// Whoever looks has `--timeout`.
    fn from(error: CouldNotLook) -> Self {
        let more = match error.limit() {
            Some(TimeLimit::Request) => "; --request-timeout gives it longer",
            Some(TimeLimit::Whole) => "; --timeout gives it longer",
            None => "",
        };
        Self::Connection(format!("{error}{more}"))
    }
}

impl From<SubscriberError> for CliError {
    fn from(error: SubscriberError) -> Self {
        Self::Subscriber(Box::new(error))
    }
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Subscriber(error) => error.into(),
            other => Self::Backup(Box::new(other)),
        }
    }
}

impl Remedied for CliError {
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Manifest(error) => error.remedy(),
            Self::Dns(error) => error.remedy(),
            Self::Subscriber(error) => error.remedy(),
            Self::Backup(error) => error.remedy(),
            _ => None,
        }
    }
}

impl CliError {
    /// The code that the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) | Self::Manifest(_) | Self::Order(_) | Self::Archive { .. } => exit::USAGE,
            Self::Read { source, .. } if is_other(source) => exit::USAGE,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Output(_)
            | Self::Yaml(_)
            | Self::Json(_)
            | Self::Connection(_)
            | Self::Random(_)
            | Self::Runtime(_) => exit::FAILURE,
            Self::Unready(_) => exit::FAILED_EARLY,
            Self::Refused(_) => exit::REFUSED,
            Self::Ended(reason) => signal::code(*reason),
            Self::Backup(error) => match **error {
                BackupError::HomeDomain { .. } | BackupError::NotConfirmed => exit::REFUSED,
                BackupError::Cancelled { reason, .. } => signal::code(reason),
                _ => exit::FAILURE,
            },
            Self::Subscriber(error) => match **error {
                SubscriberError::NotReady { .. } | SubscriberError::Keys { .. } => exit::FAILED_EARLY,
                SubscriberError::Identity(_) => exit::USAGE,
                _ => exit::FAILURE,
            },
            Self::Dns(error) => match **error {
                DnsError::Closed { .. }
                | DnsError::Unwell { .. }
                | DnsError::NoReload { .. }
                | DnsError::NotConfirmed => exit::REFUSED,
                // Where a component has no address yet, nothing was said wrong.
                DnsError::Records(RecordsError::NoAddress { .. }) => exit::FAILURE,
                DnsError::Backend { .. } | DnsError::Records(_) | DnsError::Name(_) => exit::USAGE,
                DnsError::Interrupted { .. } => exit::INTERRUPTED,
                _ => exit::FAILURE,
            },
        }
    }

    /// Whether the reader of the output went away.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let Self::Output(e) = self else { return false };
        e.kind() == io::ErrorKind::BrokenPipe
    }
}

/// A path as it is told: in one line, whatever is in its name.
pub(crate) fn spelled(path: impl AsRef<Path>) -> String {
    printable(&path.as_ref().to_string_lossy()).into_owned()
}

/// Whether what was named is not there, or is nothing that the command reads: another kind of file, of another form or version, torn
/// or longer than any. The command line is wrong then; of what is right and could not be read, or has nothing in it, it is not.
pub(crate) fn is_other(why: &io::Error) -> bool {
    use io::ErrorKind::{
        FileTooLarge, InvalidData, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound, UnexpectedEof,
        Unsupported,
    };
    is_no_file(why)
        || matches!(
            why.kind(),
            NotFound
                | IsADirectory
                | NotADirectory
                | InvalidData
                | InvalidInput
                | InvalidFilename
                | FileTooLarge
                | UnexpectedEof
                | Unsupported
        )
}

/// Whether it is a link that leads to itself, or a socket: there is no name for either yet.
#[cfg(unix)]
fn is_no_file(why: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(why).is_some_and(|error| [Errno::LOOP, Errno::NXIO].contains(&error))
}

#[cfg(not(unix))]
const fn is_no_file(_: &io::Error) -> bool {
    false
}

/// Why a file was not written, and what to do.
fn unwritten(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            "it is there already, and nothing is written over: choose another name".to_owned()
        }
        // Where its directory is there, it is none in which files are made.
        io::ErrorKind::NotFound
            if !path.parent().is_some_and(|parent| parent.as_os_str().is_empty() || parent.exists()) =>
        {
            format!("{error}; make its directory, or choose another place")
        }
        io::ErrorKind::StorageFull => format!("{error}; make room, or choose another place"),
        _ => format!("{error}; choose another place"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line end in one would make two lines of a sentence.
    #[test]
    fn paths_are_told_by_one_function() {
        assert_eq!(spelled("a\nb\u{1b}"), r"a\nb\u{1b}");
        let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("tests.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let own = text.split("#[cfg(test)]").next().unwrap_or_default();
                    found.extend(own.contains(".display()").then_some(path));
                }
            }
        }
        assert!(found.is_empty(), "{found:?}");
    }
}
