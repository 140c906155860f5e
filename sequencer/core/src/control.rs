//! Control state: tenants, agent keys, the entity types that stores take and the life of plugins, as the log says.
//!
//! A deterministic state machine over the events of the reserved streams, applied in index order inside ordering (and
//! again by recovery). It takes a control event and its log time; it gives a decision or a changed state; it reads no
//! clock. Who may sign what:
//!
//! | stream | events | signer |
//! |---|---|---|
//! | (nil, nil) the ledger's | tenant created; keys of the ledger's root agent | the ledger's root agent |
//! | (tenant, nil) a tenant's | keys of the tenant's agents; entity types of its stores | the tenant's root agent, or the ledger's if the tenant is operator-managed |
//! | both | releases of plugins and their reviews; in a tenant's also what runs in its stores | as above |
//!
//! A key's validity is judged at sequencing time, never at `created_at` (no back-dating): not revoked, at or past
//! `valid_from`, before `valid_to`. What plugin events may do is the protocol's [`PluginRegister`]; what a plugin *is* is
//! no business of this crate.

use std::collections::HashMap;
use std::sync::Arc;

use tally_protocol::control::{ControlEvent, RESERVED_PREFIX};
use tally_protocol::entry::Genesis;
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::hash::LedgerId;
use tally_protocol::id::{AgentId, Index, KeyId, Stream, TenantId};
use tally_protocol::key::{PublicKey, check_registration};
use tally_protocol::plugin_event::{PLUGIN_PREFIX, PluginEvent};
use tally_protocol::plugin_life::{Agents, Moment, PluginRegister};
use tally_protocol::time::LogTime;

use crate::entity_types::{EntityTypes, Lists};

/// One key of one agent, with its whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key's number, from 1, without gaps.
    pub key_id: KeyId,
    /// The Ed25519 public key.
    pub public_key: PublicKey,
    /// First instant of validity.
    pub valid_from: LogTime,
    /// First instant past validity, if it has one.
    pub valid_to: Option<LogTime>,
    /// When it was revoked.
    pub revoked_at: Option<LogTime>,
    /// The event that registered it; the genesis entry for the ledger's root key.
    pub registered_index: Index,
    /// Rises with each change of this record; a verified event carries the one it was verified under.
    pub generation: u64,
}

impl KeyRecord {
    /// Why the key is not valid at `now`, if it is not.
    #[must_use]
    pub fn invalid_at(&self, now: LogTime) -> Option<&'static str> {
        if self.revoked_at.is_some() {
            Some("the key is revoked")
        } else if now < self.valid_from {
            Some("the key is not valid yet")
        } else if self.valid_to.is_some_and(|end| now >= end) {
            Some("the key has expired")
        } else {
            None
        }
    }
}

/// One tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantInfo {
    /// The agent that holds the tenant's root key.
    pub root_agent: AgentId,
    /// Whether the ledger's root agent may sign control events for it.
    pub operator_managed: bool,
    /// The event that created it.
    pub created_index: Index,
}

/// What an event of a control stream changes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one at a time, and moved once")]
pub enum Change {
    /// Tenants, keys and lists of entity types.
    Control(ControlEvent),
    /// Releases and bindings.
    Plugin(PluginEvent),
}

/// Tenants, keys, lists of entity types, releases and bindings at one position of the log.
#[derive(Debug, Clone)]
pub struct Control {
    root_agent: AgentId,
    tenants: HashMap<TenantId, TenantInfo>,
    keys: HashMap<(TenantId, AgentId), Vec<KeyRecord>>,
    generation: u64,
    ledger: LedgerId,
    plugins: PluginRegister,
    entity_types: Lists,
}

fn refused(what: &str) -> Reject {
    Reject::new(RejectCode::ControlRefused, what)
}

impl Control {
    /// The state that genesis gives: the ledger's root agent with its first key.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        let root = KeyRecord {
            key_id: KeyId::new(1),
            public_key: genesis.root_key,
            valid_from: LogTime::from_micros(0),
            valid_to: None,
            revoked_at: None,
            registered_index: Index::new(0),
            generation: 0,
        };
        Self {
            root_agent: genesis.root_agent,
            tenants: HashMap::new(),
            keys: HashMap::from([((TenantId::NIL, genesis.root_agent), vec![root])]),
            generation: 0,
            ledger: genesis.ledger_id(),
            plugins: PluginRegister::new(genesis.ledger_id()),
            entity_types: Lists::default(),
        }
    }

    /// Releases and bindings.
    #[must_use]
    pub const fn plugins(&self) -> &PluginRegister {
        &self.plugins
    }

    /// What a store takes, if it has a list.
    #[must_use]
    pub fn entity_types(&self, stream: &Stream) -> Option<&Arc<EntityTypes>> {
        self.entity_types.of(stream)
    }

    /// Rises with each change of tenants or keys.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// A tenant.
    #[must_use]
    pub fn tenant(&self, tenant: TenantId) -> Option<TenantInfo> {
        self.tenants.get(&tenant).copied()
    }

    /// All keys of an agent, oldest first.
    #[must_use]
    pub fn keys(&self, tenant: TenantId, agent: AgentId) -> &[KeyRecord] {
        self.keys.get(&(tenant, agent)).map_or(&[], Vec::as_slice)
    }

    /// The key that an event of `stream` names. In a control stream of an operator-managed tenant the ledger's root
    /// agent is looked up under the ledger.
    #[must_use]
    pub fn find_key(&self, stream: &Stream, agent: AgentId, key_id: KeyId) -> Option<&KeyRecord> {
        let own = self.key_in(stream.tenant, agent, key_id);
        if own.is_some() || !stream.is_control() || agent != self.root_agent {
            return own;
        }
        let managed = self.tenants.get(&stream.tenant).is_some_and(|tenant| tenant.operator_managed);
        if managed { self.key_in(TenantId::NIL, agent, key_id) } else { None }
    }

    fn key_in(&self, tenant: TenantId, agent: AgentId, key_id: KeyId) -> Option<&KeyRecord> {
        let at = usize::try_from(key_id.get().checked_sub(1)?).ok()?;
        self.keys.get(&(tenant, agent))?.get(at)
    }

    /// What an event's type and stream ask for: nothing special, or a control event that may be applied.
    ///
    /// # Errors
    /// A reserved type outside a control stream, another type inside one, a signer without the right, a payload that
    /// is not the event's, or a change that the state does not allow. Nothing was changed.
    pub fn check(
        &self,
        stream: &Stream,
        agent: AgentId,
        event_type: &str,
        payload: &[u8],
        now: LogTime,
    ) -> Result<Option<Change>, Reject> {
        if !stream.is_control() {
            Self::check_ordinary(event_type)?;
            if !self.tenants.contains_key(&stream.tenant) {
                return Err(Reject::new(RejectCode::TenantUnknown, "the tenant does not exist"));
            }
            return Ok(None);
        }
        self.check_signer(stream, agent)?;
        if event_type.starts_with(PLUGIN_PREFIX) {
            let event = PluginEvent::decode(event_type, payload).map_err(|error| error.reject())?;
            // Where it will stand makes no difference to whether it may.
            let at = Moment { stream: *stream, actor: agent, index: Index::new(0), now };
            self.plugins.check(&at, &event, self).map_err(|refusal| refusal.reject())?;
            return Ok(Some(Change::Plugin(event)));
        }
        let event = ControlEvent::decode(event_type, payload).map_err(|error| error.reject())?;
        self.check_change(stream, &event, now)?;
        Ok(Some(Change::Control(event)))
    }

    /// Whether an ordinary stream may hold this event type.
    ///
    /// # Errors
    /// The type is reserved.
    pub fn check_ordinary(event_type: &str) -> Result<(), Reject> {
        if event_type.starts_with(RESERVED_PREFIX) {
            return Err(Reject::new(
                RejectCode::ReservedEventType,
                "event types that begin with `tally.` belong to control streams",
            ));
        }
        Ok(())
    }

    /// Whether an agent may write to a control stream.
    pub(crate) fn check_signer(&self, stream: &Stream, agent: AgentId) -> Result<(), Reject> {
        if !stream.is_ledger() && !self.tenants.contains_key(&stream.tenant) {
            return Err(Reject::new(RejectCode::TenantUnknown, "the tenant does not exist"));
        }
        if self.is_root(stream, agent) {
            Ok(())
        } else {
            Err(Reject::new(RejectCode::ReservedStream, "this agent may not write to this control stream"))
        }
    }

    fn check_change(&self, stream: &Stream, event: &ControlEvent, now: LogTime) -> Result<(), Reject> {
        match event {
            ControlEvent::TenantCreated { tenant_id, root_public_key, .. } => {
                if !stream.is_ledger() {
                    return Err(refused("a tenant is created in the ledger's stream"));
                }
                if tenant_id.is_nil() || self.tenants.contains_key(tenant_id) {
                    return Err(refused("the tenant exists"));
                }
                check_key(root_public_key)
            }
            ControlEvent::AgentKeyRegistered { agent_id, key_id, public_key, valid_from, valid_to } => {
                check_key(public_key)?;
                self.check_next(stream, *agent_id, *key_id)?;
                check_window(valid_from.unwrap_or(now), *valid_to)
            }
            ControlEvent::AgentKeyRotated { agent_id, key_id, public_key, previous_valid_to, valid_to } => {
                check_key(public_key)?;
                self.check_next(stream, *agent_id, *key_id)?;
                let Some(previous) = self.keys(stream.tenant, *agent_id).last() else {
                    return Err(refused("the agent has no key to rotate"));
                };
                if previous.revoked_at.is_some() {
                    return Err(refused("a revoked key is not rotated; register its successor"));
                }
                check_shortens(previous, *previous_valid_to)?;
                check_window(now, *valid_to)
            }
            ControlEvent::AgentKeyExpired { agent_id, key_id, valid_to } => {
                let key = self.existing(stream, *agent_id, *key_id)?;
                if key.revoked_at.is_some() {
                    return Err(refused("the key is revoked"));
                }
                check_shortens(key, *valid_to)
            }
            ControlEvent::AgentKeyRevoked { agent_id, key_id, .. } => {
                if self.existing(stream, *agent_id, *key_id)?.revoked_at.is_some() {
                    return Err(refused("the key is revoked already"));
                }
                Ok(())
            }
            ControlEvent::EntityTypesSet { .. } | ControlEvent::EntityTypesLifted { .. } => {
                if stream.is_ledger() {
                    return Err(refused("a store's list is set in its tenant's stream"));
                }
                Ok(())
            }
        }
    }

    fn check_next(&self, stream: &Stream, agent: AgentId, key_id: KeyId) -> Result<(), Reject> {
        if stream.is_ledger() && agent != self.root_agent {
            return Err(refused("the ledger has one agent, its root agent"));
        }
        let next = self.keys(stream.tenant, agent).len() as u64 + 1;
        if u64::from(key_id.get()) == next {
            Ok(())
        } else {
            Err(refused(&format!("the agent's next key id is {next}")))
        }
    }

    fn existing(&self, stream: &Stream, agent: AgentId, key_id: KeyId) -> Result<&KeyRecord, Reject> {
        self.key_in(stream.tenant, agent, key_id).ok_or_else(|| refused("the agent has no such key"))
    }

    /// Applies an event that [`Self::check`] passed, by its signer at its index and log time.
    pub fn apply(&mut self, stream: &Stream, agent: AgentId, change: &Change, index: Index, now: LogTime) {
        let event = match change {
            Change::Control(event) => event,
            Change::Plugin(event) => {
                let at = Moment { stream: *stream, actor: agent, index, now };
                let mut plugins = core::mem::replace(&mut self.plugins, PluginRegister::new(self.ledger));
                // It was checked, so nothing is refused.
                let applied = plugins.apply(&at, event, self);
                debug_assert_eq!(applied, Ok(()));
                self.plugins = plugins;
                self.entity_types.follow(event, stream, &self.plugins);
                return;
            }
        };
        self.generation += 1;
        let generation = self.generation;
        match event {
            ControlEvent::TenantCreated { tenant_id, root_agent_id, root_public_key, operator_managed } => {
                let (root_agent, operator_managed) = (*root_agent_id, *operator_managed);
                self.tenants.insert(*tenant_id, TenantInfo { root_agent, operator_managed, created_index: index });
                self.push_key(*tenant_id, root_agent, *root_public_key, (now, None), index);
            }
            ControlEvent::AgentKeyRegistered { agent_id, public_key, valid_from, valid_to, .. } => {
                let window = (valid_from.unwrap_or(now), *valid_to);
                self.push_key(stream.tenant, *agent_id, *public_key, window, index);
            }
            ControlEvent::AgentKeyRotated { agent_id, key_id, public_key, previous_valid_to, valid_to } => {
                let previous = KeyId::new(key_id.get() - 1);
                self.change_key(stream.tenant, *agent_id, previous, |key| {
                    key.valid_to = Some(*previous_valid_to);
                    key.generation = generation;
                });
                self.push_key(stream.tenant, *agent_id, *public_key, (now, *valid_to), index);
            }
            ControlEvent::AgentKeyExpired { agent_id, key_id, valid_to } => {
                self.change_key(stream.tenant, *agent_id, *key_id, |key| {
                    key.valid_to = Some(*valid_to);
                    key.generation = generation;
                });
            }
            ControlEvent::AgentKeyRevoked { agent_id, key_id, .. } => {
                self.change_key(stream.tenant, *agent_id, *key_id, |key| {
                    key.revoked_at = Some(now);
                    key.generation = generation;
                });
            }
            ControlEvent::EntityTypesSet { store_id, entity_types } => {
                let target = Stream::new(stream.tenant, *store_id);
                self.entity_types.set(target, entity_types, index, &self.plugins);
            }
            ControlEvent::EntityTypesLifted { store_id } => {
                self.entity_types.lift(&Stream::new(stream.tenant, *store_id));
            }
        }
    }

    fn push_key(
        &mut self,
        tenant: TenantId,
        agent: AgentId,
        public_key: PublicKey,
        (valid_from, valid_to): (LogTime, Option<LogTime>),
        registered_index: Index,
    ) {
        let generation = self.generation;
        let keys = self.keys.entry((tenant, agent)).or_default();
        let key_id = KeyId::new(u32::try_from(keys.len() + 1).unwrap_or(u32::MAX));
        keys.push(KeyRecord {
            key_id,
            public_key,
            valid_from,
            valid_to,
            revoked_at: None,
            registered_index,
            generation,
        });
    }

    fn change_key(&mut self, tenant: TenantId, agent: AgentId, key_id: KeyId, change: impl FnOnce(&mut KeyRecord)) {
        let at = usize::try_from(key_id.get()).unwrap_or(usize::MAX).wrapping_sub(1);
        if let Some(key) = self.keys.get_mut(&(tenant, agent)).and_then(|keys| keys.get_mut(at)) {
            change(key);
        }
    }
}

impl Agents for Control {
    fn valid_key(&self, stream: &Stream, agent: AgentId, key_id: KeyId, now: LogTime) -> Option<PublicKey> {
        let key = self.find_key(stream, agent, key_id).filter(|key| key.invalid_at(now).is_none());
        key.map(|key| key.public_key)
    }

    fn is_root(&self, stream: &Stream, agent: AgentId) -> bool {
        if stream.is_ledger() {
            return agent == self.root_agent;
        }
        let tenant = self.tenants.get(&stream.tenant).filter(|_| stream.is_control());
        tenant.is_some_and(|it| agent == it.root_agent || (it.operator_managed && agent == self.root_agent))
    }
}

fn check_key(key: &PublicKey) -> Result<(), Reject> {
    check_registration(key).map_err(|error| refused(&error.to_string()))
}

fn check_window(from: LogTime, to: Option<LogTime>) -> Result<(), Reject> {
    if to.is_some_and(|to| to <= from) { Err(refused("valid_to must lie after valid_from")) } else { Ok(()) }
}

/// Validity only ever gets shorter by an event; a key that ended stays ended.
fn check_shortens(key: &KeyRecord, to: LogTime) -> Result<(), Reject> {
    if key.valid_to.is_some_and(|end| to > end) {
        return Err(refused("a key's valid_to can only move earlier"));
    }
    Ok(())
}
