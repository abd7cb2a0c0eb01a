//! No file of the plugin uses one that uses it: what two of them need stands where both can reach it.

use std::collections::BTreeSet;
use std::path::Path;

use clearwater_layout::Layout;

/// Circles that stand, each with its reason.
const STATED: [&[&str]; 0] = [];

#[test]
fn files_use_each_other_in_no_circle() {
    let layout = Layout::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    let stated: BTreeSet<Vec<String>> = STATED.iter().map(|c| c.iter().map(|f| (*f).to_owned()).collect()).collect();
    let found = layout.circles();
    assert_eq!(found, stated, "\n{}", layout.explain(&found));
}
