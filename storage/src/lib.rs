//! Where the log and everything derived from it is kept.
//!
//! One [`Engine`] (RocksDB, or memory in tests) under typed stores: [`EventLog`], [`TileStore`], [`CheckpointStore`],
//! [`DerivedIndex`], [`CommitmentStore`], [`CredentialStore`], [`MetaStore`], and for what is applied to the log
//! [`Outcomes`], [`Cuts`], [`PluginState`], [`StatePages`],
//! [`FollowerRows`], [`Outbox`], [`Modules`]. Stores write *into* a [`Batch`]; the
//! caller gives the batch to [`Engine::write`]. The table of the database is [`keys`] and
//! `docs/formats/storage-keys.md`.
//!
//! # What a returned write means
//!
//! - A batch is atomic over all families: after any crash it is there as a whole or not at all.
//! - `write(batch, Durability::Synced)` returned `Ok`: this batch **and every batch before it** have been synced to
//!   the disk and survive a crash of the process, the system and the power supply, as far as the disk keeps its
//!   promise about sync.
//! - `write(batch, Durability::Buffered)` returned `Ok`: every reader sees it, and it survives a crash of the process.
//!   A crash of the system may lose it; then it loses every batch after it too, never one in between.
//! - `write` returned an error: nobody knows what the disk holds. The engine refuses every later write with
//!   [`StorageError::Poisoned`], the caller stops and starts again from what is found then. There is no retry in place:
//!   after a failed sync the system may report the next one as done although the data is gone.
//!
//! # What recovery may cut
//!
//! RocksDB's write-ahead log is opened in its strictest mode (absolute consistency), which refuses any damage. One
//! kind of damage is normal: a write that a crash interrupted leaves the beginning of a record at the end of the
//! newest file. Before RocksDB sees the directory, [`wal`] reads the write-ahead log and cuts exactly that, and
//! only if all of this holds:
//!
//! - the rest of the file behind the last whole record is too short for the record that begins there, or all zero;
//! - no whole record begins behind the damage, in this file or in a later one;
//! - the record there is not whole under another length (a damaged length field).
//!
//! A record is acknowledged only after it was written whole and synced, so what is cut was never acknowledged. Any
//! other damage, also in the very last record, is refused as [`StorageError::WalDamaged`]: it may be an acknowledged
//! record that changed on the disk. Sizes of finished write-ahead files are noted in RocksDB's manifest and compared,
//! so a shortened or missing older file is refused. What no file of this directory can show is that its newest file
//! lost *whole* records at its end, or that the whole directory is an old copy: the fence outside the directory is
//! there for that (`sequencer/core`).
//!
//! A file system that keeps a later page of an unsynced write and loses an earlier one leaves damage that looks like
//! a changed record; it is refused too. Nothing is lost by that: restore the directory, or the newest copy of it.
//!
//! # Versions
//!
//! The directory's format version is in [`MetaStore`]; a directory of another version, or with families this code
//! does not know, is refused as [`StorageError::UnknownFormat`] and not changed. A future version that changes the
//! layout opens version 1, writes the new layout beside the old, and moves the version in the same synced batch as
//! the last of it: a crash in between leaves a readable version 1.
//!
//! Families that are added change nothing that is there, so the version stays: a directory without them gets them
//! empty, and read only it is read as if they were. A program that does not know them refuses the directory by their
//! names.

pub mod background;
pub mod batch;
pub mod checkpoint_store;
pub mod commitment_store;
pub mod config;
#[cfg(feature = "test-util")]
pub mod contract;
pub mod credential_store;
pub mod cuts;
pub mod derived;
mod engine;
pub mod error;
pub mod event_log;
mod failpoint;
pub mod family;
pub mod follower_rows;
pub mod keys;
pub mod lookup;
#[cfg(feature = "test-util")]
pub mod memory;
pub mod meta;
pub mod module_store;
mod old_logs;
pub mod outbox;
pub mod outcomes;
pub mod plugin_state;
pub mod state_pages;
pub mod tile_store;
pub mod wal;

pub use batch::{Batch, Change, Durability, Engine, EngineStats, FamilyStats, Row, ScanRange};
pub use checkpoint_store::{CheckpointStore, LatestCheckpoint, PublishedCheckpoint};
pub use commitment_store::CommitmentStore;
pub use config::RocksConfig;
pub use credential_store::CredentialStore;
pub use cuts::{Cuts, RecordedCuts};
pub use derived::{DerivedIndex, IndexRows, IndexStats, clear_applied, clear_derived};
pub use engine::{open_rocks, open_rocks_read_only};
pub use error::{ErrorClass, StorageError};
pub use event_log::{EventLog, RunTip};
pub use failpoint::fail_point;
pub use family::Family;
pub use follower_rows::{FollowerRows, NoteRow, StandingRow};
pub use meta::{FORMAT_VERSION, MetaStore};
pub use module_store::Modules;
pub use outbox::{DispatchFloor, EffectRow, Outbox};
pub use outcomes::Outcomes;
pub use plugin_state::{PluginState, StateRange, StateRow};
pub use state_pages::{StatePages, TreePages};
pub use tile_store::{StoredTile, TileStore};
