//! Small made-up data for the laws: what it says is of no interest, only that it is stored.

use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash::{LedgerId, RunHash};
use tally_protocol::id::{AgentId, Epoch, EventId, Index, KeyId, Sequence, Stream};
use tally_protocol::key::{PublicKey, Signature};
use tally_protocol::run::{EncodedRun, RecordIn, RunBuilder};
use tally_protocol::time::LogTime;

use crate::keys::Key;

/// The ledger of all samples.
pub const LEDGER: LedgerId = LedgerId::from_bytes([0x1e; 32]);

/// A stream by number.
#[must_use]
pub fn stream(number: u8) -> Stream {
    Stream::from_bytes(&[number; 32])
}

/// An event id by number.
#[must_use]
pub fn event_id(number: u64) -> EventId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    EventId::from_bytes(bytes)
}

/// A key of any family by number.
#[must_use]
pub fn key(number: u64) -> Key {
    Key::of(&[&number.to_be_bytes()])
}

/// An event of a stream with a text as payload. Its signature is not one.
#[must_use]
pub fn frame(stream: Stream, number: u64, text: &str) -> Frame {
    let payload = format!("{text:?}");
    let fields = EventFields::plain(
        stream,
        event_id(number),
        (AgentId::from_bytes([0xa9; 16]), KeyId::new(1)),
        ("order", "o-1"),
        "order.created",
        "2026-01-01T00:00:00Z",
        payload.as_bytes(),
    );
    Frame::from_parts(&fields, payload.as_bytes(), Signature::from_bytes([0x51; 64]))
        .expect("a sample is within bounds")
}

/// A run of events, one per stream and sequence.
#[must_use]
pub fn run(first: u64, previous: RunHash, events: &[(Stream, u64)], text: &str) -> EncodedRun {
    let time = LogTime::from_micros(1_700_000_000_000_000 + first);
    let mut run = RunBuilder::new(LEDGER, Epoch::new(1), Index::new(first), previous, time);
    for (at, (stream, sequence)) in events.iter().enumerate() {
        let frame = frame(*stream, first + at as u64, text);
        let record = RecordIn {
            sequence: Sequence::new(*sequence),
            sequenced_at: time,
            public_key: PublicKey::from_bytes([0x7b; 32]),
            frame: &frame,
        };
        run.push(record).expect("a sample fits its run");
    }
    run.finish().expect("a sample has events")
}

/// The first sequence of each stream in such a run.
#[must_use]
pub fn positions(events: &[(Stream, u64)]) -> Vec<(Stream, Sequence)> {
    let mut firsts: Vec<(Stream, Sequence)> = Vec::new();
    for (stream, sequence) in events {
        if !firsts.iter().any(|(seen, _)| seen == stream) {
            firsts.push((*stream, Sequence::new(*sequence)));
        }
    }
    firsts
}

/// Numbers that look random and are the same every time (xorshift64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// From a seed; 0 counts as 1.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
