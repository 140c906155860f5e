//! Objects in a bucket, by the protocol of S3: two operations on one name (`PUT`, `GET`) and a look (`HEAD`).
//!
//! A put is checked four times: here before anything is sent; by the service against the signed hash of the body, which is
//! the object's own name; by the service against `x-amz-checksum-sha256`; and by what comes back under the version that was
//! made. A lock is what the service reads back, never what it was told. Nothing sent ever asks for a grant to anybody.
//!
//! A locked bucket has versions: whoever may write can put another version over an object, or a mark that it is deleted. That
//! is found (damaged, or absent), the locked version stays, and a good put mends it. Source: Amazon S3 API Reference.

pub mod config;
mod exchange;
mod exposure;
mod xml;

use std::collections::BTreeMap;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Method;
use tally_protocol::hash::ObjectHash;
use tally_protocol::time::LogTime;

use self::config::{S3Config, Source as CredentialsOf};
use self::exchange::{Answer, Ask, Exchange};
use super::place::Place;
use super::{
    Clock, Ending, Lock, LockMode, ObjectError, ObjectStore, Retention, Source, Stat, Stored, Visibility, name_of, part,
};

const CHECKSUM: &str = "x-amz-checksum-sha256";
const LOCK_MODE: &str = "x-amz-object-lock-mode";
const LOCK_UNTIL: &str = "x-amz-object-lock-retain-until-date";
const VERSION: &str = "x-amz-version-id";
const MICROS_PER_SECOND: u64 = 1_000_000;

/// A store in a bucket.
#[derive(Debug)]
pub struct S3Store {
    exchange: Exchange,
    description: String,
    prefix: String,
    object_bytes_max: u64,
    visibility: Visibility,
}

/// What a look at an object tells.
struct Seen {
    bytes: u64,
    /// Of the whole object; not every service keeps it, and not of every object.
    checksum: Option<ObjectHash>,
    version: Option<String>,
    lock: Option<Lock>,
}

impl S3Store {
    /// Opens a bucket, after asking whether the public may read it.
    ///
    /// # Errors
    /// [`ObjectError::Config`] or [`ObjectError::Unsafe`] for settings that do not hold; [`ObjectError::Exposed`] if the public
    /// may read the bucket, or nothing says that it may not; [`ObjectError::Refused`] or [`ObjectError::Unavailable`] if it
    /// cannot be asked.
    pub async fn open(
        config: &S3Config,
        environment: &BTreeMap<String, String>,
        clock: Clock,
    ) -> Result<Self, ObjectError> {
        let credentials = CredentialsOf::new(&config.credentials, environment)?;
        let exchange = Exchange::new(config, credentials, clock)?;
        let visibility = exposure::read(&exchange, config.accept_unknown_exposure).await?;
        let prefix = if config.prefix.is_empty() { "/".to_owned() } else { format!("/{}/", config.prefix) };
        let description = format!("s3:{}{prefix}", config.bucket);
        Ok(Self { exchange, description, prefix, object_bytes_max: config.object_bytes_max, visibility })
    }

    async fn put_bytes(
        &self,
        name: &ObjectHash,
        source: Source,
        retention: Option<Retention>,
    ) -> Result<Stored, ObjectError> {
        let bytes_max = self.object_bytes_max;
        let read = tokio::task::spawn_blocking(move || source.into_bytes(bytes_max)).await;
        let bytes = read.map_err(|_| ObjectError::Unavailable("the process is ending".to_owned()))??;
        if name_of(&bytes) != *name {
            return Err(ObjectError::Mismatch(*name));
        }
        let retention = retention.map(|retention| self.rounded(retention)).transpose()?;
        let before = self.look(name, None).await?;
        let stored = match &before {
            None => Stored::New,
            Some(seen) if seen.is_other_than(name, &bytes) => Stored::Mended,
            // Nobody knows what is there: put it again.
            Some(seen) if seen.checksum.is_none() => Stored::New,
            Some(seen) if seen.holds(retention.as_ref()) => return Ok(Stored::Present),
            Some(_) => Stored::Locked,
        };
        let version = self.send(name, &bytes, retention.as_ref()).await?;
        self.confirm(name, &bytes, version.as_deref(), retention.as_ref()).await?;
        Ok(stored)
    }

    /// The same, to the next whole second, if it has not passed.
    fn rounded(&self, retention: Retention) -> Result<Retention, ObjectError> {
        let seconds = retention.until.micros().div_ceil(MICROS_PER_SECOND);
        let until = LogTime::from_micros(seconds.saturating_mul(MICROS_PER_SECOND));
        if retention.until <= self.exchange.now() || until > LogTime::MAX {
            return Err(ObjectError::Unsupported("a retention that has passed, or ends after the year 9999"));
        }
        Ok(Retention { until, ..retention })
    }

    /// Puts the object and gives the version that came of it.
    async fn send(
        &self,
        name: &ObjectHash,
        bytes: &Bytes,
        retention: Option<&Retention>,
    ) -> Result<Option<String>, ObjectError> {
        let mut headers = vec![("content-type", "application/octet-stream".to_owned())];
        headers.push((CHECKSUM, STANDARD.encode(name.as_bytes())));
        if let Some(retention) = retention {
            headers.push((LOCK_MODE, word(retention.mode).to_owned()));
            headers.push((LOCK_UNTIL, whole_seconds(retention.until)));
        }
        let path = self.path(name);
        let ask = Ask { headers: &headers, body: bytes.clone(), ..Ask::new(Method::PUT, &path) };
        let answer = self.exchange.ask(&ask).await?;
        match answer.status {
            200 => Ok(answer.header(VERSION).map(str::to_owned)),
            400 if retention.is_some() => Err(ObjectError::NotLocked(answer.says())),
            _ => Err(refusal(&answer)),
        }
    }

    /// Looks at what was put, under its own version: another writer's is not ours to confirm.
    async fn confirm(
        &self,
        name: &ObjectHash,
        bytes: &Bytes,
        version: Option<&str>,
        retention: Option<&Retention>,
    ) -> Result<(), ObjectError> {
        let seen = self.look(name, version).await?.ok_or(ObjectError::Damaged(*name))?;
        if seen.is_other_than(name, bytes) {
            return Err(ObjectError::Damaged(*name));
        }
        if seen.checksum.is_none() {
            self.fetch(name, version).await?;
        }
        let Some(retention) = retention else { return Ok(()) };
        let not_locked = |why: &str| Err(ObjectError::NotLocked(why.to_owned()));
        match (&seen.version, &seen.lock) {
            (None, _) => not_locked("the bucket keeps no versions"),
            (Some(_), None) => not_locked("the service reads back no lock"),
            (Some(_), Some(lock)) if !lock.holds(retention) => not_locked("the service reads back a weaker lock"),
            (Some(_), Some(_)) => Ok(()),
        }
    }

    async fn look(&self, name: &ObjectHash, version: Option<&str>) -> Result<Option<Seen>, ObjectError> {
        let answer = self.read(Method::HEAD, name, version).await?;
        match answer.status {
            200 => Seen::of(&answer).map(Some),
            404 => Ok(None),
            _ => Err(refusal(&answer)),
        }
    }

    /// All of the object, if what comes is the object.
    async fn fetch(&self, name: &ObjectHash, version: Option<&str>) -> Result<Bytes, ObjectError> {
        let answer = self.read(Method::GET, name, version).await?;
        match answer.status {
            200 if name_of(&answer.body) == *name => Ok(answer.body),
            200 => Err(ObjectError::Damaged(*name)),
            404 if matches!(answer.code(), None | Some("NoSuchKey" | "NoSuchVersion")) => {
                Err(ObjectError::Absent(*name))
            }
            _ => Err(refusal(&answer)),
        }
    }

    async fn read(&self, method: Method, name: &ObjectHash, version: Option<&str>) -> Result<Answer, ObjectError> {
        let query = version.map(|version| ("versionId", version));
        let headers = [("x-amz-checksum-mode", "ENABLED".to_owned())];
        let (path, query) = (self.path(name), query.as_slice());
        let bytes_max = self.object_bytes_max;
        self.exchange.ask(&Ask { query, headers: &headers, bytes_max, ..Ask::new(method, &path) }).await
    }

    fn path(&self, name: &ObjectHash) -> String {
        format!("{}{}", self.prefix, Place::of(name).path())
    }
}

impl ObjectStore for S3Store {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn visibility(&self) -> Visibility {
        self.visibility
    }

    fn put<'a>(&'a self, name: &'a ObjectHash, source: Source, retention: Option<Retention>) -> Ending<'a, Stored> {
        Box::pin(self.put_bytes(name, source, retention))
    }

    fn get<'a>(&'a self, name: &'a ObjectHash, range: Option<Range<u64>>) -> Ending<'a, Bytes> {
        Box::pin(async move { part(self.fetch(name, None).await?, range) })
    }

    fn stat<'a>(&'a self, name: &'a ObjectHash) -> Ending<'a, Option<Stat>> {
        Box::pin(async move { Ok(self.look(name, None).await?.map(|seen| Stat { bytes: seen.bytes })) })
    }

    fn read_lock<'a>(&'a self, name: &'a ObjectHash) -> Ending<'a, Option<Lock>> {
        Box::pin(async move {
            let seen = self.look(name, None).await?.ok_or(ObjectError::Absent(*name))?;
            match seen.checksum {
                Some(checksum) if checksum == *name => {}
                Some(_) => return Err(ObjectError::Damaged(*name)),
                None => drop(self.fetch(name, seen.version.as_deref()).await?),
            }
            Ok(seen.lock)
        })
    }
}

impl Seen {
    fn of(answer: &Answer) -> Result<Self, ObjectError> {
        let wrong = |what: &str| ObjectError::Wrong(format!("S3 gives {what} nobody can read"));
        let bytes = answer.header("content-length").and_then(|text| text.parse().ok());
        let lock = match (answer.header(LOCK_MODE), answer.header(LOCK_UNTIL)) {
            (None, None) => None,
            (Some(mode), Some(until)) => Some(lock(mode, until).ok_or_else(|| wrong("a lock"))?),
            _ => return Err(wrong("half a lock")),
        };
        Ok(Self {
            bytes: bytes.ok_or_else(|| wrong("a length"))?,
            checksum: answer.header(CHECKSUM).and_then(whole_checksum),
            // What was put before the bucket kept versions is version "null", and can be overwritten.
            version: answer.header(VERSION).filter(|version| *version != "null").map(str::to_owned),
            lock,
        })
    }

    /// Whether this is known to be something else.
    fn is_other_than(&self, name: &ObjectHash, bytes: &Bytes) -> bool {
        self.bytes != bytes.len() as u64 || self.checksum.is_some_and(|checksum| checksum != *name)
    }

    fn holds(&self, retention: Option<&Retention>) -> bool {
        retention.is_none_or(|retention| {
            self.version.is_some() && self.lock.as_ref().is_some_and(|lock| lock.holds(retention))
        })
    }
}

/// A checksum of checksums (`...-3`, of uploads in parts) is not base64 of a hash, and so nothing.
fn whole_checksum(text: &str) -> Option<ObjectHash> {
    let bytes = STANDARD.decode(text).ok()?;
    bytes.try_into().ok().map(ObjectHash::from_bytes)
}

fn lock(mode: &str, until: &str) -> Option<Lock> {
    let mode = [LockMode::Governance, LockMode::Compliance].into_iter().find(|known| word(*known) == mode)?;
    Some(Lock { mode, until: LogTime::parse_rfc3339(until).ok()? })
}

const fn word(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => "GOVERNANCE",
        LockMode::Compliance => "COMPLIANCE",
    }
}

/// `2030-01-01T00:00:00Z`.
fn whole_seconds(at: LogTime) -> String {
    let text = at.to_rfc3339();
    format!("{}Z", text.get(..19).unwrap_or_default())
}

fn refusal(answer: &Answer) -> ObjectError {
    match answer.status {
        400..=499 => ObjectError::Refused(answer.says()),
        _ => ObjectError::Wrong(answer.says()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_read_only_if_every_word_of_it_is_known() {
        let until = LogTime::parse_rfc3339("2030-01-01T00:00:00Z").unwrap();
        assert_eq!(lock("COMPLIANCE", "2030-01-01T00:00:00.000Z"), Some(Lock { mode: LockMode::Compliance, until }));
        assert_eq!(lock("compliance", "2030-01-01T00:00:00Z"), None);
        assert_eq!(lock("GOVERNANCE", "tomorrow"), None);
        assert_eq!(whole_seconds(until), "2030-01-01T00:00:00Z");
    }

    #[test]
    fn a_weaker_or_shorter_lock_does_not_hold() {
        let at = LogTime::from_micros;
        let lock = Lock { mode: LockMode::Governance, until: at(10) };
        assert!(lock.holds(&Retention { mode: LockMode::Governance, until: at(10) }));
        assert!(!lock.holds(&Retention { mode: LockMode::Governance, until: at(11) }));
        assert!(!lock.holds(&Retention { mode: LockMode::Compliance, until: at(10) }));
        assert!(
            Lock { mode: LockMode::Compliance, ..lock }.holds(&Retention { mode: LockMode::Governance, until: at(9) })
        );
    }

    #[test]
    fn a_checksum_of_checksums_is_not_a_name() {
        let name = name_of(b"x");
        let text = STANDARD.encode(name.as_bytes());
        assert_eq!(whole_checksum(&text), Some(name));
        assert_eq!(whole_checksum(&format!("{text}-2")), None);
    }
}
