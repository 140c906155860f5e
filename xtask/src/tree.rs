//! The files of this repository as the rules see them: names and texts.
//!
//! Takes a folder (the files git knows or would add), or pairs of name and text in tests. Gives lookups; a file that
//! is not UTF-8 has a name and no text. Fails only when the folder cannot be read.

use std::collections::BTreeMap;
use std::path::Path;

use crate::manifest::Manifest;
use crate::shell::{Failure, Outcome, command, output};
use crate::source::Source;

/// Names (with forward slashes, relative to the top) and texts.
#[derive(Default, Debug)]
pub struct Tree {
    files: BTreeMap<String, Option<String>>,
}

/// One crate of the workspace.
#[derive(Debug)]
pub struct Package {
    /// The folder, relative to the top.
    pub folder: String,
    /// Its `Cargo.toml`.
    pub manifest: Manifest,
}

impl Tree {
    /// Reads every file that git tracks or would add; without git, every file that is not obviously made.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn read(root: &Path) -> Outcome<Tree> {
        let mut git = command("git");
        git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let names = match output(&mut git) {
            Ok(names) => names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            Err(_) => walk(root, "")?,
        };
        let mut files = BTreeMap::new();
        for name in names {
            // A file deleted but not yet committed has a name and no bytes: it is gone.
            if let Ok(bytes) = std::fs::read(root.join(&name)) {
                files.insert(name, String::from_utf8(bytes).ok());
            }
        }
        Ok(Tree { files })
    }

    /// A tree of given texts.
    #[must_use]
    pub fn of(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), Some((*text).to_owned()))).collect();
        Tree { files }
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.files.get(name)?.as_deref()
    }

    /// Whether a file or a folder of that name exists; the empty name is the top.
    #[must_use]
    pub fn exists(&self, name: &str) -> bool {
        let folder = format!("{}/", name.trim_end_matches('/'));
        name.is_empty() || self.files.contains_key(name) || self.files.keys().any(|file| file.starts_with(&folder))
    }

    /// Every file with a text, by name.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(name, text)| Some((name.as_str(), text.as_deref()?)))
    }

    /// Every Rust file, parsed.
    pub fn sources(&self) -> impl Iterator<Item = (&str, Source)> {
        self.texts().filter(|(name, _)| name.ends_with(".rs")).map(|(name, text)| (name, Source::parse(name, text)))
    }

    /// Every crate of the workspace, by folder: the members of the top manifest, or without one every crate there is.
    #[must_use]
    pub fn packages(&self) -> Vec<Package> {
        let top = self.text("Cargo.toml").unwrap_or_default();
        let members = top.split_once("members = [").and_then(|(_, rest)| rest.split_once(']')).map(|(list, _)| list);
        let is_member = |folder: &str| members.is_none_or(|list| list.contains(&format!("\"{folder}\"")));
        let manifests = self.texts().filter_map(|(name, text)| Some((name.strip_suffix("/Cargo.toml")?, text)));
        manifests
            .filter(|(folder, _)| is_member(folder))
            .map(|(folder, text)| Package { folder: folder.to_owned(), manifest: Manifest::parse(text) })
            .filter(|package| !package.manifest.name.is_empty())
            .collect()
    }

    /// The crate a file belongs to.
    #[must_use]
    pub fn package_of<'a>(packages: &'a [Package], file: &str) -> Option<&'a Package> {
        packages
            .iter()
            .filter(|package| file.strip_prefix(&package.folder).is_some_and(|rest| rest.starts_with('/')))
            .max_by_key(|package| package.folder.len())
    }
}

/// Every file below a folder, without what is built, run or installed there.
fn walk(root: &Path, below: &str) -> Outcome<Vec<String>> {
    const MADE: &[&str] = &[".git", "target", "tally-data", "node_modules", "artifacts"];
    let entries = std::fs::read_dir(root.join(below))
        .map_err(|error| Failure(format!("failed to list {}: {error}", root.join(below).display())))?;
    let mut names = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if !entry.path().is_dir() {
            names.push(path);
        } else if !MADE.contains(&name.as_str()) {
            names.extend(walk(root, &path)?);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walking_finds_what_git_knows() {
        let root = crate::shell::root();
        let walked = walk(&root, "").expect("the folder can be read");
        for name in ["Cargo.toml", "xtask/src/tree.rs", ".ci/run"] {
            assert!(walked.iter().any(|file| file == name), "{name} was not found");
        }
        assert!(!walked.iter().any(|file| file.starts_with("target/") || file.starts_with(".git/")));
    }
}
