//! Settings of a bucket, and where its credentials come from.
//!
//! Everything that becomes part of a path or a signature is restricted to characters that need no escaping.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::Deserialize;
use tally_protocol::sigv4::Credentials;
use zeroize::Zeroizing;

use crate::objects::ObjectError;
use crate::objects::config::{check_bound, object_bytes_max};

/// Longer than any file with credentials; nothing is read past it.
const CREDENTIALS_BYTES_MAX: u64 = 64 * 1024;

/// Settings of `kind = "s3"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Where the service is, without a path; without it `https://s3.<region>.amazonaws.com`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket, addressed in the path.
    pub bucket: String,
    /// What comes before every name in the bucket, without slashes at its ends.
    #[serde(default)]
    pub prefix: String,
    /// Where the credentials come from.
    pub credentials: CredentialSource,
    /// The longest object, in bytes.
    #[serde(default = "object_bytes_max")]
    pub object_bytes_max: u64,
    /// How long one attempt may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// How often something is asked before the store counts as not available.
    #[serde(default = "attempts_max")]
    pub attempts_max: u32,
    /// How long to wait after the first attempt, in milliseconds; doubled after every further one.
    #[serde(default = "backoff_ms")]
    pub backoff_ms: u64,
    /// How long to wait at most, in milliseconds.
    #[serde(default = "backoff_ms_max")]
    pub backoff_ms_max: u64,
    /// PEM certificates believed instead of the platform's roots.
    #[serde(default)]
    pub roots_file: Option<PathBuf>,
    /// Opens a bucket although the service does not tell whether the public may read it. A bucket that the service calls
    /// public is never opened.
    #[serde(default)]
    pub accept_unknown_exposure: bool,
    /// Allows an endpoint without TLS.
    #[serde(default)]
    pub development: bool,
}

const fn timeout_ms() -> u64 {
    60_000
}

const fn attempts_max() -> u32 {
    5
}

const fn backoff_ms() -> u64 {
    200
}

const fn backoff_ms_max() -> u64 {
    5_000
}

/// Where credentials come from: `from = "environment"` or `from = "file"`. One is named and no other is tried.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase", deny_unknown_fields)]
pub enum CredentialSource {
    /// Variables, as they were at the start.
    Environment {
        /// The name of the variable with the identity.
        #[serde(default = "access_key_id")]
        access_key_id: String,
        /// The name of the variable with the secret.
        #[serde(default = "secret_key")]
        secret_key: String,
        /// The name of the variable with the token, where credentials pass.
        #[serde(default)]
        session_token: Option<String>,
    },
    /// A shared credentials file, which nobody but its owner may use. Read again for every request, so that what rotates
    /// there is used without a restart.
    File {
        /// The file.
        path: PathBuf,
        /// Which section of it.
        #[serde(default = "profile")]
        profile: String,
    },
}

fn access_key_id() -> String {
    "AWS_ACCESS_KEY_ID".to_owned()
}

fn secret_key() -> String {
    "AWS_SECRET_ACCESS_KEY".to_owned()
}

fn profile() -> String {
    "default".to_owned()
}

/// A source that was found to give credentials.
#[derive(Debug)]
pub(super) enum Source {
    Fixed(Credentials),
    File { path: PathBuf, profile: String },
}

impl Source {
    pub(super) fn new(source: &CredentialSource, environment: &BTreeMap<String, String>) -> Result<Self, ObjectError> {
        match source {
            CredentialSource::Environment { access_key_id, secret_key, session_token } => {
                let get = |name: &String| {
                    let value = environment.get(name).filter(|value| !value.is_empty()).cloned();
                    value.ok_or_else(|| ObjectError::Config(format!("{name} is not in the environment")))
                };
                let session_token = session_token.as_ref().map(get).transpose()?.map(Zeroizing::new);
                let (access_key_id, secret_key) = (get(access_key_id)?, get(secret_key)?.into());
                Ok(Self::Fixed(Credentials { access_key_id, secret_key, session_token }))
            }
            CredentialSource::File { path, profile } => {
                let source = Self::File { path: path.clone(), profile: profile.clone() };
                source.current().map(|_| source)
            }
        }
    }

    /// The credentials of now.
    pub(super) fn current(&self) -> Result<Credentials, ObjectError> {
        match self {
            Self::Fixed(credentials) => Ok(credentials.clone()),
            Self::File { path, profile } => {
                let bytes = read_private(path)?;
                let text = std::str::from_utf8(&bytes).ok();
                let found = text.and_then(|text| Credentials::from_profile(text, profile));
                found.ok_or_else(|| ObjectError::Config(format!("{} has no [{profile}]", path.display())))
            }
        }
    }
}

/// A file that nobody but its owner can use; opened first and asked then, so that the answer is about what is read.
fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, ObjectError> {
    let name = path.display();
    let fail = |error: std::io::Error| ObjectError::Config(format!("failed to read {name}: {error}"));
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.mode() & 0o077 != 0 || (metadata.uid() != user && metadata.uid() != 0) || !metadata.is_file() {
        return Err(ObjectError::Unsafe(format!("{name} holds a secret and is not this user's alone; chmod 600")));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(CREDENTIALS_BYTES_MAX).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

impl S3Config {
    /// The service's address.
    pub(super) fn check(&self) -> Result<Url, ObjectError> {
        check_bound(self.object_bytes_max)?;
        let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        let bucket =
            (3..=63).contains(&self.bucket.len()) && self.bucket.starts_with(|c: char| c.is_ascii_alphanumeric());
        let prefix = self.prefix.is_empty()
            || self.prefix.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        let sound = [
            ("bucket", bucket && plain(&self.bucket, "-._")),
            ("prefix", prefix && self.prefix.len() <= 256 && plain(&self.prefix, "-._/")),
            ("region", !self.region.is_empty() && plain(&self.region, "-")),
            ("attempts_max", (1..=20).contains(&self.attempts_max)),
            ("timeout_ms", (1..=3_600_000).contains(&self.timeout_ms)),
            ("backoff_ms", (1..=60_000).contains(&self.backoff_ms)),
            ("backoff_ms_max", (1..=60_000).contains(&self.backoff_ms_max)),
        ];
        if let Some((name, _)) = sound.iter().find(|(_, sound)| !sound) {
            return Err(ObjectError::Config(format!("{name} is not one that S3 or this store takes")));
        }
        self.address()
    }

    fn address(&self) -> Result<Url, ObjectError> {
        let default = || format!("https://s3.{}.amazonaws.com", self.region);
        let text = self.endpoint.clone().unwrap_or_else(default);
        let url: Url = text.parse().map_err(|_| ObjectError::Config("the endpoint is not an address".to_owned()))?;
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !plain || !url.username().is_empty() || url.password().is_some() || url.host().is_none() {
            return Err(ObjectError::Config("an endpoint is a scheme, a host and perhaps a port".to_owned()));
        }
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.development => Ok(url),
            _ => Err(ObjectError::Unsafe("the endpoint is not https; `development = true` allows http".to_owned())),
        }
    }
}
