use proptest::prelude::*;

use super::*;
use crate::id::{StoreId, TenantId};

fn stream(tenant: u128, store: u128) -> Stream {
    Stream::new(TenantId::from_bytes(tenant.to_be_bytes()), StoreId::from_bytes(store.to_be_bytes()))
}

fn commitment(first: u64, leaves: usize) -> Result<Commitment, CommitmentError> {
    let root = VesNode::from_bytes([5; 32]);
    let time = LogTime::from_micros(1_700_000_000_000_000);
    Commitment::new(
        &LedgerId::from_bytes([9; 32]),
        stream(1, 2),
        Sequence::new(first),
        leaves,
        root,
        StateRoot::ZERO,
        time,
    )
}

#[test]
fn state_roots_are_the_known_ones() {
    // `formats.md` 2.4: range 1..10 of their stream, and one leaf of ours.
    let theirs = Stream::new(
        "64527dd3-a654-4410-9327-e58a1492ce77".parse().unwrap(),
        "91def158-819a-4461-b5c9-7759750ad157".parse().unwrap(),
    );
    for (stream, leaves, root, state) in [
        (
            theirs,
            10,
            "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
            "fc4837409dddd72697d00548300ce8d9ab2e130b5743c73d8342a3aff45adee3",
        ),
        (
            stream(1, 2),
            1,
            "c052fa751455e5b36e85c2cae15b143bcce91f9db9c2c30aaf7397fddef8d53b",
            "162b688879b3d2d4324bd43f14b0a705139eb3918e0e98291cf9ee2642e6a848",
        ),
    ] {
        let root = VesNode::from_hex(root).unwrap();
        let ledger = LedgerId::ZERO;
        let made =
            Commitment::new(&ledger, stream, Sequence::new(1), leaves, root, StateRoot::ZERO, LogTime::EPOCH).unwrap();
        assert_eq!(made.new_state_root.to_hex(), state);
    }
}

#[test]
fn the_tree_s_shape_follows_from_the_leaf_count() {
    for (leaves, depth, padded) in [(1, 0, 1), (2, 1, 2), (3, 2, 4), (4, 2, 4), (5, 3, 8), (1000, 10, 1024)] {
        let made = commitment(1, leaves).unwrap();
        assert_eq!((made.tree_depth, made.padded_leaf_count), (depth, padded), "{leaves} leaves");
    }
    let most = COMMITMENT_LEAVES_MAX as usize;
    assert_eq!(commitment(1, most).unwrap().padded_leaf_count, COMMITMENT_LEAVES_MAX);
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    assert_eq!(commitment(1, 0), Err(CommitmentError::LeafCount(0)));
    let too_many = COMMITMENT_LEAVES_MAX as usize + 1;
    assert_eq!(commitment(1, too_many), Err(CommitmentError::LeafCount(too_many as u64)));
    assert_eq!(commitment(0, 1), Err(CommitmentError::Range));
    assert_eq!(commitment(u64::MAX, 2), Err(CommitmentError::Range));
    assert!(commitment(u64::MAX, 1).is_ok());
}

#[test]
fn the_same_range_gets_the_same_name_and_another_ledger_gives_another() {
    let (one, again, other) = (commitment(1, 5).unwrap(), commitment(1, 5).unwrap(), commitment(1, 6).unwrap());
    assert_eq!(one, again);
    assert_ne!(one.batch_id, other.batch_id);
    assert!(one.is_named_by(&LedgerId::from_bytes([9; 32])));
    assert!(!one.is_named_by(&LedgerId::ZERO));
    assert_eq!((one.batch_id[6] >> 4, one.batch_id[8] >> 6), (8, 2), "a version 8 UUID");
}

#[test]
fn a_commitment_follows_the_one_before_without_gap() {
    let first = commitment(1, 5).unwrap();
    let make = |start, state| {
        let root = VesNode::from_bytes([6; 32]);
        Commitment::new(&LedgerId::ZERO, stream(1, 2), Sequence::new(start), 3, root, state, LogTime::EPOCH).unwrap()
    };
    assert!(make(6, first.new_state_root).follows(&first));
    assert!(!make(7, first.new_state_root).follows(&first));
    assert!(!make(6, StateRoot::ZERO).follows(&first));
    let elsewhere = Commitment { stream: stream(1, 3), ..make(6, first.new_state_root) };
    assert!(!elsewhere.follows(&first));
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    let good = commitment(3, 5).unwrap();
    let sequence_end = Sequence::new(8);
    for (bad, why) in [
        (Commitment { leaf_count: 0, ..good.clone() }, CommitmentError::LeafCount(0)),
        (Commitment { leaf_count: 4, ..good.clone() }, CommitmentError::Range),
        (Commitment { sequence_end, ..good.clone() }, CommitmentError::Range),
        (Commitment { sequence_start: Sequence::new(0), ..good.clone() }, CommitmentError::Range),
        (Commitment { tree_depth: 4, ..good.clone() }, CommitmentError::Shape),
        (Commitment { padded_leaf_count: 16, ..good.clone() }, CommitmentError::Shape),
        (Commitment { merkle_root: VesNode::ZERO, ..good.clone() }, CommitmentError::StateRoot),
        (Commitment { prev_state_root: StateRoot::from_bytes([1; 32]), ..good.clone() }, CommitmentError::StateRoot),
        (Commitment { stream: stream(1, 3), ..good.clone() }, CommitmentError::StateRoot),
        (Commitment { batch_id: [0; 16], ..good.clone() }, CommitmentError::BatchId),
        (Commitment { committed_at: LogTime::from_micros(u64::MAX), ..good.clone() }, CommitmentError::Time),
    ] {
        assert_eq!(Commitment::decode(&bad.encode()), Err(why));
    }
}

#[test]
fn bytes_that_are_no_commitment_are_refused() {
    let good = commitment(1, 1).unwrap().encode();
    assert_eq!(good.len(), COMMITMENT_BYTES);
    assert_eq!(Commitment::decode(&good[1..]), Err(CommitmentError::Length(182)));
    assert_eq!(Commitment::decode(&[&good[..], &[0]].concat()), Err(CommitmentError::Length(184)));
    let mut magic = good.clone();
    magic[0] = b'X';
    assert_eq!(Commitment::decode(&magic), Err(CommitmentError::Magic));
    let mut version = good;
    version[5] = 2;
    assert_eq!(Commitment::decode(&version), Err(CommitmentError::Version(2)));
}

proptest! {
    #[test]
    fn encode_and_decode_are_identities(
        ledger in any::<[u8; 32]>(), ids in any::<(u128, u128)>(), first in 1u64..=u64::MAX >> 1, leaves in 1usize..=1 << 20,
        root in any::<[u8; 32]>(), state in any::<[u8; 32]>(), time in 0u64..LogTime::MAX.micros(),
    ) {
        let made = Commitment::new(
            &LedgerId::from_bytes(ledger), stream(ids.0, ids.1), Sequence::new(first), leaves,
            VesNode::from_bytes(root), StateRoot::from_bytes(state), LogTime::from_micros(time),
        ).unwrap();
        let bytes = made.encode();
        let read = Commitment::decode(&bytes).unwrap();
        prop_assert_eq!(&read, &made);
        prop_assert_eq!(read.encode(), bytes);
    }

    #[test]
    fn a_changed_byte_is_refused_or_shows(at in 0..COMMITMENT_BYTES, by in 1u8..) {
        let good = commitment(3, 5).unwrap();
        let mut bytes = good.encode();
        bytes[at] ^= by;
        if let Ok(read) = Commitment::decode(&bytes) {
            // The id is checked against the ledger, the time against nothing.
            prop_assert!(!read.is_named_by(&LedgerId::from_bytes([9; 32])) || read.committed_at != good.committed_at);
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}
