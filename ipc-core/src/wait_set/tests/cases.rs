//! Things to wait for, each with what makes it ready.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::super::waitable::{Subject, Thing, Waitable};
use crate::{
    BoundedSemaphore, Broadcast, Dict, DictWatch, Event, JoinableQueue, LifoQueue, Namespace,
    PriorityQueue, Queue, Semaphore, error::Result, object::source::Watched,
};

/// A namespace of its own for one test, which goes with it.
pub(super) struct Place(pub(super) Namespace, PathBuf);

impl Place {
    pub(super) fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ipc-wait-{test}-{}", std::process::id()));
        Self(Namespace::at(&dir).unwrap(), dir)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

pub(super) const SHORT: Duration = Duration::from_millis(5);
pub(super) const LONG: Duration = Duration::from_secs(20);

/// A thing, what makes it ready, and what takes that away again.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) thing: Box<dyn Waitable>,
    pub(super) make_ready: Box<dyn FnMut() + Send>,
    pub(super) take: Box<dyn FnMut()>,
}

/// None is ready.
macro_rules! case {
    ($name:literal, $thing:expr, $ready:expr, $take:expr) => {
        Case {
            name: $name,
            thing: Box::new($thing),
            make_ready: Box::new($ready),
            take: Box::new($take),
        }
    };
}

fn readable_cases(place: &Namespace) -> Vec<Case> {
    let queue: Queue<u32> = Queue::options(2).namespace(place).create("queue").unwrap();
    let lifo: LifoQueue<u32> = LifoQueue::options(2)
        .namespace(place)
        .create("lifo")
        .unwrap();
    let first: PriorityQueue<u32> = PriorityQueue::options(2)
        .namespace(place)
        .create("first")
        .unwrap();
    let semaphore = Semaphore::options(0)
        .namespace(place)
        .create("sem")
        .unwrap();
    let event = Event::options().namespace(place).create("event").unwrap();
    vec![
        case!(
            "queue",
            queue.clone(),
            {
                let queue = queue.clone();
                move || queue.put(1).unwrap()
            },
            move || assert!(queue.try_get().is_ok())
        ),
        case!(
            "lifo",
            lifo.clone(),
            {
                let lifo = lifo.clone();
                move || lifo.put(1).unwrap()
            },
            move || assert!(lifo.try_get().is_ok())
        ),
        case!(
            "priority",
            first.clone(),
            {
                let first = first.clone();
                move || first.put(1, 1).unwrap()
            },
            move || assert!(first.try_get().is_ok())
        ),
        case!(
            "semaphore",
            semaphore.clone(),
            {
                let semaphore = semaphore.clone();
                move || semaphore.release(1).unwrap()
            },
            move || semaphore.try_acquire().unwrap().forget()
        ),
        case!(
            "event",
            event.clone(),
            {
                let event = event.clone();
                move || assert!(event.set().unwrap())
            },
            move || event.clear().unwrap()
        ),
    ]
}

/// It is received from while it is waited for.
fn watch_case(place: &Namespace) -> Case {
    let dict: Dict<u32, u32> = Dict::options().namespace(place).create("dict").unwrap();
    let watch = Arc::new(Mutex::new(dict.watch().unwrap()));
    let thing = Locked(Arc::clone(&watch));
    case!(
        "watch",
        thing,
        move || dict.set(&1, &1).unwrap(),
        move || assert!(watch.lock().unwrap().try_recv().unwrap().is_some())
    )
}

/// A watch that its test uses meanwhile.
struct Locked(Arc<Mutex<DictWatch<u32, u32>>>);

impl Subject for Locked {
    fn thing(&self) -> Result<Thing> {
        self.0.lock().unwrap().thing()
    }
}

impl Waitable for Locked {}

fn writable_cases(place: &Namespace) -> Vec<Case> {
    let queue: Queue<u32> = Queue::options(1).namespace(place).create("queue2").unwrap();
    let lifo: LifoQueue<u32> = LifoQueue::options(1)
        .namespace(place)
        .create("lifo2")
        .unwrap();
    queue.put(0).unwrap();
    lifo.put(0).unwrap();
    let bounded = BoundedSemaphore::options(1)
        .namespace(place)
        .create("bounded")
        .unwrap();
    bounded.acquire().unwrap().forget();
    vec![
        case!(
            "room in a queue",
            queue.writable(),
            {
                let queue = queue.clone();
                move || assert!(queue.get().is_ok())
            },
            move || queue.try_put(1).unwrap()
        ),
        case!(
            "room in a stack",
            lifo.writable(),
            {
                let lifo = lifo.clone();
                move || assert!(lifo.get().is_ok())
            },
            move || lifo.try_put(1).unwrap()
        ),
        case!(
            "bounded",
            bounded.clone(),
            {
                let bounded = bounded.clone();
                move || bounded.release().unwrap()
            },
            move || bounded.try_acquire().unwrap().forget()
        ),
    ]
}

fn job_cases(place: &Namespace) -> Vec<Case> {
    let options = |name| {
        let options = JoinableQueue::<u32>::options(1).namespace(place);
        options.create(name).unwrap()
    };
    let (jobs, full, busy) = (options("jobs"), options("full"), options("busy"));
    full.put(0).unwrap();
    busy.put(0).unwrap();
    let finish = |jobs: &JoinableQueue<u32>| {
        let jobs = jobs.clone();
        move || jobs.get().unwrap().task_done().unwrap()
    };
    vec![
        case!(
            "jobs",
            jobs.clone(),
            {
                let jobs = jobs.clone();
                move || jobs.put(1).unwrap()
            },
            move || jobs.try_get().unwrap().task_done().unwrap()
        ),
        case!(
            "room for a job",
            full.writable(),
            finish(&full),
            move || {
                full.try_put(1).unwrap();
            }
        ),
        case!("no job left", busy.finished(), finish(&busy), move || busy
            .try_put(1)
            .unwrap()),
    ]
}

/// What a handle waits for that is used otherwise.
struct Of(Thing);

impl Of {
    fn new(thing: &impl Waitable) -> Self {
        Self(thing.thing().unwrap())
    }
}

impl Subject for Of {
    fn thing(&self) -> Result<Thing> {
        Ok(self.0.clone())
    }
}

impl Waitable for Of {}

fn broadcast_cases(place: &Namespace) -> Vec<Case> {
    let options = || Broadcast::<u32>::options(1).namespace(place);
    let lossless = options().create("lossless").unwrap();
    let lossy = options().lossy().create("lossy").unwrap();
    let full = options().create("unread").unwrap();
    let (mut all, mut some) = (lossless.subscribe().unwrap(), lossy.subscribe().unwrap());
    let mut slow = full.subscribe().unwrap();
    full.publish(0).unwrap();
    vec![
        case!(
            "subscriber",
            Of::new(&all),
            move || lossless.publish(1).unwrap(),
            move || assert_eq!(all.try_recv().unwrap(), 1)
        ),
        case!(
            "lossy subscriber",
            Of::new(&some),
            move || lossy.publish(2).unwrap(),
            move || assert_eq!(some.try_recv().unwrap(), 2)
        ),
        case!(
            "room in a broadcast",
            full.writable(),
            move || assert!(slow.recv().is_ok()),
            move || full.try_publish(3).unwrap()
        ),
    ]
}

pub(super) fn cases(place: &Namespace) -> Vec<Case> {
    [
        readable_cases(place),
        writable_cases(place),
        job_cases(place),
        broadcast_cases(place),
        vec![watch_case(place)],
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What a thing is that can be slept on.
pub(super) fn watched_of(thing: &dyn Waitable) -> Watched {
    let Thing::Object(watched) = thing.thing().unwrap() else {
        panic!("no object");
    };
    watched
}

/// Takes back the announcements of who does not wait any more.
pub(super) fn clear_word(watched: &Watched) {
    watched.source.word().wake(u32::MAX);
}

/// Waits until somebody has announced itself since then.
pub(super) fn until_asleep(watched: &Watched) {
    let start = Instant::now();
    while !watched.source.word().has_sleepers() {
        assert!(start.elapsed() < LONG, "nobody sleeps");
        thread::yield_now();
    }
}
