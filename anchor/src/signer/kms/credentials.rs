//! Credentials of AWS: from the environment, from a shared credentials file, or for a web identity's token.
//!
//! Files are read again for every request, so that what rotates there is used without a restart. One source is named in
//! the settings and no other is tried.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
pub use tally_protocol::sigv4::Credentials;
use zeroize::Zeroizing;

use crate::signer::config::OpenError;
use crate::signer::{SignerError, private_file};

/// Where credentials come from: `from = "environment"` or `from = "file"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase", deny_unknown_fields)]
pub enum CredentialSource {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if they pass, `AWS_SESSION_TOKEN`, as they were at the start.
    Environment {},
    /// A shared credentials file, which nobody but its owner may use.
    File {
        /// The file.
        path: PathBuf,
        /// Which section of it.
        #[serde(default = "default_profile")]
        profile: String,
    },
}

fn default_profile() -> String {
    "default".to_owned()
}

/// A source that was found to give credentials.
#[derive(Debug)]
pub(super) enum Source {
    Fixed(Credentials),
    File { path: PathBuf, profile: String },
}

impl Source {
    pub(super) fn new(source: &CredentialSource, environment: &BTreeMap<String, String>) -> Result<Self, OpenError> {
        match source {
            CredentialSource::Environment {} => from_environment(environment).map(Self::Fixed),
            CredentialSource::File { path, profile } => {
                let source = Self::File { path: path.clone(), profile: profile.clone() };
                source.read().map(|_| source)
            }
        }
    }

    /// The credentials of now.
    pub(super) fn current(&self) -> Result<Credentials, SignerError> {
        self.read().map_err(|error| SignerError::Refused(error.to_string()))
    }

    fn read(&self) -> Result<Credentials, OpenError> {
        match self {
            Self::Fixed(credentials) => Ok(credentials.clone()),
            Self::File { path, profile } => {
                let bytes = private_file::read(path)?;
                let found = std::str::from_utf8(&bytes).ok().and_then(|text| Credentials::from_profile(text, profile));
                let name = path.display();
                found.ok_or_else(|| OpenError::Config(format!("{name} has no credentials in [{profile}]")))
            }
        }
    }
}

fn from_environment(environment: &BTreeMap<String, String>) -> Result<Credentials, OpenError> {
    let get = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
    let missing = |name: &str| OpenError::Config(format!("{name} is not in the environment"));
    Ok(Credentials {
        access_key_id: get("AWS_ACCESS_KEY_ID").ok_or_else(|| missing("AWS_ACCESS_KEY_ID"))?,
        secret_key: get("AWS_SECRET_ACCESS_KEY").ok_or_else(|| missing("AWS_SECRET_ACCESS_KEY"))?.into(),
        session_token: get("AWS_SESSION_TOKEN").map(Zeroizing::new),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_identity_in_the_environment_is_refused() {
        let half = BTreeMap::from([("AWS_ACCESS_KEY_ID".to_owned(), "one".to_owned())]);
        assert!(from_environment(&half).is_err());
    }
}
