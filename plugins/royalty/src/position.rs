//! What an order's money should look like in the books: a pure function of its totals, and of nothing that came between.
//!
//! Takes captured, refunded, disputed and lost totals and the shares; gives each party's position and lock and the sums of
//! the provider's side. Cannot fail: whatever the provider says it moved beyond the capture is a loss.

use alloc::vec::Vec;

use crate::cascade::Cascade;
use crate::mutation::{self, Mutation};

/// The totals of one order, in minor units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) captured: u64,
    pub(crate) refunded: u64,
    pub(crate) dispute_open: u64,
    pub(crate) dispute_lost: u64,
}

impl Totals {
    /// What is gone for good, as far as it was ever there.
    fn gone(&self) -> u64 {
        (self.refunded + self.dispute_lost).min(self.captured)
    }

    /// What is neither gone nor free.
    fn locked(&self) -> u64 {
        self.dispute_open.min(self.captured - self.gone())
    }

    /// What the provider's side of the books holds for this order.
    pub(crate) fn standing(&self) -> Standing {
        let [captured, refunded, open, lost] =
            [self.captured, self.refunded, self.dispute_open, self.dispute_lost].map(u64::cast_signed);
        let (gone, locked) = (self.gone().cast_signed(), self.locked().cast_signed());
        let loss = (refunded + lost - gone) + (open - locked);
        let loss = if mutation::is(Mutation::NoLoss) { 0 } else { loss };
        Standing { psp: captured - refunded - open - lost, disp: locked, loss }
    }

    /// What the parties have of it: positions, and locks.
    pub(crate) fn divide(&self, shares: &[u64]) -> (Vec<u64>, Vec<u64>) {
        let keep = self.captured - self.gone();
        if mutation::is(Mutation::LargestRemainderReversal) {
            let free = tally_market::money::divide(keep - self.locked(), shares);
            let all = tally_market::money::divide(keep, shares);
            return (free.clone(), all.iter().zip(&free).map(|(all, free)| all.saturating_sub(*free)).collect());
        }
        let cascade = Cascade::of(shares);
        let free = cascade.place(keep - self.locked());
        let all = cascade.place(keep);
        // Monotone, so nobody has more of the smaller part.
        let locks = all.iter().zip(&free).map(|(all, free)| all - free).collect();
        (free, locks)
    }
}

/// Debit balances of the accounts that are nobody's, of one order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) psp: i64,
    pub(crate) disp: i64,
    pub(crate) loss: i64,
}
