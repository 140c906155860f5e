//! Rows of hashes, whole rows at once.
//!
//! Takes and gives hashes as bytes and as nodes, and the rows above a row. A row's pairs do not depend on each other, so
//! they are hashed in the processor's lanes. Cannot fail on what the callers have measured.

use tally_protocol::hash::{NodeHash, node_many};

use super::HASH_BYTES;

/// One of the hashes in these bytes.
pub(super) fn hash_at(bytes: &[u8], at: usize) -> Option<NodeHash> {
    bytes.as_chunks::<HASH_BYTES>().0.get(at).copied().map(NodeHash::from_bytes)
}

/// All hashes in these bytes, with room for the rows above; `None` when the last is cut.
pub(super) fn hashes_of(bytes: &[u8]) -> Option<Vec<NodeHash>> {
    let (hashes, []) = bytes.as_chunks::<HASH_BYTES>() else {
        return None;
    };
    let mut nodes = Vec::with_capacity(hashes.len() * 2);
    nodes.extend(hashes.iter().copied().map(NodeHash::from_bytes));
    Some(nodes)
}

/// Puts the rows above a row behind it, until one has `top` nodes. Both widths are powers of two.
pub(super) fn extend_rows(nodes: &mut Vec<NodeHash>, top: usize) {
    let mut from = 0;
    while nodes.len() - from > top {
        let (pairs, _) = nodes[from..].as_chunks();
        let above = node_many(pairs.iter().map(|[left, right]| (left, right)));
        from = nodes.len();
        nodes.extend(above);
    }
}
