//! Laws of keys that need the inside; the edge cases and RFC 8032 are in `tests/signatures.rs`.

use super::*;

#[test]
fn the_debug_text_of_a_signing_key_shows_no_secret() {
    let seed = [0x5a; 32];
    let text = format!("{:?}", SigningKey::from_seed(seed));
    assert!(!text.contains("5a5a5a5a") && !text.contains("90, 90"));
}

#[test]
fn the_order_and_the_prime_are_the_curves() {
    use curve25519_dalek::scalar::Scalar;
    let mut last = ORDER;
    last[0] -= 1;
    assert_eq!(Scalar::ZERO - Scalar::ONE, Scalar::from_canonical_bytes(last).unwrap());
    assert!(bool::from(Scalar::from_canonical_bytes(ORDER).is_none()));
    // y = -1 is the point of order two, whose canonical encoding is p - 1.
    assert_eq!(curve25519_dalek::constants::EIGHT_TORSION[4].compress().0, field_prime_minus(1));
}

#[test]
fn ct_eq_compares() {
    assert!(ct_eq(b"abc", b"abc"));
    assert!(!ct_eq(b"abc", b"abd"));
    assert!(!ct_eq(b"abc", b"ab"));
    assert!(ct_eq(b"", b""));
}
