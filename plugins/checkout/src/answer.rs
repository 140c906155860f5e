//! Answers to effects: what the provider made of our wishes, and Finance's confirmation.
//!
//! Takes `effect.answered` of the kinds `payment` and `finance`; those of other plugins and kinds are accepted and ignored.
//! An answer names what was asked: a refusal by the digest of the effect's body, a success by the facts in it. So no answer
//! that was lost, refused or late makes another one be about the wrong wish. An effect is answered once, however often the
//! answer comes.

use alloc::vec::Vec;

use tally_market::codes::{MALFORMED, NOT_FOUND};
use tally_market::{Body, hex};
use tally_plugin::json::Json;
use tally_plugin::{Event, Read, Reject, Step, Table};

use crate::case::Case;
use crate::fact::Fact;
use crate::machine::Input;
use crate::mutation::{self, Mutation};
use crate::order::{self, Asked, Doing};
use crate::settings::Settings;
use crate::{refund, settings};

/// Effects that were answered.
pub(crate) const ANSWERED: Table = Table::new("answered/");

/// The plugin whose effects ours are.
const OURS: &str = "checkout";
const MEMBERS: [&str; 6] = ["effect", "kind", "plugin", "result", "status", "suffix"];

/// `effect.answered`.
pub(crate) fn on_answer(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let kind = event.json().map_err(|_| MALFORMED)?.get("kind").and_then(Json::text).ok_or(MALFORMED)?;
    if !matches!(&*kind, "payment" | "finance") {
        return Ok(());
    }
    let (roles, settings) = settings::load(&mut step.state)?;
    roles.require_connector(&kind, event)?;
    let body = Body::of(event, &MEMBERS)?;
    let effect: [u8; 32] = body.bytes("effect")?;
    if event.entity_type() != "effect" || hex::decode(event.entity_id()) != Some(effect) {
        return Err(MALFORMED);
    }
    let plugin = body.text("plugin", 64)?;
    let suffix = body.member("suffix", Json::text)?;
    let result = body.member("result", |result| Some(result).filter(|result| result.is_object()))?;
    let done = match &*body.text("status", 16)? {
        "done" => true,
        "failed" => false,
        _ => return Err(MALFORMED),
    };
    match &*kind {
        "finance" if done => confirm(step, result),
        "payment" if plugin == OURS => {
            let order = hex::decode(&suffix).ok_or(MALFORMED)?;
            if is_answered(step, effect, &order) {
                return Ok(());
            }
            if done { performed(step, event, order, result, &settings) } else { declined(step, order, result) }
        }
        _ => Ok(()),
    }
}

/// Whether an effect has its answer already; if not, this is it.
fn is_answered(step: &mut Step, effect: [u8; 32], order: &[u8; 32]) -> bool {
    let answered = ANSWERED.key().id(&effect);
    // The order's row with the same call: it is read next.
    let known = step.state.get_many(&[answered.clone(), order::key(order)]).first().is_some_and(Option::is_some);
    if !known {
        step.state.set(&answered, Vec::new());
    }
    known
}

/// The provider has done what it was asked, and tells facts.
fn performed(
    step: &mut Step,
    event: &Event,
    order: [u8; 32],
    result: Json<'_>,
    settings: &Settings,
) -> Result<(), Reject> {
    let facts =
        Body::within(result, &["facts"])?.member("facts", |facts| facts.raw().starts_with('[').then_some(facts))?;
    let facts = facts.items().map(|fact| Fact::within(fact, settings)).collect::<Result<Vec<_>, _>>()?;
    let mut case = Case::open(step, order)?;
    for fact in &facts {
        if let Some(at) = fact.answers(&order, &case.order.asked) {
            case.order.asked.remove(at);
        }
    }
    case.close();
    facts.iter().try_for_each(|fact| fact.apply(step, event))
}

/// The provider has refused for good; what was reserved for exactly this wish is given back.
fn declined(step: &mut Step, order: [u8; 32], result: Json<'_>) -> Result<(), Reject> {
    let request: [u8; 32] =
        result.get("request_sha256").and_then(Json::text).and_then(|digest| hex::decode(&digest)).ok_or(MALFORMED)?;
    let mut case = Case::open(step, order)?;
    let is_named = |asked: &Asked| asked.request == request || mutation::is(Mutation::AnswersByOrder);
    let Some(at) = case.order.asked.iter().position(is_named) else { return Ok(()) };
    match case.order.asked.remove(at).doing {
        Doing::Create => drop(case.on(Input::Fail)?),
        Doing::Refund(refund) => refund::refused(&mut case, &refund),
        Doing::Cancel => {}
    }
    case.close();
    Ok(())
}

/// Finance has posted a journal. It confirms the order if it is of the order's whole amount and is signed; one of another
/// amount is about something else, such as a refund.
fn confirm(step: &mut Step, result: Json<'_>) -> Result<(), Reject> {
    let result = Body::within(result, &["amount", "currency", "journal", "order", "proof"])?;
    let (amount, currency, order) = (result.number("amount")?, result.currency("currency")?, result.bytes("order")?);
    result.bytes::<32>("journal")?;
    let proof = result.member("proof", Some)?;
    let proof = Body::within(proof, &["canonical_message", "signature", "signer_kid", "ts"])?;
    for name in ["canonical_message", "signature", "signer_kid"] {
        proof.text(name, 65_536)?;
    }
    proof.member("ts", Some)?;
    if step.state.get(&order::key(&order)).is_none() {
        return Err(NOT_FOUND);
    }
    let mut case = Case::open(step, order)?;
    let terms = &case.order.terms;
    if terms.amount == amount && terms.offer.currency == currency {
        case.confirm();
    }
    case.close();
    Ok(())
}
