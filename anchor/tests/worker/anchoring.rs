//! What is anchored, when, and what the contract refuses (S-138, S-139, S-140).

use serde_json::json;
use tally_anchor::chain::Chain as _;
use tally_anchor::error::{ChainError, Halt, Refusal};
use tally_anchor::ethereum::abi::{self, AnchorPart};
use tally_anchor::signer::{Purpose, Signer as _};
use tally_anchor::source::LogKind;
use tally_protocol::id::TreeSize;

use crate::anvil::{Anvil, number};
use crate::keys::Key;
use crate::log::logs;
use crate::world::{ManualClock, World, key, step_until};

async fn both_logs_in_one_transaction(world: World) {
    world.log.grow(5, 3);
    let mut worker = world.worker();
    world.anchor(&mut worker).await;
    assert_eq!(world.anvil.nonce(world.gas_key.address()).await, 1, "one transaction for both logs");
    world.log.grow(1_000, 0);
    world.anchor(&mut worker).await;
    let (events, outcomes) = (world.head(LogKind::Events).await, world.head(LogKind::Outcomes).await);
    assert_eq!((events.seq, events.root), (2, world.log.root(LogKind::Events, 1_005)));
    assert_eq!(
        (outcomes.seq, outcomes.root),
        (1, world.log.root(LogKind::Outcomes, 3)),
        "what did not grow is left out"
    );
    let chain = world.chain();
    let ids = logs().into_iter().map(|(_, id)| id).collect();
    let anchored = chain.events(ids, 0, world.anvil.number().await).await.unwrap();
    let newest = anchored.iter().rfind(|event| event.log_id == logs()[0].1).unwrap();
    assert_eq!(newest.note_hash, world.log.published(LogKind::Events).unwrap().note_hash());
    world.finalize(&mut worker).await;
    assert_eq!(world.metrics.chain("test").finalized, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_ends_with_the_roots_of_both_logs() {
    both_logs_in_one_transaction(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_ends_with_the_roots_of_both_logs_in_optimism_mode_too() {
    both_logs_in_one_transaction(World::on(Anvil::start(84_532_002, &["--network", "optimism"]).await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_comes_after_the_interval_or_when_many_leaves_wait_and_carries_its_blocks_time() {
    let mut world = World::new().await;
    (world.config.interval_ms, world.config.size_trigger) = (600_000, 10);
    let clock = ManualClock::now();
    let mut worker = world.worker_with(&clock);
    world.log.grow(1, 0);
    world.anchor(&mut worker).await;
    // Three leaves wait for the interval, whatever number of rounds goes by.
    world.log.grow(3, 0);
    for _ in 0..20 {
        worker.step().await.unwrap();
    }
    assert_eq!(world.head(LogKind::Events).await.size.get(), 1);
    // The block's time is the real one, some seconds after the test's clock.
    clock.advance(1_200_000);
    world.anchor(&mut worker).await;
    // Ten do not.
    world.log.grow(10, 0);
    clock.advance(60_000);
    world.anchor(&mut worker).await;
    let head = world.head(LogKind::Events).await;
    assert_eq!((head.size.get(), head.seq), (14, 3));
    let block = world.anvil.call("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(number(&block["timestamp"]), head.block_time);
}

async fn part(world: &World, authority: &Key, old: u64, new: u64) -> AnchorPart {
    let (kind, log_id) = logs()[0];
    let (size, root) = (TreeSize::new(new), world.log.root(kind, new));
    let note_hash = [7; 32];
    let digest =
        abi::authority_digest(world.config.chain_id, world.config.contract, &log_id, size, &root, &note_hash, 1);
    let authority = authority.sign(Purpose::Authority, digest).await.unwrap();
    let proof = if old == 0 { Vec::new() } else { world.log.proof(kind, old, new) };
    AnchorPart { log_id, size, root, note_hash, epoch: 1, proof, authority }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_refuses_strangers_repetitions_steps_back_wrong_roots_and_the_gas_key_alone() {
    let world = World::new().await;
    world.log.grow(8, 0);
    world.anchor(&mut world.worker()).await;
    world.log.grow(4, 0);
    let (chain, gas, authority) = (world.chain(), world.gas_key.address(), &*world.authority);
    let good = part(&world, authority, 8, 12).await;
    let says = async |from, part: &AnchorPart| match chain
        .estimate(from, abi::anchor_many(std::slice::from_ref(part)))
        .await
    {
        Ok(_) => None,
        Err(ChainError::Refused(Refusal::Reverted(revert))) => Some(revert.to_string()),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(says(gas, &good).await, None, "the good one is taken");
    assert_eq!(says(key("other gas").address(), &good).await.as_deref(), Some("NotAnchorer"));
    let again = part(&world, authority, 0, 8).await;
    assert_eq!(says(gas, &again).await.as_deref(), Some("SizeNotGrowing"));
    let back = part(&world, authority, 0, 7).await;
    assert_eq!(says(gas, &back).await.as_deref(), Some("SizeNotGrowing"));
    let other_root = AnchorPart { proof: world.log.proof(LogKind::Events, 7, 12), ..good.clone() };
    assert_eq!(says(gas, &other_root).await.as_deref(), Some("BadConsistency"));
    let gas_key_alone = part(&world, &world.gas_key, 8, 12).await;
    assert_eq!(says(gas, &gas_key_alone).await.as_deref(), Some("BadAuthority"));
    let older_epoch = AnchorPart { epoch: 0, ..good };
    assert_eq!(says(gas, &older_epoch).await.as_deref(), Some("EpochFell"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_the_contract_does_not_know_halts_before_it_pays_for_anything() {
    let mut world = World::new().await;
    world.gas_key = key("other gas");
    world.log.grow(1, 0);
    let mut worker = world.worker();
    step_until(&mut worker, async |worker| worker.journal().halted().is_some()).await;
    assert_eq!(worker.journal().halted(), Some(&Halt::Refused { revert: "NotAnchorer".to_owned() }));
    assert_eq!(world.anvil.nonce(world.gas_key.address()).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reads_back_as_written() {
    let world = World::new().await;
    world.log.grow(9, 0);
    let parts = [part(&world, &world.authority, 0, 4).await, part(&world, &world.authority, 4, 9).await];
    assert_eq!(abi::read_anchor_many(&abi::anchor_many(&parts)).as_deref(), Some(&parts[..]));
}
