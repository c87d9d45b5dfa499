//! The only place that talks to the kernel. Safe functions out, none of our types in.

#[cfg(not(loom))]
pub(crate) mod alarm;
pub(crate) mod bytes;
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod copy;
pub(crate) mod descriptor;
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod image;
pub(crate) mod map;
pub(crate) mod membarrier;
pub(crate) mod process;
pub(crate) mod shm;
pub(crate) mod sigbus;
pub(crate) mod socket;
pub(crate) mod thread;
pub(crate) mod token;
pub(crate) mod vfork;
pub(crate) mod watch;
