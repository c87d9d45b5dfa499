//! Step kill: a process is run one instruction at a time through one operation, and killed or stopped at a chosen
//! instruction; a survivor then checks what is left.
//!
//! # How to read it
//! [`Victim`] is one traced process. A [`Scenario`] says how to build an object, what the victim does to it and what
//! must hold afterwards. [`run`] makes a [`Campaign`] of it: one trial a point, until a victim gets to its end before
//! its point. [`Snapshot`] tells when the shared bytes changed, [`watchdog`] ends the process when anything hangs.
//!
//! # Points
//! Point 0 is the first instruction of the operation. With [`Granularity::State`] a point is counted after each
//! instruction that changed the shared bytes and after each system call (locks change there, bytes need not); with
//! [`Granularity::Instruction`], after each instruction. The dry run steps one victim through the whole operation; later ones run at full speed to
//! an instruction shortly before their point (`route.rs`). One that turns out to go another way is replaced by one that is
//! stepped and counts its own points, so a victim that takes a few instructions more or less than the one before still
//! stops in the same window.
//!
//! # What it does not see
//! A system call is one step: a death inside of it needs a test of its own. The tracer stops the victim between
//! instructions, so reorderings of the processor do not show either; those are for the models.

mod campaign;
mod report;
mod route;
mod scenario;
mod snapshot;
mod victim;
pub mod watchdog;

pub use campaign::run;
pub use report::{EngineError, Failure, Granularity, Plan, Point, Report};
pub use scenario::{Campaign, Entry, Expectation, Operation, Outcome, Scenario};
pub use snapshot::Snapshot;
pub use victim::{Death, End, Event, Victim};
