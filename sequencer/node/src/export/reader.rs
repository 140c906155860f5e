//! Reads an export directory, a bounded file at a time.
//!
//! What it gives is as it lies there: who reads decides whether it is what the ledger signed. A missing or overlong
//! file, or one of a name that no export has, is a failure that names it.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tally_protocol::hash::ModuleHash;
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::limits::{ENTRY_BYTES_MAX, RUN_BYTES_MAX};
use tally_protocol::tile::{EntryBundleId, TILE_WIDTH, decode_bundle};

use super::{CHECKPOINT, GENESIS, LOG, MODULES, OUTCOME_CHECKPOINT, bundle_path, module_path, run_name};
use crate::exit::Failure;

/// A note or a genesis entry has fewer bytes.
const SMALL_BYTES_MAX: usize = 1 << 20;
/// A module has fewer; its validator's bound is lower.
const MODULE_BYTES_MAX: usize = 64 << 20;

/// An export directory.
#[derive(Debug, Clone)]
pub struct Export {
    dir: PathBuf,
}

impl Export {
    /// One that is there.
    ///
    /// # Errors
    /// It is no directory with a genesis entry.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        if !dir.join(GENESIS).is_file() {
            let failure = Failure::usage(format!("{} is no export: it has no file `{GENESIS}`", dir.display()));
            return Err(failure.hint("tally export --data DATA --out DIR makes one"));
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// The genesis entry.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn genesis(&self) -> Result<Vec<u8>, Failure> {
        self.must(GENESIS)
    }

    /// The note of the checkpoint of events.
    ///
    /// # Errors
    /// It is missing or no text.
    pub fn checkpoint(&self) -> Result<String, Failure> {
        text(CHECKPOINT, self.must(CHECKPOINT)?)
    }

    /// The note of the checkpoint of outcomes; none if nothing was applied.
    ///
    /// # Errors
    /// It is no text or cannot be read.
    pub fn outcome_checkpoint(&self) -> Result<Option<String>, Failure> {
        let bytes = read(&self.dir.join(OUTCOME_CHECKPOINT), SMALL_BYTES_MAX)?;
        bytes.map(|bytes| text(OUTCOME_CHECKPOINT, bytes)).transpose()
    }

    /// The runs' first indexes, in order.
    ///
    /// # Errors
    /// A file of another name lies among them.
    pub fn runs(&self) -> Result<Vec<Index>, Failure> {
        let parse = |name: &str| {
            let first = Index::new(name.strip_suffix(".run")?.parse().ok()?);
            (run_name(first) == name).then_some(first)
        };
        self.names(LOG, parse)
    }

    /// The run that begins at an index.
    ///
    /// # Errors
    /// It is missing or longer than any.
    pub fn run(&self, first: Index) -> Result<Bytes, Failure> {
        let path = self.dir.join(LOG).join(run_name(first));
        let bytes = read(&path, RUN_BYTES_MAX)?;
        bytes.map(Bytes::from).ok_or_else(|| missing(&path))
    }

    /// The outcomes of a log of this size, in order, a bundle at a time.
    #[must_use]
    pub fn outcomes(&self, size: TreeSize) -> Outcomes<'_> {
        Outcomes { export: self, size, next: 0, bundle: Vec::new().into_iter() }
    }

    /// The modules that are there, by name.
    ///
    /// # Errors
    /// A file of another name lies among them.
    pub fn modules(&self) -> Result<Vec<ModuleHash>, Failure> {
        self.names(MODULES, |name| ModuleHash::from_hex(name.strip_suffix(".wasm")?).ok())
    }

    /// A module, unproven; none if it is not there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn module(&self, hash: &ModuleHash) -> Result<Option<Bytes>, Failure> {
        Ok(read(&module_path(&self.dir, hash), MODULE_BYTES_MAX)?.map(Bytes::from))
    }

    fn must(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let path = self.dir.join(name);
        read(&path, SMALL_BYTES_MAX)?.ok_or_else(|| missing(&path))
    }

    fn names<T: Ord>(&self, folder: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Failure> {
        let path = self.dir.join(folder);
        let failed = |error: std::io::Error| Failure::file("read", &path, &error);
        let mut names = Vec::new();
        for file in fs::read_dir(&path).map_err(failed)? {
            let name = file.map_err(failed)?.file_name();
            let parsed = name.to_str().and_then(&parse);
            names.push(
                parsed.ok_or_else(|| {
                    Failure::invalid(format!("{} is no file of an export", path.join(&name).display()))
                })?,
            );
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// Outcomes in order. Ends behind the last one, or at the first failure.
#[derive(Debug)]
pub struct Outcomes<'e> {
    export: &'e Export,
    size: TreeSize,
    next: u64,
    bundle: std::vec::IntoIter<Vec<u8>>,
}

impl Outcomes<'_> {
    /// The next outcome's bytes; none behind the last.
    ///
    /// # Errors
    /// A bundle is missing or malformed.
    pub fn next_body(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(body) = self.bundle.next() {
            self.next += 1;
            return Ok(Some(body));
        }
        let left = self.size.get().saturating_sub(self.next);
        let Ok(width @ 1..) = u16::try_from(left.min(u64::from(TILE_WIDTH))) else { return Ok(None) };
        let id = EntryBundleId::new(self.next / u64::from(TILE_WIDTH), width)
            .map_err(|error| Failure::failed(error.to_string()))?;
        let path = bundle_path(&self.export.dir, id);
        let longest = usize::from(TILE_WIDTH) * (2 + ENTRY_BYTES_MAX);
        let bytes = read(&path, longest)?.ok_or_else(|| missing(&path))?;
        let bodies = decode_bundle(&bytes, width)
            .map_err(|error| Failure::invalid(format!("outcome: {}: {error}", path.display())))?;
        self.bundle = bodies.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter();
        self.next_body()
    }
}

/// A file's bytes; none if it is not there.
fn read(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, Failure> {
    let failed = |error: &std::io::Error| Failure::file("read", path, error);
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| failed(&error))?,
    };
    let mut bytes = Vec::new();
    let length = file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if length > bytes_max {
        return Err(Failure::invalid(format!("{} has more than {bytes_max} bytes", path.display())));
    }
    Ok(Some(bytes))
}

fn missing(path: &Path) -> Failure {
    Failure::invalid(format!("{} is missing", path.display()))
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|_| Failure::invalid(format!("{name}: it is no text")))
}
