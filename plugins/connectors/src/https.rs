//! One bounded request to a provider, and how far it came.
//!
//! Gives the status, the provider's date and at most [`BODY_BYTES_MAX`] bytes. No redirect is followed (a provider has one
//! address), no proxy is read from the environment, and connecting, asking and reading share one time-out. What failed
//! before a connection stood is [`Broken::Unsent`]; everything later may have been read by the provider: [`Broken::Lost`].
//! No text here holds an address, a header or anything that was sent.

use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap};
use reqwest::{Certificate, Method, Url};
use tally_protocol::time::LogTime;

use crate::Failure;

/// More than the longest page of a list, which has 100 objects.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Why a connector cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub(crate) String);

/// A client of one provider.
#[derive(Debug, Clone)]
pub(crate) struct Https(reqwest::Client);

/// What a provider answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The provider's own clock, to the second.
    pub(crate) date: Option<LogTime>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// There was no connection: nothing was sent.
    Unsent(&'static str),
    /// It may have been sent, and may have been read.
    Lost(&'static str),
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Unsent(why) => Self::NotDone(why.to_owned()),
            Broken::Lost(why) => Self::Unknown(why.to_owned()),
        }
    }
}

impl Https {
    /// A client that believes the platform's roots, or the certificates of a PEM file instead.
    pub(crate) fn new(roots_file: Option<&Path>, timeout: Duration) -> Result<Self, OpenError> {
        install_crypto();
        let mut builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(path) = roots_file {
            let fail = |error: String| OpenError(format!("failed to read {}: {error}", path.display()));
            let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
            let roots = Certificate::from_pem_bundle(&pem).map_err(|error| fail(error.to_string()))?;
            if roots.is_empty() {
                return Err(fail("no certificate in it".to_owned()));
            }
            builder = builder.tls_certs_only(roots);
        }
        let client = builder.build().map_err(|error| OpenError(format!("failed to make an HTTP client: {error}")))?;
        Ok(Self(client))
    }

    pub(crate) async fn get(&self, url: Url, headers: HeaderMap) -> Result<Reply, Broken> {
        self.send(self.0.request(Method::GET, url).headers(headers)).await
    }

    pub(crate) async fn post(&self, url: Url, headers: HeaderMap, body: Vec<u8>) -> Result<Reply, Broken> {
        self.send(self.0.request(Method::POST, url).headers(headers).body(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Reply, Broken> {
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status().as_u16();
        let date = response.headers().get(DATE).and_then(|date| http_date(date.to_str().ok()?));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(Broken::Lost("the answer does not end"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, date, body })
    }
}

/// A provider's address: `https`, or `http` where the settings say that this is development.
pub(crate) fn parse_url(text: &str, development: bool) -> Result<Url, OpenError> {
    let url: Url = text.parse().map_err(|_| OpenError(format!("{text} is not an address")))?;
    let bare =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if !bare || url.host().is_none() {
        return Err(OpenError("a provider's address has a host, no user, no query and no fragment".to_owned()));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if development => Ok(url),
        "http" => Err(OpenError(format!("{text} is not https; `development = true` would allow it"))),
        _ => Err(OpenError(format!("{text} is not https"))),
    }
}

/// The address with these segments behind its path; each is escaped.
pub(crate) fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut().expect("an address with a host has a path").pop_if_empty().extend(segments);
    url
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
fn broken(error: reqwest::Error) -> Broken {
    match &error {
        error if error.is_connect() => Broken::Unsent("no connection"),
        error if error.is_builder() => Broken::Unsent("a request that cannot be made"),
        error if error.is_timeout() => Broken::Lost("no answer in time"),
        _ => Broken::Lost("the connection broke"),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7; the obsolete forms are not read).
fn http_date(text: &str) -> Option<LogTime> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.strip_suffix(" GMT")?.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    LogTime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read_to_the_second() {
        let date = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date, LogTime::parse_rfc3339("1994-11-06T08:49:37Z").unwrap());
        for other in
            ["", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nix 1994 08:49:37 GMT"]
        {
            assert_eq!(http_date(other), None, "{other}");
        }
    }

    #[test]
    fn an_address_without_tls_needs_development() {
        assert!(parse_url("http://127.0.0.1:1", false).is_err());
        assert!(parse_url("http://127.0.0.1:1", true).is_ok());
        for wrong in ["ftp://x", "https://user@x", "https://x?y", "https://x#y", "nothing"] {
            assert!(parse_url(wrong, true).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_segment_leaves_its_place() {
        let base = parse_url("https://api.example", false).unwrap();
        assert_eq!(below(&base, &["v1", "a/b?c#d"]).as_str(), "https://api.example/v1/a%2Fb%3Fc%23d");
    }
}
