//! Hostile command lines, environments and kubeconfigs, each run of the program itself.

use std::process::Stdio;

use anyhow::{Context, ensure};

use xtask::build::Features;
use xtask::steps::say;
use xtask::workspace::root;

/// Runs rows for so many minutes, from a seed that never changes; a row that goes wrong is an error that shows it.
pub(crate) fn run(minutes: u64) -> anyhow::Result<String> {
    say(&format!("==> running hostile command lines for {minutes} minutes"));
    let test = ["test", "--workspace", "--test", "hostile", "--", "--ignored", "--nocapture"];
    let out = Features::found()?
        .cargo(&test)
        .current_dir(root())
        .env("CLEARWATER_HOSTILE_SECONDS", (minutes * 60).to_string())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success(), "{said}");
    table(minutes, &said).context("the test says no figures")
}

/// The page of what the test said: how many rows there were, how many were wrong, and how often each code was the end.
fn table(minutes: u64, said: &str) -> Option<String> {
    let (_, figures) = said.split_once("rows: ")?;
    let mut figures = figures.lines().next()?.split(' ');
    let (rows, wrong) = (figures.next()?, figures.next()?);
    let codes: Vec<String> = figures.filter_map(|f| f.split_once('=')).map(|(c, n)| format!("{c}: {n}")).collect();
    let head = "| minutes | command lines run | ended with | panicked, hung or said nothing |\n|---|---|---|---|\n";
    Some(format!("{head}| {minutes} | {rows} | {} | {wrong} |\n", codes.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_the_test_says() {
        let said = "running 1 test\ntest as_many ... rows: 12 0 0=3 2=9\nok\n";
        let page = table(3, said).unwrap();
        assert!(page.ends_with("\n| 3 | 12 | 0: 3, 2: 9 | 0 |\n"), "{page}");
        assert_eq!(table(3, "running 1 test\n"), None);
    }
}
