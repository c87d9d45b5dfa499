//! Memory that several processes use at once, and what may be in it.

pub(crate) mod identity;
pub(crate) mod layout;
pub(crate) mod plain;
pub(crate) mod raw;
#[expect(clippy::module_inception, reason = "the type that the folder is about")]
pub(crate) mod region;

pub(crate) use layout::{CacheLine, Planner, Together};
pub(crate) use region::{Fresh, One, OutOfBounds, Region, Shared, Span};
