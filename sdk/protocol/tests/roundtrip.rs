//! decode∘encode and encode∘decode are identities, for every format of this crate that is not text for people:
//! what is written reads back as it was, and what reads is what would be written, also under mutation.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use proptest::sample::Index as At;
use tally_protocol::control::ControlEvent;
use tally_protocol::encrypted::{EncryptedPayload, Recipient};
use tally_protocol::entry::{Entry, EventEntry, Genesis};
use tally_protocol::frame::{EventFields, Frame, FrameError, PayloadKind};
use tally_protocol::hash::{
    self, CipherHash, EffectsHash, EmitsHash, LeafHash, LifeHash, ManifestHash, ModuleHash, PayloadHash, ProfileId,
    ReleaseHash, ReportHash, SchemaHash, SigningHash, WritesHash,
};
use tally_protocol::id::{AgentId, EventId, KeyId, PluginId, Sequence, StoreId, Stream, TenantId};
use tally_protocol::jcs;
use tally_protocol::key::{PublicKey, Signature, SigningKey};
use tally_protocol::limits::{ENTITY_ID_BYTES_MAX, FRAME_BYTES_MAX, FRAME_FIXED_BYTES, PAYLOAD_BYTES_MAX};
use tally_protocol::outcome::{BindingOutcome, LimitKind, Outcome, OutcomeCode, Reason};
use tally_protocol::plugin_event::{Binding, Config, PluginEvent, Registry, Submission};
use tally_protocol::release::{Decision, Price, PricePer, Release, Review, Signed, Version};
use tally_protocol::time::LogTime;

/// 1 to 32 characters from both ends of UTF-8, none of them U+0000.
fn string() -> impl Strategy<Value = String> {
    let edges: Vec<char> = "\u{1}\n aZ09\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}".chars().collect();
    prop_oneof!["[ -~]{1,24}", prop::collection::vec(prop::sample::select(edges), 1..8).prop_map(String::from_iter)]
}

prop_compose! {
    fn stream()(tenant: [u8; 16], store: [u8; 16]) -> Stream {
        Stream::new(TenantId::from_bytes(tenant), StoreId::from_bytes(store))
    }
}

prop_compose! {
    fn fields()(
        stream in stream(), event: [u8; 16], agent: [u8; 16], key: u32, entity_type in string(), entity_id in string(),
        event_type in string(), created_at in string(), encrypted: bool, plain: [u8; 32], cipher: [u8; 32],
    ) -> EventFields {
        EventFields {
            stream,
            event_id: EventId::from_bytes(event),
            agent_id: AgentId::from_bytes(agent),
            key_id: KeyId::new(key),
            entity_type,
            entity_id,
            event_type,
            created_at,
            payload_kind: if encrypted { PayloadKind::Encrypted } else { PayloadKind::Plain },
            payload_plain_hash: PayloadHash::from_bytes(plain),
            payload_cipher_hash: CipherHash::from_bytes(cipher),
        }
    }
}

prop_compose! {
    fn frame()(fields in fields(), payload: Vec<u8>, signature: [u8; 64]) -> Frame {
        Frame::from_parts(&fields, &payload, Signature::from_bytes(signature)).unwrap()
    }
}

prop_compose! {
    fn event_entry()(
        stream in stream(), sequence in 1u64.., signing: [u8; 32], signature: [u8; 64], key: [u8; 32], at: u64,
    ) -> EventEntry {
        EventEntry {
            stream,
            sequence: Sequence::new(sequence),
            signing_hash: SigningHash::from_bytes(signing),
            signature: Signature::from_bytes(signature),
            public_key: PublicKey::from_bytes(key),
            sequenced_at: LogTime::from_micros(at),
        }
    }
}

fn key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(|seed| SigningKey::from_seed(seed).public_key())
}

fn time() -> impl Strategy<Value = LogTime> {
    (0..=LogTime::MAX.micros()).prop_map(LogTime::from_micros)
}

fn id() -> impl Strategy<Value = [u8; 16]> {
    any::<[u8; 16]>().prop_filter("nil", |id| *id != [0; 16])
}

prop_compose! {
    fn genesis()(
        origin in "[a-zA-Z0-9./_é-]{1,60}", profile in "[!-~]{1,64}", created_at in time(), nonce: [u8; 16],
        keys in [key(), key(), key()], root in id(),
    ) -> Genesis {
        let [checkpoint_key, receipt_key, root_key] = keys;
        let root_agent = AgentId::from_bytes(root);
        Genesis { origin, profile, created_at, nonce, checkpoint_key, receipt_key, root_agent, root_key }
    }
}

fn control_event() -> impl Strategy<Value = ControlEvent> {
    let agent = || id().prop_map(AgentId::from_bytes);
    let key_id = || (1u32..).prop_map(KeyId::new);
    prop_oneof![
        (id(), agent(), key(), any::<bool>()).prop_map(|(tenant, root_agent_id, root_public_key, operator_managed)| {
            let tenant_id = TenantId::from_bytes(tenant);
            ControlEvent::TenantCreated { tenant_id, root_agent_id, root_public_key, operator_managed }
        }),
        (agent(), key_id(), key(), prop::option::of(time()), prop::option::of(time()))
            .prop_filter("empty validity", |(.., from, to)| from.is_none() || to.is_none() || from < to)
            .prop_map(|(agent_id, key_id, public_key, valid_from, valid_to)| {
                ControlEvent::AgentKeyRegistered { agent_id, key_id, public_key, valid_from, valid_to }
            }),
        (agent(), key_id(), key(), time(), prop::option::of(time())).prop_map(
            |(agent_id, key_id, public_key, previous_valid_to, valid_to)| {
                ControlEvent::AgentKeyRotated { agent_id, key_id, public_key, previous_valid_to, valid_to }
            }
        ),
        (agent(), key_id(), time()).prop_map(|(agent_id, key_id, valid_to)| ControlEvent::AgentKeyExpired {
            agent_id,
            key_id,
            valid_to
        }),
        (agent(), key_id(), string()).prop_map(|(agent_id, key_id, reason)| ControlEvent::AgentKeyRevoked {
            agent_id,
            key_id,
            reason
        }),
        (id().prop_map(StoreId::from_bytes), prop::collection::btree_set(string(), 0..20))
            .prop_map(|(store_id, entity_types)| ControlEvent::EntityTypesSet { store_id, entity_types }),
        id().prop_map(|store| ControlEvent::EntityTypesLifted { store_id: StoreId::from_bytes(store) }),
    ]
}

fn plugin() -> impl Strategy<Value = PluginId> {
    "[a-z0-9-]{1,64}".prop_map(|text| PluginId::new(&text).unwrap())
}

fn code() -> impl Strategy<Value = OutcomeCode> {
    use OutcomeCode::{
        Accepted, BadOutput, DependencyRejected, Limit, MemoryExceeded, OutOfGas, Rejected, StackExceeded, Trapped,
    };
    let plain = [Accepted, OutOfGas, StackExceeded, MemoryExceeded, Trapped, BadOutput, DependencyRejected];
    prop_oneof![
        prop::sample::select(plain.to_vec()),
        "[!-~]{1,32}".prop_map(|text| Rejected(Reason::new(text.as_bytes()).unwrap())),
        prop::sample::select(LimitKind::ALL).prop_map(Limit),
    ]
}

prop_compose! {
    fn binding_outcome()(
        plugin in plugin(), hashes: [[u8; 32]; 5], fresh: bool, code in code(), gas: u64,
    ) -> BindingOutcome {
        let [module, profile, writes, emits, effects] = hashes;
        BindingOutcome {
            plugin,
            module: ModuleHash::from_bytes(module),
            profile: ProfileId::from_bytes(profile),
            fresh,
            code,
            gas,
            writes: WritesHash::from_bytes(writes),
            emits: EmitsHash::from_bytes(emits),
            effects: EffectsHash::from_bytes(effects),
        }
    }
}

prop_compose! {
    fn outcome()(event: [u8; 32], mut bindings in prop::collection::vec(binding_outcome(), 0..5)) -> Outcome {
        let mut seen = std::collections::BTreeSet::new();
        bindings.retain(|binding| seen.insert(binding.plugin.clone()));
        Outcome { event_leaf: LeafHash::from_bytes(event), bindings }
    }
}

fn version() -> impl Strategy<Value = Version> {
    any::<[u32; 3]>().prop_map(|[major, minor, patch]| Version::new(major, minor, patch))
}

fn integer() -> impl Strategy<Value = u64> {
    0..=jcs::INTEGER_MAX
}

fn permissions() -> impl Strategy<Value = std::collections::BTreeSet<String>> {
    prop::collection::btree_set("[!-~]{1,40}", 0..5)
}

fn limits() -> impl Strategy<Value = std::collections::BTreeMap<String, u64>> {
    prop::collection::btree_map("[a-z0-9_]{1,64}", integer(), 0..5)
}

prop_compose! {
    fn release()(
        plugin in plugin(), version in version(), hashes: [[u8; 32]; 2], versions in [1u32.., 1u32..],
        permissions in permissions(), limits in limits(), amount in integer(), currency in "[A-Z]{3}",
        per in prop::sample::select(PricePer::ALL.to_vec()),
        schemas in prop::collection::btree_map(string(), any::<[u8; 32]>().prop_map(SchemaHash::from_bytes), 0..4),
    ) -> Release {
        let [abi, state_version] = versions;
        Release {
            plugin,
            version,
            module: ModuleHash::from_bytes(hashes[0]),
            manifest: ManifestHash::from_bytes(hashes[1]),
            abi,
            state_version,
            permissions,
            limits,
            price: Price { amount, currency: currency.as_bytes().try_into().unwrap(), per },
            schemas,
        }
    }
}

prop_compose! {
    fn signed()(agent in id(), key in 1u32.., signed_at in time(), signature: [u8; 64]) -> Signed {
        let signature = Signature::from_bytes(signature);
        Signed { agent_id: AgentId::from_bytes(agent), key_id: KeyId::new(key), signed_at, signature }
    }
}

prop_compose! {
    fn review()(
        plugin in plugin(), version in version(), hashes: [[u8; 32]; 3], overrides: bool, blocking: u32,
        decision in prop::sample::select(Decision::ALL.to_vec()), reason in string(),
    ) -> Review {
        let (release, report) = (ReleaseHash::from_bytes(hashes[0]), ReportHash::from_bytes(hashes[1]));
        let previous = LifeHash::from_bytes(hashes[2]);
        Review { plugin, version, release, decision, overrides, report, blocking, reason, previous }
    }
}

fn config() -> impl Strategy<Value = Config> {
    prop::collection::btree_map(string(), string(), 0..4).prop_map(|members| {
        let members = members.iter().map(|(name, text)| (name.as_str(), jcs::Value::from(text.as_str())));
        Config::new(&jcs::to_canonical(&jcs::Value::object(members))).unwrap()
    })
}

prop_compose! {
    fn binding()(
        store in id(), plugin in plugin(), ledger: bool, version in version(), hashes: [[u8; 32]; 4],
        state_version in 1u32.., granted in permissions(), limits in limits(), config in config(), rollback: bool,
    ) -> Binding {
        Binding {
            store_id: StoreId::from_bytes(store),
            plugin,
            registry: if ledger { Registry::Ledger } else { Registry::Tenant },
            version,
            release: ReleaseHash::from_bytes(hashes[0]),
            module: ModuleHash::from_bytes(hashes[1]),
            profile: ProfileId::from_bytes(hashes[2]),
            state_version,
            granted,
            limits,
            config,
            rollback,
            previous: LifeHash::from_bytes(hashes[3]),
        }
    }
}

fn plugin_event() -> impl Strategy<Value = PluginEvent> {
    let place = || (id().prop_map(StoreId::from_bytes), plugin(), any::<[u8; 32]>().prop_map(LifeHash::from_bytes));
    prop_oneof![
        (release(), any::<[u8; 32]>(), signed(), any::<[u8; 32]>()).prop_map(|(release, hash, publisher, head)| {
            let (release_hash, previous) = (ReleaseHash::from_bytes(hash), LifeHash::from_bytes(head));
            PluginEvent::Submitted(Submission { release, release_hash, publisher, previous })
        }),
        (review(), signed()).prop_map(|(review, reviewer)| PluginEvent::Reviewed { review, reviewer }),
        binding().prop_map(PluginEvent::Installed),
        binding().prop_map(PluginEvent::Upgraded),
        (place(), config(), any::<bool>()).prop_map(|((store_id, plugin, previous), config, resume)| {
            PluginEvent::Configured { store_id, plugin, config, resume, previous }
        }),
        (place(), string()).prop_map(|((store_id, plugin, previous), reason)| PluginEvent::Quarantined {
            store_id,
            plugin,
            reason,
            previous
        }),
        (place(), string()).prop_map(|((store_id, plugin, previous), reason)| PluginEvent::Removed {
            store_id,
            plugin,
            reason,
            previous
        }),
    ]
}

prop_compose! {
    fn encrypted()(
        nonce: [u8; 12], ciphertext in prop::collection::vec(any::<u8>(), 17..80), tag: [u8; 16],
        recipients in prop::collection::btree_map(any::<u32>(), (any::<[u8; 32]>(), any::<[u8; 16]>()), 1..5),
    ) -> EncryptedPayload {
        let recipients = recipients.into_iter().map(|(kid, (enc, ct))| {
            Recipient { kid, enc, ct: [ct, ct, ct].concat().try_into().unwrap() }
        });
        EncryptedPayload { nonce, ciphertext, tag, recipients: recipients.collect() }
    }
}

/// What a fault on the way does to bytes.
#[derive(Debug, Clone)]
enum Fault {
    Set(At, u8),
    Flip(At, u32),
    Cut(At),
    Add(u8),
    Drop(At),
    Insert(At, u8),
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        (any::<At>(), any::<u8>()).prop_map(|(at, byte)| Fault::Set(at, byte)),
        (any::<At>(), 0u32..8).prop_map(|(at, bit)| Fault::Flip(at, bit)),
        any::<At>().prop_map(Fault::Cut),
        any::<u8>().prop_map(Fault::Add),
        any::<At>().prop_map(Fault::Drop),
        (any::<At>(), any::<u8>()).prop_map(|(at, byte)| Fault::Insert(at, byte)),
    ];
    prop::collection::vec(fault, 1..4)
}

fn damage(mut bytes: Vec<u8>, faults: &[Fault]) -> Vec<u8> {
    for fault in faults {
        let length = bytes.len().max(1);
        match *fault {
            Fault::Set(at, byte) if !bytes.is_empty() => bytes[at.index(length)] = byte,
            Fault::Flip(at, bit) if !bytes.is_empty() => bytes[at.index(length)] ^= 1 << bit,
            Fault::Cut(at) => bytes.truncate(at.index(length)),
            Fault::Add(byte) => bytes.push(byte),
            Fault::Drop(at) if !bytes.is_empty() => drop(bytes.remove(at.index(length))),
            Fault::Insert(at, byte) => bytes.insert(at.index(length).min(bytes.len()), byte),
            _ => {}
        }
    }
    bytes
}

/// What decodes is what would be written.
fn frame_is_strict(bytes: &[u8]) {
    if let Ok(frame) = Frame::decode(Bytes::copy_from_slice(bytes)) {
        let again = Frame::from_parts(&frame.fields(), frame.payload(), frame.signature()).unwrap();
        assert_eq!(again.bytes(), bytes);
        let _ = frame.check_payload();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_frame_reads_back_as_written(fields in fields(), payload: Vec<u8>, signature: [u8; 64]) {
        let frame = Frame::from_parts(&fields, &payload, Signature::from_bytes(signature)).unwrap();
        let read = Frame::decode(frame.bytes().clone()).unwrap();
        prop_assert_eq!(read.fields(), fields.clone());
        prop_assert_eq!(read.payload(), payload);
        prop_assert_eq!(read.signature(), Signature::from_bytes(signature));
        let preimage = fields.preimage().unwrap();
        prop_assert_eq!(read.preimage(), &preimage);
        prop_assert_eq!(read.signing_hash(), fields.signing_hash().unwrap());
        prop_assert_eq!(read.payload_aad(), fields.payload_aad().unwrap());
        prop_assert_eq!(read, frame);
    }

    #[test]
    fn what_reads_as_a_frame_is_what_would_be_written(frame in frame(), faults in faults(), noise: Vec<u8>) {
        frame_is_strict(&noise);
        let damaged = damage(frame.bytes().to_vec(), &faults);
        frame_is_strict(&damaged);
        // With the length put right, damage reaches further in.
        if damaged.len() > 4 {
            let length = u32::try_from(damaged.len() - 4).unwrap();
            frame_is_strict(&[&length.to_be_bytes(), &damaged[4..]].concat());
        }
    }

    #[test]
    fn distinct_fields_never_have_one_preimage(left in fields(), right in fields()) {
        prop_assert_eq!(left == right, left.preimage().unwrap() == right.preimage().unwrap());
    }

    #[test]
    fn moving_a_boundary_between_strings_changes_the_preimage(fields in fields(), by: At, between in 0usize..3) {
        // The concatenation stays the same, the strings do not.
        let mut moved = fields.clone();
        let (left, right) = match between {
            0 => (&mut moved.entity_type, &mut moved.entity_id),
            1 => (&mut moved.entity_id, &mut moved.event_type),
            _ => (&mut moved.event_type, &mut moved.created_at),
        };
        let both: Vec<char> = left.chars().chain(right.chars()).collect();
        let at = 1 + by.index(both.len() - 1);
        (*left, *right) = (both[..at].iter().collect(), both[at..].iter().collect());
        prop_assert_eq!(moved == fields, moved.preimage().unwrap() == fields.preimage().unwrap());
    }

    #[test]
    fn every_signed_field_changes_the_signing_hash(fields in fields(), other in fields()) {
        let signing = fields.signing_hash().unwrap();
        for (at, changed) in one_field_each(&fields, &other).into_iter().enumerate() {
            prop_assert_eq!(changed == fields, changed.signing_hash().unwrap() == signing, "field {}", at);
        }
    }

    #[test]
    fn frames_in_a_stream_come_out_whole_however_it_is_cut(
        frames in prop::collection::vec(frame(), 0..6), cuts in prop::collection::vec(1usize..400, 1..20),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes().to_vec()).collect();
        let (mut rest, mut arrived, mut read) = (&bytes[..], BytesMut::new(), Vec::new());
        for cut in cuts.into_iter().cycle() {
            let (chunk, later) = rest.split_at(cut.min(rest.len()));
            arrived.extend_from_slice(chunk);
            rest = later;
            let mut buffer = arrived.split().freeze();
            while let Some(frame) = Frame::decode_prefix(&mut buffer).unwrap() {
                read.push(frame);
            }
            arrived = BytesMut::from(buffer);
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(arrived.is_empty());
        prop_assert_eq!(read, frames);
    }

    #[test]
    fn a_bad_frame_does_not_change_the_fate_of_its_neighbours(
        frames in prop::collection::vec(frame(), 1..6), at: At, byte: At, value: u8,
    ) {
        let at = at.index(frames.len());
        let mut stream = Vec::new();
        for (n, frame) in frames.iter().enumerate() {
            let mut bytes = frame.bytes().to_vec();
            if n == at {
                // Anything but the length field.
                let byte = 4 + byte.index(bytes.len() - 4);
                bytes[byte] = value;
            }
            stream.extend(bytes);
        }
        let mut stream = Bytes::from(stream);
        for (n, frame) in frames.iter().enumerate() {
            match Frame::decode_prefix(&mut stream) {
                Ok(read) => prop_assert!(n == at || read.as_ref() == Some(frame)),
                Err(error) => prop_assert!(n == at && !error.loses_framing()),
            }
        }
        prop_assert!(stream.is_empty());
    }

    #[test]
    fn an_event_entry_reads_back_as_written(entry in event_entry(), faults in faults()) {
        let bytes = entry.encode();
        prop_assert_eq!(EventEntry::decode(&bytes), Ok(entry));
        prop_assert_eq!(Entry::decode(&bytes).map(|entry| entry.encode()), Ok(bytes.to_vec()));
        let damaged = damage(bytes.to_vec(), &faults);
        if let Ok(read) = Entry::decode(&damaged) {
            prop_assert_eq!(read.encode(), damaged);
        }
    }

    #[test]
    fn every_part_of_an_entry_is_bound_by_its_leaf(entry in event_entry(), other in event_entry()) {
        let tenant = Stream::new(other.stream.tenant, entry.stream.store);
        let store = Stream::new(entry.stream.tenant, other.stream.store);
        for (at, changed) in [
            EventEntry { stream: tenant, ..entry },
            EventEntry { stream: store, ..entry },
            EventEntry { sequence: other.sequence, ..entry },
            EventEntry { signing_hash: other.signing_hash, ..entry },
            EventEntry { signature: other.signature, ..entry },
        ]
        .into_iter()
        .enumerate()
        {
            prop_assert_eq!(changed == entry, changed.leaf_hash() == entry.leaf_hash(), "part {}", at);
            prop_assert_eq!(changed == entry, changed.ves_leaf() == entry.ves_leaf(), "part {}", at);
        }
        // The log's leaf binds the key and the time too, which the VES leaf does not know.
        for changed in [
            EventEntry { public_key: other.public_key, ..entry },
            EventEntry { sequenced_at: other.sequenced_at, ..entry },
        ] {
            prop_assert_eq!(changed == entry, changed.leaf_hash() == entry.leaf_hash());
        }
    }

    #[test]
    fn a_genesis_reads_back_as_written(genesis in genesis(), faults in faults()) {
        let bytes = genesis.encode();
        prop_assert_eq!(genesis.check(), Ok(()));
        prop_assert_eq!(Genesis::decode(&bytes), Ok(genesis.clone()));
        prop_assert_eq!(genesis.ledger_id(), hash::leaf(&bytes).ledger_id());
        let damaged = damage(bytes, &faults);
        if let Ok(read) = Entry::decode(&damaged) {
            prop_assert_eq!(read.encode(), damaged);
        }
    }

    #[test]
    fn a_control_event_reads_back_as_written(event in control_event(), faults in faults()) {
        let payload = event.payload();
        prop_assert_eq!(jcs::is_canonical(&payload), Ok(()));
        prop_assert_eq!(ControlEvent::decode(event.event_type(), &payload), Ok(event.clone()));
        let damaged = damage(payload, &faults);
        if let Ok(read) = ControlEvent::decode(event.event_type(), &damaged) {
            prop_assert_eq!(read.payload(), damaged);
        }
    }

    #[test]
    fn an_outcome_reads_back_as_written(outcome in outcome(), faults in faults()) {
        let (bytes, leaf) = (outcome.encode(), outcome.event_leaf);
        prop_assert_eq!(outcome.check(), Ok(()));
        prop_assert_eq!(Outcome::decode(&bytes, leaf), Ok(outcome.clone()));
        let damaged = damage(bytes, &faults);
        if let Ok(read) = Outcome::decode(&damaged, leaf) {
            prop_assert_eq!(read.encode(), damaged);
            prop_assert_eq!(read == outcome, read.leaf_hash() == outcome.leaf_hash());
        }
    }

    #[test]
    fn every_part_of_an_outcome_is_bound_by_its_leaf(event: [u8; 32], one in binding_outcome(), other in binding_outcome()) {
        let leaf = |event, binding: &BindingOutcome| {
            Outcome { event_leaf: LeafHash::from_bytes(event), bindings: vec![binding.clone()] }.leaf_hash()
        };
        let with = |change: &dyn Fn(&mut BindingOutcome)| {
            let mut changed = one.clone();
            change(&mut changed);
            changed
        };
        for changed in [
            with(&|b| b.plugin = other.plugin.clone()),
            with(&|b| b.module = other.module),
            with(&|b| b.profile = other.profile),
            with(&|b| b.fresh = !b.fresh),
            with(&|b| b.code = other.code.clone()),
            with(&|b| b.gas = other.gas),
            with(&|b| b.writes = other.writes),
            with(&|b| b.emits = other.emits),
            with(&|b| b.effects = other.effects),
        ] {
            prop_assert_eq!(changed == one, leaf(event, &changed) == leaf(event, &one));
        }
        let mut another = event;
        another[0] ^= 1;
        prop_assert_ne!(leaf(another, &one), leaf(event, &one));
    }

    #[test]
    fn a_plugin_event_reads_back_as_written(event in plugin_event(), faults in faults()) {
        let payload = event.payload();
        prop_assert_eq!(jcs::is_canonical(&payload), Ok(()));
        prop_assert_eq!(PluginEvent::decode(event.event_type(), &payload), Ok(event.clone()));
        let damaged = damage(payload, &faults);
        if let Ok(read) = PluginEvent::decode(event.event_type(), &damaged) {
            prop_assert_eq!(read.payload(), damaged);
        }
    }

    #[test]
    fn an_encrypted_payload_reads_back_as_written(payload in encrypted(), faults in faults(), aad: [u8; 32]) {
        let bytes = payload.encode();
        prop_assert_eq!(jcs::is_canonical(&bytes), Ok(()));
        prop_assert_eq!(EncryptedPayload::decode(&bytes), Ok(payload.clone()));
        let aad = hash::PayloadAad::from_bytes(aad);
        let damaged = damage(bytes, &faults);
        if let Ok(read) = EncryptedPayload::decode(&damaged) {
            prop_assert_eq!(read.encode(), damaged);
            // Nothing in the text escapes the hash.
            prop_assert_eq!(read == payload, read.cipher_hash(&aad) == payload.cipher_hash(&aad));
        }
    }

    #[test]
    fn a_time_reads_back_as_written(time in time(), offset in -1439i64..1440, upper: bool) {
        let text = time.to_rfc3339();
        prop_assert_eq!(LogTime::parse_canonical(&text), Ok(time));
        // The same instant said elsewhere.
        let local = i64::try_from(time.micros()).unwrap() + offset * 60_000_000;
        prop_assume!((0..=LogTime::MAX.micros() as i64).contains(&local));
        let local = LogTime::from_micros(local as u64).to_rfc3339();
        let sign = if offset < 0 { '-' } else { '+' };
        let text = format!("{}{sign}{:02}:{:02}", &local[..26], offset.abs() / 60, offset.abs() % 60);
        let text = if upper { text } else { text.to_lowercase() };
        prop_assert_eq!(LogTime::parse_rfc3339(&text), Ok(time), "{}", text);
    }

    #[test]
    fn no_text_makes_reading_a_time_panic(text in "[0-9TZtz:.+ -]{0,40}", noise: String) {
        for text in [text, noise] {
            if let Ok(time) = LogTime::parse_rfc3339(&text) {
                prop_assert_eq!(LogTime::parse_rfc3339(&time.to_rfc3339()), Ok(time));
            }
        }
    }
}

/// `fields` with one field after the other taken from `other`.
fn one_field_each(fields: &EventFields, other: &EventFields) -> Vec<EventFields> {
    let kind = match fields.payload_kind {
        PayloadKind::Plain => PayloadKind::Encrypted,
        PayloadKind::Encrypted => PayloadKind::Plain,
    };
    let change = |change: &dyn Fn(&mut EventFields)| {
        let mut changed = fields.clone();
        change(&mut changed);
        changed
    };
    vec![
        change(&|f| f.stream.tenant = other.stream.tenant),
        change(&|f| f.stream.store = other.stream.store),
        change(&|f| f.event_id = other.event_id),
        change(&|f| f.agent_id = other.agent_id),
        change(&|f| f.key_id = other.key_id),
        change(&|f| f.entity_type.clone_from(&other.entity_type)),
        change(&|f| f.entity_id.clone_from(&other.entity_id)),
        change(&|f| f.event_type.clone_from(&other.event_type)),
        change(&|f| f.created_at.clone_from(&other.created_at)),
        change(&|f| f.payload_kind = kind),
        change(&|f| f.payload_plain_hash = other.payload_plain_hash),
        change(&|f| f.payload_cipher_hash = other.payload_cipher_hash),
    ]
}

fn sample(payload: &[u8]) -> EventFields {
    let stream = Stream::new(TenantId::from_bytes([1; 16]), StoreId::from_bytes([2; 16]));
    let agent = (AgentId::from_bytes([4; 16]), KeyId::new(1));
    let event = EventId::from_bytes([3; 16]);
    EventFields::plain(stream, event, agent, ("order", "ORD-1"), "order.created", "2025-01-01T00:00:00Z", payload)
}

#[test]
fn building_signs_what_decoding_verifies() {
    let key = SigningKey::from_seed([5; 32]);
    let payload = br#"{"total":100}"#;
    let frame = Frame::build(&sample(payload), payload, |signing| key.sign(signing.as_bytes())).unwrap();
    let read = Frame::decode(frame.bytes().clone()).unwrap();
    assert_eq!(read.check_payload(), Ok(()));
    let signing = read.signing_hash();
    assert!(tally_protocol::key::verify(&key.public_key(), signing.as_bytes(), &read.signature()));
    assert_eq!(read.created_at_time(), LogTime::parse_rfc3339("2025-01-01T00:00:00Z"));
    let entry = EventEntry::of_frame(&read, signing, Sequence::new(1), key.public_key(), LogTime::from_micros(7));
    assert_eq!(EventEntry::decode(&entry.encode()), Ok(entry));
}

#[test]
fn building_refuses_what_admission_would_refuse_and_signs_nothing() {
    let nothing = |_: &SigningHash| -> Signature { panic!("signed") };
    let payload = br#"{"total": 100}"#;
    assert!(matches!(Frame::build(&sample(payload), payload, nothing), Err(FrameError::PayloadForm(_))));
    assert_eq!(Frame::build(&sample(b"1"), b"2", nothing), Err(FrameError::PlainHash));
    let mut fields = sample(b"1");
    fields.entity_id.clear();
    assert_eq!(Frame::build(&fields, b"1", nothing), Err(FrameError::Empty("entity_id")));
    fields.entity_id = "x".repeat(ENTITY_ID_BYTES_MAX + 1);
    assert_eq!(Frame::build(&fields, b"1", nothing), Err(FrameError::TooLong("entity_id", ENTITY_ID_BYTES_MAX)));
}

#[test]
fn the_largest_frame_passes_and_one_byte_more_does_not() {
    let mut fields = sample(b"");
    fields.entity_type = "t".repeat(128);
    fields.entity_id = "i".repeat(512);
    fields.event_type = "e".repeat(256);
    fields.created_at = "c".repeat(64);
    let signature = Signature::from_bytes([0; 64]);
    let frame = Frame::from_parts(&fields, &vec![b'1'; PAYLOAD_BYTES_MAX], signature).unwrap();
    assert_eq!(frame.bytes().len(), FRAME_BYTES_MAX);
    assert_eq!(Frame::decode(frame.bytes().clone()), Ok(frame));
    let too_long = Frame::from_parts(&fields, &vec![b'1'; PAYLOAD_BYTES_MAX + 1], signature);
    assert_eq!(too_long, Err(FrameError::PayloadTooLong));
}

#[test]
fn a_promised_length_is_refused_before_it_is_waited_for() {
    for length in [0, (FRAME_FIXED_BYTES - 4) as u32, (FRAME_BYTES_MAX - 3) as u32, u32::MAX] {
        let mut bytes = Bytes::copy_from_slice(&length.to_be_bytes());
        let error = Frame::decode_prefix(&mut bytes).unwrap_err();
        assert_eq!(error, FrameError::Length(length.into()));
        assert!(error.loses_framing());
        assert_eq!(bytes.len(), 4, "nothing is taken");
    }
    for length in [(FRAME_FIXED_BYTES) as u32, (FRAME_BYTES_MAX - 4) as u32] {
        assert_eq!(Frame::decode_prefix(&mut Bytes::copy_from_slice(&length.to_be_bytes())), Ok(None));
    }
}

#[test]
fn no_error_text_repeats_what_the_client_sent() {
    let canary = "CANARY";
    let mut fields = sample(b"");
    fields.entity_type = format!("{canary}{}", "x".repeat(200));
    let texts = [
        Frame::from_parts(&fields, b"", Signature::from_bytes([0; 64])).unwrap_err().reject().to_string(),
        jcs::parse(br#"{"CANARY":1,"CANARY":2}"#).unwrap_err().to_string(),
        ControlEvent::decode("tally.CANARY", b"{}").unwrap_err().reject().to_string(),
        ControlEvent::decode("tally.agent_key.revoked", br#"{"CANARY":1}"#).unwrap_err().reject().to_string(),
        ControlEvent::decode("tally.entity_types.set", br#"{"entity_types":["CANARY",1]}"#).unwrap_err().to_string(),
        EncryptedPayload::decode(br#"{"CANARY":1}"#).unwrap_err().to_string(),
    ];
    for text in texts {
        assert!(!text.contains(canary), "{text}");
    }
    let frame = Frame::from_parts(&sample(b"\"CANARY\""), b"\"CANARY\"", Signature::from_bytes([0; 64])).unwrap();
    assert!(!format!("{frame:?}").contains(canary));
}
