//! Committed modules of plugins, held against their source.
//!
//! *In scope*: a module in a second engine ([`ModuleHost`], wasmi), driven through the same contract as a native plugin
//! (`tally_plugin::test_host::Host`), so that both can be compared event by event; the record of how modules were built
//! ([`record`]). *Out of scope*: gas, stack and memory limits and everything else that decides outcomes in a node: that
//! is the plugin host's. Nothing depends on this crate; `cargo xtask plugins` runs its binary.

mod engine;
pub mod record;

pub use engine::{LoadError, ModuleHost};
