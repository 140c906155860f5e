use proptest::prelude::*;

use super::*;
use crate::checkpoint::SignedCheckpoint;
use crate::hash::RootHash;
use crate::key::SigningKey;

fn note(size: u64) -> String {
    let head = Checkpoint::new("tally.example/log", TreeSize::new(size), RootHash::from_bytes([7; 32]));
    SignedCheckpoint::sign(head, &[&SigningKey::from_seed([1; 32])]).unwrap().note
}

fn proof() -> TlogProof {
    TlogProof {
        extra: Some(b"entry".to_vec()),
        index: Index::new(3),
        path: vec![NodeHash::from_bytes([1; 32]), NodeHash::from_bytes([2; 32])],
        checkpoint: note(4),
    }
}

#[test]
fn the_file_is_written_as_the_specification_draws_it() {
    let expected = format!(
        "c2sp.org/tlog-proof@v1\nextra ZW50cnk=\nindex 3\n\
         AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\nAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n\n{}",
        note(4)
    );
    assert_eq!(proof().encode(), expected);
    assert_eq!(TlogProof::parse(&expected).unwrap(), proof());
}

#[test]
fn a_log_of_one_entry_has_a_proof_without_hashes() {
    let proof = TlogProof { extra: None, index: Index::new(0), path: Vec::new(), checkpoint: note(1) };
    assert_eq!(proof.encode(), format!("c2sp.org/tlog-proof@v1\nindex 0\n\n{}", note(1)));
    assert_eq!(TlogProof::parse(&proof.encode()).unwrap(), proof);
}

#[test]
fn malformed_files_are_refused() {
    let good = proof().encode();
    for (bad, why) in [
        (String::new(), TlogProofError::Head),
        (good.replace("@v1", "@v2"), TlogProofError::Head),
        (good.replace("@v1\n", "@v1\r\n"), TlogProofError::Head),
        (format!("\n{good}"), TlogProofError::Head),
        (good.replace("\n\ntally", "\ntally"), TlogProofError::Path),
        (good.replace("extra ZW50cnk=\n", "extra \n"), TlogProofError::Extra),
        (good.replace("extra ZW50cnk=", "extra ZW50cnk"), TlogProofError::Extra),
        (good.replace("extra ZW50cnk=", "extra ZW50cnl="), TlogProofError::Extra),
        (good.replace("extra ZW50cnk=", "Extra ZW50cnk="), TlogProofError::Index),
        (good.replace("extra ZW50cnk=\n", "extra ZW50cnk=\nextra ZW50cnk=\n"), TlogProofError::Index),
        (good.replace("index 3\n", ""), TlogProofError::Index),
        (good.replace("index 3", "index 03"), TlogProofError::Index),
        (good.replace("index 3", "index -3"), TlogProofError::Index),
        (good.replace("index 3", "index  3"), TlogProofError::Index),
        (good.replace("index 3", "index 4"), TlogProofError::Outside),
        (good.replace("index 3", "index 18446744073709551616"), TlogProofError::Index),
        (good.replace("\nAQEB", "\n AQEB"), TlogProofError::Path),
        (good.replace("AQE=\n", "AQE\n"), TlogProofError::Path),
        (good.replace("AQE=\n", "AQF=\n"), TlogProofError::Path),
    ] {
        assert_eq!(TlogProof::parse(&bad), Err(why), "{bad}");
    }
}

#[test]
fn a_path_deeper_than_any_tree_is_refused() {
    let deepest = TlogProof { path: vec![NodeHash::ZERO; 64], ..proof() };
    assert!(TlogProof::parse(&deepest.encode()).is_ok());
    let deeper = TlogProof { path: vec![NodeHash::ZERO; 65], ..proof() };
    assert_eq!(TlogProof::parse(&deeper.encode()), Err(TlogProofError::Path));
}

#[test]
fn a_file_without_a_well_formed_checkpoint_is_refused() {
    let bare = Checkpoint::new("o", TreeSize::new(9), RootHash::from_bytes([7; 32])).encode();
    let unsigned = TlogProof { checkpoint: bare, ..proof() };
    let why = TlogProof::parse(&unsigned.encode()).unwrap_err();
    assert_eq!(why, TlogProofError::Checkpoint(CheckpointError::Note(NoteError::NoSignatures)));
    let cut = proof().encode();
    assert!(TlogProof::parse(&cut[..cut.len() - 1]).is_err());
}

proptest! {
    #[test]
    fn encode_and_parse_are_identities(
        extra in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..300)),
        index in 0u64..1000, beyond in 1u64..1000,
        path in proptest::collection::vec(any::<[u8; 32]>().prop_map(NodeHash::from_bytes), 0..=64),
    ) {
        let proof = TlogProof { extra, index: Index::new(index), path, checkpoint: note(index + beyond) };
        let file = proof.encode();
        let parsed = TlogProof::parse(&file).unwrap();
        prop_assert_eq!(&parsed, &proof);
        prop_assert_eq!(parsed.encode(), file);
    }

    #[test]
    fn a_changed_byte_is_refused_or_shows(at in any::<prop::sample::Index>(), by in 1u8..) {
        let mut bytes = proof().encode().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if let Ok(changed) = String::from_utf8(bytes)
            && let Ok(parsed) = TlogProof::parse(&changed)
        {
            prop_assert_ne!(&parsed, &proof());
            prop_assert_eq!(parsed.encode(), changed);
        }
    }
}
