//! A chain as far as bytes go: its contract, the keys that pay and that speak for a log, and what they sign.
//!
//! Takes checkpoints, gives calls and raw transactions as the anchor's worker would send them. Nothing runs here; the
//! tests of the worker and of the contract use a real chain.

use k256::ecdsa::SigningKey;
use tally_protocol::anchor::transaction::{SignedTransaction, Transaction};
use tally_protocol::anchor::{Anchor, AnchorCall, AnchorStatement};
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::hash::{self, Address, EcdsaDigest, LogId, NodeHash};
use tally_protocol::key::secp256k1::RecoverableSignature;

/// A key of a chain. Everybody can compute it: for tests only.
#[derive(Debug, Clone)]
pub struct ChainKey(SigningKey);

impl ChainKey {
    /// The key that belongs to a name.
    ///
    /// # Panics
    /// Never: a hash that is no key is not known.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let secret = *hash::leaf(format!("tally-testkit chain key {name}").as_bytes()).as_bytes();
        Self(SigningKey::from_slice(&secret).expect("a hash is below the group's order"))
    }

    /// Its address.
    ///
    /// # Panics
    /// Never: what a key signs recovers.
    #[must_use]
    pub fn address(&self) -> Address {
        let digest = EcdsaDigest::from_bytes([1; 32]);
        self.sign(&digest).signer(&digest).expect("a signature of this key")
    }

    /// Signs a digest; the same digest always gets the same signature (RFC 6979).
    ///
    /// # Panics
    /// Never: the signature has its lower form.
    #[must_use]
    pub fn sign(&self, digest: &EcdsaDigest) -> RecoverableSignature {
        let (signature, id) = self.0.sign_prehash_recoverable(digest.as_bytes()).expect("a digest of 32 bytes");
        let (r, s) = (signature.r().to_bytes().into(), signature.s().to_bytes().into());
        RecoverableSignature::new(r, s, id.is_y_odd()).expect("signatures are made in their lower form")
    }
}

/// A contract on a chain, with both keys in hand.
#[derive(Debug, Clone)]
pub struct TestChain {
    /// The chain (EIP-155).
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
    /// Pays gas.
    pub gas: ChainKey,
    /// Speaks for the logs.
    pub authority: ChainKey,
}

impl TestChain {
    /// Chain number `n`.
    #[must_use]
    pub fn new(n: u64) -> Self {
        let key = |role: &str| ChainKey::named(&format!("{role} of chain {n}"));
        Self { chain_id: n, contract: key("contract").address(), gas: key("gas"), authority: key("authority") }
    }

    /// A log's part of a call: its signed checkpoint.
    #[must_use]
    pub fn anchor(&self, log_id: LogId, note: &str, checkpoint: &Checkpoint, proof: Vec<NodeHash>) -> Anchor {
        let (size, root, note_hash, epoch) = (checkpoint.size, checkpoint.root, hash::note(note), 1);
        let (chain_id, contract) = (self.chain_id, self.contract);
        let statement = AnchorStatement { chain_id, contract, log_id, size, root, note_hash, epoch };
        let signature = self.authority.sign(&statement.digest());
        Anchor { log_id, size, root, note_hash, epoch, proof, signature }
    }

    /// The transaction around a call.
    #[must_use]
    pub fn transaction(&self, call: &AnchorCall, nonce: u64) -> SignedTransaction {
        let transaction = Transaction {
            chain_id: self.chain_id,
            nonce,
            max_priority_fee_per_gas: 1_000_000,
            max_fee_per_gas: 2_000_000_000,
            gas_limit: 200_000,
            to: self.contract,
            value: 0,
            data: call.encode(),
        };
        let signature = self.gas.sign(&transaction.signing_digest());
        transaction.signed(signature)
    }
}
