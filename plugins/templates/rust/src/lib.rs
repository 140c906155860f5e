//! A plugin that knows how many of each item there are. Change it: what it does is in `apply`.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::string::ToString as _;
use alloc::vec::Vec;

use tally_plugin::json::Object;
use tally_plugin::query::{Request, answer, refuse};
use tally_plugin::{Event, Key, Manifest, Plugin, Read, Reject, Snapshot, Step, Table};

/// All keys begin with a prefix of the manifest.
const COUNTS: Table = Table::new("n/");
/// A refusal is a code; it becomes part of the event's outcome.
const NONE_LEFT: Reject = Reject::new("none-left");
const BAD_ID: Reject = Reject::new("bad-id");

/// The plugin. It has no fields: whatever is to last is a key.
#[derive(Debug)]
pub struct Stock;

fn key(id: &str) -> Key {
    COUNTS.key().text(id)
}

fn count(state: &mut impl Read, key: &Key) -> u64 {
    let value = state.get(key);
    value.and_then(|value| core::str::from_utf8(&value).ok()?.parse().ok()).unwrap_or(0)
}

impl Plugin for Stock {
    fn describe() -> Manifest {
        Manifest::new("@NAME@", env!("CARGO_PKG_VERSION"))
            .event("item.added")
            .event("item.removed")
            .table(COUNTS)
            .query("count", "/items/{id}/count")
    }

    fn apply(step: &mut Step, event: &Event) -> Result<(), Reject> {
        let id = event.entity_id();
        // A key holds 256 bytes, an entity's id up to 512.
        if id.is_empty() || id.len() > 200 {
            return Err(BAD_ID);
        }
        let key = key(id);
        let before = count(&mut step.state, &key);
        let after = match event.event_type() {
            "item.added" => before + 1,
            _ => before.checked_sub(1).ok_or(NONE_LEFT)?,
        };
        if after == 0 {
            step.state.delete(&key);
        } else {
            step.state.set(&key, after.to_string());
        }
        Ok(())
    }

    fn query(state: &mut Snapshot, request: &[u8]) -> Vec<u8> {
        let Some(request) = Request::parse(request).filter(|request| request.route() == "count") else {
            return refuse(404, "no_route");
        };
        let Some(id) = request.arg("id").filter(|id| !id.is_empty() && id.len() <= 200) else {
            return refuse(400, "no_id");
        };
        answer(200, &Object::new().number("count", count(state, &key(&id))).finish())
    }
}

tally_plugin::export!(Stock);
