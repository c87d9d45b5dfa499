//! The scenarios of the synchronisation objects.
//!
//! `case` (one act on one object, and who else is there), `words` (what the file holds, read without the library), then the
//! scenarios, by primitive: `locks`, `rwlock`, `semaphores`, `event`, `condition`, `barrier`; and who waits for several of
//! them, `wait_set`. In the same way: shared data, `values` and `lists`.

mod barrier;
mod case;
mod condition;
mod event;
mod lists;
mod locks;
mod rwlock;
mod semaphores;
mod values;
mod wait_set;
mod words;

use crate::step::Entry;

/// Every scenario.
pub(super) fn all() -> Vec<Entry> {
    fn entries<H: 'static>(cases: Vec<case::Case<H>>) -> Vec<Entry> {
        cases.into_iter().map(Entry::new).collect()
    }
    [
        entries(locks::locks()),
        entries(locks::rlocks()),
        entries(rwlock::rwlocks()),
        entries(semaphores::semaphores()),
        entries(semaphores::bounded_semaphores()),
        entries(event::events()),
        entries(condition::conditions()),
        entries(barrier::barriers()),
        entries(wait_set::wait_sets()),
        entries(values::wide()),
        entries(values::narrow()),
        entries(lists::lists()),
    ]
    .into_iter()
    .flatten()
    .collect()
}
