//! `ipc-lock run NAME -- COMMAND` is `ipc lock run NAME -- COMMAND`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ipc_tools::run_verb("lock", std::env::args_os())
}
