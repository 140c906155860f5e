//! Payouts: what a party asks for, until it is asked of the provider.
//!
//! Takes `royalty.payout.requested` of the party itself, finance or an admin (or of a schedule), and
//! `royalty.payout.canceled`. The amount
//! leaves the party's balance in the same step, so that no two payouts share it. Refused: more than what is available
//! (`exceeds`), a party that owes (`owes`) or is blocked (`state`), another state (`state`).

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::codes::{EXCEEDS, FORBIDDEN, MALFORMED, NOT_FOUND, OWES, STATE};
use tally_market::{Body, Roles, hex, once};
use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Read, Reject, State, Step, Table};

use crate::approvals::Approvals;
use crate::balance::read;
use crate::journal::{Account, Journal, Kind, Payee, Pocket, Side, System};
use crate::ledger::Ledger;
use crate::mutation::{self, Mutation};
use crate::parties::{is_blocked, is_party};
use crate::settings::{ROLES, Settings};
use crate::{holds, settings};

/// Payout.
pub(crate) const PAYOUTS: Table = Table::new("payout/");
/// Party, currency, log index of the request, payout.
pub(crate) const BY_PARTY: Table = Table::new("payee/");

const VERSION: u8 = 1;
const TEXT_BYTES_MAX: usize = 96;
const ACCOUNT_BYTES_MAX: usize = 64;
const REASON_BYTES_MAX: usize = 200;

/// Where a payout is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Requested,
    /// The provider was asked.
    Released,
    Transit,
    Paid,
    Failed,
    Canceled,
}

impl Stage {
    const ALL: [Self; 6] = [Self::Requested, Self::Released, Self::Transit, Self::Paid, Self::Failed, Self::Canceled];

    pub(crate) const fn name(self) -> &'static str {
        ["requested", "released", "transit", "paid", "failed", "canceled"][self as usize]
    }
}

/// A payout's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Payout {
    pub(crate) party: String,
    pub(crate) currency: String,
    pub(crate) amount: u64,
    /// At the provider.
    pub(crate) account: String,
    pub(crate) initiator: String,
    pub(crate) state: Stage,
    /// How many must approve.
    pub(crate) needed: u64,
    pub(crate) approvals: Approvals,
    /// Log indices: asked for, paid (from then on), ended otherwise; 0 if it is not.
    pub(crate) requested: u64,
    pub(crate) paid: u64,
    pub(crate) ended: u64,
    /// Came back, is held, and waits for a tick.
    pub(crate) part: u64,
}

/// Key of a payout.
pub(crate) fn key(payout: &[u8; 32]) -> Key {
    PAYOUTS.key().id(payout)
}

impl Payout {
    /// One that the event at `requested` asks for.
    pub(crate) fn asked(
        party: &str,
        currency: &str,
        amount: u64,
        account: &str,
        initiator: &str,
        requested: u64,
    ) -> Self {
        Self {
            party: party.into(),
            currency: currency.into(),
            amount,
            account: account.into(),
            initiator: initiator.into(),
            state: Stage::Requested,
            needed: 0,
            approvals: Approvals::default(),
            requested,
            paid: 0,
            ended: 0,
            part: 0,
        }
    }

    pub(crate) fn load(state: &mut impl Read, payout: &[u8; 32]) -> Option<Self> {
        read(state.get(&key(payout)).as_deref(), Self::decode)
    }

    pub(crate) fn store(&self, state: &mut State, payout: &[u8; 32]) {
        state.set(&key(payout), self.encode());
    }

    /// Whether it was on its way before the event at `index`: asked for, and neither paid nor ended.
    pub(crate) fn is_pending_at(&self, index: u64) -> bool {
        let open = |end: u64| end == 0 || end >= index;
        self.requested < index && open(self.paid) && open(self.ended)
    }

    fn encode(&self) -> Vec<u8> {
        let row = Writer::new().u8(VERSION).text(&self.party).text(&self.currency).u64(self.amount).text(&self.account);
        let row = row.text(&self.initiator).u8(self.state as u8).u64(self.needed).u64(self.requested).u64(self.paid);
        self.approvals.encode(row.u64(self.ended).u64(self.part)).finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        let mut payout = Self {
            party: row.text()?.into(),
            currency: row.text()?.into(),
            amount: row.u64()?,
            account: row.text()?.into(),
            initiator: row.text()?.into(),
            state: *Stage::ALL.get(usize::from(row.u8()?))?,
            needed: row.u64()?,
            approvals: Approvals::default(),
            requested: row.u64()?,
            paid: row.u64()?,
            ended: row.u64()?,
            part: row.u64()?,
        };
        payout.approvals = Approvals::decode(&mut row)?;
        row.is_empty().then_some(payout)
    }

    pub(crate) fn to_json(&self, id: &[u8; 32]) -> Vec<u8> {
        Object::new()
            .text("account", &self.account)
            .number("amount", self.amount)
            .raw("approvals", &self.approvals.to_json())
            .text("currency", &self.currency)
            .text("initiator", &self.initiator)
            .number("needed", self.needed)
            .text("party", &self.party)
            .hex("payout", id)
            .number("requested", self.requested)
            .text("state", self.state.name())
            .finish()
    }

    /// Asks the provider.
    pub(crate) fn send(&mut self, step: &mut Step, id: &[u8; 32]) {
        self.state = Stage::Released;
        let body = Object::new()
            .text("account", &self.account)
            .number("amount", self.amount)
            .text("currency", &self.currency)
            .text("op", "transfer.create")
            .hex("payout", id);
        step.effect("payment", &hex::encode(id), &body.finish());
    }

    /// The money comes back: it repays what is owed first, and the rest is held until the next tick.
    pub(crate) fn give_back(
        &mut self,
        step: &mut Step,
        event: &Event,
        id: &[u8; 32],
        end: Stage,
    ) -> Result<(), Reject> {
        let mut ledger = Ledger::load(&mut step.state, &self.currency, [self.party.as_str()]);
        let mut journal = Journal::new(Kind::PayoutReturned, id);
        let amount = self.amount.cast_signed();
        let (pending, paid) = if self.state == Stage::Paid { (0, -amount) } else { (-amount, 0) };
        let from = if self.state == Stage::Paid { Account::System(System::Psp) } else { Account::Clearing(*id) };
        journal.line(Side::Debit, from, self.amount);
        self.part = ledger.rise(&mut journal, &self.party, self.amount, 0);
        journal.payee = Some(Payee { party: self.party.clone(), pending, paid });
        ledger.post(journal)?;
        ledger.commit(step, event);
        (self.state, self.ended) = (end, event.index());
        if self.part > 0 {
            holds::put(&mut step.state, event.sequenced_at(), id, holds::Lot::Return);
        }
        Ok(())
    }
}

/// What a command on a payout leaves as its result.
pub(crate) fn result(payout: &Payout, id: &[u8; 32]) -> Vec<u8> {
    let object =
        Object::new().number("approvals", payout.approvals.count()).number("needed", payout.needed).hex("payout", id);
    object.text("state", payout.state.name()).finish()
}

/// `royalty.payout.requested`.
pub(crate) fn request(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let body = Body::of(event, &["account", "actor", "amount", "currency", "idempotency_key", "party"])?;
    let state = &mut step.state;
    state.get_many(&[settings::key(), ROLES.key().u64(0)]);
    let roles = Roles::load(state, ROLES);
    let mut payout = read_request(event, &body, &roles.principal(event, &body)?)?;
    let privileged = ["admins", "finance"].iter().any(|role| roles.has(role, &payout.initiator));
    if payout.initiator != payout.party && !privileged {
        return Err(FORBIDDEN);
    }
    if once::begin(state, event, &payout.initiator, &body)? != once::Once::First {
        return Ok(());
    }
    payout.needed = Settings::load(state).approvers(&payout.currency, payout.amount);
    let ledger = Ledger::load(state, &payout.currency, [payout.party.as_str()]);
    check(state, &payout, &ledger)?;
    let avail = ledger.balance(&payout.party).pocket(Pocket::Avail);
    if payout.amount > avail && !mutation::is(Mutation::PayoutBeyondBalance) {
        return Err(EXCEEDS);
    }
    let (id, payout) = open(step, event, ledger, payout)?;
    once::leave(&mut step.state, event, &result(&payout, &id));
    Ok(())
}

/// Takes the amount out of what is available, and asks the provider if nobody must approve.
pub(crate) fn open(
    step: &mut Step,
    event: &Event,
    mut ledger: Ledger,
    mut payout: Payout,
) -> Result<([u8; 32], Payout), Reject> {
    let id = step.id("payout");
    ledger.post(reserve(&payout, &id))?;
    ledger.commit(step, event);
    if payout.needed == 0 {
        payout.send(step, &id);
    }
    let index = BY_PARTY.key().text(&payout.party).text(&payout.currency).u64(event.index()).id(&id);
    step.state.reindex(None, Some(&index));
    payout.store(&mut step.state, &id);
    Ok((id, payout))
}

fn read_request(event: &Event, body: &Body<'_>, initiator: &str) -> Result<Payout, Reject> {
    let (party, currency) = (body.text("party", TEXT_BYTES_MAX)?, body.currency("currency")?);
    let (amount, account) = (body.number("amount")?, body.text("account", ACCOUNT_BYTES_MAX)?);
    let payout = Payout::asked(&party, &currency, amount, &account, initiator, event.index());
    let fits = is_party(&payout.party) && is_party(&payout.account) && payout.amount > 0;
    let new = (event.entity_type(), event.entity_id()) == ("payout", "new");
    if fits && new { Ok(payout) } else { Err(MALFORMED) }
}

/// Whether a party may be paid at all.
pub(crate) fn check(state: &mut State, payout: &Payout, ledger: &Ledger) -> Result<(), Reject> {
    if is_blocked(state, &payout.party) {
        return Err(STATE);
    }
    if ledger.balance(&payout.party).pocket(Pocket::Owed) > 0 {
        return Err(OWES);
    }
    Ok(())
}

fn reserve(payout: &Payout, id: &[u8; 32]) -> Journal {
    let mut journal = Journal::new(Kind::PayoutRequested, id);
    journal.line(Side::Debit, Account::Party(Pocket::Avail, payout.party.clone()), payout.amount);
    journal.line(Side::Credit, Account::Clearing(*id), payout.amount);
    journal.payee = Some(Payee { party: payout.party.clone(), pending: payout.amount.cast_signed(), paid: 0 });
    journal
}

/// The payout that an event is about.
pub(crate) fn of_event(state: &mut State, event: &Event) -> Result<([u8; 32], Payout), Reject> {
    if event.entity_type() != "payout" {
        return Err(MALFORMED);
    }
    let id = hex::decode(event.entity_id()).ok_or(MALFORMED)?;
    Ok((id, Payout::load(state, &id).ok_or(NOT_FOUND)?))
}

/// `royalty.payout.canceled`: by who asked for it, the party, finance or an admin, before the provider is asked.
pub(crate) fn cancel(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let body = Body::of(event, &["actor", "idempotency_key", "reason"])?;
    body.text("reason", REASON_BYTES_MAX)?;
    let state = &mut step.state;
    let roles = Roles::load(state, ROLES);
    let principal = roles.principal(event, &body)?;
    let (id, mut payout) = of_event(state, event)?;
    let privileged = ["admins", "finance"].iter().any(|role| roles.has(role, &principal));
    if principal != payout.initiator && principal != payout.party && !privileged {
        return Err(FORBIDDEN);
    }
    if once::begin(state, event, &principal, &body)? != once::Once::First {
        return Ok(());
    }
    if payout.state != Stage::Requested {
        return Err(STATE);
    }
    payout.give_back(step, event, &id, Stage::Canceled)?;
    payout.store(&mut step.state, &id);
    once::leave(&mut step.state, event, &result(&payout, &id));
    Ok(())
}
