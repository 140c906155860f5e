//! The gateway's `CredentialStore` over the database's records of callers.
//!
//! Takes and gives credentials; the database keeps their bytes under the keyed hash of the API key, never the key.
//! Every change is synced before it returns and takes effect with the next request: nothing is cached, so a
//! revocation holds from its answer on.

use std::sync::Mutex;

use tally_gateway::{Credential, CredentialError, CredentialStore};
use tally_protocol::hash::ApiKeyHash;
use tally_protocol::time::LogTime;
use tally_storage::{CredentialStore as Records, StorageError};

/// Records read at once while listing.
const PAGE: usize = 1024;

/// Credentials in the database.
pub struct StoredCredentials {
    records: Records,
    /// A revocation reads, changes and writes: one at a time.
    change: Mutex<()>,
}

impl StoredCredentials {
    /// Over the database's records.
    #[must_use]
    pub const fn new(records: Records) -> Self {
        Self { records, change: Mutex::new(()) }
    }
}

fn store(error: &StorageError) -> CredentialError {
    CredentialError::Store(error.to_string())
}

impl CredentialStore for StoredCredentials {
    fn find(&self, hash: &ApiKeyHash) -> Result<Option<Credential>, CredentialError> {
        let record = self.records.get(hash.as_bytes()).map_err(|error| store(&error))?;
        record.map(|bytes| Credential::decode(&bytes)).transpose()
    }

    fn put(&self, credential: &Credential) -> Result<(), CredentialError> {
        self.records.put(credential.hash.as_bytes(), &credential.encode()?).map_err(|error| store(&error))
    }

    fn revoke(&self, hash: &ApiKeyHash, at: LogTime) -> Result<Option<Credential>, CredentialError> {
        let _one = self.change.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(mut credential) = self.find(hash)? else { return Ok(None) };
        if credential.revoked_at.is_none() {
            credential.revoked_at = Some(at);
            self.put(&credential)?;
        }
        Ok(Some(credential))
    }

    fn list(&self) -> Result<Vec<Credential>, CredentialError> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let page = self.records.list(after.as_ref(), PAGE).map_err(|error| store(&error))?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (_, bytes) in &page {
                all.push(Credential::decode(bytes)?);
            }
        }
        all.sort_by_key(|credential| (credential.created_at, credential.hash));
        Ok(all)
    }
}
