//! Events out: the ordered feed of the log.
//!
//! ```text
//! Follow:    u64 from | tenant[16] | store[16] | u8 filter          0 none, 1 tenant, 2 tenant and store
//! Events:    u64 next | u64 size | u16 events | event...
//! event:     u64 index | u64 sequence | u64 time | public key[32] | frame
//! Heartbeat: u64 next | u64 size
//! ```
//! `next` is where to resume: everything before it was sent or is outside the filter. `size` is how far the log was
//! signed when the message was made. From 2^64-1 means from now on.

use bytes::Bytes;

use super::{Body, Kind, MessageError, write_message};
use crate::frame::{Frame, FrameError};
use crate::id::{Index, Sequence, StoreId, Stream, TenantId, TreeSize};
use crate::key::PublicKey;
use crate::limits::{FEED_BYTES_MAX, FEED_EVENTS_MAX};
use crate::run::Record;
use crate::time::LogTime;

const NOW: u64 = u64::MAX;
/// Bytes of an [`Events`] body before its events.
const EVENTS_FIXED: usize = 18;
/// Bytes of an event before its frame.
const RECORD_FIXED: usize = 56;

/// Where a feed starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowFrom {
    /// At this position of the log; 0 and 1 are the first event.
    Index(Index),
    /// At the first event that is not signed yet.
    Now,
}

/// Events out, please.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follow {
    /// From where on.
    pub from: FollowFrom,
    /// Only this tenant's, and of it only this store's; the credential narrows further.
    pub filter: Option<(TenantId, Option<StoreId>)>,
}

impl Follow {
    /// Whether an event of this stream passes the filter.
    #[must_use]
    pub fn shows(&self, stream: Stream) -> bool {
        self.filter
            .is_none_or(|(tenant, store)| tenant == stream.tenant && store.is_none_or(|store| store == stream.store))
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (tenant, store, filter) = match self.filter {
            None => (TenantId::NIL, StoreId::NIL, 0),
            Some((tenant, None)) => (tenant, StoreId::NIL, 1),
            Some((tenant, Some(store))) => (tenant, store, 2),
        };
        let from = match self.from {
            FollowFrom::Index(index) => index.get(),
            FollowFrom::Now => NOW,
        };
        write_message(out, Kind::Follow, |out| {
            out.extend_from_slice(&from.to_be_bytes());
            out.extend_from_slice(tenant.as_bytes());
            out.extend_from_slice(store.as_bytes());
            out.push(filter);
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let mut body = Body(body);
        let from = match body.u64()? {
            NOW => FollowFrom::Now,
            index => FollowFrom::Index(Index::new(index)),
        };
        let (tenant, store) = (TenantId::from_bytes(body.array()?), StoreId::from_bytes(body.array()?));
        let filter = match body.u8()? {
            0 if tenant.is_nil() && store.is_nil() => None,
            1 if store.is_nil() => Some((tenant, None)),
            2 => Some((tenant, Some(store))),
            0 | 1 => return Err(MessageError::Form("filter")),
            _ => return Err(MessageError::Number("filter")),
        };
        body.end()?;
        Ok(Self { from, filter })
    }
}

/// No event to send just now: the feed lives, and is this far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Where to resume.
    pub next: Index,
    /// How far the log is signed.
    pub size: TreeSize,
}

impl Heartbeat {
    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_message(out, Kind::Heartbeat, |out| {
            out.extend_from_slice(&self.next.get().to_be_bytes());
            out.extend_from_slice(&self.size.get().to_be_bytes());
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let mut body = Body(body);
        let heartbeat = Self { next: Index::new(body.u64()?), size: TreeSize::new(body.u64()?) };
        body.end()?;
        Ok(heartbeat)
    }
}

/// Events of the log, in its order.
#[derive(Debug, Clone)]
pub struct Events {
    /// Where to resume after these.
    pub next: Index,
    /// How far the log is signed.
    pub size: TreeSize,
    records: Vec<Record>,
}

impl Events {
    /// The events; their frames share the message's bytes.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The events, by value.
    #[must_use]
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut builder = EventsBuilder::new();
        for record in &self.records {
            builder.push(record.index, record.sequence, record.sequenced_at, &record.public_key, &record.frame);
        }
        out.extend_from_slice(&builder.finish(self.next, self.size));
    }

    pub(super) fn decode(mut bytes: Bytes) -> Result<Self, MessageError> {
        let mut body = Body(&bytes);
        let (next, size, count) = (Index::new(body.u64()?), TreeSize::new(body.u64()?), usize::from(body.u16()?));
        if !(1..=FEED_EVENTS_MAX).contains(&count) {
            return Err(MessageError::Count("number of events"));
        }
        bytes = bytes.split_off(EVENTS_FIXED);
        let mut records: Vec<Record> = Vec::new();
        for _ in 0..count {
            let record = read_record(&mut bytes)?;
            let place = match records.last() {
                Some(last) => record.index > last.index && record.sequenced_at >= last.sequenced_at,
                None => record.index.get() > 0,
            };
            if !place || record.sequence.get() == 0 {
                return Err(MessageError::Number("place of an event"));
            }
            records.push(record);
        }
        if !bytes.is_empty() {
            return Err(MessageError::Surplus);
        }
        let is_last = records.last().is_some_and(|last| last.index < next);
        if !is_last || next.get() > size.get() {
            return Err(MessageError::Number("where to resume"));
        }
        Ok(Self { next, size, records })
    }
}

fn read_record(bytes: &mut Bytes) -> Result<Record, MessageError> {
    let mut body = Body(bytes);
    let index = Index::new(body.u64()?);
    let sequence = Sequence::new(body.u64()?);
    let sequenced_at = LogTime::from_micros(body.u64()?);
    let public_key = PublicKey::from_bytes(body.array()?);
    *bytes = bytes.split_off(RECORD_FIXED);
    let frame = Frame::decode_prefix(bytes)?.ok_or(FrameError::Truncated)?;
    Ok(Record { index, sequence, sequenced_at, public_key, frame })
}

/// Writes an [`Events`] message in one buffer, event by event.
#[derive(Debug)]
pub struct EventsBuilder {
    body: Vec<u8>,
    events: u16,
}

impl Default for EventsBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl EventsBuilder {
    /// Without events yet.
    #[must_use]
    pub fn new() -> Self {
        Self { body: vec![0; super::HEAD_BYTES + EVENTS_FIXED], events: 0 }
    }

    /// Whether an event of that many bytes of frame still fits.
    #[must_use]
    pub const fn fits(&self, frame_bytes: usize) -> bool {
        (self.events as usize) < FEED_EVENTS_MAX
            && self.body.len() - super::HEAD_BYTES + RECORD_FIXED + frame_bytes <= FEED_BYTES_MAX
    }

    /// How many events it holds.
    #[must_use]
    pub const fn events(&self) -> usize {
        self.events as usize
    }

    /// How many bytes it holds.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Appends an event; ask [`EventsBuilder::fits`] first.
    pub fn push(&mut self, index: Index, sequence: Sequence, time: LogTime, key: &PublicKey, frame: &Frame) {
        self.body.extend_from_slice(&index.get().to_be_bytes());
        self.body.extend_from_slice(&sequence.get().to_be_bytes());
        self.body.extend_from_slice(&time.micros().to_be_bytes());
        self.body.extend_from_slice(key.as_bytes());
        self.body.extend_from_slice(frame.bytes());
        self.events = self.events.saturating_add(1);
    }

    /// The message, head included.
    #[must_use]
    pub fn finish(mut self, next: Index, size: TreeSize) -> Vec<u8> {
        let head = super::Head { kind: Kind::Events, body_bytes: self.body.len() - super::HEAD_BYTES };
        self.body[..5].copy_from_slice(&head.encode());
        self.body[5..13].copy_from_slice(&next.get().to_be_bytes());
        self.body[13..21].copy_from_slice(&size.get().to_be_bytes());
        self.body[21..23].copy_from_slice(&self.events.to_be_bytes());
        self.body
    }
}
