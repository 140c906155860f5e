//! What can go wrong, and what to do about it.
//!
//! One enum for the crate, one for a chain's answers. [`AnchorError::class`] says who acts: nobody (retry), an operator
//! (fatal), or the caller (reject).

use std::path::PathBuf;

use crate::signer::SignerError;
use crate::source::{Divergence, SourceError};

/// Who acts upon an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// What was asked for is wrong: configuration, arguments.
    Reject,
    /// Passes by itself: the worker tries again.
    Retry,
    /// An operator has to look.
    Fatal,
}

/// Why a node of a chain refused a transaction or a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The nonce was used up by a block.
    NonceTooLow,
    /// A replacement that pays too little more.
    Underpriced,
    /// The price is below what the node takes now.
    FeeTooLow,
    /// The account cannot pay.
    InsufficientFunds,
    /// The contract says no: the error's name with its arguments, or the raw bytes in hex.
    Reverted(Revert),
    /// Anything else: JSON-RPC code and message.
    Other(i64, String),
}

/// A revert of the anchor contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revert {
    /// The head already has this size or more: somebody has anchored.
    SizeNotGrowing,
    /// A worker with a higher epoch has anchored: we are the zombie.
    EpochFell,
    /// The contract is paused.
    Paused,
    /// Another error of the contract, by name.
    Named(&'static str),
    /// Bytes nobody knows, in hex.
    Unknown(String),
}

impl std::fmt::Display for Revert {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SizeNotGrowing => formatter.write_str("SizeNotGrowing"),
            Self::EpochFell => formatter.write_str("EpochFell"),
            Self::Paused => formatter.write_str("Paused"),
            Self::Named(name) => formatter.write_str(name),
            Self::Unknown(bytes) => write!(formatter, "0x{bytes}"),
        }
    }
}

/// Why a chain gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No provider answered, or too few.
    #[error("{answered} of the {needed} providers that are needed answered: {why}")]
    Unreachable {
        /// How many did.
        answered: usize,
        /// How many must.
        needed: usize,
        /// What the last one did instead.
        why: String,
    },
    /// Providers contradict each other about what must be the same for all.
    #[error("the providers disagree about {0}")]
    Disagreement(&'static str),
    /// A provider answered with something that is no answer.
    #[error("a provider gave a malformed answer to {0}")]
    Malformed(&'static str),
    /// The node refused.
    #[error("the chain refused: {0:?}")]
    Refused(Refusal),
}

/// Why the worker does not go on until an operator clears it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "halt")]
pub enum Halt {
    /// A nonce of ours was used by a transaction that we did not sign: the key is shared or stolen.
    #[error("nonce {nonce} was used by a transaction this worker did not sign")]
    ForeignNonce {
        /// Which nonce.
        nonce: u64,
    },
    /// The contract's head is not a prefix of our log.
    #[error("log {log}: {why}")]
    Diverged {
        /// Which log: "events" or "outcomes".
        log: String,
        /// In what way.
        why: Divergence,
    },
    /// The contract has seen a higher epoch: another worker has taken over.
    #[error("another worker with a higher epoch has taken over")]
    Superseded,
    /// The contract refuses what this worker does, and would again.
    #[error("the contract refuses: {revert}")]
    Refused {
        /// The contract's error.
        revert: String,
    },
}

/// Errors of the anchor.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The configuration contradicts itself.
    #[error("the anchor's configuration is wrong: {0}")]
    Config(String),
    /// This is another chain than configured (S-145).
    #[error("the provider's chain id is {found}, not {expected}")]
    WrongChain {
        /// Configured.
        expected: u64,
        /// Read.
        found: u64,
    },
    /// The contract is absent or another one (S-145).
    #[error("the contract's code is not the expected one")]
    WrongContract,
    /// Another worker holds the folder.
    #[error("another worker runs on {0}")]
    Locked(PathBuf),
    /// A file of the journal is not what this worker wrote; nothing is guessed.
    #[error("the journal's file {file} is damaged: {why}")]
    Damaged {
        /// Which.
        file: PathBuf,
        /// In what way.
        why: &'static str,
    },
    /// The folder cannot be written or read.
    #[error("failed to {what} {file}: {source}")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// On which file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The worker is halted.
    #[error("halted: {0}")]
    Halted(Halt),
    /// A chain's answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A signer's answer.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The log source's answer.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An operator's transaction reverted or did not come through.
    #[error("{0}")]
    Operation(String),
}

impl AnchorError {
    /// Who acts.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Config(_) | Self::WrongChain { .. } | Self::WrongContract | Self::Locked(_) => Class::Reject,
            Self::Chain(_) | Self::Source(_) | Self::Signer(_) => Class::Retry,
            Self::Damaged { .. } | Self::Disk { .. } | Self::Halted(_) | Self::Operation(_) => Class::Fatal,
        }
    }
}
