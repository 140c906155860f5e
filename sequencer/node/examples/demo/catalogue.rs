//! The demo's real input: the packages this workspace is built from.
//!
//! Takes the lock file (names, versions, SHA-256 checksums) and the local cargo cache (`.crate` files, their sizes);
//! gives items for sale. Nothing is invented: a package whose file is not in the cache is left out and counted.
//! Fails in one line if there is no lock file or no cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One package as it is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The package's name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// SHA-256 of the `.crate` file, from the lock file.
    pub(crate) checksum: String,
    /// Bytes of the `.crate` file.
    pub(crate) size_bytes: u64,
    file: PathBuf,
}

impl Item {
    /// `name@version`.
    pub(crate) fn sku(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// The `.crate` file.
    pub(crate) fn read(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.file).map_err(|error| format!("failed to read {}: {error}", self.file.display()))
    }

    /// A price in cents: one cent per kibibyte begun, and a hundred for the work.
    pub(crate) fn price_cents(&self) -> u64 {
        100 + self.size_bytes.div_ceil(1024)
    }
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Catalogue {
    /// Packages whose file is in the cache, by name and version.
    pub(crate) items: Vec<Item>,
    /// Packages of the lock file from a registry.
    pub(crate) locked: usize,
    /// The cache's folder.
    pub(crate) cache: PathBuf,
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// Reads the workspace's lock file and the cache.
///
/// # Errors
/// One line that says what is missing and what to do.
pub(crate) fn read(workspace: &Path) -> Result<Catalogue, String> {
    let lock = workspace.join("Cargo.lock");
    let text = std::fs::read_to_string(&lock).map_err(|error| format!("failed to read {}: {error}", lock.display()))?;
    let lock: Lock = toml::from_str(&text).map_err(|error| format!("{} is no lock file: {error}", lock.display()))?;
    let cache = cache_folder()?;
    let files = crate_files(&cache)?;
    let locked: Vec<_> = lock.package.into_iter().filter(|package| package.checksum.is_some()).collect();
    let count = locked.len();
    let items: Vec<Item> = locked.into_iter().filter_map(|package| item(package, &files)).collect();
    if items.is_empty() {
        let what = format!("none of the {count} locked packages is in {}", cache.display());
        return Err(format!("{what}; run `cargo fetch` first"));
    }
    Ok(Catalogue { items, locked: count, cache })
}

fn item(package: Locked, files: &BTreeMap<String, (PathBuf, u64)>) -> Option<Item> {
    let checksum = package.checksum?;
    let (file, size_bytes) = files.get(&format!("{}-{}.crate", package.name, package.version))?.clone();
    Some(Item { name: package.name, version: package.version, checksum, size_bytes, file })
}

fn cache_folder() -> Result<PathBuf, String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let cache = home.ok_or("there is no home directory; set CARGO_HOME")?.join("registry").join("cache");
    if cache.is_dir() {
        Ok(cache)
    } else {
        Err(format!("there is no cargo cache {}; run `cargo fetch` first", cache.display()))
    }
}

/// File names with their places and sizes, of all registries in the cache.
fn crate_files(cache: &Path) -> Result<BTreeMap<String, (PathBuf, u64)>, String> {
    let fail = |path: &Path, error: std::io::Error| format!("failed to read {}: {error}", path.display());
    let mut files = BTreeMap::new();
    for registry in std::fs::read_dir(cache).map_err(|error| fail(cache, error))? {
        let registry = registry.map_err(|error| fail(cache, error))?.path();
        if !registry.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(&registry).map_err(|error| fail(&registry, error))? {
            let file = file.map_err(|error| fail(&registry, error))?;
            let name = file.file_name().to_string_lossy().into_owned();
            if name.ends_with(".crate") {
                let size = file.metadata().map_err(|error| fail(&file.path(), error))?.len();
                files.insert(name, (file.path(), size));
            }
        }
    }
    Ok(files)
}
