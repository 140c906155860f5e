//! Rules that tests break on purpose, to see that breaking them is noticed (the feature `mutations`, never in a module).
//!
//! Takes the choice of a test on its own thread; gives whether a rule is broken here. Without the feature nothing ever is,
//! and the compiler removes every question.

/// A rule that is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say what is broken")]
pub enum Mutation {
    NoRankGuard,
    RefundFailureIgnored,
    WonTreatedAsLost,
    NoSharedReservation,
    PendingNotReserved,
    NoParking,
    FailureIsSticky,
    LateCaptureRevives,
    DoubleCaptureKept,
    MismatchPays,
    StockNotReleased,
    RefusalKeepsReservation,
    AnswersByOrder,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::NoRankGuard,
        Self::RefundFailureIgnored,
        Self::WonTreatedAsLost,
        Self::NoSharedReservation,
        Self::PendingNotReserved,
        Self::NoParking,
        Self::FailureIsSticky,
        Self::LateCaptureRevives,
        Self::DoubleCaptureKept,
        Self::MismatchPays,
        Self::StockNotReleased,
        Self::RefusalKeepsReservation,
        Self::AnswersByOrder,
    ];
}

#[cfg(all(feature = "mutations", not(target_arch = "wasm32")))]
mod chosen {
    use super::Mutation;
    use core::cell::Cell;

    std::thread_local! {
        static CHOSEN: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Breaks a rule on this thread, or none.
    pub fn choose(mutation: Option<Mutation>) {
        CHOSEN.set(mutation);
    }

    pub(crate) fn is(mutation: Mutation) -> bool {
        CHOSEN.get() == Some(mutation)
    }
}

#[cfg(all(feature = "mutations", not(target_arch = "wasm32")))]
pub use chosen::choose;
#[cfg(all(feature = "mutations", not(target_arch = "wasm32")))]
pub(crate) use chosen::is;

/// Never.
#[cfg(not(all(feature = "mutations", not(target_arch = "wasm32"))))]
pub(crate) const fn is(_: Mutation) -> bool {
    false
}
