//! Laws of the domain tags: every kind of hash is its own, and so is every signature.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use std::collections::BTreeSet;

use tally_protocol::hash::{
    self, EffectId, LeafHash, LedgerId, LifeHash, LogKind, NodeHash, PayloadHash, RecipientsHash, ReleaseHash,
    SigningHash, StateKey, StateNode, StateRoot, StateValue, VesLeaf, VesNode, VesStreamId, tags,
};
use tally_protocol::id::{AgentId, EventId, KeyId, PluginId, Sequence, StoreId, Stream, TenantId};
use tally_protocol::key::{SigningKey, verify};
use tally_protocol::outcome::{Profile, writes_hash};
use tally_protocol::time::LogTime;

#[test]
fn no_tag_is_a_prefix_of_another() {
    for (at, (name, tag)) in tags().iter().enumerate() {
        assert!(!tag.is_empty(), "{name}");
        for (other_name, other) in &tags()[at + 1..] {
            assert!(!tag.starts_with(other) && !other.starts_with(tag), "{name} and {other_name}");
        }
    }
}

#[test]
fn every_tag_of_ours_is_versioned_ascii() {
    for (name, tag) in &tags()[2..] {
        assert!(tag.ends_with(b"_V1"), "{name}");
        assert!(tag.iter().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == b'_'), "{name}");
    }
}

/// Every kind of hash over inputs that are as alike as their shapes allow.
fn hashes_of_one_body(byte: u8) -> Vec<[u8; 32]> {
    let (bytes, id) = ([byte; 32], [byte; 16]);
    let stream = Stream::new(TenantId::from_bytes(id), StoreId::from_bytes(id));
    let sequence = Sequence::new(u64::from_be_bytes([byte; 8]));
    let signing = SigningHash::from_bytes(bytes);
    let two = [bytes, bytes].concat();
    let recipient = (u32::from_be_bytes([byte; 4]), bytes, [byte; 48]);
    vec![
        *hash::leaf(&two).as_bytes(),
        *hash::node(&NodeHash::from_bytes(bytes), &NodeHash::from_bytes(bytes)).as_bytes(),
        *hash::payload_plain(&two).as_bytes(),
        *hash::payload_aad(&bytes, &PayloadHash::from_bytes(bytes)).as_bytes(),
        *hash::payload_cipher(
            &[byte; 12],
            &hash::PayloadAad::from_bytes(bytes),
            &two,
            &id,
            &RecipientsHash::from_bytes(bytes),
        )
        .as_bytes(),
        *hash::recipients(&[recipient]).as_bytes(),
        *hash::signing(&two).as_bytes(),
        *hash::ves_leaf(&stream, sequence, &signing, &[byte; 64]).as_bytes(),
        *hash::ves_node(&VesNode::from_bytes(bytes), &VesNode::from_bytes(bytes)).as_bytes(),
        *hash::ves_pad().as_bytes(),
        *hash::ves_stream(&stream).as_bytes(),
        *hash::ves_state_root(
            &VesStreamId::from_bytes(bytes),
            &StateRoot::from_bytes(bytes),
            &VesNode::from_bytes(bytes),
            sequence,
            sequence,
            u32::from_be_bytes([byte; 4]),
        )
        .as_bytes(),
        *hash::ves_receipt(&stream, &EventId::from_bytes(id), sequence, &signing).as_bytes(),
        *hash::ves_pop(&two).as_bytes(),
        *hash::log_id(&LedgerId::from_bytes(bytes), LogKind::Events).as_bytes(),
        *hash::log_id(&LedgerId::from_bytes(bytes), LogKind::Outcomes).as_bytes(),
        hash::derived_id(&[&two]),
        *hash::state_key(&two).as_bytes(),
        *hash::state_value(&two).as_bytes(),
        *hash::state_leaf(&StateKey::from_bytes(bytes), &StateValue::from_bytes(bytes)).as_bytes(),
        *hash::state_node(&StateNode::from_bytes(bytes), &StateNode::from_bytes(bytes)).as_bytes(),
        *hash::state_tree(&stream, &PluginId::new("plugin").unwrap()).as_bytes(),
        *StateNode::EMPTY.as_bytes(),
        *hash::effect_id(&[&two]).as_bytes(),
        *hash::manifest(&two).as_bytes(),
        *hash::schema(&two).as_bytes(),
        *writes_hash([(&two[..], Some(&two[..]))]).unwrap().as_bytes(),
        *hash::emits([("V", &two[..])].into_iter()).as_bytes(),
        *hash::effects([(&EffectId::from_bytes(bytes), "V", &two[..])].into_iter()).as_bytes(),
        *hash::attestation(&ReleaseHash::from_bytes(bytes), &AgentId::from_bytes(id), KeyId::new(1), LogTime::EPOCH)
            .as_bytes(),
        *hash::report(&two).as_bytes(),
        *hash::template(&two).as_bytes(),
        *hash::template_seal(
            &hash::TemplateHash::from_bytes(bytes),
            &AgentId::from_bytes(id),
            KeyId::new(1),
            LogTime::EPOCH,
        )
        .as_bytes(),
        *hash::life_start(&LedgerId::from_bytes(bytes), &stream, &PluginId::new("v").unwrap()).as_bytes(),
        *hash::life_next(&LifeHash::from_bytes(bytes), "V", &two).as_bytes(),
        *Profile { abi: 1, validator: 1, gas_table: 1, instrumentation: 1, limits: &[] }.id().unwrap().as_bytes(),
        *hash::run(&two).as_bytes(),
        hash::hmac_sha256(&bytes, &two),
    ]
}

#[test]
fn no_hash_of_one_kind_is_a_hash_of_another() {
    for byte in [0, 1, b'V', 0xff] {
        let hashes = hashes_of_one_body(byte);
        assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), hashes.len());
    }
}

#[test]
fn the_same_body_under_two_tags_has_two_hashes() {
    // `signing` hashes a preimage that brings its own tag, so it can stand for every tag of the table.
    for body in [&b""[..], &[0], b"_V1", &[0x56; 64]] {
        let hashes: BTreeSet<_> = tags().iter().map(|(_, tag)| hash::signing(&[tag, body].concat())).collect();
        assert_eq!(hashes.len(), tags().len());
    }
}

#[test]
fn a_signature_under_one_tag_never_verifies_under_another() {
    let key = SigningKey::from_seed([7; 32]);
    let hashes = hashes_of_one_body(0x56);
    for (at, signed) in hashes.iter().enumerate() {
        let signature = key.sign(signed);
        for (other, message) in hashes.iter().enumerate() {
            assert_eq!(verify(&key.public_key(), message, &signature), at == other);
        }
    }
}

#[test]
fn an_inner_node_cannot_pass_as_a_leaf() {
    let (left, right) = (hash::leaf(b"left").node(), hash::leaf(b"right").node());
    let children = [*left.as_bytes(), *right.as_bytes()].concat();
    let node = hash::node(&left, &right);
    assert_ne!(hash::leaf(&children), LeafHash::from_bytes(*node.as_bytes()));
    // Nor when the children carry the node's own prefix.
    let prefixed = [&[1][..], &children].concat();
    assert_ne!(hash::leaf(&prefixed), LeafHash::from_bytes(*node.as_bytes()));
    let (left, right) = (VesNode::from_bytes([1; 32]), VesNode::from_bytes([2; 32]));
    let stream = Stream::from_bytes(left.as_bytes());
    let leaf = hash::ves_leaf(&stream, Sequence::new(0), &SigningHash::from_bytes([2; 32]), &[0; 64]);
    assert_ne!(leaf, VesLeaf::from_bytes(*hash::ves_node(&left, &right).as_bytes()));
    assert_ne!(leaf.node(), hash::ves_pad());
}

#[test]
fn the_empty_state_tree_is_the_hash_of_its_tag() {
    assert_eq!(hash::signing(b"TALLY_STATE_EMPTY_V1").as_bytes(), StateNode::EMPTY.as_bytes());
}

#[test]
fn the_id_of_an_answer_is_the_effect_and_a_number_under_its_own_tag() {
    // By Python's hashlib: sha256(b"TALLY_ANSWER_V1" + b"\x07" * 32 + number), 16 bytes, version 8, variant 10.
    let effect = EffectId::from_bytes([7; 32]);
    let ids = [0, 1].map(|number| hash::answer_event_id(&effect, number).to_string());
    assert_eq!(ids, ["650978de-43e1-8c1b-90db-3cd738746f6b", "758d079d-a04d-8006-84c0-59d1e225036b"]);
    let others = [hash::answer_event_id(&EffectId::from_bytes([8; 32]), 0), hash::answer_event_id(&effect, 256)];
    assert!(others.iter().all(|other| !ids.contains(&other.to_string())));
}

/// What a gateway signs for a caller has an id that follows from all of what names it, and from where one part ends.
#[test]
fn the_event_of_a_command_or_a_fact_is_named_by_each_of_its_parts() {
    let stream = |n| Stream::new(TenantId::from_bytes([n; 16]), StoreId::from_bytes([7; 16]));
    let ids = [
        hash::command_event(&stream(1), "a", "b", "c", "d"),
        hash::command_event(&stream(2), "a", "b", "c", "d"),
        hash::command_event(&stream(1), "A", "b", "c", "d"),
        hash::command_event(&stream(1), "a", "B", "c", "d"),
        hash::command_event(&stream(1), "a", "b", "C", "d"),
        hash::command_event(&stream(1), "a", "b", "c", "D"),
        hash::command_event(&stream(1), "ab", "", "c", "d"),
        hash::command_event(&stream(1), "", "ab", "c", "d"),
        hash::command_event(&stream(1), "a", "b", "cd", ""),
        hash::fact_event(&stream(1), "a", "b", b"c"),
        hash::fact_event(&stream(1), "ab", "", b"c"),
        hash::fact_event(&stream(1), "a", "bc", b""),
    ];
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert_eq!(ids[0], hash::command_event(&stream(1), "a", "b", "c", "d"));
    for id in ids {
        assert_eq!((id.as_bytes()[6] >> 4, id.as_bytes()[8] >> 6), (8, 2), "a UUID of version 8");
    }
}
