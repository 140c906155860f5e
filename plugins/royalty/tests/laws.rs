//! The laws of the books against a second program: random facts and commands, compared after every one; the same facts in
//! another order, more than once; and each way to be wrong on purpose, which must be noticed.
//!
//! `TALLY_CASES` says how many runs (default 5,000).

mod common;
#[path = "common/model.rs"]
mod model;

use std::collections::BTreeMap;

use common::{Books, Order, SECOND, replay};
use model::{Facts, Model, Stage, cascade, truth};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{Value, json};
use tally_plugin::test_host::Verdict;
use tally_royalty::mutation::{self, Mutation};

const PARTIES: [&str; 4] = ["agent:a", "b", "house", "third"];
const STATES: [&str; 3] = ["transit", "paid", "failed"];

#[derive(Clone, Debug)]
enum Act {
    Capture(usize),
    /// Order, which, per mille of the amount, rank.
    Refund(usize, u8, u8),
    Dispute(usize, u8, u8),
    /// Seconds.
    Tick(u64),
    /// By finance, party, per mille of what is available.
    Request(bool, usize, u64),
    Approve(usize, usize),
    Cancel(usize, usize),
    Fact(usize, usize),
    Refused(usize),
    /// By finance, party.
    Schedule(bool, usize),
    Unschedule(usize),
    /// Party, whether it gets, amount, whether the lines balance.
    Correct(usize, bool, u64, bool),
}

#[derive(Clone, Debug)]
struct Case {
    orders: Vec<Order>,
    /// Per mille of the order's amount, by which refund or dispute it is.
    amounts: Vec<u64>,
    acts: Vec<Act>,
    /// How the facts are shuffled for the second delivery.
    shuffle: Vec<u16>,
    cut: usize,
}

impl Case {
    /// The amount of a refund or dispute is pinned by who it is.
    fn amount(&self, order: usize, which: u8) -> u64 {
        let whole = self.orders[order].amount();
        let per_mille = self.amounts[(order * 4 + usize::from(which)) % self.amounts.len()];
        u64::try_from(u128::from(whole) * u128::from(per_mille) / 1_000).expect("a part").max(1)
    }
}

fn orders() -> impl Strategy<Value = Vec<Order>> {
    // Below 13 digits: a payout's amount must not look like a card's number.
    let price = prop_oneof![3 => 0u64..30, 4 => 100u64..20_000, 1 => 0u64..1 << 37];
    let weights = prop::collection::vec(prop_oneof![1 => Just(0u64), 5 => 1u64..10_000], PARTIES.len());
    let one =
        (price, weights).prop_filter("somebody has a share", |(_, weights)| weights.iter().any(|weight| *weight > 0));
    prop::collection::vec(one, 1..4).prop_map(|orders| {
        let order = |(id, (price, weights)): (u8, (u64, Vec<u64>))| {
            let shares = tally_market::money::divide(price, &weights);
            let shares = PARTIES.iter().map(|party| (*party).to_owned()).zip(shares).collect();
            Order { id, shares }
        };
        (1..).zip(orders).map(order).collect()
    })
}

fn acts() -> impl Strategy<Value = Act> {
    let (order, which) = (0usize..3, 0u8..3);
    prop_oneof![
        4 => order.clone().prop_map(Act::Capture),
        5 => (order.clone(), which.clone(), 0u8..3).prop_map(|(o, k, r)| Act::Refund(o, k, r)),
        4 => (order, which, 0u8..4).prop_map(|(o, k, r)| Act::Dispute(o, k, r)),
        5 => prop_oneof![0u64..130, Just(101)].prop_map(Act::Tick),
        5 => (any::<bool>(), 0usize..4, prop_oneof![Just(1_000u64), 1u64..1_300]).prop_map(|(f, p, m)| Act::Request(f, p, m)),
        6 => (0usize..4, 0usize..4).prop_map(|(p, w)| Act::Approve(p, w)),
        1 => (0usize..4, 0usize..4).prop_map(|(p, w)| Act::Cancel(p, w)),
        5 => (0usize..4, 0usize..3).prop_map(|(p, s)| Act::Fact(p, s)),
        1 => (0usize..4).prop_map(Act::Refused),
        3 => (any::<bool>(), 0usize..4).prop_map(|(f, p)| Act::Schedule(f, p)),
        1 => (0usize..4).prop_map(Act::Unschedule),
        2 => (0usize..4, any::<bool>(), 1u64..2_000, prop::bool::weighted(0.8))
            .prop_map(|(party, gives, amount, fits)| Act::Correct(party, gives, amount, fits)),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let amounts = prop::collection::vec(prop_oneof![3 => 1u64..500, 1 => Just(1_000), 1 => 900u64..1_200], 12);
    let acts = prop::collection::vec(acts(), 1..40);
    let shuffle = prop::collection::vec(any::<u16>(), 80);
    (orders(), amounts, acts, shuffle, 0usize..40).prop_map(|(orders, amounts, acts, shuffle, cut)| Case {
        orders,
        amounts,
        acts,
        shuffle,
        cut,
    })
}

/// A refund, a dispute or a capture as a fact: order, which, rank.
#[derive(Clone, Copy, Debug)]
enum Heard {
    Captured(usize),
    Refund(usize, u8, u8),
    Dispute(usize, u8, u8),
}

/// What checkout does with facts: only the rank of an object rises.
fn hear(case: &Case, facts: &mut [Facts], heard: Heard) -> usize {
    let rank_of = |rank: u8| rank.min(2);
    match heard {
        Heard::Captured(order) => {
            facts[order].captured = case.orders[order].amount() > 0;
            order
        }
        Heard::Refund(order, which, rank) => {
            let known = facts[order].refunds.entry(which).or_insert((case.amount(order, which), 0));
            known.1 = known.1.max(rank);
            order
        }
        Heard::Dispute(order, which, rank) => {
            let known = facts[order].disputes.entry(which).or_insert((case.amount(order, which), 0));
            if rank_of(rank) > rank_of(known.1) {
                known.1 = rank;
            }
            order
        }
    }
}

type Checked = Result<(), TestCaseError>;

fn fail<T>(text: impl Into<String>) -> Result<T, TestCaseError> {
    Err(TestCaseError::fail(text.into()))
}

struct Run<'a> {
    case: &'a Case,
    books: Books,
    model: Model,
    heard: Vec<Heard>,
}

impl Run<'_> {
    fn tell(&mut self, heard: Heard) -> Checked {
        self.heard.push(heard);
        let mut facts: Vec<Facts> = self.model.orders.iter().map(|(_, facts)| facts.clone()).collect();
        let order = hear(self.case, &mut facts, heard);
        self.model.orders[order].1 = facts[order].clone();
        let totals = facts[order].totals(&self.case.orders[order]);
        let outcome = self.books.emitted(&common::money(&self.case.orders[order], totals));
        if outcome.verdict != Verdict::Accepted {
            return fail(format!("totals were not taken: {:?}", outcome.verdict));
        }
        self.model.follow(order, self.books.now);
        Ok(())
    }

    fn act(&mut self, act: &Act) -> Checked {
        let now = self.books.now;
        let count = self.case.orders.len();
        let payout = |at: usize| Some(at % self.model.payouts.len().max(1)).filter(|_| !self.model.payouts.is_empty());
        match *act {
            Act::Capture(order) => self.tell(Heard::Captured(order % count)),
            Act::Refund(order, which, rank) => self.tell(Heard::Refund(order % count, which, rank)),
            Act::Dispute(order, which, rank) => {
                // Of one dispute nobody hears that it was won and that it was lost.
                let end = if (which + u8::try_from(order % count).expect("few")) % 2 == 0 { 2 } else { 3 };
                self.tell(Heard::Dispute(order % count, which, if rank >= 2 { end } else { rank }))
            }
            Act::Tick(seconds) => {
                self.books.now += seconds * SECOND;
                self.tick()
            }
            Act::Schedule(by_finance, party) => {
                let (party, now) = (PARTIES[party], self.books.now);
                let initiator = if by_finance { "fin" } else { party };
                same(self.model.schedule(initiator, party, now), self.books.schedule(initiator, party).map(drop))
            }
            Act::Correct(party, gives, amount, fits) => self.correct(PARTIES[party], gives, amount, fits),
            Act::Unschedule(party) => {
                let party = PARTIES[party];
                same(self.model.unschedule(party), self.books.unschedule(party, party).map(drop))
            }
            Act::Request(by_finance, party, per_mille) => self.request(by_finance, PARTIES[party], per_mille),
            Act::Approve(at, who) => {
                let Some(at) = payout(at) else { return Ok(()) };
                let who = ["ann", "bob", "fin", "eve"][who];
                let id = self.model.payouts[at].id.clone();
                let expected = self.model.approve(at, who, now);
                let got = self.books.approve(who, &id);
                let sent = got.as_ref().is_ok_and(|outcome| !outcome.effects.is_empty());
                let released = expected.is_ok() && self.model.payouts[at].stage == Stage::Released;
                if sent != released {
                    return fail("a payout is sent exactly when it is approved for the last time");
                }
                same(expected, got.map(drop))
            }
            Act::Cancel(at, who) => {
                let Some(at) = payout(at) else { return Ok(()) };
                let who = ["fin", "eve", PARTIES[0], PARTIES[2]][who];
                let id = self.model.payouts[at].id.clone();
                same(self.model.cancel(at, who, now), self.books.cancel(who, &id).map(drop))
            }
            Act::Fact(at, state) => {
                let Some(at) = payout(at) else { return Ok(()) };
                let (id, amount) = (self.model.payouts[at].id.clone(), self.model.payouts[at].amount);
                self.model.fact(at, [Stage::Transit, Stage::Paid, Stage::Failed][state], now);
                let verdict = self.books.fact(&id, amount, STATES[state]).verdict;
                if verdict == Verdict::Accepted { Ok(()) } else { fail(format!("a fact: {verdict:?}")) }
            }
            Act::Refused(at) => {
                let Some(at) = payout(at) else { return Ok(()) };
                let id = self.model.payouts[at].id.clone();
                self.model.refused(at, now);
                let code = json!({"code": "no_account"});
                let verdict = self.books.answer(common::PAYMENT, "payment", &id, "failed", &code).verdict;
                if verdict == Verdict::Accepted { Ok(()) } else { fail(format!("a refusal: {verdict:?}")) }
            }
        }
    }

    /// A correction, approved by two at once; one that does not balance leaves nothing.
    fn correct(&mut self, party: &str, gives: bool, amount: u64, fits: bool) -> Checked {
        let (to_loss, to_party) = if gives { ("debit", "credit") } else { ("credit", "debit") };
        let other = if fits { amount } else { amount + 1 };
        let lines =
            json!([common::line(to_loss, "loss", other), common::line(to_party, &format!("avail/{party}"), amount),]);
        let before = self.books.host.host().state.clone();
        let proposed = self.books.propose("root", &lines);
        if !fits {
            let unchanged = before == self.books.host.host().state;
            return if unchanged {
                same(Err("ledger_imbalance"), proposed.map(drop))
            } else {
                fail("it left something")
            };
        }
        let expected = self.model.correct(party, gives, amount);
        let Ok(id) = proposed else { return same(expected, proposed.map(drop)) };
        same(expected, Ok(()))?;
        let needed = if amount >= 1_000 { 2 } else { 1 };
        for who in ["ann", "bob"].into_iter().take(needed) {
            same(Ok(()), self.books.confirm(who, &id).map(drop))?;
        }
        same(Err("state"), self.books.confirm("fin", &id).map(drop))
    }

    /// Ends holds, and asks for what is scheduled.
    fn tick(&mut self) -> Checked {
        let outcome = self.books.tick();
        if outcome.verdict != Verdict::Accepted {
            return fail(format!("a tick: {:?}", outcome.verdict));
        }
        let before = self.model.payouts.len();
        self.model.tick(self.books.now);
        let asked = self.books.asked_for();
        let scheduled = &mut self.model.payouts[before..];
        let expected: Vec<_> = scheduled.iter().map(|payout| (payout.party.clone(), payout.amount)).collect();
        let shown: Vec<_> = asked.iter().map(|(_, party, amount)| (party.clone(), *amount)).collect();
        if shown != expected {
            return fail(format!("a tick asks for {shown:?}, and not {expected:?}"));
        }
        let sent = scheduled.iter().filter(|payout| payout.stage == Stage::Released).count();
        if outcome.effects.len() != sent {
            return fail("a scheduled payout is sent exactly when nobody must approve it");
        }
        for (payout, (id, ..)) in scheduled.iter_mut().zip(asked) {
            payout.id = id;
        }
        Ok(())
    }

    fn request(&mut self, by_finance: bool, party: &str, per_mille: u64) -> Checked {
        let avail = self.model.parties.get(party).map_or(0, |pockets| pockets.avail);
        let amount = u64::try_from(u128::from(avail) * u128::from(per_mille) / 1_000).expect("a part").max(1);
        let initiator = if by_finance { "fin" } else { party };
        match self.books.request(initiator, party, amount) {
            Ok(id) => same(self.model.request(initiator, party, amount, &id), Ok(())),
            Err(code) => same(self.model.request(initiator, party, amount, ""), Err(code)),
        }
    }

    /// The books are what the second program says, and nobody owes who has something.
    fn compare(&mut self) -> Checked {
        let (shown, expected) = (self.books.accounts(), self.model.accounts());
        if shown != expected {
            return fail(format!("the books show {shown:?}, and not {expected:?}"));
        }
        if shown.values().sum::<i64>() != 0 {
            return fail("the accounts do not add up to zero");
        }
        for party in PARTIES {
            let of = |pocket: &str| shown.get(&format!("{pocket}/{party}")).copied().unwrap_or(0);
            let fine = of("held") <= 0 && of("avail") <= 0 && of("lock") <= 0 && of("owed") >= 0;
            if !fine || (of("owed") > 0 && of("held") + of("avail") < 0) {
                return fail(format!("the pockets of {party}: {shown:?}"));
            }
        }
        Ok(())
    }
}

fn same(expected: Result<(), &'static str>, got: Result<(), String>) -> Checked {
    let got = got.err();
    if expected.err() == got.as_deref() { Ok(()) } else { fail(format!("{got:?}, and not {expected:?}")) }
}

fn whole_run(case: &Case) -> Checked {
    let mut run = Run { case, books: Books::new(), model: Model::new(&case.orders), heard: Vec::new() };
    let mut shown = None;
    for (at, act) in case.acts.iter().enumerate() {
        run.act(act)?;
        run.compare()?;
        if at == case.cut {
            shown = Some(prefix(&mut run.books, PARTIES[at % 4]));
        }
    }
    if let Some((party, to, before)) = shown {
        let now = run.books.statement(party, &json!({"to": to}));
        prop_assert_eq!(now, before, "a statement of the past has changed");
    }
    for party in PARTIES {
        adds_up(&mut run.books, party)?;
    }
    let (journals, accounts) = (run.books.journals(), run.books.accounts());
    prop_assert_eq!(replay(&journals), accounts, "journals do not add up to the books");
    if !run.books.replays_equal() {
        return fail("the same log gives another state");
    }
    second_delivery(&run)
}

/// A statement up to now.
fn prefix(books: &mut Books, party: &'static str) -> (&'static str, String, Value) {
    let to = books.index.to_string();
    let statement = books.statement(party, &json!({"to": to}));
    (party, to, statement)
}

/// Opening and movements are the closing, and the closing is the books.
fn adds_up(books: &mut Books, party: &str) -> Checked {
    let statement = books.statement(party, &json!({"limit": "100"}));
    let sum = |name: &str| -> i64 {
        statement["rows"].as_array().expect("rows").iter().map(|row| row[name].as_i64().expect("a number")).sum()
    };
    let accounts = books.accounts();
    for pocket in ["held", "avail", "lock", "owed"] {
        let booked = accounts.get(&format!("{pocket}/{party}")).copied().unwrap_or(0).abs();
        prop_assert_eq!((sum(pocket), statement["closing"][pocket].as_i64()), (booked, Some(booked)));
    }
    let number = |a: &str, b: &str| statement[a][b].as_i64().expect("a number");
    prop_assert_eq!(sum("amount"), number("closing", "balance"));
    let worth = number("totals", "sales") + number("totals", "reversals") - number("totals", "paid");
    let worth = worth + number("totals", "corrections");
    prop_assert_eq!(worth - number("pending", "amount"), number("closing", "balance"));
    let listed = statement["pending"]["payouts"].as_array().expect("a list").iter();
    prop_assert_eq!(
        listed.map(|payout| payout["amount"].as_i64().expect("a number")).sum::<i64>(),
        number("pending", "amount")
    );
    Ok(())
}

/// The same facts, shuffled, each once or twice, in fresh books: the same positions, locks and losses.
fn second_delivery(run: &Run<'_>) -> Checked {
    let mut facts: Vec<(u16, Heard)> = Vec::new();
    for (at, heard) in run.heard.iter().enumerate() {
        let chance = |at: usize| run.case.shuffle[at % run.case.shuffle.len()];
        facts.push((chance(2 * at), *heard));
        if chance(2 * at) % 3 == 0 {
            facts.push((chance(2 * at + 1), *heard));
        }
    }
    facts.sort_by_key(|(place, _)| *place);
    let mut books = Books::new();
    let mut known = vec![Facts::default(); run.case.orders.len()];
    for (_, heard) in facts {
        let order = hear(run.case, &mut known, heard);
        let totals = known[order].totals(&run.case.orders[order]);
        let verdict = books.emitted(&common::money(&run.case.orders[order], totals)).verdict;
        prop_assert_eq!(verdict, Verdict::Accepted);
    }
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for (order, facts) in &run.model.orders {
        let (positions, locks, [psp, disp, loss]) = truth(order, facts.totals(order));
        let mut add = |name: String, amount: i64| *expected.entry(name).or_insert(0) += amount;
        for (name, amount) in [("psp", psp), ("disp", disp), ("loss", loss)] {
            add(name.into(), amount);
        }
        for ((party, _), (position, lock)) in order.shares.iter().zip(positions.iter().zip(locks)) {
            add(format!("held/{party}"), -i64::try_from(*position).expect("a position"));
            add(format!("lock/{party}"), -i64::try_from(lock).expect("a lock"));
        }
    }
    expected.retain(|_, balance| *balance != 0);
    // Nobody was paid: what is owed for a moment is repaid in the end, so that only positions are left.
    prop_assert_eq!(books.accounts(), expected, "the order of facts shows in the books");
    Ok(())
}

#[test]
fn the_books_are_what_a_second_program_makes_of_the_same_facts() {
    let mut runner =
        TestRunner::new(Config { cases: common::cases(5_000), failure_persistence: None, ..Config::default() });
    runner.run(&case(), |case| whole_run(&case)).expect("the laws hold");
}

#[test]
fn every_way_to_be_wrong_is_noticed() {
    for broken in [
        Mutation::WaterfallSkipsHeld,
        Mutation::RiseForgetsDebt,
        Mutation::LargestRemainderReversal,
        Mutation::SequentialReversal,
        Mutation::WonIsLost,
        Mutation::NoLoss,
        Mutation::IgnorePayoutFailure,
        Mutation::NoRank,
        Mutation::ReleaseUnderDispute,
        Mutation::ReleaseAnothers,
        Mutation::InitiatorApproves,
        Mutation::StaleApprovals,
        Mutation::ApproverCountsTwice,
        Mutation::ReleaseTwice,
        Mutation::PayoutBeyondBalance,
        Mutation::SlotTwice,
        Mutation::UnbalancedCorrection,
    ] {
        let config = Config { cases: 20_000, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        mutation::set(Some(broken));
        let end = runner.run(&case(), |case| whole_run(&case));
        mutation::set(None);
        assert!(end.is_err(), "{broken:?} was not noticed");
    }
}

proptest! {
    // Orders of nothing are thrown away, however many runs there are.
    #![proptest_config(Config { cases: common::cases(5_000), max_global_rejects: u32::MAX, ..Config::default() })]

    #[test]
    fn shares_add_up_for_every_price_and_rule_and_each_sale_has_one_line_per_beneficiary(
        price in prop_oneof![0u64..50, 0u64..1 << 53],
        weights in prop::collection::vec(0u64..10_000, 1..33),
    ) {
        prop_assume!(price > 0 && weights.iter().any(|weight| *weight > 0));
        let shares = tally_market::money::divide(price, &weights);
        prop_assert_eq!(shares.iter().sum::<u64>(), price);
        let shares = shares.into_iter().enumerate().map(|(at, share)| (format!("p{at}"), share)).collect();
        let order = Order { id: 7, shares };
        let mut books = Books::new();
        books.money(&order, [price, 0, 0, 0]);
        let journals = books.journals();
        prop_assert_eq!((journals.len(), journals[0]["rule"].as_str()), (1, Some("split/lr-1")));
        let mut expected: BTreeMap<String, i64> = BTreeMap::from([("psp".into(), price.cast_signed())]);
        expected.extend(order.shares.iter().map(|(party, share)| (format!("held/{party}"), -share.cast_signed())));
        expected.retain(|_, balance| *balance != 0);
        prop_assert_eq!(replay(&journals), expected.clone());
        prop_assert_eq!(journals[0]["lines"].as_array().expect("lines").len(), expected.len());
    }

    #[test]
    fn the_cascade_is_the_definition_and_monotone_and_exact_at_both_ends(
        shares in prop::collection::vec(prop_oneof![0u64..6, 0u64..1 << 48], 1..33),
        keep in any::<u64>(),
    ) {
        let whole: u64 = shares.iter().sum();
        let keep = if whole == 0 { 0 } else { keep % (whole + 1) };
        let tree = tally_royalty::cascade::Cascade::of(&shares);
        let placed = tree.place(keep);
        prop_assert_eq!(&placed, &cascade(&shares, keep));
        prop_assert_eq!(placed.iter().sum::<u64>(), keep);
        prop_assert_eq!(tree.place(whole), shares.clone());
        prop_assert_eq!(tree.place(0), vec![0; shares.len()]);
        if keep < whole {
            let more = tree.place(keep + 1);
            prop_assert!(placed.iter().zip(&more).all(|(less, more)| less <= more));
        }
        for (placed, share) in placed.iter().zip(&shares) {
            prop_assert!(placed <= share);
        }
    }

    #[test]
    fn a_full_refund_in_any_parts_leaves_nothing_and_one_that_fails_restores_exactly(
        orders in orders(),
        cuts in prop::collection::vec(1u64..1_000, 0..6),
        failing in any::<prop::sample::Index>(),
    ) {
        let order = &orders[0];
        let price = order.amount();
        prop_assume!(price > 0);
        let mut marks: Vec<u64> = cuts.iter().map(|cut| u64::try_from(u128::from(price) * u128::from(*cut) / 1_000).expect("a value of the model")).collect();
        marks.extend([0, price]);
        marks.sort_unstable();
        let parts: Vec<u64> = marks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let failed = parts[failing.index(parts.len())];
        let mut books = Books::new();
        books.money(order, [price, 0, 0, 0]);
        books.money(order, [price, price - failed, 0, 0]);
        let before = books.accounts();
        books.money(order, [price, 0, 0, 0]);
        let mut refunded = 0;
        for part in &parts {
            refunded += part;
            books.money(order, [price, refunded, 0, 0]);
        }
        prop_assert_eq!(books.accounts(), BTreeMap::new());
        books.money(order, [price, price - failed, 0, 0]);
        prop_assert_eq!(books.accounts(), before);
    }
}

#[test]
fn a_payout_leaves_once_and_comes_back_exactly() {
    let mut books = Books::new();
    books.sold(&Order::new(1, &[("b", 90)]));
    let id = books.request("b", "b", 60).expect("a payout");
    let reserved = books.accounts();
    assert_eq!(reserved[&format!("clr/{id}")], -60);
    for state in ["transit", "paid", "paid", "transit"] {
        books.fact(&id, 60, state);
    }
    assert_eq!((books.account("psp"), books.account("avail/b")), (30, -30));
    for state in ["failed", "failed", "paid", "transit"] {
        books.fact(&id, 60, state);
    }
    books.tick();
    assert_eq!((books.account("psp"), books.account("avail/b")), (90, -90));
    assert!(books.faults().is_empty());
}
