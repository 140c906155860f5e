//! The counter against a map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tally_counter::Counter;
use tally_plugin::json::{Json, Object};
use tally_plugin::test_host::{TestEvent, TestHost, Verdict};

fn ask(host: &mut TestHost<Counter>, entity_type: &str, id: &str) -> (u64, Option<u64>) {
    let args = Object::new().text("type", entity_type).text("id", id).finish();
    let answer = host.query(&Object::new().raw("args", &args).text("route", "count").finish());
    let json = Json::parse(&answer).expect("canonical JSON");
    let status = json.get("status").and_then(Json::u64).expect("a status");
    (status, json.get("body").and_then(|body| body.get("count")?.u64()))
}

proptest! {
    #[test]
    fn every_entity_has_as_many_as_it_had_events(
        events in prop::collection::vec((0..3_usize, prop_oneof!["[a-c]{0,2}", "[ab]{240,512}"]), 0..40),
    ) {
        let kinds = ["item", "order", ""];
        let mut host = TestHost::<Counter>::new();
        let mut model = BTreeMap::new();
        for (kind, id) in &events {
            let outcome = host.apply_one(TestEvent::new("any", kinds[*kind], id, *b"{}"));
            prop_assert_eq!(outcome.verdict, Verdict::Accepted);
            *model.entry((*kind, id.clone())).or_insert(0_u64) += 1;
        }
        for ((kind, id), count) in &model {
            prop_assert_eq!(ask(&mut host, kinds[*kind], id), (200, Some(*count)));
        }
        prop_assert_eq!(host.host().state.len(), model.len());
        prop_assert_eq!(ask(&mut host, "item", "never"), (200, Some(0)));
    }

    #[test]
    fn no_request_breaks_it(request in prop::collection::vec(any::<u8>(), 0..40)) {
        let answer = TestHost::<Counter>::new().query(&request);
        prop_assert!(Json::parse(&answer).is_ok());
    }
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let mut host = TestHost::<Counter>::new();
    let mut status =
        |request: &[u8]| Json::parse(&host.query(request)).expect("JSON").get("status").and_then(Json::u64);
    assert_eq!(status(br#"{"args":{},"route":"count"}"#), Some(400));
    assert_eq!(status(br#"{"args":{},"route":"total"}"#), Some(404));
    assert_eq!(status(b"nothing"), Some(404));
}
