//! An operation uses none of the others: what two of them need stands below them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clearwater_layout::Layout;

const OPERATIONS: [&str; 14] = [
    "autoscale",
    "backup",
    "check",
    "contract",
    "dns",
    "down",
    "exercise",
    "live_test",
    "logs",
    "report",
    "scale",
    "status",
    "subscribers",
    "up",
];

/// Uses that stand: names in DNS are a gate of `up`, and `down` says which of them stay behind; `backup` asks those who
/// keep subscribers by the clients of `subscribers`.
const STATED: [(&str, &str); 3] = [("up", "dns"), ("down", "dns"), ("backup", "subscribers")];

/// Names that two public types of the libraries have, each with its reason.
const SAME_NAMED: [&str; 0] = [];

fn layout() -> Layout {
    Layout::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"))
}

#[test]
fn a_name_is_of_one_public_type() {
    let other = |path: &str| Layout::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let (model, sip) = (other("../clearwater/src/lib.rs"), other("../clearwater-sip/src/lib.rs"));
    let kube = layout();
    let mut files: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (layout, library) in [(&model, "clearwater"), (&sip, "clearwater-sip"), (&kube, "clearwater-kube")] {
        for (name, file) in layout.public_types() {
            files.entry(name).or_default().push(format!("{library} {file}"));
        }
    }
    assert!(files.contains_key("Deployment") && files.contains_key("Observation"), "{files:?}");
    files.retain(|name, files| files.len() > 1 && !SAME_NAMED.contains(name));
    assert!(files.is_empty(), "{files:#?}");
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
