//! All nodes of one run: the receipts' proofs without a second hash.
//!
//! Takes the frontier and the leaves of a run, moves the frontier past them, and gives every inclusion path of the
//! run at the new size. Each node is hashed once; a path is only gathered. The same nodes go into tiles
//! ([`crate::Edge::append_run`]). How leaves are cut into runs changes no root, tile or path. Cannot fail; asking for
//! an index that is not in the run is the caller's bug.

use tally_protocol::hash::{LeafHash, NodeHash, RootHash, node, node_many};
use tally_protocol::id::{Index, TreeSize};

use crate::error::NodeAbsent;
use crate::frontier::Frontier;
use crate::node::{Sibling, bit_length, peaks, siblings};
use crate::source::NodeSource;

/// The nodes that appending a run made, and what is needed beside them for the run's paths.
#[derive(Debug, Clone)]
pub struct RunTree {
    start: u64,
    size: u64,
    /// Perfect nodes made by this run, level by level; level l holds indexes `start >> l .. size >> l`.
    nodes: Vec<NodeHash>,
    /// Where in `nodes` each level begins.
    offsets: Vec<usize>,
    /// The old tree's peaks by level: the left siblings of the run's first nodes.
    before: [Option<NodeHash>; 64],
    /// The new tree's joined peaks below each level (`None`: nothing below): the right siblings that still change.
    border: Vec<Option<NodeHash>>,
    root: RootHash,
}

impl RunTree {
    /// Appends `leaves` to `frontier` and keeps what that computed. About one hash per leaf, 64 bytes held per leaf.
    #[must_use]
    pub fn extend(frontier: &mut Frontier, leaves: &[LeafHash]) -> Self {
        let start = frontier.size().get();
        let mut tree = Self {
            start,
            size: start + leaves.len() as u64,
            nodes: Vec::with_capacity(leaves.len() * 2 + 64),
            offsets: vec![0],
            before: frontier.peaks_by_level(),
            border: Vec::new(),
            root: frontier.root(),
        };
        if leaves.is_empty() {
            return tree;
        }
        tree.nodes.extend(leaves.iter().map(|leaf| leaf.node()));
        tree.hash_levels();
        *frontier = Frontier::from_peaks(tree.size, tree.new_peaks());
        tree.join_border();
        tree.root = frontier.root();
        tree
    }

    /// The size before the run: the index of its first leaf.
    #[must_use]
    pub const fn start(&self) -> TreeSize {
        TreeSize::new(self.start)
    }

    /// The size after the run.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        TreeSize::new(self.size)
    }

    /// The root after the run.
    #[must_use]
    pub const fn root(&self) -> RootHash {
        self.root
    }

    /// The inclusion path of an appended index at the new size, from the leaf upwards. No hashing.
    ///
    /// # Panics
    /// When `index` is not in `start()..size()`: this tree never had that leaf.
    #[must_use]
    pub fn path(&self, index: Index) -> Vec<NodeHash> {
        let index = self.appended(index);
        let mut path = Vec::with_capacity(bit_length(self.size) as usize);
        path.extend(self.siblings(0, index));
        path
    }

    /// How many hashes at the end of every path of this run are the same for all its leaves ([`shared_path`]).
    ///
    /// [`shared_path`]: Self::shared_path
    #[must_use]
    pub fn shared_path_len(&self) -> usize {
        if self.start == self.size {
            return 0;
        }
        siblings(self.shared_level(), self.start, self.size).count()
    }

    /// The end of every path of this run, sent once for all: the siblings above the lowest node that covers the run.
    #[must_use]
    pub fn shared_path(&self) -> Vec<NodeHash> {
        if self.start == self.size {
            return Vec::new();
        }
        self.siblings(self.shared_level(), self.start).collect()
    }

    /// A path without its shared end.
    ///
    /// # Panics
    /// As [`path`](Self::path).
    #[must_use]
    pub fn own_path(&self, index: Index) -> Vec<NodeHash> {
        let mut path = self.path(index);
        path.truncate(path.len() - self.shared_path_len());
        path
    }

    /// The perfect nodes of `level` that this run completed, in order; the first one's index is `start >> level`.
    #[must_use]
    pub fn completed(&self, level: u32) -> &[NodeHash] {
        let level = level as usize;
        let Some(&from) = self.offsets.get(level) else {
            return &[];
        };
        let to = self.offsets.get(level + 1).copied().unwrap_or(self.nodes.len());
        &self.nodes[from..to]
    }

    fn hash_levels(&mut self) {
        for level in 0..bit_length(self.size) {
            let (first, end) = (self.start >> (level + 1), self.size >> (level + 1));
            let from = self.offsets[level as usize];
            let to = self.nodes.len();
            self.offsets.push(to);
            if first == end {
                continue;
            }
            // The first pair's left half may be a peak of the old tree.
            let mut at = from;
            if let Some(left) = self.before[level as usize] {
                let hash = node(&left, &self.nodes[at]);
                self.nodes.push(hash);
                at += 1;
            }
            let (pairs, _) = self.nodes[at..to].as_chunks();
            let hashes = node_many(pairs.iter().map(|[left, right]| (left, right)));
            self.nodes.extend(hashes);
        }
    }

    fn new_peaks(&self) -> Vec<NodeHash> {
        peaks(self.size).filter_map(|(level, index)| self.perfect(level, index)).collect()
    }

    fn join_border(&mut self) {
        let mut joined: Option<NodeHash> = None;
        for level in 0..=bit_length(self.size) {
            self.border.push(joined);
            if level < u64::BITS && self.size >> level & 1 == 1 {
                let peak = self.perfect(level, (self.size >> level) - 1);
                joined = match (peak, joined) {
                    (Some(left), Some(right)) => Some(node(&left, &right)),
                    (left, right) => left.or(right),
                };
            }
        }
    }

    fn perfect(&self, level: u32, index: u64) -> Option<NodeHash> {
        let first = self.start.checked_shr(level)?;
        if index < first {
            // Left of the run only the old peaks are known.
            return if index + 1 == first { *self.before.get(level as usize)? } else { None };
        }
        self.completed(level).get(usize::try_from(index - first).ok()?).copied()
    }

    fn siblings(&self, from: u32, index: u64) -> impl Iterator<Item = NodeHash> {
        siblings(from, index, self.size).filter_map(|sibling| match sibling {
            Sibling::Perfect { level, index } => self.perfect(level, index),
            Sibling::Border { level } => self.border.get(level as usize).copied().flatten(),
        })
    }

    /// The level of the lowest node whose span, cut at the size, holds the whole run.
    const fn shared_level(&self) -> u32 {
        bit_length(self.start ^ (self.size - 1))
    }

    fn appended(&self, index: Index) -> u64 {
        let index = index.get();
        assert!(
            (self.start..self.size).contains(&index),
            "index {index} is not in the run {}..{}",
            self.start,
            self.size
        );
        index
    }
}

/// The nodes this run made and the old peaks beside them; from an empty frontier that is the whole tree.
impl NodeSource for RunTree {
    type Error = NodeAbsent;

    fn node(&self, level: u32, index: u64) -> Result<NodeHash, NodeAbsent> {
        self.perfect(level, index).ok_or(NodeAbsent { level, index })
    }
}
