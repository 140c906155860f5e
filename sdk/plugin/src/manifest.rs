//! Who a plugin is and what it wants: the manifest that `describe` returns as canonical JSON.
//!
//! Takes the plugin's wishes in any order; gives them sorted. What a host may grant is the host's to say.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::json::{Array, Object};
use crate::key::Table;

/// The method of a query or a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Reads.
    Get,
    /// Submits.
    Post,
    /// Replaces.
    Put,
    /// Removes.
    Delete,
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// A manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    id: &'static str,
    version: &'static str,
    state_version: u32,
    events: BTreeSet<&'static str>,
    prefixes: BTreeSet<&'static str>,
    capabilities: BTreeSet<String>,
    limits: BTreeMap<&'static str, u64>,
    routes: BTreeMap<&'static str, Vec<u8>>,
}

impl Manifest {
    /// A plugin with an id of 1 to 64 letters `a-z 0-9 -`, and a version `MAJOR.MINOR.PATCH`.
    #[must_use]
    pub fn new(id: &'static str, version: &'static str) -> Self {
        Self {
            id,
            version,
            state_version: 1,
            events: BTreeSet::new(),
            prefixes: BTreeSet::new(),
            capabilities: BTreeSet::new(),
            limits: BTreeMap::new(),
            routes: BTreeMap::new(),
        }
    }

    /// The version of what the state looks like; from 1. A module with another one is asked to migrate.
    #[must_use]
    pub fn state_version(mut self, version: u32) -> Self {
        self.state_version = version;
        self
    }

    /// Subscribes to a type: exact, `catalog.*`, or `*`.
    #[must_use]
    pub fn event(mut self, event_type: &'static str) -> Self {
        self.events.insert(event_type);
        self
    }

    /// Uses a table's keys.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.prefixes.insert(table.prefix());
        self
    }

    /// Wants to emit.
    #[must_use]
    pub fn emits(mut self) -> Self {
        self.capabilities.insert("emit".into());
        self
    }

    /// Wants effects of a kind.
    #[must_use]
    pub fn effects(mut self, kind: &str) -> Self {
        self.capabilities.insert(format!("effect:{kind}"));
        self
    }

    /// Wants another limit than the host's default, by the host's name for it.
    #[must_use]
    pub fn limit(mut self, name: &'static str, value: u64) -> Self {
        self.limits.insert(name, value);
        self
    }

    /// A route that reads: its parameters become the request's `args`.
    #[must_use]
    pub fn query(mut self, name: &'static str, path: &str) -> Self {
        let route = Object::new().text("kind", "query").text("method", Method::Get.name());
        self.routes.insert(name, route.text("name", name).text("path", path).finish());
        self
    }

    /// A route that submits an event of a type: its body is the payload.
    #[must_use]
    pub fn command(mut self, name: &'static str, method: Method, path: &str, event_type: &str) -> Self {
        let route = Object::new().text("event", event_type).text("kind", "command").text("method", method.name());
        self.routes.insert(name, route.text("name", name).text("path", path).finish());
        self
    }

    /// Canonical JSON, as `wit/v1/abi.md` draws it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let texts = |texts: &mut dyn Iterator<Item = &str>| texts.fold(Array::new(), Array::text).finish();
        let limits = self.limits.iter().fold(Object::new(), |object, (name, value)| object.number(name, *value));
        let routes = self.routes.values().fold(Array::new(), |array, route| array.raw(route));
        Object::new()
            .number("abi", 1)
            .raw("capabilities", &texts(&mut self.capabilities.iter().map(String::as_str)))
            .raw("events", &texts(&mut self.events.iter().copied()))
            .text("id", self.id)
            .raw("limits", &limits.finish())
            .raw("prefixes", &texts(&mut self.prefixes.iter().copied()))
            .raw("routes", &routes.finish())
            .number("state_version", u64::from(self.state_version))
            .text("version", self.version)
            .finish()
    }
}
