//! How calls become tasks: encoded in the caller's thread, so that errors come back there and no other thread runs the arguments' code.

use std::{mem, sync::Arc};

use serde::Serialize;

use super::{
    batch::Batch,
    codec::{FunctionId, Payload, TASK_HEAD, TaskHead, TaskKind, Writer, entry_of},
    core::{Core, Waiting},
    errors::PoolError,
};
use crate::{message::EncodeError, object::lifetime::noting_tickets, process::Function};

/// Tasks that are submitted at once, at the most.
const GROUP: usize = 64;

/// The number of a function that takes the tuple `A`.
pub(super) fn function_id<F, A>(function: &F) -> Result<FunctionId, PoolError>
where
    F: Function<A, Output: Payload> + Copy,
    A: Payload,
{
    let entry = entry_of::<F, A>(function);
    FunctionId::of(entry).ok_or(PoolError::NotInProgram {
        function: entry.name(),
    })
}

/// Makes tasks of one function for one batch.
#[derive(Debug)]
pub(super) struct Submitter<T> {
    pub(super) core: Arc<Core>,
    pub(super) batch: Arc<Batch>,
    function: FunctionId,
    calls: Vec<T>,
}

impl<T: Serialize + Send + 'static> Submitter<T> {
    pub(super) fn new(
        core: &Arc<Core>,
        function: FunctionId,
        is_stream: bool,
    ) -> Result<Self, PoolError> {
        Ok(Self {
            core: Arc::clone(core),
            batch: core.new_batch(is_stream)?,
            function,
            calls: Vec::new(),
        })
    }

    /// The next so many calls as one task; `None` if there are none.
    pub(super) fn chunk(
        &mut self,
        calls: &mut impl Iterator<Item = T>,
        size: usize,
    ) -> Result<Option<Waiting>, PoolError> {
        // The caller's iterator may be slow, and its handles' tickets are of no concern here.
        self.calls.clear();
        self.calls.extend(calls.take(size));
        if self.calls.is_empty() {
            return Ok(None);
        }
        let mut writer = Writer::behind(Vec::new(), TASK_HEAD);
        let (written, has_handles) =
            noting_tickets(|| self.calls.iter().try_for_each(|call| writer.push(call)));
        written.map_err(EncodeError)?;
        let count = self.calls.len() as u32;
        // Handles must be there until the worker has its own.
        let kept = has_handles.then(|| Box::new(mem::take(&mut self.calls)) as Box<_>);
        let index = self.batch.add(count, kept);
        let mut bytes = writer.done();
        let head = TaskHead {
            batch: self.batch.id,
            index,
            calls: count,
            function: self.function,
            attempt: 1,
            untried: 0,
            kind: TaskKind::Run,
        };
        head.write(&mut bytes);
        Ok(Some(Waiting {
            batch: self.batch.id,
            index,
            bytes,
        }))
    }

    /// Submits all calls, and that there are no more.
    pub(super) fn all(
        mut self,
        calls: impl Iterator<Item = T>,
        size: usize,
    ) -> Result<Arc<Batch>, PoolError> {
        let submitted = self.submit_all(calls, size.max(1));
        match submitted {
            Ok(()) => {
                self.core.complete(&self.batch);
                Ok(self.batch)
            }
            Err(e) => {
                self.core.abandon(&self.batch);
                Err(e)
            }
        }
    }

    fn submit_all(
        &mut self,
        mut calls: impl Iterator<Item = T>,
        size: usize,
    ) -> Result<(), PoolError> {
        // A few at first, so that somebody begins.
        let mut most = 1;
        loop {
            let mut group = Vec::with_capacity(most);
            let mut failure = None;
            while group.len() < most {
                match self.chunk(&mut calls, size) {
                    Ok(Some(task)) => group.push(task),
                    Ok(None) => break,
                    Err(e) => {
                        failure = Some(e);
                        break;
                    }
                }
            }
            if let Some(e) = failure {
                return Err(e);
            }
            if group.is_empty() {
                return Ok(());
            }
            self.core.submit(group)?;
            most = (2 * most).min(GROUP);
        }
    }
}
