//! Data that several processes share: values, arrays, lists.
//!
//! Read in this order: `cells` (some values, each read and replaced as a whole, and a lock beside them), then `value` and `array`, their
//! handles; and `list`.

#![forbid(unsafe_code)]

pub(crate) mod array;
pub(crate) mod cells;
mod errors;
pub(crate) mod list;
mod number;
mod section;
pub(crate) mod value;

pub use array::{Array, ArrayIter};
pub use errors::CompareExchangeError;
pub use list::{List, ListError, ListIter, ListOptions, ListPutError};
pub use number::{PlainInteger, PlainNumber};
pub use section::Locked;
pub use value::{Value, options::ValueOptions};
