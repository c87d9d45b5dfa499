//! How a set waits: looks, spins, and sleeps.

use core::sync::atomic::Ordering;
use std::{os::fd::AsFd, sync::Arc};

use super::{
    Entry, EntryKind, WaitSet,
    lookout::Ward,
    vigil::{Post, Vigil},
};
use crate::{
    error::{Error, Result},
    object::wait::{Deadline, WATCH_NS, WaitStrategy},
    os::{
        clock,
        descriptor::{self, Bell, Interest},
        fork::Process,
    },
    prim,
};

impl<K: Clone + PartialEq> WaitSet<K> {
    /// Waits until a deadline, or not at all.
    pub(super) fn wait_until(&mut self, deadline: Option<Deadline>) -> Result<Vec<K>> {
        self.leave_bell_of_parent();
        self.posts().for_each(Post::begin);
        let ready = self.ready()?;
        if !ready.is_empty() || self.entries.is_empty() {
            return Ok(ready);
        }
        let Some(deadline) = deadline else {
            return self.last_look();
        };
        if self.strategy != WaitStrategy::Sleep
            && let Some(ready) = self.spin(deadline)?
        {
            return Ok(ready);
        }
        self.wait_asleep(deadline)
    }

    /// The keys of all that is ready.
    fn ready(&self) -> Result<Vec<K>> {
        let mut polled = self.poll(0)?.into_iter();
        let mut now = None;
        let mut is_ready = |kind: &EntryKind| match kind {
            EntryKind::Object(post, _) => post.is_ready(),
            EntryKind::Time(due) => {
                due.load(Ordering::Relaxed) <= *now.get_or_insert_with(clock::monotonic_ns)
            }
            EntryKind::Descriptor(..) => polled.next().unwrap_or(false),
        };
        let ready = self.entries.iter().filter(|entry| is_ready(&entry.kind));
        Ok(ready.map(|entry| entry.key.clone()).collect())
    }

    /// For who gives up: the dead may have made something ready.
    #[cold]
    fn last_look(&mut self) -> Result<Vec<K>> {
        self.look_for_dead()?;
        self.ready()
    }

    fn look_for_dead(&mut self) -> Result<()> {
        self.posts()
            .try_for_each(|post| post.watched.look_for_dead().map(drop))
    }

    /// `None` is the signal to sleep.
    fn spin(&mut self, deadline: Deadline) -> Result<Option<Vec<K>>> {
        if self.strategy == WaitStrategy::Spin {
            return self.spin_until(deadline).map(Some);
        }
        let is_object = |entry: &Entry<K>| matches!(entry.kind, EntryKind::Object(..));
        if !self.entries.iter().all(is_object) {
            return Ok(None); // a look at the others is a system call, or tells nothing new
        }
        let looks = self.patience.looks() / self.entries.len() as u32;
        for _ in 0..looks {
            let ready = self.ready()?;
            if !ready.is_empty() {
                self.patience.learn(true);
                return Ok(Some(ready));
            }
            prim::spin_loop();
        }
        if looks > 0 {
            self.patience.learn(false);
        }
        Ok(None)
    }

    fn spin_until(&mut self, deadline: Deadline) -> Result<Vec<K>> {
        let mut watch_at = clock::monotonic_ns().saturating_add(WATCH_NS);
        loop {
            let ready = self.ready()?;
            let now = clock::monotonic_ns();
            if !ready.is_empty() {
                return Ok(ready);
            }
            if deadline.is_over(now) {
                return self.last_look();
            }
            if now >= watch_at {
                watch_at = now.saturating_add(WATCH_NS);
                self.look_for_dead()?;
            }
            prim::yield_now();
        }
    }

    fn wait_asleep(&mut self, deadline: Deadline) -> Result<Vec<K>> {
        let mut now = clock::monotonic_ns();
        let mut watch_at = now.saturating_add(WATCH_NS);
        loop {
            if deadline.is_over(now) {
                return self.last_look();
            }
            if now >= watch_at {
                watch_at = now.saturating_add(WATCH_NS);
                self.look_for_dead()?;
            }
            let until = deadline.ns().min(self.next_time());
            if self.has_descriptors() {
                self.sleep_on_descriptors(until)?;
            } else {
                self.sleep_on_words(now, until.min(watch_at));
            }
            let ready = self.ready()?;
            if !ready.is_empty() {
                return Ok(ready);
            }
            now = clock::monotonic_ns();
        }
    }

    fn sleep_on_words(&mut self, now: u64, until: u64) {
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        let mut vigil = Vigil::begin(self.posts());
        if !vigil.is_any_ready(now) {
            vigil.sleep(turn, None, now, until);
        }
    }

    /// The lookout, meanwhile, also looks for the dead.
    fn sleep_on_descriptors(&mut self, until: u64) -> Result<()> {
        let is_any_ready = self.arm()?;
        if !is_any_ready {
            self.poll(until)?;
        }
        Ok(())
    }

    /// Has the lookout ring for the objects. Whether any is ready now.
    fn arm(&mut self) -> Result<bool> {
        let mut is_any_ready = false;
        let (_, bell) = match &mut self.bell {
            Some(bell) => bell,
            bell => bell.insert((Process::this(), new_bell()?)),
        };
        for entry in &mut self.entries {
            let EntryKind::Object(post, ward) = &mut entry.kind else {
                continue;
            };
            let ward = match ward {
                Some(ward) => ward,
                None => ward.insert(Ward::new(post.watched.clone(), bell)?),
            };
            is_any_ready |= ward.arm()?;
        }
        Ok(is_any_ready)
    }

    /// In a forked child: the bell is its parent's, too, and so are the threads.
    fn leave_bell_of_parent(&mut self) {
        let is_ours = |(process, _): &(Process, Arc<Bell>)| process.is_this();
        if !self.bell.as_ref().is_none_or(is_ours) {
            self.bell = None;
            for entry in &mut self.entries {
                if let EntryKind::Object(_, ward) = &mut entry.kind {
                    *ward = None;
                }
            }
        }
    }

    /// Which of the descriptors are ready, in order, and at last the bell, which is silent from here on.
    fn poll(&self, until: u64) -> Result<Vec<bool>> {
        if !self.has_descriptors() {
            return Ok(Vec::new());
        }
        let descriptors = self.entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::Descriptor(fd, interest) => Some((fd.as_fd(), *interest)),
            _ => None,
        });
        let bell = self.bell.iter();
        let bell = bell.map(|(_, bell)| (bell.as_fd(), Interest::Readable));
        let polled = descriptor::poll(descriptors.chain(bell), until)
            .map_err(|e| Error::from_io("descriptors", "poll", &e))?;
        if let (Some((_, bell)), Some(true)) = (&self.bell, polled.last()) {
            bell.silence(); // before the look at the objects
        }
        Ok(polled)
    }

    fn has_descriptors(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| matches!(entry.kind, EntryKind::Descriptor(..)))
    }

    /// The next time that is waited for.
    fn next_time(&self) -> u64 {
        let times = self.entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::Time(due) => Some(due.load(Ordering::Relaxed)),
            _ => None,
        });
        times.min().unwrap_or(u64::MAX)
    }
}

impl<K> WaitSet<K> {
    fn posts(&mut self) -> impl Iterator<Item = &mut Post> {
        self.entries
            .iter_mut()
            .filter_map(|entry| match &mut entry.kind {
                EntryKind::Object(post, _) => Some(post),
                _ => None,
            })
    }
}

fn new_bell() -> Result<Arc<Bell>> {
    let bell =
        Bell::new().map_err(|e| Error::from_io("a wait set", "make a descriptor for", &e))?;
    Ok(Arc::new(bell))
}
