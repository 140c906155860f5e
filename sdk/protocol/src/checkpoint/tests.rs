use proptest::prelude::*;

use super::*;
use crate::key::SigningKey;

/// The example of C2SP tlog-checkpoint v1.0.0.
const SPEC_NOTE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

const ORIGIN: &str = "tally.example/log";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

fn verifier(name: &str, seed: u8) -> VerifierKey {
    VerifierKey::new(name, key(seed).public_key()).unwrap()
}

fn head(size: u64) -> Checkpoint {
    Checkpoint::new(ORIGIN, TreeSize::new(size), RootHash::from_bytes([7; 32]))
}

#[test]
fn the_specification_s_example_reads() {
    let note = Note::parse(SPEC_NOTE).unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size, TreeSize::new(20_852_163));
    assert_eq!(checkpoint.root.to_hex(), "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62");
    assert_eq!(checkpoint.encode(), note.text());
}

#[test]
fn a_signed_checkpoint_opens_with_any_of_its_keys() {
    let (receipt, published) = (key(1), key(2));
    let signed = SignedCheckpoint::sign(head(5), &[&receipt, &published]).unwrap();
    for seed in [1, 2] {
        assert_eq!(SignedCheckpoint::open(&signed.note, &[verifier(ORIGIN, seed)]).unwrap(), signed);
    }
    let stranger = SignedCheckpoint::open(&signed.note, &[verifier(ORIGIN, 3)]);
    assert_eq!(stranger, Err(CheckpointError::Note(NoteError::Unsigned)));
}

#[test]
fn a_trusted_key_of_another_name_does_not_speak_for_this_origin() {
    // A witness that we trust has signed some other log's checkpoint.
    let mut note = Note::unsigned(&head(5).encode()).unwrap();
    note.sign("witness.example", &key(9)).unwrap();
    let witness = verifier("witness.example", 9);
    assert_eq!(SignedCheckpoint::open(&note.format(), &[witness]), Err(CheckpointError::OtherOrigin));
}

#[test]
fn nothing_is_signed_without_a_signer_or_under_a_malformed_head() {
    let signer = key(1);
    assert_eq!(SignedCheckpoint::sign(head(5), &[]), Err(CheckpointError::Note(NoteError::NoSignatures)));
    for origin in ["", "a b", "a+b", "a\nb", "a\tb", &"o".repeat(256)] {
        let checkpoint = Checkpoint { origin: origin.to_owned(), ..head(5) };
        assert_eq!(SignedCheckpoint::sign(checkpoint, &[&signer]), Err(CheckpointError::Origin), "{origin:?}");
    }
    assert_eq!(SignedCheckpoint::sign(head(0), &[&signer]), Err(CheckpointError::EmptyRoot));
    for line in ["", "a\nb", "\r"] {
        let checkpoint = Checkpoint { extensions: vec![line.to_owned()], ..head(5) };
        assert_eq!(SignedCheckpoint::sign(checkpoint, &[&signer]), Err(CheckpointError::Extension), "{line:?}");
    }
}

#[test]
fn malformed_texts_are_refused() {
    let root = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    assert!(Checkpoint::parse(&format!("o\n1\n{root}\n")).is_ok());
    for (bad, why) in [
        (String::new(), CheckpointError::Lines),
        ("o\n1\n".to_owned(), CheckpointError::Lines),
        (format!("o\n1\n{root}"), CheckpointError::Lines),
        (format!("\n1\n{root}\n"), CheckpointError::Origin),
        (format!("o o\n1\n{root}\n"), CheckpointError::Origin),
        (format!("o\n\n{root}\n"), CheckpointError::Size),
        (format!("o\n01\n{root}\n"), CheckpointError::Size),
        (format!("o\n00\n{root}\n"), CheckpointError::Size),
        (format!("o\n+1\n{root}\n"), CheckpointError::Size),
        (format!("o\n-1\n{root}\n"), CheckpointError::Size),
        (format!("o\n1 \n{root}\n"), CheckpointError::Size),
        (format!("o\n0x1\n{root}\n"), CheckpointError::Size),
        (format!("o\n18446744073709551616\n{root}\n"), CheckpointError::Size),
        (format!("o\n1\n{}\n", root.trim_end_matches('=')), CheckpointError::Root),
        (format!("o\n1\n{}\n", root.replace("wc=", "wd=")), CheckpointError::Root),
        (format!("o\n1\n{}\n", root.replace("wc=", "w==")), CheckpointError::Root),
        (format!("o\n1\n {root}\n"), CheckpointError::Root),
        (format!("o\n1\n{root}AAAA\n"), CheckpointError::Root),
        (format!("o\n0\n{root}\n"), CheckpointError::EmptyRoot),
        (format!("o\n1\n{root}\n\n"), CheckpointError::Extension),
        (format!("o\n1\n{root}\n\next\n"), CheckpointError::Extension),
    ] {
        assert_eq!(Checkpoint::parse(&bad), Err(why), "{bad:?}");
    }
}

#[test]
fn the_empty_tree_and_the_largest_have_checkpoints() {
    let empty = Checkpoint::new(ORIGIN, TreeSize::new(0), empty_root());
    assert_eq!(Checkpoint::parse(&empty.encode()).unwrap(), empty);
    assert_eq!(Checkpoint::parse(&head(u64::MAX).encode()).unwrap(), head(u64::MAX));
}

#[test]
fn extension_lines_are_carried() {
    let checkpoint = Checkpoint { extensions: vec!["one".to_owned(), "\u{2014} two".to_owned()], ..head(9) };
    let signed = SignedCheckpoint::sign(checkpoint, &[&key(1)]).unwrap();
    assert_eq!(SignedCheckpoint::open(&signed.note, &[verifier(ORIGIN, 1)]).unwrap(), signed);
}

fn heads() -> impl Strategy<Value = Checkpoint> {
    let extensions = proptest::collection::vec("[^\\x00-\\x1f]{1,20}", 0..4);
    ("[!-*,-~é]{1,40}", 1u64.., any::<[u8; 32]>(), extensions).prop_map(|(origin, size, root, extensions)| Checkpoint {
        origin,
        size: TreeSize::new(size),
        root: RootHash::from_bytes(root),
        extensions,
    })
}

proptest! {
    #[test]
    fn encode_and_parse_are_identities(checkpoint in heads()) {
        let text = checkpoint.encode();
        let parsed = Checkpoint::parse(&text).unwrap();
        prop_assert_eq!(&parsed, &checkpoint);
        prop_assert_eq!(parsed.encode(), text);
    }

    #[test]
    fn what_parses_encodes_to_itself(text in "[a+ ]{0,2}\n?[0-9]{0,3}\n?[A-D]{42}[A-D]=\n?([a]{0,2}\n){0,2}") {
        if let Ok(checkpoint) = Checkpoint::parse(&text) {
            prop_assert_eq!(checkpoint.encode(), text);
        }
    }

    #[test]
    fn any_changed_byte_closes_a_checkpoint(
        checkpoint in heads(), at in any::<prop::sample::Index>(), by in 1u8..,
    ) {
        let known = [verifier(&checkpoint.origin, 1)];
        let signed = SignedCheckpoint::sign(checkpoint, &[&key(1)]).unwrap();
        prop_assert_eq!(&SignedCheckpoint::open(&signed.note, &known).unwrap(), &signed);
        let mut bytes = signed.note.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(SignedCheckpoint::open(&changed, &known).is_err());
        }
    }
}
