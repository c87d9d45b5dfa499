//! What the processes of the demo tell each other, and how they end with their parent.

use std::{fs, os::unix::process::parent_id, path::Path, time::Duration};

use ipc_core::{GetTimeoutError, Message, PutTimeoutError, Queue};
use serde::{Deserialize, Serialize};

use super::words::Counts;
use crate::exit::{Failure, Outcome};

/// From the producer, and for a second time from the coordinator, to workers.
pub(super) const CHUNKS: &str = "chunks";
/// From all others to the coordinator.
pub(super) const REPORTS: &str = "reports";
/// How directories of the demo are called, so that none else is ever removed.
pub(super) const DIRECTORY: &str = "demo-";

/// How often a process looks whether its parent lives.
const LOOK: Duration = Duration::from_millis(200);

/// Which part of which file, in which pass: the identity of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Span {
    pub(super) pass: u32,
    pub(super) file: u32,
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// Work for a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) span: Span,
    #[serde(with = "serde_bytes")]
    pub(super) text: Vec<u8>,
}

/// News for the coordinator.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The chunk is about to be put.
    Sending(Span),
    /// The files of this pass are cut into so many chunks, and all were put.
    AllSent { pass: u32, chunks: u64 },
    /// A worker has a chunk in its hand.
    Took { worker: u64, span: Span },
    /// A worker counted a chunk.
    Counted { span: Span, counts: Counts },
}

/// A process of the demo that looks after its parent.
pub(super) struct Child<'a> {
    pub(super) parent: u32,
    /// Where the queues are.
    pub(super) directory: &'a Path,
}

impl Child<'_> {
    /// Puts, for as long as there is somebody to put for.
    pub(super) fn put<T: Message>(&self, queue: &Queue<T>, mut value: T) -> Outcome {
        loop {
            match queue.put_timeout(value, LOOK) {
                Err(PutTimeoutError::Timeout(unput)) => value = unput,
                other => return Ok(other?),
            }
            self.check_parent()?;
        }
    }

    /// Gets, for as long as there is somebody to get for; `None` once the queue is closed and empty.
    pub(super) fn get<T: Message>(&self, queue: &Queue<T>) -> Outcome<Option<T>> {
        loop {
            match queue.get_timeout(LOOK) {
                Ok(value) => return Ok(Some(value)),
                Err(GetTimeoutError::Timeout) => self.check_parent()?,
                Err(GetTimeoutError::Closed) => return Ok(None),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn check_parent(&self) -> Outcome {
        if parent_id() == self.parent {
            return Ok(());
        }
        // It was killed, or it would have ended us: nobody else tidies up.
        let name = self
            .directory
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if name.trim_start_matches('.').starts_with(DIRECTORY) {
            let _ = fs::remove_dir_all(self.directory);
        }
        Err(Failure::Other(
            "the coordinator of the demo died".to_owned(),
        ))
    }
}
