//! Proofs of the log (RFC 6962) and of VES commitments.

use serde::{Deserialize, Serialize};
use tally_protocol::hash::{LeafHash, NodeHash, RootHash, VesLeaf, VesNode};
use tally_protocol::id::{Index, Sequence, TreeSize};

use crate::text;

/// That the entry at `index` is in the tree of `size`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inclusion {
    /// Position in the log.
    #[serde(with = "text::number")]
    pub index: Index,
    /// Size of the tree.
    #[serde(with = "text::number")]
    pub size: TreeSize,
    /// The entry's leaf hash, if the caller may see the entry.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::hex_option")]
    pub leaf_hash: Option<LeafHash>,
    /// The tree's root, if a signed checkpoint of exactly this size is at hand.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::hex_option")]
    pub root: Option<RootHash>,
    /// From the leaf upward.
    #[serde(with = "text::hex_list")]
    pub path: Vec<NodeHash>,
}

/// That the tree of `old` is a prefix of the tree of `new`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consistency {
    /// Size of the older tree.
    #[serde(with = "text::number")]
    pub old: TreeSize,
    /// Size of the newer tree.
    #[serde(with = "text::number")]
    pub new: TreeSize,
    /// RFC 6962 section 2.1.2.
    #[serde(with = "text::hex_list")]
    pub path: Vec<NodeHash>,
}

/// That an event is in a VES commitment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VesProofAnswer {
    /// The event's position in its stream.
    #[serde(with = "text::number")]
    pub sequence_number: Sequence,
    /// The commitment.
    #[serde(with = "text::uuid")]
    pub batch_id: [u8; 16],
    /// The commitment's root.
    #[serde(with = "text::hex")]
    pub merkle_root: VesNode,
    /// The VES leaf.
    #[serde(with = "text::hex")]
    pub leaf_hash: VesLeaf,
    /// Position in the commitment, from 0.
    pub leaf_index: u64,
    /// From the leaf upward.
    #[serde(with = "text::hex_list")]
    pub proof_path: Vec<VesNode>,
    /// Per step, whether the running node is the left child.
    pub directions: Vec<bool>,
    /// How many events the commitment has; the path's length follows from it.
    pub leaf_count: u32,
}

/// A VES proof to check. Hex with or without `0x`, in any case, as VES clients send it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VesVerifyRequest {
    /// The VES leaf.
    pub leaf_hash: String,
    /// The commitment's root.
    pub merkle_root: String,
    /// From the leaf upward.
    pub proof_path: Vec<String>,
    /// Position in the commitment, from 0.
    pub leaf_index: u64,
    /// How many events the commitment has. Without it the length of the path decides the depth, and the index must
    /// fit it; with it the length must be exactly the commitment's depth and the index below the count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_count: Option<u32>,
}

/// Whether it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VesVerifyAnswer {
    /// Whether the path leads from the leaf to the root.
    pub valid: bool,
    /// The rule that failed, for a proof that does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The leaf that was checked.
    #[serde(with = "text::hex")]
    pub leaf_hash: VesLeaf,
    /// The root that was checked.
    #[serde(with = "text::hex")]
    pub merkle_root: VesNode,
}
