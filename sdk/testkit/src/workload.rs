//! A seeded workload: tenants, agents with keys, and a stream of events of mixed fortune.
//!
//! The same seed and configuration give the same frames. A share of them are exact retries, conflicts, bad signatures
//! or events of revoked keys, so that a system under test and [`crate::ReferenceLog`] can be driven side by side.

use core::time::Duration;

use tally_protocol::frame::Frame;
use tally_protocol::id::EventId;
use tally_protocol::key::Signature;
use tally_protocol::time::LogTime;

use crate::build::{TestAgent, TestLedger, TestTenant};
use crate::keys::event_id;
use crate::rng::TestRng;

/// How large and how hostile a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadConfig {
    /// How many tenants.
    pub tenants: u64,
    /// How many agents each tenant has.
    pub agents_per_tenant: u64,
    /// How many stores each tenant has.
    pub stores_per_tenant: u64,
    /// One event in this many is a retry of an earlier one; 0 for none.
    pub retry_one_in: u64,
    /// One event in this many is bad (signature, conflict, payload hash or unknown key); 0 for none.
    pub bad_one_in: u64,
    /// How many bytes of filling each payload has.
    pub payload_bytes: usize,
}

impl WorkloadConfig {
    /// A few tenants, agents and stores; no bad events.
    #[must_use]
    pub const fn honest() -> Self {
        Self {
            tenants: 3,
            agents_per_tenant: 4,
            stores_per_tenant: 2,
            retry_one_in: 0,
            bad_one_in: 0,
            payload_bytes: 64,
        }
    }

    /// The same, with a retry every sixth and a bad event every eighth time.
    #[must_use]
    pub const fn hostile() -> Self {
        Self { retry_one_in: 6, bad_one_in: 8, ..Self::honest() }
    }
}

/// Makes events without end.
#[derive(Debug, Clone)]
pub struct Workload {
    config: WorkloadConfig,
    rng: TestRng,
    tenants: Vec<TestTenant>,
    agents: Vec<TestAgent>,
    made: Vec<Frame>,
    next_event: u64,
    start: LogTime,
}

impl Workload {
    /// The workload of a seed; events are dated from `start` on.
    #[must_use]
    pub fn new(config: WorkloadConfig, seed: u64, start: LogTime) -> Self {
        let tenants: Vec<TestTenant> = (1..=config.tenants).map(TestTenant::new).collect();
        let agents =
            tenants.iter().flat_map(|tenant| (1..=config.agents_per_tenant).map(|n| tenant.agent(n))).collect();
        Self { config, rng: TestRng::new(seed), tenants, agents, made: Vec::new(), next_event: 1, start }
    }

    /// The tenants.
    #[must_use]
    pub fn tenants(&self) -> &[TestTenant] {
        &self.tenants
    }

    /// The agents of all tenants.
    #[must_use]
    pub fn agents(&self) -> &[TestAgent] {
        &self.agents
    }

    /// The control events that must come first: every tenant, then every agent's key.
    #[must_use]
    pub fn setup(&mut self, ledger: &TestLedger) -> Vec<Frame> {
        let mut frames = Vec::new();
        for at in 0..self.tenants.len() {
            let id = self.new_id();
            frames.push(ledger.create(&self.tenants[at], id, self.start));
        }
        for at in 0..self.agents.len() {
            let id = self.new_id();
            let agent = &self.agents[at];
            let tenant = self.tenants.iter().find(|tenant| tenant.id == agent.tenant);
            frames.extend(tenant.map(|tenant| tenant.register(agent, id, self.start)));
        }
        frames
    }

    /// The next event.
    #[must_use]
    pub fn next_frame(&mut self) -> Frame {
        let retry = self.config.retry_one_in;
        if retry > 0 && !self.made.is_empty() && self.rng.one_in(retry) {
            return self.earlier();
        }
        let bad = self.config.bad_one_in;
        if bad > 0 && !self.made.is_empty() && self.rng.one_in(bad) {
            return self.bad_frame();
        }
        let id = self.new_id();
        let frame = self.good_frame(id);
        self.made.push(frame.clone());
        frame
    }

    /// The next `count` events.
    #[must_use]
    pub fn frames(&mut self, count: usize) -> Vec<Frame> {
        (0..count).map(|_| self.next_frame()).collect()
    }

    fn new_id(&mut self) -> EventId {
        let id = event_id(self.next_event);
        self.next_event += 1;
        id
    }

    fn earlier(&mut self) -> Frame {
        let at = self.rng.below(self.made.len() as u64);
        self.made[usize::try_from(at).unwrap_or(0)].clone()
    }

    fn good_frame(&mut self, id: EventId) -> Frame {
        let number = self.next_event;
        let at = self.rng.below(self.agents.len() as u64);
        let agent = &self.agents[usize::try_from(at).unwrap_or(0)];
        let store = 1 + self.rng.below(self.config.stores_per_tenant);
        let stream = tally_protocol::id::Stream::new(agent.tenant, crate::keys::store_id(store));
        let order = self.rng.below(50);
        let filling = "x".repeat(self.config.payload_bytes);
        let payload = format!(r#"{{"amount":{},"filling":"{filling}","number":{number}}}"#, self.rng.below(100_000));
        agent
            .event(stream, id)
            .about("Order", &format!("ORD-{order}"))
            .of_type(["order.created", "order.paid", "order.shipped"][usize::try_from(order % 3).unwrap_or(0)])
            .created_at(self.start.saturating_add(Duration::from_millis(number)))
            .payload(payload.as_bytes())
            .sign()
    }

    fn bad_frame(&mut self) -> Frame {
        match self.rng.below(4) {
            // A signature that is not over this event.
            0 => {
                let id = self.new_id();
                let good = self.good_frame(id);
                let mut signature = *good.signature().as_bytes();
                signature[usize::try_from(self.rng.below(64)).unwrap_or(0)] ^= 1;
                with_signature(&good, Signature::from_bytes(signature))
            }
            // An id that is taken, with other content.
            1 => {
                let taken = self.earlier();
                let agent =
                    self.agents.iter().find(|agent| agent.id == taken.agent_id() && agent.tenant == taken.tenant_id());
                let other = agent.map(|agent| agent.event(taken.stream(), taken.event_id()).payload(b"[1]").sign());
                other.unwrap_or(taken)
            }
            // A key that was never registered.
            2 => {
                let id = self.new_id();
                let at = usize::try_from(self.rng.below(self.agents.len() as u64)).unwrap_or(0);
                let stranger = self.agents[at].successor();
                let stream = tally_protocol::id::Stream::new(stranger.tenant, crate::keys::store_id(1));
                stranger.event(stream, id).sign()
            }
            // A payload that is not the signed one.
            _ => {
                let id = self.new_id();
                let good = self.good_frame(id);
                Frame::from_parts(&good.fields(), br#"{"amount":0}"#, good.signature()).unwrap_or(good)
            }
        }
    }
}

fn with_signature(frame: &Frame, signature: Signature) -> Frame {
    Frame::from_parts(&frame.fields(), frame.payload(), signature).unwrap_or_else(|_| frame.clone())
}
