//! A folder held by its descriptor: what is in it is reached by one name at a time, and never through a link.
//!
//! Takes names that this store made itself (hexadecimal digits, a few fixed words); whoever swaps a folder or file for a
//! link, a pipe or a device gets [`ObjectError::Unsafe`] and no byte read or written elsewhere.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::objects::ObjectError;

const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

impl Folder {
    /// Opens the folder of a store, and makes it if only its last part is missing. It must be this user's alone.
    pub(super) fn root(path: &Path) -> Result<Self, ObjectError> {
        match rustix::fs::mkdir(path, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(ObjectError::io("make the store's folder")(error)),
        }
        let opened = rustix::fs::open(path, OFlags::RDONLY | FOLDER, Mode::empty());
        let folder = Self(opened.map_err(failed("open the store's folder"))?);
        let stat = rustix::fs::fstat(&folder.0).map_err(ObjectError::io("look at the store's folder"))?;
        let name = path.display();
        if stat.st_mode & 0o077 != 0 {
            return Err(ObjectError::Unsafe(format!("others may use {name}; chmod 700")));
        }
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(ObjectError::Unsafe(format!("{name} belongs to another user")));
        }
        Ok(folder)
    }

    /// A folder in this one, if it is there.
    pub(super) fn child(&self, name: &str) -> Result<Option<Self>, ObjectError> {
        match rustix::fs::openat(&self.0, name, OFlags::RDONLY | FOLDER, Mode::empty()) {
            Ok(folder) => Ok(Some(Self(folder))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("open a folder")(error)),
        }
    }

    /// A folder in this one, made if it is not there.
    pub(super) fn child_made(&self, name: &str) -> Result<Self, ObjectError> {
        match rustix::fs::mkdirat(&self.0, name, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(ObjectError::io("make a folder")(error)),
        }
        self.child(name)?.ok_or_else(|| ObjectError::Unsafe("a folder vanished while it was made".to_owned()))
    }

    /// A file that was not there before, for writing.
    pub(super) fn create(&self, name: &str) -> Result<Option<File>, ObjectError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.0, name, flags, FILE_MODE) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(failed("make a file")(error)),
        }
    }

    /// A file for reading, if it is there. Not blocking: a pipe would wait for its writer for ever.
    pub(super) fn open(&self, name: &str) -> Result<Option<File>, ObjectError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed("open a file")(error)),
        };
        let stat = rustix::fs::fstat(&file).map_err(ObjectError::io("look at a file"))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            Ok(Some(File::from(file)))
        } else {
            Err(ObjectError::Unsafe("what is in an object's place is not a file".to_owned()))
        }
    }

    /// Whether `name` is this very file.
    pub(super) fn holds(&self, name: &str, file: &File) -> Result<bool, ObjectError> {
        let here = match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(ObjectError::io("look at a file")(error)),
        };
        let other = rustix::fs::fstat(file).map_err(ObjectError::io("look at a file"))?;
        Ok((here.st_dev, here.st_ino) == (other.st_dev, other.st_ino))
    }

    /// Moves a file into another folder, over what was there; at no time is there neither of them.
    pub(super) fn rename(&self, name: &str, to: &Self, as_name: &str) -> Result<(), ObjectError> {
        rustix::fs::renameat(&self.0, name, &to.0, as_name).map_err(ObjectError::io("rename a file"))
    }

    /// Takes a file away; that it is gone already is fine.
    pub(super) fn remove(&self, name: &str) -> Result<(), ObjectError> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(ObjectError::io("remove a file")(error)),
        }
    }

    /// Makes what was made, renamed and removed here survive a power cut.
    pub(super) fn sync(&self) -> Result<(), ObjectError> {
        rustix::fs::fsync(&self.0).map_err(ObjectError::io("sync a folder"))
    }

    /// The names in it that this store can have made.
    pub(super) fn names(&self) -> Result<Vec<String>, ObjectError> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0).map_err(ObjectError::io("list a folder"))? {
            let entry = entry.map_err(ObjectError::io("list a folder"))?;
            names.extend(entry.file_name().to_str().ok().filter(|name| !name.starts_with('.')).map(str::to_owned));
        }
        Ok(names)
    }
}

/// A link where none may be is not a failure of the disk.
fn failed(what: &'static str) -> impl FnOnce(Errno) -> ObjectError {
    move |error| match error {
        Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO => {
            ObjectError::Unsafe(format!("failed to {what}: a link or something else is in its place"))
        }
        error => ObjectError::io(what)(error),
    }
}
