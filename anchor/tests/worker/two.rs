//! Two workers at once, and two chains of which one is down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tally_anchor::config::Provider;
use tally_anchor::deploy::Operator;
use tally_anchor::driver::{Parts, Worker, run_all};
use tally_anchor::error::{AnchorError, Halt};
use tally_anchor::policy::Policy;
use tally_anchor::signer::Signer as _;
use tally_anchor::source::LogKind;
use tokio::sync::watch;

use crate::log::logs;
use crate::proxy::{Mode, Proxy};
use crate::world::{PATIENCE, World, key, step_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_on_the_same_folder_does_not_start() {
    let world = World::new().await;
    let _first = world.worker();
    assert!(matches!(Worker::open(world.parts(), world.folder.path()), Err(AnchorError::Locked(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_with_one_key_one_anchors_and_the_other_stops_and_no_nonce_is_lost() {
    let world = World::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let mut one = world.worker();
    let mut two = Worker::open(world.parts(), elsewhere.path()).unwrap();
    // Both know the account before either has used it.
    one.step().await.unwrap();
    two.step().await.unwrap();
    for _ in 0..6 {
        world.log.grow(2, 1);
        for worker in [&mut one, &mut two] {
            // The loser's rounds may fail; that is what a race is.
            let _ = worker.step().await;
        }
    }
    step_until(&mut two, async |worker| worker.journal().halted().is_some()).await;
    assert!(matches!(two.journal().halted(), Some(Halt::ForeignNonce { .. })));
    world.anchor(&mut one).await;
    assert!(one.journal().halted().is_none());
    let head = world.head(LogKind::Events).await;
    assert_eq!(head.seq, world.anvil.nonce(world.gas_key.address()).await, "every nonce is an anchor");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_epoch_was_passed_stops() {
    let mut world = World::new().await;
    world.log.grow(2, 0);
    let mut old = world.worker();
    world.anchor(&mut old).await;
    // Failover: another key, a higher epoch, a folder of its own.
    let chain = world.chain();
    let admin = key("admin");
    let mut operator = Operator::new(&chain, &world.config, &*admin, Duration::from_secs(30)).await.unwrap();
    for (_, log) in logs() {
        operator.set_key(&log, false, key("other gas").address(), true).await.unwrap();
    }
    let elsewhere = tempfile::tempdir().unwrap();
    world.config.epoch = 2;
    let mut new = Worker::open(Parts { gas_key: key("other gas"), ..world.parts() }, elsewhere.path()).unwrap();
    world.log.grow(2, 0);
    world.anchor(&mut new).await;
    world.log.grow(2, 0);
    step_until(&mut old, async |worker| worker.journal().halted().is_some()).await;
    assert_eq!(old.journal().halted(), Some(&Halt::Superseded));
    world.anchor(&mut new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_was_down_catches_up_with_one_transaction_and_the_other_never_waited() {
    let (one, mut two) = (World::new().await, World::new().await);
    let proxy = Proxy::before(&two.anvil.url, Mode::Refuses).await;
    two.config.providers = vec![Provider { name: "proxy".to_owned(), url: proxy.url.clone() }];
    two.config.name = "two".to_owned();
    let mut parts = two.parts();
    (parts.source, parts.metrics) = (Arc::clone(&one.log) as _, Arc::clone(&one.metrics));
    let (stop, stopped) = watch::channel(false);
    let workers = vec![one.worker(), Worker::open(parts, two.folder.path()).unwrap()];
    let running = tokio::spawn(async move { run_all(workers, &stopped).await });
    let sizes = || ["test", "two"].map(|chain| one.metrics.chain(chain).logs.get("events").map_or(0, |log| log.latest));
    for size in 1..=5 {
        one.log.grow(1, 1);
        until(|| sizes()[0] == size).await;
    }
    assert_eq!(sizes()[1], 0);
    assert!(one.metrics.chain("two").errors > 0);
    let anchored = |needed| {
        let sizes = sizes().map(tally_protocol::id::TreeSize::new);
        Policy::new(needed, 2).unwrap().anchored(&sizes).get()
    };
    assert_eq!((anchored(1), anchored(2)), (5, 0), "one of two has it, two of two have not");
    proxy.set(Mode::Honest);
    until(|| sizes()[1] == 5).await;
    assert_eq!(anchored(2), 5);
    assert_eq!(two.anvil.nonce(two.gas_key.address()).await, 1, "one transaction for the whole time");
    stop.send(true).unwrap();
    assert!(running.await.unwrap().iter().all(Result::is_ok));
}

async fn until(is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
