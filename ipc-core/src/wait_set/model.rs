//! Loom models of who waits for many things. `mutate` in the tests shows that weakening any ordering of `vigil` fails here.

use std::sync::Arc;

use loom::thread;

use super::vigil::{Post, Vigil};
use crate::{
    channel::{
        broadcast::model::{publishing, subscribing},
        joinable::model::working,
        pipe::model::receiving,
        queue::model::getting,
    },
    object::{
        seat::Notes,
        source::{Source, Watched},
        wait::{Attempt, Deadline, Patience, WaitStrategy, Waiting},
    },
    prim::{AtomicU32, Relaxed},
    sync::{model::primitive, semaphore::SemaphoreCore},
};

/// Explores with at most so many preemptions, which bounds the time.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

fn posts<const N: usize>(sources: [Arc<dyn Source>; N]) -> Vec<Post> {
    let post = |source| Post::new(Watched::for_model(source));
    sources.into_iter().map(post).collect()
}

/// Waits once, asleep from the start, unless any is ready.
fn vigil(posts: &mut [Post]) {
    let mut vigil = Vigil::begin(posts.iter_mut());
    if !vigil.is_any_ready(0) {
        vigil.sleep(0, None, 0, u64::MAX);
    }
}

/// Waits for one after the other to become ready, and takes nothing.
fn wait_for_all(mut posts: Vec<Post>) {
    while !posts.is_empty() {
        vigil(&mut posts);
        posts.retain(|post| !post.is_ready());
    }
}

#[test]
fn who_waits_for_two_things_misses_neither() {
    explore(3, || {
        let semaphores = [(); 2].map(|()| primitive::<SemaphoreCore>(0));
        let threads = semaphores.clone().map(|semaphore| {
            thread::spawn(move || semaphore.release(1).unwrap()) // wakes one
        });
        wait_for_all(posts(semaphores.map(|one| one as Arc<dyn Source>)));
        threads.into_iter().for_each(|t| t.join().unwrap());
    });
}

#[test]
fn who_waits_for_a_pipe_and_a_queue_misses_neither() {
    explore(2, || {
        let ((messages, mut send), (items, mut put)) = (receiving(), getting());
        let one = thread::spawn(move || {
            send(1);
        });
        let two = thread::spawn(move || {
            put(1);
        });
        wait_for_all(posts([messages, items]));
        one.join().unwrap();
        two.join().unwrap();
    });
}

#[test]
fn who_waits_for_a_pipe_misses_no_message() {
    explore(3, || {
        let (messages, mut send) = receiving();
        let t = thread::spawn(move || {
            send(1);
        });
        wait_for_all(posts([messages]));
        t.join().unwrap();
    });
}

#[test]
fn who_waits_for_a_job_misses_neither_it_nor_the_record_for_it() {
    explore(2, || {
        let ([next, _], put, done, _) = working();
        let one = thread::spawn(put);
        let two = thread::spawn(done);
        wait_for_all(posts([next]));
        one.join().unwrap();
        two.join().unwrap();
    });
}

#[test]
fn who_waits_for_a_record_misses_none() {
    explore(3, || {
        let ([next, _], put, done, _) = working();
        put();
        let t = thread::spawn(done);
        wait_for_all(posts([next]));
        t.join().unwrap();
    });
}

#[test]
fn who_waits_for_a_job_does_not_miss_that_none_will_come() {
    explore(2, || {
        let ([next, all], _, done, close) = working();
        let one = thread::spawn(close);
        let two = thread::spawn(done);
        wait_for_all(posts([next]));
        wait_for_all(posts([all]));
        one.join().unwrap();
        two.join().unwrap();
    });
}

#[test]
fn who_waits_until_all_is_done_does_not_miss_it() {
    explore(3, || {
        let ([_, all], _, done, _) = working();
        let t = thread::spawn(done);
        wait_for_all(posts([all]));
        t.join().unwrap();
    });
}

fn a_subscriber_misses_no_message(is_lossless: bool) {
    explore(3, move || {
        let (next, mut publish, mut read) = subscribing(is_lossless);
        publish(1);
        assert_eq!(read(), Some(1));
        let t = thread::spawn(move || publish(2));
        wait_for_all(posts([next]));
        assert_eq!(read(), Some(2));
        t.join().unwrap();
    });
}

#[test]
fn who_waits_for_a_subscriber_misses_no_message() {
    a_subscriber_misses_no_message(false);
}

#[test]
fn who_waits_for_a_subscriber_that_publishers_wait_for_misses_no_message() {
    a_subscriber_misses_no_message(true);
}

#[test]
fn who_waits_for_room_to_publish_does_not_miss_it() {
    explore(3, || {
        let (room, read) = publishing();
        let t = thread::spawn(read);
        wait_for_all(posts([room]));
        drop(t.join().unwrap());
    });
}

#[test]
fn who_rings_the_bell_ends_the_sleep() {
    explore(3, || {
        let semaphore = primitive::<SemaphoreCore>(0);
        let bell = Arc::new(AtomicU32::new(0));
        let other = Arc::clone(&bell);
        let t = thread::spawn(move || {
            other.fetch_add(1, Relaxed);
            crate::os::futex::wake(&other, 1);
        });
        let mut posts = posts([semaphore as Arc<dyn Source>]);
        loop {
            let heard = bell.load(Relaxed);
            if heard == 1 {
                break;
            }
            let mut vigil = Vigil::begin(posts.iter_mut());
            assert!(!vigil.is_any_ready(0));
            vigil.sleep(0, Some((&bell, heard)), 0, u64::MAX);
        }
        t.join().unwrap();
    });
}

/// What a real acquisition does, asleep from the start.
fn acquire_asleep(semaphore: &SemaphoreCore) {
    let word = Source::word(semaphore);
    let patience = Patience::new();
    let waiting = Waiting {
        word,
        strategy: WaitStrategy::Sleep,
        patience: &patience,
        deadline: Deadline::NEVER,
        notes: Notes::Nowhere,
    };
    let attempt = || match semaphore.try_acquire() {
        true => Attempt::Done(()),
        false => Attempt::Blocked(word),
    };
    waiting.until(attempt, || true, || None).unwrap();
}

/// The wake for one permit must come to who takes it, whoever of the two went to sleep first, and though the onlooker never passes
/// anything on.
#[test]
fn an_onlooker_keeps_no_wake_from_who_takes_something() {
    explore(3, || {
        let semaphore = primitive::<SemaphoreCore>(0);
        let end = primitive::<SemaphoreCore>(0);
        let (taken, looked_at) = (Arc::clone(&semaphore), Arc::clone(&semaphore));
        let also_looked_at = Arc::clone(&end);
        let taker = thread::spawn(move || acquire_asleep(&taken));
        let onlooker = thread::spawn(move || {
            let mut posts = posts([looked_at as Arc<dyn Source>, also_looked_at]);
            vigil(&mut posts);
        });
        semaphore.release(1).unwrap();
        taker.join().unwrap();
        end.release(1).unwrap(); // it may have come too late for the other
        onlooker.join().unwrap();
    });
}
