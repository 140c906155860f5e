//! Corrections: journals that people make, where the world has moved money and no fact will say so (a fee, a loss made
//! good).
//!
//! Takes `royalty.correction.proposed` of an admin, with lines and a reason, and `royalty.correction.approved` of as many
//! payout approvers as a payout of that sum needs, one at least; neither who proposed it nor whose account is in it
//! approves. The last approval posts the journal. Refused: lines that do not balance (`ledger_imbalance`), a pocket below
//! zero (`exceeds`), a party that would owe and have something (`owes`). What is held, locked, disputed or on its way out
//! follows from facts alone, and takes no correction.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::codes::{EXCEEDS, FORBIDDEN, MALFORMED, NOT_FOUND, OVERFLOW, OWES, STATE};
use tally_market::{Body, Roles, hex, once};
use tally_plugin::json::{INTEGER_MAX, Json, Object};
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Read, Reject, State, Step, Table};

use crate::approvals::{self, Approvals};
use crate::balance::read;
use crate::journal::{Account, Journal, Kind, Line, Pocket, Side, System};
use crate::ledger::Ledger;
use crate::mutation::{self, Mutation};
use crate::parties::is_party;
use crate::settings::{self, ROLES, Settings};

/// Correction.
pub(crate) const CORRECTIONS: Table = Table::new("correction/");

/// Debits are not credits.
const IMBALANCE: Reject = Reject::new("ledger_imbalance");

const VERSION: u8 = 1;
const LINES_MAX: usize = 32;
const REASON_BYTES_MAX: usize = 200;
/// Longest name of an account: a pocket and a party.
const ACCOUNT_BYTES_MAX: usize = 128;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Proposed,
    Posted,
    Canceled,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Proposed, Self::Posted, Self::Canceled];

    const fn name(self) -> &'static str {
        ["proposed", "posted", "canceled"][self as usize]
    }
}

/// A correction's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Correction {
    stage: Stage,
    proposer: String,
    reason: String,
    currency: String,
    /// How many must approve.
    needed: u64,
    /// Log index of the proposal.
    proposed: u64,
    approvals: Approvals,
    lines: Vec<Line>,
}

fn key(id: &[u8; 32]) -> Key {
    CORRECTIONS.key().id(id)
}

impl Correction {
    pub(crate) fn load(state: &mut impl Read, id: &[u8; 32]) -> Option<Self> {
        read(state.get(&key(id)).as_deref(), Self::decode)
    }

    fn store(&self, state: &mut State, id: &[u8; 32]) {
        state.set(&key(id), self.encode());
    }

    fn encode(&self) -> Vec<u8> {
        let row = Writer::new().u8(VERSION).u8(self.stage as u8).text(&self.proposer).text(&self.reason);
        let row = row.text(&self.currency).u64(self.needed).u64(self.proposed);
        let row = self.approvals.encode(row);
        self.lines.iter().fold(row, |row, line| line.encode(row)).finish()
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        let mut correction = Self {
            stage: *Stage::ALL.get(usize::from(row.u8()?))?,
            proposer: row.text()?.into(),
            reason: row.text()?.into(),
            currency: row.text()?.into(),
            needed: row.u64()?,
            proposed: row.u64()?,
            approvals: Approvals::decode(&mut row)?,
            lines: Vec::new(),
        };
        while !row.is_empty() {
            correction.lines.push(Line::decode(&mut row)?);
        }
        Some(correction)
    }

    pub(crate) fn to_json(&self, id: &[u8; 32]) -> Vec<u8> {
        let object = Object::new().raw("approvals", &self.approvals.to_json()).hex("correction", id);
        let object = object.text("currency", &self.currency).raw("lines", &self.journal(id).lines_json());
        let object = object.number("needed", self.needed).number("proposed", self.proposed);
        let object = object.text("proposer", &self.proposer).text("reason", &self.reason);
        object.text("state", self.stage.name()).finish()
    }

    fn result(&self, id: &[u8; 32]) -> Vec<u8> {
        let object = Object::new().number("approvals", self.approvals.count()).hex("correction", id);
        object.number("needed", self.needed).text("state", self.stage.name()).finish()
    }

    fn journal(&self, id: &[u8; 32]) -> Journal {
        Journal { lines: self.lines.clone(), ..Journal::new(Kind::Corrected, id) }
    }

    /// Those whose accounts are in it.
    fn parties(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| match &line.account {
            Account::Party(_, party) => Some(party.as_str()),
            _ => None,
        })
    }

    /// The accounts, with the journal posted; or why it cannot be.
    fn posted(&self, state: &mut State, id: &[u8; 32]) -> Result<Ledger, Reject> {
        let mut ledger = Ledger::load(state, &self.currency, self.parties());
        for line in &self.lines {
            let Account::Party(pocket, party) = &line.account else { continue };
            let falls = (line.side == Side::Debit) != (*pocket == Pocket::Owed);
            if falls && line.amount > ledger.balance(party).pocket(*pocket) {
                return Err(EXCEEDS);
            }
        }
        ledger.post(self.journal(id))?;
        let owes_and_has = |party: &str| {
            let balance = ledger.balance(party);
            let has = balance.pocket(Pocket::Held) + balance.pocket(Pocket::Avail);
            balance.pocket(Pocket::Owed) > 0 && has > 0
        };
        if self.parties().any(owes_and_has) { Err(OWES) } else { Ok(ledger) }
    }
}

/// `royalty.correction.proposed`.
pub(crate) fn propose(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let body = Body::of(event, &["actor", "currency", "idempotency_key", "lines", "reason"])?;
    if (event.entity_type(), event.entity_id()) != ("payout", "new") {
        return Err(MALFORMED);
    }
    let state = &mut step.state;
    state.get_many(&[settings::key(), ROLES.key().u64(0)]);
    let roles = Roles::load(state, ROLES);
    let proposer = roles.principal(event, &body)?;
    roles.require("admins", &proposer)?;
    let (currency, reason) = (body.currency("currency")?.into_owned(), body.text("reason", REASON_BYTES_MAX)?);
    let lines = read_lines(&body)?;
    let sum = sum_of(&lines)?;
    if once::begin(state, event, &proposer, &body)? != once::Once::First {
        return Ok(());
    }
    let correction = Correction {
        stage: Stage::Proposed,
        // One at least, so that nobody posts alone.
        needed: Settings::load(state).approvers(&currency, sum).max(1),
        proposer,
        reason: reason.into_owned(),
        currency,
        proposed: event.index(),
        approvals: Approvals::default(),
        lines,
    };
    let id = step.id("correction");
    correction.posted(&mut step.state, &id)?;
    correction.store(&mut step.state, &id);
    once::leave(&mut step.state, event, &correction.result(&id));
    Ok(())
}

/// What is debited, which is what is credited.
fn sum_of(lines: &[Line]) -> Result<u64, Reject> {
    let of = |side: Side| {
        let lines = lines.iter().filter(move |line| line.side == side);
        lines.map(|line| u128::from(line.amount)).sum::<u128>()
    };
    if of(Side::Debit) != of(Side::Credit) && !mutation::is(Mutation::UnbalancedCorrection) {
        return Err(IMBALANCE);
    }
    u64::try_from(of(Side::Debit)).ok().filter(|sum| *sum <= INTEGER_MAX).ok_or(OVERFLOW)
}

fn read_lines(body: &Body<'_>) -> Result<Vec<Line>, Reject> {
    let list = body.member("lines", |list| list.raw().starts_with('[').then_some(list))?;
    let mut lines: Vec<Line> = Vec::new();
    for item in list.items() {
        let line = read_line(item)?;
        if lines.len() == LINES_MAX || lines.iter().any(|other| other.account == line.account) {
            return Err(MALFORMED);
        }
        lines.push(line);
    }
    if lines.len() < 2 { Err(MALFORMED) } else { Ok(lines) }
}

fn read_line(item: Json<'_>) -> Result<Line, Reject> {
    let body = Body::within(item, &["account", "amount", "side"])?;
    let side = match &*body.text("side", 6)? {
        "debit" => Side::Debit,
        "credit" => Side::Credit,
        _ => return Err(MALFORMED),
    };
    let account = read_account(&body.text("account", ACCOUNT_BYTES_MAX)?).ok_or(MALFORMED)?;
    let amount = body.number("amount")?;
    if amount == 0 { Err(MALFORMED) } else { Ok(Line { account, side, amount, weight: 0 }) }
}

fn read_account(text: &str) -> Option<Account> {
    let systems = [System::Psp, System::PspFees, System::Loss];
    if let Some(system) = systems.into_iter().find(|system| system.name() == text) {
        return Some(Account::System(system));
    }
    let of = |pocket: Pocket| Some((pocket, text.strip_prefix(pocket.name())?));
    let (pocket, party) = of(Pocket::Avail).or_else(|| of(Pocket::Owed))?;
    is_party(party).then(|| Account::Party(pocket, party.into()))
}

/// The correction that an event is about.
fn of_event(state: &mut State, event: &Event) -> Result<([u8; 32], Correction), Reject> {
    if event.entity_type() != "payout" {
        return Err(MALFORMED);
    }
    let id = hex::decode(event.entity_id()).ok_or(MALFORMED)?;
    Ok((id, Correction::load(state, &id).ok_or(NOT_FOUND)?))
}

/// `royalty.correction.approved`.
pub(crate) fn approve(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let body = Body::of(event, &["actor", "idempotency_key"])?;
    let state = &mut step.state;
    state.get_many(&[settings::key(), ROLES.key().u64(0)]);
    let (roles, settings) = (Roles::load(state, ROLES), Settings::load(state));
    let principal = roles.principal(event, &body)?;
    roles.require(approvals::ROLE, &principal)?;
    let (id, mut correction) = of_event(state, event)?;
    let own = principal == correction.proposer || correction.parties().any(|party| party == principal);
    if own && !mutation::is(Mutation::InitiatorApproves) {
        return Err(FORBIDDEN);
    }
    if once::begin(state, event, &principal, &body)? != once::Once::First {
        return Ok(());
    }
    if correction.stage != Stage::Proposed {
        return Err(STATE);
    }
    correction.approvals.add(&roles, &settings, principal, event)?;
    if correction.approvals.count() >= correction.needed {
        correction.posted(state, &id)?.commit(step, event);
        correction.stage = Stage::Posted;
    }
    correction.store(&mut step.state, &id);
    once::leave(&mut step.state, event, &correction.result(&id));
    Ok(())
}

/// `royalty.correction.canceled`: by an admin, before it is posted.
pub(crate) fn cancel(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let body = Body::of(event, &["actor", "idempotency_key", "reason"])?;
    body.text("reason", REASON_BYTES_MAX)?;
    let state = &mut step.state;
    let roles = Roles::load(state, ROLES);
    let principal = roles.principal(event, &body)?;
    roles.require("admins", &principal)?;
    let (id, mut correction) = of_event(state, event)?;
    if once::begin(state, event, &principal, &body)? != once::Once::First {
        return Ok(());
    }
    if correction.stage != Stage::Proposed {
        return Err(STATE);
    }
    correction.stage = Stage::Canceled;
    correction.store(state, &id);
    once::leave(state, event, &correction.result(&id));
    Ok(())
}
