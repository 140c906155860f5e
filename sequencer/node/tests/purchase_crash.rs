//! Purchases over the death of a node: whatever step it dies at, the agent that asks again buys once, the provider has one
//! payment and one refund, Finance one settlement, and books, provider and replay agree.
//!
//! The node is the real binary with the market's plugins, the provider is localstripe, Finance is the demo's; the shop that
//! joins them is the demo's too. The agent quotes, buys at the quote, waits until the order is settled, and wants a part of
//! the money back; it knows nothing of the node's deaths but that an answer did not come. With the feature `failpoints`
//! the node aborts at each named point; without, it is killed between the agent's steps and at arbitrary moments.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]
#![allow(clippy::print_stdout, reason = "a failure is read beside the case it happened in")]
#![allow(dead_code, reason = "the demo's shop has more than a test needs")]

#[path = "../examples/demo/catalogue.rs"]
mod catalogue;
#[path = "../examples/demo/finance.rs"]
mod finance;
#[path = "../examples/demo/http.rs"]
mod http;
#[path = "../examples/demo/node.rs"]
mod node;
#[path = "../examples/demo/plugins.rs"]
mod plugins;
#[path = "../examples/demo/shop.rs"]
mod shop;

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tally_protocol::{hash, jcs};

use shop::{Caller, Seller, Shop};

const TALLY: &str = env!("CARGO_BIN_EXE_tally");
const AMOUNT: u64 = 4_999;
const BACK: u64 = 1_666;
const PATIENCE: Duration = Duration::from_secs(120);
const SIGABRT: i32 = 6;

fn say(_: &str) {}

fn describe(error: &tally_client::ClientError) -> String {
    tally::connect::failure(error).message
}

fn read_key(path: &Path) -> Result<String, String> {
    let text = tally::keyfile::read_private(path).map_err(|failure| failure.to_string())?;
    Ok(text.trim_end().to_owned())
}

/// A shop with something for sale, its buyer, and what was bought so far.
struct Street {
    shop: Shop,
    buyer: Caller,
    bought: Vec<String>,
    /// How often the node ended by itself.
    deaths: usize,
    /// The fail point of the node that takes the place of one that died.
    then: Option<&'static str>,
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

/// When the agent's node is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The quote is known.
    Quoted,
    /// So many milliseconds after the order was asked for, whether it was answered or not.
    Ordering(u64),
    /// The order is settled.
    Settled,
    /// So many milliseconds after a refund was asked for.
    Refunding(u64),
}

impl Street {
    fn new() -> Self {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), tokio::runtime::Runtime::new().unwrap());
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (shop, seller, buyer) = runtime.block_on(async {
            let shop = Shop::open(TALLY.as_ref(), &folder.path().join("shop"), &workspace, 0).await.unwrap();
            let (seller, buyer) = (Seller::new(&shop).await.unwrap(), shop.caller().await.unwrap());
            (shop, seller, buyer)
        });
        publish(&shop, &seller);
        Self { shop, buyer, bought: Vec::new(), deaths: 0, then: None, folder, runtime }
    }

    /// A node with a fail point.
    fn start(&mut self, fail_point: Option<&str>) {
        let environment: Vec<(&str, &str)> = fail_point.iter().map(|point| ("TALLY_FAILPOINT", *point)).collect();
        if let Err(why) = self.shop.start(&environment) {
            // It died before it said that it runs.
            assert!(fail_point.is_some() && why.contains("signal: 6"), "{why}");
            self.deaths += 1;
            self.shop.start(&[]).unwrap();
        }
    }

    /// The node is gone, or is killed now: another takes its place.
    fn revive(&mut self) {
        if self.shop.kill().unwrap().signal() == Some(SIGABRT) {
            self.deaths += 1;
        }
        let then = self.then.take();
        self.start(then);
    }

    /// Asks until there is an answer; a node that does not answer is dead.
    fn until<T>(&mut self, what: &str, ask: impl Fn(&Shop, &Caller) -> Result<Option<T>, String>) -> T {
        let (began, buyer) = (Instant::now(), self.buyer.clone());
        loop {
            match ask(&self.shop, &buyer) {
                Ok(Some(answer)) => return answer,
                Ok(None) => std::thread::sleep(Duration::from_millis(20)),
                Err(why) => {
                    let before = self.deaths;
                    self.revive();
                    assert!(self.deaths > before, "{what}: the node lives and does not answer: {why}");
                }
            }
            assert!(began.elapsed() < PATIENCE, "{what} takes too long");
        }
    }

    fn command(&mut self, path: &str, key: &str, body: &Value) -> Value {
        self.until(path, |shop, buyer| {
            let answer = shop.post(buyer, path, key, body)?;
            let is_busy = answer.status == 429 || answer.json["error"]["code"] == "IDEMPOTENCY_IN_FLIGHT";
            let later = is_busy || answer.json["pending"] == true;
            match answer.json["ok"].as_bool() {
                None => Err(format!("half an answer: {}", answer.text)),
                _ if later => Ok(None),
                Some(true) => Ok(Some(answer.json["result"].clone())),
                Some(false) => panic!("{path} is answered with {}: {}", answer.status, answer.text),
            }
        })
    }

    fn wait(&mut self, order: &str, status: &str) -> Value {
        let path = format!("/order/{order}");
        self.until(status, |shop, buyer| {
            match shop.question(buyer, &path) {
                // Its plugins are not there yet, or are busy, but it lives.
                Err(why) if ["503", "429"].iter().any(|status| why.contains(&format!("is answered with {status}"))) => {
                    Ok(None)
                }
                view => view.map(|view| (view["status"] == status).then_some(view)),
            }
        })
    }

    fn kill_if(&mut self, asked: Option<Moment>, now: Moment) {
        if asked == Some(now) {
            self.revive();
        }
    }

    /// A command, during which the node is killed so many milliseconds after it was sent.
    fn command_killed(&mut self, path: &str, key: &str, body: &Value, millis: u64) -> Value {
        let (shop, buyer) = (&self.shop, &self.buyer);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| shop.post(buyer, path, key, body));
            std::thread::sleep(Duration::from_millis(millis));
            shop.shoot().unwrap();
            // The answer came or did not; the agent asks again in any case.
            let _ = asking.join().unwrap();
        });
        self.revive();
        self.command(path, key, body)
    }

    /// Quote, purchase, settlement, refund; the node is killed at a moment, or dies by itself.
    fn buy(&mut self, kill: Option<Moment>) {
        let nth = self.bought.len();
        let quote = self.command("/quote", &format!("quote-{nth}"), &json!({"quantity": 1, "sku": "thing"}));
        self.kill_if(kill, Moment::Quoted);
        let card = self.shop.provider.card().unwrap();
        let wish = json!({"paymentMethod": card, "quote": quote["quote"]["quote"], "skuId": "thing"});
        let key = format!("order-{nth}");
        let made = match kill {
            Some(Moment::Ordering(millis)) => self.command_killed("/purchase", &key, &wish, millis),
            _ => self.command("/purchase", &key, &wish),
        };
        let order = made["order"].as_str().unwrap().to_owned();
        self.wait(&order, "settled");
        self.kill_if(kill, Moment::Settled);
        let (path, key) = (format!("/refund/{order}"), format!("refund-{nth}"));
        let wish = json!({"amount": BACK, "reason": "a third of it does not work"});
        match kill {
            Some(Moment::Refunding(millis)) => self.command_killed(&path, &key, &wish, millis),
            _ => self.command(&path, &key, &wish),
        };
        self.wait(&order, "partially_refunded");
        // What the agent asked for twice is what it asked for once.
        assert_eq!(self.command("/quote", &format!("quote-{nth}"), &json!({"quantity": 1, "sku": "thing"})), quote);
        self.bought.push(order);
    }

    /// Each order was paid, settled and partly refunded once, by everybody's records; the log executed again says the same.
    fn check(mut self) -> usize {
        let count = self.bought.len();
        let listed = self.shop.question(&self.buyer, "/orders?limit=100").unwrap();
        assert_eq!(listed["rows"].as_array().unwrap().len(), count, "an order that nobody asked for");
        let (payments, refunds) =
            (self.shop.provider.all("payment_intents").unwrap(), self.shop.provider.all("refunds").unwrap());
        let settled = self.shop.settlements.settled();
        assert_eq!((payments.len(), refunds.len(), settled.len()), (count, count, count));
        for order in &self.bought {
            let of = |list: &[Value]| -> Vec<(u64, String)> {
                let mine = list.iter().filter(|it| it["metadata"]["order"] == order.as_str());
                mine.map(|it| (it["amount"].as_u64().unwrap(), it["status"].as_str().unwrap().to_owned())).collect()
            };
            assert_eq!(of(&payments), [(AMOUNT, "succeeded".to_owned())], "{order}");
            assert_eq!(of(&refunds), [(BACK, "succeeded".to_owned())], "{order}");
            let mine: Vec<u64> =
                settled.iter().filter(|settled| settled.order == *order).map(|settled| settled.amount).collect();
            assert_eq!(mine, [AMOUNT], "{order}");
        }
        let books = self.shop.question(&self.shop.finance, "/books?currency=EUR").unwrap();
        let accounts: Vec<(&str, i64)> = books["accounts"].as_array().unwrap().iter().map(account).collect();
        assert_eq!(accounts.iter().map(|(_, balance)| balance).sum::<i64>(), 0, "{books}");
        let psp = accounts.iter().find(|(name, _)| *name == "psp").unwrap().1;
        assert_eq!(psp, i64::try_from((AMOUNT - BACK) * u64::try_from(count).unwrap()).unwrap());
        let faults = self.shop.question(&self.shop.finance, "/faults").unwrap();
        assert_eq!(faults["rows"], json!([]));
        let (data, profile) = self.shop.close().unwrap();
        let replayed = plugins::replay(TALLY.as_ref(), data, self.folder.path(), profile).unwrap();
        assert!(replayed.starts_with("replay ok: "), "{replayed}");
        count
    }
}

fn account(row: &Value) -> (&str, i64) {
    (row["account"].as_str().unwrap(), row["balance"].as_i64().unwrap())
}

/// Something for sale, with a split that does not divide evenly.
fn publish(shop: &Shop, seller: &Seller) {
    let (owner, key) = (&seller.caller.principal, seller.key.public_key().to_hex());
    let signer = json!({"for": owner, "key": key, "reason": "the seller showed it", "signer": "the-seller"});
    shop.command(&shop.admin, "/signers", "signer", &signer).unwrap();
    let manifest = json!({
        "amount": AMOUNT, "artifacts": [{"media_type": "text/plain", "name": "thing", "sha256": "07".repeat(32), "size": 7}],
        "category": "thing", "currency": "EUR", "description": "A thing.", "free": false, "licence_policy": "per-seat",
        "name": "thing", "preview": "none", "split": {"base": "net", "parties": [
            {"bps": 8_333, "party": owner, "role": "owner"}, {"bps": 1_000, "party": "platform", "role": "platform"},
            {"bps": 667, "party": "agent:upstream", "role": "third"},
        ]}, "tags": [],
    });
    shop.command(&seller.caller, "/sku/thing", "draft", &manifest).unwrap();
    let signed = json!({"manifest": manifest, "owner": owner, "sku": "thing", "version": 1});
    let digest = hash::object(&jcs::canonicalize(signed.to_string().as_bytes()).unwrap());
    let signature = seller.key.sign(&[b"TALLY_SKU_MANIFEST_V1", &digest.as_bytes()[..]].concat());
    let body = json!({
        "key": key, "manifest_sha256": digest.to_string(), "signature": hash::hex(signature.as_bytes()), "version": 1,
    });
    shop.command(&seller.caller, "/sku/thing/publish", "publish", &body).unwrap();
}

/// Every case on one of two streets, side by side.
fn on_two_streets<T: Copy + Send + std::fmt::Debug>(cases: &[T], play: impl Fn(&mut Street, T) + Sync) {
    let left = Mutex::new(cases.iter().copied().collect::<VecDeque<T>>());
    let next = || left.lock().unwrap().pop_front();
    let count: usize = std::thread::scope(|scope| {
        let lane = || {
            let mut street = Street::new();
            while let Some(case) = next() {
                println!("at {case:?}");
                play(&mut street, case);
            }
            street.check()
        };
        let lanes = [scope.spawn(lane), scope.spawn(lane)];
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    assert_eq!(count, cases.len());
}

#[test]
fn the_payment_of_an_order_is_known_by_reference_and_amount_before_its_money_moves() {
    let mut street = Street::new();
    // A card whose bank wants to ask its holder first: the payment is made, and nothing is captured.
    let card = street.shop.provider.card_of("4000002500003155").unwrap();
    let made = street.command("/purchase", "order", &json!({"paymentMethod": card, "skuId": "thing"}));
    let order = made["order"].as_str().unwrap().to_owned();
    let path = format!("/order/{order}");
    let is_known = |view: &Value| view["payments"].as_array().is_some_and(|payments| !payments.is_empty());
    let view = street.shop.wait(&street.buyer, &path, is_known).unwrap();
    let payments = street.shop.provider.all("payment_intents").unwrap();
    let [intent] = &payments[..] else { panic!("{payments:?}") };
    assert_eq!((&intent["status"], &intent["amount"]), (&json!("requires_action"), &json!(AMOUNT)));
    assert_eq!((&view["status"], &view["amount"]), (&json!("pending"), &json!(AMOUNT)));
    assert_eq!(view["totals"]["captured"], 0);
    assert_eq!(view["payments"], json!([{"id": intent["id"], "state": "processing"}]));
    // The log has it for auditors: the connector's answer names reference, amount, currency and order.
    let told = street.runtime.block_on(told_of(&street.shop, &order));
    let expected = json!({
        "account": shop::ACCOUNT, "amount": AMOUNT, "currency": "EUR", "id": intent["id"], "livemode": false,
        "object": "payment", "order": order, "provider": "stripe", "state": "requires_action",
    });
    assert_eq!(told, [expected]);
    assert!(street.shop.settlements.settled().is_empty());
    let books = street.shop.question(&street.shop.finance, "/books?currency=EUR").unwrap();
    assert!(books["accounts"].as_array().unwrap().iter().all(|row| row["balance"] == 0), "{books}");
}

/// The facts in the answers to an order's effects, read from the log.
async fn told_of(shop: &Shop, order: &str) -> Vec<Value> {
    use tally_protocol::id::{Sequence, Stream};

    let stream = Stream::new(shop.profile.tenant_id, shop.profile.store_id);
    let mut facts = Vec::new();
    for event in shop.clerk.stream_events(stream, Sequence::new(1), 1_000).await.unwrap().events {
        if event.frame.event_type() == "effect.answered" {
            let body: Value = serde_json::from_slice(event.frame.payload()).unwrap();
            if body["suffix"] == order {
                facts.extend(body["result"]["facts"].as_array().unwrap().iter().cloned());
            }
        }
    }
    facts
}

#[cfg(not(feature = "failpoints"))]
#[test]
fn a_node_that_is_killed_between_the_steps_of_a_purchase_sells_once() {
    let byte = || u64::from(tally::random::bytes::<1>().unwrap()[0]);
    let cases = [
        Moment::Quoted,
        Moment::Ordering(0),
        Moment::Ordering(30),
        Moment::Ordering(60),
        Moment::Ordering(100 + byte()),
        Moment::Ordering(100 + byte()),
        Moment::Settled,
        Moment::Refunding(0),
        Moment::Refunding(40),
        Moment::Refunding(byte()),
    ];
    on_two_streets(&cases, |street, moment| street.buy(Some(moment)));
}

#[cfg(feature = "failpoints")]
#[test]
fn a_node_that_dies_between_any_two_steps_of_a_purchase_sells_once() {
    /// The effects of a purchase: its payment, its settlement, its refund.
    const EFFECTS: [u64; 3] = [1, 2, 3];
    let mut cases: Vec<(&'static str, u64, Option<&'static str>)> = Vec::new();
    for point in tally::effects::FAIL_POINTS {
        // Where an outcome is unknown: a node that died in the call, and one that dies when it asks what came of it.
        let looks = point.starts_with("effects.look");
        cases.extend(
            EFFECTS.map(|nth| if looks { ("effects.attempted", nth, Some(*point)) } else { (*point, nth, None) }),
        );
    }
    // The order and the payment's answer, before and behind the write of what the plugins made of them.
    for point in ["apply.before_write", "apply.after_write", "apply.committed"] {
        cases.extend([2, 3].map(|nth| (point, nth, None)));
    }
    // The order, on its way into the log.
    cases.extend(
        ["order.assigned", "append.before_write", "append.after_write", "sign.done"].map(|point| (point, 2, None)),
    );
    on_two_streets(&cases, |street, (point, nth, then)| {
        let before = street.deaths;
        // Stopped in peace, so that the purchase before it leaves nothing to do.
        street.shop.close().unwrap();
        street.start(Some(&format!("{point}:{nth}")));
        street.then = then;
        street.buy(None);
        let expected = if then.is_some() { 2 } else { 1 };
        assert_eq!(street.deaths - before, expected, "{point} was not passed {nth} times, or {then:?} never");
    });
}
