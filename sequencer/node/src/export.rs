//! The export directory: everything an auditor needs to execute a ledger's log again, and nothing of the node's own.
//!
//! [`ExportWriter`] takes the genesis entry, events and outcomes in order, modules and notes; gives a directory
//! (`docs/formats/export.md`). [`Export`] reads one back, a file at a time, and believes nothing in it but lengths.
//! The same log gives the same files, however its node had cut it into runs.

mod reader;
mod writer;

use std::path::{Path, PathBuf};

use tally_protocol::hash::ModuleHash;
use tally_protocol::id::Index;
use tally_protocol::tile::EntryBundleId;

pub use reader::{Export, Outcomes};
pub use writer::{ExportWriter, Written};

/// The genesis entry.
pub const GENESIS: &str = "genesis";
/// The note of the newest checkpoint of events.
pub const CHECKPOINT: &str = "checkpoint";
/// The note of the newest checkpoint of outcomes.
pub const OUTCOME_CHECKPOINT: &str = "outcome-checkpoint";
/// Events, in runs.
pub const LOG: &str = "log";
/// Outcomes, in entry bundles.
pub const OUTCOMES: &str = "outcomes";
/// Modules, by their hashes.
pub const MODULES: &str = "modules";

/// The name of the run that begins at an index, which sorts as it counts.
fn run_name(first: Index) -> String {
    format!("{:020}.run", first.get())
}

fn bundle_path(dir: &Path, bundle: EntryBundleId) -> PathBuf {
    dir.join(OUTCOMES).join(bundle.path())
}

fn module_path(dir: &Path, module: &ModuleHash) -> PathBuf {
    dir.join(MODULES).join(format!("{module}.wasm"))
}
