//! One program for every target; `CLEARWATER_FUZZ_TARGET` names the one to run.
#![no_main]

mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = std::env::var("CLEARWATER_FUZZ_TARGET").unwrap_or_default();
    targets::TARGETS
        .iter()
        .find(|(name, _)| *name == wanted)
        .unwrap_or_else(|| panic!("CLEARWATER_FUZZ_TARGET={wanted:?}: no such target"))
        .1
});

fuzz_target!(|data: &[u8]| TARGET(data));
