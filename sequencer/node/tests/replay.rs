//! `tally replay` over exports: an honest one replays to its own roots on every engine, and the first thing in it that
//! is otherwise is named: a module, an event, an outcome, a checkpoint, the state root.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]
#![allow(unreachable_pub, reason = "a test's own module")]

#[path = "replay/world.rs"]
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tally_protocol::control::ControlEvent;
use tally_protocol::hash::StatesRoot;
use tally_protocol::id::Index;
use tally_protocol::outcome::{Outcome as Decided, OutcomeCode};
use tally_protocol::plugin_event::PluginEvent;
use world::{Claim, World, committed, plugin_id};

const ENGINES: [&str; 3] = ["optimised", "baseline", "wasmi"];

fn tally(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
    command.args(args).stdin(Stdio::null()).env("TALLY_LOG", "warn").env_remove("TALLY_DATA").output().unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A market of two stores with two plugins, one of which is stopped and goes on; with an event whose payload names it.
fn market() -> (World, Claim) {
    static MADE: OnceLock<(World, Claim)> = OnceLock::new();
    MADE.get_or_init(make_market).clone()
}

fn make_market() -> (World, Claim) {
    let mut world = World::new();
    let [counter, registry] = ["counter", "registry"].map(|name| world.publish(&committed(name)));
    let (one, two) = (world.stream(), world.tenant.stream(2));
    for release in [&counter, &registry] {
        world.install(one, release);
    }
    world.install(two, &registry);
    for n in 0..500 {
        let (sku, order) = (format!("sku-{}", n % 7), format!("order-{n}"));
        let hash = "ab".repeat(32);
        let item = format!(
            r#"{{"name":"thing {n}","version":"1.0.0","sha256":"{hash}","size_bytes":1000,"price_cents":1{n},"currency":"EUR"}}"#
        );
        let stream = if n % 3 == 0 { two } else { one };
        world.push_to(stream, "catalog.item.listed", ("item", &sku), &item);
        let bought = format!(
            r#"{{"sku":"{sku}","sha256":"{hash}","seller":"{}","quantity":2,"total_cents":{},"currency":"EUR"}}"#,
            world.seller.id,
            2 * format!("1{n}").parse::<u64>().unwrap()
        );
        world.push_to(stream, "order.placed", ("order", &order), &bought);
        match n {
            100 => {
                world.quarantine(one, "counter");
            }
            200 => {
                world.configure(one, "counter", true);
            }
            300 => {
                world.push("order.placed", ("order", "bad"), r#"{"marker":"quite unusual"}"#);
            }
            _ => {}
        }
    }
    let claim = world.run(&[400, 7, 64]);
    (world, claim)
}

/// An export of the market, honest as it is written.
fn exported(claim: &Claim) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("export");
    market().0.export(claim, &out);
    (dir, out)
}

fn replay(out: &Path, engine: &str) -> Output {
    tally(&["replay", path(out), "--engine", engine])
}

/// What replay says about an export that is wrong.
fn refusal(out: &Path) -> String {
    let output = replay(out, "optimised");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(!String::from_utf8(output.stdout).unwrap().contains("replay ok"));
    said
}

#[track_caller]
fn refused(out: &Path, by: &str) -> String {
    let said = refusal(out);
    assert!(said.starts_with(&format!("error: replay differs: {by}")), "{said}");
    said
}

fn flip(file: &Path, at: impl Fn(&[u8]) -> usize) {
    let mut bytes = fs::read(file).unwrap();
    let at = at(&bytes);
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn position(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).expect("it is there")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn an_honest_export_replays_to_its_own_roots_on_every_engine() {
    let (world, claim) = market();
    let (_dir, out) = exported(&claim);
    let events = world.records().len();
    for engine in ENGINES {
        let output = tally(&["replay", path(&out), "--engine", engine, "--ledger", &world.id().to_hex()]);
        let said = String::from_utf8(output.stdout).unwrap();
        let (root, states) = (claim.root(), claim.states);
        let keys = claim.keys;
        assert_eq!(
            said.trim_end(),
            format!(
                "replay ok: {events} outcomes, {keys} keys, root {root}, state root {states}, {events} events, engine {engine}"
            ),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(0));
    }
    assert_ne!(claim.states, StatesRoot::EMPTY);
}

#[test]
fn another_cut_of_the_same_log_replays_too() {
    let (world, claim) = market();
    let other = world.run(&[1_000]);
    assert_eq!(other.states, claim.states, "real guests keep nothing between events but what they write");
    assert_ne!(other.root(), claim.root(), "the cuts are said in the outcomes");
    let (_dir, out) = exported(&other);
    assert_eq!(replay(&out, "optimised").status.code(), Some(0));
}

#[test]
fn replay_is_the_same_twice_and_on_any_number_of_threads() {
    let (world, claim) = market();
    let (_dir, out) = exported(&claim);
    let once = tally(&["replay", path(&out), "--json"]);
    assert_eq!(once.status.code(), Some(0));
    for threads in [1, 2, 8] {
        let made = std::thread::scope(|scope| {
            let run = || scope.spawn(|| (world.run(&[400, 7, 64]), tally(&["replay", path(&out), "--json"])));
            let running: Vec<_> = (0..threads).map(|_| run()).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        for (again, output) in made {
            let bytes = |claim: &Claim| claim.outcomes.iter().map(Decided::encode).collect::<Vec<_>>();
            assert_eq!(bytes(&again), bytes(&claim));
            assert_eq!((again.root(), again.states), (claim.root(), claim.states));
            assert_eq!(output.stdout, once.stdout);
        }
    }
}

#[test]
fn the_same_log_gives_the_same_files() {
    let (_, claim) = market();
    let ((_one, one), (_two, two)) = (exported(&claim), exported(&claim));
    let names =
        |out: &Path| files(out).iter().map(|file| file.strip_prefix(out).unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&one), names(&two));
    for name in names(&one) {
        assert_eq!(fs::read(one.join(&name)).unwrap(), fs::read(two.join(&name)).unwrap(), "{}", name.display());
    }
    let outcomes = claim.outcomes.len();
    let last = format!("outcomes/tile/entries/{:03}.p/{}", outcomes / 256, outcomes % 256);
    assert!(names(&one).contains(&PathBuf::from(last)));
}

#[test]
fn an_export_is_written_once() {
    let (world, claim) = market();
    let (_dir, out) = exported(&claim);
    let again = tally::export::ExportWriter::create(&out, &world.ledger.genesis.encode());
    assert!(again.is_err_and(|failure| failure.message.ends_with("exists")));
    let broken_off = out.with_file_name("other");
    drop(tally::export::ExportWriter::create(&broken_off, &world.ledger.genesis.encode()).unwrap());
    let again = tally::export::ExportWriter::create(&broken_off, &world.ledger.genesis.encode());
    assert!(again.is_err_and(|failure| failure.message.contains("broken off")));
}

#[test]
fn a_flipped_byte_of_a_module_is_named_by_its_module() {
    let (_, claim) = market();
    let modules = {
        let (_dir, out) = exported(&claim);
        files(&out.join("modules"))
    };
    assert_eq!(modules.len(), 2);
    for module in modules {
        let (_dir, out) = exported(&claim);
        let name = module.file_name().unwrap().to_str().unwrap();
        flip(&out.join("modules").join(name), |bytes| bytes.len() / 2);
        let said = refused(&out, "module: ");
        assert!(said.contains(name.strip_suffix(".wasm").unwrap()), "{said}");
        fs::remove_file(out.join("modules").join(name)).unwrap();
        let said = refused(&out, "module: ");
        assert!(said.contains(name.strip_suffix(".wasm").unwrap()) && said.contains("missing"), "{said}");
    }
}

#[test]
fn a_flipped_byte_of_an_event_is_named_by_its_entry() {
    let (world, claim) = market();
    let marked = |index: &Index| {
        let record = &world.records()[usize::try_from(index.get()).unwrap() - 1];
        String::from_utf8_lossy(record.frame.payload()).contains("quite unusual")
    };
    let index = (1..).map(Index::new).find(marked).unwrap();
    let (_dir, out) = exported(&claim);
    flip(&files(&out.join("log"))[0], |bytes| position(bytes, b"quite unusual"));
    let said = refused(&out, &format!("event: entry {index}: "));
    assert!(said.contains("payload_hash"), "{said}");
}

#[test]
fn a_run_that_is_missing_is_named() {
    let (_, claim) = market();
    let (_dir, out) = exported(&claim);
    fs::remove_file(&files(&out.join("log"))[0]).unwrap();
    refused(&out, "event: entry 1: the log ends");
    fs::write(out.join("log/more.txt"), b"?").unwrap();
    assert!(refusal(&out).contains("more.txt is no file of an export"));
}

#[test]
fn every_flipped_byte_of_an_outcome_is_named_by_its_entry() {
    let (_, claim) = market();
    let at = claim.outcomes.iter().rposition(|outcome| outcome.bindings.len() == 2).unwrap();
    let body = claim.outcomes[at].encode();
    // Tag, leaf, count, name, module, profile, gas, the three hashes, and the other record's module.
    for offset in [3, 20, 49, 55, 70, 100, 134, 140, 180, 210, 250] {
        let (_dir, out) = exported(&claim);
        let bundle = files(&out.join("outcomes"))[at / 256].clone();
        flip(&bundle, |bytes| position(bytes, &body) + offset);
        let said = refused(&out, "outcome: ");
        assert!(said.contains(&format!("entry {at}")), "byte {offset}: {said}");
    }
}

#[test]
fn a_cut_that_was_never_made_is_named_by_the_gas_of_a_new_instance() {
    let (_, claim) = market();
    let pure = |outcome: &Decided| outcome.bindings.len() == 2 && !outcome.bindings[0].fresh;
    let at = claim.outcomes.iter().rposition(pure).unwrap();
    let body = claim.outcomes[at].encode();
    let (_dir, out) = exported(&claim);
    flip(&files(&out.join("outcomes"))[at / 256], |bytes| position(bytes, &body) + 125);
    refused(&out, &format!("outcome: entry {at}: counter: gas is "));
}

#[test]
fn an_outcome_that_is_missing_is_named() {
    let (_, claim) = market();
    let (_dir, out) = exported(&claim);
    let bundle = files(&out.join("outcomes"))[1].clone();
    fs::remove_file(&bundle).unwrap();
    let said = refusal(&out);
    assert!(said.contains(path(&bundle)) && said.contains("is missing"), "{said}");
}

#[test]
fn a_flipped_byte_of_a_checkpoint_is_named_by_its_file() {
    let (_, claim) = market();
    for name in ["checkpoint", "outcome-checkpoint"] {
        for byte in [2, 30, 60] {
            let (_dir, out) = exported(&claim);
            flip(&out.join(name), |_| byte);
            refused(&out, &format!("{name}: "));
        }
    }
    let (_dir, out) = exported(&claim);
    fs::copy(out.join("checkpoint"), out.join("outcome-checkpoint")).unwrap();
    refused(&out, "outcome-checkpoint: ");
}

#[test]
fn a_ledger_that_signs_another_outcome_is_found_out() {
    let (_, honest) = market();
    let at = honest.outcomes.iter().rposition(|outcome| outcome.bindings.len() == 2).unwrap();
    let code = &honest.outcomes[at].bindings[1].code;
    let trapped = format!("registry: code is {code}, claimed trapped");
    type Lie = fn(&mut Claim, usize);
    let lies: [(&str, Lie); 4] = [
        ("counter: gas is ", |claim, at| claim.outcomes[at].bindings[0].gas += 1),
        (&trapped, |claim, at| {
            claim.outcomes[at].bindings[1].code = OutcomeCode::Trapped;
        }),
        ("registry took part, against the claim", |claim, at| drop(claim.outcomes[at].bindings.pop())),
        ("counter took part, against the claim", |claim, at| claim.outcomes[at].bindings.reverse()),
    ];
    for (said, lie) in lies {
        let mut claim = honest.clone();
        lie(&mut claim, at);
        let (_dir, out) = exported(&claim);
        refused(&out, &format!("outcome: entry {at}: {said}"));
    }
}

#[test]
fn a_ledger_that_signs_another_state_root_is_found_out() {
    let (_, honest) = market();
    let claim = Claim { states: StatesRoot::EMPTY, ..honest.clone() };
    let (_dir, out) = exported(&claim);
    let said = refused(&out, "state root: ");
    assert!(said.contains(&honest.states.to_hex()) && said.contains(&StatesRoot::EMPTY.to_hex()), "{said}");
}

#[test]
fn a_ledger_that_lets_in_a_plugin_event_against_the_rules_is_found_out() {
    let (mut world, _) = market();
    let plugin = plugin_id("counter");
    let (store_id, previous, reason) = (world.stream().store, tally_protocol::hash::LifeHash::ZERO, "no".to_owned());
    let at = world.plugin_unjudged(&PluginEvent::Removed { store_id, plugin, reason, previous });
    let claim = world.run(&[400]);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("export");
    world.export(&claim, &out);
    let said = refused(&out, &format!("event: entry {at}: "));
    assert!(said.contains("control_refused"), "{said}");
}

#[test]
fn a_ledger_that_lets_in_an_entity_type_that_is_not_listed_is_found_out() {
    let (mut world, _) = market();
    let (store_id, listed) = (world.stream().store, ["item", "order"].map(str::to_owned));
    world.control(&ControlEvent::EntityTypesSet { store_id, entity_types: listed.into() });
    world.push("order.placed", ("order", "order-last"), "{}");
    let export = |world: &World| {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("export");
        world.export(&world.run(&[400]), &out);
        (dir, out)
    };
    let (_dir, out) = export(&world);
    assert_eq!(replay(&out, "optimised").status.code(), Some(0));
    let at = world.push("order.placed", ("parcel", "parcel-1"), "{}");
    let (_dir, out) = export(&world);
    let said = refused(&out, &format!("event: entry {at}: "));
    assert!(said.contains("entity_type_unknown"), "{said}");
}

#[test]
fn a_ledger_that_is_not_the_trusted_one_is_refused() {
    let (_, claim) = market();
    let (_dir, out) = exported(&claim);
    let other = "00".repeat(32);
    let output = tally(&["replay", path(&out), "--ledger", &other, "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let said: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(said["error"]["message"].as_str().unwrap().starts_with("replay differs: trust: "), "{said}");
}

#[test]
fn what_is_no_export_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let output = tally(&["replay", path(dir.path())]);
    assert_eq!(output.status.code(), Some(2));
}
