//! The messages of the QUIC door (`docs/formats/quic.md`): the bytes that a client and a sequencer send each other.
//!
//! ```text
//! message: u32 length (of what follows) | u8 kind | body
//! ```
//! Numbers are big-endian. Takes values, gives bytes; takes bytes, gives values. Reading is strict: a length is checked
//! against its kind's bound before a byte of the body is waited for, what decodes encodes to the same bytes, and
//! everything else is a [`MessageError`]. Events inside a [`Submit`] are slices of the received bytes, not copies.
//! *Out of scope*: connections, streams, credentials, whether a proof holds; the order of messages is on the page.

mod feed;
mod outcome;
mod session;
mod submit;

use bytes::Bytes;

use crate::entry::EntryError;
use crate::frame::FrameError;
use crate::limits::{
    API_KEY_BYTES_MAX, BODY_BYTES_MAX, ENTRY_BYTES_MAX, EVENTS_PER_REQUEST_MAX, FEED_BYTES_MAX, FIELD_BYTES_MAX,
    INCLUSION_PATH_MAX, MULTIPROOF_HASHES_MAX, NOTE_BYTES_MAX, TEXT_BYTES_MAX,
};

pub use feed::{Events, EventsBuilder, Follow, FollowFrom, Heartbeat};
pub use outcome::{Duplicate, Fate, Outcome, Rejection, Span};
pub use session::{CheckpointNote, CloseCode, GoAway, Hello, Refused, Welcome};
pub use submit::{SUBMIT_HEAD_BYTES, Split, Submit};

/// The application protocol both sides must agree on (TLS ALPN): this version of the messages.
pub const ALPN: &[u8] = b"tally/1";
/// Bytes before a message's body: length and kind.
pub const HEAD_BYTES: usize = 5;

/// What a message is. Those of a client are below 0x80, those of a sequencer from there on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// [`Hello`]: who calls.
    Hello = 0x01,
    /// [`Submit`]: events in.
    Submit = 0x02,
    /// [`Follow`]: events out, please.
    Follow = 0x03,
    /// [`Welcome`]: who answers, and the bounds of this door.
    Welcome = 0x81,
    /// [`Refused`]: no.
    Refused = 0x82,
    /// [`CheckpointNote`]: a signed tree head that outcomes refer to.
    Checkpoint = 0x83,
    /// [`Outcome`]: what became of the events of one submission.
    Outcome = 0x84,
    /// [`Events`]: events out.
    Events = 0x85,
    /// [`Heartbeat`]: no event to send just now.
    Heartbeat = 0x86,
    /// [`GoAway`]: the sequencer is about to end this.
    GoAway = 0x87,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Hello,
        Self::Submit,
        Self::Follow,
        Self::Welcome,
        Self::Refused,
        Self::Checkpoint,
        Self::Outcome,
        Self::Events,
        Self::Heartbeat,
        Self::GoAway,
    ];

    /// The kind as it travels.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind of a number, if it is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The longest body of this kind.
    #[must_use]
    pub const fn body_bytes_max(self) -> usize {
        match self {
            Self::Hello => 2 + API_KEY_BYTES_MAX,
            Self::Submit => 10 + BODY_BYTES_MAX,
            Self::Follow => 41,
            Self::Welcome => 2 + ENTRY_BYTES_MAX + 18,
            Self::Refused => 18 + TEXT_BYTES_MAX,
            Self::Checkpoint => 4 + NOTE_BYTES_MAX,
            Self::Outcome => OUTCOME_BYTES_MAX,
            Self::Events => FEED_BYTES_MAX,
            Self::Heartbeat => 16,
            Self::GoAway => 6 + TEXT_BYTES_MAX,
        }
    }
}

/// The longest result of one event, in an outcome: a duplicate with a path as deep as a tree can be.
const RESULT_BYTES_MAX: usize = 30 + INCLUSION_PATH_MAX * 32;
const OUTCOME_BYTES_MAX: usize = 16 + EVENTS_PER_REQUEST_MAX * RESULT_BYTES_MAX + MULTIPROOF_HASHES_MAX * 32;
const _: () = assert!(6 + FIELD_BYTES_MAX + TEXT_BYTES_MAX <= RESULT_BYTES_MAX, "a rejection is no longer than that");

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// No message has this number.
    #[error("unknown kind of message {0:#04x}")]
    Kind(u8),
    /// A message of the other side, or one that does not belong here.
    #[error("a message of kind {0:?} does not belong here")]
    Unexpected(Kind),
    /// A message that says it is shorter or longer than its kind can be.
    #[error("a message of {1} bytes is outside the bounds of kind {0:?}")]
    Length(Kind, u32),
    /// The body ends before its last member does.
    #[error("message is cut short")]
    Truncated,
    /// Bytes follow where the body should end.
    #[error("message has surplus bytes")]
    Surplus,
    /// A count is zero, beyond its bound, or not that of what follows.
    #[error("{0} is outside its bounds")]
    Count(&'static str),
    /// A text is too long or has characters it must not have.
    #[error("{0} is not a text it may be")]
    Text(&'static str),
    /// A number is outside its range, or the numbers of a sequence do not rise.
    #[error("{0} is out of range")]
    Number(&'static str),
    /// The same content has a shorter form, which must be used.
    #[error("{0} is not in its one form")]
    Form(&'static str),
    /// The genesis entry is not one.
    #[error("welcome: {0}")]
    Genesis(#[from] EntryError),
    /// An event of the feed is not a frame, or the place of a submitted one is lost.
    #[error("event: {0}")]
    Frame(#[from] FrameError),
}

/// The start of a message: what follows and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub kind: Kind,
    /// Bytes of the body; within the kind's bound.
    pub body_bytes: usize,
}

impl Head {
    /// Reads length and kind.
    ///
    /// # Errors
    /// An unknown kind, or a length that this kind cannot have.
    pub fn decode(bytes: &[u8; HEAD_BYTES]) -> Result<Self, MessageError> {
        let [a, b, c, d, kind] = *bytes;
        let length = u32::from_be_bytes([a, b, c, d]);
        let kind = Kind::from_number(kind).ok_or(MessageError::Kind(kind))?;
        let body = usize::try_from(length).ok().and_then(|length| length.checked_sub(1));
        match body {
            Some(body_bytes) if body_bytes <= kind.body_bytes_max() => Ok(Self { kind, body_bytes }),
            _ => Err(MessageError::Length(kind, length)),
        }
    }

    /// The bytes of length and kind.
    #[must_use]
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let [a, b, c, d] = u32::try_from(self.body_bytes + 1).unwrap_or(u32::MAX).to_be_bytes();
        [a, b, c, d, self.kind.number()]
    }

    /// Takes one whole message off the front of `bytes`; `None`, and nothing taken, if it has not arrived whole.
    ///
    /// # Errors
    /// As [`Head::decode`].
    pub fn take(bytes: &mut Bytes) -> Result<Option<(Kind, Bytes)>, MessageError> {
        let Some(head) = bytes.first_chunk() else { return Ok(None) };
        let head = Self::decode(head)?;
        if bytes.len() < HEAD_BYTES + head.body_bytes {
            return Ok(None);
        }
        let message = bytes.split_to(HEAD_BYTES + head.body_bytes);
        Ok(Some((head.kind, message.slice(HEAD_BYTES..))))
    }
}

/// Writes a message: its head, then what `body` appends.
fn write_message(out: &mut Vec<u8>, kind: Kind, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    body(out);
    let head = Head { kind, body_bytes: out.len() - start - HEAD_BYTES };
    out[start..start + HEAD_BYTES].copy_from_slice(&head.encode());
}

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToServer {
    /// Who calls.
    Hello(Hello),
    /// Events in.
    Submit(Submit),
    /// Events out, please.
    Follow(Follow),
}

impl ToServer {
    /// Reads the body of a client's message.
    ///
    /// # Errors
    /// Anything but what [`ToServer::write`] writes after the head.
    pub fn decode(kind: Kind, body: Bytes) -> Result<Self, MessageError> {
        match kind {
            Kind::Hello => Hello::decode(&body).map(Self::Hello),
            Kind::Submit => Submit::decode(body).map(Self::Submit),
            Kind::Follow => Follow::decode(&body).map(Self::Follow),
            other => Err(MessageError::Unexpected(other)),
        }
    }

    /// Appends the message, head included.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(message) => message.write(out),
            Self::Submit(message) => message.write(out),
            Self::Follow(message) => message.write(out),
        }
    }
}

/// A message of a sequencer.
#[derive(Debug, Clone)]
pub enum ToClient {
    /// Who answers.
    Welcome(Box<Welcome>),
    /// No.
    Refused(Refused),
    /// A signed tree head.
    Checkpoint(CheckpointNote),
    /// What became of a submission.
    Outcome(Outcome),
    /// Events out.
    Events(Events),
    /// Nothing to send just now.
    Heartbeat(Heartbeat),
    /// The end is near.
    GoAway(GoAway),
}

impl ToClient {
    /// Reads the body of a sequencer's message.
    ///
    /// # Errors
    /// Anything but what [`ToClient::write`] writes after the head.
    pub fn decode(kind: Kind, body: Bytes) -> Result<Self, MessageError> {
        match kind {
            Kind::Welcome => Welcome::decode(&body).map(|welcome| Self::Welcome(Box::new(welcome))),
            Kind::Refused => Refused::decode(&body).map(Self::Refused),
            Kind::Checkpoint => CheckpointNote::decode(&body).map(Self::Checkpoint),
            Kind::Outcome => Outcome::decode(&body).map(Self::Outcome),
            Kind::Events => Events::decode(body).map(Self::Events),
            Kind::Heartbeat => Heartbeat::decode(&body).map(Self::Heartbeat),
            Kind::GoAway => GoAway::decode(&body).map(Self::GoAway),
            other => Err(MessageError::Unexpected(other)),
        }
    }

    /// Appends the message, head included.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Welcome(message) => message.write(out),
            Self::Refused(message) => message.write(out),
            Self::Checkpoint(message) => message.write(out),
            Self::Outcome(message) => message.write(out),
            Self::Events(message) => message.write(out),
            Self::Heartbeat(message) => message.write(out),
            Self::GoAway(message) => message.write(out),
        }
    }
}

/// What is still to be read of a body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], MessageError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(MessageError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(MessageError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, MessageError> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, MessageError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, MessageError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A sentence for people: `u16` length, UTF-8 without control characters.
    fn sentence(&mut self) -> Result<&'a str, MessageError> {
        let length = usize::from(self.u16()?);
        if length > TEXT_BYTES_MAX {
            return Err(MessageError::Text("message"));
        }
        let text = core::str::from_utf8(self.take(length)?).map_err(|_| MessageError::Text("message"))?;
        if text.chars().any(char::is_control) { Err(MessageError::Text("message")) } else { Ok(text) }
    }

    /// Nothing may follow.
    fn end(self) -> Result<(), MessageError> {
        if self.0.is_empty() { Ok(()) } else { Err(MessageError::Surplus) }
    }
}

/// A sentence within its bound: cut at a character, control characters become blanks.
fn sentence(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
}

fn write_sentence(out: &mut Vec<u8>, text: &str) {
    // The bound was checked when the text was taken in.
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
