//! The money of an order: what its payments add up to, less what was captured in vain.
//!
//! Takes sums over the provider's objects, which no order of arrival changes; gives the totals that are shown and told to
//! the others. Where more was captured than the order is worth, what went back or is disputed is first of that excess.

use tally_plugin::Step;
use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};

use crate::order::Order;

/// Over the payments of an order that captured its whole amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sums {
    /// How many there are.
    pub(crate) captures: u64,
    pub(crate) pending: u64,
    pub(crate) refunded: u64,
    pub(crate) open: u64,
    pub(crate) lost: u64,
}

impl Sums {
    /// Replaces what one payment adds.
    pub(crate) fn replace(&mut self, old: Self, new: Self) {
        let moved = |sum: u64, old: u64, new: u64| sum.saturating_sub(old).saturating_add(new);
        self.captures = moved(self.captures, old.captures, new.captures);
        self.pending = moved(self.pending, old.pending, new.pending);
        self.refunded = moved(self.refunded, old.refunded, new.refunded);
        self.open = moved(self.open, old.open, new.open);
        self.lost = moved(self.lost, old.lost, new.lost);
    }

    pub(crate) fn write(&self, row: Writer) -> Writer {
        row.u64(self.captures).u64(self.pending).u64(self.refunded).u64(self.open).u64(self.lost)
    }

    pub(crate) fn decode(row: &mut Reader<'_>) -> Option<Self> {
        let (captures, pending, refunded) = (row.u64()?, row.u64()?, row.u64()?);
        Some(Self { captures, pending, refunded, open: row.u64()?, lost: row.u64()? })
    }
}

/// The totals of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    /// Nothing, or the whole.
    pub(crate) captured: u64,
    pub(crate) refunded: u64,
    pub(crate) dispute_open: u64,
    pub(crate) dispute_lost: u64,
    /// Refunds that are on their way; told to nobody else.
    pub(crate) pending: u64,
}

impl Totals {
    pub(crate) fn of(order: &Order) -> Self {
        let (amount, sums) = (order.terms.amount, &order.sums);
        let captured = if order.state.is_paid() { amount } else { 0 };
        let mut excess = sums.captures.saturating_mul(amount).saturating_sub(captured);
        let mut beyond = |sum: u64| {
            let of_excess = sum.min(excess);
            excess -= of_excess;
            sum - of_excess
        };
        let (refunded, dispute_lost) = (beyond(sums.refunded), beyond(sums.lost));
        let (dispute_open, pending) = (beyond(sums.open), beyond(sums.pending));
        Self { captured, refunded, dispute_open, dispute_lost, pending }
    }

    /// What the others are told; not what is only on its way.
    fn told(&self) -> [u64; 4] {
        [self.captured, self.refunded, self.dispute_open, self.dispute_lost]
    }

    /// The money view.
    pub(crate) fn view(&self) -> &'static str {
        match self {
            Self { dispute_lost: 1.., .. } => "charged_back",
            Self { dispute_open: 1.., .. } => "disputed",
            Self { captured: 1.., refunded, .. } if *refunded >= self.captured => "refunded",
            Self { refunded: 1.., .. } => "partially_refunded",
            _ => "none",
        }
    }
}

/// The status of an order as it is shown: one word of the machine's state and the money view (M-022).
pub(crate) fn status(order: &Order) -> &'static str {
    use crate::machine::State as S;
    let totals = Totals::of(order);
    match (order.state, totals.view()) {
        (S::Created | S::AwaitingPayment, _) => "pending",
        (S::Failed, _) => "failed",
        (S::Canceled, _) => "cancelled",
        (S::Expired, _) => "expired",
        (S::Exception, _) => "exception",
        (_, view @ ("charged_back" | "disputed" | "refunded")) => view,
        _ if totals.pending > 0 => "refund_pending",
        (_, "partially_refunded") => "partially_refunded",
        (S::Paid, _) => "paid",
        (S::FinanceConfirmed, _) => "settled",
        (S::Fulfilled, _) => "finalized",
    }
}

/// Emits `checkout.money` if what the others know has changed.
pub(crate) fn tell(step: &mut Step, id: &[u8; 32], order: &Order, before: &Totals) {
    let totals = Totals::of(order);
    if totals.told() == before.told() {
        return;
    }
    let terms = &order.terms;
    let body = Object::new()
        .number("captured", totals.captured)
        .text("currency", &terms.offer.currency)
        .number("dispute_lost", totals.dispute_lost)
        .number("dispute_open", totals.dispute_open)
        .hex("order", id)
        .text("owner", &terms.offer.owner)
        .raw("parties", &terms.parties_json())
        .number("refunded", totals.refunded)
        .raw("shares", &terms.shares_json())
        .text("sku", &terms.offer.sku)
        .number("version", terms.offer.version);
    step.emit("checkout.money", &body.finish());
}
