//! A host in memory: the imports of `tally:plugin@1` over an ordered map, with the host's limits.
//!
//! Takes a plugin and events, gives one [`Outcome`] each and the state they leave. [`Host`] is the contract as plain
//! methods on bytes, so that a native plugin and an engine running the module share it; [`TestHost`] drives a native
//! one. Gas, stack and memory are not counted here: those need the module. Ids are derived as in the log, but under a
//! tag of their own: nothing may depend on their bytes.

mod crypto;
mod drive;
mod host;
mod record;

pub use drive::TestHost;
pub use host::{Effect, Emit, Host, LimitKind, Limits, Mode, Outcome, Stop, Verdict};
pub use record::TestEvent;

pub(crate) use drive::Stopped;
