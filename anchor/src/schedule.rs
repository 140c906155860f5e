//! What to do next with one chain. Pure: a situation in, an action out, no clock and no I/O.
//!
//! Takes the chain's nonce, the slot that is alive, the leaves that wait, prices and money; gives one [`Action`]. One slot is
//! alive at a time; a newer anchor covers an older one, so there is no queue: over budget or without money the next anchor
//! comes later and is larger.

use crate::chain::{Prices, Wei};
use crate::config::ChainConfig;
use crate::error::Halt;
use crate::fees::{self, DAY_MS, Fee};

/// How often a nonce must be seen used by an unknown transaction before it counts: a provider may know a new nonce a
/// moment before it knows the receipt.
pub const FOREIGN_LOOKS: u32 = 5;

/// The slot that is in no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Its nonce.
    pub nonce: u64,
    /// Whether the newest candidate was ever taken by a provider.
    pub sent: bool,
    /// Whether a provider still knows the newest candidate.
    pub known: bool,
    /// When the first candidate was signed.
    pub opened_ms: u64,
    /// When the newest was.
    pub created_ms: u64,
    /// When the newest was last sent.
    pub sent_ms: u64,
    /// The newest one's offer.
    pub fee: Fee,
    /// Its gas limit.
    pub gas: u64,
    /// Bound of its fee on the layer below.
    pub data_fee: Wei,
}

/// Everything a decision rests on.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// The chain's configuration.
    pub config: &'a ChainConfig,
    /// Wall clock.
    pub now_ms: u64,
    /// The account's nonce at `latest`.
    pub chain_nonce: u64,
    /// The nonce after the last one that landed, by the journal.
    pub own_nonce: u64,
    /// How often in a row `chain_nonce` was above what our transactions explain.
    pub unexplained: u32,
    /// The slot alive.
    pub live: Option<Live>,
    /// Slots that landed and are not final.
    pub unfinal: usize,
    /// Leaves that wait, over both logs.
    pub waiting: u64,
    /// When the last anchor was planned, if ever.
    pub last_anchor_ms: Option<u64>,
    /// Prices.
    pub prices: Prices,
    /// Gas that an anchor takes, by the last one or the configured maximum.
    pub gas: u64,
    /// Bound of an anchor's fee on the layer below.
    pub data_fee: Wei,
    /// Spent and reserved today, without the live slot.
    pub spent: Wei,
    /// The account's balance.
    pub balance: Wei,
    /// Why the worker is halted.
    pub halted: Option<Halt>,
    /// The signer is away until then.
    pub signer_away_until_ms: Option<u64>,
}

/// Why nothing is done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// No leaf waits.
    NothingNew,
    /// The interval is not over.
    NotDue,
    /// A transaction is on its way.
    Underway,
    /// The day's budget is used up.
    OverBudget,
    /// The account cannot pay.
    NoMoney,
    /// Too many anchors are not final.
    NotFinal,
    /// The signer does not answer.
    SignerAway,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing until then, at the latest.
    Wait(u64, Because),
    /// Open a slot with the newest checkpoints at this offer.
    Plan(Fee),
    /// Give the newest candidate's bytes to the providers, again.
    Rebroadcast,
    /// Sign a dearer candidate for the live slot.
    Replace(Fee),
    /// The chain has moved past what is known: look at receipts again.
    Settle,
    /// Stop, durably.
    Halt(Halt),
}

/// The decision.
#[must_use]
pub fn decide(s: &Situation<'_>) -> Action {
    if let Some(halt) = &s.halted {
        return Action::Halt(halt.clone());
    }
    if s.chain_nonce != s.own_nonce {
        let foreign = s.chain_nonce > s.own_nonce && s.unexplained >= FOREIGN_LOOKS;
        return if foreign { Action::Halt(Halt::ForeignNonce { nonce: s.own_nonce }) } else { Action::Settle };
    }
    match &s.live {
        Some(live) => with_live(s, live),
        None => without_live(s),
    }
}

fn with_live(s: &Situation<'_>, live: &Live) -> Action {
    if !live.sent {
        return Action::Rebroadcast;
    }
    let age_ms = s.now_ms.saturating_sub(live.opened_ms);
    let replace_at = live.created_ms.saturating_add(s.config.replace_after_ms);
    let away = s.signer_away_until_ms.is_some_and(|until| until > s.now_ms);
    if s.now_ms >= replace_at
        && !away
        && let Some(fee) = fees::replacement(&s.config.fees, live.fee, s.prices, age_ms)
        && affordable(s, fee.worst(live.gas, live.data_fee))
    {
        return Action::Replace(fee);
    }
    let resend_at = live.sent_ms.saturating_add(s.config.rebroadcast_after_ms);
    if s.now_ms >= resend_at || (!live.known && s.now_ms > live.sent_ms) {
        return Action::Rebroadcast;
    }
    wait(s, resend_at, Because::Underway)
}

fn without_live(s: &Situation<'_>) -> Action {
    if s.waiting == 0 {
        return wait(s, u64::MAX, Because::NothingNew);
    }
    if s.unfinal >= s.config.unfinal_slots_max {
        return wait(s, u64::MAX, Because::NotFinal);
    }
    if let Some(until) = s.signer_away_until_ms.filter(|until| *until > s.now_ms) {
        return wait(s, until, Because::SignerAway);
    }
    let fee = fees::first(&s.config.fees, s.prices);
    let worst = fee.worst(s.gas, s.data_fee);
    let usual = (s.prices.base + fee.tip).min(fee.cap).saturating_mul(Wei::from(s.gas)).saturating_add(s.data_fee);
    let day_left_ms = DAY_MS - s.now_ms % DAY_MS;
    let Some(spacing) = fees::spacing_ms(&s.config.fees, s.spent, usual, worst, day_left_ms) else {
        return wait(s, s.now_ms.saturating_add(day_left_ms), Because::OverBudget);
    };
    if worst > s.balance {
        return wait(s, u64::MAX, Because::NoMoney);
    }
    let interval = if s.waiting >= s.config.size_trigger { spacing } else { spacing.max(s.config.interval_ms) };
    let due = s.last_anchor_ms.map_or(s.now_ms, |last| last.saturating_add(interval));
    if due > s.now_ms { wait(s, due, Because::NotDue) } else { Action::Plan(fee) }
}

fn affordable(s: &Situation<'_>, worst: Wei) -> bool {
    s.spent.saturating_add(worst) <= s.config.fees.budget() && worst <= s.balance
}

/// Until then, but not past the next look at the chain and the log, and always into the future.
fn wait(s: &Situation<'_>, until_ms: u64, because: Because) -> Action {
    let look = s.now_ms.saturating_add(s.config.poll_ms);
    Action::Wait(until_ms.min(look).max(s.now_ms + 1), because)
}

#[cfg(test)]
mod tests;
