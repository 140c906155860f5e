//! The members of a JSON object, read strictly: each there once, none unknown, one spelling per value.
//!
//! Takes a parsed value (the parser refuses a member that stands twice); gives members as types, or which is missing or
//! malformed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tally_protocol::hash;
use tally_protocol::jcs::Value;

use crate::bundle::BundleError;

/// A JSON object whose members are all known.
pub(crate) struct Members<'a>(&'a Value);

impl<'a> Members<'a> {
    /// The object named `name`, with no members but these.
    pub(crate) fn of(value: &'a Value, name: &'static str, known: &[&str]) -> Result<Self, BundleError> {
        let members = value.as_object().ok_or(BundleError::Malformed(name))?;
        if members.iter().any(|(member, _)| !known.contains(&member.as_str())) {
            return Err(BundleError::Unknown);
        }
        Ok(Self(value))
    }

    /// A member that may be missing.
    pub(crate) fn optional(&self, name: &'static str) -> Option<&'a Value> {
        self.0.get(name)
    }

    pub(crate) fn get(&self, name: &'static str) -> Result<&'a Value, BundleError> {
        self.optional(name).ok_or(BundleError::Missing(name))
    }

    pub(crate) fn text_as<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, BundleError> {
        self.get(name)?.as_str().and_then(read).ok_or(BundleError::Malformed(name))
    }

    pub(crate) fn number(&self, name: &'static str) -> Result<u64, BundleError> {
        self.get(name)?.as_u64().ok_or(BundleError::Malformed(name))
    }

    pub(crate) fn base64(&self, name: &'static str) -> Result<Vec<u8>, BundleError> {
        self.text_as(name, |text| STANDARD.decode(text).ok())
    }

    /// Bytes as chains write them.
    pub(crate) fn hex_0x(&self, name: &'static str) -> Result<Vec<u8>, BundleError> {
        self.text_as(name, hash::bytes_of_hex_0x)
    }

    pub(crate) fn texts<T>(
        &self,
        name: &'static str,
        max: usize,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, BundleError> {
        match self.get(name)? {
            Value::Array(items) if items.len() <= max => {
                let read = items.iter().map(|item| item.as_str().and_then(&read));
                read.collect::<Option<Vec<T>>>().ok_or(BundleError::Malformed(name))
            }
            _ => Err(BundleError::Malformed(name)),
        }
    }
}
