//! A plugin's own keys: a cache that asks the host once per key and writes once, when the event is accepted.
//!
//! Takes keys and values; gives what was set before anything else. [`State::flush`] writes the changed keys in key order
//! and leaves out what did not change. A range sees the cache, because the changed keys inside it are written first.
//! [`Snapshot`] is the same view for queries, without the writing half.

use alloc::vec::Vec;
use core::ops;

use crate::abi;
use crate::key::{Key, Range};
use crate::rows::{Rows, push_item, split_item};

/// Rows asked of the host at a time: enough for a page of an answer, below every host's bound.
const PAGE_ROWS: u32 = 256;

/// What queries and events can both do, so that a plugin writes its readers once.
pub trait Read {
    /// A key's value.
    fn get(&mut self, key: &Key) -> Option<Vec<u8>>;

    /// One page of a range, at most `limit` rows.
    fn page(&mut self, range: &Range, limit: u32) -> Rows;

    /// The values of many keys, in their order, with one call of the host.
    fn get_many(&mut self, keys: &[Key]) -> Vec<Option<Vec<u8>>>;

    /// Calls `each` with at most `limit` rows of a range, page after page, and gives how many there were.
    fn scan(&mut self, range: &Range, limit: u32, mut each: impl FnMut(&[u8], &[u8])) -> u32
    where
        Self: Sized,
    {
        let mut range = range.clone();
        let mut count = 0;
        while count < limit {
            let wanted = (limit - count).min(PAGE_ROWS);
            let rows = self.page(&range, wanted);
            let mut got = 0;
            let mut last = None;
            for (key, value) in rows.iter() {
                each(key, value);
                got += 1;
                last = Some(key);
            }
            count += got;
            match last {
                Some(last) if rows.is_full() || got == wanted => range = range.after(last),
                _ => break,
            }
        }
        count
    }
}

/// What is known of a key.
#[derive(Clone, Debug)]
struct Slot {
    /// What the plugin sees.
    value: Option<Vec<u8>>,
    /// What the host has; unknown if the key was set without being read.
    stored: Stored,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Stored {
    Same,
    Unknown,
    Was(Option<Vec<u8>>),
}

impl Slot {
    fn is_changed(&self) -> bool {
        match &self.stored {
            Stored::Same => false,
            Stored::Unknown => true,
            Stored::Was(stored) => *stored != self.value,
        }
    }
}

/// The plugin's keys while it handles an event.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// In key order. An event touches tens of keys: a sorted list is a quarter of a tree's code.
    slots: Vec<(Vec<u8>, Slot)>,
}

impl State {
    /// Sets a key.
    pub fn set(&mut self, key: &Key, value: impl Into<Vec<u8>>) {
        self.put(key.as_bytes(), Some(value.into()));
    }

    /// Deletes a key; an absent one is no error.
    pub fn delete(&mut self, key: &Key) {
        self.put(key.as_bytes(), None);
    }

    /// Moves an entry of a secondary index from the key that followed from the old value to the one that follows from
    /// the new; nothing on either side means that there was or is no entry.
    pub fn reindex(&mut self, old: Option<&Key>, new: Option<&Key>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.delete(old);
        }
        if let Some(new) = new {
            self.set(new, Vec::new());
        }
    }

    /// Writes what changed, in key order. The loop of [`crate::export!`] calls it when the event is accepted.
    pub fn flush(&mut self) {
        self.flush_slots(0..self.slots.len());
    }

    /// Where a key is, or where it belongs.
    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.slots.binary_search_by(|(other, _)| other.as_slice().cmp(key))
    }

    fn slot(&self, key: &[u8]) -> Option<&Slot> {
        self.find(key).ok().and_then(|at| self.slots.get(at)).map(|(_, slot)| slot)
    }

    fn learn(&mut self, key: &[u8], value: Option<Vec<u8>>, stored: Stored) {
        if let Err(at) = self.find(key) {
            self.slots.insert(at, (Vec::from(key), Slot { value, stored }));
        }
    }

    fn put(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        match self.find(key) {
            Ok(at) => {
                let slot = &mut self.slots[at].1;
                let before = core::mem::replace(&mut slot.value, value);
                if slot.stored == Stored::Same {
                    slot.stored = Stored::Was(before);
                }
            }
            Err(at) => self.slots.insert(at, (Vec::from(key), Slot { value, stored: Stored::Unknown })),
        }
    }

    fn flush_slots(&mut self, range: ops::Range<usize>) {
        for (key, slot) in &mut self.slots[range] {
            if slot.is_changed() {
                match &slot.value {
                    Some(value) => abi::kv_set(key, value),
                    None => abi::kv_delete(key),
                }
            }
            slot.stored = Stored::Same;
        }
    }
}

impl Read for State {
    fn get(&mut self, key: &Key) -> Option<Vec<u8>> {
        if let Some(slot) = self.slot(key.as_bytes()) {
            return slot.value.clone();
        }
        let value = abi::kv_get(key.as_bytes());
        self.learn(key.as_bytes(), value.clone(), Stored::Same);
        value
    }

    fn page(&mut self, range: &Range, limit: u32) -> Rows {
        let place = |key: &[u8]| self.find(key).unwrap_or_else(|at| at);
        let end = if range.end.is_empty() { self.slots.len() } else { place(&range.end) };
        let start = place(&range.start);
        if start < end {
            self.flush_slots(start..end);
        }
        abi::kv_range(&range.start, &range.end, limit, range.reverse)
    }

    fn get_many(&mut self, keys: &[Key]) -> Vec<Option<Vec<u8>>> {
        let unknown: Vec<&Key> = keys.iter().filter(|key| self.slot(key.as_bytes()).is_none()).collect();
        if !unknown.is_empty() {
            for (key, value) in unknown.iter().zip(many(unknown.iter().copied())) {
                self.learn(key.as_bytes(), value, Stored::Same);
            }
        }
        keys.iter().map(|key| self.slot(key.as_bytes()).and_then(|slot| slot.value.clone())).collect()
    }
}

/// The plugin's keys while it answers a query: as of one moment, and read-only.
#[derive(Debug, Default)]
pub struct Snapshot(());

impl Read for Snapshot {
    fn get(&mut self, key: &Key) -> Option<Vec<u8>> {
        abi::kv_get(key.as_bytes())
    }

    fn page(&mut self, range: &Range, limit: u32) -> Rows {
        abi::kv_range(&range.start, &range.end, limit, range.reverse)
    }

    fn get_many(&mut self, keys: &[Key]) -> Vec<Option<Vec<u8>>> {
        if keys.is_empty() { Vec::new() } else { many(keys.iter()) }
    }
}

fn many<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<Option<Vec<u8>>> {
    let mut list = Vec::new();
    keys.for_each(|key| push_item(&mut list, key.as_bytes()));
    let found = abi::kv_get_many(&list);
    let mut values = Vec::new();
    let mut rest = found.as_slice();
    while let Some((value, after)) = split_item(rest) {
        values.push(value.map(Vec::from));
        rest = after;
    }
    values
}
