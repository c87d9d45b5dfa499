//! Names with values of any types.

#[cfg(all(test, not(loom)))]
mod tests;

use serde::{Deserialize, Serialize};

use super::dict::{Dict, DictError};
use crate::message::{Message, Received, decoded};

/// The value of an attribute: its encoding, and what it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    type_name: String,
    bytes: Vec<u8>,
}

/// Names with values of any types, as the `Namespace` of Python's `Manager`: for a few settings and results that have little to do with
/// each other.
///
/// It is a [`Dict`], and what is said there about blocking, memory and deaths holds here; each value is kept with the name of its type, so that one
/// that is read as another type is an error. A manager makes one ([`Manager::namespace`](crate::Manager::namespace)); one with a name of its own comes
/// [from](#impl-From<Dict<String,+Attribute>>-for-Attributes) a dictionary with that name. A handle is cheap to clone and is itself a message.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-attributes-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Manager;
///
/// let team = Manager::options().namespace(&namespace).anonymous()?;
/// let settings = team.namespace()?;
/// settings.set("rate", &100u32)?; // any process sees it from now on
/// settings.set("title", &"night run".to_string())?;
/// assert_eq!(settings.get::<u32>("rate")?, Some(100));
/// assert!(settings.get::<u64>("rate").is_err(), "it is a u32");
/// # drop((team, settings));
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attributes(Dict<String, Attribute>);

/// Why an operation on [`Attributes`] failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AttributeError {
    /// The attribute is of another type.
    #[error("the attribute {name:?} is of the type {found:?}, not {expected:?}")]
    WrongType {
        /// The attribute's name.
        name: String,
        /// The type that was asked for.
        expected: String,
        /// The type that it was set with.
        found: String,
    },
    /// As for any operation on a dictionary.
    #[error(transparent)]
    Failed(#[from] DictError),
}

impl From<Dict<String, Attribute>> for Attributes {
    fn from(dict: Dict<String, Attribute>) -> Self {
        Self(dict)
    }
}

impl Attributes {
    /// The value of an attribute; `None` if there is none of that name.
    ///
    /// # Errors
    ///
    /// [`AttributeError::WrongType`], or as [`Dict::get`].
    pub fn get<T: Message>(&self, name: &str) -> Result<Option<T>, AttributeError> {
        let Some(found) = self.0.get(&name.to_owned())? else {
            return Ok(None);
        };
        let expected = T::type_name();
        if found.type_name != expected {
            return Err(AttributeError::WrongType {
                name: name.to_owned(),
                expected,
                found: found.type_name,
            });
        }
        let value = decoded(Received::Owned(found.bytes));
        Ok(Some(value.map_err(DictError::from)?))
    }

    /// Gives an attribute a value, whatever it was before, also one of another type.
    ///
    /// # Errors
    ///
    /// As [`Dict::set`].
    pub fn set<T: Message>(&self, name: &str, value: &T) -> Result<(), AttributeError> {
        let bytes = value.encode(<[u8]>::to_vec).map_err(DictError::from)?;
        let attribute = Attribute {
            type_name: T::type_name(),
            bytes,
        };
        Ok(self.0.set(&name.to_owned(), &attribute)?)
    }

    /// Removes an attribute. Whether there was one.
    ///
    /// # Errors
    ///
    /// As [`Dict::remove`].
    pub fn remove(&self, name: &str) -> Result<bool, AttributeError> {
        Ok(self.0.remove(&name.to_owned())?.is_some())
    }

    /// The dictionary behind it: to iterate over names, wait for changes ([`Dict::watch`]), or clear it.
    #[must_use]
    pub fn dict(&self) -> &Dict<String, Attribute> {
        &self.0
    }
}
