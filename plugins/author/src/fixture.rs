//! Fixtures: events and what must come of them, as JSON a person writes and reads. `docs/plugin-authors/fixtures.md` is
//! the page.
//!
//! Takes files; gives a [`Fixture`], its events numbered as a log would number them. Unknown members are errors: a
//! misspelt expectation would expect nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tally_plugin_host::session::{BindingStep, Event};
use tally_protocol::hash::{LedgerId, PayloadHash, payload_plain};
use tally_protocol::id::{AgentId, EventId, Index, Sequence, StoreId, Stream, TenantId};
use tally_protocol::jcs;
use tally_protocol::time::LogTime;

use crate::error::AuthorError;
use crate::play::{State, Track};
use crate::shown::{parse, shown};

/// The ledger that fixtures are of: ids that a guest derives hang on it.
pub const LEDGER: LedgerId = LedgerId::from_bytes([0x0f; 32]);
/// The stream that fixtures are of.
pub const STREAM: Stream = Stream::new(TenantId::from_bytes([0x11; 16]), StoreId::from_bytes([0x22; 16]));
/// Who signs, unless a fixture says otherwise.
const AGENT: AgentId = AgentId::from_bytes([0x33; 16]);
/// Log time of the first event: 2026-01-01; each later one is a second later.
const FIRST_MICROS: u64 = 1_767_225_600_000_000;
/// Fixtures of one folder at most.
pub const FILES_MAX: usize = 1_000;
/// Bytes of a fixture at most.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A fixture as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// What `init` is given.
    #[serde(default = "empty", skip_serializing_if = "is_empty")]
    pub config: Value,
    /// State before it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub state: BTreeMap<String, String>,
    /// The events.
    pub events: Vec<Given>,
    /// The whole state after them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_after: Option<BTreeMap<String, String>>,
    /// What is asked then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<Asked>,
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// An event of a fixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Its entity's type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub entity_type: String,
    /// Its entity's id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub entity_id: String,
    /// Its payload.
    #[serde(default = "empty", skip_serializing_if = "is_empty")]
    pub body: Value,
    /// Who signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Log time, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Whether another plugin emitted it: nobody signed it.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub derived: bool,
    /// What must come of it; none is written by `--bless`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expected>,
}

/// What must come of an event. What is left out must not be there, but for gas and log lines, which are not compared then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The outcome's code: `accepted`, `rejected(no-stock)`, `trapped`, or `not-heard`.
    pub outcome: String,
    /// What it wrote; null deletes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub writes: BTreeMap<String, Option<String>>,
    /// What it emitted, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emits: Vec<Emitted>,
    /// What effects it asked for, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Wanted>,
    /// Log lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<String>>,
    /// The most gas it may be charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gas_max: Option<u64>,
}

/// A derived event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emitted {
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Its body.
    pub body: Value,
}

/// An effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The connector.
    pub kind: String,
    /// What orders effects of one subject.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suffix: String,
    /// Its body.
    pub body: Value,
}

/// A query, and what must be answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The request.
    pub request: Value,
    /// The answer; none is written by `--bless`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
}

/// The outcome of an event that the plugin does not hear.
pub const NOT_HEARD: &str = "not-heard";

impl Expected {
    /// What did come of an event.
    #[must_use]
    pub fn of(step: Option<&BindingStep>) -> Self {
        let nothing = |outcome: String| Self {
            outcome,
            writes: BTreeMap::new(),
            emits: Vec::new(),
            effects: Vec::new(),
            log: None,
            gas_max: None,
        };
        let Some(step) = step else { return nothing(NOT_HEARD.to_owned()) };
        let writes = step.writes.iter().map(|(key, value)| (shown(key), value.as_deref().map(shown)));
        let emits =
            step.emits.iter().map(|emit| Emitted { event_type: emit.event_type.clone(), body: json(&emit.body) });
        let effects = step.effects.iter().map(|effect| Wanted {
            kind: effect.kind.clone(),
            suffix: effect.suffix.clone(),
            body: json(&effect.body),
        });
        Self {
            writes: writes.collect(),
            emits: emits.collect(),
            effects: effects.collect(),
            ..nothing(step.code.to_string())
        }
    }
}

/// Bytes as JSON, or as text where they are none.
#[must_use]
pub fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(shown(bytes)))
}

/// A state as a fixture writes it.
#[must_use]
pub fn shown_state(state: &State) -> BTreeMap<String, String> {
    state.iter().map(|(key, value)| (shown(key), shown(value))).collect()
}

fn canonical(value: &Value) -> Result<Vec<u8>, String> {
    jcs::canonicalize(value.to_string().as_bytes()).map_err(|error| error.to_string())
}

impl Fixture {
    /// Reads a fixture.
    ///
    /// # Errors
    /// The file cannot be read, or is none.
    pub fn load(path: &Path) -> Result<Self, AuthorError> {
        let length = std::fs::metadata(path).map_err(AuthorError::file("read", path))?.len();
        if length > FILE_BYTES_MAX {
            return Err(AuthorError::fixture(path, format!("{length} bytes, more than {FILE_BYTES_MAX}")));
        }
        let text = std::fs::read(path).map_err(AuthorError::file("read", path))?;
        serde_json::from_slice(&text).map_err(|error| AuthorError::fixture(path, error))
    }

    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), AuthorError> {
        let mut text = serde_json::to_string_pretty(self).map_err(|error| AuthorError::fixture(path, error))?;
        text.push('\n');
        std::fs::write(path, text).map_err(AuthorError::file("write", path))
    }

    /// The events as a log would hold them.
    ///
    /// # Errors
    /// A body, a key, an id or a time is malformed; the event is named by its number.
    pub fn track(&self, path: &Path) -> Result<Track, AuthorError> {
        let bytes = |text: &String| {
            let why = || AuthorError::fixture(path, format!("`{}` shows no bytes", crate::shown::short(text, 60)));
            parse(text).map(Bytes::from).ok_or_else(why)
        };
        let state = self.state.iter().map(|(key, value)| Ok((bytes(key)?, bytes(value)?)));
        let event = |(at, given): (usize, &Given)| {
            given.event(at as u64).map(Arc::new).map_err(|why| AuthorError::fixture(path, format!("event {at}: {why}")))
        };
        Ok(Track {
            name: name_of(path),
            events: self.events.iter().enumerate().map(event).collect::<Result<_, _>>()?,
            config: canonical(&self.config).map_err(|why| AuthorError::fixture(path, format!("config: {why}")))?,
            state: state.collect::<Result<_, AuthorError>>()?,
        })
    }
}

/// A fixture's name: its file, without folder and ending.
#[must_use]
pub fn name_of(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

impl Given {
    fn event(&self, at: u64) -> Result<Event, String> {
        let body = canonical(&self.body)?;
        let time = self.time.as_deref().map(LogTime::parse_rfc3339).transpose().map_err(|error| error.to_string())?;
        let agent = self.agent.as_deref().map(str::parse).transpose();
        let event_id = self.event_id.as_deref().map(str::parse).transpose();
        let mut numbered = [0x44; 16];
        numbered[8..].copy_from_slice(&at.to_be_bytes());
        let payload_hash = if self.derived { PayloadHash::ZERO } else { payload_plain(&body) };
        Ok(Event {
            index: Index::new(at),
            sequence: Sequence::new(at + 1),
            sequenced_at: time.unwrap_or_else(|| LogTime::from_micros(FIRST_MICROS + at * 1_000_000)),
            stream: STREAM,
            event_id: event_id.map_err(|_| "event_id is no UUID")?.unwrap_or(EventId::from_bytes(numbered)),
            agent: agent.map_err(|_| "agent is no UUID")?.unwrap_or(AGENT),
            payload_hash,
            event_type: self.event_type.clone(),
            entity_type: self.entity_type.clone(),
            entity_id: self.entity_id.clone(),
            depth: u8::from(self.derived),
            calls_before: (0, 0),
            body: body.into(),
        })
    }

    /// The fixture's form of an event of a log: what is captured from there.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            event_type: event.event_type.clone(),
            entity_type: event.entity_type.clone(),
            entity_id: event.entity_id.clone(),
            body: json(&event.body),
            agent: Some(event.agent.to_string()),
            time: Some(event.sequenced_at.to_rfc3339()),
            event_id: Some(event.event_id.to_string()),
            derived: event.depth > 0,
            expect: None,
        }
    }
}

/// The fixtures of a folder, in the order of their names.
///
/// # Errors
/// The folder cannot be read, or holds too many.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, AuthorError> {
    let entries = std::fs::read_dir(folder).map_err(AuthorError::file("list", folder))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(AuthorError::file("list", folder))?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            files.push(path);
        }
    }
    files.sort();
    if files.len() > FILES_MAX {
        return Err(AuthorError::fixture(folder, format!("{} files, more than {FILES_MAX}", files.len())));
    }
    Ok(files)
}
