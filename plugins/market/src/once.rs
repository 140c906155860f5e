//! Commands that count once, and the results they leave: docs/formats/market.md, "Idempotency".
//!
//! Takes a principal, an operation and its key; says whether this is the first time. A refused command leaves nothing,
//! because nothing of a refused step stays.

use alloc::vec::Vec;

use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Manifest, Read, Reject, State, Table, crypto};

use crate::Body;
use crate::codes::CONFLICT;

/// Principal, operation and key (as one SHA-256) to the digest of the body and the index of the first event.
const ONCE: Table = Table::new("once/");
/// Index to result.
const RESULTS: Table = Table::new("result/");

const VERSION: u8 = 1;

/// Whether a command is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Once {
    /// For the first time.
    First,
    /// It was accepted before, at this index: accept it, and change nothing.
    Again(u64),
}

/// Adds the tables and the route `result` to a plugin.
#[must_use]
pub fn declare(manifest: Manifest) -> Manifest {
    manifest.table(ONCE).table(RESULTS).query("result", "/results/{index}")
}

/// Looks a command up, and notes it. Where it is a repetition, its result points at the first one's.
///
/// # Errors
/// `idempotency_key_required`, `malformed`, or `idempotency_conflict`: the key was used for another body.
pub fn begin(state: &mut State, event: &Event, principal: &str, body: &Body<'_>) -> Result<Once, Reject> {
    let key = once_key(principal, event.event_type(), &body.idempotency_key()?);
    let said = digest(event, body);
    let Some(row) = state.get(&key) else {
        state.set(&key, Writer::new().u8(VERSION).id(&said).u64(event.index()).finish());
        return Ok(Once::First);
    };
    let mut row = Reader::new(&row);
    let first = row.u8().filter(|version| *version == VERSION).and_then(|_| Some((row.id::<32>()?, row.u64()?)));
    match first {
        Some((known, index)) if known == said => {
            leave(state, event, &Object::new().number("repeats", index).finish());
            Ok(Once::Again(index))
        }
        _ => Err(CONFLICT),
    }
}

/// Leaves a command's result: canonical JSON.
pub fn leave(state: &mut State, event: &Event, result: &[u8]) {
    state.set(&RESULTS.key().u64(event.index()), result);
}

/// The result of the command at an index.
#[must_use]
pub fn result(state: &mut impl Read, index: u64) -> Option<Vec<u8>> {
    state.get(&RESULTS.key().u64(index))
}

fn once_key(principal: &str, operation: &str, key: &str) -> Key {
    let whole = Writer::new().text(principal).text(operation).text(key).finish();
    ONCE.key().id(&crypto::sha256(&whole))
}

/// Of everything that a command says, but who says it: that is in the key.
fn digest(event: &Event, body: &Body<'_>) -> [u8; 32] {
    let said = body.json().entries().filter(|(name, _)| name != "actor");
    let object = said.fold(Object::new(), |object, (name, member)| object.raw(&name, member.raw().as_bytes()));
    crypto::sha256(&Writer::new().text(event.entity_type()).text(event.entity_id()).bytes(&object.finish()).finish())
}
