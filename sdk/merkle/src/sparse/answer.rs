//! What one key of one plugin in one stream has, under the root over all: two proofs, one below the other.
//!
//! The tree over all is a state tree too. Its paths are hashes of stream and plugin under a tag of their own, its
//! values the roots of the plugins' trees. An empty tree is not listed, so that "never written" and "all deleted" are
//! one state; a plugin without state is absent there, which the same proof of absence shows.

use tally_protocol::hash::{StateKey, StateNode, StateValue, StatesRoot, state_tree};
use tally_protocol::id::{PluginId, Stream};

use super::error::StateProofError;
use super::proof::{STATE_PROOF_BYTES_MAX, StateProof, take};
use super::update::StateChange;

const VERSION: u8 = 1;
const NO_TREE: u8 = 1;
const IN_TREE: u8 = 2;

/// The longest answer: version, kind, two proofs.
pub const STATE_ANSWER_BYTES_MAX: usize = 2 + 2 * STATE_PROOF_BYTES_MAX;

/// The change of the tree over all that follows from a plugin's new root.
#[must_use]
pub fn tree_change(stream: &Stream, plugin: &PluginId, root: &StateNode) -> StateChange {
    StateChange { key: state_tree(stream, plugin), value: (*root != StateNode::EMPTY).then(|| root.value()) }
}

/// The proof of a key's value, or of its absence, under the root over all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateAnswer {
    /// The plugin has no state in that stream: the proof in the tree over all. Every key is absent.
    NoTree(StateProof),
    /// It has.
    InTree {
        /// The plugin's tree in the tree over all.
        tree: StateProof,
        /// The key in the plugin's tree.
        key: StateProof,
    },
}

impl StateAnswer {
    /// Checks that under this root over all the plugin's key in this stream has this value, or none.
    ///
    /// # Errors
    /// As [`StateProof::verify`], and [`StateProofError::EmptyTree`] for a tree that would not be listed.
    pub fn verify(
        &self,
        root: &StatesRoot,
        stream: &Stream,
        plugin: &PluginId,
        key: &StateKey,
        value: Option<&StateValue>,
    ) -> Result<(), StateProofError> {
        let place = state_tree(stream, plugin);
        match self {
            Self::NoTree(_) if value.is_some() => Err(StateProofError::OtherClaim),
            Self::NoTree(proof) => proof.verify(&root.node(), &place, None),
            Self::InTree { tree, key: proof } => {
                let top = proof.root_of(key, value)?;
                if top == StateNode::EMPTY {
                    return Err(StateProofError::EmptyTree);
                }
                tree.verify(&root.node(), &place, Some(&top.value()))
            }
        }
    }

    /// The answer's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::NoTree(proof) => {
                out.extend_from_slice(&[VERSION, NO_TREE]);
                proof.write(&mut out);
            }
            Self::InTree { tree, key } => {
                out.extend_from_slice(&[VERSION, IN_TREE]);
                tree.write(&mut out);
                key.write(&mut out);
            }
        }
        out
    }

    /// Reads an answer and nothing behind it.
    ///
    /// # Errors
    /// See [`StateProofError`]; what is accepted encodes to the same bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateProofError> {
        let ([version, kind], rest) = take::<2>(bytes)?;
        if *version != VERSION {
            return Err(StateProofError::Version(*version));
        }
        if !(NO_TREE..=IN_TREE).contains(kind) {
            return Err(StateProofError::Kind(*kind));
        }
        let (tree, rest) = StateProof::read(rest)?;
        if *kind == NO_TREE {
            return if rest.is_empty() { Ok(Self::NoTree(tree)) } else { Err(StateProofError::Trailing) };
        }
        Ok(Self::InTree { tree, key: StateProof::decode(rest)? })
    }
}
