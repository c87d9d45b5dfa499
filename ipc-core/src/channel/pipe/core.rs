//! The memory of a pipe: its lanes, and what survivors do with them.

use std::sync::Arc;

use super::{
    geometry::{self, Geometry, Offsets},
    lane::{Lane, Side},
};
use crate::{
    error::Damage,
    object::{
        participant::{Dead, Owner, Repair},
        seat::{Activity, Seats, Visitor},
    },
    region::{OutOfBounds, Region},
};

/// The ends of one or two lanes, and notes of who waits at them.
#[derive(Debug)]
pub(crate) struct PipeCore {
    pub(super) geometry: Geometry,
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) notes: Seats,
}

impl PipeCore {
    /// The pipe in `region`, which is new or was used before.
    pub(super) fn over(
        region: &Arc<Region>,
        geometry: Geometry,
        participants: u32,
    ) -> Result<Self, Damage> {
        let build = || -> Result<Self, OutOfBounds> {
            let at = geometry::plan(geometry, participants).ok_or(OutOfBounds)?;
            let lanes = at.lanes().iter();
            let lanes = lanes.map(|&lane| Lane::over(region, geometry, lane).map(Arc::new));
            Ok(Self {
                geometry,
                lanes: lanes.collect::<Result<_, _>>()?,
                notes: Seats::new(region, at.notes, Offsets::note_count(geometry))?,
            })
        };
        build().map_err(|OutOfBounds| Damage("the file is smaller than its geometry says"))
    }

    /// In what state it is, for people.
    pub(crate) fn describe(&self) -> String {
        let lanes = self.lanes.iter().map(|lane| {
            let (count, bytes) = lane.contents();
            let (plural, capacity) = (if count == 1 { "" } else { "s" }, self.geometry.capacity);
            let [sender, receiver] =
                [Side::Writer, Side::Reader].map(|side| lane.role(side).describe());
            format!(
                "{count} message{plural}, {bytes} of {capacity} bytes, sender {sender}, receiver {receiver}"
            )
        });
        lanes.collect::<Vec<_>>().join("; ")
    }

    /// Who has which end, and who waits.
    pub(crate) fn visitors(&self) -> Vec<Visitor> {
        let holders = self.lanes.iter().flat_map(|lane| {
            let ends = [
                (Side::Writer, Activity::Sending),
                (Side::Reader, Activity::Receiving),
            ];
            ends.into_iter().filter_map(|(side, activity)| {
                let visitor = lane.role(side).holder()?;
                Some(Visitor {
                    activity,
                    ..visitor
                })
            })
        });
        holders.chain(self.notes.visitors(|_| true)).collect()
    }

    fn roles(&self) -> impl Iterator<Item = &super::role::Role> {
        self.lanes
            .iter()
            .flat_map(|lane| [lane.role(Side::Writer), lane.role(Side::Reader)])
    }
}

impl Repair for PipeCore {
    fn repair(&self, dead: &Dead<'_>) -> Result<(), Damage> {
        self.roles().try_for_each(|role| role.repair(dead))?;
        self.notes.repair(dead, |_| {})
    }

    fn names(&self, owner: Owner) -> bool {
        self.roles().any(|role| role.names(owner))
    }

    fn wake_all(&self) {
        self.lanes.iter().for_each(|lane| lane.wake_all());
    }
}
