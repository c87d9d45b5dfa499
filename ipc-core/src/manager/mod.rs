//! Data that processes share, and families of objects.

pub(crate) mod dict;
pub(crate) mod family;
