//! Room for one value, wherever the caller keeps it.

#![expect(unsafe_code, reason = "a value is written where it is to stay")]

use core::mem::MaybeUninit;

use super::Place;

/// A value, or none yet. In place of an `Option`, whose contents would have to be made elsewhere and moved.
#[derive(Debug)]
pub(crate) struct Room<T> {
    value: MaybeUninit<T>,
    /// Whether `value` is one.
    is_kept: bool,
}

impl<T> Room<T> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            value: MaybeUninit::uninit(),
            is_kept: false,
        }
    }

    /// Drops the value, if there is one.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        if self.is_kept {
            self.is_kept = false;
            // SAFETY: it was one, and is not looked at again.
            unsafe { self.value.assume_init_drop() };
        }
    }

    /// The value, if there is one.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<T> {
        if !self.is_kept {
            return None;
        }
        self.is_kept = false;
        // SAFETY: it was one, and is not looked at again.
        Some(unsafe { self.value.assume_init_read() })
    }
}

impl<T> Place<T> for Room<T> {
    #[inline(always)]
    fn room(&mut self) -> &mut MaybeUninit<T> {
        self.clear();
        &mut self.value
    }

    #[inline(always)]
    unsafe fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl<T> Drop for Room<T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn each_value_is_taken_or_dropped_once() {
        let value = Rc::new(());
        let mut room = Room::new();
        assert!(room.take().is_none());
        room.put(Rc::clone(&value));
        room.put(Rc::clone(&value));
        assert_eq!(Rc::strong_count(&value), 2, "the first one was dropped");
        assert!(room.take().is_some() && room.take().is_none());
        assert_eq!(Rc::strong_count(&value), 1);
        room.put(Rc::clone(&value));
        room.clear();
        assert_eq!(Rc::strong_count(&value), 1);
        room.put(Rc::clone(&value));
        drop(room);
        assert_eq!(Rc::strong_count(&value), 1);
    }
}
