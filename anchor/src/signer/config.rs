//! Settings of signers, and opening one.
//!
//! `kind = "file" | "kms" | "pkcs11" | "remote"` chooses, and nothing else does: a signer that cannot be opened is an
//! error, and no other one is tried. Whatever the kind, a private key in the environment is refused (S-125) unless the
//! settings say `development = true`, and each use is recorded (S-123).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::file::{FileConfig, FileSigner};
use super::kms::credentials::CredentialSource;
use super::kms::{KmsConfig, KmsSigner};
use super::pkcs11::{PinSource, Pkcs11Config, Pkcs11Signer};
use super::record::{Recorded, UseLog};
use super::remote::{RemoteConfig, RemoteSigner};
use super::{Address, Clock, Signer, SignerError, environment};

/// One signer's settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum SignerConfig {
    /// A key in a file, for development.
    File(FileConfig),
    /// A key in AWS KMS.
    Kms(KmsConfig),
    /// A key in a PKCS#11 device.
    Pkcs11(Pkcs11Config),
    /// A key behind an HTTP signer.
    Remote(RemoteConfig),
}

/// What a signer takes from its process.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The environment at the start.
    pub environment: BTreeMap<String, String>,
    /// The wall clock.
    pub clock: Clock,
    /// The record of uses.
    pub uses: Arc<UseLog>,
}

/// Why there is no signer.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings, or a file they name, do not hold.
    #[error("{0}")]
    Config(String),
    /// It would work, and production does not allow it.
    #[error("refused: {0}")]
    Unsafe(String),
    /// The device or service did not give the key.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

impl SignerConfig {
    /// Whether the settings say that this is no production.
    #[must_use]
    pub const fn development(&self) -> bool {
        match self {
            Self::File(config) => config.development,
            Self::Kms(config) => config.development,
            Self::Pkcs11(config) => config.development,
            Self::Remote(config) => config.development,
        }
    }

    /// Takes relative paths as relative to a folder: that of the file with the settings.
    pub fn resolve(&mut self, folder: &Path) {
        let paths: Vec<&mut PathBuf> = match self {
            Self::File(config) => vec![&mut config.path],
            Self::Kms(config) => match &mut config.credentials {
                CredentialSource::File { path, .. } => vec![path],
                CredentialSource::Environment {} => Vec::new(),
            },
            Self::Pkcs11(config) => match &mut config.pin {
                PinSource::File(path) => vec![&mut config.module, path],
                PinSource::Descriptor(_) => vec![&mut config.module],
            },
            Self::Remote(config) => {
                let files = [&mut config.token_file, &mut config.identity_file, &mut config.roots_file];
                files.into_iter().flatten().collect()
            }
        };
        for path in paths {
            *path = folder.join(&path);
        }
    }
}

/// Opens the signer that the settings name; each of its uses is recorded.
///
/// # Errors
/// See [`OpenError`]. There is no other signer to fall back to.
pub async fn open(config: &SignerConfig, surroundings: &Surroundings) -> Result<Recorded<Box<dyn Signer>>, OpenError> {
    if !config.development() {
        environment::refuse_keys(surroundings.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
    }
    let clock = surroundings.clock.clone();
    let signer: Box<dyn Signer> = match config {
        SignerConfig::File(config) => Box::new(FileSigner::open(config)?),
        SignerConfig::Kms(config) => Box::new(KmsSigner::open(config, &surroundings.environment, clock.clone()).await?),
        SignerConfig::Pkcs11(config) => Box::new(Pkcs11Signer::open(config).await?),
        SignerConfig::Remote(config) => Box::new(RemoteSigner::open(config)?),
    };
    Ok(Recorded::new(signer, Arc::clone(&surroundings.uses), clock))
}

/// The address that a device says, if it is the one that the settings want.
pub(super) fn pinned(found: Address, wanted: Option<Address>) -> Result<Address, SignerError> {
    match wanted {
        Some(wanted) if wanted != found => {
            Err(SignerError::Wrong(format!("the key is that of {found}, and the settings want {wanted}")))
        }
        _ => Ok(found),
    }
}
