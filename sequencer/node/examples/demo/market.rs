//! The demo's people and what they sign: sellers list packages, buyers order them.
//!
//! Takes a catalogue; gives signed frames. Which buyer orders what is arithmetic, so that two demos of one size sign
//! the same orders (ids and keys are new each time).

use serde_json::json;
use tally::exit::Failure;
use tally::random;
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::id::{AgentId, KeyId, Stream};
use tally_protocol::jcs;
use tally_protocol::key::SigningKey;

use crate::catalogue::Item;

/// One seller per so many items: the packages have hundreds of authors, the demo has as many sellers as it has items
/// divided by this.
const ITEMS_PER_SELLER: usize = 8;

/// An agent with its key.
pub struct Person {
    pub agent: AgentId,
    pub key: SigningKey,
}

impl Person {
    fn new() -> Result<Self, Failure> {
        Ok(Self { agent: random::agent_id()?, key: random::signing_key()? })
    }

    fn sign(&self, stream: Stream, what: &What<'_>, created_at: &str) -> Result<Frame, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::failed(format!("failed to build an event: {error}"));
        let text = serde_json::to_vec(&what.payload).map_err(|error| wrong(&error))?;
        let payload = jcs::canonicalize(&text).map_err(|error| wrong(&error))?;
        let fields = EventFields::plain(
            stream,
            random::event_id()?,
            (self.agent, KeyId::new(1)),
            (what.entity_type, &what.entity_id),
            what.event_type,
            created_at,
            &payload,
        );
        Frame::build(&fields, &payload, |hash| self.key.sign(hash.as_bytes())).map_err(|error| wrong(&error))
    }
}

struct What<'a> {
    entity_type: &'a str,
    entity_id: String,
    event_type: &'a str,
    payload: serde_json::Value,
}

/// Who takes part.
pub struct Market {
    pub stream: Stream,
    pub sellers: Vec<Person>,
    pub buyers: Vec<Person>,
}

impl Market {
    /// As many sellers as the catalogue needs, and `buyers` buyers.
    pub fn new(stream: Stream, items: usize, buyers: usize) -> Result<Self, Failure> {
        let people = |count: usize| (0..count).map(|_| Person::new()).collect::<Result<Vec<_>, _>>();
        Ok(Self { stream, sellers: people(items.div_ceil(ITEMS_PER_SELLER))?, buyers: people(buyers)? })
    }

    /// Everybody.
    pub fn people(&self) -> impl Iterator<Item = &Person> {
        self.sellers.iter().chain(&self.buyers)
    }

    fn seller_of(&self, item: usize) -> &Person {
        &self.sellers[item % self.sellers.len()]
    }

    /// One event per item, signed by its seller.
    pub fn listings(&self, items: &[Item], now: &str) -> Result<Vec<Frame>, Failure> {
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
            self.seller_of(at).sign(self.stream, &what, now)
        };
        items.iter().enumerate().map(listing).collect()
    }

    /// `count` orders, signed by their buyers.
    pub fn orders(&self, items: &[Item], count: usize, now: &str) -> Result<Vec<Frame>, Failure> {
        let order = |n: usize| {
            // Two primes far from any catalogue's size: every buyer meets every item.
            let (buyer, at) = (n * 7919 % self.buyers.len(), n * 104_729 % items.len());
            let (item, quantity) = (&items[at], 1 + n as u64 % 3);
            let what = What {
                entity_type: "order",
                entity_id: format!("order-{n}"),
                event_type: "order.placed",
                payload: json!({
                    "sku": item.sku(), "sha256": item.checksum, "seller": self.seller_of(at).agent.to_string(),
                    "quantity": quantity, "total_cents": quantity * item.price_cents(), "currency": "EUR",
                }),
            };
            self.buyers[buyer].sign(self.stream, &what, now)
        };
        (0..count).map(order).collect()
    }
}
