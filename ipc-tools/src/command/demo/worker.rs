//! A process that counts chunks until there are no more, or until it is killed.

use ipc_core::Queue;

use super::{
    protocol::{CHUNKS, Child, Chunk, REPORTS, Report},
    words::Counter,
};
use crate::{
    args::{Place, demo::Worker},
    exit::Outcome,
};

pub(crate) fn run(place: &Place, args: &Worker) -> Outcome {
    let namespace = place.namespace()?;
    let me = Child {
        parent: args.parent,
        directory: namespace.path(),
    };
    let chunks: Queue<Chunk> = Queue::options(1).namespace(&namespace).open(CHUNKS)?;
    let reports: Queue<Report> = Queue::options(1).namespace(&namespace).open(REPORTS)?;
    while let Some(Chunk { span, text }) = me.get(&chunks)? {
        me.put(
            &reports,
            Report::Took {
                worker: args.id,
                span,
            },
        )?;
        let mut counter = Counter::default();
        for _ in 0..args.times {
            counter.feed(&text);
            counter.end_text();
        }
        me.put(
            &reports,
            Report::Counted {
                span,
                counts: counter.into_counts(),
            },
        )?;
    }
    Ok(())
}
