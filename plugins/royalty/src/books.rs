//! Every account of a currency, for finance: debit balances, whose sum is zero.
//!
//! Takes a currency and a page; gives what is nobody's first, then payouts on their way, then parties. Accounts with nothing
//! in them are left out.

use alloc::vec::Vec;

use tally_plugin::Read;
use tally_plugin::json::{Array, Object};
use tally_plugin::query::Request;
use tally_plugin::record::Reader;

use crate::balance::{Balance, PARTIES, read, signed, system_key, system_of_row};
use crate::journal::{Account, Pocket, System};
use crate::ledger::CLEARING;
use crate::routes::{MALFORMED, Page, Refusal};
use crate::statement::is_currency;

/// Answers.
pub(crate) fn answer(state: &mut impl Read, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let currency = request.arg("currency").filter(|text| is_currency(text)).ok_or(MALFORMED)?;
    let tables = [CLEARING, PARTIES].map(|table| table.key().text(&currency).within());
    let page = Page::of_two(state, request, tables)?;
    let mut accounts = Array::new();
    if page.after.is_none() {
        let system = read(state.get(&system_key(&currency)).as_deref(), system_of_row).unwrap_or_default();
        for (account, balance) in System::ALL.iter().zip(system) {
            accounts = line(accounts, &Account::System(*account), balance);
        }
    }
    for (key, row) in &page.rows {
        accounts = row_of(accounts, key, row);
    }
    let body = Object::new().raw("accounts", &accounts.finish()).text("currency", &currency);
    Ok(page.close(body))
}

fn line(accounts: Array, account: &Account, balance: i64) -> Array {
    if balance == 0 && !matches!(account, Account::System(_)) {
        return accounts;
    }
    accounts.raw(&signed(Object::new().text("account", &account.text()), "balance", balance).finish())
}

fn row_of(accounts: Array, key: &[u8], row: &[u8]) -> Array {
    if let Some(mut parts) = CLEARING.read(key) {
        let payout = parts.bytes().and_then(|_| parts.id());
        let amount = Reader::new(row).u64();
        return match (payout, amount) {
            (Some(payout), Some(amount)) => line(accounts, &Account::Clearing(payout), -amount.cast_signed()),
            _ => accounts,
        };
    }
    let party = PARTIES.read(key).and_then(|mut parts| {
        parts.bytes()?;
        parts.text()
    });
    let (Some(party), Some(balance)) = (party, read(Some(row), Balance::of_row)) else { return accounts };
    Pocket::ALL.iter().fold(accounts, |accounts, pocket| {
        let amount = balance.pocket(*pocket).cast_signed();
        let amount = if *pocket == Pocket::Owed { amount } else { -amount };
        line(accounts, &Account::Party(*pocket, party.clone()), amount)
    })
}
