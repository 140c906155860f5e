use proptest::prelude::*;

use super::*;
use crate::key::SigningKey;

/// The example of C2SP signed-note v1.0.0, section "Verifier keys".
const SPEC_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const SPEC_NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/// The example of Go's `golang.org/x/mod/sumdb/note`.
const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

fn verifier(name: &str, seed: u8) -> VerifierKey {
    VerifierKey::new(name, key(seed).public_key()).unwrap()
}

fn signed(text: &str, signers: &[(&str, u8)]) -> Note {
    let mut note = Note::unsigned(text).unwrap();
    for (name, seed) in signers {
        note.sign(name, &key(*seed)).unwrap();
    }
    note
}

fn check_foreign(vkey: &str, note: &str) {
    let known: VerifierKey = vkey.parse().unwrap();
    assert_eq!(known.to_string(), vkey);
    let parsed = Note::parse(note).unwrap();
    assert_eq!(parsed.format(), note);
    assert_eq!(parsed.verify(std::slice::from_ref(&known)).unwrap(), [&known]);
}

#[test]
fn the_specification_s_example_opens() {
    check_foreign(SPEC_KEY, SPEC_NOTE);
    assert_eq!(Note::parse(SPEC_NOTE).unwrap().text(), "This is an example message.\n");
}

#[test]
fn go_s_example_opens() {
    check_foreign(GO_KEY, GO_NOTE);
}

#[test]
fn the_specification_s_first_note_keeps_its_empty_line_in_the_text() {
    let note = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let parsed = Note::parse(note).unwrap();
    assert_eq!(parsed.format(), note);
    assert!(parsed.text().ends_with("sole:\n\ned è subito sera.\n"));
    assert_eq!(parsed.signatures()[0].name(), "quasimodo.example/salvatore");
    assert_eq!(parsed.signatures()[0].key_hash(), [0x36, 0x7b, 0xa0, 0x4b]);
}

#[test]
fn malformed_notes_are_refused() {
    let line = signed("t\n", &[("log", 1)]).signatures()[0].to_string();
    for (bad, why) in [
        (String::new(), NoteError::NoSignatures),
        ("t\n".to_owned(), NoteError::NoSignatures),
        ("t\n\n".to_owned(), NoteError::NoSignatures),
        (format!("t\n{line}\n"), NoteError::NoSignatures),
        (format!("\n{line}\n"), NoteError::NoSignatures),
        (format!("t\n\n{line}"), NoteError::NoSignatures),
        (format!("t\n\n{line}\n{line}"), NoteError::NoSignatures),
        (format!("t\n\n\n{line}\n\n"), NoteError::NoSignatures),
        (format!("t\r\n\r\n{line}\r\n"), NoteError::ControlCharacter),
        (format!("t\t\n\n{line}\n"), NoteError::ControlCharacter),
        (format!("t\0\n\n{line}\n"), NoteError::ControlCharacter),
        (format!("t\n\n {line}\n"), NoteError::SignatureLine(0)),
        (format!("t\n\n{line} \n"), NoteError::SignatureLine(0)),
        (format!("t\n\n{line}\n{line}=\n"), NoteError::SignatureLine(1)),
        (format!("t\n\n{}\n", line.replace('\u{2014}', "-")), NoteError::SignatureLine(0)),
        (format!("t\n\n{}\n", line.replace("log", "l+g")), NoteError::SignatureLine(0)),
        (format!("t\n\n{}\n", line.replace("log", "l\u{a0}g")), NoteError::SignatureLine(0)),
        (format!("t\n\n{}\n", line.replace("log ", " ")), NoteError::SignatureLine(0)),
        (format!("t\n\n{}\n", line.trim_end_matches('=')), NoteError::SignatureLine(0)),
        ("t\n\n\u{2014} log AAAAAA==\n".to_owned(), NoteError::SignatureLine(0)),
        ("t\n\n\u{2014} log\n".to_owned(), NoteError::SignatureLine(0)),
        ("t\n\n\u{2014} log \n".to_owned(), NoteError::SignatureLine(0)),
    ] {
        assert_eq!(Note::parse(&bad), Err(why), "{bad:?}");
    }
}

#[test]
fn a_last_base64_digit_has_one_spelling() {
    // 5 bytes are 7 digits and a pad; the last digit's two low bits are nothing's and must be zero.
    assert!(Note::parse("t\n\n\u{2014} log AAAAAAE=\n").is_ok());
    assert_eq!(Note::parse("t\n\n\u{2014} log AAAAAAF=\n"), Err(NoteError::SignatureLine(0)));
}

#[test]
fn an_unsigned_note_has_a_text_that_ends_in_a_newline() {
    assert_eq!(Note::unsigned(""), Err(NoteError::Text));
    assert_eq!(Note::unsigned("t"), Err(NoteError::Text));
    assert_eq!(Note::unsigned("t\u{1b}\n"), Err(NoteError::ControlCharacter));
    assert_eq!(Note::unsigned("t\n").unwrap().format(), "t\n");
}

#[test]
fn sixteen_and_more_signatures_are_read_and_the_bound_holds() {
    let mut note = Note::unsigned("t\n").unwrap();
    for at in 0..NOTE_SIGNATURES_MAX {
        note.sign(&format!("key{at}"), &key(1)).unwrap();
    }
    assert_eq!(note.sign("one-more", &key(1)), Err(NoteError::TooManySignatures));
    let text = note.format();
    assert_eq!(Note::parse(&text).unwrap(), note);
    let line = note.signatures()[0].to_string();
    assert_eq!(Note::parse(&format!("{text}{line}\n")), Err(NoteError::TooManySignatures));
}

#[test]
fn a_note_beyond_its_bytes_is_refused_before_it_is_read() {
    let long = "t".repeat(NOTE_BYTES_MAX) + "\n";
    assert_eq!(Note::parse(&long), Err(NoteError::TooLong));
    assert_eq!(Note::unsigned(&long), Err(NoteError::TooLong));
}

#[test]
fn signatures_of_strangers_are_ignored_even_if_they_share_a_name_or_an_id() {
    let mut note = signed("t\n", &[("log", 1)]);
    let ours = verifier("log", 1);
    note.add(NoteSignature::new("log", [1, 2, 3, 4], vec![9; 64]).unwrap()).unwrap();
    note.add(NoteSignature::new("other", ours.key_hash(), vec![9; 64]).unwrap()).unwrap();
    note.add(NoteSignature::new("witness", [4; 4], vec![9; 2420]).unwrap()).unwrap();
    let note = Note::parse(&note.format()).unwrap();
    assert_eq!(note.verify(std::slice::from_ref(&ours)).unwrap(), [&ours]);
    assert_eq!(note.verify(&[verifier("log", 2)]), Err(NoteError::Unsigned));
    assert_eq!(note.verify(&[]), Err(NoteError::Unsigned));
}

#[test]
fn one_wrong_signature_of_a_trusted_key_condemns_the_note() {
    let (one, two) = (verifier("log", 1), verifier("log", 2));
    let mut note = signed("t\n", &[("log", 1)]);
    note.add(NoteSignature::new("log", two.key_hash(), vec![9; 64]).unwrap()).unwrap();
    assert!(note.verify(std::slice::from_ref(&one)).is_ok());
    assert_eq!(note.verify(&[one.clone(), two]), Err(NoteError::WrongSignature("log".to_owned())));
    // A second, wrong line under the very same key.
    let mut note = signed("t\n", &[("log", 1)]);
    note.add(NoteSignature::new("log", one.key_hash(), vec![9; 64]).unwrap()).unwrap();
    assert_eq!(note.verify(std::slice::from_ref(&one)), Err(NoteError::WrongSignature("log".to_owned())));
    // A signature of another length.
    let mut note = signed("t\n", &[("log", 2)]);
    note.add(NoteSignature::new("log", one.key_hash(), vec![9; 63]).unwrap()).unwrap();
    assert_eq!(note.verify(&[one]), Err(NoteError::WrongSignature("log".to_owned())));
}

#[test]
fn the_same_key_trusted_twice_is_no_ambiguity() {
    let ours = verifier("log", 1);
    assert!(signed("t\n", &[("log", 1)]).verify(&[ours.clone(), ours]).is_ok());
}

#[test]
fn two_trusted_keys_of_one_name_and_id_are_an_ambiguity() {
    let ours = verifier("log", 1);
    let forged = VerifierKey { public_key: key(2).public_key(), ..ours.clone() };
    assert_eq!(signed("t\n", &[("log", 1)]).verify(&[ours, forged]), Err(NoteError::AmbiguousKey));
}

#[test]
fn signing_twice_adds_one_line() {
    assert_eq!(signed("t\n", &[("log", 1), ("log", 1)]).signatures().len(), 1);
}

#[test]
fn malformed_verifier_keys_are_refused() {
    let good = SPEC_KEY;
    for (bad, why) in [
        (String::new(), VerifierKeyError::Malformed),
        ("example.com/foo".to_owned(), VerifierKeyError::Malformed),
        (good.replacen("+", " ", 1), VerifierKeyError::Malformed),
        (good.replace("example.com/foo", ""), VerifierKeyError::Malformed),
        (good.replace("example.com", "example com"), VerifierKeyError::Malformed),
        (good.replace("example.com/foo", "example.com/bar"), VerifierKeyError::Id),
        (good.replace("530d903a", "530D903A"), VerifierKeyError::Id),
        (good.replace("530d903a", "530d903b"), VerifierKeyError::Id),
        (good.replace("+Aeky", "+BOky"), VerifierKeyError::Type(4)),
        (format!("{good}="), VerifierKeyError::Malformed),
        (format!("{good}AA=="), VerifierKeyError::Malformed),
        (good.replace("+Aeky", "+"), VerifierKeyError::Malformed),
        (format!("{good}\n"), VerifierKeyError::Malformed),
        ("example.com/foo+530d903a+".to_owned(), VerifierKeyError::Malformed),
    ] {
        let read = bad.parse::<VerifierKey>();
        match why {
            // Which bytes come out of a cut base64 text is chance; that it is refused is not.
            VerifierKeyError::Malformed => assert!(read.is_err(), "{bad}"),
            _ => assert_eq!(read, Err(why), "{bad}"),
        }
    }
}

fn names() -> impl Strategy<Value = String> {
    "[!-*,-~é\u{2014}]{1,24}"
}

fn texts() -> impl Strategy<Value = String> {
    "([^\\x00-\\x1f]{0,20}\n){1,6}"
}

proptest! {
    #[test]
    fn format_and_parse_are_identities(
        text in texts(),
        lines in proptest::collection::vec((names(), any::<[u8; 4]>(), proptest::collection::vec(any::<u8>(), 1..100)), 1..8),
    ) {
        let mut note = Note::unsigned(&text).unwrap();
        for (name, key_hash, bytes) in lines {
            note.add(NoteSignature::new(&name, key_hash, bytes).unwrap()).unwrap();
        }
        let formatted = note.format();
        let parsed = Note::parse(&formatted).unwrap();
        prop_assert_eq!(&parsed, &note);
        prop_assert_eq!(parsed.format(), formatted);
    }

    #[test]
    fn what_parses_formats_to_itself(text in "([a—]{0,3}\n){0,3}\n?(— a [A-Za-z0-9+/]{6,12}={0,2}\n){0,2}") {
        if let Ok(note) = Note::parse(&text) {
            prop_assert_eq!(note.format(), text);
        }
    }

    #[test]
    fn a_signed_note_opens_and_any_changed_byte_closes_it(
        text in texts(), name in names(), seed in any::<u8>(), at in any::<prop::sample::Index>(), by in 1u8..,
    ) {
        let note = signed(&text, &[(&name, seed)]).format();
        let known = [verifier(&name, seed)];
        prop_assert!(Note::parse(&note).unwrap().verify(&known).is_ok());
        let mut bytes = note.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(Note::parse(&changed).and_then(|note| note.verify(&known).map(|_| ())).is_err());
        }
    }

    #[test]
    fn a_note_cut_short_or_grown_does_not_open(text in texts(), cut in any::<prop::sample::Index>(), more in "[ -~\n]{1,4}") {
        let note = signed(&text, &[("log", 1)]).format();
        let known = [verifier("log", 1)];
        let opens = |note: &str| Note::parse(note).and_then(|note| note.verify(&known).map(|_| ())).is_ok();
        let cut = cut.index(note.len());
        prop_assert!(!note.is_char_boundary(cut) || !opens(&note[..cut]));
        let grown = [format!("{note}{more}"), format!("{more}{note}")];
        prop_assert!(!grown.iter().any(|note| opens(note)));
    }

    #[test]
    fn verifier_keys_read_back_as_written(name in names(), seed in any::<u8>()) {
        let key = verifier(&name, seed);
        prop_assert_eq!(key.to_string().parse::<VerifierKey>().unwrap(), key);
    }

    #[test]
    fn a_changed_verifier_key_is_refused_or_another_key(seed in any::<u8>(), at in any::<prop::sample::Index>(), by in 1u8..) {
        let key = verifier("example.com/log", seed);
        let mut bytes = key.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if let Ok(other) = String::from_utf8(bytes).unwrap_or_default().parse::<VerifierKey>() {
            prop_assert_ne!(other, key);
        }
    }
}
