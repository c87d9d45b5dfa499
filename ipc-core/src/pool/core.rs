//! What a pool's threads and handles share: the queues, what was submitted, and what waits for room.
//!
//! Tasks are handed over only as far as workers can soon begin them, and wait here otherwise, where they can be cancelled. How far, grows as
//! long as the workers are faster than that. The queue has room for all of these, so nobody ever waits for room: when a task is over, the
//! next ones are handed over.

use core::{any::Any, fmt};
use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::Write,
    os::fd::AsRawFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    batch::{Aftermath, Batch, Outcome},
    codec::{FunctionId, LARGE, REPLY_HEAD, ReplyHead, ReplyKind, TASK_HEAD, TaskHead, TaskKind},
    control::{PoolPhase, Word},
    errors::{PoolError, TaskError},
    place::TaskId,
    station::Station,
    ties::Ties,
};
use crate::{
    channel::{errors::TryPutError, joinable::JoinableQueue, queue::Queue},
    error::Error,
    message::Bytes,
    os::{child, watch::Watch},
};

/// Tasks handed over at once, at the most.
pub(super) const CAPACITY: usize = 1024;
/// Tasks that become visible together.
const GROUP: usize = 32;
/// Memory of each queue for what does not fit into a cell.
const MEMORY: usize = 4 << 20;

/// Something that is only there.
#[derive(Clone, Default)]
pub(super) struct Kept(Option<Arc<Mutex<Box<dyn Any + Send>>>>);

impl Kept {
    pub(super) fn new(kept: impl Any + Send) -> Self {
        Self(Some(Arc::new(Mutex::new(Box::new(kept)))))
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.0.is_some()).finish()
    }
}

/// What the builder said.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) retries: u32,
    pub(super) retries_timeouts: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) memory_limit: Option<u64>,
    pub(super) read_ahead: Option<usize>,
    pub(super) most_tasks: u64,
    pub(super) initializer: Option<(FunctionId, Vec<u8>)>,
    /// The initializer's arguments, if there are handles in them, which must be there when a worker starts.
    pub(super) kept: Kept,
    pub(super) name: Option<String>,
}

/// A task that waits to be handed over.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) batch: u64,
    pub(super) index: u32,
    pub(super) bytes: Vec<u8>,
}

/// What the thread that looks after workers tells the one that looks after replies.
#[derive(Debug)]
pub(super) enum Report {
    /// A task whose worker died, and why; `None` if that had not begun it.
    Lost(Vec<u8>, Option<TaskError>),
    /// Parts of a reply by this worker will not be continued.
    Gone(u32),
    /// Everything ends with this error.
    End(TaskError),
    /// All workers have ended.
    Ended,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) backlog: VecDeque<Waiting>,
    /// How many tasks are handed over and not over.
    pub(super) in_flight: usize,
    window: usize,
    pub(super) batches: HashMap<u64, Arc<Batch>>,
    next_batch: u64,
    /// Arguments that do not travel in the queue, by task.
    files: HashMap<(u64, u32), File>,
    pub(super) reports: VecDeque<Report>,
    pub(super) is_closed: bool,
    pub(super) broken: Option<String>,
}

/// All of a pool but its workers.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) ties: Arc<Ties>,
    pub(super) tasks: JoinableQueue<Bytes>,
    pub(super) replies: Queue<Bytes>,
    pub(super) station: Station,
    pub(super) settings: Settings,
    /// What wakes the thread that looks after workers.
    pub(super) watch: Watch,
    state: Mutex<State>,
}

impl Core {
    pub(super) fn new(
        station: Station,
        settings: Settings,
        namespace: Option<&crate::object::Namespace>,
        most_workers: usize,
        workers: usize,
    ) -> Result<Self, Error> {
        let participants = (most_workers + 16) as u32;
        let mut tasks = JoinableQueue::options(CAPACITY)
            .max_attempts(1)
            .leases(most_workers + 64)
            .memory(MEMORY)
            .participants(participants);
        let mut replies = Queue::options(CAPACITY)
            .memory(MEMORY)
            .participants(participants);
        if let Some(namespace) = namespace {
            tasks = tasks.namespace(namespace);
            replies = replies.namespace(namespace);
        }
        Ok(Self {
            ties: Arc::new(Ties::new()),
            tasks: tasks.anonymous()?,
            replies: replies.anonymous()?,
            station,
            settings,
            watch: Watch::new().map_err(|e| Error::from_io("a pool", "make", &e))?,
            state: Mutex::new(State {
                window: 2 * workers + 2,
                ..State::default()
            }),
        })
    }

    /// Whether this is the process that has made it. A forked child must not touch a lock of it.
    pub(super) fn is_mine(&self) -> bool {
        self.ties.is_mine()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the thread that hears of tasks being over, which must not wait for that.
    pub(super) fn is_listener(&self) -> bool {
        self.ties.is_listener()
    }

    pub(super) fn count(&self, word: Word, more: u64) {
        // Only this process writes it, under the state's lock.
        let control = &self.station.control;
        control.set(word, control.get(word).wrapping_add(more));
    }

    /// A new batch, if the pool takes tasks.
    pub(super) fn new_batch(&self, is_stream: bool) -> Result<Arc<Batch>, PoolError> {
        if !self.is_mine() {
            return Err(PoolError::OfParent);
        }
        let mut state = self.state();
        self.check_open(&state)?;
        state.next_batch += 1;
        let id = state.next_batch;
        let batch = Arc::new(Batch::new(id, is_stream));
        state.batches.insert(id, Arc::clone(&batch));
        Ok(batch)
    }

    fn check_open(&self, state: &State) -> Result<(), PoolError> {
        if let Some(why) = &state.broken {
            return Err(PoolError::Broken { why: why.clone() });
        }
        let is_open = matches!(self.station.phase()?, PoolPhase::Running);
        match state.is_closed || !is_open {
            true => Err(PoolError::Closed),
            false => Ok(()),
        }
    }

    /// Takes tasks of a batch. An error takes none of these.
    pub(super) fn submit(&self, tasks: Vec<Waiting>) -> Result<(), PoolError> {
        let mut state = self.state();
        self.check_open(&state)?;
        self.count(Word::Submitted, tasks.len() as u64);
        state.backlog.extend(tasks);
        self.feed(&mut state);
        Ok(())
    }

    /// Hands tasks over, as many as are to be.
    pub(super) fn feed(&self, state: &mut State) {
        while state.in_flight < state.window && !state.backlog.is_empty() {
            let most = GROUP.min(state.window - state.in_flight);
            let mut group = Vec::with_capacity(most);
            while group.len() < most
                && let Some(task) = state.backlog.pop_front()
            {
                match self.lay_aside(state, task) {
                    Ok(task) => group.push(task),
                    Err(task) => {
                        state.backlog.push_front(task);
                        break;
                    }
                }
            }
            let put = self
                .tasks
                .try_put_each(group.iter().map(|task| task.bytes.as_slice()));
            let put = put.unwrap_or(0); // who gets replies finds what is wrong with the pool
            state.in_flight += put;
            let is_all = put == group.len() && put > 0;
            for task in group.drain(put..).rev() {
                state.backlog.push_front(task);
            }
            if !is_all {
                return;
            }
        }
    }

    /// Puts arguments that are too long for the queue where a worker can read them.
    fn lay_aside(&self, state: &mut State, mut task: Waiting) -> Result<Waiting, Waiting> {
        if task.bytes.len() <= TASK_HEAD + LARGE {
            return Ok(task);
        }
        let Some(head) = TaskHead::read(&task.bytes) else {
            return Ok(task);
        };
        let file = child::memory(c"ipc-pool-task").and_then(|mut file| {
            file.write_all(&task.bytes[TASK_HEAD..])?;
            Ok(file)
        });
        let Ok(file) = file else {
            return Err(task); // there will be descriptors and memory again
        };
        task.bytes.truncate(TASK_HEAD);
        task.bytes.shrink_to_fit();
        let number = file.as_raw_fd().to_le_bytes();
        task.bytes.extend_from_slice(&number);
        let kind = TaskKind::RunLarge;
        TaskHead { kind, ..head }.write(&mut task.bytes);
        state.files.insert((task.batch, task.index), file);
        Ok(task)
    }

    /// A task is over, by a reply or without one.
    pub(super) fn settle(
        &self,
        state: &mut State,
        task: (u64, u32),
        outcome: Outcome,
        after: &mut Aftermath,
    ) {
        let Some(batch) = state.batches.get(&task.0).map(Arc::clone) else {
            return;
        };
        let is_done = outcome.is_ok();
        if !batch.settle(task.1, outcome, after) {
            return; // a reply came, and then its worker died before it said that it was done
        }
        state.in_flight = state.in_flight.saturating_sub(1);
        self.count(if is_done { Word::Done } else { Word::Failed }, 1);
        if !state.files.is_empty() {
            state.files.remove(&task);
        }
        if batch.is_over() {
            state.batches.remove(&task.0);
        }
    }

    /// What follows when tasks are over: others are handed over, and whoever waits for the end hears of it.
    pub(super) fn go_on(&self, state: &mut State) {
        if !state.backlog.is_empty() {
            if self.tasks.is_empty() && state.window < CAPACITY {
                state.window = (2 * state.window).min(CAPACITY);
            }
            self.feed(state);
        }
        if state.is_closed && state.is_idle() {
            self.watch.call();
        }
    }

    /// Puts a lost task once more, or ends it.
    pub(super) fn lose(
        &self,
        state: &mut State,
        mut bytes: Vec<u8>,
        why: Option<TaskError>,
        after: &mut Aftermath,
    ) {
        let Some(mut head) = TaskHead::read(&bytes) else {
            return;
        };
        let is_open = |state: &State| {
            let batch = state.batches.get(&head.batch);
            batch.is_some_and(|batch| batch.is_open(head.index))
        };
        if !is_open(state) {
            return;
        }
        let error = match why {
            None if head.untried < 15 => {
                head.untried += 1;
                None
            }
            None => Some(TaskError::Broken {
                why: "its workers died before they could begin it".into(),
            }),
            Some(why) => {
                let is_allowed = match why {
                    TaskError::WorkerDied { .. } => true,
                    TaskError::TimedOut { .. } => self.settings.retries_timeouts,
                    _ => false,
                };
                match is_allowed && head.attempt <= self.settings.retries {
                    true => {
                        head.attempt += 1;
                        self.count(Word::Retried, 1);
                        None
                    }
                    false => Some(why),
                }
            }
        };
        match error {
            Some(error) => {
                self.settle(state, (head.batch, head.index), Err(Box::new(error)), after)
            }
            None => {
                head.write(&mut bytes);
                state.in_flight = state.in_flight.saturating_sub(1);
                state.backlog.push_front(Waiting {
                    batch: head.batch,
                    index: head.index,
                    bytes,
                });
            }
        }
    }

    /// How many calls there are in a task, at least 1.
    pub(super) fn calls_in(&self, task: TaskId) -> u32 {
        let state = self.state();
        let batch = state.batches.get(&task.batch);
        batch
            .and_then(|b| b.calls_in(task.index))
            .unwrap_or(1)
            .max(1)
    }

    /// Ends everything that was submitted with this error.
    pub(super) fn fail_all(&self, state: &mut State, error: &TaskError, after: &mut Aftermath) {
        state.is_closed = true;
        state.backlog.clear();
        state.in_flight = 0;
        state.files.clear();
        for (_, batch) in state.batches.drain() {
            let failed = batch.fail(error, after);
            self.count(Word::Failed, failed as u64);
        }
    }

    /// Cancels a batch none of whose tasks was handed over. Whether it did.
    pub(super) fn cancel(&self, batch: &Arc<Batch>) -> bool {
        let mut state = self.state();
        let waiting = state.backlog.iter().filter(|t| t.batch == batch.id).count();
        if waiting == 0 || waiting < batch.open() {
            return false;
        }
        state.backlog.retain(|task| task.batch != batch.id);
        state.batches.remove(&batch.id);
        let mut after = Aftermath::default();
        let failed = batch.fail(&TaskError::Cancelled, &mut after);
        self.count(Word::Failed, failed as u64);
        self.go_on(&mut state);
        drop(state);
        after.run();
        true
    }

    /// Cancels all tasks that were not handed over.
    pub(super) fn cancel_all(&self) {
        let mut state = self.state();
        let mut after = Aftermath::default();
        for task in std::mem::take(&mut state.backlog) {
            let Some(batch) = state.batches.get(&task.batch).map(Arc::clone) else {
                continue;
            };
            if batch.settle(task.index, Err(Box::new(TaskError::Cancelled)), &mut after) {
                self.count(Word::Failed, 1);
            }
            if batch.is_over() {
                state.batches.remove(&task.batch);
            }
        }
        self.go_on(&mut state);
        drop(state);
        after.run();
    }

    /// Nobody takes more of a stream: what was not handed over is dropped.
    pub(super) fn abandon(&self, batch: &Batch) {
        let mut state = self.state();
        let before = state.backlog.len();
        let mut dropped = Vec::new();
        state.backlog.retain(|task| {
            if task.batch == batch.id {
                dropped.push(task.index);
            }
            task.batch != batch.id
        });
        let mut after = Aftermath::default();
        for index in dropped {
            batch.settle(index, Err(Box::new(TaskError::Cancelled)), &mut after);
        }
        self.count(Word::Failed, (before - state.backlog.len()) as u64);
        after.add(batch.complete());
        if batch.is_over() {
            state.batches.remove(&batch.id);
        }
        self.go_on(&mut state);
        drop(state);
        after.run();
    }

    /// Whether a task of this batch was handed over and is not over.
    pub(super) fn is_running(&self, batch: &Batch) -> bool {
        let state = self.state();
        let waiting = state.backlog.iter().filter(|t| t.batch == batch.id).count();
        batch.open() > waiting
    }

    /// Has the thread that looks after replies read what was reported. Whether it will: else there is no room for a call now.
    pub(super) fn call_listener(&self) -> bool {
        let mut call = [0; REPLY_HEAD];
        let head = ReplyHead {
            batch: 0,
            index: 0,
            pid: 0,
            kind: ReplyKind::Call,
        };
        head.write(&mut call);
        // Behind all replies of workers that are dead by now. If the queue cannot be used, whoever gets replies learns why.
        let put = self.replies.try_put(Bytes(call.to_vec()));
        !matches!(put, Err(TryPutError::Full(_)))
    }

    /// No task will be added to a batch.
    pub(super) fn complete(&self, batch: &Batch) {
        let after = batch.complete();
        if batch.is_over() {
            self.state().batches.remove(&batch.id);
        }
        after.run();
    }

    /// Takes no more tasks.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.station.control.advance(PoolPhase::Closing);
        self.watch.call();
    }

    pub(super) fn terminate(&self) {
        self.state().is_closed = true;
        self.station.control.advance(PoolPhase::Terminated);
        self.watch.call();
    }
}

impl State {
    /// Whether nothing is to be done.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.backlog.is_empty()
    }
}

/// Which task these bytes are.
pub(super) fn id_of(bytes: &[u8]) -> Option<(TaskId, TaskKind)> {
    let head = TaskHead::read(bytes)?;
    let task = TaskId {
        batch: head.batch,
        index: head.index,
        attempt: head.attempt,
    };
    Some((task, head.kind))
}

impl Core {
    /// Tells the thread that looks after workers of orders from other processes, until the pool has ended.
    pub(super) fn take_orders(&self) {
        let mut seen = 0;
        loop {
            match self.station.wait_for_orders(seen) {
                Ok(orders) => seen = orders,
                Err(_) => {
                    self.watch.call(); // who finds the same
                    return;
                }
            }
            self.watch.call();
            if !matches!(self.station.phase(), Ok(phase) if phase < PoolPhase::Ended) {
                return;
            }
        }
    }
}
