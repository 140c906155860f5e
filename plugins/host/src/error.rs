//! What can go wrong with plugins, by who is at fault.
//!
//! [`ModuleError`]: the module may not run here (its author). [`ManifestError`](crate::manifest::ManifestError): it describes
//! itself wrongly. [`HostError`]: the host cannot go on (the operator); it is never an outcome. What a guest does wrong
//! while it handles an event is an [`OutcomeCode`](tally_protocol::outcome::OutcomeCode), not an error.

use tally_merkle::sparse::StateTreeError;
use tally_protocol::hash::{ModuleHash, ProfileId};
use tally_protocol::id::{Index, PluginId};

use crate::apart::ApartError;
use crate::state::StateError;

/// Why a module is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{refusal} (at byte {at})")]
pub struct ModuleError {
    /// Why.
    pub refusal: Refusal,
    /// Offset in the module of what is refused.
    pub at: usize,
}

/// Why a module is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More bytes than a module may have.
    #[error("module of {bytes} bytes, more than {max}")]
    ModuleBytes {
        /// Its bytes.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Not a valid module of the allowed features. The text is the validator's own; it names types and operators.
    #[error("not a valid module: {0}")]
    Invalid(String),
    /// A component or something else than a core module.
    #[error("not a core module")]
    NotACoreModule,
    /// An import from another module than the host's.
    #[error("import {import} is not from the host's module")]
    ForeignImport {
        /// Its number.
        import: u32,
    },
    /// An import that the ABI does not have.
    #[error("import {import} is not a function of the ABI")]
    UnknownImport {
        /// Its number.
        import: u32,
    },
    /// An import with another signature than the ABI's.
    #[error("import {import} has another signature than the ABI")]
    ImportSignature {
        /// Its number.
        import: u32,
    },
    /// An import that occurs twice.
    #[error("import {import} occurs twice")]
    ImportTwice {
        /// Its number.
        import: u32,
    },
    /// An export that the contract does not have.
    #[error("export {export} is not in the contract")]
    UnknownExport {
        /// Its number.
        export: u32,
    },
    /// An export of another kind or signature than the contract's.
    #[error("export {name} has another type than the contract")]
    ExportType {
        /// The contract's name.
        name: &'static str,
    },
    /// An export of the contract is missing.
    #[error("export {name} is missing")]
    ExportMissing {
        /// The contract's name.
        name: &'static str,
    },
    /// A start function.
    #[error("a start function")]
    Start,
    /// Not exactly one memory.
    #[error("not exactly one memory")]
    Memories,
    /// The memory starts larger than the limit.
    #[error("memory starts with {pages} pages, more than {max}")]
    MemoryPages {
        /// Its pages.
        pages: u64,
        /// The bound.
        max: u64,
    },
    /// More than one table.
    #[error("more than one table")]
    Tables,
    /// A table that could grow.
    #[error("a table without a fixed size")]
    TableGrows,
    /// A segment that is not placed by a constant within its memory or table.
    #[error("segment {segment} does not lie within its memory or table")]
    SegmentBounds {
        /// Its number.
        segment: u32,
    },
    /// An element segment that is not active functions.
    #[error("element segment {segment} is not of active functions")]
    ElementKind {
        /// Its number.
        segment: u32,
    },
    /// An instruction that the profile leaves out.
    #[error("an instruction on tables")]
    TableInstruction,
    /// More of something than a module may have.
    #[error("{count} {what}, more than {max}")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many.
        count: u64,
        /// The bound.
        max: u64,
    },
}

/// Why the host cannot go on. The log is not delayed: apply halts with an alarm.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The module may not run here.
    #[error("the module is refused")]
    Module(#[from] ModuleError),
    /// State could not be read.
    #[error("failed to read state")]
    State(#[from] StateError),
    /// The engine failed to compile, link or instantiate what the validator let through.
    #[error("the engine failed: {0}")]
    Engine(String),
    /// The engine's own wall (fuel, native stack) stood before the counted one: the profile is broken, and no outcome
    /// may come of it.
    #[error("the engine's {0} ran out before the counted one")]
    SecondWall(&'static str),
    /// A guest was at one event, or at one call, for longer than the guard of wall time allows. No outcome comes of it:
    /// another machine would say something else.
    #[error("a guest ran past the deadline of wall time")]
    Deadline,
    /// The host could not give memory that the limit allows.
    #[error("the host ran out of memory for a guest")]
    HostMemory,
    /// No child process came through with compiling the module. It may be this machine's fault, so no outcome comes of it.
    #[error("the module was not compiled apart")]
    Apart(#[from] ApartError),
    /// An instance ended where the recorded cuts say that it went on.
    #[error("event {index} has a fresh instance, against the record")]
    Cut {
        /// The event's index.
        index: u64,
    },
    /// A recorded cut cannot be followed: the instance was fresh where the record says that it went on, or the record
    /// lets it live longer than any may.
    #[error("event {index} of {plugin} is cut otherwise than the record says")]
    Recorded {
        /// The event.
        index: Index,
        /// The plugin.
        plugin: PluginId,
    },
    /// Nobody has the module.
    #[error("module {module} of {plugin} is missing")]
    ModuleMissing {
        /// The plugin.
        plugin: PluginId,
        /// The module that the release names.
        module: ModuleHash,
    },
    /// What was given for the module is another.
    #[error("what was given for module {module} of {plugin} is another")]
    ModuleDiffers {
        /// The plugin.
        plugin: PluginId,
        /// The module that the release names.
        module: ModuleHash,
    },
    /// The binding names rules that this host does not have.
    #[error("{plugin} runs under profile {profile}, which this host does not know")]
    UnknownProfile {
        /// The plugin.
        plugin: PluginId,
        /// The profile.
        profile: ProfileId,
    },
    /// The register has no such release, or its publisher's signature does not verify.
    #[error("the release of {0} does not hold")]
    Release(PluginId),
    /// What ran before cannot be loaded again.
    #[error("{plugin} is bound, and cannot be loaded: {why}")]
    Unfit {
        /// The plugin.
        plugin: PluginId,
        /// Why.
        why: String,
    },
    /// A range that is not consecutive entries, or longer than one may be.
    #[error("not a range of the log at entry {0}")]
    Range(Index),
    /// A stored standing that is none.
    #[error("a standing is malformed")]
    Standing,
    /// A stored list of cuts that is none.
    #[error("a list of cuts is malformed")]
    Cuts,
    /// State trees could not be read or changed.
    #[error("failed to change a state tree")]
    Tree(#[from] StateTreeError<StateError>),
    /// An earlier range failed halfway; what is in memory does not count any more.
    #[error("an earlier range failed; start again from what is stored")]
    Halted,
}
