//! Native submission: `POST /v1/events`.
//!
//! Takes [`SubmitRequest`] as JSON, or concatenated binary frames under [`FRAMES`]; gives one [`EventOutcome`] per
//! event, in order. A bad event never changes the fate of its neighbours. A request in which an event is outside the
//! credential's tenant, stores or agent is refused whole with 403, before anything is taken.

use serde::{Deserialize, Serialize};
use tally_protocol::id::EventId;

use crate::event::EventEnvelope;
use crate::receipt::Receipt;
use crate::text;

/// Content type of a body of concatenated binary frames.
pub const FRAMES: &str = "application/vnd.tally.frames";

/// Events to submit, as JSON. Unknown members are refused, here and inside an event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmitRequest {
    /// 1 to 1000 events.
    pub events: Vec<EventEnvelope>,
}

/// What happened to each event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmitAnswer {
    /// Signed notes, verbatim; receipts refer to them by position.
    pub checkpoints: Vec<String>,
    /// One per submitted event, in the same order.
    pub results: Vec<EventOutcome>,
}

/// What happened to one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum EventOutcome {
    /// It is in the log now.
    Accepted {
        /// Its proof.
        receipt: Receipt,
    },
    /// The same event was in the log already: same index, sequence and time as the first time.
    Duplicate {
        /// Its proof, at the newest checkpoint.
        receipt: Receipt,
    },
    /// It is not in the log, and consumed no sequence.
    Rejected {
        /// The event's id, if it could be read.
        #[serde(with = "text::uuid_option")]
        event_id: Option<EventId>,
        /// Why.
        reject: Rejection,
    },
}

/// Why one event was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// A stable name, such as `invalid_signature`.
    pub code: String,
    /// For people; never repeats what was sent.
    pub message: String,
    /// The member at fault, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}
