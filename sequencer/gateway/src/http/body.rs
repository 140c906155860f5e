//! Request bodies: read with a bound on bytes and time, and JSON requests of the small kind.
//!
//! A body that says it is too long is refused before a byte of it is read; one that turns out to be is refused at the
//! first byte too many, so an endless body costs the limit and no more (S-004). All bodies in flight share a budget.

use std::sync::PoisonError;

use axum::body::Body;
use axum::http::header;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use serde::de::DeserializeOwned;
use serde_json::json;
use tally_api::error::ErrorCode;
use tally_api::submit::FRAMES;

use super::call::Call;
use crate::error::ApiError;
use crate::limits::BytePermit;

/// Requests that are not events are small.
const SMALL_BYTES_MAX: usize = 64 << 10;

/// What a body is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Frames,
}

impl Call {
    /// The content type, if it is one that some route takes. None said means JSON.
    pub(crate) fn media(&self) -> Result<Media, ApiError> {
        match self.content_type().as_deref() {
            None | Some("application/json") => Ok(Media::Json),
            Some(FRAMES) => Ok(Media::Frames),
            Some(_) => Err(ApiError::new(ErrorCode::UnsupportedMediaType, "the route does not take this content type")),
        }
    }

    /// The content type without its parameters, in small letters; empty if it is none that can be read.
    pub(crate) fn content_type(&self) -> Option<String> {
        let value = self.headers.get(header::CONTENT_TYPE)?;
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        Some(essence.to_ascii_lowercase())
    }

    /// Reads the whole body. The permit must live as long as the bytes.
    pub(crate) async fn bytes(&mut self) -> Result<(Bytes, BytePermit), ApiError> {
        let bytes_max = self.gateway.config.limits.body_bytes_max;
        self.bytes_up_to(bytes_max).await
    }

    /// The same with a bound of the route's own.
    pub(crate) async fn bytes_up_to(&mut self, bytes_max: usize) -> Result<(Bytes, BytePermit), ApiError> {
        let permit = self.gateway.bodies.permit();
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        let timeout = self.gateway.config.limits.body_timeout;
        let read = tokio::time::timeout(timeout, read(body, bytes_max, permit)).await;
        let (bytes, permit) =
            read.map_err(|_| ApiError::new(ErrorCode::RequestTimeout, "the body did not arrive in time"))??;
        self.gateway.metrics.body_bytes.add(bytes.len() as u64);
        Ok((bytes, permit))
    }

    /// A small JSON request.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, ApiError> {
        self.json_up_to(SMALL_BYTES_MAX).await
    }

    /// A JSON request with a bound of the route's own.
    pub(crate) async fn json_up_to<T: DeserializeOwned>(&mut self, bytes_max: usize) -> Result<T, ApiError> {
        if self.media()? != Media::Json {
            return Err(ApiError::new(ErrorCode::UnsupportedMediaType, "the route takes application/json"));
        }
        let (bytes, _permit) = self.bytes_up_to(bytes_max).await?;
        serde_json::from_slice(&bytes).map_err(|error| json_error(&error))
    }
}

fn too_long(bytes_max: usize) -> ApiError {
    ApiError::new(ErrorCode::PayloadTooLarge, format!("the body is longer than {bytes_max} bytes"))
        .with(json!({ "bytes_max": bytes_max }))
}

async fn read(mut body: Body, bytes_max: usize, mut permit: BytePermit) -> Result<(Bytes, BytePermit), ApiError> {
    let expected = body.size_hint();
    if expected.lower() > bytes_max as u64 {
        return Err(too_long(bytes_max));
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::new(ErrorCode::InvalidRequestBody, "the body broke off"))?;
        // Trailers mean nothing here.
        let Ok(chunk) = frame.into_data() else { continue };
        if first.len() + all.len() + chunk.len() > bytes_max {
            return Err(too_long(bytes_max));
        }
        if !permit.grow(chunk.len()) {
            return Err(ApiError::busy());
        }
        // Most bodies come in one piece, which is kept as it is.
        if first.is_empty() && all.is_empty() {
            first = chunk;
            continue;
        }
        if all.is_empty() {
            let upper = usize::try_from(expected.exact().unwrap_or(0)).unwrap_or(0).min(bytes_max);
            all.reserve(upper.max(first.len() + chunk.len()));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&chunk);
    }
    Ok((if all.is_empty() { first } else { all.freeze() }, permit))
}

/// What a JSON request is refused with. The reader's own messages may repeat what was sent; only those are used that
/// name nothing but our own members (S-011).
fn json_error(error: &serde_json::Error) -> ApiError {
    let at = json!({ "line": error.line(), "column": error.column() });
    let text = error.to_string();
    if text.starts_with("unknown field") {
        return ApiError::new(ErrorCode::UnknownField, "the request has a member that it should not have").with(at);
    }
    let named = ["missing field `", "duplicate field `"].iter().find_map(|start| {
        let member = text.strip_prefix(start)?.split('`').next()?;
        Some(format!("{} {member}", start.trim_end_matches([' ', '`'])))
    });
    if error.is_data() {
        let message = named.unwrap_or_else(|| "a member has the wrong type or form".to_owned());
        return ApiError::new(ErrorCode::MissingRequiredField, message).with(at);
    }
    ApiError::new(ErrorCode::InvalidRequestBody, "the body is not JSON").with(at)
}
