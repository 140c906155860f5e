//! The golden vectors of notes, checkpoints, tlog-proofs, tile paths, entry bundles and commitments (`log.json`), made
//! by an implementation of its own (`vectors/make.py`). What decodes must encode to the same bytes.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use serde_json::Value as Json;
use tally_protocol::batch::Commitment;
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::hash::LedgerId;
use tally_protocol::note::{Note, VerifierKey};
use tally_protocol::proof::TlogProof;
use tally_protocol::tile::{EntryBundleId, TileId, decode_bundle, encode_bundle};

fn section(name: &str) -> Vec<Json> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/log.json");
    let all: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = all[name].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn text<'a>(case: &'a Json, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// "ok" or the variant's name.
fn verdict<T, E: core::fmt::Debug>(result: &Result<T, E>) -> String {
    let debug = result.as_ref().err().map_or_else(|| "ok".to_owned(), |error| format!("{error:?}"));
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

#[test]
fn verifier_keys_read_or_fail_as_they_should() {
    for case in section("verifier_keys") {
        let read = text(&case, "vkey").parse::<VerifierKey>();
        assert_eq!(verdict(&read), text(&case, "decode"), "{case}");
        assert!(read.is_err() || read.unwrap().to_string() == text(&case, "vkey"));
    }
}

#[test]
fn notes_open_or_fail_as_they_should() {
    for case in section("notes") {
        let known: Vec<VerifierKey> =
            case["known"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().parse().unwrap()).collect();
        let parsed = Note::parse(text(&case, "note"));
        assert!(parsed.is_err() || parsed.as_ref().unwrap().format() == text(&case, "note"), "{case}");
        let opened = parsed.and_then(|note| note.verify(&known).map(|_| ()));
        assert_eq!(verdict(&opened), text(&case, "open"), "{}", case["name"]);
    }
}

#[test]
fn checkpoints_decode_or_fail_as_they_should() {
    for case in section("checkpoints") {
        let read = Checkpoint::parse(text(&case, "text"));
        assert_eq!(verdict(&read), text(&case, "decode"), "{case}");
        if let Ok(checkpoint) = read {
            let fields = [&checkpoint.origin, &checkpoint.size.to_string(), &checkpoint.root.to_hex()];
            assert_eq!(fields, ["origin", "size", "root"].map(|field| text(&case, field)), "{case}");
            assert_eq!(checkpoint.encode(), text(&case, "text"));
        }
    }
}

#[test]
fn tlog_proofs_decode_or_fail_as_they_should() {
    for case in section("tlog_proofs") {
        let read = TlogProof::parse(text(&case, "file"));
        assert_eq!(verdict(&read), text(&case, "decode"), "{}", case["name"]);
        assert!(read.is_err() || read.unwrap().encode() == text(&case, "file"));
    }
}

#[test]
fn tile_paths_read_or_fail_as_they_should() {
    for case in section("tile_paths") {
        let path = text(&case, "path");
        let read = if path.starts_with("tile/entries") {
            EntryBundleId::parse(path).map(|id| (id.path(), "entries".into(), id.index, id.width))
        } else {
            TileId::parse(path).map(|id| (id.path(), id.level.into(), id.index, id.width))
        };
        assert_eq!(verdict(&read), text(&case, "decode"), "{case}");
        if let Ok((written, level, index, width)) = read {
            assert_eq!(written, path);
            assert_eq!((level, index.to_string().into(), width.into()), fields(&case), "{case}");
        }
    }
}

fn fields(case: &Json) -> (Json, Json, Json) {
    (case["level"].clone(), case["index"].clone(), case["width"].clone())
}

#[test]
fn entry_bundles_decode_or_fail_as_they_should() {
    for case in section("bundles") {
        let (bytes, width) = (unhex(text(&case, "bundle")), case["width"].as_u64().unwrap());
        let read = decode_bundle(&bytes, width.try_into().unwrap());
        assert_eq!(verdict(&read), text(&case, "decode"), "{case}");
        assert!(read.is_err() || encode_bundle(&read.unwrap()).unwrap() == bytes);
    }
}

#[test]
fn commitments_decode_or_fail_as_they_should() {
    for case in section("commitments") {
        let bytes = unhex(text(&case, "record"));
        let read = Commitment::decode(&bytes);
        assert_eq!(verdict(&read), text(&case, "decode"), "{case}");
        if let Ok(commitment) = read {
            assert_eq!(commitment.encode(), bytes);
            assert_eq!(commitment.batch_id.as_slice(), unhex(text(&case, "batch_id")));
            let ledger = LedgerId::from_hex(text(&case, "ledger")).unwrap();
            assert_eq!(commitment.is_named_by(&ledger), case["named_by_ledger"], "{case}");
        }
    }
}
