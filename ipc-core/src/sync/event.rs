//! A flag that threads of any processes wait for.
//!
//! # The word
//!
//! `generation:63 | SET`. Each setting of a cleared flag is a generation of its own, so that who slept through a set and a
//! clear still learns that it was set.
//!
//! # Ordering
//!
//! * O1. `word` exchange(Release) to SET → load(Acquire): what was done before the event is seen by who waited for it.
//! * O2. exchange(Release) to SET, also where it was set → exchange(Acquire) that clears: who clears the flag and then looks sees what
//!   came before every `set` that it undid, and none is lost between the two.
//! * O3. exchange(Release) that clears → exchange to SET, and the fence of its wake (W1 of `object/wait`): who sets it anew comes after
//!   who cleared it.
//!
//! # If a process dies
//!
//! After the exchange and before waking: its sweep wakes all. Waiters leave nothing but a note.

use std::{sync::Arc, time::Duration};

use super::{
    frame::{Frame, Mechanism, Station},
    options::{Options, handle},
};
use crate::{
    error::{Damage, Result},
    object::{
        Kind,
        participant::{Dead, Repair},
        wait::{Attempt, Deadline},
    },
    prim::{AcqRel, Acquire, Relaxed, Release},
};

const SET: u64 = 1;
const GENERATION: u64 = 2;

/// The algorithm over an object's memory.
#[derive(Debug)]
pub(crate) struct EventCore {
    frame: Frame,
}

impl EventCore {
    #[inline]
    pub(super) fn word(&self) -> u64 {
        self.frame.head().word.load(Acquire) // O1
    }

    /// Whether this call set it.
    pub(super) fn set(&self) -> bool {
        let word = &self.frame.head().word;
        let mut seen = word.load(Relaxed);
        loop {
            let is_set = seen & SET != 0;
            let next = if is_set {
                seen // an exchange all the same: O2
            } else {
                seen.wrapping_add(GENERATION) | SET
            };
            match word.compare_exchange(seen, next, Release, Relaxed) {
                Ok(_) if is_set => return false, // O2
                Ok(_) => break,                  // O1, O3
                Err(now) => seen = now,
            }
        }
        self.frame.head().main.wake(u32::MAX);
        true
    }

    pub(super) fn clear(&self) {
        self.frame.head().word.fetch_and(!SET, AcqRel); // O2, O3
    }

    /// Whether it is set, or was since `seen`.
    pub(super) fn happened_since(&self, seen: u64) -> bool {
        let now = self.word();
        now & SET != 0 || now / GENERATION != seen / GENERATION
    }
}

impl Mechanism for EventCore {
    fn over(frame: Frame) -> Result<Self, Damage> {
        Ok(Self { frame })
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn describe(&self) -> String {
        let is_set = self.word() & SET != 0;
        if is_set { "set" } else { "clear" }.to_owned()
    }
}

impl Repair for EventCore {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        self.frame.notes.repair(dead, |_| {})
    }

    fn wake_all(&self) {
        self.frame.wake_all();
    }
}

/// A flag that threads of any processes set, clear and wait for, as Python's `Event`.
///
/// # Blocking
///
/// [`wait`](Self::wait) blocks until the flag is set. Nothing else blocks; `set` makes a system call only while somebody sleeps.
///
/// # When a process dies
///
/// Nobody notices: a waiter that was killed does not keep `set` from waking the others, and one killed in the middle of
/// `set` has set the flag or not; if it did not get to waking, those who sleep learn of it within about 100 ms.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-event-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Event;
/// use std::time::Duration;
///
/// let ready = Event::options().namespace(&namespace).create("ready")?;
/// assert!(!ready.wait_timeout(Duration::from_millis(1))?);
/// ready.set()?;
/// ready.wait()?;
/// assert!(ready.is_set());
/// # ready.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
pub struct Event {
    station: Arc<Station<EventCore>>,
}

handle!([] Event, "Event", EventCore, Kind::Event, String::new());

impl Event {
    /// Makes an event, not set, under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`Options::create`].
    pub fn create(name: &str) -> Result<Self> {
        Self::options().create(name)
    }

    /// Settings for an event.
    pub fn options() -> Options<Self> {
        Options::new()
    }

    fn at(station: Arc<Station<EventCore>>) -> Self {
        Self { station }
    }

    /// Sets the flag and wakes all who wait. Returns whether it was clear before.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the object cannot be used any more.
    pub fn set(&self) -> Result<bool> {
        self.station.member.ready().map_err(|e| *e)?;
        let was_clear = self.station.mechanism.set();
        self.station.sound(was_clear)
    }

    /// Clears the flag. Who was woken by an earlier `set` and has not run yet still sees it as set.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn clear(&self) -> Result<()> {
        self.station.member.ready().map_err(|e| *e)?;
        self.station.mechanism.clear();
        self.station.sound(())
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.station.mechanism.word() & SET != 0
    }

    /// Blocks until the flag is set.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn wait(&self) -> Result<()> {
        self.wait_until(Deadline::NEVER).map(|_| ())
    }

    /// Blocks until the flag is set, or for `timeout`. Returns whether it was set meanwhile.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> Result<bool> {
        let me = self.station.member.ready().map_err(|e| *e)?;
        let core = &*self.station.mechanism;
        let seen = core.word();
        if seen & SET != 0 {
            return self.station.sound(true);
        }
        let main = &core.frame.head().main;
        let attempt = || {
            if core.happened_since(seen) {
                Attempt::Done(Ok(()))
            } else {
                Attempt::Blocked(main)
            }
        };
        let waited = self
            .station
            .wait(me, main, deadline, attempt, || core.happened_since(seen))?;
        Ok(waited.is_some())
    }
}
