//! Laws of the schedule: small ones by example, and a worker on a model chain that may do anything but break them.

use proptest::prelude::*;

use super::*;
use crate::chain::Hash32;
use crate::config::{FeeConfig, GWEI, Provider};
use crate::signer::Address;

fn config() -> ChainConfig {
    ChainConfig {
        name: "model".to_owned(),
        chain_id: 1,
        contract: Address([1; 20]),
        code_hash: Hash32([2; 32]),
        providers: vec![Provider { name: "one".to_owned(), url: String::new() }],
        providers_agree_min: 1,
        trust_one_provider: true,
        epoch: 1,
        request_timeout_ms: 1_000,
        provider_lag_max_ms: 1_000,
        confirmations: None,
        interval_ms: 60_000,
        size_trigger: 1_000,
        poll_ms: 2_000,
        reconcile_ms: 60_000,
        replace_after_ms: 20_000,
        rebroadcast_after_ms: 10_000,
        unfinal_slots_max: 8,
        fees: FeeConfig {
            cap_max_wei: 50_000_000_000,
            tip_min_wei: 1_000_000,
            target_ms: 30_000,
            budget_gwei_per_day: 10_000_000,
            balance_floor_gwei: 1,
            gas_max: 500_000,
            op_data_fee: false,
        },
    }
}

fn idle(config: &ChainConfig) -> Situation<'_> {
    Situation {
        config,
        now_ms: 10 * DAY_MS,
        chain_nonce: 3,
        own_nonce: 3,
        unexplained: 0,
        live: None,
        unfinal: 0,
        waiting: 1,
        last_anchor_ms: None,
        prices: Prices { base: 1_000_000, tip: 1_000_000 },
        gas: 100_000,
        data_fee: 0,
        spent: 0,
        balance: 1_000_000_000 * GWEI,
        halted: None,
        signer_away_until_ms: None,
    }
}

fn live(config: &ChainConfig) -> Situation<'_> {
    let situation = idle(config);
    let fee = fees::first(&config.fees, situation.prices);
    let now = situation.now_ms;
    let live = Live {
        nonce: 3,
        sent: true,
        known: true,
        opened_ms: now,
        created_ms: now,
        sent_ms: now,
        fee,
        gas: 100_000,
        data_fee: 0,
    };
    Situation { live: Some(live), ..situation }
}

fn waits(action: &Action, because: Because) -> bool {
    matches!(action, Action::Wait(_, why) if *why == because)
}

#[test]
fn the_first_leaf_is_anchored_at_once_and_the_next_after_the_interval() {
    let config = config();
    let s = idle(&config);
    assert!(matches!(decide(&s), Action::Plan(_)));
    let last = Some(s.now_ms);
    let early = Situation { last_anchor_ms: last, now_ms: s.now_ms + 59_999, ..idle(&config) };
    assert_eq!(decide(&early), Action::Wait(s.now_ms + 60_000, Because::NotDue));
    let due = Situation { last_anchor_ms: last, now_ms: s.now_ms + 60_000, ..idle(&config) };
    assert!(matches!(decide(&due), Action::Plan(_)));
}

#[test]
fn many_leaves_are_anchored_before_the_interval_is_over() {
    let config = config();
    let s = idle(&config);
    let last = Some(s.now_ms);
    let many = Situation { waiting: 1_000, last_anchor_ms: last, now_ms: s.now_ms + 10_000, ..idle(&config) };
    assert!(matches!(decide(&many), Action::Plan(_)));
    let fewer = Situation { waiting: 999, ..many };
    assert!(waits(&decide(&fewer), Because::NotDue));
}

#[test]
fn nothing_new_is_not_anchored_again() {
    let config = config();
    assert!(waits(&decide(&Situation { waiting: 0, ..idle(&config) }), Because::NothingNew));
}

#[test]
fn a_slot_that_is_durable_and_was_never_sent_is_sent_before_anything_else() {
    let config = config();
    let mut s = live(&config);
    s.live.as_mut().unwrap().sent = false;
    assert_eq!(decide(&s), Action::Rebroadcast);
}

#[test]
fn what_no_provider_knows_any_more_is_sent_again() {
    let config = config();
    let mut s = live(&config);
    s.now_ms += 1;
    assert!(waits(&decide(&s), Because::Underway));
    s.live.as_mut().unwrap().known = false;
    assert_eq!(decide(&s), Action::Rebroadcast);
}

#[test]
fn a_stuck_transaction_is_replaced_when_its_age_allows_the_raise() {
    let config = config();
    let mut s = live(&config);
    s.now_ms += 20_000;
    assert_eq!(decide(&s), Action::Rebroadcast, "the allowance for 20 s does not reach an eighth more");
    s.now_ms += 40_000;
    let Action::Replace(fee) = decide(&s) else { panic!("not replaced") };
    assert!(s.live.unwrap().fee.is_replaced_by(&fee));
    s.spent = config.fees.budget();
    assert_eq!(decide(&s), Action::Rebroadcast, "the budget also holds for raises");
}

#[test]
fn a_used_nonce_is_settled_first_and_is_foreign_only_after_several_looks() {
    let config = config();
    let mut s = Situation { chain_nonce: 4, ..live(&config) };
    for looks in 0..FOREIGN_LOOKS {
        s.unexplained = looks;
        assert_eq!(decide(&s), Action::Settle);
    }
    s.unexplained = FOREIGN_LOOKS;
    assert_eq!(decide(&s), Action::Halt(Halt::ForeignNonce { nonce: 3 }));
    s.chain_nonce = 2;
    assert_eq!(decide(&s), Action::Settle, "a nonce that went back is a reorganisation, never foreign");
}

#[test]
fn over_budget_the_interval_grows_and_an_empty_purse_waits() {
    let config = config();
    let mut s = idle(&config);
    s.last_anchor_ms = Some(s.now_ms);
    // Half a day's budget is left for the whole day, at a price that would use it up in an hour.
    s.spent = config.fees.budget() / 2;
    s.prices.base = 2_000_000_000;
    s.now_ms += 120_000;
    let action = decide(&s);
    assert!(waits(&action, Because::NotDue), "{action:?}");
    s.spent = config.fees.budget();
    assert!(waits(&decide(&s), Because::OverBudget));
    s.spent = 0;
    s.balance = 1;
    assert!(waits(&decide(&s), Because::NoMoney));
}

#[test]
fn without_a_signer_nothing_is_planned_and_what_is_signed_is_still_sent() {
    let config = config();
    let away = Some(10 * DAY_MS + 5_000_000);
    assert!(waits(&decide(&Situation { signer_away_until_ms: away, ..idle(&config) }), Because::SignerAway));
    let mut s = Situation { signer_away_until_ms: away, ..live(&config) };
    s.now_ms += 60_000;
    assert_eq!(decide(&s), Action::Rebroadcast);
}

#[test]
fn a_halted_worker_does_nothing_else() {
    let config = config();
    let s = Situation { halted: Some(Halt::Superseded), ..live(&config) };
    assert_eq!(decide(&s), Action::Halt(Halt::Superseded));
}

/// A chain and a worker in a few numbers: what the schedule is held against.
struct Model {
    now_ms: u64,
    chain_nonce: u64,
    own_nonce: u64,
    live: Option<Live>,
    signed: Vec<(u64, Fee)>,
    log: u64,
    head: u64,
    claimed: u64,
    last_anchor_ms: Option<u64>,
    spent: Wei,
    day: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Time(u64),
    Grow(u64),
    Mine,
    Drop,
    Price(Wei),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u64..40_000).prop_map(Step::Time),
        2 => (1u64..2_000).prop_map(Step::Grow),
        2 => Just(Step::Mine),
        1 => Just(Step::Drop),
        1 => (1u128..20_000_000_000).prop_map(Step::Price),
    ];
    prop::collection::vec(step, 1..200)
}

impl Model {
    fn new() -> Self {
        Self {
            now_ms: 10 * DAY_MS,
            chain_nonce: 0,
            own_nonce: 0,
            live: None,
            signed: Vec::new(),
            log: 1,
            head: 0,
            claimed: 0,
            last_anchor_ms: None,
            spent: 0,
            day: 10,
        }
    }

    fn situation<'a>(&self, config: &'a ChainConfig, prices: Prices) -> Situation<'a> {
        Situation {
            now_ms: self.now_ms,
            chain_nonce: self.chain_nonce,
            own_nonce: self.own_nonce,
            live: self.live,
            waiting: self.log - self.head,
            last_anchor_ms: self.last_anchor_ms,
            prices,
            spent: self.spent,
            ..idle(config)
        }
    }

    /// Carries out what was decided, and checks what may never be.
    fn act(&mut self, config: &ChainConfig, action: &Action) -> Result<(), TestCaseError> {
        match action {
            Action::Wait(until, _) => prop_assert!(*until > self.now_ms, "a wait ends in the future"),
            Action::Plan(fee) => {
                prop_assert!(self.live.is_none(), "one slot alive");
                prop_assert!(self.log > self.head);
                self.sign(config, *fee)?;
            }
            Action::Replace(fee) => {
                let old = self.live.ok_or_else(|| TestCaseError::fail("nothing to replace"))?;
                prop_assert!(old.fee.is_replaced_by(fee));
                self.sign(config, *fee)?;
            }
            Action::Rebroadcast => {
                let live = self.live.as_mut().ok_or_else(|| TestCaseError::fail("nothing to send"))?;
                (live.sent, live.known, live.sent_ms) = (true, true, self.now_ms);
            }
            Action::Settle => {
                let landed = self.live.take().ok_or_else(|| TestCaseError::fail("nothing to settle"))?;
                self.spent += landed.fee.worst(landed.gas, 0);
                (self.own_nonce, self.head) = (self.chain_nonce, self.claimed);
            }
            Action::Halt(_) => return Err(TestCaseError::fail("halted without a reason")),
        }
        Ok(())
    }

    fn sign(&mut self, config: &ChainConfig, fee: Fee) -> Result<(), TestCaseError> {
        prop_assert!(fee.cap <= Wei::from(config.fees.cap_max_wei) && fee.tip <= fee.cap);
        prop_assert!(self.spent + fee.worst(100_000, 0) <= config.fees.budget(), "the budget holds at the worst price");
        let now = self.now_ms;
        let opened_ms = self.live.map_or(now, |live| live.opened_ms);
        let (nonce, gas) = (self.own_nonce, 100_000);
        self.live = Some(Live {
            nonce,
            sent: false,
            known: false,
            opened_ms,
            created_ms: now,
            sent_ms: 0,
            fee,
            gas,
            data_fee: 0,
        });
        self.signed.push((nonce, fee));
        self.claimed = self.log;
        self.last_anchor_ms = Some(opened_ms);
        Ok(())
    }

    fn happen(&mut self, step: &Step, prices: &mut Prices) {
        match step {
            Step::Time(ms) => self.now_ms += ms,
            Step::Grow(leaves) => self.log += leaves,
            Step::Mine if self.live.is_some_and(|live| live.known) => self.chain_nonce = self.own_nonce + 1,
            Step::Mine => {}
            Step::Drop => self.live.iter_mut().for_each(|live| live.known = false),
            Step::Price(base) => prices.base = *base,
        }
        if self.now_ms / DAY_MS != self.day {
            (self.day, self.spent) = (self.now_ms / DAY_MS, 0);
        }
    }

    /// Steps until the schedule waits; it must, soon.
    fn settle(&mut self, config: &ChainConfig, prices: Prices) -> Result<Action, TestCaseError> {
        for _ in 0..8 {
            let action = decide(&self.situation(config, prices));
            self.act(config, &action)?;
            if matches!(action, Action::Wait(..)) {
                return Ok(action);
            }
        }
        Err(TestCaseError::fail("the schedule never rests"))
    }
}

proptest! {
    #[test]
    fn whatever_happens_one_slot_is_alive_raises_are_taken_the_budget_holds_and_the_log_gets_there(steps in steps()) {
        let config = config();
        let mut model = Model::new();
        let mut prices = Prices { base: 1_000_000, tip: 1_000_000 };
        for step in &steps {
            model.happen(step, &mut prices);
            model.settle(&config, prices)?;
        }
        // Left alone at a usual price, the chain takes what it is sent, and the head ends at the log's.
        prices.base = 1_000_000;
        for _ in 0..200 {
            model.happen(&Step::Time(60_000), &mut prices);
            model.settle(&config, prices)?;
            model.happen(&Step::Mine, &mut prices);
        }
        model.happen(&Step::Time(DAY_MS), &mut prices);
        for _ in 0..3 {
            model.settle(&config, prices)?;
            model.happen(&Step::Mine, &mut prices);
        }
        prop_assert_eq!(model.head, model.log);
    }
}
