//! `ipc queue create`.

use super::any_queue::{self, Plan};
use crate::{
    args::{Place, queue::Create},
    exit::Outcome,
};

pub(crate) fn run(place: &Place, args: &Create) -> Outcome {
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
