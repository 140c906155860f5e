//! Every effect is done exactly once, whatever fails: steps over a journal and a log in memory, a provider that fails by a
//! script and remembers what it did, and a process that dies before and after any write.
//!
//! The provider is the independent witness: it knows nothing of journals. Of two kinds: one honours idempotency keys, one
//! keeps none but can be asked what it did. What it did late (the call timed out and went on) lands before `settle` is over.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;
use tally_connectors::{Answer, Connector, Doing, Failure, Looking, Request, Status};
use tally_protocol::hash::EffectId;
use tally_protocol::id::{Index, PluginId, Stream};
use tally_protocol::time::LogTime;
use tally_storage::keys::EffectKey;

use super::board::{Board, Line};
use super::journal::{Record, State};
use super::life::{Bounds, Known, Refusal};
use super::step::{Broken, Found, Ground, Step, Submitted};

const BOUNDS: Bounds = Bounds {
    in_flight_max: 2,
    held_max: 64,
    tries_max: 1_000,
    backoff_first: Duration::from_micros(100),
    backoff_max: Duration::from_micros(900),
    settle: Duration::from_micros(500),
    call_max: Duration::from_secs(60),
};

/// How one call ends outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing is wrong.
    None,
    /// No connection.
    Refused,
    /// Done, and the answer is lost.
    DoneAndLost,
    /// Not done, and nobody is told.
    LostAndNotDone,
    /// The answer is lost, and it is done so many µs later, within `settle`.
    DoneLate(u64),
    /// Done, and the answer makes no event.
    Garbage,
}

/// What one write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    No,
    Before,
    After,
}

/// The provider, the disk, the log and the clock: everything that a dead process leaves.
struct World {
    state: Mutex<Inside>,
    honours_keys: bool,
}

struct Inside {
    now: u64,
    journal: BTreeMap<EffectId, Record>,
    log: Vec<(EffectId, Bytes)>,
    /// How often each was really done.
    done: BTreeMap<EffectId, u32>,
    late: Vec<(u64, EffectId)>,
    /// In which order they were done first.
    order: Vec<EffectId>,
    faults: VecDeque<Fault>,
    crashes: VecDeque<Crash>,
    refusals: VecDeque<bool>,
}

impl Inside {
    /// The provider does it.
    fn do_it(&mut self, id: EffectId, honours_keys: bool) {
        let times = self.done.entry(id).or_default();
        if *times == 0 {
            self.order.push(id);
        }
        if *times == 0 || !honours_keys {
            *times += 1;
        }
    }
}

impl World {
    fn with<T>(&self, work: impl FnOnce(&mut Inside) -> T) -> T {
        work(&mut self.state.lock().unwrap())
    }

    fn pass(&self, micros: u64) {
        self.with(|it| {
            it.now += micros;
            let (landed, late) = it.late.drain(..).partition(|(at, _)| *at <= it.now);
            it.late = late;
            let landed: Vec<(u64, EffectId)> = landed;
            landed.into_iter().for_each(|(_, id)| it.do_it(id, self.honours_keys));
        });
    }

    /// What the answer says is told by the provider, the same each time.
    fn answer(id: EffectId) -> Answer {
        Answer { status: Status::Done, result: json!({ "receipt": id.to_hex() }) }
    }
}

impl Connector for World {
    fn kind(&self) -> &str {
        "payment"
    }

    fn perform<'a>(&'a self, request: &'a Request) -> Doing<'a> {
        let end = self.with(|it| {
            let fault = it.faults.pop_front().unwrap_or(Fault::None);
            let lost = || Err(Failure::Unknown("no answer".to_owned()));
            match fault {
                Fault::Refused => return Err(Failure::NotDone("no connection".to_owned())),
                Fault::LostAndNotDone => return lost(),
                Fault::DoneLate(after) => {
                    it.late.push((it.now + after, request.id));
                    return lost();
                }
                Fault::None | Fault::DoneAndLost | Fault::Garbage => it.do_it(request.id, self.honours_keys),
            }
            match fault {
                Fault::None => Ok(Self::answer(request.id)),
                Fault::Garbage => Ok(Answer { status: Status::Done, result: json!(9_007_199_254_740_993_u64) }),
                _ => lost(),
            }
        });
        Box::pin(std::future::ready(end))
    }

    fn look_up<'a>(&'a self, request: &'a Request) -> Looking<'a> {
        let end = self.with(|it| match it.faults.pop_front().unwrap_or(Fault::None) {
            Fault::None | Fault::Garbage => Ok(it.done.contains_key(&request.id).then(|| Self::answer(request.id))),
            Fault::Refused => Err(Failure::NotDone("no connection".to_owned())),
            _ => Err(Failure::Unknown("no answer".to_owned())),
        });
        Box::pin(std::future::ready(end))
    }
}

impl World {
    /// One write, and whether the process lives.
    fn write_with(&self, write: impl FnOnce(&mut Inside)) -> Result<(), Broken> {
        let died = || Err(Broken("died".to_owned()));
        self.with(|it| match it.crashes.pop_front().unwrap_or(Crash::No) {
            Crash::Before => died(),
            Crash::After => {
                write(it);
                died()
            }
            Crash::No => {
                write(it);
                Ok(())
            }
        })
    }
}

impl Ground for World {
    fn now(&self) -> LogTime {
        LogTime::from_micros(self.with(|it| it.now))
    }

    async fn write(&self, request: &Request, record: &Record) -> Result<(), Broken> {
        // What is read again is what was written: through the bytes.
        let record = Record::decode(&record.encode()).unwrap();
        self.write_with(|it| drop(it.journal.insert(request.id, record)))
    }

    async fn find(&self, request: &Request) -> Result<Found, Broken> {
        let at = self.with(|it| it.log.iter().position(|(id, _)| *id == request.id));
        Ok(at.map_or(Found::Free(0), |at| Found::Answer(Index::new(at as u64))))
    }

    async fn submit(&self, request: &Request, (body, _): (Bytes, LogTime), _: u32) -> Result<Submitted, Broken> {
        if self.with(|it| it.refusals.pop_front()).unwrap_or(false) {
            return Ok(Submitted::Refused(Refusal::Later("no key".to_owned())));
        }
        self.write_with(|it| it.log.push((request.id, body)))?;
        Ok(Submitted::In(Index::new(self.with(|it| it.log.len() as u64 - 1))))
    }
}

fn request(number: u8, suffix: u8) -> Request {
    Request {
        id: EffectId::from_bytes([number; 32]),
        index: Index::new(number.into()),
        stream: Stream::from_bytes(&[1; 32]),
        plugin: PluginId::new("checkout").unwrap(),
        kind: "payment".to_owned(),
        suffix: format!("order/{suffix}"),
        body: Bytes::from_static(b"{}"),
    }
}

fn place(request: &Request) -> EffectKey {
    EffectKey { index: request.index, number: 0 }
}

/// One life of a process, from reading the journal to its death or to the end of all work.
async fn live(world: &World, requests: &[Request], first: bool) -> Result<(), Broken> {
    let mut board = Board::new(BOUNDS.in_flight_max);
    let mut held = BTreeMap::new();
    for request in requests {
        let record = world.with(|it| it.journal.get(&request.id).cloned());
        if matches!(record.as_ref().map(|it| &it.state), Some(State::Answered { .. })) {
            continue;
        }
        let known = if first { Known::asked() } else { Known { record, sure: false } };
        let line = Line { stream: request.stream, kind: request.kind.clone(), suffix: request.suffix.clone() };
        board.add(place(request), line, known.due(&BOUNDS));
        held.insert(place(request), (request, known));
    }
    while board.len() > 0 {
        let Some(place) = board.take(world.now()) else {
            world.pass(50);
            continue;
        };
        let (request, known) = held.remove(&place).unwrap();
        let step = Step { ground: world, connector: world, bounds: &BOUNDS, request };
        let known = step.go(known).await?;
        world.pass(7);
        match &known.record.as_ref().unwrap().state {
            State::Answered { .. } => board.finish(place),
            state => {
                assert!(!matches!(state, State::Dead { .. }), "{known:?}");
                board.back(place, known.due(&BOUNDS));
                held.insert(place, (request, known));
            }
        }
    }
    Ok(())
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let one = prop_oneof![
        3 => Just(Fault::None),
        2 => Just(Fault::Refused),
        2 => Just(Fault::DoneAndLost),
        2 => Just(Fault::LostAndNotDone),
        2 => (1u64..500).prop_map(Fault::DoneLate),
        1 => Just(Fault::Garbage),
    ];
    prop::collection::vec(one, 0..20)
}

fn crashes() -> impl Strategy<Value = Vec<Crash>> {
    prop::collection::vec(prop_oneof![3 => Just(Crash::No), 1 => Just(Crash::Before), 1 => Just(Crash::After)], 0..24)
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("TALLY_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(3_000);
    ProptestConfig { cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_effect_is_done_once_and_answered_once_in_order_whatever_fails(
        honours_keys: bool,
        suffixes in prop::collection::vec(0u8..3, 1..5),
        faults in faults(),
        crashes in crashes(),
        refusals in prop::collection::vec(any::<bool>(), 0..6),
    ) {
        let requests: Vec<_> = (1u8..).zip(&suffixes).map(|(number, suffix)| request(number, *suffix)).collect();
        let inside = Inside {
            now: 1_000_000,
            journal: BTreeMap::new(),
            log: Vec::new(),
            done: BTreeMap::new(),
            late: Vec::new(),
            order: Vec::new(),
            faults: faults.into(),
            crashes: crashes.into(),
            refusals: refusals.into(),
        };
        let world = World { state: Mutex::new(inside), honours_keys };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut first = true;
        while runtime.block_on(live(&world, &requests, first)).is_err() {
            first = false;
            // What the dead process had sent is over before its successor has read the journal: an operating system's
            // restart takes longer than a provider's answer (`settle` bounds it for what the journal knows of).
            world.pass(500);
        }
        world.pass(1_000);
        let inside = world.state.into_inner().unwrap();
        for request in &requests {
            prop_assert_eq!(inside.done.get(&request.id), Some(&1), "done once");
            let answers: Vec<_> = inside.log.iter().filter(|(id, _)| *id == request.id).collect();
            prop_assert_eq!(answers.len(), 1, "answered once");
            let receipt = request.id.to_hex();
            prop_assert!(answers[0].1.windows(64).any(|part| part == receipt.as_bytes()), "with what the provider said");
        }
        for suffix in 0..3 {
            let line: Vec<_> = requests.iter().zip(&suffixes).filter(|(_, of)| **of == suffix).map(|(it, _)| it.id).collect();
            let of_line = |ids: Vec<EffectId>| -> Vec<_> { ids.into_iter().filter(|id| line.contains(id)).collect() };
            prop_assert_eq!(&of_line(inside.order.clone()), &line, "done in order");
            prop_assert_eq!(&of_line(inside.log.iter().map(|(id, _)| *id).collect()), &line, "answered in order");
        }
    }
}

/// A provider that must not be asked.
struct Never;

impl Connector for Never {
    fn kind(&self) -> &str {
        "payment"
    }

    fn perform<'a>(&'a self, _: &'a Request) -> Doing<'a> {
        panic!("performed")
    }

    fn look_up<'a>(&'a self, _: &'a Request) -> Looking<'a> {
        panic!("looked up")
    }
}

#[tokio::test]
async fn an_effect_whose_answer_is_in_the_log_is_finished_whatever_the_journal_says() {
    let request = request(1, 1);
    let inside = Inside {
        now: 5,
        journal: BTreeMap::new(),
        log: vec![(request.id, Bytes::from_static(b"{}"))],
        done: BTreeMap::new(),
        late: Vec::new(),
        order: Vec::new(),
        faults: VecDeque::new(),
        crashes: VecDeque::new(),
        refusals: VecDeque::new(),
    };
    let world = World { state: Mutex::new(inside), honours_keys: true };
    let begun = Known::asked().begun(request.id, LogTime::EPOCH);
    let dead = begun.dead(request.id, LogTime::EPOCH, "x");
    for known in [Known::asked(), begun, dead] {
        let step = Step { ground: &world, connector: &Never, bounds: &BOUNDS, request: &request };
        let known = step.go(known).await.unwrap();
        assert_eq!(known.record.unwrap().state, State::Answered { index: Index::new(0) });
    }
}
