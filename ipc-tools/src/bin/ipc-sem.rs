//! `ipc-sem value NAME` is `ipc sem value NAME`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ipc_tools::run_verb("sem", std::env::args_os())
}
