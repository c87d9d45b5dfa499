//! What a handle on some values does with each of them.

use core::marker::PhantomData;
use std::sync::Arc;

use bytemuck::{CheckedBitPattern, NoUninit};

use super::{
    Cells,
    narrow::{Narrow, bits_of, value_of},
    wide::{Claim, Looked, Wide},
};
use crate::{
    error::{Damage, Error, Result},
    manager::{
        errors::CompareExchangeError,
        number::{PlainInteger, PlainNumber},
    },
    object::{lifetime::Object, participant::Owner, wait::WaitStrategy},
    os::fork::Process,
    prim,
    sync::Lock,
};

/// How often a reader looks at a value that is replaced all the time, before it keeps the writers out.
const LOOKS: u32 = 100;

const NOT_OURS: Damage = Damage("a value was taken from its living writer");
const NO_VALUE: Damage = Damage("it holds what is no value of its type");

/// One process's use of an object with some values.
#[derive(Debug)]
pub(in crate::manager) struct Row<T> {
    pub(in crate::manager) lock: Lock,
    pub(in crate::manager) cells: Arc<Cells>,
    _values: PhantomData<fn() -> T>,
}

impl<T> Clone for Row<T> {
    fn clone(&self) -> Self {
        Self {
            lock: self.lock.clone(),
            cells: Arc::clone(&self.cells),
            _values: PhantomData,
        }
    }
}

impl<T> Row<T> {
    pub(in crate::manager) fn new(
        object: Arc<Object>,
        cells: Arc<Cells>,
        wait: WaitStrategy,
    ) -> Self {
        Self {
            lock: Lock::within(object, Arc::clone(&cells.lock), wait),
            cells,
            _values: PhantomData,
        }
    }

    pub(in crate::manager) fn object(&self) -> &Arc<Object> {
        &self.lock.member().object
    }

    #[inline(always)]
    pub(in crate::manager) fn count(&self) -> usize {
        self.cells.geometry().count
    }

    /// Unless there is no such value.
    pub(in crate::manager) fn check_index(&self, index: usize) -> Result<()> {
        if index < self.count() {
            Ok(())
        } else {
            Err(self.out_of_range(index))
        }
    }

    #[cold]
    fn out_of_range(&self, index: usize) -> Error {
        Error::OutOfRange {
            object: self.object().label().to_owned(),
            index,
            len: self.count(),
        }
    }

    #[cold]
    fn nonsense(&self) -> Error {
        // Not remembered: who sets it again repairs it.
        match self.lock.member().check_whole() {
            Ok(()) => NO_VALUE.of(self.object().label()),
            Err(e) => *e,
        }
    }

    #[cold]
    fn damaged(&self, damage: Damage) -> Error {
        *self.lock.member().remember(damage)
    }
}

impl<T: NoUninit + CheckedBitPattern> Row<T> {
    /// This process among the participants.
    #[inline(always)]
    fn me(&self) -> Result<Owner> {
        let place = self.lock.member().place_of(Process::this());
        place.map_err(|e| *e)
    }

    /// What was just done, unless it was done to memory that is no longer shared.
    #[inline(always)]
    fn sound<R>(&self, done: R) -> Result<R> {
        match self.lock.member().check_whole() {
            Ok(()) => Ok(done),
            Err(e) => Err(*e),
        }
    }

    #[inline(always)]
    fn value(&self, bits: u64) -> Result<T> {
        match value_of(bits) {
            Some(value) => self.sound(value),
            None => Err(self.nonsense()),
        }
    }

    #[inline(always)]
    fn narrow(&self, index: usize) -> Option<Narrow<'_>> {
        self.cells.narrow::<T>(index)
    }

    #[inline(always)]
    fn wide(&self, index: usize) -> Result<Wide<'_>> {
        match self.cells.wide(index) {
            Some(wide) => Ok(wide),
            None => Err(self.out_of_range(index)),
        }
    }

    #[inline(always)]
    pub(in crate::manager) fn get(&self, index: usize) -> Result<T> {
        self.me()?;
        match self.narrow(index) {
            Some(narrow) => self.value(narrow.load()),
            None => self.get_wide(self.wide(index)?),
        }
    }

    fn get_wide(&self, wide: Wide<'_>) -> Result<T> {
        for _ in 0..LOOKS {
            match wide.look() {
                Ok(Looked::Value(value)) => return self.sound(value),
                Ok(Looked::Replaced) => prim::spin_loop(),
                Ok(Looked::Nonsense) => return Err(self.nonsense()),
                Err(damage) => return Err(self.damaged(damage)),
            }
        }
        let claim = self.claim(wide)?;
        let value = wide.read(&claim);
        self.end(wide.let_go(claim))?;
        value.ok_or_else(|| self.nonsense())
    }

    #[inline(always)]
    pub(in crate::manager) fn set(&self, index: usize, value: T) -> Result<()> {
        self.me()?;
        match self.narrow(index) {
            Some(narrow) => {
                narrow.store(bits_of(&value));
                self.sound(())
            }
            None => self.set_wide(self.wide(index)?, &value),
        }
    }

    fn set_wide(&self, wide: Wide<'_>, value: &T) -> Result<()> {
        let claim = self.claim(wide)?;
        self.end(wide.commit(claim, value))
    }

    #[inline(always)]
    pub(in crate::manager) fn swap(&self, index: usize, value: T) -> Result<T> {
        self.me()?;
        match self.narrow(index) {
            Some(narrow) => self.value(narrow.swap(bits_of(&value))),
            None => self.change_wide(index, |_| Some(value)),
        }
    }

    #[inline(always)]
    pub(in crate::manager) fn compare_exchange(
        &self,
        index: usize,
        current: T,
        new: T,
    ) -> Result<T, CompareExchangeError<T>> {
        self.me()?;
        let is_current = |found: &T| bytemuck::bytes_of(found) == bytemuck::bytes_of(&current);
        let found = match self.narrow(index) {
            Some(narrow) => match narrow.compare_exchange(bits_of(&current), bits_of(&new)) {
                Ok(bits) => return Ok(self.value(bits)?),
                Err(bits) => self.value(bits)?,
            },
            None => self.change_wide(index, |found| is_current(&found).then_some(new))?,
        };
        if is_current(&found) {
            Ok(found)
        } else {
            Err(CompareExchangeError::Different(found))
        }
    }

    /// Replaces a wide value by what `change` makes of it, unless that is nothing. What it was.
    fn change_wide(&self, index: usize, change: impl FnOnce(T) -> Option<T>) -> Result<T> {
        let wide = self.wide(index)?;
        let claim = self.claim(wide)?;
        let Some(value) = wide.read(&claim) else {
            self.end(wide.let_go(claim))?;
            return Err(self.nonsense());
        };
        let was_ours = match change(value) {
            Some(next) => wide.commit(claim, &next),
            None => wide.let_go(claim),
        };
        self.end(was_ours).map(|()| value)
    }

    /// As [`Self::change_wide`], of whatever width.
    #[inline(always)]
    fn change(&self, index: usize, change: impl Fn(T) -> Option<T>) -> Result<T> {
        self.me()?;
        let Some(narrow) = self.narrow(index) else {
            return self.change_wide(index, change);
        };
        let changed = |bits| Some(bits_of(&change(value_of(bits)?)?));
        match narrow.update(changed) {
            Ok(bits) => self.value(bits),
            Err(damage) => Err(self.damaged(damage)),
        }
    }

    /// Keeps others from writing; waits for whoever writes.
    #[inline]
    fn claim(&self, wide: Wide<'_>) -> Result<Claim> {
        let me = self.me()?;
        match wide.try_claim(me) {
            Ok(Some(claim)) => Ok(claim),
            Ok(None) => self.wait_to_claim(wide, me),
            Err(damage) => Err(self.damaged(damage)),
        }
    }

    #[cold]
    fn wait_to_claim(&self, wide: Wide<'_>, me: Owner) -> Result<Claim> {
        self.lock
            .wait_for(|| wide.try_claim(me).transpose(), || wide.is_free())
    }

    /// After a claim has ended.
    #[inline]
    fn end(&self, was_ours: bool) -> Result<()> {
        self.cells.lock.wake_others();
        if was_ours {
            self.sound(())
        } else {
            Err(self.damaged(NOT_OURS))
        }
    }
}

impl<T: PlainNumber> Row<T> {
    #[inline(always)]
    pub(in crate::manager) fn fetch_add(&self, index: usize, number: T) -> Result<T> {
        match self.narrow(index) {
            Some(narrow) if T::WRAPS => {
                self.me()?;
                self.value(narrow.fetch_add(bits_of(&number)))
            }
            _ => self.change(index, |value| Some(value.plus(number))),
        }
    }

    #[inline(always)]
    pub(in crate::manager) fn fetch_sub(&self, index: usize, number: T) -> Result<T> {
        self.fetch_add(index, number.negated())
    }
}

impl<T: PlainInteger> Row<T> {
    #[inline(always)]
    pub(in crate::manager) fn fetch_and(&self, index: usize, mask: T) -> Result<T> {
        self.me()?;
        match self.narrow(index) {
            Some(narrow) => self.value(narrow.fetch_and(bits_of(&mask))),
            None => self.change_wide(index, |value| Some(value & mask)),
        }
    }

    #[inline(always)]
    pub(in crate::manager) fn fetch_or(&self, index: usize, mask: T) -> Result<T> {
        self.me()?;
        match self.narrow(index) {
            Some(narrow) => self.value(narrow.fetch_or(bits_of(&mask))),
            None => self.change_wide(index, |value| Some(value | mask)),
        }
    }

    #[inline(always)]
    pub(in crate::manager) fn fetch_xor(&self, index: usize, mask: T) -> Result<T> {
        self.me()?;
        match self.narrow(index) {
            Some(narrow) => self.value(narrow.fetch_xor(bits_of(&mask))),
            None => self.change_wide(index, |value| Some(value ^ mask)),
        }
    }

    pub(in crate::manager) fn fetch_min(&self, index: usize, number: T) -> Result<T> {
        self.change(index, |value| (number < value).then_some(number))
    }

    pub(in crate::manager) fn fetch_max(&self, index: usize, number: T) -> Result<T> {
        self.change(index, |value| (number > value).then_some(number))
    }
}
