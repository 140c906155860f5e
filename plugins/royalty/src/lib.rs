//! The books of a marketplace: whose money it is, from capture to payout, in double entry and integer minor units.
//!
//! Takes `checkout.money` (the totals of an order's money), `market.tick`, facts about payouts, and commands on
//! payouts; gives journals that balance, holds that end by log time, payouts that distinct people approved, on request
//! and on a schedule, requests to Finance, corrections that people make, and the statements of [`routes`](self).
//! Positions are a pure function of totals, so any order of facts ends alike. Refuses commands by the codes of
//! docs/formats/market.md; never refuses `checkout.money`: what cannot be posted is kept as a fault. Leaves to others
//! what the totals are (checkout) and what providers do (connectors).
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod approvals;
mod balance;
mod books;
pub mod cascade;
mod chain;
mod correction;
mod csv;
mod faults;
#[cfg(not(target_arch = "wasm32"))]
pub mod hledger;
mod holds;
mod journal;
mod ledger;
mod moves;
#[cfg(feature = "mutations")]
pub mod mutation;
#[cfg(not(feature = "mutations"))]
mod mutation;
mod parties;
mod payout;
mod plans;
mod position;
mod provider;
#[cfg(not(target_arch = "wasm32"))]
pub mod reconcile;
mod routes;
mod sale;
mod settings;
mod settle;
mod statement;

use alloc::vec::Vec;

use tally_plugin::{Event, Manifest, Method, Plugin, Reject, Snapshot, State, Step, Table};

/// The plugin.
#[derive(Debug)]
pub struct Royalty;

/// Every table.
const TABLES: [Table; 16] = [
    balance::PARTIES,
    balance::SYSTEM,
    correction::CORRECTIONS,
    faults::FAULTS,
    holds::HOLDS,
    journal::JOURNALS,
    journal::PLACES,
    ledger::CLEARING,
    moves::MOVES,
    parties::BLOCKED,
    payout::BY_PARTY,
    payout::PAYOUTS,
    plans::DUE,
    plans::PLANS,
    sale::SALES,
    settle::PROOFS,
];

impl Plugin for Royalty {
    fn describe() -> Manifest {
        let manifest = Manifest::new("royalty", env!("CARGO_PKG_VERSION"))
            .event("checkout.money")
            .event("effect.answered")
            .event("market.tick")
            .event("payment.fact")
            .event("royalty.*")
            .entity_type("effect")
            .entity_type("market")
            .entity_type("payment")
            .entity_type("payout")
            .effects("finance")
            .effects("payment")
            // A tick moves what up to 32 orders held, of up to 64 parties together, and asks for 4 payouts.
            .limit("gas", 20_000_000)
            .limit("query_gas", 50_000_000)
            .limit("writes", 512)
            .table(settings::ROLES)
            .table(settings::SETTINGS)
            .table(chain::HEAD)
            .command("approve", Method::Post, "/payout/{id}/approve", "royalty.payout.approved")
            .command("block", Method::Post, "/party/block", "royalty.party.blocked")
            .command("correct", Method::Post, "/correction", "royalty.correction.proposed")
            .command("correct-approve", Method::Post, "/correction/{id}/approve", "royalty.correction.approved")
            .command("correct-cancel", Method::Post, "/correction/{id}/cancel", "royalty.correction.canceled")
            .command("cancel", Method::Post, "/payout/{id}/cancel", "royalty.payout.canceled")
            .command("release", Method::Post, "/party/release", "royalty.party.released")
            .command("request", Method::Post, "/payout", "royalty.payout.requested")
            .command("schedule", Method::Post, "/schedule", "royalty.schedule.started")
            .command("unschedule", Method::Post, "/schedule/end", "royalty.schedule.ended");
        let manifest = TABLES.into_iter().fold(manifest, Manifest::table);
        routes::declare(tally_market::once::declare(manifest))
    }

    fn init(state: &mut State, config: &[u8]) -> Result<(), Reject> {
        settings::init(state, config)
    }

    fn apply(step: &mut Step, event: &Event) -> Result<(), Reject> {
        match event.event_type() {
            "checkout.money" => sale::on_money(step, event),
            "market.tick" => holds::on_tick(step, event),
            "payment.fact" => provider::on_fact(step, event),
            "effect.answered" => provider::on_answer(step, event),
            "royalty.payout.requested" => payout::request(step, event),
            "royalty.payout.approved" => approvals::approve(step, event),
            "royalty.payout.canceled" => payout::cancel(step, event),
            "royalty.party.blocked" => parties::block(step, event),
            "royalty.party.released" => parties::release(step, event),
            "royalty.correction.proposed" => correction::propose(step, event),
            "royalty.correction.approved" => correction::approve(step, event),
            "royalty.correction.canceled" => correction::cancel(step, event),
            "royalty.schedule.started" => plans::start(step, event),
            "royalty.schedule.ended" => plans::end(step, event),
            // Nothing else is asked for.
            _ => Ok(()),
        }
    }

    fn query(state: &mut Snapshot, request: &[u8]) -> Vec<u8> {
        routes::answer(state, request)
    }
}

tally_plugin::export!(Royalty);
