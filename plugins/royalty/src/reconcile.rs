//! Reconciliation: what the provider says it moved against what the ledger says.
//!
//! Takes two lists of records and a window; gives findings in the order of their references. Pure: no I/O, no clock. A
//! record that has no counterpart but is younger than the window is no finding against anybody yet (`TIMING_WINDOW`), and
//! nor is a pair whose times are further apart than it. Native only: it runs beside the log, not in it.

use std::collections::BTreeMap;

/// A movement of money, as either side names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What both sides know it by: the provider's id of the object.
    pub reference: String,
    /// ISO 4217.
    pub currency: String,
    /// Minor units; negative where money went out.
    pub amount: i64,
    /// When, in microseconds since 1970.
    pub at: u64,
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Code {
    /// The ledger has it, and the provider does not.
    ProviderMissing,
    /// The provider has it, and the ledger does not.
    LedgerMissing,
    /// Both have it, with other amounts.
    AmountMismatch,
    /// Both have it, in other currencies.
    CurrencyMismatch,
    /// The provider has it more than once.
    DuplicateProvider,
    /// The ledger has it more than once.
    DuplicateLedger,
    /// The other side may still come, or came late.
    TimingWindow,
}

impl Code {
    /// As it is reported.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProviderMissing => "PROVIDER_MISSING",
            Self::LedgerMissing => "LEDGER_MISSING",
            Self::AmountMismatch => "AMOUNT_MISMATCH",
            Self::CurrencyMismatch => "CURRENCY_MISMATCH",
            Self::DuplicateProvider => "DUPLICATE_PROVIDER",
            Self::DuplicateLedger => "DUPLICATE_LEDGER",
            Self::TimingWindow => "TIMING_WINDOW",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// With which movement.
    pub reference: String,
    /// What the provider says, first if several times.
    pub provider: Option<Record>,
    /// What the ledger says, first if several times.
    pub ledger: Option<Record>,
}

/// Compares both sides as of `until`; both times are in microseconds.
#[must_use]
pub fn reconcile(provider: &[Record], ledger: &[Record], until: u64, window: u64) -> Vec<Finding> {
    let mut sides: BTreeMap<&str, (Vec<&Record>, Vec<&Record>)> = BTreeMap::new();
    for record in provider {
        sides.entry(&record.reference).or_default().0.push(record);
    }
    for record in ledger {
        sides.entry(&record.reference).or_default().1.push(record);
    }
    let mut findings = Vec::new();
    for (reference, (provider, ledger)) in sides {
        let first = |side: &[&Record]| side.first().map(|record| (*record).clone());
        findings.extend(codes(&provider, &ledger, until, window).into_iter().map(|code| Finding {
            code,
            reference: reference.to_owned(),
            provider: first(&provider),
            ledger: first(&ledger),
        }));
    }
    findings
}

fn codes(provider: &[&Record], ledger: &[&Record], until: u64, window: u64) -> Vec<Code> {
    let mut codes = Vec::new();
    if provider.len() > 1 {
        codes.push(Code::DuplicateProvider);
    }
    if ledger.len() > 1 {
        codes.push(Code::DuplicateLedger);
    }
    match (provider.first(), ledger.first()) {
        (Some(a), Some(b)) => codes.extend(difference(a, b, window)),
        (Some(alone), None) => codes.push(missing(alone, Code::LedgerMissing, until, window)),
        (None, Some(alone)) => codes.push(missing(alone, Code::ProviderMissing, until, window)),
        (None, None) => {}
    }
    codes
}

fn missing(alone: &Record, code: Code, until: u64, window: u64) -> Code {
    if until.saturating_sub(alone.at) < window { Code::TimingWindow } else { code }
}

fn difference(provider: &Record, ledger: &Record, window: u64) -> Option<Code> {
    if provider.currency != ledger.currency {
        Some(Code::CurrencyMismatch)
    } else if provider.amount != ledger.amount {
        Some(Code::AmountMismatch)
    } else {
        (provider.at.abs_diff(ledger.at) > window).then_some(Code::TimingWindow)
    }
}
