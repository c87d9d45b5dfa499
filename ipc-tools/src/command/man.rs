//! `ipc man`.

use std::fs;

use clap::CommandFactory;

use crate::{
    args::{Cli, objects::Man},
    exit::{Failure, Outcome},
};

pub(crate) fn run(args: &Man) -> Outcome {
    fs::create_dir_all(&args.directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.directory))
        .map_err(Failure::Output)
}
