//! `ipc queue peek`.

use crate::{
    args::{Place, queue::Peek},
    exit::Outcome,
    output,
};

pub(crate) fn run(place: &Place, args: &Peek) -> Outcome {
    let message = place.open_queue(&args.name)?.peek()?;
    let mut encoded = Vec::new();
    args.look.format().encode(message.as_ref(), &mut encoded);
    output::print(&encoded)
}
