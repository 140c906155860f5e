//! How a session begins and ends: who calls, who answers, what is refused, which checkpoint outcomes refer to.
//!
//! ```text
//! Hello:      u16 length | API key                                (length 0: the client certificate says who calls)
//! Welcome:    u16 length | genesis entry | u64 window bytes | u32 submission bytes | u16 submission events
//!             | u16 streams | u16 feeds
//! Refused:    u64 number | u32 code | u32 retry after (ms) | u16 length | message
//! Checkpoint: u32 id | note
//! GoAway:     u32 code | u16 length | message
//! ```

use super::{Body, Kind, MessageError, sentence, write_message, write_sentence};
use crate::entry::Genesis;
use crate::hash::LedgerId;
use crate::limits::{API_KEY_BYTES_MAX, BODY_BYTES_MAX, ENTRY_BYTES_MAX, EVENTS_PER_REQUEST_MAX, NOTE_BYTES_MAX};

/// Codes with which either side closes a connection or a stream (QUIC application error codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CloseCode {
    /// Nothing is wrong; there is no more to say.
    Done = 0,
    /// The other side broke this protocol.
    Malformed = 1,
    /// The caller may not do this; a [`Refused`] said why.
    Unauthorized = 2,
    /// The sequencer is shutting down.
    Draining = 3,
    /// The other side took too long, or takes nothing.
    TooSlow = 4,
    /// There is no room for one more.
    TooMany = 5,
    /// A fault of the side that closes.
    Internal = 6,
}

impl CloseCode {
    /// All codes.
    pub const ALL: [Self; 7] =
        [Self::Done, Self::Malformed, Self::Unauthorized, Self::Draining, Self::TooSlow, Self::TooMany, Self::Internal];

    /// The code as it travels.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The code of a number, if it is one of ours.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|code| u64::from(code.number()) == number)
    }
}

/// The first message of a connection, on its first stream: who calls.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    key: String,
}

impl Hello {
    /// With an API key; an empty one says that the client certificate is the credential.
    ///
    /// # Errors
    /// The key is longer than [`API_KEY_BYTES_MAX`] or has other characters than visible ASCII.
    pub fn new(api_key: &str) -> Result<Self, MessageError> {
        if api_key.len() > API_KEY_BYTES_MAX || !api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(MessageError::Text("API key"));
        }
        Ok(Self { key: api_key.to_owned() })
    }

    /// The API key; none if the client certificate is the credential.
    #[must_use]
    pub fn api_key(&self) -> Option<&str> {
        Some(self.key.as_str()).filter(|key| !key.is_empty())
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_message(out, Kind::Hello, |out| {
            out.extend_from_slice(&(self.key.len() as u16).to_be_bytes());
            out.extend_from_slice(self.key.as_bytes());
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let mut body = Body(body);
        let length = usize::from(body.u16()?);
        let key = core::str::from_utf8(body.take(length)?).map_err(|_| MessageError::Text("API key"))?;
        body.end()?;
        Self::new(key)
    }
}

impl core::fmt::Debug for Hello {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Never the key: this text ends up in logs.
        f.debug_struct("Hello").field("api_key", &self.api_key().map(|_| "...")).finish()
    }
}

/// The answer to [`Hello`]: which ledger this is, and the bounds of this door for this caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The entry at index 0: the log's name, its verifier keys, and by its leaf hash the ledger's identity.
    pub genesis: Genesis,
    /// Bytes of submissions the caller may have without an answer, over all its connections; more are not read until
    /// some are answered.
    pub window_bytes: u64,
    /// Bytes of frames one submission may hold.
    pub submit_bytes_max: u32,
    /// Events one submission may hold.
    pub submit_events_max: u16,
    /// Submission streams and feeds that a connection may have open together.
    pub streams_max: u16,
    /// Feeds among them.
    pub feeds_max: u16,
}

impl Welcome {
    /// The ledger's identity, by its genesis entry.
    #[must_use]
    pub fn ledger_id(&self) -> LedgerId {
        self.genesis.ledger_id()
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_message(out, Kind::Welcome, |out| {
            let genesis = self.genesis.encode();
            out.extend_from_slice(&u16::try_from(genesis.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(&genesis);
            out.extend_from_slice(&self.window_bytes.to_be_bytes());
            out.extend_from_slice(&self.submit_bytes_max.to_be_bytes());
            out.extend_from_slice(&self.submit_events_max.to_be_bytes());
            out.extend_from_slice(&self.streams_max.to_be_bytes());
            out.extend_from_slice(&self.feeds_max.to_be_bytes());
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let mut body = Body(body);
        let length = usize::from(body.u16()?);
        if length > ENTRY_BYTES_MAX {
            return Err(MessageError::Count("genesis length"));
        }
        let genesis = Genesis::decode(body.take(length)?)?;
        let welcome = Self {
            genesis,
            window_bytes: body.u64()?,
            submit_bytes_max: body.u32()?,
            submit_events_max: body.u16()?,
            streams_max: body.u16()?,
            feeds_max: body.u16()?,
        };
        body.end()?;
        let bytes = usize::try_from(welcome.submit_bytes_max).is_ok_and(|bytes| (1..=BODY_BYTES_MAX).contains(&bytes));
        let events = (1..=EVENTS_PER_REQUEST_MAX).contains(&usize::from(welcome.submit_events_max));
        if !bytes || !events || welcome.window_bytes < u64::from(welcome.submit_bytes_max) || welcome.streams_max == 0 {
            return Err(MessageError::Number("a bound of the door"));
        }
        Ok(welcome)
    }
}

/// Nothing of what was asked for is done, and why. Only where the code is that of an unknown outcome (7104) some of the
/// events may be in the log: submit the same frames again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The submission that is refused; 0 for `Hello` and `Follow`.
    pub number: u64,
    /// The number of the error code, the same as over HTTP (`numeric_code`).
    pub code: u32,
    /// Milliseconds after which a retry has a chance; 0 if none is stated.
    pub retry_after_ms: u32,
    message: String,
}

impl Refused {
    /// A refusal; the message is cut to its bound.
    #[must_use]
    pub fn new(number: u64, code: u32, retry_after_ms: u32, message: &str) -> Self {
        Self { number, code, retry_after_ms, message: sentence(message) }
    }

    /// For people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_message(out, Kind::Refused, |out| {
            out.extend_from_slice(&self.number.to_be_bytes());
            out.extend_from_slice(&self.code.to_be_bytes());
            out.extend_from_slice(&self.retry_after_ms.to_be_bytes());
            write_sentence(out, &self.message);
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let mut body = Body(body);
        let (number, code, retry_after_ms) = (body.u64()?, body.u32()?, body.u32()?);
        let message = body.sentence()?.to_owned();
        body.end()?;
        Ok(Self { number, code, retry_after_ms, message })
    }
}

/// A checkpoint's note, sent on a stream once, before the first outcome there that refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointNote {
    /// Its name on this stream, from 1 and rising.
    pub id: u32,
    note: String,
}

impl CheckpointNote {
    /// A note under an id.
    ///
    /// # Errors
    /// The id is 0, or the note is empty or longer than a note may be.
    pub fn new(id: u32, note: &str) -> Result<Self, MessageError> {
        if id == 0 {
            return Err(MessageError::Number("checkpoint id"));
        }
        if !(1..=NOTE_BYTES_MAX).contains(&note.len()) {
            return Err(MessageError::Text("note"));
        }
        Ok(Self { id, note: note.to_owned() })
    }

    /// The signed note, verbatim and not opened.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_message(out, Kind::Checkpoint, |out| {
            out.extend_from_slice(&self.id.to_be_bytes());
            out.extend_from_slice(self.note.as_bytes());
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let mut body = Body(body);
        let id = body.u32()?;
        Self::new(id, core::str::from_utf8(body.0).map_err(|_| MessageError::Text("note"))?)
    }
}

/// The sequencer is about to end a connection (on its first stream) or a feed: start nothing new there. Submissions
/// that were read before are answered still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoAway {
    /// The number of the error code, as over HTTP.
    pub code: u32,
    message: String,
}

impl GoAway {
    /// A farewell; the message is cut to its bound.
    #[must_use]
    pub fn new(code: u32, message: &str) -> Self {
        Self { code, message: sentence(message) }
    }

    /// For people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_message(out, Kind::GoAway, |out| {
            out.extend_from_slice(&self.code.to_be_bytes());
            write_sentence(out, &self.message);
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let mut body = Body(body);
        let code = body.u32()?;
        let message = body.sentence()?.to_owned();
        body.end()?;
        Ok(Self { code, message })
    }
}
