//! The members of a control event's payload, taken one by one: what is left at the end is unknown.
//!
//! Takes a payload, gives typed members; refuses a member that is absent, of another type, or not in its one spelling.

use std::collections::BTreeSet;

use super::ControlError;
use crate::id::KeyId;
use crate::jcs::{self, Value};
use crate::key::PublicKey;
use crate::time::LogTime;

/// The fields of a payload that nobody has taken yet.
pub(crate) struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Reads a payload, all of it.
    pub(crate) fn read<T>(
        payload: &[u8],
        read: impl FnOnce(&mut Self) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        jcs::is_canonical(payload)?;
        Self::of(jcs::parse(payload)?, "payload", read)
    }

    /// Reads a member that is an object, all of it.
    pub(crate) fn inner<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let value = self.take(name).ok_or(ControlError::Field(name))?;
        Self::of(value, name, read)
    }

    fn of<T>(
        value: Value,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let Value::Object(members) = value else { return Err(ControlError::Field(name)) };
        let mut fields = Self(members);
        let read = read(&mut fields)?;
        if fields.0.is_empty() { Ok(read) } else { Err(ControlError::UnknownField) }
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<String, ControlError> {
        match self.take(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(ControlError::Field(name)),
        }
    }

    pub(crate) fn id<T: core::str::FromStr + ToString>(&mut self, name: &'static str) -> Result<T, ControlError> {
        let text = self.text(name)?;
        // Ids are read in any case; a payload has the lower one.
        text.parse().ok().filter(|id: &T| id.to_string() == text).ok_or(ControlError::Field(name))
    }

    pub(crate) fn public_key(&mut self, name: &'static str) -> Result<PublicKey, ControlError> {
        PublicKey::from_hex(&self.text(name)?).map_err(|_| ControlError::Field(name))
    }

    pub(crate) fn key_id(&mut self) -> Result<KeyId, ControlError> {
        self.u32("key_id").map(KeyId::new)
    }

    pub(crate) fn u64(&mut self, name: &'static str) -> Result<u64, ControlError> {
        self.take(name).as_ref().and_then(Value::as_u64).ok_or(ControlError::Field(name))
    }

    pub(crate) fn u32(&mut self, name: &'static str) -> Result<u32, ControlError> {
        self.u64(name).and_then(|number| u32::try_from(number).map_err(|_| ControlError::Field(name)))
    }

    /// A text that one reader understands, and that is written again as it was read.
    pub(crate) fn parsed<T, E>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ControlError> {
        parse(&self.text(name)?).map_err(|_| ControlError::Field(name))
    }

    pub(crate) fn bool(&mut self, name: &'static str) -> Result<bool, ControlError> {
        self.take(name).as_ref().and_then(Value::as_bool).ok_or(ControlError::Field(name))
    }

    pub(crate) fn time(&mut self, name: &'static str) -> Result<LogTime, ControlError> {
        LogTime::parse_canonical(&self.text(name)?).map_err(|_| ControlError::Field(name))
    }

    /// Texts in the strict order of their bytes.
    pub(crate) fn texts(&mut self, name: &'static str) -> Result<BTreeSet<String>, ControlError> {
        let Some(Value::Array(values)) = self.take(name) else { return Err(ControlError::Field(name)) };
        let mut texts = BTreeSet::new();
        for value in values {
            let Value::String(text) = value else { return Err(ControlError::Field(name)) };
            if texts.last().is_some_and(|last| *last >= text) {
                return Err(ControlError::Field(name));
            }
            texts.insert(text);
        }
        Ok(texts)
    }

    /// Absent is "none"; `null` is malformed, so that "none" has one spelling.
    pub(crate) fn optional_time(&mut self, name: &'static str) -> Result<Option<LogTime>, ControlError> {
        if self.0.iter().any(|(key, _)| key == name) { self.time(name).map(Some) } else { Ok(None) }
    }
}

/// Texts as [`Fields::texts`] reads them.
pub(crate) fn written(texts: &BTreeSet<String>) -> Value {
    Value::Array(texts.iter().map(|text| Value::from(text.as_str())).collect())
}
