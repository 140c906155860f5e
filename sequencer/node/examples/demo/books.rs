//! The demo's books: packages as signed SKUs with their real files, buyers who pay through the provider, a kill in the
//! middle, every sale settled by Finance, a refund, a dispute that is lost, payouts; then every account is compared.
//!
//! Books are right if five agree: the plugin's own accounts (their sum is zero in every currency), another program that
//! balances the exported journals, the provider's records, Finance's, and the log executed again.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use tally_connectors::finance::FlatProof;
use tally_connectors::objects::config::OBJECT_BYTES_MAX;
use tally_connectors::objects::file::FileStore;
use tally_plugin::json::Json;
use tally_protocol::hash;
use tally_protocol::jcs;

use crate::catalogue::Item;
use crate::shop::{Caller, Seller, Shop};
use crate::{payouts, plugins, say};

const SELLERS: usize = 6;
const SKUS: usize = 36;
const BUYERS: usize = 12;
const ORDERS: usize = 120;
const CURRENCIES: [&str; 2] = ["EUR", "USD"];
/// How many of Finance's answers are lost on the way.
const LOST_ANSWERS: usize = 1;

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What is for sale.
struct Sku {
    id: String,
    amount: u64,
    currency: &'static str,
}

/// An order as its buyer knows it.
struct Bought {
    buyer: usize,
    order: String,
    sku: usize,
}

/// Plays it; gives the promised line.
pub(crate) async fn keep(binary: &Path, folder: &Path, workspace: &Path, items: &[Item]) -> Result<String, String> {
    let began = Instant::now();
    let mut shop = Shop::open(binary, folder, workspace, LOST_ANSWERS).await?;
    let (sellers, skus) = publish(&shop, folder, items).await?;
    say(&format!(
        "shop   {} SKUs published by {SELLERS} sellers, their files stored by content, in {:.1} s",
        skus.len(),
        began.elapsed().as_secs_f64()
    ));
    let (buyers, bought) = buy(&mut shop, &skus).await?;
    settled(&shop, &bought, &skus)?;
    let lost = trouble(&shop, &buyers, &bought, &skus)?;
    payouts::pay(&shop, &sellers).await?;
    compare(&shop, folder, &bought, &skus, &lost)?;
    let (data, profile) = shop.close()?;
    let replayed = plugins::replay(binary, data, folder, profile)?;
    say(&format!("replay {replayed}"));
    Ok(format!("books ok: {} orders, {} currencies balanced, replay equal", bought.len(), CURRENCIES.len()))
}

/// Finance has every order once, with its amount, and the journals have Finance's proofs.
fn settled(shop: &Shop, bought: &[Bought], skus: &[Sku]) -> Result<(), String> {
    let (all, (kid, key)) = (shop.settlements.settled(), shop.settlements.key());
    for bought in bought {
        let sku = &skus[bought.sku];
        let mine: Vec<_> = all.iter().filter(|settled| settled.order == bought.order).collect();
        let [one] = mine[..] else {
            return Err(format!("Finance has {} settlements of the order {}", mine.len(), bought.order));
        };
        if (one.amount, &*one.currency) != (sku.amount, sku.currency) {
            return Err(format!("the order {} of {} {} is settled as {one:?}", bought.order, sku.amount, sku.currency));
        }
        let path = format!("/journal/{}", one.journal);
        let journal = shop.wait(&shop.finance, &path, |journal| !journal["proof"].is_null())?;
        let proof: FlatProof = serde_json::from_value(journal["proof"]["proof"].clone()).map_err(words)?;
        proof.verified(&[(kid.to_owned(), key)]).map_err(words)?;
        if one.proof()["signature"] != proof.signature.as_str() {
            return Err(format!("the journal {} holds another proof than Finance gave", one.journal));
        }
    }
    if all.len() != bought.len() {
        return Err(format!("Finance has {} settlements for {} orders", all.len(), bought.len()));
    }
    say(&format!(
        "settle {} settlements at Finance, one an order and of its amount; {LOST_ANSWERS} answer lost and looked up, \
         {} asked for twice; every journal holds Finance's proof, verified",
        all.len(),
        shop.settlements.repeated()
    ));
    Ok(())
}

/// Every seller's key is registered, every package's file stored and every version signed.
async fn publish(shop: &Shop, folder: &Path, items: &[Item]) -> Result<(Vec<Seller>, Vec<Sku>), String> {
    let store = FileStore::open(&folder.join("objects"), OBJECT_BYTES_MAX).map_err(words)?;
    let mut sellers = Vec::new();
    for at in 0..SELLERS {
        let seller = Seller::new(shop).await?;
        let body = json!({
            "for": seller.caller.principal, "key": seller.key.public_key().to_hex(), "signer": format!("seller-{at}"),
        });
        shop.command(&shop.admin, "/signers", &format!("signer-{at}"), &body)?;
        sellers.push(seller);
    }
    let mut skus = Vec::new();
    for (at, item) in items.iter().take(SKUS).enumerate() {
        let bytes = item.read()?;
        let name = hash::object(&bytes);
        if name.to_string() != item.checksum {
            return Err(format!("{} is not the file that the lock names", item.sku()));
        }
        store.put_now(&name, bytes.into(), None).map_err(words)?;
        skus.push(publish_one(shop, &sellers[at % SELLERS], at, item)?);
    }
    let listed = shop.question(&shop.admin, "/sku?limit=100")?;
    match listed["rows"].as_array().map(Vec::len) {
        Some(rows) if rows == skus.len() => Ok((sellers, skus)),
        rows => Err(format!("{} SKUs were published, {rows:?} are listed", skus.len())),
    }
}

fn publish_one(shop: &Shop, seller: &Seller, at: usize, item: &Item) -> Result<Sku, String> {
    let id = item.sku().replace(['@', '+'], "_");
    let sku = Sku { id, amount: item.price_cents(), currency: CURRENCIES[at % CURRENCIES.len()] };
    let other = if at.is_multiple_of(3) { 1_500 } else { 0 };
    let mut parties = vec![
        json!({"bps": 9_000 - other, "party": seller.caller.principal, "role": "owner"}),
        json!({"bps": 1_000, "party": "platform", "role": "platform"}),
    ];
    if other > 0 {
        parties.push(json!({"bps": other, "party": "agent:upstream", "role": "third"}));
    }
    let manifest = json!({
        "amount": sku.amount, "category": "crate", "currency": sku.currency, "free": false, "licence_policy": "per-seat",
        "artifacts": [{"media_type": "application/gzip", "name": format!("{}.crate", item.name), "sha256": item.checksum, "size": item.size_bytes}],
        "description": format!("The package {} as it was published.", item.name), "name": item.name, "preview": "none",
        "split": {"base": "net", "parties": parties}, "tags": ["rust"],
    });
    shop.command(&seller.caller, &format!("/sku/{}", sku.id), &format!("draft-{at}"), &manifest)?;
    let signed = json!({"manifest": manifest, "owner": seller.caller.principal, "sku": sku.id, "version": 1});
    let digest = hash::object(&jcs::canonicalize(signed.to_string().as_bytes()).map_err(words)?);
    let signature = seller.key.sign(&[b"TALLY_SKU_MANIFEST_V1", &digest.as_bytes()[..]].concat());
    let body = json!({
        "key": seller.key.public_key().to_hex(), "manifest_sha256": digest.to_string(),
        "signature": hash::hex(signature.as_bytes()), "version": 1,
    });
    shop.command(&seller.caller, &format!("/sku/{}/publish", sku.id), &format!("publish-{at}"), &body)?;
    Ok(sku)
}

/// Everybody buys; in the middle the node is killed, with payments on their way.
async fn buy(shop: &mut Shop, skus: &[Sku]) -> Result<(Vec<Caller>, Vec<Bought>), String> {
    let began = Instant::now();
    let mut buyers = Vec::new();
    for _ in 0..BUYERS {
        buyers.push(shop.caller().await?);
    }
    let mut bought = Vec::new();
    for at in 0..ORDERS {
        if at == ORDERS / 2 {
            shop.kill()?;
            shop.start(&[])?;
        }
        let (buyer, sku) = (at % BUYERS, at * 7 % skus.len());
        let body = json!({"paymentMethod": shop.provider.card()?, "skuId": skus[sku].id});
        let key = format!("order-{at}");
        let first = shop.post(&buyers[buyer], "/purchase", &key, &body)?;
        let order = first.json["result"]["order"].as_str();
        let order = order.ok_or_else(|| format!("no order: {}", first.text))?.to_owned();
        // Whoever did not hear the answer asks again, and buys once.
        let again = shop.post(&buyers[buyer], "/purchase", &key, &body)?;
        if again.text != first.text {
            return Err(format!("a repeated purchase is answered otherwise: {} and {}", first.text, again.text));
        }
        bought.push(Bought { buyer, order, sku });
    }
    for bought in &bought {
        shop.wait(&buyers[bought.buyer], &format!("/order/{}", bought.order), |order| order["status"] == "settled")?;
    }
    say(&format!(
        "shop   {} orders by {BUYERS} buyers, each asked for twice, all paid and settled; the node killed among them; in {:.1} s",
        bought.len(),
        began.elapsed().as_secs_f64()
    ));
    Ok((buyers, bought))
}

/// One order is refunded, another disputed and lost. Gives the lost amount and its currency.
fn trouble(shop: &Shop, buyers: &[Caller], bought: &[Bought], skus: &[Sku]) -> Result<(u64, &'static str), String> {
    let [refunded, disputed] = [&bought[0], &bought[1]];
    let sku = &skus[refunded.sku];
    let body = json!({"amount": sku.amount, "reason": "the wrong one"});
    shop.command(&buyers[refunded.buyer], &format!("/refund/{}", refunded.order), "refund", &body)?;
    let path = format!("/order/{}", refunded.order);
    shop.wait(&buyers[refunded.buyer], &path, |order| order["status"] == "refunded")?;
    let (path, buyer, sku) = (format!("/order/{}", disputed.order), &buyers[disputed.buyer], &skus[disputed.sku]);
    let payment = shop.question(buyer, &path)?["payment"].clone();
    let message = |id: &str, name: &str, status: &str| {
        json!({
            "id": id, "object": "event", "type": name, "livemode": false, "data": {"object": {
                "id": "dp_1", "object": "dispute", "amount": sku.amount, "currency": sku.currency.to_lowercase(),
                "livemode": false, "payment_intent": payment, "status": status,
            }},
        })
    };
    let opened = message("evt_1", "charge.dispute.created", "needs_response");
    let told = [
        (shop.message(&opened, Some("whsec_of_somebody_else"))?, 400),
        (shop.message(&opened, None)?, 200),
        (shop.message(&opened, None)?, 200),
        (shop.message(&message("evt_2", "charge.dispute.closed", "lost"), None)?, 200),
    ];
    if told.iter().any(|(status, expected)| status != expected) {
        return Err(format!("messages about a dispute are answered with {told:?}"));
    }
    shop.wait(buyer, &path, |order| order["status"] == "charged_back")?;
    say("shop   one order refunded, one disputed and lost; a message with a foreign signature refused");
    Ok((sku.amount, sku.currency))
}

/// The accounts against each other, another program, and the provider.
fn compare(shop: &Shop, folder: &Path, bought: &[Bought], skus: &[Sku], lost: &(u64, &str)) -> Result<(), String> {
    let journal = folder.join("books.journal");
    std::fs::write(&journal, journals(shop)?).map_err(words)?;
    hledger(&journal, &["check"])?;
    let provider = &shop.provider;
    let (payments, refunds, paid_out) =
        (provider.all("payment_intents")?, provider.all("refunds")?, provider.all("payouts")?);
    for currency in CURRENCIES {
        let accounts = accounts(shop, currency)?;
        let sum: i64 = accounts.iter().map(|(_, balance)| balance).sum();
        if sum != 0 {
            return Err(format!("the accounts in {currency} add up to {sum}"));
        }
        let psp = accounts.iter().find(|(account, _)| account == "psp").map_or(0, |(_, balance)| *balance);
        let of = |list: &[Value], wanted: &str| -> i64 {
            let mine =
                list.iter().filter(|it| it["currency"] == currency.to_lowercase().as_str() && it["status"] == wanted);
            mine.filter_map(|it| it["amount"].as_i64()).sum()
        };
        let taken = if lost.1 == currency { i64::try_from(lost.0).map_err(words)? } else { 0 };
        let expected = of(&payments, "succeeded") - of(&refunds, "succeeded") - taken - of(&paid_out, "paid");
        let sold: u64 =
            bought.iter().map(|it| &skus[it.sku]).filter(|it| it.currency == currency).map(|it| it.amount).sum();
        if psp != expected || of(&payments, "succeeded") != i64::try_from(sold).map_err(words)? {
            return Err(format!(
                "in {currency} we hold {psp}, the provider's records say {expected}, and {sold} were sold"
            ));
        }
        let foreign =
            hledger(&journal, &["balance", "assets:psp", &format!("cur:{currency} minor"), "--output-format", "csv"])?;
        if !foreign.contains(&format!("{psp} ")) {
            return Err(format!("hledger does not find {psp} in {currency}: {foreign}"));
        }
        say(&format!(
            "books  {currency}: {} accounts add up to 0; the provider, hledger and we say {psp}",
            accounts.len()
        ));
    }
    Ok(())
}

fn accounts(shop: &Shop, currency: &str) -> Result<Vec<(String, i64)>, String> {
    let mut all = Vec::new();
    for page in pages(shop, &format!("/books?currency={currency}"))? {
        for row in page["accounts"].as_array().ok_or("books without accounts")? {
            let account = row["account"].as_str().ok_or("an account without a name")?;
            all.push((account.to_owned(), row["balance"].as_i64().ok_or("an account without a balance")?));
        }
    }
    Ok(all)
}

fn journals(shop: &Shop) -> Result<String, String> {
    let mut text = String::new();
    for page in pages(shop, "/journals?limit=100")? {
        let rows = page["rows"].to_string();
        let json = Json::parse(rows.as_bytes()).map_err(|_| "journals that are not canonical")?;
        text += &tally_royalty::hledger::transactions(json).ok_or("a journal that is none")?;
    }
    Ok(text)
}

fn pages(shop: &Shop, path: &str) -> Result<Vec<Value>, String> {
    let mut pages: Vec<Value> = Vec::new();
    loop {
        let after = pages.last().and_then(|page| page["after"].as_str()).map(|after| format!("&after={after}"));
        if after.is_none() && !pages.is_empty() {
            return Ok(pages);
        }
        pages.push(shop.question(&shop.finance, &format!("{path}{}", after.unwrap_or_default()))?);
    }
}

fn hledger(journal: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("hledger").arg("-f").arg(journal).args(arguments).output();
    let output = output.map_err(|error| format!("hledger is missing: install Debian's `hledger`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("hledger {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim_end()))
}
