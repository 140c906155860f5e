//! Answers to effects: what the provider made of our wishes, and Finance's confirmation.
//!
//! Takes `effect.answered` of the kinds `payment` and `finance`; those of other plugins and kinds are accepted and ignored.
//! Effects of one order are done one after the other and answered in that order, so an answer is about the oldest that has
//! none yet; an effect is answered once, however often the answer comes.

use alloc::vec::Vec;

use tally_market::codes::{MALFORMED, NOT_FOUND};
use tally_market::{Body, hex};
use tally_plugin::json::Json;
use tally_plugin::{Event, Read, Reject, Step, Table};

use crate::case::Case;
use crate::machine::Input;
use crate::order::{self, Asked};
use crate::settings::Settings;
use crate::{fact, refund, settings};

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
            paid(step, event, effect, order, if done { Some(result) } else { None }, &settings)
        }
        _ => Ok(()),
    }
}

/// What the provider made of the oldest wish of an order: facts, or a refusal that is final.
fn paid(
    step: &mut Step,
    event: &Event,
    effect: [u8; 32],
    order: [u8; 32],
    result: Option<Json<'_>>,
    settings: &Settings,
) -> Result<(), Reject> {
    let answered = ANSWERED.key().id(&effect);
    if step.state.get_many(&[answered.clone(), order::key(&order)]).first().is_some_and(Option::is_some) {
        return Ok(());
    }
    step.state.set(&answered, Vec::new());
    let mut case = Case::open(step, order)?;
    let asked = if case.order.asked.is_empty() { None } else { Some(case.order.asked.remove(0)) };
    match (asked, result) {
        (Some(Asked::Create), None) => drop(case.on(Input::Fail)?),
        (Some(Asked::Refund(refund)), None) => refund::refused(&mut case, &refund),
        _ => {}
    }
    case.close();
    let Some(result) = result else { return Ok(()) };
    let facts =
        Body::within(result, &["facts"])?.member("facts", |facts| facts.raw().starts_with('[').then_some(facts))?;
    facts.items().try_for_each(|fact| fact::apply(step, event, fact, settings))
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
