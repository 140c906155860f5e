//! Answers: JSON, bytes and text with their headers.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::Reply;
use crate::error::ApiError;

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 200 with JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Reply {
    json_with(StatusCode::OK, value)
}

/// Some status with JSON.
pub(crate) fn json_with<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    encoded(status, encode(value)?)
}

/// JSON text of a value.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(value).map_err(|error| ApiError::internal(&error))
}

/// JSON that is text already.
#[expect(clippy::unnecessary_wraps, reason = "a handler's last expression")]
pub(crate) fn encoded(status: StatusCode, body: Vec<u8>) -> Reply {
    Ok(response(status, "application/json", Body::from(body)))
}

/// 200 with some other content.
pub(crate) fn content(content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    response(StatusCode::OK, content_type, body.into())
}

/// Lets caches keep an answer: for good if it can never change, shared only if anyone may have it.
pub(crate) fn cached(mut response: Response<Body>, immutable: bool, public: bool) -> Response<Body> {
    let value = match (immutable, public) {
        (true, true) => "public, max-age=31536000, immutable",
        (true, false) => "private, max-age=31536000, immutable",
        (false, true) => "public, max-age=1",
        (false, false) => "private, max-age=1",
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
    response
}
