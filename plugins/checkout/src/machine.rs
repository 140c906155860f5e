//! Every transition of orders, payments, refunds and disputes, as data: [`ORDER`] and [`FACTS`].
//!
//! Takes a state and what happened; gives what follows. Nothing here reads or writes: the table says what is so, the other
//! files do it, and the tests walk it. Source: docs/formats/market.md, "Checkout events" and "Facts".

use crate::mutation::{self, Mutation};

/// Where an order is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "named as in the format")]
pub enum State {
    Created,
    AwaitingPayment,
    Paid,
    FinanceConfirmed,
    Fulfilled,
    Failed,
    Canceled,
    Expired,
    Exception,
}

/// What can happen to an order. The first six are facts and deadlines and are never refused; the others are commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// The provider knows a payment that may still succeed.
    Live,
    /// A payment failed or was canceled, or the provider refused to make one.
    Fail,
    /// The whole amount was captured.
    Capture,
    /// Another amount or currency was captured.
    Mismatch,
    /// Finance has confirmed.
    Confirm,
    /// The deadline has passed.
    Expire,
    /// Somebody entitled cancels.
    Cancel,
    /// Somebody entitled wants money back.
    Refund,
    /// A registered deliverer has delivered what was bought.
    Fulfil,
}

/// What follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// Another state.
    Go(State),
    /// Nothing changes.
    Stay,
    /// The state stays, and the money that was captured in vain goes back.
    GiveBack,
    /// The state stays, and the provider is asked to let go of the payment.
    Withdraw,
    /// The command is allowed, up to what is left.
    Allow,
    /// The command is allowed for exactly the whole of what was captured in vain.
    Whole,
    /// The command is refused: `state`.
    Refuse,
}

use State::{AwaitingPayment, Canceled, Created, Exception, Expired, Failed, FinanceConfirmed, Fulfilled, Paid};
use Then::{Allow, GiveBack, Go, Refuse, Stay, Whole, Withdraw};

impl State {
    /// All of them, by their number.
    pub const ALL: [Self; 9] =
        [Created, AwaitingPayment, Paid, FinanceConfirmed, Fulfilled, Failed, Canceled, Expired, Exception];
}

impl Input {
    /// All of them, in the order of the table's columns.
    pub const ALL: [Self; 9] = [
        Self::Live,
        Self::Fail,
        Self::Capture,
        Self::Mismatch,
        Self::Confirm,
        Self::Expire,
        Self::Cancel,
        Self::Refund,
        Self::Fulfil,
    ];
}

/// The table of orders.
#[rustfmt::skip]
pub const ORDER: [(State, [Then; 9]); 9] = [
    //                  Live                 Fail        Capture   Mismatch       Confirm               Expire       Cancel        Refund  Fulfil
    (Created,          [Go(AwaitingPayment), Go(Failed), Go(Paid), Go(Exception), Stay,                 Go(Expired), Go(Canceled), Refuse, Refuse]),
    (AwaitingPayment,  [Stay,                Go(Failed), Go(Paid), Go(Exception), Stay,                 Go(Expired), Go(Canceled), Refuse, Refuse]),
    (Paid,             [Stay,                Stay,       GiveBack, GiveBack,      Go(FinanceConfirmed), Stay,        Refuse,       Allow,  Refuse]),
    (FinanceConfirmed, [Stay,                Stay,       GiveBack, GiveBack,      Stay,                 Stay,        Refuse,       Allow,  Go(Fulfilled)]),
    (Fulfilled,        [Stay,                Stay,       GiveBack, GiveBack,      Stay,                 Stay,        Refuse,       Allow,  Refuse]),
    (Failed,           [Stay,                Stay,       Go(Paid), Go(Exception), Stay,                 Stay,        Refuse,       Whole,  Refuse]),
    (Canceled,         [Withdraw,            Stay,       GiveBack, GiveBack,      Stay,                 Stay,        Refuse,       Whole,  Refuse]),
    (Expired,          [Withdraw,            Stay,       GiveBack, GiveBack,      Stay,                 Stay,        Refuse,       Whole,  Refuse]),
    (Exception,        [Stay,                Stay,       Go(Paid), Stay,          Stay,                 Stay,        Go(Canceled), Whole,  Refuse]),
];

impl State {
    /// What follows.
    #[must_use]
    pub fn on(self, input: Input) -> Then {
        let then = ORDER[self as usize].1[input as usize];
        match (self, input) {
            (Failed, Input::Capture) if mutation::is(Mutation::FailureIsSticky) => Stay,
            (Canceled | Expired, Input::Capture) if mutation::is(Mutation::LateCaptureRevives) => Go(Paid),
            (_, Input::Capture) if then == GiveBack && mutation::is(Mutation::DoubleCaptureKept) => Stay,
            (_, Input::Mismatch) if mutation::is(Mutation::MismatchPays) => self.on(Input::Capture),
            _ => then,
        }
    }

    /// By its number in a record.
    #[must_use]
    pub fn read(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The format's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Created => "created",
            AwaitingPayment => "awaiting_payment",
            Paid => "paid",
            FinanceConfirmed => "finance_confirmed",
            Fulfilled => "fulfilled",
            Failed => "failed",
            Canceled => "canceled",
            Expired => "expired",
            Exception => "exception",
        }
    }

    /// Whether the order has its money.
    #[must_use]
    pub const fn is_paid(self) -> bool {
        matches!(self, Paid | FinanceConfirmed | Fulfilled)
    }

    /// Whether it waits for its money, and has a deadline.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Created | AwaitingPayment)
    }

    /// Whether stock and the use of a promotion are set aside for it.
    #[must_use]
    pub const fn holds(self) -> bool {
        self.is_open() || self.is_paid()
    }
}

/// What a fact is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "named as in the format")]
pub enum Object {
    Payment,
    Refund,
    Dispute,
    Payout,
}

/// What the fact means for money.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Means {
    /// Of a payment: it may still succeed.
    Live,
    /// Of a payment: it will not.
    Failed,
    /// Of a payment: the money is there.
    Captured,
    /// Of a refund: the money is on its way back.
    Pending,
    /// Of a refund: the money is gone.
    Refunded,
    /// Of a dispute: the provider holds the money.
    Open,
    /// Of a dispute: the money is gone.
    Lost,
    /// No money is moved.
    Nothing,
}

/// The table of facts: object, state, rank, what it means. A fact of a rank that is not above the known one is old.
pub const FACTS: [(Object, &str, u8, Means); 17] = [
    (Object::Payment, "created", 0, Means::Live),
    (Object::Payment, "requires_action", 1, Means::Live),
    (Object::Payment, "processing", 1, Means::Live),
    (Object::Payment, "failed", 2, Means::Failed),
    (Object::Payment, "canceled", 2, Means::Failed),
    (Object::Payment, "succeeded", 3, Means::Captured),
    (Object::Refund, "pending", 0, Means::Pending),
    (Object::Refund, "succeeded", 1, Means::Refunded),
    (Object::Refund, "failed", 2, Means::Nothing),
    (Object::Refund, "canceled", 2, Means::Nothing),
    (Object::Dispute, "warning", 0, Means::Nothing),
    (Object::Dispute, "open", 1, Means::Open),
    (Object::Dispute, "won", 2, Means::Nothing),
    (Object::Dispute, "lost", 2, Means::Lost),
    (Object::Payout, "transit", 0, Means::Nothing),
    (Object::Payout, "paid", 1, Means::Nothing),
    (Object::Payout, "failed", 2, Means::Nothing),
];

impl Object {
    /// By the format's name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Payment, Self::Refund, Self::Dispute, Self::Payout].into_iter().find(|object| object.name() == name)
    }

    /// The format's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Dispute => "dispute",
            Self::Payout => "payout",
        }
    }

    /// The row of the table that a state's name is in.
    #[must_use]
    pub fn fact(self, state: &str) -> Option<Known> {
        let at = FACTS.iter().position(|(object, name, ..)| *object == self && *name == state)?;
        u8::try_from(at).ok().map(Known)
    }
}

/// What is known of an object: a row of [`FACTS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known(u8);

impl Known {
    /// From its number in a record.
    #[must_use]
    pub fn read(number: u8) -> Option<Self> {
        (usize::from(number) < FACTS.len()).then_some(Self(number))
    }

    /// Its number in a record.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    fn row(self) -> (Object, &'static str, u8, Means) {
        FACTS[usize::from(self.0)]
    }

    /// Whether this says more than what is known already.
    #[must_use]
    pub fn is_news(self, known: Option<Self>) -> bool {
        mutation::is(Mutation::NoRankGuard) || known.is_none_or(|known| self.row().2 > known.row().2)
    }

    /// What it means.
    #[must_use]
    pub fn means(self) -> Means {
        match self.row() {
            (Object::Dispute, "won", ..) if mutation::is(Mutation::WonTreatedAsLost) => Means::Lost,
            (Object::Refund, "failed" | "canceled", ..) if mutation::is(Mutation::RefundFailureIgnored) => {
                Means::Refunded
            }
            (.., means) => means,
        }
    }

    /// How it is shown: states of one rank and meaning are one, so that what is shown does not hang on which came first.
    #[must_use]
    pub fn shown(self) -> &'static str {
        match self.row() {
            (Object::Payment, "requires_action", ..) => "processing",
            (Object::Payment | Object::Refund, "canceled", ..) => "failed",
            (_, name, ..) => name,
        }
    }
}
