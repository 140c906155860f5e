//! Builders: ledgers, tenants, agents, and the frames they sign.

use tally_protocol::control::{ControlEvent, ROOT_KEY_ID};
use tally_protocol::entry::{Genesis, PROFILE};
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash::LedgerId;
use tally_protocol::id::{AgentId, EventId, KeyId, Stream, TenantId};
use tally_protocol::jcs;
use tally_protocol::key::{PublicKey, Signature, SigningKey};
use tally_protocol::time::LogTime;

use crate::keys::{agent_id, signing_key, store_id, tenant_id};

/// A ledger with all its keys in hand.
#[derive(Debug, Clone)]
pub struct TestLedger {
    /// The genesis entry, decoded.
    pub genesis: Genesis,
    /// Signs published checkpoints.
    pub checkpoint_key: SigningKey,
    /// Signs receipts' checkpoints and VES receipts.
    pub receipt_key: SigningKey,
    /// The ledger's root agent.
    pub root: TestAgent,
}

impl TestLedger {
    /// A ledger by its origin name; the time is that of its genesis.
    #[must_use]
    pub fn new(origin: &str, created_at: LogTime) -> Self {
        let checkpoint_key = signing_key(&format!("{origin} checkpoint"));
        let receipt_key = signing_key(&format!("{origin} receipt"));
        let root_key = signing_key(&format!("{origin} root"));
        let root_agent = agent_id(0xffff_0000);
        let genesis = Genesis {
            origin: origin.to_owned(),
            profile: PROFILE.to_owned(),
            created_at,
            nonce: [0x5a; 16],
            checkpoint_key: checkpoint_key.public_key(),
            receipt_key: receipt_key.public_key(),
            root_agent,
            root_key: root_key.public_key(),
        };
        let root = TestAgent { tenant: TenantId::NIL, id: root_agent, key_id: ROOT_KEY_ID, key: root_key };
        Self { genesis, checkpoint_key, receipt_key, root }
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> LedgerId {
        self.genesis.ledger_id()
    }

    /// The signed event that creates a tenant.
    #[must_use]
    pub fn create(&self, tenant: &TestTenant, event: EventId, created_at: LogTime) -> Frame {
        let control = ControlEvent::TenantCreated {
            tenant_id: tenant.id,
            root_agent_id: tenant.root.id,
            root_public_key: tenant.root.key.public_key(),
            operator_managed: tenant.operator_managed,
        };
        self.root.control(Stream::LEDGER, &control, event, created_at)
    }
}

/// A tenant with its root agent.
#[derive(Debug, Clone)]
pub struct TestTenant {
    /// Its id.
    pub id: TenantId,
    /// Its root agent.
    pub root: TestAgent,
    /// Whether the ledger's root agent may sign for it.
    pub operator_managed: bool,
}

impl TestTenant {
    /// Tenant number `n`, which manages itself.
    #[must_use]
    pub fn new(n: u64) -> Self {
        let root = TestAgent {
            tenant: tenant_id(n),
            id: agent_id(0xfffe_0000 + n),
            key_id: ROOT_KEY_ID,
            key: signing_key(&format!("tenant {n} root")),
        };
        Self { id: tenant_id(n), root, operator_managed: false }
    }

    /// The same, managed by the operator.
    #[must_use]
    pub fn operator_managed(n: u64) -> Self {
        Self { operator_managed: true, ..Self::new(n) }
    }

    /// The stream of store number `n`.
    #[must_use]
    pub const fn stream(&self, n: u64) -> Stream {
        Stream::new(self.id, store_id(n))
    }

    /// Agent number `n` of this tenant with its first key.
    #[must_use]
    pub fn agent(&self, n: u64) -> TestAgent {
        TestAgent {
            tenant: self.id,
            id: agent_id(n),
            key_id: KeyId::new(1),
            key: signing_key(&format!("{} agent {n} key 1", self.id)),
        }
    }

    /// The signed event that registers an agent's key, valid from its own log time on.
    #[must_use]
    pub fn register(&self, agent: &TestAgent, event: EventId, created_at: LogTime) -> Frame {
        self.register_in_window(agent, (None, None), event, created_at)
    }

    /// The same with a window of validity.
    #[must_use]
    pub fn register_in_window(
        &self,
        agent: &TestAgent,
        (valid_from, valid_to): (Option<LogTime>, Option<LogTime>),
        event: EventId,
        created_at: LogTime,
    ) -> Frame {
        let control = ControlEvent::AgentKeyRegistered {
            agent_id: agent.id,
            key_id: agent.key_id,
            public_key: agent.key.public_key(),
            valid_from,
            valid_to,
        };
        self.control(&control, event, created_at)
    }

    /// The signed event that puts `successor` in place of the agent's last key.
    #[must_use]
    pub fn rotate(
        &self,
        successor: &TestAgent,
        previous_valid_to: LogTime,
        event: EventId,
        created_at: LogTime,
    ) -> Frame {
        let control = ControlEvent::AgentKeyRotated {
            agent_id: successor.id,
            key_id: successor.key_id,
            public_key: successor.key.public_key(),
            previous_valid_to,
            valid_to: None,
        };
        self.control(&control, event, created_at)
    }

    /// The signed event that ends a key's validity.
    #[must_use]
    pub fn expire(&self, agent: &TestAgent, valid_to: LogTime, event: EventId, created_at: LogTime) -> Frame {
        let control = ControlEvent::AgentKeyExpired { agent_id: agent.id, key_id: agent.key_id, valid_to };
        self.control(&control, event, created_at)
    }

    /// The signed event that revokes a key.
    #[must_use]
    pub fn revoke(&self, agent: &TestAgent, event: EventId, created_at: LogTime) -> Frame {
        let reason = "test".to_owned();
        let control = ControlEvent::AgentKeyRevoked { agent_id: agent.id, key_id: agent.key_id, reason };
        self.control(&control, event, created_at)
    }

    /// Any control event in the tenant's control stream, signed by its root agent.
    #[must_use]
    pub fn control(&self, control: &ControlEvent, event: EventId, created_at: LogTime) -> Frame {
        self.root.control(Stream::control(self.id), control, event, created_at)
    }
}

/// An agent with one of its keys.
#[derive(Debug, Clone)]
pub struct TestAgent {
    /// Its tenant; nil for the ledger's root agent.
    pub tenant: TenantId,
    /// Its id.
    pub id: AgentId,
    /// Which of its keys.
    pub key_id: KeyId,
    /// The key.
    pub key: SigningKey,
}

impl TestAgent {
    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// The same agent with its next key.
    #[must_use]
    pub fn successor(&self) -> Self {
        let key_id = self.key_id.next();
        let key = signing_key(&format!("{} {} key {key_id}", self.tenant, self.id));
        Self { key_id, key, ..self.clone() }
    }

    /// Starts an event of this agent in a stream.
    #[must_use]
    pub fn event(&self, stream: Stream, id: EventId) -> Event<'_> {
        Event {
            agent: self,
            stream,
            id,
            entity: ("Order".to_owned(), "ORD-1".to_owned()),
            event_type: "order.created".to_owned(),
            created_at: LogTime::EPOCH.to_rfc3339(),
            payload: b"{}".to_vec(),
        }
    }

    /// A signed control event.
    ///
    /// # Panics
    /// When the control event breaks a bound: the test is wrong.
    #[must_use]
    pub fn control(&self, stream: Stream, control: &ControlEvent, id: EventId, created_at: LogTime) -> Frame {
        let payload = control.payload();
        let (entity_type, entity_id) = control.entity();
        self.event(stream, id)
            .about(entity_type, &entity_id)
            .of_type(control.event_type())
            .created_at(created_at)
            .payload(&payload)
            .sign()
    }
}

/// An event being built.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    agent: &'a TestAgent,
    stream: Stream,
    id: EventId,
    entity: (String, String),
    event_type: String,
    created_at: String,
    payload: Vec<u8>,
}

impl Event<'_> {
    /// About this entity.
    #[must_use]
    pub fn about(mut self, entity_type: &str, entity_id: &str) -> Self {
        self.entity = (entity_type.to_owned(), entity_id.to_owned());
        self
    }

    /// With this event type.
    #[must_use]
    pub fn of_type(mut self, event_type: &str) -> Self {
        event_type.clone_into(&mut self.event_type);
        self
    }

    /// Dated by the agent.
    #[must_use]
    pub fn created_at(self, at: LogTime) -> Self {
        self.created_at_text(&at.to_rfc3339())
    }

    /// Dated in the agent's own words.
    #[must_use]
    pub fn created_at_text(mut self, text: &str) -> Self {
        text.clone_into(&mut self.created_at);
        self
    }

    /// With this JSON payload, brought into canonical form.
    ///
    /// # Panics
    /// When it has no canonical form: the test is wrong.
    #[must_use]
    pub fn payload(mut self, json: &[u8]) -> Self {
        self.payload = jcs::canonicalize(json).expect("test payloads are JSON");
        self
    }

    /// The fields to sign.
    #[must_use]
    pub fn fields(&self) -> EventFields {
        EventFields::plain(
            self.stream,
            self.id,
            (self.agent.id, self.agent.key_id),
            (&self.entity.0, &self.entity.1),
            &self.event_type,
            &self.created_at,
            &self.payload,
        )
    }

    /// The signed frame.
    ///
    /// # Panics
    /// When a bound is broken: the test is wrong.
    #[must_use]
    pub fn sign(self) -> Frame {
        let sign = |hash: &tally_protocol::hash::SigningHash| self.agent.key.sign(hash.as_bytes());
        Frame::build(&self.fields(), &self.payload, sign).expect("test events are well-formed")
    }

    /// The frame with this signature instead of the right one.
    ///
    /// # Panics
    /// When a bound is broken: the test is wrong.
    #[must_use]
    pub fn sign_as(self, signature: Signature) -> Frame {
        Frame::from_parts(&self.fields(), &self.payload, signature).expect("test events are well-formed")
    }
}
