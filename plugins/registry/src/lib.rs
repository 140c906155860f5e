//! Listed items and their orders as queryable state: who offers what at which price, who bought it.
//!
//! Takes `catalog.item.listed`, `catalog.item.withdrawn` and `order.placed` as the demo signs them, gives two tables,
//! five indexes and sums per currency, and answers the routes of `routes.rs`. Refuses what breaks a rule of the market:
//! a listing that is another's, an order for something else than is offered (the codes are in the README).
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod fields;
mod item;
mod order;
mod routes;
mod stats;

use alloc::vec::Vec;

use tally_plugin::{Event, Manifest, Plugin, Progress, Read, Reject, Snapshot, State, Step, Table};

/// Items of which a migration does so many per call.
const MIGRATED_PER_CALL: u32 = 64;

/// Where a migration stands: the key of the last item that was done.
const CURSOR: Table = Table::new("cursor/");

/// A rule that needs a signature met an event that another plugin emitted.
const UNSIGNED: Reject = Reject::new("unsigned");
/// The body lacks a member, or one has the wrong form.
const MALFORMED: Reject = Reject::new("malformed");

/// Version and state version.
const RELEASE: (&str, u32) = if cfg!(feature = "state-1") { ("0.9.0", 1) } else { (env!("CARGO_PKG_VERSION"), 2) };

/// The plugin.
#[derive(Debug)]
pub struct Registry;

impl Plugin for Registry {
    fn describe() -> Manifest {
        let (version, state_version) = RELEASE;
        let manifest = Manifest::new("registry", version)
            .state_version(state_version)
            .event("catalog.item.listed")
            .event("catalog.item.withdrawn")
            .event("order.placed")
            .table(CURSOR)
            .table(stats::STATS);
        let manifest = item::TABLES.into_iter().chain(order::TABLES).fold(manifest, Manifest::table);
        routes::declare(manifest)
    }

    /// State version 1 has no index by price.
    fn migrate(state: &mut State, from: u32, _: &[u8]) -> Result<Progress, Reject> {
        const NO_MIGRATION: Reject = Reject::new("no_migration");
        if from != 1 || RELEASE.1 == 1 {
            return Err(NO_MIGRATION);
        }
        let mut items = item::ITEMS.key().within();
        if let Some(last) = state.get(&CURSOR.key()) {
            items = items.after(&last);
        }
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        state.scan(&items, MIGRATED_PER_CALL, |key, value| found.push((key.into(), value.into())));
        for (key, value) in &found {
            item::index_by_price(state, key, value);
        }
        match found.last() {
            Some((last, _)) if found.len() == MIGRATED_PER_CALL as usize => {
                state.set(&CURSOR.key(), last.as_slice());
                Ok(Progress::Again)
            }
            _ => {
                state.delete(&CURSOR.key());
                Ok(Progress::Finished)
            }
        }
    }

    fn apply(step: &mut Step, event: &Event) -> Result<(), Reject> {
        if event.is_derived() {
            return Err(UNSIGNED);
        }
        match event.event_type() {
            "catalog.item.listed" => item::list(&mut step.state, event),
            "catalog.item.withdrawn" => item::withdraw(&mut step.state, event),
            "order.placed" => order::place(&mut step.state, event),
            // Nothing else is subscribed.
            _ => Ok(()),
        }
    }

    fn query(state: &mut Snapshot, request: &[u8]) -> Vec<u8> {
        routes::answer(state, request)
    }
}

tally_plugin::export!(Registry);
