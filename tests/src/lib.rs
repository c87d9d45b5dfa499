//! Whole processes, kills and lies against `ipc-core` and `ipc-tools`.
//!
//! * [`step`]: stops or kills a process after any instruction of one operation;
//! * [`mapping`]: shared memory that a trial and its victims see;
//! * [`naive`], [`naive_lock`], [`owned_cell`]: the controls, structures known to break and known to hold;
//! * [`corruption`]: queues in memory that lies;
//! * [`lab`]: a copy of `ipc-core` for its loom models;
//! * [`old_kernel`]: processes for which the kernel lacks `futex_waitv`;
//! * [`parent`]: what a process with children sees, for the program `parent`;
//! * [`puppet`]: processes that do what they are told;
//! * [`scenarios`]: what `step_kill` runs;
//! * [`dict_soak`]: what the dictionary's soak puts into it;
//! * [`soak`]: processes killed at random for as long as one likes.

pub mod corruption;
pub mod dict_soak;
pub mod lab;
pub mod mapping;
pub mod naive;
pub mod naive_lock;
pub mod old_kernel;
pub mod owned_cell;
pub mod parent;
pub mod puppet;
pub mod random;
pub mod scenarios;
pub mod soak;
pub mod step;
pub mod trial_directory;
