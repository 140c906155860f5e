//! Breaks on purpose, for the tests that show that the laws have teeth. Without the feature `mutations` there are none, and
//! the compiler drops the question.
//!
//! Takes nothing; says whether a break is wanted on this thread. With the feature nothing is broken either until a test says.

/// A way to be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(feature = "mutations"), expect(unreachable_pub, reason = "only tests reach it"))]
pub enum Mutation {
    /// A fall draws on what is released, and not on what is held before it.
    WaterfallSkipsHeld,
    /// A rise goes to what is held, whatever is owed.
    RiseForgetsDebt,
    /// Reversals by largest remainder over the shares, which is not monotone.
    LargestRemainderReversal,
    /// Each refund is divided by the shares that are left, and so depends on the order.
    SequentialReversal,
    /// A dispute that is won takes the money all the same.
    WonIsLost,
    /// What the provider moved beyond the capture is nobody's.
    NoLoss,
    /// The money of a failed payout does not come back.
    IgnorePayoutFailure,
    /// Facts about a payout count whatever is known already.
    NoRank,
    /// A hold ends with all it once held, whatever was drawn from it since.
    ReleaseAnothers,
    /// Holds end although a dispute is open.
    ReleaseUnderDispute,
    /// Whoever asked for a payout may approve it.
    InitiatorApproves,
    /// Approvals never grow stale.
    StaleApprovals,
    /// One person counts as often as they approve.
    ApproverCountsTwice,
    /// A payout is released again by an approval that comes after the last.
    ReleaseTwice,
    /// A payout may be more than what there is.
    PayoutBeyondBalance,
    /// A schedule's slot is used at every tick.
    SlotTwice,
    /// A correction may be of one side alone; the ledger behind it must stop it.
    UnbalancedCorrection,
}

#[cfg(feature = "mutations")]
std::thread_local! {
    static CURRENT: core::cell::Cell<Option<Mutation>> = const { core::cell::Cell::new(None) };
}

/// Breaks one thing on this thread, or nothing.
#[cfg(feature = "mutations")]
pub fn set(mutation: Option<Mutation>) {
    CURRENT.set(mutation);
}

/// Whether this is broken.
#[cfg(feature = "mutations")]
pub(crate) fn is(mutation: Mutation) -> bool {
    CURRENT.get() == Some(mutation)
}

#[cfg(not(feature = "mutations"))]
pub(crate) const fn is(_: Mutation) -> bool {
    false
}
