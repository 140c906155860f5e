//! SKUs: drafts, signed versions that never change, and what is for sale.
//!
//! Takes `catalog.sku.drafted`, `.published`, `.retired` and `catalog.signer.registered`, `.revoked`, as
//! docs/formats/market.md draws them; gives versions with their manifests and flat split rules, indexes to search by, and
//! `catalog.offer` to the other plugins. What is refused, and by which code, is in the README.
//! Leaves to others: orders, stock that was sold, and the artifacts' bytes, of which it knows digests only.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod command;
mod index;
mod lifecycle;
mod manifest;
mod offer;
mod routes;
mod search;
mod signer;
mod sku;
mod split;
mod words;

use alloc::vec::Vec;

use tally_market::codes::MALFORMED;
use tally_market::{Body, Roles, audit, once};
use tally_plugin::json::Json;
use tally_plugin::{Event, Manifest, Plugin, Reject, Snapshot, State, Step, Table};

/// The configuration's lists.
const CONFIG: Table = Table::new("config/");
/// What a configuration has; all must be there.
const LISTS: [&str; 2] = ["admins", "gateways"];

/// Gas of one event. A body of 64 KiB is walked some thirty times while it is read member by member, and a rule with 32
/// sources of 32 parties each is resolved in one step.
const GAS: u64 = 20_000_000;
/// Gas of one query: 400 rows are examined and 100 of them shown at most.
const QUERY_GAS: u64 = 20_000_000;

/// The plugin.
#[derive(Debug)]
pub struct Catalog;

impl Plugin for Catalog {
    fn describe() -> Manifest {
        let manifest = Manifest::new("catalog", env!("CARGO_PKG_VERSION"))
            .entity_type(command::ENTITY_TYPE)
            .emits()
            .limit("gas", GAS)
            .limit("query_gas", QUERY_GAS)
            .table(CONFIG)
            .table(signer::SIGNERS);
        let manifest = sku::TABLES.into_iter().chain(index::TABLES).fold(manifest, Manifest::table);
        let manifest = audit::declare(manifest, "/audit/catalog");
        once::declare(routes::declare(lifecycle::declare(signer::declare(manifest))))
    }

    fn init(state: &mut State, config: &[u8]) -> Result<(), Reject> {
        let config = Json::parse(config).map_err(|_| MALFORMED)?;
        Body::within(config, &LISTS)?;
        Roles::read(config, &LISTS)?.store(state, CONFIG);
        Ok(())
    }

    fn apply(step: &mut Step, event: &Event) -> Result<(), Reject> {
        match event.event_type() {
            lifecycle::DRAFTED => lifecycle::draft(step, event),
            lifecycle::PUBLISHED => lifecycle::publish(step, event),
            lifecycle::RETIRED => lifecycle::retire(step, event),
            signer::REGISTERED => signer::register(step, event),
            signer::REVOKED => signer::revoke(step, event),
            // Nothing else is subscribed.
            _ => Ok(()),
        }
    }

    fn query(state: &mut Snapshot, request: &[u8]) -> Vec<u8> {
        routes::answer(state, request)
    }
}

tally_plugin::export!(Catalog);
