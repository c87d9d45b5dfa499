//! What a puppet does with a joinable queue: it does jobs until it is killed, or the queue is over, and keeps a journal, which
//! survives it.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;

use ipc_core::{Bytes, GetJobError, JoinableQueue, LeaseError, Namespace};

use super::ordered::received;

/// Does as told: the name of the queue, and where its journal is. A job is in the journal before it is reported as done.
///
/// # Errors
///
/// When the queue refuses, or nobody knows what is meant.
pub fn obey(namespace: &Namespace, line: &str) -> Result<String, Box<dyn Error>> {
    let Some((name, journal)) = line.split_once(' ') else {
        return Err(format!("what is {line:?}?").into());
    };
    let mut journal = OpenOptions::new().create(true).append(true).open(journal)?;
    let options = JoinableQueue::<Bytes>::options(1).namespace(namespace);
    let queue = options.open(name)?;
    loop {
        let job = match queue.get() {
            Ok(job) => job,
            Err(GetJobError::Closed) => return Ok("over".to_owned()),
            Err(e) => return Err(e.into()),
        };
        let entry = received(None, job.value());
        journal.write_all(&entry.to_bytes())?;
        match job.task_done() {
            Ok(()) | Err(LeaseError::Lost) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
