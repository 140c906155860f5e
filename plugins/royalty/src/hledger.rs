//! Journals as hledger reads them, so that a foreign tool balances the books.
//!
//! Takes rows of the route `journals`; gives transactions. Amounts are whole minor units of a quoted commodity
//! (`"EUR minor"`); debits are positive. Native only: it runs where an export is written.

use std::fmt::Write;

use tally_plugin::json::Json;

const MICROSECONDS_PER_DAY: u64 = 86_400_000_000;

/// The transactions of a list of journals (the member `rows` of an answer); nothing, if one of them is no journal.
#[must_use]
pub fn transactions(rows: Json<'_>) -> Option<String> {
    rows.items().map(transaction).collect()
}

fn transaction(journal: Json<'_>) -> Option<String> {
    let text = |name: &str| journal.get(name).and_then(Json::text);
    let currency = text("currency")?;
    let (day, kind, id, rule) = (date(journal.get("at")?.u64()?), text("kind")?, text("id")?, text("rule")?);
    let index = journal.get("index")?.u64()?;
    let mut out = format!("{day} {kind}  ; journal:{id}, rule:{rule}, index:{index}\n");
    for line in journal.get("lines")?.items() {
        let account = line.get("account")?.text()?;
        let sign = if line.get("side")?.text()? == "credit" { "-" } else { "" };
        let amount = line.get("amount")?.u64()?;
        writeln!(out, "    {}  {sign}{amount} \"{currency} minor\"", account_name(&account)?).ok()?;
    }
    out.push('\n');
    Some(out)
}

/// The account under its class, with what hledger gives a meaning to written as `%` and two digits.
fn account_name(account: &str) -> Option<String> {
    let class = match account.split('/').next()? {
        "psp" | "disp" | "owed" => "assets",
        "psp_fees" | "loss" => "expenses",
        "held" | "avail" | "lock" | "clr" => "liabilities",
        _ => return None,
    };
    let mut name = format!("{class}:");
    let (front, party) = account.split_once('/').unwrap_or((account, ""));
    name.push_str(front);
    if !party.is_empty() {
        name.push(':');
    }
    for byte in party.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'@' | b'/' => name.push(char::from(byte)),
            _ => write!(name, "%{byte:02x}").ok()?,
        }
    }
    Some(name)
}

/// Year, month and day of a time, by the proleptic Gregorian calendar: days are counted from 1 March of the year 0, so that
/// the leap day is the last of its year.
fn date(at: u64) -> String {
    let days = at / MICROSECONDS_PER_DAY + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_251_199, "2024-02-29"),
            (1_763_762_905, "2025-11-21"),
        ] {
            assert_eq!(date(seconds * 1_000_000), day);
        }
    }

    #[test]
    fn names_hold_no_syntax() {
        assert_eq!(account_name("psp").as_deref(), Some("assets:psp"));
        assert_eq!(account_name("held/agent:x;y").as_deref(), Some("liabilities:held:agent%3ax%3by"));
        assert_eq!(account_name("clr/ab/c").as_deref(), Some("liabilities:clr:ab/c"));
        assert_eq!(account_name("else"), None);
    }
}
