//! Reads: events, heads, receipts, bundles, keys. Every event read is checked before it is handed out.

use bytes::Bytes;
use tally_api::agent_key::AgentKeys;
use tally_api::event::EventRecord;
use tally_api::ledger::Ladder;
use tally_api::page::{EntityPage, StreamHead, StreamPage};
use tally_api::receipt::ReceiptAnswer;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LeafHash, NodeHash};
use tally_protocol::id::{AgentId, EventId, Index, Sequence, Stream, TenantId, TreeSize};
use tally_protocol::key;
use tally_verify::{Bundle, Check, CheckFailed, Placed, TrustRoot};

use crate::client::Client;
use crate::error::ClientError;
use crate::submit::{ProvenReceipt, is_absent};
use crate::transport::{Request, segment};
use crate::watch::{self, Log};

/// An event as the log holds it: its payload and the agent's signature were checked, its leaf derived again. That it
/// is *in* the log is proven by its receipt or bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The event, its exact signed bytes.
    pub frame: Frame,
    /// Its place.
    pub placed: Placed,
    /// The log's leaf.
    pub leaf_hash: LeafHash,
}

/// A part of a list, and where it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<P> {
    /// The events.
    pub events: Vec<LoggedEvent>,
    /// Ask from here next; `None` at the end.
    pub next: Option<P>,
}

impl LoggedEvent {
    pub(crate) fn check(record: EventRecord, path: &str) -> Result<Self, ClientError> {
        let frame = Frame::decode(Bytes::from(record.frame)).map_err(|error| ClientError::malformed(path, error))?;
        let placed = Placed {
            index: record.index,
            sequence: record.sequence,
            sequenced_at: record.sequenced_at,
            public_key: record.public_key,
        };
        let event = Self::of(frame, placed)?;
        if event.leaf_hash != record.leaf_hash {
            return Err(failed(Check::Leaf, "event and place give another leaf than stated"));
        }
        Ok(event)
    }

    /// An event and the place it is said to have.
    pub(crate) fn of(frame: Frame, placed: Placed) -> Result<Self, ClientError> {
        frame.check_payload().map_err(|error| failed(Check::PayloadHash, &error.to_string()))?;
        if !key::verify(&placed.public_key, frame.signing_hash().as_bytes(), &frame.signature()) {
            return Err(failed(Check::AgentSignature, "the signature is not this key's over this event"));
        }
        let leaf_hash = placed.entry_of(&frame).leaf_hash();
        Ok(Self { frame, placed, leaf_hash })
    }
}

fn failed(check: Check, why: &str) -> ClientError {
    ClientError::Unproven(CheckFailed { check, why: why.to_owned() })
}

impl Client {
    /// The event at a position of the log; `None` if there is none that this caller may see.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn event(&self, index: Index) -> Result<Option<LoggedEvent>, ClientError> {
        let event = self.one_event(format!("/v1/events/{index}")).await?;
        self.must_be(event, |event| event.placed.index == index)
    }

    /// The event at a position of a stream.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn event_in_stream(
        &self,
        stream: Stream,
        sequence: Sequence,
    ) -> Result<Option<LoggedEvent>, ClientError> {
        let event = self.one_event(format!("{}/events/{sequence}", stream_path(stream))).await?;
        self.must_be(event, |event| event.frame.stream() == stream && event.placed.sequence == sequence)
    }

    /// The event of a stream with an id: whether a submission that got no answer is in the log.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn event_by_id(&self, stream: Stream, id: EventId) -> Result<Option<LoggedEvent>, ClientError> {
        let event = self.one_event(format!("{}/by-id/{id}", stream_path(stream))).await?;
        self.must_be(event, |event| event.frame.stream() == stream && event.frame.event_id() == id)
    }

    /// Events of a stream from a sequence on: in order, without gap.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn stream_events(
        &self,
        stream: Stream,
        from: Sequence,
        limit: usize,
    ) -> Result<Page<Sequence>, ClientError> {
        let path = format!("{}/events?from={from}&limit={limit}", stream_path(stream));
        let page: StreamPage = self.shared.http.json(&Request::get(&path)).await?;
        let events = check_all(page.events, &path)?;
        let expected = (from.get()..).map(Sequence::new);
        let in_order = events
            .iter()
            .zip(expected)
            .all(|(event, sequence)| event.frame.stream() == stream && event.placed.sequence == sequence);
        if !in_order {
            return Err(ClientError::malformed(&path, "the events are not those asked for, in order and without gap"));
        }
        Ok(Page { events, next: page.next_sequence })
    }

    /// Events of an entity after a position of the log, in order.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn entity_events(
        &self,
        stream: Stream,
        (entity_type, entity_id): (&str, &str),
        after: Option<Index>,
        limit: usize,
    ) -> Result<Page<Index>, ClientError> {
        let after = after.map_or_else(String::new, |after| format!("&after={after}"));
        let (kind, name) = (segment(entity_type), segment(entity_id));
        let path = format!("{}/entities/{kind}/{name}?limit={limit}{after}", stream_path(stream));
        let page: EntityPage = self.shared.http.json(&Request::get(&path)).await?;
        let events = check_all(page.events, &path)?;
        let asked = |event: &LoggedEvent| {
            let frame = &event.frame;
            frame.stream() == stream && frame.entity_type() == entity_type && frame.entity_id() == entity_id
        };
        let rising = events.windows(2).all(|pair| pair[0].placed.index < pair[1].placed.index);
        if !rising || !events.iter().all(asked) {
            return Err(ClientError::malformed(&path, "the events are not the entity's, in order"));
        }
        Ok(Page { events, next: page.next_after })
    }

    /// The newest sequence of a stream; `None` for an empty one.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn stream_head(&self, stream: Stream) -> Result<Option<Sequence>, ClientError> {
        let head: StreamHead = self.shared.http.json(&Request::get(format!("{}/head", stream_path(stream)))).await?;
        Ok(head.head_sequence)
    }

    /// How far each stage of the log is.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn ladder(&self) -> Result<Ladder, ClientError> {
        self.shared.http.json(&Request::get("/v1/ladder")).await
    }

    /// The newest published checkpoint, opened and joined to all seen before.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn published_checkpoint(&self) -> Result<std::sync::Arc<crate::SeenCheckpoint>, ClientError> {
        const PATH: &str = "/log/checkpoint";
        let note = self.shared.http.bytes(&Request::get(PATH)).await?;
        let note = core::str::from_utf8(&note).map_err(|error| ClientError::malformed(PATH, error))?;
        self.take_checkpoint(note).await
    }

    /// The nodes that show the tree of `new` to begin with that of `old` (RFC 6962 section 2.1.2), between any two sizes
    /// that are signed. The server's word: whoever asks knows the roots.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn consistency(&self, log: Log, old: TreeSize, new: TreeSize) -> Result<Vec<NodeHash>, ClientError> {
        watch::consistency(&self.shared.http, log, old, new).await
    }

    /// The receipt of an event at the newest signed checkpoint, checked against the caller's own frame. Waits, within
    /// the bounds of retrying, for an event that is not signed yet.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn receipt(&self, frame: &Frame, index: Index) -> Result<ProvenReceipt, ClientError> {
        let path = format!("/v1/receipts/{index}");
        let answer: ReceiptAnswer = self.shared.http.json(&Request::get(&path)).await?;
        let ledger = self.ledger().await?;
        let mut checkpoints = Vec::new();
        for note in &answer.checkpoints {
            checkpoints.push(self.take_checkpoint(note).await?);
        }
        self.prove(&ledger, frame, answer.receipt, &checkpoints).await
    }

    /// Everything needed to verify an event offline; already verified against the pinned ledger.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn bundle(&self, index: Index) -> Result<Bundle, ClientError> {
        let path = format!("/v1/bundle/{index}");
        let bundle = Bundle::decode(&self.shared.http.bytes(&Request::get(&path)).await?)?;
        let ledger = self.ledger().await?;
        if let Some(failed) = bundle.verify(&TrustRoot::ledger(ledger.id())).first_failure() {
            return Err(failed.into());
        }
        if bundle.index != index {
            return Err(ClientError::malformed(&path, "the bundle is of another event"));
        }
        self.take_checkpoint(&bundle.checkpoint).await?;
        Ok(bundle)
    }

    /// An agent's keys with their history, oldest first. The server's word: what proves it is the control events.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn agent_keys(&self, tenant: TenantId, agent: AgentId) -> Result<AgentKeys, ClientError> {
        self.shared.http.json(&Request::get(format!("/v1/keys/{tenant}/{agent}"))).await
    }

    async fn one_event(&self, path: String) -> Result<Option<(LoggedEvent, String)>, ClientError> {
        match self.shared.http.json::<EventRecord>(&Request::get(&path).without_waiting()).await {
            Ok(record) => Ok(Some((LoggedEvent::check(record, &path)?, path))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn must_be(
        &self,
        event: Option<(LoggedEvent, String)>,
        is_asked: impl FnOnce(&LoggedEvent) -> bool,
    ) -> Result<Option<LoggedEvent>, ClientError> {
        match event {
            Some((event, path)) if !is_asked(&event) => {
                Err(ClientError::malformed(&path, "another event than asked for"))
            }
            other => Ok(other.map(|(event, _)| event)),
        }
    }
}

fn check_all(records: Vec<EventRecord>, path: &str) -> Result<Vec<LoggedEvent>, ClientError> {
    records.into_iter().map(|record| LoggedEvent::check(record, path)).collect()
}

pub(crate) fn stream_path(stream: Stream) -> String {
    format!("/v1/streams/{}/{}", stream.tenant, stream.store)
}
