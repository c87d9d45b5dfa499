//! Results as an iterator, of arguments that are read as they are needed.

use core::{fmt, marker::PhantomData};
use std::{collections::VecDeque, sync::Arc};

use serde::Serialize;

use super::{
    batch::Outcome,
    codec::{FunctionId, Payload},
    core::Core,
    errors::{PoolError, TaskError},
    submit::Submitter,
};

/// The input of a lazy map, and what was submitted of it.
struct Stream<I: Iterator> {
    submitter: Submitter<I::Item>,
    /// `None` once it has ended, or is not to be read any more.
    input: Option<I>,
    chunk: usize,
    /// How many chunks may be submitted and not taken.
    ahead: usize,
    outstanding: usize,
    /// Why it is not read any more, until somebody was told.
    refusal: Option<PoolError>,
}

impl<I> Stream<I>
where
    I: Iterator<Item: Serialize + Send + 'static>,
{
    fn new(
        core: &Arc<Core>,
        function: FunctionId,
        input: I,
        chunk: usize,
    ) -> Result<Self, PoolError> {
        let workers = core.station.control.wanted();
        let ahead = core.settings.read_ahead;
        let mut stream = Self {
            submitter: Submitter::new(core, function, true)?,
            input: Some(input),
            chunk: chunk.max(1),
            ahead: ahead.unwrap_or((8 * workers).max(32)).max(1),
            outstanding: 0,
            refusal: None,
        };
        stream.fill();
        Ok(stream)
    }

    /// Reads and submits as much as may be outstanding.
    fn fill(&mut self) {
        let mut tasks = Vec::new();
        while self.outstanding + tasks.len() < self.ahead
            && let Some(input) = &mut self.input
        {
            match self.submitter.chunk(input, self.chunk) {
                Ok(Some(task)) => tasks.push(task),
                Ok(None) => self.input = None,
                Err(e) => self.stop(e),
            }
        }
        let count = tasks.len();
        if count == 0 {
            return;
        }
        let indices: Vec<_> = tasks.iter().map(|task| task.index).collect();
        match self.submitter.core.submit(tasks) {
            Ok(()) => self.outstanding += count,
            Err(e) => {
                self.submitter.batch.withdraw(&indices);
                self.stop(e);
            }
        }
    }

    fn stop(&mut self, why: PoolError) {
        self.input = None;
        self.refusal.get_or_insert(why);
    }

    /// What comes instead of a result: why there are no more, once.
    fn end<R>(&mut self) -> Option<Result<R, TaskError>> {
        let refusal = self.refusal.take();
        refusal.map(|refusal| Err(refusal.into()))
    }

    /// Whether this thread may wait for results.
    fn check(&self) -> Result<(), TaskError> {
        match () {
            () if !self.submitter.core.is_mine() => Err(PoolError::OfParent.into()),
            () if self.submitter.core.is_listener() => Err(TaskError::InCallback),
            () => Ok(()),
        }
    }
}

impl<I: Iterator> Drop for Stream<I> {
    /// What nobody has begun is not done.
    fn drop(&mut self) {
        let Submitter { core, batch, .. } = &self.submitter;
        if core.is_mine() {
            core.abandon(batch);
        }
    }
}

/// What each call of a chunk returned.
fn values<R: Payload>(calls: u32, outcome: &Outcome) -> impl Iterator<Item = Result<R, TaskError>> {
    let mut returns = outcome.as_ref().ok().map(|reply| reply.returns());
    let error = outcome.as_ref().err();
    (0..calls).map(move |_| match (&mut returns, error) {
        (Some(returns), _) => returns.next(),
        (None, error) => Err(error.map_or(TaskError::Cancelled, |e| (**e).clone())),
    })
}

/// The results of a lazy map in the order of its arguments, from [`Pool::imap`](crate::Pool::imap).
///
/// Each is a value or why there is none; the others are not affected by that. The arguments are read in [`next`](Iterator::next), in the
/// thread that calls it, and only so many chunks [ahead](crate::PoolBuilder::read_ahead) of what was taken. When the pool is closed
/// before all were read, the last item is [`TaskError::Refused`]. Dropped, it leaves undone what no worker has begun.
#[must_use = "it reads on only as its results are taken"]
pub struct Imap<I: Iterator, R> {
    stream: Stream<I>,
    ready: VecDeque<Result<R, TaskError>>,
}

impl<I, R> Imap<I, R>
where
    I: Iterator<Item: Serialize + Send + 'static>,
{
    pub(super) fn new(
        core: &Arc<Core>,
        function: FunctionId,
        input: I,
        chunk: usize,
    ) -> Result<Self, PoolError> {
        Ok(Self {
            stream: Stream::new(core, function, input, chunk)?,
            ready: VecDeque::new(),
        })
    }
}

impl<I, R: Payload> Iterator for Imap<I, R>
where
    I: Iterator<Item: Serialize + Send + 'static>,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        if let Err(e) = self.stream.check() {
            return Some(Err(e));
        }
        let Some((calls, outcome)) = self.stream.submitter.batch.next_in_order() else {
            return self.stream.end();
        };
        self.stream.outstanding = self.stream.outstanding.saturating_sub(1);
        self.stream.fill();
        self.ready.extend(values(calls, &outcome));
        self.ready.pop_front()
    }
}

/// The results of a lazy map as they come, from [`Pool::imap_unordered`](crate::Pool::imap_unordered). As [`Imap`] otherwise.
#[must_use = "it reads on only as its results are taken"]
pub struct ImapUnordered<I: Iterator, R> {
    stream: Stream<I>,
    /// The number of the next one of these.
    number: usize,
    ready: VecDeque<Result<R, TaskError>>,
    _value: PhantomData<fn() -> R>,
}

impl<I, R> ImapUnordered<I, R>
where
    I: Iterator<Item: Serialize + Send + 'static>,
    R: Payload,
{
    pub(super) fn new(
        core: &Arc<Core>,
        function: FunctionId,
        input: I,
        chunk: usize,
    ) -> Result<Self, PoolError> {
        Ok(Self {
            stream: Stream::new(core, function, input, chunk)?,
            number: 0,
            ready: VecDeque::new(),
            _value: PhantomData,
        })
    }

    /// The next result, and the number of its argument, from 0 on. (Of the error which says that the pool was closed: the number of
    /// the first argument that was not submitted, or a higher one.)
    pub fn next_indexed(&mut self) -> Option<(usize, Result<R, TaskError>)> {
        if self.ready.is_empty() {
            if let Err(e) = self.stream.check() {
                return Some((self.number, Err(e)));
            }
            let Some((index, calls, outcome)) = self.stream.submitter.batch.next_arrived() else {
                let end = self.stream.end()?;
                let submitted = self.stream.submitter.batch.submitted() as usize;
                return Some((submitted * self.stream.chunk, end));
            };
            self.stream.outstanding = self.stream.outstanding.saturating_sub(1);
            self.stream.fill();
            self.number = index as usize * self.stream.chunk;
            self.ready.extend(values(calls, &outcome));
        }
        let value = self.ready.pop_front()?;
        self.number += 1;
        Some((self.number - 1, value))
    }

    /// With the numbers of the arguments; see [`next_indexed`](Self::next_indexed).
    pub fn indexed(mut self) -> impl Iterator<Item = (usize, Result<R, TaskError>)> {
        core::iter::from_fn(move || self.next_indexed())
    }
}

impl<I, R: Payload> Iterator for ImapUnordered<I, R>
where
    I: Iterator<Item: Serialize + Send + 'static>,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_indexed().map(|(_, value)| value)
    }
}

impl<I: Iterator, R> fmt::Debug for Imap<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").finish_non_exhaustive()
    }
}

impl<I: Iterator, R> fmt::Debug for ImapUnordered<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered").finish_non_exhaustive()
    }
}
