//! Data that processes share.

pub(crate) mod dict;
