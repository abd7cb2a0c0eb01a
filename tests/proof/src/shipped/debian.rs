use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::common::said;

const SUITE: &str = "bookworm";

/// Runs a program in a root with its own /proc, which goes with it.
const INSIDE: &str = r#"mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@""#;

/// The smallest Debian in a folder, which goes with it.
pub(super) struct Debian(TempDir);

impl Debian {
    /// One with these packages, named with commas between them.
    pub(super) fn with(packages: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // apt gives up its rights, and has to see the folder then.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let mut debian = Command::new("mmdebstrap");
        debian.args(["--quiet", "--mode=root", "--variant=minbase", "--format=directory"]);
        said(debian.arg(format!("--include={packages}")).arg(SUITE).arg(folder.path()))
            .context("`cargo xtask standins build` installs mmdebstrap")?;
        Ok(Self(folder))
    }

    /// A path in it, without a slash at its beginning, as it is from outside.
    pub(super) fn within(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// A program in it.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE]).arg(self.0.path()).args(words);
        command
            .env_clear()
            .env("HOME", "/root")
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// What a program in it says.
    pub(super) fn said(&self, words: &[&str]) -> Result<String> {
        said(&mut self.command(words))
    }
}
