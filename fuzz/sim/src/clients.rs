//! The clients: agents of three tenants, what they sent, and what they wait for.
//!
//! Makes submissions of mixed fortune: new events, exact retries (of events that are in the log, in flight or lost),
//! other content under a taken id, bad signatures, unknown, rotated, expired and revoked keys, payloads that are not
//! the signed ones, dates too far ahead, reserved types, and control events of the tenants' root agents.

use std::collections::HashMap;
use std::time::Duration;

use tally_core::Reader;
use tally_protocol::control::ControlEvent;
use tally_protocol::frame::Frame;
use tally_protocol::id::{AgentId, EventId, KeyId, Stream, TenantId};
use tally_protocol::key::Signature;
use tally_protocol::time::LogTime;
use tally_testkit::{TestAgent, TestLedger, TestRng, TestTenant, event_id, signing_key};

use crate::plan::Mood;

const TENANTS: u64 = 2;
const AGENTS: u64 = 1;
const STORES: u64 = 2;

/// Everybody who submits.
pub struct Clients {
    ledger: TestLedger,
    tenants: Vec<TestTenant>,
    made: Vec<Frame>,
    keys: HashMap<(TenantId, AgentId, KeyId), TestAgent>,
    next_event: u64,
}

impl Clients {
    /// Clients of a ledger that have sent nothing yet.
    #[must_use]
    pub fn new(ledger: &TestLedger) -> Self {
        let tenants = vec![TestTenant::new(1), TestTenant::operator_managed(2)];
        Self { ledger: ledger.clone(), tenants, made: Vec::new(), keys: HashMap::new(), next_event: 1 }
    }

    /// The events that create the tenants.
    pub fn tenants_created(&mut self, now: LogTime) -> Vec<Frame> {
        let ids: Vec<EventId> = (0..TENANTS).map(|_| self.new_id()).collect();
        self.tenants.iter().zip(ids).map(|(tenant, id)| self.ledger.create(tenant, id, now)).collect()
    }

    /// The events that register every agent's first key.
    pub fn agents_registered(&mut self, now: LogTime) -> Vec<Frame> {
        let mut frames = Vec::new();
        for at in 0..self.tenants.len() {
            for agent in 1..=AGENTS {
                let agent = self.holder(at, agent, KeyId::new(1));
                let id = self.new_id();
                frames.push(self.tenants[at].register(&agent, id, now));
            }
        }
        frames
    }

    /// Every stream that any event may be in.
    pub fn streams(&self) -> impl Iterator<Item = Stream> {
        let own = |tenant: &TestTenant| (1..=STORES).map(|n| tenant.stream(n)).collect::<Vec<_>>();
        let control = |tenant: &TestTenant| Stream::control(tenant.id);
        let streams: Vec<Stream> =
            self.tenants.iter().flat_map(|tenant| own(tenant).into_iter().chain([control(tenant)])).collect();
        streams.into_iter().chain([Stream::LEDGER])
    }

    /// A submission.
    pub fn submission(&mut self, rng: &mut TestRng, mood: &Mood, now: LogTime, reader: &Reader) -> Vec<Frame> {
        let count = 1 + rng.below(mood.submission_events_max);
        let frames: Vec<Frame> = (0..count).map(|_| self.frame(rng, mood, now, reader)).collect();
        self.made.extend(frames.iter().cloned());
        frames
    }

    /// Some that were sent at any time, to be sent again.
    pub fn some_earlier(&self, rng: &mut TestRng, count: usize) -> Vec<Frame> {
        (0..count).filter_map(|_| self.earlier(rng)).collect()
    }

    fn frame(&mut self, rng: &mut TestRng, mood: &Mood, now: LogTime, reader: &Reader) -> Frame {
        if rng.below(100) >= mood.mischief_percent {
            return self.fresh(rng, mood, now, reader);
        }
        match rng.below(16) {
            0..=4 => match self.earlier(rng) {
                Some(frame) => frame,
                None => self.fresh(rng, mood, now, reader),
            },
            5 | 6 => self.conflict(rng, mood, now, reader),
            7 => {
                let good = self.fresh(rng, mood, now, reader);
                let mut signature = *good.signature().as_bytes();
                signature[usize::try_from(rng.below(64)).unwrap_or(0)] ^= 1 << rng.below(8);
                Frame::from_parts(&good.fields(), good.payload(), Signature::from_bytes(signature)).unwrap_or(good)
            }
            8 => {
                let good = self.fresh(rng, mood, now, reader);
                Frame::from_parts(&good.fields(), b"{\"amount\":0}", good.signature()).unwrap_or(good)
            }
            // A key of any age, or one that is not there yet.
            9 | 10 => {
                let (tenant, agent) = self.somebody(rng);
                let next = self.next_key(tenant, agent, reader);
                let key_id = KeyId::new(1 + u32::try_from(rng.below(u64::from(next.get()))).unwrap_or(0));
                self.event(rng, (tenant, agent, key_id), mood, now)
            }
            11 => {
                let ahead = now.saturating_add(Duration::from_secs(3_000 + rng.below(1_200)));
                self.fresh(rng, mood, ahead, reader)
            }
            12 => {
                let (tenant, agent) = self.somebody(rng);
                let holder = self.holder(tenant, agent, KeyId::new(1));
                let (stream, id) = (self.tenants[tenant].stream(1), self.new_id());
                holder.event(stream, id).of_type("tally.something").created_at(now).sign()
            }
            _ => self.control(rng, now, reader),
        }
    }

    fn fresh(&mut self, rng: &mut TestRng, mood: &Mood, now: LogTime, reader: &Reader) -> Frame {
        let (tenant, agent) = self.somebody(rng);
        let newest = KeyId::new(self.next_key(tenant, agent, reader).get().saturating_sub(1).max(1));
        self.event(rng, (tenant, agent, newest), mood, now)
    }

    fn event(
        &mut self,
        rng: &mut TestRng,
        (tenant, agent, key_id): (usize, u64, KeyId),
        mood: &Mood,
        now: LogTime,
    ) -> Frame {
        let holder = self.holder(tenant, agent, key_id);
        let stream = self.tenants[tenant].stream(1 + rng.below(STORES));
        let id = self.new_id();
        let filling = "x".repeat(usize::try_from(rng.below(mood.payload_bytes_max)).unwrap_or(0));
        let payload = format!("{{\"filling\":\"{filling}\",\"number\":{}}}", self.next_event);
        let entity = format!("ORD-{}", rng.below(9));
        let kind = if rng.one_in(4) { "Invoice" } else { "Order" };
        holder.event(stream, id).about(kind, &entity).created_at(now).payload(payload.as_bytes()).sign()
    }

    fn earlier(&self, rng: &mut TestRng) -> Option<Frame> {
        let count = self.made.len() as u64;
        if count == 0 {
            return None;
        }
        // Recent ones are more likely to be in flight.
        let back = if rng.one_in(2) { rng.below(count.min(12)) } else { rng.below(count) };
        self.made.get(usize::try_from(count - 1 - back).unwrap_or(0)).cloned()
    }

    fn conflict(&mut self, rng: &mut TestRng, mood: &Mood, now: LogTime, reader: &Reader) -> Frame {
        let taken = self.earlier(rng).filter(|frame| !frame.stream().is_control());
        let Some(taken) = taken else { return self.fresh(rng, mood, now, reader) };
        let at = self.tenants.iter().position(|tenant| tenant.id == taken.tenant_id());
        let Some(tenant) = at else { return taken };
        let (_, agent) = self.somebody(rng);
        let newest = KeyId::new(self.next_key(tenant, agent, reader).get().saturating_sub(1).max(1));
        let holder = self.holder(tenant, agent, newest);
        holder.event(taken.stream(), taken.event_id()).created_at(now).payload(b"[\"other\"]").sign()
    }

    /// A tenant's root agent changes a key: registers, rotates, expires, revokes; or a store's list of entity types;
    /// sometimes what it may not.
    fn control(&mut self, rng: &mut TestRng, now: LogTime, reader: &Reader) -> Frame {
        if rng.one_in(8) {
            return self.list(rng, now);
        }
        let (tenant, agent) = self.somebody(rng);
        let next = self.next_key(tenant, agent, reader);
        let id = self.new_id();
        let successor = self.holder(tenant, agent, next);
        let any = KeyId::new(1 + u32::try_from(rng.below(u64::from(next.get()))).unwrap_or(0));
        let holder = self.holder(tenant, agent, any);
        let root = &self.tenants[tenant];
        let soon = now.saturating_add(Duration::from_millis(rng.below(20_000)));
        let event = match rng.below(6) {
            0 | 1 => return root.rotate(&successor, soon, id, now),
            2 => return root.expire(&holder, soon, id, now),
            3 => return root.revoke(&holder, id, now),
            4 => return root.register(&successor, id, now),
            _ => ControlEvent::AgentKeyRegistered {
                agent_id: successor.id,
                key_id: successor.key_id,
                public_key: successor.public_key(),
                valid_from: Some(soon),
                valid_to: None,
            },
        };
        // By whoever: the operator for its own tenant, an agent without the right, the root agent.
        match rng.below(3) {
            0 => self.ledger.root.control(Stream::control(root.id), &event, id, now),
            1 => holder.control(Stream::control(root.id), &event, id, now),
            _ => root.control(&event, id, now),
        }
    }

    /// Sets or lifts the list of a store. Most lists name what events are about, so that the log goes on.
    fn list(&mut self, rng: &mut TestRng, now: LogTime) -> Frame {
        let tenant = self.somebody(rng).0;
        let store_id = self.tenants[tenant].stream(1 + rng.below(STORES)).store;
        let list = |types: &[&str]| types.iter().map(|name| (*name).to_owned()).collect();
        let event = match rng.below(4) {
            0 => ControlEvent::EntityTypesSet { store_id, entity_types: list(&["Order"]) },
            1 => ControlEvent::EntityTypesSet { store_id, entity_types: list(&["Invoice", "Order"]) },
            2 => ControlEvent::EntityTypesSet { store_id, entity_types: list(&["Invoice"]) },
            _ => ControlEvent::EntityTypesLifted { store_id },
        };
        let id = self.new_id();
        self.tenants[tenant].control(&event, id, now)
    }

    fn somebody(&self, rng: &mut TestRng) -> (usize, u64) {
        (usize::try_from(rng.below(TENANTS)).unwrap_or(0), 1 + rng.below(AGENTS))
    }

    fn next_key(&self, tenant: usize, agent: u64, reader: &Reader) -> KeyId {
        reader.next_key_id(self.tenants[tenant].id, tally_testkit::agent_id(agent))
    }

    /// An agent with its key of that number; the key follows from the names.
    fn holder(&mut self, tenant: usize, agent: u64, key_id: KeyId) -> TestAgent {
        let base = tally_testkit::agent_id(agent);
        let tenant = self.tenants[tenant].id;
        let made = self.keys.entry((tenant, base, key_id)).or_insert_with(|| TestAgent {
            tenant,
            id: base,
            key_id,
            key: signing_key(&format!("sim {tenant} {agent} {key_id}")),
        });
        made.clone()
    }

    fn new_id(&mut self) -> EventId {
        self.next_event += 1;
        event_id(self.next_event)
    }
}
