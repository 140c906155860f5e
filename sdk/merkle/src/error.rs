//! What can go wrong with trees, by who is at fault.
//!
//! [`ProofError`]: the proof does not prove it (its sender is wrong or lies). [`TreeError`]: the question has no
//! answer, or the nodes could not be read. [`TileError`]: stored tiles are missing or damaged. [`OutOfStep`]: two
//! parts of one writer disagree about the size. Every error carries positions and lengths only, never hashes.

use tally_protocol::id::{Index, TreeSize};

/// A proof that does not prove what it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree of the claimed size does not hold the claimed index.
    #[error("index {index} is not in a tree of size {size}")]
    IndexBeyondSize {
        /// The claimed position.
        index: u64,
        /// The claimed size (or padded leaf count).
        size: u64,
    },
    /// The older size is larger than the newer one.
    #[error("old size {old} is larger than new size {new}")]
    SizesReversed {
        /// The claimed older size.
        old: u64,
        /// The claimed newer size.
        new: u64,
    },
    /// A proof of many leaves came without leaves: it would prove nothing.
    #[error("a proof of no leaves")]
    NoLeaves,
    /// The leaves of a proof do not rise strictly.
    #[error("index {index} does not rise above the one before it")]
    IndexesUnordered {
        /// The first that does not rise.
        index: u64,
    },
    /// The path has another length than these indexes and this size have in every tree.
    #[error("path has {given} hashes where {expected} are needed")]
    PathLength {
        /// What index and size demand.
        expected: usize,
        /// What came.
        given: usize,
    },
    /// The recomputed root is not the (newer) root.
    #[error("recomputed root differs from the given root")]
    RootMismatch,
    /// The recomputed root of the older tree is not the older root.
    #[error("recomputed old root differs from the given old root")]
    OldRootMismatch,
}

/// A question about a tree that could not be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E> {
    /// The tree of this size does not hold this index.
    #[error("index {index} is not in a tree of size {size}")]
    IndexBeyondSize {
        /// The asked position.
        index: Index,
        /// The asked size.
        size: TreeSize,
    },
    /// The older size is larger than the newer one.
    #[error("old size {old} is larger than new size {new}")]
    SizesReversed {
        /// The asked older size.
        old: TreeSize,
        /// The asked newer size.
        new: TreeSize,
    },
    /// The asked positions do not rise strictly.
    #[error("index {index} does not rise above the one before it")]
    IndexesUnordered {
        /// The first that does not rise.
        index: Index,
    },
    /// The source could not give a node.
    #[error(transparent)]
    Source(#[from] E),
}

/// A tile, or a node inside one, that could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TileError<E> {
    /// A node or tile at or beyond the edge's size was asked for.
    #[error("node {index} of level {level} is not complete at the edge's size {size}")]
    BeyondEdge {
        /// The node's level (a tile's level times eight).
        level: u32,
        /// The node's position in its level.
        index: u64,
        /// The edge's size.
        size: TreeSize,
    },
    /// A full tile that must be stored is not.
    #[error("tile {index} of level {level} is missing")]
    Missing {
        /// The tile's level.
        level: u8,
        /// The tile's position in its level.
        index: u64,
    },
    /// A full tile has not 256 hashes.
    #[error("tile {index} of level {level} is not 8192 bytes long")]
    Malformed {
        /// The tile's level.
        level: u8,
        /// The tile's position in its level.
        index: u64,
    },
    /// The leaves of the last, partial tile are too few or too many.
    #[error("the partial tile has {given} leaves where the size demands {expected}")]
    Tail {
        /// What the size demands.
        expected: usize,
        /// What came.
        given: usize,
    },
    /// Fetching failed.
    #[error("failed to fetch a tile")]
    Fetch(#[source] E),
}

/// A run was offered to an edge of another size than the run starts at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the run starts at {run} but the edge ends at {edge}")]
pub struct OutOfStep {
    /// Where the edge ends.
    pub edge: TreeSize,
    /// Where the run starts.
    pub run: TreeSize,
}

/// A node that a run's tree does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("node {index} of level {level} is not in this run's tree")]
pub struct NodeAbsent {
    /// The node's level.
    pub level: u32,
    /// The node's position in its level.
    pub index: u64,
}

/// Bytes that are not an encoded frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// Fewer than the eight bytes of the size.
    #[error("frontier is shorter than its size field")]
    Short,
    /// A size that no log can have.
    #[error("frontier size {size} is beyond the largest log")]
    Size {
        /// The size read.
        size: u64,
    },
    /// Not one hash per bit set in the size.
    #[error("frontier is {given} bytes long where its size demands {expected}")]
    Length {
        /// What the size demands.
        expected: usize,
        /// What came.
        given: usize,
    },
}
