//! The configuration: who may what, whose facts count, how many must approve a payout, and how long things last.
//!
//! Takes the members of docs/formats/market.md, "Configurations"; every one must be there. Refuses all else (`malformed`).

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::codes::MALFORMED;
use tally_market::{Body, Roles};
use tally_plugin::json::Json;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Read, Reject, State, Table};

use crate::balance::read;

pub(crate) const ROLES: Table = Table::new("roles/");
pub(crate) const SETTINGS: Table = Table::new("settings/");

const VERSION: u8 = 1;
const LISTS: [&str; 5] = ["admins", "connectors", "finance", "gateways", "payout_approvers"];
/// Most rules on approvals, and most approvers of one.
const RULES_MAX: usize = 256;
const APPROVERS_MAX: u64 = 16;
/// Longest name of a provider, and of an account there.
const SOURCE_BYTES_MAX: usize = 64;
/// Longest time between two payouts: about 30 years.
const EVERY_S_MAX: u64 = 1_000_000_000;
const MICROSECONDS: u64 = 1_000_000;

/// A payout of at least so much needs so many approvers.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Rule {
    currency: String,
    from: u64,
    count: u64,
}

/// Where facts about payouts must come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Source {
    pub(crate) provider: String,
    /// Ours at the provider.
    pub(crate) account: String,
    pub(crate) livemode: bool,
}

impl Source {
    /// As a configuration or a fact names it.
    pub(crate) fn read(body: &Body<'_>) -> Result<Self, Reject> {
        let name = |name| Ok(body.text(name, SOURCE_BYTES_MAX)?.into_owned());
        Ok(Self { provider: name("provider")?, account: name("account")?, livemode: body.bool("livemode")? })
    }
}

/// When payouts of a currency are asked for by themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Schedule {
    currency: String,
    /// In microseconds.
    every: u64,
    /// The least that is worth a payout.
    pub(crate) from: u64,
}

impl Schedule {
    /// The first multiple of `every` after a time.
    pub(crate) const fn next(&self, now: u64) -> u64 {
        (now / self.every).saturating_add(1).saturating_mul(self.every)
    }
}

/// All of it but the lists of principals.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Settings {
    /// How long an approval counts, in microseconds.
    pub(crate) approval: u64,
    /// From capture to release, in microseconds.
    pub(crate) hold: u64,
    /// Whether Finance is asked.
    pub(crate) settle: bool,
    pub(crate) source: Source,
    /// In the order of currencies.
    schedule: Vec<Schedule>,
    rules: Vec<Rule>,
}

pub(crate) fn key() -> Key {
    SETTINGS.key().u64(0)
}

/// Keeps a configuration.
pub(crate) fn init(state: &mut State, config: &[u8]) -> Result<(), Reject> {
    let config = Json::parse(config).map_err(|_| MALFORMED)?;
    let mut members = Vec::from(LISTS);
    members.extend(["account", "approval_s", "approvals", "hold_s", "livemode", "provider", "schedule", "settle"]);
    let body = Body::within(config, &members)?;
    let roles = Roles::read(config, &LISTS)?;
    let duration = |name: &str| Ok(body.number(name)?.saturating_mul(MICROSECONDS));
    let list =
        |name: &str| body.member(name, |list| list.raw().starts_with('[').then(|| list.items().collect::<Vec<_>>()));
    let settings = Settings {
        approval: duration("approval_s")?,
        hold: duration("hold_s")?,
        settle: body.bool("settle")?,
        source: Source::read(&body)?,
        schedule: read_schedule(&list("schedule")?)?,
        rules: read_rules(&list("approvals")?)?,
    };
    roles.store(state, ROLES);
    state.set(&key(), settings.encode());
    Ok(())
}

fn read_rules(list: &[Json<'_>]) -> Result<Vec<Rule>, Reject> {
    let mut rules: Vec<Rule> = Vec::new();
    for item in list {
        let body = Body::within(*item, &["count", "currency", "from"])?;
        let currency = body.currency("currency")?.into_owned();
        let rule = Rule { currency, from: body.number("from")?, count: body.number("count")? };
        let last = rules.iter().rfind(|other| other.currency == rule.currency);
        let ascends = last.is_none_or(|last| last.from < rule.from);
        if !ascends || rule.count > APPROVERS_MAX || rules.len() == RULES_MAX {
            return Err(MALFORMED);
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn read_schedule(list: &[Json<'_>]) -> Result<Vec<Schedule>, Reject> {
    let mut schedule: Vec<Schedule> = Vec::new();
    for item in list {
        let body = Body::within(*item, &["currency", "every_s", "from"])?;
        let (currency, every) = (body.currency("currency")?.into_owned(), body.number("every_s")?);
        let rule = Schedule { currency, every: every.saturating_mul(MICROSECONDS), from: body.number("from")? };
        let ascends = schedule.last().is_none_or(|last| last.currency < rule.currency);
        let fits = (1..=EVERY_S_MAX).contains(&every) && rule.from > 0;
        if !ascends || !fits || schedule.len() == RULES_MAX {
            return Err(MALFORMED);
        }
        schedule.push(rule);
    }
    Ok(schedule)
}

impl Settings {
    pub(crate) fn load(state: &mut impl Read) -> Self {
        read(state.get(&key()).as_deref(), Self::decode).unwrap_or_default()
    }

    /// How many must approve a payout. A currency that no rule names needs the most that any rule asks for, so that what
    /// was forgotten is no way around.
    pub(crate) fn approvers(&self, currency: &str, amount: u64) -> u64 {
        let mut named = self.rules.iter().filter(|rule| rule.currency == currency).peekable();
        if named.peek().is_none() {
            return self.rules.iter().map(|rule| rule.count).max().unwrap_or(0);
        }
        named.rfind(|rule| rule.from <= amount).map_or(0, |rule| rule.count)
    }

    /// The schedule of a currency.
    pub(crate) fn scheduled(&self, currency: &str) -> Option<&Schedule> {
        self.schedule.iter().find(|rule| rule.currency == currency)
    }

    fn encode(&self) -> Vec<u8> {
        let row = Writer::new().u8(VERSION).u64(self.approval).u64(self.hold).u8(u8::from(self.settle));
        let row = row.text(&self.source.provider).text(&self.source.account).u8(u8::from(self.source.livemode));
        let row = row.u64(u64::try_from(self.schedule.len()).unwrap_or(0));
        let schedule = self.schedule.iter();
        let row = schedule.fold(row, |row, rule| row.text(&rule.currency).u64(rule.every).u64(rule.from));
        let rules = self.rules.iter();
        rules.fold(row, |row, rule| row.text(&rule.currency).u64(rule.from).u64(rule.count)).finish()
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        let (approval, hold, settle) = (row.u64()?, row.u64()?, row.u8()? == 1);
        let (provider, account) = (row.text()?.into(), row.text()?.into());
        let source = Source { provider, account, livemode: row.u8()? == 1 };
        let rule =
            |row: &mut Reader<'_>| Some(Schedule { currency: row.text()?.into(), every: row.u64()?, from: row.u64()? });
        let schedule = (0..row.u64()?).map(|_| rule(&mut row)).collect::<Option<_>>()?;
        let mut settings = Self { approval, hold, settle, source, schedule, rules: Vec::new() };
        while !row.is_empty() {
            settings.rules.push(Rule { currency: row.text()?.into(), from: row.u64()?, count: row.u64()? });
        }
        Some(settings)
    }
}
