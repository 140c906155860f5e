//! Where nodes and pages are: bits of a path, and the names of pages.

use core::fmt;

use tally_protocol::hash::StateKey;

/// Levels of the tree in one page: a byte of the path.
pub const PAGE_LEVELS: u16 = 8;

/// Bits of a path.
pub(super) const PATH_BITS: u16 = 256;

/// Bit `depth` of a path: false goes left.
pub(super) fn goes_right(key: &StateKey, depth: u16) -> bool {
    let (byte, bit) = (usize::from(depth / 8), depth % 8);
    key.as_bytes().get(byte).is_some_and(|byte| byte << bit & 0x80 != 0)
}

/// Whether two paths agree in their first `depth` bits.
pub(super) fn together(one: &StateKey, other: &StateKey, depth: u16) -> bool {
    let (whole, rest) = (usize::from(depth / 8), depth % 8);
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let last = |bytes: &[u8; 32]| bytes.get(whole).map_or(0, |byte| byte & !(0xff >> rest));
    one[..whole] == other[..whole] && last(one) == last(other)
}

/// A page's name: the bytes of the path above it, 0 (the root page) to 31 of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId {
    // Zero behind the prefix, so that the derived order is that of the paths, a parent before its children.
    prefix: [u8; 31],
    length: u8,
}

impl PageId {
    /// The page that holds the root.
    pub const ROOT: Self = Self { prefix: [0; 31], length: 0 };

    /// The page below this prefix; none for more than 31 bytes.
    #[must_use]
    pub fn new(prefix: &[u8]) -> Option<Self> {
        let mut id = Self { prefix: [0; 31], length: u8::try_from(prefix.len()).ok()? };
        id.prefix.get_mut(..prefix.len())?.copy_from_slice(prefix);
        Some(id)
    }

    /// The bytes of the path above the page.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.prefix[..usize::from(self.length)]
    }

    /// How many levels of the tree lie above the page.
    #[must_use]
    pub fn depth(&self) -> u16 {
        u16::from(self.length) * PAGE_LEVELS
    }

    /// Whether nothing can lie below this page.
    pub(super) fn is_last(&self) -> bool {
        self.depth() + PAGE_LEVELS == PATH_BITS
    }

    /// The page below this one on the way to a key; none below the last.
    pub(super) fn towards(&self, key: &StateKey) -> Option<Self> {
        key.as_bytes().get(..usize::from(self.length) + 1).and_then(Self::new)
    }
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The prefix would tell about a key; its length is enough to find the damage.
        write!(f, "a page at depth {}", self.depth())
    }
}

impl fmt::Debug for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageId({})", tally_protocol::hash::hex(self.prefix()))
    }
}
