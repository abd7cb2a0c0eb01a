//! The plugin: see the library of the same name.
use std::process::ExitCode;

fn main() -> ExitCode {
    kubectl_clearwater::main_impl(std::env::args_os())
}
