//! Where things stand in the work tree.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the work tree.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// What cargo tells a program that it runs, beside what begins with `CARGO_PKG_`.
const TOLD: [&str; 6] = [
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "OUT_DIR",
];

/// Has a command run as if it were typed: what cargo has told this program of its package is not its. Build programs that
/// look at such variables (ring's does) would run again, and all that stands on them be compiled anew, each time that cargo
/// is run by this program after it was run by hand, and the other way round.
pub fn as_typed(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || TOLD.contains(&name)) {
            command.env_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_tells_of_a_package_goes_no_further() {
        // cargo runs this test, too.
        assert!(env::var_os("CARGO_PKG_NAME").is_some());
        let mut command = Command::new("env");
        as_typed(&mut command);
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let told = |line: &&str| line.starts_with("CARGO_PKG_") || line.starts_with("CARGO_MANIFEST_");
        assert_eq!(said.lines().filter(told).collect::<Vec<_>>(), Vec::<&str>::new());
        assert!(said.lines().any(|line| line.starts_with("PATH=")));
    }
}
