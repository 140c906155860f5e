//! Promotions: deterministic rules with a window, a scope and limits, named in the order by the digest of the rule.
//!
//! Takes an admin's rules, and what is asked for; gives a discount or a refusal. What is used is counted with the order that
//! uses it, so that of two orders for the last use the first in the log has it.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::Body;
use tally_market::codes::{EXPIRED, MALFORMED, NOT_FOUND, STATE, USED_UP};
use tally_market::money::part;
use tally_plugin::json::{Json, Object};
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Read, Reject, State, Table, crypto};

use crate::command::Command;
use crate::offer::Offer;

pub(crate) const PROMOTIONS: Table = Table::new("promotion/");
/// Promotion, buyer: how often.
pub(crate) const USED: Table = Table::new("used/");

/// Basis points of the whole.
const BPS: u64 = 10_000;
const NAME_BYTES_MAX: usize = 64;
const VERSION: u8 = 1;
/// No limit.
const UNLIMITED: u64 = u64::MAX;
const RULE: [&str; 10] =
    ["amount", "bps", "category", "currency", "from", "kind", "sku", "until", "uses_max", "uses_per_buyer_max"];

/// How much is taken off.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Off {
    Percent { bps: u64 },
    Amount { amount: u64, currency: String },
}

/// What it is for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Scope {
    Everything,
    Sku(String),
    Category(String),
}

/// A promotion's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Promotion {
    off: Off,
    scope: Scope,
    from: u64,
    until: u64,
    uses_max: u64,
    uses_per_buyer_max: u64,
    pub(crate) rule_sha256: [u8; 32],
    ended: bool,
    used: u64,
}

fn key(name: &str) -> Key {
    PROMOTIONS.key().text(name)
}

fn used_key(name: &str, buyer: &str) -> Key {
    USED.key().text(name).text(buyer)
}

/// `checkout.promotion.created`.
pub(crate) fn create(command: &mut Command<'_>) -> Result<Vec<u8>, Reject> {
    command.require_new()?;
    let body = command.body;
    let (name, rule) = (body.text("promotion", NAME_BYTES_MAX)?, body.member("rule", Some)?);
    let promotion = Promotion::read(rule)?;
    command.roles.require("admins", &command.principal)?;
    command.note(Object::new().text("promotion", &name).raw("rule", rule.raw().as_bytes()))?;
    let state = &mut command.step.state;
    if state.get(&key(&name)).is_some() {
        return Err(STATE);
    }
    state.set(&key(&name), promotion.encode());
    Ok(Object::new().text("promotion", &name).hex("rule_sha256", &promotion.rule_sha256).finish())
}

/// `checkout.promotion.ended`.
pub(crate) fn end(command: &mut Command<'_>) -> Result<Vec<u8>, Reject> {
    command.require_new()?;
    let body = command.body;
    let name = body.text("promotion", NAME_BYTES_MAX)?;
    command.roles.require("admins", &command.principal)?;
    command.note(Object::new().text("promotion", &name))?;
    let state = &mut command.step.state;
    let mut promotion = load(state, &name).ok_or(NOT_FOUND)?;
    if promotion.ended {
        return Err(STATE);
    }
    promotion.ended = true;
    state.set(&key(&name), promotion.encode());
    Ok(Object::new().bool("ended", true).text("promotion", &name).finish())
}

fn load(state: &mut impl Read, name: &str) -> Option<Promotion> {
    state.get(&key(name)).and_then(|row| Promotion::decode(&row))
}

/// What a promotion takes off a total, and the digest of its rule.
pub(crate) fn discount(
    state: &mut impl Read,
    name: &str,
    offer: &Offer,
    total: u64,
    now: u64,
) -> Result<(u64, [u8; 32]), Reject> {
    let promotion = load(state, name).ok_or(NOT_FOUND)?;
    if promotion.ended || !(promotion.from..promotion.until).contains(&now) {
        return Err(EXPIRED);
    }
    let off = match &promotion.off {
        Off::Percent { bps } => part(total, *bps, BPS),
        Off::Amount { amount, currency } if *currency == offer.currency => *amount,
        Off::Amount { .. } => return Err(NOT_FOUND),
    };
    let meant = match &promotion.scope {
        Scope::Everything => true,
        Scope::Sku(sku) => *sku == offer.sku,
        Scope::Category(category) => *category == offer.category,
    };
    if meant { Ok((off.min(total), promotion.rule_sha256)) } else { Err(NOT_FOUND) }
}

/// A use that may be counted: what [`count`] writes.
pub(crate) struct Use {
    promotion: Promotion,
    by_buyer: u64,
}

/// Whether the buyer may use it once more.
pub(crate) fn may_use(state: &mut impl Read, name: &str, buyer: &str) -> Result<Use, Reject> {
    let (promotion, by_buyer) = counted(state, name, buyer).ok_or(NOT_FOUND)?;
    if promotion.used >= promotion.uses_max || by_buyer >= promotion.uses_per_buyer_max {
        return Err(USED_UP);
    }
    Ok(Use { promotion, by_buyer })
}

fn counted(state: &mut impl Read, name: &str, buyer: &str) -> Option<(Promotion, u64)> {
    let found = state.get_many(&[key(name), used_key(name, buyer)]);
    let promotion = found.first().and_then(Option::as_deref).and_then(Promotion::decode)?;
    let by_buyer = found.get(1).and_then(Option::as_deref).and_then(|row| Reader::new(row).u64());
    Some((promotion, by_buyer.unwrap_or(0)))
}

/// Counts a use.
pub(crate) fn count(state: &mut State, name: &str, buyer: &str, one: Use) {
    let Use { mut promotion, by_buyer } = one;
    promotion.used += 1;
    state.set(&key(name), promotion.encode());
    state.set(&used_key(name, buyer), Writer::new().u64(by_buyer + 1).finish());
}

/// Takes a use back.
pub(crate) fn uncount(state: &mut State, name: &str, buyer: &str) {
    let Some((mut promotion, by_buyer)) = counted(state, name, buyer) else { return };
    promotion.used = promotion.used.saturating_sub(1);
    state.set(&key(name), promotion.encode());
    match by_buyer {
        0 | 1 => state.delete(&used_key(name, buyer)),
        more => state.set(&used_key(name, buyer), Writer::new().u64(more - 1).finish()),
    }
}

impl Promotion {
    fn read(json: Json<'_>) -> Result<Self, Reject> {
        let rule = Body::within(json, &RULE)?;
        let owned = |name| rule.optional_text(name, 64).map(|text| text.map(String::from));
        let (from, until) = (rule.number("from")?, rule.number("until")?);
        let scope = match (owned("sku")?, owned("category")?) {
            (None, None) => Scope::Everything,
            (Some(sku), None) => Scope::Sku(sku),
            (None, Some(category)) => Scope::Category(category),
            (Some(_), Some(_)) => return Err(MALFORMED),
        };
        if until <= from {
            return Err(MALFORMED);
        }
        Ok(Self {
            off: Off::read(&rule)?,
            scope,
            from,
            until,
            uses_max: rule.optional_number("uses_max")?.unwrap_or(UNLIMITED),
            uses_per_buyer_max: rule.optional_number("uses_per_buyer_max")?.unwrap_or(UNLIMITED),
            rule_sha256: crypto::sha256(json.raw().as_bytes()),
            ended: false,
            used: 0,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let row = match &self.off {
            Off::Percent { bps } => Writer::new().u8(VERSION).u64(*bps).text(""),
            Off::Amount { amount, currency } => Writer::new().u8(VERSION).u64(*amount).text(currency),
        };
        let row = match &self.scope {
            Scope::Everything => row.u8(0).text(""),
            Scope::Sku(sku) => row.u8(1).text(sku),
            Scope::Category(category) => row.u8(2).text(category),
        };
        let row = row.u64(self.from).u64(self.until).u64(self.uses_max).u64(self.uses_per_buyer_max);
        row.id(&self.rule_sha256).u8(u8::from(self.ended)).u64(self.used).finish()
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        let (number, currency) = (row.u64()?, row.text()?);
        let off = match currency {
            "" => Off::Percent { bps: number },
            currency => Off::Amount { amount: number, currency: currency.into() },
        };
        let scope = match (row.u8()?, row.text()?) {
            (1, sku) => Scope::Sku(sku.into()),
            (2, category) => Scope::Category(category.into()),
            _ => Scope::Everything,
        };
        Some(Self {
            off,
            scope,
            from: row.u64()?,
            until: row.u64()?,
            uses_max: row.u64()?,
            uses_per_buyer_max: row.u64()?,
            rule_sha256: row.id()?,
            ended: row.u8()? == 1,
            used: row.u64()?,
        })
    }
}

impl Off {
    fn read(rule: &Body<'_>) -> Result<Self, Reject> {
        let (bps, amount) = (rule.optional_number("bps")?, rule.optional_number("amount")?);
        match (&*rule.text("kind", 16)?, bps, amount) {
            ("percent", Some(bps), None) if bps <= BPS && rule.json().get("currency").is_none() => {
                Ok(Self::Percent { bps })
            }
            ("amount", None, Some(amount)) => Ok(Self::Amount { amount, currency: rule.currency("currency")?.into() }),
            _ => Err(MALFORMED),
        }
    }
}
