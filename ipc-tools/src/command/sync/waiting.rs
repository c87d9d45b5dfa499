//! Waits for shared memory that a signal ends.
//!
//! Such a wait cannot be interrupted, and coming up for air now and then would cost a waiter its place: a writer keeps new
//! readers out only while it waits, a barrier breaks when a wait at it ends. So a thread waits, and holds what it waited for,
//! while the main thread looks after signals and the command. A signal that comes before the wait is over ends the process as
//! if killed, which every object survives, and the process then repairs what its own death left.

use std::{
    io::Write,
    os::{
        fd::AsFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    process::Command,
    sync::{
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use ipc_core::{AcquireTimeoutError, Namespace, TryAcquireError};
use rustix::event::PollFlags;

use crate::{
    args::{Place, sync::Leave, values::Patience},
    exit::{self, Failure, Outcome},
    signals::Signals,
};

/// The name of a thread that holds something for as long as a command runs: who looks for deadlocks knows it by that.
pub(crate) const HOLDER: &str = "ipc-run";

/// The object that is waited for.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) name: &'a str,
    pub(super) signals: &'a Signals,
}

/// Which of the two came first. Once is all that it changes, so that what is held is not given up, and what is given up is
/// released, if only for a moment it was held.
#[derive(Debug, Default)]
struct Race(AtomicU8);

impl Race {
    const HELD: u8 = 1;
    const GIVEN_UP: u8 = 2;

    /// Whether `end` is how it ended.
    fn ends(&self, end: u8) -> bool {
        // Relaxed: what goes with it comes through channels.
        let was = self
            .0
            .compare_exchange(0, end, Ordering::Relaxed, Ordering::Relaxed);
        was.is_ok()
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// Where the thread that holds something meets the main thread.
#[derive(Debug)]
pub(super) struct Stage<'a, T> {
    race: &'a Race,
    news: mpsc::Sender<T>,
    /// Rings when there are news, and when this is dropped.
    bell: UnixStream,
    end: mpsc::Receiver<()>,
}

impl<T> Stage<'_, T> {
    /// Says that the wait is over, and returns when what is held is not needed any more. Whether all went well meanwhile.
    pub(super) fn holding(&self, news: T) -> bool {
        if !self.race.ends(Race::HELD) {
            return false;
        }
        // Both fail only if the main thread is gone, and then so is all of this.
        let _ = self.news.send(news);
        let _ = (&self.bell).write_all(b"!");
        self.end.recv().is_ok()
    }
}

impl Target<'_> {
    /// Waits by `acquire`, which says so on its stage when it holds something, and then does `meanwhile` with its news.
    pub(super) fn hold<T: Send, R: Send>(
        &self,
        acquire: impl FnOnce(&Stage<'_, T>) -> Outcome<R> + Send,
        meanwhile: impl FnOnce(T) -> Outcome,
    ) -> Outcome<R> {
        let trouble = |e| Failure::Other(format!("could not start a thread: {e}"));
        let (ours, bell) = UnixStream::pair().map_err(trouble)?;
        let (news, said) = mpsc::channel();
        let (finish, end) = mpsc::channel();
        let race = &Race::default();
        let stage = Stage {
            race,
            news,
            bell,
            end,
        };
        let work = move || {
            if race.is_over() {
                return Err(Failure::Other("it was given up before it began".to_owned()));
            }
            acquire(&stage)
        };
        thread::scope(|scope| {
            let holder = thread::Builder::new()
                .name(HOLDER.to_owned())
                .spawn_scoped(scope, work)
                .map_err(trouble)?;
            self.await_bell(&ours, race);
            let outcome = match said.recv() {
                Ok(news) => meanwhile(news),
                Err(mpsc::RecvError) => Ok(()), // it ended without holding anything
            };
            if outcome.is_ok() {
                // Fails if it has ended.
                let _ = finish.send(());
            }
            drop(finish);
            let held = holder
                .join()
                .unwrap_or_else(|_| Err(Failure::Other("the thread that waited panicked".into())));
            outcome.and(held)
        })
    }

    /// Waits by `wait`, which keeps nothing.
    pub(super) fn wait<R: Send>(&self, wait: impl FnOnce() -> Outcome<R> + Send) -> Outcome<R> {
        let wait = |stage: &Stage<'_, ()>| {
            let value = wait()?;
            stage.holding(());
            Ok(value)
        };
        self.hold(wait, Ok)
    }

    /// Returns when there are news, or will never be any; does not when a signal comes first.
    fn await_bell(&self, bell: &UnixStream, race: &Race) {
        loop {
            match self.signals.wait_for(bell.as_fd(), PollFlags::IN, None) {
                Ok(ready) if ready.is_empty() => {}
                Ok(_) => return,
                Err(Failure::Signal(number)) if race.ends(Race::GIVEN_UP) => self.abandon(number),
                Err(Failure::Signal(_)) => return, // what is held is released in order
                Err(failure) => exit::now(&failure),
            }
        }
    }

    /// Ends this process while its other thread waits: what it was dies when it becomes the one that repairs that.
    fn abandon(&self, signal: i32) -> ! {
        let _ = Command::new("/proc/self/exe")
            .arg0("ipc")
            .arg("--dir")
            .arg(self.namespace.path())
            .arg("leave")
            .arg(format!("--signal={signal}"))
            .arg("--")
            .arg(self.name)
            .exec();
        // Then the next one who looks repairs it.
        exit::now(&Failure::Signal(signal))
    }
}

/// `ipc leave`: the repair, and the end.
pub(crate) fn leave(place: &Place, args: &Leave) -> Outcome {
    // It may be gone; what cannot be repaired now is repaired by the next one who looks.
    let _ = place.namespace()?.sweep(&args.name);
    Err(Failure::Signal(args.signal))
}

/// Acquires as long as `patience` lasts.
pub(super) fn acquire<G>(
    patience: Patience,
    now: impl FnOnce() -> Result<G, TryAcquireError>,
    within: impl FnOnce(Duration) -> Result<G, AcquireTimeoutError>,
    whenever: impl FnOnce() -> ipc_core::Result<G>,
) -> Outcome<G> {
    Ok(match patience {
        Patience::None => now()?,
        Patience::For(time) => within(time)?,
        Patience::Endless => whenever()?,
    })
}
