//! A settlement: what is posted to Finance, the statement that both sides sign about it, and what confirms it.
//!
//! Takes the effect's body, canonical and balanced, or nothing is sent. The statement is
//! `{"amount","currency","effect","journal","order","proof_sha256","settlement_sha256","signer_kid","ts"}`;
//! `settlement_sha256` is SHA-256 of the whole body, so each line is signed. Finance's statement is the same with its own
//! `signer_kid` and `ts`; one that names anything else in these members confirms nothing.

use serde::Deserialize;
use serde_json::Value;
use tally_protocol::hash::{EffectId, flat_proof, hex};
use tally_protocol::jcs;
use tally_protocol::key::PublicKey;
use tally_protocol::time::LogTime;

use super::impossible;
use super::proof::{FlatProof, ProofError};
use crate::{Failure, Request};

/// What Finance is asked to settle.
#[derive(Debug)]
pub(super) struct Settlement {
    pub(super) amount: u64,
    pub(super) currency: String,
    pub(super) journal: String,
    pub(super) order: String,
    /// As the plugin wrote it.
    pub(super) body: Value,
    proof_sha256: String,
    sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    amount: u64,
    currency: String,
    journal: String,
    lines: Vec<Line>,
    op: String,
    order: String,
    proof_sha256: String,
}

/// A line of a journal.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "account")]
    _account: String,
    amount: u64,
    side: Side,
    /// Of the split rule; Finance does not need it.
    #[serde(default, rename = "weight")]
    _weight: Option<u64>,
}

#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    Debit,
    Credit,
}

impl Settlement {
    pub(super) fn of(request: &Request) -> Result<Self, Failure> {
        if jcs::is_canonical(&request.body).is_err() {
            return Err(impossible("the settlement is not canonical JSON"));
        }
        let malformed = |_| impossible("the settlement is malformed");
        let body: Body = serde_json::from_slice(&request.body).map_err(malformed)?;
        let ids = [&body.journal, &body.order, &body.proof_sha256];
        let named = ids.iter().all(|id| EffectId::from_hex(id).is_ok());
        let currency = body.currency.len() == 3 && body.currency.bytes().all(|c| c.is_ascii_uppercase());
        if body.op != "settle" || !named || !currency || !is_amount(body.amount) || body.order != request.suffix {
            return Err(impossible("the settlement has members out of their bounds"));
        }
        if !is_balanced(&body.lines) {
            return Err(impossible("the settlement does not balance"));
        }
        Ok(Self {
            amount: body.amount,
            currency: body.currency,
            journal: body.journal,
            order: body.order,
            body: serde_json::from_slice(&request.body).map_err(malformed)?,
            proof_sha256: body.proof_sha256,
            sha256: hex(&flat_proof(&request.body)),
        })
    }

    /// What our side signs.
    pub(super) fn statement(&self, effect: &EffectId, kid: &str, now: LogTime) -> jcs::Value {
        let (kid, now) = (jcs::Value::from(kid), jcs::Value::from(now.to_rfc3339()));
        jcs::Value::object(self.members(effect).into_iter().chain([("signer_kid", kid), ("ts", now)]))
    }

    /// What both sides' statements say.
    fn members(&self, effect: &EffectId) -> [(&'static str, jcs::Value); 7] {
        [
            ("amount", jcs::Value::integer(self.amount).expect("bounded by `of`")),
            ("currency", self.currency.as_str().into()),
            ("effect", effect.to_hex().into()),
            ("journal", self.journal.as_str().into()),
            ("order", self.order.as_str().into()),
            ("proof_sha256", self.proof_sha256.as_str().into()),
            ("settlement_sha256", self.sha256.as_str().into()),
        ]
    }

    /// The proof by which Finance confirms this settlement and no other.
    pub(super) fn confirmed_by(
        &self,
        said: &Value,
        effect: &EffectId,
        keys: &[(String, PublicKey)],
    ) -> Result<FlatProof, ProofError> {
        for name in ["amount", "currency", "journal", "order"] {
            if said.get(name) != self.body.get(name) {
                return Err(ProofError::Other(name));
            }
        }
        if said.get("lines").is_some_and(|lines| Some(lines) != self.body.get("lines")) {
            return Err(ProofError::Other("lines"));
        }
        let proof = said.get("proof").cloned().ok_or(ProofError::Malformed)?;
        let proof: FlatProof = serde_json::from_value(proof).map_err(|_| ProofError::Malformed)?;
        let message = proof.verified(keys)?;
        for (name, value) in self.members(effect) {
            if message.get(name) != Some(&value) {
                return Err(ProofError::Other(name));
            }
        }
        // Nothing else is said under the signature: who keeps the proof compares all of it.
        let own = [("signer_kid", proof.signer_kid.as_str().into()), ("ts", proof.ts.as_str().into())];
        let whole = jcs::Value::object(self.members(effect).into_iter().chain(own));
        if jcs::to_canonical(&whole) != proof.canonical_message.as_bytes() {
            return Err(ProofError::Other("further members"));
        }
        Ok(proof)
    }
}

/// Whether debits equal credits, in at least two lines of at least one minor unit.
fn is_balanced(lines: &[Line]) -> bool {
    let of =
        |side: Side| lines.iter().filter(|line| line.side == side).map(|line| u128::from(line.amount)).sum::<u128>();
    lines.len() >= 2 && lines.iter().all(|line| is_amount(line.amount)) && of(Side::Debit) == of(Side::Credit)
}

fn is_amount(amount: u64) -> bool {
    (1..=jcs::INTEGER_MAX).contains(&amount)
}

#[cfg(test)]
mod tests;
