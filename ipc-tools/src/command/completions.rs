//! `ipc completions`.

use clap::CommandFactory;

use crate::{
    args::{Cli, objects::Completions},
    exit::Outcome,
    output::print,
};

pub(crate) fn run(args: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ipc", &mut script);
    print(&script)
}
