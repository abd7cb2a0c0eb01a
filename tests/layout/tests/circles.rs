//! In no crate does a file use one that uses it: what two of them need stands where both can reach it.

use std::path::Path;

use clearwater_layout::Layout;

#[test]
fn files_use_each_other_in_no_circle() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for root in [
        "crates/clearwater/src/lib.rs",
        "crates/clearwater-sip/src/lib.rs",
        "crates/clearwater-kube/src/lib.rs",
        "plugin/src/lib.rs",
        "crates/xtask/src/lib.rs",
        "tests/testbed/src/lib.rs",
        "tests/testbed/src/main.rs",
        "tests/proof/src/main.rs",
        "tests/standins/src/main.rs",
        "tests/e2e/src/lib.rs",
        "tests/layout/src/lib.rs",
    ] {
        let layout = Layout::read(&top.join(root));
        let circles = layout.circles();
        assert!(circles.is_empty(), "{root}\n{}", layout.explain(&circles));
    }
}
