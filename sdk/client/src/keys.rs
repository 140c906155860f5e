//! Which public key an event was signed with, so that its leaf can be derived again.
//!
//! The caller's own agents are told beforehand. Of others the server is asked, and its word is taken only for a key
//! that verifies the event's own signature.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tally_api::agent_key::AgentKeys;
use tally_protocol::frame::Frame;
use tally_protocol::id::{AgentId, KeyId, TenantId};
use tally_protocol::key::{self, PublicKey};

use crate::error::ClientError;
use crate::transport::{Http, Request};

type Name = (TenantId, AgentId, KeyId);

/// Keys of agents that are not the caller's are few; past this many, all are forgotten and asked for again.
const KEYS_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct KeyBook(Mutex<HashMap<Name, PublicKey>>);

impl KeyBook {
    pub(crate) fn know(&self, tenant: TenantId, agent: AgentId, key_id: KeyId, public_key: PublicKey) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if book.len() >= KEYS_MAX {
            book.clear();
        }
        book.insert((tenant, agent, key_id), public_key);
    }

    fn find(&self, name: &Name) -> Option<PublicKey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// The keys that signed the frames, in their order; neighbours by the same signer cost one look.
    pub(crate) async fn of_frames(&self, http: &Http, frames: &[Frame]) -> Result<Vec<PublicKey>, ClientError> {
        let mut keys: Vec<PublicKey> = Vec::with_capacity(frames.len());
        let mut last: Option<(&Frame, PublicKey)> = None;
        for frame in frames {
            let key = match last {
                Some((other, key)) if is_same_signer(other, frame) => key,
                _ => self.of_frame(http, frame).await?,
            };
            last = Some((frame, key));
            keys.push(key);
        }
        Ok(keys)
    }

    /// The key that signed the frame.
    pub(crate) async fn of_frame(&self, http: &Http, frame: &Frame) -> Result<PublicKey, ClientError> {
        let (agent, key_id) = (frame.agent_id(), frame.key_id());
        let own = (frame.tenant_id(), agent, key_id);
        // The ledger's root agent signs control events of tenants it manages.
        let operators = (TenantId::NIL, agent, key_id);
        let known = self.find(&own).or_else(|| if frame.stream().is_control() { self.find(&operators) } else { None });
        if let Some(known) = known {
            return Ok(known);
        }
        let asked = Request::get(format!("/v1/keys/{}/{agent}", frame.tenant_id()));
        let told: AgentKeys = http.json(&asked).await?;
        let signed = told
            .keys
            .iter()
            .find(|told| told.key_id == key_id)
            .filter(|told| key::verify(&told.public_key, frame.signing_hash().as_bytes(), &frame.signature()));
        let Some(signed) = signed else {
            return Err(ClientError::UnknownKey { agent, key_id });
        };
        self.know(own.0, agent, key_id, signed.public_key);
        Ok(signed.public_key)
    }
}

fn is_same_signer(one: &Frame, other: &Frame) -> bool {
    one.agent_id() == other.agent_id() && one.key_id() == other.key_id() && one.stream() == other.stream()
}
