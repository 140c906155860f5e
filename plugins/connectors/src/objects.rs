//! Objects by the SHA-256 of their bytes: artifacts of SKUs, and exports that nobody may delete before their time.
//!
//! Takes a name and bytes and refuses bytes that are not the name's; gives bytes only after they were hashed whole. An object
//! is immutable: putting it again is putting it once, and a good put over a damaged object mends it. Everything is private
//! to the store's owner; there is no way to ask for anything else. *Left to others*: sealing (what an operator of the bucket
//! may not read must be encrypted before it comes here), deletion, and which objects somebody may have.

pub mod config;
mod error;
pub mod file;
mod place;
pub mod s3;

use std::future::Future;
use std::io::{Cursor, Read};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use tally_protocol::hash::{ObjectHash, ObjectHasher};
use tally_protocol::time::LogTime;

pub use error::{Class, ObjectError};

/// Tells the time; only binaries and tests read the wall.
pub type Clock = Arc<dyn Fn() -> LogTime + Send + Sync>;

/// The end of an operation of a store.
pub type Ending<'a, T> = Pin<Box<dyn Future<Output = Result<T, ObjectError>> + Send + 'a>>;

/// A place for objects. Every operation may be done again, and beside itself.
pub trait ObjectStore: Send + Sync {
    /// Which store this is, for operators; no secret is in it.
    fn describe(&self) -> String;

    /// Who may read what is put here, as far as the store could make sure when it was opened.
    fn visibility(&self) -> Visibility;

    /// Stores the bytes of `source` under their hash; with a retention, so that nobody can delete or change them before
    /// it ends. Nothing is visible under the name before all of it was checked.
    ///
    /// Errors: [`ObjectError::Mismatch`] if the bytes are not those of the name; [`ObjectError::Unsupported`] or
    /// [`ObjectError::NotLocked`] if a retention was asked for and not confirmed, which is never success without it.
    fn put<'a>(&'a self, name: &'a ObjectHash, source: Source, retention: Option<Retention>) -> Ending<'a, Stored>;

    /// The object's bytes, or the half-open `range` of them. All of the object is read and hashed first.
    ///
    /// Errors: [`ObjectError::Absent`]; [`ObjectError::Damaged`], and then none of what was read;
    /// [`ObjectError::Range`] for a range that is not within the object.
    fn get<'a>(&'a self, name: &'a ObjectHash, range: Option<Range<u64>>) -> Ending<'a, Bytes>;

    /// Whether the object is there, and how long it is. The bytes are not read: only [`ObjectStore::get`] finds all damage.
    fn stat<'a>(&'a self, name: &'a ObjectHash) -> Ending<'a, Option<Stat>>;

    /// What keeps the object from being deleted, as the store tells it now.
    ///
    /// Errors: [`ObjectError::Absent`]; [`ObjectError::Damaged`] if what is under the name is known to be another object:
    /// the lock of that is nobody's business.
    fn read_lock<'a>(&'a self, name: &'a ObjectHash) -> Ending<'a, Option<Lock>>;
}

/// Who may read an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// The store's owner, and whom the owner lets; not the public.
    Private,
    /// Not known: the store would not tell, and the settings accept that.
    Unknown,
}

/// The bytes of one object on their way in; read once.
pub struct Source(Origin);

enum Origin {
    Bytes(Bytes),
    Reader(Box<dyn Read + Send>),
}

impl Source {
    /// From anything that is read to its end, on a thread that may block: a file as a rule.
    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        Self(Origin::Reader(Box::new(reader)))
    }

    fn into_reader(self) -> Box<dyn Read + Send> {
        match self.0 {
            Origin::Bytes(bytes) => Box::new(Cursor::new(bytes)),
            Origin::Reader(reader) => reader,
        }
    }

    /// All of it in memory, if it is not longer than `bytes_max`; blocks.
    fn into_bytes(self, bytes_max: u64) -> Result<Bytes, ObjectError> {
        let bytes = match self.0 {
            Origin::Bytes(bytes) => bytes,
            Origin::Reader(reader) => {
                let mut bytes = Vec::new();
                let read = reader.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
                read.map_err(|error| ObjectError::Source(error.to_string()))?;
                Bytes::from(bytes)
            }
        };
        if bytes.len() as u64 > bytes_max { Err(ObjectError::TooLong { bytes_max }) } else { Ok(bytes) }
    }
}

impl From<Bytes> for Source {
    fn from(bytes: Bytes) -> Self {
        Self(Origin::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

/// How a put came out; the object is there, whole and durable, in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It was not there before.
    New,
    /// It was there already, with the retention asked for.
    Present,
    /// What was under the name was damaged, and no longer is.
    Mended,
    /// It was there, without the retention asked for, and now has it.
    Locked,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// How long it is.
    pub bytes: u64,
}

/// How firm a lock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Whoever holds a certain permission may end it early.
    Governance,
    /// Nobody may end it early.
    Compliance,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// At least this firm.
    pub mode: LockMode,
    /// At least until then. Stores keep whole seconds: the next one is asked for.
    pub until: LogTime,
}

/// What a store says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// How firm it is.
    pub mode: LockMode,
    /// When it ends.
    pub until: LogTime,
}

impl Lock {
    /// Whether this is all that was asked for.
    #[must_use]
    pub fn holds(&self, retention: &Retention) -> bool {
        self.mode >= retention.mode && self.until >= retention.until
    }
}

/// The hash of bytes, which is their name.
#[must_use]
pub fn name_of(bytes: &[u8]) -> ObjectHash {
    tally_protocol::hash::object(bytes)
}

/// The hash of everything a reader gives, in pieces; blocks.
///
/// # Errors
/// What the reader fails with.
pub fn name_of_reader(mut reader: impl Read) -> std::io::Result<ObjectHash> {
    let (mut hasher, mut piece) = (ObjectHasher::default(), vec![0; PIECE_BYTES]);
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(piece.get(..count).unwrap_or_default()),
        }
    }
}

/// How much of a source is read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A part of checked bytes.
fn part(bytes: Bytes, range: Option<Range<u64>>) -> Result<Bytes, ObjectError> {
    let Some(range) = range else { return Ok(bytes) };
    let within = range.start <= range.end && range.end <= bytes.len() as u64;
    let ends = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok()).filter(|_| within);
    let (start, end) = ends.ok_or(ObjectError::Range)?;
    Ok(bytes.slice(start..end))
}
