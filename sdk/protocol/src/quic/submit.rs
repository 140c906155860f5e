//! Events in, many in one message.
//!
//! ```text
//! Submit: u64 number | u16 events | frame... (as many as counted, one after the other, each with its own length)
//! ```
//! Decoding walks the frames' lengths only; [`Submit::split`] then reads each frame as a slice of the same bytes. A
//! frame that is malformed within its own length is refused alone; a length that leads nowhere condemns the message.

use bytes::Bytes;

use super::{Body, HEAD_BYTES, Head, Kind, MessageError, write_message};
use crate::frame::{Frame, FrameError, frame_bytes};
use crate::limits::{BODY_BYTES_MAX, EVENTS_PER_REQUEST_MAX};

/// Bytes before the frames: the message's head, number and count.
pub const SUBMIT_HEAD_BYTES: usize = HEAD_BYTES + BEFORE_FRAMES;
const BEFORE_FRAMES: usize = 10;

/// Events for the log, under a number by which the answer names them.
#[derive(Clone, PartialEq, Eq)]
pub struct Submit {
    /// Chosen by the client; unique among those of a stream that have no answer yet.
    pub number: u64,
    events: u16,
    bytes: Bytes,
}

/// The events of a submission, read.
#[derive(Debug)]
pub struct Split {
    /// The well-formed ones, in order; slices of the submission's bytes.
    pub frames: Vec<Frame>,
    /// The malformed ones: their place among all, from 0, and why.
    pub malformed: Vec<(usize, FrameError)>,
}

impl Submit {
    /// Joins frames into a submission.
    ///
    /// # Errors
    /// No frames, or more, or more bytes, than a submission may have.
    pub fn new(number: u64, frames: &[Frame]) -> Result<Self, MessageError> {
        let (events, length) = measure(frames)?;
        let mut bytes = Vec::with_capacity(length);
        for frame in frames {
            bytes.extend_from_slice(frame.bytes());
        }
        Ok(Self { number, events, bytes: bytes.into() })
    }

    /// The bytes that go before the frames' own, for who sends the frames from where they are.
    ///
    /// # Errors
    /// As [`Submit::new`].
    pub fn head(number: u64, frames: &[Frame]) -> Result<[u8; SUBMIT_HEAD_BYTES], MessageError> {
        let (events, length) = measure(frames)?;
        let mut out = [0; SUBMIT_HEAD_BYTES];
        let head = Head { kind: Kind::Submit, body_bytes: BEFORE_FRAMES + length };
        out[..HEAD_BYTES].copy_from_slice(&head.encode());
        out[HEAD_BYTES..HEAD_BYTES + 8].copy_from_slice(&number.to_be_bytes());
        out[HEAD_BYTES + 8..].copy_from_slice(&events.to_be_bytes());
        Ok(out)
    }

    /// How many events it holds.
    #[must_use]
    pub const fn events(&self) -> usize {
        self.events as usize
    }

    /// The frames, one after the other.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Reads the frames.
    #[must_use]
    pub fn split(self) -> Split {
        let mut bytes = self.bytes;
        let mut split = Split { frames: Vec::with_capacity(usize::from(self.events)), malformed: Vec::new() };
        for at in 0..usize::from(self.events) {
            match Frame::decode_prefix(&mut bytes) {
                Ok(Some(frame)) => split.frames.push(frame),
                // The lengths were walked when the message was decoded.
                Ok(None) => split.malformed.push((at, FrameError::Truncated)),
                Err(error) => split.malformed.push((at, error)),
            }
        }
        split
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(SUBMIT_HEAD_BYTES + self.bytes.len());
        write_message(out, Kind::Submit, |out| {
            out.extend_from_slice(&self.number.to_be_bytes());
            out.extend_from_slice(&self.events.to_be_bytes());
            out.extend_from_slice(&self.bytes);
        });
    }

    /// Reads the body of a submission; its frames stay where they are.
    ///
    /// # Errors
    /// The count is out of bounds, or the frames' lengths do not lead exactly to the end.
    pub fn decode(mut bytes: Bytes) -> Result<Self, MessageError> {
        let mut body = Body(&bytes);
        let (number, events) = (body.u64()?, body.u16()?);
        if !(1..=EVENTS_PER_REQUEST_MAX).contains(&usize::from(events)) {
            return Err(MessageError::Count("number of events"));
        }
        for _ in 0..events {
            let total = frame_bytes(body.u32()?)?;
            body.take(total - 4)?;
        }
        body.end()?;
        Ok(Self { number, events, bytes: bytes.split_off(BEFORE_FRAMES) })
    }
}

impl core::fmt::Debug for Submit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Never the payloads: this text ends up in logs.
        write!(f, "Submit({} {} events {} bytes)", self.number, self.events, self.bytes.len())
    }
}

fn measure(frames: &[Frame]) -> Result<(u16, usize), MessageError> {
    let bytes: usize = frames.iter().map(|frame| frame.bytes().len()).sum();
    if bytes > BODY_BYTES_MAX {
        return Err(MessageError::Count("bytes of frames"));
    }
    let events = Some(frames.len()).filter(|count| (1..=EVENTS_PER_REQUEST_MAX).contains(count));
    let events = events.and_then(|count| u16::try_from(count).ok()).ok_or(MessageError::Count("number of events"))?;
    Ok((events, bytes))
}
