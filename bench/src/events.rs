//! Signed events, made before the clock runs, in bodies ready to be sent.
//!
//! Takes how many, of which shape and for which stream; gives bodies of concatenated frames, each signed by one of
//! the agents in turn. Payloads are orders in canonical JSON. Every event is new: a repeated one would only be looked
//! up. Keys follow from a seed, so that signed events can be kept in a file and used by the next run as well; they
//! guard nothing.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tally_protocol::frame::{EventFields, Frame, PayloadKind};
use tally_protocol::hash::{self, CipherHash, payload_plain};
use tally_protocol::id::{AgentId, EventId, KeyId, StoreId, Stream, TenantId};
use tally_protocol::key::{PublicKey, Signature, SigningKey};

use crate::Failure;

/// One of this many bodies is kept with its answer and checked afterwards.
pub const SAMPLE_EVERY: usize = 50;

/// An agent with its key.
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its key 1.
    pub key: SigningKey,
}

impl Agent {
    /// Agent number `n` of a seed.
    #[must_use]
    pub fn of_seed(seed: u64, n: usize) -> Self {
        let seed = *hash::leaf(format!("tally-bench agent {seed} {n}").as_bytes()).as_bytes();
        let mut id = [0xa9; 16];
        id[..8].copy_from_slice(&seed[..8]);
        id[8..].copy_from_slice(&(n as u64).to_be_bytes());
        Self { id: AgentId::from_bytes(id), key: SigningKey::from_seed(seed) }
    }
}

/// What events are like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Agents that sign, in turn.
    pub agents: usize,
    /// Streams that are written, in turn; 1 is one hot stream.
    pub streams: usize,
    /// About how long a payload is, bytes; at least 100.
    pub payload_bytes: usize,
    /// Events of one body, 1 to 1000.
    pub batch: usize,
    /// Whether a body holds events of one agent and one stream only, as the VES surface wants it.
    pub one_agent_a_body: bool,
    /// Which signatures are spoilt.
    pub spoil: Option<Spoil>,
}

impl Default for Shape {
    fn default() -> Self {
        Self { agents: 64, streams: 8, payload_bytes: 500, batch: 100, one_agent_a_body: false, spoil: None }
    }
}

/// Bad signatures at a rate, from some of the callers. Body `n` is sent by caller `n % callers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoil {
    /// How many callers there are.
    pub callers: usize,
    /// How many of them send bad signatures.
    pub bad_callers: usize,
    /// One event of this many, over all callers, is bad.
    pub one_in: usize,
}

impl Spoil {
    /// Whether event `at` of body `which` is bad.
    #[must_use]
    pub fn is_bad(&self, which: usize, at: usize, batch: usize) -> bool {
        let (callers, bad) = (self.callers.max(1), self.bad_callers.clamp(1, self.callers.max(1)));
        let caller = which % callers;
        if caller >= bad {
            return false;
        }
        // The number of this event among those of the bad callers.
        let number = ((which / callers) * bad + caller) * batch + at;
        number.is_multiple_of((self.one_in * bad / callers).max(1))
    }
}

/// The events of one request.
#[derive(Clone, Debug)]
pub struct Body {
    /// Frames, one behind the other.
    pub frames: Bytes,
    /// How many.
    pub count: usize,
    /// How many of them have a bad signature.
    pub bad: usize,
}

impl Body {
    /// The frames apart; they share the body's bytes.
    ///
    /// # Errors
    /// If the bytes are not frames.
    pub fn decode(&self) -> Result<Vec<Frame>, Failure> {
        let (mut rest, mut frames) = (self.frames.clone(), Vec::with_capacity(self.count));
        while let Some(frame) = Frame::decode_prefix(&mut rest).map_err(|error| format!("not a frame: {error}"))? {
            frames.push(frame);
        }
        if rest.is_empty() { Ok(frames) } else { Err("a frame is cut short".into()) }
    }
}

/// Makes bodies.
pub struct Maker {
    /// Who signs.
    pub agents: Vec<Agent>,
    /// The tenant of all.
    pub tenant: TenantId,
    /// The streams' stores, used in turn.
    pub stores: Vec<StoreId>,
    /// What events are like.
    pub shape: Shape,
    seed: u64,
    next: AtomicU64,
}

impl Maker {
    /// A maker; the same arguments give the same bytes.
    #[must_use]
    pub fn new(shape: Shape, tenant: TenantId, seed: u64) -> Self {
        let agents = (0..shape.agents.max(1)).map(|n| Agent::of_seed(seed, n)).collect();
        let store = |n: usize| {
            let mut id = [0x57; 16];
            id[8..].copy_from_slice(&(n as u64).to_be_bytes());
            StoreId::from_bytes(id)
        };
        let stores = (0..shape.streams.max(1)).map(store).collect();
        Self { agents, tenant, stores, shape, seed, next: AtomicU64::new(0) }
    }

    /// A seed that no other run has.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn fresh_seed() -> Result<u64, Failure> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| format!("failed to draw random bytes: {error}"))?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// What keys and event ids follow from.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The stores that are written, in turn.
    #[must_use]
    pub fn stores(&self) -> &[StoreId] {
        &self.stores
    }

    /// Every agent's key.
    #[must_use]
    pub fn keys(&self) -> HashMap<AgentId, PublicKey> {
        self.agents.iter().map(|agent| (agent.id, agent.key.public_key())).collect()
    }

    /// That many events, signed on all cores, rounded up to whole bodies.
    ///
    /// # Errors
    /// If an event cannot be built.
    pub fn make(&self, events: usize) -> Result<Vec<Body>, Failure> {
        let bodies = events.div_ceil(self.shape.batch.max(1));
        let first = self.next.fetch_add((bodies * self.shape.batch) as u64, Ordering::Relaxed);
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let share = bodies.div_ceil(workers.max(1));
        let parts: Vec<Result<Vec<Body>, Failure>> = std::thread::scope(|scope| {
            let part = |worker: usize| {
                let range = (worker * share).min(bodies)..bodies.min((worker + 1) * share);
                scope.spawn(move || range.map(|which| self.body(first, which)).collect())
            };
            let handles: Vec<_> = (0..workers).map(part).collect();
            handles.into_iter().map(|handle| handle.join().unwrap_or_else(|_| Err("a maker died".into()))).collect()
        });
        Ok(parts.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// The same, read from a file of `folder` if one with the same parameters is there, else made and kept there.
    ///
    /// # Errors
    /// If events cannot be made, or the folder cannot be used.
    pub fn make_cached(&self, events: usize, folder: &Path) -> Result<Vec<Body>, Failure> {
        let bodies = events.div_ceil(self.shape.batch.max(1));
        let first = self.next.load(Ordering::Relaxed);
        let Shape { agents, streams, payload_bytes, batch, one_agent_a_body, spoil } = &self.shape;
        let spoil = spoil.map_or_else(String::new, |s| format!("-bad{}of{}by{}", s.one_in, s.callers, s.bad_callers));
        let one = if *one_agent_a_body { "-one" } else { "" };
        let name = format!(
            "events-{}-{}-from{first}-{bodies}x{batch}-{payload_bytes}b-{agents}a-{streams}s{one}{spoil}.frames",
            self.seed, self.tenant
        );
        let path = folder.join(name);
        if let Ok(bytes) = fs::read(&path) {
            let kept = cut(Bytes::from(bytes), bodies, &self.shape)?;
            self.next.fetch_add((bodies * batch) as u64, Ordering::Relaxed);
            return Ok(kept);
        }
        let made = self.make(events)?;
        let bytes: Vec<u8> = made.iter().flat_map(|body| body.frames.iter().copied()).collect();
        fs::create_dir_all(folder).map_err(|error| format!("failed to make {}: {error}", folder.display()))?;
        // Under another name first: a file that is there is whole.
        let partial = path.with_extension("partial");
        let kept = fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, &path));
        kept.map_err(|error| format!("failed to write {}: {error}", path.display()))?;
        Ok(made)
    }

    fn body(&self, first: u64, which: usize) -> Result<Body, Failure> {
        let Shape { batch, one_agent_a_body, spoil, .. } = &self.shape;
        let mut bytes = Vec::new();
        let mut bad = 0;
        for at in 0..*batch {
            let number = which * batch + at;
            let turn = if *one_agent_a_body { which } else { number };
            let (agent, store) = (&self.agents[turn % self.agents.len()], self.stores[turn % self.stores.len()]);
            let spoilt = spoil.is_some_and(|spoil| spoil.is_bad(which, at, *batch));
            bad += usize::from(spoilt);
            bytes.extend_from_slice(self.frame(first + number as u64, agent, store, spoilt)?.bytes());
        }
        Ok(Body { frames: bytes.into(), count: *batch, bad })
    }

    fn frame(&self, number: u64, agent: &Agent, store: StoreId, spoilt: bool) -> Result<Frame, Failure> {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.seed.to_be_bytes());
        id[8..].copy_from_slice(&number.to_be_bytes());
        let payload = payload(number, self.shape.payload_bytes);
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
        let sign = |hash: &hash::SigningHash| {
            let signature = agent.key.sign(hash.as_bytes());
            // Another S, still a scalar: the costliest kind of bad, which only the equation finds.
            let mut bytes = *signature.as_bytes();
            bytes[32] ^= u8::from(spoilt);
            Signature::from_bytes(bytes)
        };
        Frame::build(&fields, payload.as_bytes(), sign).map_err(|error| format!("failed to build an event: {error}"))
    }
}

/// Cuts kept bytes into bodies again.
fn cut(mut bytes: Bytes, bodies: usize, shape: &Shape) -> Result<Vec<Body>, Failure> {
    let cut_one = |which: usize| {
        let mut length = 0;
        for _ in 0..shape.batch {
            let head = bytes.get(length..length + 4).ok_or("the kept events are cut short")?;
            length += 4 + u32::from_be_bytes(head.try_into().map_err(|_| "four bytes")?) as usize;
        }
        if length > bytes.len() {
            return Err("the kept events are cut short".to_owned());
        }
        let bad = (0..shape.batch).filter(|at| shape.spoil.is_some_and(|spoil| spoil.is_bad(which, *at, shape.batch)));
        Ok(Body { bad: bad.count(), frames: bytes.split_to(length), count: shape.batch })
    };
    (0..bodies).map(cut_one).collect()
}

/// An order of about `bytes` bytes in canonical form: half of what is over 300 bytes is lines, half is text.
fn payload(number: u64, bytes: usize) -> String {
    const NOTE: &str = "left at the side door; ring twice; the bell sticks, so wait a moment. ";
    let sku = number % 9973;
    if bytes < 250 {
        let note = &NOTE[..bytes.saturating_sub(72).min(NOTE.len())];
        return format!(
            "{{\"customer\":\"c-{number:010}\",\"note\":\"{note}\",\"sku\":\"sku-{sku:06}\",\"total\":{}}}",
            1000 + sku
        );
    }
    let line = |n: u64| {
        let (price, quantity) = (100 + (sku + n) % 9973, 1 + (number + n) % 4);
        format!("{{\"price_cents\":{price},\"quantity\":{quantity},\"sku\":\"sku-{:06}\"}}", (sku + n) % 9973)
    };
    let lines = 2 + (bytes.saturating_sub(500) / 2 / line(0).len()) as u64;
    let lines = (0..lines).map(line).collect::<Vec<_>>().join(",");
    let fixed = 160 + lines.len();
    let note: String = NOTE.chars().cycle().take(bytes.saturating_sub(fixed)).collect();
    format!(
        "{{\"currency\":\"EUR\",\"customer\":\"c-{number:010}\",\"lines\":[{lines}],\"note\":\"{note}\",\
         \"shipping\":{{\"method\":\"courier\",\"price_cents\":495}},\"total_cents\":{}}}",
        1794 + (100 + sku) * (1 + number % 4)
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TENANT: TenantId = TenantId::from_bytes([2; 16]);

    fn maker(shape: Shape) -> Maker {
        Maker::new(shape, TENANT, 7)
    }

    #[test]
    fn events_are_lawful_distinct_and_of_the_size_that_is_claimed() {
        for payload_bytes in [100, 500, 4096] {
            let maker = maker(Shape { payload_bytes, ..Shape::default() });
            let bodies = maker.make(150).unwrap();
            assert_eq!(bodies.len(), 2);
            let frames: Vec<Frame> = bodies.iter().flat_map(|body| body.decode().unwrap()).collect();
            let ids: BTreeSet<_> = frames.iter().map(Frame::event_id).collect();
            assert_eq!(ids.len(), 200);
            let keys = maker.keys();
            for frame in &frames {
                assert_eq!(frame.check_payload(), Ok(()));
                let length = frame.payload().len();
                assert!(length.abs_diff(payload_bytes) <= payload_bytes / 10, "{length} bytes for {payload_bytes}");
                let hash = frame.signing_hash();
                let key = &keys[&frame.agent_id()];
                assert!(tally_protocol::key::verify(key, hash.as_bytes(), &frame.signature()));
            }
        }
    }

    #[test]
    fn kept_events_are_those_that_were_made() {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape { spoil: Some(Spoil { callers: 2, bad_callers: 1, one_in: 40 }), ..Shape::default() };
        let plain = maker(shape.clone()).make(400).unwrap();
        let (first, second) = (maker(shape.clone()), maker(shape));
        let made = first.make_cached(400, folder.path()).unwrap();
        let read = second.make_cached(400, folder.path()).unwrap();
        for ((made, read), plain) in made.iter().zip(&read).zip(&plain) {
            assert_eq!((&made.frames, made.count, made.bad), (&read.frames, read.count, read.bad));
            assert_eq!(made.frames, plain.frames);
        }
        // What follows is new in both, and the same.
        assert_eq!(first.make(100).unwrap()[0].frames, second.make(100).unwrap()[0].frames);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn bad_signatures_come_at_the_rate_and_from_the_callers_that_were_asked_for() {
        for (callers, bad_callers) in [(16, 8), (16, 16), (16, 1), (4, 4)] {
            let spoil = Spoil { callers, bad_callers, one_in: 1000 };
            let (bodies, batch) = (1600, 100);
            let bad: Vec<usize> = (0..bodies)
                .flat_map(|which| (0..batch).map(move |at| (which, at)))
                .filter(|(which, at)| spoil.is_bad(*which, *at, batch))
                .map(|(which, _)| which % callers)
                .collect();
            assert!(bad.len().abs_diff(bodies * batch / 1000) <= 2, "{} bad of {}", bad.len(), bodies * batch);
            assert!(bad.iter().all(|caller| *caller < bad_callers));
        }
        let maker = maker(Shape {
            batch: 50,
            spoil: Some(Spoil { callers: 1, bad_callers: 1, one_in: 10 }),
            ..Shape::default()
        });
        let (body, keys) = (maker.make(50).unwrap().remove(0), maker.keys());
        let frames = body.decode().unwrap();
        let good = |frame: &&Frame| {
            let hash = frame.signing_hash();
            tally_protocol::key::verify(&keys[&frame.agent_id()], hash.as_bytes(), &frame.signature())
        };
        assert_eq!((body.bad, frames.iter().filter(good).count()), (5, 45));
    }
}
