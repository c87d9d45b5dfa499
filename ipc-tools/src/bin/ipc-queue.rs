//! `ipc-queue put NAME` is `ipc queue put NAME`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ipc_tools::run_verb("queue", std::env::args_os())
}
