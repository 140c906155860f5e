//! What was signed or cut about the log, given to the audit before its entries: checkpoints and commitments. And
//! counts that show rows which belong to nothing.

use std::sync::Arc;

use tally_gateway::Credential;
use tally_protocol::batch::Commitment;
use tally_protocol::id::TreeSize;
use tally_storage::keys::{CheckpointKey, CommitmentKey, CredentialKey, Key};
use tally_storage::{CheckpointStore, Engine, Family, Row, ScanRange, StorageError};
use tally_verify::{LogAudit, Signed};

use super::report::Problem;
use crate::exit::Failure;
use crate::wire::storage_failure;

/// Rows read at once.
const ROWS_PER_SCAN: usize = 4096;

/// What the audit was given.
pub(super) struct Given {
    /// Size of the newest signed checkpoint that is stored.
    pub(super) latest: Option<TreeSize>,
    /// The newest published checkpoint's note.
    pub(super) published: Option<String>,
}

/// Gives the audit everything the entries must meet.
pub(super) fn give(
    engine: &Arc<dyn Engine>,
    audit: &mut LogAudit,
    problems: &mut Vec<Problem>,
) -> Result<Given, Failure> {
    let checkpoints = CheckpointStore::new(Arc::clone(engine));
    let latest = match checkpoints.latest() {
        Ok(latest) => latest,
        Err(error @ StorageError::BadValue { .. }) => {
            problems.push(Problem::stored("checkpoint_latest", &error.to_string()));
            None
        }
        Err(error) => return Err(storage_failure(&error)),
    };
    if let Some(latest) = &latest {
        audit.expect_checkpoint(&latest.note, Signed::ForReceipts);
    }
    let mut published = None;
    each_row(engine, Family::Checkpoints, CheckpointKey::published(), |row| {
        match (CheckpointKey::decode(&row.key), core::str::from_utf8(&row.value)) {
            (Some(CheckpointKey::Published(_)), Ok(note)) => {
                audit.expect_checkpoint(note, Signed::ForThePublic);
                published = Some(note.to_owned());
            }
            _ => problems.push(Problem::stored("checkpoint_published", "a published checkpoint is not one")),
        }
    })?;
    each_row(engine, Family::Commitments, Key::FIRST, |row| match CommitmentKey::decode(&row.key) {
        Some(CommitmentKey::Range { stream, first }) => match Commitment::decode(&row.value) {
            Ok(commitment) if commitment.stream == stream && commitment.sequence_start == first => {
                audit.expect_commitment(&commitment);
            }
            _ => problems
                .push(Problem::stored("commitment", &format!("the commitment of {stream} from {first} is not one"))),
        },
        Some(CommitmentKey::Batch(id)) => match engine_commitment(engine, &row.value) {
            Some(commitment) if commitment.batch_id == id => {}
            _ => problems.push(Problem::stored("commitment_id", "a batch id leads to no commitment of that id")),
        },
        None => problems.push(Problem::stored("commitment", "a commitment is stored under a key that is none")),
    })?;
    each_row(engine, Family::Credentials, Key::FIRST, |row| {
        let key = CredentialKey::decode(&row.key);
        let record = Credential::decode(&row.value);
        if !matches!((key, record), (Some(key), Ok(record)) if key.0 == *record.hash.as_bytes()) {
            problems.push(Problem::stored("credential", "a credential's record is damaged or under another key"));
        }
    })?;
    Ok(Given { latest: latest.map(|latest| latest.size), published })
}

fn engine_commitment(engine: &Arc<dyn Engine>, key: &[u8]) -> Option<Commitment> {
    let value = engine.get(Family::Commitments, &Key::from_slice(key)?).ok()??;
    Commitment::decode(&value).ok()
}

/// Tiles that the log does not derive.
pub(super) fn check_counts(
    engine: &Arc<dyn Engine>,
    tiles_met: u64,
    problems: &mut Vec<Problem>,
) -> Result<(), Failure> {
    let mut stored = 0;
    each_row(engine, Family::Tiles, Key::FIRST, |_| stored += 1)?;
    if stored > tiles_met {
        let why = format!("{} stored tiles do not follow from the log", stored - tiles_met);
        problems.push(Problem::stored("tile_surplus", &why));
    }
    Ok(())
}

/// Reads a family from a key on, a bounded scan at a time.
pub(super) fn each_row(
    engine: &Arc<dyn Engine>,
    family: Family,
    from: Key,
    mut take: impl FnMut(&Row),
) -> Result<(), Failure> {
    let mut from = from;
    loop {
        let range = ScanRange { family, from, to: None, reverse: false, limit: ROWS_PER_SCAN };
        let rows = engine.scan(&range).map_err(|error| storage_failure(&error))?;
        rows.iter().for_each(&mut take);
        let Some(last) = rows.last().filter(|_| rows.len() == ROWS_PER_SCAN) else { return Ok(()) };
        let Some(key) = Key::from_slice(&last.key) else {
            return Err(Failure::invalid(format!("a key of {} is longer than any", family.name())));
        };
        from = key.just_after();
    }
}
