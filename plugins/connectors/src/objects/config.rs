//! Which store, by its settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::file::FileStore;
use super::s3::S3Store;
use super::s3::config::S3Config;
use super::{Clock, ObjectError, ObjectStore};

/// The longest object, in bytes, where the settings say nothing. An object is held in memory while it is given or sent.
pub const OBJECT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the settings may say at most: the protocol of S3 takes 5 GB at once, memory ends before.
pub const OBJECT_BYTES_CEILING: u64 = 1024 * 1024 * 1024;

/// Settings of a store: `kind = "file"` or `kind = "s3"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum ObjectsConfig {
    /// A folder of this machine.
    File {
        /// The folder; its parent must be there.
        path: PathBuf,
        /// The longest object, in bytes.
        #[serde(default = "object_bytes_max")]
        object_bytes_max: u64,
    },
    /// A bucket.
    S3(S3Config),
}

pub(super) const fn object_bytes_max() -> u64 {
    OBJECT_BYTES_MAX
}

/// Opens a store. `environment` is what the process got; only the names in the settings are looked up in it.
///
/// # Errors
/// [`ObjectError::Config`] for settings that make no sense; [`ObjectError::Unsafe`] or [`ObjectError::Exposed`] for a store
/// that others may use; what else keeps it from opening.
pub async fn open(
    config: &ObjectsConfig,
    environment: &BTreeMap<String, String>,
    clock: Clock,
) -> Result<Box<dyn ObjectStore>, ObjectError> {
    match config {
        ObjectsConfig::File { path, object_bytes_max } => {
            check_bound(*object_bytes_max)?;
            Ok(Box::new(FileStore::open(path, *object_bytes_max)?))
        }
        ObjectsConfig::S3(config) => Ok(Box::new(S3Store::open(config, environment, clock).await?)),
    }
}

pub(super) fn check_bound(object_bytes_max: u64) -> Result<(), ObjectError> {
    if (1..=OBJECT_BYTES_CEILING).contains(&object_bytes_max) {
        return Ok(());
    }
    Err(ObjectError::Config(format!("object_bytes_max is not in 1..={OBJECT_BYTES_CEILING}")))
}
