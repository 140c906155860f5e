//! What is checked or hashed together has the answers it would have had alone, in order.

use bytes::Bytes;
use proptest::prelude::*;
use tally_protocol::entry::EventEntry;
use tally_protocol::frame::{EventFields, Frame, FrameError, PayloadKind};
use tally_protocol::hash::{self, CipherHash, PayloadHash, SigningHash};
use tally_protocol::id::{AgentId, EventId, KeyId, Sequence, StoreId, Stream, TenantId};
use tally_protocol::key::{PublicKey, Signature};
use tally_protocol::time::LogTime;

fn slices(messages: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    messages.iter().map(Vec::as_slice)
}

fn stream() -> Stream {
    Stream::new(TenantId::from_bytes([1; 16]), StoreId::from_bytes([2; 16]))
}

proptest! {
    #[test]
    fn hashes_of_many_messages(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..50)) {
        let alone: Vec<_> = slices(&messages).map(hash::signing).collect();
        prop_assert_eq!(hash::signing_many(slices(&messages)), alone);
        let alone: Vec<_> = slices(&messages).map(hash::payload_plain).collect();
        prop_assert_eq!(hash::payload_plain_many(slices(&messages)), alone);
        let alone: Vec<_> = slices(&messages).map(hash::leaf).collect();
        prop_assert_eq!(hash::leaf_many(slices(&messages)), alone);
        let alone: Vec<_> = slices(&messages).map(hash::state_key).collect();
        prop_assert_eq!(hash::state_key_many(slices(&messages)), alone);
        let alone: Vec<_> = slices(&messages).map(hash::state_value).collect();
        prop_assert_eq!(hash::state_value_many(slices(&messages)), alone);
    }

    #[test]
    fn hashes_of_many_nodes(leaves in prop::collection::vec(any::<[u8; 4]>(), 0..100)) {
        let nodes: Vec<_> = leaves.iter().map(|leaf| hash::leaf(leaf).node()).collect();
        let pairs = || nodes.iter().zip(nodes.iter().rev());
        let alone: Vec<_> = pairs().map(|(left, right)| hash::node(left, right)).collect();
        prop_assert_eq!(hash::node_many(pairs()), alone);
        let state: Vec<_> = nodes.iter().map(|node| hash::StateNode::from_bytes(*node.as_bytes())).collect();
        let pairs = || state.iter().zip(state.iter().rev());
        let alone: Vec<_> = pairs().map(|(left, right)| hash::state_node(left, right)).collect();
        prop_assert_eq!(hash::state_node_many(pairs()), alone);
        let keys: Vec<_> = leaves.iter().map(|leaf| (hash::state_key(leaf), hash::state_value(leaf))).collect();
        let alone: Vec<_> = keys.iter().map(|(key, value)| hash::state_leaf(key, value)).collect();
        prop_assert_eq!(hash::state_leaf_many(keys.iter().map(|(key, value)| (key, value))), alone);
        let ves: Vec<_> = nodes.iter().map(|node| hash::VesNode::from_bytes(*node.as_bytes())).collect();
        let pairs = || ves.iter().zip(ves.iter().rev());
        let alone: Vec<_> = pairs().map(|(left, right)| hash::ves_node(left, right)).collect();
        prop_assert_eq!(hash::ves_node_many(pairs()), alone);
    }

    #[test]
    fn hashes_of_many_events(
        events in prop::collection::vec((1u64.., any::<[u8; 32]>(), any::<[u8; 32]>(), any::<u32>()), 0..70),
    ) {
        let entries: Vec<_> = events
            .iter()
            .map(|(sequence, signing, other, time)| EventEntry {
                stream: stream(),
                sequence: Sequence::new(*sequence),
                signing_hash: SigningHash::from_bytes(*signing),
                signature: Signature::from_bytes([other[0]; 64]),
                public_key: PublicKey::from_bytes(*other),
                sequenced_at: LogTime::from_micros((*time).into()),
            })
            .collect();
        let alone: Vec<_> = entries.iter().map(EventEntry::leaf_hash).collect();
        prop_assert_eq!(EventEntry::leaf_hash_many(entries.iter().copied()), alone);
        let alone: Vec<_> = entries.iter().map(EventEntry::ves_leaf).collect();
        let together = hash::ves_leaf_many(
            &stream(),
            entries.iter().map(|entry| (entry.sequence, &entry.signing_hash, entry.signature.as_bytes())),
        );
        prop_assert_eq!(together, alone);
    }

    #[test]
    fn checks_of_many_frames(recipes in prop::collection::vec((0u8..8, 0usize..700), 0..80)) {
        let frames: Vec<_> = recipes.into_iter().map(|(fault, length)| frame(fault, length)).collect();
        let frames: Vec<_> = frames.iter().collect();
        prop_assert_eq!(Frame::check_many(&frames), frames.iter().map(|frame| alone(frame)).collect::<Vec<_>>());
    }
}

fn alone(frame: &Frame) -> Result<SigningHash, FrameError> {
    frame.check_payload().map(|()| frame.signing_hash())
}

/// A frame with one of seven faults, or with none.
fn frame(fault: u8, length: usize) -> Frame {
    let text = "x".repeat(length);
    let payload = if fault == 1 { format!("{{ \"a\":\"{text}\"}}") } else { format!("{{\"a\":\"{text}\"}}") };
    let mut fields = EventFields::plain(
        stream(),
        EventId::from_bytes([3; 16]),
        (AgentId::from_bytes([4; 16]), KeyId::new(5)),
        ("order", &format!("o-{length}")),
        "order.placed",
        "2026-01-01T00:00:00Z",
        payload.as_bytes(),
    );
    match fault {
        2 => fields.payload_plain_hash = PayloadHash::ZERO,
        3 => fields.payload_cipher_hash = CipherHash::from_bytes([1; 32]),
        4 => fields.payload_kind = PayloadKind::Encrypted,
        _ => {}
    }
    let frame = Frame::from_parts(&fields, payload.as_bytes(), Signature::from_bytes([9; 64])).expect("within bounds");
    Frame::decode(Bytes::copy_from_slice(frame.bytes())).expect("what is built decodes")
}

#[test]
fn more_frames_than_are_checked_at_once() {
    let frames: Vec<_> = (0..1000).map(|at| frame(if at % 97 == 0 { 2 } else { 0 }, at % 513)).collect();
    let frames: Vec<_> = frames.iter().collect();
    let answers = Frame::check_many(&frames);
    assert_eq!(answers, frames.iter().map(|frame| alone(frame)).collect::<Vec<_>>());
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 11);
}
