//! The seam to the logs: the newest published checkpoint of each, and proofs that one continues the other.
//!
//! Takes nothing on trust: a proof is verified here, with the same arithmetic as every verifier, before anything is signed
//! with it. Gives the answer whether the contract's head is a prefix of our log; where it is not, the logs have parted, and
//! nobody but an operator decides what that means.

use std::future::Future;
use std::pin::Pin;

use tally_merkle::verify_consistency;
use tally_protocol::hash::{self, NodeHash, RootHash};
use tally_protocol::id::TreeSize;
use tally_protocol::proof::ConsistencyProof;

pub use tally_protocol::hash::{LogId, LogKind};

/// A log's newest published checkpoint, which is durable by the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Leaves.
    pub size: TreeSize,
    /// Root.
    pub root: RootHash,
    /// The signed note, as published.
    pub note: String,
}

impl Published {
    /// SHA-256 of the note: what the contract's event binds.
    #[must_use]
    pub fn note_hash(&self) -> [u8; 32] {
        *hash::note(&self.note).as_bytes()
    }
}

/// Why the source gave nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// It did not answer; later it may.
    #[error("the log's source is unreachable: {0}")]
    Unreachable(String),
    /// It answered with something else than was asked for.
    #[error("the log's source gave a malformed answer: {0}")]
    Malformed(String),
    /// It has no proof between these sizes: the log is shorter, or forgot.
    #[error("the log's source has no proof from {old} to {new}")]
    NoProof {
        /// From.
        old: TreeSize,
        /// To.
        new: TreeSize,
    },
}

/// Answer of a source.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

/// Where checkpoints and proofs come from.
pub trait LogSource: Send + Sync {
    /// The newest published checkpoint; `None` while the log has none (an outcome log without plugins).
    fn newest(&self, kind: LogKind) -> Answer<'_, Option<Published>>;

    /// The nodes that show the tree of `new` to begin with the tree of `old` (RFC 6962 section 2.1.2).
    fn consistency(&self, kind: LogKind, old: TreeSize, new: TreeSize) -> Answer<'_, Vec<NodeHash>>;
}

/// How a contract's head stands to our log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Divergence {
    /// The chain holds more leaves than the log: the log was truncated.
    #[error("the contract's head is longer than the log")]
    LogIsShorter,
    /// As many leaves, another root.
    #[error("the contract's head has the log's size and another root")]
    OtherRoot,
    /// Fewer leaves, and the log does not begin with them.
    #[error("the contract's head is no prefix of the log")]
    NotAPrefix,
}

/// What following a head gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Continuation {
    /// The log begins with the head; the nodes show it (empty for equal sizes and for an empty head).
    Proven(Vec<NodeHash>),
    /// It does not.
    Diverged(Divergence),
}

/// Whether the log whose newest checkpoint is `newest` begins with the tree (`size`, `root`), with the proof.
///
/// # Errors
/// The source did not answer; nothing is known then.
pub async fn follow<S: LogSource + ?Sized>(
    source: &S,
    kind: LogKind,
    size: TreeSize,
    root: &RootHash,
    newest: &Published,
) -> Result<Continuation, SourceError> {
    if size.get() == 0 {
        return Ok(Continuation::Proven(Vec::new()));
    }
    if size > newest.size {
        return Ok(Continuation::Diverged(Divergence::LogIsShorter));
    }
    if size == newest.size {
        let same = *root == newest.root;
        return Ok(if same { Continuation::Proven(Vec::new()) } else { Continuation::Diverged(Divergence::OtherRoot) });
    }
    let path = source.consistency(kind, size, newest.size).await?;
    let proof = ConsistencyProof { old: size, new: newest.size, path };
    Ok(match verify_consistency(&proof, root, &newest.root) {
        Ok(()) => Continuation::Proven(proof.path),
        Err(_) => Continuation::Diverged(Divergence::NotAPrefix),
    })
}

/// Whether the log begins with a head that was read from a chain: the fence of a node that starts.
///
/// # Errors
/// The source did not answer.
pub async fn is_prefix<S: LogSource + ?Sized>(
    source: &S,
    kind: LogKind,
    size: TreeSize,
    root: &RootHash,
) -> Result<Result<(), Divergence>, SourceError> {
    if size.get() == 0 {
        return Ok(Ok(()));
    }
    let Some(newest) = source.newest(kind).await? else {
        return Ok(Err(Divergence::LogIsShorter));
    };
    Ok(match follow(source, kind, size, root, &newest).await? {
        Continuation::Proven(_) => Ok(()),
        Continuation::Diverged(divergence) => Err(divergence),
    })
}
