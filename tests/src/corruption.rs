//! Queues, and synchronisation objects, in memory that lies.
//!
//! * [`layout`]: where things lie in a queue's file, told a second time and independently of `ipc-core`;
//! * [`snapshot`]: files of queues in many states;
//! * [`edit`]: what a liar would write;
//! * [`trial`]: every operation on a file that was lied in. Each must return, whatever it returns, and soon;
//! * [`loan`]: trials of messages that are written and read in place, in queues and pipes;
//! * [`joinable`]: all of that for joinable queues;
//! * [`ordered`]: all of that for lifo and priority queues;
//! * [`broadcast`]: for broadcasts;
//! * [`dict`]: for dictionaries;
//! * [`live`]: for all of these but plain queues and dictionaries, while a process lies at the speed of memory;
//! * [`shared`]: for values, arrays and lists;
//! * [`sync`]: for synchronisation objects.

pub mod broadcast;
pub mod dict;
pub mod edit;
pub mod joinable;
pub mod layout;
pub mod live;
pub mod loan;
pub mod ordered;
pub mod shared;
pub mod snapshot;
pub mod sync;
pub mod trial;
