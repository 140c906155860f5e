//! Pages of events: a list that ends by count or by bytes, and where to go on.

use serde::{Deserialize, Serialize};
use tally_protocol::id::{Index, Sequence, StoreId, TenantId};

use crate::event::{EventEnvelope, EventRecord};
use crate::text;

/// Events of a stream, in order of sequence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StreamPage {
    /// The tenant.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The store.
    #[serde(with = "text::uuid")]
    pub store_id: StoreId,
    /// The events.
    pub events: Vec<EventRecord>,
    /// Ask for `from` this sequence next; null at the head.
    #[serde(with = "text::number_option")]
    pub next_sequence: Option<Sequence>,
    /// The stream's newest readable sequence; null for an empty stream.
    #[serde(with = "text::number_option")]
    pub head_sequence: Option<Sequence>,
}

/// Events of an entity, in order of index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EntityPage {
    /// The events.
    pub events: Vec<EventRecord>,
    /// Ask for `after` this index next; null at the end.
    #[serde(with = "text::number_option")]
    pub next_after: Option<Index>,
}

/// The newest sequence of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHead {
    /// The tenant.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The store.
    #[serde(with = "text::uuid")]
    pub store_id: StoreId,
    /// Null for an empty stream.
    #[serde(with = "text::number_option")]
    pub head_sequence: Option<Sequence>,
}

/// The VES surface's answer to a list of events.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VesEventPage {
    /// The envelopes, with `sequence_number` and `sequenced_at`.
    pub events: Vec<EventEnvelope>,
    /// How many.
    pub count: usize,
    /// Ask for `from` this sequence next.
    pub next_sequence: u64,
    /// The newest sequence; 0 for an empty stream.
    pub head_sequence: u64,
    /// Whether there is more.
    pub has_more: bool,
}

/// The VES surface's answer to a question for the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VesHead {
    /// The newest sequence; 0 for an empty stream.
    pub head_sequence: u64,
}

/// The VES surface's answer to a question for an entity's history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VesEntityPage {
    /// Kind of the entity.
    pub entity_type: String,
    /// The entity.
    pub entity_id: String,
    /// The envelopes, with `sequence_number` and `sequenced_at`.
    pub events: Vec<EventEnvelope>,
    /// How many.
    pub count: usize,
    /// Whether there is more.
    pub has_more: bool,
    /// Ask for `after` this index next; null at the end.
    #[serde(with = "text::number_option")]
    pub next_after: Option<Index>,
}
