//! Who a ledger is and who signs for it: everything follows from the genesis entry.
//!
//! Takes a genesis entry (and what the caller trusts), gives a [`Ledger`] that opens checkpoints. Two keys sign for a
//! ledger of this version: the checkpoint key (published checkpoints) and the receipt key (the receipts' checkpoints);
//! both are named in genesis and both carry the origin as their name.

use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::entry::Genesis;
use tally_protocol::hash::LedgerId;
use tally_protocol::key::PublicKey;
use tally_protocol::note::VerifierKey;
use tally_protocol::outcome_log;

use crate::anchor::TrustedChain;
use crate::report::{Check, CheckFailed};

/// What the caller trusts beforehand. Empty: a bundle proves only that it is whole in itself, and the report says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustRoot {
    /// The ledger's identity (the leaf hash of its genesis entry).
    pub ledger_id: Option<LedgerId>,
    /// Keys one of which must have signed the checkpoint; none: the keys that genesis names.
    pub verifier_keys: Vec<VerifierKey>,
    /// Chains on each of which the event must be anchored, by this contract and one of these authorities; none: what a
    /// bundle says of anchors is checked, and reported as its claim.
    pub chains: Vec<TrustedChain>,
}

impl TrustRoot {
    /// Trusts one ledger by its identity; its keys follow from genesis.
    #[must_use]
    pub const fn ledger(id: LedgerId) -> Self {
        Self { ledger_id: Some(id), verifier_keys: Vec::new(), chains: Vec::new() }
    }

    /// Trusts a key; the ledger is whatever this key signs for.
    #[must_use]
    pub fn key(key: VerifierKey) -> Self {
        Self { ledger_id: None, verifier_keys: vec![key], chains: Vec::new() }
    }

    /// The same, and the event must be anchored on this chain.
    #[must_use]
    pub fn and_chain(mut self, chain: TrustedChain) -> Self {
        self.chains.push(chain);
        self
    }

    /// The trusted keys; if there are none, the ledger's own.
    pub(crate) fn keys_or<'a>(&'a self, own: &'a [VerifierKey]) -> &'a [VerifierKey] {
        if self.verifier_keys.is_empty() { own } else { &self.verifier_keys }
    }
}

/// One of the two logs of a ledger. Their names differ, so no signature under one speaks for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// Of events.
    Events,
    /// Of outcomes.
    Outcomes,
}

/// A ledger as its genesis entry describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    id: LedgerId,
    genesis: Genesis,
    genesis_entry: Vec<u8>,
    keys: Vec<VerifierKey>,
}

impl Ledger {
    /// Reads a genesis entry.
    ///
    /// # Errors
    /// The bytes are not a genesis entry (check `genesis`).
    pub fn from_genesis(entry: &[u8]) -> Result<Self, CheckFailed> {
        let genesis = Genesis::decode(entry).map_err(|error| CheckFailed::new(Check::Genesis, error))?;
        let receipt = verifier_key(&genesis, genesis.receipt_key)?;
        let checkpoint = verifier_key(&genesis, genesis.checkpoint_key)?;
        let keys = if receipt == checkpoint { vec![receipt] } else { vec![receipt, checkpoint] };
        Ok(Self { id: genesis.ledger_id(), genesis_entry: entry.to_vec(), genesis, keys })
    }

    /// The ledger's identity.
    #[must_use]
    pub const fn id(&self) -> LedgerId {
        self.id
    }

    /// The decoded genesis entry.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The genesis entry's bytes.
    #[must_use]
    pub fn genesis_entry(&self) -> &[u8] {
        &self.genesis_entry
    }

    /// The keys that sign for this ledger: the receipt key, then the checkpoint key.
    #[must_use]
    pub fn verifier_keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// The ledger is the trusted one, and the trusted keys are among its own.
    ///
    /// # Errors
    /// Check `ledger_id` or `verifier_keys`.
    pub fn check_trust(&self, trust: &TrustRoot) -> Result<(), CheckFailed> {
        if let Some(trusted) = trust.ledger_id
            && trusted != self.id
        {
            let why = format!("this is ledger {}, the trusted one is {trusted}", self.id);
            return Err(CheckFailed::new(Check::LedgerId, why));
        }
        if let Some(strange) = trust.verifier_keys.iter().find(|key| !self.keys.contains(key)) {
            let why = format!("genesis does not name the trusted key {strange}");
            return Err(CheckFailed::new(Check::VerifierKeys, why));
        }
        Ok(())
    }

    /// Opens a checkpoint: one of this ledger's keys signed it, and its first line is this ledger's origin.
    ///
    /// # Errors
    /// Check `checkpoint_signature`.
    pub fn open_checkpoint(&self, note: &str) -> Result<Checkpoint, CheckFailed> {
        self.open_checkpoint_with(note, &self.keys)
    }

    /// The same, but one of `keys` must have signed it.
    ///
    /// # Errors
    /// Check `checkpoint_signature`.
    pub fn open_checkpoint_with(&self, note: &str, keys: &[VerifierKey]) -> Result<Checkpoint, CheckFailed> {
        let checkpoint = open_checkpoint(note, keys)?;
        if checkpoint.origin != self.genesis.origin {
            return Err(CheckFailed::new(Check::CheckpointSignature, "the checkpoint is of another origin"));
        }
        Ok(checkpoint)
    }

    /// Opens a checkpoint of one of the ledger's logs: one of these of its keys signed it, under that log's name.
    ///
    /// # Errors
    /// Check `checkpoint_signature`.
    pub(crate) fn open_checkpoint_of(
        &self,
        log: Log,
        note: &str,
        keys: &[PublicKey],
    ) -> Result<Checkpoint, CheckFailed> {
        let origin = match log {
            Log::Events => self.genesis.origin.clone(),
            Log::Outcomes => outcome_log::origin(&self.genesis.origin),
        };
        let named = |key: &PublicKey| VerifierKey::new(&origin, *key);
        let keys: Vec<VerifierKey> = keys
            .iter()
            .map(named)
            .collect::<Result<_, _>>()
            .map_err(|error| CheckFailed::new(Check::CheckpointSignature, error))?;
        let checkpoint = open_checkpoint(note, &keys)?;
        if checkpoint.origin != origin {
            return Err(CheckFailed::new(Check::CheckpointSignature, "the checkpoint is of another origin"));
        }
        Ok(checkpoint)
    }

    /// The key that signs published checkpoints.
    ///
    /// # Errors
    /// None for a genesis that was decoded; the name was checked there.
    pub fn checkpoint_key(&self) -> Result<VerifierKey, CheckFailed> {
        verifier_key(&self.genesis, self.genesis.checkpoint_key)
    }

    /// The online key that signs the receipts' checkpoints.
    ///
    /// # Errors
    /// None for a genesis that was decoded; the name was checked there.
    pub fn receipt_key(&self) -> Result<VerifierKey, CheckFailed> {
        verifier_key(&self.genesis, self.genesis.receipt_key)
    }
}

/// Opens a checkpoint note with any of the keys.
///
/// # Errors
/// Check `checkpoint_signature`.
pub fn open_checkpoint(note: &str, keys: &[VerifierKey]) -> Result<Checkpoint, CheckFailed> {
    let opened =
        SignedCheckpoint::open(note, keys).map_err(|error| CheckFailed::new(Check::CheckpointSignature, error))?;
    Ok(opened.checkpoint)
}

fn verifier_key(genesis: &Genesis, key: PublicKey) -> Result<VerifierKey, CheckFailed> {
    VerifierKey::new(&genesis.origin, key).map_err(|error| CheckFailed::new(Check::Genesis, error))
}
