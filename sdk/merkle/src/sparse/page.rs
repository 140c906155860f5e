//! A page of the tree: eight levels in memory, and their bytes (`docs/formats/state-root.md`).
//!
//! Decoding checks the form, the checksum and the place, and notes what is where; keys, values and hashes stay in the bytes
//! until somebody asks. Encoding copies what an update left alone. Whether the hashes are right is checked by who walks:
//! along the way it goes, from a trusted root.

use tally_protocol::hash::{StateKey, StateNode, StateValue, state_leaf};

use super::StateLeaf;
use super::error::PageError;
use super::place::{PAGE_LEVELS, PageId, goes_right};

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

/// A place of a page in memory. Small, for a page has up to 511: what its bytes say stays there.
#[derive(Debug, Clone, Copy)]
struct Place {
    kind: u8,
    /// Whether an update has changed what is at or below it.
    changed: bool,
    /// Where the page's bytes have it and all below it. Nothing, of a place that an update added.
    from: u16,
    to: u16,
    /// Of an inner slot: where its halves are.
    left: u16,
    right: u16,
    /// Its hash in [`Page::hashes`]; [`STORED`]: as the page's bytes have it.
    hash: u16,
    /// Its leaf in [`Page::leaves`]; [`STORED`]: as the page's bytes have it.
    leaf: u16,
}

/// Not made by an update.
const STORED: u16 = u16::MAX;

/// Eight levels of the tree: bytes as they are stored, what is where in them, and what an update puts over them.
pub(super) struct Page<B> {
    pub(super) id: PageId,
    /// None of a new page.
    stored: Option<B>,
    places: Vec<Place>,
    /// New ones.
    hashes: Vec<StateNode>,
    leaves: Vec<StateLeaf>,
}

/// The slot at the top of every page.
pub(super) const TOP: u32 = 0;

impl<B: AsRef<[u8]>> Page<B> {
    /// A page without a leaf.
    pub(super) fn empty(id: PageId) -> Self {
        Self { id, stored: None, places: vec![Place::new()], hashes: Vec::new(), leaves: Vec::new() }
    }

    fn place(&self, at: u32) -> &Place {
        &self.places[at as usize]
    }

    /// Bytes behind the kind of a stored slot, which the decoder has seen to be there.
    fn bytes<const N: usize>(&self, from: usize) -> &[u8; N] {
        let bytes = self.stored.as_ref().map_or(&[][..], AsRef::as_ref);
        bytes.get(from..).and_then(<[u8]>::first_chunk).expect("a slot is where the decoder found it")
    }

    pub(super) fn slot(&self, at: u32) -> Slot {
        let place = self.place(at);
        match place.kind {
            LEAF if place.leaf == STORED => {
                let from = usize::from(place.from) + 1;
                let (key, value) = (self.bytes(from), self.bytes(from + HASH_BYTES));
                Slot::Leaf(StateLeaf { key: StateKey::from_bytes(*key), value: StateValue::from_bytes(*value) })
            }
            LEAF => Slot::Leaf(self.leaves[usize::from(place.leaf)]),
            INNER => Slot::Inner(u32::from(place.left), u32::from(place.right)),
            LINK => Slot::Link,
            _ => Slot::Empty,
        }
    }

    /// A slot's hash; [`StateNode::ZERO`], which nothing hashes to, where it is not known.
    pub(super) fn hash(&self, at: u32) -> StateNode {
        let place = self.place(at);
        match place.kind {
            _ if place.hash != STORED => self.hashes[usize::from(place.hash)],
            EMPTY => StateNode::EMPTY,
            LEAF => StateNode::ZERO,
            _ => StateNode::from_bytes(*self.bytes(usize::from(place.from) + 1)),
        }
    }

    pub(super) fn is_changed(&self, at: u32) -> bool {
        self.place(at).changed
    }

    pub(super) fn set_hash(&mut self, at: u32, hash: StateNode) {
        let place = &mut self.places[at as usize];
        match self.hashes.get_mut(usize::from(place.hash)) {
            Some(before) => *before = hash,
            None => {
                place.hash = position(self.hashes.len());
                self.hashes.push(hash);
            }
        }
    }

    /// Replaces what stands at a place.
    pub(super) fn change(&mut self, at: u32, slot: Slot, hash: StateNode) {
        let place = &mut self.places[at as usize];
        place.changed = true;
        place.kind = match slot {
            Slot::Empty => EMPTY,
            Slot::Leaf(leaf) => {
                place.leaf = position(self.leaves.len());
                self.leaves.push(leaf);
                LEAF
            }
            Slot::Inner(left, right) => {
                (place.left, place.right) = (position(left as usize), position(right as usize));
                INNER
            }
            Slot::Link => LINK,
        };
        self.set_hash(at, hash);
    }

    /// A new place; who adds it refers to it, and changes it.
    pub(super) fn push(&mut self) -> u32 {
        let at = position(self.places.len());
        self.places.push(Place::new());
        u32::from(at)
    }

    /// Reads the page of this place.
    pub(super) fn decode(id: PageId, stored: B) -> Result<Self, PageError> {
        let mut reader = Reader::new(id, stored.as_ref())?;
        reader.read(id.depth(), 0)?;
        let Reader { body, next, places, .. } = reader;
        if next != body.len() {
            return Err(PageError::Trailing);
        }
        Ok(Self { id, stored: Some(stored), places, hashes: Vec::new(), leaves: Vec::new() })
    }

    /// The page's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let prefix = self.id.prefix();
        let mut out = Vec::with_capacity(HEAD_BYTES + prefix.len() + self.length(TOP) + CRC_BYTES);
        out.extend_from_slice(&[VERSION, prefix.len() as u8]);
        out.extend_from_slice(prefix);
        self.write(&mut out, TOP);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    /// What is stored of an unchanged place, with all below it.
    fn unchanged(&self, place: &Place) -> Option<&[u8]> {
        let bytes = self.stored.as_ref().filter(|_| !place.changed)?;
        bytes.as_ref().get(usize::from(place.from)..usize::from(place.to))
    }

    /// How many bytes [`Page::write`] writes.
    fn length(&self, at: u32) -> usize {
        let place = self.place(at);
        if let Some(bytes) = self.unchanged(place) {
            return bytes.len();
        }
        1 + match self.slot(at) {
            Slot::Empty => 0,
            Slot::Leaf(_) => 2 * HASH_BYTES,
            Slot::Inner(left, right) => HASH_BYTES + self.length(left) + self.length(right),
            Slot::Link => HASH_BYTES,
        }
    }

    fn write(&self, out: &mut Vec<u8>, at: u32) {
        let place = self.place(at);
        if let Some(bytes) = self.unchanged(place) {
            return out.extend_from_slice(bytes);
        }
        out.push(place.kind);
        match self.slot(at) {
            Slot::Empty => {}
            Slot::Leaf(leaf) => {
                out.extend_from_slice(leaf.key.as_bytes());
                out.extend_from_slice(leaf.value.as_bytes());
            }
            Slot::Inner(left, right) => {
                out.extend_from_slice(self.hash(at).as_bytes());
                self.write(out, left);
                self.write(out, right);
            }
            Slot::Link => out.extend_from_slice(self.hash(at).as_bytes()),
        }
    }

    /// The next slot on the way to a key, from an inner one.
    pub(super) fn half(left: u32, right: u32, key: &StateKey, depth: u16) -> (u32, u32) {
        if goes_right(key, depth) { (right, left) } else { (left, right) }
    }
}

impl Place {
    const fn new() -> Self {
        Self { kind: EMPTY, changed: false, from: 0, to: 0, left: 0, right: 0, hash: STORED, leaf: STORED }
    }
}

fn position(at: usize) -> u16 {
    let at = u16::try_from(at).ok().filter(|at| *at != STORED);
    at.expect("a page has at most 511 places and 25,092 bytes, and an update adds a few things for each place at most")
}

/// Finds out what is where in a page's bytes.
struct Reader<'a> {
    /// Without the checksum.
    body: &'a [u8],
    next: usize,
    top: u16,
    prefix: &'a [u8],
    /// Whether nothing can lie below the page.
    is_last: bool,
    places: Vec<Place>,
}

impl<'a> Reader<'a> {
    /// Of a page of this place, behind its head.
    fn new(id: PageId, bytes: &'a [u8]) -> Result<Self, PageError> {
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
        // Enough unless many slots are empty, which take a byte each.
        let places = Vec::with_capacity(rest.len() / (1 + HASH_BYTES) + 2);
        let next = HEAD_BYTES + prefix.len();
        Ok(Self { body, next, top: id.depth(), prefix, is_last: id.is_last(), places })
    }

    /// Reads one slot and what is below it, left before right; `path` is the byte of the path that leads to it from the
    /// page's top. Gives its kind.
    fn read(&mut self, depth: u16, path: u8) -> Result<u8, PageError> {
        let (from, levels) = (self.next, depth - self.top);
        let kind = self.take::<1>()?[0];
        let at = self.places.len();
        self.places.push(Place { kind, from: position(from), ..Place::new() });
        match kind {
            EMPTY if levels > 0 => {}
            // A leaf at the top of any other page would stand in the page above.
            LEAF if levels > 0 || self.top == 0 => {
                let key = self.take::<HASH_BYTES>()?;
                if !self.leads_to(key, levels, path) {
                    return Err(PageError::LeafElsewhere { depth });
                }
                self.take::<HASH_BYTES>()?;
            }
            INNER if levels < PAGE_LEVELS => {
                self.take::<HASH_BYTES>()?;
                let left = self.places.len();
                let left_kind = self.read(depth + 1, path)?;
                let right = self.places.len();
                let right_kind = self.read(depth + 1, path | 0x80 >> levels)?;
                if is_hollow(left_kind, right_kind) {
                    return Err(PageError::Hollow { depth });
                }
                let place = &mut self.places[at];
                (place.left, place.right) = (position(left), position(right));
            }
            LINK if levels == PAGE_LEVELS && !self.is_last => {
                self.take::<HASH_BYTES>()?;
            }
            _ => return Err(PageError::Slot { kind, depth }),
        }
        self.places[at].to = position(self.next);
        Ok(kind)
    }

    /// Whether a key's path begins with the page's prefix and so many bits of this byte.
    fn leads_to(&self, key: &[u8; HASH_BYTES], levels: u16, path: u8) -> bool {
        let (above, below) = key.split_at(self.prefix.len());
        let mask = !0xff_u8.checked_shr(u32::from(levels)).unwrap_or(0);
        above == self.prefix && below.first().map_or(0, |byte| byte & mask) == path
    }

    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], PageError> {
        let taken = self.body.get(self.next..).and_then(<[u8]>::first_chunk).ok_or(PageError::Truncated)?;
        self.next += N;
        Ok(taken)
    }
}

/// Whether two halves together hold fewer than two leaves.
const fn is_hollow(left: u8, right: u8) -> bool {
    matches!((left, right), (EMPTY, EMPTY | LEAF) | (LEAF, EMPTY))
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
        _ => page.hash(TOP),
    })
}
