//! Transactions that do not get into a block (S-144): dropped, too cheap, unaffordable, or the chain stands still.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tally_anchor::deploy::Operator;
use tally_anchor::driver::Worker;
use tally_anchor::ledger::Candidate;
use tally_anchor::signer::Signer as _;
use tally_anchor::source::LogKind;

use crate::world::{ETHER, ManualClock, PATIENCE, World, key, state_of, step_until};

async fn stuck(world: &mut World) -> (Worker, Arc<ManualClock>) {
    world.config.fees.target_ms = 10_000;
    world.config.replace_after_ms = 10_000;
    world.anvil.automine(false).await;
    world.log.grow(3, 1);
    let clock = ManualClock::now();
    let mut worker = world.worker_with(&clock);
    step_until(&mut worker, async |worker| state_of(worker) == "submitted").await;
    (worker, clock)
}

fn candidates(worker: &Worker) -> Vec<Candidate> {
    worker.journal().slots().next().unwrap().candidates.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_anchor_climbs_the_ladder_with_the_newest_checkpoint_and_lands_once() {
    let mut world = World::new().await;
    let (mut worker, clock) = stuck(&mut world).await;
    for round in 1..=4 {
        world.log.grow(10, 1);
        let before = candidates(&worker).len();
        for _ in 0..10 {
            clock.advance(5_000);
            worker.step().await.unwrap();
            if candidates(&worker).len() > before {
                break;
            }
        }
        assert!(candidates(&worker).len() > before, "round {round} raised");
    }
    let ladder = candidates(&worker);
    for pair in ladder.windows(2) {
        assert!(pair[0].fee().is_replaced_by(&pair[1].fee()), "a tenth more on both fields");
        assert!(pair[1].cap * 8 >= pair[0].cap * 9, "an eighth more");
        assert!(pair[1].cap <= u128::from(world.config.fees.cap_max_wei));
    }
    let newest = ladder.last().unwrap();
    assert_eq!(
        newest.claims[0].size.get(),
        world.log.size(LogKind::Events),
        "the last candidate has the newest checkpoint"
    );
    assert_eq!(worker.journal().open_slots(), 1, "one nonce for all of them");
    world.anvil.mine(1).await;
    world.anvil.automine(true).await;
    world.anchor(&mut worker).await;
    assert_eq!(world.anvil.nonce(world.gas_key.address()).await, 1);
    assert_eq!(world.head(LogKind::Events).await.seq, 1);
    world.finalize(&mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ladder_ends_at_the_days_budget() {
    let mut world = World::new().await;
    // Enough for the first offer and little more.
    world.config.fees.budget_gwei_per_day = 1_200_000 * 3;
    let (mut worker, clock) = stuck(&mut world).await;
    for _ in 0..60 {
        clock.advance(10_000);
        worker.step().await.unwrap();
        let status = world.metrics.chain("test");
        assert!(status.spent_today_wei <= world.config.fees.budget(), "{status:?}");
    }
    let offers = candidates(&worker);
    let worst = offers.last().unwrap().worst();
    let next = worst + worst / 8;
    assert!(next > world.config.fees.budget(), "it stopped for the budget and for nothing else: {offers:?}");
    world.anvil.mine(1).await;
    world.anvil.automine(true).await;
    world.anchor(&mut worker).await;
    assert!(worker.journal().spent(0, None) <= world.config.fees.budget());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_transaction_is_sent_again_as_the_same_bytes() {
    let mut world = World::new().await;
    let (mut worker, clock) = stuck(&mut world).await;
    let sent = candidates(&worker)[0].clone();
    world.anvil.call("anvil_dropTransaction", json!([sent.tx_hash.to_string()])).await;
    clock.advance(1_000);
    worker.step().await.unwrap();
    let pooled = world.anvil.call("eth_getTransactionByHash", json!([sent.tx_hash.to_string()])).await;
    assert!(!pooled.is_null(), "it is in the pool again");
    assert_eq!(candidates(&worker), [Candidate { sent_ms: candidates(&worker)[0].sent_ms, ..sent }]);
    world.anvil.mine(1).await;
    world.anvil.automine(true).await;
    world.anchor(&mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_fee_that_rises_above_the_offer_is_followed_by_the_ladder() {
    let mut world = World::new().await;
    let (mut worker, clock) = stuck(&mut world).await;
    let offer = candidates(&worker)[0].clone();
    // The pool is emptied and the next block is too dear for what was signed.
    world.anvil.call("anvil_dropTransaction", json!([offer.tx_hash.to_string()])).await;
    world.anvil.call("anvil_setNextBlockBaseFeePerGas", json!([format!("0x{:x}", offer.cap * 3)])).await;
    world.anvil.mine(1).await;
    step_until(&mut worker, async |worker| {
        clock.advance(5_000);
        candidates(worker).last().unwrap().cap > offer.cap * 3
    })
    .await;
    step_until(&mut worker, async |_| {
        clock.advance(5_000);
        world.anvil.mine(1).await;
        world.is_anchored().await
    })
    .await;
    assert_eq!(world.anvil.nonce(world.gas_key.address()).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_account_is_an_alarm_and_not_an_end() {
    let world = World::new().await;
    world.anvil.set_balance(world.gas_key.address(), 1_000).await;
    world.log.grow(3, 0);
    let mut worker = world.worker();
    for _ in 0..5 {
        worker.step().await.unwrap();
    }
    let status = world.metrics.chain("test");
    assert!(status.balance_alarm && !status.halted, "{status:?}");
    assert_eq!(worker.journal().open_slots(), 0);
    world.anvil.set_balance(world.gas_key.address(), ETHER).await;
    world.anchor(&mut worker).await;
    worker.step().await.unwrap();
    assert!(!world.metrics.chain("test").balance_alarm);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_days_budget_the_anchor_waits_for_the_next_day_and_covers_everything() {
    let mut world = World::new().await;
    world.config.fees.budget_gwei_per_day = 1;
    let clock = ManualClock::now();
    let mut worker = world.worker_with(&clock);
    world.log.grow(3, 0);
    for _ in 0..5 {
        worker.step().await.unwrap();
        world.log.grow(1, 1);
    }
    assert_eq!(world.metrics.chain("test").why, "the day's budget is used up");
    assert_eq!(world.anvil.nonce(world.gas_key.address()).await, 0);
    drop(worker);
    // The operator raises it.
    world.config.fees.budget_gwei_per_day = 5_000_000_000;
    let mut worker = world.worker_with(&clock);
    world.anchor(&mut worker).await;
    assert_eq!(world.anvil.nonce(world.gas_key.address()).await, 1, "one transaction for all that waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_that_reverts_in_its_block_is_counted_paid_and_made_good_by_the_next() {
    let mut world = World::new().await;
    let (mut worker, _clock) = stuck(&mut world).await;
    // The guardian's transaction is in the same block, before the anchor: what was estimated is no longer so.
    let (chain, config, guardian, admin) = (world.chain(), world.config.clone(), key("guardian"), key("admin"));
    let pausing = async {
        let mut config = config.clone();
        config.fees.tip_min_wei = 3_000_000_000;
        Operator::new(&chain, &config, &*guardian, PATIENCE).await.unwrap().pause(true).await.unwrap();
    };
    let mining = async {
        let pending = async || world.anvil.call("txpool_status", json!([])).await["pending"] == "0x2";
        while !pending().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world.anvil.mine(1).await;
    };
    tokio::join!(pausing, mining);
    world.anvil.automine(true).await;
    step_until(&mut worker, async |_| world.metrics.chain("test").failed == 1).await;
    let slot = worker.journal().slots().next().unwrap();
    assert!(slot.state.landed().is_some_and(|landed| !landed.succeeded && landed.cost > 0));
    Operator::new(&chain, &config, &*admin, PATIENCE).await.unwrap().pause(false).await.unwrap();
    let clock = ManualClock::now();
    drop(worker);
    let mut worker = world.worker_with(&clock);
    world.anchor(&mut worker).await;
    assert_eq!(world.anvil.nonce(world.gas_key.address()).await, 2);
    world.finalize(&mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fee_of_the_layer_below_is_asked_for_and_counts_against_the_budget() {
    let mut world = World::new().await;
    world.config.fees.op_data_fee = true;
    // An oracle that answers 5e15 wei to every question: PUSH32 fee, PUSH0, MSTORE, PUSH1 32, PUSH0, RETURN.
    let code = format!("0x7f{:064x}5f5260205ff3", 5_000_000_000_000_000u64);
    world.anvil.call("anvil_setCode", json!(["0x420000000000000000000000000000000000000F", code])).await;
    world.log.grow(3, 0);
    let mut worker = world.worker();
    world.anvil.automine(false).await;
    step_until(&mut worker, async |worker| state_of(worker) == "submitted").await;
    assert_eq!(candidates(&worker)[0].data_fee, 5_000_000_000_000_000);
    drop(worker);
    // 1e15 a day do not pay for it.
    world.config.fees.budget_gwei_per_day = 1_000_000;
    world.folder = tempfile::tempdir().unwrap();
    let mut worker = world.worker();
    for _ in 0..5 {
        worker.step().await.unwrap();
    }
    assert_eq!(worker.journal().open_slots(), 0);
}
