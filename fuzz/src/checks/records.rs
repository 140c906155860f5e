//! What the log commits and the store keeps: entries, commitments, stored runs, the tree's frontier.

use bytes::Bytes;
use tally_merkle::Frontier;
use tally_protocol::batch::Commitment;
use tally_protocol::entry::{Entry, EventEntry, Genesis, PROFILE};
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LeafHash, LedgerId, RunHash, SigningHash, StateRoot, VesNode};
use tally_protocol::id::{AgentId, Epoch, Index, Sequence, StoreId, Stream, TenantId};
use tally_protocol::key::{Signature, SigningKey};
use tally_protocol::run::{RUN_HEADER_BYTES, Record, RecordIn, RunBuilder, RunError, RunView, StoredRun};
use tally_protocol::time::LogTime;

use crate::{Shape, Target, shape_of};

pub(super) const ENTRY: Target = Target {
    name: "entry",
    about: "an entry of the log: genesis or event",
    files: &["sdk/protocol/src/entry.rs"],
    words: &[b"TALLY_ENTRY_V1", b"\0", b"\x01", b"\x02", b"tally/1", b"\0\0\0\0\0\0\0\0"],
    seeds: || vec![genesis().encode(), event_entry().encode().to_vec()],
    check: entry,
};

pub(super) const FRONTIER: Target = Target {
    name: "frontier",
    about: "the stored right edge of the tree",
    files: &["sdk/merkle/src/frontier.rs"],
    words: &[b"\0\0\0\0\0\0\0\0", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\0\0\0\0\0\0\0\x07"],
    seeds: frontier_seeds,
    check: frontier,
};

pub(super) const COMMITMENT: Target = Target {
    name: "commitment",
    about: "a stream's VES commitment as stored",
    files: &["sdk/protocol/src/batch.rs"],
    words: &[b"\0\0\0\x01", b"\0\0\0\0\0\0\0\x01", b"\0\0\0\x08", b"\x03", b"\xff\xff\xff\xff"],
    seeds: commitment_seeds,
    check: commitment,
};

pub(super) const RUN: Target = Target {
    name: "run",
    about: "a stored run; the check repairs its checksum, so that mutants reach what lies behind it",
    files: &["sdk/protocol/src/run.rs"],
    words: &[b"TRUN", b"VES_EVENTSIG_V1", b"\0\0\0\x01", b"\0\x01", b"\0\0", b"\x01", b"\xff\xff\xff\xff"],
    seeds: run_seeds,
    check: run,
};

pub(super) const RUN_VIEW: Target = Target {
    name: "run-view",
    about: "a stored run of which only some records are read, held against the reading of all of it",
    files: &["sdk/protocol/src/run/view.rs"],
    words: RUN.words,
    seeds: run_seeds,
    check: run_view,
};

pub(super) fn receipt_key() -> SigningKey {
    SigningKey::from_seed([2; 32])
}

pub(super) fn genesis() -> Genesis {
    let key = |seed| SigningKey::from_seed([seed; 32]).public_key();
    Genesis {
        origin: "example.org/tally".to_owned(),
        profile: PROFILE.to_owned(),
        created_at: LogTime::from_micros(1_767_322_800_000_000),
        nonce: [12; 16],
        checkpoint_key: key(1),
        receipt_key: receipt_key().public_key(),
        root_agent: AgentId::from_bytes([13; 16]),
        root_key: key(3),
    }
}

fn event_entry() -> EventEntry {
    EventEntry {
        stream: Stream { tenant: TenantId::from_bytes([1; 16]), store: StoreId::from_bytes([2; 16]) },
        sequence: Sequence::new(7),
        signing_hash: SigningHash::from_bytes([3; 32]),
        signature: Signature::from_bytes([4; 64]),
        public_key: SigningKey::from_seed([5; 32]).public_key(),
        sequenced_at: LogTime::from_micros(1_767_322_800_000_001),
    }
}

fn entry(input: &[u8]) -> Shape {
    match Entry::decode(input) {
        Ok(entry) => {
            assert_eq!(entry.encode(), input, "encoding what was decoded gave other bytes");
            assert_eq!(entry.leaf_hash(), tally_protocol::hash::leaf(input));
            match entry {
                Entry::Genesis(genesis) => {
                    assert_eq!(genesis.ledger_id().as_bytes(), genesis.leaf_hash().as_bytes());
                    "genesis".to_owned()
                }
                Entry::Event(_) => "event".to_owned(),
            }
        }
        Err(error) => shape_of(&error),
    }
}

fn frontier_seeds() -> Vec<Vec<u8>> {
    let mut frontier = Frontier::new();
    let mut seeds = vec![frontier.encode()];
    for number in 0_u8..11 {
        frontier.append(LeafHash::from_bytes([number; 32]));
        seeds.push(frontier.encode());
    }
    seeds
}

fn frontier(input: &[u8]) -> Shape {
    match Frontier::decode(input) {
        Ok(mut frontier) => {
            assert_eq!(frontier.encode(), input, "encoding what was decoded gave other bytes");
            let size = frontier.size().get();
            assert_eq!(frontier.peaks().len() as u32, size.count_ones());
            let _ = frontier.root();
            if size < u64::MAX {
                frontier.append(LeafHash::ZERO);
                assert_eq!(frontier.size().get(), size + 1);
            }
            format!("accepted {}", frontier.peaks().len().min(4))
        }
        Err(error) => shape_of(&error),
    }
}

fn stream() -> Stream {
    Stream { tenant: TenantId::from_bytes([1; 16]), store: StoreId::from_bytes([2; 16]) }
}

fn commitment_seeds() -> Vec<Vec<u8>> {
    let made = |leaves| {
        let range = (Sequence::new(5), leaves);
        let (root, previous) = (VesNode::from_bytes([6; 32]), StateRoot::from_bytes([7; 32]));
        let at = LogTime::from_micros(1_767_322_800_000_002);
        Commitment::new(&LedgerId::from_bytes([8; 32]), stream(), range.0, range.1, root, previous, at)
    };
    [1, 5, 8].into_iter().filter_map(|leaves| Some(made(leaves).ok()?.encode())).collect()
}

fn commitment(input: &[u8]) -> Shape {
    match Commitment::decode(input) {
        Ok(commitment) => {
            assert_eq!(commitment.encode(), input, "encoding what was decoded gave other bytes");
            assert_eq!(commitment.check(), Ok(()));
            assert!(!commitment.follows(&commitment), "a commitment follows itself");
            format!("accepted {}", commitment.tree_depth.min(4))
        }
        Err(error) => shape_of(&error),
    }
}

fn run_seeds() -> Vec<Vec<u8>> {
    let made = |events: u64| {
        let start = LogTime::from_micros(1_767_322_800_000_000);
        let (ledger, previous) = (LedgerId::from_bytes([8; 32]), RunHash::from_bytes([9; 32]));
        let mut builder = RunBuilder::new(ledger, Epoch::new(1), Index::new(1), previous, start);
        for event in 0..events {
            let key = SigningKey::from_seed([event as u8 & 1; 32]);
            let payload = format!("{{\"n\":{event}}}");
            let fields = super::wire::fields(payload.as_bytes());
            let frame = Frame::build(&fields, payload.as_bytes(), |hash| key.sign(hash.as_bytes()));
            let frame = frame.expect("the seed is a lawful frame");
            let sequenced_at = LogTime::from_micros(start.micros() + event);
            let sequence = Sequence::new(event + 1);
            let record = RecordIn { sequence, sequenced_at, public_key: key.public_key(), frame: &frame };
            builder.push(record).expect("the seed is a lawful record");
        }
        builder.finish().expect("the seed is a lawful run").bytes.to_vec()
    };
    vec![made(1), made(3)]
}

fn run(input: &[u8]) -> Shape {
    let asis = StoredRun::decode(Bytes::copy_from_slice(input));
    let repaired = with_checksum(input);
    if repaired != input {
        assert!(asis.is_err(), "a run with a wrong checksum was read");
    }
    let run = match StoredRun::decode(Bytes::from(repaired)) {
        Ok(run) => run,
        Err(error) => return shape_of(&error),
    };
    let header = run.header();
    let mut builder =
        RunBuilder::new(header.ledger, header.epoch, header.first_index, header.previous, header.base_time);
    for (at, record) in (header.first_index.get()..).zip(run.records()) {
        let alone = run.record(Index::new(at)).expect("every index of the run has its record");
        assert_eq!((record.index.get(), record.frame.bytes()), (at, alone.frame.bytes()));
        let (sequence, sequenced_at) = (record.sequence, record.sequenced_at);
        let record = RecordIn { sequence, sequenced_at, public_key: record.public_key, frame: &record.frame };
        builder.push(record).expect("a record that was read can be written");
    }
    let again = builder.finish().expect("a run that was read can be written");
    assert_eq!(&again.bytes, run.bytes(), "encoding what was decoded gave other bytes");
    assert_eq!(again.hash, run.hash());
    format!("accepted {}", run.count().min(4))
}

/// A run with the checksum that its bytes have.
fn with_checksum(input: &[u8]) -> Vec<u8> {
    let mut repaired = input.to_vec();
    if repaired.len() >= RUN_HEADER_BYTES {
        let (head, body) = repaired.split_at_mut(RUN_HEADER_BYTES);
        let (covered, field) = head.split_at_mut(RUN_HEADER_BYTES - 4);
        field.copy_from_slice(&crc32c(covered.iter().chain(body.iter())).to_be_bytes());
    }
    repaired
}

/// A view opens every run that decodes and gives its records; what it opens beyond that has something wrong that it
/// does not promise to see: inside a record, or in the order of the key table.
fn run_view(input: &[u8]) -> Shape {
    let bytes = Bytes::from(with_checksum(input));
    if bytes != input {
        assert!(RunView::open(Bytes::copy_from_slice(input)).is_err(), "a run with a wrong checksum was opened");
    }
    let run = StoredRun::decode(bytes.clone());
    let view = match (RunView::open(bytes), &run) {
        (Ok(view), _) => view,
        (Err(error), Ok(_)) => panic!("a run that decodes is not opened: {error:?}"),
        (Err(error), Err(strict)) => {
            let of_records = matches!(error, RunError::RecordBounds(_) | RunError::KeyTable(_));
            assert!(of_records || error == *strict, "the same bytes failed in two ways: {error:?} and {strict:?}");
            return shape_of(&error);
        }
    };
    let (first, count) = (view.header().first_index.get(), u64::from(view.header().count));
    let mut whole = 0;
    for index in (first..first + count).map(Index::new) {
        let record = view.record(index);
        let record = record.map(|record| record.expect("every index of the run has its record"));
        if let Ok(record) = &record {
            whole += 1;
            assert_eq!((record.index, Some(record.sequence)), (index, view.sequence(index)));
        }
        if let Ok(run) = &run {
            let strict = run.record(index).expect("every index of the run has its record");
            assert!(record.is_ok_and(|record| same(&record, &strict)), "the view gives another record");
        }
    }
    for outside in [first.checked_sub(1), first.checked_add(count), Some(0), Some(u64::MAX)].into_iter().flatten() {
        let held = (first..first + count).contains(&outside);
        let (record, sequence) = (view.record(Index::new(outside)), view.sequence(Index::new(outside)));
        assert!(held || (matches!(record, Ok(None)) && sequence.is_none()), "a record that the run does not hold");
    }
    for from in [0, first, first + count / 2, first + count, u64::MAX] {
        let expected = (first + count).saturating_sub(from.max(first));
        assert_eq!(view.records_from(Index::new(from)).count() as u64, expected, "records from {from} on");
    }
    assert!(view.bytes_len() >= input.len());
    match run {
        Ok(run) => {
            assert_eq!(view.header(), run.header());
            format!("accepted {}", count.min(4))
        }
        Err(error) => {
            let inside = !matches!(
                error,
                RunError::Length { .. }
                    | RunError::TooLarge
                    | RunError::Magic
                    | RunError::Version(_)
                    | RunError::Checksum { .. }
                    | RunError::Empty
                    | RunError::RecordBounds(_)
            );
            assert!(inside, "a view must see that: {error:?}");
            format!("opened {} {}", whole == count, shape_of(&error))
        }
    }
}

fn same(left: &Record, right: &Record) -> bool {
    let place = |record: &Record| (record.index, record.sequence, record.sequenced_at, record.public_key);
    place(left) == place(right) && left.frame.bytes() == right.frame.bytes()
}

/// CRC-32C, bit by bit: a second opinion on the table-driven one.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)))
    })
}
