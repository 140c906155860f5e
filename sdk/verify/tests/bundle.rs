//! Bundles, receipts, proofs and extensions: what holds is reported in words, and what does not is named.

#![expect(clippy::unwrap_used, reason = "tests")]

use tally_merkle::{Frontier, consistency_path};
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::entry::{EventEntry, Genesis};
use tally_protocol::hash::{LedgerId, NodeHash};
use tally_protocol::id::{Index, Sequence, TreeSize};
use tally_protocol::jcs::{self, Value};
use tally_protocol::key::PublicKey;
use tally_protocol::note::VerifierKey;
use tally_protocol::proof::TlogProof;
use tally_protocol::time::LogTime;
use tally_testkit::{ReferenceLog, TestLedger, Workload, WorkloadConfig, naive_inclusion_path, signing_key};
use tally_verify::{
    Bundle, BundleError, Check, ExtensionError, Ledger, Outcome, Placed, TrustRoot, verify_extension, verify_receipt,
    verify_receipt_of_stranger, verify_tlog_proof,
};

const START: LogTime = LogTime::from_micros(1_767_225_600_000_000);

struct World {
    ledger: TestLedger,
    model: ReferenceLog,
}

impl World {
    fn new() -> Self {
        let ledger = TestLedger::new("log.example/bundle", START);
        let mut workload = Workload::new(WorkloadConfig::honest(), 1, START);
        let mut model = ReferenceLog::new(ledger.genesis.clone());
        for frame in workload.setup(&ledger).into_iter().chain(workload.frames(40)) {
            model.submit(&frame, START);
        }
        Self { ledger, model }
    }

    fn size(&self) -> u64 {
        self.model.size() as u64
    }

    fn bundle(&self, index: u64) -> Bundle {
        let ledger = Ledger::from_genesis(&self.ledger.genesis.encode()).unwrap();
        let leaves = self.model.leaves();
        let (frame, public_key, place) = self.model.events().nth(index as usize - 1).unwrap();
        let placed =
            Placed { index: place.index, sequence: place.sequence, sequenced_at: place.sequenced_at, public_key };
        let path = naive_inclusion_path(index as usize, &leaves);
        let bundle = Bundle::assemble(&ledger, frame, &placed, path, self.ledger.sign(&leaves, self.size(), false));
        assert_eq!(bundle.leaf_hash, place.leaf_hash);
        bundle
    }
}

fn trust(world: &World) -> TrustRoot {
    TrustRoot::ledger(world.ledger.id())
}

/// The check at which the bundle fails.
fn fails_at(bundle: &Bundle, trust: &TrustRoot) -> Check {
    let report = bundle.verify(trust);
    assert!(!report.verified() && report.proven().is_none(), "{report}");
    report.first_failure().expect("a report that is not verified names its failure").check
}

fn damage(change: impl FnOnce(&mut Bundle)) -> Check {
    let world = World::new();
    let mut bundle = world.bundle(30);
    change(&mut bundle);
    fails_at(&bundle, &trust(&world))
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

#[test]
fn an_honest_bundle_verifies_and_lists_every_check_in_words() {
    let world = World::new();
    for index in [1, 2, 16, 30, world.size() - 1] {
        let report = world.bundle(index).verify(&trust(&world));
        assert!(report.verified(), "{report}");
        let checks: Vec<Check> = report.lines().iter().map(|line| line.check).collect();
        assert_eq!(checks, Check::OF_AN_EVENT);
        let in_words = |outcome: &Outcome| matches!(outcome, Outcome::Passed(words) if !words.is_empty());
        assert!(report.lines().iter().all(|line| in_words(&line.outcome)));
        let proven = report.proven().unwrap();
        assert_eq!((proven.index.get(), proven.root), (index, world.model.root()));
        assert!(report.to_string().ends_with("verified"));
        assert_eq!(report.to_json().get("verified"), Some(&Value::Bool(true)));
    }
}

#[test]
fn a_bundle_reads_back_as_written_in_any_layout() {
    let bundle = World::new().bundle(30);
    let text = bundle.encode();
    assert_eq!(Bundle::decode(&text), Ok(bundle.clone()));
    assert!(jcs::is_canonical(&text).is_ok());
    let pretty = String::from_utf8(text).unwrap().replace(",\"", " ,\n  \"").replace("\":", "\" : ");
    assert_eq!(Bundle::decode(pretty.as_bytes()), Ok(bundle));
}

#[test]
fn without_trust_the_report_says_so() {
    let world = World::new();
    let report = world.bundle(30).verify(&TrustRoot::default());
    assert!(report.verified());
    assert!(report.caveats().iter().any(|caveat| caveat.contains("no ledger id")), "{report}");
    let pinned = world.bundle(30).verify(&trust(&world));
    assert!(pinned.caveats().iter().all(|caveat| !caveat.contains("no ledger id")), "{pinned}");
}

#[test]
fn a_trusted_key_must_be_the_one_that_signed() {
    let world = World::new();
    let key = |key: &tally_protocol::key::SigningKey| {
        VerifierKey::new(&world.ledger.genesis.origin, key.public_key()).unwrap()
    };
    let bundle = world.bundle(30);
    assert!(bundle.verify(&TrustRoot::key(key(&world.ledger.receipt_key))).verified());
    // Named in genesis, but it did not sign this checkpoint.
    assert_eq!(fails_at(&bundle, &TrustRoot::key(key(&world.ledger.checkpoint_key))), Check::CheckpointSignature);
    assert_eq!(fails_at(&bundle, &TrustRoot::key(key(&signing_key("stranger")))), Check::VerifierKeys);
}

#[test]
fn every_field_that_is_changed_fails_by_the_right_name() {
    let other = |name: &str| signing_key(name).public_key();
    type Case = (&'static str, Check, fn(&mut Bundle));
    let cases: [Case; 17] = [
        ("another ledger's genesis", Check::LedgerId, |b| {
            b.genesis_entry = TestLedger::new("log.example/other", START).genesis.encode();
        }),
        ("a genesis cut short", Check::Genesis, |b| b.genesis_entry.truncate(100)),
        ("no genesis", Check::Genesis, |b| b.genesis_entry.clear()),
        ("a verifier key less", Check::VerifierKeys, |b| drop(b.verifier_keys.pop())),
        ("a verifier key twice", Check::VerifierKeys, |b| b.verifier_keys.push(b.verifier_keys[0].clone())),
        ("verifier keys in another order", Check::VerifierKeys, |b| b.verifier_keys.reverse()),
        ("a frame cut short", Check::Frame, |b| b.frame = b.frame.slice(..b.frame.len() - 1)),
        ("no frame", Check::Frame, |b| b.frame = bytes::Bytes::new()),
        ("a later index", Check::Inclusion, |b| b.index = b.index.next()),
        ("an index beyond the tree", Check::Inclusion, |b| b.index = Index::new(1 << 40)),
        ("a later sequence", Check::Leaf, |b| b.sequence = b.sequence.next()),
        ("sequence zero", Check::Leaf, |b| b.sequence = Sequence::new(0)),
        ("a later time", Check::Leaf, |b| b.sequenced_at = LogTime::from_micros(b.sequenced_at.micros() + 1)),
        ("a path too short", Check::Inclusion, |b| b.inclusion_path.truncate(2)),
        ("a path too long", Check::Inclusion, |b| b.inclusion_path.push(NodeHash::ZERO)),
        ("a path in another order", Check::Inclusion, |b| b.inclusion_path.swap(0, 1)),
        ("no checkpoint", Check::CheckpointSignature, |b| b.checkpoint.clear()),
    ];
    for (name, check, change) in cases {
        assert_eq!(damage(change), check, "{name}");
    }
    assert_eq!(damage(|b| b.agent_public_key = other("stranger")), Check::AgentSignature);
    assert_eq!(damage(|b| b.verifier_keys[0] = b.verifier_keys[0].replace('+', "-")), Check::VerifierKeys);
}

#[test]
fn every_flipped_bit_of_the_frame_fails_by_the_right_name() {
    let world = World::new();
    let bundle = world.bundle(30);
    let payload_at = {
        let frame = tally_protocol::frame::Frame::decode(bundle.frame.clone()).unwrap();
        bundle.frame.len() - 64 - frame.payload().len()
    };
    let signature_at = bundle.frame.len() - 64;
    for bit in 0..bundle.frame.len() * 8 {
        let mut damaged = bundle.clone();
        let mut frame = bundle.frame.to_vec();
        flip(&mut frame, bit);
        damaged.frame = frame.into();
        let check = fails_at(&damaged, &trust(&world));
        let allowed: &[Check] = match bit / 8 {
            // Length fields and the tag: not a frame. Signed fields: not what was signed. A payload hash or kind: the
            // payload is not the signed one.
            at if at < payload_at => &[Check::Frame, Check::PayloadHash, Check::AgentSignature],
            at if at < signature_at => &[Check::PayloadHash],
            _ => &[Check::AgentSignature],
        };
        assert!(allowed.contains(&check), "bit {bit}: {check}");
    }
}

#[test]
fn every_flipped_bit_of_hashes_keys_genesis_and_checkpoint_fails_by_the_right_name() {
    let world = World::new();
    let bundle = world.bundle(30);
    let fails = |change: &dyn Fn(&mut Bundle)| {
        let mut damaged = bundle.clone();
        change(&mut damaged);
        fails_at(&damaged, &trust(&world))
    };
    for bit in 0..256 {
        let flipped = |bytes: &[u8; 32]| {
            let mut bytes = *bytes;
            flip(&mut bytes, bit);
            bytes
        };
        let leaf =
            |b: &mut Bundle| b.leaf_hash = tally_protocol::hash::LeafHash::from_bytes(flipped(b.leaf_hash.as_bytes()));
        assert_eq!(fails(&leaf), Check::Leaf);
        let key = |b: &mut Bundle| b.agent_public_key = PublicKey::from_bytes(flipped(b.agent_public_key.as_bytes()));
        assert_eq!(fails(&key), Check::AgentSignature);
        for at in 0..bundle.inclusion_path.len() {
            let path =
                |b: &mut Bundle| b.inclusion_path[at] = NodeHash::from_bytes(flipped(b.inclusion_path[at].as_bytes()));
            assert_eq!(fails(&path), Check::Inclusion);
        }
    }
    for bit in 0..bundle.genesis_entry.len() * 8 {
        let check = fails(&|b: &mut Bundle| flip(&mut b.genesis_entry, bit));
        assert!(matches!(check, Check::Genesis | Check::LedgerId), "genesis bit {bit}: {check}");
    }
    for bit in 0..bundle.checkpoint.len() * 8 {
        let mut note = bundle.checkpoint.clone().into_bytes();
        flip(&mut note, bit);
        // What is no longer text cannot even be put into a bundle.
        let Ok(note) = String::from_utf8(note) else { continue };
        let check = fails(&|b: &mut Bundle| b.checkpoint.clone_from(&note));
        assert_eq!(check, Check::CheckpointSignature, "checkpoint bit {bit}");
    }
}

#[test]
fn flipped_bits_of_the_file_are_found() {
    let world = World::new();
    let text = world.bundle(30).encode();
    // Of each byte the lowest bit, the one that changes case, and one in turn.
    for (byte, bit) in (0..text.len()).flat_map(|byte| [(byte, 0), (byte, 5), (byte, byte % 8)]) {
        let mut damaged = text.clone();
        flip(&mut damaged, byte * 8 + bit);
        if let Ok(bundle) = Bundle::decode(&damaged) {
            fails_at(&bundle, &trust(&world));
        }
    }
}

#[test]
fn a_checkpoint_of_another_ledger_or_by_another_key_is_refused() {
    let world = World::new();
    let leaves = world.model.leaves();
    let mut other = TestLedger::new("log.example/other", START);
    let foreign = other.sign(&leaves, world.size(), false);
    assert_eq!(damage(move |b| b.checkpoint = foreign), Check::CheckpointSignature);
    // The right origin, signed by keys that genesis does not name.
    other.genesis.origin.clone_from(&world.ledger.genesis.origin);
    let forged = other.sign(&leaves, world.size(), true);
    assert_eq!(damage(move |b| b.checkpoint = forged), Check::CheckpointSignature);
    // An honest checkpoint of another size.
    let older = world.ledger.sign(&leaves, world.size() - 1, false);
    assert_eq!(damage(move |b| b.checkpoint = older), Check::Inclusion);
}

#[test]
fn a_self_made_ledger_passes_in_itself_but_not_against_the_trusted_id() {
    let world = World::new();
    let bundle = world.bundle(30);
    assert!(bundle.verify(&TrustRoot::default()).verified());
    assert_eq!(fails_at(&bundle, &TrustRoot::ledger(LedgerId::ZERO)), Check::LedgerId);
}

#[test]
fn reading_is_strict() {
    let text = World::new().bundle(30).encode();
    let value = jcs::parse(&text).unwrap();
    let members = value.as_object().unwrap();
    let encode = |members: Vec<(String, Value)>| jcs::to_canonical(&Value::Object(members));
    for (at, (name, _)) in members.iter().enumerate() {
        let mut fewer = members.to_vec();
        fewer.remove(at);
        match Bundle::decode(&encode(fewer)) {
            Err(BundleError::Format) => assert_eq!(name, "format"),
            Err(BundleError::Missing(missing)) => assert_eq!(missing, name),
            other => panic!("without {name}: {other:?}"),
        }
        for wrong in
            [Value::Null, Value::Bool(true), Value::Number(-1.0), Value::Number(0.5), Value::Array(vec![Value::Null])]
        {
            let mut changed = members.to_vec();
            changed[at].1 = wrong;
            match Bundle::decode(&encode(changed)) {
                Err(BundleError::Format) => assert_eq!(name, "format"),
                Err(BundleError::Malformed(malformed)) => assert_eq!(malformed, name),
                other => panic!("wrong {name}: {other:?}"),
            }
        }
    }
    for later in ["cosignatures", "anchor", "outcome", "Anchors", "Format", ""] {
        let mut more = members.to_vec();
        more.push((later.to_owned(), Value::Array(Vec::new())));
        assert_eq!(Bundle::decode(&encode(more)), Err(BundleError::Unknown), "{later}");
    }
    let text = String::from_utf8(text).unwrap();
    let twice = text.replacen('{', "{\"index\":1,", 1);
    assert!(matches!(Bundle::decode(twice.as_bytes()), Err(BundleError::Json(_))));
    for (from, to) in [("tally-bundle/1", "tally-bundle/2"), ("tally-bundle/1", "TALLY-BUNDLE/1")] {
        assert_eq!(Bundle::decode(text.replace(from, to).as_bytes()), Err(BundleError::Format));
    }
    assert_eq!(Bundle::decode(b"[]"), Err(BundleError::NotAnObject));
    assert_eq!(Bundle::decode(&vec![b' '; tally_verify::BUNDLE_BYTES_MAX + 1]), Err(BundleError::TooLong));
    assert!(matches!(Bundle::decode(b""), Err(BundleError::Json(_))));
}

#[test]
fn a_receipt_verifies_against_the_own_frame_only() {
    let world = World::new();
    let (bundle, other) = (world.bundle(30), world.bundle(31));
    let ledger = Ledger::from_genesis(&bundle.genesis_entry).unwrap();
    let checkpoint = ledger.open_checkpoint(&bundle.checkpoint).unwrap();
    let frame = |bundle: &Bundle| tally_protocol::frame::Frame::decode(bundle.frame.clone()).unwrap();
    let check = |frame: &_, placed: &Placed| {
        verify_receipt(frame, placed, &bundle.leaf_hash, &bundle.inclusion_path, &checkpoint)
            .map_err(|error| error.check)
    };
    assert_eq!(check(&frame(&bundle), &bundle.placed()), Ok(()));
    assert_eq!(check(&frame(&other), &bundle.placed()), Err(Check::Leaf));
    assert_eq!(check(&frame(&bundle), &Placed { index: Index::new(31), ..bundle.placed() }), Err(Check::Inclusion));
    let stranger = Placed { public_key: signing_key("stranger").public_key(), ..bundle.placed() };
    assert_eq!(check(&frame(&bundle), &stranger), Err(Check::Leaf));
    let (leaf, path) = (&bundle.leaf_hash, &bundle.inclusion_path);
    let of_stranger = |placed: &Placed| verify_receipt_of_stranger(&frame(&bundle), placed, leaf, path, &checkpoint);
    assert_eq!(of_stranger(&bundle.placed()), Ok(()));
    assert_eq!(of_stranger(&stranger).map_err(|error| error.check), Err(Check::AgentSignature));
}

#[test]
fn a_tlog_proof_file_verifies_for_its_entry_only() {
    let world = World::new();
    let bundle = world.bundle(30);
    let file = TlogProof {
        extra: None,
        index: bundle.index,
        path: bundle.inclusion_path.clone(),
        checkpoint: bundle.checkpoint.clone(),
    }
    .encode();
    let ledger = Ledger::from_genesis(&bundle.genesis_entry).unwrap();
    let keys = ledger.verifier_keys();
    let entry = bundle.entry().unwrap();
    let verify = |file: &str, entry: &[u8], keys: &[VerifierKey]| {
        let report = verify_tlog_proof(file, entry, keys);
        report.first_failure().map(|failed| failed.check)
    };
    assert_eq!(verify(&file, &entry.encode(), keys), None);
    let other = EventEntry { sequence: entry.sequence.next(), ..entry };
    assert_eq!(verify(&file, &other.encode(), keys), Some(Check::Inclusion));
    assert_eq!(verify(&file, b"", keys), Some(Check::Leaf));
    assert_eq!(verify(&file, &entry.encode(), &[]), Some(Check::CheckpointSignature));
    assert_eq!(verify(&file.replace("index 30", "index 29"), &entry.encode(), keys), Some(Check::Inclusion));
    assert_eq!(verify(&file.replace("index 30", "index 030"), &entry.encode(), keys), Some(Check::Inclusion));
    // Genesis is an entry like any other.
    let leaves = world.model.leaves();
    let genesis = TlogProof {
        extra: None,
        index: Index::new(0),
        path: naive_inclusion_path(0, &leaves),
        checkpoint: bundle.checkpoint.clone(),
    };
    assert_eq!(verify(&genesis.encode(), &world.ledger.genesis.encode(), keys), None);
}

#[test]
fn a_newer_checkpoint_extends_or_is_named_a_fork() {
    let world = World::new();
    let leaves = world.model.leaves();
    let mut frontier = Frontier::new();
    let tree = tally_merkle::RunTree::extend(&mut frontier, &leaves);
    let at = |size: u64| Checkpoint::new("o", TreeSize::new(size), world.model.root_at(size as usize));
    for (old, new) in [(1, 2), (3, 40), (32, 33), (20, 20)] {
        let path = consistency_path(&tree, TreeSize::new(old), TreeSize::new(new)).unwrap();
        assert_eq!(verify_extension(&at(old), &at(new), &path), Ok(()));
        let mut forked = at(new);
        forked.root = at(5).root;
        let fork = verify_extension(&at(old), &forked, &path);
        match fork {
            Err(ExtensionError::TwoRoots(size)) => assert_eq!((old, size.get()), (new, new)),
            Err(ExtensionError::NotShown { .. }) => assert_ne!(old, new),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(verify_extension(&at(9), &at(8), &[]), Err(ExtensionError::Shrunk { .. })));
    let elsewhere = Checkpoint { origin: "p".to_owned(), ..at(9) };
    assert_eq!(verify_extension(&at(8), &elsewhere, &[]), Err(ExtensionError::OtherOrigin));
}

#[test]
fn a_ledger_knows_its_keys_by_purpose() {
    let world = World::new();
    let ledger = Ledger::from_genesis(&world.ledger.genesis.encode()).unwrap();
    assert_eq!(ledger.id(), world.ledger.id());
    let (receipt, checkpoint) = (ledger.receipt_key().unwrap(), ledger.checkpoint_key().unwrap());
    assert_eq!(ledger.verifier_keys(), [receipt.clone(), checkpoint.clone()]);
    let leaves = world.model.leaves();
    let published = world.ledger.sign(&leaves, 3, true);
    for key in [receipt, checkpoint] {
        assert!(ledger.open_checkpoint_with(&published, &[key]).is_ok());
    }
    let one_key = Genesis { checkpoint_key: world.ledger.receipt_key.public_key(), ..world.ledger.genesis.clone() };
    assert_eq!(Ledger::from_genesis(&one_key.encode()).unwrap().verifier_keys().len(), 1);
}
