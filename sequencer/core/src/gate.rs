//! The seam to whoever knows what this host can apply: asked about plugin events whose form and signature are right and
//! whose signer may write there, before they are ordered. The core reads nothing of modules.
//!
//! The state of plugin events decides what an event may do, and says the same on every node. What a *host* lacks is
//! another thing: a module that nobody put, a profile it does not know. An event that asks for it would be in the log for
//! ever and halt applying for everybody, so it is refused while it can be. The gate is asked off the ordering thread,
//! by every door alike, and what is in the log already is never judged again.

use tally_protocol::error::Reject;
use tally_protocol::id::Stream;

/// Says what this host could not apply.
pub trait PluginGate: Send + Sync {
    /// Whether an event of this type and payload could be applied here.
    ///
    /// # Errors
    /// It could not; in words for the client.
    fn check(&self, stream: &Stream, event_type: &str, payload: &[u8]) -> Result<(), Reject>;
}
