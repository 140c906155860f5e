//! Counts the events of each entity: the plugin of the guide, as small as one can be.
//!
//! Takes every event; gives one number per entity, asked for by the route `count`. Refuses nothing.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::vec::Vec;

use tally_plugin::json::Object;
use tally_plugin::query::{Request, answer, refuse};
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Manifest, Plugin, Read, Reject, Snapshot, Step, Table, crypto};

const COUNTS: Table = Table::new("count/");

/// The plugin.
#[derive(Debug)]
pub struct Counter;

/// The key of an entity. Names that would not fit a key are hashed: a key holds 256 bytes, an entity id up to 512.
fn entity(entity_type: &str, entity_id: &str) -> Key {
    let key = COUNTS.key().text(entity_type).text(entity_id);
    if key.fits() { key } else { COUNTS.key().text("").id(&crypto::sha256(key.as_bytes())) }
}

fn count(state: &mut impl Read, key: &Key) -> u64 {
    state.get(key).and_then(|value| Reader::new(&value).u64()).unwrap_or(0)
}

impl Plugin for Counter {
    fn describe() -> Manifest {
        Manifest::new("counter", env!("CARGO_PKG_VERSION"))
            .event("*")
            .table(COUNTS)
            .query("count", "/entities/{type}/{id}/count")
    }

    fn apply(step: &mut Step, event: &Event) -> Result<(), Reject> {
        let key = entity(event.entity_type(), event.entity_id());
        let next = count(&mut step.state, &key) + 1;
        step.state.set(&key, Writer::new().u64(next).finish());
        Ok(())
    }

    fn query(state: &mut Snapshot, request: &[u8]) -> Vec<u8> {
        let Some(request) = Request::parse(request).filter(|request| request.route() == "count") else {
            return refuse(404, "no_route");
        };
        let (Some(entity_type), Some(id)) = (request.arg("type"), request.arg("id")) else {
            return refuse(400, "no_entity");
        };
        let count = count(state, &entity(&entity_type, &id));
        answer(200, &Object::new().number("count", count).finish())
    }
}

tally_plugin::export!(Counter);
