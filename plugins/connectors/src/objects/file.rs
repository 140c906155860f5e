//! Objects as files of one user, in a folder of its own.
//!
//! A put writes `incoming/<name>.<n>` while it hashes, syncs the file, renames it to its place and syncs the folders: a kill
//! leaves the object whole or not there at all, and perhaps a file in `incoming/` that the next start takes away. The file
//! system keeps nobody who owns the files from deleting them, so a retention is refused.
//!
//! Several processes may use one folder. Modes are 0600 and 0700; links are never followed.

mod folder;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{Read, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tally_protocol::hash::{ObjectHash, ObjectHasher};

use self::folder::Folder;
use super::place::{Place, ROOT};
use super::{Ending, Lock, ObjectError, ObjectStore, PIECE_BYTES, Retention, Source, Stat, Stored, Visibility, part};

const INCOMING: &str = "incoming";

/// A store in a folder. Clones share it.
#[derive(Debug, Clone)]
pub struct FileStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    incoming: Folder,
    objects: Folder,
    object_bytes_max: u64,
    /// Makes the names in `incoming/` differ within this process.
    puts: AtomicU64,
    #[cfg(test)]
    stop: Option<tests::Stop>,
}

/// What has just been done in a put; a test may let the put end there, as a kill would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Created,
    Piece,
    Synced,
    Renamed,
}

impl FileStore {
    /// Opens a folder, which is made if it is not there, and takes away what puts that were killed have left.
    ///
    /// # Errors
    /// [`ObjectError::Unsafe`] if others may use the folder or a link is in the way; [`ObjectError::Io`] if the file system
    /// fails.
    pub fn open(path: &Path, object_bytes_max: u64) -> Result<Self, ObjectError> {
        Ok(Self(Arc::new(Inner::open(path, object_bytes_max)?)))
    }

    /// [`ObjectStore::put`], on a thread that may block.
    ///
    /// # Errors
    /// As there.
    pub fn put_now(
        &self,
        name: &ObjectHash,
        source: Source,
        retention: Option<Retention>,
    ) -> Result<Stored, ObjectError> {
        if retention.is_some() {
            return Err(ObjectError::Unsupported("a file system cannot keep its owner from deleting"));
        }
        self.0.put(name, source)
    }

    /// [`ObjectStore::get`], on a thread that may block.
    ///
    /// # Errors
    /// As there.
    pub fn get_now(&self, name: &ObjectHash, range: Option<Range<u64>>) -> Result<Bytes, ObjectError> {
        let file = self.0.find(name)?.ok_or(ObjectError::Absent(*name))?;
        part(self.0.read(file, name)?, range)
    }

    /// [`ObjectStore::stat`], on a thread that may block.
    ///
    /// # Errors
    /// As there.
    pub fn stat_now(&self, name: &ObjectHash) -> Result<Option<Stat>, ObjectError> {
        let Some(file) = self.0.find(name)? else { return Ok(None) };
        let metadata = file.metadata().map_err(ObjectError::io("look at an object"))?;
        Ok(Some(Stat { bytes: metadata.len() }))
    }

    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ObjectError> + Send + 'static,
    ) -> Ending<'static, T> {
        let store = self.clone();
        Box::pin(async move {
            let ended = tokio::task::spawn_blocking(move || work(&store)).await;
            ended.unwrap_or_else(|_| Err(ObjectError::Unavailable("the process is ending".to_owned())))
        })
    }
}

impl ObjectStore for FileStore {
    fn describe(&self) -> String {
        format!("file:{}", self.0.path.display())
    }

    fn visibility(&self) -> Visibility {
        Visibility::Private
    }

    fn put<'a>(&'a self, name: &'a ObjectHash, source: Source, retention: Option<Retention>) -> Ending<'a, Stored> {
        let name = *name;
        self.blocking(move |store| store.put_now(&name, source, retention))
    }

    fn get<'a>(&'a self, name: &'a ObjectHash, range: Option<Range<u64>>) -> Ending<'a, Bytes> {
        let name = *name;
        self.blocking(move |store| store.get_now(&name, range))
    }

    fn stat<'a>(&'a self, name: &'a ObjectHash) -> Ending<'a, Option<Stat>> {
        let name = *name;
        self.blocking(move |store| store.stat_now(&name))
    }

    fn read_lock<'a>(&'a self, name: &'a ObjectHash) -> Ending<'a, Option<Lock>> {
        let name = *name;
        self.blocking(move |store| store.stat_now(&name)?.map_or(Err(ObjectError::Absent(name)), |_| Ok(None)))
    }
}

impl Inner {
    fn open(path: &Path, object_bytes_max: u64) -> Result<Self, ObjectError> {
        let root = Folder::root(path)?;
        let incoming = root.child_made(INCOMING)?;
        let objects = root.child_made(ROOT)?;
        root.sync()?;
        sweep(&incoming)?;
        let (path, puts) = (path.to_owned(), AtomicU64::new(0));
        Ok(Self {
            path,
            incoming,
            objects,
            object_bytes_max,
            puts,
            #[cfg(test)]
            stop: None,
        })
    }

    fn put(&self, name: &ObjectHash, source: Source) -> Result<Stored, ObjectError> {
        let (file, draft) = self.draft(name)?;
        let put = self.fill_and_place(&file, &draft, name, source);
        if put.is_err() && !self.is_stopped() {
            self.incoming.remove(&draft)?;
        }
        put
    }

    fn fill_and_place(
        &self,
        file: &File,
        draft: &str,
        name: &ObjectHash,
        source: Source,
    ) -> Result<Stored, ObjectError> {
        self.after(Step::Created)?;
        if self.fill(file, source)? != *name {
            return Err(ObjectError::Mismatch(*name));
        }
        // Before the rename: a name must never stand for bytes that a power cut can still take.
        file.sync_all().map_err(ObjectError::io("sync an object"))?;
        self.after(Step::Synced)?;
        self.place(draft, name)
    }

    /// Moves a checked draft to its place, unless a good object is there.
    fn place(&self, draft: &str, name: &ObjectHash) -> Result<Stored, ObjectError> {
        let place = Place::of(name);
        let [first, second] = place.folders();
        let outer = self.objects.child_made(first)?;
        let inner = outer.child_made(second)?;
        let found = inner.open(place.file())?.map(|file| self.read(file, name));
        let stored = match found {
            Some(Ok(_)) => Stored::Present,
            Some(Err(ObjectError::Damaged(_) | ObjectError::TooLong { .. })) => Stored::Mended,
            Some(Err(error)) => return Err(error),
            None => Stored::New,
        };
        if stored == Stored::Present {
            self.incoming.remove(draft)?;
        } else {
            self.incoming.rename(draft, &inner, place.file())?;
            self.after(Step::Renamed)?;
        }
        // Even if it was there: whoever put it may have been killed before this.
        for folder in [&inner, &outer, &self.objects] {
            folder.sync()?;
        }
        Ok(stored)
    }

    /// A new file in `incoming/`, locked as long as it is open, so that no sweep takes it away.
    fn draft(&self, name: &ObjectHash) -> Result<(File, String), ObjectError> {
        loop {
            let number = self.puts.fetch_add(1, Ordering::Relaxed);
            let draft = format!("{name}.{}.{number}", std::process::id());
            let Some(file) = self.incoming.create(&draft)? else { continue };
            // A sweep may have come between making and locking; then it is made again.
            if file.try_lock().is_ok() && self.incoming.holds(&draft, &file)? {
                return Ok((file, draft));
            }
        }
    }

    fn fill(&self, mut file: &File, source: Source) -> Result<ObjectHash, ObjectError> {
        let (mut reader, mut hasher) = (source.into_reader(), ObjectHasher::default());
        let (mut piece, mut total) = (vec![0; PIECE_BYTES], 0);
        loop {
            let count = match reader.read(&mut piece) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ObjectError::Source(error.to_string())),
            };
            total += count as u64;
            if total > self.object_bytes_max {
                return Err(ObjectError::TooLong { bytes_max: self.object_bytes_max });
            }
            let bytes = piece.get(..count).unwrap_or_default();
            hasher.update(bytes);
            file.write_all(bytes).map_err(ObjectError::io("write an object"))?;
            self.after(Step::Piece)?;
        }
    }

    fn find(&self, name: &ObjectHash) -> Result<Option<File>, ObjectError> {
        let place = Place::of(name);
        let [first, second] = place.folders();
        let Some(outer) = self.objects.child(first)? else { return Ok(None) };
        let Some(inner) = outer.child(second)? else { return Ok(None) };
        inner.open(place.file())
    }

    /// All of a file, if it is the object.
    fn read(&self, file: File, name: &ObjectHash) -> Result<Bytes, ObjectError> {
        let mut bytes = Vec::new();
        let read = file.take(self.object_bytes_max.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(ObjectError::io("read an object"))?;
        if bytes.len() as u64 > self.object_bytes_max {
            return Err(ObjectError::TooLong { bytes_max: self.object_bytes_max });
        }
        if super::name_of(&bytes) == *name { Ok(Bytes::from(bytes)) } else { Err(ObjectError::Damaged(*name)) }
    }

    #[cfg(test)]
    fn after(&self, step: Step) -> Result<(), ObjectError> {
        self.stop.as_ref().map_or(Ok(()), |stop| stop.after(step))
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the shape of the tests' own")]
    fn after(&self, _step: Step) -> Result<(), ObjectError> {
        Ok(())
    }

    #[cfg(test)]
    fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(tests::Stop::is_stopped)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the shape of the tests' own")]
    fn is_stopped(&self) -> bool {
        false
    }
}

/// Takes away every draft that no living put has locked. The lock is held until the file is gone: a put that made it and did
/// not lock it yet finds out and makes another.
fn sweep(incoming: &Folder) -> Result<(), ObjectError> {
    for name in incoming.names()? {
        let Some(file) = incoming.open(&name)? else { continue };
        if file.try_lock().is_ok() {
            incoming.remove(&name)?;
        }
        drop(file);
    }
    incoming.sync()
}
