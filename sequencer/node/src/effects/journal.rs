//! The dispatch journal: what became of an effect, as it is stored (docs/formats/effects.md).
//!
//! ```text
//! record: u8 version 1 | u8 state | effect id[32] | u32 attempts | u32 tries | time at | time due | what the state holds
//! ```
//! Truth: what the world outside was asked follows from no log. Takes and gives exactly these bytes; everything else is
//! damage, and damage stops dispatching.

use bytes::Bytes;
use tally_protocol::hash::EffectId;
use tally_protocol::id::Index;
use tally_protocol::time::LogTime;

const VERSION: u8 = 1;

/// A reason is for people; what does not fit is cut.
const WHY_BYTES_MAX: usize = 512;

/// What is known of an effect that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Which effect; a record of another one under the same key is damage.
    pub(crate) effect: EffectId,
    /// How often doing it was begun.
    pub(crate) attempts: u32,
    /// Calls without an answer since it was asked for, or since an operator said `retry`.
    pub(crate) tries: u32,
    /// When this was written.
    pub(crate) at: LogTime,
    /// Nothing more happens before.
    pub(crate) due: LogTime,
    pub(crate) state: State,
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Doing it was begun, and how it ended is not written yet.
    Attempted,
    /// Nothing outside was changed.
    NotDone { why: String },
    /// It may have been done.
    Unknown { why: String },
    /// The answer is at hand and not in the log yet: the body of its event, and its `created_at`.
    Decided { body: Bytes, created: LogTime, why: String },
    /// The answer is in the log.
    Answered { index: Index },
    /// Nothing more happens until an operator says so.
    Dead { why: String },
}

impl State {
    /// Its name, for listings.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Attempted => "attempted",
            Self::NotDone { .. } => "not_done",
            Self::Unknown { .. } => "outcome_unknown",
            Self::Decided { .. } => "decided",
            Self::Answered { .. } => "answered",
            Self::Dead { .. } => "dead",
        }
    }

    const fn number(&self) -> u8 {
        match self {
            Self::Attempted => 1,
            Self::NotDone { .. } => 2,
            Self::Unknown { .. } => 3,
            Self::Decided { .. } => 4,
            Self::Answered { .. } => 5,
            Self::Dead { .. } => 6,
        }
    }

    /// Why it stands there, if there is something to say.
    pub(crate) fn why(&self) -> Option<&str> {
        match self {
            Self::NotDone { why } | Self::Unknown { why } | Self::Dead { why } => Some(why),
            Self::Decided { why, .. } => Some(why).filter(|why| !why.is_empty()).map(String::as_str),
            Self::Attempted | Self::Answered { .. } => None,
        }
    }
}

/// A reason as it is kept: its beginning.
pub(crate) fn reason(text: &str) -> String {
    let mut end = text.len().min(WHY_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.state.number()];
        out.extend_from_slice(self.effect.as_bytes());
        out.extend_from_slice(&self.attempts.to_be_bytes());
        out.extend_from_slice(&self.tries.to_be_bytes());
        out.extend_from_slice(&self.at.micros().to_be_bytes());
        out.extend_from_slice(&self.due.micros().to_be_bytes());
        match &self.state {
            State::Attempted => {}
            State::NotDone { why } | State::Unknown { why } | State::Dead { why } => push_why(&mut out, why),
            State::Decided { body, created, why } => {
                out.extend_from_slice(&created.micros().to_be_bytes());
                // A payload has 1 MiB at most.
                out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
                out.extend_from_slice(body);
                push_why(&mut out, why);
            }
            State::Answered { index } => out.extend_from_slice(&index.get().to_be_bytes()),
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[VERSION, state], rest) = bytes.split_first_chunk()? else { return None };
        let (effect, rest) = rest.split_first_chunk()?;
        let (attempts, rest) = rest.split_first_chunk()?;
        let (tries, rest) = rest.split_first_chunk()?;
        let (at, rest) = time(rest)?;
        let (due, rest) = time(rest)?;
        let (state, rest) = match state {
            1 => (State::Attempted, rest),
            2 => why(rest).map(|(why, rest)| (State::NotDone { why }, rest))?,
            3 => why(rest).map(|(why, rest)| (State::Unknown { why }, rest))?,
            4 => decided(rest)?,
            5 => rest.split_first_chunk().map(|(index, rest)| {
                let index = Index::new(u64::from_be_bytes(*index));
                (State::Answered { index }, rest)
            })?,
            6 => why(rest).map(|(why, rest)| (State::Dead { why }, rest))?,
            _ => return None,
        };
        let (attempts, tries) = (u32::from_be_bytes(*attempts), u32::from_be_bytes(*tries));
        let record = Self { effect: EffectId::from_bytes(*effect), attempts, tries, at, due, state };
        rest.is_empty().then_some(record)
    }
}

fn push_why(out: &mut Vec<u8>, why: &str) {
    let why = reason(why);
    out.extend_from_slice(&u16::try_from(why.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(why.as_bytes());
}

fn time(bytes: &[u8]) -> Option<(LogTime, &[u8])> {
    let (micros, rest) = bytes.split_first_chunk()?;
    Some((LogTime::from_micros(u64::from_be_bytes(*micros)), rest))
}

fn why(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (text, rest) = rest.split_at_checked(length).filter(|_| length <= WHY_BYTES_MAX)?;
    Some((core::str::from_utf8(text).ok()?.to_owned(), rest))
}

fn decided(bytes: &[u8]) -> Option<(State, &[u8])> {
    let (created, rest) = time(bytes)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (body, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let (why, rest) = why(rest)?;
    Some((State::Decided { body: Bytes::copy_from_slice(body), created, why }, rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

    use super::*;

    fn records() -> Vec<Record> {
        let why = "a reason, ü".to_owned();
        let body = Bytes::from_static(br#"{"effect":"07"}"#);
        let states = [
            State::Attempted,
            State::NotDone { why: why.clone() },
            State::Unknown { why: String::new() },
            State::Decided { body, created: LogTime::from_micros(9), why: why.clone() },
            State::Answered { index: Index::new(17) },
            State::Dead { why },
        ];
        let (effect, at, due) = (EffectId::from_bytes([7; 32]), LogTime::from_micros(5), LogTime::from_micros(8));
        states.into_iter().map(|state| Record { effect, attempts: 3, tries: 2, at, due, state }).collect()
    }

    #[test]
    fn a_record_reads_back_and_no_other_bytes_are_one() {
        for record in records() {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes).unwrap(), record);
            for end in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes[..end]), None, "{end} of {record:?}");
            }
            assert_eq!(Record::decode(&[&bytes[..], &[0]].concat()), None);
            for (at, value) in [(0, 0), (0, 2), (1, 0), (1, 7)] {
                let mut other = bytes.clone();
                other[at] = value;
                assert_eq!(Record::decode(&other), None);
            }
        }
    }

    #[test]
    fn the_bytes_are_as_the_page_draws_them() {
        let [attempted, not_done, _, _, answered, _] = &records()[..] else { panic!("six") };
        let head = |state: u8| {
            let numbers = "0000000300000002";
            format!("01{state:02x}{}{numbers}00000000000000050000000000000008", "07".repeat(32))
        };
        let hex = |record: &Record| tally_protocol::hash::hex(&record.encode());
        assert_eq!(hex(attempted), head(1));
        assert_eq!(hex(not_done), format!("{}000c6120726561736f6e2c20c3bc", head(2)));
        assert_eq!(hex(answered), format!("{}0000000000000011", head(5)));
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let long = format!("{}ü", "x".repeat(WHY_BYTES_MAX - 1));
        assert_eq!(reason(&long), "x".repeat(WHY_BYTES_MAX - 1));
    }
}
