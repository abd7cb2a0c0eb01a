use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use clearwater::config::{Deployment, DeploymentFile, InvalidSet, Set};

use super::NamedFile;
use crate::context::Context;
use crate::error::CliError;

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
fn set(text: &str) -> Result<Set, InvalidSet> {
    text.parse::<Set>().map(|set| set.given_by("--set"))
}

impl PlaceArgs {
    /// A file that is named, or the usual one.
    pub(crate) fn named(filename: Option<PathBuf>) -> Self {
        Self { filename }
    }

    /// The namespace, which is the command's first line where `says`.
    pub(crate) fn namespace(&self, context: &mut Context, says: bool) -> Result<String, CliError> {
        FileArgs::named(self.filename.clone()).namespace(context, says)
    }
}

impl FileArgs {
    /// A file that is named, or the usual one.
    pub(crate) fn named(filename: Option<PathBuf>) -> Self {
        Self { filename, set: Vec::new() }
    }

    /// Whether a file is named, or the usual one exists.
    pub(crate) fn is_there(&self) -> bool {
        self.filename.is_some() || Path::new(USUAL).exists()
    }

    /// Reads and checks the file. Its warnings are left to [`FileArgs::deployment`].
    pub(crate) fn read(&self) -> Result<NamedFile, CliError> {
        let (text, name) = match self.filename.as_deref() {
            Some(path) if path == Path::new("-") => (stdin()?, "standard input".to_owned()),
            Some(path) => (read(path)?, path.display().to_string()),
            None => match std::fs::read(USUAL).and_then(text) {
                Ok(text) => (text, USUAL.to_owned()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    ("apiVersion: clearwater/v1\n".to_owned(), "the default deployment".to_owned())
                }
                Err(source) => return Err(CliError::Read { path: USUAL.into(), source }),
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
        if !self.is_there() {
            return Ok((None, self.namespace(context, says)?));
        }
        let deployment = self.deployment(context, says)?;
        let namespace = deployment.namespace().to_owned();
        Ok((Some(deployment), namespace))
    }

    /// The namespace alone. Where the command line says it, only a file that is named is read.
    fn namespace(&self, context: &mut Context, says: bool) -> Result<String, CliError> {
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

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read(path).and_then(text).map_err(|source| CliError::Read { path: path.to_owned(), source })
}

/// The text of a file. What PowerShell's `>` writes is named as that.
fn text(bytes: Vec<u8>) -> io::Result<String> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    // YAML is ASCII at its begin, so that a zero byte there is half of a character.
    if matches!(bytes[..], [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0, _, ..] | [_, 0, ..]) {
        return Err(wrong(
            "it is UTF-16, as PowerShell writes by itself: save it as UTF-8 (| Out-File -Encoding utf8)",
        ));
    }
    String::from_utf8(bytes)
        .map_err(|e| wrong(&format!("it is no UTF-8 from byte {} on", e.utf8_error().valid_up_to())))
}

fn stdin() -> Result<String, CliError> {
    let mut bytes = Vec::new();
    let read = io::stdin().read_to_end(&mut bytes).and_then(|_| text(bytes));
    read.map_err(|source| CliError::Read { path: "standard input".into(), source })
}

#[cfg(test)]
mod tests {
    use super::text as read_text;

    #[test]
    fn a_file_of_powershell_is_named_as_such() {
        let text = "apiVersion: clearwater/v1\n";
        assert_eq!(read_text(text.as_bytes().to_vec()).unwrap(), text);
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [[&[0xFF, 0xFE][..], &little].concat(), [&[0xFE, 0xFF][..], &big].concat(), little, big] {
            assert!(read_text(bytes).unwrap_err().to_string().contains("UTF-16, as PowerShell"));
        }
        assert_eq!(read_text(b"a: \xE4".to_vec()).unwrap_err().to_string(), "it is no UTF-8 from byte 3 on");
        assert_eq!(read_text(Vec::new()).unwrap(), "");
    }
}
