//! What the options need of a joinable queue.

use std::sync::Arc;

use super::{
    JoinableQueue,
    jobs::{self, Jobs},
    terms::Terms,
};
use crate::{
    channel::{
        geometry::{CellShape, Geometry},
        options::Container,
        queue::{Queue, geometry},
    },
    error::{Damage, Result},
    message::Message,
    object::{Kind, lifetime::Object, wait::WaitStrategy},
    region::{Fresh, OutOfBounds, Region, identity::Facts},
};

impl<T: Message> Container for JoinableQueue<T> {
    type Message = T;
    type Structure = Jobs;
    const KIND: Kind = Kind::JoinableQueue;
    const CELLS: CellShape = geometry::CELLS;

    fn file_bytes(geometry: Geometry, participants: u32) -> Option<usize> {
        geometry::file_bytes(geometry, participants)
    }

    fn place(fresh: &mut Fresh, geometry: Geometry, participants: u32) -> Result<(), OutOfBounds> {
        Queue::<T>::place(fresh, geometry, participants)
    }

    fn terms(asked: Terms, capacity: usize) -> Result<Terms> {
        asked.complete(capacity)
    }

    fn bytes_with_terms(geometry: Geometry, participants: u32, terms: Terms) -> Option<usize> {
        jobs::file_bytes(geometry, participants, terms)
    }

    fn place_terms(
        fresh: &mut Fresh,
        geometry: Geometry,
        participants: u32,
        terms: Terms,
    ) -> Result<(), OutOfBounds> {
        jobs::place(fresh, geometry, participants, terms)
    }

    fn build(region: &Arc<Region>, facts: &Facts) -> Result<Arc<Jobs>, Damage> {
        jobs::build(region, facts)
    }

    fn over(object: Arc<Object>, jobs: Arc<Jobs>, wait: WaitStrategy) -> Self {
        JoinableQueue::over(object, jobs, wait)
    }
}
