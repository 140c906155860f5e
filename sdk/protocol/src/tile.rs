//! Tiles of the log's tree and bundles of its entries: their names and bytes (C2SP tlog-tiles v0.1.0).
//!
//! A tile is up to 256 consecutive hashes of one level of the tree's every eighth; a bundle holds the entries below one
//! tile of level 0, each behind a big-endian 16-bit length. A partial tile or bundle (`.p/<width>`) is a prefix of the
//! full one. Takes ids and paths, entries and bytes; which hashes a tile holds is `tally-merkle`'s to say. Reading
//! accepts exactly the paths and bundles that writing gives.

use crate::id::{Index, TreeSize};
use crate::limits::{ENTRY_BYTES_MAX, TILE_LEVEL_MAX};

pub use crate::limits::TILE_WIDTH;

const INDEX_BASE: u64 = 1000;

/// Why a path names no tile, or bytes are no bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Not a path of this kind.
    #[error("not a tile path")]
    Path,
    /// A level above 63.
    #[error("tile level is above {TILE_LEVEL_MAX}")]
    Level,
    /// A width of 0 or above 256; a path does not spell out 256.
    #[error("tile width is out of range")]
    Width,
    /// An index beyond 64 bits.
    #[error("tile index is out of range")]
    IndexRange,
    /// The bundle ends within an entry or its length.
    #[error("entry bundle is cut short")]
    BundleTruncated,
    /// The bundle has another number of entries than its width.
    #[error("entry bundle has another number of entries than its width")]
    BundleCount,
    /// An entry of more than 65,535 bytes.
    #[error("entry is longer than {ENTRY_BYTES_MAX} bytes")]
    EntryTooLong,
}

/// A tile of hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// 0 for leaf hashes; a hash of level `l + 1` spans a full tile of level `l`.
    pub level: u8,
    /// Position among the tiles of its level, from 0.
    pub index: u64,
    /// How many hashes, 1 to 256.
    pub width: u16,
}

impl TileId {
    /// A tile.
    ///
    /// # Errors
    /// `Level` or `Width`.
    pub const fn new(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        if level > TILE_LEVEL_MAX {
            return Err(TileError::Level);
        }
        if width == 0 || width > TILE_WIDTH {
            return Err(TileError::Width);
        }
        Ok(Self { level, index, width })
    }

    /// The full tile.
    ///
    /// # Errors
    /// `Level`.
    pub const fn full(level: u8, index: u64) -> Result<Self, TileError> {
        Self::new(level, index, TILE_WIDTH)
    }

    /// Its path below the log's prefix, such as `tile/0/x001/067.p/5`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, place(self.index, self.width))
    }

    /// Reads a path; exactly what [`TileId::path`] writes.
    ///
    /// # Errors
    /// `Path`, `Level`, `Width` or `IndexRange`.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        let (level, rest) = path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(TileError::Path)?;
        let level = small_number(level).ok_or(TileError::Path)?;
        let (index, width) = parse_place(rest)?;
        Self::new(u8::try_from(level).map_err(|_| TileError::Level)?, index, width)
    }

    /// Whether a tree of this size has all the hashes of this tile.
    #[must_use]
    pub fn is_within(&self, size: TreeSize) -> bool {
        let hashes = size.get().checked_shr(8 * u32::from(self.level)).unwrap_or(0);
        is_below(self.index, self.width, hashes)
    }

    /// The tile of this level and index in a tree of this size, as wide as that tree makes it; none if it is empty.
    #[must_use]
    pub fn in_tree(level: u8, index: u64, size: TreeSize) -> Option<Self> {
        let hashes = size.get().checked_shr(8 * u32::from(level)).unwrap_or(0);
        let start = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = hashes.checked_sub(start)?.min(u64::from(TILE_WIDTH));
        Self::new(level, index, u16::try_from(width).ok()?).ok()
    }
}

/// A bundle of entries: those below the level-0 tile of the same index and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryBundleId {
    /// Position among the bundles, from 0.
    pub index: u64,
    /// How many entries, 1 to 256.
    pub width: u16,
}

impl EntryBundleId {
    /// A bundle.
    ///
    /// # Errors
    /// `Width`.
    pub const fn new(index: u64, width: u16) -> Result<Self, TileError> {
        if width == 0 || width > TILE_WIDTH {
            return Err(TileError::Width);
        }
        Ok(Self { index, width })
    }

    /// Its path below the log's prefix, such as `tile/entries/x001/067.p/5`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("tile/entries/{}", place(self.index, self.width))
    }

    /// Reads a path; exactly what [`EntryBundleId::path`] writes.
    ///
    /// # Errors
    /// `Path`, `Width` or `IndexRange`.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        let (index, width) = parse_place(path.strip_prefix("tile/entries/").ok_or(TileError::Path)?)?;
        Self::new(index, width)
    }

    /// Whether a log of this size has all the entries of this bundle.
    #[must_use]
    pub fn is_within(&self, size: TreeSize) -> bool {
        is_below(self.index, self.width, size.get())
    }

    /// Position of the first entry; none if no log is that long.
    #[must_use]
    pub fn first(&self) -> Option<Index> {
        self.index.checked_mul(u64::from(TILE_WIDTH)).map(Index::new)
    }
}

fn is_below(index: u64, width: u16, hashes: u64) -> bool {
    let end = index.checked_mul(u64::from(TILE_WIDTH)).and_then(|start| start.checked_add(u64::from(width)));
    end.is_some_and(|end| end <= hashes)
}

/// The bytes of a bundle: each entry behind its length.
///
/// # Errors
/// `EntryTooLong`; `BundleCount` for no entries or more than 256.
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, TileError> {
    if entries.is_empty() || entries.len() > usize::from(TILE_WIDTH) {
        return Err(TileError::BundleCount);
    }
    let mut out = Vec::with_capacity(entries.iter().map(|entry| 2 + entry.as_ref().len()).sum());
    for entry in entries {
        let length = u16::try_from(entry.as_ref().len()).map_err(|_| TileError::EntryTooLong)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(entry.as_ref());
    }
    Ok(out)
}

/// The entries of a bundle of this width.
///
/// # Errors
/// `BundleTruncated`; `BundleCount` if bytes are left over or the width is out of range.
pub fn decode_bundle(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    if width == 0 || width > TILE_WIDTH {
        return Err(TileError::BundleCount);
    }
    let mut rest = bundle;
    let mut entries = Vec::with_capacity(usize::from(width));
    for _ in 0..width {
        let (length, behind) = rest.split_first_chunk().ok_or(TileError::BundleTruncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, behind) = behind.split_at_checked(length).ok_or(TileError::BundleTruncated)?;
        entries.push(entry);
        rest = behind;
    }
    if rest.is_empty() { Ok(entries) } else { Err(TileError::BundleCount) }
}

/// The end of a path: the index in groups of three digits, all but the last behind an `x`; then a partial width.
fn place(index: u64, width: u16) -> String {
    let mut out = format!("{:03}", index % INDEX_BASE);
    let mut rest = index / INDEX_BASE;
    while rest > 0 {
        out = format!("x{:03}/{out}", rest % INDEX_BASE);
        rest /= INDEX_BASE;
    }
    if width < TILE_WIDTH {
        out.push_str(&format!(".p/{width}"));
    }
    out
}

fn parse_place(text: &str) -> Result<(u64, u16), TileError> {
    let (groups, width) = match text.split_once(".p/") {
        Some((groups, width)) => {
            let width = small_number(width).ok_or(TileError::Path)?;
            if width == 0 || width >= TILE_WIDTH {
                return Err(TileError::Width);
            }
            (groups, width)
        }
        None => (text, TILE_WIDTH),
    };
    let (leading, last) = match groups.rsplit_once('/') {
        Some((leading, last)) => (Some(leading), last),
        None => (None, groups),
    };
    let mut index = 0u64;
    for group in leading.into_iter().flat_map(|leading| leading.split('/')) {
        let digits = group.strip_prefix('x').and_then(three_digits).ok_or(TileError::Path)?;
        if index == 0 && digits == 0 {
            // A leading group of zeros: the index has a shorter spelling.
            return Err(TileError::Path);
        }
        index = push_group(index, digits)?;
    }
    Ok((push_group(index, three_digits(last).ok_or(TileError::Path)?)?, width))
}

fn push_group(index: u64, digits: u64) -> Result<u64, TileError> {
    index.checked_mul(INDEX_BASE).and_then(|index| index.checked_add(digits)).ok_or(TileError::IndexRange)
}

fn three_digits(text: &str) -> Option<u64> {
    let digits = text.len() == 3 && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A decimal number of up to three digits without leading zeros.
fn small_number(text: &str) -> Option<u16> {
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
