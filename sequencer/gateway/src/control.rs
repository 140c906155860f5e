//! The seam to whoever holds root keys. Control events (tenants, agents' keys) are signed events in reserved streams;
//! where the node holds the root key, REST calls let it sign them here. Where it does not, the calls answer with
//! `NO_CONTROL_SIGNER`, and the holder of the root key posts the signed event through the ordinary door.

use tally_protocol::control::ControlEvent;
use tally_protocol::frame::Frame;
use tally_protocol::id::Stream;

/// Why a control event was not signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlSignError {
    /// This signer holds no root key for the stream.
    NoKey,
    /// The signer or its random source failed.
    Failed(String),
}

impl core::fmt::Display for ControlSignError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoKey => f.write_str("no root key for this stream"),
            Self::Failed(why) => write!(f, "failed to sign a control event: {why}"),
        }
    }
}

impl core::error::Error for ControlSignError {}

/// Signs control events with root keys. Implemented by the node.
pub trait ControlSigner: Send + Sync {
    /// The signed event, with a new event id and the present time.
    ///
    /// # Errors
    /// No key for this stream, or the signer failed. Nothing was submitted.
    fn sign_control(&self, stream: Stream, event: &ControlEvent) -> Result<Frame, ControlSignError>;
}
