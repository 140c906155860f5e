//! The last rung: `anchored`.
//!
//! Takes: the size of a head that chains hold for good, from whoever watches them. Gives: the rung. Failure: a size that
//! this node has not published is not taken, because the rung would stand above the one below it; whoever watches says so.

use std::sync::Arc;

use tally_protocol::id::TreeSize;

use crate::shared::Shared;
use crate::watermarks::Rung;

/// The right to raise `anchored`; there is one writer, as for every rung (law 6).
pub struct AnchoredMark(pub(crate) Arc<Shared>);

impl std::fmt::Debug for AnchoredMark {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("AnchoredMark").field(&self.0.watermarks.get(Rung::Anchored)).finish()
    }
}

impl AnchoredMark {
    /// Chains hold a head of this size, whose root is the log's. Says whether the rung is there now, or was already.
    ///
    /// The caller has compared the root with the log's own: the ladder knows sizes only.
    pub fn reach(&mut self, size: TreeSize) -> bool {
        let watermarks = &self.0.watermarks;
        if size > watermarks.get(Rung::Published) {
            return false;
        }
        if size > watermarks.get(Rung::Anchored) {
            watermarks.raise(Rung::Anchored, size);
        }
        true
    }
}
