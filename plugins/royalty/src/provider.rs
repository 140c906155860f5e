//! What the provider says of payouts: facts, and the answers to what was asked.
//!
//! Takes `payment.fact` and `effect.answered` of configured connectors; what is about other objects or other plugins
//! changes nothing. A fact of another provider, account or mode than the configuration names is refused (`forbidden`).
//! Facts only raise the rank of a payout: `transit` 0, `paid` 1, `failed` 2. A fact that does not match its payout is a
//! fault, and posts nothing.

use tally_market::codes::{FORBIDDEN, MALFORMED};
use tally_market::{Body, Roles, hex};
use tally_plugin::json::Json;
use tally_plugin::{Event, Reject, Step};

use crate::journal::{Account, Journal, Kind, Payee, Side, System};
use crate::ledger::Ledger;
use crate::mutation::{self, Mutation};
use crate::payout::{Payout, Stage};
use crate::settings::{ROLES, Settings, Source};
use crate::{faults, settle};

const FACT: [&str; 13] = [
    "account", "amount", "currency", "event", "id", "livemode", "object", "order", "payment", "payout", "provider",
    "refund", "state",
];
const ANSWER: [&str; 6] = ["effect", "kind", "plugin", "result", "status", "suffix"];

/// `payment.fact`.
pub(crate) fn on_fact(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let roles = Roles::load(&mut step.state, ROLES);
    roles.require_connector("payment", event)?;
    if event.entity_type() != "payment" {
        return Err(MALFORMED);
    }
    fact(step, event, event.json().map_err(|_| MALFORMED)?)
}

/// `effect.answered`: one's own are read, and those of others left to them.
pub(crate) fn on_answer(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let json = event.json().map_err(|_| MALFORMED)?;
    let of = |name: &str| json.get(name).and_then(Json::text);
    if of("plugin").is_some_and(|plugin| plugin != "royalty") {
        return Ok(());
    }
    let roles = Roles::load(&mut step.state, ROLES);
    let kind = of("kind").ok_or(FORBIDDEN)?;
    roles.require_connector(&kind, event)?;
    let body = Body::within(json, &ANSWER)?;
    let (done, subject) = (read_status(&body)?, body.bytes::<32>("suffix")?);
    let result = body.member("result", |result| result.is_object().then_some(result))?;
    if event.entity_type() != "effect" || body.text("effect", 64)? != event.entity_id() {
        return Err(MALFORMED);
    }
    match (&*kind, done) {
        ("payment", true) => facts(step, event, result),
        ("payment", false) => refused(step, event, &subject),
        ("finance", true) => settle::on_proof(step, event, &subject, result),
        ("finance", false) => {
            faults::note(&mut step.state, event, "settle_failed");
            Ok(())
        }
        _ => Err(MALFORMED),
    }
}

fn read_status(body: &Body<'_>) -> Result<bool, Reject> {
    match &*body.text("status", 8)? {
        "done" => Ok(true),
        "failed" => Ok(false),
        _ => Err(MALFORMED),
    }
}

fn facts(step: &mut Step, event: &Event, result: Json<'_>) -> Result<(), Reject> {
    let body = Body::within(result, &["facts"])?;
    let facts = body.member("facts", |facts| facts.raw().starts_with('[').then_some(facts))?;
    facts.items().try_for_each(|json| fact(step, event, json))
}

/// The provider refused for good, and nothing was moved: what was reserved comes back.
fn refused(step: &mut Step, event: &Event, id: &[u8; 32]) -> Result<(), Reject> {
    match Payout::load(&mut step.state, id) {
        Some(payout) if payout.state == Stage::Released => end(step, event, id, payout),
        Some(payout) if payout.state == Stage::Failed => Ok(()),
        _ => {
            faults::note(&mut step.state, event, "payout_refused");
            Ok(())
        }
    }
}

fn fact(step: &mut Step, event: &Event, json: Json<'_>) -> Result<(), Reject> {
    if json.get("object").and_then(Json::text).is_some_and(|object| object != "payout") {
        return Ok(());
    }
    let body = Body::within(json, &FACT)?;
    if Source::read(&body)? != Settings::load(&mut step.state).source {
        return Err(FORBIDDEN);
    }
    let text = body.optional_text("payout", 64)?;
    let (state, amount, currency) = (body.text("state", 16)?, body.number("amount")?, body.currency("currency")?);
    let told = match &*state {
        "transit" => Stage::Transit,
        "paid" => Stage::Paid,
        "failed" => Stage::Failed,
        _ => return Err(MALFORMED),
    };
    let id = text.and_then(|text| hex::decode::<32>(&text));
    let found = id.and_then(|id| Some((id, Payout::load(&mut step.state, &id)?)));
    let Some((id, payout)) = found else {
        faults::note(&mut step.state, event, "payout_unknown");
        return Ok(());
    };
    let asked = !matches!(payout.state, Stage::Requested | Stage::Canceled);
    if !asked || payout.amount != amount || payout.currency != currency {
        faults::note(&mut step.state, event, if asked { "payout_mismatch" } else { "payout_not_asked" });
        return Ok(());
    }
    if told as u8 <= payout.state as u8 && !mutation::is(Mutation::NoRank) {
        return Ok(());
    }
    raise(step, event, &id, payout, told)
}

/// To a higher rank.
fn raise(step: &mut Step, event: &Event, id: &[u8; 32], mut payout: Payout, told: Stage) -> Result<(), Reject> {
    match told {
        Stage::Failed => return end(step, event, id, payout),
        Stage::Paid => {
            let mut ledger = Ledger::load(&mut step.state, &payout.currency, [payout.party.as_str()]);
            ledger.post(pay(&payout, id))?;
            ledger.commit(step, event);
            payout.paid = event.index();
        }
        _ => {}
    }
    payout.state = told;
    payout.store(&mut step.state, id);
    Ok(())
}

fn pay(payout: &Payout, id: &[u8; 32]) -> Journal {
    let mut journal = Journal::new(Kind::PayoutPaid, id);
    let amount = payout.amount.cast_signed();
    journal.line(Side::Debit, Account::Clearing(*id), payout.amount);
    journal.line(Side::Credit, Account::System(System::Psp), payout.amount);
    journal.payee = Some(Payee { party: payout.party.clone(), pending: -amount, paid: amount });
    journal
}

fn end(step: &mut Step, event: &Event, id: &[u8; 32], mut payout: Payout) -> Result<(), Reject> {
    if mutation::is(Mutation::IgnorePayoutFailure) {
        payout.state = Stage::Failed;
    } else {
        payout.give_back(step, event, id, Stage::Failed)?;
    }
    payout.store(&mut step.state, id);
    Ok(())
}
