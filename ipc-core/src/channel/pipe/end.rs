//! One end of a lane as the handle that has it knows it: whether it may be used, how it waits, how it is handed on and closed.
//!
//! The process that takes an end has it until it is closed, or until another process takes it over by a ticket. A forked
//! child finds a copy of the handle, which is not its own: it neither uses nor closes its parent's end.

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    core::PipeCore,
    errors::{NotMine, TakeError},
    lane::{Lane, Side},
    role::{Ctl, NotTaken},
};
use crate::{
    error::{Damage, Error},
    object::{
        lifetime::{Object, Ticket},
        membership::Membership,
        participant::Owner,
        seat::Notes,
        wait::{Deadline, Patience, WaitStrategy, Waiting},
    },
    os::{
        fork::{self, Process},
        membarrier,
    },
};

/// How often to look again at an end that others take and close meanwhile.
const RACES: u32 = 8;

/// No process's epoch, nor 0, which a forked child finds that has not asked for its own.
const NEVER: u32 = u32::MAX;

/// Which end of which lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Place {
    pub(super) lane: usize,
    pub(super) side: Side,
}

/// An end on its way to another process.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct EndTicket {
    pub(super) object: Ticket,
    pub(super) place: Place,
    /// In which it was offered, so that an old ticket takes nothing.
    pub(super) turn: u64,
}

/// An end that this process has, or had.
#[derive(Debug)]
pub(super) struct End {
    pub(super) member: Membership,
    core: Arc<PipeCore>,
    place: Place,
    me: Owner,
    /// The word by which it is held, or was offered.
    mine: Ctl,
    /// The epoch of the process that took it.
    epoch: u32,
    /// Where this process's epoch stands: one load, on a path that makes few.
    now: &'static AtomicU32,
    /// The epoch in which it may be used, or [`NEVER`] while it is offered.
    ready_in: AtomicU32,
    patience: Patience,
    /// Heavy fences that its sleeps have taken.
    heavy: AtomicU32,
    pub(super) strategy: WaitStrategy,
}

impl End {
    /// Takes an end; or, where `turn` says so, only if it was offered in this turn.
    pub(super) fn take(
        object: Arc<Object>,
        core: &Arc<PipeCore>,
        place: Place,
        turn: Option<u64>,
        strategy: WaitStrategy,
    ) -> Result<Self, TakeError> {
        let member = Membership::new(object);
        let me = member.ready().map_err(|e| *e)?;
        let role = core.lanes[place.lane].role(place.side);
        let try_take = || match turn {
            None => role.take(me),
            Some(turn) => role.take_offered(turn, me),
        };
        let mut taken = try_take();
        for _ in 0..RACES {
            match taken {
                // Perhaps of the dead.
                Err(NotTaken::Held(_)) if member.object.sweep()? > 0 => taken = try_take(),
                _ => break,
            }
        }
        let mine = taken.map_err(|e| match e {
            NotTaken::Held(by) => TakeError::InUse {
                pid: member.object.pid_of(by.owner_bits()),
            },
            NotTaken::Closed => TakeError::Closed,
            NotTaken::Damage(damage) => (*member.remember(damage)).into(),
        })?;
        let epoch = fork::epoch();
        Ok(Self {
            member,
            core: Arc::clone(core),
            place,
            me,
            mine,
            epoch,
            now: fork::epoch_word(),
            ready_in: AtomicU32::new(epoch),
            patience: Patience::new(),
            heavy: AtomicU32::new(0),
            strategy,
        })
    }

    pub(super) fn core(&self) -> &Arc<PipeCore> {
        &self.core
    }

    pub(super) fn lane(&self) -> &Lane {
        &self.core.lanes[self.place.lane]
    }

    /// Whether this process has to fence when it publishes (O5).
    pub(super) fn must_fence(&self) -> bool {
        let is_reached = membarrier::register();
        !(is_reached && self.core.geometry.is_asymmetric)
    }

    /// Whether the end is this process's, as far as it knows.
    #[inline(always)]
    pub(super) fn is_ready(&self) -> bool {
        self.now.load(Ordering::Relaxed) == self.ready_in.load(Ordering::Relaxed)
    }

    fn is_of_this_process(&self) -> bool {
        Process::this().is_epoch(self.epoch)
    }

    /// Makes the end usable, if nobody has taken it over.
    #[cold]
    pub(super) fn regain(&mut self) -> Result<(), NotMine> {
        self.member.check()?;
        if self.is_ready() {
            return Ok(());
        }
        let role = self.lane().role(self.place.side);
        let taken = if self.is_of_this_process() {
            role.take_offered(self.mine.turn(), self.me)
        } else {
            Err(NotTaken::Held(self.mine))
        };
        match taken {
            Ok(mine) => {
                self.mine = mine;
                self.ready_in.store(self.epoch, Ordering::Relaxed);
                Ok(())
            }
            Err(NotTaken::Held(by)) => Err(NotMine::InUse {
                pid: self.member.object.pid_of(by.owner_bits()),
            }),
            Err(NotTaken::Closed) => Err(NotMine::Closed),
            Err(NotTaken::Damage(damage)) => Err(NotMine::Failed(self.member.remember(damage))),
        }
    }

    /// Offers the end to who gets the ticket. The handle can have it back as long as nobody took it.
    pub(super) fn offer(&self) -> Result<EndTicket, &'static str> {
        if !self.is_of_this_process() {
            return Err("this end of the pipe is the parent process's");
        }
        if self.is_ready() {
            if !self.lane().role(self.place.side).offer(self.mine) {
                return Err("this end of the pipe is no longer this process's");
            }
            self.ready_in.store(NEVER, Ordering::Relaxed);
        }
        Ok(EndTicket {
            object: self.member.object.ticket(),
            place: self.place,
            turn: self.mine.turn(),
        })
    }

    /// The process that has the other end of the lane.
    pub(super) fn peer(&self) -> Option<u32> {
        let other = self.lane().role(self.other_side()).holder()?;
        Some(self.member.object.pid_of(other.owner_bits))
    }

    /// Closes the other end of the lane unless somebody has it.
    pub(super) fn close_untaken_peer(&self) -> Result<bool, Error> {
        self.member.check().map_err(|e| *e)?;
        let closed = self.lane().role(self.other_side()).close_untaken();
        closed.map_err(|damage| *self.member.remember(damage))
    }

    fn other_side(&self) -> Side {
        match self.place.side {
            Side::Writer => Side::Reader,
            Side::Reader => Side::Writer,
        }
    }

    #[cold]
    pub(super) fn failed(&self, damage: Damage) -> Box<Error> {
        self.member.remember(damage)
    }

    /// Spins for a short time, if that is how this end waits, until `is_there`. Whether it is.
    #[inline]
    pub(super) fn spin(&self, is_there: impl Fn() -> bool) -> bool {
        self.patience.spin(self.strategy, is_there)
    }

    /// Calls `attempt`, sleeping in between, until it returns something. `Ok(None)` once the deadline has passed.
    #[cold]
    pub(super) fn wait<R>(
        &self,
        deadline: Deadline,
        mut attempt: impl FnMut() -> Option<R>,
        is_promising: impl Fn() -> bool,
    ) -> Result<Option<R>, Box<Error>> {
        let waiting = Waiting {
            word: self.lane().word(self.place.side),
            strategy: self.strategy,
            patience: &self.patience,
            deadline,
            notes: Notes::Table(&self.core.notes, self.me),
        };
        let side = self.place.side;
        let attempt = || self.lane().attempt(side, &self.heavy, || attempt().map(Ok));
        let look = || match self.member.object.look() {
            Ok(_) => self.member.check_whole().err().map(Err),
            Err(e) => Some(Err(Box::new(e))),
        };
        waiting.until(attempt, is_promising, look).transpose()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.is_of_this_process() {
            return;
        }
        if self.is_ready() {
            self.lane().role(self.place.side).close(self.mine);
            self.lane().wake_all();
        } else {
            see_off(Traveller {
                _object: Arc::clone(&self.member.object),
                core: Arc::clone(&self.core),
                place: self.place,
                sent: self.mine,
            });
        }
    }
}

/// An end that is on its way, and whose handle is gone. Its process stays attached until somebody has taken it: whoever leaves,
/// closes what is still its own.
#[derive(Debug)]
struct Traveller {
    _object: Arc<Object>,
    core: Arc<PipeCore>,
    place: Place,
    sent: Ctl,
}

impl Traveller {
    fn is_on_its_way(&self) -> bool {
        let lane = &self.core.lanes[self.place.lane];
        lane.role(self.place.side).is_on_its_way(self.sent)
    }
}

/// Locked only while no fork can happen.
static TRAVELLERS: Mutex<Vec<Traveller>> = Mutex::new(Vec::new());

fn see_off(one: Traveller) {
    let no_fork = fork::hold_forks();
    let mut all = TRAVELLERS.lock().unwrap_or_else(PoisonError::into_inner);
    all.push(one);
    let arrived: Vec<_> = all.extract_if(.., |one| !one.is_on_its_way()).collect();
    drop(all);
    drop(no_fork);
    drop(arrived); // may leave their objects, which holds forks by itself
}
