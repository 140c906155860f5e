//! Notes of the keys that ranges changed since the trees' pages were last written, and the pages that follow from them.
//!
//! Pages are written behind the ranges and past the write-ahead log, many ranges at once; each range leaves a note in its
//! batch instead. Behind a crash the stored pages are of some earlier range: they say themselves of which root, and with
//! the noted keys as they are stored now they lead to the root that is stored now, or the pages are damaged. A note of
//! what the pages show already changes nothing, so notes may be removed at any time later, all at once.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tally_core::FollowerError;
use tally_merkle::sparse::{PageId, StateNode, root_of};
use tally_plugin_host::delta::{Place, SpaceDelta, TreeName, Trees, trees_of};
use tally_plugin_host::error::HostError;
use tally_plugin_host::overlay::Write;
use tally_plugin_host::state::StateError;
use tally_protocol::id::{Index, PluginId, Stream};

use super::follower::{damaged, stopped};
use super::stored::{Stored, tree_pages};

/// Keys that are read and put into their tree together: bounds the memory for their values.
const KEYS_AT_ONCE: usize = 1 << 13;

/// What ranges changed in one space.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Noted {
    /// Every key that was there went first; what is there now was written since.
    cleared: bool,
    keys: BTreeSet<Bytes>,
}

/// What is to be known of the notes that are stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// The ranges they are about.
    pub(super) ranges: Vec<Index>,
    /// How many keys they name.
    pub(super) keys: usize,
}

/// How many keys a range's note names.
pub(super) fn keys_of(spaces: &[SpaceDelta]) -> usize {
    spaces.iter().map(|space| space.writes.len()).sum()
}

/// The note of what a range changed (docs/formats/storage-keys.md).
pub(super) fn encode(spaces: &[SpaceDelta]) -> Vec<u8> {
    let mut note = Vec::new();
    for space in spaces {
        let plugin = space.plugin.as_str().as_bytes();
        note.extend_from_slice(&space.stream.to_bytes());
        // At most 64 bytes, and at most 65,536 keys of at most 1,024.
        note.push(plugin.len() as u8);
        note.extend_from_slice(plugin);
        note.push(u8::from(space.cleared));
        note.extend_from_slice(&(space.writes.len() as u32).to_be_bytes());
        for (key, _) in &space.writes {
            note.extend_from_slice(&(key.len() as u16).to_be_bytes());
            note.extend_from_slice(key);
        }
    }
    note
}

/// Adds what a note says; `None` if it is damaged.
fn decode(note: &Bytes, noted: &mut BTreeMap<Place, Noted>) -> Option<()> {
    let mut rest = note.clone();
    while !rest.is_empty() {
        let stream = Stream::from_bytes(take(&mut rest, 32)?[..].try_into().ok()?);
        let length = number(&mut rest, 1)?;
        let plugin = take(&mut rest, length)?;
        let plugin = PluginId::new(std::str::from_utf8(&plugin).ok()?).ok()?;
        let space = noted.entry((stream, plugin)).or_default();
        match number(&mut rest, 1)? {
            0 => {}
            1 => space.cleared = true,
            _ => return None,
        }
        for _ in 0..number(&mut rest, 4)? {
            let length = number(&mut rest, 2)?;
            space.keys.insert(take(&mut rest, length)?);
        }
    }
    Some(())
}

fn take(rest: &mut Bytes, bytes: usize) -> Option<Bytes> {
    (bytes <= rest.len()).then(|| rest.split_to(bytes))
}

fn number(rest: &mut Bytes, bytes: usize) -> Option<usize> {
    Some(take(rest, bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

/// Brings the pages in memory to what is stored, from the notes.
///
/// # Errors
/// What is stored cannot be read, or the pages do not lead to the stored roots.
pub(super) fn catch_up(stored: &Stored) -> Result<Notes, FollowerError> {
    let (mut noted, mut notes) = (BTreeMap::new(), Notes::default());
    for (first, note) in stored.rows.notes()? {
        decode(&note, &mut noted).ok_or_else(|| damaged("a note of what a range changed"))?;
        notes.ranges.push(first);
    }
    notes.keys = noted.values().map(|space| space.keys.len()).sum();
    // Readers go on with what they have until all is there.
    let behind = Behind { stored: stored.with_pages_of_its_own() };
    for (place, space) in &noted {
        behind.follow(place, space)?;
    }
    if !noted.is_empty() {
        behind.check(&TreeName::OverAll)?;
    }
    stored.pages.take_over(&behind.stored.pages);
    Ok(notes)
}

/// Pages that are of an earlier range than the rows.
struct Behind {
    stored: Stored,
}

impl Behind {
    /// Brings the trees to where a space is.
    fn follow(&self, place: &Place, space: &Noted) -> Result<(), FollowerError> {
        let keys: Vec<&Bytes> = space.keys.iter().collect();
        let mut cleared = space.cleared;
        // A cleared space is one also if nothing was written since.
        for keys in keys.chunks(KEYS_AT_ONCE).chain(keys.is_empty().then_some(&[][..])) {
            let writes = self.writes(place, keys)?;
            let (stream, plugin) = place.clone();
            let states = trees_of(&[SpaceDelta { stream, plugin, cleared, writes }], self);
            self.stored.pages.advance(&tree_pages(states.map_err(|error| stopped(&error))?.trees));
            cleared = false;
        }
        self.check(&TreeName::Of(place.0, place.1.clone()))
    }

    fn writes(&self, (stream, plugin): &Place, keys: &[&Bytes]) -> Result<Vec<Write>, FollowerError> {
        let asked: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        let values = self.stored.state.get_many((*stream, plugin), &asked)?;
        Ok(keys.iter().copied().cloned().zip(values).collect())
    }

    /// Whether a tree's pages are of its stored root now.
    fn check(&self, tree: &TreeName) -> Result<(), FollowerError> {
        let failed = |error: StateError| stopped(&HostError::from(error));
        if self.root(tree).map_err(failed)? == Trees::root(&self.stored, tree).map_err(failed)? {
            Ok(())
        } else {
            Err(damaged("the pages of a tree do not lead to its root"))
        }
    }
}

impl Trees for Behind {
    fn root(&self, tree: &TreeName) -> Result<StateNode, StateError> {
        match Trees::pages(&self.stored, tree, &[PageId::ROOT])?.pop().flatten() {
            None => Ok(StateNode::EMPTY),
            Some(page) => root_of(&page).map_err(|error| StateError(format!("a root page is damaged: {error}"))),
        }
    }

    fn pages(&self, tree: &TreeName, ids: &[PageId]) -> Result<Vec<Option<Bytes>>, StateError> {
        self.stored.pages(tree, ids)
    }
}

#[cfg(test)]
mod tests;
