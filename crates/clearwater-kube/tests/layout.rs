//! An operation imports none of the others: what two of them share stands below them.

use std::collections::BTreeSet;
use std::path::Path;

const OPERATIONS: [&str; 7] = ["autoscale", "dns", "down", "logs", "scale", "status", "up"];

/// Imports that stand: names in DNS are a gate of `up`, and `down` says which of them stay behind.
const STATED: [(&str, &str); 2] = [("up", "dns"), ("down", "dns")];

#[test]
fn no_operation_imports_another_and_nothing_below_imports_one() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let room = path.strip_prefix(&source).unwrap().components().next().unwrap().as_os_str();
                let room = room.to_str().unwrap().trim_end_matches(".rs").to_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join(" ");
                let named = code
                    .split("crate::")
                    .skip(1)
                    .map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap().to_owned());
                found.extend(
                    named.filter(|n| *n != room && OPERATIONS.contains(&n.as_str())).map(|n| (room.clone(), n)),
                );
            }
        }
    }
    let stated: BTreeSet<_> = STATED.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(found, stated);
}
