//! `ipc queue create`.

use ipc_core::QueueOptions;

use crate::{
    args::{Place, queue::Create},
    exit::Outcome,
};

pub(crate) fn run(place: &Place, args: &Create) -> Outcome {
    let mut options = place.queue(args.capacity)?;
    options = set(options, args.memory, QueueOptions::memory);
    options = set(options, args.inline, QueueOptions::inline_bytes);
    options = set(options, args.participants, QueueOptions::participants);
    options = set(options, args.mode, QueueOptions::mode);
    options = set(options, args.group, QueueOptions::group);
    if args.if_missing {
        options.open_or_create(&args.name)?
    } else {
        options.create(&args.name)?
    };
    Ok(())
}

/// An option that was not given keeps its default.
fn set<O, V>(options: O, value: Option<V>, with: impl FnOnce(O, V) -> O) -> O {
    match value {
        Some(value) => with(options, value),
        None => options,
    }
}
