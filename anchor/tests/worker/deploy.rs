//! The operator's transactions: deployment that can be repeated, pause, and the rotation of keys (S-127).

use std::time::Duration;

use tally_anchor::deploy::Operator;
use tally_anchor::driver::{Parts, Worker};
use tally_anchor::ethereum::abi;
use tally_anchor::signer::Signer as _;
use tally_anchor::source::LogKind;

use crate::log::logs;
use crate::world::{World, deployment, key, step_until};

const WAIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn deploying_again_finds_the_same_contract_and_sends_nothing() {
    let world = World::new().await;
    let chain = world.chain();
    let admin = key("admin");
    let nonce = world.anvil.nonce(admin.address()).await;
    let mut operator = Operator::new(&chain, &world.config, &*admin, WAIT).await.unwrap();
    let again = operator.deploy(&deployment()).await.unwrap();
    assert_eq!((again.contract, again.code_hash), (world.deployed.contract, world.deployed.code_hash));
    assert_eq!((again.transactions.len(), world.anvil.nonce(admin.address()).await), (0, nonce));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_guardian_pauses_nothing_is_sent_and_everything_is_anchored_after() {
    let world = World::new().await;
    let chain = world.chain();
    let (admin, guardian) = (key("admin"), key("guardian"));
    Operator::new(&chain, &world.config, &*guardian, WAIT).await.unwrap().pause(true).await.unwrap();
    let mut worker = world.worker();
    world.log.grow(5, 1);
    for _ in 0..5 {
        worker.step().await.unwrap();
    }
    assert_eq!(world.anvil.nonce(world.gas_key.address()).await, 0, "no gas for what is refused");
    assert!(worker.journal().halted().is_none());
    let mut guardian = Operator::new(&chain, &world.config, &*guardian, WAIT).await.unwrap();
    assert!(guardian.pause(false).await.is_err(), "the guardian pauses and cannot unpause");
    Operator::new(&chain, &world.config, &*admin, WAIT).await.unwrap().pause(false).await.unwrap();
    world.anchor(&mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_rotates_with_an_overlap_and_older_anchors_stay_known() {
    let world = World::new().await;
    world.log.grow(5, 0);
    let mut old = world.worker();
    world.anchor(&mut old).await;
    let first = world.head(LogKind::Events).await;
    let chain = world.chain();
    let admin = key("admin");
    let mut operator = Operator::new(&chain, &world.config, &*admin, WAIT).await.unwrap();
    for (_, log) in logs() {
        operator.set_key(&log, false, key("other gas").address(), true).await.unwrap();
    }
    // Both may anchor now; then the old one goes.
    world.log.grow(5, 0);
    world.anchor(&mut old).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let mut new = Worker::open(Parts { gas_key: key("other gas"), ..world.parts() }, elsewhere.path()).unwrap();
    world.log.grow(5, 0);
    world.anchor(&mut new).await;
    for (_, log) in logs() {
        operator.set_key(&log, false, key("gas").address(), false).await.unwrap();
    }
    world.log.grow(5, 0);
    step_until(&mut old, async |worker| worker.journal().halted().is_some()).await;
    world.anchor(&mut new).await;
    let known = abi::is_known(&logs()[0].1, first.seq, first.size, &first.root);
    let answer = chain.call(world.config.contract, &known).await.unwrap();
    assert_eq!(abi::read_bool(&answer), Some(true));
}
