use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{archive_of, name_of, run_quietly, said};
use crate::build::{is_windows, processor_of, program_of};
use crate::tools::{emulator, zip};
use crate::workspace::root;

/// What stands in every archive, in a folder, with the time that all its files have.
#[derive(Debug)]
pub(super) struct Staged {
    /// Where it stands.
    pub(super) folder: PathBuf,
    /// Where archives go.
    pub(super) published: PathBuf,
    /// Its name.
    name: String,
    /// The archive's.
    archive: String,
    /// Seconds since 1970: when the commit was made.
    pub(super) time: String,
    scratch: tempfile::TempDir,
    emulator: Option<PathBuf>,
}

impl Staged {
    /// Lays the program out with its licences, and where it can be started here with its manual and what kubectl's completion
    /// asks for.
    pub(super) fn new(target: &str, program: &Path, published: &Path) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix(".staged-").tempdir_in(published)?;
        let name = name_of(target);
        let folder = scratch.path().join(&name);
        fs::create_dir(&folder)?;
        fs::copy(program, folder.join(program_of(target)))?;
        for file in ["LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
            fs::copy(root().join(file), folder.join(file))?;
        }
        let staged = Self {
            folder,
            published: published.to_owned(),
            name,
            archive: archive_of(target),
            time: commit_time()?,
            scratch,
            emulator: emulator(processor_of(target))?,
        };
        if is_windows(target) {
            return Ok(staged);
        }
        let to = |name: &str| staged.folder.join(name).to_string_lossy().into_owned();
        staged.said(&["man", "--dir", &to("man1")])?;
        staged.said(&["completion", "install", "--dir", &to(".")])?;
        Ok(staged)
    }

    /// The archive.
    pub(super) fn archive(&self) -> Result<()> {
        let to = self.published.join(&self.archive);
        if to.extension().is_none_or(|ending| ending != "zip") {
            return self.tar(
                self.scratch.path(),
                &[&self.name],
                &to,
                &["--use-compress-program", "gzip --no-name --best"],
            );
        }
        let mut files: Vec<PathBuf> =
            fs::read_dir(&self.folder)?.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
        files.sort();
        run_quietly(Command::new("touch").arg(format!("--date=@{}", self.time)).args(&files))?;
        // One that is there would be added to.
        let _ = fs::remove_file(&to);
        let mut zip = Command::new(zip()?);
        zip.args(["--quiet", "--no-extra", "-9"]).arg(to).current_dir(self.scratch.path()).env("TZ", "UTC");
        run_quietly(zip.args(files.iter().filter_map(|file| file.strip_prefix(self.scratch.path()).ok())))
    }

    /// A tar file of files and folders `what` in `within`: the same bytes each time.
    pub(super) fn tar(&self, within: &Path, what: &[&str], to: &Path, more: &[&str]) -> Result<()> {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--sort=name", "--format=gnu", "--owner=0", "--group=0", "--numeric-owner"]);
        tar.args(["--mode=u+rw,go+r,go-w", &format!("--mtime=@{}", self.time)]).args(more);
        run_quietly(tar.arg("--file").arg(to).arg("--directory").arg(within).args(what))
    }

    /// A folder to put something together in.
    pub(super) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.path().join(name);
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// Puts a file of the archive elsewhere, with the folders above it.
    pub(super) fn put(&self, file: &str, to: &Path) -> Result<()> {
        fs::create_dir_all(to.parent().context("a path has a folder")?)?;
        fs::copy(self.folder.join(file), to).with_context(|| format!("{file} is not staged"))?;
        fs::set_permissions(to, fs::metadata(self.folder.join(file))?.permissions())?;
        Ok(())
    }

    /// The pages of the manual, by name.
    pub(super) fn pages(&self) -> Result<Vec<String>> {
        let pages = fs::read_dir(self.folder.join("man1"))?;
        let mut pages: Vec<String> =
            pages.map(|page| Ok(page?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
        pages.sort();
        Ok(pages)
    }

    /// What the program says.
    pub(super) fn said(&self, args: &[&str]) -> Result<String> {
        let program = self.folder.join("kubectl-clearwater");
        let mut command = Command::new(self.emulator.as_ref().unwrap_or(&program));
        if self.emulator.is_some() {
            command.arg(&program);
        }
        said(command.args(args))
    }

    /// Takes away all that is not published itself.
    pub(super) fn clean(self) -> Result<()> {
        Ok(self.scratch.close()?)
    }
}

/// Writes a file that everybody may read, with the folders above it.
pub(super) fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    fs::create_dir_all(path.parent().context("a path has a folder")?)?;
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

/// When the commit was made, in seconds since 1970.
pub(super) fn commit_time() -> Result<String> {
    let time = said(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()))?;
    Ok(time.trim().to_owned())
}
