//! Ways to hand messages from one process to another.

pub(crate) mod broadcast;
mod contents;
pub(crate) mod errors;
mod gate;
pub(crate) mod geometry;
pub(crate) mod joinable;
pub(crate) mod listener;
pub(crate) mod loan;
pub(crate) mod options;
pub(crate) mod ordered;
pub(crate) mod pipe;
mod places;
pub(crate) mod queue;
mod target;
