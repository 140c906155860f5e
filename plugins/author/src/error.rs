//! Why a tool could not do its work. What a plugin does wrong at an event is a result, and not one of these.

use std::path::{Path, PathBuf};

use tally_plugin_host::error::HostError;
use tally_plugin_host::instance::AskError;
use tally_plugin_host::manifest::ManifestError;
use tally_protocol::id::Index;

/// Why a tool could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorError {
    /// A file could not be used.
    #[error("failed to {what} {}", path.display())]
    File {
        /// What was tried: a verb.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A fixture is none.
    #[error("{} is no fixture: {why}", path.display())]
    Fixture {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is nothing to run on.
    #[error("{0} holds no fixtures (files fixtures/*.json) and no log")]
    NothingThere(PathBuf),
    /// The host refuses the module, or cannot go on.
    #[error("the host refuses the module")]
    Host(#[from] HostError),
    /// The module does not describe itself.
    #[error("the module does not describe itself")]
    Describe(#[from] AskError),
    /// What it describes itself as is no manifest.
    #[error("the module describes itself wrongly")]
    Manifest(#[from] ManifestError),
    /// The host cannot go on at an event; no plugin can cause it.
    #[error("the host failed at the events from index {from}")]
    Apply {
        /// Where the range began.
        from: Index,
        /// Why.
        source: HostError,
    },
    /// The plugin does not take its configuration.
    #[error("{call} ended with {code}: the plugin would not start")]
    NotStarted {
        /// `init` or `migrate`.
        call: &'static str,
        /// The outcome's code.
        code: String,
    },
    /// The events are not canonical JSON, or another rule of the log is broken.
    #[error("{0}")]
    Events(String),
    /// A project, its language or its compiler is not as it has to be; the text says what to do.
    #[error("{0}")]
    Project(String),
    /// A package is none, or does not hold.
    #[error("the package does not hold: {0}")]
    Package(String),
    /// What is to be published breaks a rule.
    #[error("{0}")]
    Publish(String),
    /// A state tree could not be made; it is made in memory.
    #[error("failed to make a state tree: {0}")]
    Tree(String),
}

impl AuthorError {
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }

    pub(crate) fn fixture(path: &Path, why: impl core::fmt::Display) -> Self {
        Self::Fixture { path: path.to_owned(), why: why.to_string() }
    }
}
