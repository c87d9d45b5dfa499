//! What the options need of a queue.

use std::sync::Arc;

use super::{Queue, geometry, ring::Ring};
use crate::{
    channel::{
        geometry::{CellShape, Geometry},
        options::Container,
    },
    error::Damage,
    message::Message,
    object::{Kind, lifetime::Object, wait::WaitStrategy},
    region::{Fresh, OutOfBounds, Region, identity::Facts},
};

impl<T: Message> Container for Queue<T> {
    type Message = T;
    type Structure = Ring;
    const KIND: Kind = Kind::Queue;
    const CELLS: CellShape = geometry::CELLS;

    fn file_bytes(geometry: Geometry, participants: u32) -> Option<usize> {
        geometry::file_bytes(geometry, participants)
    }

    fn place(fresh: &mut Fresh, geometry: Geometry, participants: u32) -> Result<(), OutOfBounds> {
        geometry::place(fresh, geometry, participants)
    }

    fn build(region: &Arc<Region>, facts: &Facts) -> Result<Arc<Ring>, Damage> {
        build(region, facts)
    }

    fn over(object: Arc<Object>, ring: Arc<Ring>, wait: WaitStrategy) -> Self {
        Queue::over(object, ring, wait)
    }
}

/// Builds the ring over an object's memory.
pub(crate) fn build(region: &Arc<Region>, facts: &Facts) -> Result<Arc<Ring>, Damage> {
    let geometry = Geometry::from_words(&facts.geometry, &geometry::CELLS)?;
    Ring::over(region, geometry, facts.participants).map(Arc::new)
}
