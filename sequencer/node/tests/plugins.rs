//! A node that runs plugins: the committed modules, in a log of events signed by real keys, from the release to the proof
//! of what the plugin holds. And what it does when something is not as it should be.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use common::market::{
    AGENT, Market, Node, PUBLISHER, Place, REVIEWER, ROOT, STORE, STREAM, forget_module, id, module, release_of,
    swap_module,
};
use serde_json::Value;
use tally::plugins::Plugins;
use tally_core::{EventResult, Receipt};
use tally_gateway::PluginPortError;
use tally_protocol::error::RejectCode;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{ProfileId, ReleaseHash, ReportHash};
use tally_protocol::id::{Index, PluginId, StoreId, Stream};
use tally_protocol::plugin_event::{Binding, Config, PluginEvent};
use tally_protocol::release::{Decision, Release, Review};
use tally_verify::{StateAt, verify_state_absent, verify_state_value};

fn orders(market: &Market, count: u64) -> Vec<Frame> {
    let order = |n: u64| {
        let name = format!("o-{}", n % 7);
        market.event("order.placed", ("order", &name), &format!("{{\"n\":{n}}}"))
    };
    (0..count).map(order).collect()
}

/// Where `counter` keeps an entity's count.
fn count_key(entity_type: &str, entity_id: &str) -> Vec<u8> {
    let text = |text: &str| [text.as_bytes(), &[0, 1]].concat();
    [b"count/".as_slice(), &text(entity_type), &text(entity_id)].concat()
}

/// The committed counter under another version.
fn counter(version: &str) -> Bytes {
    let wasm = module("counter").to_vec();
    let at = wasm.windows(5).position(|window| window == b"1.0.0").unwrap();
    [&wasm[..at], version.as_bytes(), &wasm[at + 5..]].concat().into()
}

/// A node on which `counter` runs.
fn with_counter(place: &Place) -> (Node, Market, Release) {
    let (node, mut market) = place.start_ready();
    node.port.put_module(module("counter")).unwrap();
    let release = release_of(&module("counter"));
    node.accept(market.life(STORE, &release));
    (node, market, release)
}

fn count(node: &Node, name: &str) -> (u64, u64) {
    let request = format!("{{\"args\":{{\"id\":\"{name}\",\"type\":\"order\"}},\"route\":\"count\"}}");
    let answer = node.port.query(&STREAM, &id("counter"), request.as_bytes()).unwrap();
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["status"], 200);
    (answer.applied.get(), body["body"]["count"].as_u64().unwrap())
}

fn record(node: &Node) -> Value {
    let (_, plugins) = node.port.plugins(&STREAM).unwrap();
    plugins.into_iter().find(|info| info.plugin == id("counter")).unwrap().record
}

#[test]
fn an_installed_plugin_counts_events_and_proves_its_state_under_the_signed_root() {
    let place = Place::new();
    let (node, mut market) = place.start_ready();
    let wasm = module("counter");
    node.port.put_module(wasm.clone()).unwrap();
    let before = node.accept(orders(&market, 5));
    let release = release_of(&wasm);
    let life = node.accept(market.life(STORE, &release));
    let after = node.accept(orders(&market, 70));
    let roots = node.caught_up();
    assert_eq!(roots.size, node.reader.checkpoint().checkpoint.size);
    assert!(node.outcome(before[0].index).is_empty(), "it was not there yet");
    assert_eq!(node.codes(life[2].index), ["counter accepted"]);
    for receipt in &after {
        assert_eq!(node.codes(receipt.index), ["counter accepted"]);
    }
    let (plugin, key) = (id("counter"), count_key("order", "o-3"));
    let read = node.port.state(&STREAM, &plugin, &key).unwrap();
    assert_eq!((read.applied, read.root), (roots.size, roots.states));
    let at = StateAt { stream: STREAM, plugin: &plugin, key: &key };
    let value = read.value.expect("a count");
    verify_state_value(&roots.states, &at, &value, &read.answer).unwrap();
    assert_eq!(value[..], 10_u64.to_le_bytes());
    assert_eq!(count(&node, "o-3"), (roots.size.get(), 10));
    let absent = node.port.state(&STREAM, &plugin, b"count/none").unwrap();
    verify_state_absent(&roots.states, &StateAt { key: b"count/none", ..at }, &absent.answer).unwrap();
    let nowhere = Stream::new(STREAM.tenant, StoreId::from_bytes([9; 16]));
    let absent = node.port.state(&nowhere, &plugin, &key).unwrap();
    verify_state_absent(&roots.states, &StateAt { stream: nowhere, ..at }, &absent.answer).unwrap();
    let (_, plugins) = node.port.plugins(&STREAM).unwrap();
    assert_eq!((plugins.len(), plugins[0].status, plugins[0].installed), (1, "running", life[2].index));
    assert_eq!(plugins[0].routes[0].path, "/entities/{type}/{id}/count");
    node.stop();
}

#[test]
fn two_plugins_see_the_same_events_and_one_refuses_what_is_not_its_own_way() {
    let place = Place::new();
    let (node, mut market, _) = with_counter(&place);
    node.port.put_module(module("registry")).unwrap();
    let life = market.life(STORE, &release_of(&module("registry")));
    node.accept(life);
    let event = |event_type: &str, payload: &str| market.event(event_type, ("item", "a"), payload);
    let receipts = node.accept(vec![event("catalog.item.withdrawn", "{\"sku\":\"a\"}"), event("other", "{}")]);
    node.caught_up();
    let codes = node.codes(receipts[0].index);
    assert_eq!((codes.len(), codes[0].as_str()), (2, "counter accepted"));
    assert!(codes[1].starts_with("registry rejected"), "{codes:?}");
    assert_eq!(node.codes(receipts[1].index), ["counter accepted"], "the other does not listen to it");
    node.stop();
}

#[test]
fn a_restart_goes_on_and_a_rebuild_from_nothing_comes_to_the_same_roots() {
    let place = Place::new();
    let (node, mut market, release) = with_counter(&place);
    node.accept(orders(&market, 40));
    let first = node.caught_up();
    node.stop();
    let node = place.start();
    common::market::until("shown", || node.reader.outcome_checkpoint().is_some());
    assert_eq!(node.roots(), first, "nothing is applied twice");
    node.accept(orders(&market, 40));
    node.caught_up();
    assert_eq!(count(&node, "o-0").1, 12);
    // The register is right too: it knows the head, and what runs.
    let previous = market.register.head(&STREAM, &release.plugin);
    let config = Config::new(b"{\"a\":1}").unwrap();
    let plugin = release.plugin.clone();
    let configured =
        market.lawful(&PluginEvent::Configured { store_id: STORE, plugin, config, resume: false, previous });
    node.accept(vec![configured]);
    let second = node.caught_up();
    node.stop();
    for clear in [tally_storage::clear_derived, tally_storage::clear_applied] {
        let engine = place.open();
        clear(engine.as_ref()).unwrap();
        engine.flush().unwrap();
        drop(engine);
        let node = place.start();
        assert_eq!(node.caught_up(), second, "deleted and made again");
        assert_eq!(count(&node, "o-0").1, 12);
        let standing = record(&node);
        assert_eq!((&standing["status"], &standing["binding"]["config"]["a"]), (&"running".into(), &1.into()));
        node.stop();
    }
}

#[test]
fn state_is_proven_behind_a_restart_from_what_pages_and_notes_are_stored() {
    let mut place = Place::new();
    let (node, market, _) = with_counter(&place);
    node.accept(orders(&market, 40));
    node.caught_up();
    node.stop();
    let prove = |port: &dyn tally_gateway::PluginPort, roots: common::market::Roots| {
        let (plugin, key) = (id("counter"), count_key("order", "o-3"));
        let read = port.state(&STREAM, &plugin, &key).unwrap();
        assert_eq!((read.applied, read.root), (roots.size, roots.states));
        let at = StateAt { stream: STREAM, plugin: &plugin, key: &key };
        verify_state_value(&roots.states, &at, &read.value.expect("a count"), &read.answer).unwrap();
    };
    // From then on some pages are written and some are noted.
    for noted_keys_max in [30, 1, 1 << 20] {
        place.bounds.noted_keys_max = noted_keys_max;
        let node = place.start();
        for _ in 0..5 {
            node.accept(orders(&market, 11));
            node.caught_up();
        }
        let roots = node.caught_up();
        prove(node.port.as_ref(), roots);
        node.stop();
        // Where nobody applies, as on a node that only reads.
        let engine = place.open();
        let plugins = Plugins::new(&engine, place.bounds, None).unwrap();
        prove(plugins.port.as_ref(), roots);
    }
}

#[test]
fn a_query_answers_as_of_one_size_while_events_are_applied() {
    let place = Place::new();
    let (node, market, _) = with_counter(&place);
    node.caught_up();
    let done = AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answers = Vec::new();
            while !done.load(Ordering::Acquire) {
                answers.push(count(&node, "o-3"));
                let read = node.port.state(&STREAM, &id("counter"), &count_key("order", "o-3")).unwrap();
                let value = read.value.map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap()));
                answers.push((read.applied.get(), value));
            }
            answers
        });
        for _ in 0..60 {
            node.accept(orders(&market, 50));
        }
        node.caught_up();
        done.store(true, Ordering::Release);
        asking.join().unwrap()
    });
    let events = node.reader.events_of_log(Index::new(1), 10_000).unwrap();
    let at: Vec<u64> =
        events.iter().filter(|event| event.frame.entity_id() == "o-3").map(|event| event.index.get()).collect();
    let sizes: std::collections::BTreeSet<u64> = answers.iter().map(|(size, _)| *size).collect();
    assert!(sizes.len() > 5, "asked while it went on: {sizes:?}");
    for (size, counted) in answers {
        assert_eq!(counted, at.iter().filter(|index| **index < size).count() as u64, "at size {size}");
    }
    node.stop();
}

#[test]
fn a_plugin_that_is_not_approved_never_runs() {
    let place = Place::new();
    let (node, mut market) = place.start_ready();
    node.port.put_module(module("counter")).unwrap();
    let release = release_of(&module("counter"));
    // Not submitted, pending, rejected, revoked: in no state but approved it is let in.
    let refused = |node: &Node, market: &Market, why: &str| {
        let reject = node.refuse(market.plugin_frame(&market.installed(STORE, &release)));
        assert_eq!(reject.code, RejectCode::ControlRefused);
        assert!(reject.message.contains(why), "{}", reject.message);
    };
    refused(&node, &market, "no such release");
    let submitted = market.submission(&release);
    node.accept(vec![market.lawful(&submitted)]);
    refused(&node, &market, "not approved");
    let rejected = market.review(&release, Decision::Rejected);
    node.accept(vec![market.lawful(&rejected)]);
    refused(&node, &market, "not approved");
    let revoked = market.review(&release, Decision::Revoked);
    node.accept(vec![market.lawful(&revoked)]);
    refused(&node, &market, "revoked");
    let events = node.accept(orders(&market, 20));
    node.caught_up();
    assert!(events.iter().all(|receipt| node.outcome(receipt.index).is_empty()), "something ran");
    assert!(node.port.plugins(&STREAM).unwrap().1.is_empty());
    assert!(matches!(node.port.query(&STREAM, &id("counter"), b"{}"), Err(PluginPortError::NotFound(_))));
    node.stop();
}

#[test]
fn a_module_that_was_swapped_on_the_disk_halts_applying_and_not_the_log_until_it_is_put_back() {
    let place = Place::new();
    let (node, market, release) = with_counter(&place);
    node.accept(orders(&market, 10));
    node.caught_up();
    node.stop();
    let engine = place.open();
    swap_module(&engine, &release.module, counter("9.9.9"));
    engine.flush().unwrap();
    drop(engine);
    let node = place.start();
    let why = node.why_halted();
    assert!(why.contains("not the module of this hash"), "{why}");
    let receipts = node.accept(orders(&market, 10));
    assert!(node.reader.outcome(receipts[0].index).is_err(), "nothing is decided by another module");
    node.port.put_module(module("counter")).unwrap();
    node.sequencer.retry_apply();
    common::market::until("going on", || node.reader.apply_state() == tally_core::ApplyState::Following);
    node.caught_up();
    assert_eq!(node.codes(receipts[9].index), ["counter accepted"]);
    assert_eq!(count(&node, "o-0").1, 4);
    node.stop();
}

#[test]
fn only_a_rollback_goes_back_and_a_revocation_stops_what_runs() {
    let place = Place::new();
    let (node, mut market, one) = with_counter(&place);
    let approved = |market: &mut Market, version: &str| {
        let wasm = counter(version);
        node.port.put_module(wasm.clone()).unwrap();
        let release = release_of(&wasm);
        let submitted = market.submission(&release);
        node.accept(vec![market.lawful(&submitted)]);
        let reviewed = market.review(&release, Decision::Approved);
        node.accept(vec![market.lawful(&reviewed)]);
        release
    };
    let (old, two) = (approved(&mut market, "0.9.0"), approved(&mut market, "2.0.0"));
    node.accept(orders(&market, 7));
    let upgraded = PluginEvent::Upgraded(market.binding(STORE, &two, "{}"));
    node.accept(vec![market.lawful(&upgraded)]);
    node.accept(orders(&market, 7));
    let refused = |market: &Market, binding: Binding, why: &str| {
        let reject = node.refuse(market.plugin_frame(&PluginEvent::Upgraded(binding)));
        assert!(reject.message.contains(why), "{}", reject.message);
    };
    // Down without a rollback; back to what never ran here.
    let down = |release: &Release, rollback| Binding { rollback, ..market.binding(STORE, release, "{}") };
    refused(&market, down(&one, false), "only a rollback");
    refused(&market, down(&old, true), "a release that was installed here");
    let rolled = PluginEvent::Upgraded(down(&one, true));
    node.accept(vec![market.lawful(&rolled)]);
    let after = node.accept(orders(&market, 7));
    node.caught_up();
    assert_eq!(node.outcome(after[0].index)[0].module, one.module);
    assert_eq!(count(&node, "o-0").1, 3, "its state went with it");
    let history = record(&node);
    let steps: Vec<&str> =
        history["history"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["installed", "upgraded", "rolled_back"]);
    assert!(history["history"].as_array().unwrap().iter().all(|step| step["actor_id"] == ROOT.to_string()));

    let revoked = market.review(&one, Decision::Revoked);
    node.accept(vec![market.lawful(&revoked)]);
    let after = node.accept(orders(&market, 7));
    node.caught_up();
    assert!(after.iter().all(|receipt| node.outcome(receipt.index).is_empty()), "it ran on");
    assert_eq!(record(&node)["status"], "quarantined");
    assert!(matches!(node.port.query(&STREAM, &id("counter"), b"{}"), Err(PluginPortError::NotRunning(_))));
    let removed = PluginEvent::Removed {
        store_id: STORE,
        plugin: id("counter"),
        reason: "revoked".to_owned(),
        previous: market.register.head(&STREAM, &id("counter")),
    };
    node.accept(vec![market.lawful(&removed)]);
    let reject = node.refuse(market.plugin_frame(&market.installed(STORE, &one)));
    assert!(reject.message.contains("revoked"), "{}", reject.message);
    let roots = node.caught_up();
    assert_eq!(roots.states, tally_protocol::hash::StatesRoot::EMPTY, "removed with its state");
    node.stop();
    let engine = place.open();
    tally_storage::clear_applied(engine.as_ref()).unwrap();
    drop(engine);
    let node = place.start();
    assert_eq!(node.caught_up(), roots);
    node.stop();
}

/// One of them is taken, the others are refused.
fn one_of(results: Vec<EventResult>, why: &str) -> Receipt {
    let (mut taken, mut refused) = (Vec::new(), 0);
    for result in results {
        match result {
            EventResult::Accepted(receipt) => taken.push(receipt),
            EventResult::Rejected(reject) => {
                assert!(reject.message.contains(why), "{}", reject.message);
                refused += 1;
            }
            EventResult::Duplicate(_) => panic!("nothing was sent twice"),
        }
    }
    assert!(taken.len() == 1 && refused > 0, "{taken:?}, {refused} refused");
    taken.remove(0)
}

#[test]
fn the_door_refuses_what_no_attestation_review_or_grant_allows() {
    let place = Place::new();
    let (node, mut market) = place.start_ready();
    node.port.put_module(module("counter")).unwrap();
    let release = release_of(&module("counter"));
    let refused = |market: &Market, event: &PluginEvent, why: &str| {
        let reject = node.refuse(market.plugin_frame(event));
        assert!(reject.message.contains(why), "{why}: {}", reject.message);
    };
    let changed = |event: PluginEvent, change: &dyn Fn(&mut tally_protocol::plugin_event::Submission)| {
        let PluginEvent::Submitted(mut submission) = event else { panic!() };
        change(&mut submission);
        PluginEvent::Submitted(submission)
    };
    // The hash that the submitter computed is not the release's; the signature is another's, stale, or of nobody.
    let event = changed(market.submission(&release), &|it| it.release_hash = ReleaseHash::from_bytes([1; 32]));
    refused(&market, &event, "release_hash");
    let event = changed(market.submission(&release), &|it| it.publisher.agent_id = REVIEWER);
    refused(&market, &event, "signature does not verify");
    let stale = tally_protocol::time::LogTime::from_micros(market.now().micros() - 25 * 3_600 * 1_000_000);
    refused(&market, &market.submission_by(&release, PUBLISHER, stale), "too old");
    let stranger = tally_protocol::id::AgentId::from_bytes([77; 16]);
    refused(&market, &market.submission_by(&release, stranger, market.now()), "key is unknown");
    // The same version twice, side by side.
    let mut other = release.clone();
    other.price.amount = 5;
    let both = [market.submission(&release), market.submission(&other)];
    let receipt = one_of(node.submit(both.iter().map(|event| market.plugin_frame(event)).collect()), "exists");
    let first = node.reader.event(receipt.index).unwrap();
    assert_eq!(first.frame.payload(), both[0].payload(), "the first of them");
    market.took(&both[0]).unwrap();
    refused(&market, &market.submission(&other), "exists");
    // Nobody reviews a release of their own; what is pending cannot be revoked.
    refused(&market, &market.review_by(&release, Decision::Approved, PUBLISHER), "of their own");
    refused(&market, &market.review(&release, Decision::Revoked), "cannot become");
    let approved = market.review(&release, Decision::Approved);
    node.accept(vec![market.lawful(&approved)]);
    refused(&market, &market.review(&release, Decision::Rejected), "cannot become");
    // More is granted than the release asks for.
    let mut binding = market.binding(STORE, &release, "{}");
    binding.granted.insert("emit".to_owned());
    refused(&market, &PluginEvent::Installed(binding), "more is granted");
    // Installed twice, side by side: once.
    let installs: Vec<Frame> = (0..4).map(|_| market.plugin_frame(&market.installed(STORE, &release))).collect();
    let receipt = one_of(node.submit(installs), "installed here");
    let installed = market.installed(STORE, &release);
    market.took(&installed).unwrap();
    node.caught_up();
    assert_eq!(node.codes(receipt.index), ["counter accepted"]);
    let shown = record(&node);
    assert_eq!(shown["installed_by"], ROOT.to_string());
    assert_eq!(shown["release"]["reviews"][0]["reviewer_id"], REVIEWER.to_string());
    // An ordinary agent has no say, and an ordinary stream no such events.
    let agents = Market::of(market.ledger, STREAM.tenant, (AGENT, common::market::key(AGENT)));
    assert_eq!(node.refuse(agents.plugin_frame(&installed)).code, RejectCode::ReservedStream);
    assert_eq!(
        node.refuse(market.event("tally.plugin.installed", ("a", "b"), "{}")).code,
        RejectCode::ReservedEventType
    );
    node.stop();
}

#[test]
fn the_gate_refuses_what_this_host_could_not_apply_and_the_log_goes_on() {
    let place = Place::new();
    let (node, mut market) = place.start_ready();
    let release = release_of(&module("counter"));
    node.port.put_module(module("counter")).unwrap();
    let submitted = market.submission(&release);
    node.accept(vec![market.lawful(&submitted)]);
    let approved = market.review(&release, Decision::Approved);
    node.accept(vec![market.lawful(&approved)]);
    forget_module(&node.engine, &release.module);
    let refused = |frame: Frame, why: &str| {
        let reject = node.refuse(frame);
        assert!(reject.message.contains(why), "{why}: {}", reject.message);
    };
    let install = |market: &Market, change: &dyn Fn(&mut Binding)| {
        let mut binding = market.binding(STORE, &release, "{}");
        change(&mut binding);
        market.plugin_frame(&PluginEvent::Installed(binding))
    };
    refused(install(&market, &|_| {}), "not stored");
    refused(install(&market, &|binding| binding.profile = ProfileId::from_bytes([5; 32])), "profile");
    refused(market.plugin_payload("tally.plugin.installed", "counter", b"{\"a\":1}"), "payload");
    // Other bytes than the hash says.
    swap_module(&node.engine, &release.module, Bytes::from_static(b"\0asm\x01\0\0\0"));
    refused(install(&market, &|_| {}), "cannot be read");
    assert!(matches!(node.port.put_module(Bytes::from_static(b"no module")), Err(PluginPortError::Refused(_))));
    let other = Bytes::from_static(b"\0asm\x01\0\0\0");
    assert!(matches!(node.port.put_module(other), Err(PluginPortError::Refused(_))));
    assert_eq!(node.port.put_module(module("counter")).unwrap(), release.module);
    assert_eq!(node.port.module(release.module).unwrap(), module("counter"));
    let frame = install(&market, &|_| {});
    let receipt = node.accept(vec![frame.clone()]).remove(0);
    node.caught_up();
    assert_eq!(node.codes(receipt.index), ["counter accepted"]);
    // What is in the log keeps its receipt, whatever the gate would say today.
    swap_module(&node.engine, &release.module, Bytes::from_static(b"gone"));
    assert!(
        matches!(node.submit(vec![frame]).remove(0), EventResult::Duplicate(again) if again.index == receipt.index)
    );
    node.stop();
}

#[test]
fn an_approval_names_the_report_that_this_node_makes_and_findings_that_block_are_overridden_by_a_root_agent_only() {
    let place = Place::new();
    let (node, mut market) = place.start_ready();
    let refused = |frame: Frame, why: &str| {
        let EventResult::Rejected(reject) = node.submit_unasked(vec![frame]).remove(0) else { panic!("taken: {why}") };
        assert_eq!(reject.code, RejectCode::ControlRefused);
        assert!(reject.message.contains(why), "{why}: {}", reject.message);
    };
    let release = release_of(&module("counter"));
    let submitted = market.submission(&release);
    node.accept(vec![market.lawful(&submitted)]);
    let approval = market.review(&release, Decision::Approved);
    // Without the module there is no report, and without the report no approval.
    assert!(matches!(node.port.report(&release), Err(PluginPortError::NotFound(_))));
    refused(market.plugin_frame(&approval), "has not made the release's report");
    node.port.put_module(module("counter")).unwrap();
    refused(market.plugin_frame(&approval), "has not made the release's report");
    let made = node.port.report(&release).unwrap();
    let PluginEvent::Reviewed { review, .. } = &approval else { unreachable!() };
    assert_eq!((made.hash, made.blocking), (review.report, 0));
    // Whoever signs something else than what the machine says is not heard.
    let other = market.signed_review(Review { report: ReportHash::from_bytes([4; 32]), ..review.clone() }, REVIEWER);
    refused(market.plugin_frame(&other), "names another report");
    let more = market.signed_review(Review { blocking: 1, overrides: true, ..review.clone() }, ROOT);
    refused(market.plugin_frame(&more), "findings that block");
    node.accept(vec![market.lawful(&approval)]);

    // A release that claims more than its manifest: the report blocks, and only a root agent sets it aside.
    let mut greedy = release_of(&counter("2.0.0"));
    greedy.permissions.insert("emit".to_owned());
    node.port.put_module(counter("2.0.0")).unwrap();
    let submitted = market.submission(&greedy);
    node.accept(vec![market.lawful(&submitted)]);
    assert!(node.port.report(&greedy).unwrap().blocking > 0);
    let approval = market.review(&greedy, Decision::Approved);
    let PluginEvent::Reviewed { review, .. } = &approval else { unreachable!() };
    refused(market.plugin_frame(&approval), "block");
    let hidden = market.signed_review(Review { blocking: 0, ..review.clone() }, REVIEWER);
    refused(market.plugin_frame(&hidden), "findings that block");
    let overriding = market.signed_review(Review { overrides: true, ..review.clone() }, REVIEWER);
    refused(market.plugin_frame(&overriding), "root agent");
    let rejected = market.review(&greedy, Decision::Rejected);
    node.accept(vec![market.lawful(&rejected)]);
    node.stop();
}

#[test]
fn a_module_is_taken_only_if_a_child_process_came_through_with_it() {
    let mut place = Place::new();
    place.compiler = Some("/bin/false".into());
    let node = place.start();
    let refused = node.port.put_module(module("counter"));
    assert!(
        matches!(&refused, Err(PluginPortError::Refused(why)) if why.contains("more than compiling")),
        "{refused:?}"
    );
    assert!(matches!(node.port.module(release_of(&module("counter")).module), Err(PluginPortError::NotFound(_))));
    node.stop();
    place.compiler = Some(env!("CARGO_BIN_EXE_tally").into());
    let node = place.start();
    node.port.put_module(module("counter")).unwrap();
    node.stop();
}

#[test]
fn effects_logs_and_registries_are_shown_of_what_is_there() {
    let place = Place::new();
    let (node, market, release) = with_counter(&place);
    node.accept(orders(&market, 3));
    node.caught_up();
    assert!(node.port.effects(None, 10).unwrap().is_empty());
    assert!(node.port.logs(&STREAM, &id("counter"), None, 10).unwrap().is_empty());
    let nobody = PluginId::new("nobody").unwrap();
    assert!(matches!(node.port.logs(&STREAM, &nobody, None, 10), Err(PluginPortError::NotFound(_))));
    let (_, shelf) = node.port.plugins(&market.registry()).unwrap();
    assert_eq!((shelf.len(), shelf[0].status, shelf[0].module), (1, "approved", release.module));
    assert_eq!(shelf[0].record["head"], market.register.head(&market.registry(), &release.plugin).to_hex());
    let runs = record(&node);
    assert_eq!(runs["head"], market.register.head(&STREAM, &release.plugin).to_hex());
    assert_eq!(runs["binding"]["module_hash"], release.module.to_hex());
    node.stop();
}
