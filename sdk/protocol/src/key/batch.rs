//! Many signatures checked in one equation.
//!
//! Takes items, gives the answer [`verify`] would give for each. For every signature
//! `[8](R + [k]A - [S]B) = 0` must hold; the batch adds them up, each multiplied by its own random 128-bit number `z`,
//! so that errors cannot cancel: `[8](sum [z]R + sum [zk]A - [sum zS]B) = 0`. The signatures of one key share one
//! `[..]A`. What is costly is decoding `R` (done once, also when the batch fails), then one large sum of multiples,
//! which grows less than in proportion: a batch of thousands costs less per signature than one of hundreds.
//!
//! A sum that is not zero is cut in two. Only the first half is summed again: the second half's sum is the difference.
//! So one bad signature is found at the price of about one more sum, and what is left in small parts is asked of
//! [`verify`] itself.

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use curve25519_dalek::{EdwardsPoint, Scalar};
use rand_core::CryptoRng;

use super::{PublicKey, Signature, has_canonical_form, verify};
use crate::hash;

/// How many signatures share one equation. The sum's fixed part is then below a twentieth of the whole, and what it
/// works on, about 500 bytes a signature, still passes through the second-level cache well.
const BATCH_ITEMS_MAX: usize = 4096;
/// With fewer signatures than this a batch saves little; a failed one is not cut further.
const BATCH_ITEMS_MIN: usize = 8;

/// One signature to be checked in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyItem {
    /// The claimed signer.
    pub public_key: PublicKey,
    /// The signed hash.
    pub message: [u8; 32],
    /// The signature.
    pub signature: Signature,
}

/// A public key with its point decoded, for those who check many signatures of one key over time. 192 bytes.
///
/// Any key that [`verify`] can accept a signature for can be prepared; whether a key may be registered is another
/// question ([`super::check_registration`]).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PreparedKey {
    bytes: PublicKey,
    point: EdwardsPoint,
}

impl PreparedKey {
    /// Decodes; `None` if the bytes encode no point, and then no signature verifies.
    #[must_use]
    pub fn new(key: &PublicKey) -> Option<Self> {
        Some(Self { bytes: *key, point: CompressedEdwardsY(key.0).decompress()? })
    }

    /// The key as bytes.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.bytes
    }
}

impl core::fmt::Debug for PreparedKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PreparedKey({})", self.bytes)
    }
}

/// One signature to be checked in a batch, by a key decoded before.
#[derive(Debug, Clone, Copy)]
pub struct PreparedItem<'a> {
    /// The claimed signer.
    pub key: &'a PreparedKey,
    /// The signed hash.
    pub message: [u8; 32],
    /// The signature.
    pub signature: Signature,
}

/// Checks many signatures together; the i-th answer is [`verify`]'s for the i-th item.
///
/// Signatures of one key share work, wherever they stand. A failed batch is cut until the bad ones are found. `rng`
/// blinds the sum: a forger who could foretell it could craft signatures that cancel each other, so it must be seeded
/// unpredictably; 16 bytes are drawn per signature.
pub fn verify_batch(items: &[VerifyItem], rng: &mut impl CryptoRng) -> Vec<bool> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_unstable_by_key(|&at| items[at].public_key);
    let mut keys: Vec<PreparedKey> = Vec::new();
    // Which key is an item's; none if it has no point.
    let mut key_of = vec![None; items.len()];
    for same in order.chunk_by(|&left, &right| items[left].public_key == items[right].public_key) {
        if let Some(key) = PreparedKey::new(&items[same[0]].public_key) {
            same.iter().for_each(|&at| key_of[at] = Some(keys.len()));
            keys.push(key);
        }
    }
    let (places, prepared): (Vec<usize>, Vec<PreparedItem<'_>>) = items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| {
            let key = &keys[key_of[at]?];
            Some((at, PreparedItem { key, message: item.message, signature: item.signature }))
        })
        .unzip();
    let mut answers = vec![false; items.len()];
    for (at, answer) in places.into_iter().zip(verify_prepared(&prepared, rng)) {
        answers[at] = answer;
    }
    answers
}

/// As [`verify_batch`], with keys decoded before.
pub fn verify_prepared(items: &[PreparedItem<'_>], rng: &mut impl CryptoRng) -> Vec<bool> {
    let mut answers = vec![false; items.len()];
    let mut order: Vec<usize> = (0..items.len()).filter(|&at| has_canonical_form(&items[at].signature)).collect();
    order.sort_unstable_by_key(|&at| items[at].key.bytes);
    for chunk in order.chunks(BATCH_ITEMS_MAX) {
        let terms = decode(items, chunk, rng);
        let sum = if terms.len() < BATCH_ITEMS_MIN { None } else { Some(add_up(&terms)) };
        settle(items, &terms, sum, &mut answers);
    }
    answers
}

/// One signature's part of the equation.
struct Term<'a> {
    /// Which item it is.
    at: usize,
    key: &'a PreparedKey,
    r: EdwardsPoint,
    z: Scalar,
    /// z times the challenge.
    zk: Scalar,
    /// z times S.
    zs: Scalar,
}

/// The terms of these items, but for those whose `R` is no point: their signatures are bad already.
fn decode<'a>(items: &[PreparedItem<'a>], chunk: &[usize], rng: &mut impl CryptoRng) -> Vec<Term<'a>> {
    let challenges = hash::challenge_many(chunk.iter().map(|&at| {
        let item = &items[at];
        [item.signature.r(), item.key.bytes.as_bytes(), &item.message]
    }));
    let mut random = vec![[0; 16]; chunk.len()];
    rng.fill_bytes(random.as_flattened_mut());
    let mut terms = Vec::with_capacity(chunk.len());
    for ((&at, challenge), random) in chunk.iter().zip(challenges).zip(random) {
        let item = &items[at];
        let Some(r) = CompressedEdwardsY(*item.signature.r()).decompress() else { continue };
        // Below the order: the form was checked.
        let s = Scalar::from_bytes_mod_order(*item.signature.s());
        let k = Scalar::from_bytes_mod_order_wide(&challenge);
        let z = Scalar::from(u128::from_le_bytes(random));
        terms.push(Term { at, key: item.key, r, z, zk: z * k, zs: z * s });
    }
    terms
}

/// The left side of the equation without its 8.
fn add_up(terms: &[Term<'_>]) -> EdwardsPoint {
    let mut keys: Vec<(Scalar, EdwardsPoint)> = Vec::new();
    for same in terms.chunk_by(|left, right| left.key.bytes == right.key.bytes) {
        keys.push((same.iter().map(|term| term.zk).sum(), same[0].key.point));
    }
    keys.push((-terms.iter().map(|term| term.zs).sum::<Scalar>(), ED25519_BASEPOINT_POINT));
    EdwardsPoint::vartime_multiscalar_mul(
        keys.iter().map(|(scalar, _)| scalar).chain(terms.iter().map(|term| &term.z)),
        keys.iter().map(|(_, point)| point).chain(terms.iter().map(|term| &term.r)),
    )
}

/// Answers for these terms, whose sum this is, if it was made.
fn settle(items: &[PreparedItem<'_>], terms: &[Term<'_>], sum: Option<EdwardsPoint>, answers: &mut [bool]) {
    match sum {
        Some(sum) if sum.mul_by_cofactor().is_identity() => terms.iter().for_each(|term| answers[term.at] = true),
        Some(sum) if terms.len() >= 2 * BATCH_ITEMS_MIN => {
            let (first, second) = terms.split_at(terms.len() / 2);
            let first_sum = add_up(first);
            settle(items, first, Some(first_sum), answers);
            settle(items, second, Some(sum - first_sum), answers);
        }
        _ => {
            for term in terms {
                let item = &items[term.at];
                answers[term.at] = verify(&item.key.bytes, &item.message, &item.signature);
            }
        }
    }
}
