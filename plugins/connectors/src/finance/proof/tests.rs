use tally_protocol::key::SigningKey;

use super::*;

fn key() -> SigningKey {
    SigningKey::from_seed([3; 32])
}

fn keys() -> Vec<(String, PublicKey)> {
    vec![("finance-ed25519-1".to_owned(), key().public_key())]
}

fn proof() -> FlatProof {
    let kid = "finance-ed25519-1";
    let message = [("order", "o-1".into()), ("signer_kid", kid.into()), ("ts", "2026-01-02T03:04:05Z".into())];
    FlatProof::sign(&jcs::Value::object(message), kid, &key()).unwrap()
}

fn check(change: impl FnOnce(&mut FlatProof)) -> Result<jcs::Value, ProofError> {
    let mut proof = proof();
    change(&mut proof);
    proof.verified(&keys())
}

#[test]
fn a_proof_holds_with_and_without_the_members_that_say_it_twice() {
    let message = check(|_| {}).unwrap();
    assert_eq!(message.get("order").and_then(jcs::Value::as_str), Some("o-1"));
    assert!(check(|proof| (proof.hash, proof.alg) = (None, None)).is_ok());
}

#[test]
fn a_proof_with_one_member_changed_proves_nothing() {
    let foreign = SigningKey::from_seed([4; 32]);
    assert_eq!(check(|proof| proof.alg = Some("rsa-sha256".to_owned())), Err(ProofError::Algorithm));
    assert_eq!(check(|proof| proof.canonical_message.push(' ')), Err(ProofError::Message));
    assert_eq!(check(|proof| proof.canonical_message = "x".repeat(5_000)), Err(ProofError::Message));
    assert_eq!(check(|proof| proof.hash = Some("00".repeat(32))), Err(ProofError::Hash));
    assert_eq!(check(|proof| proof.signature = "AAAA".to_owned()), Err(ProofError::Malformed));
    assert_eq!(check(|proof| proof.signature.clear()), Err(ProofError::Malformed));
    assert_eq!(check(|proof| proof.signer_kid = "other".to_owned()), Err(ProofError::Key));
    assert_eq!(check(|proof| proof.ts = "2026-01-02T03:04:06Z".to_owned()), Err(ProofError::Other("time or signer")));
    let signed_by_another = |proof: &mut FlatProof| {
        proof.signature = STANDARD.encode(foreign.sign(proof.canonical_message.as_bytes()).as_bytes());
    };
    assert_eq!(check(signed_by_another), Err(ProofError::Signature));
    let signed_over_the_digest = |proof: &mut FlatProof| {
        proof.signature = STANDARD.encode(key().sign(&flat_proof(proof.canonical_message.as_bytes())).as_bytes());
    };
    assert_eq!(check(signed_over_the_digest), Err(ProofError::Signature));
    let other_message = |proof: &mut FlatProof| {
        proof.canonical_message = proof.canonical_message.replace("o-1", "o-2");
        proof.hash = None;
    };
    assert_eq!(check(other_message), Err(ProofError::Signature));
}
