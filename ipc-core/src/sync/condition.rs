//! Waiting, without the lock, until a holder of the lock says that something has changed.
//!
//! # Layout
//!
//! One seat a waiter: Waiting, then Notified. `depth` is how many seats were ever used, `word` counts tickets: the lower, the
//! longer it has waited. Each waiter sleeps on its own seat's bell, so a notification wakes those that it is for and nobody else.
//!
//! # Ordering
//!
//! * O1. Seat exchange(Release) to Notified → look(Acquire): what was done before a notification is seen after it. (The lock
//!   orders it too.)
//! * Exchange and waking: W1 of `object/wait`.
//!
//! # If a process dies
//!
//! | killed | left behind | who goes on |
//! |---|---|---|
//! | waiting | a seat | the sweep frees it |
//! | notified, and not yet in possession of the lock | a notification that nobody took | the sweep notifies the next one, then frees the seat |
//! | notifying, after the exchange | a sleeper | the sweep rings all bells |
//!
//! So after a death some waiters too many may be notified, never one too few. A notifier waits for nobody.

use std::{sync::Arc, time::Duration};

use bytemuck::{CheckedBitPattern, NoUninit};

use super::{
    frame::{Frame, Mechanism, Station},
    lock::LockGuard,
    options::{Options, handle},
};
use crate::{
    error::{Damage, Error, Result},
    object::{
        Kind,
        participant::{Dead, Owner, Repair},
        seat::{Activity, Notes, Seat, Seated},
        wait::{Attempt, Deadline},
    },
    prim::Relaxed,
};

/// Waiters at once, unless asked otherwise.
const DEFAULT_WAITERS: usize = 128;
/// How often to look for a waiter again, where the one that was found has just timed out.
const RACES: usize = 64;
const MOST_WAITERS: usize = 1 << 16;

/// The algorithm over an object's memory.
#[derive(Debug)]
pub(crate) struct ConditionCore {
    frame: Frame,
}

impl ConditionCore {
    pub(super) fn enter(&self, me: Owner) -> Option<Seated> {
        let seated = self.frame.seats.take(me, Activity::Waiting, 0)?;
        let used = &self.frame.head().depth;
        if used.load(Relaxed) as usize <= seated.index {
            used.fetch_max(seated.index as u32 + 1, Relaxed);
        }
        // Our caller has the lock, so nobody else draws a ticket now; where several locks are used with one condition, two
        // may draw the same, and neither is the older then. A notifier that comes before the store takes us for the oldest.
        let tickets = &self.frame.head().word;
        let ticket = tickets.load(Relaxed);
        tickets.store(ticket.wrapping_add(1), Relaxed);
        self.frame.seats.all()[seated.index]
            .ticket
            .store(ticket, Relaxed);
        Some(seated)
    }

    pub(super) fn is_notified(&self, seated: Seated) -> bool {
        self.frame.seats.all()[seated.index].look() == seated.ctl.doing(Activity::Notified) // O1
    }

    /// Stands up. Whether it was notified before.
    pub(super) fn leave(&self, seated: Seated) -> bool {
        if !self.is_notified(seated) && self.frame.seats.leave(seated) {
            return false;
        }
        let ctl = seated.ctl.doing(Activity::Notified);
        self.frame.seats.leave_alone(Seated { ctl, ..seated })
    }

    /// Notifies up to `count` waiters, those first that have waited longest. Returns how many.
    pub(super) fn notify(&self, count: usize) -> usize {
        if count == 1 {
            return usize::from(self.notify_oldest());
        }
        let seats = self.used().iter().zip(0..);
        let mut waiting: Vec<_> = seats
            .filter(|(seat, _)| seat.look().activity() == Some(Activity::Waiting))
            .map(|(seat, index)| (seat.ticket.load(Relaxed), index))
            .collect();
        waiting.sort_unstable();
        let mut notified = 0;
        for (_, index) in waiting {
            if notified == count {
                break;
            }
            notified += usize::from(self.notify_seat(index));
        }
        notified
    }

    fn notify_oldest(&self) -> bool {
        for _ in 0..RACES {
            let seats = self.used().iter().zip(0..);
            let waiting = seats
                .filter(|(seat, _)| seat.look().activity() == Some(Activity::Waiting))
                .min_by_key(|(seat, _)| seat.ticket.load(Relaxed));
            match waiting {
                Some((_, index)) if self.notify_seat(index) => return true,
                Some(_) => {} // it has timed out meanwhile
                None => return false,
            }
        }
        false
    }

    fn notify_seat(&self, index: usize) -> bool {
        let seat = &self.frame.seats.all()[index];
        let seen = seat.look();
        let is_notified = seen.activity() == Some(Activity::Waiting)
            && seat.exchange(seen, seen.doing(Activity::Notified));
        if is_notified {
            seat.bell.wake(1);
        }
        is_notified
    }

    /// The seats on which anybody has sat so far. The last ones are missing only while somebody sits down who still has the
    /// lock.
    fn used(&self) -> &[Seat] {
        let all = self.frame.seats.all();
        let used = self.frame.head().depth.load(Relaxed) as usize;
        &all[..used.min(all.len())]
    }

    fn waiters(&self) -> usize {
        let seats = self.used().iter();
        seats
            .filter(|seat| seat.look().activity() == Some(Activity::Waiting))
            .count()
    }
}

impl Mechanism for ConditionCore {
    fn over(frame: Frame) -> Result<Self, Damage> {
        if frame.seats.all().is_empty() {
            return Err(Damage("a condition has no room for waiters"));
        }
        Ok(Self { frame })
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn describe(&self) -> String {
        format!("{} waiting", self.waiters())
    }
}

impl Repair for ConditionCore {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        self.frame.seats.repair(dead, |activity| {
            if activity == Activity::Notified {
                self.notify(1);
            }
        })?;
        self.frame.notes.repair(dead, |_| {})
    }

    fn names(&self, owner: Owner) -> bool {
        self.frame.seats.name(owner)
    }

    fn wake_all(&self) {
        for seat in self.frame.seats.all() {
            if !seat.look().is_free() {
                seat.bell.wake_all();
            }
        }
        self.frame.wake_all();
    }
}

/// A condition variable for threads of any processes, as Python's `Condition`, used with any [`Lock`](crate::Lock).
///
/// # Blocking
///
/// [`wait`](Self::wait) releases the lock, blocks until it is notified, and acquires the lock again. Exactly those wake that are
/// notified (but see below); check what you wait for nevertheless, or use [`wait_for`](Self::wait_for), since others may hold the lock
/// in between. Notifying never blocks.
///
/// # When a process dies
///
/// A waiter that is killed is in nobody's way. If it had been notified, the next one is notified in its place within about
/// 100 ms; if it had already gone on, that is one too many. A notifier that is killed has notified each waiter or not.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-condition-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Condition, Lock};
///
/// let stock = Lock::options_with(0u32).namespace(&namespace).create("stock")?;
/// let changed = Condition::options().namespace(&namespace).create("changed")?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         *stock.acquire().unwrap() += 3;
///         changed.notify_all().unwrap();
///     });
///     let stock = changed.wait_for(stock.acquire().unwrap(), |stock| *stock >= 3).unwrap();
///     assert_eq!(*stock, 3);
/// });
/// # stock.unlink()?;
/// # changed.unlink()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
pub struct Condition {
    station: Arc<Station<ConditionCore>>,
}

handle!([] Condition, "Condition", ConditionCore, Kind::Condition, String::new());

impl Options<Condition> {
    /// How many threads may wait at once: 1 to 65,536, at 32 bytes each. One more is refused. Default: 128.
    pub fn waiters(mut self, count: usize) -> Self {
        self.refusal = (!(1..=MOST_WAITERS).contains(&count))
            .then_some(("waiters", "a condition has room for 1 to 65,536"));
        self.needed = (count, "waiters");
        self
    }
}

impl Condition {
    /// Makes a condition under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`Options::create`].
    pub fn create(name: &str) -> Result<Self> {
        Self::options().create(name)
    }

    /// Settings for a condition.
    pub fn options() -> Options<Self> {
        let mut options = Options::new().waiters(DEFAULT_WAITERS);
        options.has_notes = false; // every waiter has a seat
        options
    }

    fn at(station: Arc<Station<ConditionCore>>) -> Self {
        Self { station }
    }

    /// Releases the lock, waits until notified, and acquires the lock again.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyWaiters`]; otherwise [`Error`] if one of the two objects cannot be used any more. The lock is then
    /// released.
    pub fn wait<'a, T: NoUninit + CheckedBitPattern>(
        &self,
        guard: LockGuard<'a, T>,
    ) -> Result<LockGuard<'a, T>> {
        self.wait_until(guard, Deadline::NEVER)
            .map(|(guard, _)| guard)
    }

    /// As [`wait`](Self::wait), for at most `timeout`, beside what it takes to acquire the lock again. Returns also whether it
    /// was notified.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<'a, T: NoUninit + CheckedBitPattern>(
        &self,
        guard: LockGuard<'a, T>,
        timeout: Duration,
    ) -> Result<(LockGuard<'a, T>, bool)> {
        self.wait_until(guard, Deadline::after(timeout))
    }

    /// Waits until `predicate` holds, which is asked while the lock is held: at first, and after each notification.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_for<'a, T: NoUninit + CheckedBitPattern>(
        &self,
        guard: LockGuard<'a, T>,
        predicate: impl FnMut(&mut T) -> bool,
    ) -> Result<LockGuard<'a, T>> {
        self.wait_for_until(guard, predicate, Deadline::NEVER)
            .map(|(guard, _)| guard)
    }

    /// As [`wait_for`](Self::wait_for), for at most `timeout`. Returns also what the predicate said last.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_for_timeout<'a, T: NoUninit + CheckedBitPattern>(
        &self,
        guard: LockGuard<'a, T>,
        timeout: Duration,
        predicate: impl FnMut(&mut T) -> bool,
    ) -> Result<(LockGuard<'a, T>, bool)> {
        self.wait_for_until(guard, predicate, Deadline::after(timeout))
    }

    fn wait_for_until<'a, T: NoUninit + CheckedBitPattern>(
        &self,
        mut guard: LockGuard<'a, T>,
        mut predicate: impl FnMut(&mut T) -> bool,
        deadline: Deadline,
    ) -> Result<(LockGuard<'a, T>, bool)> {
        loop {
            if predicate(&mut guard) {
                return Ok((guard, true));
            }
            let (again, is_notified) = self.wait_until(guard, deadline)?;
            guard = again;
            if !is_notified {
                let holds = predicate(&mut guard);
                return Ok((guard, holds));
            }
        }
    }

    fn wait_until<'a, T: NoUninit + CheckedBitPattern>(
        &self,
        guard: LockGuard<'a, T>,
        deadline: Deadline,
    ) -> Result<(LockGuard<'a, T>, bool)> {
        let me = self.station.member.ready().map_err(|e| *e)?;
        let core = &*self.station.mechanism;
        let Some(seated) = core
            .enter(me)
            .or_else(|| self.station.again(|| core.enter(me)))
        else {
            return Err(Error::TooManyWaiters {
                object: self.station.member.object.label().to_owned(),
                max: core.frame.seats.all().len(),
            });
        };
        let lock = guard.lock;
        drop(guard);
        let seat = &core.frame.seats.all()[seated.index];
        let bell = &seat.bell;
        let attempt = || {
            if core.is_notified(seated) {
                Attempt::Done(Ok(()))
            } else {
                Attempt::Blocked(bell)
            }
        };
        let waited = self
            .station
            .wait_noted(bell, deadline, Notes::Own(seat), attempt, || {
                core.is_notified(seated)
            });
        // Stands up only with the lock: until then its death hands a notification on, and from then on the lock tells of it.
        let relocked = waited.and_then(|_| lock.acquire());
        let was_notified = core.leave(seated); // also when it came at the last moment
        if was_notified && relocked.is_err() {
            core.notify(1); // for somebody who can go on
        }
        Ok((relocked?, was_notified))
    }

    /// Wakes up to `count` waiters, those first that have waited longest. Returns how many were waiting to be woken. The lock
    /// need not be held.
    ///
    /// # Errors
    ///
    /// [`Error`] if the object cannot be used any more.
    pub fn notify(&self, count: usize) -> Result<usize> {
        self.station.member.ready().map_err(|e| *e)?;
        let notified = self.station.mechanism.notify(count);
        self.station.sound(notified)
    }

    /// Wakes all waiters. Returns how many there were.
    ///
    /// # Errors
    ///
    /// As [`notify`](Self::notify).
    pub fn notify_all(&self) -> Result<usize> {
        self.notify(usize::MAX)
    }

    /// How many threads wait.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.station.mechanism.waiters()
    }
}
