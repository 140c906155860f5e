//! Signed events, made before the clock runs, in requests ready to be sent.
//!
//! Takes how many and in which form; gives requests of a hundred events, each signed by one of the agents. Payloads
//! are orders of about 500 bytes of canonical JSON. Every event is new: a repeated one would only be looked up.

use std::sync::atomic::{AtomicU64, Ordering};

use tally_protocol::frame::{EventFields, Frame, PayloadKind};
use tally_protocol::hash::{CipherHash, hex, payload_plain};
use tally_protocol::id::{AgentId, EventId, KeyId, StoreId, Stream, TenantId};
use tally_protocol::key::SigningKey;

use crate::Failure;
use crate::http::request;

/// Events of one request.
pub const BATCH: usize = 100;

/// One of this many requests is kept with its frames and its answer, and checked afterwards.
const SAMPLE_EVERY: usize = 50;

/// How events travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Concatenated binary frames to `/v1/events`.
    Frames,
    /// JSON envelopes to `/v1/events`.
    Json,
    /// JSON envelopes to the VES surface, which signs a receipt per event.
    Ves,
}

impl Form {
    /// A short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frames => "native, binary frames",
            Self::Json => "native, JSON",
            Self::Ves => "VES, JSON",
        }
    }

    /// What stands once per accepted event in an answer.
    #[must_use]
    pub const fn accepted_mark(self) -> &'static [u8] {
        match self {
            Self::Frames | Self::Json => b"\"status\":\"accepted\"",
            Self::Ves => b"\"receiptHash\"",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Frames | Self::Json => "/v1/events",
            Self::Ves => "/api/v1/ves/events/ingest",
        }
    }
}

/// An agent with its key.
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its key 1.
    pub key: SigningKey,
}

impl Agent {
    /// A new agent.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn new() -> Result<Self, Failure> {
        let mut bytes = [0; 48];
        getrandom::fill(&mut bytes).map_err(|error| format!("failed to draw random bytes: {error}"))?;
        let (id, seed) = bytes.split_at(16);
        let id = AgentId::from_bytes(id.try_into().map_err(|_| "16 bytes")?);
        Ok(Self { id, key: SigningKey::from_seed(seed.try_into().map_err(|_| "32 bytes")?) })
    }
}

/// One request.
pub struct Request {
    /// What goes over the wire, head included.
    pub bytes: Vec<u8>,
    /// The events inside, if this request is one of the sample.
    pub sample: Option<Vec<Frame>>,
}

/// Makes requests.
pub struct Maker {
    /// Who signs.
    pub agents: Vec<Agent>,
    /// The tenant of all.
    pub tenant: TenantId,
    /// The streams, used in turn.
    pub stores: Vec<StoreId>,
    /// The credential that submits.
    pub api_key: String,
    next: AtomicU64,
    salt: [u8; 8],
}

impl Maker {
    /// A maker whose event ids start anywhere.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn new(agents: Vec<Agent>, tenant: TenantId, stores: Vec<StoreId>, api_key: String) -> Result<Self, Failure> {
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(|error| format!("failed to draw random bytes: {error}"))?;
        Ok(Self { agents, tenant, stores, api_key, next: AtomicU64::new(0), salt })
    }

    /// That many events, on all cores, rounded up to whole requests.
    ///
    /// # Errors
    /// If an event cannot be built.
    pub fn make(&self, form: Form, events: usize) -> Result<Vec<Request>, Failure> {
        let requests = events.div_ceil(BATCH);
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let share = requests.div_ceil(workers.max(1));
        let parts = std::thread::scope(|scope| {
            let part = |worker: usize| {
                let range = worker * share..requests.min((worker + 1) * share);
                scope.spawn(move || range.map(|which| self.request(form, which)).collect::<Result<Vec<_>, _>>())
            };
            let handles: Vec<_> = (0..workers).map(part).collect();
            handles.into_iter().map(|handle| handle.join().unwrap_or_else(|_| Err("a maker died".into()))).collect()
        });
        let parts: Vec<Result<Vec<Request>, Failure>> = parts;
        Ok(parts.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn request(&self, form: Form, which: usize) -> Result<Request, Failure> {
        // The VES surface wants one agent and one stream a request; natively they are mixed.
        let frames: Vec<Frame> = (0..BATCH)
            .map(|at| {
                let turn = if form == Form::Ves { which } else { which * BATCH + at };
                self.frame(&self.agents[turn % self.agents.len()], self.stores[turn % self.stores.len()])
            })
            .collect::<Result<_, _>>()?;
        let body = match form {
            Form::Frames => frames.iter().flat_map(|frame| frame.bytes().iter().copied()).collect(),
            Form::Json => format!("{{\"events\":[{}]}}", envelopes(&frames)).into_bytes(),
            Form::Ves => {
                let agent = frames[0].agent_id();
                format!("{{\"agentId\":\"{agent}\",\"events\":[{}]}}", envelopes(&frames)).into_bytes()
            }
        };
        let content_type = if form == Form::Frames { "application/vnd.tally.frames" } else { "application/json" };
        let bytes = request("POST", form.path(), &self.api_key, content_type, &body);
        Ok(Request { bytes, sample: which.is_multiple_of(SAMPLE_EVERY).then_some(frames) })
    }

    fn frame(&self, agent: &Agent, store: StoreId) -> Result<Frame, Failure> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.salt);
        id[8..].copy_from_slice(&number.to_be_bytes());
        let payload = payload(number);
        let fields = EventFields {
            stream: Stream { tenant: self.tenant, store },
            event_id: EventId::from_bytes(id),
            agent_id: agent.id,
            key_id: KeyId::new(1),
            entity_type: "order".to_owned(),
            entity_id: format!("ord-{number:012}"),
            event_type: "order.placed".to_owned(),
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            payload_kind: PayloadKind::Plain,
            payload_plain_hash: payload_plain(payload.as_bytes()),
            payload_cipher_hash: CipherHash::ZERO,
        };
        let built = Frame::build(&fields, payload.as_bytes(), |hash| agent.key.sign(hash.as_bytes()));
        built.map_err(|error| format!("failed to build an event: {error}"))
    }
}

/// An order of about 500 bytes, in canonical form.
fn payload(number: u64) -> String {
    let sku = number % 9973;
    let note = "left at the side door; ring twice; the bell sticks, so wait a moment. ".repeat(3)
        + "no stairs, no dog, no hurry";
    format!(
        "{{\"currency\":\"EUR\",\"customer\":\"c-{number:010}\",\"lines\":[{{\"price_cents\":{},\"quantity\":{},\
         \"sku\":\"sku-{sku:06}\"}},{{\"price_cents\":1299,\"quantity\":1,\"sku\":\"sku-000017\"}}],\
         \"note\":\"{note}\",\"shipping\":{{\"method\":\"courier\",\"price_cents\":495}},\"total_cents\":{}}}",
        100 + sku,
        1 + number % 4,
        1794 + (100 + sku) * (1 + number % 4)
    )
}

fn envelopes(frames: &[Frame]) -> String {
    frames.iter().map(envelope).collect::<Vec<_>>().join(",")
}

fn envelope(frame: &Frame) -> String {
    format!(
        "{{\"ves_version\":1,\"event_id\":\"{}\",\"tenant_id\":\"{}\",\"store_id\":\"{}\",\"source_agent_id\":\"{}\",\
         \"agent_key_id\":{},\"entity_type\":\"{}\",\"entity_id\":\"{}\",\"event_type\":\"{}\",\"created_at\":\"{}\",\
         \"payload_kind\":0,\"payload\":{},\"payload_plain_hash\":\"0x{}\",\"payload_cipher_hash\":\"0x{}\",\
         \"agent_signature\":\"0x{}\"}}",
        frame.event_id(),
        frame.tenant_id(),
        frame.store_id(),
        frame.agent_id(),
        frame.key_id(),
        frame.entity_type(),
        frame.entity_id(),
        frame.event_type(),
        frame.created_at(),
        String::from_utf8_lossy(frame.payload()),
        frame.payload_plain_hash().to_hex(),
        frame.payload_cipher_hash().to_hex(),
        hex(frame.signature().as_bytes()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lawful_distinct_and_of_the_size_that_is_claimed() {
        let agents = vec![Agent::new().unwrap(), Agent::new().unwrap()];
        let stores = vec![StoreId::from_bytes([1; 16])];
        let maker = Maker::new(agents, TenantId::from_bytes([2; 16]), stores, "key".into()).unwrap();
        for form in [Form::Frames, Form::Json, Form::Ves] {
            let requests = maker.make(form, BATCH + 1).unwrap();
            assert_eq!(requests.len(), 2);
            let frames = requests[0].sample.as_ref().unwrap();
            let ids: std::collections::BTreeSet<_> = frames.iter().map(Frame::event_id).collect();
            assert_eq!(ids.len(), BATCH);
            for frame in frames {
                assert_eq!(frame.check_payload(), Ok(()));
                assert!((450..550).contains(&frame.payload().len()), "{} bytes", frame.payload().len());
            }
            let head_end = requests[0].bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
            if form != Form::Frames {
                let body: serde_json::Value = serde_json::from_slice(&requests[0].bytes[head_end..]).unwrap();
                assert_eq!(body["events"].as_array().map(Vec::len), Some(BATCH));
            }
        }
    }
}
