//! Deployment files that are wrong, with the exact text that says so.

use std::fmt::Write;

use clearwater::config::DeploymentFile;

/// The cases: a title after `===`, then the file.
fn cases() -> impl Iterator<Item = (&'static str, &'static str)> {
    let text = include_str!("config/wrong.txt");
    text.split("=== ").skip(1).map(|case| case.split_once('\n').unwrap_or((case, "")))
}

#[test]
fn wrong_files() {
    let mut table = String::new();
    for (title, text) in cases() {
        // One case needs a longer text than belongs into a table.
        let long = text.replace("LONG", &"x".repeat(110_000));
        let found = DeploymentFile::parse(&long, "clearwater.yaml").and_then(|file| file.deploy("ims").map(|_| ()));
        let said = found.err().map_or_else(|| "NOTHING WRONG".to_owned(), |e| e.to_string());
        writeln!(table, "=== {title}\n{text}---\n{said}\n").unwrap();
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("wrong_files", table);
    });
}

#[test]
fn there_are_many() {
    assert!(cases().count() >= 40, "{} cases", cases().count());
}
