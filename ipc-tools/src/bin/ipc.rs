//! `ipc`: shared-memory objects from the shell.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ipc_tools::run(std::env::args_os())
}
