//! What the log serves as text: notes, verifier keys, checkpoints, tlog-proofs, tile paths and bundles.

use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::hash::{NodeHash, RootHash};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::key::SigningKey;
use tally_protocol::note::{Note, VerifierKey};
use tally_protocol::proof::TlogProof;
use tally_protocol::tile::{EntryBundleId, TileId, decode_bundle, encode_bundle};

use crate::{Shape, Target, shape_of};

const ORIGIN: &str = "example.org/tally";

pub(super) const NOTE: Target = Target {
    name: "note",
    about: "signed notes, the checkpoints inside, and who signed them",
    files: &["sdk/protocol/src/note.rs", "sdk/protocol/src/checkpoint.rs"],
    words: &[
        "\u{2014} ".as_bytes(),
        b"\n",
        b"\n\n",
        b"example.org/tally",
        b"+",
        b" ",
        b"=",
        b"0",
        b"00",
        b"\x7f",
        b"\xc2\x80",
    ],
    seeds: || vec![note_text(10).into_bytes(), note_text(0).into_bytes()],
    check: note,
};

pub(super) const VERIFIER_KEY: Target = Target {
    name: "verifier-key",
    about: "verifier keys of signed notes",
    files: &["sdk/protocol/src/note.rs"],
    words: &[b"+", b"00000000", b"AQ", b"=", b" ", b"/", b"example.org/tally"],
    seeds: || vec![verifier_key().to_string().into_bytes()],
    check: verifier,
};

pub(super) const TLOG_PROOF: Target = Target {
    name: "tlog-proof",
    about: "proof files (c2sp.org/tlog-proof@v1)",
    files: &["sdk/protocol/src/proof.rs"],
    words: &[
        b"c2sp.org/tlog-proof@v1\n",
        b"extra ",
        b"index ",
        b"index 10",
        b"\n\n",
        b"=",
        b"AAAA",
        b"0",
        b"18446744073709551615",
    ],
    seeds: tlog_proof_seeds,
    check: tlog_proof,
};

pub(super) const TILES: Target = Target {
    name: "tiles",
    about: "paths of tiles and entry bundles",
    files: &["sdk/protocol/src/tile.rs"],
    words: &[
        b"tile/",
        b"entries/",
        b"x000/",
        b"/000",
        b".p/",
        b".p/256",
        b".p/0",
        b"/999",
        b"x999",
        b"0",
        b"%2f",
        b"..",
        b"63",
    ],
    seeds: || {
        let texts = ["tile/0/000", "tile/1/x001/067.p/5", "tile/entries/x001/x234/067", "tile/entries/000.p/255"];
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    },
    check: tiles,
};

pub(super) const BUNDLE: Target = Target {
    name: "bundle",
    about: "entry bundles; the first byte is the width less one",
    files: &["sdk/protocol/src/tile.rs"],
    words: &[b"\0\0", b"\0\x01a", b"\xff\xff", b"\0\x03abc"],
    seeds: || {
        let bundle = |entries: &[&[u8]]| encode_bundle(entries).expect("the seed is a lawful bundle");
        vec![[vec![2], bundle(&[b"a", b"", b"abc"])].concat(), [vec![0], bundle(&[b"alone"])].concat()]
    },
    check: bundle,
};

fn key() -> SigningKey {
    SigningKey::from_seed([21; 32])
}

fn verifier_key() -> VerifierKey {
    VerifierKey::new(ORIGIN, key().public_key()).expect("the seed's name is lawful")
}

fn note_text(size: u64) -> String {
    let root = if size == 0 { tally_protocol::hash::empty_root() } else { RootHash::from_bytes([22; 32]) };
    let mut checkpoint = Checkpoint::new(ORIGIN, TreeSize::new(size), root);
    checkpoint.extensions.extend((size > 0).then(|| "an extension".to_owned()));
    SignedCheckpoint::sign(checkpoint, &[&key()]).expect("the seed is a lawful checkpoint").note
}

fn note(input: &[u8]) -> Shape {
    let Ok(text) = core::str::from_utf8(input) else { return "not text".to_owned() };
    let opened = SignedCheckpoint::open(text, &[verifier_key()]);
    let note = match Note::parse(text) {
        Ok(note) => note,
        Err(error) => {
            assert!(opened.is_err(), "a checkpoint was opened that is no note");
            return shape_of(&error);
        }
    };
    assert_eq!(note.format(), text, "encoding what was decoded gave other bytes");
    let checkpoint = Checkpoint::parse(note.text());
    if let Ok(checkpoint) = &checkpoint {
        assert_eq!(checkpoint.encode(), note.text(), "encoding what was decoded gave other bytes");
        assert_eq!(checkpoint.check(), Ok(()));
    }
    match opened {
        Ok(opened) => {
            // The mutator has no key: only the text of a seed can be signed.
            assert!([note_text(0), note_text(10)].iter().any(|seed| seed.starts_with(note.text())), "forged: {text}");
            assert_eq!(checkpoint.as_ref(), Ok(&opened.checkpoint));
            format!("opened {}", note.signatures().len().min(3))
        }
        Err(error) => format!("{} {}", shape_of(&error), checkpoint.is_ok()),
    }
}

fn verifier(input: &[u8]) -> Shape {
    let Ok(text) = core::str::from_utf8(input) else { return "not text".to_owned() };
    match text.parse::<VerifierKey>() {
        Ok(key) => {
            assert_eq!(key.to_string(), text, "encoding what was decoded gave other bytes");
            "accepted".to_owned()
        }
        Err(error) => shape_of(&error),
    }
}

fn tlog_proof_seeds() -> Vec<Vec<u8>> {
    let proof = |extra: Option<&[u8]>, nodes: usize| {
        let (extra, index) = (extra.map(<[u8]>::to_vec), Index::new(3));
        let path = vec![NodeHash::from_bytes([23; 32]); nodes];
        TlogProof { extra, index, path, checkpoint: note_text(10) }.encode().into_bytes()
    };
    vec![proof(None, 4), proof(Some(b"extra bytes"), 1), proof(None, 0)]
}

fn tlog_proof(input: &[u8]) -> Shape {
    let Ok(text) = core::str::from_utf8(input) else { return "not text".to_owned() };
    match TlogProof::parse(text) {
        Ok(proof) => {
            assert_eq!(proof.encode(), text, "encoding what was decoded gave other bytes");
            format!("accepted {} {}", proof.extra.is_some(), proof.path.len().min(3))
        }
        Err(error) => shape_of(&error),
    }
}

fn tiles(input: &[u8]) -> Shape {
    let Ok(text) = core::str::from_utf8(input) else { return "not text".to_owned() };
    let (tile, bundle) = (TileId::parse(text), EntryBundleId::parse(text));
    if let Ok(tile) = &tile {
        assert_eq!(tile.path(), text, "encoding what was decoded gave other bytes");
        assert!(!tile.is_within(TreeSize::new(0)), "a tile of an empty tree");
    }
    if let Ok(bundle) = &bundle {
        assert_eq!(bundle.path(), text, "encoding what was decoded gave other bytes");
        assert!(!bundle.is_within(TreeSize::new(0)), "a bundle of an empty tree");
    }
    assert!(tile.is_err() || bundle.is_err(), "one path, two things");
    let name = |result: Option<Shape>| result.unwrap_or_else(|| "accepted".to_owned());
    format!("{} {}", name(tile.err().map(|e| shape_of(&e))), name(bundle.err().map(|e| shape_of(&e))))
}

fn bundle(input: &[u8]) -> Shape {
    let Some((width, rest)) = input.split_first() else { return "empty".to_owned() };
    match decode_bundle(rest, u16::from(*width) + 1) {
        Ok(entries) => {
            assert_eq!(entries.len(), usize::from(*width) + 1);
            assert_eq!(encode_bundle(&entries).as_deref(), Ok(rest), "encoding what was decoded gave other bytes");
            format!("accepted {}", entries.len().min(4))
        }
        Err(error) => shape_of(&error),
    }
}
