//! Keys in AWS KMS, by its protocol: `GetPublicKey` once, `Sign` per digest.
//!
//! The key never leaves the service. Its spec is `ECC_SECG_P256K1`; what is signed is a digest (`MessageType: DIGEST`,
//! `ECDSA_SHA_256`: the service hashes nothing). The address is pinned when the signer is opened, and every signature is
//! checked against it. A disabled, deleted or forbidden key is [`SignerError::Refused`] at once; a service that is away,
//! overloaded or broken is [`SignerError::Unreachable`]. Source: AWS KMS API Reference (TrentService, JSON 1.1).

pub mod credentials;
pub mod sigv4;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::json;

use self::credentials::{CredentialSource, Source};
use super::config::{OpenError, pinned};
use super::http::{Answer, Http, Tls, parse_url, secret_value};
use super::{Address, Clock, Purpose, Signer, SignerError, Signing, secp256k1};

const KEY_SPEC: &str = "ECC_SECG_P256K1";
const ALGORITHM: &str = "ECDSA_SHA_256";

/// Errors after which the same request may succeed; every other error is a refusal.
const PASSING: &[&str] = &[
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "LimitExceededException",
    "DependencyTimeoutException",
    "KMSInternalException",
    "KeyUnavailableException",
    "InternalFailure",
    "InternalError",
    "ServiceUnavailable",
    "ServiceUnavailableException",
];

/// Settings of `kind = "kms"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmsConfig {
    /// A key id, a key's ARN, an alias (`alias/...`) or an alias's ARN.
    pub key: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Where the service is, without a path; without it `https://kms.<region>.amazonaws.com`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Where the credentials come from.
    pub credentials: CredentialSource,
    /// If given, the key's address must be this one.
    #[serde(default)]
    pub address: Option<Address>,
    /// How long one request may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Allows an endpoint without TLS.
    #[serde(default)]
    pub development: bool,
}

const fn timeout_ms() -> u64 {
    10_000
}

/// A key in KMS.
#[derive(Debug)]
pub struct KmsSigner {
    address: Address,
    key: String,
    service: Service,
}

/// The service, and how to ask it.
#[derive(Debug)]
struct Service {
    endpoint: Url,
    region: String,
    credentials: Source,
    http: Http,
    clock: Clock,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublicKeyAnswer {
    public_key: String,
    key_spec: String,
    key_usage: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SignAnswer {
    signature: String,
    signing_algorithm: String,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    #[serde(rename = "__type")]
    kind: String,
}

impl KmsSigner {
    /// Asks for the public key, and pins its address.
    ///
    /// # Errors
    /// [`OpenError::Config`] or [`OpenError::Unsafe`] for settings that do not hold; [`OpenError::Signer`] if the service
    /// does not give a secp256k1 signing key of the address wanted.
    pub async fn open(
        config: &KmsConfig,
        environment: &BTreeMap<String, String>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let default = || format!("https://kms.{}.amazonaws.com", config.region);
        let endpoint = parse_url(&config.endpoint.clone().unwrap_or_else(default), config.development)?;
        if endpoint.path() != "/" || endpoint.query().is_some() {
            return Err(OpenError::Config("the endpoint of KMS has no path".to_owned()));
        }
        let credentials = Source::new(&config.credentials, environment)?;
        let http = Http::new(Tls::default(), Duration::from_millis(config.timeout_ms))?;
        let service = Service { endpoint, region: config.region.clone(), credentials, http, clock };
        let address = pinned(service.address(&config.key).await?, config.address)?;
        Ok(Self { address, key: config.key.clone(), service })
    }

    async fn sign_digest(&self, digest: [u8; 32]) -> Result<super::Signature, SignerError> {
        let body = json!({
            "KeyId": self.key,
            "Message": STANDARD.encode(digest),
            "MessageType": "DIGEST",
            "SigningAlgorithm": ALGORITHM,
        });
        let answer: SignAnswer = self.service.ask("TrentService.Sign", &body).await?;
        if answer.signing_algorithm != ALGORITHM {
            return Err(wrong("it signed by another algorithm"));
        }
        let der = STANDARD.decode(&answer.signature).map_err(|_| wrong("the signature is not base64"))?;
        let raw = secp256k1::parse_der(&der).ok_or_else(|| wrong("the signature is not DER"))?;
        secp256k1::complete(self.address, &digest, &raw)
    }
}

impl Signer for KmsSigner {
    fn address(&self) -> Address {
        self.address
    }

    fn describe(&self) -> String {
        format!("kms:{}:{}", self.service.region, self.key)
    }

    fn sign(&self, _purpose: Purpose, digest: [u8; 32]) -> Signing<'_> {
        Box::pin(self.sign_digest(digest))
    }
}

impl Service {
    async fn address(&self, key: &str) -> Result<Address, SignerError> {
        let answer: PublicKeyAnswer = self.ask("TrentService.GetPublicKey", &json!({ "KeyId": key })).await?;
        if answer.key_spec != KEY_SPEC || answer.key_usage != "SIGN_VERIFY" {
            return Err(wrong("the key is not ECC_SECG_P256K1 for signing"));
        }
        let der = STANDARD.decode(&answer.public_key).map_err(|_| wrong("the public key is not base64"))?;
        secp256k1::address_of_spki(&der).ok_or_else(|| wrong("the public key is no point of secp256k1"))
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        target: &str,
        body: &serde_json::Value,
    ) -> Result<T, SignerError> {
        let body = body.to_string().into_bytes();
        let headers = self.headers(target, &body)?;
        let answer = self.http.post(&self.endpoint, headers, body).await?;
        if answer.status != 200 {
            return Err(refusal(&answer));
        }
        serde_json::from_slice(&answer.body).map_err(|_| wrong("the answer is not the JSON of this call"))
    }

    fn headers(&self, target: &str, body: &[u8]) -> Result<HeaderMap, SignerError> {
        let credentials = self.credentials.current()?;
        let request = sigv4::Request {
            host: &host(&self.endpoint),
            target,
            body,
            region: &self.region,
            service: "kms",
            at: self.clock.now(),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in sigv4::sign(&request, &credentials) {
            let value = match name {
                "authorization" | "x-amz-security-token" => secret_value(&value),
                _ => HeaderValue::from_str(&value).ok(),
            };
            let value = value.ok_or_else(|| SignerError::Refused("the credentials fit in no header".to_owned()))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }
}

/// The host as the client will write it: with the port only where it is not the scheme's own.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What an error means, by its type; the service's text is not repeated.
fn refusal(answer: &Answer) -> SignerError {
    let parsed: Option<ErrorAnswer> = serde_json::from_slice(&answer.body).ok();
    // The type may bear a namespace: `com.amazonaws.kms#DisabledException`.
    let kind = parsed.map(|error| error.kind.rsplit('#').next().unwrap_or_default().to_owned());
    let known = |kind: &String| kind.len() <= 64 && kind.chars().all(|c| c.is_ascii_alphanumeric());
    match (answer.status, kind.filter(known)) {
        (_, Some(kind)) if PASSING.contains(&kind.as_str()) => SignerError::Unreachable(format!("KMS says {kind}")),
        (status @ (500.. | 429 | 408), _) => SignerError::Unreachable(format!("KMS answers {status}")),
        (300..=399, _) => wrong("KMS sends elsewhere"),
        (400..=499, Some(kind)) => SignerError::Refused(format!("KMS says {kind}")),
        (status, _) => SignerError::Wrong(format!("KMS answers {status} without a reason")),
    }
}

fn wrong(what: &str) -> SignerError {
    SignerError::Wrong(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> SignerError {
        refusal(&Answer { status, body: body.as_bytes().to_vec() })
    }

    #[test]
    fn errors_that_pass_are_told_from_refusals() {
        assert!(matches!(of(400, r#"{"__type":"DisabledException","message":"x"}"#), SignerError::Refused(_)));
        assert!(matches!(of(400, r#"{"__type":"com.amazonaws.kms#NotFoundException"}"#), SignerError::Refused(_)));
        assert!(matches!(of(403, r#"{"__type":"AccessDeniedException"}"#), SignerError::Refused(_)));
        assert!(matches!(of(400, r#"{"__type":"ThrottlingException"}"#), SignerError::Unreachable(_)));
        assert!(matches!(of(500, r#"{"__type":"KMSInternalException"}"#), SignerError::Unreachable(_)));
        assert!(matches!(of(503, "<html>"), SignerError::Unreachable(_)));
        assert!(matches!(of(307, ""), SignerError::Wrong(_)));
        assert!(matches!(of(400, "garbage"), SignerError::Wrong(_)));
        assert!(matches!(of(204, ""), SignerError::Wrong(_)));
    }

    #[test]
    fn the_services_own_words_are_not_repeated() {
        let error = of(400, r#"{"__type":"Bad\u001b[31mException","message":"secret"}"#).to_string();
        assert!(!error.contains("secret") && !error.contains('\u{1b}'), "{error}");
    }
}
