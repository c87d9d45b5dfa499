//! How a lease ends: the job is finished, given back, too late, or a dead letter.

use super::{
    jobs::{Jobs, Lease},
    lease::Draft,
    record::{Meta, State},
    survey::End,
};
use crate::{
    channel::contents::Contents,
    error::Damage,
    object::participant::Owner,
    os::clock,
    prim::{self, Relaxed, Release},
};

/// The lease has ended before: others have the job, or may take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

impl Jobs {
    /// LEASED → FREE, and tells who waits for that.
    #[inline(always)]
    pub(super) fn finish(&self, lease: &Lease) -> Result<Result<(), Lost>, Damage> {
        if lease.is_large {
            return self.finish_large(lease);
        }
        let ended = self.end(lease, lease.meta.left(State::Free))?;
        if ended.is_ok() {
            self.table.prefer(lease.index);
            self.announce_room();
        }
        Ok(ended)
    }

    #[cold]
    fn finish_large(&self, lease: &Lease) -> Result<Result<(), Lost>, Damage> {
        let record = self.table.record(lease.index)?;
        let contents = Contents::of(record.payload(), record.length(), self.ring.slab(), None);
        // Others write there only once the lease is lost, which the exchange finds out.
        let owned = contents.map(|contents| match contents {
            Contents::Large(slab, chain) => slab.owned_by(lease.meta.owner_bits(), chain),
            Contents::Inline(_) | Contents::Lent(..) => None,
        });
        let ended = self.end(lease, lease.meta.left(State::Free))?;
        if ended.is_err() {
            return Ok(ended);
        }
        let owned = owned?.ok_or(Damage("a leased job's blocks are not its worker's"))?;
        self.ring.give_blocks_back(&[owned])?; // I4: nothing refers to them
        self.announce_room();
        Ok(ended)
    }

    /// Ends a lease, and lets this process see who sleeps because of it (O8).
    #[inline(always)]
    fn end(&self, lease: &Lease, next: Meta) -> Result<Result<(), Lost>, Damage> {
        let word = self.table.record(lease.index)?.meta();
        if self.table.terms.lease_ns != 0 {
            let ended = word.compare_exchange(lease.meta.0, next.0, Release, Relaxed); // O1, O3, O4
            if ended.is_err() {
                return Ok(Err(Lost));
            }
            prim::full_fence_after_rmw(); // O8
            return Ok(Ok(()));
        }
        // By I5 nobody changes it in between.
        if word.load(Relaxed) != lease.meta.0 {
            return Ok(Err(Lost));
        }
        word.store(next.0, Release); // O1, O4
        if self.table.may_hurry {
            self.table.meeting.light_fence(); // O8
        } else {
            prim::full_fence(); // O8
        }
        Ok(Ok(()))
    }

    /// Tells who waits for a free record, or for the last job. The caller has fenced since it left the record.
    #[inline(always)]
    fn announce_room(&self) {
        let desk = self.table.desk();
        if desk.room.has_sleepers() {
            desk.room.wake_of_claim(u32::MAX);
        }
        if desk.finished.has_sleepers() {
            self.announce_end();
        }
    }

    /// Wakes who waits until all is finished, unless somebody else will.
    #[cold]
    #[inline(never)]
    fn announce_end(&self) {
        prim::full_fence(); // O9
        // Damage is found by who wakes, too.
        if self.look_for_end() != Ok(End::Ahead) {
            self.table.desk().finished.wake_of_claim(u32::MAX);
        }
    }

    /// Tells that `count` records were made READY.
    pub(super) fn announce_returned(&self, count: u32) {
        let desk = self.table.desk();
        desk.returned.fetch_add(1, Release); // O5; by I3 a repair counts them if we die before
        self.ring.gate().items.wake(count);
        // These wait for other things, and a job will do as well.
        desk.room.wake(u32::MAX);
        desk.finished.wake(u32::MAX);
    }

    /// READY for another attempt, or DEAD after the last one.
    pub(super) fn verdict(&self, index: u32) -> Result<State, Damage> {
        let attempts = self.table.record(index)?.attempts().load(Relaxed);
        let is_ready = self.table.terms.allows_another(attempts);
        Ok(if is_ready { State::Ready } else { State::Dead })
    }

    /// What must be said of a job that has become READY or DEAD.
    fn announce_verdict(&self, verdict: State) {
        if verdict == State::Ready {
            self.announce_returned(1);
        } else {
            prim::full_fence(); // O8
            self.announce_room();
        }
    }

    /// Ends a lease without an end of the job.
    #[cold]
    pub(super) fn give_back(&self, lease: &Lease) -> Result<Result<(), Lost>, Damage> {
        self.end_as(lease, self.verdict(lease.index)?)
    }

    /// Makes a leased job a dead letter.
    #[cold]
    pub(super) fn bury(&self, lease: &Lease) -> Result<Result<(), Lost>, Damage> {
        self.end_as(lease, State::Dead)
    }

    fn end_as(&self, lease: &Lease, state: State) -> Result<Result<(), Lost>, Damage> {
        let ended = self.end(lease, lease.meta.left(state))?;
        if ended.is_ok() {
            self.announce_verdict(state);
        }
        Ok(ended)
    }

    /// Lets a lease begin anew. What its record says from then on.
    pub(super) fn renew(&self, lease: &Lease) -> Result<Result<Meta, Lost>, Damage> {
        let record = self.table.record(lease.index)?;
        if self.table.terms.lease_ns == 0 {
            let is_mine = record.meta().load(Relaxed) == lease.meta.0;
            return Ok(if is_mine { Ok(lease.meta) } else { Err(Lost) });
        }
        // Not LEASED in between, and one generation on: nobody judges it by a deadline of before.
        let taking = lease.meta.renewed(State::Taking);
        let taken = record
            .meta()
            .compare_exchange(lease.meta.0, taking.0, Relaxed, Relaxed);
        if taken.is_err() {
            return Ok(Err(Lost));
        }
        record.deadline().store(self.table.new_deadline(), Relaxed);
        let leased = taking.turned(State::Leased);
        record.meta().store(leased.0, Release); // O3
        Ok(Ok(leased))
    }

    /// What becomes of a record that was claimed and is not leased: see [`Draft`].
    pub(super) fn let_go(&self, index: u32, meta: Meta) {
        let (Ok(record), Ok(verdict)) = (self.table.record(index), self.verdict(index)) else {
            return;
        };
        let next = match meta.state() {
            Some(State::Held) => State::Free,
            Some(State::Taking) => verdict,
            Some(State::Removing) => State::Dead,
            _ => return,
        };
        record.meta().store(meta.left(next).0, Release); // O1, O4
        if next == State::Free {
            prim::full_fence(); // O8
            self.announce_room();
        } else {
            self.announce_verdict(next);
        }
    }

    /// Returns the jobs whose leases are over. Whether there were any.
    #[cold]
    pub(super) fn expire(&self) -> Result<bool, Damage> {
        if self.table.terms.lease_ns == 0 {
            return Ok(false);
        }
        let now = clock::monotonic_ns();
        let mut has_expired = false;
        for (index, record) in self.table.records() {
            let (seen, state) = record.look()?; // O3
            if state != State::Leased || record.deadline().load(Relaxed) > now {
                continue;
            }
            let position = record.position().load(Relaxed);
            if self.ring.is_being_got(position, seen.owner_bits()) {
                continue; // stopped in its get: were it to die there, the job would come back a second time
            }
            let verdict = self.verdict(index)?;
            let next = seen.left(verdict);
            let expired = record
                .meta()
                .compare_exchange(seen.0, next.0, Relaxed, Relaxed); // O4: goes on with the owner's release
            if expired.is_ok() {
                has_expired = true;
                self.announce_verdict(verdict);
            }
        }
        Ok(has_expired)
    }

    /// Makes dead letters jobs again, which were never tried. How many there were.
    pub(super) fn requeue_dead(&self, me: Owner) -> Result<usize, Damage> {
        let mut count = 0;
        for index in 0..self.table.terms.leases as u32 {
            if self.requeue(me, index)? {
                self.announce_returned(1);
                count += 1;
            }
        }
        Ok(count)
    }

    /// Makes the record READY if it is DEAD, which [`Self::announce_returned`] tells of. Whether it was.
    pub(super) fn requeue(&self, me: Owner, index: u32) -> Result<bool, Damage> {
        let record = self.table.record(index)?;
        let (seen, state) = record.look()?;
        if state != State::Dead {
            return Ok(false);
        }
        // A job from here on: who waits for all to be finished waits for it.
        let Some(mine) = self.take(me, index, seen, State::Taking)? else {
            return Ok(false);
        };
        record.attempts().store(0, Relaxed);
        // Also before anybody finds it: a survey that has passed its record by now sees the count change, any other the record (O5).
        self.table.desk().returned.fetch_add(1, Release); // O5
        record.meta().store(mine.left(State::Ready).0, Release); // O4
        Ok(true)
    }

    /// Frees the record of a dead letter that was read.
    pub(super) fn remove(&self, draft: Draft<'_>, is_large: bool) -> Result<(), Damage> {
        let lease = Lease {
            meta: draft.meta,
            index: draft.index,
            attempt: 0,
            process: draft.process,
            is_large,
        };
        core::mem::forget(draft);
        // Nobody takes it from the living, so it is not lost.
        self.finish(&lease).map(|_| ())
    }

    /// The dead letter that was put first, in the caller's hands.
    pub(super) fn take_dead(&self, me: Owner) -> Result<Option<Draft<'_>>, Damage> {
        for _ in 0..self.most() {
            let Some((index, seen)) = self.oldest(State::Dead)? else {
                break;
            };
            if let Some(meta) = self.take(me, index, seen, State::Removing)? {
                return self.draft(index, meta).map(Some);
            }
        }
        Ok(None)
    }
}
