//! What was submitted together, and what became of it: tasks by number, each over exactly once.

use core::{any::Any, fmt, task::Waker};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{codec::Returns, errors::TaskError};

/// What a task's calls returned, not decoded yet. Short ones, of which there may be many, need no memory beside this.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pid: u32,
    length: u8,
    short: [u8; SHORT],
    /// The bytes, and where among them it begins.
    long: Option<Box<(Vec<u8>, usize)>>,
}

const SHORT: usize = 19;

impl Reply {
    /// What stands behind `start`.
    pub(super) fn new(bytes: Vec<u8>, start: usize, pid: u32) -> Self {
        let payload = bytes.get(start..).unwrap_or_default();
        let mut reply = Self {
            pid,
            length: 0,
            short: [0; SHORT],
            long: None,
        };
        match reply.short.get_mut(..payload.len()) {
            Some(short) => {
                short.copy_from_slice(payload);
                reply.length = payload.len() as u8;
            }
            None => reply.long = Some(Box::new((bytes, start))),
        }
        reply
    }

    #[inline]
    pub(super) fn returns<R: super::Payload>(&self) -> Returns<'_, R> {
        let payload = match &self.long {
            None => self.short.get(..usize::from(self.length)),
            Some(long) => long.0.get(long.1..),
        };
        Returns::of(payload.unwrap_or_default(), self.pid)
    }
}

pub(super) type Outcome = Result<Reply, Box<TaskError>>;

/// A task, with the number of calls in it.
#[derive(Debug)]
struct Chunk {
    calls: u32,
    is_over: bool,
    /// Until somebody takes it.
    outcome: Option<Outcome>,
}

type Callback = Box<dyn FnOnce() + Send>;

/// What is known of a batch.
#[derive(Default)]
pub(super) struct Progress {
    chunks: VecDeque<Chunk>,
    /// The number of the first of them: those before were taken.
    base: u32,
    /// How many are not over.
    open: usize,
    /// Whether none will be added.
    is_whole: bool,
    /// Of a stream: those that are over, in the order in which they came to that.
    arrived: VecDeque<u32>,
    is_stream: bool,
    /// Arguments with handles in them, which must be there until a worker has its own: by task.
    kept: HashMap<u32, Box<dyn Any + Send>>,
    /// Threads that wait. Telling nobody would cost a system call.
    sleepers: usize,
    wakers: Vec<Waker>,
    callbacks: Vec<Callback>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("chunks", &self.chunks.len())
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

/// Tasks that were submitted together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: u64,
    progress: Mutex<Progress>,
    changed: Condvar,
}

/// What is to be done outside of all locks, once a task is over.
#[derive(Default)]
pub(super) struct Aftermath {
    callbacks: Vec<Callback>,
    wakers: Vec<Waker>,
    /// Arguments that are no longer needed: dropping them may take locks of their own.
    kept: Vec<Box<dyn Any + Send>>,
}

impl Aftermath {
    pub(super) fn of(callback: Callback) -> Self {
        Self {
            callbacks: vec![callback],
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, mut other: Self) {
        self.callbacks.append(&mut other.callbacks);
        self.wakers.append(&mut other.wakers);
        self.kept.append(&mut other.kept);
    }

    /// Wakes futures, then calls the callbacks, whose panics harm nothing.
    pub(super) fn run(self) {
        for waker in self.wakers {
            guarded(|| waker.wake());
        }
        for callback in self.callbacks {
            guarded(callback);
        }
        guarded(|| drop(self.kept));
    }
}

/// Calls what others gave. Its panic is on standard error, and nowhere else.
fn guarded(call: impl FnOnce()) {
    if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) {
        core::mem::forget(payload); // what it carries may panic when it is dropped
    }
}

impl Batch {
    pub(super) fn new(id: u64, is_stream: bool) -> Self {
        Self {
            id,
            progress: Mutex::new(Progress {
                is_stream,
                ..Progress::default()
            }),
            changed: Condvar::new(),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Nothing is left half done under it.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, progress: &Progress) {
        if progress.sleepers > 0 {
            self.changed.notify_all();
        }
    }

    /// Adds a task of so many calls. Its number.
    pub(super) fn add(&self, calls: u32, kept: Option<Box<dyn Any + Send>>) -> u32 {
        let mut progress = self.progress();
        let index = progress.base + progress.chunks.len() as u32;
        progress.chunks.push_back(Chunk {
            calls,
            is_over: false,
            outcome: None,
        });
        progress.open += 1;
        if let Some(kept) = kept {
            progress.kept.insert(index, kept);
        }
        index
    }

    /// No task will be added. What is due now, if all are over already.
    pub(super) fn complete(&self) -> Aftermath {
        let mut progress = self.progress();
        progress.is_whole = true;
        self.tell(&progress);
        progress.aftermath()
    }

    /// A task is over, unless it was before. Whether it is only now.
    pub(super) fn settle(&self, index: u32, outcome: Outcome, after: &mut Aftermath) -> bool {
        let mut progress = self.progress();
        let Some(at) = index.checked_sub(progress.base) else {
            return false;
        };
        let Some(chunk) = progress.chunks.get_mut(at as usize) else {
            return false;
        };
        if chunk.is_over {
            return false;
        }
        chunk.is_over = true;
        chunk.outcome = Some(outcome);
        progress.open -= 1;
        after.kept.extend(progress.kept.remove(&index));
        if progress.is_stream {
            progress.arrived.push_back(index);
        }
        let is_over = progress.is_over();
        if is_over || progress.is_stream {
            self.tell(&progress);
            after.add(progress.aftermath());
        }
        true
    }

    /// Ends all tasks that are not over with this error.
    pub(super) fn fail(&self, error: &TaskError, after: &mut Aftermath) -> usize {
        let (base, count) = {
            let progress = self.progress();
            (progress.base, progress.chunks.len() as u32)
        };
        let all = base..base + count;
        all.filter(|index| self.settle(*index, Err(Box::new(error.clone())), after))
            .count()
    }

    /// How many calls there are in a task.
    pub(super) fn calls_in(&self, index: u32) -> Option<u32> {
        let progress = self.progress();
        let at = index.checked_sub(progress.base)?;
        Some(progress.chunks.get(at as usize)?.calls)
    }

    /// Whether this task is not over yet.
    pub(super) fn is_open(&self, index: u32) -> bool {
        let progress = self.progress();
        let chunk = index
            .checked_sub(progress.base)
            .and_then(|at| progress.chunks.get(at as usize));
        chunk.is_some_and(|chunk| !chunk.is_over)
    }

    /// Of a stream: takes back the tasks added last, which nobody has been told of.
    pub(super) fn withdraw(&self, indices: &[u32]) {
        let mut progress = self.progress();
        for index in indices.iter().rev() {
            let is_last = progress.base + progress.chunks.len() as u32 == index + 1;
            if is_last && let Some(chunk) = progress.chunks.pop_back() {
                progress.open -= usize::from(!chunk.is_over);
                progress.arrived.retain(|arrived| arrived != index);
                progress.kept.remove(index); // not of a task that was told of
            }
        }
    }

    /// How many tasks there were so far.
    pub(super) fn submitted(&self) -> u32 {
        let progress = self.progress();
        progress.base + progress.chunks.len() as u32
    }

    /// Whether all tasks are over.
    pub(super) fn is_over(&self) -> bool {
        self.progress().is_over()
    }

    /// How many tasks are not over.
    pub(super) fn open(&self) -> usize {
        self.progress().open
    }

    /// Waits until all tasks are over, or for so long. Whether they are.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> bool {
        self.wait_for(timeout, Progress::is_over)
    }

    /// Waits until `is_there` says so, or for so long. Whether it does.
    fn wait_for(&self, timeout: Option<Duration>, is_there: impl Fn(&Progress) -> bool) -> bool {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut progress = self.progress();
        while !is_there(&progress) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            progress.sleepers += 1;
            progress = match left {
                None => {
                    let waited = self.changed.wait(progress);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
                Some(left) => {
                    let waited = self.changed.wait_timeout(progress, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            progress.sleepers -= 1;
        }
        true
    }

    /// Has `waker` woken once more is over. Whether all is over already.
    pub(super) fn register(&self, waker: &Waker) -> bool {
        let mut progress = self.progress();
        if progress.is_over() {
            return true;
        }
        if !progress.wakers.iter().any(|known| known.will_wake(waker)) {
            progress.wakers.push(waker.clone());
        }
        false
    }

    /// Does not have `waker` woken any more.
    pub(super) fn unregister(&self, waker: &Waker) {
        self.progress()
            .wakers
            .retain(|known| !known.will_wake(waker));
    }

    /// Has `callback` called once all is over. It comes back if that is so already.
    pub(super) fn on_over(&self, callback: Callback) -> Option<Callback> {
        let mut progress = self.progress();
        if progress.is_over() {
            return Some(callback);
        }
        progress.callbacks.push(callback);
        None
    }

    /// How many calls there are in all tasks.
    pub(super) fn calls(&self) -> usize {
        let progress = self.progress();
        progress
            .chunks
            .iter()
            .map(|chunk| chunk.calls as usize)
            .sum()
    }

    /// Calls `with` on what became of each task, in order, until it fails. All must be over.
    pub(super) fn outcomes<E>(
        &self,
        mut with: impl FnMut(u32, &Outcome) -> Result<(), E>,
    ) -> Result<(), E> {
        let progress = self.progress();
        for chunk in &progress.chunks {
            if let Some(outcome) = &chunk.outcome {
                with(chunk.calls, outcome)?;
            }
        }
        Ok(())
    }

    /// Of a stream: takes the task that was over first among those that were not taken, and waits for one. Its number, its calls, and what became
    /// of it. `None` if none is left.
    pub(super) fn next_arrived(&self) -> Option<(u32, u32, Outcome)> {
        self.wait_for(None, |p| !p.arrived.is_empty() || p.open == 0);
        let mut progress = self.progress();
        let index = progress.arrived.pop_front()?;
        let at = (index - progress.base) as usize;
        let chunk = progress.chunks.get_mut(at)?;
        let outcome = chunk.outcome.take()?;
        let calls = chunk.calls;
        progress.forget_taken();
        Some((index, calls, outcome))
    }

    /// Of a stream: takes the task that was submitted first among those that were not taken, and waits for that. `None` if none is left.
    pub(super) fn next_in_order(&self) -> Option<(u32, Outcome)> {
        let is_there = |p: &Progress| p.chunks.front().is_none_or(|c| c.is_over);
        self.wait_for(None, is_there);
        let mut progress = self.progress();
        let chunk = progress.chunks.pop_front()?;
        progress.base += 1;
        progress.arrived.clear();
        Some((chunk.calls, chunk.outcome?))
    }
}

impl Progress {
    fn is_over(&self) -> bool {
        self.is_whole && self.open == 0
    }

    /// What is due now. Of a stream, wakers whenever a task is over.
    fn aftermath(&mut self) -> Aftermath {
        if !self.is_over() {
            return Aftermath::default();
        }
        Aftermath {
            callbacks: core::mem::take(&mut self.callbacks),
            wakers: core::mem::take(&mut self.wakers),
            kept: Vec::new(),
        }
    }

    /// Of a stream that is taken as it comes: forgets those at the front that were taken.
    fn forget_taken(&mut self) {
        while let Some(chunk) = self.chunks.front() {
            if !chunk.is_over || chunk.outcome.is_some() {
                return;
            }
            self.chunks.pop_front();
            self.base += 1;
        }
    }
}
