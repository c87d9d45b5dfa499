//! A process with children; see `ipc_tests::parent`.

use std::path::PathBuf;

use clap::Parser;
use ipc_tests::parent;

/// Run one scenario, in a directory of its own.
#[derive(Debug, Parser)]
struct Args {
    scenario: String,
    directory: PathBuf,
}

fn main() {
    if std::env::var_os("IPC_TEST_NO_INIT").is_some() {
        std::process::exit(parent::settings::without_init());
    }
    ipc_core::init();
    let args = Args::parse();
    parent::run(&args.scenario, &args.directory);
}
