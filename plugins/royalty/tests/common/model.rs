//! A second program: what the books must show, from raw facts and commands, written from the laws and not from the plugin.
//!
//! It keeps facts and derives everything that is of the provider's side and every position from them at once; only what the
//! order of things decides (which pocket, which hold) is followed step by step.

use std::collections::BTreeMap;

use crate::common::{APPROVAL_S, EVERY_S, FROM, HOLD_S, Order, SECOND, Totals};

/// `reverse/cascade-1`, from its definition: join the two lightest, divide by rounding halves up to the left.
pub(crate) fn cascade(shares: &[u64], total: u64) -> Vec<u64> {
    #[derive(Clone)]
    enum Tree {
        Leaf(usize),
        Joint(Box<(Weighed, Weighed)>),
    }
    #[derive(Clone)]
    struct Weighed(u64, usize, Tree);
    fn place(node: &Weighed, units: u64, out: &mut [u64]) {
        match &node.2 {
            Tree::Leaf(party) => out[*party] = units,
            Tree::Joint(children) => {
                let (quotient, rest) = {
                    let product = u128::from(units) * u128::from(children.0.0);
                    (product / u128::from(node.0), product % u128::from(node.0))
                };
                let left =
                    u64::try_from(quotient).expect("a value of the model") + u64::from(2 * rest >= u128::from(node.0));
                place(&children.0, left, out);
                place(&children.1, units - left, out);
            }
        }
    }
    let mut open: Vec<Weighed> = shares
        .iter()
        .enumerate()
        .filter(|(_, share)| **share > 0)
        .map(|(party, share)| Weighed(*share, party, Tree::Leaf(party)))
        .collect();
    let mut number = shares.len();
    while open.len() > 1 {
        let mut take = || {
            let at = (0..open.len()).min_by_key(|at| (open[*at].0, open[*at].1)).expect("a value of the model");
            open.remove(at)
        };
        let (first, second) = (take(), take());
        open.push(Weighed(first.0 + second.0, number, Tree::Joint(Box::new((second, first)))));
        number += 1;
    }
    let mut out = vec![0; shares.len()];
    if let Some(root) = open.first() {
        place(root, total, &mut out);
    }
    out
}

/// The largest rank that was heard of each object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) captured: bool,
    /// Amount and rank: pending 0, succeeded 1, failed 2.
    pub(crate) refunds: BTreeMap<u8, (u64, u8)>,
    /// Amount and rank: warning 0, open 1, won 2, lost 3 (of which the first heard of the last two stands).
    pub(crate) disputes: BTreeMap<u8, (u64, u8)>,
}

impl Facts {
    pub(crate) fn totals(&self, order: &Order) -> Totals {
        let sum = |facts: &BTreeMap<u8, (u64, u8)>, rank: u8| {
            facts.values().filter(|(_, known)| *known == rank).map(|(amount, _)| amount).sum()
        };
        let captured = if self.captured { order.amount() } else { 0 };
        [captured, sum(&self.refunds, 1), sum(&self.disputes, 1), sum(&self.disputes, 3)]
    }
}

/// Of one order: what each party has, what is locked, and the provider's side.
pub(crate) fn truth(order: &Order, [captured, refunded, open, lost]: Totals) -> (Vec<u64>, Vec<u64>, [i64; 3]) {
    let shares: Vec<u64> = order.shares.iter().map(|(_, share)| *share).collect();
    let left = captured.saturating_sub(refunded + lost);
    let free = left.saturating_sub(open);
    let positions = cascade(&shares, free);
    let locks = cascade(&shares, left).iter().zip(&positions).map(|(all, free)| all - free).collect();
    let signed = |amount: u64| i64::try_from(amount).expect("a value of the model");
    let psp = signed(captured) - signed(refunded) - signed(open) - signed(lost);
    let disp = signed(left - free);
    // Whatever is not explained was moved beyond the capture.
    (positions, locks, [psp, disp, signed(left) - psp - disp])
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) held: u64,
    pub(crate) avail: u64,
    pub(crate) owed: u64,
}

impl Party {
    /// Gives how much is held of it.
    fn rise(&mut self, amount: u64) -> u64 {
        let repaid = amount.min(self.owed);
        self.owed -= repaid;
        self.held += amount - repaid;
        amount - repaid
    }

    fn fall(&mut self, mut amount: u64) {
        for pocket in [&mut self.held, &mut self.avail] {
            let drawn = amount.min(*pocket);
            *pocket -= drawn;
            amount -= drawn;
        }
        self.owed += amount;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Requested,
    Released,
    Transit,
    Paid,
    Failed,
    Canceled,
}

#[derive(Clone, Debug)]
pub(crate) struct Payout {
    pub(crate) id: String,
    pub(crate) party: String,
    pub(crate) amount: u64,
    initiator: String,
    pub(crate) stage: Stage,
    approvals: Vec<(String, u64)>,
}

impl Payout {
    fn needed(&self) -> usize {
        usize::from(self.amount >= 100) + usize::from(self.amount >= 1_000)
    }
}

/// What an order or a payout holds until its time.
#[derive(Clone, Debug, Default)]
struct Lot {
    parts: BTreeMap<String, u64>,
    /// When, if it waits.
    due: Option<u64>,
}

fn slot_after(now: u64) -> u64 {
    let every = EVERY_S * SECOND;
    (now / every + 1) * every
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) orders: Vec<(Order, Facts)>,
    told: Vec<Totals>,
    captured_at: Vec<Option<u64>>,
    pub(crate) parties: BTreeMap<String, Party>,
    /// By id in hexadecimal.
    lots: BTreeMap<String, Lot>,
    pub(crate) payouts: Vec<Payout>,
    /// By party: who started the schedule, and when it pays next.
    plans: BTreeMap<String, (String, u64)>,
    /// What corrections gave to parties, less what they took; all of it from `loss`.
    corrections: BTreeMap<String, i64>,
}

impl Model {
    pub(crate) fn new(orders: &[Order]) -> Self {
        Self {
            orders: orders.iter().map(|order| (order.clone(), Facts::default())).collect(),
            told: vec![[0; 4]; orders.len()],
            captured_at: vec![None; orders.len()],
            ..Self::default()
        }
    }

    /// Facts of an order have changed.
    pub(crate) fn follow(&mut self, at: usize, now: u64) {
        let (order, facts) = &self.orders[at];
        let totals = facts.totals(order);
        if totals == self.told[at] {
            return;
        }
        if totals[0] > 0 && self.captured_at[at].is_none() {
            self.captured_at[at] = Some(now);
        }
        let (before, ..) = truth(order, self.told[at]);
        let (after, ..) = truth(order, totals);
        let lot = self.lots.entry(order.hex()).or_default();
        for ((party, _), (before, after)) in order.shares.iter().zip(before.iter().zip(&after)) {
            let pockets = self.parties.entry(party.clone()).or_default();
            let part = lot.parts.entry(party.clone()).or_default();
            if after >= before {
                *part += pockets.rise(after - before);
            } else {
                pockets.fall(before - after);
                *part = part.saturating_sub(before - after);
            }
        }
        let waits = totals[2] == 0 && lot.parts.values().any(|part| *part > 0);
        let earliest = self.captured_at[at].unwrap_or(0) + HOLD_S * SECOND;
        lot.due = if waits { lot.due.or(Some(earliest.max(now))) } else { None };
        self.told[at] = totals;
    }

    pub(crate) fn tick(&mut self, now: u64) {
        let mut due: Vec<(u64, String)> = self
            .lots
            .iter()
            .filter_map(|(id, lot)| lot.due.filter(|due| *due <= now).map(|due| (due, id.clone())))
            .collect();
        due.sort();
        for (_, id) in due {
            let parts = std::mem::take(self.lots.get_mut(&id).expect("a value of the model"));
            for (party, part) in parts.parts {
                let others: u64 = self.lots.values().filter_map(|lot| lot.parts.get(&party)).sum();
                let pockets = self.parties.get_mut(&party).expect("a value of the model");
                // What the others count on stays.
                let released = part.min(pockets.held.saturating_sub(others));
                pockets.held -= released;
                pockets.avail += released;
            }
        }
        self.run_plans(now);
    }

    /// At most once for each multiple of the time between two payouts.
    fn run_plans(&mut self, now: u64) {
        let mut due: Vec<(u64, String, String)> = Vec::new();
        for (party, (initiator, next)) in &mut self.plans {
            if *next <= now {
                due.push((*next, party.clone(), initiator.clone()));
                *next = slot_after(now);
            }
        }
        due.sort();
        for (_, party, initiator) in due {
            let amount = self.parties.entry(party.clone()).or_default().avail;
            if amount >= FROM {
                // Who owes has nothing available, and is refused.
                let _ = self.request(&initiator, &party, amount, "");
            }
        }
    }

    /// A correction between a party and `loss`, approved by all it needs.
    pub(crate) fn correct(&mut self, party: &str, gives: bool, amount: u64) -> Result<(), &'static str> {
        let pockets = self.parties.entry(party.into()).or_default();
        if gives && pockets.owed > 0 {
            return Err("owes");
        }
        if !gives && amount > pockets.avail {
            return Err("exceeds");
        }
        let signed = i64::try_from(amount).expect("a value of the model");
        pockets.avail = if gives { pockets.avail + amount } else { pockets.avail - amount };
        *self.corrections.entry(party.into()).or_default() += if gives { signed } else { -signed };
        Ok(())
    }

    pub(crate) fn schedule(&mut self, initiator: &str, party: &str, now: u64) -> Result<(), &'static str> {
        if self.plans.contains_key(party) {
            return Err("state");
        }
        self.plans.insert(party.into(), (initiator.into(), slot_after(now)));
        Ok(())
    }

    pub(crate) fn unschedule(&mut self, party: &str) -> Result<(), &'static str> {
        self.plans.remove(party).map(drop).ok_or("state")
    }

    pub(crate) fn request(&mut self, initiator: &str, party: &str, amount: u64, id: &str) -> Result<(), &'static str> {
        let pockets = self.parties.entry(party.into()).or_default();
        if pockets.owed > 0 {
            return Err("owes");
        }
        if amount > pockets.avail {
            return Err("exceeds");
        }
        pockets.avail -= amount;
        let mut payout = Payout {
            id: id.into(),
            party: party.into(),
            amount,
            initiator: initiator.into(),
            stage: Stage::Requested,
            approvals: Vec::new(),
        };
        if payout.needed() == 0 {
            payout.stage = Stage::Released;
        }
        self.payouts.push(payout);
        Ok(())
    }

    pub(crate) fn approve(&mut self, at: usize, who: &str, now: u64) -> Result<(), &'static str> {
        let payout = &mut self.payouts[at];
        if !["ann", "bob", "fin"].contains(&who) || who == payout.initiator {
            return Err("forbidden");
        }
        if payout.stage != Stage::Requested {
            return Err("state");
        }
        let fresh = |(_, at): &&(String, u64)| now - at <= APPROVAL_S * SECOND;
        let mut approvals: Vec<_> = payout.approvals.iter().filter(fresh).cloned().collect();
        if approvals.iter().any(|(approver, _)| approver == who) {
            return Err("state");
        }
        approvals.push((who.into(), now));
        if approvals.len() >= payout.needed() {
            if self.parties[&payout.party].owed > 0 {
                return Err("owes");
            }
            payout.stage = Stage::Released;
        }
        payout.approvals = approvals;
        Ok(())
    }

    pub(crate) fn cancel(&mut self, at: usize, who: &str, now: u64) -> Result<(), &'static str> {
        let payout = &self.payouts[at];
        if who != payout.initiator && who != payout.party && who != "fin" {
            return Err("forbidden");
        }
        if payout.stage != Stage::Requested {
            return Err("state");
        }
        self.give_back(at, Stage::Canceled, now);
        Ok(())
    }

    pub(crate) fn fact(&mut self, at: usize, told: Stage, now: u64) {
        let known = self.payouts[at].stage;
        if matches!(known, Stage::Requested | Stage::Canceled) || told <= known {
            return;
        }
        if told == Stage::Failed {
            self.give_back(at, told, now);
        } else {
            self.payouts[at].stage = told;
        }
    }

    pub(crate) fn refused(&mut self, at: usize, now: u64) {
        if self.payouts[at].stage == Stage::Released {
            self.give_back(at, Stage::Failed, now);
        }
    }

    fn give_back(&mut self, at: usize, end: Stage, now: u64) {
        let payout = &mut self.payouts[at];
        payout.stage = end;
        let part = self.parties.get_mut(&payout.party).expect("a value of the model").rise(payout.amount);
        let due = (part > 0).then_some(now);
        let parts = BTreeMap::from([(payout.party.clone(), part)]);
        self.lots.insert(payout.id.clone(), Lot { parts, due });
    }

    fn payouts_of(&self, party: &str, stages: &[Stage]) -> u64 {
        let of = |payout: &&Payout| payout.party == party && stages.contains(&payout.stage);
        self.payouts.iter().filter(of).map(|payout| payout.amount).sum()
    }

    /// Every account with something in it. The provider's side and each party's worth come from facts alone; a difference
    /// from what was followed step by step is a fault of the model, and fails.
    pub(crate) fn accounts(&self) -> BTreeMap<String, i64> {
        const PENDING: [Stage; 3] = [Stage::Requested, Stage::Released, Stage::Transit];
        let signed = |amount: u64| i64::try_from(amount).expect("a value of the model");
        let mut accounts: BTreeMap<String, i64> = BTreeMap::new();
        let mut worth: BTreeMap<String, i64> = BTreeMap::new();
        let mut add = |name: String, amount: i64| *accounts.entry(name).or_insert(0) += amount;
        for (order, facts) in &self.orders {
            let (positions, locks, [psp, disp, loss]) = truth(order, facts.totals(order));
            add("psp".into(), psp);
            add("disp".into(), disp);
            add("loss".into(), loss);
            for ((party, _), (position, lock)) in order.shares.iter().zip(positions.iter().zip(locks)) {
                *worth.entry(party.clone()).or_insert(0) += signed(*position);
                add(format!("lock/{party}"), -signed(lock));
            }
        }
        add("loss".into(), self.corrections.values().sum());
        for payout in &self.payouts {
            if payout.stage == Stage::Paid {
                add("psp".into(), -signed(payout.amount));
            } else if PENDING.contains(&payout.stage) {
                add(format!("clr/{}", payout.id), -signed(payout.amount));
            }
        }
        for (party, Party { held, avail, owed }) in &self.parties {
            let out = self.payouts_of(party, &PENDING) + self.payouts_of(party, &[Stage::Paid]);
            let corrected = self.corrections.get(party).copied().unwrap_or(0);
            let from_facts = worth.get(party).copied().unwrap_or(0) + corrected - signed(out);
            assert_eq!(signed(*held) + signed(*avail) - signed(*owed), from_facts, "the model of {party}");
            add(format!("held/{party}"), -signed(*held));
            add(format!("avail/{party}"), -signed(*avail));
            add(format!("owed/{party}"), signed(*owed));
        }
        accounts.retain(|_, balance| *balance != 0);
        accounts
    }
}
