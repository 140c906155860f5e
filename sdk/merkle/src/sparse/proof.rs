//! A proof of what one key has in a state tree, and its bytes (`docs/formats/state-root.md`).
//!
//! It carries the siblings along the key's path, from the root down, and what stands where the path ends: the key's
//! own leaf, another leaf, or nothing. A verifier brings key and value itself. Every field is bound by the root: what
//! decodes to something else leads elsewhere.

use tally_protocol::hash::{StateKey, StateNode, StateValue, state_leaf, state_node};

use super::StateLeaf;
use super::error::StateProofError;
use super::place::{PATH_BITS, goes_right, together};

const VERSION: u8 = 1;
const PRESENT: u8 = 1;
const NOTHING: u8 = 2;
const OTHER: u8 = 3;

/// The longest proof: version, kind, depth, bitmap, siblings at every level, another leaf.
pub const STATE_PROOF_BYTES_MAX: usize = 4 + 32 + 256 * 32 + 64;

/// What stands where a key's path ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateEnd {
    /// The key's own leaf: the key is present.
    Present,
    /// No leaf: the key is absent.
    Nothing,
    /// The only leaf below that place, of another key: the key is absent.
    Other(StateLeaf),
}

/// The siblings along a key's path, and where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateProof {
    siblings: Vec<StateNode>,
    end: StateEnd,
}

impl StateProof {
    /// From the siblings, the root's child first.
    ///
    /// # Errors
    /// [`StateProofError::Depth`], or [`StateProofError::TooDeep`] when the last sibling is empty: then the place
    /// above it is the one that is empty or a leaf.
    pub fn new(siblings: Vec<StateNode>, end: StateEnd) -> Result<Self, StateProofError> {
        if siblings.len() > usize::from(PATH_BITS) {
            return Err(StateProofError::Depth(siblings.len()));
        }
        if siblings.last() == Some(&StateNode::EMPTY) {
            return Err(StateProofError::TooDeep);
        }
        Ok(Self { siblings, end })
    }

    /// The siblings, the root's child first.
    #[must_use]
    pub fn siblings(&self) -> &[StateNode] {
        &self.siblings
    }

    /// What stands where the path ends.
    #[must_use]
    pub const fn end(&self) -> &StateEnd {
        &self.end
    }

    /// The root to which this proof leads, if the key has this value, or none. Whoever knows the root compares.
    ///
    /// # Errors
    /// [`StateProofError::OtherClaim`] when the proof is not of such a claim at all,
    /// [`StateProofError::OtherPlace`] when it ends at a leaf that cannot stand there.
    pub fn root_of(&self, key: &StateKey, value: Option<&StateValue>) -> Result<StateNode, StateProofError> {
        let end = match (self.end, value) {
            (StateEnd::Present, Some(value)) => state_leaf(key, value),
            (StateEnd::Nothing, None) => StateNode::EMPTY,
            (StateEnd::Other(leaf), None) if leaf.key == *key => return Err(StateProofError::OtherClaim),
            (StateEnd::Other(leaf), None) => {
                if !together(&leaf.key, key, self.depth()) {
                    return Err(StateProofError::OtherPlace);
                }
                state_leaf(&leaf.key, &leaf.value)
            }
            _ => return Err(StateProofError::OtherClaim),
        };
        let levels = (0..self.depth()).zip(&self.siblings).rev();
        Ok(levels.fold(end, |below, (depth, sibling)| {
            if goes_right(key, depth) { state_node(sibling, &below) } else { state_node(&below, sibling) }
        }))
    }

    /// Checks that in the tree with this root the key has this value, or none.
    ///
    /// # Errors
    /// As [`Self::root_of`], or [`StateProofError::RootMismatch`].
    pub fn verify(&self, root: &StateNode, key: &StateKey, value: Option<&StateValue>) -> Result<(), StateProofError> {
        if self.root_of(key, value)? == *root { Ok(()) } else { Err(StateProofError::RootMismatch) }
    }

    fn depth(&self) -> u16 {
        // Checked when it was made.
        u16::try_from(self.siblings.len()).unwrap_or(PATH_BITS)
    }

    /// The proof's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + 32 + self.siblings.len() * 32 + 64);
        self.write(&mut out);
        out
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let kind = match self.end {
            StateEnd::Present => PRESENT,
            StateEnd::Nothing => NOTHING,
            StateEnd::Other(_) => OTHER,
        };
        out.extend_from_slice(&[VERSION, kind]);
        out.extend_from_slice(&self.depth().to_be_bytes());
        let mut bitmap = vec![0u8; self.siblings.len().div_ceil(8)];
        for (at, _) in self.siblings.iter().enumerate().filter(|(_, sibling)| **sibling != StateNode::EMPTY) {
            bitmap[at / 8] |= 0x80 >> (at % 8);
        }
        out.extend_from_slice(&bitmap);
        for sibling in self.siblings.iter().filter(|sibling| **sibling != StateNode::EMPTY) {
            out.extend_from_slice(sibling.as_bytes());
        }
        if let StateEnd::Other(leaf) = self.end {
            out.extend_from_slice(leaf.key.as_bytes());
            out.extend_from_slice(leaf.value.as_bytes());
        }
    }

    /// Reads a proof and nothing behind it.
    ///
    /// # Errors
    /// See [`StateProofError`]; what is accepted encodes to the same bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateProofError> {
        let (proof, rest) = Self::read(bytes)?;
        if rest.is_empty() { Ok(proof) } else { Err(StateProofError::Trailing) }
    }

    /// Reads a proof; gives what is behind it.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), StateProofError> {
        let ([version, kind, high, low], rest) = take::<4>(bytes)?;
        if *version != VERSION {
            return Err(StateProofError::Version(*version));
        }
        if !(PRESENT..=OTHER).contains(kind) {
            return Err(StateProofError::Kind(*kind));
        }
        let depth = usize::from(u16::from_be_bytes([*high, *low]));
        if depth > usize::from(PATH_BITS) {
            return Err(StateProofError::Depth(depth));
        }
        let (bitmap, mut rest) = rest.split_at_checked(depth.div_ceil(8)).ok_or(StateProofError::Truncated)?;
        let is_set = |at: usize| bitmap.get(at / 8).is_some_and(|byte| byte << (at % 8) & 0x80 != 0);
        if (depth..bitmap.len() * 8).any(is_set) {
            return Err(StateProofError::Bitmap);
        }
        let mut siblings = Vec::with_capacity(depth);
        for at in 0..depth {
            siblings.push(if is_set(at) { sibling(&mut rest)? } else { StateNode::EMPTY });
        }
        let end = match *kind {
            PRESENT => StateEnd::Present,
            NOTHING => StateEnd::Nothing,
            _ => {
                let (key, more) = take(rest)?;
                let (value, more) = take(more)?;
                rest = more;
                StateEnd::Other(StateLeaf { key: StateKey::from_bytes(*key), value: StateValue::from_bytes(*value) })
            }
        };
        Ok((Self::new(siblings, end)?, rest))
    }
}

fn sibling(rest: &mut &[u8]) -> Result<StateNode, StateProofError> {
    let (hash, more) = take(rest)?;
    *rest = more;
    let node = StateNode::from_bytes(*hash);
    if node == StateNode::EMPTY { Err(StateProofError::EmptyWritten) } else { Ok(node) }
}

pub(super) fn take<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), StateProofError> {
    bytes.split_first_chunk().ok_or(StateProofError::Truncated)
}
