//! Settlement: Finance is asked once for each sale, and proves that it has the journal.
//!
//! Takes the journal of a capture; gives the effect `finance` with the journal's lines and the digest of the
//! **content**: the canonical JSON of `{"amount","currency","journal","lines","order"}`. No time is in it, so asking
//! again asks for the same. Takes the answer: its `canonical_message` must be the statement of
//! docs/formats/settlement.md about this effect, or it is refused (`proof`). The statement is built again and compared
//! byte for byte: canonical JSON has one spelling, so no member can be missing, twice or unknown. The signature is the
//! connector's to check and an auditor's to check again; it is kept as it came.

use tally_market::codes::NOT_FOUND;
use tally_market::{Body, hex};
use tally_plugin::json::{Json, Object};
use tally_plugin::{Event, Key, Read, Reject, Step, Table, crypto};

use crate::journal::Journal;
use crate::sale::Sale;

/// A journal's id to its proof.
pub(crate) const PROOFS: Table = Table::new("proof/");

/// The proof is of something else than what Finance was asked for.
const PROOF: Reject = Reject::new("proof");

/// As a signer takes it in one piece.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// Base64 of 64 bytes.
const SIGNATURE_BYTES: usize = 88;
const KID_BYTES_MAX: usize = 128;
const TIME_BYTES_MAX: usize = 40;

/// What Finance was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    /// The journal of the capture.
    pub(crate) journal: [u8; 32],
    /// SHA-256 of the content.
    pub(crate) content: [u8; 32],
    /// SHA-256 of the effect's whole body.
    pub(crate) body: [u8; 32],
}

/// Key of a proof.
pub(crate) fn key(journal: &[u8; 32]) -> Key {
    PROOFS.key().id(journal)
}

fn content(order: &[u8; 32], id: &[u8; 32], currency: &str, amount: u64, journal: &Journal) -> Object {
    let object = Object::new().number("amount", amount).text("currency", currency).hex("journal", id);
    object.raw("lines", &journal.lines_json()).hex("order", order)
}

/// Asks Finance.
pub(crate) fn ask(
    step: &mut Step,
    order: &[u8; 32],
    id: &[u8; 32],
    currency: &str,
    amount: u64,
    journal: &Journal,
) -> Asked {
    let content = content(order, id, currency, amount, journal);
    let digest = crypto::sha256(&content.clone().finish());
    let body = content.text("op", "settle").hex("proof_sha256", &digest).finish();
    step.effect("finance", &hex::encode(order), &body);
    Asked { journal: *id, content: digest, body: crypto::sha256(&body) }
}

/// Finance has it.
pub(crate) fn on_proof(step: &mut Step, event: &Event, order: &[u8; 32], result: Json<'_>) -> Result<(), Reject> {
    let body = Body::within(result, &["amount", "currency", "journal", "order", "proof"])?;
    let sale = Sale::load(&mut step.state, order).ok_or(NOT_FOUND)?;
    let asked = sale.settlement.ok_or(NOT_FOUND)?;
    let about = (body.bytes::<32>("order")?, body.bytes::<32>("journal")?, body.number("amount")?);
    let same = about == (*order, asked.journal, sale.amount()) && body.currency("currency")? == sale.currency;
    let proof = body.member("proof", Some)?;
    if !same || !is_about(&asked, &sale, (order, event.entity_id()), proof)? {
        return Err(PROOF);
    }
    // The first proof stands.
    if step.state.get(&key(&asked.journal)).is_none() {
        let kept = Object::new().number("index", event.index()).raw("proof", proof.raw().as_bytes());
        step.state.set(&key(&asked.journal), kept.finish());
    }
    Ok(())
}

/// Whether a flat proof's statement is the one about what was asked, of this order and effect.
fn is_about(asked: &Asked, sale: &Sale, of: (&[u8; 32], &str), proof: Json<'_>) -> Result<bool, Reject> {
    let proof = Body::within(proof, &["canonical_message", "signature", "signer_kid", "ts"])?;
    let said = proof.text("canonical_message", MESSAGE_BYTES_MAX)?;
    let (kid, ts) = (proof.text("signer_kid", KID_BYTES_MAX)?, proof.text("ts", TIME_BYTES_MAX)?);
    if proof.text("signature", SIGNATURE_BYTES)?.len() != SIGNATURE_BYTES {
        return Err(PROOF);
    }
    let statement = Object::new().number("amount", sale.amount()).text("currency", &sale.currency);
    let statement = statement.text("effect", of.1).hex("journal", &asked.journal).hex("order", of.0);
    let statement = statement.hex("proof_sha256", &asked.content).hex("settlement_sha256", &asked.body);
    Ok(statement.text("signer_kid", &kid).text("ts", &ts).finish() == said.as_bytes())
}
