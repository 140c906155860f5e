//! Laws of following: every event has one outcome, in order; a range is applied as a whole or not at all; deleted
//! outcomes come back the same; and nothing a follower does touches the log (law 8).
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;
mod model;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{AGENT, AGENT_KEY, Node, STREAM, TENANT, TestFence, World};
use model::{Model, Moment, Strings, expected, page_of, plugin, recorded};
use proptest::prelude::*;
use tally_core::{ApplyState, FollowerError, NodeState, ReadError};
use tally_merkle::{verify_consistency, verify_inclusion};
use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::frame::Frame;
use tally_protocol::hash::{self, LeafHash, RootHash};
use tally_protocol::id::{Index, StoreId, Stream, TreeSize};
use tally_protocol::note::VerifierKey;
use tally_protocol::outcome::Outcome;
use tally_protocol::outcome_log;
use tally_protocol::tile::{EntryBundleId, TileId};
use tally_storage::memory::{Crash, MemoryEngine};
use tally_storage::{Batch, CheckpointStore, Cuts, Engine, Family, Outbox, PluginState};
use tally_testkit::naive_root;

const OTHER: Stream = Stream::new(TENANT, StoreId::from_bytes([9; 16]));

fn engine(world: &World) -> Arc<dyn Engine> {
    Arc::clone(&world.engine) as Arc<dyn Engine>
}

fn start(world: &World, strings: &Arc<Strings>) -> Node {
    world.start_followed(Model::over(engine(world), strings))
}

/// A node with the tenant and one agent.
fn start_ready(world: &World, strings: &Arc<Strings>) -> Node {
    let node = start(world, strings);
    node.accept_one(world.tenant_created(TENANT, true));
    node.accept_one(world.key_registered(AGENT, 1, AGENT_KEY));
    node
}

/// Events of both streams.
fn events(world: &World, count: usize) -> Vec<Frame> {
    let of = |n: usize| if n.is_multiple_of(3) { OTHER } else { STREAM };
    let payload = |n: usize| format!("{{\"n\":{n}}}");
    (0..count).map(|n| world.event_of(of(n), (AGENT, 1, AGENT_KEY), world.event_id(), &payload(n))).collect()
}

fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn caught_up(node: &Node) {
    until("applied", || node.reader.ladder().applied == node.reader.ladder().signed);
}

fn why_halted(node: &Node) -> String {
    until("halted", || matches!(node.reader.apply_state(), ApplyState::Halted { .. }));
    match node.reader.apply_state() {
        ApplyState::Halted { why, at } => {
            assert_eq!(node.reader.ladder().applied.max(TreeSize::new(1)), at);
            why
        }
        other => panic!("{other:?}"),
    }
}

fn outcome_key(world: &World) -> VerifierKey {
    let genesis = &world.genesis;
    VerifierKey::new("tally.test/log/outcomes", genesis.receipt_key).unwrap()
}

/// Everything that is applied is what a model says it is, in every form it can be asked for.
fn check(world: &World, node: &Node) -> Checkpoint {
    check_in(world, node, &engine(world))
}

fn check_in(world: &World, node: &Node, engine: &Arc<dyn Engine>) -> Checkpoint {
    let newest = node.reader.outcome_checkpoint().unwrap();
    let checkpoint = SignedCheckpoint::open(&newest.note, &[outcome_key(world)]).unwrap().checkpoint;
    assert_eq!(checkpoint, newest.checkpoint);
    let size = checkpoint.size;
    let events = node.reader.events_of_log(Index::new(1), size.get() as usize - 1).unwrap();
    let model = expected(&events, &recorded(engine));
    let body = |at: usize| node.reader.outcome(Index::new(at as u64)).unwrap();
    for (at, expected) in model.bodies.iter().enumerate() {
        assert_eq!(body(at), *expected, "outcome {at}");
    }
    for event in events.iter().filter(|event| !event.frame.stream().is_control()) {
        Outcome::decode(&body(event.index.get() as usize), event.leaf_hash()).unwrap();
    }
    let leaves: Vec<LeafHash> = model.bodies.iter().map(|body| hash::leaf(body)).collect();
    assert_eq!((leaves.len() as u64, naive_root(&leaves)), (size.get(), checkpoint.root));
    assert_eq!(outcome_log::states_root(&checkpoint).unwrap(), model.chain.last().copied());
    // Pages may be behind what is stored, and are never ahead of it.
    if let Some((end, chain)) = page_of(engine) {
        assert!(end <= size, "pages of {end} at {size}");
        assert_eq!(model.chain[end.get() as usize - 1], chain);
    }
    let state = PluginState::new(Arc::clone(engine));
    for (stream, count) in &model.counts {
        let stored = state.get((*stream, &plugin()), b"count").unwrap().unwrap();
        assert_eq!(stored[..], count.to_be_bytes());
    }
    let asked = Outbox::new(Arc::clone(engine)).page(None, usize::MAX).unwrap();
    assert_eq!(asked.iter().map(|row| row.key).collect::<Vec<_>>(), model.effects);
    assert_eq!(Cuts::new(Arc::clone(engine)).end().unwrap(), size);
    check_proofs(node, &leaves, &checkpoint);
    checkpoint
}

fn bodies(node: &Node, size: TreeSize) -> Vec<Bytes> {
    (0..size.get()).map(|at| node.reader.outcome(Index::new(at)).unwrap()).collect()
}

fn check_proofs(node: &Node, leaves: &[LeafHash], checkpoint: &Checkpoint) {
    let size = checkpoint.size;
    for (at, leaf) in leaves.iter().enumerate().step_by(7).chain([(leaves.len() - 1, &leaves[leaves.len() - 1])]) {
        let proof = node.reader.outcome_inclusion(Index::new(at as u64), size).unwrap();
        verify_inclusion(leaf, &proof, &checkpoint.root).unwrap();
    }
    for old in [1, size.get() / 2, size.get() - 1, size.get()].map(|old| TreeSize::new(old.max(1))) {
        let proof = node.reader.outcome_consistency(old, size).unwrap();
        verify_consistency(&proof, &naive_root(&leaves[..old.get() as usize]), &checkpoint.root).unwrap();
    }
    for (tile, leaves) in leaves.chunks(256).enumerate() {
        let width = if leaves.len() == 256 { String::new() } else { format!(".p/{}", leaves.len()) };
        let id = TileId::parse(&format!("tile/0/{tile:03}{width}")).unwrap();
        let expected: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
        assert_eq!(node.reader.outcome_tile(id).unwrap(), expected);
        let bundle = EntryBundleId::parse(&format!("tile/entries/{tile:03}{width}")).unwrap();
        let bundle = node.reader.outcome_entries(bundle).unwrap();
        let mut rest = &bundle[..];
        for leaf in leaves {
            let (length, behind) = rest.split_first_chunk::<2>().unwrap();
            let (entry, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)));
            assert_eq!(hash::leaf(entry), *leaf);
            rest = behind;
        }
        assert!(rest.is_empty());
    }
    let beyond = Index::new(size.get());
    assert!(matches!(node.reader.outcome(beyond), Err(ReadError::NotYet { .. })));
    assert!(matches!(
        node.reader.outcome_consistency(size, TreeSize::new(size.get() + 1)),
        Err(ReadError::NotYet { .. })
    ));
}

#[test]
fn every_event_has_one_outcome_in_order_under_concurrent_ingest() {
    let world = World::new();
    let strings = Strings::new(true);
    let node = start_ready(&world, &strings);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (world, node) = (&world, &node);
            scope.spawn(move || {
                for n in 0..30 {
                    node.accept(events(world, 1 + (n * 7 + worker) % 23));
                }
            });
        }
    });
    caught_up(&node);
    let checkpoint = check(&world, &node);
    assert_eq!(checkpoint.size, node.reader.checkpoint().checkpoint.size);
    assert_eq!(checkpoint.origin, "tally.test/log/outcomes");
    assert_eq!(recorded(&engine(&world)).len(), 2, "each stream began anew once");
    let metrics = node.sequencer.metrics();
    assert_eq!(metrics.events_applied.get(), checkpoint.size.get() - 1);
    until("no lag", || metrics.applied_lag_events.get() == 0);
    until("published", || node.reader.outcomes_published().is_some_and(|published| published.checkpoint == checkpoint));
    let log_key = VerifierKey::new("tally.test/log/outcomes", world.genesis.checkpoint_key).unwrap();
    let note = node.reader.outcomes_published_at(checkpoint.size).unwrap();
    for key in [log_key, outcome_key(&world)] {
        assert_eq!(SignedCheckpoint::open(&note, &[key]).unwrap().checkpoint, checkpoint);
    }
    node.stop();
}

#[test]
fn a_restart_goes_on_behind_what_is_applied_and_applies_nothing_twice() {
    let world = World::new();
    let strings = Strings::new(true);
    let mut sizes = Vec::new();
    start_ready(&world, &strings).stop();
    for round in 1..=6 {
        let node = start(&world, &strings);
        node.accept(events(&world, 100 * round));
        caught_up(&node);
        sizes.push(check(&world, &node).size);
        node.stop();
    }
    assert_eq!(strings.replayed.load(Ordering::SeqCst), 0);
    assert!(sizes.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(recorded(&engine(&world)).len(), 12, "each start began both streams anew");
    let node = start(&world, &strings);
    assert_eq!(node.reader.ladder().applied, sizes[5], "shown before a reader can ask");
    assert_eq!(check(&world, &node).size, sizes[5], "shown before anything is applied");
    node.stop();
}

#[test]
fn a_node_without_a_follower_has_no_outcomes_and_a_follower_that_comes_later_applies_all() {
    let world = World::new();
    let node = world.start_ready();
    node.accept(events(&world, 700));
    assert_eq!(node.reader.apply_state(), ApplyState::Off);
    assert_eq!(node.reader.ladder().applied, TreeSize::new(0));
    assert!(matches!(node.reader.outcome(Index::new(0)), Err(ReadError::NotYet { .. })));
    assert!(node.reader.outcome_checkpoint().is_none() && node.reader.outcomes_published().is_none());
    node.stop();
    for family in Family::ALL.into_iter().filter(|family| family.is_of_applying()) {
        let stats = world.engine.stats();
        assert_eq!(stats.families.iter().find(|stats| stats.family == family).unwrap().keys, 0, "{}", family.name());
    }
    let strings = Strings::new(true);
    let node = start(&world, &strings);
    caught_up(&node);
    check(&world, &node);
    assert!(strings.ranges.load(Ordering::SeqCst) < 10, "ranges are not single events");
    node.stop();
}

/// What a crash left, and the fence as it was then.
type Image = (String, MemoryEngine, TestFence);

/// Takes images of every kind of crash at every moment of the first ranges.
fn take_images(world: &World, strings: &Strings) -> Arc<Mutex<Vec<Image>>> {
    let images: Arc<Mutex<Vec<Image>>> = Arc::default();
    let (engine, fence, taken) = (Arc::clone(&world.engine), world.fence.clone(), Arc::clone(&images));
    let moments = AtomicU64::new(0);
    strings.hook(move |moment, _| {
        let number = moments.fetch_add(1, Ordering::SeqCst);
        if number % 5 < 3 && number < 60 {
            // The fence first: a log may be ahead of it, never behind.
            let record = *fence.record.lock().unwrap();
            for crash in [Crash::Process, Crash::System, Crash::SystemKeeping(1)] {
                let name = format!("{crash:?} at {moment:?} {number}");
                let fence = TestFence { record: Arc::new(Mutex::new(record)), ..TestFence::default() };
                taken.lock().unwrap().push((name, engine.crash(crash), fence));
            }
        }
        Ok(())
    });
    images
}

/// What a crash left of the pages follows from what it left of the batches.
fn check_pages(engine: &Arc<dyn Engine>, name: &str) {
    if let Some((end, _)) = page_of(engine) {
        let latest = CheckpointStore::of_outcomes(Arc::clone(engine)).latest().unwrap();
        let applied = latest.map_or(TreeSize::new(0), |latest| latest.size);
        assert!(end <= applied, "{name}: pages of {end}, batches to {applied}");
    }
}

fn crash_everywhere(cuts: bool) {
    let world = World::new();
    let strings = Strings::new(cuts);
    let images = take_images(&world, &strings);
    let node = start_ready(&world, &strings);
    // On a busy machine ranges are fewer and larger.
    let mut round = 0;
    while round < 12 || images.lock().unwrap().len() <= 60 {
        node.accept(events(&world, 20 + round % 12));
        std::thread::sleep(Duration::from_millis(12));
        round += 1;
    }
    caught_up(&node);
    strings.unhook();
    let whole = check(&world, &node);
    let all = bodies(&node, whole.size);
    node.stop();
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() > 60, "{} images", images.len());
    let mut again = 0;
    for (name, engine, fence) in images {
        let world = world.after(engine, fence);
        check_pages(&self::engine(&world), &name);
        let node = start(&world, &Strings::new(cuts));
        assert_eq!(node.reader.state(), NodeState::Running, "{name}");
        caught_up(&node);
        let checkpoint = check(&world, &node);
        // The log that was left is a beginning of the whole one; without cuts so are its outcomes, root for root.
        again += usize::from(checkpoint.size < whole.size);
        if !cuts {
            let begun = &all[..checkpoint.size.get() as usize];
            assert!(bodies(&node, checkpoint.size) == begun, "{name}");
        }
        // The first images are older than the tenant and its agent.
        node.submit_one(world.tenant_created(TENANT, true));
        node.submit_one(world.key_registered(AGENT, 1, AGENT_KEY));
        node.accept(events(&world, 3));
        caught_up(&node);
        check(&world, &node);
        node.stop();
    }
    assert!(again > 30, "most crashes are in the middle: {again}");
}

#[test]
fn a_crash_at_any_moment_leaves_a_range_as_a_whole_or_not_at_all() {
    crash_everywhere(false);
}

#[test]
fn a_crash_at_any_moment_keeps_the_cuts_with_the_outcomes_they_belong_to() {
    crash_everywhere(true);
}

#[test]
fn pages_that_a_rebuild_writes_outlive_no_batch_that_they_follow_from() {
    let (world, before) = with_outcomes();
    tally_storage::clear_applied(world.engine.as_ref()).unwrap();
    let strings = Strings::new(true);
    let images = take_images(&world, &strings);
    let node = start(&world, &strings);
    caught_up(&node);
    strings.unhook();
    assert_eq!(check(&world, &node), before);
    node.stop();
    assert!(strings.replayed.load(Ordering::SeqCst) > 3);
    let images = std::mem::take(&mut *images.lock().unwrap());
    let with_pages = images.iter().filter(|(name, engine, _)| {
        let engine: Arc<dyn Engine> = Arc::new(engine.crash(Crash::Process));
        check_pages(&engine, name);
        page_of(&engine).is_some()
    });
    assert!(with_pages.count() > 0);
}

/// A stopped log with outcomes of several starts.
fn with_outcomes() -> (World, Checkpoint) {
    let world = World::new();
    let strings = Strings::new(true);
    start_ready(&world, &strings).stop();
    let mut last = None;
    for round in 1..=5 {
        let node = start(&world, &strings);
        for n in 0..4 {
            node.accept(events(&world, 60 * round + n));
        }
        caught_up(&node);
        let checkpoint = check(&world, &node);
        until("published", || {
            node.reader.outcomes_published().is_some_and(|published| published.checkpoint == checkpoint)
        });
        last = Some(checkpoint);
        node.stop();
    }
    (world, last.unwrap())
}

#[test]
fn deleting_everything_derived_gives_the_same_outcomes_and_the_same_state_from_log_and_cuts() {
    for clear in [tally_storage::clear_derived, tally_storage::clear_applied] {
        let (world, before) = with_outcomes();
        let cuts = recorded(&engine(&world));
        let node = start(&world, &Strings::new(true));
        until("opened", || node.reader.ladder().applied == before.size);
        let bodies = bodies(&node, before.size);
        node.stop();
        clear(world.engine.as_ref()).unwrap();
        let strings = Strings::new(true);
        let node = start(&world, &strings);
        caught_up(&node);
        assert_eq!(check(&world, &node), before);
        assert_eq!(self::bodies(&node, before.size), bodies);
        assert_eq!(recorded(&engine(&world)), cuts, "what is recorded is followed, not recorded again");
        assert!(strings.replayed.load(Ordering::SeqCst) >= cuts.len() as u64 / 2);
        // Behind what was recorded it goes on by itself.
        node.accept(events(&world, 30));
        caught_up(&node);
        check(&world, &node);
        node.stop();
    }
}

#[test]
fn a_follower_that_does_not_follow_what_was_recorded_halts() {
    let (world, _) = with_outcomes();
    tally_storage::clear_applied(world.engine.as_ref()).unwrap();
    let strings = Strings::new(true);
    strings.ignores_recorded.store(true, Ordering::SeqCst);
    let node = start(&world, &strings);
    let why = why_halted(&node);
    assert!(why.contains("recorded cuts"), "{why}");
    node.stop();
}

#[test]
fn another_program_on_the_same_log_does_not_sign_another_root_for_a_published_size() {
    let (world, before) = with_outcomes();
    tally_storage::clear_applied(world.engine.as_ref()).unwrap();
    let strings = Strings::new(true);
    strings.salt.store(1, Ordering::SeqCst);
    let node = start(&world, &strings);
    let why = why_halted(&node);
    assert!(why.contains(&format!("published at size {}", before.size)), "{why}");
    assert!(node.reader.outcome_checkpoint().is_none_or(|newest| newest.checkpoint.size < before.size));
    assert_eq!(node.reader.outcomes_published().unwrap().checkpoint, before);
    node.accept(events(&world, 5));
    node.stop();
    // The right program makes it good, by the same way.
    tally_storage::clear_applied(world.engine.as_ref()).unwrap();
    let node = start(&world, &Strings::new(true));
    caught_up(&node);
    check(&world, &node);
    node.stop();
}

#[test]
fn outcomes_that_are_damaged_are_made_again() {
    let (world, before) = with_outcomes();
    let damage = |family, key: tally_storage::keys::Key| {
        let mut batch = Batch::new();
        batch.delete(family, key);
        world.engine.write(batch, tally_storage::Durability::Synced).unwrap();
    };
    let tile = tally_storage::keys::TileKey { level: 0, index: 1 }.encode();
    damage(Family::OutcomeTiles, tile);
    let strings = Strings::new(true);
    let node = start(&world, &strings);
    caught_up(&node);
    assert_eq!(check(&world, &node), before);
    assert!(strings.replayed.load(Ordering::SeqCst) > 0);
    node.stop();
}

/// A node whose follower does this at its third range.
fn misbehaving(wrong: impl FnMut(Moment, &mut tally_core::Applied) -> Result<(), FollowerError> + Send + 'static) {
    let world = World::new();
    let strings = Strings::new(true);
    let node = start_ready(&world, &strings);
    node.accept(events(&world, 40));
    caught_up(&node);
    let before = check(&world, &node);
    strings.hook(wrong);
    let receipts = node.accept(events(&world, 40));
    let why = why_halted(&node);
    let metrics = node.sequencer.metrics();
    assert_eq!((metrics.apply_halted.get(), metrics.apply_halts.get()), (1, 1), "{why}");
    // The log goes on, and nothing of the range is there.
    for n in 0..5 {
        node.accept(events(&world, 10 + n));
    }
    assert_eq!(node.reader.state(), NodeState::Running, "{why}");
    assert_eq!(check(&world, &node), before);
    assert!(matches!(node.reader.outcome(receipts[0].index), Err(ReadError::NotYet { .. })));
    let signed = node.reader.ladder().signed.get();
    until("lag", || metrics.applied_lag_events.get() == signed - before.size.get());
    // It is not tried again by itself, only when somebody says so.
    let ranges = strings.ranges.load(Ordering::SeqCst);
    node.accept(events(&world, 5));
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(strings.ranges.load(Ordering::SeqCst), ranges);
    node.sequencer.retry_apply();
    until("halted again", || metrics.apply_halts.get() == 2);
    strings.unhook();
    let resets = strings.resets.load(Ordering::SeqCst);
    until("asked again", || {
        node.sequencer.retry_apply();
        node.reader.apply_state() == ApplyState::Following
    });
    caught_up(&node);
    assert!(strings.resets.load(Ordering::SeqCst) > resets);
    check(&world, &node);
    assert_eq!(metrics.apply_halted.get(), 0);
    node.stop();
}

#[test]
fn a_follower_that_fails_halts_applying_and_not_ingest() {
    misbehaving(|moment, _| match moment {
        Moment::Made => Err(FollowerError::Stopped("a profile is missing".to_owned())),
        _ => Ok(()),
    });
}

#[test]
fn a_follower_that_panics_halts_applying_and_not_ingest() {
    misbehaving(|moment, _| {
        assert!(moment != Moment::Given, "a defect of the follower");
        Ok(())
    });
}

#[test]
fn a_follower_with_too_few_or_too_long_outcomes_halts_applying_and_not_ingest() {
    misbehaving(|moment, applied| {
        if moment == Moment::Made {
            applied.outcomes.pop();
        }
        Ok(())
    });
    misbehaving(|moment, applied| {
        if moment == Moment::Made {
            applied.outcomes[3] = vec![0; 65_536].into();
        }
        Ok(())
    });
}

#[test]
fn a_follower_with_pages_out_of_order_halts_applying_and_not_ingest() {
    misbehaving(|moment, applied| {
        if moment == Moment::Made {
            let row = (tally_storage::contract::sample::key(1), None);
            applied.pages = vec![row.clone(), row];
        }
        Ok(())
    });
}

#[test]
fn a_follower_that_writes_what_is_not_its_own_halts_applying_and_not_ingest() {
    for family in Family::ALL.into_iter().filter(|family| !family.is_followers()) {
        let hook = move |moment, applied: &mut tally_core::Applied| {
            if moment == Moment::Made {
                applied.batch.put(family, tally_storage::contract::sample::key(1), "x");
            }
            Ok(())
        };
        let world = World::new();
        let strings = Strings::new(true);
        let node = start_ready(&world, &strings);
        caught_up(&node);
        strings.hook(hook);
        node.accept(events(&world, 4));
        assert!(why_halted(&node).contains(family.name()));
        node.stop();
    }
}

#[test]
fn a_follower_that_hangs_delays_no_receipt() {
    let world = World::new();
    let strings = Strings::new(true);
    let node = start_ready(&world, &strings);
    caught_up(&node);
    let (release, held) = channel::<()>();
    strings.hook(move |moment, _| {
        if moment == Moment::Given {
            let _ = held.recv();
        }
        Ok(())
    });
    let mut last = None;
    for _ in 0..20 {
        last = node.accept(events(&world, 100)).pop();
    }
    let applied = node.reader.ladder().applied;
    assert!(!applied.holds(last.unwrap().index));
    let lag = node.reader.ladder().signed.get() - applied.get();
    assert!(lag >= 2000, "{lag}");
    strings.unhook();
    drop(release);
    caught_up(&node);
    check(&world, &node);
    node.stop();
}

#[test]
fn a_failed_write_of_outcomes_poisons_the_node_and_a_restart_applies_the_range() {
    let world = World::new();
    let strings = Strings::new(true);
    let node = start_ready(&world, &strings);
    node.accept(events(&world, 20));
    caught_up(&node);
    let faults = world.engine.faults();
    let (fence, published) = (world.fence.clone(), world.config.publish_interval * 4);
    strings.hook(move |moment, _| {
        if moment == Moment::Made {
            // Everything else that is on its way is written first.
            std::thread::sleep(published);
            faults.fill_disk_at_write(1);
        }
        Ok(())
    });
    node.accept(events(&world, 20));
    until("poisoned", || matches!(node.reader.state(), NodeState::Poisoned(_)));
    assert!(matches!(node.reader.state(), NodeState::Poisoned(why) if why.contains("outcomes")));
    assert!(why_halted(&node).contains("outcomes"));
    drop(node);
    let world = world.after(world.engine.crash(Crash::Process), fence);
    let node = start(&world, &Strings::new(true));
    caught_up(&node);
    check(&world, &node);
    node.stop();
}

/// Applies the same events, cut differently, with restarts, and gives the roots.
fn run_cut(chunks: &[usize], restart_every: usize) -> (TreeSize, RootHash, Checkpoint) {
    let world = World::new();
    let strings = Strings::new(false);
    let mut node = start_ready(&world, &strings);
    let frames = events(&world, 400);
    let mut rest = frames.as_slice();
    for (at, take) in chunks.iter().copied().cycle().enumerate() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at(take.min(rest.len()));
        node.accept(now.to_vec());
        rest = later;
        if at % restart_every == restart_every - 1 {
            node.stop();
            node = start(&world, &strings);
        }
    }
    caught_up(&node);
    let outcomes = check(&world, &node);
    let log = node.reader.checkpoint().checkpoint.clone();
    node.stop();
    (log.size, log.root, outcomes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn the_same_events_have_the_same_outcomes_however_they_are_cut(
        chunks in prop::collection::vec(1usize..120, 1..6),
        restart_every in 1usize..12,
    ) {
        prop_assert_eq!(run_cut(&chunks, restart_every), run_cut(&[100], 1000));
    }
}

/// A real process on real files, aborted at each fail point of applying.
#[cfg(feature = "failpoints")]
mod failpoints {
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;
    use std::process::{Command, ExitStatus};

    use tally_core::{APPLY_FAIL_POINTS, FileFence, Lane, Parts, Sequencer};
    use tally_storage::{RocksConfig, open_rocks};

    use super::*;

    const DIRECTORY: &str = "TALLY_FOLLOWERS_CHILD";
    const SIGABRT: i32 = 6;

    fn open(world: &World, directory: &Path) -> (Arc<dyn Engine>, Node) {
        let engine = open_rocks(&directory.join("db"), &RocksConfig::SMALL).unwrap();
        let fence = Box::new(FileFence::open(&directory.join("fence")).unwrap());
        let parts = Parts { engine: Arc::clone(&engine), fence, ..world.parts() };
        let follower = Model::over(Arc::clone(&engine), &Strings::new(true));
        (engine, Node::of(Sequencer::start_followed(world.config.clone(), parts, follower).unwrap()))
    }

    /// Not a test by itself: in a child it brings the log on and checks what is applied, unless it is aborted.
    #[test]
    fn child_that_applies() {
        let Some(directory) = std::env::var_os(DIRECTORY) else { return };
        let world = World::new();
        let (engine, node) = open(&world, Path::new(&directory));
        assert_eq!(node.reader.state(), NodeState::Running);
        // Those that are there from the run before have the same ids and get their first receipts.
        node.submit_one(world.tenant_created(TENANT, true));
        node.submit_one(world.key_registered(AGENT, 1, AGENT_KEY));
        for frames in events(&world, 600).chunks(60) {
            node.submitter.submit(Lane(1), frames.to_vec()).unwrap().wait().unwrap();
            std::thread::sleep(Duration::from_millis(15));
        }
        caught_up(&node);
        let checkpoint = check_in(&world, &node, &engine);
        assert_eq!(checkpoint.size, TreeSize::new(603));
        node.stop();
    }

    fn child(directory: &Path, failpoint: Option<&str>) -> ExitStatus {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["failpoints::child_that_applies", "--exact", "--nocapture"]).env(DIRECTORY, directory);
        if let Some(failpoint) = failpoint {
            command.env("TALLY_FAILPOINT", failpoint);
        }
        command.output().unwrap().status
    }

    #[test]
    fn a_crash_at_any_fail_point_of_applying_leaves_the_same_outcomes() {
        for point in APPLY_FAIL_POINTS {
            let once = ["apply.cleared", "apply.opened"].contains(point);
            for nth in if once { 1..=1 } else { 1..=3 } {
                let directory = tempfile::tempdir().unwrap();
                let crashed = child(directory.path(), Some(&format!("{point}:{nth}")));
                assert_eq!(crashed.signal(), Some(SIGABRT), "{point}:{nth}: {crashed}");
                let finished = child(directory.path(), None);
                assert!(finished.success(), "{point}:{nth}: {finished}");
            }
        }
    }
}
