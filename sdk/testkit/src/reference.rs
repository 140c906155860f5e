//! The model: what the sequencer must do, written as simply as possible.
//!
//! It keeps every accepted event in a list and recomputes everything from that list: sequences by counting, duplicates
//! by looking, keys by replaying the control events, roots by the recursive definition of RFC 6962. It shares the
//! byte formats and the signature rule with the sequencer, and nothing else. Slow on purpose; meant for up to some
//! thousand events.

use std::collections::{BTreeMap, BTreeSet};

use tally_protocol::control::{ControlEvent, RESERVED_PREFIX};
use tally_protocol::entry::{EventEntry, Genesis};
use tally_protocol::error::RejectCode;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{self, LeafHash, NodeHash, RootHash};
use tally_protocol::id::{AgentId, Index, Sequence, Stream, TenantId};
use tally_protocol::key::{self, PublicKey};
use tally_protocol::limits::CREATED_AT_SKEW;
use tally_protocol::time::LogTime;

/// What must happen to a submitted event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It gets this place.
    Accepted(Placement),
    /// It has this place already.
    Duplicate(Placement),
    /// It is refused with this code, and nothing changes.
    Rejected(RejectCode),
}

/// An event's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Position in the log.
    pub index: Index,
    /// Position in the stream.
    pub sequence: Sequence,
    /// Log time.
    pub sequenced_at: LogTime,
    /// The log's leaf.
    pub leaf_hash: LeafHash,
}

#[derive(Debug, Clone)]
struct Accepted {
    frame: Frame,
    public_key: PublicKey,
    place: Placement,
    control: Option<ControlEvent>,
}

/// The naive log.
#[derive(Debug, Clone)]
pub struct ReferenceLog {
    genesis: Genesis,
    events: Vec<Accepted>,
}

impl ReferenceLog {
    /// The log that holds only its genesis.
    #[must_use]
    pub const fn new(genesis: Genesis) -> Self {
        Self { genesis, events: Vec::new() }
    }

    /// Submits an event when the clock shows `wall`; says what must happen, and does it.
    pub fn submit(&mut self, frame: &Frame, wall: LogTime) -> Expected {
        match self.screen(frame) {
            Ok(public_key) => self.place(frame, public_key, wall),
            Err(code) => Expected::Rejected(code),
        }
    }

    /// What needs no order: payload and form, that the key exists, the signature under it. Gives the key.
    ///
    /// # Errors
    /// The code that the event is refused with.
    pub fn screen(&self, frame: &Frame) -> Result<PublicKey, RejectCode> {
        frame.check_payload().map_err(|error| error.reject().code)?;
        if frame.created_at_time().is_err() {
            return Err(RejectCode::SchemaValidation);
        }
        let key = self.keys().of_event(frame).ok_or(RejectCode::AgentKeyInvalid)?;
        if !key::verify(&key.public_key, frame.signing_hash().as_bytes(), &frame.signature()) {
            return Err(RejectCode::InvalidSignature);
        }
        Ok(key.public_key)
    }

    /// What needs order, for an event that was screened, perhaps some events ago.
    pub fn place(&mut self, frame: &Frame, public_key: PublicKey, wall: LogTime) -> Expected {
        match self.judge(frame, public_key, wall) {
            Ok(()) => Expected::Accepted(self.append(frame, public_key, wall)),
            Err(other) => other,
        }
    }

    /// Forgets every entry from `size` on: what a crash does to events that were not durable.
    pub fn truncate(&mut self, size: usize) {
        self.events.truncate(size.saturating_sub(1));
    }

    /// Appends an event without judging it: what a dishonest sequencer could write and sign.
    pub fn append_unjudged(&mut self, frame: &Frame, public_key: PublicKey, wall: LogTime) -> Placement {
        self.append(frame, public_key, wall)
    }

    /// How many entries there are, genesis included.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.events.len() + 1
    }

    /// The leaves in order, genesis first.
    #[must_use]
    pub fn leaves(&self) -> Vec<LeafHash> {
        let events = self.events.iter().map(|event| event.place.leaf_hash);
        core::iter::once(self.genesis.leaf_hash()).chain(events).collect()
    }

    /// The root over everything.
    #[must_use]
    pub fn root(&self) -> RootHash {
        naive_root(&self.leaves())
    }

    /// The root of the first `size` entries.
    #[must_use]
    pub fn root_at(&self, size: usize) -> RootHash {
        naive_root(&self.leaves()[..size])
    }

    /// The last sequence of a stream; 0 if it has none.
    #[must_use]
    pub fn head(&self, stream: Stream) -> Sequence {
        Sequence::new(self.events.iter().filter(|event| event.frame.stream() == stream).count() as u64)
    }

    /// Every accepted event with its place and the key it was checked with, in order.
    pub fn events(&self) -> impl Iterator<Item = (&Frame, PublicKey, Placement)> {
        self.events.iter().map(|event| (&event.frame, event.public_key, event.place))
    }

    fn judge(&self, frame: &Frame, public_key: PublicKey, wall: LogTime) -> Result<(), Expected> {
        let refuse = |code: RejectCode| Err(Expected::Rejected(code));
        let same_id =
            |event: &&Accepted| event.frame.stream() == frame.stream() && event.frame.event_id() == frame.event_id();
        if let Some(first) = self.events.iter().find(same_id) {
            return if first.frame.signing_hash() == frame.signing_hash() {
                Err(Expected::Duplicate(first.place))
            } else {
                refuse(RejectCode::DuplicateEventId)
            };
        }
        let now = self.now(wall);
        if frame.created_at_time().is_ok_and(|created_at| created_at > now.saturating_add(CREATED_AT_SKEW)) {
            return refuse(RejectCode::CreatedAtInFuture);
        }
        let keys = self.keys();
        match keys.of_event(frame) {
            Some(key) if key.public_key == public_key && key.is_valid_at(now) => {}
            _ => return refuse(RejectCode::AgentKeyInvalid),
        }
        keys.may(frame, now).map_err(Expected::Rejected)
    }

    fn append(&mut self, frame: &Frame, public_key: PublicKey, wall: LogTime) -> Placement {
        let sequence = self.head(frame.stream()).next();
        let sequenced_at = self.now(wall);
        let entry = EventEntry::of_frame(frame, frame.signing_hash(), sequence, public_key, sequenced_at);
        let index = Index::new(self.size() as u64);
        let place = Placement { index, sequence, sequenced_at, leaf_hash: entry.leaf_hash() };
        let control = frame.stream().is_control().then(|| ControlEvent::decode(frame.event_type(), frame.payload()));
        self.events.push(Accepted { frame: frame.clone(), public_key, place, control: control.and_then(Result::ok) });
        place
    }

    /// Log time never falls.
    fn now(&self, wall: LogTime) -> LogTime {
        let last = self.events.last().map_or(self.genesis.created_at, |event| event.place.sequenced_at);
        last.max(wall)
    }

    /// All tenants, keys and lists, by replaying every control event.
    fn keys(&self) -> Keys {
        let mut keys = Keys::new(&self.genesis);
        for event in &self.events {
            if let Some(control) = &event.control {
                keys.apply(&event.frame.stream(), control, event.place.sequenced_at);
            }
        }
        keys
    }
}

#[derive(Debug, Clone, Copy)]
struct Key {
    public_key: PublicKey,
    from: LogTime,
    to: Option<LogTime>,
    revoked: bool,
}

impl Key {
    fn is_valid_at(&self, at: LogTime) -> bool {
        !self.revoked && at >= self.from && self.to.is_none_or(|to| at < to)
    }
}

/// Tenants, keys and lists of entity types at some point of the log. It knows no plugins.
struct Keys {
    ledger_root: AgentId,
    /// Root agent, and whether the operator manages it.
    tenants: BTreeMap<TenantId, (AgentId, bool)>,
    /// The n-th key has id n + 1.
    keys: BTreeMap<(TenantId, AgentId), Vec<Key>>,
    /// Of the stores that have one.
    lists: BTreeMap<Stream, BTreeSet<String>>,
}

impl Keys {
    fn new(genesis: &Genesis) -> Self {
        let root = Key { public_key: genesis.root_key, from: LogTime::EPOCH, to: None, revoked: false };
        Self {
            ledger_root: genesis.root_agent,
            tenants: BTreeMap::new(),
            keys: BTreeMap::from([((TenantId::NIL, genesis.root_agent), vec![root])]),
            lists: BTreeMap::new(),
        }
    }

    fn of(&self, tenant: TenantId, agent: AgentId) -> &[Key] {
        self.keys.get(&(tenant, agent)).map_or(&[], Vec::as_slice)
    }

    fn of_event(&self, frame: &Frame) -> Option<Key> {
        let at = usize::try_from(frame.key_id().get()).ok()?.checked_sub(1)?;
        let own = self.of(frame.tenant_id(), frame.agent_id()).get(at);
        let managed = frame.stream().is_control()
            && frame.agent_id() == self.ledger_root
            && self.tenants.get(&frame.tenant_id()).is_some_and(|(_, managed)| *managed);
        let operators = if managed { self.of(TenantId::NIL, self.ledger_root).get(at) } else { None };
        own.or(operators).copied()
    }

    /// Whether the signer may write this here, now.
    fn may(&self, frame: &Frame, now: LogTime) -> Result<(), RejectCode> {
        let (stream, agent) = (frame.stream(), frame.agent_id());
        if !stream.is_control() {
            if frame.event_type().starts_with(RESERVED_PREFIX) {
                return Err(RejectCode::ReservedEventType);
            }
            if !self.tenants.contains_key(&stream.tenant) {
                return Err(RejectCode::TenantUnknown);
            }
            let takes = self.lists.get(&stream).is_none_or(|list| list.contains(frame.entity_type()));
            return if takes { Ok(()) } else { Err(RejectCode::EntityTypeUnknown) };
        }
        let allowed = if stream.is_ledger() {
            agent == self.ledger_root
        } else {
            let (root, managed) = self.tenants.get(&stream.tenant).ok_or(RejectCode::TenantUnknown)?;
            agent == *root || (*managed && agent == self.ledger_root)
        };
        if !allowed {
            return Err(RejectCode::ReservedStream);
        }
        let control = ControlEvent::decode(frame.event_type(), frame.payload()).map_err(|error| error.reject().code)?;
        if self.allows(&stream, &control, now) { Ok(()) } else { Err(RejectCode::ControlRefused) }
    }

    fn allows(&self, stream: &Stream, control: &ControlEvent, now: LogTime) -> bool {
        let is_next = |agent: AgentId, id: u32| {
            (!stream.is_ledger() || agent == self.ledger_root)
                && u64::from(id) == self.of(stream.tenant, agent).len() as u64 + 1
        };
        let known = |agent: AgentId, id: u32| {
            let at = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
            at.and_then(|at| self.of(stream.tenant, agent).get(at)).filter(|key| !key.revoked)
        };
        let shortens = |key: &Key, to: LogTime| key.to.is_none_or(|before| to <= before);
        match control {
            ControlEvent::TenantCreated { tenant_id, .. } => {
                stream.is_ledger() && !tenant_id.is_nil() && !self.tenants.contains_key(tenant_id)
            }
            ControlEvent::AgentKeyRegistered { agent_id, key_id, valid_from, valid_to, .. } => {
                is_next(*agent_id, key_id.get()) && valid_to.is_none_or(|to| to > valid_from.unwrap_or(now))
            }
            ControlEvent::AgentKeyRotated { agent_id, key_id, previous_valid_to, valid_to, .. } => {
                is_next(*agent_id, key_id.get())
                    && known(*agent_id, key_id.get() - 1).is_some_and(|key| shortens(key, *previous_valid_to))
                    && valid_to.is_none_or(|to| to > now)
            }
            ControlEvent::AgentKeyExpired { agent_id, key_id, valid_to } => {
                known(*agent_id, key_id.get()).is_some_and(|key| shortens(key, *valid_to))
            }
            ControlEvent::AgentKeyRevoked { agent_id, key_id, .. } => known(*agent_id, key_id.get()).is_some(),
            ControlEvent::EntityTypesSet { .. } | ControlEvent::EntityTypesLifted { .. } => !stream.is_ledger(),
        }
    }

    fn apply(&mut self, stream: &Stream, control: &ControlEvent, now: LogTime) {
        let tenant = stream.tenant;
        match control {
            ControlEvent::TenantCreated { tenant_id, root_agent_id, root_public_key, operator_managed } => {
                self.tenants.insert(*tenant_id, (*root_agent_id, *operator_managed));
                self.push(*tenant_id, *root_agent_id, *root_public_key, now, None);
            }
            ControlEvent::AgentKeyRegistered { agent_id, public_key, valid_from, valid_to, .. } => {
                self.push(tenant, *agent_id, *public_key, valid_from.unwrap_or(now), *valid_to);
            }
            ControlEvent::AgentKeyRotated { agent_id, key_id, public_key, previous_valid_to, valid_to } => {
                self.change(tenant, *agent_id, key_id.get() - 1, |key| key.to = Some(*previous_valid_to));
                self.push(tenant, *agent_id, *public_key, now, *valid_to);
            }
            ControlEvent::AgentKeyExpired { agent_id, key_id, valid_to } => {
                self.change(tenant, *agent_id, key_id.get(), |key| key.to = Some(*valid_to));
            }
            ControlEvent::AgentKeyRevoked { agent_id, key_id, .. } => {
                self.change(tenant, *agent_id, key_id.get(), |key| key.revoked = true);
            }
            ControlEvent::EntityTypesSet { store_id, entity_types } => {
                self.lists.insert(Stream::new(tenant, *store_id), entity_types.clone());
            }
            ControlEvent::EntityTypesLifted { store_id } => {
                self.lists.remove(&Stream::new(tenant, *store_id));
            }
        }
    }

    fn push(&mut self, tenant: TenantId, agent: AgentId, public_key: PublicKey, from: LogTime, to: Option<LogTime>) {
        self.keys.entry((tenant, agent)).or_default().push(Key { public_key, from, to, revoked: false });
    }

    fn change(&mut self, tenant: TenantId, agent: AgentId, id: u32, change: impl FnOnce(&mut Key)) {
        let keys = self.keys.entry((tenant, agent)).or_default();
        if let Some(key) = keys.get_mut(id.wrapping_sub(1) as usize) {
            change(key);
        }
    }
}

/// MTH of RFC 6962 section 2.1, as it is written there.
#[must_use]
pub fn naive_root(leaves: &[LeafHash]) -> RootHash {
    match leaves {
        [] => hash::empty_root(),
        _ => naive_node(leaves).root(),
    }
}

/// PATH of RFC 6962 section 2.1.1, as it is written there; empty for an index that is not there.
#[must_use]
pub fn naive_inclusion_path(index: usize, leaves: &[LeafHash]) -> Vec<NodeHash> {
    if leaves.len() <= 1 || index >= leaves.len() {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, sibling) = if index < left.len() {
        (naive_inclusion_path(index, left), right)
    } else {
        (naive_inclusion_path(index - left.len(), right), left)
    };
    path.push(naive_node(sibling));
    path
}

fn naive_node(leaves: &[LeafHash]) -> NodeHash {
    match leaves {
        [one] => one.node(),
        more => {
            let (left, right) = more.split_at(split(more.len()));
            hash::node(&naive_node(left), &naive_node(right))
        }
    }
}

/// The largest power of two below `size`.
const fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}
