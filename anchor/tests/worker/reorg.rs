//! Reorganisations (S-142): what went away comes back as the same bytes, and nothing is called final too early.

use serde_json::json;
use tally_anchor::chain::{Hash32, Level};
use tally_anchor::driver::Worker;
use tally_anchor::error::Halt;
use tally_anchor::ethereum::envelope::Unsigned;
use tally_anchor::ledger::SlotState;
use tally_anchor::signer::{Purpose, Signer as _};
use tally_anchor::source::LogKind;
use tally_anchor::uses::{UseLog, reconcile};

use crate::world::{World, landed_hash, state_of, step_until};

/// Anchors, goes `blocks` on, takes `depth` blocks away, and follows the anchor back into the chain.
async fn comes_back(blocks: u64, depth: u64, expected: &str) {
    let world = World::new().await;
    world.log.grow(3, 0);
    let mut worker = world.worker();
    world.anchor(&mut worker).await;
    if blocks > 0 {
        world.anvil.mine(blocks).await;
    }
    step_until(&mut worker, async |worker| state_of(worker) == expected).await;
    let before = worker.journal().slots().next().unwrap().clone();
    world.anvil.reorg(depth, json!([])).await;
    assert_eq!(world.head(LogKind::Events).await.size.get(), 0, "the reorganisation took the anchor away");
    step_until(&mut worker, async |worker| worker.journal().slots().next().is_some_and(|slot| slot.reorgs == 1)).await;
    let taken_back = world.metrics.chain("test");
    assert_eq!(taken_back.logs["events"].finalized, 0);
    world.anchor(&mut worker).await;
    let after = worker.journal().slots().next().unwrap().clone();
    assert_eq!(after.candidates.len(), 1, "nothing was signed anew");
    assert_eq!(landed_hash(&after.state), landed_hash(&before.state), "the same bytes");
    assert_ne!(after.state.landed().unwrap().block.hash, before.state.landed().unwrap().block.hash);
    assert_eq!(world.metrics.chain("test").signed, 1);
    world.finalize(&mut worker).await;
    assert_eq!(world.head(LogKind::Events).await.seq, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_that_one_block_took_away_comes_back_as_the_same_bytes() {
    comes_back(0, 1, "included").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_that_was_safe_comes_back_from_a_reorganisation_beyond_safe() {
    comes_back(2, 3, "safe").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anchors_of_several_blocks_come_back_in_their_order_from_depth_five() {
    let world = World::new().await;
    // What is taken back is the anchors and two blocks before them, and not the contract.
    world.anvil.mine(5).await;
    let mut worker = world.worker();
    let mut hashes: Vec<Hash32> = Vec::new();
    for _ in 0..3 {
        world.log.grow(2, 1);
        world.anchor(&mut worker).await;
        hashes.push(landed_hash(&worker.journal().slots().next_back().unwrap().state));
    }
    world.anvil.reorg(5, json!([])).await;
    world.anchor(&mut worker).await;
    step_until(&mut worker, async |worker| worker.journal().live().is_none()).await;
    let landed: Vec<Hash32> = worker.journal().slots().map(|slot| landed_hash(&slot.state)).collect();
    assert_eq!(landed, hashes, "the same transactions, in the order of their nonces");
    assert_eq!(world.head(LogKind::Events).await.seq, 3);
    world.finalize(&mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_final_before_the_chain_does() {
    let world = World::new().await;
    world.log.grow(3, 0);
    let mut worker = world.worker();
    world.anchor(&mut worker).await;
    for _ in 0..8 {
        for _ in 0..2 {
            worker.step().await.unwrap();
        }
        let claimed = world.metrics.chain("test").logs["events"].clone();
        let (safe, finalized) =
            (world.head_at(LogKind::Events, Level::Safe).await, world.head_at(LogKind::Events, Level::Finalized).await);
        assert!(claimed.safe <= safe.size.get() && claimed.finalized <= finalized.size.get());
        let closed = worker.journal().open_slots() == 0;
        assert_eq!(closed, finalized.size.get() == 3, "closed exactly when final");
        world.anvil.mine(1).await;
    }
    assert_eq!(worker.journal().open_slots(), 0);
}

/// Another transaction of the same key and nonce, which the worker did not sign.
async fn foreign(world: &World, worker: &Worker) -> String {
    let nonce = worker.journal().slots().next().unwrap().nonce;
    let to = Some(world.gas_key.address());
    let unsigned = Unsigned {
        chain_id: world.config.chain_id,
        nonce,
        tip: 2_000_000_000,
        cap: 100_000_000_000,
        gas: 21_000,
        to,
        input: Vec::new(),
    };
    let signature = world.gas_key.sign(Purpose::Transaction, unsigned.digest()).await.unwrap();
    let (raw, _) = unsigned.signed(&signature, world.gas_key.address()).unwrap();
    format!("0x{}", tally_protocol::hash::hex(&raw))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_transaction_that_wins_the_nonce_halts_the_worker_for_good() {
    let world = World::new().await;
    world.log.grow(3, 0);
    let mut worker = world.worker();
    world.anchor(&mut worker).await;
    let other = foreign(&world, &worker).await;
    world.anvil.reorg(1, json!([[other, 0]])).await;
    step_until(&mut worker, async |worker| worker.journal().halted().is_some()).await;
    assert_eq!(worker.journal().halted(), Some(&Halt::ForeignNonce { nonce: 0 }));
    let status = world.metrics.chain("test");
    assert!(status.halted && status.halts == 1 && status.state == "halted");
    let found = reconcile(&UseLog::in_folder(world.folder.path()), &world.chain(), world.gas_key.address(), 0).await;
    assert_eq!(found.unwrap().len(), 1, "the record of uses finds what nobody logged");
    // A restart is no cure, and a halted worker signs nothing.
    drop(worker);
    world.log.grow(1, 0);
    let mut worker = world.worker();
    let signed = world.gas_key.uses.load(std::sync::atomic::Ordering::SeqCst);
    for _ in 0..10 {
        worker.step().await.unwrap();
    }
    assert!(worker.journal().halted().is_some());
    assert_eq!(world.gas_key.uses.load(std::sync::atomic::Ordering::SeqCst), signed);
    assert!(matches!(worker.journal().slots().next().unwrap().state, SlotState::Submitted));
}
