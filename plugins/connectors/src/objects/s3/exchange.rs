//! One signed request to a bucket and its bounded answer, again after what passes.
//!
//! Everything asked here may be asked again: a read changes nothing, and a put is the same put. No redirect is followed (a
//! bucket has one address, and a signature is for one host), no proxy is read from the environment, and connecting, asking
//! and reading share one time-out.

use std::sync::Once;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Method, Url};
use tally_protocol::hash::{ObjectHash, object};
use tally_protocol::sigv4::{self, Credentials};

use super::config::{S3Config, Source};
use super::xml;
use crate::objects::{Clock, ObjectError};

/// More than any answer that is not an object.
pub(super) const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What is asked.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// What comes after the bucket, with its slash.
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) headers: &'a [(&'static str, String)],
    pub(super) body: Bytes,
    /// How much of an answer with status 200 is read.
    pub(super) bytes_max: u64,
}

impl Ask<'_> {
    pub(super) fn new<'a>(method: Method, path: &'a str) -> Ask<'a> {
        Ask { method, path, query: &[], headers: &[], body: Bytes::new(), bytes_max: ANSWER_BYTES_MAX }
    }
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The service's code of an error; nothing else of what it says is repeated anywhere.
    pub(super) fn code(&self) -> Option<&str> {
        let code = xml::text_of(std::str::from_utf8(&self.body).ok()?, "Code")?;
        let known = code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric());
        known.then_some(code)
    }

    /// What was answered, for operators.
    pub(super) fn says(&self) -> String {
        self.code().map_or_else(|| format!("S3 answers {}", self.status), |code| format!("S3 says {code}"))
    }
}

/// A bucket, and how to ask it.
#[derive(Debug)]
pub(super) struct Exchange {
    client: reqwest::Client,
    endpoint: Url,
    bucket: String,
    region: String,
    credentials: Source,
    attempts_max: u32,
    backoff: Duration,
    backoff_max: Duration,
    clock: NoDebug,
}

/// A clock has nothing to show.
struct NoDebug(Clock);

impl std::fmt::Debug for NoDebug {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Clock")
    }
}

/// Why there is no answer yet.
enum Pause {
    /// The same may succeed later.
    Passing(String),
    /// It will not.
    Ended(ObjectError),
}

impl Exchange {
    pub(super) fn new(config: &S3Config, credentials: Source, clock: Clock) -> Result<Self, ObjectError> {
        Ok(Self {
            endpoint: config.check()?,
            client: client(config)?,
            bucket: config.bucket.clone(),
            region: config.region.clone(),
            credentials,
            attempts_max: config.attempts_max,
            backoff: Duration::from_millis(config.backoff_ms),
            backoff_max: Duration::from_millis(config.backoff_ms_max),
            clock: NoDebug(clock),
        })
    }

    pub(super) fn now(&self) -> tally_protocol::time::LogTime {
        (self.clock.0)()
    }

    /// The answer, once the service gives one that does not pass.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, ObjectError> {
        let payload = object(&ask.body);
        let mut wait = self.backoff;
        for attempt in 1.. {
            let why = match self.attempt(ask, &payload).await {
                Ok(answer) => return Ok(answer),
                Err(Pause::Ended(error)) => return Err(error),
                Err(Pause::Passing(why)) => why,
            };
            if attempt >= self.attempts_max {
                return Err(ObjectError::Unavailable(why));
            }
            tracing::debug!(attempt, why, "a bucket is asked again");
            tokio::time::sleep(wait.min(self.backoff_max)).await;
            wait = wait.saturating_mul(2);
        }
        Err(ObjectError::Unavailable("nothing was asked".to_owned()))
    }

    async fn attempt(&self, ask: &Ask<'_>, payload: &ObjectHash) -> Result<Answer, Pause> {
        let credentials = self.credentials.current().map_err(Pause::Ended)?;
        let path = format!("/{}{}", self.bucket, ask.path);
        let headers = self.signed(ask, &path, payload, &credentials).map_err(Pause::Ended)?;
        let mut url = self.endpoint.clone();
        url.set_path(&path);
        let query = sigv4::canonical_query(ask.query);
        url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
        let sent = self.client.request(ask.method.clone(), url).headers(headers).body(ask.body.clone()).send().await;
        let response = sent.map_err(passing)?;
        let answer = read(response, ask.bytes_max).await?;
        match (answer.status, answer.code()) {
            // Not 501: what a service does not know, it will not know later.
            (500 | 502.. | 429 | 408, _)
            | (400, Some("RequestTimeout" | "BadDigest" | "XAmzContentSHA256Mismatch")) => {
                Err(Pause::Passing(answer.says()))
            }
            (300..=399, _) => {
                Err(Pause::Ended(ObjectError::Wrong("S3 sends elsewhere; is it the bucket's region?".to_owned())))
            }
            _ => Ok(answer),
        }
    }

    fn signed(
        &self,
        ask: &Ask<'_>,
        path: &str,
        payload: &ObjectHash,
        credentials: &Credentials,
    ) -> Result<HeaderMap, ObjectError> {
        let at = self.now();
        let mut headers = vec![("host", host(&self.endpoint)), ("x-amz-date", sigv4::basic_time(at))];
        headers.push(("x-amz-content-sha256", payload.to_hex()));
        headers.extend(credentials.session_token.as_ref().map(|token| ("x-amz-security-token", token.to_string())));
        headers.extend(ask.headers.iter().cloned());
        let pairs: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (method, query, region) = (ask.method.as_str(), ask.query, self.region.as_str());
        let request = sigv4::Request { method, path, query, headers: &pairs, payload, region, service: "s3", at };
        let authorization = sigv4::authorization(&request, credentials);
        headers.push(("authorization", authorization));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(&value);
            let mut value = value.map_err(|_| ObjectError::Config("the credentials fit in no header".to_owned()))?;
            value.set_sensitive(matches!(name, "authorization" | "x-amz-security-token"));
            map.insert(HeaderName::from_static(name), value);
        }
        Ok(map)
    }
}

async fn read(mut response: reqwest::Response, bytes_max: u64) -> Result<Answer, Pause> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes_max = if status == 200 { bytes_max } else { ANSWER_BYTES_MAX };
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(passing)? {
        if body.len() as u64 + chunk.len() as u64 > bytes_max {
            return Err(Pause::Ended(ObjectError::TooLong { bytes_max }));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body: body.into() })
}

/// The host as the client will write it: with the port only where it is not the scheme's own.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn client(config: &S3Config) -> Result<reqwest::Client, ObjectError> {
    install_crypto();
    let timeout = Duration::from_millis(config.timeout_ms);
    let mut builder = reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if let Some(path) = &config.roots_file {
        let fail = || ObjectError::Config(format!("{} holds no certificates", path.display()));
        let pem = std::fs::read(path).map_err(|_| fail())?;
        let roots = Certificate::from_pem_bundle(&pem).ok().filter(|roots| !roots.is_empty()).ok_or_else(fail)?;
        builder = builder.tls_certs_only(roots);
    }
    builder.build().map_err(|error| ObjectError::Config(format!("failed to make an HTTP client: {error}")))
}

/// Without the address, which holds names that a log need not show.
#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
fn passing(error: reqwest::Error) -> Pause {
    let what = match &error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_connect() => "no connection",
        _ => "the connection broke",
    };
    Pause::Passing(what.to_owned())
}

/// rustls wants one cryptographic provider per process; a program that has installed its own keeps it.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
    });
}
