//! Who acts, and what they may: principals, gateways that speak for them, roles and connectors, from the configuration.
//!
//! Takes the configuration's lists and events; gives principals or a refusal. Nobody has a role by default.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use tally_plugin::json::Json;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Read, Reject, State, Table};

use crate::Body;
use crate::codes::{FORBIDDEN, MALFORMED};

/// What the principal of an agent begins with.
pub const AGENT_PREFIX: &str = "agent:";

/// Longest principal.
const PRINCIPAL_BYTES_MAX: usize = 96;
/// Most entries of one list.
const LIST_MAX: usize = 256;

const VERSION: u8 = 1;

/// The lists of a configuration, as a plugin keeps them under one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Named lists of texts: `admins`, `gateways`, `connectors.payment`, …
    lists: Vec<(String, Vec<String>)>,
}

impl Roles {
    /// Reads the named members of a configuration, each a list of principals (`gateways`: of uuids); and of `connectors`, if
    /// it is named, each of its members as a list of uuids.
    ///
    /// # Errors
    /// One is missing or has another form.
    pub fn read(config: Json<'_>, names: &[&str]) -> Result<Self, Reject> {
        let mut roles = Self::default();
        for name in names {
            let member = config.get(name).ok_or(MALFORMED)?;
            if *name == "connectors" {
                for (kind, list) in member.entries() {
                    roles.lists.push((String::from("connectors.") + &kind, list_of(list, is_uuid)?));
                }
            } else {
                let form = if *name == "gateways" { is_uuid } else { is_principal };
                roles.lists.push(((*name).to_owned(), list_of(member, form)?));
            }
        }
        Ok(roles)
    }

    /// From the row of a table that holds nothing else.
    #[must_use]
    pub fn load(state: &mut impl Read, table: Table) -> Self {
        state.get(&key(table)).and_then(|row| Self::decode(&row)).unwrap_or_default()
    }

    /// Keeps them.
    pub fn store(&self, state: &mut State, table: Table) {
        let count = u64::try_from(self.lists.len()).unwrap_or(0);
        let mut row = Writer::new().u8(VERSION).u64(count);
        for (name, list) in &self.lists {
            row = row.text(name).u64(u64::try_from(list.len()).unwrap_or(0));
            row = list.iter().fold(row, |row, entry| row.text(entry));
        }
        state.set(&key(table), row.finish());
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        if row.u8()? != VERSION {
            return None;
        }
        let mut roles = Self::default();
        for _ in 0..row.u64()? {
            let (name, count) = (row.text()?.to_owned(), row.u64()?);
            let list = (0..count).map(|_| row.text().map(str::to_owned)).collect::<Option<_>>()?;
            roles.lists.push((name, list));
        }
        row.is_empty().then_some(roles)
    }

    /// Whether a text is in a list.
    #[must_use]
    pub fn has(&self, list: &str, text: &str) -> bool {
        self.lists.iter().any(|(name, entries)| name == list && entries.iter().any(|entry| entry == text))
    }

    /// Refuses who is not in a list.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn require(&self, list: &str, principal: &str) -> Result<(), Reject> {
        if self.has(list, principal) { Ok(()) } else { Err(FORBIDDEN) }
    }

    /// Refuses an event that is not a connector's of this kind.
    ///
    /// # Errors
    /// `forbidden`: another signer, or nobody's signature at all.
    pub fn require_connector(&self, kind: &str, event: &Event) -> Result<(), Reject> {
        let signed = !event.is_derived();
        let known = self.has(&(String::from("connectors.") + kind), &agent_text(&event.agent()));
        if signed && known { Ok(()) } else { Err(FORBIDDEN) }
    }

    /// The principal of a command: the signer, or whom a gateway speaks for.
    ///
    /// # Errors
    /// `forbidden`: nobody signed it, a gateway names nobody, or somebody else names a principal; `malformed`: what is named
    /// is none.
    pub fn principal(&self, event: &Event, body: &Body<'_>) -> Result<String, Reject> {
        if event.is_derived() {
            return Err(FORBIDDEN);
        }
        let signer = agent_text(&event.agent());
        let actor = body.optional("actor", Json::text)?;
        match (self.has("gateways", &signer), actor) {
            (true, Some(actor)) if is_principal(&actor) => Ok(actor.into_owned()),
            (true, Some(_)) => Err(MALFORMED),
            (false, None) => Ok(String::from(AGENT_PREFIX) + &signer),
            _ => Err(FORBIDDEN),
        }
    }
}

fn key(table: Table) -> Key {
    table.key().u64(0)
}

fn list_of(list: Json<'_>, form: fn(&str) -> bool) -> Result<Vec<String>, Reject> {
    if !list.raw().starts_with('[') {
        return Err(MALFORMED);
    }
    let mut entries = Vec::new();
    for entry in list.items() {
        let text = entry.text().filter(|text| form(text)).ok_or(MALFORMED)?;
        if entries.len() == LIST_MAX {
            return Err(MALFORMED);
        }
        entries.push(text.into_owned());
    }
    Ok(entries)
}

/// Whether a text has the form of a principal: 1 to 96 visible ASCII characters.
#[must_use]
pub fn is_principal(text: &str) -> bool {
    (1..=PRINCIPAL_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_uuid(text: &str) -> bool {
    read_agent(text).is_some()
}

/// An agent as ids of the log are written: `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
#[must_use]
pub fn agent_text(agent: &[u8; 16]) -> String {
    let digits = crate::hex::encode(agent);
    let mut text = String::with_capacity(36);
    for (at, digit) in digits.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

/// The agent that a text names; only the form of [`agent_text`].
#[must_use]
pub fn read_agent(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let agent = crate::hex::decode(&digits)?;
    (agent_text(&agent) == text).then_some(agent)
}
