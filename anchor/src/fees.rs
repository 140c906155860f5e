//! What to offer for a block's gas, and when not to (EIP-1559).
//!
//! Pure. The first offer is twice the base fee and a tip. A replacement offers an eighth more on both fields (nodes take
//! a tenth more and refuse less). The allowance grows with the square of the anchor's age over the target, up to a hard cap
//! that no offer ever passes; between two raises the same bytes wait.

use crate::chain::{Prices, Wei};
use crate::config::FeeConfig;

/// An offer, in wei per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fee {
    /// `maxFeePerGas`.
    pub cap: Wei,
    /// `maxPriorityFeePerGas`; at most `cap`.
    pub tip: Wei,
}

impl Fee {
    /// What the worst block makes of `gas` at this offer, with the layer below's fee.
    #[must_use]
    pub fn worst(&self, gas: u64, data_fee: Wei) -> Wei {
        self.cap.saturating_mul(Wei::from(gas)).saturating_add(data_fee)
    }

    /// Whether a node that holds `self` takes `next` in its place: a tenth more on both fields.
    #[must_use]
    pub fn is_replaced_by(&self, next: &Self) -> bool {
        let tenth_more = |old: Wei, new: Wei| new.saturating_mul(10) >= old.saturating_mul(11) && new > old;
        tenth_more(self.cap, next.cap) && tenth_more(self.tip, next.tip)
    }
}

/// The first offer for a nonce: 2 x base + tip, below the hard cap.
#[must_use]
pub fn first(config: &FeeConfig, prices: Prices) -> Fee {
    let cap_max = Wei::from(config.cap_max_wei);
    let tip = prices.tip.max(Wei::from(config.tip_min_wei)).min(cap_max);
    let cap = prices.base.saturating_mul(2).saturating_add(tip).min(cap_max);
    Fee { cap, tip: tip.min(cap) }
}

/// What an anchor of this age may offer: min(hard cap, base x (1 + (age / target)^2)), and never less than a first offer.
#[must_use]
pub fn allowance(config: &FeeConfig, prices: Prices, age_ms: u64) -> Wei {
    let (age, target) = (Wei::from(age_ms), Wei::from(config.target_ms.max(1)));
    let grown = prices.base.max(1).saturating_mul(age.saturating_mul(age)) / (target * target);
    let aged = prices.base.saturating_add(grown);
    aged.max(first(config, prices).cap).min(Wei::from(config.cap_max_wei))
}

/// The offer that takes the place of `old`: an eighth more on both fields, or what a first offer would be now if that is
/// more. `None` while the allowance for this age does not reach it.
#[must_use]
pub fn replacement(config: &FeeConfig, old: Fee, prices: Prices, age_ms: u64) -> Option<Fee> {
    let now = first(config, prices);
    let cap = eighth_more(old.cap).max(now.cap);
    let tip = eighth_more(old.tip).max(now.tip).min(cap);
    let next = Fee { cap, tip };
    (cap <= allowance(config, prices, age_ms) && old.is_replaced_by(&next)).then_some(next)
}

fn eighth_more(old: Wei) -> Wei {
    old.saturating_add(old.div_ceil(8)).max(1)
}

/// How far apart anchors must be for the day's budget to last the day, in ms. `None` when not even one more fits.
///
/// `usual` is what an anchor costs at today's prices, `worst` what it could cost at its offer.
#[must_use]
pub fn spacing_ms(config: &FeeConfig, spent: Wei, usual: Wei, worst: Wei, day_left_ms: u64) -> Option<u64> {
    let left = config.budget().checked_sub(spent)?;
    if worst > left {
        return None;
    }
    let spacing = Wei::from(day_left_ms).saturating_mul(usual) / left.max(1);
    Some(u64::try_from(spacing).unwrap_or(u64::MAX))
}

/// Milliseconds in a day (UTC, without leap seconds).
pub const DAY_MS: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config() -> FeeConfig {
        FeeConfig {
            cap_max_wei: 100_000_000_000,
            tip_min_wei: 1_000,
            target_ms: 30_000,
            budget_gwei_per_day: 1_000_000,
            balance_floor_gwei: 1,
            gas_max: 500_000,
            op_data_fee: false,
        }
    }

    #[test]
    fn the_first_offer_is_twice_the_base_fee_and_the_tip() {
        let fee = first(&config(), Prices { base: 10_000, tip: 2_000 });
        assert_eq!(fee, Fee { cap: 22_000, tip: 2_000 });
    }

    #[test]
    fn five_percent_more_replaces_nothing_and_a_tenth_does() {
        let old = Fee { cap: 1_000, tip: 100 };
        assert!(!old.is_replaced_by(&Fee { cap: 1_050, tip: 105 }));
        assert!(!old.is_replaced_by(&Fee { cap: 1_100, tip: 109 }), "both fields must rise");
        assert!(old.is_replaced_by(&Fee { cap: 1_100, tip: 110 }));
    }

    #[test]
    fn the_allowance_is_twice_the_base_fee_at_the_target_and_five_times_at_twice_the_target() {
        let (config, prices) = (config(), Prices { base: 1_000_000, tip: 1_000 });
        assert_eq!(allowance(&config, prices, 0), 2_001_000, "never below a first offer");
        assert_eq!(allowance(&config, prices, 60_000), 5_000_000);
        assert_eq!(allowance(&config, prices, u64::MAX), 100_000_000_000, "never above the hard cap");
    }

    proptest! {
        #[test]
        fn every_replacement_is_taken_by_a_node_and_stays_below_the_hard_cap(
            base in 0u128..200_000_000_000, later in 0u128..200_000_000_000, tip in 0u128..10_000_000_000, ages in prop::collection::vec(0u64..10_000_000, 1..20),
        ) {
            let config = config();
            let mut fee = first(&config, Prices { base, tip });
            prop_assert!(fee.tip <= fee.cap && fee.cap <= Wei::from(config.cap_max_wei));
            for age in ages {
                if let Some(next) = replacement(&config, fee, Prices { base: later, tip }, age) {
                    prop_assert!(fee.is_replaced_by(&next));
                    prop_assert!(next.cap <= Wei::from(config.cap_max_wei) && next.tip <= next.cap);
                    let allowed = allowance(&config, Prices { base: later, tip }, age);
                    prop_assert!(next.cap <= allowed);
                    fee = next;
                }
            }
        }

        #[test]
        fn an_older_anchor_may_never_offer_less(base in 0u128..1u128 << 60, a in 0u64..1 << 40, b in 0u64..1 << 40) {
            let prices = Prices { base, tip: 1 };
            prop_assert!(allowance(&config(), prices, a.min(b)) <= allowance(&config(), prices, a.max(b)));
        }

        #[test]
        fn anchors_that_keep_their_spacing_never_pass_the_budget(
            usual in 1u128..2_000_000_000_000_000, factor in 1u128..4,
        ) {
            let (config, worst) = (config(), usual * factor);
            let (mut now, mut spent) = (0u64, 0u128);
            while now < DAY_MS {
                let Some(spacing) = spacing_ms(&config, spent, usual, worst, DAY_MS - now) else { break };
                now += spacing.max(60_000);
                if now >= DAY_MS { break }
                spent += usual;
                prop_assert!(spent <= config.budget());
            }
        }
    }
}
