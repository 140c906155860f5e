//! The demo's people and what they sign: sellers list packages, buyers order them.
//!
//! Takes a catalogue; gives signed frames. Which buyer orders what is arithmetic, so that two demos of one size sign
//! the same orders (ids and keys are new each time).

use std::ops::Range;

use serde_json::json;
use tally::exit::Failure;
use tally::random;
use tally_client::{Agent, EventDraft};
use tally_protocol::frame::Frame;
use tally_protocol::id::{StoreId, Stream, TenantId};

use crate::catalogue::Item;

/// One seller per so many items: the packages have hundreds of authors, the demo has as many sellers as it has items
/// divided by this.
const ITEMS_PER_SELLER: usize = 8;

/// Draws an agent with its key.
fn person(tenant: TenantId) -> Result<Agent, Failure> {
    Ok(Agent::new(tenant, random::agent_id()?, 1, random::signing_key()?))
}

struct What<'a> {
    entity_type: &'a str,
    entity_id: String,
    event_type: &'a str,
    payload: serde_json::Value,
}

/// Who takes part.
pub(crate) struct Market {
    pub(crate) store: StoreId,
    pub(crate) sellers: Vec<Agent>,
    pub(crate) buyers: Vec<Agent>,
}

impl Market {
    /// As many sellers as the catalogue needs, and `buyers` buyers.
    pub(crate) fn new(stream: Stream, items: usize, buyers: usize) -> Result<Self, Failure> {
        let people = |count: usize| (0..count).map(|_| person(stream.tenant)).collect::<Result<Vec<_>, _>>();
        Ok(Self { store: stream.store, sellers: people(items.div_ceil(ITEMS_PER_SELLER))?, buyers: people(buyers)? })
    }

    /// Everybody.
    pub(crate) fn people(&self) -> impl Iterator<Item = &Agent> {
        self.sellers.iter().chain(&self.buyers)
    }

    fn sign(&self, agent: &Agent, what: What<'_>, created_at: &str) -> Result<Frame, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::failed(format!("failed to build an event: {error}"));
        let draft = EventDraft {
            store: self.store,
            event_id: random::event_id()?,
            entity_type: what.entity_type.to_owned(),
            entity_id: what.entity_id,
            event_type: what.event_type.to_owned(),
            created_at: created_at.to_owned(),
            payload: serde_json::to_vec(&what.payload).map_err(|error| wrong(&error))?,
        };
        agent.sign(&draft).map_err(|error| wrong(&error))
    }

    fn seller_of(&self, item: usize) -> &Agent {
        &self.sellers[item % self.sellers.len()]
    }

    /// One event per item, signed by its seller.
    pub(crate) fn listings(&self, items: &[Item], now: &str) -> Result<Vec<Frame>, Failure> {
        let listing = |(at, item): (usize, &Item)| {
            let what = What {
                entity_type: "item",
                entity_id: item.sku(),
                event_type: "catalog.item.listed",
                payload: json!({
                    "name": item.name, "version": item.version, "sha256": item.checksum,
                    "size_bytes": item.size_bytes, "price_cents": item.price_cents(), "currency": "EUR",
                }),
            };
            self.sign(self.seller_of(at), what, now)
        };
        items.iter().enumerate().map(listing).collect()
    }

    /// `count` orders, signed by their buyers.
    pub(crate) fn orders(&self, items: &[Item], count: usize, now: &str) -> Result<Vec<Frame>, Failure> {
        self.orders_from(items, 0..count, now)
    }

    /// The orders of these numbers.
    pub(crate) fn orders_from(&self, items: &[Item], range: Range<usize>, now: &str) -> Result<Vec<Frame>, Failure> {
        let order = |n: usize| {
            // Two primes far from any catalogue's size: every buyer meets every item.
            let (buyer, at) =
                (n % self.buyers.len() * 7919 % self.buyers.len(), n % items.len() * 104_729 % items.len());
            let (item, quantity) = (&items[at], 1 + n as u64 % 3);
            let what = What {
                entity_type: "order",
                entity_id: format!("order-{n}"),
                event_type: "order.placed",
                payload: json!({
                    "sku": item.sku(), "sha256": item.checksum, "seller": self.seller_of(at).id().to_string(),
                    "quantity": quantity, "total_cents": quantity * item.price_cents(), "currency": "EUR",
                }),
            };
            self.sign(&self.buyers[buyer], what, now)
        };
        range.map(order).collect()
    }
}
