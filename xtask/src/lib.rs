//! The manual of this repository, as code: `cargo xtask` lists it.
//!
//! *In scope*: preparing what a task needs, running cargo with it, and the house rules that no compiler knows
//! (floors, rooms, laws, requirement rows, source lints).
//! *Out of scope*: anything a shipped crate could use; nothing depends on this crate, and it depends on nothing, so
//! that it starts within seconds on a fresh clone.
//!
//! The rules are plain functions from a [`tree::Tree`] to findings. A test plants a violation in a tree made of two
//! strings and sees it found.

// foundations
pub mod manifest;
pub mod markdown;
pub mod shell;
pub mod source;
pub mod tree;

// what a task needs
pub mod setup;

// the tasks
pub mod bench;
pub mod check;
pub mod contract;
pub mod crash;
pub mod demo;
pub mod fuzz;
pub mod plugins;
pub mod requirements;
pub mod sim;
pub mod suite;
pub mod vectors;
