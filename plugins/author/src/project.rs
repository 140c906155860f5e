//! `tally plugin new`: a project with source, fixtures and what builds it, which passes its test as it is.
//!
//! Takes a name, a language and a folder that is not there yet; gives files. A Rust project depends on the guest crate by
//! path: of a checkout if one is given, else on the copy that is written into the project, so that nothing is downloaded.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tally_protocol::id::PluginId;

use crate::error::AuthorError;

/// The file that makes a folder a project.
pub const PROJECT_FILE: &str = "tally-plugin.json";

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, with the guest crate.
    Rust,
    /// C, with a header.
    C,
    /// AssemblyScript, with a module.
    AssemblyScript,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rust, Self::C, Self::AssemblyScript];

    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::AssemblyScript => "assemblyscript",
        }
    }

    /// The committed module of its template, built with the name `starter`.
    #[must_use]
    pub const fn starter(self) -> &'static [u8] {
        match self {
            Self::Rust => include_bytes!("../../templates/rust/starter.wasm"),
            Self::C => include_bytes!("../../templates/c/starter.wasm"),
            Self::AssemblyScript => include_bytes!("../../templates/assemblyscript/starter.wasm"),
        }
    }
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The plugin's id, and the name of its module's file.
    pub id: String,
    /// What it is written in.
    pub language: Language,
}

impl Project {
    /// Reads a folder's project; none if the folder has none.
    ///
    /// # Errors
    /// The file cannot be read, or is none.
    pub fn load(folder: &Path) -> Result<Option<Self>, AuthorError> {
        let path = folder.join(PROJECT_FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read(&path).map_err(AuthorError::file("read", &path))?;
        let project: Self = serde_json::from_slice(&text)
            .map_err(|error| AuthorError::Project(format!("{} is no project: {error}", path.display())))?;
        checked(&project.id)?;
        Ok(Some(project))
    }

    /// Where its module is, once it is built.
    #[must_use]
    pub fn module(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.wasm", self.id))
    }
}

/// A project's name: a plugin's id that is a crate's name too.
fn checked(name: &str) -> Result<(), AuthorError> {
    let begins = name.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
    if PluginId::new(name).is_ok() && begins {
        return Ok(());
    }
    Err(AuthorError::Project(format!("`{name}` is no name: 1 to 64 of a-z, 0-9 and -, with a letter first")))
}

/// The guest crate's sources, without its host in memory.
const SDK: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../templates/rust/sdk.Cargo.toml")),
    ("src/abi.rs", include_str!("../../../sdk/plugin/src/abi.rs")),
    ("src/abi/absent.rs", include_str!("../../../sdk/plugin/src/abi/absent.rs")),
    ("src/abi/native.rs", include_str!("../../../sdk/plugin/src/abi/native.rs")),
    ("src/abi/wasm.rs", include_str!("../../../sdk/plugin/src/abi/wasm.rs")),
    ("src/arena.rs", include_str!("../../../sdk/plugin/src/arena.rs")),
    ("src/crypto.rs", include_str!("../../../sdk/plugin/src/crypto.rs")),
    ("src/event.rs", include_str!("../../../sdk/plugin/src/event.rs")),
    ("src/guest.rs", include_str!("../../../sdk/plugin/src/guest.rs")),
    ("src/json.rs", include_str!("../../../sdk/plugin/src/json.rs")),
    ("src/json/read.rs", include_str!("../../../sdk/plugin/src/json/read.rs")),
    ("src/json/tests.rs", include_str!("../../../sdk/plugin/src/json/tests.rs")),
    ("src/json/write.rs", include_str!("../../../sdk/plugin/src/json/write.rs")),
    ("src/key.rs", include_str!("../../../sdk/plugin/src/key.rs")),
    ("src/lib.rs", include_str!("../../../sdk/plugin/src/lib.rs")),
    ("src/log.rs", include_str!("../../../sdk/plugin/src/log.rs")),
    ("src/manifest.rs", include_str!("../../../sdk/plugin/src/manifest.rs")),
    ("src/query.rs", include_str!("../../../sdk/plugin/src/query.rs")),
    ("src/record.rs", include_str!("../../../sdk/plugin/src/record.rs")),
    ("src/reject.rs", include_str!("../../../sdk/plugin/src/reject.rs")),
    ("src/rows.rs", include_str!("../../../sdk/plugin/src/rows.rs")),
    ("src/state.rs", include_str!("../../../sdk/plugin/src/state.rs")),
    ("src/step.rs", include_str!("../../../sdk/plugin/src/step.rs")),
];

/// Where a Rust project keeps its copy of the guest crate.
const VENDOR: &str = "vendor/tally-plugin";

const FIXTURES: &[(&str, &str)] = &[
    ("fixtures/stock.json", include_str!("../../templates/fixtures/stock.json")),
    ("fixtures/refusals.json", include_str!("../../templates/fixtures/refusals.json")),
];

const RUST: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../templates/rust/Cargo.toml")),
    (".cargo/config.toml", include_str!("../../templates/rust/config.toml")),
    ("src/lib.rs", include_str!("../../templates/rust/src/lib.rs")),
];

const C: &[(&str, &str)] =
    &[("plugin.c", include_str!("../../templates/c/plugin.c")), ("tally.h", include_str!("../../templates/c/tally.h"))];

const ASSEMBLYSCRIPT: &[(&str, &str)] = &[
    ("package.json", include_str!("../../templates/assemblyscript/package.json")),
    ("assembly/index.ts", include_str!("../../templates/assemblyscript/assembly/index.ts")),
    ("assembly/tally.ts", include_str!("../../templates/assemblyscript/assembly/tally.ts")),
];

/// Writes a new project.
///
/// # Errors
/// The name is none, the folder is there already, or a file cannot be written.
pub fn create(name: &str, language: Language, folder: &Path, sdk: Option<&Path>) -> Result<Project, AuthorError> {
    checked(name)?;
    if folder.exists() {
        return Err(AuthorError::Project(format!("{} is there already; nothing was written", folder.display())));
    }
    let sdk_path = match (language, sdk) {
        (Language::Rust, Some(path)) => sdk_of(path)?,
        _ => VENDOR.to_owned(),
    };
    let fill = |text: &str| text.replace("@NAME@", name).replace("@SDK@", &sdk_path);
    let sources = match language {
        Language::Rust => RUST,
        Language::C => C,
        Language::AssemblyScript => ASSEMBLYSCRIPT,
    };
    for (file, text) in sources.iter().chain(FIXTURES) {
        write(&folder.join(file), &fill(text))?;
    }
    if language == Language::Rust && sdk.is_none() {
        for (file, text) in SDK {
            write(&folder.join(VENDOR).join(file), text)?;
        }
    }
    write(&folder.join(".gitignore"), include_str!("../../templates/gitignore"))?;
    let project = Project { id: name.to_owned(), language };
    let mut text = serde_json::to_string_pretty(&project).map_err(|error| AuthorError::Project(error.to_string()))?;
    text.push('\n');
    write(&folder.join(PROJECT_FILE), &text)?;
    Ok(project)
}

/// The guest crate of a checkout: its own folder, or the checkout's.
fn sdk_of(path: &Path) -> Result<String, AuthorError> {
    let inner = path.join("sdk/plugin");
    let found = if inner.is_dir() { inner } else { path.to_owned() };
    let is_crate = std::fs::read_to_string(found.join("Cargo.toml"))
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "name = \"tally-plugin\""));
    let absolute = std::fs::canonicalize(&found).ok().filter(|_| is_crate);
    let absolute = absolute.and_then(|path| path.to_str().map(str::to_owned));
    // A path goes into a quoted string of the project's Cargo.toml.
    absolute.filter(|path| !path.contains(['"', '\\', '\n'])).ok_or_else(|| {
        AuthorError::Project(format!("{} is neither the crate tally-plugin nor a checkout with it", path.display()))
    })
}

fn write(path: &Path, text: &str) -> Result<(), AuthorError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(AuthorError::file("create", folder))?;
    }
    std::fs::write(path, text).map_err(AuthorError::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(folder: &Path, name: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                sources(&entry.path(), &name, found);
            } else {
                found.push(name);
            }
        }
    }

    #[test]
    fn the_copy_of_the_guest_crate_is_whole() {
        let mut found = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/plugin/src"), "src", &mut found);
        found.retain(|name| !name.starts_with("src/test_host"));
        found.push("Cargo.toml".to_owned());
        found.sort();
        let mut listed: Vec<&str> = SDK.iter().map(|(name, _)| *name).collect();
        listed.sort_unstable();
        assert_eq!(listed, found);
    }

    #[test]
    fn a_name_is_a_plugins_id_that_begins_with_a_letter() {
        for name in ["a", "my-plugin", "x9"] {
            assert!(checked(name).is_ok(), "{name}");
        }
        for name in ["", "9a", "-a", "A", "a_b", "a/b", "..", &"a".repeat(65)] {
            assert!(checked(name).is_err(), "{name}");
        }
    }
}
