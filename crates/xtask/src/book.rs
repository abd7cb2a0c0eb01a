//! `cargo xtask book`: the pages of docs/ as a book.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::steps::{Steps, say};
use crate::tools::{MDBOOK, MDBOOK_LINKCHECK};
use crate::workspace::{root, target};

/// Makes the book, and tells its first page.
///
/// # Errors
/// A tool that cannot be brought, or what it says.
pub fn run() -> Result<ExitCode> {
    let folder = target().join("book");
    Steps::within(Duration::from_secs(20 * 60)).run(MDBOOK.missing("book")?)?;
    build(&folder, &mut Command::new(MDBOOK.program()?))?;
    say(&folder.join("index.html").display().to_string());
    Ok(ExitCode::SUCCESS)
}

/// Makes the book elsewhere, and follows each link in it that leads to another page.
///
/// # Errors
/// A tool that cannot be brought, or a link that leads nowhere.
pub fn check(folder: &Path) -> Result<()> {
    let mut steps = Steps::within(Duration::from_secs(30 * 60));
    steps.run(MDBOOK.missing("book")?.into_iter().chain(MDBOOK_LINKCHECK.missing("book")?))?;
    let bin = MDBOOK_LINKCHECK.program()?.parent().map(Path::to_owned).context("a program is in a folder")?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([bin].into_iter().chain(env::split_paths(&path)))?;
    let mut mdbook = Command::new(MDBOOK.program()?);
    // What mdBook has no setting for it takes from the environment.
    mdbook.env("PATH", path).env("MDBOOK_OUTPUT__LINKCHECK2", r#"{"warning-policy": "error"}"#);
    build(folder, &mut mdbook)
}

fn build(folder: &Path, mdbook: &mut Command) -> Result<()> {
    let book: PathBuf = root().join("docs");
    let done = mdbook.arg("build").arg("--dest-dir").arg(folder).arg(book).output().context("cannot start mdbook")?;
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "mdbook: {}", said.trim());
    Ok(())
}
