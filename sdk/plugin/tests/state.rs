//! The write-back cache against a plain map, and the host's limits and order of calls.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::test_host::{LimitKind, Limits, TestEvent, TestHost, Verdict};
use tally_plugin::{Event, Key, Manifest, Progress, Range, Read, Reject, Snapshot, State, Step, Table};

const T: Table = Table::new("t/");
const OTHER: Table = Table::new("other/");

/// Does what the body says: one operation a byte triple.
struct Script;

#[derive(Clone, Debug)]
enum Act {
    Get(u8),
    Set(u8, u8),
    Delete(u8),
    Many(Vec<u8>),
    Scan { from: u8, to: u8, limit: u8, reverse: bool },
}

fn at(number: u8) -> Key {
    T.key().u64(u64::from(number))
}

fn encode(acts: &[Act], refuse: bool) -> Vec<u8> {
    let mut out = Writer::new().u8(u8::from(refuse));
    for act in acts {
        out = match act {
            Act::Get(key) => out.u8(0).u8(*key),
            Act::Set(key, value) => out.u8(1).u8(*key).u8(*value),
            Act::Delete(key) => out.u8(2).u8(*key),
            Act::Many(keys) => out.u8(3).bytes(keys),
            Act::Scan { from, to, limit, reverse } => out.u8(4).u8(*from).u8(*to).u8(*limit).u8(u8::from(*reverse)),
        };
    }
    out.finish()
}

fn play(state: &mut State, script: &[u8]) -> (bool, Vec<u8>) {
    let mut script = Reader::new(script);
    let refuse = script.u8() == Some(1);
    let mut seen = Writer::new();
    while let Some(kind) = script.u8() {
        let mut byte = || script.u8().expect("a whole script");
        match kind {
            0 => seen = seen.bytes(&state.get(&at(byte())).unwrap_or_else(|| b"none".to_vec())),
            1 => {
                let key = byte();
                state.set(&at(key), [byte()]);
            }
            2 => state.delete(&at(byte())),
            3 => {
                let keys: Vec<Key> = script.bytes().expect("a whole script").iter().copied().map(at).collect();
                for value in state.get_many(&keys) {
                    seen = seen.bytes(&value.unwrap_or_else(|| b"none".to_vec()));
                }
            }
            _ => {
                let range = Range::between(&at(byte()), &at(byte()));
                let limit = u32::from(byte());
                let range = if byte() == 1 { range.reversed() } else { range };
                let mut rows = Vec::new();
                state.scan(&range, limit, |key, value| rows.push([key, b"=", value].concat()));
                seen = rows.iter().fold(seen, |seen, row| seen.bytes(row)).u8(b'.');
            }
        }
    }
    (refuse, seen.finish())
}

impl tally_plugin::Plugin for Script {
    fn describe() -> Manifest {
        Manifest::new("script", "1.0.0").event("*").table(T).emits().effects("webhook")
    }

    fn init(state: &mut State, config: &[u8]) -> Result<(), Reject> {
        state.set(&at(7), config);
        if config.is_empty() { Err(Reject::new("no_config")) } else { Ok(()) }
    }

    fn migrate(state: &mut State, from: u32, _: &[u8]) -> Result<Progress, Reject> {
        let done = state.get(&at(0)).map_or(0, |value| value[0]);
        state.set(&at(0), [done + 1]);
        match (from, done) {
            (1, 2) => Ok(Progress::Finished),
            (2, 2) => Err(Reject::new("cannot")),
            _ => Ok(Progress::Again),
        }
    }

    fn apply(step: &mut Step, event: &Event) -> Result<(), Reject> {
        match event.event_type() {
            "script" => {
                let (refuse, seen) = play(&mut step.state, event.body());
                // What was read, in a place that a test can see.
                if !refuse {
                    step.emit("seen", &shown(&seen));
                }
                if refuse { Err(Reject::new("as_told")) } else { Ok(()) }
            }
            "panic" => panic!("as told"),
            "other" => {
                step.state.set(&OTHER.key(), *b"x");
                Ok(())
            }
            "long" => {
                step.state.set(&T.key().text(&"k".repeat(300)), *b"x");
                Ok(())
            }
            "many" => {
                (0..=255).for_each(|n| step.state.set(&at(n), [n]));
                step.state.set(&T.key(), *b"x");
                Ok(())
            }
            "big" => {
                step.state.set(&at(0), vec![0; 65_537]);
                Ok(())
            }
            "effects" => {
                (0..5).for_each(|n| step.effect("webhook", "s", &Object::new().number("n", n).finish()));
                Ok(())
            }
            "payment" => {
                step.effect("payment", "", b"{}");
                Ok(())
            }
            "ids" => {
                let ids = [step.id("a"), step.id("a"), step.id("b")];
                step.state.set(&at(0), ids.concat());
                tally_plugin::log::info(&"l".repeat(2_000));
                Ok(())
            }
            _ => Err(Reject::new("unknown")),
        }
    }

    fn query(state: &mut Snapshot, request: &[u8]) -> Vec<u8> {
        let mut rows = Vec::new();
        let count = state.scan(&T.key().within(), 10_000, |key, _| rows.push(key.to_vec()));
        assert_eq!(count as usize, rows.len());
        [request, &count.to_be_bytes()].concat()
    }
}

fn acts() -> impl Strategy<Value = Act> {
    let key = 0..12_u8;
    prop_oneof![
        key.clone().prop_map(Act::Get),
        (key.clone(), 0..3_u8).prop_map(|(key, value)| Act::Set(key, value)),
        key.clone().prop_map(Act::Delete),
        prop::collection::vec(0..12_u8, 0..5).prop_map(Act::Many),
        (key.clone(), key, 0..14_u8, any::<bool>()).prop_map(|(from, to, limit, reverse)| Act::Scan {
            from,
            to,
            limit,
            reverse
        }),
    ]
}

/// The same script on a plain map.
fn model(map: &mut BTreeMap<u8, u8>, acts: &[Act]) -> Vec<u8> {
    let mut seen = Writer::new();
    let shown = |value: Option<&u8>| value.map_or_else(|| b"none".to_vec(), |value| vec![*value]);
    for act in acts {
        match act {
            Act::Get(key) => seen = seen.bytes(&shown(map.get(key))),
            Act::Set(key, value) => drop(map.insert(*key, *value)),
            Act::Delete(key) => drop(map.remove(key)),
            Act::Many(keys) => seen = keys.iter().fold(seen, |seen, key| seen.bytes(&shown(map.get(key)))),
            Act::Scan { from, to, limit, reverse } => {
                let mut rows: Vec<_> = if from < to { map.range(from..to).collect() } else { Vec::new() };
                if *reverse {
                    rows.reverse();
                }
                for (key, value) in rows.into_iter().take(usize::from(*limit)) {
                    seen = seen.bytes(&[at(*key).as_bytes(), b"=", &[*value]].concat());
                }
                seen = seen.u8(b'.');
            }
        }
    }
    seen.finish()
}

fn event(kind: &str, body: &[u8]) -> TestEvent {
    TestEvent::new(kind, "thing", "1", body)
}

/// Bytes as the body of an emit, which is canonical JSON.
fn shown(seen: &[u8]) -> Vec<u8> {
    let hex: String = seen.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"").into_bytes()
}

proptest! {
    #[test]
    fn the_cache_shows_what_a_plain_map_shows_and_leaves_what_it_leaves(
        scripts in prop::collection::vec((prop::collection::vec(acts(), 0..24), prop::bool::weighted(0.2)), 1..6),
        page in 1..40_usize,
    ) {
        // Pages as small as a row or two, so that scans cross them.
        let mut host = TestHost::<Script>::with_limits(Limits { range_bytes: page * 8, ..Limits::default() });
        let mut map = BTreeMap::new();
        for (acts, refuse) in scripts {
            let before = map.clone();
            let seen = model(&mut map, &acts);
            let many = acts.iter().any(|act| matches!(act, Act::Many(keys) if keys.len() * 5 > page * 8));
            let outcome = host.apply_one(event("script", &encode(&acts, refuse)));
            if many && outcome.verdict == Verdict::Limit(LimitKind::ReadBytes) {
                map = before;
                continue;
            }
            if refuse {
                prop_assert_eq!(&outcome.verdict, &Verdict::Rejected("as_told".into()));
                prop_assert!(outcome.writes.is_empty() && outcome.emits.is_empty());
                map = before;
            } else {
                prop_assert_eq!(&outcome.verdict, &Verdict::Accepted);
                prop_assert_eq!(&outcome.emits[0].body, &shown(&seen));
            }
            let state: BTreeMap<_, _> = map.iter().map(|(k, v)| (at(*k).as_bytes().to_vec(), vec![*v])).collect();
            prop_assert_eq!(&host.host().state, &state);
        }
    }
}

#[test]
fn a_value_that_does_not_change_is_not_written() {
    let mut host = TestHost::<Script>::new();
    let set = encode(&[Act::Get(1), Act::Set(1, 5)], false);
    assert_eq!(host.apply_one(event("script", &set)).writes.len(), 1);
    assert_eq!(host.apply_one(event("script", &set)).writes.len(), 0);
    let there_and_back = encode(&[Act::Get(1), Act::Delete(1), Act::Set(1, 5)], false);
    assert_eq!(host.apply_one(event("script", &there_and_back)).writes.len(), 0);
}

#[test]
fn each_limit_ends_its_event_and_nothing_of_it_stays() {
    let mut host = TestHost::<Script>::new();
    for (kind, verdict) in [
        ("panic", Verdict::Trapped),
        ("other", Verdict::Trapped),
        ("long", Verdict::Limit(LimitKind::KeyBytes)),
        ("many", Verdict::Limit(LimitKind::Writes)),
        ("big", Verdict::Limit(LimitKind::ValueBytes)),
        ("effects", Verdict::Limit(LimitKind::Effects)),
        ("payment", Verdict::Trapped),
        ("unheard", Verdict::Rejected("unknown".into())),
    ] {
        let outcomes = host.apply([event(kind, b"{}"), event("script", &encode(&[Act::Set(1, 1)], false))]);
        assert_eq!(outcomes[0].verdict, verdict, "{kind}");
        assert!(outcomes[0].writes.is_empty() && outcomes[0].effects.is_empty(), "{kind}");
        assert_eq!(outcomes[1].verdict, Verdict::Accepted, "after {kind}");
    }
    assert_eq!(host.host().state.len(), 1);
    let large = vec![0; 65_537];
    assert_eq!(host.apply_one(event("script", &large)).verdict, Verdict::Limit(LimitKind::EventBytes));
}

#[test]
fn ids_differ_by_call_label_and_event_and_repeat_at_replay() {
    let ids = |host: &mut TestHost<Script>| host.apply_one(event("ids", b"{}")).writes.into_values().next().flatten();
    let (mut first, mut second) = (TestHost::<Script>::new(), TestHost::<Script>::new());
    let (a, b) = (ids(&mut first).expect("ids"), ids(&mut first).expect("ids"));
    assert_eq!(Some(&a), ids(&mut second).as_ref());
    let mut all: Vec<&[u8]> = a.chunks(32).chain(b.chunks(32)).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6);
    assert_eq!(first.host().outcomes[0].log[0].len(), 2 + 1_024);
}

#[test]
fn init_and_migrate_keep_their_writes_or_drop_them_all() {
    let mut host = TestHost::<Script>::new();
    assert_eq!(host.init(b""), Err("no_config".into()));
    assert!(host.host().state.is_empty());
    assert_eq!(host.init(b"{}"), Ok(()));
    assert_eq!(host.host().state.len(), 1);
    assert_eq!(host.migrate(2, b"{}"), Err("cannot".into()));
    assert_eq!(host.host().state.len(), 1);
    assert_eq!(host.migrate(1, b"{}"), Ok(3));
    assert_eq!(host.host().state.len(), 2);
}

#[test]
fn a_query_scans_beyond_one_page() {
    let mut host = TestHost::<Script>::new();
    for n in 0..1_500_u64 {
        host.host_mut().state.insert(T.key().u64(n).as_bytes().to_vec(), vec![0; 300]);
    }
    assert_eq!(host.query(b""), 1_500_u32.to_be_bytes());
}

#[test]
fn a_record_that_is_cut_or_longer_is_no_event() {
    let record = event("script", b"{}").record();
    assert!(Event::new(record.clone()).is_some());
    for length in 0..record.len() {
        assert!(Event::new(record[..length].to_vec()).is_none(), "{length}");
    }
    assert!(Event::new([record.as_slice(), b"x"].concat()).is_none());
    let mut flagged = record;
    flagged[126] = 2;
    assert!(Event::new(flagged).is_none());
}

#[test]
fn an_event_shows_what_its_record_holds() {
    let mut test = event("script", b"{}").by(9);
    (test.index, test.sequence, test.sequenced_at, test.derived) = (1, 2, 3, true);
    let event = Event::new(test.record()).expect("a record");
    assert_eq!((event.index(), event.sequence(), event.sequenced_at()), (1, 2, 3));
    assert_eq!((event.tenant(), event.store(), event.agent()), ([1; 16], [2; 16], [9; 16]));
    assert_eq!((event.event_id(), event.payload_hash(), event.is_derived()), ([0; 16], [3; 32], true));
    assert_eq!((event.event_type(), event.entity_type(), event.entity_id()), ("script", "thing", "1"));
    assert_eq!(event.body(), b"{}");
}

#[test]
fn the_manifest_is_the_canonical_json_of_the_contract() {
    let manifest = Manifest::new("script", "1.2.3")
        .event("order.placed")
        .event("catalog.*")
        .table(T)
        .entity_type("parcel")
        .effects("webhook")
        .emits()
        .limit("gas", 5)
        .state_version(3)
        .query("item", "/items/{sku}")
        .command("order", tally_plugin::Method::Post, "/orders", "order.placed");
    let expected = concat!(
        r#"{"abi":1,"capabilities":["effect:webhook","emit","entity:parcel"],"#,
        r#""events":["catalog.*","order.placed"],"id":"script","#,
        r#""limits":{"gas":5},"prefixes":["t/"],"routes":[{"kind":"query","method":"GET","name":"item","#,
        r#""path":"/items/{sku}"},{"event":"order.placed","kind":"command","method":"POST","name":"order","#,
        r#""path":"/orders"}],"state_version":3,"version":"1.2.3"}"#
    );
    assert_eq!(String::from_utf8(manifest.to_json()).expect("UTF-8"), expected);
}
