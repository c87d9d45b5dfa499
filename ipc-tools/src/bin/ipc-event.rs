//! `ipc-event set NAME` is `ipc event set NAME`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ipc_tools::run_verb("event", std::env::args_os())
}
