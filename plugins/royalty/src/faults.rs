//! What came from outside and cannot be posted: kept, shown to finance, never dropped in silence.
//!
//! Takes an event that must not be refused and why it cannot be followed; gives a row. Where the event is a total, the next
//! one posts the whole difference.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::hex;
use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Read, State, Table, crypto, log};

/// Log index, number at this index.
pub(crate) const FAULTS: Table = Table::new("fault/");

/// Most faults of one event; a step has at most 16 derived events, an answer a few facts.
const FAULTS_MAX: u64 = 64;

/// Keeps one.
pub(crate) fn note(state: &mut State, event: &Event, why: &str) {
    log::error(why);
    let row =
        Writer::new().text(why).text(event.event_type()).id(&crypto::sha256(event.body())).u64(event.sequenced_at());
    let free = (0..FAULTS_MAX).map(|at| FAULTS.key().u64(event.index()).u64(at)).find(|key| state.get(key).is_none());
    if let Some(key) = free {
        state.set(&key, row.finish());
    }
}

/// A row as canonical JSON.
pub(crate) fn to_json(key: &[u8], row: &[u8]) -> Option<Vec<u8>> {
    let index = FAULTS.read(key)?.u64()?;
    let mut row = Reader::new(row);
    let (code, event): (String, String) = (row.text()?.into(), row.text()?.into());
    let object = Object::new().text("body_sha256", &hex::encode(&row.id::<32>()?)).number("at", row.u64()?);
    Some(object.text("code", &code).text("event", &event).number("index", index).finish())
}
