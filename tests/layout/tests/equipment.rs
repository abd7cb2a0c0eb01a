//! The plugin, the developer's commands and the tests' own crates: no file of theirs uses one that uses it.

use std::path::Path;

use clearwater_layout::Layout;

#[test]
fn files_use_each_other_in_no_circle() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for root in [
        "plugin/src/lib.rs",
        "crates/xtask/src/main.rs",
        "tests/testbed/src/lib.rs",
        "tests/standins/src/main.rs",
        "tests/e2e/src/lib.rs",
        "tests/layout/src/lib.rs",
    ] {
        let layout = Layout::read(&top.join(root));
        let circles = layout.circles();
        assert!(circles.is_empty(), "{root}\n{}", layout.explain(&circles));
    }
}
