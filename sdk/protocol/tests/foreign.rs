//! Notes, checkpoints, tile paths and tlog-proofs against other people's code: the crates `signed_note` and
//! `tlog_tiles` (ports of Go's `sumdb/note` and `sumdb/tlog`). What we write they read, what they write we read, and
//! what one side refuses the other does not take for something else.

use proptest::prelude::*;
use signed_note::{Note as ForeignNote, StandardSigner, StandardVerifier, VerifierList};
use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::hash::{self, NodeHash, RootHash};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::key::SigningKey;
use tally_protocol::note::{Note, NoteError, VerifierKey};
use tally_protocol::proof::TlogProof;
use tally_protocol::tile::{EntryBundleId, TileId};
use tlog_tiles::{Hash, Tile};

const ORIGIN: &str = "tally.example/log";

/// Go's test key of "PeterNeumann", in the encoding of `signed_note`.
const FOREIGN_SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const FOREIGN_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

fn vkey(name: &str, seed: u8) -> VerifierKey {
    VerifierKey::new(name, key(seed).public_key()).expect("the name can be a key's")
}

/// The text of a note as the foreign crate opens it with one key; `None` if it refuses.
fn opened_abroad(note: &[u8], vkey: &VerifierKey) -> Option<String> {
    let verifier = StandardVerifier::new(&vkey.to_string()).expect("the foreign crate reads our verifier key");
    let note = ForeignNote::from_bytes(note).ok()?;
    let (verified, _) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).ok()?;
    assert!(!verified.is_empty());
    Some(String::from_utf8(note.text().to_vec()).expect("the foreign crate has checked the text"))
}

fn opened_here(note: &str, vkey: &VerifierKey) -> Option<String> {
    let note = Note::parse(note).ok()?;
    note.verify(std::slice::from_ref(vkey)).ok()?;
    Some(note.text().to_owned())
}

fn head(size: u64, root: [u8; 32]) -> Checkpoint {
    Checkpoint::new(ORIGIN, TreeSize::new(size), RootHash::from_bytes(root))
}

#[test]
fn their_note_opens_here_and_ours_beside_theirs_opens_there() {
    let mut note = ForeignNote::new(b"text\n\nof three lines\n", &[]).unwrap();
    note.add_sigs(&[&StandardSigner::new(FOREIGN_SECRET).unwrap()]).unwrap();
    let note = String::from_utf8(note.to_bytes()).unwrap();
    let theirs: VerifierKey = FOREIGN_KEY.parse().unwrap();
    assert_eq!(opened_here(&note, &theirs).unwrap(), "text\n\nof three lines\n");
    // Ours under theirs: each side finds its own and carries the other's.
    let mut both = Note::parse(&note).unwrap();
    both.sign(ORIGIN, &key(1)).unwrap();
    let both = both.format();
    for key in [&theirs, &vkey(ORIGIN, 1)] {
        assert_eq!(opened_here(&both, key).unwrap(), "text\n\nof three lines\n");
        assert_eq!(opened_abroad(both.as_bytes(), key).unwrap(), "text\n\nof three lines\n");
    }
}

#[test]
fn key_ids_and_verifier_keys_are_theirs() {
    let ours = vkey(ORIGIN, 1);
    let material = [&[1], ours.public_key().as_bytes().as_slice()].concat();
    assert_eq!(u32::from_be_bytes(ours.key_hash()), signed_note::key_id(ORIGIN, &material));
    assert!(StandardVerifier::new(&ours.to_string()).is_ok());
}

#[test]
fn a_wrong_signature_of_a_known_key_is_refused_on_both_sides() {
    let note = SignedCheckpoint::sign(head(5, [7; 32]), &[&key(1)]).unwrap().note;
    let forged = note.replacen("5\n", "6\n", 1);
    assert_eq!(opened_abroad(forged.as_bytes(), &vkey(ORIGIN, 1)), None);
    let why = Note::parse(&forged).unwrap().verify(&[vkey(ORIGIN, 1)]).unwrap_err();
    assert_eq!(why, NoteError::WrongSignature(ORIGIN.to_owned()));
}

#[test]
fn hashes_of_the_tree_are_theirs() {
    let (left, right) = (hash::leaf(b"left"), hash::leaf(b"right"));
    assert_eq!(tlog_tiles::record_hash(b"left").0, *left.as_bytes());
    let theirs = tlog_tiles::node_hash(Hash(*left.as_bytes()), Hash(*right.as_bytes()));
    assert_eq!(theirs.0, *hash::node(&left.node(), &right.node()).as_bytes());
    assert_eq!(tlog_tiles::EMPTY_HASH.0, *hash::empty_root().as_bytes());
}

#[test]
fn a_tlog_proof_s_path_leads_to_its_checkpoint_s_root_by_their_rule() {
    // A tree of three: ((0, 1), 2).
    let leaves: Vec<NodeHash> = [b"a", b"b", b"c"].iter().map(|entry| hash::leaf(*entry).node()).collect();
    let pair = hash::node(&leaves[0], &leaves[1]);
    let root = hash::node(&pair, &leaves[2]).root();
    let checkpoint = SignedCheckpoint::sign(head(3, *root.as_bytes()), &[&key(1)]).unwrap().note;
    let file = TlogProof { extra: None, index: Index::new(1), path: vec![leaves[0], leaves[2]], checkpoint }.encode();

    let proof = TlogProof::parse(&file).unwrap();
    let text = opened_abroad(proof.checkpoint.as_bytes(), &vkey(ORIGIN, 1)).unwrap();
    let tree = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
    let path = proof.path.iter().map(|node| Hash(*node.as_bytes())).collect();
    let (index, leaf) = (proof.index.get(), Hash(*leaves[1].as_bytes()));
    assert!(tlog_tiles::check_record(&path, tree.size(), *tree.hash(), index, leaf).is_ok());
}

proptest! {
    #[test]
    fn a_checkpoint_signed_here_is_opened_there(
        size in 1u64.., root in any::<[u8; 32]>(), extensions in proptest::collection::vec("[ -~]{1,20}", 0..3),
    ) {
        let checkpoint = Checkpoint { extensions, ..head(size, root) };
        let signed = SignedCheckpoint::sign(checkpoint.clone(), &[&key(1), &key(2)]).unwrap();
        for seed in [1, 2] {
            let text = opened_abroad(signed.note.as_bytes(), &vkey(ORIGIN, seed)).unwrap();
            let theirs = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
            prop_assert_eq!(theirs.origin(), ORIGIN);
            prop_assert_eq!(theirs.size(), size);
            prop_assert_eq!(theirs.hash().0, root);
            prop_assert_eq!(theirs.to_bytes(), checkpoint.encode().into_bytes());
        }
    }

    #[test]
    fn a_note_changed_on_its_way_opens_on_neither_side(
        at in any::<prop::sample::Index>(), by in 1u8.., cut in any::<bool>(),
    ) {
        let mut bytes = SignedCheckpoint::sign(head(5, [7; 32]), &[&key(1)]).unwrap().note.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if cut {
            bytes.truncate(at);
        }
        let here = String::from_utf8(bytes.clone()).ok().and_then(|note| opened_here(&note, &vkey(ORIGIN, 1)));
        prop_assert_eq!(here, None);
        prop_assert_eq!(opened_abroad(&bytes, &vkey(ORIGIN, 1)), None);
    }

    #[test]
    fn a_checkpoint_read_here_is_read_alike_there(
        text in "(o|o/1)?\n?(0|[1-9][0-9]{0,3}|0[0-9])?\n?[A-Da-d]{42}[A-D]=?\n?([a]{0,2}\n){0,2}",
    ) {
        if let Ok(ours) = Checkpoint::parse(&text) {
            let theirs = tlog_tiles::Checkpoint::from_bytes(text.as_bytes());
            prop_assert!(theirs.is_ok());
            let theirs = theirs.unwrap();
            prop_assert_eq!((theirs.size(), theirs.hash().0), (ours.size.get(), *ours.root.as_bytes()));
        }
    }

    #[test]
    fn tile_paths_are_theirs(level in 0u8..=63, index in any::<u64>(), near in 0u64..3000, width in 1u16..=256) {
        for index in [index, near] {
            let theirs = Tile::new(8, level, index, u32::from(width), false).path();
            // Theirs names the tile height, which tlog-tiles fixes at 8 and leaves out.
            let ours = theirs.replacen("tile/8/", "tile/", 1);
            prop_assert_eq!(&TileId::new(level, index, width).unwrap().path(), &ours);
            prop_assert_eq!(TileId::parse(&ours), TileId::new(level, index, width));
            prop_assert!(Tile::from_path(&theirs).is_ok());

            let theirs = Tile::new(8, 0, index, u32::from(width), true).path();
            let ours = theirs.replacen("tile/8/data/", "tile/entries/", 1);
            prop_assert_eq!(EntryBundleId::new(index, width).unwrap().path(), ours);
        }
    }

    // Levels above 63 and a width of 0 are left out: there the foreign crate panics.
    #[test]
    fn a_tile_path_read_here_is_read_there(
        path in "0?([0-9]|[1-5][0-9]|6[0-3])(/x?[0-9]{3}){0,3}(\\.p/0?[1-9][0-9]{0,2})?",
    ) {
        let theirs = Tile::from_path(&format!("tile/8/{path}"));
        match TileId::parse(&format!("tile/{path}")) {
            Ok(ours) => {
                let theirs = theirs.unwrap();
                prop_assert_eq!((theirs.level(), theirs.level_index()), (ours.level, ours.index));
                prop_assert_eq!(theirs.width(), u32::from(ours.width));
            }
            Err(_) => prop_assert!(theirs.is_err()),
        }
    }

    #[test]
    fn the_tiles_of_a_growing_tree_are_theirs(old in 0u64..200_000, grown in 1u64..2000) {
        let new = TreeSize::new(old + grown);
        for tile in Tile::new_tiles(8, old, new.get()) {
            let ours = TileId::new(tile.level(), tile.level_index(), u16::try_from(tile.width()).unwrap()).unwrap();
            prop_assert!(ours.is_within(new), "{:?}", ours);
            prop_assert!(!ours.is_within(TreeSize::new(old)), "{:?}", ours);
        }
    }
}
