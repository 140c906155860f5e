//! `tally plugin dev`: something changed, so build and replay the last fixtures.
//!
//! Takes files to watch; says when one of them has changed and settled. Changes are found by looking at times and lengths:
//! an editor that saves by renaming is seen as well, and nothing has to be installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::AuthorError;
use crate::project::{Language, PROJECT_FILE, Project};

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(150);
/// Files of a project at most.
const FILES_MAX: usize = 10_000;

/// The state of watched files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, (Option<SystemTime>, u64)>);

impl Seen {
    /// Looks at what belongs to a place: a module's file, or a project's sources and fixtures.
    ///
    /// # Errors
    /// A folder cannot be read, or holds too many files.
    pub fn now(place: &Path) -> Result<Self, AuthorError> {
        let mut seen = Self(BTreeMap::new());
        if place.is_file() {
            seen.file(place);
            // Its fixtures lie beside it.
            if let Some(folder) = place.parent() {
                seen.folder(&folder.join("fixtures"))?;
            }
            return Ok(seen);
        }
        let project = Project::load(place)?;
        let sources: &[&str] = match project.as_ref().map(|project| project.language) {
            Some(Language::Rust) => &["src", "vendor", "Cargo.toml", "Cargo.lock", ".cargo"],
            Some(Language::C) => &["plugin.c", "tally.h", "src"],
            Some(Language::AssemblyScript) => &["assembly", "package.json"],
            None => &["."],
        };
        for name in sources.iter().chain(&["fixtures", PROJECT_FILE]) {
            let path = place.join(name);
            if path.is_dir() {
                seen.folder(&path)?;
            } else {
                seen.file(&path);
            }
        }
        Ok(seen)
    }

    fn file(&mut self, path: &Path) {
        if let Ok(about) = std::fs::metadata(path) {
            self.0.insert(path.to_owned(), (about.modified().ok(), about.len()));
        }
    }

    fn folder(&mut self, folder: &Path) -> Result<(), AuthorError> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
        for entry in entries {
            let path = entry.map_err(AuthorError::file("list", folder))?.path();
            if self.0.len() >= FILES_MAX {
                return Err(AuthorError::Project(format!("{} holds more than {FILES_MAX} files", folder.display())));
            }
            if path.is_dir() {
                self.folder(&path)?;
            } else {
                self.file(&path);
            }
        }
        Ok(())
    }

    /// Waits until something else is there than was seen, and it has not changed for a moment. `stop` ends the wait.
    ///
    /// # Errors
    /// See [`Seen::now`].
    pub fn changed(&self, place: &Path, stop: impl Fn() -> bool) -> Result<Option<Self>, AuthorError> {
        while !stop() {
            std::thread::sleep(LOOK);
            let now = Self::now(place)?;
            if now != *self {
                std::thread::sleep(LOOK);
                if Self::now(place)? == now {
                    return Ok(Some(now));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_source_is_seen_and_a_built_module_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("p");
        crate::project::create("p", Language::C, &place, None).unwrap();
        let before = Seen::now(&place).unwrap();
        std::fs::write(place.join("p.wasm"), b"built").unwrap();
        assert_eq!(Seen::now(&place).unwrap(), before);
        for name in ["plugin.c", "fixtures/stock.json"] {
            let text = std::fs::read_to_string(place.join(name)).unwrap();
            let before = Seen::now(&place).unwrap();
            std::fs::write(place.join(name), text + " ").unwrap();
            assert!(before.changed(&place, || false).unwrap().is_some(), "{name}");
        }
        let now = Seen::now(&place).unwrap();
        assert_eq!(now.changed(&place, || true).unwrap(), None);
    }
}
