use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::bounded;
use crate::context::Context;
use crate::error::{CliError, spelled};
use crate::exit;

/// Complete command lines in a shell: commands, flags, components, contexts, namespaces, pods, Call-IDs
///
/// kubectl's own completion asks an executable kubectl_complete-clearwater on the PATH what may follow `kubectl clearwater`:
/// `install` puts it there, for every shell at once. The scripts are for kubectl-clearwater called by its own name.
/// PowerShell's is untested.
#[derive(Debug, Subcommand)]
#[command(
    disable_help_subcommand = true,
    after_help = "Examples:
  kubectl clearwater completion install
  kubectl clearwater completion install --dir ~/.local/bin
  kubectl clearwater completion bash > kubectl-clearwater.bash"
)]
pub(crate) enum Completion {
    /// Show the script for bash
    #[command(after_help = "Examples:
  kubectl clearwater completion bash
  kubectl clearwater completion bash > kubectl-clearwater.bash")]
    Bash,
    /// Show the script for zsh
    #[command(after_help = "Examples:
  kubectl clearwater completion zsh
  kubectl clearwater completion zsh > _kubectl-clearwater")]
    Zsh,
    /// Show the script for fish
    #[command(after_help = "Examples:
  kubectl clearwater completion fish
  kubectl clearwater completion fish > kubectl-clearwater.fish")]
    Fish,
    /// Show the script for PowerShell
    #[command(after_help = "Examples:
  kubectl clearwater completion powershell
  kubectl clearwater completion powershell > kubectl-clearwater.ps1")]
    Powershell,
    Install(Install),
}

impl Completion {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let script = match self {
            Self::Bash => include_str!("completion/complete.bash"),
            Self::Zsh => include_str!("completion/complete.zsh"),
            Self::Fish => include_str!("completion/complete.fish"),
            Self::Powershell => include_str!("completion/complete.ps1"),
            Self::Install(command) => return command.run(context),
        };
        context.results().text(script)?;
        Ok(exit::OK)
    }
}

/// Put kubectl_complete-clearwater where kubectl finds it
///
/// A file of that name that this command did not write stays as it is (exit code 6).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater completion install
  kubectl clearwater completion install --dir ~/.local/bin
  kubectl clearwater completion install --dry-run")]
pub(crate) struct Install {
    /// The directory. Default: where kubectl-clearwater is
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// What kubectl looks for, and what it is.
const NAME: &str = if cfg!(windows) { "kubectl_complete-clearwater.cmd" } else { "kubectl_complete-clearwater" };
const PROGRAM: &str = if cfg!(windows) { "kubectl-clearwater.exe" } else { "kubectl-clearwater" };
/// By this the file is known again as ours.
const MARK: &str = "Written by `kubectl clearwater completion install`";
const TEXT: &str = if cfg!(windows) {
    "@rem Written by `kubectl clearwater completion install`: kubectl asks it what may follow.\r\n\
     @kubectl-clearwater __complete %*\r\n"
} else {
    "#!/bin/sh\n\
     # Written by `kubectl clearwater completion install`: kubectl asks it what may follow.\n\
     exec kubectl-clearwater __complete \"$@\"\n"
};

impl Install {
    fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let on_path = path_directories();
        let Some(dir) = self.dir.or_else(|| own_directory(&on_path)) else {
            return Err(CliError::Usage(
                "where kubectl-clearwater is cannot be found out: name a directory with --dir".to_owned(),
            ));
        };
        let path = dir.join(NAME);
        let is_there = is_ours(&path)?;
        if !self.dry_run {
            write(&dir, &path, is_there)?;
        }
        let shown = spelled(&path);
        context.talk().note(match (self.dry_run, is_there) {
            (false, _) => format!("{shown} is written"),
            (true, false) => format!("{shown} would be written"),
            (true, true) => format!("{shown}, which this command wrote, would be written anew"),
        });
        let same = |a: &Path| fs::canonicalize(a).ok().zip(fs::canonicalize(&dir).ok()).is_some_and(|(a, b)| a == b);
        let at = spelled(&dir);
        let Some(place) = on_path.iter().position(|a| same(a)) else {
            context.talk().warning(format!("{at} is not on the PATH: kubectl finds the file once it is"));
            return Ok(exit::OK);
        };
        // kubectl takes the first of that name.
        match on_path.iter().take(place).map(|earlier| earlier.join(NAME)).find(|other| other.is_file()) {
            Some(other) => context.talk().warning(format!("{} comes before it on the PATH", spelled(&other))),
            None => context.talk().note(format!(
                "{at} is on the PATH: where kubectl's own completion is loaded, `kubectl clearwater <TAB>` works (see \
                 kubectl completion --help)"
            )),
        }
        if !on_path.iter().any(|a| a.join(PROGRAM).is_file()) {
            context.talk().warning("kubectl-clearwater itself is not on the PATH: it has to be, for kubectl as well");
        }
        Ok(exit::OK)
    }
}

fn path_directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect()
}

/// Where this program is: as it is found on the PATH, where it may be a link into somebody's store, else its file.
fn own_directory(on_path: &[PathBuf]) -> Option<PathBuf> {
    let own = std::env::current_exe().and_then(fs::canonicalize).ok()?;
    let is_own = |dir: &&PathBuf| fs::canonicalize(dir.join(PROGRAM)).is_ok_and(|found| found == own);
    on_path.iter().find(is_own).cloned().or_else(|| own.parent().map(Path::to_owned))
}

/// Whether the file is there and ours. One of others' is an error.
fn is_ours(path: &Path) -> Result<bool, CliError> {
    match path.symlink_metadata() {
        Ok(kind) if kind.is_file() && String::from_utf8_lossy(&bounded::bytes(path)?).contains(MARK) => Ok(true),
        Ok(_) => Err(of_others(path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(CliError::Write { path: path.to_owned(), source }),
    }
}

fn of_others(path: &Path) -> CliError {
    CliError::Refused(format!(
        "{} is there, is none of ours and is left as it is: move it away, or choose another place with --dir",
        spelled(path)
    ))
}

/// Writes the file whole or not at all, over none but our own.
fn write(dir: &Path, path: &Path, is_there: bool) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: path.to_owned(), source };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kubectl_complete-");
    #[cfg(unix)]
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    #[cfg(unix)]
    builder.permissions(mode);
    let mut file = builder.tempfile_in(dir).map_err(failed)?;
    file.write_all(TEXT.as_bytes()).map_err(failed)?;
    let put = if is_there { file.persist(path) } else { file.persist_noclobber(path) };
    match put {
        Ok(_) => Ok(()),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Err(of_others(path)),
        Err(e) => Err(failed(e.error)),
    }
}
