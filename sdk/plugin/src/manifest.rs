//! Who a plugin is and what it wants: the manifest that `describe` returns as canonical JSON.
//!
//! Takes the plugin's wishes in any order; gives them sorted. What a host may grant is the host's to say.

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
    object: Object,
    limits: Object,
    events: Vec<String>,
    prefixes: Vec<String>,
    capabilities: Vec<String>,
    /// By name.
    routes: Vec<(&'static str, Vec<u8>)>,
}

/// Keeps a list sorted and free of doubles.
#[inline(never)]
fn insert(list: &mut Vec<String>, text: String) {
    if let Err(at) = list.binary_search(&text) {
        list.insert(at, text);
    }
}

impl Manifest {
    /// A plugin with an id of 1 to 64 letters `a-z 0-9 -`, and a version `MAJOR.MINOR.PATCH`.
    #[must_use]
    pub fn new(id: &str, version: &str) -> Self {
        Self {
            object: Object::new().number("abi", 1).text("id", id).number("state_version", 1).text("version", version),
            limits: Object::new(),
            events: Vec::new(),
            prefixes: Vec::new(),
            capabilities: Vec::new(),
            routes: Vec::new(),
        }
    }

    /// The version of what the state looks like; from 1. A module with another one is asked to migrate.
    #[must_use]
    pub fn state_version(mut self, version: u32) -> Self {
        self.object = self.object.number("state_version", u64::from(version));
        self
    }

    /// Subscribes to a type: exact, `catalog.*`, or `*`.
    #[must_use]
    pub fn event(mut self, event_type: &str) -> Self {
        insert(&mut self.events, event_type.into());
        self
    }

    /// Uses a table's keys.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        insert(&mut self.prefixes, table.prefix().into());
        self
    }

    /// Wants to emit.
    #[must_use]
    pub fn emits(mut self) -> Self {
        insert(&mut self.capabilities, "emit".into());
        self
    }

    /// Wants effects of a kind.
    #[must_use]
    pub fn effects(mut self, kind: &str) -> Self {
        insert(&mut self.capabilities, String::from("effect:") + kind);
        self
    }

    /// Wants another limit than the host's default, by the host's name for it.
    #[must_use]
    pub fn limit(mut self, name: &str, value: u64) -> Self {
        self.limits = self.limits.number(name, value);
        self
    }

    /// A route that reads: its parameters become the request's `args`.
    #[must_use]
    pub fn query(self, name: &'static str, path: &str) -> Self {
        self.route(name, Object::new().text("kind", "query"), Method::Get, path)
    }

    /// A route that submits an event of a type: its body is the payload.
    #[must_use]
    pub fn command(self, name: &'static str, method: Method, path: &str, event_type: &str) -> Self {
        self.route(name, Object::new().text("event", event_type).text("kind", "command"), method, path)
    }

    #[inline(never)]
    fn route(mut self, name: &'static str, route: Object, method: Method, path: &str) -> Self {
        let route = route.text("method", method.name()).text("name", name).text("path", path).finish();
        let at = self.routes.binary_search_by(|(other, _)| (*other).cmp(name)).unwrap_or_else(|at| at);
        self.routes.insert(at, (name, route));
        self
    }

    /// Wants events about an entity type to be taken where it runs, also in a store whose list does not name it.
    #[must_use]
    pub fn entity_type(mut self, entity_type: &str) -> Self {
        insert(&mut self.capabilities, String::from("entity:") + entity_type);
        self
    }

    /// Canonical JSON, as `wit/v1/abi.md` draws it.
    #[must_use]
    pub fn to_json(self) -> Vec<u8> {
        let texts = |texts: &[String]| texts.iter().fold(Array::new(), |array, text| array.text(text)).finish();
        let routes = self.routes.iter().fold(Array::new(), |array, (_, route)| array.raw(route));
        self.object
            .raw("capabilities", &texts(&self.capabilities))
            .raw("events", &texts(&self.events))
            .raw("limits", &self.limits.finish())
            .raw("prefixes", &texts(&self.prefixes))
            .raw("routes", &routes.finish())
            .finish()
    }
}
