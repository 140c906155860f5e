//! What an object of the provider says, as a fact (docs/formats/market.md, "Facts").
//!
//! Takes the object's JSON; gives a [`Fact`], or nothing where the object is none of ours to tell. A state is a function of
//! the object, so one fact that comes in an answer and under several messages is one fact. What is out of its form
//! (a status nobody knows, an amount that is no integer) is an error and never guessed.

use serde::Serialize;
use serde_json::Value;
use tally_protocol::hash::EffectId;

/// What facts of this connector name as their provider.
pub const PROVIDER: &str = "stripe";

/// The largest amount, in minor units: 2^53 - 1.
pub(super) const AMOUNT_MAX: u64 = (1 << 53) - 1;

/// Which kind of object a fact is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FactObject {
    /// A payment (the provider's PaymentIntent).
    Payment,
    /// Money back (its Refund).
    Refund,
    /// A buyer's dispute with the bank (its Dispute).
    Dispute,
    /// Money to a beneficiary (its Transfer, or Payout).
    Payout,
}

/// The states of all objects; the page says which object has which, and their ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the page explains each word")]
pub enum FactState {
    Created,
    RequiresAction,
    Processing,
    Failed,
    Canceled,
    Succeeded,
    Pending,
    Warning,
    Open,
    Won,
    Lost,
    Transit,
    Paid,
}

/// One fact, as the body of `payment.fact`; its entity id is `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Whose object it is.
    pub account: String,
    /// Minor units.
    pub amount: u64,
    /// ISO 4217, upper case.
    pub currency: String,
    /// The provider's id of the message, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The provider's id of the object.
    pub id: String,
    /// Whether it is real money.
    pub livemode: bool,
    /// What it is about.
    pub object: FactObject,
    /// Our order, if the object names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The provider's id of the payment that a refund or dispute belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
    /// Our payout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payout: Option<String>,
    /// Always [`PROVIDER`].
    pub provider: &'static str,
    /// Our refund, if we asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund: Option<String>,
    /// How far it is.
    pub state: FactState,
}

impl Fact {
    /// The body of the event `payment.fact`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("texts, integers and truth values")
    }
}

/// Which part of an object is not as the provider documents it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the object's {0} is not as documented")]
pub struct FactError(pub(crate) &'static str);

/// What is known of an object besides itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) account: &'a str,
    /// The mode, where the object does not say it (refunds do not).
    pub(super) livemode: bool,
    /// Id and type of the message that brought the object.
    pub(super) event: Option<(&'a str, &'a str)>,
}

impl Reader<'_> {
    /// The fact of an object, or nothing: a refund or dispute without a payment, a transfer without a payout of ours.
    pub(super) fn read(&self, kind: FactObject, object: &Value) -> Result<Option<Fact>, FactError> {
        let name = text(object, "object").ok_or(FactError("object"))?;
        let fact = match (kind, name) {
            (FactObject::Payment, "payment_intent") => {
                let state = self.payment_state(object)?;
                let mut fact = self.fact(kind, object, state)?;
                if state == FactState::Succeeded {
                    fact.amount = received(object)?;
                }
                fact.order = ours(object, "order");
                fact
            }
            (FactObject::Refund, "refund") => {
                let Some(payment) = reference(object, "payment_intent")? else { return Ok(None) };
                let refund = ours(object, "refund");
                Fact { payment: Some(payment), refund, ..self.fact(kind, object, refund_state(object)?)? }
            }
            (FactObject::Dispute, "dispute") => {
                let Some(payment) = reference(object, "payment_intent")? else { return Ok(None) };
                Fact { payment: Some(payment), ..self.fact(kind, object, self.dispute_state(object)?)? }
            }
            (FactObject::Payout, "transfer" | "payout") => {
                let Some(payout) = ours(object, "payout") else { return Ok(None) };
                Fact { payout: Some(payout), ..self.fact(kind, object, payout_state(object, name)?)? }
            }
            _ => return Err(FactError("object")),
        };
        Ok(Some(fact))
    }

    fn fact(&self, kind: FactObject, object: &Value, state: FactState) -> Result<Fact, FactError> {
        let id = text(object, "id").filter(|id| is_name(id)).ok_or(FactError("id"))?;
        let livemode = match object.get("livemode") {
            None => self.livemode,
            Some(mode) => mode.as_bool().ok_or(FactError("livemode"))?,
        };
        Ok(Fact {
            account: self.account.to_owned(),
            amount: amount(object, "amount")?.ok_or(FactError("amount"))?,
            currency: currency(object)?,
            event: self.event.map(|(id, _)| id.to_owned()),
            id: id.to_owned(),
            livemode,
            object: kind,
            order: None,
            payment: None,
            payout: None,
            provider: PROVIDER,
            refund: None,
            state,
        })
    }

    fn payment_state(&self, object: &Value) -> Result<FactState, FactError> {
        let said = self.event.is_some_and(|(_, name)| name == "payment_intent.payment_failed");
        let failed = said || declined(object).is_some();
        match status(object)? {
            "requires_payment_method" if failed => Ok(FactState::Failed),
            "requires_payment_method" | "requires_confirmation" => Ok(FactState::Created),
            "requires_action" => Ok(FactState::RequiresAction),
            "processing" | "requires_capture" => Ok(FactState::Processing),
            "canceled" => Ok(FactState::Canceled),
            "succeeded" => Ok(FactState::Succeeded),
            _ => Err(FactError("status")),
        }
    }

    /// Money is claimed from the first day of a dispute, and is back when it is back: a dispute that is won while the
    /// provider still holds what it withdrew stays open.
    fn dispute_state(&self, object: &Value) -> Result<FactState, FactError> {
        let event = self.event.map_or("", |(_, name)| name);
        match status(object)? {
            "won" if event == "charge.dispute.funds_reinstated" || !withheld(object)? => Ok(FactState::Won),
            "won" | "needs_response" | "under_review" => Ok(FactState::Open),
            "lost" => Ok(FactState::Lost),
            "warning_needs_response" | "warning_under_review" | "warning_closed" | "prevented" => {
                let withdrawn = event == "charge.dispute.funds_withdrawn";
                Ok(if withdrawn { FactState::Open } else { FactState::Warning })
            }
            _ => Err(FactError("status")),
        }
    }
}

fn refund_state(object: &Value) -> Result<FactState, FactError> {
    match status(object)? {
        "pending" | "requires_action" => Ok(FactState::Pending),
        "succeeded" => Ok(FactState::Succeeded),
        "failed" => Ok(FactState::Failed),
        "canceled" => Ok(FactState::Canceled),
        _ => Err(FactError("status")),
    }
}

/// A transfer has no status: it is done when it is made, and undone when all of it was taken back.
fn payout_state(object: &Value, name: &str) -> Result<FactState, FactError> {
    if name == "transfer" {
        let reversed = object.get("reversed").and_then(Value::as_bool).ok_or(FactError("reversed"))?;
        return Ok(if reversed { FactState::Failed } else { FactState::Paid });
    }
    match status(object)? {
        "pending" | "in_transit" => Ok(FactState::Transit),
        "paid" => Ok(FactState::Paid),
        "failed" | "canceled" => Ok(FactState::Failed),
        _ => Err(FactError("status")),
    }
}

/// What was captured. The provider always says it; a stand-in without the member captures all.
fn received(object: &Value) -> Result<u64, FactError> {
    match amount(object, "amount_received")? {
        Some(received) => Ok(received),
        None => amount(object, "amount")?.ok_or(FactError("amount")),
    }
}

/// Whether the movements of a dispute add up to less than nothing. Without them the status alone counts.
fn withheld(dispute: &Value) -> Result<bool, FactError> {
    const MEMBER: FactError = FactError("balance_transactions");
    let movements = match dispute.get("balance_transactions") {
        None | Some(Value::Null) => return Ok(false),
        Some(movements) => movements.as_array().ok_or(MEMBER)?,
    };
    let mut sum = 0_i128;
    for movement in movements {
        sum += i128::from(movement.get("amount").and_then(Value::as_i64).ok_or(MEMBER)?);
    }
    Ok(sum < 0)
}

/// The code of the last attempt's refusal.
pub(super) fn declined(intent: &Value) -> Option<&Value> {
    intent.get("last_payment_error").filter(|error| !error.is_null())
}

/// One of our ids in the object's metadata.
pub(super) fn ours(object: &Value, name: &str) -> Option<String> {
    let id = text(object.get("metadata")?, name)?;
    is_id(id).then(|| id.to_owned())
}

/// The id of another object, which may stand there whole.
fn reference(object: &Value, name: &'static str) -> Result<Option<String>, FactError> {
    let id = match object.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(id)) => id,
        Some(whole) => text(whole, "id").ok_or(FactError(name))?,
    };
    if is_name(id) { Ok(Some(id.to_owned())) } else { Err(FactError(name)) }
}

fn amount(object: &Value, name: &'static str) -> Result<Option<u64>, FactError> {
    match object.get(name) {
        None => Ok(None),
        Some(value) => value.as_u64().filter(|amount| *amount <= AMOUNT_MAX).map(Some).ok_or(FactError(name)),
    }
}

fn currency(object: &Value) -> Result<String, FactError> {
    let text = text(object, "currency").filter(|text| text.len() == 3 && text.bytes().all(|c| c.is_ascii_alphabetic()));
    text.map(str::to_ascii_uppercase).ok_or(FactError("currency"))
}

fn status(object: &Value) -> Result<&str, FactError> {
    text(object, "status").ok_or(FactError("status"))
}

pub(super) fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

/// 64 lower-case hexadecimal digits.
pub(super) fn is_id(text: &str) -> bool {
    EffectId::from_hex(text).is_ok()
}

/// 1 to 255 visible ASCII characters.
pub(super) fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
