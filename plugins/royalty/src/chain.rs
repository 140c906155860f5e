//! One digest over every journal: each root commits to all journals before it, so that no entry of a range can change and
//! its roots stay.
//!
//! Takes the root before a journal and the journal as the route `journals` shows it; gives the root after it:
//! `root(0)` is 32 zero bytes, and `root(n + 1) = SHA-256("TALLY_JOURNALS_V1" | root(n) | canonical JSON of journal n)`.
//! A journal costs one hash of its own length, whatever came before it.

use alloc::vec::Vec;

use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Read, State, Table, crypto};

use crate::balance::read;

/// How many journals there are, and the root over them.
pub(crate) const HEAD: Table = Table::new("count/");

const TAG: &[u8] = b"TALLY_JOURNALS_V1";

/// Where the chain ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Head {
    pub(crate) count: u64,
    pub(crate) root: [u8; 32],
}

impl Head {
    fn key() -> Key {
        HEAD.key().u64(0)
    }

    pub(crate) fn load(state: &mut impl Read) -> Self {
        read(state.get(&Self::key()).as_deref(), Self::decode).unwrap_or_default()
    }

    pub(crate) fn store(&self, state: &mut State) {
        state.set(&Self::key(), Writer::new().u64(self.count).id(&self.root).finish());
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        let head = Self { count: row.u64()?, root: row.id()? };
        row.is_empty().then_some(head)
    }

    /// With one journal more, as it is shown.
    pub(crate) fn after(&self, journal: &[u8]) -> Self {
        let mut whole = Vec::with_capacity(TAG.len() + self.root.len() + journal.len());
        whole.extend_from_slice(TAG);
        whole.extend_from_slice(&self.root);
        whole.extend_from_slice(journal);
        Self { count: self.count + 1, root: crypto::sha256(&whole) }
    }
}
