//! Bounded queues in another order than first in, first out.
//!
//! Read in this order: `cell` (the claim word), `pile` (the algorithm, and the argument) with `order` (which message comes first),
//! `room` (which cells are free), `put`, `get`, `look` and `repair`; then `inner` with `claim` (waiting and errors), and the two
//! faces, `lifo` and `priority`, with `face` (what they have in common).

mod cell;
mod claim;
mod face;
mod geometry;
mod get;
mod inner;
mod lifo;
mod look;
mod order;
pub(crate) mod pile;
mod priority;
mod put;
mod repair;
mod room;
mod source;

#[cfg(all(test, loom))]
mod model;
#[cfg(any(test, loom))]
mod on_heap;
#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::Arc;

pub use lifo::{LifoIter, LifoQueue};
pub use priority::{PriorityIter, PriorityQueue};

use self::{order::Discipline, pile::Pile};
use crate::{
    channel::geometry::Geometry,
    error::Damage,
    object::Kind,
    region::{Region, identity::Facts},
};

/// Builds the pile over an object's memory. Of all that is done to it, only what comes first depends on its kind.
pub(crate) fn build(region: &Arc<Region>, facts: &Facts) -> Result<Arc<Pile>, Damage> {
    let geometry = Geometry::from_words(&facts.geometry, &geometry::CELLS)?;
    let discipline = if facts.kind == Kind::LifoQueue.number() {
        Discipline::LastFirst
    } else {
        Discipline::LowestFirst
    };
    Pile::over(region, geometry, facts.participants, discipline).map(Arc::new)
}
