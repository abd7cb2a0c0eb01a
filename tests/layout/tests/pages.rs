//! docs/security.md names what there is.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside test functions")]

use std::path::Path;

/// Every Rust source below a directory, as one text.
fn sources(directory: &Path, text: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, text);
        } else if path.extension().is_some_and(|e| e == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_security_page_names_tests_and_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut text = String::new();
    for directory in ["crates", "tests", "plugin"] {
        sources(&root.join(directory), &mut text);
    }
    let words: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let is_name = |w: &str| w.matches('_').count() >= 3 && w.chars().all(|c| c == '_' || c.is_ascii_lowercase());
    let tests: Vec<_> = words.iter().filter(|w| is_name(w)).collect();
    assert!(tests.len() > 15, "{tests:?}");
    for name in tests {
        assert!(text.contains(&format!("fn {name}(")), "docs/security.md names {name}, which is no test");
    }
    for file in words.iter().filter(|w| w.starts_with("crates/") || w.starts_with("tests/")) {
        assert!(root.join(file).exists(), "docs/security.md names {file}, which is not there");
    }
}
