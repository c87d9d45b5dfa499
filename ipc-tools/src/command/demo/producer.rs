//! The process that reads the files and puts chunks of them.

use ipc_core::Queue;

use super::{
    chunks::Chunks,
    protocol::{CHUNKS, Child, Chunk, REPORTS, Report},
};
use crate::{
    args::{Place, demo::Producer},
    exit::{Failure, Outcome},
};

pub(crate) fn run(place: &Place, args: &Producer) -> Outcome {
    let namespace = place.namespace()?;
    let me = Child {
        parent: args.parent,
        directory: namespace.path(),
    };
    let chunks: Queue<Chunk> = Queue::options(1).namespace(&namespace).open(CHUNKS)?;
    let reports: Queue<Report> = Queue::options(1).namespace(&namespace).open(REPORTS)?;
    let mut sent = 0;
    for (number, path) in (0..).zip(&args.files) {
        let unreadable = |e| Failure::Other(format!("could not read {}: {e}", path.display()));
        for chunk in Chunks::of(path, args.pass, number, args.chunk).map_err(unreadable)? {
            let (span, text) = chunk.map_err(unreadable)?;
            // First the coordinator: it must know of every chunk that can get lost.
            me.put(&reports, Report::Sending(span))?;
            me.put(&chunks, Chunk { span, text })?;
            sent += 1;
        }
    }
    me.put(
        &reports,
        Report::AllSent {
            pass: args.pass,
            chunks: sent,
        },
    )
}
