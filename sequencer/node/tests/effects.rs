//! Effects of a real plugin, done by a real provider over HTTP: once each, in order, answered by an event; and what happens
//! where the provider, the log or the configuration is not as it should be.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::sync::Arc;

use common::market::{AGENT, Place, STREAM, key, until};
use common::provider::{CONNECTOR, Dispatching, Fault, Provider, answers, ask, listed, states, until_all, with_payer};
use common::{Home, code, err, out};
use serde_json::json;
use tally_gateway::{EffectAction, EffectPortError};
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash::{self, EffectId};
use tally_protocol::id::{KeyId, TreeSize};
use tally_storage::{DispatchFloor, Outbox};

#[test]
fn what_a_plugin_asks_for_is_done_once_and_answered_by_an_event_of_the_connector() {
    let place = Place::new();
    let (node, market) = with_payer(&place);
    node.accept(vec![market.key_registered(CONNECTOR)]);
    let provider = Provider::closed();
    let dispatching = Dispatching::start(&node, provider.address);
    provider.will("\"pd\"", [Fault::DoneAndGarbled]);
    provider.will("\"pe\"", [Fault::DoneAndSilent]);
    provider.will("\"pf\"", [Fault::Declined]);
    let bodies = ["\"pa\"", "\"pb\"", "\"pc\"", "\"pd\"", "\"pe\"", "\"pf\""];
    node.accept(bodies.iter().map(|body| ask(&market, body)).collect());
    until("refused connections", || states(&node).iter().filter(|state| *state == "not_done").count() >= 4);
    assert!(answers(&node).is_empty());
    provider.open();
    until_all(&node, "answered", 6);
    let mut done = provider.bodies();
    done.sort();
    assert_eq!(done, bodies[..5]);
    for (index, record) in listed(&node) {
        let effect = EffectId::from_hex(record["effect_id"].as_str().unwrap()).unwrap();
        let event = node.reader.event_by_id(STREAM, hash::answer_event_id(&effect, 0)).unwrap();
        assert_eq!(record["answer_index"], event.index.get());
        assert!(event.index > index);
        let suffix = record["suffix"].as_str().unwrap();
        let (status, result) = match suffix {
            "f" => ("failed", json!({ "code": "declined", "request_sha256": hash::object(b"\"pf\"").to_string() })),
            _ => ("done", json!({ "receipt": provider.done().iter().position(|(key, _)| *key == effect.to_hex()) })),
        };
        let body = json!({
            "effect": effect.to_hex(), "kind": "payment", "plugin": "payer", "result": result, "status": status,
            "suffix": suffix,
        });
        assert!(answers(&node).contains(&(effect.to_hex(), body, CONNECTOR)));
    }
    assert_eq!(answers(&node).len(), 6);
    until("counted", || dispatching.metric("tally_effects_answered_total{connector=\"payment\"}") == 6);
    assert!(dispatching.metric("tally_effects_attempts_total{connector=\"payment\"}") > 6);
    for gauge in ["waiting", "in_flight", "unknown", "decided", "dead"] {
        assert_eq!(dispatching.metric(&format!("tally_effects_{gauge}{{connector=\"payment\"}}")), 0, "{gauge}");
    }
    drop(dispatching);
    node.stop();
}

#[test]
fn a_start_reads_no_effect_again_that_was_answered_and_every_one_that_was_not() {
    let place = Place::new();
    let (node, market) = with_payer(&place);
    node.accept(vec![market.key_registered(CONNECTOR)]);
    let provider = Provider::start(true);
    let read = |dispatching: &Dispatching| dispatching.metric("tally_effects_read_total");
    let floor = || Outbox::new(Arc::clone(&node.engine)).floor().unwrap().map(|floor| floor.last.index);
    let dispatching = Dispatching::start(&node, provider.address);
    let asked = node.accept((0..5).map(|_| ask(&market, "\"pa\"")).collect());
    until_all(&node, "answered", 5);
    until("a floor", || floor() == Some(asked[4].index));
    assert_eq!(read(&dispatching), 5);
    drop(dispatching);
    // One that stays open, one behind it that does not: the floor stays below the first.
    provider.will("\"pb\"", [Fault::Senseless]);
    let open = node.accept(vec![ask(&market, "\"pb\""), ask(&market, "\"pc\"")]);
    let dispatching = Dispatching::start(&node, provider.address);
    until("both", || states(&node)[5..] == ["dead", "answered"]);
    until("a floor", || floor() >= Some(asked[4].index) && floor() < Some(open[0].index));
    assert_eq!(read(&dispatching), 2);
    drop(dispatching);
    let dispatching = Dispatching::start(&node, provider.address);
    until("a dead letter", || dispatching.metric("tally_effects_dead{connector=\"payment\"}") == 1);
    assert_eq!(read(&dispatching), 2);
    // A floor of a longer log counts for nothing.
    drop(dispatching);
    let outbox = Outbox::new(Arc::clone(&node.engine));
    let size = TreeSize::new(node.reader.ladder().signed.get() + 1);
    outbox.put_floor(DispatchFloor { size, ..outbox.floor().unwrap().unwrap() }).unwrap();
    let dispatching = Dispatching::start(&node, provider.address);
    until("all of them", || read(&dispatching) == 7);
    drop(dispatching);
    node.stop();
}

#[test]
fn a_line_waits_for_its_first_and_others_do_not() {
    let place = Place::new();
    let (node, market) = with_payer(&place);
    node.accept(vec![market.key_registered(CONNECTOR)]);
    let provider = Provider::start(true);
    provider.will("\"pa1\"", [Fault::Senseless]);
    let dispatching = Dispatching::start(&node, provider.address);
    let bodies = ["\"pa1\"", "\"pa2\"", "\"pb1\"", "\"pb2\""];
    let asked = node.accept(bodies.iter().map(|body| ask(&market, body)).collect());
    let first = asked[0].index;
    until("the other line", || states(&node) == ["dead", "waiting", "answered", "answered"]);
    assert_eq!(provider.bodies(), ["\"pb1\"", "\"pb2\""]);
    until("counted", || dispatching.metric("tally_effects_dead{connector=\"payment\"}") == 1);
    let act = |index, number, action| dispatching.port.act(index, number, action);
    let waiting = Err(EffectPortError::NotDead("waiting".to_owned()));
    assert_eq!(act(asked[1].index, 0, EffectAction::Retry), waiting);
    assert_eq!(act(first, 1, EffectAction::Fail), Err(EffectPortError::NotFound));
    // The provider has seen reason; the order stays.
    assert_eq!(act(first, 0, EffectAction::Retry), Ok("outcome_unknown"));
    until_all(&node, "answered", 4);
    assert_eq!(provider.bodies()[2..], ["\"pa1\"", "\"pa2\""]);
    assert_eq!(act(first, 0, EffectAction::Fail), Err(EffectPortError::NotDead("answered".to_owned())));
    assert_eq!(dispatching.metric("tally_effects_dead{connector=\"payment\"}"), 0);
    drop(dispatching);
    node.stop();
}

#[test]
fn a_dead_letter_that_an_operator_gives_up_is_answered_as_failed_and_lets_its_line_go_on() {
    let place = Place::new();
    let (node, market) = with_payer(&place);
    node.accept(vec![market.key_registered(CONNECTOR)]);
    let provider = Provider::start(true);
    provider.will("\"pa1\"", [Fault::Senseless]);
    let dispatching = Dispatching::start(&node, provider.address);
    let asked = node.accept(vec![ask(&market, "\"pa1\""), ask(&market, "\"pa2\"")]);
    until("a dead letter", || states(&node) == ["dead", "waiting"]);
    // It stays one over a restart.
    drop(dispatching);
    let dispatching = Dispatching::start(&node, provider.address);
    until("a dead letter", || dispatching.metric("tally_effects_dead{connector=\"payment\"}") == 1);
    assert_eq!(dispatching.port.act(asked[0].index, 0, EffectAction::Fail), Ok("decided"));
    until_all(&node, "answered", 2);
    assert_eq!(provider.bodies(), ["\"pa2\""]);
    let answers = answers(&node);
    let given_up = json!({ "code": "operator", "request_sha256": hash::object(b"\"pa1\"").to_string() });
    assert_eq!((&answers[0].1["status"], &answers[0].1["result"]), (&json!("failed"), &given_up));
    assert_eq!((answers.len(), &answers[1].1["status"]), (2, &json!("done")));
    drop(dispatching);
    node.stop();
}

#[test]
fn an_effect_without_a_connector_waits_and_is_counted() {
    let place = Place::new();
    let (node, market) = with_payer(&place);
    node.accept(vec![market.key_registered(CONNECTOR)]);
    let provider = Provider::start(true);
    let dispatching = Dispatching::start(&node, provider.address);
    let asked = node.accept(vec![ask(&market, "\"ma\""), ask(&market, "\"pa\"")]);
    until("the payment", || states(&node) == ["waiting", "answered"]);
    assert_eq!(dispatching.metric("tally_effects_waiting{connector=\"\"}"), 1);
    let refused = dispatching.port.act(asked[0].index, 0, EffectAction::Fail);
    assert_eq!(refused, Err(EffectPortError::NotDead("waiting".to_owned())));
    drop(dispatching);
    node.stop();
}

#[test]
fn an_answer_waits_for_its_agents_key_and_passes_over_ids_that_others_took() {
    let place = Place::new();
    let (node, market) = with_payer(&place);
    let provider = Provider::start(true);
    let dispatching = Dispatching::start(&node, provider.address);
    node.accept(vec![ask(&market, "\"pa\"")]);
    until("a refusal", || listed(&node).iter().any(|(_, record)| !record["reason"].is_null()));
    let (_, record) = listed(&node).pop().unwrap();
    assert_eq!(record["state"], "decided");
    assert!(record["reason"].as_str().unwrap().contains("no such key"), "{record}");
    // Somebody who may write to the stream takes the id, in the answer's own words.
    let effect = EffectId::from_hex(record["effect_id"].as_str().unwrap()).unwrap();
    let (payload, id) = (b"{}", hash::answer_event_id(&effect, 0));
    let entity = ("effect", effect.to_hex());
    let at = market.now().to_rfc3339();
    let agent = (AGENT, KeyId::new(1));
    let fields = EventFields::plain(STREAM, id, agent, (entity.0, &entity.1), "effect.answered", &at, payload);
    node.accept(vec![Frame::build(&fields, payload, |hash| key(AGENT).sign(hash.as_bytes())).unwrap()]);
    node.accept(vec![market.key_registered(CONNECTOR)]);
    until_all(&node, "answered", 1);
    let event = node.reader.event_by_id(STREAM, hash::answer_event_id(&effect, 1)).unwrap();
    assert_eq!(event.frame.agent_id(), CONNECTOR);
    assert_eq!(provider.bodies().len(), 1);
    drop(dispatching);
    // A dispatcher that starts anew takes the answer for what it is.
    let dispatching = Dispatching::start(&node, provider.address);
    node.accept(vec![ask(&market, "\"pa\"")]);
    until_all(&node, "answered", 2);
    assert_eq!((answers(&node).len(), provider.bodies().len()), (3, 2));
    drop(dispatching);
    node.stop();
}

#[test]
fn a_node_that_takes_no_events_dispatches_nothing() {
    let place = Place::new();
    let (node, market) = with_payer(&place);
    node.accept(vec![market.key_registered(CONNECTOR)]);
    let provider = Provider::closed();
    let asked = node.accept(vec![ask(&market, "\"pa\"")]);
    node.caught_up();
    node.sequencer.stop_extending("another log is on the chain");
    provider.open();
    let dispatching = Dispatching::start(&node, provider.address);
    until("its end", || dispatching.metric("tally_effects_ended") == 1);
    let refused = dispatching.port.act(asked[0].index, 0, EffectAction::Retry);
    assert!(matches!(refused, Err(EffectPortError::Unavailable(_))), "{refused:?}");
    assert!(provider.done().is_empty());
    assert_eq!(states(&node), ["waiting"]);
    drop(dispatching);
    node.stop();
}

#[test]
fn an_operator_lists_effects_and_speaks_about_them_from_the_command_line() {
    let home = Home::new();
    let node = home.start();
    let listed = home.tally(&["effects", "list", "--json"]);
    assert_eq!((code(&listed), out(&listed)), (0, String::new()), "{}", err(&listed));
    for action in ["retry", "fail"] {
        let refused = home.tally(&["effects", action, "1-0"]);
        assert_eq!(code(&refused), 4, "{}", err(&refused));
        assert!(err(&refused).contains("no such effect"), "{}", err(&refused));
    }
    let refused = home.tally(&["effects", "retry", "1"]);
    assert_eq!(code(&refused), 2);
    node.stop();
}
