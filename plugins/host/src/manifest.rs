//! What a plugin says about itself: the answer of `describe`, read strictly.
//!
//! Takes canonical JSON of at most [`MANIFEST_BYTES_MAX`]; gives a [`Manifest`]. Every member is required, none is added, every
//! list rises strictly, so that one plugin has one manifest and a difference between two is a difference in meaning.

use tally_protocol::id::PluginId;
use tally_protocol::jcs::{self, JcsError, Value};
use tally_protocol::limits::PERMISSION_BYTES_MAX;
use tally_protocol::release::ENTITY_PERMISSION;

use crate::limits::{LimitError, Limits};

/// Longest manifest.
pub const MANIFEST_BYTES_MAX: usize = 16 * 1024;

/// Most entries of a list.
pub const LIST_MAX: usize = 64;

/// Why a manifest is refused. A member is named by the contract's word, never by the author's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Longer than a manifest may be.
    #[error("manifest of {0} bytes")]
    Bytes(usize),
    /// Not canonical JSON.
    #[error("manifest is not canonical JSON")]
    Json(#[from] JcsError),
    /// Not an object of exactly the members it must have.
    #[error("manifest has not exactly its members")]
    Members,
    /// A member that is not what it must be.
    #[error("manifest member {0} is malformed")]
    Member(&'static str),
    /// A limit that cannot be had.
    #[error("manifest asks for a limit it cannot have")]
    Limit(#[from] LimitError),
}

/// What a plugin says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its id: 1 to 64 of `[a-z0-9-]`.
    pub id: PluginId,
    /// Its version: three numbers.
    pub version: (u64, u64, u64),
    /// The version of its state's layout.
    pub state_version: u32,
    /// The event types it wants: exact, `name.*` or `*`.
    pub events: Vec<String>,
    /// The prefixes of its keys; no key begins otherwise.
    pub prefixes: Vec<String>,
    /// What it wants to be allowed.
    pub capabilities: Vec<Capability>,
    /// The routes it answers.
    pub routes: Vec<Route>,
    /// The limits it wants: the defaults, where it does not say.
    pub limits: Limits,
}

/// Something that needs a grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// `emit`
    Emit,
    /// `effect:KIND`
    Effect(String),
    /// `entity:TYPE`: events about this type are taken where the plugin runs, also in a store whose list does not name
    /// it. It is looked at where events are ordered; a running module can do nothing with it.
    EntityType(String),
}

/// An HTTP route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its name, unique in the manifest.
    pub name: String,
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: String,
    /// Its path, with parameters in braces.
    pub path: String,
    /// The event type of a command; none is a query.
    pub event: Option<String>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// It is not one, strictly.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::Bytes(bytes.len()));
        }
        jcs::is_canonical(bytes)?;
        let Value::Object(members) = jcs::parse(bytes)? else {
            return Err(ManifestError::Members);
        };
        let values: Vec<Value> = take(
            members,
            &["abi", "capabilities", "events", "id", "limits", "prefixes", "routes", "state_version", "version"],
        )
        .ok_or(ManifestError::Members)?;
        let Ok([abi, capabilities, events, id, limits, prefixes, routes, state_version, version]) =
            <[Value; 9]>::try_from(values)
        else {
            return Err(ManifestError::Members);
        };
        if integer(&abi) != Some(u64::from(crate::limits::ABI_VERSION)) {
            return Err(ManifestError::Member("abi"));
        }
        Ok(Self {
            id: text(id).and_then(|id| PluginId::new(&id).ok()).ok_or(ManifestError::Member("id"))?,
            version: text(version).as_deref().and_then(semver).ok_or(ManifestError::Member("version"))?,
            state_version: integer(&state_version)
                .and_then(|version| u32::try_from(version).ok())
                .filter(|version| *version > 0)
                .ok_or(ManifestError::Member("state_version"))?,
            events: texts(events)
                .filter(|list| list.iter().all(|e| is_pattern(e)))
                .ok_or(ManifestError::Member("events"))?,
            prefixes: texts(prefixes).filter(|list| are_prefixes(list)).ok_or(ManifestError::Member("prefixes"))?,
            capabilities: texts(capabilities)
                .and_then(|list| list.iter().map(|c| capability(c)).collect())
                .ok_or(ManifestError::Member("capabilities"))?,
            routes: parse_routes(routes).ok_or(ManifestError::Member("routes"))?,
            limits: parse_limits(limits)?,
        })
    }

    /// Whether it has been promised this capability by itself; the grant is checked elsewhere.
    #[must_use]
    pub fn wants(&self, capability: &Capability) -> bool {
        self.capabilities.contains(capability)
    }
}

/// The values of an object with exactly these names.
fn take(members: Vec<(String, Value)>, names: &[&str]) -> Option<Vec<Value>> {
    let same = members.len() == names.len() && members.iter().zip(names).all(|((name, _), wanted)| name == wanted);
    same.then(|| members.into_iter().map(|(_, value)| value).collect())
}

fn text(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

/// A whole number from 0; canonical JSON keeps them below 2^53.
fn integer(value: &Value) -> Option<u64> {
    let Value::Number(number) = value else { return None };
    let limit = 9_007_199_254_740_991.0;
    let whole = number.fract() == 0.0 && (0.0..=limit).contains(number);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, from 0, below 2^53")]
    whole.then_some(*number as u64)
}

/// A list of texts that rises strictly.
fn texts(value: Value) -> Option<Vec<String>> {
    let Value::Array(values) = value else { return None };
    if values.len() > LIST_MAX {
        return None;
    }
    let list: Vec<String> = values.into_iter().map(text).collect::<Option<_>>()?;
    list.windows(2).all(|pair| pair[0] < pair[1]).then_some(list)
}

fn is_type(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic() && c != b'*')
}

fn is_pattern(text: &str) -> bool {
    text == "*" || is_type(text.strip_suffix(".*").unwrap_or(text))
}

fn is_word(text: &str) -> bool {
    let letter = |c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(letter)
}

fn are_prefixes(list: &[String]) -> bool {
    let letter = |c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'/');
    let fits = |prefix: &String| (1..=16).contains(&prefix.len()) && prefix.bytes().all(letter);
    // In order, so a prefix of another stands right before the first that it begins.
    list.iter().all(fits) && list.windows(2).all(|pair| !pair[1].starts_with(&pair[0]))
}

fn semver(text: &str) -> Option<(u64, u64, u64)> {
    let mut parts = text.split('.').map(|part| {
        let plain =
            !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
        part.parse::<u64>().ok().filter(|_| plain)
    });
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}

fn capability(text: &str) -> Option<Capability> {
    if let Some(kind) = text.strip_prefix("effect:") {
        return is_word(kind).then(|| Capability::Effect(kind.to_owned()));
    }
    if let Some(entity_type) = text.strip_prefix(ENTITY_PERMISSION) {
        // As a grant it is a permission, and as a permission it has that bound.
        let fits = text.len() <= PERMISSION_BYTES_MAX && is_type(entity_type);
        return fits.then(|| Capability::EntityType(entity_type.to_owned()));
    }
    (text == "emit").then_some(Capability::Emit)
}

fn parse_limits(value: Value) -> Result<Limits, ManifestError> {
    let Value::Object(members) = value else {
        return Err(ManifestError::Member("limits"));
    };
    let mut limits = Limits::default();
    for (name, value) in members {
        limits.set(&name, integer(&value).ok_or(ManifestError::Member("limits"))?)?;
    }
    Ok(limits)
}

fn parse_routes(value: Value) -> Option<Vec<Route>> {
    let Value::Array(values) = value else { return None };
    if values.len() > LIST_MAX {
        return None;
    }
    let routes: Vec<Route> = values.into_iter().map(parse_route).collect::<Option<_>>()?;
    routes.windows(2).all(|pair| pair[0].name < pair[1].name).then_some(routes)
}

fn parse_route(value: Value) -> Option<Route> {
    let Value::Object(members) = value else { return None };
    let command = members.iter().any(|(name, _)| name == "event");
    let mut values = if command {
        take(members, &["event", "kind", "method", "name", "path"])?
    } else {
        take(members, &["kind", "method", "name", "path"])?
    }
    .into_iter()
    .map(text);
    let event = if command { Some(values.next()??).filter(|event| is_type(event)) } else { None };
    let (kind, method, name, path) = (values.next()??, values.next()??, values.next()??, values.next()??);
    let kind_fits = if command { kind == "command" && event.is_some() } else { kind == "query" };
    let method_fits = matches!(method.as_str(), "GET" | "POST" | "PUT" | "DELETE");
    let path_fits = path.starts_with('/') && path.len() <= 256 && path.bytes().all(|c| c.is_ascii_graphic());
    (kind_fits && method_fits && path_fits && is_word(&name)).then_some(Route { name, method, path, event })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"abi":1,"capabilities":["effect:mail","emit","entity:parcel"],"events":["catalog.*","order.placed"],"id":"shop","limits":{"gas":1000},"prefixes":["i/","s/"],"routes":[{"kind":"query","method":"GET","name":"item","path":"/items/{sku}"},{"event":"order.placed","kind":"command","method":"POST","name":"order","path":"/orders"}],"state_version":2,"version":"1.20.3"}"#;

    #[test]
    fn a_manifest_reads() {
        let manifest = Manifest::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((manifest.id.as_str(), manifest.version, manifest.state_version), ("shop", (1, 20, 3), 2));
        let entity = Capability::EntityType("parcel".to_owned());
        assert_eq!(manifest.capabilities, [Capability::Effect("mail".to_owned()), Capability::Emit, entity]);
        assert_eq!(manifest.limits, Limits { gas: 1_000, ..Limits::default() });
        assert_eq!(manifest.routes[1].event.as_deref(), Some("order.placed"));
    }

    #[test]
    fn one_change_and_it_is_no_manifest() {
        for (from, to) in [
            (r#""abi":1"#, r#""abi":2"#),
            (r#""abi":1,"#, ""),
            (r#""abi":1"#, r#""abi": 1"#),
            (r#""abi":1"#, r#""abi":1,"also":1"#),
            ("effect:mail", "effect:"),
            ("entity:parcel", "entity:"),
            ("entity:parcel", "entity:a b"),
            ("entity:parcel", "entity:parcel*"),
            ("entity:parcel", "entity:*"),
            ("entity:parcel", "entity"),
            ("entity:parcel", "Entity:parcel"),
            ("effect:mail", "fetch"),
            (r#""effect:mail","emit""#, r#""emit","effect:mail""#),
            (r#""effect:mail","emit""#, r#""emit","emit""#),
            ("catalog.*", "catalog*"),
            ("order.placed\"]", "order placed\"]"),
            (r#""shop""#, r#""Shop""#),
            (r#""shop""#, r#""""#),
            (r#""gas":1000"#, r#""gas":0"#),
            (r#""gas":1000"#, r#""gas":1e3"#),
            (r#""gas":1000"#, r#""gas":99999999999"#),
            (r#""gas":1000"#, r#""fuel":1000"#),
            (r#""s/""#, r#""i/a""#),
            (r#""s/""#, r#""""#),
            ("GET", "get"),
            (r#""kind":"query""#, r#""kind":"command""#),
            (r#""name":"item""#, r#""name":"z""#),
            ("/items", "items"),
            (r#""state_version":2"#, r#""state_version":0"#),
            (r#""state_version":2"#, r#""state_version":4294967296"#),
            ("1.20.3", "1.20"),
            ("1.20.3", "1.020.3"),
            ("1.20.3", "1.20.3.4"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            assert!(Manifest::parse(GOOD.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn no_cut_of_a_manifest_is_one() {
        for end in 0..GOOD.len() {
            assert!(Manifest::parse(&GOOD.as_bytes()[..end]).is_err());
        }
    }
}
