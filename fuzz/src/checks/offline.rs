//! What is checked without a server: the offline bundle.

use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::entry::{Genesis, PROFILE};
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash::{LeafHash, node};
use tally_protocol::id::{AgentId, EventId, Index, KeyId, Sequence, StoreId, Stream, TenantId, TreeSize};
use tally_protocol::jcs;
use tally_protocol::key::SigningKey;
use tally_protocol::time::LogTime;
use tally_verify::{Bundle, Ledger, Placed, TrustRoot};

use crate::{Shape, Target, shape_of};

pub(super) const OFFLINE_BUNDLE: Target = Target {
    name: "offline-bundle",
    about: "offline bundles, and their verification against the seed's ledger",
    files: &["sdk/verify/src/bundle.rs"],
    words: &[
        b"\"format\":\"tally-bundle/1\"",
        b"\"index\":",
        b"\"sequence\":0",
        b"\"inclusion_path\":[]",
        b"\"cosignatures\":[]",
        b"\"leaf_hash\":",
        b"9007199254740991",
        b"null",
        b"==",
        b"\\u0000",
        b"\\n\\n",
    ],
    seeds: || vec![bundle().encode()],
    check: offline_bundle,
};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

/// A ledger of two entries, and the bundle of the second.
fn bundle() -> Bundle {
    let genesis = Genesis {
        origin: "fuzz.example/log".to_owned(),
        profile: PROFILE.to_owned(),
        created_at: LogTime::EPOCH,
        nonce: [1; 16],
        checkpoint_key: key(1).public_key(),
        receipt_key: key(2).public_key(),
        root_agent: AgentId::from_bytes([3; 16]),
        root_key: key(3).public_key(),
    };
    let ledger = Ledger::from_genesis(&genesis.encode()).expect("the seed's genesis is lawful");
    let payload = br#"{"amount":1}"#;
    let stream = Stream::new(TenantId::from_bytes([4; 16]), StoreId::from_bytes([5; 16]));
    let agent = (AgentId::from_bytes([6; 16]), KeyId::new(1));
    let entity = ("Order", "ORD-1");
    let event = EventId::from_bytes([7; 16]);
    let fields = EventFields::plain(stream, event, agent, entity, "order.created", "1970-01-01T00:00:00Z", payload);
    let frame =
        Frame::build(&fields, payload, |hash| key(8).sign(hash.as_bytes())).expect("the seed is a lawful event");
    let placed = Placed {
        index: Index::new(1),
        sequence: Sequence::new(1),
        sequenced_at: LogTime::EPOCH,
        public_key: key(8).public_key(),
    };
    let first: LeafHash = genesis.leaf_hash();
    let root = node(&first.node(), &placed.entry_of(&frame).leaf_hash().node()).root();
    let checkpoint = Checkpoint::new(&genesis.origin, TreeSize::new(2), root);
    let note = SignedCheckpoint::sign(checkpoint, &[&key(2)]).expect("the seed is a lawful checkpoint").note;
    Bundle::assemble(&ledger, &frame, &placed, vec![first.node()], note)
}

fn offline_bundle(input: &[u8]) -> Shape {
    let bundle = match Bundle::decode(input) {
        Ok(bundle) => bundle,
        Err(error) => return shape_of(&error),
    };
    let text = bundle.encode();
    assert_eq!(Bundle::decode(&text).as_ref(), Ok(&bundle), "encoding and decoding gave another bundle");
    if jcs::is_canonical(input).is_ok() {
        assert_eq!(text, input, "a canonical text was written differently");
    }
    let seed = self::bundle();
    let trusted = Ledger::from_genesis(&seed.genesis_entry).expect("the seed's genesis is lawful").id();
    let report = bundle.verify(&TrustRoot::ledger(trusted));
    match report.first_failure() {
        Some(failed) => failed.check.as_str().to_owned(),
        None => {
            // Nobody has the keys: what verifies says what the seed says.
            assert_eq!((&bundle.frame, bundle.placed()), (&seed.frame, seed.placed()), "forged");
            "verified".to_owned()
        }
    }
}
