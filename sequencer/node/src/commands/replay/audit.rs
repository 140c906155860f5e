//! The first pass: whether the export is what the ledger signed. Nothing is executed.
//!
//! Takes the export, gives how much of it there is and what is claimed about it. Events are audited by `tally-verify`
//! as `tally fsck` does it; outcomes beside them, with the leaves that the audit of events stands for.

use bytes::Bytes;
use tally_protocol::entry::EventEntry;
use tally_protocol::hash::{self, LeafHash, RootHash, StatesRoot};
use tally_protocol::id::TreeSize;
use tally_protocol::run::{Record, StoredRun};
use tally_verify::{
    Finding, Ledger, LogAudit, OutcomeAudit, OutcomeVerdict, Rule, Signed, Verdict, open_outcome_checkpoint,
};

use super::named;
use crate::exit::Failure;
use crate::export::{CHECKPOINT, Export, OUTCOME_CHECKPOINT, Outcomes};
use crate::progress;
use crate::random::SystemRandom;

/// What the audit came to.
pub(super) struct Audited {
    /// How many events are proven; genesis is none.
    pub(super) events: u64,
    /// How many of them have an outcome.
    pub(super) outcomes: u64,
    /// Size of the log of outcomes.
    pub(super) applied: TreeSize,
    /// Its root, derived again.
    pub(super) outcome_root: RootHash,
    /// The state root that was signed with it.
    pub(super) claimed_states: Option<StatesRoot>,
    /// The outcomes are not under the signed root: which one is wrong, only execution tells.
    pub(super) outcomes_differ: Option<Failure>,
}

/// Each module is the one of its name.
pub(super) fn check_modules(export: &Export) -> Result<(), Failure> {
    for name in export.modules()? {
        let is = export.module(&name)?.map(|wasm| hash::module(&wasm));
        if is != Some(name) {
            let is = is.map_or_else(|| "gone".to_owned(), |is| is.to_hex());
            return Err(named("module", &format!("what lies under the name {name} is {is}")));
        }
    }
    Ok(())
}

/// Audits events and outcomes.
pub(super) fn audit(export: &Export, ledger: &Ledger, quiet: bool) -> Result<Audited, Failure> {
    let mut audit = LogAudit::new(ledger.genesis_entry()).map_err(|failed| named("genesis", &failed))?;
    audit.expect_checkpoint(&export.checkpoint()?, Signed::ByAny);
    let Some(note) = export.outcome_checkpoint()? else {
        let why = format!("the export has no {OUTCOME_CHECKPOINT}: nothing is claimed about its plugins");
        return Err(Failure::failed(why).hint("its node ran no plugins"));
    };
    let (checkpoint, claimed_states) =
        open_outcome_checkpoint(ledger, &note).map_err(|failed| named(OUTCOME_CHECKPOINT, &failed))?;
    let mut beside = Beside::new(export, ledger, checkpoint.size, &note)?;
    let runs = export.runs()?;
    let mut rng = SystemRandom::new();
    let bar = progress::bar(runs.len() as u64, "runs", quiet).with_message("audit");
    for first in runs {
        let bytes = export.run(first)?;
        audit.push_run(&bytes, &mut rng);
        beside.take(bytes)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let log = audit.finish(&mut rng);
    check_log(&log)?;
    let (outcomes, outcomes_differ) = beside.finish(&log)?;
    Ok(Audited {
        events: log.tally.events,
        outcomes: checkpoint.size.get().saturating_sub(1),
        applied: checkpoint.size,
        outcome_root: outcomes.root(),
        claimed_states,
        outcomes_differ,
    })
}

fn check_log(log: &Verdict) -> Result<(), Failure> {
    if let Some(finding) = log.first_bad() {
        let is_note = matches!(finding.rule, Rule::CheckpointSignature | Rule::TwoRoots);
        return Err(named(if is_note { CHECKPOINT } else { "event" }, finding));
    }
    match log.signed {
        Some(signed) if signed == log.size => Ok(()),
        signed => {
            let signed = signed.unwrap_or(TreeSize::new(0));
            Err(named("event", &format!("the checkpoint covers {signed} entries, the export has {}", log.size)))
        }
    }
}

/// The audit of outcomes, which takes each run behind the audit of events.
struct Beside<'e> {
    audit: OutcomeAudit,
    bodies: Outcomes<'e>,
}

impl<'e> Beside<'e> {
    fn new(export: &'e Export, ledger: &Ledger, size: TreeSize, note: &str) -> Result<Self, Failure> {
        let mut audit = OutcomeAudit::new(ledger.clone());
        audit.expect_checkpoint(note, Signed::ByAny);
        let mut this = Self { audit, bodies: export.outcomes(size) };
        this.push(ledger.genesis().leaf_hash())?;
        Ok(this)
    }

    fn push(&mut self, leaf: LeafHash) -> Result<(), Failure> {
        if let Some(body) = self.bodies.next_body()? {
            self.audit.push(leaf, &body);
        }
        Ok(())
    }

    fn take(&mut self, run: Bytes) -> Result<(), Failure> {
        // A run that is none is the other audit's to name.
        let Ok(run) = StoredRun::decode(run) else { return Ok(()) };
        for record in run.records() {
            self.push(leaf_of(&record))?;
        }
        Ok(())
    }

    fn finish(self, log: &Verdict) -> Result<(OutcomeVerdict, Option<Failure>), Failure> {
        let verdict = self.audit.finish();
        let differ = |finding: &Finding| named("outcome", finding);
        let Some(first) = verdict.first_bad() else {
            return Ok((verdict, None));
        };
        match first.rule {
            Rule::CheckpointRoot => {
                let differ = differ(first);
                Ok((verdict, Some(differ)))
            }
            Rule::CheckpointSignature | Rule::TwoRoots => Err(named(OUTCOME_CHECKPOINT, first)),
            Rule::Truncated => {
                let why = format!("outcomes were signed for entries behind the log's end at size {}", log.size);
                Err(named(OUTCOME_CHECKPOINT, &why))
            }
            _ => Err(differ(first)),
        }
    }
}

/// The leaf of an event's entry.
pub(super) fn leaf_of(record: &Record) -> LeafHash {
    let signing_hash = record.frame.signing_hash();
    EventEntry::of_frame(&record.frame, signing_hash, record.sequence, record.public_key, record.sequenced_at)
        .leaf_hash()
}
