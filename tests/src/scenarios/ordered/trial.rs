//! A queue for one trial, who comes to it, and what must be true in the end.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ipc_core::{Bytes, Namespace, ParticipantState, TryGetError, TryPutError};

use super::super::aftermath::{kept, sorted};
use super::super::message::{BLOCK, Id, message, message_of};
use super::super::oracle::PARTICIPANTS;
use super::super::trial::{
    FIRST_OF_EARLIER_VICTIM, FIRST_OF_OTHERS, FIRST_OF_REFILL, FIRST_OF_VICTIM, LARGEST, NAME,
    place,
};
use super::case::{Act, Case};
use super::layout::{INLINE, Layout};
use super::subject::{Kind, Making, Subject};
use crate::mapping::{Mapping, Shared};
use crate::step::{Event, Operation, Snapshot, Victim, watchdog};
use crate::trial_directory::TrialDirectory;

pub(super) const CAPACITY: usize = 4;

/// The queue of one trial. Whatever it learns while the trial runs is private to the process that learns it.
#[derive(Debug)]
pub(super) struct Trial {
    /// The survivor's handle. Dropped before the directory goes.
    pub(super) queue: Subject,
    kind: Kind,
    /// What was in the queue when the victim began, in the order of puts.
    pub(super) before: Vec<Id>,
    /// What others did while the victim was stopped: their puts, and their gets.
    pub(super) meanwhile: RefCell<(Vec<Id>, Vec<Id>)>,
    namespace: Namespace,
    layout: Layout,
    file: Mapping,
    directory: TrialDirectory,
}

impl Trial {
    pub(super) fn new(case: &Case) -> Self {
        let (directory, namespace) = place();
        let queue = make(case, &namespace).expect("a queue can be made");
        let file = Mapping::of_file(namespace.path().join(NAME)).expect("its file can be mapped");
        for n in 0..9 {
            let letter = if n % 2 == 1 { 'l' } else { 's' };
            queue
                .try_put(message(LARGEST, letter))
                .expect("it is empty");
            queue.try_get().expect("it is not empty");
        }
        let contents = (1..).zip(case.contents.chars());
        for (id, letter) in contents.clone() {
            queue.try_put(message(id, letter)).expect("it has room");
        }
        let mut trial = Self {
            queue,
            kind: case.kind,
            before: Vec::new(),
            meanwhile: RefCell::default(),
            layout: Layout::new(CAPACITY, case.blocks * BLOCK),
            file,
            namespace,
            directory,
        };
        let expected: Vec<Id> = contents.map(|(id, _)| id).collect();
        assert_eq!(trial.messages(), expected, "the oracle knows the layout");
        if let Some(act) = case.left_in_lock {
            trial.leave_in_lock(case, act);
        }
        if case.is_closed {
            trial.queue.close();
        }
        trial.before = trial.messages();
        trial
    }

    /// Kills a process in the lock: a get that has marked its message, a put that is at work on the order.
    fn leave_in_lock(&self, case: &Case, act: Act) {
        let most = if act == Act::Get { 2 } else { 5 };
        let limit = Duration::from_secs(60);
        let mut victim = watchdog::guard(limit, "an earlier victim", || {
            let arm = || self.arm(case, act, FIRST_OF_EARLIER_VICTIM);
            let mut victim = Victim::fork(arm).expect("a process can be made");
            let mut snapshot = Snapshot::take(self.shared());
            let mut changes = 0;
            while changes < most {
                let event = victim.step().expect("it can be stepped");
                assert_eq!(event, Event::Stepped, "it changes more in the lock");
                let has_changed = snapshot.has_changed();
                changes += u32::from(has_changed && self.is_locked());
            }
            victim
        });
        victim.kill().expect("a victim can be killed");
        assert!(self.is_locked(), "it died in the lock");
    }

    /// The bytes to watch.
    pub(super) fn shared(&self) -> Vec<Shared<'_>> {
        let all = self.file.shared();
        let watched = self.layout.watched(self.file.len().get());
        watched
            .into_iter()
            .map(|(from, len)| all.part(from, len))
            .collect()
    }

    /// The messages that a survivor must get, in the order of puts, as the bytes say.
    pub(super) fn messages(&self) -> Vec<Id> {
        self.layout.messages(&self.file)
    }

    pub(super) fn is_locked(&self) -> bool {
        self.layout.is_locked(&self.file)
    }

    /// In a victim: its operation, with a message numbered `first`.
    pub(super) fn arm<'a>(&self, case: &Case, act: Act, first: Id) -> Operation<'a> {
        // Refused for its length, but not before the process has its slot.
        let too_long = Bytes(vec![0; self.queue.max_message_bytes() + 1]);
        assert!(matches!(
            self.queue.try_put(too_long),
            Err(TryPutError::TooLarge { .. } | TryPutError::Closed(_))
        ));
        let contents = (1..).zip(case.contents.chars());
        let acts = [
            (FIRST_OF_VICTIM, case.act),
            (
                FIRST_OF_EARLIER_VICTIM,
                case.left_in_lock.unwrap_or(Act::Get),
            ),
            (first, act),
        ];
        let put = acts
            .into_iter()
            .filter_map(|(id, act)| act.letter().map(|letter| (id, letter)));
        let others = (0..20).map(|n| (FIRST_OF_OTHERS + n, 's'));
        let known = contents.chain(put).chain(others);
        let known = known.map(|(id, letter)| message(id, letter)).collect();
        act.operation(self.queue.clone(), first, known)
    }

    /// Where a repairer notes, before it begins, what it found; the parent sees only its end.
    fn note(&self) -> PathBuf {
        self.directory.path().join("found-by-repairer")
    }

    /// In a repairer: notes the messages as they are.
    pub(super) fn note_messages(&self) {
        fs::write(self.note(), self.messages()).expect("a note can be written");
    }

    /// What a repairer noted; none when there was no repairer.
    pub(super) fn noted_messages(&self) -> Option<Vec<Id>> {
        fs::read(self.note()).ok()
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

    /// Everything that is left comes out, once, whole and in order; then the queue is as good as new. Consumes the contents.
    pub(super) fn drain_and_refill(&self) -> Result<(), String> {
        let left = self.messages();
        if self.queue.len() != left.len() || self.queue.is_empty() != left.is_empty() {
            let len = self.queue.len();
            return Err(format!(
                "{} messages are left, len() says {len}",
                left.len()
            ));
        }
        let drained = self.queue.drain(2 * CAPACITY)?;
        if drained != self.kind.order(&left) {
            return Err(format!("{left:?} are left, a survivor gets {drained:?}"));
        }
        if self.queue.is_closed() {
            let said = (
                self.queue.try_put(message(LARGEST, 's')),
                self.queue.try_get(),
            );
            let (Err(TryPutError::Closed(_)), Err(TryGetError::Closed)) = said else {
                return Err(format!("a closed and empty queue says {said:?}"));
            };
        } else {
            self.refill()?;
        }
        self.check_unused()
    }

    fn refill(&self) -> Result<(), String> {
        let refill: Vec<Id> = (FIRST_OF_REFILL..).take(CAPACITY).collect();
        for &id in &refill {
            let put = self.queue.try_put(message(id, 's'));
            put.map_err(|e| format!("lost capacity: message {id} of {refill:?}: {e}"))?;
        }
        match self.queue.try_put(message(LARGEST, 's')) {
            Err(TryPutError::Full(_)) if self.queue.is_full() => {}
            other => return Err(format!("a put into a full queue: {other:?}")),
        }
        let got = self.queue.drain(2 * CAPACITY)?;
        if got != self.kind.order(&refill) {
            return Err(format!("refilled with {refill:?}, a survivor gets {got:?}"));
        }
        self.check_unused()?;
        let largest = message_of(LARGEST, self.queue.max_message_bytes());
        let put = self.queue.try_put(largest);
        put.map_err(|e| format!("lost memory: the largest message: {e}"))?;
        match self.queue.drain(2)?.as_slice() {
            [LARGEST] => Ok(()),
            other => Err(format!("the largest message was put, not {other:?}")),
        }
    }

    fn check_unused(&self) -> Result<(), String> {
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        let stat = seen.queue.ok_or("a queue has figures")?;
        match (stat.len, stat.memory_used, seen.visits.len()) {
            (0, 0, 0) => Ok(()),
            lost => Err(format!(
                "lost: an empty queue has {lost:?} messages, bytes of memory in use, visitors"
            )),
        }
    }

    /// While a victim is stopped that does not hold the lock: others fill the queue and drain it, some times.
    pub(super) fn do_laps(&self) -> Result<(), String> {
        for lap in 0..4 {
            for _ in 0..CAPACITY {
                let id = FIRST_OF_OTHERS + self.meanwhile.borrow().0.len() as Id;
                match self.queue.try_put(message(id, 's')) {
                    Ok(()) => self.meanwhile.borrow_mut().0.push(id),
                    Err(TryPutError::Full(_) | TryPutError::Closed(_)) => break,
                    Err(other) => return Err(format!("the put of {id} in lap {lap}: {other}")),
                }
            }
            let present = self.messages();
            let got = self.queue.drain(2 * CAPACITY)?;
            let missing = present.iter().filter(|id| !got.contains(id)).count();
            let order = self.kind.order(&kept(&present, &got));
            if missing > 1 || got != order {
                return Err(format!(
                    "in lap {lap}, with the victim stopped, {present:?} are there, others get {got:?}"
                ));
            }
            self.meanwhile.borrow_mut().1.extend(got);
        }
        Ok(())
    }

    /// What came is what went or is left.
    pub(super) fn balance(&self, mine: &[Id], taken: &[Id]) -> Result<(), String> {
        let (put, got) = self.meanwhile.borrow().clone();
        let left = self.messages();
        let came = [&self.before, &put[..], mine].concat();
        let went = [&got[..], taken, &left].concat();
        if sorted(came.clone()) == sorted(went) {
            return Ok(());
        }
        Err(format!(
            "the books do not balance: {came:?} were put; others got {got:?}, the victim {taken:?}, {left:?} are left"
        ))
    }
}

fn make(case: &Case, namespace: &Namespace) -> ipc_core::Result<Subject> {
    let making = Making {
        name: NAME,
        capacity: CAPACITY,
        memory: case.blocks * BLOCK,
        inline: INLINE,
        participants: PARTICIPANTS,
        namespace,
    };
    Subject::make(case.kind, making)
}
