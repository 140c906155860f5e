//! Forged continuations (S-141, S-032): the worker halts and signs nothing, and the contract would refuse.

use tally_anchor::chain::Chain as _;
use tally_anchor::error::{ChainError, Halt, Refusal, Revert};
use tally_anchor::ethereum::abi::{self, AnchorPart};
use tally_anchor::signer::{Purpose, Signer as _};
use tally_anchor::source::{Divergence, LogKind};
use tally_protocol::id::TreeSize;

use crate::log::logs;
use crate::world::{World, step_until};

async fn halts(forge: impl Fn(&World), why: Divergence) -> World {
    let world = World::new().await;
    world.log.grow(10, 4);
    let mut worker = world.worker();
    world.anchor(&mut worker).await;
    let nonce = world.anvil.nonce(world.gas_key.address()).await;
    forge(&world);
    step_until(&mut worker, async |worker| worker.journal().halted().is_some()).await;
    assert_eq!(worker.journal().halted(), Some(&Halt::Diverged { log: "events".to_owned(), why }));
    // Not even the return of the true log lets it go on by itself.
    drop(worker);
    world.log.truncate(10);
    world.log.rewrite(None);
    world.log.grow(1, 0);
    let mut worker = world.worker();
    for _ in 0..5 {
        worker.step().await.unwrap();
    }
    assert_eq!(world.anvil.nonce(world.gas_key.address()).await, nonce);
    worker.clear_halt().unwrap();
    world.anchor(&mut worker).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn another_root_at_the_same_size_halts_the_worker() {
    halts(|world| world.log.rewrite(Some(9)), Divergence::OtherRoot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_log_halts_the_worker() {
    halts(|world| world.log.truncate(9), Divergence::LogIsShorter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_leaf_under_a_longer_log_halts_the_worker() {
    let forge = |world: &World| {
        world.log.rewrite(Some(3));
        world.log.grow(5, 0);
    };
    halts(forge, Divergence::NotAPrefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_refuses_a_forged_continuation_signed_with_every_real_key() {
    let world = World::new().await;
    world.log.grow(10, 0);
    world.anchor(&mut world.worker()).await;
    // Gas key and authority are both stolen: the history may be extended, and not changed.
    world.log.rewrite(Some(3));
    world.log.grow(5, 0);
    let (kind, log_id) = logs()[0];
    for new in [10, 15] {
        let (size, root) = (TreeSize::new(new), world.log.root(kind, new));
        let digest =
            abi::authority_digest(world.config.chain_id, world.config.contract, &log_id, size, &root, &[0; 32], 1);
        let authority = world.authority.sign(Purpose::Authority, digest).await.unwrap();
        let proof = world.log.proof(LogKind::Events, 10, new);
        let part = AnchorPart { log_id, size, root, note_hash: [0; 32], epoch: 1, proof, authority };
        let answer = world.chain().estimate(world.gas_key.address(), abi::anchor_many(&[part])).await;
        let expected = if new == 10 { Revert::SizeNotGrowing } else { Revert::Named("BadConsistency") };
        assert_eq!(answer, Err(ChainError::Refused(Refusal::Reverted(expected))));
    }
}
