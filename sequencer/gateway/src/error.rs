//! What a handler gives instead of an answer, and the one place where it becomes a response.
//!
//! Codes, numbers and statuses are the table in `tally_api::error`; here are the maps from the core's refusals into
//! it. Reasons of the node's own state (paths, disk errors) stay in the log: a client learns the kind, not the detail.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use tally_api::error::{ErrorBody, ErrorCode, ErrorDetail};
use tally_api::market::{CommandReceipt, MarketErrorBody, MarketErrorDetail};
use tally_core::{OutcomeUnknown, ReadError, Refused};
use tally_protocol::error::Reject;
use tally_protocol::quic;

use crate::credential::CredentialError;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) code: ErrorCode,
    /// Where a plugin has its own.
    status: Option<u16>,
    message: Cow<'static, str>,
    details: Option<Value>,
    retry_after: Option<u64>,
    /// The same in milliseconds, where that is known better than in seconds.
    retry_after_ms: Option<u64>,
    /// What only the marketplace says; apart, because every fallible function carries the size of this.
    market: Option<Box<OfMarket>>,
}

/// What the marketplace says of a refusal.
#[derive(Debug, Default)]
struct OfMarket {
    /// A name that is not in the table.
    name: Option<Cow<'static, str>>,
    /// Of a command that a plugin refused: where its event is.
    receipt: Option<CommandReceipt>,
}

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            status: None,
            message: message.into(),
            details: None,
            retry_after: None,
            retry_after_ms: None,
            market: None,
        }
    }

    /// A member, parameter or path segment that breaks its rule.
    pub(crate) fn field(field: &'static str, rule: &str) -> Self {
        Self::of_field(ErrorCode::InvalidFieldValue, field, rule)
    }

    pub(crate) fn of_field(code: ErrorCode, field: &'static str, rule: &str) -> Self {
        Self::new(code, format!("{field} {rule}")).with(json!({ "field": field, "rule": rule }))
    }

    pub(crate) fn busy() -> Self {
        Self::new(ErrorCode::RateLimitExceeded, "the node is busy").after(1)
    }

    pub(crate) fn no_plugins() -> Self {
        Self::new(ErrorCode::PluginsNotEnabled, "this node runs no plugins")
    }

    pub(crate) fn with(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    pub(crate) fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    fn after_ms(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self.after(milliseconds.div_ceil(1000).max(1))
    }

    /// The refusal as it travels over QUIC: the same code and words.
    pub(crate) fn refused(&self, number: u64) -> quic::Refused {
        let milliseconds = self.retry_after_ms.or(self.retry_after.map(|seconds| seconds.saturating_mul(1000)));
        let after = u32::try_from(milliseconds.unwrap_or(0)).unwrap_or(u32::MAX);
        quic::Refused::new(number, self.code.numeric_code(), after, &self.message)
    }

    /// The end of a feed or a session as it travels over QUIC.
    pub(crate) fn go_away(&self) -> quic::GoAway {
        quic::GoAway::new(self.code.numeric_code(), &self.message)
    }

    /// A fault of ours: said to the operator, hidden from the client.
    pub(crate) fn internal(why: &dyn core::fmt::Display) -> Self {
        tracing::error!(%why, "a request failed inside the gateway");
        Self::new(ErrorCode::InternalError, "the server failed")
    }

    /// The refusal of a single control event, which is the refusal of the request.
    pub(crate) fn control(reject: &Reject) -> Self {
        Self::new(ErrorCode::ControlRefused, reject.message.clone()).with(json!({
            "reason": reject.code.as_str(),
            "field": reject.field,
        }))
    }

    /// The refusal of a command's event, which is the refusal of the request.
    pub(crate) fn event(reject: &Reject) -> Self {
        Self { code: ErrorCode::EventRefused, ..Self::control(reject) }
    }

    /// With another status than the table's.
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// A refusal of the marketplace with a name of its own; the table's code stands for it in measurements.
    pub(crate) fn market(
        code: ErrorCode,
        (name, status): (impl Into<Cow<'static, str>>, u16),
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let market = OfMarket { name: Some(name.into()), receipt: None };
        Self { market: Some(Box::new(market)), ..Self::new(code, message).with_status(status) }
    }

    /// Of a command whose event is in the log.
    pub(crate) fn at(mut self, receipt: CommandReceipt) -> Self {
        self.market.get_or_insert_default().receipt = Some(receipt);
        self
    }

    /// The shape of the marketplace. Nothing in it is of one request only: a repetition is answered byte for byte.
    pub(crate) fn into_market_response(self) -> Response<Body> {
        let OfMarket { name, receipt } = self.market.map(|market| *market).unwrap_or_default();
        let error = MarketErrorDetail {
            code: name.unwrap_or(Cow::Borrowed(self.code.as_str())).into_owned(),
            message: self.message.into_owned(),
            details: self.details.unwrap_or_else(|| json!({})),
        };
        let body = MarketErrorBody { error, ok: false, receipt };
        let status = self.status.unwrap_or(self.code.status());
        response(serde_json::to_vec(&body).unwrap_or_default(), status, self.retry_after, self.status.is_none())
    }

    pub(crate) fn into_response(self, request_id: &str) -> Response<Body> {
        let body = ErrorBody {
            error: ErrorDetail {
                code: self.code,
                numeric_code: self.code.numeric_code(),
                message: self.message.into_owned(),
                details: self.details,
                retry_after: self.retry_after,
                request_id: request_id.to_owned(),
            },
        };
        let status = self.status.unwrap_or(self.code.status());
        let mut response =
            response(serde_json::to_vec(&body).unwrap_or_default(), status, self.retry_after, self.status.is_none());
        response.headers_mut().insert("x-error-code", HeaderValue::from_static(self.code.as_str()));
        response
    }
}

fn response(body: Vec<u8>, status: u16, retry_after: Option<u64>, asks_credential: bool) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    // Not where a plugin says 401: its credentials are not this door's.
    if status == 401 && asks_credential {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Busy { retry_after_ms } => {
                Self::new(ErrorCode::RateLimitExceeded, "the sequencer is busy; nothing was taken")
                    .with(json!({ "retry_after_ms": retry_after_ms }))
                    .after_ms(retry_after_ms)
            }
            Refused::Count { max, .. } => {
                Self::new(ErrorCode::BatchTooLarge, format!("a request holds 1 to {max} events"))
            }
            Refused::TooLarge { max, .. } => {
                Self::new(ErrorCode::PayloadTooLarge, format!("the events of one request hold at most {max} bytes"))
            }
            Refused::Draining => {
                Self::new(ErrorCode::Draining, "the node is shutting down; nothing was taken").after(1)
            }
            Refused::ReadOnly(why) => {
                tracing::warn!(%why, "refused a write: the node serves reads only");
                Self::new(ErrorCode::ReadOnly, "the node serves reads only; nothing was taken").after(30)
            }
            Refused::Poisoned(why) => {
                tracing::error!(%why, "refused a write: the sequencer is stopped");
                Self::new(ErrorCode::Poisoned, "the sequencer is stopped; nothing was taken").after(30)
            }
        }
    }
}

impl From<OutcomeUnknown> for ApiError {
    fn from(_: OutcomeUnknown) -> Self {
        let message = "the sequencer stopped before the outcome was known; retry with the same event ids";
        Self::new(ErrorCode::OutcomeUnknown, message).after(1)
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound => Self::new(ErrorCode::ResourceNotFound, "not found"),
            ReadError::NotYet { rung } => {
                Self::new(ErrorCode::NotYet, format!("the log is not that far: not {} yet", rung.name()))
                    .with(json!({ "rung": rung.name() }))
                    .after(1)
            }
            ReadError::Invalid(rule) => Self::new(ErrorCode::InvalidFieldValue, rule),
            ReadError::Storage(why) => {
                tracing::error!(%why, "a read failed");
                Self::new(ErrorCode::StorageError, "a read failed").after(1)
            }
            ReadError::Damaged { index, what } => {
                tracing::error!(%index, what, "the log is damaged");
                Self::new(ErrorCode::InternalError, "the log is damaged; the operator was told")
            }
        }
    }
}

impl From<CredentialError> for ApiError {
    fn from(error: CredentialError) -> Self {
        tracing::error!(%error, "the credential store failed");
        Self::new(ErrorCode::ServiceUnavailable, "the credential store failed").after(1)
    }
}
