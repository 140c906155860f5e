//! Integer minor units, and how they are divided: `split/lr-1`.
//!
//! Takes whole amounts and weights; gives shares that add up exactly. Everything is refused that JSON could not hold.

use alloc::vec::Vec;

use tally_plugin::Reject;
use tally_plugin::json::INTEGER_MAX;

use crate::codes::OVERFLOW;

/// The rule's id, which journals name.
pub const SPLIT_RULE: &str = "split/lr-1";

/// A sum.
///
/// # Errors
/// It is beyond 2^53 − 1.
pub fn add(a: u64, b: u64) -> Result<u64, Reject> {
    a.checked_add(b).filter(|sum| *sum <= INTEGER_MAX).ok_or(OVERFLOW)
}

/// A product.
///
/// # Errors
/// It is beyond 2^53 − 1.
pub fn multiply(a: u64, b: u64) -> Result<u64, Reject> {
    a.checked_mul(b).filter(|product| *product <= INTEGER_MAX).ok_or(OVERFLOW)
}

/// `floor(total · numerator / denominator)`, by 128-bit products; the denominator is not 0 and the quotient fits.
#[must_use]
pub fn part(total: u64, numerator: u64, denominator: u64) -> u64 {
    let product = u128::from(total) * u128::from(numerator) / u128::from(denominator.max(1));
    u64::try_from(product).unwrap_or(u64::MAX)
}

/// Largest remainder: each weight's part rounded down, what is left one by one to the largest remainders, of equal ones to
/// the first. The shares add up to `total`; a weight of 0 gets nothing. Weights that are all 0 get nothing at all.
#[must_use]
pub fn divide(total: u64, weights: &[u64]) -> Vec<u64> {
    let whole: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if whole == 0 {
        return weights.iter().map(|_| 0).collect();
    }
    let exact = |weight: &u64| u128::from(total) * u128::from(*weight);
    let mut shares: Vec<u64> = weights.iter().map(|weight| u64::try_from(exact(weight) / whole).unwrap_or(0)).collect();
    let mut left = total - shares.iter().sum::<u64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    // A stable sort keeps the first of equals first.
    order.sort_by_key(|at| core::cmp::Reverse(exact(&weights[*at]) % whole));
    for at in order {
        if left == 0 {
            break;
        }
        shares[at] += 1;
        left -= 1;
    }
    shares
}
