//! Checkpoints: a log's size and root, signed (C2SP tlog-checkpoint v1.0.0).
//!
//! ```text
//! <origin>
//! <size, decimal>
//! <root, base64>
//! [extension lines]
//! ```
//! is the text of a note whose log signatures carry the origin as their key name. Takes a tree head and signers, gives
//! a note; takes a note and trusted keys, gives the tree head. Fails for every text that is not written exactly so, and
//! for a note that no trusted key of this origin signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hash::{RootHash, empty_root};
use crate::id::TreeSize;
use crate::key::{Signer, SignerError};
use crate::limits::ORIGIN_BYTES_MAX;
use crate::note::{Note, NoteError, VerifierKey, is_key_name};

/// Why a text is not a checkpoint, or a note is not a log's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(NoteError),
    /// Fewer than three lines, an empty line, or no newline at the end.
    #[error("checkpoint is not three or more lines")]
    Lines,
    /// The origin could not be a key name, or is too long.
    #[error("checkpoint has a malformed origin")]
    Origin,
    /// The size is not a plain decimal number below 2^64.
    #[error("checkpoint has a malformed size")]
    Size,
    /// The root is not 32 bytes in base64.
    #[error("checkpoint has a malformed root")]
    Root,
    /// Size 0 with another root than the empty tree's.
    #[error("checkpoint of an empty tree has another root")]
    EmptyRoot,
    /// An extension line is empty or has a control character.
    #[error("checkpoint has a malformed extension line")]
    Extension,
    /// No trusted key that bears the origin's name signed.
    #[error("no trusted key of the checkpoint's origin signed")]
    OtherOrigin,
}

impl From<NoteError> for CheckpointError {
    fn from(error: NoteError) -> Self {
        Self::Note(error)
    }
}

impl From<SignerError> for CheckpointError {
    fn from(error: SignerError) -> Self {
        Self::Note(NoteError::Signer(error))
    }
}

/// A log's tree head.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many entries the tree has.
    pub size: TreeSize,
    /// The tree's root.
    pub root: RootHash,
    /// Further lines without their newlines; the log of events writes none (the format advises against them), that of
    /// outcomes its state root ([`crate::outcome_log`]).
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A tree head without extension lines.
    #[must_use]
    pub fn new(origin: &str, size: TreeSize, root: RootHash) -> Self {
        Self { origin: origin.to_owned(), size, root, extensions: Vec::new() }
    }

    /// Whether this can be a checkpoint; [`Checkpoint::encode`] of one that cannot does not parse again.
    ///
    /// # Errors
    /// `Origin`, `EmptyRoot` or `Extension`.
    pub fn check(&self) -> Result<(), CheckpointError> {
        if !is_key_name(&self.origin) || self.origin.len() > ORIGIN_BYTES_MAX {
            return Err(CheckpointError::Origin);
        }
        if self.size.get() == 0 && self.root != empty_root() {
            return Err(CheckpointError::EmptyRoot);
        }
        let is_line = |line: &String| !line.is_empty() && !line.bytes().any(|c| c < b' ');
        if self.extensions.iter().all(is_line) { Ok(()) } else { Err(CheckpointError::Extension) }
    }

    /// The note's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.as_bytes()));
        for line in &self.extensions {
            out.push_str(line);
            out.push('\n');
        }
        out
    }

    /// Reads a note's text. Who signed it is not asked here; see [`SignedCheckpoint::open`].
    ///
    /// # Errors
    /// The text is anything but what [`Checkpoint::encode`] writes for a checkpoint that passes [`Checkpoint::check`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::Lines);
        let (origin, size, root) = (line()?, line()?, line()?);
        let checkpoint = Self {
            origin: origin.to_owned(),
            size: decimal(size).map(TreeSize::new).ok_or(CheckpointError::Size)?,
            root: RootHash::from_bytes(hash_line(root).ok_or(CheckpointError::Root)?),
            extensions: lines.map(str::to_owned).collect(),
        };
        checkpoint.check()?;
        Ok(checkpoint)
    }
}

/// A decimal number as these formats write it: digits only, no leading zero but in `0`, below 2^64.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// A line that is 32 bytes in canonical base64.
pub(crate) fn hash_line(line: &str) -> Option<[u8; 32]> {
    STANDARD.decode(line).ok()?.try_into().ok()
}

/// A checkpoint with the note that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What the note says.
    pub checkpoint: Checkpoint,
    /// The note, verbatim.
    pub note: String,
}

impl SignedCheckpoint {
    /// Signs a checkpoint with each signer, under the origin as key name.
    ///
    /// # Errors
    /// The checkpoint cannot be one, there is no signer, or a signer refused.
    pub fn sign(checkpoint: Checkpoint, signers: &[&dyn Signer]) -> Result<Self, CheckpointError> {
        checkpoint.check()?;
        if signers.is_empty() {
            return Err(NoteError::NoSignatures.into());
        }
        let mut note = Note::unsigned(&checkpoint.encode())?;
        for signer in signers {
            note.sign(&checkpoint.origin, *signer)?;
        }
        Ok(Self { checkpoint, note: note.format() })
    }

    /// Opens a checkpoint note: at least one of the trusted keys that bear the origin's name signed it, and no
    /// signature by a trusted key is wrong.
    ///
    /// # Errors
    /// Anything else; nothing of the note may then be used.
    pub fn open(note: &str, keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        let parsed = Note::parse(note)?;
        let signed = parsed.verify(keys)?;
        let checkpoint = Checkpoint::parse(parsed.text())?;
        if !signed.iter().any(|key| key.name() == checkpoint.origin) {
            return Err(CheckpointError::OtherOrigin);
        }
        Ok(Self { checkpoint, note: note.to_owned() })
    }
}

#[cfg(test)]
mod tests;
