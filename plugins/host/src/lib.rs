//! The plugin host: untrusted WebAssembly in, one outcome per event out, the same on every machine.
//!
//! In scope: what a module may look like ([`validate`]), the gas and stack counters put into it ([`instrument`]), one
//! engine that runs it ([`engine`], the only room of wasmtime), the pull loop over a range of events ([`instance`]),
//! the host functions ([`abi`]), and the savepoints beneath them ([`overlay`]).
//! A module travels `validate → instrument → validate again → compile`; an event travels
//! `next → work → done → settled`, and only what the guest asks for next settles it.
//!
//! Above that lies the log: which plugin is bound to which stream since which event ([`registry`]), a range of the log
//! to one outcome per entry ([`apply`]), what the range changed ([`delta`]), and the same again for who does not believe
//! it ([`replay`]). `docs/formats/apply.md` says what all of it must come to.
//!
//! A module can be compiled by a child process first, within bounds ([`apart`]); what machines have to say about a release
//! is in [`report`].
//!
//! Out of scope: delivery of effects, routes. This crate reads state through [`state::StateView`] and [`state::States`],
//! and touches neither disk nor network nor clock; [`engine::Ticker`] is how a clock of others guards wall time.

pub mod error;
pub mod limits;
pub mod manifest;

pub mod gas;
pub mod instrument;
pub mod validate;

pub mod overlay;
pub mod state;

pub mod session;

pub mod abi;

pub mod engine;
pub mod instance;

pub mod apart;
pub mod apply;
pub mod delta;
pub mod memory;
pub mod registry;
pub mod replay;
pub mod report;
