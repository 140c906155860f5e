//! Payouts on a schedule: what a party has available goes out by itself, at times that the log decides.
//!
//! Takes `royalty.schedule.started` and `royalty.schedule.ended` of the party itself, finance or an admin. From then on
//! the first tick at or after each multiple of the currency's `every_s` asks for a payout of all that is available, as if
//! who started the schedule had asked: as many people must approve it, and that one may not. A multiple is used once,
//! whatever comes of it: where there is less than the rule's `from`, or the party is blocked or owes, the next one is
//! waited for. Refused: `forbidden`, `state` (started already, not started, or no rule for the currency).

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::codes::{FORBIDDEN, MALFORMED, STATE};
use tally_market::{Body, Roles, once};
use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Range, Read, Reject, State, Step, Table};

use crate::balance::read;
use crate::journal::Pocket;
use crate::ledger::Ledger;
use crate::mutation::{self, Mutation};
use crate::parties::is_party;
use crate::payout::{self, Payout};
use crate::settings::{self, ROLES, Settings};

/// Party, currency.
pub(crate) const PLANS: Table = Table::new("plan/");
/// Log time, party, currency.
pub(crate) const DUE: Table = Table::new("due/");

/// Most payouts that one tick asks for.
pub(crate) const PLANS_MAX: u32 = 4;

const VERSION: u8 = 1;
const PARTY_BYTES_MAX: usize = 96;
const ACCOUNT_BYTES_MAX: usize = 64;
const REASON_BYTES_MAX: usize = 200;

/// A schedule of one party and currency.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    party: String,
    currency: String,
    /// At the provider.
    account: String,
    /// Who started it, and so asks for its payouts.
    initiator: String,
    /// Log time of the next payout.
    next: u64,
}

fn key(party: &str, currency: &str) -> Key {
    PLANS.key().text(party).text(currency)
}

impl Plan {
    pub(crate) fn load(state: &mut impl Read, party: &str, currency: &str) -> Option<Self> {
        let decode = |row: &[u8]| Self::decode(row, party, currency);
        read(state.get(&key(party, currency)).as_deref(), decode)
    }

    fn due(&self) -> Key {
        DUE.key().u64(self.next).text(&self.party).text(&self.currency)
    }

    fn store(&self, state: &mut State) {
        let row = Writer::new().u8(VERSION).text(&self.account).text(&self.initiator).u64(self.next);
        state.set(&key(&self.party, &self.currency), row.finish());
        state.reindex(None, Some(&self.due()));
    }

    fn end(&self, state: &mut State) {
        state.delete(&key(&self.party, &self.currency));
        state.delete(&self.due());
    }

    fn decode(row: &[u8], party: &str, currency: &str) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        let (account, initiator, next) = (row.text()?.into(), row.text()?.into(), row.u64()?);
        Some(Self { party: party.into(), currency: currency.into(), account, initiator, next })
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let object = Object::new().text("account", &self.account).text("currency", &self.currency);
        let object = object.text("initiator", &self.initiator).number("next", self.next);
        object.text("party", &self.party).finish()
    }
}

/// Who acts for whom; refuses who may not.
fn principal(event: &Event, body: &Body<'_>, roles: &Roles) -> Result<(String, String, String), Reject> {
    let (party, currency) = (body.text("party", PARTY_BYTES_MAX)?, body.currency("currency")?);
    if (event.entity_type(), event.entity_id()) != ("payout", "new") || !is_party(&party) {
        return Err(MALFORMED);
    }
    let principal = roles.principal(event, body)?;
    let privileged = ["admins", "finance"].iter().any(|role| roles.has(role, &principal));
    if principal != *party && !privileged {
        return Err(FORBIDDEN);
    }
    Ok((principal, party.into_owned(), currency.into_owned()))
}

/// `royalty.schedule.started`.
pub(crate) fn start(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let body = Body::of(event, &["account", "actor", "currency", "idempotency_key", "party"])?;
    let state = &mut step.state;
    state.get_many(&[settings::key(), ROLES.key().u64(0)]);
    let (initiator, party, currency) = principal(event, &body, &Roles::load(state, ROLES))?;
    let account = body.text("account", ACCOUNT_BYTES_MAX)?.into_owned();
    if !is_party(&account) {
        return Err(MALFORMED);
    }
    if once::begin(state, event, &initiator, &body)? != once::Once::First {
        return Ok(());
    }
    let next = Settings::load(state).scheduled(&currency).map(|rule| rule.next(event.sequenced_at()));
    let (Some(next), None) = (next, Plan::load(state, &party, &currency)) else { return Err(STATE) };
    let plan = Plan { party, currency, account, initiator, next };
    plan.store(state);
    once::leave(state, event, &plan.to_json());
    Ok(())
}

/// `royalty.schedule.ended`.
pub(crate) fn end(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let body = Body::of(event, &["actor", "currency", "idempotency_key", "party", "reason"])?;
    body.text("reason", REASON_BYTES_MAX)?;
    let state = &mut step.state;
    let (principal, party, currency) = principal(event, &body, &Roles::load(state, ROLES))?;
    if once::begin(state, event, &principal, &body)? != once::Once::First {
        return Ok(());
    }
    let plan = Plan::load(state, &party, &currency).ok_or(STATE)?;
    plan.end(state);
    once::leave(state, event, &Object::new().text("currency", &currency).text("party", &party).finish());
    Ok(())
}

/// What is due at a tick, oldest first; what is beyond [`PLANS_MAX`] waits for the next one.
pub(crate) fn run(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let now = event.sequenced_at();
    let range = Range::between(&DUE.key().u64(0), &DUE.key().u64(now.saturating_add(1)));
    let mut found: Vec<(String, String)> = Vec::new();
    step.state.scan(&range, PLANS_MAX, |key, _| {
        let parts = DUE.read(key).and_then(|mut parts| {
            parts.u64()?;
            Some((parts.text()?, parts.text()?))
        });
        found.extend(parts);
    });
    if found.is_empty() {
        return Ok(());
    }
    let settings = Settings::load(&mut step.state);
    for (party, currency) in found {
        let Some(plan) = Plan::load(&mut step.state, &party, &currency) else { continue };
        plan.end(&mut step.state);
        // A currency without a rule has no schedule any more.
        let Some(rule) = settings.scheduled(&currency) else { continue };
        let next = if mutation::is(Mutation::SlotTwice) { plan.next } else { rule.next(now) };
        Plan { next, ..plan.clone() }.store(&mut step.state);
        pay(step, event, &settings, &plan, rule.from)?;
    }
    Ok(())
}

/// Asks for a payout of all there is, if it is enough and the party may be paid.
fn pay(step: &mut Step, event: &Event, settings: &Settings, plan: &Plan, from: u64) -> Result<(), Reject> {
    let ledger = Ledger::load(&mut step.state, &plan.currency, [plan.party.as_str()]);
    let amount = ledger.balance(&plan.party).pocket(Pocket::Avail);
    let needed = settings.approvers(&plan.currency, amount);
    let asked = Payout::asked(&plan.party, &plan.currency, amount, &plan.account, &plan.initiator, event.index());
    let payout = Payout { needed, ..asked };
    if amount < from || payout::check(&mut step.state, &payout, &ledger).is_err() {
        return Ok(());
    }
    payout::open(step, event, ledger, payout).map(drop)
}
