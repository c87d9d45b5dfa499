//! Queues, and synchronisation objects, in memory that lies.
//!
//! * [`layout`]: where things lie in a queue's file, told a second time and independently of `ipc-core`;
//! * [`snapshot`]: files of queues in many states;
//! * [`edit`]: what a liar would write;
//! * [`trial`]: every operation on a file that was lied in. Each must return, whatever it returns, and soon;
//! * [`joinable`]: all of that for joinable queues;
//! * [`ordered`]: all of that for lifo and priority queues;
//! * [`sync`]: for synchronisation objects.

pub mod edit;
pub mod joinable;
pub mod layout;
pub mod ordered;
pub mod snapshot;
pub mod sync;
pub mod trial;
