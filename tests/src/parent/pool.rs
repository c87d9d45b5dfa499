//! What a pool gives back, and how it ends.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ipc_core::futures::{self, ReturnWhen};
use ipc_core::{
    Array, Event, Executor, Namespace, NotReady, Pool, PoolBuilder, PoolControl, PoolError,
    PoolPhase, Process, Queue, TaskError, WorkerState,
};

use super::assert_childless;
use crate::puppet::wait_until;

/// A namespace of the scenario's own.
pub(super) fn namespace(directory: &Path) -> Namespace {
    Namespace::at(directory.join("objects")).unwrap()
}

pub(super) fn builder(directory: &Path) -> PoolBuilder {
    Pool::builder().workers(2).namespace(&namespace(directory))
}

/// Ends a pool, and sees that nothing of it is left.
pub(super) fn end(pool: Pool, directory: &Path) {
    shut(pool);
    assert_nothing_left(directory);
}

pub(super) fn shut(pool: Pool) {
    pool.close();
    pool.join().unwrap();
    assert_eq!(pool.status().unwrap().phase, PoolPhase::Ended);
}

pub(super) fn assert_nothing_left(directory: &Path) {
    assert_childless();
    let left = files(&directory.join("objects"));
    assert!(left.is_empty(), "{left:?}");
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

fn square(n: i64) -> i64 {
    n * n
}

fn picky(n: i64) -> i64 {
    assert_ne!(n, 13, "unlucky");
    n
}

/// The family of maps.
pub fn family(directory: &Path) {
    let pool = builder(directory).build().unwrap();
    let squares = |n: i64| (0..n).map(square).collect::<Vec<_>>();
    assert_eq!(pool.apply(square, (9,)).unwrap(), 81);
    assert_eq!(pool.apply(|| "nothing".to_owned(), ()).unwrap(), "nothing");
    assert_eq!(pool.map(square, 0..8).unwrap(), squares(8));
    assert!(pool.map(square, 0..0).unwrap().is_empty());
    assert_eq!(pool.map_chunked(square, 0..1000, 1).unwrap(), squares(1000));
    assert_eq!(pool.map_chunked(square, 0..1000, 7).unwrap(), squares(1000));
    let later = pool.map_async(square, 0..1000).unwrap();
    let join = |a: u8, b: String| format!("{a}{b}");
    let pairs = || [(1, "x".to_owned()), (2, "y".to_owned())];
    assert_eq!(pool.starmap(join, pairs()).unwrap(), ["1x", "2y"]);
    assert_eq!(
        pool.starmap_chunked(join, pairs(), 2).unwrap(),
        ["1x", "2y"]
    );
    let starred = pool.starmap_async(join, pairs()).unwrap();
    assert_eq!(starred.get().unwrap(), ["1x", "2y"]);
    assert_eq!(later.get().unwrap(), squares(1000));
    let in_order: Result<Vec<_>, _> = pool.imap(square, 0..500).unwrap().collect();
    assert_eq!(in_order.unwrap(), squares(500));
    let chunked: Result<Vec<_>, _> = pool.imap_chunked(square, 0..500, 9).unwrap().collect();
    assert_eq!(chunked.unwrap(), squares(500));
    for chunk in [1, 9] {
        let unordered = pool.imap_unordered_chunked(square, 0..500, chunk).unwrap();
        let mut found: Vec<_> = unordered
            .indexed()
            .map(|(i, n)| (i as i64, n.unwrap()))
            .collect();
        found.sort_unstable();
        let wanted: Vec<_> = (0..500).map(|n| (n, square(n))).collect();
        assert_eq!(found, wanted, "chunks of {chunk}");
    }
    // Without an end, and read only so far as it is needed.
    let read = AtomicUsize::new(0);
    let counted = (0..).inspect(|_| {
        read.fetch_add(1, Ordering::Relaxed);
    });
    let some: Vec<_> = pool.imap(square, counted).unwrap().take(10).collect();
    assert_eq!(some.len(), 10);
    assert!(read.into_inner() <= 10 + 32 + 1);
    end(pool, directory);
}

/// Panics come back one by one, and what cannot be encoded or decoded.
pub fn errors(directory: &Path) {
    let pool = builder(directory).build().unwrap();
    let panicked = pool.apply(picky, (13,)).unwrap_err();
    let TaskError::Panicked { panic, .. } = &panicked else {
        panic!("{panicked:?}");
    };
    assert!(panic.message.contains("unlucky"), "{panic}");
    assert!(
        panic.location.as_ref().unwrap().contains("pool.rs"),
        "{panic}"
    );
    let each: Vec<_> = pool.imap_chunked(picky, 10..17, 4).unwrap().collect();
    let values: Vec<_> = each.iter().map(|r| r.as_ref().ok().copied()).collect();
    let wanted = [
        Some(10),
        Some(11),
        Some(12),
        None,
        Some(14),
        Some(15),
        Some(16),
    ];
    assert_eq!(values, wanted);
    assert!(matches!(
        pool.map(picky, 0..20),
        Err(TaskError::Panicked { .. })
    ));
    let dull = pool
        .apply(|| -> u8 { std::panic::panic_any(3_u8) }, ())
        .unwrap_err();
    assert!(matches!(dull, TaskError::Panicked { .. }), "{dull:?}");
    assert_eq!(
        pool.status().unwrap().workers_lost,
        0,
        "the workers went on"
    );

    let unwritable = pool.apply_async(|_: Stubborn| (), (Stubborn(true),));
    assert!(
        matches!(unwritable, Err(PoolError::Encode(_))),
        "{unwritable:?}"
    );
    let unreadable = pool.apply(|_: Stubborn| 1, (Stubborn(false),));
    assert!(
        matches!(unreadable, Err(TaskError::Unreadable { .. })),
        "{unreadable:?}"
    );
    let no_value = pool.apply(|| Stubborn(true), ());
    assert!(
        matches!(no_value, Err(TaskError::Unreadable { .. })),
        "{no_value:?}"
    );
    assert_eq!(pool.apply(square, (2,)).unwrap(), 4);

    assert!(matches!(pool.join(), Err(PoolError::NotClosed)));
    pool.close();
    assert!(matches!(
        pool.apply_async(square, (1,)),
        Err(PoolError::Closed)
    ));
    assert!(matches!(
        pool.map(square, [1]),
        Err(TaskError::Refused(PoolError::Closed))
    ));
    assert!(matches!(pool.imap(square, [1]), Err(PoolError::Closed)));
    end(pool, directory);
    for wrong in [0, 5000] {
        let refused = Pool::builder().workers(wrong).build();
        assert!(matches!(refused, Err(PoolError::Failed(_))), "{refused:?}");
    }
}

/// Refuses to be written, or to be read.
#[derive(Debug)]
struct Stubborn(bool);

impl serde::Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            true => Err(serde::ser::Error::custom("not this one")),
            false => serializer.serialize_bool(true),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Stubborn {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("nor that one"))
    }
}

fn fill(queue: Queue<u64>, count: u64) -> Queue<u64> {
    for n in 0..count {
        queue.put(n).unwrap();
    }
    queue
}

/// Long values, and handles of objects without names, in both directions.
pub fn matter(directory: &Path) {
    let pool = builder(directory).build().unwrap();
    for length in [0, 100, 5_000, 200_000, 300_000, 3_000_000] {
        let long = "x".repeat(length);
        let longer = pool
            .apply(|text: String| text + "y", (long.clone(),))
            .unwrap();
        assert_eq!(longer, long + "y", "{length}");
    }
    let long: Vec<_> = (0..20).map(|n| "z".repeat(n * 20_000)).collect();
    let lengths = pool
        .map_chunked(|text: String| text.len(), long.clone(), 1)
        .unwrap();
    assert_eq!(lengths, (0..20).map(|n| n * 20_000).collect::<Vec<_>>());
    assert_eq!(
        pool.map_chunked(|text: String| text, long.clone(), 5)
            .unwrap(),
        long
    );
    let queue = Queue::options(10)
        .namespace(&namespace(directory))
        .anonymous()
        .unwrap();
    let same = pool.apply(fill, (queue.clone(), 3)).unwrap();
    assert_eq!(same.len(), 3);
    // The only handle in this process is among the arguments.
    let one = Queue::options(10)
        .namespace(&namespace(directory))
        .anonymous()
        .unwrap();
    let sent = pool
        .apply_async(|queue: Queue<u64>| fill(queue, 2).len(), (one,))
        .unwrap();
    assert_eq!(sent.get().unwrap(), 2);
    drop((queue, same));
    end(pool, directory);
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park();
    }
}

fn wait_for(gate: Event) -> u32 {
    gate.wait().unwrap();
    7
}

fn gate(directory: &Path) -> Event {
    Event::options()
        .namespace(&namespace(directory))
        .anonymous()
        .unwrap()
}

/// What an `AsyncResult` says before, while and after.
pub fn results(directory: &Path) {
    let pool = builder(directory).workers(1).build().unwrap();
    let gate = gate(directory);
    let first = pool.apply_async(wait_for, (gate.clone(),)).unwrap();
    assert!(!first.ready());
    assert_eq!(first.successful(), Err(NotReady));
    assert_eq!(first.get_timeout(Duration::from_millis(10)).unwrap(), None);
    assert!(!first.wait_timeout(Duration::ZERO));
    assert!(first.running() && !first.cancel() && !first.cancelled());
    let others: Vec<_> = (0..50)
        .map(|n| pool.apply_async(square, (n,)).unwrap())
        .collect();
    let last = others.last().unwrap();
    assert!(!last.running() && last.cancel(), "it was not handed over");
    assert!(last.cancelled() && last.ready() && last.cancel());
    assert!(matches!(last.get(), Err(TaskError::Cancelled)));
    gate.set().unwrap();
    assert_eq!(first.get().unwrap(), 7);
    assert_eq!(first.get().unwrap(), 7, "as often as one likes");
    first.wait();
    assert_eq!(first.successful(), Ok(true));
    assert!(!first.running());
    assert_eq!(others[48].get().unwrap(), 48 * 48);
    let failed = pool.apply_async(picky, (13,)).unwrap();
    failed.wait();
    assert_eq!(failed.successful(), Ok(false));
    assert_eq!(
        block_on(pool.apply_async(square, (4,)).unwrap()).unwrap(),
        16
    );
    let many = pool.map_async(square, 0..100).unwrap();
    assert_eq!(block_on(many.clone()).unwrap().len(), 100);
    assert_eq!(block_on(many).unwrap().len(), 100);
    drop(gate);
    end(pool, directory);
}

/// Callbacks run here, see the result, and harm nothing.
pub fn callbacks(directory: &Path) {
    let pool = Arc::new(builder(directory).build().unwrap());
    let (heard, hears) = mpsc::channel();
    let also = heard.clone();
    let good = pool.apply_async(square, (3,)).unwrap();
    let _good = good
        .callback(move |n| heard.send(Ok(n)).unwrap())
        .error_callback(|e| unreachable!("{e}"));
    assert_eq!(hears.recv().unwrap().unwrap(), 9);
    let bad = pool.apply_async(picky, (13,)).unwrap();
    let _bad = bad
        .callback(|n| unreachable!("{n}"))
        .error_callback(move |e| also.send(Err(e)).unwrap());
    assert!(matches!(
        hears.recv().unwrap(),
        Err(TaskError::Panicked { .. })
    ));

    let (told, tells) = mpsc::channel();
    let again = Arc::clone(&pool);
    let done = pool.apply_async(square, (5,)).unwrap();
    done.wait();
    let result = pool.apply_async(|| (), ()).unwrap();
    result.on_done(|_| panic!("as a callback may"));
    result.on_done(move |this| {
        assert!(this.ready());
        // More tasks, but no waiting for them on this thread.
        let next = again.apply_async(square, (6,)).unwrap();
        let refused = next.get().err();
        let joined = again.join().err();
        told.send((next, refused, joined)).unwrap();
    });
    let (next, refused, joined) = tells.recv().unwrap();
    // The callback may have run on the thread that set it, if it was done by then.
    assert!(
        matches!(refused, None | Some(TaskError::InCallback)),
        "{refused:?}"
    );
    assert!(matches!(
        joined,
        Some(PoolError::NotClosed | PoolError::InCallback)
    ));
    assert_eq!(next.get().unwrap(), 36);
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&order);
    done.on_done(move |this| noted.lock().unwrap().push(this.get().unwrap()));
    assert_eq!(*order.lock().unwrap(), [25], "at once, as it is done");
    let pool = Arc::try_unwrap(pool);
    end(pool.expect("the callback is gone"), directory);
}

/// `wait`, `as_completed`, and the executor.
pub fn executor(directory: &Path) {
    let executor = Executor::of(builder(directory).build().unwrap());
    let gate = gate(directory);
    let slow = executor.submit(wait_for, (gate.clone(),)).unwrap();
    let fast = executor.submit(|| 3_u32, ()).unwrap();
    let both = [slow.clone(), fast];
    let ready = futures::wait(&both, ReturnWhen::FirstCompleted, None);
    assert_eq!(ready, (vec![1], vec![0]));
    let short = Some(Duration::from_millis(10));
    let unready = futures::wait(&both, ReturnWhen::AllCompleted, short);
    assert_eq!(unready, (vec![1], vec![0]));
    let bad = executor
        .submit(|| -> u32 { panic!("on purpose") }, ())
        .unwrap();
    let mixed = [slow, bad];
    let failed = futures::wait(&mixed, ReturnWhen::FirstException, None);
    assert_eq!(failed, (vec![1], vec![0]));
    gate.set().unwrap();
    assert_eq!(
        futures::wait(&both, ReturnWhen::AllCompleted, None).0,
        [0, 1]
    );
    let all = futures::as_completed(both).map(|r| r.get().unwrap());
    assert_eq!(all.collect::<BTreeSet<_>>(), BTreeSet::from([3, 7]));
    let map: Result<Vec<_>, _> = executor.map(square, 0..20).unwrap().collect();
    assert_eq!(map.unwrap(), (0..20).map(square).collect::<Vec<_>>());

    gate.clear().unwrap();
    let held: Vec<_> = (0..2)
        .map(|_| executor.submit(wait_for, (gate.clone(),)).unwrap())
        .collect();
    let waiting: Vec<_> = (0..50)
        .map(|n| executor.submit(square, (n,)).unwrap())
        .collect();
    executor.shutdown(false, true).unwrap();
    let late = executor.submit(square, (1,));
    assert!(matches!(late, Err(PoolError::Closed)), "{late:?}");
    assert!(waiting.last().unwrap().cancelled());
    gate.set().unwrap();
    assert!(
        held.iter().all(|r| r.get().unwrap() == 7),
        "what had begun is done"
    );
    executor.shutdown(true, false).unwrap();
    drop((executor, gate, held));
    wait_until("the last thread has let go", || {
        ipc_core::active_children().is_empty() && files(&directory.join("objects")).is_empty()
    });
    assert_nothing_left(directory);
}

fn note_begin(places: Array<u64>, number: usize) {
    places.fetch_add(number, 1).unwrap();
}

/// Initializers, and workers that end after so many tasks.
pub fn lives(directory: &Path) {
    let noted: Array<u64> = Array::options([0; 4])
        .namespace(&namespace(directory))
        .anonymous()
        .unwrap();
    let pool = builder(directory)
        .initializer(note_begin, (noted.clone(), 2))
        .max_tasks_per_child(3)
        .build()
        .unwrap();
    let pids = pool
        .map_chunked(|_: u32| std::process::id(), 0..30, 1)
        .unwrap();
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    for pid in pids {
        *counts.entry(pid).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count <= 3), "{counts:?}");
    let status = pool.status().unwrap();
    assert_eq!(status.workers_lost, 0);
    assert!(noted.get(2).unwrap() >= 10, "each worker has run it");
    shut(pool);
    drop(noted); // now that no worker has it, which would not remove it
    assert_nothing_left(directory);

    let panics = builder(directory)
        .initializer(|| -> u8 { panic!("not today") }, ())
        .build()
        .unwrap();
    let broken = panics.apply(square, (1,));
    assert!(
        matches!(&broken, Err(TaskError::Broken { why }) if why.contains("not today")),
        "{broken:?}"
    );
    let refused = panics.apply_async(square, (1,));
    assert!(
        matches!(refused, Err(PoolError::Broken { .. })),
        "{refused:?}"
    );
    panics.join().unwrap();
    drop(panics);
    let exits = builder(directory)
        .initializer(|| -> u8 { std::process::exit(4) }, ())
        .build()
        .unwrap();
    let broken = exits.map(square, 0..10);
    assert!(
        matches!(&broken, Err(TaskError::Broken { why }) if why.contains('4')),
        "{broken:?}"
    );
    drop(exits);
    assert_nothing_left(directory);
}

fn order(directory: PathBuf, workers: usize) -> usize {
    let pool = PoolControl::open_in(&namespace(&directory), "shop").unwrap();
    assert!(pool.is_alive().unwrap());
    pool.scale(workers).unwrap();
    pool.status().unwrap().most_workers
}

fn drain(directory: PathBuf) {
    let pool = PoolControl::open_in(&namespace(&directory), "shop").unwrap();
    pool.drain().unwrap();
}

/// Other processes look at a pool, scale and drain it.
pub fn control(directory: &Path) {
    let here = || directory.to_owned();
    let pool = builder(directory).name("shop").build().unwrap();
    let taken = builder(directory).name("shop").build();
    assert!(matches!(taken, Err(PoolError::Failed(_))), "{taken:?}");
    let live = || {
        let workers = pool.status().unwrap().workers;
        workers
            .iter()
            .filter(|w| w.state == WorkerState::Idle)
            .count()
    };
    wait_until("both are ready", || live() == 2);
    for wanted in [5, 1, 3] {
        let most = Process::spawn(order, (here(), wanted))
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(most, 128);
        wait_until("it has so many", || live() == wanted);
        wait_until("nobody else is left", || {
            pool.status().unwrap().workers.len() == wanted
        });
        assert_eq!(pool.workers(), wanted);
        assert_eq!(pool.map(square, 0..10).unwrap().len(), 10);
    }
    assert!(pool.scale(0).is_err() && pool.scale(129).is_err());
    let inspection = namespace(directory).inspect("shop").unwrap();
    assert_eq!(inspection.kind.to_string(), "pool");
    assert!(
        inspection.state.starts_with("running, 3 workers wanted"),
        "{}",
        inspection.state
    );
    let gate = gate(directory);
    let busy = pool.apply_async(wait_for, (gate.clone(),)).unwrap();
    let mut stream = pool.imap(square, 0..).unwrap();
    assert_eq!(stream.next().unwrap().unwrap(), 0);
    Process::spawn(drain, (here(),)).unwrap().join().unwrap();
    wait_until("it has heard", || {
        pool.status().unwrap().phase == PoolPhase::Closing
    });
    assert!(matches!(
        pool.apply_async(square, (1,)),
        Err(PoolError::Closed)
    ));
    let rest: Vec<_> = stream.collect();
    let (last, before) = rest.split_last().unwrap();
    assert!(
        before.iter().all(Result::is_ok),
        "what it had taken is done"
    );
    assert!(
        matches!(last, Err(TaskError::Refused(PoolError::Closed))),
        "{last:?}"
    );
    gate.set().unwrap();
    assert_eq!(busy.get().unwrap(), 7);
    pool.join().unwrap();
    drop((gate, busy));
    assert!(PoolControl::open_in(&namespace(directory), "shop").is_err());
    end(pool, directory);
}

fn inner(directory: PathBuf, n: i64) -> i64 {
    let pool = builder(&directory).build().unwrap();
    pool.map(square, 0..n).unwrap().into_iter().sum()
}

/// A task that has a pool of its own; a forked child that has its parent's.
pub fn nested(directory: &Path) {
    let pool = builder(directory).build().unwrap();
    let here = || directory.to_owned();
    let sums = pool
        .starmap_chunked(inner, [(here(), 3), (here(), 4)], 1)
        .unwrap();
    assert_eq!(sums, [5, 14]);
    let result = pool.apply_async(square, (5,)).unwrap();
    // SAFETY: the child does nothing but look at what it has, and ends.
    #[expect(unsafe_code, reason = "a fork")]
    let child = unsafe { nix::unistd::fork() }.unwrap();
    let nix::unistd::ForkResult::Parent { child } = child else {
        let refuses = matches!(pool.apply_async(square, (1,)), Err(PoolError::OfParent))
            && matches!(pool.join(), Err(PoolError::OfParent))
            && matches!(result.get(), Err(TaskError::Refused(PoolError::OfParent)))
            && !result.ready()
            && !result.cancel();
        drop(pool);
        drop(result);
        #[expect(unsafe_code, reason = "without the parent's exit")]
        // SAFETY: it ends at once.
        unsafe {
            libc::_exit(i32::from(!refuses))
        }
    };
    let status = nix::sys::wait::waitpid(child, None).unwrap();
    assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
    assert_eq!(result.get().unwrap(), 25);
    assert_eq!(pool.apply(square, (6,)).unwrap(), 36, "it goes on");
    end(pool, directory);
}

/// Workers that print a lot keep nobody waiting.
pub fn loud(directory: &Path) {
    let pool = builder(directory).build().unwrap();
    let shout = |n: u32| {
        for _ in 0..1000 {
            eprintln!("{}", "la ".repeat(20));
        }
        n
    };
    let start = Instant::now();
    assert_eq!(pool.map_chunked(shout, 0..10, 1).unwrap().len(), 10);
    assert!(start.elapsed() < Duration::from_secs(50));
    end(pool, directory);
}
