//! Why an object was not stored or not given.
//!
//! Texts are for operators: they name a rule, a status or a service's error code, never a secret and never what a service
//! wrote freely.

use tally_protocol::hash::ObjectHash;

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// What was asked for is refused, and always will be.
    Reject,
    /// The same may succeed later.
    Retry,
    /// An operator must look at the store or its settings.
    Fatal,
}

/// The end of an operation that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The bytes that came in are not those of the name; nothing of them is kept.
    #[error("the bytes are not those of object {0}")]
    Mismatch(ObjectHash),
    /// The source could not be read to its end.
    #[error("failed to read the source: {0}")]
    Source(String),
    /// More bytes than the store takes or gives.
    #[error("the object is longer than {bytes_max} bytes")]
    TooLong {
        /// The bound of the settings.
        bytes_max: u64,
    },
    /// There is no such object.
    #[error("there is no object {0}")]
    Absent(ObjectHash),
    /// What is stored under the name is not the object; a good put mends it.
    #[error("object {0} is damaged")]
    Damaged(ObjectHash),
    /// The range is not within the object.
    #[error("the range is not within the object")]
    Range,
    /// The store cannot do this at all.
    #[error("not supported: {0}")]
    Unsupported(&'static str),
    /// The object may be stored, but the lock asked for was not confirmed.
    #[error("the lock is not confirmed: {0}")]
    NotLocked(String),
    /// The public may read the store, or nothing says that it may not.
    #[error("the store may be public: {0}")]
    Exposed(String),
    /// The store refuses these credentials or this operation.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer, or told to come later, as often as the settings allow.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// An answer that makes no sense.
    #[error("a wrong answer: {0}")]
    Wrong(String),
    /// A folder, file or link in the store is not as this store makes them.
    #[error("unsafe: {0}")]
    Unsafe(String),
    /// The file system failed.
    #[error("failed to {what}: {error}")]
    Io {
        /// Doing what.
        what: &'static str,
        /// The system's own words.
        error: String,
    },
    /// The settings make no sense.
    #[error("settings: {0}")]
    Config(String),
}

impl ObjectError {
    /// What can be done about it.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Mismatch(_) | Self::TooLong { .. } | Self::Absent(_) | Self::Range | Self::Unsupported(_) => {
                Class::Reject
            }
            Self::Unavailable(_) | Self::Source(_) => Class::Retry,
            Self::Damaged(_)
            | Self::NotLocked(_)
            | Self::Exposed(_)
            | Self::Refused(_)
            | Self::Wrong(_)
            | Self::Unsafe(_)
            | Self::Io { .. }
            | Self::Config(_) => Class::Fatal,
        }
    }

    /// For `map_err`: the system's error while doing `what`.
    pub(super) fn io<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Io { what, error: error.into().to_string() }
    }
}
