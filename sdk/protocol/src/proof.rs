//! Proofs as values (RFC 6962 section 2.1), and the `.tlog-proof` file (C2SP tlog-proof, `@v1`).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! [extra <base64>]
//! index <decimal>
//! <base64 hash>                 (zero or more, from the leaf's sibling up)
//!                               (an empty line)
//! <checkpoint note, verbatim>
//! ```
//! Takes and gives values and text; whether a path leads to a root is `tally-merkle`'s to say, whether the checkpoint's
//! signature holds [`crate::checkpoint::SignedCheckpoint::open`]'s.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, CheckpointError, decimal, hash_line};
use crate::hash::NodeHash;
use crate::id::{Index, TreeSize};
use crate::limits::{ENTRY_BYTES_MAX, INCLUSION_PATH_MAX};
use crate::note::{Note, NoteError};

/// The first line of a `.tlog-proof` file.
pub const TLOG_PROOF_HEAD: &str = "c2sp.org/tlog-proof@v1";

/// That the entry at `index` is in the tree of `size` (RFC 6962 section 2.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InclusionProof {
    /// The entry's position.
    pub index: Index,
    /// The tree's size.
    pub size: TreeSize,
    /// Siblings from the leaf upward.
    pub path: Vec<NodeHash>,
}

/// That the tree of `old` is a prefix of the tree of `new` (RFC 6962 section 2.1.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConsistencyProof {
    /// The older tree's size.
    pub old: TreeSize,
    /// The newer tree's size.
    pub new: TreeSize,
    /// The nodes, in the order of the RFC.
    pub path: Vec<NodeHash>,
}

/// Why a text is not a `.tlog-proof`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// The first line is not the format's.
    #[error("not a tlog-proof of version 1")]
    Head,
    /// The extra line is not base64 of 1 to 65,535 bytes.
    #[error("tlog-proof has a malformed extra line")]
    Extra,
    /// The index line is missing or malformed.
    #[error("tlog-proof has a malformed index line")]
    Index,
    /// A path line is not a hash, or there are more than a tree is deep.
    #[error("tlog-proof has a malformed path")]
    Path,
    /// No empty line, so no checkpoint.
    #[error("tlog-proof has no checkpoint")]
    NoCheckpoint,
    /// The checkpoint is not one.
    #[error(transparent)]
    Checkpoint(CheckpointError),
    /// The index lies outside the checkpoint's tree.
    #[error("tlog-proof's index lies outside its checkpoint's tree")]
    Outside,
}

impl From<CheckpointError> for TlogProofError {
    fn from(error: CheckpointError) -> Self {
        Self::Checkpoint(error)
    }
}

impl From<NoteError> for TlogProofError {
    fn from(error: NoteError) -> Self {
        Self::Checkpoint(CheckpointError::Note(error))
    }
}

/// A proof as a file: one entry's index and path, and the checkpoint they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque bytes that nothing authenticates, such as the entry; this log's own files have none.
    pub extra: Option<Vec<u8>>,
    /// The entry's position.
    pub index: Index,
    /// Siblings from the leaf upward.
    pub path: Vec<NodeHash>,
    /// The checkpoint's note, verbatim; not opened.
    pub checkpoint: String,
}

impl TlogProof {
    /// Whether this can be a file; [`TlogProof::encode`] of one that cannot does not parse again.
    ///
    /// # Errors
    /// `Extra`, `Path`, `Checkpoint` or `Outside`.
    pub fn check(&self) -> Result<(), TlogProofError> {
        if self.extra.as_ref().is_some_and(|extra| !(1..=ENTRY_BYTES_MAX).contains(&extra.len())) {
            return Err(TlogProofError::Extra);
        }
        if self.path.len() > INCLUSION_PATH_MAX {
            return Err(TlogProofError::Path);
        }
        let head = Checkpoint::parse(Note::parse(&self.checkpoint)?.text())?;
        if head.size.holds(self.index) { Ok(()) } else { Err(TlogProofError::Outside) }
    }

    /// The file's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = format!("{TLOG_PROOF_HEAD}\n");
        if let Some(extra) = &self.extra {
            out.push_str(&format!("extra {}\n", STANDARD.encode(extra)));
        }
        out.push_str(&format!("index {}\n", self.index));
        for node in &self.path {
            out.push_str(&STANDARD.encode(node.as_bytes()));
            out.push('\n');
        }
        out.push('\n');
        out.push_str(&self.checkpoint);
        out
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The text is anything but what [`TlogProof::encode`] writes for a proof that passes [`TlogProof::check`].
    pub fn parse(file: &str) -> Result<Self, TlogProofError> {
        let body = file.strip_prefix(TLOG_PROOF_HEAD).and_then(|rest| rest.strip_prefix('\n'));
        let (head, checkpoint) =
            body.ok_or(TlogProofError::Head)?.split_once("\n\n").ok_or(TlogProofError::NoCheckpoint)?;
        let mut lines = head.split('\n').peekable();
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            Some(line) => Some(STANDARD.decode(&line["extra ".len()..]).map_err(|_| TlogProofError::Extra)?),
            None => None,
        };
        let index = lines.next().and_then(|line| decimal(line.strip_prefix("index ")?)).ok_or(TlogProofError::Index)?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == INCLUSION_PATH_MAX {
                return Err(TlogProofError::Path);
            }
            path.push(NodeHash::from_bytes(hash_line(line).ok_or(TlogProofError::Path)?));
        }
        let proof = Self { extra, index: Index::new(index), path, checkpoint: checkpoint.to_owned() };
        proof.check()?;
        Ok(proof)
    }
}

#[cfg(test)]
mod tests;
