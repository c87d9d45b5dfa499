//! `ipc-dict set NAME KEY VALUE` is `ipc dict set NAME KEY VALUE`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ipc_tools::run_verb("dict", std::env::args_os())
}
