use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use clearwater::config::{Deployment, DeploymentFile, Set};

use crate::context::Context;
use crate::error::CliError;

/// The deployment file that is read where none is named.
pub(crate) const USUAL: &str = "clearwater.yaml";

/// Which deployment is meant.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FileArgs {
    /// The deployment file; - reads standard input. Default: clearwater.yaml where that exists, else the release hunter
    /// with every default
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Put a value over the deployment file's, as in --set bono.exposure=nodePort. May be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Set>,
}

impl FileArgs {
    /// A file that is named, or the usual one.
    pub(crate) fn named(filename: Option<PathBuf>) -> Self {
        Self { filename, set: Vec::new() }
    }

    /// Reads and checks the file. Its warnings are left to [`FileArgs::deployment`].
    pub(crate) fn read(&self) -> Result<DeploymentFile, CliError> {
        let (text, name) = match self.filename.as_deref() {
            Some(path) if path == Path::new("-") => (stdin()?, "standard input".to_owned()),
            Some(path) => (read(path)?, path.display().to_string()),
            None => match std::fs::read_to_string(USUAL) {
                Ok(text) => (text, USUAL.to_owned()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    ("apiVersion: clearwater/v1\n".to_owned(), "the default deployment".to_owned())
                }
                Err(source) => return Err(CliError::Read { path: USUAL.into(), source }),
            },
        };
        Ok(DeploymentFile::parse_with(&text, &name, &self.set)?)
    }

    /// Reads the file, puts it on its namespace and says what it warns of.
    pub(crate) fn deployment(&self, context: &mut Context) -> Result<Deployment, CliError> {
        let file = self.read()?;
        let namespace = context.connection().namespace_for(&file)?;
        let deployment = file.deploy(&namespace)?;
        for warning in deployment.warnings() {
            context.talk().warning(warning);
        }
        Ok(deployment)
    }
}

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })
}

fn stdin() -> Result<String, CliError> {
    let mut text = String::new();
    let read = io::stdin().read_to_string(&mut text);
    read.map(|_| text).map_err(|source| CliError::Read { path: "standard input".into(), source })
}
