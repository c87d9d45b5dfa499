//! A queue for one trial, and what must be true of it afterwards, whatever happened.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ipc_core::{Bytes, Namespace, ParticipantState, Queue, QueueOptions, TryGetError, TryPutError};

use super::act::Act;
use super::message::{Id, MOST_INLINE, id_of, message, message_of};
use super::oracle::{Layout, PARTICIPANTS, Seen};
use crate::mapping::{Mapping, Shared};
use crate::step::{Event, Operation, Snapshot, Victim, watchdog};
use crate::trial_directory::TrialDirectory;

/// The queue's name.
pub(super) const NAME: &str = "q";
/// Numbers of messages, by who puts them. What a queue holds at first begins at 1.
pub(super) const FIRST_OF_OTHERS: Id = 20;
pub(super) const LAST_OF_OTHERS: Id = 60;
pub(super) const FIRST_OF_VICTIM: Id = 101;
pub(super) const FIRST_OF_EARLIER_VICTIM: Id = 111;
pub(super) const FIRST_OF_REPAIRER: Id = 121;
const FIRST_OF_REFILL: Id = 201;
const LARGEST: Id = 250;

/// How a queue is before anything happens to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) capacity: usize,
    /// Bytes for large messages; whole blocks.
    pub(super) memory: usize,
    /// Messages that have passed through it.
    pub(super) passed: usize,
    /// The messages in it, by their letters.
    pub(super) contents: &'static str,
    pub(super) is_closed: bool,
    /// What an earlier victim did, and after how many changes of the shared bytes it was killed. Nobody has repaired it.
    pub(super) left_by: Option<(Act, u32)>,
    /// The survivor is attached all the time, and victims inherit its handle by fork. Otherwise each opens the queue.
    pub(super) survivor_is_attached: bool,
}

impl Setting {
    /// A queue in its third lap, with these messages.
    pub(super) fn with(contents: &'static str) -> Self {
        Self {
            capacity: 4,
            memory: 16 * 512,
            passed: 9,
            contents,
            is_closed: false,
            left_by: None,
            survivor_is_attached: true,
        }
    }
}

/// The queue of one trial. Whatever it learns while the trial runs is private to the process that learns it.
#[derive(Debug)]
pub(super) struct Trial {
    /// The survivor's handle. Dropped before the directory goes.
    pub(super) queue: RefCell<Option<Queue<Bytes>>>,
    /// Other processes at work in the trial; killed at its end at the latest.
    pub(super) others: RefCell<Vec<Victim>>,
    /// What was in the queue when the victim began.
    pub(super) before: Vec<Seen>,
    /// What others did while the victim was stopped: their puts, and their gets.
    pub(super) meanwhile: RefCell<(Vec<Id>, Vec<Id>)>,
    setting: Setting,
    layout: Layout,
    file: Mapping,
    namespace: Namespace,
    directory: TrialDirectory,
}

/// How the queues of all trials are made.
pub(super) fn options(setting: &Setting, namespace: &Namespace) -> QueueOptions<Bytes> {
    Queue::options(setting.capacity)
        .memory(setting.memory)
        .inline_bytes(MOST_INLINE)
        .participants(PARTICIPANTS)
        .namespace(namespace)
}

/// A directory, and a namespace in it with nothing else.
pub(super) fn place() -> (TrialDirectory, Namespace) {
    let directory = TrialDirectory::create().expect("a directory can be made");
    let namespace = Namespace::at(directory.path().join("ns")).expect("a namespace can be made");
    (directory, namespace)
}

impl Trial {
    pub(super) fn new(setting: Setting) -> Self {
        let (directory, namespace) = place();
        let queue = options(&setting, &namespace)
            .create(NAME)
            .expect("a queue can be made");
        let file = Mapping::of_file(namespace.path().join(NAME)).expect("its file can be mapped");
        fill(&setting, &queue);
        let mut trial = Self {
            queue: RefCell::new(setting.survivor_is_attached.then(|| queue.clone())),
            others: RefCell::default(),
            before: Vec::new(),
            meanwhile: RefCell::default(),
            layout: Layout::new(setting.capacity, setting.memory),
            setting,
            file,
            namespace,
            directory,
        };
        let expected: Vec<Id> = (1..).take(setting.contents.len()).collect();
        assert_eq!(
            ids(&trial.messages()),
            expected,
            "the oracle knows the layout"
        );
        if let Some((act, changes)) = setting.left_by {
            trial.leave(act, changes);
        }
        if setting.is_closed {
            queue.close();
        }
        trial.queue = RefCell::new(setting.survivor_is_attached.then_some(queue));
        trial.before = trial.messages();
        trial
    }

    /// Kills a process in the middle of an operation.
    fn leave(&self, act: Act, changes: u32) {
        let arm = || self.arm(act, FIRST_OF_EARLIER_VICTIM);
        let limit = Duration::from_secs(60);
        let mut victim = watchdog::guard(limit, "an earlier victim", || {
            self.process_after(arm, changes)
        });
        victim.kill().expect("a victim can be killed");
    }

    /// A process that has begun an operation, and stands behind so many changes of the shared bytes.
    pub(super) fn process_after<'a>(
        &self,
        arm: impl FnOnce() -> Operation<'a>,
        changes: u32,
    ) -> Victim {
        let mut victim = Victim::fork(arm).expect("a process can be made");
        let mut snapshot = Snapshot::take(self.shared());
        let mut seen = 0;
        while seen < changes {
            let event = victim.step().expect("it can be stepped");
            assert_eq!(event, Event::Stepped, "it has more than {seen} changes");
            seen += u32::from(snapshot.has_changed());
        }
        victim
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

    /// The messages that a survivor must get, oldest first, as the bytes say.
    pub(super) fn messages(&self) -> Vec<Seen> {
        self.layout.messages(&self.file)
    }

    /// Comes to the queue, for a process that has no slot yet; repairs nothing if the handle is inherited.
    pub(super) fn enter(&self) -> Queue<Bytes> {
        if let Some(queue) = &*self.queue.borrow() {
            // Refused for its length, but not before the process has its slot.
            let too_long = Bytes(vec![0; queue.max_message_bytes() + 1]);
            assert!(matches!(
                queue.try_put(too_long),
                Err(TryPutError::TooLarge { .. } | TryPutError::Closed(_))
            ));
            return queue.clone();
        }
        self.open()
    }

    /// Opens the queue by name.
    pub(super) fn open(&self) -> Queue<Bytes> {
        self.options().open(NAME).expect("the queue can be opened")
    }

    pub(super) fn options(&self) -> QueueOptions<Bytes> {
        options(&self.setting, &self.namespace)
    }

    /// In a victim: its operation, with messages numbered from `first`.
    pub(super) fn arm<'a>(&self, act: Act, first: Id) -> Operation<'a> {
        act.operation(self.enter(), first, self.known())
    }

    /// Every message that an operation may find.
    pub(super) fn known(&self) -> Vec<Bytes> {
        let contents = (1..).zip(self.setting.contents.chars());
        let left = self.setting.left_by.map(|(act, _)| act.letters());
        let left = (FIRST_OF_EARLIER_VICTIM..).zip(left.unwrap_or_default());
        let others = (FIRST_OF_OTHERS..LAST_OF_OTHERS).map(|id| (id, 's'));
        let all = contents
            .chain(left)
            .chain(others)
            .chain([(FIRST_OF_OTHERS, 'l')]);
        all.map(|(id, letter)| message(id, letter)).collect()
    }

    /// The survivor's handle, from now on attached.
    pub(super) fn survivor(&self) -> Queue<Bytes> {
        let mut queue = self.queue.borrow_mut();
        queue.get_or_insert_with(|| self.open()).clone()
    }

    /// Where a repairer notes, before it begins, what it found; the parent sees only its end.
    fn note(&self) -> PathBuf {
        self.directory.path().join("found-by-repairer")
    }

    /// In a repairer: notes the messages as they are.
    pub(super) fn note_messages(&self) {
        let text: Vec<u8> = self
            .messages()
            .iter()
            .flat_map(|seen| [seen.id, seen.is_claimed.into()])
            .collect();
        fs::write(self.note(), text).expect("a note can be written");
    }

    /// What a repairer noted, as number and whether it was claimed; none when there was no repairer.
    pub(super) fn noted_messages(&self) -> Option<Vec<(Id, bool)>> {
        let text = fs::read(self.note()).ok()?;
        Some(
            text.chunks_exact(2)
                .map(|pair| (pair[0], pair[1] != 0))
                .collect(),
        )
    }

    /// The survivor repairs; then the dead are gone, and it is alone.
    pub(super) fn sweep_and_count(&self) -> Result<(), String> {
        let dead = self.participants(ParticipantState::Dead)?;
        let was_attached = self.queue.borrow().is_some();
        let swept = self.survivor().sweep().map_err(|e| e.to_string())?;
        if was_attached && swept as usize != dead {
            return Err(format!("{dead} participants are dead, {swept} were swept"));
        }
        let (alive, dead) = (
            self.participants(ParticipantState::Alive)?,
            self.participants(ParticipantState::Dead)?,
        );
        if (alive, dead) != (1, 0) {
            return Err(format!(
                "after the sweep {alive} participants are alive and {dead} dead"
            ));
        }
        Ok(())
    }

    pub(super) fn participants(&self, state: ParticipantState) -> Result<usize, String> {
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        Ok(seen
            .participants
            .iter()
            .filter(|p| p.state == state)
            .count())
    }

    /// Everything that is left comes out, once and whole; then the queue is as good as new. Consumes the contents.
    pub(super) fn drain_and_refill(&self) -> Result<(), String> {
        let left = self.messages();
        let queue = self.survivor();
        if queue.len() != left.len() {
            return Err(format!(
                "{} messages are left, len() says {}",
                left.len(),
                queue.len()
            ));
        }
        let drained = drain(&queue, 2 * self.setting.capacity)?;
        if sorted(drained.clone()) != sorted(ids(&left)) {
            return Err(format!(
                "messages {:?} are left, a survivor gets {drained:?}",
                ids(&left)
            ));
        }
        let in_order = |seen: &&Seen| !seen.is_claimed;
        let ordered: Vec<Id> = left.iter().filter(in_order).map(|seen| seen.id).collect();
        if kept(&drained, &ordered) != ordered {
            return Err(format!(
                "out of order: {ordered:?} are left, a survivor gets {drained:?}"
            ));
        }
        if queue.is_closed() {
            check_closed(&queue)?;
        } else {
            self.refill(&queue)?;
        }
        self.check_unused()
    }

    fn refill(&self, queue: &Queue<Bytes>) -> Result<(), String> {
        let refill: Vec<Id> = (FIRST_OF_REFILL..).take(self.setting.capacity).collect();
        for &id in &refill {
            let put = queue.try_put(message(id, 's'));
            put.map_err(|e| format!("lost capacity: message {id} of {refill:?}: {e}"))?;
        }
        match queue.try_put(message(LARGEST, 's')) {
            Err(TryPutError::Full(_)) => {}
            other => return Err(format!("a put into a full queue: {other:?}")),
        }
        let got = drain(queue, 2 * self.setting.capacity)?;
        if got != refill {
            return Err(format!("refilled with {refill:?}, a survivor gets {got:?}"));
        }
        self.check_unused()?;
        let put = queue.try_put(message_of(LARGEST, queue.max_message_bytes()));
        put.map_err(|e| format!("lost memory: the largest message: {e}"))?;
        match drain(queue, 2)?.as_slice() {
            [LARGEST] => Ok(()),
            other => Err(format!("the largest message was put, not {other:?}")),
        }
    }

    fn check_unused(&self) -> Result<(), String> {
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        let stat = seen.queue.ok_or("a queue is a queue")?;
        match (stat.len, stat.memory_used, stat.orphans) {
            (0, 0, 0) => Ok(()),
            (len, used, orphans) => Err(format!(
                "lost: an empty queue has len {len}, {used} bytes of memory used, {orphans} orphans"
            )),
        }
    }
}

fn fill(setting: &Setting, queue: &Queue<Bytes>) {
    for n in 0..setting.passed {
        let letter = if n % 2 == 1 && setting.memory > 0 {
            'l'
        } else {
            's'
        };
        queue
            .try_put(message(LARGEST, letter))
            .expect("it is empty");
        queue.try_get().expect("it is not empty");
    }
    for (id, letter) in (1..).zip(setting.contents.chars()) {
        queue.try_put(message(id, letter)).expect("it has room");
    }
}

/// Gets until there is nothing, checking each message; at most `most`, should the queue repeat itself.
pub(super) fn drain(queue: &Queue<Bytes>, most: usize) -> Result<Vec<Id>, String> {
    let mut ids = Vec::new();
    for _ in 0..most {
        match queue.try_get() {
            Ok(message) => ids.push(id_of(&message)?),
            Err(TryGetError::Empty | TryGetError::Closed) => break,
            Err(other) => return Err(format!("a survivor's get, after {ids:?}: {other}")),
        }
    }
    Ok(ids)
}

fn check_closed(queue: &Queue<Bytes>) -> Result<(), String> {
    match (queue.try_put(message(LARGEST, 's')), queue.try_get()) {
        (Err(TryPutError::Closed(_)), Err(TryGetError::Closed)) => Ok(()),
        other => Err(format!("a closed and empty queue says {other:?}")),
    }
}

pub(super) fn ids(messages: &[Seen]) -> Vec<Id> {
    messages.iter().map(|seen| seen.id).collect()
}

pub(super) fn sorted(mut ids: Vec<Id>) -> Vec<Id> {
    ids.sort_unstable();
    ids
}

/// Those of `ids` that are in `of`, in their order.
pub(super) fn kept(ids: &[Id], of: &[Id]) -> Vec<Id> {
    ids.iter().copied().filter(|id| of.contains(id)).collect()
}
