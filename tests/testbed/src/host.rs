//! This machine: commands, packages, mounts.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::UnmountFlags;

/// Debian packages the cluster needs, with the series that were tried, one a line: `package=version command`.
const PACKAGES: &str = include_str!("../packages.txt");

/// Runs a command to its end; its standard output, or an error that shows what it wrote to standard error.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    output(&mut command)
}

/// [`run`] for a prepared command.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{shown}`: is the program installed?"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let said = if error.trim().is_empty() { String::from_utf8_lossy(&output.stdout) } else { error };
        bail!("`{shown}` ended with {}: {}", output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` wrote something that is not text"))
}

/// A command as one would type it, shortened.
pub(crate) fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    if text.len() > 300 {
        let end = (0..=300).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Asks `done` again and again, at first after 20 ms, later twice a second, until it gives a value.
///
/// `what` names the awaited thing in the error of a deadline that passed, with the last thing `done` said was missing.
pub fn wait_for<T>(what: &str, limit: Duration, mut done: impl FnMut() -> Result<Attempt<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(20);
    loop {
        let missing = match done()? {
            Attempt::Done(value) => return Ok(value),
            Attempt::NotYet(missing) => missing,
        };
        let now = Instant::now();
        ensure!(now < end, "waited {} s for {what}; last seen: {missing}", limit.as_secs());
        thread::sleep(pause.min(end - now));
        pause = (pause * 3 / 2).min(Duration::from_millis(500));
    }
}

/// What one look of [`wait_for`] found.
#[derive(Debug)]
pub enum Attempt<T> {
    /// It is there.
    Done(T),
    /// It is not there, and what was seen in its place.
    NotYet(String),
}

impl<T> Attempt<T> {
    /// What was seen in place of the awaited thing.
    pub fn not_yet(seen: impl Into<String>) -> Self {
        Self::NotYet(seen.into())
    }
}

/// Whether the user is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs the packages whose commands are missing.
pub(crate) fn install_packages(say: &dyn Fn(&str)) -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, program)| find_program(program).is_none())
        .map(|(package, _)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(
        find_program("apt-get").is_some(),
        "these packages are missing and there is no apt-get to install them: {}",
        missing.join(" ")
    );
    say(&format!("installing {}", missing.join(" ")));
    let install = || {
        let mut command = Command::new("apt-get");
        command.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        output(&mut command)
    };
    if install().is_err() {
        run("apt-get", ["update"])?;
        install()?;
    }
    Ok(())
}

/// Looks for a program in PATH and where Debian puts programs for root; a path is looked at itself.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Path::new(name).exists().then(|| name.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// Mount points at or below any of `roots`, the newest first.
pub(crate) fn mounts_below(roots: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|escaped| PathBuf::from(unescape(escaped)))
        .filter(|path| roots.iter().any(|root| path.starts_with(root)))
        .collect();
    found.reverse();
    Ok(found)
}

/// Takes down every mount at or below `roots`.
pub(crate) fn unmount_below(roots: &[PathBuf]) -> Result<()> {
    wait_for("mounts to go away", Duration::from_secs(10), || {
        let mounts = mounts_below(roots)?;
        for mount in &mounts {
            if rustix::mount::unmount(mount, UnmountFlags::NOFOLLOW).is_err() {
                // Whoever still holds it ends on their own; nothing new can enter it.
                let _ = rustix::mount::unmount(mount, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
            }
        }
        Ok(match mounts_below(roots)?.first() {
            None => Attempt::Done(()),
            Some(mount) => Attempt::not_yet(format!("{} is mounted", mount.display())),
        })
    })
}

/// The kernel writes a blank, tab, newline and backslash in mountinfo as octal.
fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Removes a directory tree; one that is not there is no error.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes `content` unless the file holds it already.
pub(crate) fn write_if_changed(path: &Path, content: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_shows_what_it_said() {
        let error = run("sh", ["-c", "echo out; echo wrong >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("wrong"), "{error}");
    }

    #[test]
    fn a_deadline_names_what_was_awaited_and_what_was_seen() {
        let result: Result<()> = wait_for("the moon", Duration::from_millis(30), || Ok(Attempt::not_yet("a cloud")));
        let error = result.unwrap_err().to_string();
        assert!(error.contains("the moon") && error.contains("a cloud"), "{error}");
    }

    #[test]
    fn every_package_line_names_a_version_and_a_command() {
        for line in PACKAGES.lines().filter(|line| !line.starts_with('#')) {
            let (package, program) = line.split_once(' ').expect(line);
            assert!(package.contains('='), "{line}");
            assert!(!program.is_empty() && !program.contains(' '), "{line}");
        }
    }

    #[test]
    fn mount_points_with_blanks_are_read() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
    }
}
