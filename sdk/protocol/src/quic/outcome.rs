//! What became of the events of one submission, packed.
//!
//! ```text
//! Outcome: u64 number | u16 events | u32 checkpoint id | span... (until all events are covered)
//!          | u16 hashes | hash[32]...
//! span:    u8 1 | u16 events | u64 index | u64 sequence | u64 time                          placed
//!          u8 2 | u64 index | u64 sequence | u64 time | u32 checkpoint id | u8 hashes | hash[32]...     duplicate
//!          u8 3 | u16 code | u8 length | field | u16 length | message                      rejected
//! ```
//! A span of placed events says the place of the first; each further one has the next index, the next sequence and the
//! same time. Spans are as long as they can be, so an outcome has one form. A batch of one stream takes one span of 27
//! bytes, and one multiproof of about twice the tree's depth for all its events together. Leaf hashes do not travel:
//! the client has the frames and rebuilds them, which it must do anyway to check the proof.

use super::{Body, Kind, MessageError, sentence, write_message, write_sentence};
use crate::error::{Reject, RejectCode};
use crate::hash::NodeHash;
use crate::id::{Index, Sequence};
use crate::limits::{EVENTS_PER_REQUEST_MAX, FIELD_BYTES_MAX, INCLUSION_PATH_MAX, MULTIPROOF_HASHES_MAX};
use crate::time::LogTime;

const PLACED: u8 = 1;
const DUPLICATE: u8 = 2;
const REJECTED: u8 = 3;

/// An event that was in the log already, with its first place and a proof of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Position in the log.
    pub index: Index,
    /// Position in the stream.
    pub sequence: Sequence,
    /// Log time.
    pub sequenced_at: LogTime,
    /// Which checkpoint of this stream the path leads to.
    pub checkpoint: u32,
    /// From the leaf to the checkpoint's root.
    pub path: Vec<NodeHash>,
}

/// An event that is not in the log, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The kind.
    pub code: RejectCode,
    field: String,
    message: String,
}

impl Rejection {
    /// The envelope's field it is about.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        Some(self.field.as_str()).filter(|field| !field.is_empty())
    }

    /// For people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<&Reject> for Rejection {
    fn from(reject: &Reject) -> Self {
        let field = reject.field.filter(|field| is_field(field)).unwrap_or_default();
        Self { code: reject.code, field: field.to_owned(), message: sentence(&reject.message) }
    }
}

fn is_field(field: &str) -> bool {
    field.len() <= FIELD_BYTES_MAX && field.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Events of a submission that lie side by side and fared alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// They are in the log, one behind the other.
    Placed {
        /// How many.
        events: u16,
        /// Position of the first in the log; the next ones follow without gap.
        index: Index,
        /// Position of the first in its stream; the next ones count on.
        sequence: Sequence,
        /// Log time of all of them.
        sequenced_at: LogTime,
    },
    /// One that was in the log already.
    Duplicate(Box<Duplicate>),
    /// One that is not in the log.
    Rejected(Box<Rejection>),
}

impl Span {
    fn events(&self) -> u16 {
        match self {
            Self::Placed { events, .. } => *events,
            Self::Duplicate(_) | Self::Rejected(_) => 1,
        }
    }
}

/// What became of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate<'a> {
    /// It is in the log now; the outcome's multiproof covers it.
    Placed {
        /// Position in the log.
        index: Index,
        /// Position in the stream.
        sequence: Sequence,
        /// Log time.
        sequenced_at: LogTime,
    },
    /// It was in the log already.
    Duplicate(&'a Duplicate),
    /// It is not in the log.
    Rejected(&'a Rejection),
}

/// The answer to one submission: one result per event, in its order, and the proof of all that were placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The submission's.
    pub number: u64,
    events: u16,
    checkpoint: u32,
    spans: Vec<Span>,
    proof: Vec<NodeHash>,
}

impl Outcome {
    /// An outcome without results yet.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self { number, events: 0, checkpoint: 0, spans: Vec::new(), proof: Vec::new() }
    }

    /// The next event is in the log, at this place.
    pub fn push_placed(&mut self, index: Index, sequence: Sequence, sequenced_at: LogTime) {
        self.events = self.events.saturating_add(1);
        if let Some(Span::Placed { events, index: first, sequence: first_sequence, sequenced_at: time }) =
            self.spans.last_mut()
            && follows(*first, *events, index.get())
            && follows(Index::new(first_sequence.get()), *events, sequence.get())
            && *time == sequenced_at
        {
            *events += 1;
            return;
        }
        self.spans.push(Span::Placed { events: 1, index, sequence, sequenced_at });
    }

    /// The next event was in the log already.
    pub fn push_duplicate(&mut self, duplicate: Duplicate) {
        self.events = self.events.saturating_add(1);
        self.spans.push(Span::Duplicate(Box::new(duplicate)));
    }

    /// The next event is not in the log.
    pub fn push_rejected(&mut self, rejection: Rejection) {
        self.events = self.events.saturating_add(1);
        self.spans.push(Span::Rejected(Box::new(rejection)));
    }

    /// The checkpoint that covers the placed events, by its id on this stream, and the multiproof that leads from their
    /// leaves to its root.
    pub fn certify(&mut self, checkpoint: u32, proof: Vec<NodeHash>) {
        self.checkpoint = checkpoint;
        self.proof = proof;
    }

    /// How many results it holds.
    #[must_use]
    pub const fn events(&self) -> usize {
        self.events as usize
    }

    /// The checkpoint of the placed events, by its id on this stream; none if no event was placed.
    #[must_use]
    pub fn checkpoint(&self) -> Option<u32> {
        Some(self.checkpoint).filter(|id| *id > 0)
    }

    /// The multiproof of the placed events.
    #[must_use]
    pub fn proof(&self) -> &[NodeHash] {
        &self.proof
    }

    /// The results, packed.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The result of each event, in the submission's order.
    pub fn fates(&self) -> impl Iterator<Item = Fate<'_>> {
        self.spans.iter().flat_map(|span| {
            (0..u64::from(span.events())).map(move |at| match span {
                Span::Placed { index, sequence, sequenced_at, .. } => Fate::Placed {
                    index: Index::new(index.get().saturating_add(at)),
                    sequence: Sequence::new(sequence.get().saturating_add(at)),
                    sequenced_at: *sequenced_at,
                },
                Span::Duplicate(duplicate) => Fate::Duplicate(duplicate),
                Span::Rejected(rejection) => Fate::Rejected(rejection),
            })
        })
    }

    /// Whether this can travel: what is written of one that cannot does not read back.
    ///
    /// # Errors
    /// Counts out of bounds, places that do not rise, spans that could be one, or a proof without placed events or the
    /// other way round.
    pub fn check(&self) -> Result<(), MessageError> {
        let events: usize = self.spans.iter().map(|span| usize::from(span.events())).sum();
        if events != self.events() || !(1..=EVENTS_PER_REQUEST_MAX).contains(&events) {
            return Err(MessageError::Count("number of results"));
        }
        let mut last: Option<(&Index, &Sequence, &LogTime, u16, usize)> = None;
        for (at, span) in self.spans.iter().enumerate() {
            match span {
                Span::Placed { events, index, sequence, sequenced_at } => {
                    check_place(*index, *sequence, *events)?;
                    if let Some((before, before_sequence, time, count, place)) = last {
                        if index.get() < before.get() + u64::from(count) || sequenced_at < time {
                            return Err(MessageError::Number("place of an event"));
                        }
                        let is_next = follows(*before, count, index.get())
                            && follows(Index::new(before_sequence.get()), count, sequence.get());
                        if place + 1 == at && is_next && sequenced_at == time {
                            return Err(MessageError::Form("a span of events"));
                        }
                    }
                    last = Some((index, sequence, sequenced_at, *events, at));
                }
                Span::Duplicate(duplicate) => {
                    check_place(duplicate.index, duplicate.sequence, 1)?;
                    if duplicate.checkpoint == 0 || duplicate.path.len() > INCLUSION_PATH_MAX {
                        return Err(MessageError::Number("proof of a duplicate"));
                    }
                }
                Span::Rejected(_) => {}
            }
        }
        if self.proof.len() > MULTIPROOF_HASHES_MAX {
            return Err(MessageError::Count("number of hashes"));
        }
        if last.is_some() != (self.checkpoint > 0) || (last.is_none() && !self.proof.is_empty()) {
            return Err(MessageError::Number("checkpoint id"));
        }
        Ok(())
    }

    /// Appends the message. Only an outcome that passes [`Outcome::check`] reads back.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_message(out, Kind::Outcome, |out| {
            out.extend_from_slice(&self.number.to_be_bytes());
            out.extend_from_slice(&self.events.to_be_bytes());
            out.extend_from_slice(&self.checkpoint.to_be_bytes());
            for span in &self.spans {
                write_span(out, span);
            }
            out.extend_from_slice(&u16::try_from(self.proof.len()).unwrap_or(u16::MAX).to_be_bytes());
            for hash in &self.proof {
                out.extend_from_slice(hash.as_bytes());
            }
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let mut body = Body(body);
        let (number, events, checkpoint) = (body.u64()?, body.u16()?, body.u32()?);
        if !(1..=EVENTS_PER_REQUEST_MAX).contains(&usize::from(events)) {
            return Err(MessageError::Count("number of results"));
        }
        let mut spans = Vec::new();
        let mut left = events;
        while left > 0 {
            let span = read_span(&mut body)?;
            left = left.checked_sub(span.events()).ok_or(MessageError::Count("number of results"))?;
            spans.push(span);
        }
        let hashes = usize::from(body.u16()?);
        if hashes > MULTIPROOF_HASHES_MAX {
            return Err(MessageError::Count("number of hashes"));
        }
        let proof = read_hashes(&mut body, hashes)?;
        body.end()?;
        let outcome = Self { number, events, checkpoint, spans, proof };
        outcome.check()?;
        Ok(outcome)
    }
}

/// Whether `number` is the one after `count` numbers from `first` on.
fn follows(first: Index, count: u16, number: u64) -> bool {
    first.get().checked_add(u64::from(count)) == Some(number)
}

/// Index 0 is the genesis entry, sequences start at 1, and neither ends beyond 64 bits.
fn check_place(index: Index, sequence: Sequence, events: u16) -> Result<(), MessageError> {
    let fits = |first: u64| first > 0 && first.checked_add(u64::from(events)).is_some();
    if events > 0 && fits(index.get()) && fits(sequence.get()) {
        Ok(())
    } else {
        Err(MessageError::Number("place of an event"))
    }
}

/// The code's number on the wire: its place in the list of codes, from 1.
fn code_number(code: RejectCode) -> u16 {
    let at = RejectCode::ALL.iter().position(|other| *other == code).unwrap_or_default();
    at as u16 + 1
}

fn code_of(number: u16) -> Option<RejectCode> {
    RejectCode::ALL.get(usize::from(number).checked_sub(1)?).copied()
}

fn write_place(out: &mut Vec<u8>, index: Index, sequence: Sequence, time: LogTime) {
    out.extend_from_slice(&index.get().to_be_bytes());
    out.extend_from_slice(&sequence.get().to_be_bytes());
    out.extend_from_slice(&time.micros().to_be_bytes());
}

fn write_span(out: &mut Vec<u8>, span: &Span) {
    match span {
        Span::Placed { events, index, sequence, sequenced_at } => {
            out.push(PLACED);
            out.extend_from_slice(&events.to_be_bytes());
            write_place(out, *index, *sequence, *sequenced_at);
        }
        Span::Duplicate(duplicate) => {
            out.push(DUPLICATE);
            write_place(out, duplicate.index, duplicate.sequence, duplicate.sequenced_at);
            out.extend_from_slice(&duplicate.checkpoint.to_be_bytes());
            out.push(u8::try_from(duplicate.path.len()).unwrap_or(u8::MAX));
            for hash in &duplicate.path {
                out.extend_from_slice(hash.as_bytes());
            }
        }
        Span::Rejected(rejection) => {
            out.push(REJECTED);
            out.extend_from_slice(&code_number(rejection.code).to_be_bytes());
            out.push(rejection.field.len() as u8);
            out.extend_from_slice(rejection.field.as_bytes());
            write_sentence(out, &rejection.message);
        }
    }
}

fn read_place(body: &mut Body<'_>) -> Result<(Index, Sequence, LogTime), MessageError> {
    Ok((Index::new(body.u64()?), Sequence::new(body.u64()?), LogTime::from_micros(body.u64()?)))
}

fn read_hashes(body: &mut Body<'_>, count: usize) -> Result<Vec<NodeHash>, MessageError> {
    // Taken whole first, so that a count alone reserves nothing.
    let hashes = body.take(count * 32)?.as_chunks::<32>().0;
    Ok(hashes.iter().map(|hash| NodeHash::from_bytes(*hash)).collect())
}

fn read_span(body: &mut Body<'_>) -> Result<Span, MessageError> {
    match body.u8()? {
        PLACED => {
            let events = body.u16()?;
            let (index, sequence, sequenced_at) = read_place(body)?;
            if events == 0 {
                return Err(MessageError::Count("number of results"));
            }
            Ok(Span::Placed { events, index, sequence, sequenced_at })
        }
        DUPLICATE => {
            let (index, sequence, sequenced_at) = read_place(body)?;
            let checkpoint = body.u32()?;
            let hashes = usize::from(body.u8()?);
            if hashes > INCLUSION_PATH_MAX {
                return Err(MessageError::Count("number of hashes"));
            }
            let path = read_hashes(body, hashes)?;
            Ok(Span::Duplicate(Box::new(Duplicate { index, sequence, sequenced_at, checkpoint, path })))
        }
        REJECTED => {
            let code = code_of(body.u16()?).ok_or(MessageError::Number("code of a rejection"))?;
            let length = usize::from(body.u8()?);
            let field = core::str::from_utf8(body.take(length)?).ok().filter(|field| is_field(field));
            let field = field.ok_or(MessageError::Text("field"))?.to_owned();
            Ok(Span::Rejected(Box::new(Rejection { code, field, message: body.sentence()?.to_owned() })))
        }
        _ => Err(MessageError::Number("kind of a result")),
    }
}
