//! Which of a plugin's declared routes a request means.
//!
//! Takes the routes, a method and the segments of a path, decoded one by one; gives the route and what its parameters
//! stand for. A segment matches itself or `{name}`; where several routes fit, the one with the earlier literal is meant.
//! A query is asked with GET, a command is given with POST, PUT or DELETE; routes declared otherwise do not exist.

use std::collections::BTreeMap;

use tally_api::openapi::parameter_of;

use crate::plugins::PluginRoute;

/// A path below a plugin: `/` and segments.
pub(super) const PATH_BYTES_MAX: usize = 2048;

/// A route, and the parts of the path that its parameters name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meant<'a> {
    pub(super) route: &'a PluginRoute,
    pub(super) args: BTreeMap<String, String>,
}

/// Why no route is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// There is none of this path.
    Path,
    /// There is, with another method.
    Method,
}

/// Whether a route is one that is served: its method fits what it is.
pub(super) fn is_served(route: &PluginRoute) -> bool {
    match &route.event {
        None => route.method == "GET",
        Some(_) => matches!(route.method.as_str(), "POST" | "PUT" | "DELETE"),
    }
}

/// What a template's parameters stand for, and where they are; `None` if the path is another.
fn matched(template: &str, segments: &[String]) -> Option<(Vec<bool>, BTreeMap<String, String>)> {
    let parts: Vec<&str> = template.strip_prefix('/')?.split('/').collect();
    if parts.len() != segments.len() {
        return None;
    }
    let mut args = BTreeMap::new();
    let mut open = Vec::with_capacity(parts.len());
    for (part, segment) in parts.into_iter().zip(segments) {
        let name = parameter_of(part);
        open.push(name.is_some());
        match name {
            // A name that stands twice stands for one thing.
            Some(name) if args.get(name).is_some_and(|other| other != segment) => return None,
            Some(name) => drop(args.insert(name.to_owned(), segment.clone())),
            None if part == segment => {}
            None => return None,
        }
    }
    Some((open, args))
}

/// The route that is meant.
pub(super) fn find<'a>(routes: &'a [PluginRoute], method: &str, segments: &[String]) -> Result<Meant<'a>, Missed> {
    let mut best: Option<(Vec<bool>, Meant<'a>)> = None;
    let mut missed = Missed::Path;
    for route in routes.iter().filter(|route| is_served(route)) {
        let Some((open, args)) = matched(&route.path, segments) else { continue };
        if route.method != method {
            missed = Missed::Method;
        } else if best.as_ref().is_none_or(|(other, _)| open < *other) {
            best = Some((open, Meant { route, args }));
        }
    }
    best.map(|(_, meant)| meant).ok_or(missed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, path: &str, event: Option<&str>) -> PluginRoute {
        let (method, path) = (method.to_owned(), path.to_owned());
        PluginRoute { name: format!("{method} {path}"), method, path, event: event.map(str::to_owned) }
    }

    fn routes() -> Vec<PluginRoute> {
        vec![
            route("GET", "/items/{sku}", None),
            route("GET", "/items/new", None),
            route("GET", "/{kind}/new", None),
            route("GET", "/items/{sku}/parts/{part}", None),
            route("GET", "/twice/{x}/{x}", None),
            route("GET", "/files/{name}.json", None),
            route("GET", "/sneaky", Some("order.placed")),
            route("POST", "/loud", None),
            route("POST", "/orders", Some("order.placed")),
            route("PUT", "/orders/{id}", Some("order.changed")),
        ]
    }

    fn found(method: &str, path: &str) -> Result<(String, Vec<(String, String)>), Missed> {
        let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        find(&routes(), method, &segments).map(|meant| (meant.route.path.clone(), meant.args.into_iter().collect()))
    }

    fn arg(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_segment_is_itself_or_a_parameter_and_the_earlier_literal_wins() {
        assert_eq!(found("GET", "items/lamp"), Ok(("/items/{sku}".to_owned(), vec![arg("sku", "lamp")])));
        assert_eq!(found("GET", "items/new"), Ok(("/items/new".to_owned(), vec![])));
        assert_eq!(found("GET", "shops/new"), Ok(("/{kind}/new".to_owned(), vec![arg("kind", "shops")])));
        let parts = vec![arg("part", "2"), arg("sku", "lamp")];
        assert_eq!(found("GET", "items/lamp/parts/2"), Ok(("/items/{sku}/parts/{part}".to_owned(), parts)));
        assert_eq!(found("GET", "twice/a/a"), Ok(("/twice/{x}/{x}".to_owned(), vec![arg("x", "a")])));
        assert_eq!(found("GET", "files/{name}.json"), Ok(("/files/{name}.json".to_owned(), vec![])));
        assert_eq!(found("PUT", "orders/7"), Ok(("/orders/{id}".to_owned(), vec![arg("id", "7")])));
    }

    #[test]
    fn what_is_not_declared_or_declared_wrongly_does_not_exist() {
        for (method, path) in [
            ("GET", "items"),
            ("GET", "items/lamp/parts"),
            ("GET", "twice/a/b"),
            ("GET", "files/a.json"),
            ("GET", "sneaky"),
            ("POST", "sneaky"),
            ("POST", "loud"),
            ("GET", "loud"),
            ("GET", "Items/lamp"),
        ] {
            assert_eq!(found(method, path), Err(Missed::Path), "{method} {path}");
        }
        for (method, path) in [("POST", "items/lamp"), ("GET", "orders"), ("PUT", "orders"), ("POST", "orders/7")] {
            assert_eq!(found(method, path), Err(Missed::Method), "{method} {path}");
        }
    }
}
