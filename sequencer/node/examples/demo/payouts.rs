//! Sellers are paid: what was held is released, people approve, the provider pays out, its bank says so.
//!
//! localstripe has no Connect, so there are no transfers to sellers' accounts: the connector makes payouts of the shop's own
//! balance to bank accounts (`payout_by = "payout"`). It pays out in EUR alone; what a seller asks for in another currency
//! it refuses, and the money is the seller's again. The demo plays the bank: it tells the provider that a payout arrived.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::say;
use crate::shop::{Caller, Seller, Shop};

/// How long releases and payouts may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The provider sends a message once, so the bank says it again until it was heard.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// Pays every seller who has something in EUR, and lets the provider refuse one in USD.
pub(crate) async fn pay(shop: &Shop, sellers: &[Seller]) -> Result<(), String> {
    release(shop).await?;
    let (mut paid, mut sum, mut approvals) = (0, 0, 0);
    for (at, seller) in sellers.iter().enumerate() {
        let amount = available(shop, &seller.caller, "EUR")?;
        if amount > 0 {
            let (id, approved) = request(shop, &seller.caller, ("EUR", amount), at)?;
            arrive(shop, &seller.caller, &id, amount)?;
            if available(shop, &seller.caller, "EUR")? != 0 {
                return Err(format!("{} was paid out and has something left", seller.caller.principal));
            }
            (paid, sum, approvals) = (paid + 1, sum + amount, approvals + approved);
        }
    }
    if paid == 0 || approvals == 0 {
        return Err(format!("{paid} sellers were paid, with {approvals} approvals"));
    }
    say(&format!(
        "payout {paid} sellers paid {sum} in EUR to bank accounts, after {approvals} approvals; approvals by the sellers \
         and by one person twice refused"
    ));
    refuse(shop, sellers).await
}

/// Ticks until nothing is held.
async fn release(shop: &Shop) -> Result<(), String> {
    let began = Instant::now();
    let is_held = |page: &Value| {
        let accounts = page["accounts"].as_array().into_iter().flatten();
        accounts.filter_map(|row| row["account"].as_str()).any(|name| name.starts_with("held/"))
    };
    loop {
        shop.tick().await?;
        let books = ["EUR", "USD"].map(|currency| shop.question(&shop.finance, &format!("/books?currency={currency}")));
        let [eur, usd] = books;
        if !is_held(&eur?) && !is_held(&usd?) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err("money is still held, though its time has come".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn available(shop: &Shop, seller: &Caller, currency: &str) -> Result<u64, String> {
    let statement = shop.question(seller, &format!("/owner/{}/sales?currency={currency}", seller.principal))?;
    statement["closing"]["avail"].as_u64().ok_or_else(|| format!("a statement without a closing: {statement}"))
}

/// Asked for by the seller, approved by as many as it needs; gives the payout and how many there were.
fn request(shop: &Shop, seller: &Caller, money: (&str, u64), at: usize) -> Result<(String, usize), String> {
    let (currency, amount) = money;
    let body = json!({
        "account": format!("ba_of_seller_{at}"), "amount": amount, "currency": currency, "party": seller.principal,
    });
    let asked = shop.command(seller, "/payout", &format!("payout-{currency}"), &body)?;
    let id = asked["payout"].as_str().ok_or_else(|| format!("no payout: {asked}"))?.to_owned();
    let needed = usize::try_from(asked["needed"].as_u64().unwrap_or_default()).map_err(|error| error.to_string())?;
    let path = format!("/payout/{id}/approve");
    for (nth, approver) in shop.approvers.iter().take(needed).enumerate() {
        let mut foreign = vec![(seller, "own")];
        foreign.extend(nth.checked_sub(1).map(|last| (&shop.approvers[last], "again")));
        for (nobody, key) in foreign {
            let answer = shop.post(nobody, &path, &format!("{id}-{key}-{nth}"), &json!({}))?;
            if answer.json["ok"] == true {
                return Err(format!("a payout was approved by who may not: {}", answer.text));
            }
        }
        shop.command(approver, &path, &format!("approve-{id}"), &json!({}))?;
    }
    Ok((id, needed))
}

/// The provider has it on its way; the bank has it; the books hear of it.
fn arrive(shop: &Shop, seller: &Caller, id: &str, amount: u64) -> Result<(), String> {
    let path = format!("/payout/{id}");
    let sent = shop.wait(seller, &path, |payout| payout["state"] != "requested" && payout["state"] != "released")?;
    let all = shop.provider.all("payouts")?;
    let mine: Vec<&Value> = all.iter().filter(|payout| payout["metadata"]["payout"] == id).collect();
    let [one] = mine[..] else {
        return Err(format!("the provider has {} payouts for one, which is {sent}", mine.len()));
    };
    if one["amount"] != amount || one["currency"] != "eur" || sent["state"] != "transit" {
        return Err(format!("a payout of {amount} is {one} at the provider, and {sent} here"));
    }
    let there = format!("/v1/payouts/{}", one["id"].as_str().unwrap_or_default());
    let began = Instant::now();
    loop {
        shop.provider.ask("POST", &there, &[("status", "paid")])?;
        let told = Instant::now();
        while told.elapsed() < SAY_AGAIN {
            if shop.question(seller, &path)?["state"] == "paid" {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("the payout {id} was paid, and the books do not hear of it"));
        }
    }
}

/// What the provider does not pay comes back.
async fn refuse(shop: &Shop, sellers: &[Seller]) -> Result<(), String> {
    for (at, seller) in sellers.iter().enumerate() {
        let amount = available(shop, &seller.caller, "USD")?;
        if amount == 0 {
            continue;
        }
        let (id, _) = request(shop, &seller.caller, ("USD", amount), at)?;
        shop.wait(&seller.caller, &format!("/payout/{id}"), |payout| payout["state"] == "failed")?;
        release(shop).await?;
        let again = available(shop, &seller.caller, "USD")?;
        if again != amount {
            return Err(format!("a refused payout of {amount} left {again}"));
        }
        say(&format!("payout {amount} in USD refused by the provider, which pays out in EUR alone, and given back"));
        return Ok(());
    }
    Err("no seller has anything in USD".to_owned())
}
