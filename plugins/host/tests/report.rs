//! The lint and compliance report: a function of release, module and manifest, and a wall before an approval.

mod common;

use common::ledger::{World, manifest, plugin, release};
use common::{host::guest, wat};
use tally_plugin_host::engine::{Engine, Optimisation};
use tally_plugin_host::report::{Report, ReviewError, Weight, made_with, report};
use tally_protocol::hash::{self, ReportHash};
use tally_protocol::plugin_event::PluginEvent;
use tally_protocol::plugin_life::LifeRefusal;
use tally_protocol::release::{Decision, Price, PricePer, Release, Review};

const COUNTER: &[u8] = include_bytes!("../../counter/counter.wasm");
const REGISTRY: &[u8] = include_bytes!("../../registry/registry.wasm");

/// A manifest with these members in place of an honest one's.
fn says(changes: &[(&str, &str)]) -> String {
    let mut members = [
        ("abi", "1"),
        ("capabilities", r#"["effect:mail","emit"]"#),
        ("events", r#"["thing.done"]"#),
        ("id", r#""p""#),
        ("limits", "{}"),
        ("prefixes", r#"["k/"]"#),
        ("routes", "[]"),
        ("state_version", "1"),
        ("version", r#""1.0.0""#),
    ];
    for (name, value) in changes {
        members.iter_mut().find(|(member, _)| member == name).expect("a member").1 = value;
    }
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// The release of a module and its manifest, with a schema for its event type.
fn of(wasm: &[u8], manifest: &str) -> Release {
    let mut release = release(wasm, manifest.as_bytes());
    release.schemas.insert("thing.done".to_owned(), hash::schema(b"{}"));
    release
}

/// What is found, by weight.
fn found(release: &Release, wasm: &[u8], manifest: Option<&str>) -> (Vec<String>, Vec<String>) {
    let report = report(release, wasm, manifest.map(str::as_bytes));
    let of = |weight: Weight| {
        let found = report.findings().iter().filter(|finding| finding.weight == weight);
        found.map(|finding| format!("{} {}", finding.rule, finding.about).trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(report.blocking() as usize, of(Weight::Blocks).len());
    (of(Weight::Blocks), of(Weight::Warns))
}

fn blocks(release: &Release, wasm: &[u8], manifest: &str) -> Vec<String> {
    found(release, wasm, Some(manifest)).0
}

#[test]
fn an_honest_release_has_nothing_that_blocks() {
    let (wasm, manifest) = (guest(""), says(&[]));
    let (blocks, warns) = found(&of(&wasm, &manifest), &wasm, Some(&manifest));
    assert_eq!((blocks, warns), (vec![], vec!["capability.effect mail".to_owned()]));
}

#[test]
fn what_a_module_is_and_calls_is_held_against_what_it_says() {
    let (wasm, honest) = (guest(""), says(&[]));
    let floats = wat("(func (export \"run\") (drop (f32.add (f32.const 1) (f32.const 2))))");
    let without = says(&[("capabilities", "[]"), ("prefixes", "[]")]);
    assert_eq!(blocks(&of(&floats, &without), &floats, &without), ["module.floats invalid"]);
    let start = wat("(func $s) (start $s)");
    assert_eq!(blocks(&of(&start, &without), &start, &without), ["module.refused start"]);
    let simd = wat("(func (export \"run\") (drop (v128.const i32x4 0 0 0 0)))");
    assert_eq!(blocks(&of(&simd, &without), &simd, &without), ["module.refused invalid"]);
    assert_eq!(blocks(&of(&wasm, &honest), &guest("(func)"), &honest), ["module.differs"]);
    assert_eq!(
        blocks(&of(&wasm, &without), &wasm, &without),
        ["capability.missing effect", "capability.missing emit", "prefixes.missing"]
    );
    let idle = wat("");
    assert_eq!(blocks(&of(&idle, &honest), &idle, &honest), ["capability.unused effect", "capability.unused emit"]);
}

#[test]
fn a_manifest_must_be_there_be_the_release_s_and_be_one() {
    let (wasm, honest) = (guest(""), says(&[]));
    assert_eq!(found(&of(&wasm, &honest), &wasm, None).0, ["manifest.missing"]);
    let other = says(&[("version", r#""1.0.1""#)]);
    assert_eq!(blocks(&of(&wasm, &honest), &wasm, &other), ["manifest.differs"]);
    let malformed = says(&[("events", r#"["*.done"]"#)]);
    assert_eq!(blocks(&of(&wasm, &malformed), &wasm, &malformed), ["manifest.malformed"]);
}

#[test]
fn what_is_asked_for_is_looked_at() {
    let wasm = guest("");
    let found_of = |changes: &[(&str, &str)]| {
        let manifest = says(changes);
        found(&of(&wasm, &manifest), &wasm, Some(&manifest))
    };
    let warned = |warns: &[String], finding: &str| warns.iter().any(|warn| warn == finding);
    assert!(warned(&found_of(&[("events", r#"["*"]"#)]).1, "events.all *"));
    assert!(warned(&found_of(&[("events", "[]")]).1, "events.none"));
    assert!(warned(&found_of(&[("events", r#"["thing.lost"]"#)]).1, "schema.missing thing.lost"));
    assert!(warned(&found_of(&[("limits", r#"{"gas":3000000}"#)]).1, "limit.high gas"));
    assert!(!warned(&found_of(&[("limits", r#"{"gas":1000000}"#)]).1, "limit.high gas"));
    let brings = [("capabilities", r#"["effect:mail","emit","entity:parcel"]"#)];
    assert!(warned(&found_of(&brings).1, "capability.entity_type parcel"));
    assert_eq!(found_of(&brings).0, Vec::<String>::new());
    let malformed = [("capabilities", r#"["effect:mail","emit","entity:par*"]"#)];
    assert_eq!(found_of(&malformed).0, ["manifest.malformed"]);
    // A release that claims to bring what its manifest does not say.
    let (honest, claims) = (says(&[]), says(&brings));
    let release = Release { permissions: of(&wasm, &claims).permissions, ..of(&wasm, &honest) };
    assert_eq!(blocks(&release, &wasm, &honest), ["manifest.differs"]);
    let (blocks, _) = found_of(&[("limits", r#"{"fuel":1}"#)]);
    assert_eq!(blocks, ["limit.unknown fuel", "manifest.malformed"]);
    let command = |event: &str| {
        format!(r#"[{{"event":"{event}","kind":"command","method":"POST","name":"order","path":"/orders"}}]"#)
    };
    assert_eq!(found_of(&[("routes", &command("thing.done"))]).0, Vec::<String>::new());
    assert_eq!(found_of(&[("routes", &command("thing.lost"))]).0, ["route.unheard order"]);
}

#[test]
fn a_price_has_a_currency() {
    let (wasm, manifest) = (guest(""), says(&[]));
    for (amount, currency, blocked) in
        [(5, *b"EUR", false), (5, *b"XXX", true), (5, *b"XTS", true), (0, *b"XXX", false)]
    {
        let price = Price { amount, currency, per: PricePer::Event };
        let release = Release { price, ..of(&wasm, &manifest) };
        assert_eq!(!blocks(&release, &wasm, &manifest).is_empty(), blocked);
    }
}

#[test]
fn a_report_is_one_text_with_one_hash_and_hangs_on_the_release() {
    let (wasm, manifest) = (guest(""), says(&[]));
    let good = of(&wasm, &manifest);
    let one = report(&good, &wasm, Some(manifest.as_bytes()));
    assert_eq!(one.to_json(), report(&good, &wasm, Some(manifest.as_bytes())).to_json());
    assert_eq!(tally_protocol::jcs::is_canonical(&one.to_json()), Ok(()));
    assert_eq!(one.hash(), hash::report(&one.to_json()));
    let price = Price { amount: 6, ..good.price };
    let other = report(&Release { price, ..good.clone() }, &wasm, Some(manifest.as_bytes()));
    assert_ne!(one.hash(), other.hash());
    assert_ne!(one.hash(), report(&good, &wasm, None).hash());
}

fn made(release: &Release, wasm: &[u8]) -> Report {
    let engine = Engine::new(2, Optimisation::None).expect("a pool");
    made_with(&engine, common::ledger::LEDGER, release, wasm).expect("a report")
}

fn review(event: &PluginEvent) -> &Review {
    match event {
        PluginEvent::Reviewed { review, .. } => review,
        _ => unreachable!(),
    }
}

#[test]
fn a_failing_report_blocks_the_approval_whatever_the_reviewer_says() {
    let mut world = World::new();
    // It asks for more than it uses.
    let wasm = plugin(&manifest("p", "1.0.0", 1, &["thing.*"], "{}"), "");
    let greedy = says(&[("capabilities", r#"["effect:mail"]"#), ("id", r#""q""#)]);
    let (good, bad) = (wasm, plugin(&greedy, ""));
    let good_release = world.submit(&good, release(&good, manifest("p", "1.0.0", 1, &["thing.*"], "{}").as_bytes()));
    let bad_release = world.submit(&bad, release(&bad, greedy.as_bytes()));
    let report = made(&bad_release, &bad);
    assert_eq!(report.blocking(), 1, "{:?}", report.findings());
    let reviewed = |hash, blocking| world.reviewed(&bad_release, Decision::Approved, hash, blocking);
    let vet = |event: &PluginEvent| report.check_review(review(event));
    // Another report, or fewer findings than there are: not into the log.
    let lies = [reviewed(ReportHash::from_bytes([4; 32]), 0), reviewed(ReportHash::from_bytes([4; 32]), 1)];
    assert!(lies.iter().all(|lie| matches!(vet(lie), Err(ReviewError::Report { .. }))));
    let fewer = reviewed(report.hash(), 0);
    assert_eq!(vet(&fewer), Err(ReviewError::Blocking { computed: 1, named: 0 }));
    let other = world.reviewed(&good_release, Decision::Approved, report.hash(), 1);
    assert_eq!(vet(&other), Err(ReviewError::Release));
    // The truth: the register refuses it, so the release is never approved.
    let truth = reviewed(report.hash(), 1);
    vet(&truth).unwrap();
    assert_eq!(world.judge(&truth), Err(LifeRefusal::Blocked));
    // To refuse a release needs no report.
    vet(&world.reviewed(&bad_release, Decision::Rejected, ReportHash::from_bytes([4; 32]), 0)).unwrap();
    // One without such findings is approved.
    let report = made(&good_release, &good);
    let event = world.reviewed(&good_release, Decision::Approved, report.hash(), report.blocking());
    report.check_review(review(&event)).unwrap();
    assert_eq!((report.blocking(), world.judge(&event)), (0, Ok(())));
}

#[test]
fn the_plugins_of_this_repository_have_nothing_that_blocks() {
    let mut world = World::new();
    for wasm in [COUNTER, REGISTRY] {
        let release = world.publish(wasm);
        let report = made(&release, wasm);
        assert_eq!(report.blocking(), 0, "{:?}", report.findings());
    }
}

#[test]
fn a_module_that_does_not_describe_itself_is_reported_not_passed_over() {
    let mut world = World::new();
    let manifest = says(&[]);
    let silent = guest("(func (export \"describe\") (param i32) unreachable)");
    let release = world.submit(&silent, of(&silent, &manifest));
    let report = made(&release, &silent);
    assert_eq!(report.findings()[0].rule, "manifest.missing");
}
