//! The marketplace at this door: which stream and plugins it is, who signs for callers, who reads a provider's messages.
//!
//! Takes what the node's operator set; gives frames. A caller with an API key signs nothing: the gateway's own agent signs
//! for it and names it as `actor`. A payment provider signs its messages in its own way: whoever is behind [`WebhookPort`]
//! checks that and turns them into facts, which its own agent signs. Fails closed: an agent that is not registered, or
//! whose key is revoked, signs nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tally_core::Reader;
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::id::{AgentId, EventId, KeyId, PluginId, Stream, TenantId};
use tally_protocol::key::SigningKey;
use tally_protocol::time::LogTime;

use crate::card;

/// What `/market` is made of. The node joins it.
#[derive(Clone)]
pub struct Market {
    /// The marketplace's stream.
    pub stream: Stream,
    /// Whose routes are served, the first that fits first.
    pub plugins: Vec<PluginId>,
    /// Signs for callers with an API key; one of the plugins' configured `gateways`.
    pub signer: AgentSigner,
    /// Names of query routes that are asked without a credential.
    pub public: BTreeSet<String>,
    /// Who has which role when asking.
    pub roles: MarketRoles,
    /// Who reads a payment provider's messages; none if this node takes none.
    pub webhook: Option<Arc<dyn WebhookPort>>,
}

/// Principals by the role they ask in, beside `admin` for credentials of the role admin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MarketRoles {
    /// Of `admin`.
    pub admin: BTreeSet<String>,
    /// Of `finance`.
    pub finance: BTreeSet<String>,
    /// Of `service`.
    pub service: BTreeSet<String>,
}

impl Market {
    /// Whether an event of this marketplace holds what looks like a card number where plugins and readers see it.
    pub(crate) fn has_card(&self, frame: &Frame) -> bool {
        frame.stream() == self.stream
            && [frame.payload(), frame.entity_id().as_bytes(), frame.event_type().as_bytes()]
                .into_iter()
                .any(card::is_in)
    }

    /// Whether it serves a plugin, and who asks it is for this door to say.
    pub(crate) fn serves(&self, stream: &Stream, plugin: &PluginId) -> bool {
        self.stream == *stream && self.plugins.contains(plugin)
    }
}

/// An agent of the marketplace's tenant, with its key.
#[derive(Clone)]
pub struct AgentSigner {
    /// The agent.
    pub agent: AgentId,
    /// The private half of one of its registered keys.
    pub key: SigningKey,
}

/// An event to sign.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsigned<'a> {
    pub(crate) id: EventId,
    pub(crate) event_type: &'a str,
    pub(crate) entity_type: &'a str,
    pub(crate) entity_id: &'a str,
    /// Canonical JSON.
    pub(crate) payload: &'a [u8],
}

/// Why an agent signs nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentSignError {
    /// The key is not one that the agent has registered in the tenant.
    #[error("the key is not registered for its agent in this tenant")]
    NotRegistered,
    /// It is, and does not count now.
    #[error("the key does not count: {0}")]
    Invalid(&'static str),
    /// The event has no frame: a bound is broken.
    #[error("no event: {0}")]
    Event(String),
}

impl AgentSigner {
    /// The number of its key in a tenant, if it counts now.
    ///
    /// # Errors
    /// Why it does not.
    pub fn key_id(&self, reader: &Reader, now: LogTime, tenant: TenantId) -> Result<KeyId, AgentSignError> {
        let own = self.key.public_key();
        let keys = reader.agent_keys(tenant, self.agent);
        let key = keys.iter().rev().find(|key| key.public_key == own).ok_or(AgentSignError::NotRegistered)?;
        key.invalid_at(now).map_or(Ok(key.key_id), |why| Err(AgentSignError::Invalid(why)))
    }

    /// Signs an event of this agent.
    pub(crate) fn sign(
        &self,
        reader: &Reader,
        now: LogTime,
        stream: Stream,
        event: Unsigned<'_>,
    ) -> Result<Frame, AgentSignError> {
        let fields = EventFields::plain(
            stream,
            event.id,
            (self.agent, self.key_id(reader, now, stream.tenant)?),
            (event.entity_type, event.entity_id),
            event.event_type,
            &now.to_rfc3339(),
            event.payload,
        );
        let frame = Frame::build(&fields, event.payload, |hash| self.key.sign(hash.as_bytes()));
        frame.map_err(|error| AgentSignError::Event(error.reject().message))
    }
}

/// The type of the event of a fact.
pub(crate) const FACT_EVENT: &str = "payment.fact";
/// What it is about.
pub(crate) const FACT_ENTITY: &str = "payment";

/// A fact that a provider reported: docs/formats/market.md, "Facts".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactEvent {
    /// The provider's id of the object; the event's entity id.
    pub object: String,
    /// The fact, canonical JSON.
    pub body: Bytes,
}

/// Why a provider's message is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefusal {
    /// The signature is missing, malformed, stale or wrong: answered with 400, and nothing is read of the message.
    #[error("{0}")]
    Signature(&'static str),
    /// The signature holds, and the message is not one that can be read: 400.
    #[error("{0}")]
    Unreadable(&'static str),
    /// It cannot be judged now (a secret that does not come, a provider that must be asked): 503, the provider comes again.
    #[error("{0}")]
    Transient(String),
}

/// Who reads a payment provider's messages. Implemented where the provider is known.
pub trait WebhookPort: Send + Sync {
    /// Checks the signature over the raw bytes, then gives the message's facts, in order; none if it is about nothing that
    /// counts here. Called off the async threads; it keeps nothing, so the same message gives the same facts.
    ///
    /// # Errors
    /// See [`WebhookRefusal`].
    fn read(&self, raw: &[u8], signature: Option<&str>, now: LogTime) -> Result<Vec<FactEvent>, WebhookRefusal>;

    /// Signs the facts: the connector's own agent.
    fn signer(&self) -> &AgentSigner;
}
