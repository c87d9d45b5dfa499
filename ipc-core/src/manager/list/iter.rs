//! Reading a list by and by.

use core::fmt;
use std::collections::VecDeque;

use super::{List, ListError};
use crate::message::Message;

/// Elements that are read at once.
const BATCH: usize = 64;

/// Reads the elements of a [`List`], from [`List::iter`].
pub struct ListIter<'a, T> {
    list: &'a List<T>,
    /// Index of the first element that was not read yet.
    next: usize,
    batch: VecDeque<T>,
    is_over: bool,
}

impl<'a, T: Message> ListIter<'a, T> {
    pub(super) fn new(list: &'a List<T>) -> Self {
        Self {
            list,
            next: 0,
            batch: VecDeque::new(),
            is_over: false,
        }
    }

    fn fill(&mut self) -> Result<(), ListError> {
        let end = self.next.saturating_add(BATCH);
        let read = self.list.slice(self.next..end);
        // Also an error ends it: who goes on would get the same one for ever.
        self.is_over = read.as_ref().map_or(true, |read| read.len() < BATCH);
        self.batch = read?.into();
        self.next += self.batch.len();
        Ok(())
    }
}

impl<T: Message> Iterator for ListIter<'_, T> {
    type Item = Result<T, ListError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.batch.is_empty()
            && !self.is_over
            && let Err(e) = self.fill()
        {
            return Some(Err(e));
        }
        self.batch.pop_front().map(Ok)
    }
}

impl<T> fmt::Debug for ListIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListIter")
            .field("list", self.list)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
