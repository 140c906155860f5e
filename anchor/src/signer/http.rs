//! One bounded POST to a service that signs: KMS and the remote signer.
//!
//! Gives the status and at most [`BODY_BYTES_MAX`] bytes. No redirect is followed (a signer has one address), no proxy is
//! read from the environment, and connecting, asking and reading share one time-out. What cannot be asked or does not
//! answer in time is [`SignerError::Unreachable`]; what answers too long is [`SignerError::Wrong`].

use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Certificate, ClientBuilder, Identity, Url};

use super::config::OpenError;
use super::{SignerError, private_file};

/// More than any answer with a key or a signature in it.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// A client of one service.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: reqwest::Client,
}

/// What a service answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Whom to believe, and what to show.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tls<'a> {
    /// PEM certificates believed instead of the platform's roots.
    pub(super) roots_file: Option<&'a Path>,
    /// PEM of a client certificate's chain and its private key.
    pub(super) identity_file: Option<&'a Path>,
}

impl Http {
    pub(super) fn new(tls: Tls<'_>, timeout: Duration) -> Result<Self, OpenError> {
        install_crypto();
        let builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        let client = with_tls(builder, tls)?.build();
        let client = client.map_err(|error| OpenError::Config(format!("failed to make an HTTP client: {error}")))?;
        Ok(Self { client })
    }

    pub(super) async fn post(&self, url: &Url, headers: HeaderMap, body: Vec<u8>) -> Result<Answer, SignerError> {
        let sent = self.client.post(url.clone()).headers(headers).body(body).send().await;
        let mut response = sent.map_err(unreachable)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(SignerError::Wrong(format!("the answer is longer than {BODY_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }
}

/// A service's address: `https`, or `http` where the settings say that this is development.
pub(super) fn parse_url(text: &str, development: bool) -> Result<Url, OpenError> {
    let url: Url = text.parse().map_err(|_| OpenError::Config(format!("{text} is not an address")))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() || url.host().is_none() {
        return Err(OpenError::Config(
            "a signer's address has a host, no user, no password and no fragment".to_owned(),
        ));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if development => Ok(url),
        "http" => Err(OpenError::Unsafe(format!("{text} is not https; `development = true` would allow it"))),
        _ => Err(OpenError::Config(format!("{text} is not https"))),
    }
}

/// A header value that no log shows.
pub(super) fn secret_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn with_tls(mut builder: ClientBuilder, tls: Tls<'_>) -> Result<ClientBuilder, OpenError> {
    if let Some(path) = tls.roots_file {
        let fail = |error: String| OpenError::Config(format!("failed to read {}: {error}", path.display()));
        let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
        let roots = Certificate::from_pem_bundle(&pem).map_err(|error| fail(error.to_string()))?;
        if roots.is_empty() {
            return Err(fail("no certificate in it".to_owned()));
        }
        builder = builder.tls_certs_only(roots);
    }
    if let Some(path) = tls.identity_file {
        let pem = private_file::read(path)?;
        let identity = Identity::from_pem(&pem);
        let wrong = |_| OpenError::Config(format!("{} is not a certificate chain and a key", path.display()));
        builder = builder.identity(identity.map_err(wrong)?);
    }
    Ok(builder)
}

/// Without the address, which settings may hold more of than a log should.
#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
fn unreachable(error: reqwest::Error) -> SignerError {
    let what = match &error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_connect() => "no connection",
        _ => "the connection broke",
    };
    SignerError::Unreachable(what.to_owned())
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
