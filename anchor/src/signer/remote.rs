//! A key behind an HTTP signer of one's own: docs/formats/remote-signer.md.
//!
//! One POST per digest over TLS, with a client certificate or a bearer token from a file. The address is in the settings:
//! a signer that may say who it is could say anything. Its answer has one form and is not mended: s must be low, v must
//! lead to the address, and everything else (a redirect, an endless or foreign body) is [`SignerError::Wrong`].

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use tally_protocol::hash::hex;

use super::config::OpenError;
use super::http::{Http, Tls, parse_url, secret_value};
use super::{Address, Purpose, Signature, Signer, SignerError, Signing, parse_hex, private_file, secp256k1};

/// Settings of `kind = "remote"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// Where digests are posted to.
    pub url: String,
    /// The name of the key there.
    pub key: String,
    /// Whose signatures are expected.
    pub address: Address,
    /// A file with the bearer token, which nobody but its owner may use; read again for every request.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// A file with the client certificate's chain and its key in PEM, which nobody but its owner may use.
    #[serde(default)]
    pub identity_file: Option<PathBuf>,
    /// Certificates in PEM, believed instead of the platform's roots.
    #[serde(default)]
    pub roots_file: Option<PathBuf>,
    /// How long one request may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Allows an address without TLS, and a signer that asks for no proof of who calls.
    #[serde(default)]
    pub development: bool,
}

const fn timeout_ms() -> u64 {
    10_000
}

/// A key behind HTTP.
#[derive(Debug)]
pub struct RemoteSigner {
    url: Url,
    key: String,
    address: Address,
    token_file: Option<PathBuf>,
    http: Http,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureAnswer {
    r: String,
    s: String,
    v: u8,
}

impl RemoteSigner {
    /// Reads the files that the settings name; the signer itself is not asked yet.
    ///
    /// # Errors
    /// [`OpenError::Config`] or [`OpenError::Unsafe`] for settings that do not hold.
    pub fn open(config: &RemoteConfig) -> Result<Self, OpenError> {
        let url = parse_url(&config.url, config.development)?;
        if config.token_file.is_none() && config.identity_file.is_none() && !config.development {
            let hint = "needs token_file or identity_file, unless `development = true`";
            return Err(OpenError::Unsafe(format!("a remote signer {hint}")));
        }
        let tls = Tls { roots_file: config.roots_file.as_deref(), identity_file: config.identity_file.as_deref() };
        let http = Http::new(tls, Duration::from_millis(config.timeout_ms))?;
        let token_file = config.token_file.clone();
        let signer = Self { url, key: config.key.clone(), address: config.address, token_file, http };
        signer.token()?;
        Ok(signer)
    }

    fn token(&self) -> Result<Option<HeaderValue>, OpenError> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let name = path.display().to_string();
        let token = private_file::one_line(&private_file::read(path)?, &name)?;
        let value = secret_value(&format!("Bearer {}", *token));
        value.map(Some).ok_or_else(|| OpenError::Config(format!("{name} has characters that no header may hold")))
    }

    async fn sign_digest(&self, purpose: Purpose, digest: [u8; 32]) -> Result<Signature, SignerError> {
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let token = self.token().map_err(|error| SignerError::Refused(error.to_string()))?;
        headers.extend(token.map(|token| (AUTHORIZATION, token)));
        let digest_text = format!("0x{}", hex(&digest));
        let body = json!({ "key": self.key, "purpose": purpose.name(), "digest": digest_text });
        let answer = self.http.post(&self.url, headers, body.to_string().into_bytes()).await?;
        match answer.status {
            200 => secp256k1::check(self.address, &digest, parse(&answer.body)?),
            408 | 429 | 500.. => Err(SignerError::Unreachable(format!("it answers {}", answer.status))),
            400..=499 => Err(SignerError::Refused(format!("it answers {}", answer.status))),
            status => Err(SignerError::Wrong(format!("it answers {status}"))),
        }
    }
}

impl Signer for RemoteSigner {
    fn address(&self) -> Address {
        self.address
    }

    fn describe(&self) -> String {
        format!("remote:{}:{}", self.url.host_str().unwrap_or_default(), self.key)
    }

    fn sign(&self, purpose: Purpose, digest: [u8; 32]) -> Signing<'_> {
        Box::pin(self.sign_digest(purpose, digest))
    }
}

fn parse(body: &[u8]) -> Result<Signature, SignerError> {
    let wrong = || SignerError::Wrong("the answer is not {r, s, v}".to_owned());
    let answer: SignatureAnswer = serde_json::from_slice(body).map_err(|_| wrong())?;
    let odd_y = match answer.v {
        27 => false,
        28 => true,
        _ => return Err(wrong()),
    };
    let number = |text: &str| parse_hex(text).ok_or_else(wrong);
    Ok(Signature { r: number(&answer.r)?, s: number(&answer.s)?, odd_y })
}
