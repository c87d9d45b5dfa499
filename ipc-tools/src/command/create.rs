//! `ipc queue create`.

use ipc_core::QueueOptions;

use super::set;
use crate::{
    args::{Place, queue::Create},
    exit::Outcome,
};

pub(crate) fn run(place: &Place, args: &Create) -> Outcome {
    let mut options = place.queue(args.capacity)?;
    options = set(options, args.memory, QueueOptions::memory);
    options = set(options, args.inline, QueueOptions::inline_bytes);
    created!(options, args.make, &args.name);
    Ok(())
}
