//! Prints the last benchmark run as ratios to its own floors.

use ipc_benches::report;
use std::process::ExitCode;

fn main() -> ExitCode {
    match report::load() {
        Ok(figures) => {
            print!("{}", report::table(&figures));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let place = report::directory();
            eprintln!(
                "ratios: no run in {}: {error}; run `cargo bench -p ipc-benches` first",
                place.display()
            );
            ExitCode::FAILURE
        }
    }
}
