//! Many processes on one queue, one of which is killed every few milliseconds.
//!
//! A run is a series of [`round`]s, each on a new queue with other sizes. In each, [`worker`]s put and get as fast as they
//! can; the supervisor kills and stops them at random and replaces the dead at once, so that their slots are used again.
//! What a worker did is in its [`journal`], which outlives it. At the end of the round, when nobody is left, the books are
//! balanced ([`account`]): nothing lost but what a killed consumer had in hand, nothing doubled, nothing torn, and all of
//! the queue's capacity and memory is back.
//!
//! The same for the two ends of a [`pipe`], and for a [`listener`] and its clients.

pub mod account;
mod crew;
pub mod journal;
pub mod listener;
pub mod message;
pub mod pipe;
pub mod round;
pub mod worker;

pub use round::{Figures, Plan, soak};
