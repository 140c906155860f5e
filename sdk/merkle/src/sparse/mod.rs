//! The state tree: a sparse Merkle tree over a plugin's keys, whose root says what is there and what is not.
//!
//! *In scope*: updates in batches, pages of eight levels that a host stores, proofs of presence and absence, and the
//! tree over all plugins' trees. *Out of scope*: where pages lie, who signs a root.
//!
//! A key's path is its hash, 256 bits, most significant first. A subtree without a leaf is [`StateNode::EMPTY`], one
//! with a single leaf *is* that leaf, any other is the hash of its halves. So the root is a function of the final keys
//! and values alone, whatever the order of writes and the cut of batches. For any root whatsoever, honest or not, a
//! key has one answer: two proofs that differ about it are a collision of SHA-256 (`docs/formats/state-root.md`).
//!
//! [`update`] takes the trusted root, the changes and the stored pages, gives the new root and the pages to store;
//! [`prove`] gives a [`StateProof`]; [`StateAnswer`] joins the proof in a plugin's tree with that in the tree over all
//! ([`tree_change`]). Nothing read from a store is believed before its hashes lead to the trusted root.

mod answer;
mod error;
mod page;
mod place;
mod proof;
mod prove;
mod store;
mod update;

pub use answer::{STATE_ANSWER_BYTES_MAX, StateAnswer, tree_change};
pub use error::{PageError, StateProofError, StateTreeError};
pub use page::{PAGE_BYTES_MAX, check_page, root_of};
pub use place::{PAGE_LEVELS, PageId};
pub use proof::{STATE_PROOF_BYTES_MAX, StateEnd, StateProof};
pub use prove::prove;
pub use store::{MemoryPages, PageStore};
pub use update::{CHANGES_MAX, StateChange, StateUpdate, update};

use tally_protocol::hash::{StateKey, StateValue};

pub use tally_protocol::hash::{StateNode, StatesRoot};

/// A key and its value, both as hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateLeaf {
    /// The key's path.
    pub key: StateKey,
    /// The value's hash.
    pub value: StateValue,
}
