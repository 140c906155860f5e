//! Providers that time out, lie, lag, say already known, or hang up after they took a transaction.

use serde_json::json;
use tally_anchor::config::Provider;
use tally_anchor::signer::Signer as _;
use tally_anchor::source::LogKind;

use crate::proxy::{Mode, Proxy};
use crate::world::{World, state_of, step_until};

/// A world seen through two providers, both of which must agree on finality.
async fn through_two(first: Mode, second: Mode) -> (World, Proxy, Proxy) {
    let mut world = World::new().await;
    let one = Proxy::before(&world.anvil.url, first).await;
    let two = Proxy::before(&world.anvil.url, second).await;
    let provider = |name: &str, proxy: &Proxy| Provider { name: name.to_owned(), url: proxy.url.clone() };
    world.config.providers = vec![provider("one", &one), provider("two", &two)];
    (world.config.providers_agree_min, world.config.trust_one_provider) = (2, false);
    world.config.request_timeout_ms = 700;
    (world, one, two)
}

async fn ends_well(world: &World) {
    let mut worker = world.worker();
    world.log.grow(4, 1);
    world.anchor(&mut worker).await;
    world.log.grow(4, 1);
    world.anchor(&mut worker).await;
    world.finalize(&mut worker).await;
    assert_eq!(world.anvil.nonce(world.gas_key.address()).await, 2, "one transaction for each anchor");
    assert_eq!(world.head(LogKind::Events).await.seq, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_honest_providers_anchor_and_finalize() {
    let (world, _one, _two) = through_two(Mode::Honest, Mode::Honest).await;
    ends_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_times_out_delays_finality_and_not_the_anchor() {
    let (world, _one, two) = through_two(Mode::Honest, Mode::Hangs).await;
    let mut worker = world.worker();
    world.log.grow(4, 1);
    world.anchor(&mut worker).await;
    world.anvil.mine(8).await;
    for _ in 0..2 {
        // Rounds may fail while a provider hangs.
        let _ = worker.step().await;
    }
    assert_eq!(state_of(&worker), "included", "one word is not enough for finality");
    two.set(Mode::Honest);
    world.finalize(&mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_lies_about_finality_makes_nothing_final() {
    let (world, _one, two) = through_two(Mode::Honest, Mode::LiesAboutFinality).await;
    let mut worker = world.worker();
    world.log.grow(4, 1);
    world.anchor(&mut worker).await;
    world.anvil.mine(1).await;
    for _ in 0..5 {
        worker.step().await.unwrap();
    }
    assert_eq!(state_of(&worker), "included");
    assert_eq!(world.metrics.chain("test").logs["events"].finalized, 0);
    assert!(two.asked("eth_getBlockByNumber") > 0, "the liar was asked");
    world.finalize(&mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_stays_behind_is_not_believed_about_the_head() {
    let (mut world, _one, two) = through_two(Mode::Honest, Mode::Honest).await;
    world.config.provider_lag_max_ms = 10_000;
    let mut worker = world.worker();
    world.log.grow(4, 1);
    world.anchor(&mut worker).await;
    two.set(Mode::StaysAt(world.anvil.number().await));
    world.anvil.call("evm_increaseTime", json!([60])).await;
    world.anvil.mine(1).await;
    world.log.grow(4, 1);
    world.anchor(&mut worker).await;
    assert_eq!(world.metrics.chain("test").logs["events"].latest, 8);
    two.set(Mode::Honest);
    world.finalize(&mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn already_known_is_success() {
    let (world, one, _two) = through_two(Mode::SaysAlreadyKnown, Mode::SaysAlreadyKnown).await;
    ends_well(&world).await;
    assert!(one.asked("eth_sendRawTransaction") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_after_the_transaction_was_taken_anchors_once() {
    let (world, _one, _two) = through_two(Mode::DropsTheAnswer, Mode::DropsTheAnswer).await;
    ends_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_provider_the_worker_tries_again_and_loses_nothing() {
    let (world, one, two) = through_two(Mode::Refuses, Mode::Refuses).await;
    let mut worker = world.worker();
    world.log.grow(4, 1);
    for _ in 0..3 {
        let error = worker.step().await.unwrap_err();
        assert_eq!(error.class(), tally_anchor::error::Class::Retry);
        assert!(!error.to_string().contains(&one.url), "an error shows no URL: it may hold a token");
    }
    one.set(Mode::Honest);
    two.set(Mode::Honest);
    step_until(&mut worker, async |_| world.is_anchored().await).await;
}
