//! Data that several processes share: values, arrays.
//!
//! Read in this order: `cells` (some values, each read and replaced as a whole, and a lock beside them), then `value` and `array`, their
//! handles.

#![forbid(unsafe_code)]

pub(crate) mod array;
pub(crate) mod cells;
mod errors;
mod number;
mod section;
pub(crate) mod value;

pub use array::{Array, ArrayIter};
pub use errors::CompareExchangeError;
pub use number::{Integer, Number};
pub use section::Locked;
pub use value::{Value, options::ValueOptions};
