//! An operation uses none of the others, and no file uses one that uses it: what two of them need stands below them.

use std::collections::BTreeSet;
use std::path::Path;

use clearwater_layout::Layout;

const OPERATIONS: [&str; 7] = ["autoscale", "dns", "down", "logs", "scale", "status", "up"];

/// Uses that stand: names in DNS are a gate of `up`, and `down` says which of them stay behind.
const STATED: [(&str, &str); 2] = [("up", "dns"), ("down", "dns")];

/// Circles that stand, each with its reason.
const STATED_CIRCLES: [&[&str]; 0] = [];

fn layout() -> Layout {
    Layout::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"))
}

#[test]
fn no_operation_uses_another_and_nothing_below_uses_one() {
    let room = |file: &str| file.split(['/', '.']).next().unwrap_or_default().to_owned();
    let uses = layout().uses();
    let between = uses.iter().map(|(a, b)| (room(a), room(b)));
    let found: BTreeSet<_> = between.filter(|(a, b)| a != b && OPERATIONS.contains(&b.as_str())).collect();
    let stated: BTreeSet<_> = STATED.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(found, stated);
}

#[test]
fn files_use_each_other_in_no_circle() {
    let layout = layout();
    let stated: BTreeSet<Vec<String>> =
        STATED_CIRCLES.iter().map(|c| c.iter().map(|f| (*f).to_owned()).collect()).collect();
    let found = layout.circles();
    assert_eq!(found, stated, "\n{}", layout.explain(&found));
}
