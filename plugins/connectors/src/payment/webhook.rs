//! Messages of the provider: is it the provider's, and which facts does it tell.
//!
//! Takes the raw body, the header `Stripe-Signature`, the secrets that are valid now, and the time; gives facts. Nothing is
//! kept: a message that comes twice gives the same facts twice, and a plugin takes a fact by its rank, so once.
//!
//! | message | fact |
//! |---|---|
//! | `payment_intent.*` | `payment`, by the status; `requires_payment_method` after a refused attempt is `failed` |
//! | `refund.*`, `charge.refund.updated` | `refund`, by the status |
//! | `charge.refunded` | one `refund` for each that the charge lists; newer dialects list none, and send `refund.*` |
//! | `charge.dispute.*` | `dispute`: `open` while money is claimed, `won` once it is back, `warning` for an inquiry |
//! | `transfer.*` with a payout of ours | `payout`: `paid`, or `failed` when all of it was reversed |
//! | `payout.*` with a payout of ours | `payout`, by the status |
//! | everything else | none |
//!
//! The facts of a connected account bear that account's id, so that a plugin refuses them as foreign.

mod signature;

use serde_json::Value;

use super::fact::{Fact, FactError, FactObject, Reader, is_name, text};
use crate::Secret;

pub use signature::{SignatureError, TOLERANCE_S, verify};

/// Why a message is not taken. Its text is a plain reason and holds nothing of header or body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// It does not show that the provider sent it, now.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It is the provider's, and not as the provider documents it.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// Why a body tells nothing that could be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not JSON.
    #[error("the body is not JSON")]
    Json,
    /// Not an event: this member is missing or of another type.
    #[error("the event's {0} is missing or not as documented")]
    Event(&'static str),
    /// The object in it is not as documented.
    #[error(transparent)]
    Object(#[from] FactError),
}

/// Verifies a message and gives its facts: what the webhook's door and the command-line helper both do.
///
/// # Errors
/// [`WebhookError`]; nothing of the message counts then.
pub fn accept(
    raw_body: &[u8],
    header: &[u8],
    secrets: &[Secret],
    now_s: u64,
    account: &str,
) -> Result<Vec<Fact>, WebhookError> {
    verify(raw_body, header, secrets, now_s, TOLERANCE_S)?;
    Ok(facts(raw_body, account)?)
}

/// The facts of a message that was verified, in the order of the table above; `account` is the configured one.
///
/// # Errors
/// [`MessageError`].
pub fn facts(raw_body: &[u8], account: &str) -> Result<Vec<Fact>, MessageError> {
    let event: Value = serde_json::from_slice(raw_body).map_err(|_| MessageError::Json)?;
    let member = |name: &'static str| text(&event, name).filter(|text| is_name(text)).ok_or(MessageError::Event(name));
    if member("object")? != "event" {
        return Err(MessageError::Event("object"));
    }
    let (id, name) = (member("id")?, member("type")?);
    let livemode = event.get("livemode").and_then(Value::as_bool).ok_or(MessageError::Event("livemode"))?;
    let account = if event.get("account").is_none_or(Value::is_null) { account } else { member("account")? };
    let object = event.get("data").and_then(|data| data.get("object")).ok_or(MessageError::Event("data.object"))?;
    let reader = Reader { account, livemode, event: Some((id, name)) };
    let read = |kind, object| reader.read(kind, object).map_err(MessageError::from);
    match told_by(name) {
        Told::Nothing => Ok(Vec::new()),
        Told::Object(kind) => Ok(read(kind, object)?.into_iter().collect()),
        Told::Refunds => {
            let mut facts = Vec::new();
            for refund in refunds_of(object)? {
                facts.extend(read(FactObject::Refund, refund)?);
            }
            Ok(facts)
        }
    }
}

/// What a message's type promises.
enum Told {
    Nothing,
    Object(FactObject),
    /// A charge, with the refunds in it.
    Refunds,
}

fn told_by(name: &str) -> Told {
    let kinds = [
        ("payment_intent.", FactObject::Payment),
        ("refund.", FactObject::Refund),
        ("charge.refund.", FactObject::Refund),
        ("charge.dispute.", FactObject::Dispute),
        ("transfer.", FactObject::Payout),
        ("payout.", FactObject::Payout),
    ];
    if name == "charge.refunded" {
        return Told::Refunds;
    }
    let kind = kinds.iter().find(|(prefix, _)| name.starts_with(prefix));
    kind.map_or(Told::Nothing, |(_, kind)| Told::Object(*kind))
}

/// The refunds that a charge lists; newer dialects leave the list out.
fn refunds_of(charge: &Value) -> Result<&[Value], MessageError> {
    if text(charge, "object") != Some("charge") {
        return Err(FactError("object").into());
    }
    match charge.get("refunds") {
        None | Some(Value::Null) => Ok(&[]),
        Some(list) => match list.get("data") {
            Some(Value::Array(refunds)) => Ok(refunds),
            _ => Err(FactError("refunds").into()),
        },
    }
}
