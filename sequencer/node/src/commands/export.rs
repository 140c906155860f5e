//! `tally export`: writes what an auditor needs to execute the log again, from a data directory at rest.
//!
//! Takes the directory of a node that is not running (opened for reading only); gives an export directory: genesis,
//! the newest checkpoints, events, outcomes, modules. Nothing is verified here: whoever reads it does, with
//! `tally replay`. Events and outcomes go from the database to the disk a run and a bundle at a time.

use std::sync::Arc;

use serde_json::json;
use tally_protocol::id::{Index, TreeSize};
use tally_storage::{
    CheckpointStore, Engine, EventLog, MetaStore, Modules, Outcomes, RocksConfig, open_rocks_read_only,
};

use crate::cli::ExportArgs;
use crate::exit::Failure;
use crate::export::{ExportWriter, Written};
use crate::output::Output;
use crate::wire::storage_failure;
use crate::{layout, progress};

/// Runs of at most 8 MiB that are held at once.
const RUNS_PER_READ: usize = 2;
/// Outcomes that are held at once.
const OUTCOMES_PER_READ: usize = 256;

/// Runs the command.
///
/// # Errors
/// The data directory holds no ledger or no checkpoint, the export exists, or the disk.
pub fn run(args: &ExportArgs) -> Result<(), Failure> {
    let output = Output::new(args.json);
    let database = layout::database(&args.data);
    let engine = open_rocks_read_only(&database, &RocksConfig::STANDARD).map_err(|error| storage_failure(&error))?;
    let source = Source::open(engine, args)?;
    let written = source.write(args)?;
    let (size, applied) = (source.checkpoint.size.get(), source.outcomes.as_ref().map_or(0, |head| head.size.get()));
    let value = json!({
        "out": args.out.display().to_string(), "size": size, "outcome_size": applied, "events": written.events,
        "outcomes": written.outcomes, "modules": written.modules, "bytes": written.bytes,
    });
    output.result(&value, || {
        let Written { events, outcomes, modules, bytes } = &written;
        let out = args.out.display();
        format!("exported {events} events, {outcomes} outcomes, {modules} modules ({bytes} bytes) to {out}")
    })
}

/// A tree head with its note.
struct Head {
    size: TreeSize,
    note: String,
}

struct Source {
    engine: Arc<dyn Engine>,
    genesis: Vec<u8>,
    checkpoint: Head,
    outcomes: Option<Head>,
}

impl Source {
    fn open(engine: Arc<dyn Engine>, args: &ExportArgs) -> Result<Self, Failure> {
        let meta = MetaStore::new(Arc::clone(&engine));
        meta.check_format(false).map_err(|error| storage_failure(&error))?;
        let Some(genesis) = meta.genesis().map_err(|error| storage_failure(&error))? else {
            return Err(Failure::invalid(format!("{} holds no ledger", args.data.display())));
        };
        let newest = |store: &CheckpointStore, bound: u64| newest(store, TreeSize::new(bound));
        let Some(checkpoint) = newest(&CheckpointStore::new(Arc::clone(&engine)), u64::MAX)? else {
            let failure = Failure::failed("the log has no signed checkpoint yet");
            return Err(failure.hint("start the node and stop it again: it signs what it finds"));
        };
        // Outcomes of events that the checkpoint covers: what a crash left beyond it, the next start signs.
        let outcomes = newest(&CheckpointStore::of_outcomes(Arc::clone(&engine)), checkpoint.size.get())?;
        Ok(Self { genesis: genesis.to_vec(), checkpoint, outcomes, engine })
    }

    fn write(&self, args: &ExportArgs) -> Result<Written, Failure> {
        let mut writer = ExportWriter::create(&args.out, &self.genesis)?;
        self.write_events(&mut writer, args.json)?;
        self.write_outcomes(&mut writer, args.json)?;
        self.write_modules(&mut writer)?;
        writer.finish(&self.checkpoint.note, self.outcomes.as_ref().map(|head| head.note.as_str()))
    }

    fn write_events(&self, writer: &mut ExportWriter, quiet: bool) -> Result<(), Failure> {
        let (log, end) = (EventLog::new(Arc::clone(&self.engine)), self.checkpoint.size);
        let bar = progress::bar(end.get(), "events", quiet).with_message("export");
        let mut next = Index::new(1);
        while end.holds(next) {
            let runs = log.runs_from(next, RUNS_PER_READ).map_err(|error| storage_failure(&error))?;
            let Some(last) = runs.last() else { break };
            let behind = last.header().next_index();
            for record in runs.iter().flat_map(tally_protocol::run::StoredRun::records) {
                if record.index >= next && end.holds(record.index) {
                    writer.push_event(&record)?;
                }
            }
            next = behind;
            bar.set_position(next.get());
        }
        bar.finish_and_clear();
        if end.holds(next) {
            let why = format!("the log ends at entry {next}, but size {end} was signed");
            return Err(Failure::invalid(why).hint("tally fsck DIR says what is wrong"));
        }
        Ok(())
    }

    fn write_outcomes(&self, writer: &mut ExportWriter, quiet: bool) -> Result<(), Failure> {
        let Some(head) = &self.outcomes else { return Ok(()) };
        let outcomes = Outcomes::new(Arc::clone(&self.engine));
        let bar = progress::bar(head.size.get(), "outcomes", quiet).with_message("export");
        // That of genesis is a constant and is not stored.
        writer.push_outcome(tally_protocol::outcome::EMPTY_BODY)?;
        let mut next = 1;
        while next < head.size.get() {
            let left = usize::try_from(head.size.get() - next).unwrap_or(usize::MAX).min(OUTCOMES_PER_READ);
            let bodies = outcomes.from(Index::new(next), left).map_err(|error| storage_failure(&error))?;
            if bodies.is_empty() {
                let why = format!("the outcome of entry {next} is missing, but size {} was signed", head.size);
                return Err(Failure::invalid(why).hint("outcomes are derived: the node makes them again at its start"));
            }
            for body in &bodies {
                writer.push_outcome(body)?;
            }
            next += bodies.len() as u64;
            bar.set_position(next);
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn write_modules(&self, writer: &mut ExportWriter) -> Result<(), Failure> {
        let modules = Modules::new(Arc::clone(&self.engine));
        for hash in writer.named_modules().clone() {
            // A release that was never installed need not be here; if it was, replay names what is missing.
            if let Some(wasm) = modules.get(hash).map_err(|error| storage_failure(&error))? {
                writer.put_module(&wasm)?;
            }
        }
        Ok(())
    }
}

/// The newest checkpoint of a log that is no larger than a size; the published one of two of one size.
fn newest(store: &CheckpointStore, bound: TreeSize) -> Result<Option<Head>, Failure> {
    let published = store.published_latest().map_err(|error| storage_failure(&error))?;
    let latest = store.latest().map_err(|error| storage_failure(&error))?;
    let heads = [
        published.map(|published| Head { size: published.size, note: published.note }),
        latest.map(|latest| Head { size: latest.size, note: latest.note }),
    ];
    let fitting = heads.into_iter().flatten().filter(|head| head.size <= bound);
    Ok(fitting.reduce(|one, other| if other.size > one.size { other } else { one }))
}
