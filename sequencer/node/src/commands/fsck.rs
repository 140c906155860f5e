//! `tally fsck`: the offline auditor of a data directory. Everything is derived again from the log and compared with
//! what is stored and what was signed.
//!
//! Takes the directory of a node that is not running (opened for reading only; nothing is changed or repaired); gives
//! a report and the first bad entry. The audit itself is `tally-verify`'s, which shares only formats with the server;
//! what it cannot know (positions, look-up indexes, the fence) is checked in `indexes` and here, outcomes in `outcomes`.

mod expectations;
mod indexes;
mod outcomes;
mod report;

use std::path::Path;
use std::sync::Arc;

use tally_core::{Fence as _, FenceRecord, FileFence};
use tally_merkle::Frontier;
use tally_protocol::entry::EventEntry;
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::run::StoredRun;
use tally_storage::keys::{Key, RunKey};
use tally_storage::{
    Engine, Family, MetaStore, RocksConfig, Row, ScanRange, StorageError, TileStore, open_rocks_read_only,
};
use tally_verify::LogAudit;

use self::indexes::Indexes;
use self::outcomes::OutcomeCheck;
use self::report::{Problem, Report};
use crate::cli::FsckArgs;
use crate::exit::Failure;
use crate::output::Output;
use crate::random::SystemRandom;
use crate::wire::{fence_failure, storage_failure};
use crate::{layout, progress};

/// Runs of at most 8 MiB that are held at once.
const RUNS_PER_SCAN: usize = 4;

/// Runs the command.
///
/// # Errors
/// The directory cannot be read, or something in it is wrong.
pub fn run(args: &FsckArgs) -> Result<(), Failure> {
    let output = Output::new(args.json);
    let engine = open(&args.data)?;
    let fence_path = args.fence.clone().unwrap_or_else(|| layout::fence_beside(&args.data));
    let fence = read_fence(&fence_path, args.fence.is_some())?;
    let mut fsck = Fsck::start(engine, fence, args)?;
    fsck.read_log(args.json)?;
    let report = fsck.finish()?;
    output.result(&report, || report.to_string())?;
    match report.first_bad() {
        None => Ok(()),
        Some(first) => Err(Failure::invalid(format!("the log is not as it was written; first bad: {first}"))),
    }
}

fn open(data: &Path) -> Result<Arc<dyn Engine>, Failure> {
    open_rocks_read_only(&layout::database(data), &RocksConfig::STANDARD).map_err(|error| storage_failure(&error))
}

/// The fence's record, if the file is there; a file that was named must be.
fn read_fence(path: &Path, named: bool) -> Result<Option<FenceRecord>, Failure> {
    if !named && !path.exists() {
        return Ok(None);
    }
    if !path.exists() {
        return Err(Failure::usage(format!("there is no fence {}", path.display())));
    }
    FileFence::open(path).and_then(|mut fence| fence.load()).map_err(|error| fence_failure(&error))
}

struct Fsck {
    engine: Arc<dyn Engine>,
    audit: LogAudit,
    rng: SystemRandom,
    indexes: Indexes,
    outcomes: OutcomeCheck,
    tiles: TileStore,
    /// Tiles above this size may be missing: they ride in the next run's write.
    tiles_below: TreeSize,
    frontier: Frontier,
    fence: Option<FenceRecord>,
    problems: Vec<Problem>,
    report: Report,
}

impl Fsck {
    fn start(engine: Arc<dyn Engine>, fence: Option<FenceRecord>, args: &FsckArgs) -> Result<Self, Failure> {
        let meta = MetaStore::new(Arc::clone(&engine));
        meta.check_format(false).map_err(|error| storage_failure(&error))?;
        let genesis = meta.genesis().map_err(|error| storage_failure(&error))?;
        let Some(genesis) = genesis else {
            return Err(Failure::invalid(format!(
                "{} holds no ledger: its genesis entry is missing",
                args.data.display()
            )));
        };
        let mut audit = LogAudit::new(&genesis)
            .map_err(|failed| Failure::invalid(format!("first bad: entry 0: {failed}")))?
            .with_tiles();
        let ledger = audit.ledger().clone();
        if let Some(trusted) = args.ledger.filter(|trusted| *trusted != ledger.id()) {
            return Err(Failure::invalid(format!("this is ledger {}, the trusted one is {trusted}", ledger.id())));
        }
        let mut problems = Vec::new();
        let given = expectations::give(&engine, &mut audit, &mut problems)?;
        let mut frontier = Frontier::new();
        frontier.append(ledger.genesis().leaf_hash());
        let mut report = Report::new(&ledger);
        report.fence_checked = fence.is_some();
        report.published_note = given.published;
        let outcomes = OutcomeCheck::start(&engine, &ledger, &mut problems)?;
        let mut this = Self {
            outcomes,
            indexes: Indexes::start(Arc::clone(&engine), &ledger.id())?,
            tiles: TileStore::new(Arc::clone(&engine)),
            tiles_below: given.latest.unwrap_or(TreeSize::new(0)),
            rng: SystemRandom::new(),
            engine,
            audit,
            frontier,
            fence,
            problems,
            report,
        };
        this.check_fence_ledger();
        this.meet_fence();
        Ok(this)
    }

    /// Reads every run once: the audit gets its bytes, the indexes its records.
    fn read_log(&mut self, quiet: bool) -> Result<(), Failure> {
        let bar = progress::bar(self.last_index()?, "events", quiet).with_message("fsck");
        let mut from = Key::FIRST;
        loop {
            let range = ScanRange { family: Family::Runs, from, to: None, reverse: false, limit: RUNS_PER_SCAN };
            let rows = self.engine.scan(&range).map_err(|error| storage_failure(&error))?;
            let Some(last) = rows.last() else { break };
            from = Key::from_slice(&last.key)
                .ok_or_else(|| Failure::invalid("a run is stored under a key longer than any"))?
                .just_after();
            for row in &rows {
                self.take_run(row)?;
            }
            bar.set_position(self.audit.size().get());
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn last_index(&self) -> Result<u64, Failure> {
        let range = ScanRange { family: Family::Runs, from: Key::FIRST, to: None, reverse: true, limit: 1 };
        let rows = self.engine.scan(&range).map_err(|error| storage_failure(&error))?;
        let last = rows.first().and_then(|row| StoredRun::decode(row.value.clone()).ok());
        Ok(last.map_or(0, |run| run.header().next_index().get()))
    }

    fn take_run(&mut self, row: &Row) -> Result<(), Failure> {
        self.audit.push_run(&row.value, &mut self.rng);
        let tiles = self.audit.take_tiles();
        self.check_tiles(&tiles)?;
        // A run that does not decode is the audit's to report; nothing can be said about its indexes.
        let Ok(run) = StoredRun::decode(row.value.clone()) else { return Ok(()) };
        let first = run.header().first_index;
        if RunKey::decode(&row.key).is_none_or(|key| key.0 != first) {
            self.problems.push(Problem::at(first, "run_key", "the run is stored under another position"));
        }
        self.indexes.take_run(&run, &mut self.problems)?;
        for record in run.records() {
            let entry = EventEntry::of_frame(
                &record.frame,
                record.frame.signing_hash(),
                record.sequence,
                record.public_key,
                record.sequenced_at,
            );
            let leaf = entry.leaf_hash();
            self.frontier.append(leaf);
            self.outcomes.take(leaf, &mut self.problems)?;
            self.meet_fence();
        }
        Ok(())
    }

    fn check_tiles(&mut self, tiles: &[tally_merkle::FullTile]) -> Result<(), Failure> {
        for tile in tiles {
            let stored = self.tiles.get(tile.level, tile.index);
            let stored = match stored {
                Ok(stored) => stored,
                Err(error @ StorageError::BadValue { .. }) => {
                    self.problems.push(Problem::stored("tile", &error.to_string()));
                    continue;
                }
                Err(error) => return Err(storage_failure(&error)),
            };
            let span = 1u64 << (8 * (u32::from(tile.level) + 1)).min(63);
            let end = (tile.index + 1).saturating_mul(span);
            if stored.is_none() && end > self.tiles_below.get() {
                continue;
            }
            self.report.tiles_stored += u64::from(stored.is_some());
            self.audit.check_tile(tile, stored.as_ref().map(|stored| &stored.value()[..]));
        }
        Ok(())
    }

    fn check_fence_ledger(&mut self) {
        let id = self.audit.ledger().id();
        if let Some(record) = self.fence.filter(|record| record.ledger_id != id) {
            let why = format!("the fence belongs to ledger {}", record.ledger_id);
            self.problems.push(Problem::stored("fence_ledger", &why));
            self.fence = None;
        }
    }

    /// The log has reached the fence's size: its root must be the fence's.
    fn meet_fence(&mut self) {
        let Some(record) = self.fence.filter(|record| record.size == self.frontier.size()) else { return };
        let root = self.frontier.root();
        if root != record.root {
            let why = format!("the entries give root {root} at size {}, the fence holds {}", record.size, record.root);
            self.problems.push(Problem::range(Index::new(0), Index::new(record.size.get()), "fence_root", &why));
        }
        self.report.fence_size = Some(record.size.get());
    }

    fn finish(mut self) -> Result<Report, Failure> {
        let size = self.frontier.size();
        self.audit.settle(&mut self.rng);
        let tiles = self.audit.take_tiles();
        self.check_tiles(&tiles)?;
        if let Some(record) = self.fence.filter(|record| record.size > size) {
            let why = format!("the log ends at size {size}, but size {} was fenced: entries are missing", record.size);
            self.problems.push(Problem::at(Index::new(size.get()), "fence_truncated", &why));
        }
        self.indexes.finish(size, &mut self.problems)?;
        self.report.outcomes = self.outcomes.finish(&mut self.problems)?;
        expectations::check_counts(&self.engine, self.report.tiles_stored, &mut self.problems)?;
        let verdict = self.audit.finish(&mut self.rng);
        self.report.close(&verdict, self.indexes.rows(), self.problems);
        Ok(self.report)
    }
}
