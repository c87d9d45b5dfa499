//! A queue for one trial, and the processes that come to it.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ipc_core::{Bytes, Namespace, Queue, QueueOptions, TryPutError};

use super::act::Act;
use super::aftermath::ids;
use super::message::{Id, LOAN, MOST_INLINE, message};
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
pub(super) const FIRST_OF_REFILL: Id = 201;
pub(super) const LARGEST: Id = 250;

/// How a queue is before anything happens to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) capacity: usize,
    /// Bytes for large messages; whole blocks.
    pub(super) memory: usize,
    /// Blocks for messages that are written in place; then there is no other memory.
    pub(super) loans: usize,
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
            loans: 0,
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
    pub(super) setting: Setting,
    pub(super) namespace: Namespace,
    layout: Layout,
    file: Mapping,
    directory: TrialDirectory,
}

/// How the queues of all trials are made.
pub(super) fn options(setting: &Setting, namespace: &Namespace) -> QueueOptions<Bytes> {
    Queue::options(setting.capacity)
        .memory(setting.memory)
        .loans(setting.loans, LOAN)
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
            layout: Layout::new(&setting),
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
            .chain([(FIRST_OF_OTHERS, 'l'), (FIRST_OF_OTHERS, 'w')]);
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
}

/// Puts a message that is written in place.
pub(super) fn put_in_place(queue: &Queue<Bytes>, message: &Bytes) -> Result<(), TryPutError<()>> {
    let mut loan = queue.try_loan(message.0.len())?;
    loan.write_at(0, &message.0);
    loan.try_put().map_err(|e| match e {
        TryPutError::Full(_) => TryPutError::Full(()),
        TryPutError::Closed(_) => TryPutError::Closed(()),
        other => panic!("{other}"),
    })
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
        match letter {
            'w' => put_in_place(queue, &message(id, letter)).expect("it has room"),
            _ => queue.try_put(message(id, letter)).expect("it has room"),
        }
    }
}
