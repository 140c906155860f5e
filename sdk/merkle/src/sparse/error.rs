//! What can go wrong with state trees, by who is at fault: the store ([`StateTreeError`], [`PageError`]) or the sender
//! of a proof ([`StateProofError`]). Errors carry positions and kinds, never keys or hashes.

use super::place::PageId;

/// Bytes that are not a page of the state tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Longer than any page, or too short for one.
    #[error("a page of {0} bytes")]
    Length(usize),
    /// A version that this code does not know.
    #[error("unknown page version {0}")]
    Version(u8),
    /// The checksum does not fit the bytes.
    #[error("wrong checksum")]
    Checksum,
    /// The page of another place.
    #[error("the page of another place")]
    Place,
    /// A slot of unknown kind, or of a kind that cannot stand where it stands.
    #[error("a slot of kind {kind} at depth {depth}")]
    Slot {
        /// The slot's first byte.
        kind: u8,
        /// Its depth in the tree.
        depth: u16,
    },
    /// A leaf whose key does not lead to it.
    #[error("a leaf at depth {depth} under another key's path")]
    LeafElsewhere {
        /// The leaf's depth in the tree.
        depth: u16,
    },
    /// An inner slot over fewer than two leaves.
    #[error("an inner slot at depth {depth} over fewer than two leaves")]
    Hollow {
        /// The slot's depth in the tree.
        depth: u16,
    },
    /// The bytes end inside a slot.
    #[error("the page is cut short")]
    Truncated,
    /// Bytes behind the last slot.
    #[error("bytes behind the last slot")]
    Trailing,
}

/// A state tree that could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateTreeError<E> {
    /// The store could not be read.
    #[error("failed to read pages")]
    Store(#[source] E),
    /// A page that must be there is not.
    #[error("{0} is missing")]
    Missing(PageId),
    /// A stored page is damaged.
    #[error("{id} is damaged: {error}")]
    Page {
        /// Which.
        id: PageId,
        /// What is wrong with it.
        error: PageError,
    },
    /// A stored page does not lead to the root it is read under: it is of another version of the tree, or forged.
    #[error("{0} does not belong to this root")]
    OtherRoot(PageId),
    /// Two changes of one key: what the key should be then is not said.
    #[error("two changes of one key")]
    KeyTwice,
    /// More changes than one update takes.
    #[error("{0} changes in one update")]
    TooMany(usize),
}

/// A proof that does not prove what it claims, or bytes that are no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateProofError {
    /// A version that this code does not know.
    #[error("unknown proof version {0}")]
    Version(u8),
    /// An unknown kind of end or answer.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// Deeper than a path has bits.
    #[error("depth {0} is beyond the path")]
    Depth(usize),
    /// The bytes end early.
    #[error("the proof is cut short")]
    Truncated,
    /// Bytes behind the proof.
    #[error("bytes behind the proof")]
    Trailing,
    /// A bit set behind the last level.
    #[error("the bitmap has bits behind the last level")]
    Bitmap,
    /// An empty sibling is written out instead of left out.
    #[error("an empty sibling is written out")]
    EmptyWritten,
    /// The path is longer than the place where it ends: its last sibling is empty.
    #[error("the path does not end where the tree does")]
    TooDeep,
    /// The path ends at a leaf whose key does not lead there.
    #[error("the path ends at a leaf of another place")]
    OtherPlace,
    /// The proof is of presence where absence is claimed, or the other way round.
    #[error("the proof is of the opposite claim")]
    OtherClaim,
    /// The proof leads into an empty tree, which the tree over all does not list.
    #[error("the proof leads into an empty tree")]
    EmptyTree,
    /// The recomputed root is not the given root.
    #[error("recomputed root differs from the given root")]
    RootMismatch,
}
