//! `ipc-proc ls` is `ipc proc ls`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ipc_tools::run_verb("proc", std::env::args_os())
}
