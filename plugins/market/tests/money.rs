//! The division of money.

use proptest::prelude::*;
use tally_market::money::{divide, part};

#[test]
fn the_largest_remainders_get_what_is_left_and_of_equals_the_first() {
    assert_eq!(divide(3, &[45, 40, 15]), [1, 1, 1]);
    assert_eq!(divide(4, &[45, 40, 15]), [2, 2, 0]);
    assert_eq!(divide(4999, &[8500, 1000, 333, 167]), [4249, 500, 166, 84]);
    assert_eq!(divide(1, &[1, 1]), [1, 0]);
    assert_eq!(divide(7, &[0, 0]), [0, 0]);
}

proptest! {
    #[test]
    fn shares_add_up_exactly_and_are_never_a_unit_off(total in 0u64..1 << 53, weights in prop::collection::vec(0u64..1_000_000_000_000, 1..33)) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let shares = divide(total, &weights);
        let whole: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        prop_assert_eq!(shares.iter().sum::<u64>(), total);
        for (share, weight) in shares.iter().zip(&weights) {
            let exact = u128::from(total) * u128::from(*weight);
            prop_assert!(u128::from(*share) * whole <= exact + whole && exact < (u128::from(*share) + 1) * whole);
            prop_assert!(*weight > 0 || *share == 0);
        }
    }

    #[test]
    fn a_part_is_the_floor(total in 0u64..1 << 53, bps in 0u64..10_001) {
        prop_assert_eq!(part(total, bps, 10_000), u64::try_from(u128::from(total) * u128::from(bps) / 10_000).unwrap());
    }
}
