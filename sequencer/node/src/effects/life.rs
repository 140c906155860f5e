//! The life of an effect as a pure machine: what is next, and what each end of a call makes of it.
//!
//! Takes what is known and an end; gives what is to be written. Two rules carry everything: doing it is written down
//! before it is begun, and what was begun and did not come back is looked up before anything else.
//! A reader of [`next`] sees that `Perform` needs the knowledge that nothing outside was changed.

use std::time::Duration;

use bytes::Bytes;
use tally_connectors::Failure;
use tally_protocol::hash::EffectId;
use tally_protocol::id::Index;
use tally_protocol::time::LogTime;

use super::journal::{Record, State, reason};

/// Bounds of dispatching (`[effects]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Effects of one kind that are under way at once.
    pub in_flight_max: usize,
    /// Unfinished effects that are held in memory (their places); more wait in the outbox.
    pub held_max: usize,
    /// Calls without an answer before an effect is a dead letter.
    pub tries_max: u32,
    /// The pause behind the first of them; it doubles.
    pub backoff_first: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// How long a call whose answer was lost may still be under way outside: it is looked up no sooner.
    pub settle: Duration,
    /// How long one call may take; after that its outcome is unknown.
    pub call_max: Duration,
}

impl Bounds {
    /// What a node has unless it is told otherwise: a provider may be away for two and a half hours.
    pub const STANDARD: Self = Self {
        in_flight_max: 16,
        held_max: 65_536,
        tries_max: 24,
        backoff_first: Duration::from_secs(1),
        backoff_max: Duration::from_secs(600),
        settle: Duration::from_secs(10),
        call_max: Duration::from_secs(60),
    };

    /// The pause behind so many tries: doubling, no chance in it (one node, and calls are bounded side by side).
    fn backoff(&self, tries: u32) -> Duration {
        let doubled = 1u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        self.backoff_first.saturating_mul(doubled).min(self.backoff_max)
    }
}

/// What this process knows of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// The journal's record; none if it was never begun.
    pub(crate) record: Option<Record>,
    /// Whether nothing can have happened outside that the record does not say. Not so for what was asked for before
    /// this process started: the journal itself may be an older copy.
    pub(crate) sure: bool,
}

/// What is to be done with an effect that has no answer in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Do it.
    Perform,
    /// Ask what came of it.
    LookUp,
    /// Put the answer into the log.
    Submit { body: Bytes, created: LogTime },
    /// Nothing, until an operator says so.
    Rest,
}

impl Known {
    /// One that was asked for just now.
    #[cfg(test)]
    pub(crate) const fn asked() -> Self {
        Self { record: None, sure: true }
    }

    /// What is next.
    pub(crate) fn next(&self) -> Next {
        match self.record.as_ref().map(|record| &record.state) {
            None | Some(State::NotDone { .. }) if self.sure => Next::Perform,
            // An answer that the log does not have although it was there: a log that is older than the journal.
            None | Some(State::NotDone { .. } | State::Attempted | State::Unknown { .. } | State::Answered { .. }) => {
                Next::LookUp
            }
            Some(State::Decided { body, created, .. }) => Next::Submit { body: body.clone(), created: *created },
            Some(State::Dead { .. }) => Next::Rest,
        }
    }

    /// When it is next; none if nothing is.
    pub(crate) fn due(&self, bounds: &Bounds) -> Option<LogTime> {
        let Some(record) = &self.record else { return Some(LogTime::EPOCH) };
        match record.state {
            State::Dead { .. } => None,
            // Nobody came back to write how it ended: a crash.
            State::Attempted => Some(record.at.saturating_add(bounds.settle)),
            _ => Some(record.due),
        }
    }

    fn numbers(&self) -> (u32, u32) {
        self.record.as_ref().map_or((0, 0), |record| (record.attempts, record.tries))
    }

    fn with(&self, effect: EffectId, now: LogTime, due: LogTime, state: State) -> Self {
        let (attempts, tries) = self.numbers();
        Self { record: Some(Record { effect, attempts, tries, at: now, due, state }), sure: self.sure }
    }

    fn tried(mut self) -> Self {
        if let Some(record) = &mut self.record {
            record.tries = record.tries.saturating_add(1);
        }
        self
    }

    /// Doing it is about to begin.
    pub(crate) fn begun(&self, effect: EffectId, now: LogTime) -> Self {
        let mut begun = self.with(effect, now, now, State::Attempted).tried();
        if let Some(record) = &mut begun.record {
            record.attempts = record.attempts.saturating_add(1);
        }
        begun
    }

    /// There is an answer.
    pub(crate) fn decided(&self, effect: EffectId, now: LogTime, body: Bytes) -> Self {
        self.with(effect, now, now, State::Decided { body, created: now, why: String::new() })
    }

    /// Doing it ended without an answer.
    pub(crate) fn failed(&self, effect: EffectId, now: LogTime, failure: &Failure, bounds: &Bounds) -> Self {
        let tries = self.numbers().1;
        let state = match failure {
            Failure::NotDone(why) => State::NotDone { why: reason(why) },
            Failure::Unknown(why) => State::Unknown { why: reason(why) },
            Failure::Impossible(why) => State::Dead { why: reason(why) },
        };
        let pause = match failure {
            Failure::Unknown(_) => bounds.backoff(tries).max(bounds.settle),
            _ => bounds.backoff(tries),
        };
        self.with(effect, now, now.saturating_add(pause), state).or_dead(bounds)
    }

    /// It was looked up, and was not done.
    pub(crate) fn found_undone(&self, effect: EffectId, now: LogTime) -> Self {
        let state = State::NotDone { why: "looked up, and not done".to_owned() };
        Self { sure: true, ..self.with(effect, now, now, state) }
    }

    /// Looking it up failed: it is as unknown as before.
    pub(crate) fn not_found_out(&self, effect: EffectId, now: LogTime, failure: &Failure, bounds: &Bounds) -> Self {
        let state = match failure {
            Failure::Impossible(why) => State::Dead { why: reason(why) },
            Failure::NotDone(why) | Failure::Unknown(why) => State::Unknown { why: reason(&format!("look-up: {why}")) },
        };
        let pause = bounds.backoff(self.numbers().1.saturating_add(1));
        self.with(effect, now, now.saturating_add(pause), state).tried().or_dead(bounds)
    }

    /// The answer is at hand, and the log does not take it.
    pub(crate) fn refused(&self, effect: EffectId, now: LogTime, refusal: &Refusal, bounds: &Bounds) -> Self {
        let Next::Submit { body, created } = self.next() else { return self.clone() };
        let (pause, why) = match refusal {
            Refusal::Soon(why) => (bounds.backoff_first, why),
            Refusal::Later(why) => (bounds.backoff(self.numbers().1.saturating_add(1)), why),
        };
        // Never a dead letter: nothing is missing but a place in the log.
        self.with(effect, now, now.saturating_add(pause), State::Decided { body, created, why: reason(why) }).tried()
    }

    /// The answer is in the log.
    pub(crate) fn answered(&self, effect: EffectId, now: LogTime, index: Index) -> Self {
        self.with(effect, now, now, State::Answered { index })
    }

    /// Nothing more can be done by itself.
    pub(crate) fn dead(&self, effect: EffectId, now: LogTime, why: &str) -> Self {
        self.with(effect, now, now, State::Dead { why: reason(why) })
    }

    /// An operator wants it tried again: it is looked up first.
    pub(crate) fn retried(&self, effect: EffectId, now: LogTime) -> Self {
        let state = State::Unknown { why: "an operator said retry".to_owned() };
        let mut retried = Self { sure: false, ..self.with(effect, now, now, state) };
        if let Some(record) = &mut retried.record {
            record.tries = 0;
        }
        retried
    }

    /// Too many tries are a dead letter, with the last reason.
    fn or_dead(mut self, bounds: &Bounds) -> Self {
        if let Some(record) = &mut self.record
            && record.tries >= bounds.tries_max
            && !matches!(record.state, State::Dead { .. })
        {
            let last = record.state.why().unwrap_or_default();
            let why = reason(&format!("{} tries; the last: {last} ({})", record.tries, record.state.name()));
            record.state = State::Dead { why };
        }
        self
    }
}

/// Why the log does not take an answer now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is busy, or somebody took the id.
    Soon(String),
    /// A key, an entity type or a tenant is missing.
    Later(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFECT: EffectId = EffectId::from_bytes([7; 32]);
    const BOUNDS: Bounds = Bounds { tries_max: 3, ..Bounds::STANDARD };

    fn at(seconds: u64) -> LogTime {
        LogTime::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn what_may_have_been_done_is_never_done_before_it_was_looked_up() {
        let begun = Known::asked().begun(EFFECT, at(1));
        assert_eq!(begun.next(), Next::LookUp);
        let unknown = begun.failed(EFFECT, at(2), &Failure::Unknown("time-out".into()), &BOUNDS);
        assert_eq!((unknown.next(), unknown.due(&BOUNDS)), (Next::LookUp, Some(at(12))));
        assert_eq!(unknown.found_undone(EFFECT, at(13)).next(), Next::Perform);
        let not_done = begun.failed(EFFECT, at(2), &Failure::NotDone("refused".into()), &BOUNDS);
        assert_eq!((not_done.next(), not_done.due(&BOUNDS)), (Next::Perform, Some(at(3))));
        // The same record read at a start: it may be an older copy.
        for record in [None, not_done.record] {
            assert_eq!(Known { record, sure: false }.next(), Next::LookUp);
        }
    }

    #[test]
    fn pauses_double_up_to_their_bound() {
        let pauses: Vec<u64> = (1..=12).map(|tries| Bounds::STANDARD.backoff(tries).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!(Bounds::STANDARD.backoff(u32::MAX).as_secs(), 600);
    }

    #[test]
    fn too_many_tries_or_the_impossible_are_a_dead_letter_until_an_operator_says_retry() {
        let mut known = Known::asked();
        for second in 1..=3 {
            assert_eq!(known.next(), Next::Perform);
            known = known.begun(EFFECT, at(second));
            known = known.failed(EFFECT, at(second), &Failure::NotDone("away".into()), &BOUNDS);
        }
        assert_eq!((known.next(), known.due(&BOUNDS)), (Next::Rest, None));
        let impossible = Known::asked().begun(EFFECT, at(1));
        let impossible = impossible.failed(EFFECT, at(1), &Failure::Impossible("no such thing".into()), &BOUNDS);
        assert_eq!(impossible.next(), Next::Rest);
        let retried = known.retried(EFFECT, at(9));
        assert_eq!((retried.next(), retried.due(&BOUNDS), retried.numbers()), (Next::LookUp, Some(at(9)), (3, 0)));
    }

    #[test]
    fn an_answer_that_the_log_refuses_is_kept_with_its_time() {
        let body = Bytes::from_static(b"{}");
        let mut known = Known::asked().begun(EFFECT, at(1)).decided(EFFECT, at(2), body.clone());
        for second in 3..40 {
            known = known.refused(EFFECT, at(second), &Refusal::Later("no key".into()), &BOUNDS);
        }
        assert_eq!(known.next(), Next::Submit { body, created: at(2) });
    }
}
