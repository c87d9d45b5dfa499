//! `ipc queue peek`.

use crate::{
    args::{Place, queue::Peek},
    exit::Outcome,
    outlet::Parcel,
    output,
};

pub(crate) fn run(place: &Place, args: &Peek) -> Outcome {
    let item = place.open_queue(&args.name)?.peek()?;
    let mut encoded = Vec::new();
    let format = args.look.format();
    format.encode(item.message(), item.priority(), &mut encoded);
    output::print(&encoded)
}
