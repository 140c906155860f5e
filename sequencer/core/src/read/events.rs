//! Events read back, by position, by stream, by id and by entity: the exact bytes that were signed.

use std::sync::Arc;

use tally_protocol::id::{EventId, Index, Sequence, Stream};
use tally_protocol::run::RunView;

use super::runs::damaged;
use super::{ReadError, Reader, StoredEvent};
use crate::watermarks::Rung;

impl Reader {
    fn signed_holds(&self, index: Index) -> bool {
        self.shared.watermarks.get(Rung::Signed).holds(index)
    }

    /// The event at a position of the log.
    ///
    /// # Errors
    /// `NotYet` above `signed`; `Invalid` for index 0, which is the genesis entry.
    pub fn event(&self, index: Index) -> Result<StoredEvent, ReadError> {
        if index.get() == 0 {
            return Err(ReadError::Invalid("index 0 is the genesis entry, not an event"));
        }
        if !self.signed_holds(index) {
            return Err(ReadError::NotYet { rung: Rung::Signed });
        }
        let record = self.shared.runs.record(&self.shared.log, index)?;
        record.map(StoredEvent::from).ok_or(ReadError::Damaged { index, what: "a signed entry is missing" })
    }

    /// The event at a position of a stream.
    ///
    /// # Errors
    /// `NotFound` past the stream's certified head.
    pub fn event_in_stream(&self, stream: Stream, sequence: Sequence) -> Result<StoredEvent, ReadError> {
        self.events_of_stream(stream, sequence, 1)?.pop().ok_or(ReadError::NotFound)
    }

    /// The event of a stream with an id.
    ///
    /// # Errors
    /// `NotFound`, also while the event is not certified yet.
    pub fn event_by_id(&self, stream: Stream, id: EventId) -> Result<StoredEvent, ReadError> {
        let matches = |event: &StoredEvent| event.frame.stream() == stream && event.frame.event_id() == id;
        let found = self.shared.derived.find_event_ids(&[(stream, id)])?.pop().flatten();
        if let Some(index) = found.filter(|index| self.signed_holds(*index)) {
            let event = self.event(index)?;
            return if matches(&event) { Ok(event) } else { Err(ReadError::NotFound) };
        }
        // Certified, but not indexed yet: the tail behind the index cursor is short, and in memory or just written.
        let cursor = self.shared.index_cursor.load(std::sync::atomic::Ordering::Acquire);
        let tail = self.events_between(cursor.max(1), self.shared.watermarks.get(Rung::Signed).get());
        for event in tail {
            let event = event?;
            if matches(&event) {
                return Ok(event);
            }
        }
        Err(ReadError::NotFound)
    }

    /// A stream's events from a sequence on, at most `limit`.
    ///
    /// # Errors
    /// The database failed.
    pub fn events_of_stream(
        &self,
        stream: Stream,
        from: Sequence,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let mut found = Vec::new();
        let Some(head) = self.stream_head(stream) else { return Ok(found) };
        let mut next = from.max(Sequence::new(1));
        while found.len() < limit && next <= head {
            let Some(first) = self.shared.log.first_of(stream, next)? else { break };
            let Some(run) = self.shared.runs.containing(&self.shared.log, first)? else { break };
            let before = next;
            let (first, end) = (run.header().first_index.get(), run.header().next_index().get());
            for index in (first..end).map(Index::new) {
                // Most records of a run are other streams': their frames are not looked at.
                if run.sequence(index) != Some(next) {
                    continue;
                }
                let record = run.record(index).map_err(|error| damaged(&run, &error))?;
                if let Some(record) = record.filter(|record| record.frame.stream() == stream) {
                    found.push(StoredEvent::from(record));
                    next = next.next();
                    if found.len() == limit || next > head {
                        break;
                    }
                }
            }
            if next == before {
                return Err(ReadError::Damaged {
                    index: Index::new(first),
                    what: "the position index names a run without the event",
                });
            }
        }
        Ok(found)
    }

    /// An entity's events in log order, after an index, at most `limit`.
    ///
    /// # Errors
    /// The database failed.
    pub fn events_of_entity(
        &self,
        stream: Stream,
        entity_type: &str,
        entity_id: &str,
        after: Option<Index>,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let matches = |event: &StoredEvent| {
            let frame = &event.frame;
            frame.stream() == stream && frame.entity_type() == entity_type && frame.entity_id() == entity_id
        };
        let mut found = Vec::new();
        // The cursor is read before the index: what lies behind it is in the page, what lies past it in the tail.
        let cursor = self.shared.index_cursor.load(std::sync::atomic::Ordering::Acquire);
        let signed = self.shared.watermarks.get(Rung::Signed);
        for index in self.shared.derived.entity_page(&stream, entity_type, entity_id, after, limit)? {
            if index.get() >= cursor || !signed.holds(index) {
                break;
            }
            let event = self.event(index)?;
            if matches(&event) {
                found.push(event);
            }
        }
        if found.len() < limit {
            let from = after.map_or(1, |after| after.get() + 1).max(cursor).max(1);
            for event in self.events_between(from, signed.get()) {
                let event = event?;
                if matches(&event) {
                    found.push(event);
                    if found.len() == limit {
                        break;
                    }
                }
            }
        }
        Ok(found)
    }

    /// The log's events from an index on, at most `limit`. Index 0 is the genesis entry and is skipped.
    ///
    /// # Errors
    /// The database failed.
    pub fn events_of_log(&self, from: Index, limit: usize) -> Result<Vec<StoredEvent>, ReadError> {
        let signed = self.shared.watermarks.get(Rung::Signed).get();
        self.events_between(from.get().max(1), signed).take(limit).collect()
    }

    /// The events of a stretch of the log, run by run: one look-up for each run, none for an event.
    pub(crate) fn events_between(
        &self,
        from: u64,
        end: u64,
    ) -> impl Iterator<Item = Result<StoredEvent, ReadError>> + '_ {
        let mut run: Option<Arc<RunView>> = None;
        (from..end).map(move |index| {
            let index = Index::new(index);
            let missing = ReadError::Damaged { index, what: "a signed entry is missing" };
            let current = match run.take().filter(|run| run.header().holds(index)) {
                Some(current) => current,
                None => self.shared.runs.containing(&self.shared.log, index)?.ok_or(missing)?,
            };
            let record = current.record(index).map_err(|error| damaged(&current, &error))?;
            run = Some(current);
            record.map(StoredEvent::from).ok_or(ReadError::Damaged { index, what: "a signed entry is missing" })
        })
    }
}
