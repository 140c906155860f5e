//! Settlement: Finance is asked once for each sale, and proves that it has the journal.
//!
//! Takes the journal of a capture; gives the effect `finance` with the journal's lines and the digest of the **content**
//! that the flat proof signs: the canonical JSON of `{"amount","currency","journal","lines","order"}`. No time is in it, so
//! asking again asks for the same. Takes the answer: its `canonical_message` must be that content, or it is refused
//! (`proof`). The signature is the connector's to make and an auditor's to check; it is kept as it came.

use alloc::vec::Vec;

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

const MESSAGE_BYTES_MAX: usize = 32_768;
const TEXT_BYTES_MAX: usize = 1_024;

/// Key of a proof.
pub(crate) fn key(journal: &[u8; 32]) -> Key {
    PROOFS.key().id(journal)
}

fn content(order: &[u8; 32], id: &[u8; 32], currency: &str, amount: u64, journal: &Journal) -> Object {
    let object = Object::new().number("amount", amount).text("currency", currency).hex("journal", id);
    object.raw("lines", &journal.lines_json()).hex("order", order)
}

/// Asks Finance; gives the digest of the content.
pub(crate) fn ask(
    step: &mut Step,
    order: &[u8; 32],
    id: &[u8; 32],
    currency: &str,
    amount: u64,
    journal: &Journal,
) -> [u8; 32] {
    let content = content(order, id, currency, amount, journal);
    let digest = crypto::sha256(&content.clone().finish());
    let body = content.text("op", "settle").hex("proof_sha256", &digest).finish();
    step.effect("finance", &hex::encode(order), &body);
    digest
}

/// Finance has it.
pub(crate) fn on_proof(step: &mut Step, event: &Event, order: &[u8; 32], result: Json<'_>) -> Result<(), Reject> {
    let body = Body::within(result, &["amount", "currency", "journal", "order", "proof"])?;
    let sale = Sale::load(&mut step.state, order).ok_or(NOT_FOUND)?;
    let (journal, content) = sale.settlement.ok_or(NOT_FOUND)?;
    let about = (body.bytes::<32>("order")?, body.bytes::<32>("journal")?, body.number("amount")?);
    let proof = body.member("proof", Some)?;
    let message = read_proof(proof)?;
    let same = about == (*order, journal, sale.amount()) && body.currency("currency")? == sale.currency;
    if !same || crypto::sha256(&message) != content {
        return Err(PROOF);
    }
    // The first proof stands.
    if step.state.get(&key(&journal)).is_none() {
        let kept = Object::new().number("index", event.index()).raw("proof", proof.raw().as_bytes());
        step.state.set(&key(&journal), kept.finish());
    }
    Ok(())
}

/// Checks the flat proof's form; gives its message.
fn read_proof(proof: Json<'_>) -> Result<Vec<u8>, Reject> {
    let proof = Body::within(proof, &["canonical_message", "signature", "signer_kid", "ts"])?;
    proof.text("signature", TEXT_BYTES_MAX)?;
    proof.text("signer_kid", TEXT_BYTES_MAX)?;
    proof.member("ts", |ts| (ts.u64().is_some() || ts.text().is_some()).then_some(()))?;
    Ok(proof.text("canonical_message", MESSAGE_BYTES_MAX)?.into_owned().into_bytes())
}
