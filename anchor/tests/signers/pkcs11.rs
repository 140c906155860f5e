//! Keys in a PKCS#11 device, here SoftHSM2.

use std::os::unix::fs::PermissionsExt as _;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, ObjectClass};
use tally_anchor::signer::config::OpenError;
use tally_anchor::signer::{Purpose, Signer as _, SignerError};

use crate::softhsm::{PIN, generate, with_token, write_private};
use crate::suite::{open_text, signs_for_the_chain, surroundings};

#[test]
fn a_key_in_a_device_signs_for_the_chain() {
    with_token("pkcs11::a_key_in_a_device_signs_for_the_chain", async |token| {
        let around = surroundings(&token.folder, &[]);
        let signer = open_text(&token.settings("key = \"gas\""), &around).await.unwrap();
        signs_for_the_chain(&signer, 100, &token.folder.join("uses.jsonl")).await;
    });
}

#[test]
fn two_keys_of_one_device_sign_side_by_side() {
    with_token("pkcs11::two_keys_of_one_device_sign_side_by_side", async |token| {
        token.in_session(|session| generate(session, "authority", true));
        let around = surroundings(&token.folder, &[]);
        let gas = open_text(&token.settings("key = \"gas\""), &around).await.unwrap();
        let authority = open_text(&token.settings("key = \"authority\""), &around).await.unwrap();
        assert_ne!(gas.address(), authority.address());
        for n in 0..20 {
            let both =
                tokio::join!(gas.sign(Purpose::Transaction, [n; 32]), authority.sign(Purpose::Authority, [n; 32]));
            both.0.unwrap();
            both.1.unwrap();
        }
    });
}

#[test]
fn a_process_without_the_pin_cannot_sign() {
    with_token("pkcs11::a_process_without_the_pin_cannot_sign", async |token| {
        // The device itself: without a login there is no private key.
        let library = Pkcs11::new(&token.module).unwrap();
        library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        let session = library.open_ro_session(library.get_slots_with_initialized_token().unwrap()[0]).unwrap();
        assert!(session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap().is_empty());
        drop(session);
        library.finalize().unwrap();

        let (around, settings) = (surroundings(&token.folder, &[]), token.settings("key = \"gas\""));
        write_private(&token.pin_file(), "4711-other");
        let refused = open_text(&settings, &around).await.unwrap_err();
        assert!(matches!(refused, OpenError::Signer(SignerError::Refused(_))), "{refused}");
        std::fs::remove_file(token.pin_file()).unwrap();
        let refused = open_text(&settings, &around).await.unwrap_err();
        assert!(matches!(refused, OpenError::Config(_)), "{refused}");
        write_private(&token.pin_file(), PIN);
        open_text(&settings, &around).await.unwrap();
    });
}

#[test]
fn a_pin_file_that_others_may_use_is_refused() {
    with_token("pkcs11::a_pin_file_that_others_may_use_is_refused", async |token| {
        let (around, settings) = (surroundings(&token.folder, &[]), token.settings("key = \"gas\""));
        for mode in [0o640, 0o604, 0o620, 0o666] {
            std::fs::set_permissions(token.pin_file(), std::fs::Permissions::from_mode(mode)).unwrap();
            let refused = open_text(&settings, &around).await.unwrap_err();
            assert!(matches!(refused, OpenError::Unsafe(_)), "{mode:o}: {refused}");
        }
    });
}

#[test]
fn a_key_that_the_device_would_give_out_is_refused_in_production() {
    with_token("pkcs11::a_key_that_the_device_would_give_out_is_refused_in_production", async |token| {
        token.in_session(|session| {
            generate(session, "loose", false);
            // The key that is kept inside: asking for it gives nothing.
            let label = Attribute::Label(b"gas".to_vec());
            let key = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY), label]).unwrap()[0];
            let info = session.get_attribute_info(key, &[AttributeType::Value]).unwrap();
            assert!(matches!(info[..], [AttributeInfo::Sensitive]), "{info:?}");
        });
        let around = surroundings(&token.folder, &[]);
        let refused = open_text(&token.settings("key = \"loose\""), &around).await.unwrap_err();
        assert!(matches!(refused, OpenError::Unsafe(_)), "{refused}");
        open_text(&token.settings("key = \"loose\"\ndevelopment = true"), &around).await.unwrap();
    });
}

#[test]
fn a_token_that_is_away_is_unreachable_and_signs_again_when_it_is_back() {
    with_token("pkcs11::a_token_that_is_away_is_unreachable_and_signs_again_when_it_is_back", async |token| {
        let around = surroundings(&token.folder, &[]);
        let signer = open_text(&token.settings("key = \"gas\""), &around).await.unwrap();
        signer.sign(Purpose::Transaction, [1; 32]).await.unwrap();
        let (here, away) = (token.folder.join("tokens"), token.folder.join("away"));
        std::fs::rename(&here, &away).unwrap();
        for _ in 0..3 {
            let answer = signer.sign(Purpose::Transaction, [2; 32]).await;
            assert!(matches!(answer, Err(SignerError::Unreachable(_))), "{answer:?}");
        }
        std::fs::rename(&away, &here).unwrap();
        signer.sign(Purpose::Transaction, [3; 32]).await.unwrap();
    });
}

#[test]
fn a_key_that_was_destroyed_signs_nothing() {
    with_token("pkcs11::a_key_that_was_destroyed_signs_nothing", async |token| {
        let around = surroundings(&token.folder, &[]);
        let signer = open_text(&token.settings("key = \"gas\""), &around).await.unwrap();
        // Another process of the device's owner destroys it.
        for entry in walk(&token.folder.join("tokens")).filter(|path| path.to_string_lossy().ends_with(".object")) {
            if !entry.ends_with("token.object") {
                std::fs::remove_file(entry).unwrap();
            }
        }
        let answer = signer.sign(Purpose::Transaction, [2; 32]).await;
        assert!(matches!(answer, Err(SignerError::Refused(_))), "{answer:?}");
    });
}

fn walk(folder: &std::path::Path) -> impl Iterator<Item = std::path::PathBuf> {
    let tokens = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    tokens
        .flat_map(|token| std::fs::read_dir(token).unwrap().map(|entry| entry.unwrap().path()))
        .collect::<Vec<_>>()
        .into_iter()
}

#[test]
fn what_does_not_name_one_key_of_one_token_is_refused() {
    with_token("pkcs11::what_does_not_name_one_key_of_one_token_is_refused", async |token| {
        token.in_session(|session| {
            generate(session, "twin", true);
            generate(session, "twin", true);
        });
        let around = surroundings(&token.folder, &[]);
        let refused = open_text(&token.settings("key = \"other\""), &around).await.unwrap_err();
        assert!(matches!(refused, OpenError::Signer(SignerError::Refused(_))), "{refused}");
        let refused = open_text(&token.settings(""), &around).await.unwrap_err();
        assert!(matches!(refused, OpenError::Config(_)), "{refused}");
        let elsewhere = token.settings("key = \"gas\"").replace("\"anchor\"", "\"other\"");
        let refused = open_text(&elsewhere, &around).await.unwrap_err();
        assert!(matches!(refused, OpenError::Signer(SignerError::Unreachable(_))), "{refused}");
        let wanted = "key = \"gas\"\naddress = \"0x0101010101010101010101010101010101010101\"";
        let refused = open_text(&token.settings(wanted), &around).await.unwrap_err();
        assert!(matches!(refused, OpenError::Signer(SignerError::Wrong(_))), "{refused}");
        let refused = open_text(&token.settings("key = \"twin\""), &around).await.unwrap_err();
        assert!(matches!(refused, OpenError::Signer(SignerError::Refused(_))), "{refused}");
    });
}
