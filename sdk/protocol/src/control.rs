//! Control events: how tenants, agent keys and the entity types that stores take come to be, change and go, as signed
//! events in the reserved streams.
//!
//! Ledger stream (nil, nil), signed by the ledger's root agent: `tally.tenant.created`. Tenant stream (tenant, nil),
//! signed by the tenant's root agent (or the ledger's, for a tenant that the operator manages):
//! `tally.agent_key.registered`, `.rotated`, `.expired`, `.revoked`; `tally.entity_types.set`, `.lifted`. Takes an event
//! type and its payload, gives a
//! [`ControlEvent`]; a payload is canonical JSON with exactly the fields of its type, keys and ids as lower-case
//! text, times as `LogTime` writes them, so that an event has one payload. Whether the control state allows the event
//! (who signed it, which key ids exist) is decided by the sequencer's `control.rs`.

pub(crate) mod fields;

use std::collections::BTreeSet;

use fields::{Fields, written};

use crate::error::{Reject, RejectCode};
use crate::id::{AgentId, KeyId, StoreId, Stream, TenantId};
use crate::jcs::{self, JcsError, Value};
use crate::key::{KeyError, PublicKey, check_registration};
use crate::limits::{ENTITY_TYPE_BYTES_MAX, ENTITY_TYPES_MAX, REASON_BYTES_MAX};
use crate::release::ReleaseError;
use crate::time::LogTime;

/// Event types with this prefix are control events, and control events are in control streams only.
pub const RESERVED_PREFIX: &str = "tally.";

/// The key id of a root agent's first key.
pub const ROOT_KEY_ID: KeyId = KeyId::new(1);

const TENANT_CREATED: &str = "tally.tenant.created";
const KEY_REGISTERED: &str = "tally.agent_key.registered";
const KEY_ROTATED: &str = "tally.agent_key.rotated";
const KEY_EXPIRED: &str = "tally.agent_key.expired";
const KEY_REVOKED: &str = "tally.agent_key.revoked";
const ENTITY_TYPES_SET: &str = "tally.entity_types.set";
const ENTITY_TYPES_LIFTED: &str = "tally.entity_types.lifted";

/// Why a payload is not the control event its type says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No control event has this type.
    #[error("unknown control event type")]
    UnknownType,
    /// The payload is not canonical JSON.
    #[error("payload: {0}")]
    Json(#[from] JcsError),
    /// A field is absent, unknown to this type, or not in its one spelling.
    #[error("payload field {0} is missing or malformed")]
    Field(&'static str),
    /// The payload has a field that its type does not know.
    #[error("payload has an unknown field")]
    UnknownField,
    /// The public key may not be registered.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// Validity would end before it begins, or a time lies after 9999.
    #[error("validity is empty or ends after 9999")]
    Validity,
    /// The release of a plugin is malformed.
    #[error("release: {0}")]
    Release(#[from] ReleaseError),
}

impl ControlError {
    /// The refusal a client is told.
    #[must_use]
    pub fn reject(&self) -> Reject {
        let code = match self {
            Self::UnknownType => RejectCode::ReservedEventType,
            Self::Json(_) => RejectCode::PayloadNotCanonical,
            _ => RejectCode::ControlRefused,
        };
        let field = if *self == Self::UnknownType { "event_type" } else { "payload" };
        Reject::of_field(code, field, self.to_string())
    }
}

/// What a control event says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ControlEvent {
    /// A tenant, its root agent, and that agent's key 1.
    TenantCreated {
        /// The new tenant; not nil.
        tenant_id: TenantId,
        /// Signs the tenant's control events; not nil.
        root_agent_id: AgentId,
        /// Its key 1.
        root_public_key: PublicKey,
        /// Whether the ledger's root agent may sign the tenant's control events too.
        operator_managed: bool,
    },
    /// An agent's new key.
    AgentKeyRegistered {
        /// The agent; not nil.
        agent_id: AgentId,
        /// The agent's last key id plus one; 1 for its first.
        key_id: KeyId,
        /// The key.
        public_key: PublicKey,
        /// Valid from this log time on; from the event's own if absent.
        valid_from: Option<LogTime>,
        /// Valid until before this log time; without end if absent.
        valid_to: Option<LogTime>,
    },
    /// A new key in place of the last; both are valid until `previous_valid_to`.
    AgentKeyRotated {
        /// The agent; not nil.
        agent_id: AgentId,
        /// The new key's id: the last plus one.
        key_id: KeyId,
        /// The new key.
        public_key: PublicKey,
        /// The previous key is valid until before this log time.
        previous_valid_to: LogTime,
        /// The new key is valid until before this log time; without end if absent.
        valid_to: Option<LogTime>,
    },
    /// An end of validity for a key.
    AgentKeyExpired {
        /// The agent; not nil.
        agent_id: AgentId,
        /// Which of its keys.
        key_id: KeyId,
        /// Valid until before this log time.
        valid_to: LogTime,
    },
    /// The key is not to be trusted any more, from this event on.
    AgentKeyRevoked {
        /// The agent; not nil.
        agent_id: AgentId,
        /// Which of its keys.
        key_id: KeyId,
        /// Why: 1 to 512 bytes.
        reason: String,
    },
    /// From this event on, a store takes these entity types and what its plugins bring, and no others.
    EntityTypesSet {
        /// The store; not nil. With the stream's tenant it names the stream that the list is for.
        store_id: StoreId,
        /// The whole list, in place of the one before; at most 1024. An empty one leaves what plugins bring.
        entity_types: BTreeSet<String>,
    },
    /// From this event on, a store takes every entity type.
    EntityTypesLifted {
        /// The store; not nil.
        store_id: StoreId,
    },
}

impl ControlEvent {
    /// Decodes the payload of a control event.
    ///
    /// # Errors
    /// The type is unknown, or the payload is anything but what [`ControlEvent::payload`] writes for an event that
    /// passes [`ControlEvent::check`].
    pub fn decode(event_type: &str, payload: &[u8]) -> Result<Self, ControlError> {
        let read = match event_type {
            TENANT_CREATED => read_tenant_created,
            KEY_REGISTERED => read_key_registered,
            KEY_ROTATED => read_key_rotated,
            KEY_EXPIRED => read_key_expired,
            KEY_REVOKED => read_key_revoked,
            ENTITY_TYPES_SET => read_entity_types_set,
            ENTITY_TYPES_LIFTED => {
                |fields: &mut Fields| Ok(Self::EntityTypesLifted { store_id: fields.id("store_id")? })
            }
            _ => return Err(ControlError::UnknownType),
        };
        let event = Fields::read(payload, read)?;
        event.check()?;
        Ok(event)
    }

    /// What of the event can be judged without knowing any state; decoding refuses what this refuses.
    ///
    /// # Errors
    /// A nil id, key id zero, a key that may not be registered, an empty validity, a reason or list out of bounds.
    pub fn check(&self) -> Result<(), ControlError> {
        let check = |holds: bool, error: ControlError| if holds { Ok(()) } else { Err(error) };
        if let Some((agent_id, key_id)) = self.key() {
            check(!agent_id.is_nil(), ControlError::Field("agent_id"))?;
            check(key_id.get() >= 1, ControlError::Field("key_id"))?;
        }
        if let Some(key) = self.public_key() {
            check_registration(key)?;
        }
        check(self.times().iter().flatten().all(|time| *time <= LogTime::MAX), ControlError::Validity)?;
        match self {
            Self::TenantCreated { tenant_id, .. } => check(!tenant_id.is_nil(), ControlError::Field("tenant_id")),
            Self::AgentKeyRegistered { valid_from: Some(from), valid_to: Some(to), .. } => {
                check(from < to, ControlError::Validity)
            }
            Self::AgentKeyRevoked { reason, .. } => {
                let fits = (1..=REASON_BYTES_MAX).contains(&reason.len()) && !reason.contains('\0');
                check(fits, ControlError::Field("reason"))
            }
            Self::EntityTypesSet { store_id, entity_types } => {
                check(!store_id.is_nil(), ControlError::Field("store_id"))?;
                check(are_entity_types(entity_types), ControlError::Field("entity_types"))
            }
            Self::EntityTypesLifted { store_id } => check(!store_id.is_nil(), ControlError::Field("store_id")),
            _ => Ok(()),
        }
    }

    const fn times(&self) -> [Option<LogTime>; 2] {
        match self {
            Self::AgentKeyRegistered { valid_from, valid_to, .. } => [*valid_from, *valid_to],
            Self::AgentKeyRotated { previous_valid_to, valid_to, .. } => [Some(*previous_valid_to), *valid_to],
            Self::AgentKeyExpired { valid_to, .. } => [Some(*valid_to), None],
            _ => [None, None],
        }
    }

    /// The event type that goes with the payload.
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::TenantCreated { .. } => TENANT_CREATED,
            Self::AgentKeyRegistered { .. } => KEY_REGISTERED,
            Self::AgentKeyRotated { .. } => KEY_ROTATED,
            Self::AgentKeyExpired { .. } => KEY_EXPIRED,
            Self::AgentKeyRevoked { .. } => KEY_REVOKED,
            Self::EntityTypesSet { .. } => ENTITY_TYPES_SET,
            Self::EntityTypesLifted { .. } => ENTITY_TYPES_LIFTED,
        }
    }

    /// The entity such an event is about, as the envelope names it: the type, and the tenant's, agent's or store's id.
    #[must_use]
    pub fn entity(&self) -> (&'static str, String) {
        match self {
            Self::TenantCreated { tenant_id, .. } => ("tally.tenant", tenant_id.to_string()),
            Self::AgentKeyRegistered { agent_id, .. }
            | Self::AgentKeyRotated { agent_id, .. }
            | Self::AgentKeyExpired { agent_id, .. }
            | Self::AgentKeyRevoked { agent_id, .. } => ("tally.agent", agent_id.to_string()),
            Self::EntityTypesSet { store_id, .. } | Self::EntityTypesLifted { store_id } => {
                ("tally.store", store_id.to_string())
            }
        }
    }

    /// Whether the event belongs in this stream: tenants in the ledger's, keys in a tenant's control stream, lists of
    /// entity types there too. The ledger's own agents are no exception: their keys are in the ledger's stream.
    #[must_use]
    pub fn belongs_in(&self, stream: &Stream) -> bool {
        match self {
            Self::TenantCreated { .. } => stream.is_ledger(),
            Self::EntityTypesSet { .. } | Self::EntityTypesLifted { .. } => stream.is_control() && !stream.is_ledger(),
            _ => stream.is_control(),
        }
    }

    /// The agent and key the event is about, if it is about one; for a new tenant its root agent's key 1.
    #[must_use]
    pub const fn key(&self) -> Option<(AgentId, KeyId)> {
        match self {
            Self::TenantCreated { root_agent_id, .. } => Some((*root_agent_id, ROOT_KEY_ID)),
            Self::AgentKeyRegistered { agent_id, key_id, .. }
            | Self::AgentKeyRotated { agent_id, key_id, .. }
            | Self::AgentKeyExpired { agent_id, key_id, .. }
            | Self::AgentKeyRevoked { agent_id, key_id, .. } => Some((*agent_id, *key_id)),
            Self::EntityTypesSet { .. } | Self::EntityTypesLifted { .. } => None,
        }
    }

    /// The public key the event brings, if it brings one.
    #[must_use]
    pub const fn public_key(&self) -> Option<&PublicKey> {
        match self {
            Self::TenantCreated { root_public_key: key, .. }
            | Self::AgentKeyRegistered { public_key: key, .. }
            | Self::AgentKeyRotated { public_key: key, .. } => Some(key),
            _ => None,
        }
    }

    /// The payload: canonical JSON.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let id = |agent_id: &AgentId| ("agent_id", Value::from(agent_id.to_string()));
        let number = |key_id: &KeyId| ("key_id", Value::from(key_id.get()));
        let key = |key: &PublicKey| ("public_key", Value::from(key.to_hex()));
        let time = |name, time: &LogTime| (name, Value::from(time.to_rfc3339()));
        let mut members = Vec::with_capacity(5);
        match self {
            Self::TenantCreated { tenant_id, root_agent_id, root_public_key, operator_managed } => members.extend([
                ("tenant_id", Value::from(tenant_id.to_string())),
                ("root_agent_id", Value::from(root_agent_id.to_string())),
                ("root_public_key", Value::from(root_public_key.to_hex())),
                ("operator_managed", Value::from(*operator_managed)),
            ]),
            Self::AgentKeyRegistered { agent_id, key_id, public_key, valid_from, valid_to } => {
                members.extend([id(agent_id), number(key_id), key(public_key)]);
                members.extend(valid_from.iter().map(|from| time("valid_from", from)));
                members.extend(valid_to.iter().map(|to| time("valid_to", to)));
            }
            Self::AgentKeyRotated { agent_id, key_id, public_key, previous_valid_to, valid_to } => {
                members.extend([id(agent_id), number(key_id), key(public_key)]);
                members.push(time("previous_valid_to", previous_valid_to));
                members.extend(valid_to.iter().map(|to| time("valid_to", to)));
            }
            Self::AgentKeyExpired { agent_id, key_id, valid_to } => {
                members.extend([id(agent_id), number(key_id), time("valid_to", valid_to)]);
            }
            Self::AgentKeyRevoked { agent_id, key_id, reason } => {
                members.extend([id(agent_id), number(key_id), ("reason", Value::from(reason.as_str()))]);
            }
            Self::EntityTypesSet { store_id, entity_types } => members
                .extend([("store_id", Value::from(store_id.to_string())), ("entity_types", written(entity_types))]),
            Self::EntityTypesLifted { store_id } => members.push(("store_id", Value::from(store_id.to_string()))),
        }
        jcs::to_canonical(&Value::object(members))
    }
}

fn read_tenant_created(fields: &mut Fields) -> Result<ControlEvent, ControlError> {
    Ok(ControlEvent::TenantCreated {
        tenant_id: fields.id("tenant_id")?,
        root_agent_id: fields.id("root_agent_id")?,
        root_public_key: fields.public_key("root_public_key")?,
        operator_managed: fields.bool("operator_managed")?,
    })
}

fn read_key_registered(fields: &mut Fields) -> Result<ControlEvent, ControlError> {
    Ok(ControlEvent::AgentKeyRegistered {
        agent_id: fields.id("agent_id")?,
        key_id: fields.key_id()?,
        public_key: fields.public_key("public_key")?,
        valid_from: fields.optional_time("valid_from")?,
        valid_to: fields.optional_time("valid_to")?,
    })
}

fn read_key_rotated(fields: &mut Fields) -> Result<ControlEvent, ControlError> {
    Ok(ControlEvent::AgentKeyRotated {
        agent_id: fields.id("agent_id")?,
        key_id: fields.key_id()?,
        public_key: fields.public_key("public_key")?,
        previous_valid_to: fields.time("previous_valid_to")?,
        valid_to: fields.optional_time("valid_to")?,
    })
}

fn read_key_expired(fields: &mut Fields) -> Result<ControlEvent, ControlError> {
    Ok(ControlEvent::AgentKeyExpired {
        agent_id: fields.id("agent_id")?,
        key_id: fields.key_id()?,
        valid_to: fields.time("valid_to")?,
    })
}

fn read_key_revoked(fields: &mut Fields) -> Result<ControlEvent, ControlError> {
    Ok(ControlEvent::AgentKeyRevoked {
        agent_id: fields.id("agent_id")?,
        key_id: fields.key_id()?,
        reason: fields.text("reason")?,
    })
}

fn read_entity_types_set(fields: &mut Fields) -> Result<ControlEvent, ControlError> {
    Ok(ControlEvent::EntityTypesSet { store_id: fields.id("store_id")?, entity_types: fields.texts("entity_types")? })
}

/// Whether each is one that an event may have, and a list may hold so many.
fn are_entity_types(entity_types: &BTreeSet<String>) -> bool {
    let fits = |text: &String| (1..=ENTITY_TYPE_BYTES_MAX).contains(&text.len()) && !text.contains('\0');
    entity_types.len() <= ENTITY_TYPES_MAX && entity_types.iter().all(fits)
}
