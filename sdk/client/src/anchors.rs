//! Anchors: how far chains hold the log, and bundles that prove an event as far as a chain.
//!
//! Takes the contracts and authorities that the caller trusts ([`TrustedChain`]); gives a bundle in which everything that
//! bytes can show was checked against them. That a chain has the transaction no server is asked to say: its own nodes
//! answer that, and the bundle has the call for it. How far chains are ([`Client::anchors`]) is the server's word.

use tally_api::anchor::{AnchorLeaf, AnchorProof, AnchorStatus, EventAnchors};
use tally_protocol::id::Index;
use tally_verify::{AnchorBlock, AnchoredLeaf, AnchoredOutcome, Bundle, BundleAnchor, TrustRoot, TrustedChain};

use crate::client::Client;
use crate::error::ClientError;
use crate::transport::Request;

impl Client {
    /// How far each chain holds the logs. The server's word: what proves it are the chains.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn anchors(&self) -> Result<AnchorStatus, ClientError> {
        self.shared.http.json(&Request::get("/v1/anchors")).await
    }

    /// Everything needed to verify an event offline, with its anchors: there is one on each of these chains, by its
    /// contract and one of its authorities. For an event that no chain holds yet, ask without chains, or later.
    ///
    /// # Errors
    /// A check that does not hold, an anchor that is missing on one of the chains, or see [`ClientError::class`].
    pub async fn anchored_bundle(&self, index: Index, chains: &[TrustedChain]) -> Result<Bundle, ClientError> {
        let bundle = self.bundle(index).await?;
        let path = format!("/v1/events/{index}/anchor");
        let answer: EventAnchors = self.shared.http.json(&Request::get(&path)).await?;
        if (answer.index, answer.leaf_hash) != (bundle.index, bundle.leaf_hash) {
            return Err(ClientError::malformed(&path, "the anchors are of another event"));
        }
        let bundle = bundle.anchored(answer.anchors.into_iter().map(taken).collect());
        let mut trust = TrustRoot::ledger(self.ledger().await?.id());
        trust.chains = chains.to_vec();
        match bundle.verify(&trust).first_failure() {
            Some(failed) => Err(failed.into()),
            None => Ok(bundle),
        }
    }
}

/// An answer's proof as the bundle's member that it is; nothing is checked.
fn taken(proof: AnchorProof) -> BundleAnchor {
    let leaf = |leaf: AnchorLeaf| AnchoredLeaf {
        log_id: leaf.log_id,
        seq: leaf.seq,
        checkpoint: leaf.checkpoint,
        inclusion_path: leaf.inclusion_path,
        call: leaf.call,
    };
    BundleAnchor {
        chain_id: proof.chain_id,
        contract: proof.contract,
        authority: proof.authority,
        transaction: proof.transaction,
        block: proof.block.map(|block| AnchorBlock { number: block.number, hash: block.hash, time: block.time }),
        event: leaf(proof.event),
        outcome: proof.outcome.map(|outcome| AnchoredOutcome { body: outcome.body, leaf: leaf(outcome.leaf) }),
    }
}

#[cfg(test)]
mod tests {
    use tally_protocol::checkpoint::Checkpoint;
    use tally_protocol::hash::{self, BlockHash, LogKind};
    use tally_protocol::id::TreeSize;
    use tally_protocol::time::LogTime;
    use tally_testkit::{TestChain, TestLedger, naive_inclusion_path, naive_root};

    use super::*;

    #[test]
    fn an_answers_proof_has_the_json_of_the_bundles_member() {
        let (world, chain) = (TestLedger::new("tally.test/log", LogTime::from_micros(1)), TestChain::new(5));
        let leaves: Vec<_> = (0..9u8).map(|n| hash::leaf(&[n])).collect();
        let head = Checkpoint::new("tally.test/log", TreeSize::new(9), naive_root(&leaves));
        let log_id = hash::log_id(&world.id(), LogKind::Events);
        let (index, path) = (Index::new(4), naive_inclusion_path(4, &leaves));
        let event = AnchoredLeaf::assemble(log_id, 1, ("note", &head), (leaves[4], index), path);
        let call = tally_protocol::anchor::AnchorCall::One(chain.anchor(log_id, "note", &head, Vec::new()));
        let member = BundleAnchor {
            chain_id: 5,
            contract: chain.contract,
            authority: chain.authority.address(),
            transaction: chain.transaction(&call, 0).encode(),
            block: Some(AnchorBlock { number: 1, hash: BlockHash::from_bytes([1; 32]), time: LogTime::EPOCH }),
            event: event.clone(),
            outcome: Some(AnchoredOutcome { body: vec![1, 2], leaf: event }),
        };
        let bundle = Bundle {
            genesis_entry: world.genesis.encode(),
            verifier_keys: Vec::new(),
            frame: bytes::Bytes::new(),
            index,
            sequence: tally_protocol::id::Sequence::new(1),
            sequenced_at: LogTime::EPOCH,
            agent_public_key: world.receipt_key.public_key(),
            leaf_hash: leaves[4],
            inclusion_path: Vec::new(),
            checkpoint: "note".to_owned(),
            anchors: vec![member.clone()],
        };
        let json: serde_json::Value = serde_json::from_slice(&bundle.encode()).unwrap();
        let proof: AnchorProof = serde_json::from_value(json["anchors"][0].clone()).unwrap();
        assert_eq!(serde_json::to_value(&proof).unwrap(), json["anchors"][0]);
        assert_eq!(taken(proof), member);
    }
}
