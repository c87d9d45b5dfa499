//! A queue of jobs for one trial, who comes to it, and what must be true in the end.

use std::cell::RefCell;
use std::fs;
use std::mem;
use std::path::PathBuf;
use std::time::Duration;

use ipc_core::{Bytes, JoinableQueue, Namespace, ParticipantState, TryGetJobError, TryPutError};

use super::super::message::{BLOCK, Id, MOST_INLINE, id_of, message, message_of};
use super::super::oracle::PARTICIPANTS;
use super::super::trial::{
    FIRST_OF_EARLIER_VICTIM, FIRST_OF_OTHERS, FIRST_OF_REFILL, FIRST_OF_VICTIM, LARGEST, NAME,
    place,
};
use super::case::{Act, Case};
use crate::mapping::{Mapping, Shared};
use crate::step::{Event, Operation, Snapshot, Victim, watchdog};
use crate::trial_directory::TrialDirectory;

pub(super) type Jobs = JoinableQueue<Bytes>;

const CAPACITY: usize = 4;
const LEASES: usize = 5;
const MEMORY: usize = 16 * BLOCK;

/// The queue of one trial.
#[derive(Debug)]
pub(super) struct Trial {
    /// The survivor's handle. Dropped before the directory goes.
    pub(super) queue: Jobs,
    /// The jobs when the victim began.
    pub(super) before: Vec<Id>,
    /// Every job that anybody may get.
    known: Vec<Bytes>,
    /// What others did while the victim was stopped: their puts, and the jobs that they did.
    meanwhile: RefCell<(Vec<Id>, Vec<Id>)>,
    namespace: Namespace,
    file: Mapping,
    directory: TrialDirectory,
}

fn known(case: &Case) -> Vec<Bytes> {
    let letters = case.contents.chars();
    let lengths = letters.map(|letter| if letter.is_uppercase() { 'l' } else { 's' });
    let contents = (1..).zip(lengths);
    let others = (FIRST_OF_OTHERS..).take(3 * CAPACITY).map(|id| (id, 's'));
    let mine = ['s', 'l'].map(|letter| (FIRST_OF_VICTIM, letter));
    let all = contents.chain(mine).chain(others);
    all.map(|(id, letter)| message(id, letter)).collect()
}

impl Trial {
    pub(super) fn new(case: &Case) -> Self {
        let (directory, namespace) = place();
        let queue = Jobs::options(CAPACITY)
            .leases(LEASES)
            .max_attempts(case.max_attempts)
            .lease_time(case.lease_time)
            .memory(MEMORY)
            .inline_bytes(MOST_INLINE)
            .participants(PARTICIPANTS)
            .namespace(&namespace)
            .create(NAME)
            .expect("a queue can be made");
        let file = Mapping::of_file(namespace.path().join(NAME)).expect("its file can be mapped");
        let ids: Vec<Id> = (1..).take(case.contents.len()).collect();
        let trial = Self {
            queue,
            before: ids.clone(),
            known: known(case),
            meanwhile: RefCell::default(),
            namespace,
            file,
            directory,
        };
        trial.fill(case, &ids);
        if case.is_late {
            // The survivor keeps it, and is too late at once.
            mem::forget(trial.queue.try_get().expect("it is there"));
        }
        if let Some(act) = case.left_by {
            trial.leave(act, u32::MAX);
        }
        if case.is_torn {
            trial.leave(Act::Get, 2); // the record held, and the cell claimed
        }
        if case.is_closed {
            trial.queue.close();
        }
        trial
    }

    /// Puts the jobs, and leads each to where it is to be.
    fn fill(&self, case: &Case, ids: &[Id]) {
        let mut returned = Vec::new();
        for (&id, letter) in ids.iter().zip(case.contents.chars()) {
            let length = if letter.is_uppercase() { 'l' } else { 's' };
            self.queue
                .try_put(message(id, length))
                .expect("it has room");
            let job = || self.queue.try_get().expect("it is there");
            match letter.to_ascii_lowercase() {
                'r' => returned.push(job()),
                'd' => job().give_up().expect("it is a dead letter"),
                _ => {}
            }
        }
        for job in returned {
            job.give_back().expect("it is returned");
        }
    }

    /// Kills a process after so many changes, or at the end of what it does.
    fn leave(&self, act: Act, most: u32) {
        let limit = Duration::from_secs(60);
        let mut victim = watchdog::guard(limit, "an earlier victim", || {
            let arm = || self.arm(act, FIRST_OF_EARLIER_VICTIM);
            let mut victim = Victim::fork(arm).expect("a process can be made");
            if most == u32::MAX {
                victim.resume_to_end().expect("it comes to its end");
                return None; // it exits without destructors, and holds what it holds
            }
            let mut snapshot = Snapshot::take(self.shared());
            let mut changes = 0;
            while changes < most {
                match victim.step().expect("it can be stepped") {
                    Event::Stepped => changes += u32::from(snapshot.has_changed()),
                    _ => break,
                }
            }
            Some(victim)
        });
        if let Some(victim) = &mut victim {
            victim.kill().expect("a victim can be killed");
        }
    }

    pub(super) fn shared(&self) -> Vec<Shared<'_>> {
        let all = self.file.shared();
        // Of large jobs one byte in each block will do.
        let data = self.file.len().get() - self.behind_data() - MEMORY;
        let behind = data + MEMORY;
        let blocks = (0..MEMORY / BLOCK).map(|block| (data + block * BLOCK + BLOCK / 3, 1));
        [(0, data), (behind, self.behind_data())]
            .into_iter()
            .chain(blocks)
            .map(|(from, length)| all.part(from, length))
            .collect()
    }

    /// Desk and records lie behind the memory for large jobs.
    fn behind_data(&self) -> usize {
        128 + LEASES * (40 + MOST_INLINE).next_multiple_of(64)
    }

    /// In a victim: its operation, with a job numbered `first`.
    pub(super) fn arm(&self, act: Act, first: Id) -> Operation<'_> {
        // Refused for its length, but not before the process has its slot.
        let too_long = Bytes(vec![0; self.queue.max_message_bytes() + 1]);
        assert!(matches!(
            self.queue.try_put(too_long),
            Err(TryPutError::TooLarge { .. } | TryPutError::Closed(_))
        ));
        act.operation(&self.queue, first, self.known.clone())
    }

    /// Where a repairer notes that it has begun; the parent sees only its end.
    fn note(&self) -> PathBuf {
        self.directory.path().join("repairer")
    }

    pub(super) fn note_repairer(&self) {
        fs::write(self.note(), "").expect("a note can be written");
    }

    pub(super) fn had_repairer(&self) -> bool {
        self.note().exists()
    }

    pub(super) fn meanwhile(&self) -> (Vec<Id>, Vec<Id>) {
        self.meanwhile.borrow().clone()
    }

    fn participants(&self, state: ParticipantState) -> Result<usize, String> {
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        let those = seen.participants.iter().filter(|p| p.state == state);
        Ok(those.count())
    }

    /// The survivor repairs; then the dead are gone, and it is alone.
    pub(super) fn sweep_and_count(&self) -> Result<(), String> {
        let dead = self.participants(ParticipantState::Dead)?;
        let swept = self.queue.sweep().map_err(|e| e.to_string())?;
        if swept as usize != dead {
            return Err(format!("{dead} participants are dead, {swept} were swept"));
        }
        let alive = self.participants(ParticipantState::Alive)?;
        let dead = self.participants(ParticipantState::Dead)?;
        match (alive, dead) {
            (1, 0) => Ok(()),
            _ => Err(format!(
                "after the sweep {alive} participants are alive and {dead} dead"
            )),
        }
    }

    /// Everything that is left comes out and is done, and so do the dead letters.
    pub(super) fn drain(&self, case: &Case) -> Result<Vec<Id>, String> {
        let mut found = self.do_jobs()?;
        if case.act == Act::Requeue && self.queue.dead_len() > 0 {
            // What was killed before it came to all of them.
            self.queue.requeue_dead().map_err(|e| e.to_string())?;
            found.extend(self.do_jobs()?);
        }
        loop {
            match self.queue.take_dead() {
                Ok(letter) => found.push(id_of(&letter.value)?),
                Err(TryGetJobError::Empty) => return Ok(found),
                Err(other) => return Err(format!("a survivor's take_dead: {other}")),
            }
        }
    }

    fn do_jobs(&self) -> Result<Vec<Id>, String> {
        let mut done = Vec::new();
        for _ in 0..4 * CAPACITY {
            match self.queue.try_get() {
                Ok(job) => {
                    let id = id_of(&job)?;
                    match job.task_done() {
                        Ok(()) => done.push(id),
                        Err(_) if self.queue.lease_time().is_some() => {} // it comes again
                        Err(e) => return Err(format!("task_done of {id}: {e}")),
                    }
                }
                Err(TryGetJobError::Empty | TryGetJobError::Closed) => break,
                Err(other) => return Err(format!("a survivor's get, after {done:?}: {other}")),
            }
        }
        Ok(done)
    }

    /// Nothing is left, and nothing is lost: cells, records, memory.
    pub(super) fn check_as_new(&self, may_be_closed: bool) -> Result<(), String> {
        let is_finished = self.queue.join_timeout(Duration::ZERO);
        if !matches!(is_finished, Ok(true)) || self.queue.unfinished() != 0 {
            let left = self.queue.unfinished();
            return Err(format!(
                "{left} jobs are unfinished, join says {is_finished:?}"
            ));
        }
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        let stat = seen.queue.ok_or("a queue has figures")?;
        if (stat.len, stat.memory_used, seen.visits.len()) != (0, 0, 0) {
            return Err(format!("an empty queue has {stat:?}, {:?}", seen.visits));
        }
        if self.queue.is_closed() {
            return match self.queue.try_get() {
                Err(TryGetJobError::Closed) if may_be_closed => Ok(()),
                other => Err(format!("a closed and finished queue says {other:?}")),
            };
        }
        self.refill()
    }

    /// All cells can be filled, all records be leased, and all memory be used.
    fn refill(&self) -> Result<(), String> {
        let ids: Vec<Id> = (FIRST_OF_REFILL..).take(LEASES).collect();
        let mut leased = Vec::new();
        let most = CAPACITY.min(LEASES);
        let put = |id| self.queue.try_put(message(id, 's'));
        for &id in &ids[..most] {
            put(id).map_err(|e| format!("lost capacity: job {id}: {e}"))?;
        }
        for &id in &ids {
            if usize::from(id - FIRST_OF_REFILL) >= most {
                put(id).map_err(|e| format!("lost capacity: job {id}: {e}"))?;
            }
            let job = self.queue.try_get();
            leased.push(job.map_err(|e| format!("lost records: after {id}: {e}"))?);
        }
        for job in leased {
            let done = job.task_done();
            if done.is_err()
                && self
                    .queue
                    .lease_time()
                    .is_none_or(|time| time.as_secs() > 0)
            {
                return Err(format!("task_done: {done:?}"));
            }
        }
        self.do_jobs()?;
        let largest = message_of(LARGEST, self.queue.max_message_bytes());
        let put = self.queue.try_put(largest);
        put.map_err(|e| format!("lost memory: the largest job: {e}"))?;
        let job = self.queue.try_get();
        let job = job.map_err(|e| format!("the largest job was put: {e}"))?;
        let id = id_of(&job)?;
        let _ = job.task_done(); // perhaps it was late
        match id {
            LARGEST => Ok(()),
            other => Err(format!("the largest job was put, not {other}")),
        }
    }

    /// While a victim is stopped: others put jobs and do all that come, some times.
    pub(super) fn do_laps(&self) -> Result<(), String> {
        for lap in 0..3 {
            for _ in 0..CAPACITY {
                let id = FIRST_OF_OTHERS + self.meanwhile.borrow().0.len() as Id;
                match self.queue.try_put(message(id, 's')) {
                    Ok(()) => self.meanwhile.borrow_mut().0.push(id),
                    Err(TryPutError::Full(_) | TryPutError::Closed(_)) => break,
                    Err(other) => return Err(format!("the put of {id} in lap {lap}: {other}")),
                }
            }
            let done = self.do_jobs()?;
            self.meanwhile.borrow_mut().1.extend(done);
            self.queue.sweep().map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}
