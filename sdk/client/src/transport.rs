//! HTTP: one request with its retries, and what the answers mean. The only file that speaks reqwest.

use core::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tally_api::error::{ErrorBody, ErrorCode};

use crate::error::{ClientError, Refusal};
use crate::plugins::Verb;
use crate::retry::RetryPolicy;
use crate::tls::{TlsConfig, install_crypto};

/// No answer that the client asks for is longer: a page holds at most 1000 events or 16 MiB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// An API key; its debug text does not show it.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// From the key's text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl ApiKey {
    /// The key's text.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// What TLS trusts beside the platform's roots, and how long to wait.
#[derive(Debug, Clone)]
pub(crate) struct TransportConfig {
    pub(crate) base_url: String,
    pub(crate) api_key: Option<ApiKey>,
    pub(crate) request_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) feed_idle_timeout: Duration,
    pub(crate) tls: TlsConfig,
    pub(crate) retry: RetryPolicy,
}

#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    base_url: String,
    request_timeout: Duration,
    feed_idle_timeout: Duration,
    retry: RetryPolicy,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: Method,
    path: String,
    body: Option<(&'static str, Bytes)>,
    repeat: Repeat,
}

/// When a request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// After any failure: doing it twice is the same as doing it once.
    Freely,
    /// The same, but what is not there yet is not waited for.
    ButNotForMore,
    /// Only where it is certain that nothing was done.
    IfNothingDone,
}

impl Repeat {
    fn after(self, refusal: &Refusal) -> bool {
        match self {
            Self::Freely => refusal.is_retryable(),
            Self::ButNotForMore => refusal.is_retryable() && refusal.code != Some(ErrorCode::NotYet),
            Self::IfNothingDone => refusal.took_nothing(),
        }
    }
}

impl Request {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, repeat: Repeat::Freely }
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, path: path.into(), body: None, repeat: Repeat::Freely }
    }

    pub(crate) fn post(path: impl Into<String>, content_type: &'static str, body: Bytes) -> Self {
        Self { method: Method::POST, path: path.into(), body: Some((content_type, body)), repeat: Repeat::Freely }
    }

    /// An act that the path says all about.
    pub(crate) fn post_nothing(path: impl Into<String>) -> Self {
        Self { method: Method::POST, path: path.into(), body: None, repeat: Repeat::Freely }
    }

    /// A command; a client's event ids make doing it twice the same as doing it once.
    pub(crate) fn send(verb: Verb, path: &str, content_type: &'static str, body: Bytes) -> Self {
        let method = match verb {
            Verb::Post => Method::POST,
            Verb::Put => Method::PUT,
            Verb::Delete => Method::DELETE,
        };
        Self { method, ..Self::post(path, content_type, body) }
    }

    pub(crate) fn post_json(path: impl Into<String>, body: &impl Serialize) -> Result<Self, ClientError> {
        let path = path.into();
        let body = serde_json::to_vec(body).map_err(|error| ClientError::malformed(&path, error))?;
        Ok(Self::post(path, "application/json", body.into()))
    }

    /// What is put twice is there once.
    pub(crate) fn put_json(path: impl Into<String>, body: &impl Serialize) -> Result<Self, ClientError> {
        Ok(Self { method: Method::PUT, ..Self::post_json(path, body)? })
    }

    /// Doing it twice would be wrong: it is repeated only where nothing was done.
    pub(crate) fn once(self) -> Self {
        Self { repeat: Repeat::IfNothingDone, ..self }
    }

    /// Asks for what is there now.
    pub(crate) fn without_waiting(self) -> Self {
        Self { repeat: Repeat::ButNotForMore, ..self }
    }
}

impl Http {
    pub(crate) fn new(config: &TransportConfig) -> Result<Self, ClientError> {
        let base_url = config.base_url.trim_end_matches('/').to_owned();
        if !base_url.starts_with("http://") && !base_url.starts_with("https://") {
            return Err(ClientError::Config("the base URL starts with http:// or https://".to_owned()));
        }
        let mut headers = HeaderMap::new();
        if let Some(ApiKey(key)) = &config.api_key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| ClientError::Config("the API key has characters that no header may hold".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        install_crypto();
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(config.connect_timeout)
            .redirect(reqwest::redirect::Policy::none());
        let tls = &config.tls;
        let mut roots = Vec::new();
        // A pinned certificate stands alone, here as its own root.
        for pem in tls.pinned_pem.as_ref().map_or(&tls.roots_pem[..], core::slice::from_ref) {
            let parsed = reqwest::Certificate::from_pem_bundle(pem);
            roots.extend(parsed.map_err(|_| ClientError::Config("a root certificate is not PEM".to_owned()))?);
        }
        if !roots.is_empty() {
            builder = builder.tls_certs_only(roots);
        }
        if let Some(identity) = &tls.identity_pem {
            let pem = [&identity.key_pem[..], b"\n", &identity.chain_pem].concat();
            let identity = reqwest::Identity::from_pem(&pem);
            let wrong = |_| ClientError::Config("the client certificate or key is not PEM".to_owned());
            builder = builder.identity(identity.map_err(wrong)?);
        }
        let client = builder.build().map_err(|error| ClientError::Config(error.to_string()))?;
        let (request_timeout, feed_idle_timeout) = (config.request_timeout, config.feed_idle_timeout);
        Ok(Self { client, base_url, request_timeout, feed_idle_timeout, retry: config.retry })
    }

    /// Sends and reads the answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: &Request) -> Result<T, ClientError> {
        let body = self.bytes(request).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::malformed(&request.path, error))
    }

    /// Sends and reads the answer's bytes, with retries.
    pub(crate) async fn bytes(&self, request: &Request) -> Result<Bytes, ClientError> {
        let mut attempt = 1;
        loop {
            let error = match self.attempt(request).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            let Some(pause) = self.pause_after(&error, attempt, request.repeat) else {
                return Err(error);
            };
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Opens an answer of unknown length (the feed); one attempt.
    pub(crate) async fn open(&self, path: &str, accept: &'static str) -> Result<Response, ClientError> {
        let url = format!("{}{path}", self.base_url);
        let sent = self.client.get(url).header(ACCEPT, HeaderValue::from_static(accept)).send();
        let sent = tokio::time::timeout(self.request_timeout, sent).await;
        let Ok(sent) = sent else {
            let message = "the feed did not open in time".to_owned();
            let refusal =
                Refusal { status: 408, code: None, message, retry_after: None, details: None, request_id: None };
            return Err(ClientError::Refused(Box::new(refusal)));
        };
        let response = sent.map_err(|source| ClientError::NoAnswer { path: path.to_owned(), source })?;
        if response.status() == StatusCode::OK { Ok(response) } else { Err(self.refusal(path, response).await) }
    }

    pub(crate) const fn retry(&self) -> RetryPolicy {
        self.retry
    }

    /// How long an open feed may be silent, heartbeats included, before it counts as broken.
    pub(crate) const fn feed_idle_timeout(&self) -> Duration {
        self.feed_idle_timeout
    }

    /// How long to pause before the next attempt; `None`: give up.
    pub(crate) fn pause_after(&self, error: &ClientError, attempt: u32, repeat: Repeat) -> Option<Duration> {
        let retry_after = match error {
            ClientError::NoAnswer { source, .. } if repeat != Repeat::IfNothingDone || source.is_connect() => None,
            ClientError::NoConnection { .. } if repeat != Repeat::IfNothingDone => None,
            ClientError::Refused(refusal) if repeat.after(refusal) => refusal.retry_after,
            _ => return None,
        };
        self.retry.pause(attempt, retry_after, random())
    }

    /// How long to pause before a feed that the server ended is opened again: as after a failure, without end.
    pub(crate) fn pause_for_reconnect(&self, failures: u32) -> Duration {
        let policy = RetryPolicy { attempts_max: u32::MAX, ..self.retry };
        policy.pause(failures, None, random()).unwrap_or(self.retry.pause_max)
    }

    async fn attempt(&self, request: &Request) -> Result<Bytes, ClientError> {
        let url = format!("{}{}", self.base_url, request.path);
        let mut sending = self.client.request(request.method.clone(), url).timeout(self.request_timeout);
        if let Some((content_type, body)) = &request.body {
            sending = sending.header(CONTENT_TYPE, HeaderValue::from_static(content_type)).body(body.clone());
        }
        let no_answer = |source| ClientError::NoAnswer { path: request.path.clone(), source };
        let response = sending.send().await.map_err(no_answer)?;
        if response.status().is_success() {
            read_bounded(response, &request.path).await
        } else {
            Err(self.refusal(&request.path, response).await)
        }
    }

    async fn refusal(&self, path: &str, response: Response) -> ClientError {
        let status = response.status().as_u16();
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = tokio::time::timeout(self.request_timeout, read_bounded(response, path)).await;
        let detail = body.ok().and_then(Result::ok).and_then(|body| serde_json::from_slice::<ErrorBody>(&body).ok());
        let refusal = match detail {
            Some(ErrorBody { error }) => Refusal {
                status,
                code: Some(error.code),
                message: error.message,
                retry_after: error.retry_after.or(header).map(Duration::from_secs),
                details: error.details,
                request_id: Some(error.request_id),
            },
            None => Refusal {
                status,
                code: None,
                message: "without an explanation that could be read".to_owned(),
                retry_after: header.map(Duration::from_secs),
                details: None,
                request_id: None,
            },
        };
        ClientError::Refused(Box::new(refusal))
    }
}

async fn read_bounded(mut response: Response, path: &str) -> Result<Bytes, ClientError> {
    let mut body = BytesMut::new();
    loop {
        let chunk = response.chunk().await.map_err(|source| ClientError::NoAnswer { path: path.to_owned(), source })?;
        let Some(chunk) = chunk else {
            return Ok(body.freeze());
        };
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ClientError::malformed(path, "the answer is longer than any should be"));
        }
        body.extend_from_slice(&chunk);
    }
}

/// For jitter only. Without random bytes the pause is merely the same each time.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_or(u64::MAX, |()| u64::from_le_bytes(bytes))
}

/// A text as one segment of a path (RFC 3986: all but unreserved characters are percent-encoded).
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    // A segment of dots would be taken as a step in the path.
    if out == "." || out == ".." { out.replace('.', "%2E") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_holds_any_text() {
        assert_eq!(segment("ORD-1_a.b~"), "ORD-1_a.b~");
        assert_eq!(segment("a/b?c d%é"), "a%2Fb%3Fc%20d%25%C3%A9");
        assert_eq!(segment(".."), "%2E%2E");
    }

    #[test]
    fn a_key_is_not_shown() {
        assert!(!format!("{:?}", ApiKey::new("sk_live_canary")).contains("canary"));
    }
}
