//! Writes an export directory: into a hidden one beside it, which takes the name when it is whole.
//!
//! Holds one run (8 MiB at the most) and one bundle of outcomes. What fails leaves the hidden directory behind, which
//! the next attempt names and refuses to touch.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tally_protocol::entry::Genesis;
use tally_protocol::hash::{self, LedgerId, ModuleHash, RunHash};
use tally_protocol::id::{Epoch, Index};
use tally_protocol::plugin_event::{PLUGIN_PREFIX, PluginEvent};
use tally_protocol::run::{Record, RecordIn, RunBuilder, RunError};
use tally_protocol::tile::{EntryBundleId, TILE_WIDTH, encode_bundle};

use super::{CHECKPOINT, GENESIS, LOG, MODULES, OUTCOME_CHECKPOINT, OUTCOMES, bundle_path, module_path, run_name};
use crate::exit::Failure;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Events.
    pub events: u64,
    /// Outcomes, that of genesis included.
    pub outcomes: u64,
    /// Modules.
    pub modules: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Writes one export.
pub struct ExportWriter {
    out: PathBuf,
    work: PathBuf,
    ledger: LedgerId,
    run: Option<RunBuilder>,
    previous: RunHash,
    next: Index,
    bundle: Vec<Vec<u8>>,
    named: BTreeSet<ModuleHash>,
    written: Written,
}

impl ExportWriter {
    /// Begins an export of the ledger that has this genesis entry.
    ///
    /// # Errors
    /// The directory is there already, or one that was broken off; the genesis entry is none; the disk.
    pub fn create(out: &Path, genesis: &[u8]) -> Result<Self, Failure> {
        let ledger = Genesis::decode(genesis).map_err(|error| Failure::invalid(format!("genesis: {error}")))?;
        let work = hidden(out)?;
        if out.exists() {
            let failure = Failure::usage(format!("{} exists", out.display()));
            return Err(failure.hint("an export is written once; name a new directory"));
        }
        if work.exists() {
            let failure = Failure::usage(format!("{} is left of an export that was broken off", work.display()));
            return Err(failure.hint("remove it and export again"));
        }
        for folder in [LOG, OUTCOMES, MODULES] {
            create_folder(&work.join(folder))?;
        }
        let written = Written { events: 0, outcomes: 0, modules: 0, bytes: 0 };
        let mut writer = Self {
            out: out.to_owned(),
            work,
            ledger: ledger.ledger_id(),
            run: None,
            previous: RunHash::ZERO,
            next: Index::new(1),
            bundle: Vec::new(),
            named: BTreeSet::new(),
            written,
        };
        writer.write(&writer.work.join(GENESIS), genesis)?;
        Ok(writer)
    }

    /// The next event.
    ///
    /// # Errors
    /// It is not the next one, or the disk.
    pub fn push_event(&mut self, record: &Record) -> Result<(), Failure> {
        if record.index != self.next {
            return Err(Failure::invalid(format!("entry {} follows where {} belongs", record.index, self.next)));
        }
        self.note_modules(record);
        let item = RecordIn {
            sequence: record.sequence,
            sequenced_at: record.sequenced_at,
            public_key: record.public_key,
            frame: &record.frame,
        };
        let full = match self.run.as_mut().map(|run| run.push(item)) {
            // No room, or too late for a time that counts from the run's first event.
            None | Some(Err(RunError::TooLarge | RunError::Time(_))) => true,
            Some(pushed) => pushed.map(|_| false).map_err(|error| entry_failed(record.index, &error))?,
        };
        if full {
            self.flush_run()?;
            let mut run = RunBuilder::new(self.ledger, Epoch::new(0), record.index, self.previous, record.sequenced_at);
            run.push(item).map_err(|error| entry_failed(record.index, &error))?;
            self.run = Some(run);
        }
        self.next = self.next.next();
        self.written.events += 1;
        Ok(())
    }

    /// The next outcome, from that of genesis on.
    ///
    /// # Errors
    /// It is longer than any, or the disk.
    pub fn push_outcome(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.bundle.push(body.to_vec());
        self.written.outcomes += 1;
        if self.bundle.len() == usize::from(TILE_WIDTH) { self.flush_bundle() } else { Ok(()) }
    }

    /// The modules that the plugin events so far name.
    #[must_use]
    pub const fn named_modules(&self) -> &BTreeSet<ModuleHash> {
        &self.named
    }

    /// A module.
    ///
    /// # Errors
    /// The disk.
    pub fn put_module(&mut self, wasm: &[u8]) -> Result<(), Failure> {
        let path = module_path(&self.work, &hash::module(wasm));
        self.written.modules += 1;
        self.write(&path, wasm)
    }

    /// Ends the export: the notes go in, and the directory takes its name.
    ///
    /// # Errors
    /// The disk.
    pub fn finish(mut self, checkpoint: &str, outcome_checkpoint: Option<&str>) -> Result<Written, Failure> {
        self.flush_run()?;
        self.flush_bundle()?;
        self.write(&self.work.join(CHECKPOINT), checkpoint.as_bytes())?;
        if let Some(note) = outcome_checkpoint {
            self.write(&self.work.join(OUTCOME_CHECKPOINT), note.as_bytes())?;
        }
        fs::rename(&self.work, &self.out).map_err(|error| Failure::file("name", &self.out, &error))?;
        Ok(self.written)
    }

    fn note_modules(&mut self, record: &Record) {
        let (stream, event_type) = (record.frame.stream(), record.frame.event_type());
        if !stream.is_control() || !event_type.starts_with(PLUGIN_PREFIX) {
            return;
        }
        match PluginEvent::decode(event_type, record.frame.payload()) {
            Ok(PluginEvent::Submitted(submission)) => {
                self.named.insert(submission.release.module);
            }
            Ok(PluginEvent::Installed(binding) | PluginEvent::Upgraded(binding)) => {
                self.named.insert(binding.module);
            }
            // Whoever reads the export judges the event.
            _ => {}
        }
    }

    fn flush_run(&mut self) -> Result<(), Failure> {
        let Some(run) = self.run.take() else { return Ok(()) };
        let run = run.finish().map_err(|error| entry_failed(self.next, &error))?;
        self.previous = run.hash;
        self.write(&self.work.join(LOG).join(run_name(run.first_index)), &run.bytes)
    }

    fn flush_bundle(&mut self) -> Result<(), Failure> {
        let count = self.bundle.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let broken = |error: &dyn std::fmt::Display| Failure::failed(format!("failed to bundle outcomes: {error}"));
        let index = (self.written.outcomes - count) / u64::from(TILE_WIDTH);
        let width = u16::try_from(count).map_err(|error| broken(&error))?;
        let id = EntryBundleId::new(index, width).map_err(|error| broken(&error))?;
        let bytes = encode_bundle(&self.bundle).map_err(|error| broken(&error))?;
        self.bundle.clear();
        let path = bundle_path(&self.work, id);
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        self.write(&path, &bytes)
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        self.written.bytes += bytes.len() as u64;
        fs::write(path, bytes).map_err(|error| Failure::file("write", path, &error))
    }
}

fn entry_failed(index: Index, error: &RunError) -> Failure {
    Failure::invalid(format!("entry {index} cannot be exported: {error}"))
}

/// Where an export is made: beside its place, so that a rename brings it there.
fn hidden(out: &Path) -> Result<PathBuf, Failure> {
    let Some(name) = out.file_name() else {
        return Err(Failure::usage(format!("{} is no name for a new directory", out.display())));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".partial");
    Ok(out.with_file_name(hidden))
}

fn create_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| Failure::file("create", path, &error))
}
