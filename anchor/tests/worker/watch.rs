//! The watcher: heads, events that come and go, what covers a place, and the check on chain.

use std::sync::Arc;

use serde_json::json;
use tally_anchor::chain::Level;
use tally_anchor::ethereum::abi;
use tally_anchor::source::{Divergence, LogKind};
use tally_anchor::watch::Watcher;
use tally_protocol::id::Index;

use crate::log::{Forgery, leaf_of, logs};
use crate::world::{World, step_until};

fn watcher(world: &World) -> Watcher {
    Watcher::new(Arc::new(world.chain()), logs(), world.deployed.from_block)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_go_with_a_reorganisation_come_back_and_end_as_final() {
    let world = World::new().await;
    let events = logs()[0].1;
    let (mut worker, mut watcher) = (world.worker(), watcher(&world));
    assert_eq!(watcher.poll().await.unwrap().added, []);
    world.log.grow(5, 2);
    world.anchor(&mut worker).await;
    let poll = watcher.poll().await.unwrap();
    assert_eq!((poll.added.len(), poll.removed.len()), (2, 0));
    assert_eq!(watcher.heads(&events).unwrap().latest.0.root, world.log.root(LogKind::Events, 5));
    world.anvil.reorg(1, json!([])).await;
    let poll = watcher.poll().await.unwrap();
    assert_eq!((poll.added.len(), poll.removed.len()), (0, 2));
    assert!(watcher.covering(&events, Index::new(0), Level::Latest).is_none());
    world.anchor(&mut worker).await;
    world.finalize(&mut worker).await;
    let poll = watcher.poll().await.unwrap();
    assert_eq!((poll.added.len(), poll.removed.len()), (2, 0));
    let anchor = watcher.covering(&events, Index::new(4), Level::Finalized).unwrap();
    assert_eq!((anchor.seq, anchor.size.get()), (1, 5));
    assert!(watcher.covering(&events, Index::new(5), Level::Latest).is_none(), "the sixth leaf is not anchored");
    assert_eq!(watcher.poll().await.unwrap(), tally_anchor::watch::Poll::default(), "nothing new");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_proven_to_the_contract_with_what_the_watcher_gives() {
    let world = World::new().await;
    let (kind, events) = logs()[0];
    let mut worker = world.worker();
    world.log.grow(6, 0);
    world.anchor(&mut worker).await;
    world.log.grow(7, 0);
    world.anchor(&mut worker).await;
    let mut watcher = watcher(&world);
    watcher.poll().await.unwrap();
    let anchor = watcher.covering(&events, Index::new(8), Level::Latest).unwrap().clone();
    let material = watcher.material(&anchor).await.unwrap();
    let raw = material.raw.expect("anvil gives raw transactions");
    assert_eq!(abi::keccak(&raw), anchor.tx_hash);
    assert_eq!((material.block.number, material.anchor.size.get()), (anchor.block_number, 13));
    let says = async |forgery: Forgery| {
        let leaf = leaf_of(kind, 8, forgery);
        let path = world.log.path(kind, 8, 13);
        let call = abi::verify_inclusion(&events, anchor.seq, anchor.size, &anchor.root, leaf.as_bytes(), 8, &path);
        abi::read_bool(&world.chain().call(world.config.contract, &call).await.unwrap()).unwrap()
    };
    assert!(says(Forgery::default()).await);
    assert!(!says(Forgery { rewritten: Some(8) }).await, "another leaf is not in it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fence_of_a_node_names_the_log_that_has_parted_from_the_chain() {
    let world = World::new().await;
    let mut worker = world.worker();
    world.log.grow(6, 3);
    world.anchor(&mut worker).await;
    let mut watcher = watcher(&world);
    watcher.poll().await.unwrap();
    assert_eq!(watcher.fence(&*world.log).await.unwrap(), []);
    world.log.grow(3, 1);
    assert_eq!(watcher.fence(&*world.log).await.unwrap(), [], "a longer log is well");
    world.log.truncate(5);
    assert_eq!(watcher.fence(&*world.log).await.unwrap(), [(LogKind::Events, Divergence::LogIsShorter)]);
    world.log.truncate(9);
    world.log.rewrite(Some(2));
    assert_eq!(watcher.fence(&*world.log).await.unwrap(), [(LogKind::Events, Divergence::NotAPrefix)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_of_a_log_is_in_leaves_and_in_seconds_since_the_anchors_block() {
    let world = World::new().await;
    let events = logs()[0].1;
    let mut worker = world.worker();
    world.log.grow(6, 0);
    world.anchor(&mut worker).await;
    let mut watcher = watcher(&world);
    watcher.poll().await.unwrap();
    let anchored = world.head(LogKind::Events).await.block_time;
    let lag = |now_s: u64| watcher.lag(&events, &world.log.published(LogKind::Events).unwrap(), now_s * 1000).unwrap();
    assert_eq!((lag(anchored + 9).events, lag(anchored + 9).seconds), (0, 0));
    world.log.grow(4, 0);
    assert_eq!((lag(anchored + 9).events, lag(anchored + 9).seconds), (4, 9));
    step_until(&mut worker, async |_| world.is_anchored().await).await;
}
