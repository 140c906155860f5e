//! From what was seen to signed bytes: the authority's word per log, the call, its gas, the transaction.
//!
//! Gives a candidate that is not yet durable and not sent. `None` when it is better to look again: the contract's head moved,
//! the contract is paused, or the exact cost is over budget. A signer that fails pauses signing, longer each time.

use crate::chain::Wei;
use crate::error::{AnchorError, ChainError, Halt, Refusal, Revert};
use crate::ethereum::abi::{self, AnchorPart};
use crate::ethereum::envelope::Unsigned;
use crate::failpoint;
use crate::fees::Fee;
use crate::ledger::{Candidate, Claim};
use crate::signer::{Purpose, Signature, Signer};

use super::observe::{LogSight, Sight, Stands};
use super::{SIGNER_BACKOFF_MAX_MS, Worker};

/// Bytes of a transaction beside its call data, at most: what the bound of the data fee is asked for.
const ENVELOPE_BYTES: u64 = 160;

impl Worker {
    /// A signed candidate for `nonce` with the newest checkpoints of both logs. `replaces`: the slot whose reserve it takes over.
    pub(super) async fn candidate(
        &mut self,
        sight: &Sight,
        nonce: u64,
        fee: Fee,
        replaces: Option<u64>,
    ) -> Result<Option<Candidate>, AnchorError> {
        let Some((parts, claims)) = self.authorised(sight).await? else { return Ok(None) };
        failpoint::hit("anchor.authorised");
        let input = abi::anchor_many(&parts);
        let Some(gas) = self.gas_of(&input).await? else { return Ok(None) };
        let data_fee = self.parts.chain.data_fee(input.len() as u64 + ENVELOPE_BYTES).await?;
        self.memory.data_fee = data_fee;
        if !self.is_within_budget(fee.worst(gas, data_fee), replaces) {
            return Ok(None);
        }
        let config = &self.parts.config;
        let (chain_id, to) = (config.chain_id, Some(config.contract));
        let unsigned = Unsigned { chain_id, nonce, tip: fee.tip, cap: fee.cap, gas, to, input };
        let digest = unsigned.digest();
        let Some(signature) = self.signature(Purpose::Transaction, digest).await? else { return Ok(None) };
        let (raw, tx_hash) = unsigned.signed(&signature, self.account())?;
        self.uses.transaction(digest, nonce, tx_hash, self.now())?;
        failpoint::hit("anchor.signed");
        self.count(|status| status.signed += 1);
        let created_ms = self.now();
        let (cap, tip) = (fee.cap, fee.tip);
        Ok(Some(Candidate { tx_hash, raw, gas, cap, tip, data_fee, created_ms, sent_ms: None, claims }))
    }

    /// Each log that has grown, with the authority's signature. `None` without growth or without a signer.
    async fn authorised(&mut self, sight: &Sight) -> Result<Option<(Vec<AnchorPart>, Vec<Claim>)>, AnchorError> {
        let (mut parts, mut claims) = (Vec::new(), Vec::new());
        for log in &sight.logs {
            let Some((newest, proof)) = growth(log) else { continue };
            let (chain_id, contract, epoch) =
                (self.parts.config.chain_id, self.parts.config.contract, self.parts.config.epoch);
            let note_hash = newest.note_hash();
            let digest =
                abi::authority_digest(chain_id, contract, &log.id, newest.size, &newest.root, &note_hash, epoch);
            let Some(authority) = self.signature(Purpose::Authority, digest).await? else { return Ok(None) };
            let (log_id, size, root) = (log.id, newest.size, newest.root);
            parts.push(AnchorPart { log_id, size, root, note_hash, epoch, proof: proof.to_vec(), authority });
            claims.push(Claim { log_id, prev_size: log.head.size, size, root, note_hash });
        }
        Ok((!parts.is_empty()).then_some((parts, claims)))
    }

    /// A quarter more than the chain's estimate. A revert of the estimate is the contract's answer before any gas is paid.
    async fn gas_of(&mut self, input: &[u8]) -> Result<Option<u64>, AnchorError> {
        let gas_max = self.parts.config.fees.gas_max;
        match self.parts.chain.estimate(self.account(), input.to_vec()).await {
            Ok(gas) if gas <= gas_max => Ok(Some(gas.saturating_add(gas / 4).min(gas_max))),
            Ok(_) => self.refused("the call takes more than fees.gas_max"),
            Err(ChainError::Refused(Refusal::Reverted(revert))) => self.on_revert(&revert),
            Err(ChainError::Refused(Refusal::InsufficientFunds)) => {
                self.count(|status| status.balance_alarm = true);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn on_revert(&mut self, revert: &Revert) -> Result<Option<u64>, AnchorError> {
        match revert {
            // Somebody, perhaps we, has anchored since the head was read; or a provider is a block behind: look again.
            Revert::SizeNotGrowing | Revert::Named("BadConsistency") | Revert::Unknown(_) => {
                self.refused("the head moved")
            }
            // The guardian's decision: wait for the admin's.
            Revert::Paused => self.refused("the contract is paused"),
            Revert::EpochFell => self.halt(Halt::Superseded).map(|()| None),
            Revert::Named(_) => self.halt(Halt::Refused { revert: revert.to_string() }).map(|()| None),
        }
    }

    fn refused(&self, why: &str) -> Result<Option<u64>, AnchorError> {
        tracing::warn!(chain = %self.parts.config.name, why, "the contract would refuse the anchor now");
        self.count(|status| status.errors += 1);
        Ok(None)
    }

    fn is_within_budget(&self, worst: Wei, replaces: Option<u64>) -> bool {
        let spent = self.journal.spent(self.now(), replaces);
        spent.saturating_add(worst) <= self.parts.config.fees.budget()
    }

    /// A checked signature, recorded before and after. `None`, and a pause, when the signer gave none.
    async fn signature(&mut self, purpose: Purpose, digest: [u8; 32]) -> Result<Option<Signature>, AnchorError> {
        let key: &dyn Signer = match purpose {
            Purpose::Transaction => &*self.parts.gas_key,
            Purpose::Authority => &*self.parts.authority,
        };
        match self.uses.sign(key, purpose, digest, self.parts.clock.now_ms()).await {
            Ok(signature) => {
                (self.memory.signer_away_until_ms, self.memory.signer_backoff_ms) = (None, 0);
                Ok(Some(signature))
            }
            Err(AnchorError::Signer(error)) => {
                let key = key.describe();
                tracing::error!(chain = %self.parts.config.name, %key, %error, "the signer gave no signature; anchoring pauses");
                self.pause_signing();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn pause_signing(&mut self) {
        let backoff = self.memory.signer_backoff_ms.saturating_mul(2);
        self.memory.signer_backoff_ms =
            backoff.clamp(self.parts.config.poll_ms, SIGNER_BACKOFF_MAX_MS.max(self.parts.config.poll_ms));
        self.memory.signer_away_until_ms = Some(self.now() + self.memory.signer_backoff_ms);
        self.count(|status| (status.signer_alarm, status.errors) = (true, status.errors + 1));
    }
}

/// The newest checkpoint and its proof, if the log has grown beyond its head.
fn growth(log: &LogSight) -> Option<(&crate::source::Published, &[tally_protocol::hash::NodeHash])> {
    let newest = log.newest.as_ref().filter(|newest| newest.size > log.head.size)?;
    match &log.stands {
        Stands::Continues(proof) => Some((newest, proof)),
        Stands::Diverged(_) => None,
    }
}
