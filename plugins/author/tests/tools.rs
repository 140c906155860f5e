//! What each tool says of committed modules, and of guests with a planted fault.

mod common;

use common::{IMPURE, PURE, committed, events, guest, on_all, on_first, track, write};
use tally_plugin_author::engines::EngineName;
use tally_plugin_author::play::{Cuts, play, start};
use tally_plugin_author::source::{EventSource as _, Fixtures, LogEvents};
use tally_plugin_author::{check, dry_run, purity, shadow};
use tally_protocol::id::Index;

const COUNTED: &str = r#"{
  "events": [
    {"type":"order.placed","entity_type":"order","entity_id":"o-1",
     "expect":{"outcome":"accepted","writes":{"count/order\\x00\\x00o-1\\x00\\x00":"\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00"}}}
  ]
}"#;

#[test]
fn a_blessed_fixture_passes_and_a_changed_expectation_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "one.json", COUNTED);
    let plugin = on_all(&committed("counter"));
    let blessed = check::fixture(&plugin, &file, true).unwrap();
    assert!(blessed.blessed && blessed.passed(), "{blessed:?}");
    assert_eq!(blessed.engines, ["optimised", "baseline", "wasmi"]);
    let passed = check::fixture(&plugin, &file, false).unwrap();
    assert!(passed.passed() && !passed.blessed && passed.gas_max > 0, "{passed:?}");

    let text = std::fs::read_to_string(&file).unwrap();
    let changed = text.replacen("\"accepted\"", "\"rejected(no-stock)\"", 1);
    assert_ne!(text, changed);
    std::fs::write(&file, changed).unwrap();
    let failed = check::fixture(&plugin, &file, false).unwrap();
    assert_eq!(failed.failures.len(), 1, "{failed:?}");
    assert_eq!(failed.failures[0].place, "event 0 (order.placed o-1)");
    assert_eq!(failed.failures[0].what, "expected rejected(no-stock), found accepted");
    assert!(failed.failures[0].diff.contains("-   \"outcome\": \"rejected(no-stock)\""), "{}", failed.failures[0].diff);
    assert!(failed.failures[0].diff.contains("+   \"outcome\": \"accepted\""), "{}", failed.failures[0].diff);
}

#[test]
fn a_wrong_state_answer_or_charge_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = on_first(&committed("counter"));
    let query = r#"{"request":{"args":{"id":"a","type":"item"},"route":"count"}}"#;
    let json = format!(
        r#"{{"events":[{{"type":"x","entity_type":"item","entity_id":"a","expect":{{"outcome":"accepted","gas_max":1000000}}}}],"queries":[{query}]}}"#
    );
    let file = write(dir.path(), "a.json", &json);
    check::fixture(&plugin, &file, true).unwrap();
    let good = std::fs::read_to_string(&file).unwrap();
    assert!(good.contains("\"count\": 1") && good.contains("\"gas_max\": 1000000"), "{good}");
    let place = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(good, changed, "{from}");
        std::fs::write(&file, changed).unwrap();
        let failures = check::fixture(&plugin, &file, false).unwrap().failures;
        failures.into_iter().map(|failed| failed.place).collect::<Vec<_>>()
    };
    assert_eq!(place("\"count\": 1", "\"count\": 2"), ["query 0"]);
    assert_eq!(place("\"gas_max\": 1000000", "\"gas_max\": 1"), ["event 0 (x a)"]);
    let after = good.rfind("state_after").unwrap();
    let (head, tail) = good.split_at(after);
    std::fs::write(&file, format!("{head}{}", tail.replacen("\\\\x01", "\\\\x02", 1))).unwrap();
    let failures = check::fixture(&plugin, &file, false).unwrap().failures;
    assert_eq!(failures.iter().map(|failed| failed.place.as_str()).collect::<Vec<_>>(), ["state after"]);
}

#[test]
fn a_fixture_that_expects_nothing_fails() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = on_first(&committed("counter"));
    let file = write(dir.path(), "a.json", r#"{"events":[{"type":"x","entity_id":"a"}],"queries":[{"request":{}}]}"#);
    let failures = check::fixture(&plugin, &file, false).unwrap().failures;
    assert_eq!(failures.iter().map(|failed| failed.place.as_str()).collect::<Vec<_>>(), ["event 0 (x a)", "query 0"]);
    let empty = write(dir.path(), "b.json", r#"{"events":[]}"#);
    assert!(!check::fixture(&plugin, &empty, false).unwrap().passed());
    for wrong in [r#"{"events":[],"also":1}"#, r#"{"events":[{"type":"x","expect":{}}]}"#, "[]", "{}"] {
        let file = write(dir.path(), "c.json", wrong);
        assert!(check::fixture(&plugin, &file, false).is_err(), "{wrong}");
    }
}

#[test]
fn purity_passes_the_committed_modules() {
    for name in ["counter", "registry"] {
        let plugin = on_all(&committed(name));
        let purity = purity::check(&plugin, &[events(60)], 7).unwrap();
        assert!(purity.is_pure(), "{}", purity::text(&purity, str::to_owned));
        let ways = purity.runs.len();
        assert_eq!(ways, 6 * EngineName::ALL.len());
        assert!(purity.runs.iter().all(|run| run.outcome_root == purity.runs[0].outcome_root), "{name}");
        assert!(purity.runs.iter().all(|run| run.state_root == purity.runs[0].state_root), "{name}");
    }
}

#[test]
fn purity_names_the_first_event_of_a_static_counter() {
    let pure = on_all(&guest("1.0.0", "{}", PURE));
    assert!(purity::check(&pure, &[events(10)], 1).unwrap().is_pure());
    let impure = on_all(&guest("1.0.0", "{}", IMPURE));
    let purity = purity::check(&impure, &[events(10)], 1).unwrap();
    let found = purity.divergence.as_ref().expect("impure");
    // The first event is the first of its instance however it is cut; the second is not.
    assert_eq!((found.index, found.event_type.as_str(), found.entity.as_str()), (1, "thing.made", "thing t1"));
    assert!(found.diff.contains("-     \"k/count\": \"\\\\x02") && found.diff.contains("+     \"k/count\": \"\\\\x01"));
    let text = purity::text(&purity, str::to_owned);
    assert!(text.contains("not pure: given, event at index 1 (thing.made, thing t1)"), "{text}");
    let roots = |cuts: &str| purity.runs.iter().find(|run| run.cuts == cuts).unwrap().outcome_root.clone();
    assert_ne!(roots("one instance"), roots("fresh for every event"));
}

#[test]
fn a_dry_run_reports_outcomes_state_and_gas() {
    let plugin = on_first(&committed("counter"));
    let report = dry_run::run(&plugin, &[events(30)], Index::new(0)).unwrap();
    assert_eq!((report.events, report.heard), (30, 30));
    assert_eq!(report.outcomes.iter().collect::<Vec<_>>(), [(&"accepted".to_owned(), &30)]);
    assert_eq!(report.states[0].changes.len(), 3);
    assert!(report.states[0].changes.iter().all(|change| change.before.is_none()));
    let gas = report.gas["thing.made"];
    assert_eq!((gas, gas.events), (report.gas["*"], 30));
    assert!(0 < gas.p50 && gas.p50 <= gas.p99 && gas.p99 <= gas.max && gas.max < plugin.limits().gas);
    assert_eq!(report.histogram.iter().map(|(_, count)| count).sum::<usize>(), 30);

    // Only the last ten are told, from the state that the others left.
    let last = dry_run::run(&plugin, &[events(30)], Index::new(20)).unwrap();
    assert_eq!((last.events, last.heard), (10, 10));
    assert!(last.states[0].changes.iter().all(|change| change.before.is_some()));
}

#[test]
fn a_limit_is_red_above_eighty_percent() {
    let plugin = on_first(&guest("1.0.0", r#"{"key_bytes":8}"#, PURE));
    let report = dry_run::run(&plugin, &[events(3)], Index::new(0)).unwrap();
    let used = report.limits.iter().find(|used| used.limit == "key_bytes").unwrap();
    assert_eq!((used.used, used.value, used.percent, used.red), (7, 8, 88, true));
    let red = dry_run::text(&report, |text| format!("<red>{text}</red>"));
    assert_eq!(red.matches("<red>").count(), 1, "{red}");
    assert!(red.contains("<red>  key_bytes"), "{red}");
    let roomy = on_first(&guest("1.0.0", r#"{"key_bytes":9}"#, PURE));
    let report = dry_run::run(&roomy, &[events(3)], Index::new(0)).unwrap();
    let used = report.limits.iter().find(|used| used.limit == "key_bytes").unwrap();
    assert_eq!((used.percent, used.red), (78, false));
}

#[test]
fn a_failing_event_is_listed_with_its_outcome() {
    let work = "(if (i32.eq (call $sequence) (i32.const 2)) (then unreachable))";
    let plugin = on_first(&guest("1.0.0", "{}", work));
    let report = dry_run::run(&plugin, &[events(3)], Index::new(0)).unwrap();
    assert_eq!(
        report.outcomes.iter().map(|(code, n)| (code.as_str(), *n)).collect::<Vec<_>>(),
        [("accepted", 2), ("trapped", 1)]
    );
    assert_eq!((report.refused.len(), report.refused[0].index, report.refused[0].outcome.as_str()), (1, 1, "trapped"));
    // A trap is charged everything: the limit is red.
    assert!(report.limits.iter().any(|used| used.limit == "gas" && used.percent == 100 && used.red));
}

#[test]
fn shadow_lists_exactly_the_event_that_differs() {
    let old = on_first(&guest("1.0.0", "{}", PURE));
    let same = on_first(&guest("1.0.1", "{}", PURE));
    let tracks = [events(20)];
    assert!(shadow::check(&old, &same, &tracks, 10).unwrap().is_same());
    let work = "(i32.store (i32.const 64) (call $sequence))
        (if (i32.eq (call $sequence) (i32.const 15)) (then (i32.store (i32.const 64) (i32.const 0))))
        (call $kv_set (i32.const 1024) (i32.const 7) (i32.const 64) (i32.const 4))";
    let new = on_first(&guest("1.1.0", r#"{"gas":3000000}"#, work));
    let shadow = shadow::check(&old, &new, &tracks, 10).unwrap();
    assert_eq!(shadow.events, 10);
    assert_eq!(shadow.differing.iter().map(|differing| differing.index).collect::<Vec<_>>(), [14]);
    assert_eq!((shadow.differing[0].old.as_str(), shadow.differing[0].new.as_str()), ("accepted", "accepted"));
    assert!(shadow.states.is_empty(), "the last event writes the same");
    assert_eq!(shadow.asks_more, ["limit gas 3000000 instead of 2000000"]);
    // Beyond the last five, nothing is compared.
    assert!(shadow::check(&old, &new, &tracks, 5).unwrap().is_same());
    let rejecting = on_first(&guest(
        "1.1.0",
        "{}",
        "(if (i32.eq (call $sequence) (i32.const 20))
        (then (call $done (i32.const 0) (i32.const 1040) (i32.const 7)) (br $next_event)))",
    ));
    let shadow = shadow::check(&old, &rejecting, &tracks, 1).unwrap();
    assert_eq!(shadow.differing[0].new, "rejected(odd-one)");
    assert_eq!(shadow.states.len(), 1);
    let other = on_first(&committed("counter"));
    assert!(shadow::check(&old, &other, &tracks, 1).is_err(), "another plugin is no upgrade");
}

#[test]
fn events_of_a_log_are_told_by_stream() {
    let track = events(6);
    let mut events = track.events.clone();
    let mut moved = (*events[2]).clone();
    moved.stream.store = tally_protocol::id::StoreId::from_bytes([9; 16]);
    events[2] = moved.into();
    let mut control = (*events[3]).clone();
    control.stream = tally_protocol::id::Stream::LEDGER;
    events[3] = control.into();
    let source = LogEvents::new(events, b"{}");
    let lengths =
        |to| source.tracks(Index::new(to)).unwrap().iter().map(|track| track.events.len()).collect::<Vec<_>>();
    assert_eq!(lengths(6), [1, 4]);
    assert_eq!(lengths(2), [2]);
}

#[test]
fn fixtures_are_found_in_a_project_a_folder_or_by_name() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Fixtures::at(dir.path()).files().is_err());
    let inner = dir.path().join("fixtures");
    std::fs::create_dir(&inner).unwrap();
    write(&inner, "b.json", COUNTED);
    let a = write(&inner, "a.json", COUNTED);
    write(&inner, "notes.txt", "");
    let names = |place: &std::path::Path| {
        let tracks = Fixtures::at(place).tracks(Index::new(u64::MAX)).unwrap();
        tracks.into_iter().map(|track| track.name).collect::<Vec<_>>()
    };
    assert_eq!(
        (names(dir.path()), names(&inner), names(&a)),
        (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned()])
    );
}

#[test]
fn cutting_anywhere_gives_a_step_for_every_event() {
    let plugin = on_first(&committed("counter"));
    let track = track(COUNTED);
    let many = events(100);
    let guest = plugin.first().unwrap();
    let state = start(guest, &track).unwrap();
    let whole = play(guest, &many.events, state.clone(), Cuts::Whole).unwrap();
    let cut = play(guest, &many.events, state, Cuts::Lengths(&[3, 1, 50])).unwrap();
    assert_eq!((whole.steps.len(), cut.steps.len()), (100, 100));
    assert_eq!(whole.state, cut.state);
    assert_eq!(cut.steps.iter().filter(|step| step.fresh).count(), 6);
}

#[test]
fn a_captured_fixture_passes_and_holds_the_state_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (plugin, track) = (on_all(&committed("counter")), events(9));
    let file = dir.path().join("captured.json");
    let captured = check::capture(&plugin, &track, Index::new(6), &file).unwrap();
    assert!(captured.passed() && captured.blessed, "{captured:?}");
    assert_eq!(captured.events, 3);
    assert!(check::fixture(&plugin, &file, false).unwrap().passed());
    let text = std::fs::read_to_string(&file).unwrap();
    // Two of each before, three of each after.
    assert_eq!((text.matches("\\\\x02").count(), text.matches("\\\\x03").count()), (3, 6), "{text}");
    assert!(check::capture(&plugin, &track, Index::new(6), &file).is_err(), "an old file is left alone");
    assert!(check::capture(&plugin, &track, Index::new(9), &dir.path().join("none.json")).is_err());
}
