//! The configuration: who may what, which provider is ours, and how long things last.
//!
//! Takes what `init` is given, every member of it; gives it back at each event with one call of the host.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::Roles;
use tally_market::codes::MALFORMED;
use tally_plugin::json::Json;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Read, Reject, State, Table};

pub(crate) const ROLES: Table = Table::new("roles/");
pub(crate) const SETTINGS: Table = Table::new("settings/");

const VERSION: u8 = 1;
/// Longest time of a configuration: about 30 years.
const SECONDS_MAX: u64 = 1_000_000_000;
const MICROS: u64 = 1_000_000;
const MEMBERS: [&str; 9] =
    ["account", "admins", "connectors", "finance", "gateways", "livemode", "order_s", "provider", "quote_s"];

/// What is not a role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    pub(crate) provider: String,
    pub(crate) account: String,
    pub(crate) livemode: bool,
    /// How long an order may stay unpaid, in microseconds.
    pub(crate) order_us: u64,
    /// How long a quote holds, in microseconds.
    pub(crate) quote_us: u64,
}

/// Reads and keeps a configuration.
pub(crate) fn init(state: &mut State, config: &[u8]) -> Result<(), Reject> {
    let config = Json::parse(config).map_err(|_| MALFORMED)?;
    let known = config.is_object() && config.entries().all(|(name, _)| MEMBERS.contains(&name.as_ref()));
    if !known {
        return Err(MALFORMED);
    }
    let connectors = config.get("connectors").filter(|connectors| connectors.is_object()).ok_or(MALFORMED)?;
    // Where nobody delivers, nobody is named.
    let named = connectors.entries().map(|(name, _)| name).filter(|name| name != "delivery");
    if !named.eq(["finance", "payment"]) {
        return Err(MALFORMED);
    }
    let roles = Roles::read(config, &["admins", "finance", "gateways", "connectors"])?;
    let text = |name| {
        let text = config.get(name).and_then(Json::text).filter(|text| (1..=64).contains(&text.len()));
        text.map(|text| String::from(&*text)).ok_or(MALFORMED)
    };
    let seconds = |name| {
        let seconds = config.get(name).and_then(Json::u64).filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
        seconds.map(|seconds| seconds * MICROS).ok_or(MALFORMED)
    };
    let settings = Settings {
        provider: text("provider")?,
        account: text("account")?,
        livemode: config.get("livemode").and_then(Json::bool).ok_or(MALFORMED)?,
        order_us: seconds("order_s")?,
        quote_us: seconds("quote_s")?,
    };
    roles.store(state, ROLES);
    state.set(&key(), settings.encode());
    Ok(())
}

fn key() -> Key {
    SETTINGS.key()
}

/// The configuration of an event; without one nobody may anything.
pub(crate) fn load(state: &mut State) -> Result<(Roles, Settings), Reject> {
    // Both rows with one call; the second reads are of the cache.
    let found = state.get_many(&[ROLES.key().u64(0), key()]);
    let settings = found.get(1).and_then(Option::as_deref).and_then(Settings::decode).ok_or(MALFORMED)?;
    Ok((Roles::load(state, ROLES), settings))
}

impl Settings {
    fn encode(&self) -> Vec<u8> {
        let row = Writer::new().u8(VERSION).text(&self.provider).text(&self.account).u8(u8::from(self.livemode));
        row.u64(self.order_us).u64(self.quote_us).finish()
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        if row.u8()? != VERSION {
            return None;
        }
        let (provider, account) = (row.text()?.into(), row.text()?.into());
        let livemode = row.u8()? == 1;
        Some(Self { provider, account, livemode, order_us: row.u64()?, quote_us: row.u64()? })
    }
}
