//! The laws of the typed stores.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::batch::Commitment;
use tally_protocol::hash::{LedgerId, RunHash, StateRoot, VesNode};
use tally_protocol::id::{Index, Sequence, Stream, TreeSize};
use tally_protocol::run::EncodedRun;
use tally_protocol::time::LogTime;

use super::Lab;
use super::sample::{LEDGER, event_id, positions, run, stream};
use crate::batch::{Batch, Durability, Engine};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{MetaKey, RunKey, TileKey};
use crate::tile_store::{MIDDLE_ROW_BYTES, TILE_BYTES};
use crate::{
    CheckpointStore, CommitmentStore, CredentialStore, DerivedIndex, EventLog, FORMAT_VERSION, LatestCheckpoint,
    MetaStore, PublishedCheckpoint, TileStore, clear_derived,
};

fn write(engine: &dyn Engine, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    engine.write(batch, Durability::Synced).expect("write");
}

fn index(number: u64) -> Index {
    Index::new(number)
}

/// Three runs of two streams: 1 to 3, 4 to 5, 6.
fn three_runs(engine: &Arc<dyn Engine>) -> Vec<EncodedRun> {
    let (a, b) = (stream(1), stream(2));
    let log = EventLog::new(Arc::clone(engine));
    let (mut first, mut previous, mut runs) = (1, RunHash::ZERO, Vec::new());
    for events in [vec![(a, 1), (b, 1), (a, 2)], vec![(b, 2), (b, 3)], vec![(a, 3)]] {
        let made = run(first, previous, &events, "text");
        write(&**engine, |batch| log.append(batch, &made, &positions(&events)));
        (first, previous) = (first + events.len() as u64, made.hash);
        runs.push(made);
    }
    runs
}

/// No run, no tip.
pub fn an_empty_log_has_nothing(lab: &mut impl Lab) {
    let log = EventLog::new(lab.fresh());
    assert_eq!(log.tip().expect("read"), None);
    assert!(log.run_containing(index(0)).expect("read").is_none());
    assert!(log.run_containing(index(u64::MAX)).expect("read").is_none());
    assert!(log.runs_from(index(0), 10).expect("read").is_empty());
    assert!(log.run_of(stream(1), Sequence::new(1)).expect("read").is_none());
}

fn check_three_runs(log: &EventLog, runs: &[EncodedRun]) {
    let tip = log.tip().expect("read").expect("there");
    assert_eq!((tip.first_index, tip.count, tip.hash), (index(6), 1, runs[2].hash));
    assert_eq!(tip.next_index(), index(7));

    let first_of = |at| log.run_containing(index(at)).expect("read").map(|run| run.header().first_index.get());
    let firsts: Vec<_> = (0..9).map(first_of).collect();
    assert_eq!(firsts, [None, Some(1), Some(1), Some(1), Some(4), Some(4), Some(6), None, None]);

    let from = |at, max| -> Vec<u64> {
        let runs = log.runs_from(index(at), max).expect("read");
        runs.iter().map(|run| run.header().first_index.get()).collect()
    };
    assert_eq!(from(0, 10), [1, 4, 6]);
    assert_eq!(from(2, 10), [1, 4, 6]);
    assert_eq!(from(5, 1), [4]);
    assert_eq!(from(4, 2), [4, 6]);
    assert!(from(7, 10).is_empty() && from(1, 0).is_empty());

    let of = |stream: Stream, sequence| {
        let run = log.run_of(stream, Sequence::new(sequence)).expect("read");
        run.map(|run| run.header().first_index.get())
    };
    let (a, b) = (stream(1), stream(2));
    assert_eq!([of(a, 1), of(a, 2), of(a, 3)], [Some(1), Some(1), Some(6)]);
    assert_eq!([of(b, 1), of(b, 2), of(b, 3)], [Some(1), Some(4), Some(4)]);
    assert_eq!([of(a, 0), of(stream(0), 1), of(stream(3), 1)], [None; 3]);
    assert_eq!(of(b, u64::MAX), Some(4), "the run that would hold it");

    for (stored, made) in log.runs_from(index(0), 10).expect("read").iter().zip(runs) {
        assert_eq!((stored.bytes(), stored.hash()), (&made.bytes, made.hash));
    }
}

/// The look-ups of [`EventLog`] at and around every bound.
pub fn runs_are_found_by_position_and_by_sequence(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let runs = three_runs(&engine);
    check_three_runs(&EventLog::new(engine), &runs);
}

/// From table files as from write buffers.
pub fn the_log_is_the_same_after_opening_again(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let runs = three_runs(&engine);
    let engine = lab.reopen(engine);
    engine.flush().expect("flush");
    let engine = lab.reopen(engine);
    check_three_runs(&EventLog::new(engine), &runs);
}

/// One changed byte of a value: an error that names the place, not another event.
pub fn a_damaged_run_is_refused_by_name(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let runs = three_runs(&engine);
    let mut damaged = runs[1].bytes.to_vec();
    damaged[200] ^= 1;
    write(&*engine, |batch| batch.put(Family::Runs, RunKey(index(4)).encode(), damaged));
    let log = EventLog::new(engine);
    let refused = |result: Result<_, StorageError>| match result {
        Err(StorageError::BadValue { family: Family::Runs, key, .. }) => assert_eq!(key, "0000000000000004"),
        other => panic!("{other:?}"),
    };
    refused(log.run_containing(index(5)).map(|_| ()));
    refused(log.runs_from(index(1), 3).map(|_| ()));
    refused(log.run_of(stream(2), Sequence::new(3)).map(|_| ()));
    assert!(log.run_containing(index(1)).expect("read").is_some() && log.tip().expect("read").is_some());
}

/// A whole run in another's place.
pub fn a_run_under_a_foreign_key_is_refused(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let runs = three_runs(&engine);
    write(&*engine, |batch| batch.put(Family::Runs, RunKey(index(7)).encode(), runs[0].bytes.clone()));
    write(&*engine, |batch| batch.delete(Family::Runs, RunKey(index(1)).encode()));
    let log = EventLog::new(engine);
    assert!(matches!(log.tip(), Err(StorageError::BadValue { family: Family::Runs, .. })));
    // A position that leads nowhere.
    let lost = log.run_of(stream(1), Sequence::new(1));
    assert!(matches!(lost, Err(StorageError::BadValue { family: Family::Positions, .. })));
}

/// All 8192 bytes, with or without the 512 of their row, or an error.
pub fn tiles_are_stored_whole(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let tiles = TileStore::new(Arc::clone(&engine));
    let (tile, row) = ([0xee; TILE_BYTES], [0xdd; MIDDLE_ROW_BYTES]);
    write(&*engine, |batch| tiles.put(batch, (1, 2), &tile, &row));
    let stored = tiles.get(1, 2).expect("read").expect("there");
    assert_eq!((stored.hashes().as_ref(), stored.middle_row().as_deref()), (&tile[..], Some(&row[..])));
    assert_eq!(stored.value()[..], [&tile[..], &row[..]].concat());
    assert_eq!(tiles.get(2, 1).expect("read"), None);
    let key = TileKey { level: 0, index: 0 }.encode();
    write(&*engine, |batch| batch.put(Family::Tiles, key.clone(), tile.to_vec()));
    let bare = tiles.get(0, 0).expect("read").expect("there");
    assert_eq!((bare.hashes().as_ref(), bare.middle_row()), (&tile[..], None));
    for length in [0, 32, 512, 8191, 8193, 8703, 8705, 16_384] {
        write(&*engine, |batch| batch.put(Family::Tiles, key.clone(), vec![0; length]));
        assert!(matches!(tiles.get(0, 0), Err(StorageError::BadValue { family: Family::Tiles, .. })), "{length}");
    }
}

/// One newest checkpoint, with its frontier.
pub fn the_newest_checkpoint_replaces_the_one_before(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let store = CheckpointStore::new(Arc::clone(&engine));
    assert_eq!(store.latest().expect("read"), None);
    let latest = |size, frontier: &'static [u8]| LatestCheckpoint {
        size: TreeSize::new(size),
        note: format!("origin\n{size}\n\n— sig\n"),
        frontier: Bytes::from_static(frontier),
    };
    write(&*engine, |batch| store.put_latest(batch, &latest(5, b"five")));
    write(&*engine, |batch| store.put_latest(batch, &latest(9, b"")));
    assert_eq!(store.latest().expect("read"), Some(latest(9, b"")));
    assert_eq!(store.published_latest().expect("read"), None, "signed is not published");
    drop(store);
    let engine = lab.reopen(engine);
    let store = CheckpointStore::new(Arc::clone(&engine));
    assert_eq!(store.latest().expect("read"), Some(latest(9, b"")));
    write(&*engine, |batch| batch.put(Family::Checkpoints, crate::keys::CheckpointKey::Latest.encode(), vec![1; 11]));
    assert!(matches!(store.latest(), Err(StorageError::BadValue { family: Family::Checkpoints, .. })));
}

/// The greatest size is the latest, whatever the order of writing.
pub fn published_checkpoints_are_kept_by_size(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let store = CheckpointStore::new(Arc::clone(&engine));
    let published = |size, note: &str| PublishedCheckpoint { size: TreeSize::new(size), note: note.to_owned() };
    for size in [300, 7, 256] {
        write(&*engine, |batch| store.put_published(batch, &published(size, "one")));
    }
    write(&*engine, |batch| store.put_published(batch, &published(300, "one and two")));
    assert_eq!(store.published_latest().expect("read"), Some(published(300, "one and two")));
    assert_eq!(store.published_at(TreeSize::new(7)).expect("read"), Some(published(7, "one")));
    assert_eq!(store.published_at(TreeSize::new(8)).expect("read"), None);
    assert_eq!(store.latest().expect("read"), None, "published is not the newest signed");
}

/// Rows in segments of 16, so that few of them make many.
fn small(engine: &Arc<dyn Engine>) -> DerivedIndex {
    DerivedIndex::open_small(Arc::clone(engine), &LEDGER, 16).expect("open")
}

/// Adds the events `from..to` of stream 1: event `n` has id `n` and belongs to entity `n % 7`.
fn add_events(derived: &DerivedIndex, from: u64, to: u64) {
    let mut rows = derived.rows();
    for number in from..to {
        rows.put_event_id(&stream(1), &event_id(number), index(number));
        rows.put_entity(&stream(1), "order", &format!("o-{}", number % 7), index(number));
        rows.put_stream_head(&stream(1), Sequence::new(number));
    }
    derived.add(rows, index(to)).expect("add");
}

fn check_events(derived: &DerivedIndex, end: u64) {
    let asked: Vec<_> = (0..end + 50).map(|number| (stream(1), event_id(number))).collect();
    let found = derived.find_event_ids(&asked).expect("read");
    for (number, found) in found.into_iter().enumerate() {
        let expected = (1..end).contains(&(number as u64)).then(|| index(number as u64));
        assert_eq!(found, expected, "event {number} of {end}");
    }
    for entity in 0..8 {
        let expected: Vec<u64> = (1..end).filter(|number| number % 7 == entity).collect();
        let mut found: Vec<u64> = Vec::new();
        loop {
            let after = found.last().copied().map(index);
            let page = derived.entity_page(&stream(1), "order", &format!("o-{entity}"), after, 13).expect("read");
            if page.is_empty() {
                break;
            }
            found.extend(page.into_iter().map(Index::get));
        }
        assert_eq!(found, expected, "entity {entity} of {end}");
    }
    assert_eq!(derived.count_rows().expect("whole"), (end - 1, end - 1));
}

/// Rows and cursor reach the disk together; what did not is put again from the log.
pub fn rows_behind_the_cursor_come_back_with_it(lab: &mut impl Lab) {
    let mut engine = lab.fresh();
    let derived = small(&engine);
    assert_eq!(derived.cursor(), index(0));
    add_events(&derived, 1, 6);
    assert_eq!(derived.cursor(), index(6));
    check_events(&derived, 6);
    drop(derived);
    engine = lab.reopen(engine);
    let derived = small(&engine);
    assert_eq!(derived.cursor(), index(0), "five rows are no segment");
    assert_eq!(derived.find_event_ids(&[(stream(1), event_id(1))]).expect("read"), [None]);
    add_events(&derived, 1, 6);
    derived.flush().expect("flush");
    assert_eq!((derived.stats().recent_rows, derived.stats().rows), (0, 10));
    derived.flush().expect("flushing nothing is nothing");
    drop(derived);
    engine = lab.reopen(engine);
    let derived = small(&engine);
    assert_eq!(derived.cursor(), index(6));
    check_events(&derived, 6);
    assert_eq!(derived.stream_heads().expect("read"), [(stream(1), Sequence::new(5))]);
}

/// However many segments there were, and wherever it was opened again.
pub fn rows_are_found_through_every_merge(lab: &mut impl Lab) {
    let mut engine = lab.fresh();
    let mut derived = small(&engine);
    let mut end = 1;
    for step in 0..200u64 {
        let more = 1 + step * 7 % 20;
        add_events(&derived, end, end + more);
        end += more;
        if step % 57 == 3 {
            check_events(&derived, end);
        }
        if step % 67 == 5 {
            derived.flush().expect("flush");
            drop(derived);
            engine = lab.reopen(engine);
            derived = small(&engine);
            assert_eq!(derived.cursor(), index(end));
        }
    }
    check_events(&derived, end);
    let segments = derived.stats().segments;
    assert!(segments < 2 * 3 * 12, "{segments} segments of {end} events: they were not merged");
    assert!(engine.stats().loaded_bytes < 5 * end * 2 * 22, "each row is written once per tier");
}

/// The same id elsewhere is another id.
pub fn event_ids_are_found_per_stream_and_ledger(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let derived = small(&engine);
    let mut rows = derived.rows();
    rows.put_event_id(&stream(2), &event_id(5), index(7));
    for number in 0..100 {
        rows.put_event_id(&stream(1), &event_id(number), index(1_000 + number));
    }
    derived.add(rows, index(2_000)).expect("add");
    let asked =
        [(stream(1), event_id(5)), (stream(2), event_id(5)), (stream(3), event_id(5)), (stream(1), event_id(99))];
    let found = derived.find_event_ids(&asked).expect("read");
    assert_eq!(found, [Some(index(1_005)), Some(index(7)), None, Some(index(1_099))]);
    let other = DerivedIndex::open(engine, &LedgerId::from_bytes([1; 32])).expect("open");
    assert_eq!(other.find_event_ids(&asked[..1]).expect("read"), [None]);
}

/// Ascending, resumable, and only this entity's; one entity may fill many pages.
pub fn entities_are_paged_in_log_order(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let derived = small(&engine);
    let many: Vec<u64> = (10_000..12_000).collect();
    for stretch in [&[3, 255, 256, 700][..], &many, &[20_000]] {
        let mut rows = derived.rows();
        for at in stretch {
            rows.put_entity(&stream(1), "order", "o-1", index(*at));
        }
        if stretch[0] == 3 {
            rows.put_entity(&stream(1), "order", "o-2", index(704));
            rows.put_entity(&stream(2), "order", "o-1", index(705));
            rows.put_entity(&stream(1), "ordero", "-1", index(706));
        }
        derived.add(rows, index(stretch[stretch.len() - 1] + 10)).expect("add");
        derived.flush().expect("flush");
    }
    let page = |after: Option<u64>, limit| -> Vec<u64> {
        let page = derived.entity_page(&stream(1), "order", "o-1", after.map(index), limit).expect("read");
        page.into_iter().map(Index::get).collect()
    };
    assert_eq!(page(None, 2), [3, 255]);
    assert_eq!(page(Some(255), 2), [256, 700]);
    assert_eq!(page(Some(0), 1), [3]);
    for after in [9_999, 10_000, 10_199, 10_200, 11_500, 11_998] {
        assert_eq!(page(Some(after), 3), (after + 1..12_000).chain([20_000]).take(3).collect::<Vec<_>>());
    }
    assert_eq!(page(None, 10_000).len(), 2_005);
    assert!(page(Some(u64::MAX), 10).is_empty() && page(None, 0).is_empty());
    assert!(derived.entity_page(&stream(9), "order", "o-1", None, 10).expect("read").is_empty());
}

/// A segment that no batch named is swept away by the next writer.
pub fn what_a_crash_left_of_a_segment_is_swept_away(lab: &mut impl Lab) {
    let engine = lab.fresh();
    add_events(&small(&engine), 1, 40);
    let key = |segment| crate::keys::SegmentKey { segment, part: crate::keys::SegmentPart::Page, number: 0 }.encode();
    for segment in [1, 7] {
        engine.load(Family::EventIds, vec![(key(segment), Bytes::from_static(b"half"))]).expect("load");
    }
    let engine = lab.reopen(engine);
    let derived = small(&engine);
    add_events(&derived, 40, 80);
    check_events(&derived, 80);
    let left = engine.get(Family::EventIds, &key(7)).expect("read");
    assert_eq!(left, None);
}

/// More of them than one scan reads.
pub fn all_streams_and_control_events_are_listed(lab: &mut impl Lab) {
    const MANY: u64 = 4_096 * 2 + 1;
    let engine = lab.fresh();
    let derived = small(&engine);
    assert!(derived.stream_heads().expect("read").is_empty() && derived.control_indexes().expect("read").is_empty());
    let numbered = |number: u64| {
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&number.to_be_bytes());
        Stream::from_bytes(&bytes)
    };
    for (from, to) in [(0, MANY - 5), (MANY - 5, MANY)] {
        let mut rows = derived.rows();
        for number in from..to {
            rows.put_event_id(&numbered(number), &event_id(number), index(number));
            rows.put_stream_head(&numbered(number), Sequence::new(1));
            rows.put_control(index(number));
        }
        if to == MANY {
            rows.put_stream_head(&numbered(3), Sequence::new(9));
        }
        // The first are stored, the last are in memory.
        derived.add(rows, index(to)).expect("add");
    }
    let heads = derived.stream_heads().expect("read");
    assert_eq!(heads.len() as u64, MANY);
    for (number, (stream, head)) in heads.iter().enumerate() {
        assert_eq!((*stream, head.get()), (numbered(number as u64), if number == 3 { 9 } else { 1 }));
    }
    let control: Vec<_> = derived.control_indexes().expect("read").into_iter().map(Index::get).collect();
    assert_eq!(control, (0..MANY).collect::<Vec<_>>());
    assert_eq!(derived.cursor(), index(MANY));
}

/// [`clear_derived`] takes all of it with the cursor.
pub fn what_is_derived_can_be_deleted_and_truth_stays(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let runs = three_runs(&engine);
    let derived = small(&engine);
    let checkpoints = CheckpointStore::new(Arc::clone(&engine));
    let (tiles, meta) = (TileStore::new(Arc::clone(&engine)), MetaStore::new(Arc::clone(&engine)));
    let note = "note".to_owned();
    let published = PublishedCheckpoint { size: TreeSize::new(7), note: note.clone() };
    write(&*engine, |batch| {
        tiles.put(batch, (0, 0), &[1; TILE_BYTES], &[2; MIDDLE_ROW_BYTES]);
        checkpoints.put_latest(batch, &LatestCheckpoint { size: TreeSize::new(7), note, frontier: Bytes::new() });
        checkpoints.put_published(batch, &published);
        meta.put_genesis(batch, b"genesis").expect("first");
    });
    let mut rows = derived.rows();
    rows.put_event_id(&stream(1), &event_id(1), index(1));
    rows.put_entity(&stream(1), "order", "o-1", index(1));
    rows.put_stream_head(&stream(1), Sequence::new(3));
    rows.put_control(index(1));
    derived.add(rows, index(7)).expect("add");
    derived.flush().expect("flush");
    assert_eq!(small(&engine).cursor(), index(7));
    drop(derived);
    clear_derived(&*engine).expect("clear");
    let derived = small(&engine);
    assert_eq!(derived.cursor(), index(0));
    assert_eq!(derived.find_event_ids(&[(stream(1), event_id(1))]).expect("read"), [None]);
    assert!(derived.entity_page(&stream(1), "order", "o-1", None, 9).expect("read").is_empty());
    assert!(derived.stream_heads().expect("read").is_empty() && derived.control_indexes().expect("read").is_empty());
    assert!(tiles.get(0, 0).expect("read").is_none() && checkpoints.latest().expect("read").is_none());

    assert_eq!(checkpoints.published_latest().expect("read"), Some(published));
    assert_eq!(meta.genesis().expect("read").as_deref(), Some(&b"genesis"[..]));
    check_three_runs(&EventLog::new(engine), &runs);
}

fn commitment(of: Stream, first: u64, leaves: usize) -> Commitment {
    let (root, previous) = (VesNode::from_bytes([first as u8; 32]), StateRoot::ZERO);
    let time = LogTime::from_micros(1_700_000_000_000_000);
    Commitment::new(&LEDGER, of, Sequence::new(first), leaves, root, previous, time).expect("within bounds")
}

/// The look-ups of [`CommitmentStore`].
pub fn commitments_are_found_by_range_and_by_id(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let store = CommitmentStore::new(Arc::clone(&engine));
    let (a, b) = (stream(1), stream(2));
    assert_eq!(store.latest(a).expect("read"), None);
    let made = [commitment(a, 1, 4), commitment(a, 5, 1), commitment(a, 300, 2), commitment(b, 1, 1)];
    write(&*engine, |batch| made.iter().for_each(|made| store.put(batch, made)));
    assert_eq!(store.latest(a).expect("read").as_ref(), Some(&made[2]));
    assert_eq!(store.latest(b).expect("read").as_ref(), Some(&made[3]));
    assert_eq!(store.latest(stream(3)).expect("read"), None);
    for made in &made {
        assert_eq!(store.by_id(made.batch_id).expect("read").as_ref(), Some(made));
    }
    assert_eq!(store.by_id([0; 16]).expect("read"), None);

    let page = |after: Option<u64>, limit| store.page(a, after.map(Sequence::new), limit).expect("read");
    assert_eq!(page(None, 10), made[..3]);
    assert_eq!(page(Some(1), 1), made[1..2]);
    assert_eq!(page(Some(4), 10), made[1..3]);
    assert!(page(Some(300), 10).is_empty());

    let covering = |sequence| store.covering(a, Sequence::new(sequence)).expect("read");
    assert_eq!([covering(1), covering(4)], [Some(made[0].clone()), Some(made[0].clone())]);
    assert_eq!([covering(5), covering(301)], [Some(made[1].clone()), Some(made[2].clone())]);
    assert_eq!([covering(0), covering(6), covering(299), covering(302)], [const { None }; 4]);
}

/// Opaque records under 32 bytes.
pub fn credentials_come_and_go(lab: &mut impl Lab) {
    let store = CredentialStore::new(lab.fresh());
    for id in [3, 1, 2] {
        store.put(&[id; 32], &[id]).expect("write");
    }
    store.put(&[1; 32], b"new").expect("write");
    assert_eq!(store.get(&[1; 32]).expect("read").as_deref(), Some(&b"new"[..]));
    assert_eq!(store.get(&[9; 32]).expect("read"), None);
    let list = |after: Option<u8>, limit| -> Vec<u8> {
        let rows = store.list(after.map(|id| [id; 32]).as_ref(), limit).expect("read");
        rows.into_iter().map(|(id, _)| id[0]).collect()
    };
    assert_eq!(list(None, 10), [1, 2, 3]);
    assert_eq!(list(Some(1), 1), [2]);
    store.delete(&[2; 32]).expect("write");
    store.delete(&[2; 32]).expect("again is no failure");
    assert_eq!(list(None, 10), [1, 3]);
}

/// Unknown versions, unmarked content and a second ledger are refused.
pub fn a_database_belongs_to_one_format_and_one_ledger(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let meta = MetaStore::new(Arc::clone(&engine));
    meta.check_format(true).expect("an empty database is marked");
    meta.check_format(false).expect("a marked one is known");
    assert_eq!(meta.genesis().expect("read"), None);
    write(&*engine, |batch| meta.put_genesis(batch, b"ours").expect("the first"));
    let mut batch = Batch::new();
    meta.put_genesis(&mut batch, b"ours").expect("the same again");
    assert!(batch.is_empty());
    assert_eq!(meta.put_genesis(&mut batch, b"theirs"), Err(StorageError::GenesisExists));

    for strange in [&(FORMAT_VERSION + 1).to_be_bytes()[..], b"1"] {
        write(&*engine, |batch| batch.put(Family::Meta, MetaKey::Format.encode(), strange.to_vec()));
        assert!(matches!(meta.check_format(true), Err(StorageError::UnknownFormat { .. })));
    }
    write(&*engine, |batch| batch.delete(Family::Meta, MetaKey::Format.encode()));
    assert!(matches!(meta.check_format(true), Err(StorageError::UnknownFormat { .. })), "content without a version");
}
