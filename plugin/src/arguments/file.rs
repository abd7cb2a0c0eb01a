use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use clearwater::config::{Deployment, DeploymentFile, InvalidSet, Set};

use super::NamedFile;
use crate::advice;
use crate::bounded::{self, LARGEST};
use crate::connection::typed;
use crate::context::Context;
use crate::error::{CliError, spelled};

/// The deployment file that is read where none is named.
pub(crate) const USUAL: &str = "clearwater.yaml";

/// Which deployment is meant.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FileArgs {
    /// The deployment file; - reads standard input. Default: clearwater.yaml where that exists, else the release hunter
    /// with every default
    #[arg(short, long, visible_alias = "file", value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Put a value over the deployment file's, as in --set bono.exposure=nodePort. May be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = set)]
    set: Vec<Set>,
}

/// Which deployment is meant, where nothing but its namespace is read from the file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PlaceArgs {
    /// The deployment file, for its namespace; - reads standard input. Default: clearwater.yaml where that exists
    #[arg(short, long, visible_alias = "file", value_name = "FILE")]
    filename: Option<PathBuf>,
}

/// A value, which problems name with the flag that gave it.
pub(crate) fn set(text: &str) -> Result<Set, InvalidSet> {
    text.parse::<Set>().map(|set| set.given_by("--set"))
}

impl PlaceArgs {
    /// A file that is named, or the usual one.
    pub(crate) fn named(filename: Option<PathBuf>) -> Self {
        Self { filename }
    }

    /// The same, where more is read of the file.
    pub(crate) fn file(&self) -> FileArgs {
        FileArgs::named(self.filename.clone())
    }

    /// The namespace, which is the command's first line where `says`.
    pub(crate) fn namespace(&self, context: &mut Context, says: bool) -> Result<String, CliError> {
        self.file().namespace(context, says)
    }
}

impl FileArgs {
    /// A file that is named, or the usual one.
    pub(crate) fn named(filename: Option<PathBuf>) -> Self {
        Self { filename, set: Vec::new() }
    }

    /// The same with a value put over the file's.
    #[must_use]
    pub(crate) fn over(mut self, set: Set) -> Self {
        self.set.push(set);
        self
    }

    /// Whether a file is named, or the usual one exists.
    pub(crate) fn is_there(&self) -> bool {
        self.filename.is_some() || Path::new(USUAL).exists()
    }

    /// Whether anything says which deployment it is.
    pub(crate) fn is_told(&self) -> bool {
        self.is_there() || !self.set.is_empty()
    }

    /// The flags that name the same deployment again, each after a blank. The usual file is named too: what is advised may be
    /// typed elsewhere.
    pub(crate) fn typed(&self) -> String {
        let usual = || Path::new(USUAL).exists().then(|| USUAL.to_owned());
        let file = self.filename.as_ref().map(|path| path.to_string_lossy().into_owned()).or_else(usual);
        let file = file.map(|file| format!(" -f {}", typed(&file)));
        // What a command puts over the file by itself is none of these.
        let set = self.set.iter().map(Set::shown);
        let set = set.filter_map(|set| Some(format!(" --set {}", typed(set.strip_prefix("--set ")?))));
        file.into_iter().chain(set).collect()
    }

    /// Has each `up` that is advised name this deployment, where something says which it is.
    pub(crate) fn is_advised(&self) {
        if self.is_told() {
            advice::made_of(self.typed());
        }
    }

    /// Reads and checks the file. Its warnings are left to [`FileArgs::deployment`].
    pub(crate) fn read(&self) -> Result<NamedFile, CliError> {
        let (text, name) = match self.filename.as_deref() {
            Some(path) => {
                let name = if path == Path::new("-") { "standard input".to_owned() } else { spelled(path) };
                (bounded::text(path, LARGEST)?, name)
            }
            None => match bounded::text(Path::new(USUAL), LARGEST) {
                Ok(text) => (text, USUAL.to_owned()),
                Err(CliError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    ("apiVersion: clearwater/v1\n".to_owned(), "the default deployment".to_owned())
                }
                Err(error) => return Err(error),
            },
        };
        let file = DeploymentFile::parse_with(&text, &name, &self.set)?;
        let is_set = self.set.iter().any(|set| set.path().to_string() == "namespace");
        Ok(NamedFile { file, namespace_from: if is_set { "--set".to_owned() } else { name } })
    }

    /// Reads the file, puts it on its namespace and says what it warns of. The namespace is the command's first line
    /// where `says`.
    pub(crate) fn deployment(&self, context: &mut Context, says: bool) -> Result<Deployment, CliError> {
        let file = self.read()?;
        self.is_advised();
        let namespace = context.connection().namespace_for(&file)?;
        if says {
            context.announce(&namespace);
        }
        let deployment = file.file.deploy(&namespace.name)?;
        for warning in deployment.warnings() {
            context.talk().warning(warning);
        }
        Ok(deployment)
    }

    /// The same where a file is named or the usual one exists; without one, the namespace alone.
    pub(crate) fn deployment_or_namespace(
        &self,
        context: &mut Context,
        says: bool,
    ) -> Result<(Option<Deployment>, String), CliError> {
        if !self.is_told() {
            return Ok((None, self.namespace(context, says)?));
        }
        let deployment = self.deployment(context, says)?;
        let namespace = deployment.namespace().to_owned();
        Ok((Some(deployment), namespace))
    }

    /// The namespace alone. Where the command line says it, only a file that is named is read.
    fn namespace(&self, context: &mut Context, says: bool) -> Result<String, CliError> {
        self.is_advised();
        let named = context.connection().named_namespace().filter(|_| self.filename.is_none());
        let namespace = match named {
            Some(namespace) => namespace,
            None => context.connection().namespace_for(&self.read()?)?,
        };
        if says {
            context.announce(&namespace);
        }
        // What is no namespace's name must not become a part of a URL.
        DeploymentFile::default().deploy(&namespace.name)?;
        Ok(namespace.name)
    }
}
