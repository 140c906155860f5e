//! The rule about tenants, keys, rights and entity types, written a second time.
//!
//! The sequencer has its own (`control.rs` of tally-core); this one shares nothing with it but the payload format, so
//! that a mistake in one shows as a difference. It keeps the log of control facts per key instead of a current state,
//! and asks of each event: by what was written *before* this index, was this key good at this log time, and might its
//! holder write here? What plugin events may do is the protocol's register on both sides; whose keys are good when, is not.

use std::collections::{BTreeMap, BTreeSet};

use tally_protocol::control::{ControlEvent, RESERVED_PREFIX, ROOT_KEY_ID};
use tally_protocol::entry::Genesis;
use tally_protocol::frame::{Frame, PayloadKind};
use tally_protocol::hash::LedgerId;
use tally_protocol::id::{AgentId, Index, KeyId, Stream, TenantId};
use tally_protocol::key::{PublicKey, check_registration};
use tally_protocol::plugin_event::{PLUGIN_PREFIX, PluginEvent};
use tally_protocol::plugin_life::{Agents, Moment, PluginRegister};
use tally_protocol::release::ENTITY_PERMISSION;
use tally_protocol::time::LogTime;

use super::finding::Rule;

/// What the log said about one key, in order.
#[derive(Debug, Clone)]
struct KeyFacts {
    public_key: PublicKey,
    from: LogTime,
    /// Every end that was set; the earliest counts.
    ends: Vec<LogTime>,
    revoked: bool,
}

impl KeyFacts {
    fn end(&self) -> Option<LogTime> {
        self.ends.iter().min().copied()
    }

    /// Why the key is not valid at this time, if it is not.
    fn why_not_valid(&self, at: LogTime) -> Option<&'static str> {
        if self.revoked {
            Some("was revoked before")
        } else if at < self.from {
            Some("was not valid yet")
        } else if self.end().is_some_and(|end| at >= end) {
            Some("was not valid any more")
        } else {
            None
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Tenant {
    root: AgentId,
    managed: bool,
}

/// A broken rule, in words.
pub(super) type Broken = (Rule, String);

/// Tenants, keys and plugins as of the entry before.
#[derive(Debug)]
pub(super) struct Rights {
    directory: Directory,
    plugins: PluginRegister,
}

impl Rights {
    pub(super) fn new(ledger: LedgerId, genesis: &Genesis) -> Self {
        Self { directory: Directory::new(genesis), plugins: PluginRegister::new(ledger) }
    }

    /// Judges one event, and takes in what it says if it is a control event.
    pub(super) fn judge(&mut self, frame: &Frame, index: Index, used: &PublicKey, at: LogTime) -> Result<(), Broken> {
        self.directory.judge_key(frame, used, at)?;
        let stream = frame.stream();
        if !stream.is_control() {
            self.directory.judge_ordinary(frame)?;
            return self.judge_entity_type(&stream, frame.entity_type());
        }
        self.directory.judge_right(&stream, frame.agent_id())?;
        self.take_in(frame, index, at).map_err(|why| (Rule::ControlRefused, why))
    }

    fn judge_entity_type(&self, stream: &Stream, entity_type: &str) -> Result<(), Broken> {
        let listed = self.directory.lists.get(stream).is_none_or(|list| list.contains(entity_type));
        if listed || self.plugins.is_granted(stream, &format!("{ENTITY_PERMISSION}{entity_type}")) {
            return Ok(());
        }
        let why = format!("the list of {stream} did not name the event's entity type, and no plugin there brought it");
        Err((Rule::EntityTypeUnknown, why))
    }

    fn take_in(&mut self, frame: &Frame, index: Index, now: LogTime) -> Result<(), String> {
        if frame.payload_kind() != PayloadKind::Plain {
            return Err("a control event's payload is encrypted".to_owned());
        }
        let (stream, event_type) = (frame.stream(), frame.event_type());
        if !event_type.starts_with(PLUGIN_PREFIX) {
            return self.directory.follow(&stream, event_type, frame.payload(), now);
        }
        let event = PluginEvent::decode(event_type, frame.payload()).map_err(|error| error.to_string())?;
        let moment = Moment { stream, actor: frame.agent_id(), index, now };
        self.plugins.apply(&moment, &event, &self.directory).map_err(|refusal| refusal.to_string())
    }
}

/// Agents, their keys and the lists of entity types at one position of the log, out of nothing but genesis and the
/// control events before it.
///
/// Replay resolves publishers and reviewers of plugins with it, so that it shares no key table with the sequencer.
#[derive(Debug, Clone)]
pub struct Directory {
    ledger_root: AgentId,
    tenants: BTreeMap<TenantId, Tenant>,
    keys: BTreeMap<(TenantId, AgentId, KeyId), KeyFacts>,
    /// Of the stores that have one.
    lists: BTreeMap<Stream, BTreeSet<String>>,
}

impl Agents for Directory {
    fn valid_key(&self, stream: &Stream, agent: AgentId, key_id: KeyId, now: LogTime) -> Option<PublicKey> {
        let key = self.key(stream, agent, key_id)?;
        key.why_not_valid(now).is_none().then_some(key.public_key)
    }

    fn is_root(&self, stream: &Stream, agent: AgentId) -> bool {
        self.may_write(stream, agent)
    }
}

impl Directory {
    /// The ledger's root agent with its first key, as genesis names them.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        let (tenants, keys, lists) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut directory = Self { ledger_root: genesis.root_agent, tenants, keys, lists };
        directory.add_key(TenantId::NIL, genesis.root_agent, ROOT_KEY_ID, genesis.root_key, LogTime::EPOCH, None);
        directory
    }

    /// The key that an event of a stream names. In a control stream of an operator-managed tenant the ledger's root
    /// agent signs with its own.
    fn key(&self, stream: &Stream, agent: AgentId, id: KeyId) -> Option<&KeyFacts> {
        let own = self.keys.get(&(stream.tenant, agent, id));
        let operators = || {
            let managed = stream.is_control() && self.tenants.get(&stream.tenant).is_some_and(|it| it.managed);
            let is_root = managed && agent == self.ledger_root;
            is_root.then(|| self.keys.get(&(TenantId::NIL, agent, id))).flatten()
        };
        own.or_else(operators)
    }

    fn judge_key(&self, frame: &Frame, used: &PublicKey, at: LogTime) -> Result<(), Broken> {
        let (agent, id) = (frame.agent_id(), frame.key_id());
        let broken = |what: &str| Err((Rule::KeyNotValid, format!("key {id} of agent {agent} {what}")));
        let Some(key) = self.key(&frame.stream(), agent, id) else {
            return broken("was not registered before");
        };
        if key.public_key != *used {
            return broken("is another public key");
        }
        key.why_not_valid(at).map_or(Ok(()), broken)
    }

    fn judge_ordinary(&self, frame: &Frame) -> Result<(), Broken> {
        if frame.event_type().starts_with(RESERVED_PREFIX) {
            return Err((Rule::ControlRefused, "a reserved event type in an ordinary stream".to_owned()));
        }
        if !self.tenants.contains_key(&frame.tenant_id()) {
            return Err((Rule::ControlRefused, "the tenant was not created before".to_owned()));
        }
        Ok(())
    }

    /// Whether an agent is a root agent of this control stream.
    fn may_write(&self, stream: &Stream, agent: AgentId) -> bool {
        if stream.is_ledger() {
            return agent == self.ledger_root;
        }
        let tenant = self.tenants.get(&stream.tenant);
        tenant.is_some_and(|it| agent == it.root || (it.managed && agent == self.ledger_root))
    }

    fn judge_right(&self, stream: &Stream, agent: AgentId) -> Result<(), Broken> {
        if self.may_write(stream, agent) {
            return Ok(());
        }
        Err((Rule::KeyNotValid, format!("agent {agent} may not write to control stream {stream}")))
    }

    /// Takes in a control event of tenants, keys or lists of entity types, at its log time.
    ///
    /// # Errors
    /// The state does not allow it, in words.
    pub fn follow(&mut self, stream: &Stream, event_type: &str, payload: &[u8], at: LogTime) -> Result<(), String> {
        let stream = *stream;
        let event = ControlEvent::decode(event_type, payload).map_err(|error| error.to_string())?;
        match event {
            ControlEvent::TenantCreated { tenant_id, root_agent_id, root_public_key, operator_managed } => {
                require(stream.is_ledger(), "a tenant is created outside the ledger's stream")?;
                require(!tenant_id.is_nil() && !self.tenants.contains_key(&tenant_id), "the tenant existed before")?;
                may_register(&root_public_key)?;
                self.tenants.insert(tenant_id, Tenant { root: root_agent_id, managed: operator_managed });
                self.add_key(tenant_id, root_agent_id, ROOT_KEY_ID, root_public_key, at, None);
            }
            ControlEvent::AgentKeyRegistered { agent_id, key_id, public_key, valid_from, valid_to } => {
                self.require_next(&stream, agent_id, key_id)?;
                may_register(&public_key)?;
                self.add_window(&stream, agent_id, key_id, public_key, (valid_from.unwrap_or(at), valid_to))?;
            }
            ControlEvent::AgentKeyRotated { agent_id, key_id, public_key, previous_valid_to, valid_to } => {
                self.require_next(&stream, agent_id, key_id)?;
                may_register(&public_key)?;
                let last = KeyId::new(key_id.get() - 1);
                self.end_key(&stream, agent_id, last, previous_valid_to)?;
                self.add_window(&stream, agent_id, key_id, public_key, (at, valid_to))?;
            }
            ControlEvent::AgentKeyExpired { agent_id, key_id, valid_to } => {
                self.end_key(&stream, agent_id, key_id, valid_to)?;
            }
            ControlEvent::AgentKeyRevoked { agent_id, key_id, .. } => {
                let key = self.key_mut(&stream, agent_id, key_id)?;
                require(!key.revoked, "the key was revoked before")?;
                key.revoked = true;
            }
            ControlEvent::EntityTypesSet { store_id, entity_types } => {
                require(!stream.is_ledger(), "a store's list is set in the ledger's stream")?;
                self.lists.insert(Stream::new(stream.tenant, store_id), entity_types);
            }
            ControlEvent::EntityTypesLifted { store_id } => {
                require(!stream.is_ledger(), "a store's list is lifted in the ledger's stream")?;
                self.lists.remove(&Stream::new(stream.tenant, store_id));
            }
        }
        Ok(())
    }

    fn require_next(&self, stream: &Stream, agent: AgentId, id: KeyId) -> Result<(), String> {
        require(!stream.is_ledger() || agent == self.ledger_root, "the ledger has one agent, its root agent")?;
        let is_new = !self.keys.contains_key(&(stream.tenant, agent, id));
        let follows = match id.get() {
            0 => false,
            1 => true,
            more => self.keys.contains_key(&(stream.tenant, agent, KeyId::new(more - 1))),
        };
        require(is_new && follows, "the key id is not the last plus one")
    }

    fn key_mut(&mut self, stream: &Stream, agent: AgentId, id: KeyId) -> Result<&mut KeyFacts, String> {
        self.keys.get_mut(&(stream.tenant, agent, id)).ok_or_else(|| "the agent has no such key".to_owned())
    }

    fn end_key(&mut self, stream: &Stream, agent: AgentId, id: KeyId, end: LogTime) -> Result<(), String> {
        let key = self.key_mut(stream, agent, id)?;
        require(!key.revoked, "the key was revoked before")?;
        require(key.end().is_none_or(|before| end <= before), "a key's validity was lengthened")?;
        key.ends.push(end);
        Ok(())
    }

    fn add_window(
        &mut self,
        stream: &Stream,
        agent: AgentId,
        id: KeyId,
        public_key: PublicKey,
        (from, to): (LogTime, Option<LogTime>),
    ) -> Result<(), String> {
        require(to.is_none_or(|to| to > from), "the key's validity is empty")?;
        self.add_key(stream.tenant, agent, id, public_key, from, to);
        Ok(())
    }

    fn add_key(
        &mut self,
        tenant: TenantId,
        agent: AgentId,
        id: KeyId,
        public_key: PublicKey,
        from: LogTime,
        to: Option<LogTime>,
    ) {
        let facts = KeyFacts { public_key, from, ends: to.into_iter().collect(), revoked: false };
        self.keys.insert((tenant, agent, id), facts);
    }
}

fn may_register(key: &PublicKey) -> Result<(), String> {
    check_registration(key).map_err(|error| error.to_string())
}

fn require(holds: bool, why: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}
