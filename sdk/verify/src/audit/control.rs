//! The rule about tenants, keys and rights, written a second time.
//!
//! The sequencer has its own (`control.rs` of tally-core); this one shares nothing with it but the payload format, so
//! that a mistake in one shows as a difference. It keeps the log of control facts per key instead of a current state,
//! and asks of each event: by what was written *before* this index, was this key good at this log time, and might its
//! holder write here? What plugin events may do is the protocol's register on both sides; whose keys are good when, is not.

use std::collections::BTreeMap;

use tally_protocol::control::{ControlEvent, RESERVED_PREFIX, ROOT_KEY_ID};
use tally_protocol::entry::Genesis;
use tally_protocol::frame::{Frame, PayloadKind};
use tally_protocol::id::{AgentId, Index, KeyId, Stream, TenantId};
use tally_protocol::key::{PublicKey, check_registration};
use tally_protocol::plugin_event::{PLUGIN_PREFIX, PluginEvent};
use tally_protocol::plugin_life::{Agents, Moment, PluginRegister};
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
    known: Known,
    plugins: PluginRegister,
}

/// Tenants and keys.
#[derive(Debug)]
struct Known {
    ledger_root: AgentId,
    tenants: BTreeMap<TenantId, Tenant>,
    keys: BTreeMap<(TenantId, AgentId, KeyId), KeyFacts>,
}

impl Rights {
    pub(super) fn new(genesis: &Genesis) -> Self {
        let mut known = Known { ledger_root: genesis.root_agent, tenants: BTreeMap::new(), keys: BTreeMap::new() };
        known.add_key(TenantId::NIL, genesis.root_agent, ROOT_KEY_ID, genesis.root_key, LogTime::EPOCH, None);
        Self { known, plugins: PluginRegister::new(genesis.ledger_id()) }
    }

    /// Judges one event, and takes in what it says if it is a control event.
    pub(super) fn judge(&mut self, frame: &Frame, used: &PublicKey, at: LogTime) -> Result<(), Broken> {
        self.known.judge_key(frame, used, at)?;
        let stream = frame.stream();
        if !stream.is_control() {
            return self.known.judge_ordinary(frame);
        }
        self.known.judge_right(&stream, frame.agent_id())?;
        let taken = if frame.event_type().starts_with(PLUGIN_PREFIX) {
            self.take_in_plugin(frame, at)
        } else {
            self.known.take_in(frame, at)
        };
        taken.map_err(|why| (Rule::ControlRefused, why))
    }

    fn take_in_plugin(&mut self, frame: &Frame, now: LogTime) -> Result<(), String> {
        require(frame.payload_kind() == PayloadKind::Plain, "a control event's payload is encrypted")?;
        let event = PluginEvent::decode(frame.event_type(), frame.payload()).map_err(|error| error.to_string())?;
        // Where it stands makes no difference to whether it may.
        let at = Moment { stream: frame.stream(), actor: frame.agent_id(), index: Index::new(0), now };
        self.plugins.apply(&at, &event, &self.known).map_err(|refusal| refusal.to_string())
    }
}

impl Agents for Known {
    fn valid_key(&self, stream: &Stream, agent: AgentId, key_id: KeyId, now: LogTime) -> Option<PublicKey> {
        let key = self.key_of(stream, agent, key_id)?;
        let good = !key.revoked && now >= key.from && key.end().is_none_or(|end| now < end);
        good.then_some(key.public_key)
    }

    fn is_root(&self, stream: &Stream, agent: AgentId) -> bool {
        self.judge_right(stream, agent).is_ok()
    }
}

impl Known {
    fn key_of(&self, stream: &Stream, agent: AgentId, id: KeyId) -> Option<&KeyFacts> {
        let operators = || {
            let managed = stream.is_control() && self.tenants.get(&stream.tenant).is_some_and(|it| it.managed);
            let is_root = managed && agent == self.ledger_root;
            is_root.then(|| self.keys.get(&(TenantId::NIL, agent, id))).flatten()
        };
        self.keys.get(&(stream.tenant, agent, id)).or_else(operators)
    }

    fn judge_key(&self, frame: &Frame, used: &PublicKey, at: LogTime) -> Result<(), Broken> {
        let (agent, id) = (frame.agent_id(), frame.key_id());
        let broken = |what: &str| Err((Rule::KeyNotValid, format!("key {id} of agent {agent} {what}")));
        let Some(key) = self.key_of(&frame.stream(), agent, id) else {
            return broken("was not registered before");
        };
        if key.public_key != *used {
            return broken("is another public key");
        }
        if key.revoked {
            return broken("was revoked before");
        }
        if at < key.from {
            return broken("was not valid yet");
        }
        if key.end().is_some_and(|end| at >= end) {
            return broken("was not valid any more");
        }
        Ok(())
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

    fn judge_right(&self, stream: &Stream, agent: AgentId) -> Result<(), Broken> {
        let allowed = if stream.is_ledger() {
            agent == self.ledger_root
        } else {
            let tenant = self.tenants.get(&stream.tenant);
            tenant.is_some_and(|it| agent == it.root || (it.managed && agent == self.ledger_root))
        };
        if allowed {
            return Ok(());
        }
        Err((Rule::KeyNotValid, format!("agent {agent} may not write to control stream {stream}")))
    }

    fn take_in(&mut self, frame: &Frame, at: LogTime) -> Result<(), String> {
        if frame.payload_kind() != PayloadKind::Plain {
            return Err("a control event's payload is encrypted".to_owned());
        }
        let event = ControlEvent::decode(frame.event_type(), frame.payload()).map_err(|error| error.to_string())?;
        let stream = frame.stream();
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
