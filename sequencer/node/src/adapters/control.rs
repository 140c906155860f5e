//! The gateway's `ControlSigner` with the ledger's root key: signs control events of the ledger's stream, and of
//! tenants that are managed by the operator.
//!
//! Takes a stream and a control event; gives a signed frame with a new event id and the present time. Fails closed:
//! no root key, or a tenant that keeps its own root key, is no signature.

use std::sync::Arc;

use tally_core::{Clock, Reader};
use tally_gateway::{ControlSignError, ControlSigner};
use tally_protocol::control::ControlEvent;
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::id::{AgentId, KeyId, Stream, TenantId};
use tally_protocol::key::SigningKey;

use crate::exit::Failure;
use crate::random;

/// Signs with the ledger's root key.
pub struct RootSigner {
    reader: Reader,
    clock: Arc<dyn Clock>,
    agent: AgentId,
    key_id: KeyId,
    key: SigningKey,
}

impl RootSigner {
    /// A signer for the ledger that `reader` serves.
    ///
    /// # Errors
    /// The key is not a valid one of the ledger's root agent.
    pub fn new(reader: Reader, clock: Arc<dyn Clock>, key: SigningKey) -> Result<Self, Failure> {
        let agent = reader.ledger().genesis.root_agent;
        let public = key.public_key();
        let now = clock.wall();
        let known = reader.agent_keys(TenantId::NIL, agent);
        let Some(record) = known.iter().find(|record| record.public_key == public) else {
            return Err(Failure::usage("the root key is not a key of the ledger's root agent"));
        };
        if let Some(why) = record.invalid_at(now) {
            return Err(Failure::usage(format!("the root key (number {}) cannot sign: {why}", record.key_id)));
        }
        Ok(Self { key_id: record.key_id, reader, clock, agent, key })
    }
}

impl ControlSigner for RootSigner {
    fn sign_control(&self, stream: Stream, event: &ControlEvent) -> Result<Frame, ControlSignError> {
        let managed = stream.is_ledger()
            || (stream.is_control() && self.reader.tenant(stream.tenant).is_some_and(|tenant| tenant.operator_managed));
        if !managed {
            return Err(ControlSignError::NoKey);
        }
        let event_id = random::event_id().map_err(|failure| ControlSignError::Failed(failure.message))?;
        let payload = event.payload();
        let (entity_type, entity_id) = event.entity();
        let fields = EventFields::plain(
            stream,
            event_id,
            (self.agent, self.key_id),
            (entity_type, &entity_id),
            event.event_type(),
            &self.clock.wall().to_rfc3339(),
            &payload,
        );
        Frame::build(&fields, &payload, |hash| self.key.sign(hash.as_bytes()))
            .map_err(|error| ControlSignError::Failed(error.to_string()))
    }
}
