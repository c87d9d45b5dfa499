//! Ways to hand messages from one process to another.

pub(crate) mod queue;
