//! What a reply of the provider means for the effect.
//!
//! | reply | means |
//! |---|---|
//! | 2xx with the object that was asked for, naming this effect | done, with its fact |
//! | 402, 400, 404 … of type `card_error` or `invalid_request_error` | failed, with the provider's code; never its free text |
//! | 401, 403 | impossible: the key is refused |
//! | 429; 409 while another call holds the object | not done: later |
//! | 409 `idempotency_key_in_use`, `idempotency_error`, 5xx, anything that cannot be read | unknown: look it up |

use serde_json::{Value, json};
use tally_protocol::hash::EffectId;

use super::fact::{Fact, FactState, Reader, declined, ours, text};
use super::operation::Operation;
use crate::https::Reply;
use crate::{Answer, Failure, Status};

pub(super) fn of_reply(
    reply: &Reply,
    operation: &Operation,
    effect: &EffectId,
    reader: &Reader<'_>,
) -> Result<Answer, Failure> {
    match reply.status {
        200..=299 => {
            let object: Value =
                serde_json::from_slice(&reply.body).map_err(|_| unknown("an answer that is no JSON"))?;
            of_object(&object, operation, effect, reader)?
                .ok_or_else(|| unknown("an answer that is not of this effect"))
        }
        401 | 403 => Err(Failure::Impossible("the provider refuses the credentials".to_owned())),
        429 => Err(Failure::NotDone("the provider says: too many requests".to_owned())),
        409 if Refusal::of(&reply.body).code != "idempotency_key_in_use" => {
            Err(Failure::NotDone("the provider holds a lock on the object".to_owned()))
        }
        400..=499 => refused(&Refusal::of(&reply.body)),
        status => Err(unknown(&format!("the provider answers {status}"))),
    }
}

/// The answer that an object is, or nothing if it is another effect's.
pub(super) fn of_object(
    object: &Value,
    operation: &Operation,
    effect: &EffectId,
    reader: &Reader<'_>,
) -> Result<Option<Answer>, Failure> {
    if !is_of(object, operation, effect) {
        return Ok(None);
    }
    let fact = reader.read(operation.object(), object).map_err(|error| unknown(&error.to_string()))?;
    let Some(fact) = fact else { return Err(unknown("an answer that tells no fact")) };
    match (operation, fact.state) {
        (Operation::Pay { .. }, FactState::Failed) => {
            let code = declined(object).map_or("payment_failed", code_of);
            Ok(Some(failed(code)))
        }
        (Operation::Cancel { .. }, state) if state != FactState::Canceled => Ok(None),
        _ => Ok(Some(done(&fact))),
    }
}

/// A cancelled payment is the one that was named; everything else has the effect's id in its metadata.
fn is_of(object: &Value, operation: &Operation, effect: &EffectId) -> bool {
    match operation {
        Operation::Cancel { payment, .. } => text(object, "id") == Some(payment),
        _ => ours(object, "effect").is_some_and(|named| named == effect.to_hex()),
    }
}

fn done(fact: &Fact) -> Answer {
    Answer { status: Status::Done, result: json!({ "facts": [fact.to_json()] }) }
}

fn failed(code: &str) -> Answer {
    Answer { status: Status::Failed, result: json!({ "code": code }) }
}

/// The member `error` of a reply, as far as it is read.
#[derive(Default)]
struct Refusal {
    kind: String,
    code: String,
}

impl Refusal {
    fn of(body: &[u8]) -> Self {
        let Ok(reply) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let Some(error) = reply.get("error") else { return Self::default() };
        let kind = text(error, "type").unwrap_or_default().to_owned();
        Self { code: code_of(error).to_owned(), kind }
    }
}

fn refused(refusal: &Refusal) -> Result<Answer, Failure> {
    match refusal.kind.as_str() {
        "card_error" | "invalid_request_error" if refusal.code != "idempotency_key_in_use" => Ok(failed(&refusal.code)),
        _ => Err(unknown("a refusal that does not say whether it was done")),
    }
}

/// The code of an error, or its type: words of the provider's vocabulary, never free text.
fn code_of(error: &Value) -> &str {
    let word = |name| text(error, name).filter(|text| is_word(text));
    word("code").or_else(|| word("type")).unwrap_or("refused")
}

fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
}

fn unknown(why: &str) -> Failure {
    Failure::Unknown(why.to_owned())
}

#[cfg(test)]
mod tests;
