//! Laws of the one signature rule: a batch and its members always agree, whatever they are made of.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::{EdwardsPoint, Scalar};
use proptest::prelude::*;
use tally_protocol::key::{
    KeyError, PreparedItem, PreparedKey, PublicKey, Signature, SigningKey, VerifyItem, check_registration, ct_eq,
    verify, verify_batch, verify_prepared,
};

mod support;
use support::TestRng;

/// Every encoding that decodes to a torsion point: eight canonical ones, six that are not.
fn torsion_encodings() -> Vec<[u8; 32]> {
    let mut found: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.compress().0).collect();
    let prime_plus = |y: u8, sign: u8| {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xed + y;
        bytes[31] = 0x7f | sign << 7;
        bytes
    };
    let one_signed = {
        let mut bytes = [0; 32];
        (bytes[0], bytes[31]) = (1, 0x80);
        bytes
    };
    let minus_one_signed = {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xec;
        bytes
    };
    found.extend([
        prime_plus(0, 0),
        prime_plus(0, 1),
        prime_plus(1, 0),
        prime_plus(1, 1),
        one_signed,
        minus_one_signed,
    ]);
    found
}

#[test]
fn there_are_fourteen_encodings_of_torsion_points() {
    let encodings = torsion_encodings();
    assert_eq!(encodings.len(), 14);
    for (at, bytes) in encodings.iter().enumerate() {
        let point = CompressedEdwardsY(*bytes).decompress().expect("decodes");
        assert!(point.is_small_order());
        assert_eq!(point.compress().0 == *bytes, at < 8);
        let expected = if at < 8 { KeyError::SmallOrder } else { KeyError::NonCanonical };
        assert_eq!(check_registration(&PublicKey::from_bytes(*bytes)), Err(expected));
    }
}

/// SHA-512(R | A | M) mod L, as RFC 8032 says.
fn challenge(r: &[u8; 32], a: &[u8; 32], message: &[u8]) -> Scalar {
    use sha2::{Digest, Sha512};
    let mut state = Sha512::new();
    state.update(r);
    state.update(a);
    state.update(message);
    Scalar::from_bytes_mod_order_wide(&state.finalize().into())
}

/// Where A or R comes from.
#[derive(Debug, Clone, Copy)]
enum Point {
    /// A multiple of the base point.
    Prime,
    /// That plus a torsion point.
    Mixed(usize),
    /// A torsion point, in one of its encodings.
    Torsion(usize),
    /// Any bytes.
    Bytes([u8; 32]),
}

/// Where S comes from.
#[derive(Debug, Clone, Copy)]
enum S {
    Right,
    RightPlusOrder,
    Wrong(u64),
    Bytes([u8; 32]),
}

#[derive(Debug, Clone, Copy)]
struct Recipe {
    secret: u8,
    a: Point,
    r: Point,
    s: S,
    message: u8,
    /// The message checked is not the one signed.
    other_message: bool,
}

fn point() -> impl Strategy<Value = Point> {
    prop_oneof![
        4 => Just(Point::Prime),
        2 => (1usize..8).prop_map(Point::Mixed),
        2 => (0usize..14).prop_map(Point::Torsion),
        1 => any::<[u8; 32]>().prop_map(Point::Bytes),
    ]
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let s = prop_oneof![
        8 => Just(S::Right),
        1 => Just(S::RightPlusOrder),
        1 => any::<u64>().prop_map(S::Wrong),
        1 => any::<[u8; 32]>().prop_map(S::Bytes),
    ];
    // Few secrets, so that batches have several signatures of one key.
    (0u8..3, point(), point(), s, any::<u8>(), prop::bool::weighted(0.1))
        .prop_map(|(secret, a, r, s, message, other_message)| Recipe { secret, a, r, s, message, other_message })
}

fn bytes_of(point: Point, scalar: Scalar) -> [u8; 32] {
    let prime = ED25519_BASEPOINT_POINT * scalar;
    match point {
        Point::Prime => prime.compress().0,
        Point::Mixed(torsion) => (prime + EIGHT_TORSION[torsion]).compress().0,
        Point::Torsion(at) => torsion_encodings()[at],
        Point::Bytes(bytes) => bytes,
    }
}

/// The part of the point that S must answer for.
fn scalar_of(point: Point, scalar: Scalar) -> Scalar {
    if matches!(point, Point::Torsion(_)) { Scalar::ZERO } else { scalar }
}

/// S + L as bytes; both are below 2^253, so there is room.
fn plus_order(s: Scalar) -> [u8; 32] {
    let order_minus_one = (Scalar::ZERO - Scalar::ONE).to_bytes();
    let (mut out, mut carry) = ([0; 32], 1u16);
    for (byte, (left, right)) in out.iter_mut().zip(s.to_bytes().into_iter().zip(order_minus_one)) {
        carry += u16::from(left) + u16::from(right);
        *byte = carry as u8;
        carry >>= 8;
    }
    out
}

fn cook(recipe: Recipe) -> VerifyItem {
    let secret = Scalar::from(1000 + u64::from(recipe.secret));
    let nonce = Scalar::from(2000 + u64::from(recipe.message));
    let (a, r) = (bytes_of(recipe.a, secret), bytes_of(recipe.r, nonce));
    let mut message = [recipe.message; 32];
    let right = scalar_of(recipe.r, nonce) + challenge(&r, &a, &message) * scalar_of(recipe.a, secret);
    let s = match recipe.s {
        S::Right => right.to_bytes(),
        S::RightPlusOrder => plus_order(right),
        S::Wrong(by) => (right + Scalar::from(by)).to_bytes(),
        S::Bytes(bytes) => bytes,
    };
    message[31] ^= u8::from(recipe.other_message);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&s);
    VerifyItem { public_key: PublicKey::from_bytes(a), message, signature: Signature::from_bytes(signature) }
}

/// The rule in its own words, without the verifying library.
fn by_the_book(item: &VerifyItem) -> bool {
    let (r, s) = item.signature.as_bytes().split_at(32);
    let (r, s): ([u8; 32], [u8; 32]) = (r.try_into().unwrap(), s.try_into().unwrap());
    let a = item.public_key.as_bytes();
    let decode = |bytes: &[u8; 32]| CompressedEdwardsY(*bytes).decompress();
    let (Some(a_point), Some(r_point)) = (decode(a), decode(&r)) else { return false };
    let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)) else { return false };
    let rest: EdwardsPoint = ED25519_BASEPOINT_POINT * s - r_point - a_point * challenge(&r, a, &item.message);
    r_point.compress().0 == r && rest.is_small_order()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn verify_is_the_rule_by_the_book(recipe in recipe()) {
        let item = cook(recipe);
        prop_assert_eq!(verify(&item.public_key, &item.message, &item.signature), by_the_book(&item));
    }

    #[test]
    fn a_batch_agrees_with_its_members(recipes in prop::collection::vec(recipe(), 0..40), seed: [u8; 8]) {
        let items: Vec<_> = recipes.into_iter().map(cook).collect();
        let single: Vec<_> =
            items.iter().map(|item| verify(&item.public_key, &item.message, &item.signature)).collect();
        prop_assert_eq!(verify_batch(&items, &mut TestRng::new(&seed)), single);
    }

    #[test]
    fn prepared_keys_change_no_verdict(recipes in prop::collection::vec(recipe(), 0..40), seed: [u8; 8]) {
        let items: Vec<_> = recipes.into_iter().map(cook).collect();
        let keys: Vec<_> = items.iter().map(|item| PreparedKey::new(&item.public_key)).collect();
        let (mut prepared, mut expected) = (Vec::new(), Vec::new());
        for (item, key) in items.iter().zip(&keys) {
            let verdict = verify(&item.public_key, &item.message, &item.signature);
            match key {
                Some(key) => {
                    prop_assert_eq!(key.public_key(), item.public_key);
                    prepared.push(PreparedItem { key, message: item.message, signature: item.signature });
                    expected.push(verdict);
                }
                None => prop_assert!(!verdict),
            }
        }
        prop_assert_eq!(verify_prepared(&prepared, &mut TestRng::new(&seed)), expected);
    }

    #[test]
    fn one_bad_signature_is_found_wherever_it_stands(size in 1usize..80, at: prop::sample::Index, bit in 0usize..512) {
        let at = at.index(size);
        let mut items: Vec<_> = (0..size).map(|n| honest((n % 5) as u8, n as u8)).collect();
        let mut signature = *items[at].signature.as_bytes();
        signature[bit / 8] ^= 1 << (bit % 8);
        items[at].signature = Signature::from_bytes(signature);
        let answers = verify_batch(&items, &mut TestRng::new(b"one bad"));
        prop_assert!(answers.iter().enumerate().all(|(n, valid)| *valid == (n != at)));
    }

    #[test]
    fn what_honest_keys_sign_verifies_and_any_flipped_bit_does_not(
        seed: [u8; 32], message: [u8; 32], bit in 0usize..1024,
    ) {
        let key = SigningKey::from_seed(seed);
        let (public, signature) = (key.public_key(), key.sign(&message));
        prop_assert!(check_registration(&public).is_ok());
        prop_assert!(verify(&public, &message, &signature));
        let mut all = [&public.as_bytes()[..], &message, signature.as_bytes()].concat();
        all[bit / 8] ^= 1 << (bit % 8);
        let public = PublicKey::from_bytes(all[..32].try_into().unwrap());
        prop_assert!(!verify(&public, &all[32..64], &Signature::from_bytes(all[64..].try_into().unwrap())));
    }

    #[test]
    fn registration_is_the_rule_by_the_book(bytes: [u8; 32], secret in 1u64.., torsion in 0usize..8) {
        let registered = |bytes: [u8; 32]| check_registration(&PublicKey::from_bytes(bytes));
        let mixed = ED25519_BASEPOINT_POINT * Scalar::from(secret) + EIGHT_TORSION[torsion];
        let expected = if torsion == 0 { Ok(()) } else { Err(KeyError::MixedOrder) };
        prop_assert_eq!(registered(mixed.compress().0), expected);
        let expected = CompressedEdwardsY(bytes).decompress().is_some_and(|point| {
            point.compress().0 == bytes && point.is_torsion_free() && !point.is_small_order()
        });
        prop_assert_eq!(registered(bytes).is_ok(), expected);
    }

    #[test]
    fn ct_eq_is_equality(left: Vec<u8>, right: Vec<u8>) {
        prop_assert_eq!(ct_eq(&left, &right), left == right);
        prop_assert!(ct_eq(&left, &left.clone()));
    }
}

#[test]
fn many_bad_signatures_are_found_among_many() {
    let honest: Vec<_> = (0..1500usize).map(|n| honest((n % 7) as u8, n as u8)).collect();
    // One in so many is bad, each in another way.
    for every in [2, 3, 60, 700] {
        let mut items = honest.clone();
        for (n, item) in items.iter_mut().enumerate().step_by(every) {
            let mut signature = *item.signature.as_bytes();
            match n % 4 {
                0 => item.message[3] ^= 1,
                1 => signature[n % 32] ^= 1,
                2 => signature[32 + n % 31] ^= 1,
                _ => item.public_key = PublicKey::from_bytes([n as u8; 32]),
            }
            item.signature = Signature::from_bytes(signature);
        }
        let answers = verify_batch(&items, &mut TestRng::new(b"many bad"));
        for (n, (item, answer)) in items.iter().zip(answers).enumerate() {
            assert_eq!(answer, n % every != 0, "{n}");
            assert_eq!(answer, verify(&item.public_key, &item.message, &item.signature), "{n}");
        }
    }
}

fn honest(secret: u8, message: u8) -> VerifyItem {
    let key = SigningKey::from_seed([secret; 32]);
    let message = [message; 32];
    VerifyItem { public_key: key.public_key(), message, signature: key.sign(&message) }
}

#[test]
fn every_torsion_pair_has_one_verdict_alone_and_among_others() {
    let encodings = torsion_encodings();
    let mut rng = TestRng::new(b"torsion pairs");
    let mut items: Vec<_> = (0..8).map(|n| honest(n, n)).collect();
    for a in &encodings {
        for r in &encodings {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(r);
            let item = VerifyItem {
                public_key: PublicKey::from_bytes(*a),
                message: *b"Zcash\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                signature: Signature::from_bytes(signature),
            };
            assert_eq!(verify(&item.public_key, &item.message, &item.signature), by_the_book(&item));
            assert_eq!(by_the_book(&item), encodings[..8].contains(r));
            items.push(item);
        }
    }
    let expected: Vec<_> = items.iter().map(by_the_book).collect();
    assert_eq!(verify_batch(&items, &mut rng), expected);
    items.reverse();
    assert!(verify_batch(&items, &mut rng).iter().eq(expected.iter().rev()));
}

#[test]
fn batches_longer_than_one_equation_are_answered_in_order() {
    let mut items: Vec<_> = (0..2500u32).map(|n| honest((n % 7) as u8, n as u8)).collect();
    let bad = [0, 1, 1023, 1024, 2047, 2048, 2499];
    for at in bad {
        items[at].message[0] ^= 1;
    }
    let answers = verify_batch(&items, &mut TestRng::new(b"long"));
    assert!(answers.iter().enumerate().all(|(at, valid)| *valid != bad.contains(&at)));
    assert!(verify_batch(&[], &mut TestRng::new(b"none")).is_empty());
}

#[test]
fn forgeries_that_cancel_each_other_are_refused() {
    // Two signatures wrong by the same amount in opposite directions: a sum without random weights would accept them.
    let (mut first, mut second) = (honest(1, 1), honest(1, 2));
    for (item, by) in [(&mut first, Scalar::ONE), (&mut second, -Scalar::ONE)] {
        let mut signature = *item.signature.as_bytes();
        let s: [u8; 32] = signature[32..].try_into().unwrap();
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)).unwrap() + by;
        signature[32..].copy_from_slice(&s.to_bytes());
        item.signature = Signature::from_bytes(signature);
    }
    let mut items = vec![first, second];
    items.extend((0..6).map(|n| honest(n, n)));
    let answers = verify_batch(&items, &mut TestRng::new(b"cancel"));
    assert_eq!(answers, [false, false, true, true, true, true, true, true]);
}

#[test]
fn signatures_are_the_same_in_every_thread() {
    let expected = SigningKey::from_seed([9; 32]).sign(b"same");
    let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(|| SigningKey::from_seed([9; 32]).sign(b"same"))).collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap() == expected));
}
