//! The OpenAPI 3.1 document, built from descriptions of routes.
//!
//! Takes the gateway's route table as [`RouteDoc`]s, gives one JSON document. The gateway builds its router from the
//! same table, so the document and the routes cannot drift apart. Schemas of bodies are in `openapi/components.rs`; a
//! test holds them against the types that are really written.

mod components;

use serde_json::{Map, Value, json};
use tally_protocol::id::Stream;

use crate::plugin::{Plugin, PluginRoute};

pub use components::components;

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the path; always required.
    Path,
    /// In the query.
    Query {
        /// Whether it must be there.
        required: bool,
    },
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A hyphenated UUID.
    Uuid,
    /// A number from 0.
    Number,
    /// Any text.
    Text,
}

/// A parameter of a route.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// What it may be.
    pub kind: Kind,
    /// For people.
    pub about: &'static str,
}

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// JSON of the named component.
    Json(&'static str),
    /// One JSON object of the named component per line.
    Lines(&'static str),
    /// Text of some content type.
    Text(&'static str),
    /// Bytes of some content type.
    Bytes(&'static str),
}

/// An answer of a route.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// For people.
    pub about: &'static str,
    /// The body's forms; empty for none.
    pub content: &'static [Content],
}

/// One operation, as the document shows it.
#[derive(Debug, Clone)]
pub struct RouteDoc {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// The operation's unique name.
    pub id: &'static str,
    /// The group it is shown in.
    pub tag: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Who may call it, in words.
    pub access: String,
    /// Whether a credential is needed.
    pub authenticated: bool,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// The forms of its request body; empty for none.
    pub request: &'static [Content],
    /// Its good answers; errors are the same for all.
    pub answers: &'static [Answer],
}

fn media(content: &[Content]) -> Value {
    let mut forms = Map::new();
    for form in content {
        let (name, schema) = match *form {
            Content::Json(name) => ("application/json", reference(name)),
            Content::Lines(name) => ("application/x-ndjson", reference(name)),
            Content::Text(name) => (name, json!({"type": "string"})),
            Content::Bytes(name) => (name, json!({"type": "string", "format": "binary"})),
        };
        forms.insert(name.to_owned(), json!({ "schema": schema }));
    }
    Value::Object(forms)
}

/// A reference to a component.
#[must_use]
pub fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn parameter(parameter: &Parameter) -> Value {
    let (place, required) = match parameter.place {
        Place::Path => ("path", true),
        Place::Query { required } => ("query", required),
    };
    let schema = match parameter.kind {
        Kind::Uuid => json!({"type": "string", "format": "uuid"}),
        Kind::Number => json!({"type": "integer", "minimum": 0}),
        Kind::Text => json!({"type": "string"}),
    };
    json!({
        "name": parameter.name, "in": place, "required": required,
        "description": parameter.about, "schema": schema,
    })
}

/// The marketplace's refusals have a shape of their own.
fn refusal_of(path: &str) -> Value {
    let name = if path.starts_with("/market/") { "MarketError" } else { "Error" };
    json!({ "$ref": format!("#/components/responses/{name}") })
}

fn operation(route: &RouteDoc) -> Value {
    let mut responses = Map::new();
    for answer in route.answers {
        let mut body = json!({ "description": answer.about });
        if !answer.content.is_empty() {
            body["content"] = media(answer.content);
        }
        responses.insert(answer.status.to_string(), body);
    }
    responses.insert("default".into(), refusal_of(route.path));
    let mut operation = json!({
        "operationId": route.id,
        "tags": [route.tag],
        "summary": route.summary,
        "description": format!("Who may call it: {}.", route.access),
        "parameters": route.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "responses": responses,
        "security": if route.authenticated { json!([{ "apiKey": [] }]) } else { json!([]) },
    });
    if !route.request.is_empty() {
        operation["requestBody"] = json!({ "required": true, "content": media(route.request) });
    }
    operation
}

/// The document of all routes.
#[must_use]
pub fn document<'a>(version: &str, routes: impl IntoIterator<Item = &'a RouteDoc>) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tally",
            "version": version,
            "description": "A verifiable sequencer: signed events in, proven receipts out.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": components(),
            "responses": {
                "Error": {
                    "description": "The request was refused. Nothing was taken.",
                    "content": { "application/json": { "schema": reference("ErrorBody") } },
                },
                "MarketError": {
                    "description": "The request was refused. With a receipt: by a plugin, and the event is in the log.",
                    "content": { "application/json": { "schema": reference("MarketErrorBody") } },
                },
            },
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key: sk_live_... on a live node, sk_test_... on a test node.",
                },
            },
        },
    })
}

/// Whether a segment of a declared path stands for a parameter, and its name.
#[must_use]
pub fn parameter_of(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    (!name.is_empty() && !name.contains(['{', '}'])).then_some(name)
}

fn path_parameters(route: &PluginRoute) -> Vec<Value> {
    let parameters = route.path.split('/').filter_map(parameter_of);
    parameters.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})).collect()
}

fn plugin_operation(plugin: &Plugin, route: &PluginRoute) -> Value {
    let mut parameters = path_parameters(route);
    let command = reference("CommandAnswer");
    let json_of = |schema: Value| json!({ "application/json": { "schema": schema } });
    let mut operation = json!({
        "operationId": format!("{}.{}", plugin.plugin, route.name),
        "tags": [plugin.plugin],
        "security": [{ "apiKey": [] }],
    });
    match &route.event {
        Some(event) => {
            operation["summary"] =
                Value::from(format!("Submit one signed event of type {event}, and await its outcome."));
            operation["requestBody"] = json!({ "required": true, "content": media(&[
                Content::Json("SubmitRequest"),
                Content::Bytes(crate::submit::FRAMES),
            ]) });
            operation["responses"] = json!({
                "200": { "description": "In the log and applied.", "content": json_of(command.clone()) },
                "202": { "description": "In the log; not applied yet.", "content": json_of(command) },
            });
        }
        None => {
            parameters.push(json!({
                "name": "query", "in": "query", "required": false, "style": "form", "explode": true,
                "description": "The plugin's own parameters, all text, each once.",
                "schema": { "type": "object", "additionalProperties": { "type": "string" } },
            }));
            operation["summary"] = Value::from("Ask the plugin.");
            operation["responses"] = json!({
                "200": { "description": "The plugin's answer.", "content": json_of(reference("PluginJson")) },
            });
        }
    }
    operation["responses"]["default"] = json!({ "$ref": "#/components/responses/Error" });
    operation["parameters"] = Value::Array(parameters);
    operation
}

/// The document with the routes that the plugins of a stream declare, below `/plugins/{tenant}/{store}/{plugin}`.
#[must_use]
pub fn with_plugins(mut document: Value, stream: &Stream, plugins: &[Plugin]) -> Value {
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else { return document };
    for plugin in plugins {
        for route in &plugin.routes {
            let path = format!("/plugins/{}/{}/{}{}", stream.tenant, stream.store, plugin.plugin, route.path);
            let path = paths.entry(path).or_insert_with(|| json!({}));
            path[route.method.to_lowercase()] = plugin_operation(plugin, route);
        }
    }
    document
}

/// A route as `/market` serves it: a question to a plugin, or a command for it.
fn market_operation(plugin: &Plugin, route: &PluginRoute, public: bool) -> Value {
    let mut parameters = path_parameters(route);
    let answer =
        |about: &str, name: &'static str| json!({ "description": about, "content": media(&[Content::Json(name)]) });
    let mut operation = json!({
        "operationId": format!("market.{}.{}", plugin.plugin, route.name),
        "tags": ["market"],
        "security": if public { json!([]) } else { json!([{ "apiKey": [] }]) },
    });
    match &route.event {
        Some(event) => {
            operation["summary"] = Value::from(format!("{event}: as members, or as one signed event."));
            parameters.push(json!({
                "name": "Idempotency-Key", "in": "header", "required": false,
                "description": "Needed unless the body is a signed event: 1 to 255 visible ASCII characters.",
                "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
            }));
            operation["requestBody"] = json!({ "required": true, "content": {
                "application/json": { "schema": { "anyOf": [reference("MarketCommand"), reference("SubmitRequest")] } },
                crate::submit::FRAMES: { "schema": { "type": "string", "format": "binary" } },
            } });
            operation["responses"] = json!({
                "200": answer("Accepted.", "MarketDone"),
                "201": answer("Accepted; something new was made.", "MarketDone"),
                "202": answer("In the log; not decided yet.", "MarketPending"),
            });
        }
        None => {
            parameters.push(json!({
                "name": "query", "in": "query", "required": false, "style": "form", "explode": true,
                "description": "The plugin's own parameters, all text, each once.",
                "schema": { "type": "object", "additionalProperties": { "type": "string" } },
            }));
            operation["summary"] = Value::from("Ask the plugin.");
            operation["responses"] = json!({ "200": answer("The plugin's answer.", "MarketAnswer") });
        }
    }
    operation["responses"]["default"] = refusal_of("/market/");
    operation["parameters"] = Value::Array(parameters);
    operation
}

/// The document with the routes of the marketplace, below `/market`: those of its plugins in their order, the first of a
/// path and method. `is_public` says which questions need no credential.
#[must_use]
pub fn with_market(mut document: Value, plugins: &[Plugin], is_public: impl Fn(&PluginRoute) -> bool) -> Value {
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else { return document };
    for plugin in plugins {
        for route in &plugin.routes {
            let path = paths.entry(format!("/market{}", route.path)).or_insert_with(|| json!({}));
            let method = &mut path[route.method.to_lowercase()];
            if method.is_null() {
                *method = market_operation(plugin, route, is_public(route));
            }
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_segment_in_braces_is_a_parameter() {
        assert_eq!(["{sku}", "{a-b}"].map(parameter_of), [Some("sku"), Some("a-b")]);
        for literal in ["", "sku", "{}", "{sku", "sku}", "{sku}.json", "x{sku}", "{{sku}}", "{a}{b}"] {
            assert_eq!(parameter_of(literal), None, "{literal}");
        }
    }
}
