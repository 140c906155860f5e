//! What can go wrong below the typed stores.
//!
//! [`StorageError::class`] says what the caller does: try again later, or stop. Nothing here is the fault of a
//! client's request.

use std::path::PathBuf;

use crate::family::Family;

/// What the caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Nothing happened; the same call may succeed later.
    Retry,
    /// Stop. For a write: nobody knows what the disk holds, so start again from what is found there.
    Fatal,
}

/// A failure of the storage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Another process has the database open.
    #[error("database at {0} is in use by another process")]
    InUse(PathBuf),
    /// There is no database and none was to be created.
    #[error("no database at {0}")]
    Missing(PathBuf),
    /// The disk is full (or a quota is used up).
    #[error("no space left on the disk: {0}")]
    NoSpace(String),
    /// The operating system or the database failed.
    #[error("failed to {doing}: {message}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What was reported.
        message: String,
    },
    /// Stored bytes are not what was written.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    /// A value of one family does not decode or does not fit its key.
    #[error("stored value in {} at key {key} is damaged: {reason}", family.name())]
    BadValue {
        /// Where.
        family: Family,
        /// The key, hexadecimal.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The write-ahead log is damaged where acknowledged data may be.
    #[error("write-ahead log {file} is damaged at byte {offset}: {reason}; nothing was changed")]
    WalDamaged {
        /// The file.
        file: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The directory was written in a layout this code does not know.
    #[error("database format {found} is unknown, this program reads format {known}")]
    UnknownFormat {
        /// What the directory says.
        found: String,
        /// What this code knows.
        known: u16,
    },
    /// The configuration contradicts itself.
    #[error("storage configuration: {0}")]
    Config(&'static str),
    /// The engine was opened for reading.
    #[error("database was opened for reading only")]
    ReadOnly,
    /// An earlier write failed; nothing is written any more.
    #[error("an earlier write failed ({0}); nothing is written any more")]
    Poisoned(String),
    /// A caller's key is longer than any may be.
    #[error("a key of {0} bytes is longer than any may be")]
    KeyTooLong(usize),
    /// The database already belongs to a ledger.
    #[error("the database already has another genesis entry")]
    GenesisExists,
}

impl StorageError {
    /// What the caller does about it.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::InUse(_) => ErrorClass::Retry,
            _ => ErrorClass::Fatal,
        }
    }

    pub(crate) fn bad_value(family: Family, key: &[u8], reason: &str) -> Self {
        Self::BadValue { family, key: tally_protocol::hash::hex(key), reason: reason.to_owned() }
    }
}
