//! Keys in KMS, by its protocol.

use serde_json::json;
use tally_anchor::signer::config::OpenError;
use tally_anchor::signer::{Purpose, Signer as _, SignerError};

use crate::ministack::Ministack;
use crate::process::free_port;
use crate::suite::{open_text, signs_for_the_chain, surroundings};

#[tokio::test]
async fn a_key_in_kms_signs_for_the_chain() {
    let service = Ministack::start().await;
    let around = surroundings(service.folder.path(), &[]);
    let signer = open_text(&service.settings(), &around).await.unwrap();
    signs_for_the_chain(&signer, 100, &service.folder.path().join("uses.jsonl")).await;
}

#[tokio::test]
async fn a_disabled_key_is_refused_at_once_and_signs_again_when_enabled() {
    let service = Ministack::start().await;
    let around = surroundings(service.folder.path(), &[]);
    let signer = open_text(&service.settings(), &around).await.unwrap();
    let key = json!({"KeyId": service.key});
    for n in 0..3 {
        signer.sign(Purpose::Authority, [n; 32]).await.unwrap();
        service.administer("TrentService.DisableKey", &key).await;
        let answer = signer.sign(Purpose::Authority, [n; 32]).await;
        let Err(SignerError::Refused(why)) = &answer else { panic!("{answer:?}") };
        assert!(why.contains("DisabledException"), "{why}");
        service.administer("TrentService.EnableKey", &key).await;
    }
    signer.sign(Purpose::Authority, [9; 32]).await.unwrap();
    let deletion = json!({"KeyId": service.key, "PendingWindowInDays": 7});
    service.administer("TrentService.ScheduleKeyDeletion", &deletion).await;
    let answer = signer.sign(Purpose::Authority, [9; 32]).await;
    assert!(matches!(answer, Err(SignerError::Refused(_))), "{answer:?}");
}

#[tokio::test]
async fn a_service_that_is_away_is_unreachable_and_signs_again_when_it_is_back() {
    let mut service = Ministack::start().await;
    let around = surroundings(service.folder.path(), &[]);
    let signer = open_text(&service.settings(), &around).await.unwrap();
    signer.sign(Purpose::Transaction, [1; 32]).await.unwrap();
    service.go_away();
    for _ in 0..3 {
        let answer = signer.sign(Purpose::Transaction, [2; 32]).await;
        assert!(matches!(answer, Err(SignerError::Unreachable(_))), "{answer:?}");
    }
    service.come_back().await;
    signer.sign(Purpose::Transaction, [3; 32]).await.unwrap();
}

#[tokio::test]
async fn the_service_checks_who_asks_and_takes_the_users_own_signature() {
    let service = Ministack::start().await;
    let around = surroundings(service.folder.path(), &[]);
    let signer = open_text(&service.settings(), &around).await.unwrap();
    let (id, secret) = service.credentials();
    service.write_credentials(&id, &format!("{secret}x"));
    let answer = signer.sign(Purpose::Transaction, [1; 32]).await;
    assert!(matches!(answer, Err(SignerError::Refused(_))), "{answer:?}");
    // What rotates in the file is used without a restart.
    service.write_credentials(&id, &secret);
    signer.sign(Purpose::Transaction, [1; 32]).await.unwrap();
    service.write_credentials("AKIANOBODYNOBODY0000", &secret);
    let answer = signer.sign(Purpose::Transaction, [1; 32]).await;
    assert!(matches!(answer, Err(SignerError::Refused(_))), "{answer:?}");
}

#[tokio::test]
async fn credentials_may_come_from_the_environment() {
    let service = Ministack::start().await;
    let (id, secret) = service.credentials();
    let around = surroundings(service.folder.path(), &[("AWS_ACCESS_KEY_ID", &id), ("AWS_SECRET_ACCESS_KEY", &secret)]);
    let (before, _) = service.settings().split_once("credentials =").map(|(a, b)| (a.to_owned(), b.len())).unwrap();
    let signer = open_text(&format!("{before}credentials = {{ from = \"environment\" }}"), &around).await.unwrap();
    signer.sign(Purpose::Transaction, [1; 32]).await.unwrap();
}

#[tokio::test]
async fn a_key_of_another_curve_or_address_is_refused_at_the_start() {
    let service = Ministack::start().await;
    let around = surroundings(service.folder.path(), &[]);
    let wanted = "address = \"0x0101010101010101010101010101010101010101\"\n";
    let other = service.settings().replace("region", &format!("{wanted}region"));
    let refused = open_text(&other, &around).await.unwrap_err();
    assert!(matches!(refused, OpenError::Signer(SignerError::Wrong(_))), "{refused}");
    let made = json!({"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"});
    let made = service.administer("TrentService.CreateKey", &made).await;
    let other = service.settings().replace(&service.key, made["KeyMetadata"]["KeyId"].as_str().unwrap());
    let refused = open_text(&other, &around).await.unwrap_err();
    assert!(matches!(refused, OpenError::Signer(SignerError::Wrong(_))), "{refused}");
    let missing = service.settings().replace(&service.key, "00000000-0000-4000-8000-000000000000");
    let refused = open_text(&missing, &around).await.unwrap_err();
    assert!(matches!(refused, OpenError::Signer(SignerError::Refused(_))), "{refused}");
}

#[tokio::test]
async fn no_other_signer_stands_in_for_one_that_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gas.key");
    tally_anchor::signer::file::create(&path, &[7; 32]).unwrap();
    let around = surroundings(folder.path(), &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]);
    let nobody = format!("region = \"us-east-1\"\nendpoint = \"http://127.0.0.1:{}\"", free_port());
    let settings = format!(
        "kind = \"kms\"\nkey = \"k\"\n{nobody}\ndevelopment = true\ncredentials = {{ from = \"environment\" }}"
    );
    let refused = open_text(&settings, &around).await.unwrap_err();
    assert!(matches!(refused, OpenError::Signer(SignerError::Unreachable(_))), "{refused}");
}
