//! Data that processes share, and families of objects.

pub(crate) mod family;
