//! The list of cuts: small, and truth. Its bytes lie beside outcomes, so that deleted outcomes can be made again.
//!
//! ```text
//! list: per cut, by index and plugin, each once: u64 index | u8 length | plugin        (nothing: no bytes)
//! ```
//! Takes and gives exactly these bytes.

use std::collections::{BTreeMap, BTreeSet};

use tally_protocol::id::{Index, PluginId};
use tally_protocol::outcome::Outcome;

use crate::error::HostError;

/// Which events had a fresh instance, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FreshList(BTreeMap<Index, BTreeSet<PluginId>>);

impl FreshList {
    /// What outcomes say.
    #[must_use]
    pub fn of<'o>(outcomes: impl IntoIterator<Item = (Index, &'o Outcome)>) -> Self {
        let mut list = Self::default();
        for (index, outcome) in outcomes {
            outcome.bindings.iter().filter(|binding| binding.fresh).for_each(|b| list.add(index, b.plugin.clone()));
        }
        list
    }

    /// Adds one.
    pub fn add(&mut self, index: Index, plugin: PluginId) {
        self.0.entry(index).or_default().insert(plugin);
    }

    /// Whether it says so.
    #[must_use]
    pub fn has(&self, index: Index, plugin: &PluginId) -> bool {
        self.0.get(&index).is_some_and(|plugins| plugins.contains(plugin))
    }

    /// Each one, by index and plugin.
    pub fn iter(&self) -> impl Iterator<Item = (Index, &PluginId)> {
        self.0.iter().flat_map(|(index, plugins)| plugins.iter().map(|plugin| (*index, plugin)))
    }

    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, plugin) in self.iter() {
            out.extend_from_slice(&index.get().to_be_bytes());
            // An id has 1 to 64 bytes.
            out.push(u8::try_from(plugin.as_str().len()).unwrap_or(u8::MAX));
            out.extend_from_slice(plugin.as_str().as_bytes());
        }
        out
    }

    /// Reads the bytes that [`FreshList::encode`] writes.
    ///
    /// # Errors
    /// Any other.
    pub fn decode(bytes: &[u8]) -> Result<Self, HostError> {
        let (mut list, mut rest) = (Self::default(), bytes);
        while !rest.is_empty() {
            let (index, plugin, after) = take_cut(rest).ok_or(HostError::Cuts)?;
            list.add(index, plugin);
            rest = after;
        }
        // Another order, or a cut twice, is another spelling.
        if list.encode() == bytes { Ok(list) } else { Err(HostError::Cuts) }
    }
}

fn take_cut(bytes: &[u8]) -> Option<(Index, PluginId, &[u8])> {
    let (index, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first()?;
    let (plugin, rest) = rest.split_at_checked(usize::from(*length))?;
    let plugin = PluginId::new(core::str::from_utf8(plugin).ok()?).ok()?;
    Some((Index::new(u64::from_be_bytes(*index)), plugin, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_and_has_one_spelling() {
        let mut list = FreshList::default();
        assert_eq!((list.encode(), FreshList::decode(&[]).unwrap()), (Vec::new(), list.clone()));
        for (index, name) in [(7, "b"), (7, "a"), (3, "catalog")] {
            list.add(Index::new(index), PluginId::new(name).unwrap());
        }
        let bytes = list.encode();
        assert_eq!(FreshList::decode(&bytes).unwrap(), list);
        // Where one cut ends, a shorter list ends too.
        for end in (1..bytes.len()).filter(|end| ![16, 26].contains(end)) {
            assert!(FreshList::decode(&bytes[..end]).is_err(), "{end}");
        }
        for (one, other) in [(0..16, 16..26), (16..26, 0..16)] {
            let twice = [&bytes[one.clone()], &bytes[one.clone()]].concat();
            assert!(FreshList::decode(&twice).is_err());
            let swapped = [&bytes[one.clone()], &bytes[other.clone()]].concat();
            assert_eq!(FreshList::decode(&swapped).is_ok(), one.start < other.start);
        }
    }
}
