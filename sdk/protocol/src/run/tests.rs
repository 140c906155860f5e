//! The laws of the stored run: read back as built, every lie refused by its name, the bytes pinned.

use proptest::prelude::*;

use super::*;
use crate::frame::EventFields;
use crate::id::{AgentId, EventId, KeyId, Stream};
use crate::key::Signature;

const LEDGER: LedgerId = LedgerId::from_bytes([7; 32]);
const PREVIOUS: RunHash = RunHash::from_bytes([9; 32]);

fn frame(number: u64, payload: &[u8]) -> Frame {
    let mut event = [0; 16];
    event[8..].copy_from_slice(&number.to_be_bytes());
    let fields = EventFields::plain(
        Stream::from_bytes(&[3; 32]),
        EventId::from_bytes(event),
        (AgentId::from_bytes([4; 16]), KeyId::new(1)),
        ("order", "o-1"),
        "order.created",
        "2026-01-01T00:00:00Z",
        payload,
    );
    Frame::from_parts(&fields, payload, Signature::from_bytes([5; 64])).unwrap()
}

fn builder() -> RunBuilder {
    RunBuilder::new(LEDGER, Epoch::new(2), Index::new(100), PREVIOUS, LogTime::from_micros(1_000))
}

fn record(frame: &Frame, sequence: u64, micros: u64, key: u8) -> RecordIn<'_> {
    RecordIn {
        sequence: Sequence::new(sequence),
        sequenced_at: LogTime::from_micros(micros),
        public_key: PublicKey::from_bytes([key; 32]),
        frame,
    }
}

/// Three records under two keys.
fn sample() -> EncodedRun {
    let mut run = builder();
    for (number, key) in [(1, 40), (2, 41), (3, 40)] {
        let frame = frame(number, br#"{"n":1}"#);
        run.push(record(&frame, number, 1_000 + number, key)).unwrap();
    }
    run.finish().unwrap()
}

/// The sample with its bytes changed and its checksum made right again.
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Result<StoredRun, RunError> {
    let mut bytes = sample().bytes.to_vec();
    change(&mut bytes);
    if bytes.len() >= RUN_HEADER_BYTES {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_AT]), &bytes[RUN_HEADER_BYTES..]);
        bytes[CRC_AT..RUN_HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
    }
    StoredRun::decode(bytes.into())
}

/// Where the records of the sample start; all are equally long.
fn record_at(number: usize) -> usize {
    RUN_HEADER_BYTES + number * (RECORD_HEADER_BYTES + frame(0, br#"{"n":1}"#).bytes().len())
}

fn encode_again(run: &StoredRun) -> EncodedRun {
    let header = run.header();
    let mut again = RunBuilder::new(header.ledger, header.epoch, header.first_index, header.previous, header.base_time);
    for record in run.records() {
        let input = RecordIn {
            sequence: record.sequence,
            sequenced_at: record.sequenced_at,
            public_key: record.public_key,
            frame: &record.frame,
        };
        again.push(input).unwrap();
    }
    again.finish().unwrap()
}

proptest! {
    #[test]
    fn a_run_reads_back_as_it_was_built_and_builds_again_to_the_same_bytes(
        records in prop::collection::vec((1u64.., 0u32..1_000_000, 0u8..5, "[a-z]{0,40}"), 1..30),
        base in 0u64..1 << 60,
        first in 0u64..1 << 60,
    ) {
        let mut run = RunBuilder::new(LEDGER, Epoch::new(1), Index::new(first), PREVIOUS, LogTime::from_micros(base));
        let (mut time, mut built) = (base, Vec::new());
        for (at, (sequence, step, key, text)) in records.iter().enumerate() {
            time += u64::from(*step);
            let frame = frame(at as u64, format!("{text:?}").as_bytes());
            let index = run.push(record(&frame, *sequence, time, *key)).unwrap();
            prop_assert_eq!(index.get(), first + at as u64);
            built.push((index, *sequence, time, *key, frame));
        }
        let length = run.bytes_len();
        let encoded = run.finish().unwrap();
        prop_assert_eq!(encoded.bytes.len(), length);
        let stored = StoredRun::decode(encoded.bytes.clone()).unwrap();
        prop_assert_eq!(stored.hash(), encoded.hash);
        prop_assert_eq!(stored.count() as usize, built.len());
        prop_assert_eq!(stored.records().len(), built.len());
        for (record, (index, sequence, time, key, frame)) in stored.records().zip(&built) {
            prop_assert_eq!(record.index, *index);
            prop_assert_eq!(record.sequence.get(), *sequence);
            prop_assert_eq!(record.sequenced_at.micros(), *time);
            prop_assert_eq!(record.public_key, PublicKey::from_bytes([*key; 32]));
            prop_assert_eq!(record.frame.bytes(), frame.bytes());
            let alone = stored.record(*index).unwrap();
            prop_assert_eq!(alone.frame.bytes(), frame.bytes());
        }
        prop_assert!(stored.record(stored.header().next_index()).is_none());
        prop_assert_eq!(encode_again(&stored).bytes, encoded.bytes);
    }

    #[test]
    fn every_flipped_bit_is_noticed(bit in 0usize..8 * 1_000) {
        let mut bytes = sample().bytes.to_vec();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(StoredRun::decode(bytes.into()).is_err());
    }

    #[test]
    fn what_decodes_under_a_forged_checksum_encodes_to_the_same_bytes(at in 4usize..1_200, byte: u8) {
        let run = forged(|bytes| {
            let at = at % bytes.len();
            bytes[at] = byte;
        });
        if let Ok(run) = run {
            prop_assert_eq!(&encode_again(&run).bytes, run.bytes());
        }
    }

    #[test]
    fn every_shortened_or_lengthened_run_is_refused(cut in 0usize..1_200, tail in prop::collection::vec(any::<u8>(), 1..40)) {
        let bytes = sample().bytes;
        let cut = bytes.slice(..cut % bytes.len());
        prop_assert!(StoredRun::decode(cut).is_err());
        let longer = [&bytes[..], &tail].concat();
        prop_assert!(StoredRun::decode(longer.into()).is_err());
    }

    #[test]
    fn foreign_bytes_never_decode_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(StoredRun::decode(bytes.clone().into()).is_err());
        let framed = forged(|run| {
            let keep = run.len().min(RUN_HEADER_BYTES);
            run.truncate(keep);
            run.extend_from_slice(&bytes);
            run[100..104].copy_from_slice(&(bytes.len() as u32).to_be_bytes());
            run[104..106].copy_from_slice(&[0; 2]);
        });
        prop_assert!(framed.is_err());
    }
}

#[test]
fn keys_are_stored_once_in_the_order_of_first_use() {
    let run = sample();
    let table = &run.bytes[run.bytes.len() - 64..];
    assert_eq!(table, [[40; 32], [41; 32]].concat());
}

#[test]
fn the_header_names_ledger_epoch_and_the_run_before() {
    let run = StoredRun::decode(sample().bytes).unwrap();
    let header = run.header();
    assert_eq!((header.ledger, header.epoch.get(), header.previous), (LEDGER, 2, PREVIOUS));
    assert_eq!((header.first_index.get(), header.last_index().get(), header.next_index().get()), (100, 102, 103));
    assert!(!header.holds(Index::new(99)) && header.holds(Index::new(102)) && !header.holds(Index::new(103)));
}

#[test]
fn a_sealed_record_is_refused_by_name() {
    let sealed = forged(|bytes| bytes[record_at(1) + 14] = 1);
    assert_eq!(sealed.unwrap_err(), RunError::Sealed(1));
    let unknown = forged(|bytes| bytes[record_at(2) + 14] = 2);
    assert_eq!(unknown.unwrap_err(), RunError::SealMode(2, 2));
}

#[test]
fn reserved_bytes_and_the_empty_seal_slot_are_zero() {
    for at in [6, 7, 106, 107] {
        assert!(matches!(forged(|bytes| bytes[at] = 1).unwrap_err(), RunError::Reserved(_)), "header byte {at}");
    }
    for at in 15..RECORD_HEADER_BYTES {
        let run = forged(|bytes| bytes[record_at(1) + at] = 1);
        assert_eq!(run.unwrap_err(), RunError::Reserved(record_at(1) + 15), "record byte {at}");
    }
}

#[test]
fn each_lie_of_a_run_has_its_own_refusal() {
    let refused = |change: fn(&mut Vec<u8>)| forged(change).unwrap_err();
    assert_eq!(refused(|bytes| bytes[0] = b'X'), RunError::Magic);
    assert_eq!(refused(|bytes| bytes[5] = 2), RunError::Version(2));
    assert!(matches!(refused(|bytes| bytes.push(0)), RunError::Length { .. }));
    assert!(matches!(refused(|bytes| bytes[99] += 1), RunError::RecordBounds(_)));
    assert!(matches!(refused(|bytes| bytes[99] -= 1), RunError::RecordBounds(2)));
    assert_eq!(refused(|bytes| bytes[96..100].fill(0)), RunError::Empty);
    assert_eq!(refused(|bytes| bytes[96..100].fill(1)), RunError::TooLarge);
    assert_eq!(refused(|bytes| bytes[48..56].fill(255)), RunError::Position(0));
    assert_eq!(refused(|bytes| bytes[record_at(1)..record_at(1) + 8].fill(0)), RunError::Position(1));
    assert_eq!(refused(|bytes| bytes[record_at(1) + 11] = 0), RunError::Time(1));
    assert_eq!(refused(|bytes| bytes[record_at(1) + 13] = 2), RunError::KeyTable(1));
    // Slot 1 before slot 0.
    assert_eq!(refused(|bytes| bytes[record_at(0) + 13] = 1), RunError::KeyTable(0));
    // A key nobody uses.
    assert_eq!(refused(|bytes| bytes[record_at(1) + 13] = 0), RunError::KeyTable(3));
    // The same key twice.
    let twice = refused(|bytes| {
        let end = bytes.len();
        bytes.copy_within(end - 64..end - 32, end - 32);
    });
    assert_eq!(twice, RunError::KeyTable(3));
    // The first frame claims the second's place.
    assert!(matches!(refused(|bytes| bytes[record_at(0) + RECORD_HEADER_BYTES + 2] += 1), RunError::Frame(0, _)));
    assert!(matches!(refused(|bytes| bytes[record_at(2) + RECORD_HEADER_BYTES + 1] = 9), RunError::RecordBounds(2)));
    assert!(matches!(StoredRun::decode(Bytes::from(vec![0; RUN_BYTES_MAX + 1])), Err(RunError::TooLarge)));
}

#[test]
fn a_record_that_does_not_belong_leaves_the_builder_as_it_was() {
    let frame = frame(1, b"{}");
    let mut run = builder();
    run.push(record(&frame, 1, 2_000, 1)).unwrap();
    let before = run.bytes_len();
    assert_eq!(run.push(record(&frame, 2, 1_999, 2)), Err(RunError::Time(1)));
    assert_eq!(run.push(record(&frame, 2, 1_001 + (1 << 32), 2)), Err(RunError::Time(1)));
    assert_eq!(run.push(record(&frame, 0, 2_000, 2)), Err(RunError::Position(1)));
    assert_eq!((run.bytes_len(), run.count()), (before, 1));
    run.push(record(&frame, 2, 1_000 + u64::from(u32::MAX), 2)).unwrap();
    assert_eq!(StoredRun::decode(run.finish().unwrap().bytes).unwrap().count(), 2);
    assert_eq!(builder().finish().unwrap_err(), RunError::Empty);
}

#[test]
fn a_run_is_full_at_its_bounds() {
    let small = frame(1, b"0");
    let mut run = builder();
    for sequence in 1..=RUN_EVENTS_MAX as u64 {
        run.push(record(&small, sequence, 1_000, 1)).unwrap();
    }
    assert!(!run.fits(0));
    assert_eq!(run.push(record(&small, 9, 1_000, 1)), Err(RunError::TooLarge));
    assert_eq!(StoredRun::decode(run.finish().unwrap().bytes).unwrap().count() as usize, RUN_EVENTS_MAX);

    let large = frame(1, format!("{:?}", "x".repeat((1 << 20) - 2)).as_bytes());
    let mut run = builder();
    let mut key = 0;
    while run.fits(large.bytes().len()) {
        run.push(record(&large, 1, 1_000, key)).unwrap();
        key += 1;
    }
    assert_eq!(run.count(), 7, "eight of more than 1 MiB do not fit 8 MiB");
    let encoded = run.finish().unwrap();
    assert!(encoded.bytes.len() <= RUN_BYTES_MAX);
    assert_eq!(StoredRun::decode(encoded.bytes).unwrap().records().len(), 7);
}

/// The hash was computed from `docs/formats/stored-run.md` in Python (struct, hashlib, blake3).
#[test]
fn the_bytes_of_a_run_never_change() {
    let run = sample();
    assert_eq!(run.bytes.len(), 1_145);
    assert_eq!(run.hash.to_hex(), "0fda36f05564c05940c31f49c38c251fb566e34552d17bb848ba850a8392a19d");
}

proptest! {
    #[test]
    fn a_view_gives_the_same_records_and_never_more(
        sizes in prop::collection::vec(0usize..300, 1..20),
        flip in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut builder = builder();
        let frames: Vec<Frame> = sizes.iter().zip(0..).map(|(size, at)| frame(at, &vec![b'x'; *size])).collect();
        for (frame, at) in frames.iter().zip(1..) {
            builder.push(record(frame, at, 1_000 + at, (at % 3) as u8)).unwrap();
        }
        let bytes = builder.finish().unwrap().bytes;
        let view = RunView::open(bytes.clone()).unwrap();
        let whole = StoredRun::decode(bytes.clone()).unwrap();
        prop_assert_eq!(view.header(), whole.header());
        let same = |left: &Record, right: &Record| {
            (left.index, left.sequence, left.sequenced_at, left.public_key, &left.frame)
                == (right.index, right.sequence, right.sequenced_at, right.public_key, &right.frame)
        };
        let from_three = Index::new(103);
        let some: Vec<Record> = view.records_from(from_three).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(some.len(), frames.len().saturating_sub(3));
        for record in whole.records() {
            prop_assert!(same(&view.record(record.index).unwrap().unwrap(), &record));
            prop_assert_eq!(view.sequence(record.index), Some(record.sequence));
        }
        prop_assert!(some.iter().all(|record| same(&whole.record(record.index).unwrap(), record)));
        for outside in [99, 100 + frames.len() as u64] {
            prop_assert!(view.record(Index::new(outside)).unwrap().is_none());
        }
        // A changed byte is noticed by one as by the other.
        let mut changed = bytes.to_vec();
        changed[flip.index(bytes.len())] ^= 1u8 << bit;
        prop_assert!(RunView::open(changed.into()).is_err());
    }
}
