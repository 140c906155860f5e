//! The lag is exported and alarmed (S-147), and a signer that is away is a pause (S-128, S-129).

use std::sync::atomic::Ordering;

use tally_anchor::metrics::ChainStatus;
use tally_anchor::signer::Signer as _;

use crate::world::{ManualClock, World, step_until};

fn gauge(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
    line.and_then(|line| line.rsplit(' ').next()).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_anchor_shows_as_lag_in_events_and_seconds_and_raises_the_alarm_until_it_is_done() {
    let mut world = World::new().await;
    world.config.interval_ms = 60_000;
    let clock = ManualClock::now();
    let mut worker = world.worker_with(&clock);
    world.log.grow(1, 0);
    world.anchor(&mut worker).await;
    world.authority.set_away(true);
    world.log.grow(40, 2);
    worker.step().await.unwrap();
    clock.advance(121_000);
    worker.step().await.unwrap();
    let text = world.metrics.exposition();
    assert_eq!((gauge(&text, "anchor_lag_events"), gauge(&text, "anchor_lag_seconds")), (42, 121));
    assert_eq!((gauge(&text, "anchor_lag_alarm"), gauge(&text, "anchor_signer_alarm")), (1, 1));
    let file = std::fs::read(world.folder.path().join("status.json")).unwrap();
    assert_eq!(serde_json::from_slice::<ChainStatus>(&file).unwrap(), world.metrics.chain("test"));
    world.authority.set_away(false);
    clock.advance(60_000);
    world.anchor(&mut worker).await;
    worker.step().await.unwrap();
    let text = world.metrics.exposition();
    assert_eq!((gauge(&text, "anchor_lag_events"), gauge(&text, "anchor_lag_alarm")), (0, 0));
    assert_eq!(gauge(&text, "anchor_signer_alarm"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_signer_is_away_nothing_is_lost_and_one_anchor_covers_the_backlog() {
    let world = World::new().await;
    let clock = ManualClock::now();
    let mut worker = world.worker_with(&clock);
    world.gas_key.set_away(true);
    for _ in 0..5 {
        world.log.grow(7, 0);
        worker.step().await.unwrap();
        clock.advance(10_000);
    }
    assert_eq!(worker.journal().open_slots(), 0);
    world.gas_key.set_away(false);
    clock.advance(120_000);
    world.anchor(&mut worker).await;
    assert_eq!(world.anvil.nonce(world.gas_key.address()).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_key_stops_signing_at_once() {
    let world = World::new().await;
    let clock = ManualClock::now();
    let mut worker = world.worker_with(&clock);
    world.log.grow(1, 0);
    world.anchor(&mut worker).await;
    world.gas_key.set_refuses(true);
    let before = world.gas_key.uses.load(Ordering::SeqCst);
    world.log.grow(1, 0);
    for _ in 0..10 {
        clock.advance(70_000);
        worker.step().await.unwrap();
    }
    assert_eq!(world.gas_key.uses.load(Ordering::SeqCst), before);
    assert!(world.metrics.chain("test").signer_alarm);
    world.gas_key.set_refuses(false);
    step_until(&mut worker, async |_| {
        clock.advance(10_000);
        world.is_anchored().await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_logs_source_is_away_the_worker_waits_and_goes_on() {
    let world = World::new().await;
    let mut worker = world.worker();
    world.log.grow(3, 0);
    world.log.set_away(true);
    assert!(worker.step().await.is_err());
    world.log.set_away(false);
    world.anchor(&mut worker).await;
}
