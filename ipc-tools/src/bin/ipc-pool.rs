//! `ipc-pool run COMMAND` is `ipc pool run COMMAND`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ipc_tools::run_verb("pool", std::env::args_os())
}
