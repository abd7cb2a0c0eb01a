//! The proxies of the plugin's table, as Go's own rules choose them.

use std::fs::{self, File};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clearwater_testbed::layout::cache_directory;

use xtask::workspace::root;

/// The module whose rules kubectl obeys, pinned.
const MODULE: &str = "module proxies\n\ngo 1.25\n\nrequire golang.org/x/net v0.43.0\n";
const PROGRAM: &str = include_str!("proxies.go");

pub(crate) fn run() -> Result<String> {
    let directory = cache_directory()?.join("proxies");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("go.mod"), MODULE)?;
    fs::write(directory.join("main.go"), PROGRAM)?;
    let table = File::open(root().join("plugin/src/connection/proxies.txt"))?;
    let out = Command::new("go")
        .args(["run", "-mod=mod", "."])
        .current_dir(&directory)
        .stdin(table)
        .output()
        .context("cannot start go")?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    Ok(format!(
        "`plugin/src/connection/proxies.txt`, which the plugin's unit test holds its own rule to, beside \
         golang.org/x/net `http/httpproxy` v0.43.0: {}\n",
        said.trim()
    ))
}
