//! `ipc queue close`.

use super::for_all;
use crate::{
    args::{Place, queue::Close},
    exit::Outcome,
};

pub(crate) fn run(place: &Place, args: &Close) -> Outcome {
    for_all(&args.names, |name| {
        place.open_queue(name)?.close();
        Ok(())
    })
}
