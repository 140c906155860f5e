//! Order and room: which effect may go now.
//!
//! Takes places in the order of the log, each with the line it stands in (stream, kind, suffix); gives places whose turn it
//! is. Only the first of a line ever goes, and the next one becomes the first when it is finished; of one kind so many go
//! side by side. Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tally_protocol::id::Stream;
use tally_protocol::time::LogTime;
use tally_storage::keys::EffectKey;

/// Effects of one line are done one after the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) stream: Stream,
    pub(crate) kind: String,
    pub(crate) suffix: String,
}

/// One kind's effects that may go, by the time from which they may.
#[derive(Debug, Default)]
struct Kind {
    ready: BTreeSet<(LogTime, EffectKey)>,
    going: usize,
}

/// A place on the board.
#[derive(Debug)]
struct Held {
    line: Arc<Line>,
    /// When it may go once it is the first; none while it rests.
    due: Option<LogTime>,
}

/// The unfinished effects that are held in memory.
#[derive(Debug, Default)]
pub(crate) struct Board {
    held: BTreeMap<EffectKey, Held>,
    lines: BTreeMap<Arc<Line>, VecDeque<EffectKey>>,
    kinds: BTreeMap<String, Kind>,
    going_max: usize,
}

impl Board {
    /// Nothing yet; `going_max` of one kind go side by side.
    pub(crate) fn new(going_max: usize) -> Self {
        Self { going_max, ..Self::default() }
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Puts a place at the end of its line. Places come in the order of the log.
    pub(crate) fn add(&mut self, place: EffectKey, line: Line, due: Option<LogTime>) {
        let line = self.lines.get_key_value(&line).map_or_else(|| Arc::new(line), |(known, _)| Arc::clone(known));
        self.held.insert(place, Held { line: Arc::clone(&line), due });
        let waiting = self.lines.entry(line).or_default();
        waiting.push_back(place);
        if waiting.len() == 1 {
            self.ready(place);
        }
    }

    /// The first of a line may go when it is due.
    fn ready(&mut self, place: EffectKey) {
        let Some(Held { line, due: Some(due) }) = self.held.get(&place) else { return };
        self.kinds.entry(line.kind.clone()).or_default().ready.insert((*due, place));
    }

    /// The next that goes; it is going then, until [`Board::back`] or [`Board::finish`].
    pub(crate) fn take(&mut self, now: LogTime) -> Option<EffectKey> {
        let max = self.going_max;
        let with_room = self.kinds.values_mut().filter(|kind| kind.going < max);
        let mut due = with_room.filter(|kind| kind.ready.first().is_some_and(|(due, _)| *due <= now));
        let kind = due.next()?;
        let (_, place) = kind.ready.pop_first()?;
        kind.going += 1;
        Some(place)
    }

    /// When [`Board::take`] has something, if nothing changes.
    pub(crate) fn next_due(&self) -> Option<LogTime> {
        let with_room = self.kinds.values().filter(|kind| kind.going < self.going_max);
        with_room.filter_map(|kind| kind.ready.first().map(|(due, _)| *due)).min()
    }

    fn landed(&mut self, place: EffectKey) {
        let kind = self.held.get(&place).and_then(|held| self.kinds.get_mut(&held.line.kind));
        if let Some(kind) = kind {
            kind.going = kind.going.saturating_sub(1);
        }
    }

    /// What went is not finished: it may go again when it is due, or rests. It stays the first of its line.
    pub(crate) fn back(&mut self, place: EffectKey, due: Option<LogTime>) {
        self.landed(place);
        self.wake(place, due);
    }

    /// What rested, or was not due yet, may go then.
    pub(crate) fn wake(&mut self, place: EffectKey, due: Option<LogTime>) {
        let Some(held) = self.held.get_mut(&place) else { return };
        if let (Some(before), Some(kind)) = (held.due, self.kinds.get_mut(&held.line.kind)) {
            kind.ready.remove(&(before, place));
        }
        held.due = due;
        if self.lines.get(&held.line).and_then(VecDeque::front) == Some(&place) {
            self.ready(place);
        }
    }

    /// What went is finished: the next of its line is the first.
    pub(crate) fn finish(&mut self, place: EffectKey) {
        self.landed(place);
        let Some(Held { line, .. }) = self.held.remove(&place) else { return };
        let Some(waiting) = self.lines.get_mut(&line) else { return };
        waiting.pop_front();
        match waiting.front().copied() {
            Some(next) => self.ready(next),
            None => drop(self.lines.remove(&line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tally_protocol::id::Index;

    use super::*;

    fn place(index: u64) -> EffectKey {
        EffectKey { index: Index::new(index), number: 0 }
    }

    fn line((stream, kind, suffix): (u8, u8, u8)) -> Line {
        let stream = Stream::from_bytes(&[stream; 32]);
        Line { stream, kind: format!("k{kind}"), suffix: format!("s{suffix}") }
    }

    /// What a test does next.
    #[derive(Debug, Clone)]
    enum Move {
        Add(u8, u8, u8),
        Take,
        /// Of those that go, this one ends so: finished, due in so many µs, or at rest.
        Finish(prop::sample::Index),
        Back(prop::sample::Index, u64),
        Rest(prop::sample::Index),
        Wake(prop::sample::Index),
        Pass(u64),
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            4 => (0u8..2, 0u8..2, 0u8..3).prop_map(|(a, b, c)| Move::Add(a, b, c)),
            6 => Just(Move::Take),
            4 => any::<prop::sample::Index>().prop_map(Move::Finish),
            2 => (any::<prop::sample::Index>(), 0u64..20).prop_map(|(at, due)| Move::Back(at, due)),
            1 => any::<prop::sample::Index>().prop_map(Move::Rest),
            1 => any::<prop::sample::Index>().prop_map(Move::Wake),
            2 => (0u64..20).prop_map(Move::Pass),
        ];
        prop::collection::vec(one, 0..120)
    }

    /// The same rules without any structure: a list of everything, looked through from the front.
    #[derive(Default)]
    struct Naive(Vec<(EffectKey, Line, Option<u64>, bool)>);

    impl Naive {
        fn may_go(&self, now: u64) -> Vec<EffectKey> {
            let going = |kind: &str| self.0.iter().filter(|it| it.3 && it.1.kind == kind).count();
            let first = |at: usize| !self.0[..at].iter().any(|before| before.1 == self.0[at].1);
            let fits = |(at, it): &(usize, &(EffectKey, Line, Option<u64>, bool))| {
                first(*at) && !it.3 && it.2.is_some_and(|due| due <= now) && going(&it.1.kind) < 2
            };
            self.0.iter().enumerate().filter(fits).map(|(_, it)| it.0).collect()
        }

        fn at(&mut self, place: EffectKey) -> &mut (EffectKey, Line, Option<u64>, bool) {
            self.0.iter_mut().find(|it| it.0 == place).expect("held")
        }
    }

    fn chosen(at: prop::sample::Index, places: &[EffectKey]) -> Option<EffectKey> {
        (!places.is_empty()).then(|| *at.get(places))
    }

    proptest! {
        #[test]
        fn an_effect_goes_only_as_the_first_of_its_line_and_within_its_kinds_room(moves in moves()) {
            let (mut board, mut naive, mut now, mut index) = (Board::new(2), Naive::default(), 0, 0);
            for one in moves {
                let going: Vec<_> = naive.0.iter().filter(|it| it.3).map(|it| it.0).collect();
                let resting: Vec<_> = naive.0.iter().filter(|it| it.2.is_none() && !it.3).map(|it| it.0).collect();
                match one {
                    Move::Add(a, b, c) => {
                        index += 1;
                        board.add(place(index), line((a, b, c)), Some(LogTime::EPOCH));
                        naive.0.push((place(index), line((a, b, c)), Some(0), false));
                    }
                    Move::Take => {
                        let may = naive.may_go(now);
                        let taken = board.take(LogTime::from_micros(now));
                        prop_assert_eq!(taken.is_some(), !may.is_empty());
                        if let Some(taken) = taken {
                            prop_assert!(may.contains(&taken));
                            naive.at(taken).3 = true;
                        }
                    }
                    Move::Finish(at) => if let Some(place) = chosen(at, &going) {
                        board.finish(place);
                        naive.0.retain(|it| it.0 != place);
                    },
                    Move::Back(at, due) => if let Some(place) = chosen(at, &going) {
                        board.back(place, Some(LogTime::from_micros(now + due)));
                        (naive.at(place).2, naive.at(place).3) = (Some(now + due), false);
                    },
                    Move::Rest(at) => if let Some(place) = chosen(at, &going) {
                        board.back(place, None);
                        (naive.at(place).2, naive.at(place).3) = (None, false);
                    },
                    Move::Wake(at) => if let Some(place) = chosen(at, &resting) {
                        board.wake(place, Some(LogTime::from_micros(now)));
                        naive.at(place).2 = Some(now);
                    },
                    Move::Pass(micros) => now += micros,
                }
                let soon = board.next_due().is_some_and(|due| due.micros() <= now);
                prop_assert_eq!(soon, !naive.may_go(now).is_empty());
                prop_assert_eq!(board.len(), naive.0.len());
            }
        }
    }
}
