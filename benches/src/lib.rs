//! What the benchmarks share: real processes to measure, floors to measure them against, and the table of ratios.
//!
//! `cargo bench -p ipc-benches` measures floors, peers and the library in one run and ends with the table;
//! `cargo bench -p ipc-benches -- round_trip` measures one group; `cargo run -p ipc-benches --bin ratios` prints
//! the last run's table again.
//!
//! Five questions are not criterion's: `cargo run --release -p ipc-benches --bin blocked` (what a blocked waiter costs),
//! `--bin scaling` (throughput over the number of producers and consumers), `--bin shares` (how a contended lock is shared),
//! `--bin herd` (waking a thousand waiters at once) and `--bin growth` (what a dictionary's growth costs those who use it).
//!
//! Reading order: [`crew`] (who runs, and what the clock sees), [`harness`] (the shapes of traffic), [`ring`] (the
//! floors), [`array_queue`] (the peer that everybody is held against), [`queue`] and [`sync`] (how a figure gets at our own objects), [`pthread`] (the peers of our locks), [`report`] (the table, and why its ratios are paired). `benches/suite/` holds the figures themselves.

pub mod array_queue;
pub mod crew;
mod futex;
pub mod harness;
mod pin;
pub mod pthread;
pub mod queue;
pub mod report;
pub mod ring;
mod shared;
pub mod sync;

pub use futex::{futex_wait, futex_wake};
pub use pin::{cores, nth_core, pin_to, unpin};
pub use shared::{Shared, ZeroIsValid, map_and_touch};
