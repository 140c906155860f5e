//! The offline bundle: what `tally verify` reads from strangers.
//!
//! The seed is a real bundle of a log with two entries. Beyond strict reading, the check is that nothing else verifies:
//! a mutant that says anything different must fail at some check.

use std::sync::OnceLock;

use tally_merkle::Frontier;
use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::frame::Frame;
use tally_protocol::id::{Index, Sequence};
use tally_protocol::key::SigningKey;
use tally_protocol::note::Note;
use tally_protocol::time::LogTime;
use tally_verify::{Bundle, Ledger, Placed, TrustRoot};

use crate::{Shape, Target, shape_of};

pub(super) const OFFLINE: Target = Target {
    name: "offline",
    about: "offline bundles: read strictly, and nothing forged verifies",
    files: &["sdk/verify/src/bundle.rs"],
    words: &[
        b"\"index\":2",
        b"\"extra\":1",
        b"null",
        b"0",
        b"=",
        b"tally-bundle/2",
        b" ",
        b"\n",
        b"\"frame\":\"\"",
        b"AAAA",
    ],
    seeds: || vec![seed().encode()],
    check,
};

fn seed() -> &'static Bundle {
    static SEED: OnceLock<Bundle> = OnceLock::new();
    SEED.get_or_init(make)
}

fn make() -> Bundle {
    let key = SigningKey::from_seed([31; 32]);
    let genesis = super::records::genesis();
    let ledger = Ledger::from_genesis(&genesis.encode()).expect("the seed's genesis is lawful");
    let payload = b"{\"sku\":\"a-1\"}";
    let frame = Frame::build(&super::wire::fields(payload), payload, |hash| key.sign(hash.as_bytes()));
    let frame = frame.expect("the seed is a lawful frame");
    let placed = Placed {
        index: Index::new(1),
        sequence: Sequence::new(1),
        sequenced_at: LogTime::from_micros(1_767_322_800_000_005),
        public_key: key.public_key(),
    };
    let mut frontier = Frontier::new();
    frontier.append(genesis.leaf_hash());
    frontier.append(placed.entry_of(&frame).leaf_hash());
    let checkpoint = Checkpoint::new(&genesis.origin, frontier.size(), frontier.root());
    // `records::genesis` names the keys of these seeds.
    let signed = SignedCheckpoint::sign(checkpoint, &[&SigningKey::from_seed([1; 32])]).expect("a lawful checkpoint");
    Bundle::assemble(&ledger, &frame, &placed, vec![genesis.leaf_hash().node()], signed.note)
}

fn trust() -> TrustRoot {
    TrustRoot::ledger(super::records::genesis().ledger_id())
}

fn check(input: &[u8]) -> Shape {
    let bundle = match Bundle::decode(input) {
        Ok(bundle) => bundle,
        Err(error) => return shape_of(&error),
    };
    let again = Bundle::decode(&bundle.encode()).expect("what was decoded can be encoded and decoded");
    assert_eq!(again.encode(), bundle.encode(), "a bundle that reads back as another");
    let report = bundle.verify(&trust());
    if report.verified() {
        assert_eq!(without_signatures(&bundle), without_signatures(seed()), "a forged bundle verifies");
        return "verified".to_owned();
    }
    format!("refused {}", shape_of(&report)).chars().take(200).collect()
}

/// A bundle up to its checkpoint's signatures: those of strangers may be added and say nothing.
fn without_signatures(bundle: &Bundle) -> Bundle {
    let note = Note::parse(&bundle.checkpoint).expect("a bundle that verifies holds a note");
    Bundle { checkpoint: note.text().to_owned(), ..bundle.clone() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_seed_verifies() {
        assert!(super::seed().verify(&super::trust()).verified(), "{}", super::seed().verify(&super::trust()));
    }
}
