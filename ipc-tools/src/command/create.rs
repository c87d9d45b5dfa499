//! `ipc queue create`.

use ipc_core::Kind;

use super::{
    any_queue::{self, Plan},
    jobs,
};
use crate::{
    args::{Place, queue::Create},
    exit::Outcome,
};

pub(crate) fn run(place: &Place, args: &Create) -> Outcome {
    if args.order.kind() == Kind::JoinableQueue {
        return jobs::create(place, args);
    }
    let plan = Plan {
        kind: args.order.kind(),
        capacity: args.capacity,
        memory: args.memory,
        inline: args.inline,
        make: args.make,
    };
    any_queue::create(&place.namespace()?, &args.name, plan)?;
    Ok(())
}
