//! What every handle asks before it touches its object: is this process attached, and can the object be trusted?

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::{lifetime::Object, participant::Owner};
use crate::{
    error::{Damage, Error, Result},
    os::fork::Process,
};

const CUT: Damage = Damage("its file was cut short while in use");

/// One process's use of an object, by some handles.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) object: Arc<Object>,
    /// Whether the object's file was cut short.
    cut: &'static AtomicBool,
    /// Damage once found: later calls say the same.
    damage: OnceLock<Damage>,
}

impl Membership {
    pub(crate) fn new(object: Arc<Object>) -> Self {
        Self {
            cut: object.cut_flag(),
            damage: OnceLock::new(),
            object,
        }
    }

    /// This process's place among the participants, unless the object is known to be damaged.
    #[inline(always)]
    pub(crate) fn ready(&self) -> Result<Owner, Box<Error>> {
        self.check_whole()?;
        self.place_of(Process::this())
    }

    /// As [`Self::ready`], for who asks [`Self::is_whole`] later, and knows already which process this is.
    #[inline(always)]
    pub(crate) fn place_of(&self, process: Process) -> Result<Owner, Box<Error>> {
        if let Some(&damage) = self.damage.get() {
            return Err(self.remember(damage));
        }
        match self.object.owner_in(process) {
            Some(me) => Ok(me),
            None => self.object.attach().map_err(Box::new),
        }
    }

    /// Whether the object is not known to be damaged.
    #[inline(always)]
    pub(crate) fn check(&self) -> Result<(), Box<Error>> {
        if let Some(&damage) = self.damage.get() {
            return Err(self.remember(damage));
        }
        self.check_whole()
    }

    /// Whether what was just done was done to shared memory.
    #[inline(always)]
    pub(crate) fn check_whole(&self) -> Result<(), Box<Error>> {
        if self.is_whole() {
            Ok(())
        } else {
            Err(self.remember(CUT))
        }
    }

    #[inline(always)]
    pub(crate) fn is_whole(&self) -> bool {
        !self.cut.load(Ordering::Relaxed)
    }

    #[cold]
    pub(crate) fn remember(&self, damage: Damage) -> Box<Error> {
        Box::new(self.damage.get_or_init(|| damage).of(self.object.label()))
    }

    /// Looks for the dead, unless somebody did lately. What makes that fail is found by the next call.
    #[cold]
    pub(crate) fn found_dead(&self) -> bool {
        self.object.look().is_ok_and(|found| found > 0)
    }
}
