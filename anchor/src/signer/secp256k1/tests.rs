use super::*;

/// The group's order (SEC 2 section 2.4.1).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc,
    0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32]).unwrap()
}

fn joined(signature: &Signature) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&signature.r);
    bytes[32..].copy_from_slice(&signature.s);
    bytes
}

/// The other s of the same signature.
fn flipped(s: &[u8; 32]) -> [u8; 32] {
    let (mut out, mut borrow) = ([0; 32], 0i16);
    for at in (0..32).rev() {
        let left = i16::from(ORDER[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(left < 0);
        out[at] = u8::try_from(left.rem_euclid(256)).unwrap();
    }
    out
}

fn der(r_and_s: &[u8; 64]) -> Vec<u8> {
    k256::ecdsa::Signature::from_slice(r_and_s).unwrap().to_der().as_bytes().to_vec()
}

#[test]
fn the_address_of_a_known_key_is_the_known_one() {
    // The first account of the mnemonic that every development chain uses.
    let secret = super::super::parse_hex("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").unwrap();
    let address = SecretKey::from_bytes(&secret).unwrap().address();
    assert_eq!(address.to_string(), "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
}

#[test]
fn zero_and_the_order_are_no_keys() {
    assert!(SecretKey::from_bytes(&[0; 32]).is_none());
    assert!(SecretKey::from_bytes(&ORDER).is_none());
}

#[test]
fn either_s_of_a_device_completes_to_the_lower_one() {
    for byte in 1..=64 {
        let (key, digest) = (key(7), [byte; 32]);
        let low = key.sign(&digest).unwrap();
        let high = joined(&Signature { s: flipped(&low.s), ..low });
        assert_ne!(high, joined(&low));
        assert_eq!(complete(key.address(), &digest, &high).unwrap(), low);
        assert_eq!(complete(key.address(), &digest, &joined(&low)).unwrap(), low);
        assert_eq!(recover(&digest, &low), Some(key.address()));
    }
}

#[test]
fn what_claims_to_be_ready_is_not_mended() {
    let (key, digest) = (key(7), [9; 32]);
    let good = key.sign(&digest).unwrap();
    assert_eq!(check(key.address(), &digest, good).unwrap(), good);
    let high = Signature { s: flipped(&good.s), odd_y: !good.odd_y, ..good };
    for bad in [
        high,
        Signature { odd_y: !good.odd_y, ..good },
        Signature { r: good.s, s: good.r, ..good },
        Signature { r: [0; 32], ..good },
        Signature { s: [0; 32], ..good },
        Signature { r: ORDER, ..good },
    ] {
        assert!(matches!(check(key.address(), &digest, bad), Err(SignerError::Wrong(_))), "{bad:?}");
    }
}

#[test]
fn a_signature_of_another_key_or_digest_completes_to_nothing() {
    let good = joined(&key(7).sign(&[9; 32]).unwrap());
    assert!(complete(key(8).address(), &[9; 32], &good).is_err());
    assert!(complete(key(7).address(), &[8; 32], &good).is_err());
    assert!(complete(key(7).address(), &[9; 32], &good).is_ok());
}

#[test]
fn der_has_one_form() {
    // All lengths of r and s that a few hundred signatures have.
    for n in 0..300u32 {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&n.to_be_bytes());
        let raw = joined(&key(3).sign(&digest).unwrap());
        assert_eq!(parse_der(&der(&raw)), Some(raw));
        assert_eq!(parse_raw(&raw), Some(raw));
    }
}

#[test]
fn der_with_anything_added_missing_or_padded_is_refused() {
    let raw = joined(&key(3).sign(&[1; 32]).unwrap());
    let good = der(&raw);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        parse_der(&bytes)
    };
    assert_eq!(with(&|bytes| bytes.push(0)), None, "trailing byte");
    assert_eq!(with(&|bytes| bytes[1] += 1), None, "length too long");
    assert_eq!(with(&|bytes| bytes[0] = 0x31), None, "a SET");
    assert_eq!(with(&|bytes| drop(bytes.splice(1..2, [0x81, good[1]]))), None, "long form of a short length");
    let padded = [&[0x30, good[1] + 1, 0x02, good[3] + 1, 0x00], &good[4..]].concat();
    assert_eq!(parse_der(&padded).filter(|_| good[4] != 0 || good[3] == 33), None, "zero before a number");
    for length in 0..good.len() {
        assert_eq!(parse_der(&good[..length]), None, "cut to {length}");
    }
    assert_eq!(parse_der(&[0x30, 6, 2, 1, 0, 2, 1, 1]), None, "r is zero");
    assert_eq!(parse_der(&[0x30, 6, 2, 1, 0x81, 2, 1, 1]), None, "r is negative");
}

#[test]
fn raw_of_another_length_or_range_is_refused() {
    let raw = joined(&key(3).sign(&[1; 32]).unwrap());
    assert!(parse_raw(&raw[..63]).is_none());
    assert!(parse_raw(&[&raw[..], &[0]].concat()).is_none());
    assert!(parse_raw(&[0; 64]).is_none());
    assert!(parse_raw(&[0xff; 64]).is_none());
    assert!(parse_raw(&[&ORDER[..], &raw[32..]].concat()).is_none());
}

#[test]
fn a_public_key_has_one_form() {
    let point = key(5).0.verifying_key().to_encoded_point(false);
    let (point, address) = (point.as_bytes(), key(5).address());
    let spki = [&SPKI_HEAD[..], point].concat();
    assert_eq!(address_of_spki(&spki), Some(address));
    assert_eq!(address_of_ec_point(point), Some(address));
    assert_eq!(address_of_ec_point(&[&[0x04, 0x41], point].concat()), Some(address));
    assert_eq!(address_of_spki(&[&spki[..], &[0]].concat()), None);
    assert_eq!(address_of_ec_point(key(5).0.verifying_key().to_encoded_point(true).as_bytes()), None);
    for at in 0..spki.len() {
        let mut changed = spki.clone();
        changed[at] ^= 1;
        assert_eq!(address_of_spki(&changed), None, "byte {at}");
    }
}
