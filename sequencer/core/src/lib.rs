//! The pipeline that turns signed events into proven receipts, and the read side over what it made.
//!
//! | # | stage | takes → gives | rung moved |
//! |---|---|---|---|
//! | 1 | [`admit`] | submission → admitted, ticket | |
//! | 2 | [`verify`] | batches of admitted → verified | |
//! | 3 | [`order`] (with [`control`]) | verified → ordered run | ordered |
//! | 4 | [`append`] | ordered run → durable run | durable |
//! | 5 | [`fold`] | durable runs → tree, tiles | folded |
//! | 6 | [`sign`] (behind [`fence`]) | tree → certified checkpoint | signed |
//! | 7 | [`acknowledge`] | certified runs → receipts | acknowledged |
//! | 8 | [`index`] | durable runs → derived indexes, behind a cursor | |
//! | 9 | [`apply`] | signed events → outcomes by a [`follower`], a log of their own | applied |
//! | 10 | [`publish`] | newest certified checkpoints → the world's | published |
//! | 11 | [`anchored`] | sizes that chains hold for good, from whoever watches them | anchored |
//! | 12 | [`batch`] | signed events → VES commitments | |
//!
//! Two doors only: the [`Submitter`] writes, the [`Reader`] reads. [`pipeline`] owns every thread and queue.
//! Starting is recovering ([`recover`]); there is no other start path.

// Foundations.
pub mod clock;
pub mod config;
pub mod control;
pub mod entity_types;
pub mod error;
mod failpoint;
mod fast_hash;
pub mod fence;
pub mod follower;
pub mod gate;
pub mod metrics;
mod shared;
pub mod watermarks;

// The order in which an event travels.
pub mod acknowledge;
pub mod admit;
pub mod anchored;
pub mod append;
pub mod apply;
pub mod batch;
pub mod fold;
pub mod index;
pub mod order;
pub mod publish;
pub mod sign;
pub mod verify;

// Around them.
pub mod pipeline;
pub mod read;
pub mod recover;
#[cfg(feature = "stepped")]
pub mod stepped;

pub use acknowledge::{EventResult, Fate, Outcome, OutcomeUnknown, Placed, Receipt, Ticket};
pub use admit::{Lane, Refused, Submitter};
pub use anchored::AnchoredMark;
pub use apply::ApplyState;
pub use clock::{Clock, SystemClock};
pub use config::Config;
pub use control::{KeyRecord, TenantInfo};
pub use entity_types::EntityTypes;
pub use error::StartError;
pub use failpoint::{APPLY_FAIL_POINTS, FAIL_POINTS, fail_point};
pub use fence::{Fence, FenceError, FenceRecord, FileFence};
pub use follower::{Applied, Follower, FollowerError, FollowerRange};
pub use gate::PluginGate;
pub use metrics::Metrics;
pub use pipeline::{DrainError, GenesisSource, Parts, Sequencer};
pub use read::{LedgerInfo, ReadError, Reader, StorageReading, StoredEvent, VesProof};
pub use watermarks::{Ladder, NodeState};
