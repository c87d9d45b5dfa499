//! What a puppet does with a joinable queue: it does jobs until it is killed, or the queue is over, and keeps a journal, which
//! survives it. Or it does one step.

use std::cell::RefCell;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;

use ipc_core::{Bytes, GetJobError, JoinableQueue, LeaseError, Namespace};

use super::ordered::received;

thread_local! {
    /// Where this thread has jobs to finish.
    static BUSY_IN: RefCell<Option<JoinableQueue<Bytes>>> = RefCell::default();
}

/// Does as told: the name of the queue, and where its journal is. A job is in the journal before it is reported as done. Or a step:
/// `put`, `take` (a job, and keep it) or `done`.
///
/// # Errors
///
/// When the queue refuses, or nobody knows what is meant.
pub fn obey(namespace: &Namespace, line: &str) -> Result<String, Box<dyn Error>> {
    let open = |name| {
        let options = JoinableQueue::<Bytes>::options(1).namespace(namespace);
        options.open(name)
    };
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["put", name] => open(name)?.put("job".into())?,
        ["take", name] => {
            let queue = open(name)?;
            queue.get()?.into_value();
            BUSY_IN.set(Some(queue));
        }
        ["done", _] => BUSY_IN.with_borrow(|queue| {
            let queue = queue.as_ref().ok_or("nothing was taken")?;
            queue.task_done().map_err(Box::<dyn Error>::from)
        })?,
        [name, journal] => return work(&open(name)?, journal),
        _ => return Err(format!("what is {line:?}?").into()),
    }
    Ok(String::new())
}

fn work(queue: &JoinableQueue<Bytes>, journal: &str) -> Result<String, Box<dyn Error>> {
    let mut journal = OpenOptions::new().create(true).append(true).open(journal)?;
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
