//! What has landed, what has gone away, what is final.
//!
//! A slot that is in a block is looked at again each round, the newest alone: while it stands, everything below it stands. When
//! it does not, or at a reconciliation, all are looked at. A block that goes away takes the slot back to `Submitted` with the
//! same bytes; nothing is signed anew for it.

use crate::chain::{Level, Receipt};
use crate::error::AnchorError;
use crate::failpoint;
use crate::ledger::{Landed, Slot, SlotState};

use super::Worker;
use super::observe::Sight;

impl Worker {
    pub(super) async fn settle(&mut self, sight: &Sight, all: bool) -> Result<(), AnchorError> {
        let all = all || !self.newest_stands(sight).await?;
        let slots: Vec<Slot> = self.journal.slots().cloned().collect();
        for slot in slots {
            let landed = slot.state.landed().is_some();
            let used = sight.latest.nonce > slot.nonce;
            if (landed && all) || (!landed && used) {
                self.look_again(sight, slot).await?;
            }
        }
        for nonce in self.journal.slots().map(|slot| slot.nonce).collect::<Vec<_>>() {
            self.raise(sight, nonce).await?;
        }
        Ok(())
    }

    /// Whether the newest slot that landed is still in its block.
    async fn newest_stands(&self, sight: &Sight) -> Result<bool, AnchorError> {
        let Some(slot) = self.journal.slots().rev().find(|slot| slot.state.landed().is_some()) else { return Ok(true) };
        let Some(landed) = slot.state.landed() else { return Ok(true) };
        if sight.latest.nonce <= slot.nonce {
            return Ok(false);
        }
        let receipt = self.parts.chain.receipt(landed.tx_hash, Level::Latest).await?;
        Ok(receipt.is_some_and(|receipt| receipt.block.hash == landed.block.hash))
    }

    /// Finds the slot's candidate in the chain, or takes the slot back.
    async fn look_again(&mut self, sight: &Sight, mut slot: Slot) -> Result<(), AnchorError> {
        for candidate in slot.candidates.iter().rev() {
            let Some(receipt) = self.parts.chain.receipt(candidate.tx_hash, Level::Latest).await? else { continue };
            failpoint::hit("anchor.receipt");
            if slot.state.landed().is_some_and(|landed| landed.block.hash == receipt.block.hash) {
                return Ok(());
            }
            let landed = self.landed(&slot, candidate.tx_hash, &receipt);
            return self.include(slot, landed);
        }
        // Used by whom, if by none of ours, is for the schedule to say after several looks; here only what is certain: with
        // the nonce free again, a reorganisation took the slot's block away.
        if slot.state.landed().is_some() && sight.latest.nonce <= slot.nonce {
            slot.state = SlotState::Submitted;
            slot.reorgs += 1;
            self.count(|status| status.reorgs += 1);
            tracing::warn!(chain = %self.parts.config.name, nonce = slot.nonce, "a reorganisation took an anchor back");
            self.journal.put(slot)?;
        } else if slot.state.landed().is_some() {
            slot.state = SlotState::Submitted;
            self.journal.put(slot)?;
        }
        Ok(())
    }

    fn landed(&self, slot: &Slot, tx_hash: crate::chain::Hash32, receipt: &Receipt) -> Landed {
        // The budget's day is the first in which it was seen, wherever a reorganisation puts it later.
        let first_seen = slot.state.landed().map_or_else(|| self.now(), |landed| landed.seen_ms);
        Landed {
            tx_hash,
            block: receipt.block,
            cost: receipt.cost,
            gas_used: receipt.gas_used,
            succeeded: receipt.succeeded,
            seen_ms: first_seen,
        }
    }

    fn include(&mut self, mut slot: Slot, landed: Landed) -> Result<(), AnchorError> {
        let (succeeded, cost, gas_used) = (landed.succeeded, landed.cost, landed.gas_used);
        slot.state = SlotState::Included(landed);
        self.journal.put(slot)?;
        failpoint::hit("anchor.included");
        self.memory.gas = Some(gas_used.saturating_mul(3) / 2);
        self.count(|status| {
            status.included += u64::from(succeeded);
            status.failed += u64::from(!succeeded);
            status.spent_wei = status.spent_wei.saturating_add(cost);
        });
        if !succeeded {
            tracing::warn!(chain = %self.parts.config.name, "an anchor reverted; the contract's head decides what is next");
        }
        Ok(())
    }

    /// Raises a slot in a block to what the chain's tags say of that block, and closes it when it is final.
    async fn raise(&mut self, sight: &Sight, nonce: u64) -> Result<(), AnchorError> {
        let Some(slot) = self.journal.slot(nonce).cloned() else { return Ok(()) };
        let Some(landed) = slot.state.landed().cloned() else { return Ok(()) };
        let state = if self.stands_at(sight, &slot, &landed, Level::Finalized).await? {
            SlotState::Finalized(landed)
        } else if matches!(slot.state, SlotState::Included(_))
            && self.stands_at(sight, &slot, &landed, Level::Safe).await?
        {
            SlotState::Safe(landed)
        } else {
            return Ok(());
        };
        let closes = matches!(state, SlotState::Finalized(_));
        self.journal.put(Slot { state, ..slot })?;
        if closes {
            failpoint::hit("anchor.finalized");
            self.journal.close(nonce, self.now())?;
            self.count(|status| status.finalized += 1);
        }
        Ok(())
    }

    /// Whether enough providers agree that the slot's transaction is in its block and the block at or below the level's.
    async fn stands_at(&self, sight: &Sight, slot: &Slot, landed: &Landed, level: Level) -> Result<bool, AnchorError> {
        let Some(view) = sight.level(level) else { return Ok(false) };
        if view.nonce <= slot.nonce || view.block.number < landed.block.number {
            return Ok(false);
        }
        let receipt = self.parts.chain.receipt(landed.tx_hash, level).await?;
        Ok(receipt.is_some_and(|receipt| receipt.block.hash == landed.block.hash))
    }
}
