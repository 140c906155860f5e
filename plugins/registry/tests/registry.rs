//! The registry against a model in plain maps, its rules one by one, and its pages.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tally_plugin::json::{Json, Object};
use tally_plugin::test_host::{TestEvent, TestHost, Verdict};
use tally_registry::Registry;

fn agent_text(agent: u8) -> String {
    let hex = format!("{agent:02x}").repeat(16);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[derive(Clone, Debug)]
struct Listing {
    agent: u8,
    sku: String,
    name: String,
    price: u64,
    bytes: u8,
}

#[derive(Clone, Debug)]
struct Order {
    buyer: u8,
    id: String,
    sku: String,
    seller: u8,
    quantity: u64,
    total: u64,
    bytes: u8,
}

#[derive(Clone, Debug)]
enum Act {
    List(Listing),
    Withdraw(u8, String),
    Order(Order),
}

fn digest(bytes: u8) -> String {
    format!("{bytes:02x}").repeat(32)
}

impl Act {
    fn event(&self) -> TestEvent {
        match self {
            Self::List(l) => {
                let body = Object::new().text("name", &l.name).text("version", "1").text("sha256", &digest(l.bytes));
                let body = body.number("size_bytes", 5).number("price_cents", l.price).text("currency", "EUR");
                TestEvent::new("catalog.item.listed", "item", &l.sku, body.finish()).by(l.agent)
            }
            Self::Withdraw(agent, sku) => TestEvent::new("catalog.item.withdrawn", "item", sku, *b"{}").by(*agent),
            Self::Order(o) => {
                let body = Object::new().text("sku", &o.sku).text("sha256", &digest(o.bytes));
                let body = body.text("seller", &agent_text(o.seller)).number("quantity", o.quantity);
                let body = body.number("total_cents", o.total).text("currency", "EUR");
                TestEvent::new("order.placed", "order", &o.id, body.finish()).by(o.buyer)
            }
        }
    }
}

#[derive(Clone, Debug)]
struct ModelItem {
    listing: Listing,
    withdrawn: bool,
    sold: u64,
}

#[derive(Default, Debug)]
struct Model {
    items: BTreeMap<String, ModelItem>,
    orders: BTreeMap<String, Order>,
}

impl Model {
    fn apply(&mut self, act: &Act) -> Result<(), &'static str> {
        match act {
            Act::List(listing) => {
                let old = self.items.get(&listing.sku);
                if old.is_some_and(|old| old.listing.agent != listing.agent) {
                    return Err("not_owner");
                }
                let sold = old.map_or(0, |old| old.sold);
                self.items.insert(listing.sku.clone(), ModelItem { listing: listing.clone(), withdrawn: false, sold });
            }
            Act::Withdraw(agent, sku) => {
                let item = self.items.get_mut(sku).ok_or("no_item")?;
                if item.listing.agent != *agent {
                    return Err("not_owner");
                }
                item.withdrawn = true;
            }
            Act::Order(order) => {
                if self.orders.contains_key(&order.id) {
                    return Err("order_exists");
                }
                let item = self.items.get_mut(&order.sku).ok_or("no_item")?;
                if item.withdrawn {
                    return Err("withdrawn");
                }
                if item.listing.agent != order.seller {
                    return Err("other_seller");
                }
                if item.listing.bytes != order.bytes {
                    return Err("other_bytes");
                }
                if order.quantity == 0 || order.quantity * item.listing.price != order.total {
                    return Err("other_price");
                }
                item.sold += order.quantity;
                self.orders.insert(order.id.clone(), order.clone());
            }
        }
        Ok(())
    }
}

fn acts() -> impl Strategy<Value = Act> {
    let (agent, sku, bytes) = (1..3_u8, "[ab]!?c?", prop::sample::select(vec![0, 0, 0, 1_u8]));
    let list = (agent.clone(), sku, "[xy]x?", 10..13_u64, bytes.clone())
        .prop_map(|(agent, sku, name, price, bytes)| Act::List(Listing { agent, sku, name, price, bytes }));
    let order = (3..6_u8, "o[0-9]", sku, agent.clone(), (0..4_u64, 10..13_u64), bytes).prop_map(
        |(buyer, id, sku, seller, (quantity, price), bytes)| {
            Act::Order(Order { buyer, id, sku, seller, quantity, total: quantity * price, bytes })
        },
    );
    let withdraw = (agent, sku).prop_map(|(agent, sku)| Act::Withdraw(agent, sku));
    prop_oneof![4 => list, 6 => order, 1 => withdraw]
}

fn ask(host: &mut TestHost<Registry>, route: &str, args: &[(&str, &str)]) -> (u64, Vec<u8>) {
    let args = args.iter().fold(Object::new(), |object, (name, value)| object.text(name, value)).finish();
    let answer = host.query(&Object::new().raw("args", &args).text("route", route).finish());
    let json = Json::parse(&answer).expect("canonical JSON");
    let status = json.get("status").and_then(Json::u64).expect("a status");
    (status, json.get("body").expect("a body").raw().as_bytes().to_vec())
}

/// All pages of a search, by the text that names each row.
fn pages(host: &mut TestHost<Registry>, route: &str, args: &[(&str, &str)], name: &str, limit: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut args = args.to_vec();
        args.push(("limit", limit));
        args.extend(after.as_deref().map(|after| ("after", after)));
        let (status, body) = ask(host, route, &args);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let json = Json::parse(&body).expect("canonical JSON");
        let rows: Vec<_> = json.get("rows").into_iter().flat_map(Json::items).collect();
        assert!(rows.len() as u64 <= limit.parse().expect("a number"));
        names.extend(rows.iter().map(|row| row.get(name).and_then(Json::text).expect("a name").into_owned()));
        match json.get("after").and_then(Json::text) {
            Some(next) => after = Some(next.into_owned()),
            None => return names,
        }
    }
}

proptest! {
    #[test]
    fn rules_rows_and_indexes_are_those_of_the_model(list in prop::collection::vec(acts(), 0..60), limit in 1..5_u8) {
        let mut host = TestHost::<Registry>::new();
        let mut model = Model::default();
        for act in &list {
            let verdict = host.apply_one(act.event()).verdict;
            let expected = match model.apply(act) {
                Ok(()) => Verdict::Accepted,
                Err(code) => Verdict::Rejected(code.into()),
            };
            prop_assert_eq!(verdict, expected, "{:?}", act);
        }
        let limit = limit.to_string();
        let skus = |wanted: &dyn Fn(&ModelItem) -> bool| -> Vec<String> {
            model.items.iter().filter(|(_, item)| wanted(item)).map(|(sku, _)| sku.clone()).collect()
        };
        prop_assert_eq!(pages(&mut host, "items", &[], "sku", &limit), skus(&|_| true));
        for agent in 1..3 {
            let owner = agent_text(agent);
            let found = pages(&mut host, "items", &[("owner", &owner)], "sku", &limit);
            prop_assert_eq!(found, skus(&|item| item.listing.agent == agent));
        }
        for name in ["x", "xx", "y", "yx"] {
            let found = pages(&mut host, "items", &[("name", name)], "sku", &limit);
            prop_assert_eq!(found, skus(&|item| !item.withdrawn && item.listing.name == name));
        }
        for (min, max) in [(0, 9), (10, 11), (11, 11), (12, 99), (0, u64::MAX)] {
            let (from, to) = (min.to_string(), max.to_string());
            let args = [("currency", "EUR"), ("price_min", from.as_str()), ("price_max", to.as_str())];
            let mut found = pages(&mut host, "items", &args, "sku", &limit);
            found.sort();
            prop_assert_eq!(found, skus(&|item| !item.withdrawn && (min..=max).contains(&item.listing.price)));
        }
        let ids = |wanted: &dyn Fn(&Order) -> bool| -> Vec<String> {
            model.orders.values().filter(|order| wanted(order)).map(|order| order.id.clone()).collect()
        };
        prop_assert_eq!(pages(&mut host, "orders", &[], "id", &limit), ids(&|_| true));
        for buyer in 3..6 {
            let text = agent_text(buyer);
            prop_assert_eq!(pages(&mut host, "orders", &[("buyer", &text)], "id", &limit), ids(&|o| o.buyer == buyer));
        }
        for sku in model.items.keys() {
            prop_assert_eq!(pages(&mut host, "orders", &[("sku", sku)], "id", &limit), ids(&|o| o.sku == *sku));
            let (_, body) = ask(&mut host, "item", &[("sku", sku)]);
            let json = Json::parse(&body).expect("canonical JSON");
            prop_assert_eq!(json.get("sold").and_then(Json::u64), Some(model.items[sku].sold));
            prop_assert_eq!(json.get("withdrawn").and_then(Json::bool), Some(model.items[sku].withdrawn));
        }
        let (_, stats) = ask(&mut host, "stats", &[]);
        let json = Json::parse(&stats).expect("canonical JSON");
        let sum = |number: &dyn Fn(&Order) -> u64| model.orders.values().map(number).sum::<u64>();
        prop_assert_eq!(json.get("items").and_then(Json::u64), Some(model.items.len() as u64));
        prop_assert_eq!(json.get("orders").and_then(Json::u64), Some(model.orders.len() as u64));
        prop_assert_eq!(json.get("pieces").and_then(Json::u64), Some(sum(&|order| order.quantity)));
        let cents = json.get("cents").and_then(|cents| cents.get("EUR")?.u64()).unwrap_or(0);
        prop_assert_eq!(cents, sum(&|order| order.total));
    }

    #[test]
    fn no_body_and_no_request_break_it(body in prop::collection::vec(any::<u8>(), 0..60), kind in 0..3_usize) {
        let kind = ["catalog.item.listed", "catalog.item.withdrawn", "order.placed"][kind];
        let mut host = TestHost::<Registry>::new();
        let outcome = host.apply_one(TestEvent::new(kind, "item", "a", body.clone()));
        prop_assert!(matches!(outcome.verdict, Verdict::Rejected(_)), "{:?}", outcome.verdict);
        prop_assert!(Json::parse(&host.query(&body)).is_ok());
    }
}

fn lamp() -> Act {
    Act::List(Listing { agent: 1, sku: "lamp".into(), name: "lamp".into(), price: 10, bytes: 0 })
}

fn verdict(host: &mut TestHost<Registry>, event: TestEvent) -> Verdict {
    host.apply_one(event).verdict
}

#[test]
fn what_another_plugin_emits_changes_nothing() {
    let mut host = TestHost::<Registry>::new();
    let derived = TestEvent { derived: true, ..lamp().event() };
    assert_eq!(verdict(&mut host, derived), Verdict::Rejected("unsigned".into()));
    assert!(host.host().state.is_empty());
}

#[test]
fn names_that_do_not_fit_keys_are_refused_by_rule_and_not_by_limit() {
    let mut host = TestHost::<Registry>::new();
    for (length, fits) in [(0, false), (1, true), (112, true), (113, false), (512, false)] {
        let name = "n".repeat(length);
        let act = Act::List(Listing { agent: 1, sku: name.clone(), name, price: 10, bytes: 0 });
        let expected = if fits { Verdict::Accepted } else { Verdict::Rejected("malformed".into()) };
        assert_eq!(verdict(&mut host, act.event()), expected, "{length}");
    }
    let zero = Act::List(Listing { agent: 1, sku: "a\0".into(), name: "a".into(), price: 10, bytes: 0 });
    assert_eq!(verdict(&mut host, zero.event()), Verdict::Rejected("malformed".into()));
}

#[test]
fn sums_that_json_cannot_hold_are_refused() {
    let mut host = TestHost::<Registry>::new();
    let price = (1 << 52) - 1;
    let dear = Act::List(Listing { agent: 1, sku: "dear".into(), name: "dear".into(), price, bytes: 0 });
    assert_eq!(verdict(&mut host, dear.event()), Verdict::Accepted);
    let order = |id: &str, quantity: u64| {
        let (sku, total) = ("dear".into(), quantity * price);
        Act::Order(Order { buyer: 3, id: id.into(), sku, seller: 1, quantity, total, bytes: 0 }).event()
    };
    assert_eq!(verdict(&mut host, order("1", 1)), Verdict::Accepted);
    assert_eq!(verdict(&mut host, order("2", 1)), Verdict::Accepted);
    assert_eq!(verdict(&mut host, order("3", 1)), Verdict::Rejected("overflow".into()));
    assert_eq!(ask(&mut host, "stats", &[]).0, 200);
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let mut host = TestHost::<Registry>::new();
    assert_eq!(verdict(&mut host, lamp().event()), Verdict::Accepted);
    for (route, args, status) in [
        ("item", vec![("sku", "lamp")], 200),
        ("item", vec![("sku", "none")], 404),
        ("item", vec![], 400),
        ("nothing", vec![], 404),
        ("items", vec![("limit", "0")], 400),
        ("items", vec![("limit", "101")], 400),
        ("items", vec![("limit", "many")], 400),
        ("items", vec![("owner", "me")], 400),
        ("items", vec![("owner", "01010101-0101-0101-0101-01010101010")], 400),
        ("items", vec![("currency", "euro")], 400),
        ("items", vec![("after", "6f7264")], 400),
        ("items", vec![("after", "xyz")], 400),
    ] {
        assert_eq!(ask(&mut host, route, &args).0, status, "{route} {args:?}");
    }
    let long = "s".repeat(600);
    assert_eq!(ask(&mut host, "item", &[("sku", &long)]).0, 404);
}
