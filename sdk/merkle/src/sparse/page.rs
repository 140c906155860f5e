//! A page of the tree: eight levels in memory, and their bytes (`docs/formats/state-root.md`).
//!
//! Slots refer to each other by position; a slot's hash stands beside it. Decoding checks the form, the checksum and
//! the place. Whether the hashes are right is checked by who walks: along the way it goes, from a trusted root.

use tally_protocol::hash::{StateKey, StateNode, StateValue, state_leaf};

use super::StateLeaf;
use super::error::PageError;
use super::place::{PAGE_LEVELS, PageId, goes_right, together};

const VERSION: u8 = 1;
const EMPTY: u8 = 0;
const LEAF: u8 = 1;
const INNER: u8 = 2;
const LINK: u8 = 3;

/// Version, prefix length.
const HEAD_BYTES: usize = 2;
const CRC_BYTES: usize = 4;
const HASH_BYTES: usize = 32;
/// The longest page: the longest prefix, every inner slot, a leaf in each slot of the last level.
pub const PAGE_BYTES_MAX: usize = HEAD_BYTES + 31 + 255 * (1 + HASH_BYTES) + 256 * (1 + 2 * HASH_BYTES) + CRC_BYTES;

/// What stands at a place of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// No leaf below.
    Empty,
    /// One leaf below.
    Leaf(StateLeaf),
    /// More, in this page: where the halves stand.
    Inner(u32, u32),
    /// More, in the page below.
    Link,
}

/// Eight levels of the tree.
pub(super) struct Page {
    pub(super) id: PageId,
    slots: Vec<Slot>,
    /// Of each slot; [`StateNode::ZERO`], which nothing hashes to, where it is not known.
    hashes: Vec<StateNode>,
    /// Whether an update has changed what is at or below a slot.
    changed: Vec<bool>,
}

/// The slot at the top of every page.
pub(super) const TOP: u32 = 0;

impl Page {
    /// A page without a leaf.
    pub(super) fn empty(id: PageId) -> Self {
        Self { id, slots: vec![Slot::Empty], hashes: vec![StateNode::EMPTY], changed: vec![false] }
    }

    pub(super) fn slot(&self, at: u32) -> Slot {
        self.slots[at as usize]
    }

    pub(super) fn hash(&self, at: u32) -> &StateNode {
        &self.hashes[at as usize]
    }

    pub(super) fn is_changed(&self, at: u32) -> bool {
        self.changed[at as usize]
    }

    pub(super) fn set_hash(&mut self, at: u32, hash: StateNode) {
        self.hashes[at as usize] = hash;
    }

    /// Replaces what stands at a place.
    pub(super) fn change(&mut self, at: u32, slot: Slot, hash: StateNode) {
        self.slots[at as usize] = slot;
        self.hashes[at as usize] = hash;
        self.changed[at as usize] = true;
    }

    /// A new place; who adds it refers to it.
    pub(super) fn push(&mut self) -> u32 {
        self.add(Slot::Empty, StateNode::EMPTY)
    }

    fn add(&mut self, slot: Slot, hash: StateNode) -> u32 {
        let at = self.slots.len();
        self.slots.push(slot);
        self.hashes.push(hash);
        self.changed.push(false);
        u32::try_from(at).expect("a page holds at most 511 slots, and an update adds fewer than that for each of them")
    }

    /// Reads the page of this place.
    pub(super) fn decode(id: PageId, bytes: &[u8]) -> Result<Self, PageError> {
        if bytes.len() > PAGE_BYTES_MAX {
            return Err(PageError::Length(bytes.len()));
        }
        let Some((body, crc)) = bytes.split_last_chunk::<CRC_BYTES>() else {
            return Err(PageError::Length(bytes.len()));
        };
        let Some((&[version, length], rest)) = body.split_first_chunk::<HEAD_BYTES>() else {
            return Err(PageError::Length(bytes.len()));
        };
        if version != VERSION {
            return Err(PageError::Version(version));
        }
        if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
            return Err(PageError::Checksum);
        }
        let Some((prefix, rest)) = rest.split_at_checked(usize::from(length)) else {
            return Err(PageError::Truncated);
        };
        if prefix != id.prefix() {
            return Err(PageError::Place);
        }
        let slots = rest.len() / (1 + HASH_BYTES) + 2;
        let mut page = Self {
            id,
            slots: Vec::with_capacity(slots),
            hashes: Vec::with_capacity(slots),
            changed: Vec::with_capacity(slots),
        };
        let mut path = [0; 32];
        path[..prefix.len()].copy_from_slice(prefix);
        let mut reader = Reader { rest, path };
        page.read(&mut reader, id.depth())?;
        if reader.rest.is_empty() { Ok(page) } else { Err(PageError::Trailing) }
    }

    /// Reads one slot and what is below it, left before right.
    fn read(&mut self, reader: &mut Reader<'_>, depth: u16) -> Result<u32, PageError> {
        let (top, bottom) = (self.id.depth(), self.id.depth() + PAGE_LEVELS);
        let kind = reader.take::<1>()?[0];
        match kind {
            EMPTY if depth > top => Ok(self.add(Slot::Empty, StateNode::EMPTY)),
            // A leaf at the top of any other page would stand in the page above.
            LEAF if depth > top || top == 0 => {
                let key = StateKey::from_bytes(*reader.take()?);
                if !together(&key, &StateKey::from_bytes(reader.path), depth) {
                    return Err(PageError::LeafElsewhere { depth });
                }
                let value = StateValue::from_bytes(*reader.take()?);
                Ok(self.add(Slot::Leaf(StateLeaf { key, value }), StateNode::ZERO))
            }
            INNER if depth < bottom => {
                let hash = StateNode::from_bytes(*reader.take()?);
                let at = self.add(Slot::Empty, hash);
                let left = self.read(reader, depth + 1)?;
                reader.turn(depth, true);
                let right = self.read(reader, depth + 1)?;
                reader.turn(depth, false);
                if self.is_hollow(left, right) {
                    return Err(PageError::Hollow { depth });
                }
                self.slots[at as usize] = Slot::Inner(left, right);
                Ok(at)
            }
            LINK if depth == bottom && !self.id.is_last() => {
                let hash = StateNode::from_bytes(*reader.take()?);
                Ok(self.add(Slot::Link, hash))
            }
            _ => Err(PageError::Slot { kind, depth }),
        }
    }

    /// Whether two halves together hold fewer than two leaves.
    fn is_hollow(&self, left: u32, right: u32) -> bool {
        matches!(
            (self.slot(left), self.slot(right)),
            (Slot::Empty, Slot::Empty | Slot::Leaf(_)) | (Slot::Leaf(_), Slot::Empty)
        )
    }

    /// The page's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let prefix = self.id.prefix();
        let mut out = Vec::with_capacity(self.slots.len() * (1 + HASH_BYTES) + HEAD_BYTES + prefix.len() + CRC_BYTES);
        out.extend_from_slice(&[VERSION, self.id.prefix().len() as u8]);
        out.extend_from_slice(prefix);
        self.write(&mut out, TOP);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    fn write(&self, out: &mut Vec<u8>, at: u32) {
        match self.slot(at) {
            Slot::Empty => out.push(EMPTY),
            Slot::Leaf(leaf) => {
                out.push(LEAF);
                out.extend_from_slice(leaf.key.as_bytes());
                out.extend_from_slice(leaf.value.as_bytes());
            }
            Slot::Inner(left, right) => {
                out.push(INNER);
                out.extend_from_slice(self.hash(at).as_bytes());
                self.write(out, left);
                self.write(out, right);
            }
            Slot::Link => {
                out.push(LINK);
                out.extend_from_slice(self.hash(at).as_bytes());
            }
        }
    }

    /// The next slot on the way to a key, from an inner one.
    pub(super) fn half(left: u32, right: u32, key: &StateKey, depth: u16) -> (u32, u32) {
        if goes_right(key, depth) { (right, left) } else { (left, right) }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// The path to where the reader is, zero behind it.
    path: [u8; 32],
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], PageError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(PageError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn turn(&mut self, depth: u16, right: bool) {
        let mask = 0x80 >> (depth % 8);
        if let Some(byte) = self.path.get_mut(usize::from(depth / 8)) {
            *byte = if right { *byte | mask } else { *byte & !mask };
        }
    }
}

/// Whether these bytes are a page of this place, as it would be written: form, place and checksum. Its hashes are
/// checked when it is walked under a root.
///
/// # Errors
/// See [`PageError`].
pub fn check_page(id: PageId, bytes: &[u8]) -> Result<(), PageError> {
    Page::decode(id, bytes).map(drop)
}

/// The root of the tree whose root page these bytes are, as they say themselves: to be believed when an update from it has
/// led to a trusted root.
///
/// # Errors
/// See [`PageError`].
pub fn root_of(bytes: &[u8]) -> Result<StateNode, PageError> {
    let page = Page::decode(PageId::ROOT, bytes)?;
    Ok(match page.slot(TOP) {
        Slot::Leaf(leaf) => state_leaf(&leaf.key, &leaf.value),
        _ => *page.hash(TOP),
    })
}
