//! One admitted request, as handlers see it: who calls, what the path and query say, and the body not read yet.
//!
//! Reading is strict: a parameter twice, or one that the route does not have (on our own surface), is an error. The
//! path and query are percent-decoded once. Messages name parameters of the route table, never what was sent.

use std::str::FromStr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::HeaderMap;
use tally_api::error::ErrorCode;
use tally_api::openapi::{Parameter, Place};
use tally_core::Reader;
use tally_protocol::id::{AgentId, Index, Sequence, StoreId, Stream, TenantId};

use crate::Gateway;
use crate::auth::Caller;
use crate::error::ApiError;

/// One admitted request.
pub(crate) struct Call {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) caller: Caller,
    pub(super) params: Vec<(String, String)>,
    pub(super) query: Query,
    /// As the client wrote it: a plugin's route has parameters that the table does not know.
    pub(super) raw_query: String,
    /// As the client wrote it.
    pub(super) path: String,
    pub(crate) headers: HeaderMap,
    /// A body may be handed to another thread but not shared; the lock makes it so, and is never contended.
    pub(super) body: Mutex<Body>,
}

/// How long a read waits for its turn before the caller is told that the node is busy.
pub(super) const READ_TURN: std::time::Duration = std::time::Duration::from_secs(2);

impl Call {
    /// A segment of the path.
    pub(crate) fn param(&self, name: &'static str) -> Result<&str, ApiError> {
        let found = self.params.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| ApiError::field(name, "is missing"))
    }

    fn param_as<T: FromStr>(&self, name: &'static str, rule: &'static str) -> Result<T, ApiError> {
        self.param(name)?.parse().map_err(|_| ApiError::field(name, rule))
    }

    /// A UUID in the path.
    pub(crate) fn param_id<T: FromStr>(&self, name: &'static str) -> Result<T, ApiError> {
        self.param_as(name, UUID)
    }

    /// A number in the path.
    pub(crate) fn param_number(&self, name: &'static str) -> Result<u64, ApiError> {
        number(self.param(name)?).ok_or_else(|| ApiError::field(name, NUMBER))
    }

    /// The position of the log in the path.
    pub(crate) fn index(&self) -> Result<Index, ApiError> {
        self.param_number("index").map(Index::new)
    }

    /// The stream in the path; the caller must reach it.
    pub(crate) fn stream_of_path(&self) -> Result<Stream, ApiError> {
        let stream = Stream::new(self.param_id("tenant")?, self.param_id("store")?);
        self.caller.must_reach(stream)?;
        Ok(stream)
    }

    /// The agent in the path; the caller must reach its tenant.
    pub(crate) fn agent_of_path(&self) -> Result<(TenantId, AgentId), ApiError> {
        let (tenant, agent) = (self.param_id("tenant")?, self.param_id("agent")?);
        self.caller.must_reach_tenant(tenant)?;
        Ok((tenant, agent))
    }

    /// A parameter of the query.
    pub(crate) fn query(&self, name: &'static str) -> Option<&str> {
        self.query.get(name)
    }

    /// A UUID in the query.
    pub(crate) fn query_id<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, ApiError> {
        self.query(name).map(|text| text.parse().map_err(|_| ApiError::field(name, UUID))).transpose()
    }

    /// A UUID that must be in the query.
    pub(crate) fn required_id<T: FromStr>(&self, name: &'static str) -> Result<T, ApiError> {
        self.query_id(name)?.ok_or_else(|| ApiError::field(name, "is missing"))
    }

    /// A number in the query.
    pub(crate) fn query_number(&self, name: &'static str) -> Result<Option<u64>, ApiError> {
        self.query(name).map(|text| number(text).ok_or_else(|| ApiError::field(name, NUMBER))).transpose()
    }

    /// A number that must be in the query.
    pub(crate) fn required_number(&self, name: &'static str) -> Result<u64, ApiError> {
        self.query_number(name)?.ok_or_else(|| ApiError::field(name, "is missing"))
    }

    /// The stream in the query (the VES surface's way); the caller must reach it.
    pub(crate) fn stream_of_query(&self) -> Result<Stream, ApiError> {
        let (tenant, store): (TenantId, StoreId) = (self.required_id("tenant_id")?, self.required_id("store_id")?);
        let stream = Stream::new(tenant, store);
        self.caller.must_reach(stream)?;
        Ok(stream)
    }

    /// `limit` of the query: 1 to the bound, 100 if left out.
    pub(crate) fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.query_number("limit")?.unwrap_or(100);
        if limit == 0 {
            return Err(ApiError::field("limit", "must not be 0"));
        }
        Ok(usize::try_from(limit).unwrap_or(usize::MAX).min(self.gateway.config.limits.page_events_max))
    }

    /// `from` of the query as a sequence: 1 if left out.
    pub(crate) fn first_sequence(&self) -> Result<Sequence, ApiError> {
        Ok(Sequence::new(self.query_number("from")?.unwrap_or(1).max(1)))
    }
}

const UUID: &str = "must be a hyphenated UUID";
const NUMBER: &str = "must be a number without sign";

/// Plain digits, one text per number.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

impl Gateway {
    /// Runs a read from the log off the async threads, a bounded number at a time.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = tokio::time::timeout(READ_TURN, Arc::clone(&self.reads).acquire_owned()).await;
        let Ok(Ok(permit)) = turn else { return Err(ApiError::busy()) };
        let reader = self.reader.clone();
        let result = tokio::task::spawn_blocking(move || {
            let result = work(&reader);
            drop(permit);
            result
        });
        result.await.map_err(|error| ApiError::internal(&error))?
    }
}

/// The parameters of a query.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads a raw query. Only parameters of the route are kept; others are an error unless `lenient`.
    pub(super) fn read(raw: &str, known: &'static [Parameter], lenient: bool) -> Result<Self, ApiError> {
        let malformed = || ApiError::new(ErrorCode::InvalidFieldValue, "the query is malformed");
        let mut found: Vec<(&'static str, String)> = Vec::new();
        for (name, value) in query_pairs(raw).ok_or_else(malformed)? {
            let is_known = |parameter: &&Parameter| parameter.place != Place::Path && parameter.name == name;
            let Some(parameter) = known.iter().find(is_known) else {
                if lenient {
                    continue;
                }
                return Err(ApiError::new(
                    ErrorCode::UnknownField,
                    "the query has a parameter that the route does not have",
                ));
            };
            if found.iter().any(|(other, _)| *other == parameter.name) {
                return Err(ApiError::field(parameter.name, "occurs twice"));
            }
            found.push((parameter.name, value));
        }
        Ok(Self(found))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}

/// Names and values of a raw query, decoded; `None` if it is malformed.
pub(super) fn query_pairs(raw: &str) -> Option<Vec<(String, String)>> {
    let pairs = raw.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name, b' ')?, decode(value, b' ')?))
        })
        .collect()
}

/// A segment of a raw path, decoded; `None` if it is malformed.
pub(super) fn decode_segment(raw: &str) -> Option<String> {
    decode(raw, b'+')
}

/// Undoes percent encoding. A plus stands for a blank in a query, as forms write it, and for itself in a path.
fn decode(text: &str, plus: u8) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => plus,
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high << 4 | low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use tally_api::openapi::Kind;

    use super::*;

    const KNOWN: &[Parameter] = &[
        Parameter { name: "from", place: Place::Query { required: false }, kind: Kind::Number, about: "" },
        Parameter { name: "tenant", place: Place::Path, kind: Kind::Uuid, about: "" },
    ];

    #[test]
    fn a_query_is_read_strictly_on_our_surface_and_leniently_on_the_other() {
        let get = |raw, lenient| Query::read(raw, KNOWN, lenient).map(|query| query.get("from").map(str::to_owned));
        assert_eq!(get("from=1", false).unwrap().as_deref(), Some("1"));
        assert_eq!(get("", false).unwrap(), None);
        assert_eq!(get("fr%6Fm=%31", false).unwrap().as_deref(), Some("1"));
        assert_eq!(get("other=2&from=1", true).unwrap().as_deref(), Some("1"));
        for bad in ["other=2", "from=1&from=2", "from=1&fr%6fm=2", "from=%zz", "from=%f", "from=%ff", "tenant=1"] {
            assert!(get(bad, false).is_err(), "{bad}");
        }
        assert!(get("from=1&from=1", true).is_err());
    }

    #[test]
    fn a_number_has_one_text() {
        assert_eq!(["0", "7", "18446744073709551615"].map(number), [Some(0), Some(7), Some(u64::MAX)]);
        for bad in ["", "00", "01", "+1", "-1", "1.0", "1e3", " 1", "18446744073709551616", "\u{0661}"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
