//! What a stranger checks offline: bundles of one event, and proof files against an entry.
//!
//! The mutator has no keys. Under a trusted ledger, whatever still verifies must therefore say what the seed said.

use std::sync::LazyLock;

use tally_merkle::{Frontier, RunTree};
use tally_protocol::anchor::AnchorCall;
use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::frame::Frame;
use tally_protocol::hash::{self, LogKind};
use tally_protocol::id::{Index, Sequence, TreeSize};
use tally_protocol::jcs;
use tally_protocol::key::SigningKey;
use tally_protocol::proof::TlogProof;
use tally_testkit::TestChain;
use tally_verify::{AnchoredLeaf, Bundle, BundleAnchor, Ledger, Placed, TrustRoot, TrustedChain, verify_tlog_proof};

use crate::{Shape, Target, shape_of};

pub(super) const EVENT_BUNDLE: Target = Target {
    name: "event-bundle",
    about: "offline bundles of one event, decoded and verified, anchors and all",
    files: &["sdk/verify/src/bundle.rs", "sdk/verify/src/anchor.rs"],
    words: &[
        b"\"format\":\"tally-bundle/1\"",
        b"tally-bundle/2",
        b"\"inclusion_path\":[]",
        b"\"index\":0",
        b"9007199254740991",
        b"null",
        b"[]",
        b",",
        b"=",
        b"\"extra\":1",
        b"\\n",
        b" ",
    ],
    seeds: || vec![SEED.bundle.encode(), pretty(&SEED.bundle.encode()), SEED.anchored.encode()],
    check: event_bundle,
};

pub(super) const PROOF_FILE: Target = Target {
    name: "proof-file",
    about: "proof files verified against an entry and a key",
    files: &["sdk/verify/src/tlog_proof.rs"],
    words: &[b"c2sp.org/tlog-proof@v1\n", b"extra AAAA\n", b"index ", b"\n\n", b"=", b"\n", "\u{2014} ".as_bytes()],
    seeds: || vec![SEED.proof.clone().into_bytes()],
    check: proof_file,
};

struct Seed {
    ledger: Ledger,
    bundle: Bundle,
    anchored: Bundle,
    chain: TrustedChain,
    entry: Vec<u8>,
    proof: String,
}

static SEED: LazyLock<Seed> = LazyLock::new(|| {
    let (genesis, agent) = (super::records::genesis(), SigningKey::from_seed([11; 32]));
    let payload = b"{\"sku\":\"a-1\"}";
    let frame = Frame::build(&super::wire::fields(payload), payload, |hash| agent.sign(hash.as_bytes()));
    let frame = frame.expect("the seed is a lawful frame");
    let ledger = Ledger::from_genesis(&genesis.encode()).expect("the seed's genesis is lawful");
    let index = Index::new(1);
    let (sequenced_at, public_key) = (genesis.created_at, agent.public_key());
    let placed = Placed { index, sequence: Sequence::new(1), sequenced_at, public_key };
    let entry = placed.entry_of(&frame).encode().to_vec();
    let other = |number: u8| hash::leaf(&[number]);
    let leaves = [genesis.leaf_hash(), hash::leaf(&entry), other(2), other(3), other(4)];
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    let checkpoint = Checkpoint::new(&genesis.origin, TreeSize::new(5), tree.root());
    let signed =
        SignedCheckpoint::sign(checkpoint, &[&super::records::receipt_key()]).expect("the seed's checkpoint is lawful");
    let path = tree.path(index);
    let proof = TlogProof { extra: None, index, path: path.clone(), checkpoint: signed.note.clone() }.encode();
    let bundle = Bundle::assemble(&ledger, &frame, &placed, path, signed.note);
    assert!(bundle.verify(&TrustRoot::ledger(ledger.id())).verified(), "the seed verifies");
    let (anchored, chain) = anchored(&ledger, &bundle);
    let trust = TrustRoot::ledger(ledger.id()).and_chain(chain.clone());
    assert!(anchored.verify(&trust).verified(), "the anchored seed verifies");
    Seed { ledger, bundle, anchored, chain, entry, proof }
});

/// The bundle with its own checkpoint anchored on a chain.
fn anchored(ledger: &Ledger, bundle: &Bundle) -> (Bundle, TrustedChain) {
    let (chain, note) = (TestChain::new(7), bundle.checkpoint.as_str());
    let head = ledger.open_checkpoint(note).expect("the seed's checkpoint opens");
    let log_id = hash::log_id(&ledger.id(), LogKind::Events);
    let call = AnchorCall::One(chain.anchor(log_id, note, &head, Vec::new()));
    let leaf = (bundle.leaf_hash, bundle.index);
    let (authority, contract) = (chain.authority.address(), chain.contract);
    let anchor = BundleAnchor {
        chain_id: chain.chain_id,
        contract,
        authority,
        transaction: chain.transaction(&call, 1).encode(),
        block: None,
        event: AnchoredLeaf::assemble(log_id, 1, (note, &head), leaf, bundle.inclusion_path.clone()),
        outcome: None,
    };
    let trusted = TrustedChain { chain_id: chain.chain_id, contract, authorities: vec![authority] };
    (bundle.clone().anchored(vec![anchor]), trusted)
}

/// The same JSON with white space: reading is blind to it.
fn pretty(json: &[u8]) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_slice(json).expect("a bundle is JSON");
    serde_json::to_vec_pretty(&value).expect("JSON can be written")
}

fn event_bundle(input: &[u8]) -> Shape {
    let bundle = match Bundle::decode(input) {
        Ok(bundle) => bundle,
        Err(error) => return shape_of(&error),
    };
    let written = bundle.encode();
    assert_eq!(jcs::is_canonical(&written), Ok(()), "what was written is not canonical");
    assert_eq!(Bundle::decode(&written).as_ref(), Ok(&bundle), "what was written reads as another bundle");
    assert_eq!(jcs::is_canonical(input).is_ok(), written == input, "a canonical bundle that is written in another way");
    // Trusting nothing must not panic either; it proves only that the bundle is whole in itself.
    let alone = bundle.verify(&TrustRoot::default()).verified();
    let report = bundle.verify(&TrustRoot::ledger(SEED.ledger.id()));
    if let Some(proven) = report.proven() {
        assert!(alone, "trusting a ledger verified what trusting nothing did not");
        let same = Bundle { checkpoint: SEED.bundle.checkpoint.clone(), anchors: Vec::new(), ..bundle.clone() };
        assert_eq!(same, SEED.bundle, "forged");
        assert_eq!((proven.index, proven.size), (SEED.bundle.index, TreeSize::new(5)));
        return format!("verified {:?}", anchored_as_the_seed(&bundle));
    }
    format!("{:?}", report.first_failure().map(|failed| failed.check))
}

/// Whether the bundle is anchored where the caller trusts; it then says what the seed said.
fn anchored_as_the_seed(bundle: &Bundle) -> bool {
    let report = bundle.verify(&TrustRoot::ledger(SEED.ledger.id()).and_chain(SEED.chain.clone()));
    let Some(proven) = report.proven() else { return false };
    for anchor in proven.anchors.iter().filter(|anchor| anchor.pinned) {
        let said = (anchor.contract, anchor.size, anchor.root);
        assert_eq!(said, (SEED.chain.contract, proven.size, proven.root), "forged");
        assert!(SEED.chain.authorities.contains(&anchor.authority), "forged");
    }
    true
}

fn proof_file(input: &[u8]) -> Shape {
    let Ok(text) = core::str::from_utf8(input) else { return "not text".to_owned() };
    let report = verify_tlog_proof(text, &SEED.entry, SEED.ledger.verifier_keys());
    if let Some(proven) = report.proven() {
        assert_eq!((proven.index, proven.size), (SEED.bundle.index, TreeSize::new(5)), "forged");
        let read = TlogProof::parse(text).expect("a verified proof parses");
        assert_eq!(read.path, SEED.bundle.inclusion_path, "forged");
        return format!("verified {}", read.extra.is_some());
    }
    let why = report.first_failure().map(|failed| (failed.check, failed.why)).expect("what is not proven failed");
    let words = why.1.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 1).take(6);
    format!("{:?} {}", why.0, words.collect::<Vec<_>>().join(" "))
}
