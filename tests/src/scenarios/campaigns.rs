//! Which campaigns a scenario has, all of which must hold.

use crate::step::Campaign::{self, Kill, Nested, Stop};
use crate::step::Expectation;

pub(super) const ALL: &[Campaign] = &[Kill, Stop, Nested];
pub(super) const KILL_AND_STOP: &[Campaign] = &[Kill, Stop];
pub(super) const KILL: &[Campaign] = &[Kill];

/// As a scenario says it.
pub(super) fn holds(campaigns: &[Campaign]) -> Vec<(Campaign, Expectation)> {
    let all = campaigns.iter();
    all.map(|&campaign| (campaign, Expectation::Holds))
        .collect()
}
