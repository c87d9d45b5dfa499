//! Data that several processes share, and families of objects.
//!
//! Read in this order: `cells` (some values, each read and replaced as a whole, and a lock beside them), then `value` and `array`, their
//! handles; `list`; `dict`, and `attributes` over it; and `family`, one lifetime for several objects.

#![forbid(unsafe_code)]

pub(crate) mod array;
mod attributes;
pub(crate) mod cells;
pub(crate) mod dict;
mod errors;
pub(crate) mod family;
pub(crate) mod list;
mod number;
mod section;
pub(crate) mod value;

pub use array::{Array, ArrayIter};
pub use attributes::{Attribute, AttributeError, Attributes};
pub use errors::CompareExchangeError;
pub use list::{List, ListError, ListIter, ListOptions, ListPutError};
pub use number::{PlainInteger, PlainNumber};
pub use section::Locked;
pub use value::{Value, options::ValueOptions};
