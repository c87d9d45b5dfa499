//! In which order outputs are printed.

use std::collections::BTreeMap;

/// What is done and not printed yet, by the number of its job. In the order of the input it waits for all jobs before it; else for nobody.
#[derive(Debug)]
pub(super) struct Order<T> {
    is_kept: bool,
    waiting: BTreeMap<u64, T>,
}

impl<T> Order<T> {
    pub(super) fn new(is_kept: bool) -> Self {
        Self {
            is_kept,
            waiting: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, number: u64, done: T) {
        self.waiting.insert(number, done);
    }

    /// What comes next, if the first job that is not done is `unfinished`, and all that are not known yet come later.
    pub(super) fn next(&mut self, unfinished: Option<u64>) -> Option<(u64, T)> {
        let first = self.waiting.first_entry()?;
        let is_next = !self.is_kept || unfinished.is_none_or(|number| *first.key() < number);
        is_next.then(|| first.remove_entry())
    }

    pub(super) fn waiting(&self) -> impl ExactSizeIterator<Item = &T> {
        self.waiting.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_input_is_kept_with_gaps() {
        let mut order = Order::new(true);
        order.add(5, 'e');
        assert_eq!(order.next(Some(2)), None);
        order.add(2, 'b');
        assert_eq!(order.next(Some(4)), Some((2, 'b')));
        assert_eq!(order.next(Some(4)), None);
        assert_eq!(order.next(Some(6)), Some((5, 'e')));
        order.add(9, 'i');
        assert_eq!(order.next(None), Some((9, 'i')));
        assert_eq!(order.next(None), None);
    }

    #[test]
    fn without_order_whoever_is_done_comes_next() {
        let mut order = Order::new(false);
        order.add(5, 'e');
        assert_eq!(order.next(Some(2)), Some((5, 'e')));
        assert_eq!(order.waiting().len(), 0);
    }
}
