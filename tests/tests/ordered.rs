//! Processes at work on a LIFO and on a priority queue, killed and stopped at random, and their books.
//!
//! `IPC_SOAK_SECONDS=600 cargo test --release -p ipc-tests --test ordered` runs longer.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipc_core::{Bytes, LifoQueue, Namespace, PriorityQueue, TryGetError};
use ipc_tests::puppet::ordered::{self, Entry, Number, priority_of};
use ipc_tests::puppet::{Puppet, wait_until};
use ipc_tests::random::Random;
use ipc_tests::trial_directory::TrialDirectory;
use nix::sys::signal::Signal;

const SECONDS: u64 = 4;
/// How long processes come and go before the queue is emptied and its order checked.
const ROUND: Duration = Duration::from_millis(400);
const PRODUCERS: usize = 3;
const CONSUMERS: usize = 2;
const CAPACITY: usize = 16;
const MEMORY: usize = 16 << 10;

/// Either queue, as the survivor holds it.
enum Subject {
    Lifo(LifoQueue<Bytes>),
    Priority(PriorityQueue<Bytes>),
}

impl Subject {
    fn make(kind: &str, namespace: &Namespace) -> ipc_core::Result<Self> {
        if kind == "lifo" {
            let options = LifoQueue::options(CAPACITY).memory(MEMORY);
            return Ok(Self::Lifo(options.namespace(namespace).create(kind)?));
        }
        let options = PriorityQueue::options(CAPACITY).memory(MEMORY);
        Ok(Self::Priority(options.namespace(namespace).create(kind)?))
    }

    fn try_get(&self) -> Result<Entry, TryGetError> {
        Ok(match self {
            Self::Lifo(queue) => ordered::received(None, &queue.try_get()?),
            Self::Priority(queue) => {
                let (priority, message) = queue.try_get()?;
                ordered::received(Some(priority), &message)
            }
        })
    }

    fn sweep(&self) -> ipc_core::Result<u32> {
        match self {
            Self::Lifo(queue) => queue.sweep(),
            Self::Priority(queue) => queue.sweep(),
        }
    }

    /// Whether messages may come out one after the other with nobody else at work.
    fn is_in_order(&self, first: Number, second: Number) -> bool {
        let is_same_producer = first >> 32 == second >> 32;
        match self {
            Self::Lifo(_) => !is_same_producer || first > second,
            Self::Priority(_) => match priority_of(first).cmp(&priority_of(second)) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Equal => !is_same_producer || first < second,
                std::cmp::Ordering::Greater => false,
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Produce,
    Consume,
}

struct Worker {
    puppet: Puppet,
    role: Role,
}

struct Storm {
    kind: &'static str,
    namespace: Namespace,
    directory: PathBuf,
    queue: Subject,
    workers: Vec<Worker>,
    /// Numbers given to workers so far.
    started: u64,
    killed_producers: usize,
    killed_consumers: usize,
    /// What the survivor itself got.
    got: Vec<Number>,
    random: Random,
}

impl Storm {
    fn begin(kind: &'static str, directory: &TrialDirectory, random: Random) -> Self {
        let namespace = Namespace::at(directory.path().join("namespace")).expect("a namespace");
        let queue = Subject::make(kind, &namespace).expect("a queue");
        Self {
            kind,
            namespace,
            directory: directory.path().to_owned(),
            queue,
            workers: Vec::new(),
            started: 0,
            killed_producers: 0,
            killed_consumers: 0,
            got: Vec::new(),
            random,
        }
    }

    fn journal(&self, who: u64) -> PathBuf {
        self.directory.join(format!("journal-{who}"))
    }

    fn start(&mut self, role: Role) {
        self.started += 1;
        let mut puppet = Puppet::start(env!("CARGO_BIN_EXE_puppet"), self.namespace.path());
        let act = match role {
            Role::Produce => "produce",
            Role::Consume => "consume",
        };
        let journal = self.journal(self.started);
        let (kind, who) = (self.kind, self.started);
        puppet.tell(&format!("ordered {act} {kind} {who} {}", journal.display()));
        self.workers.push(Worker { puppet, role });
    }

    fn kill(&mut self, which: usize) -> Role {
        let mut worker = self.workers.swap_remove(which);
        assert!(
            !worker.puppet.has_answer(Duration::ZERO),
            "{:?} ended: {}",
            worker.role,
            worker.puppet.answer()
        );
        worker.puppet.kill();
        match worker.role {
            Role::Produce => self.killed_producers += 1,
            Role::Consume => self.killed_consumers += 1,
        }
        worker.role
    }

    /// Processes come and go; then none is left, and what is left in the queue comes out in order.
    fn round(&mut self) {
        let roles = [Role::Produce; PRODUCERS].into_iter();
        roles
            .chain([Role::Consume; CONSUMERS])
            .for_each(|role| self.start(role));
        let end = Instant::now() + ROUND;
        while Instant::now() < end {
            let which = self.random.index(self.workers.len());
            std::thread::sleep(Duration::from_millis(self.random.below(8)));
            if self.random.one_in(3) {
                let puppet = &self.workers[which].puppet;
                puppet.signal(Signal::SIGSTOP);
                std::thread::sleep(Duration::from_millis(self.random.below(8)));
                puppet.signal(Signal::SIGCONT);
            } else {
                let role = self.kill(which);
                self.start(role);
            }
        }
        while !self.workers.is_empty() {
            self.kill(0);
        }
        self.drain();
    }

    fn drain(&mut self) {
        self.queue.sweep().expect("the queue is sound");
        let mut last = None;
        loop {
            match self.queue.try_get() {
                Ok(Entry::Got(number)) => {
                    let is_in_order = last.is_none_or(|last| self.queue.is_in_order(last, number));
                    assert!(is_in_order, "{}: {number:#x} after {last:#x?}", self.kind);
                    last = Some(number);
                    self.got.push(number);
                }
                Ok(other) => panic!("{}: {other:x?}", self.kind),
                Err(TryGetError::Empty) => break,
                Err(other) => panic!("{}: {other}", self.kind),
            }
        }
        let seen = self.namespace.inspect(self.kind).expect("it can be seen");
        let stat = seen.queue.expect("a queue has figures");
        assert_eq!((stat.len, stat.memory_used), (0, 0), "{}: lost", self.kind);
        assert!(seen.visits.is_empty(), "{}: {:?}", self.kind, seen.visits);
    }

    /// Nothing is lost or doubled, but what a killed process may lose.
    fn balance(&self) -> String {
        let entries: Vec<Entry> = (1..=self.started)
            .filter_map(|who| ordered::read(&self.journal(who)).ok())
            .flatten()
            .collect();
        let torn = entries.iter().find(|e| matches!(e, Entry::Torn(_)));
        assert_eq!(torn, None, "{}", self.kind);
        let those = |pick: fn(&Entry) -> Option<Number>| entries.iter().filter_map(pick);
        let begun: BTreeSet<Number> = those(|e| match e {
            Entry::Begun(number) => Some(*number),
            _ => None,
        })
        .collect();
        let put: BTreeSet<Number> = those(|e| match e {
            Entry::Put(number) => Some(*number),
            _ => None,
        })
        .collect();
        let got_by_others = those(|e| match e {
            Entry::Got(number) => Some(*number),
            _ => None,
        });
        let mut got = BTreeSet::new();
        for number in got_by_others.chain(self.got.iter().copied()) {
            assert!(got.insert(number), "{}: {number:#x} came twice", self.kind);
            assert!(
                begun.contains(&number),
                "{}: nobody put {number:#x}",
                self.kind
            );
        }
        let lost = put.difference(&got).count();
        let unsaid = got.difference(&put).count();
        assert!(
            lost <= self.killed_consumers,
            "{}: {lost} are lost",
            self.kind
        );
        assert!(unsaid <= self.killed_producers, "{}: {unsaid}", self.kind);
        format!(
            "{}: {} put, {} got, {lost} lost by {} killed consumers, {unsaid} put by {} killed producers that did not know it",
            self.kind,
            put.len(),
            got.len(),
            self.killed_consumers,
            self.killed_producers
        )
    }
}

fn weather(kind: &'static str) {
    let seconds = std::env::var("IPC_SOAK_SECONDS").ok();
    let seconds = seconds.and_then(|s| s.parse().ok()).unwrap_or(SECONDS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = now.expect("it is after 1970").as_nanos() as u64;
    println!("seed {seed}");
    let directory = TrialDirectory::create().expect("a directory");
    let mut storm = Storm::begin(kind, &directory, Random::new(seed));
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        storm.round();
    }
    println!("{}", storm.balance());
    assert!(
        storm.got.len() > 10,
        "the queue was never left with messages"
    );
}

#[test]
fn a_lifo_queue_loses_and_doubles_nothing_whoever_is_killed() {
    weather("lifo");
}

#[test]
fn a_priority_queue_loses_and_doubles_nothing_whoever_is_killed() {
    weather("priority");
}

#[test]
fn who_waits_goes_on_when_others_close_the_queue_or_die_in_it() {
    let directory = TrialDirectory::create().expect("a directory");
    let mut storm = Storm::begin("priority", &directory, Random::new(1));
    storm.start(Role::Consume);
    storm.start(Role::Produce);
    let Subject::Priority(queue) = &storm.queue else {
        unreachable!("it was made as one")
    };
    let queue = queue.clone();
    wait_until("messages pass", || {
        ordered::read(&storm.journal(1)).is_ok_and(|got| got.len() > 100)
    });
    storm.kill(1);
    wait_until("the consumer gets all that is left", || queue.is_empty());
    queue.close();
    assert_eq!(
        storm.workers[0].puppet.answer(),
        "ok",
        "the end is no error"
    );
}
