//! Quotes and orders through payment, refunds and disputes: docs/formats/market.md, "Checkout events".
//!
//! Takes commands of buyers, owners and admins, facts of the payment provider, answers to effects, and ticks; gives orders,
//! effects for the provider, and `checkout.money` for the ledger. Facts come in any order and any number of times and only
//! raise ranks; commands count at their place in the log; what is shown is a function of both. Refuses with the format's
//! codes. *Out of scope*: the books (`royalty`), what is for sale (`catalog`), licences, and delivering itself.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod answer;
mod aside;
mod case;
mod command;
mod delivery;
mod fact;
pub mod machine;
mod money;
#[doc(hidden)]
pub mod mutation;
mod offer;
mod order;
mod payment;
mod promotion;
mod quote;
mod refund;
mod reserve;
mod routes;
mod settings;
mod terms;

use alloc::vec::Vec;

use tally_market::codes::MALFORMED;
use tally_market::{audit, once};
use tally_plugin::{Event, Manifest, Plugin, Reject, Snapshot, State, Step, Table};

/// The tables of the plugin's own rows.
const TABLES: [Table; 19] = [
    answer::ANSWERED,
    aside::ASIDE,
    delivery::DELIVERIES,
    fact::OBJECTS,
    fact::PARKED,
    offer::OFFERS,
    order::BUYERS,
    order::DUE,
    order::OPTIONS,
    order::ORDERS,
    payment::EXCEPTIONS,
    payment::PAYMENTS,
    promotion::PROMOTIONS,
    promotion::USED,
    quote::QUOTES,
    refund::REFUNDS,
    reserve::STOCK,
    settings::ROLES,
    settings::SETTINGS,
];

/// The plugin.
#[derive(Debug)]
pub struct Checkout;

impl Plugin for Checkout {
    fn describe() -> Manifest {
        let manifest = Manifest::new("checkout", env!("CARGO_PKG_VERSION"))
            .event("catalog.offer")
            .event("checkout.*")
            .event("effect.answered")
            .event("market.tick")
            .event("payment.fact")
            .emits()
            .effects("payment")
            // A tick lets go of the payments of 32 orders; an answer may have many facts.
            .limit("effects", 64)
            .limit("emits", 64)
            .limit("gas", 8_000_000)
            // A page of what is parked has 100 payments with 16 refunds or disputes each.
            .limit("query_gas", 50_000_000);
        let manifest = ["effect", "market", "order", "payment"].into_iter().fold(manifest, Manifest::entity_type);
        let manifest = audit::declare(TABLES.into_iter().fold(manifest, Manifest::table), "/audit/checkout");
        routes::declare(once::declare(manifest))
    }

    fn init(state: &mut State, config: &[u8]) -> Result<(), Reject> {
        settings::init(state, config)
    }

    fn apply(step: &mut Step, event: &Event) -> Result<(), Reject> {
        match event.event_type() {
            "payment.fact" => fact::on_fact(step, event),
            "effect.answered" => answer::on_answer(step, event),
            "catalog.offer" => offer::on_offer(step, event),
            "market.tick" => order::tick(step, event),
            "checkout.order.created" => command::run(step, event, &ORDER_CREATED, order::create),
            "checkout.order.canceled" => {
                command::run(step, event, &["actor", "idempotency_key", "reason"], order::cancel)
            }
            "checkout.order.fulfilled" => command::run(step, event, &ORDER_FULFILLED, delivery::fulfil),
            "checkout.quote.requested" => command::run(step, event, &QUOTE_REQUESTED, quote::request),
            "checkout.refund.requested" => command::run(step, event, &REFUND_REQUESTED, refund::request),
            "checkout.promotion.created" => command::run(step, event, &PROMOTION_CREATED, promotion::create),
            "checkout.promotion.ended" => command::run(step, event, &PROMOTION_ENDED, promotion::end),
            // Such as a `checkout.money` that somebody signed: nobody says that but this plugin.
            _ => Err(MALFORMED),
        }
    }

    fn query(state: &mut Snapshot, request: &[u8]) -> Vec<u8> {
        routes::answer(state, request)
    }
}

const ORDER_CREATED: [&str; 9] = [
    "actor",
    "idempotency_key",
    "licence_options",
    "payment_method",
    "promotion",
    "quantity",
    "quote",
    "sku",
    "version",
];
const ORDER_FULFILLED: [&str; 3] = ["actor", "idempotency_key", "proof_sha256"];
const QUOTE_REQUESTED: [&str; 6] = ["actor", "idempotency_key", "promotion", "quantity", "sku", "version"];
const REFUND_REQUESTED: [&str; 4] = ["actor", "amount", "idempotency_key", "reason"];
const PROMOTION_CREATED: [&str; 5] = ["actor", "idempotency_key", "promotion", "reason", "rule"];
const PROMOTION_ENDED: [&str; 4] = ["actor", "idempotency_key", "promotion", "reason"];

tally_plugin::export!(Checkout);
