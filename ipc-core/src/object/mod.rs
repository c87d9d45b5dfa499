//! What all named objects share: a name, a life, the processes that use them, who of these does what, and a way to sleep.

pub(crate) mod family;
pub(crate) mod kind;
pub(crate) mod lifetime;
pub(crate) mod making;
pub(crate) mod membership;
pub(crate) mod namespace;
pub(crate) mod participant;
pub(crate) mod rendezvous;
pub(crate) mod seat;
pub(crate) mod source;
pub(crate) mod wait;

pub use kind::Kind;
pub use namespace::{Collected, Leftover, Namespace, Space};
