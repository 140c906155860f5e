//! Positions and look-up indexes against the log: each row that must be there is, and none that must not.
//!
//! Takes decoded runs in order; gives problems. Rows at or above the cursor may be there or not: they are written
//! behind the log, and a crash between loses the cursor together with the rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tally_protocol::hash::LedgerId;
use tally_protocol::id::{Index, Sequence, Stream, TreeSize};
use tally_protocol::run::{Record, StoredRun};
use tally_storage::keys::{ControlKey, Key, PositionKey};
use tally_storage::{DerivedIndex, Engine, Family, StorageError};

use super::expectations::each_row;
use super::report::Problem;
use crate::exit::Failure;
use crate::wire::storage_failure;

/// The check, as far as it came.
pub(super) struct Indexes {
    engine: Arc<dyn Engine>,
    derived: DerivedIndex,
    cursor: Index,
    /// Per stream, its newest sequence below the cursor.
    heads: BTreeMap<Stream, Sequence>,
    expected: Counts,
    rows: u64,
}

/// How many rows each family must hold.
#[derive(Default)]
struct Counts {
    positions: u64,
    event_ids: u64,
    entities: u64,
    control: u64,
}

impl Indexes {
    pub(super) fn start(engine: Arc<dyn Engine>, ledger: &LedgerId) -> Result<Self, Failure> {
        let derived = DerivedIndex::open(Arc::clone(&engine), ledger).map_err(|error| storage_failure(&error))?;
        let cursor = derived.cursor();
        Ok(Self { engine, derived, cursor, heads: BTreeMap::new(), expected: Counts::default(), rows: 0 })
    }

    /// How many rows were compared.
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn take_run(&mut self, run: &StoredRun, problems: &mut Vec<Problem>) -> Result<(), Failure> {
        self.check_positions(run, problems)?;
        let below: Vec<Record> = run.records().take_while(|record| record.index < self.cursor).collect();
        self.check_event_ids(&below, problems)?;
        self.check_entities(&below, problems)?;
        self.check_control(&below, problems)?;
        for record in &below {
            self.heads.insert(record.frame.stream(), record.sequence);
        }
        Ok(())
    }

    fn check_positions(&mut self, run: &StoredRun, problems: &mut Vec<Problem>) -> Result<(), Failure> {
        let mut firsts: BTreeMap<Stream, (Sequence, Index)> = BTreeMap::new();
        for record in run.records() {
            firsts.entry(record.frame.stream()).or_insert((record.sequence, record.index));
        }
        let first_index = run.header().first_index;
        let rows: Vec<_> = firsts
            .into_iter()
            .map(|(stream, (first, at))| (PositionKey { stream, first }.encode(), at, Some(first_index)))
            .collect();
        self.expected.positions += rows.len() as u64;
        self.compare(Family::Positions, "position", &rows, problems)
    }

    fn check_event_ids(&mut self, records: &[Record], problems: &mut Vec<Problem>) -> Result<(), Failure> {
        let ids: Vec<_> = records.iter().map(|record| (record.frame.stream(), record.frame.event_id())).collect();
        self.expected.event_ids += ids.len() as u64;
        self.rows += ids.len() as u64;
        let Some(found) = readable(self.derived.find_event_ids(&ids), "event_id", problems)? else { return Ok(()) };
        for (record, found) in records.iter().zip(found) {
            match found {
                Some(index) if index == record.index => {}
                Some(_) => {
                    problems.push(Problem::at(record.index, "event_id", "its row in the index names another position"));
                }
                None => problems.push(Problem::at(record.index, "event_id", "its row in the index is missing")),
            }
        }
        Ok(())
    }

    fn check_entities(&mut self, records: &[Record], problems: &mut Vec<Problem>) -> Result<(), Failure> {
        for record in records {
            self.expected.entities += 1;
            self.rows += 1;
            let (frame, before) = (&record.frame, record.index.get().checked_sub(1).map(Index::new));
            let page = self.derived.entity_page(&frame.stream(), frame.entity_type(), frame.entity_id(), before, 1);
            let Some(page) = readable(page, "entity", problems)? else { return Ok(()) };
            if page != [record.index] {
                problems.push(Problem::at(record.index, "entity", "its row in the index is missing"));
            }
        }
        Ok(())
    }

    fn check_control(&mut self, records: &[Record], problems: &mut Vec<Problem>) -> Result<(), Failure> {
        let rows: Vec<_> = records
            .iter()
            .filter(|record| record.frame.stream().is_control())
            .map(|record| (ControlKey::Event(record.index).encode(), record.index, None))
            .collect();
        self.expected.control += rows.len() as u64;
        self.compare(Family::Control, "control", &rows, problems)
    }

    /// Each key must be there, with the position as its value where it has one.
    fn compare(
        &mut self,
        family: Family,
        name: &'static str,
        rows: &[(Key, Index, Option<Index>)],
        problems: &mut Vec<Problem>,
    ) -> Result<(), Failure> {
        let keys: Vec<Key> = rows.iter().map(|(key, ..)| key.clone()).collect();
        let stored = self.engine.multi_get(family, &keys).map_err(|error| storage_failure(&error))?;
        self.rows += rows.len() as u64;
        for ((_, at, value), stored) in rows.iter().zip(stored) {
            let expected = value.map(|value| value.get().to_be_bytes().to_vec()).unwrap_or_default();
            match stored {
                Some(stored) if stored == expected => {}
                Some(_) => problems.push(Problem::at(*at, name, "its row in the index names another position")),
                None => problems.push(Problem::at(*at, name, "its row in the index is missing")),
            }
        }
        Ok(())
    }

    /// Heads and counts, once the whole log was read.
    pub(super) fn finish(&mut self, size: TreeSize, problems: &mut Vec<Problem>) -> Result<(), Failure> {
        if self.cursor.get() > size.get() {
            let why = format!("the indexes claim to reach {}, the log ends at {size}", self.cursor);
            problems.push(Problem::stored("index_cursor", &why));
        }
        let heads = self.derived.stream_heads().map_err(|error| storage_failure(&error))?;
        self.rows += heads.len() as u64;
        if heads != self.heads.iter().map(|(stream, head)| (*stream, *head)).collect::<Vec<_>>() {
            problems.push(Problem::stored("stream_head", "the stored heads of the streams are not the log's"));
        }
        let counts = [
            (Family::Positions, Key::FIRST, self.expected.positions, "position_surplus"),
            (Family::Control, ControlKey::events(), self.expected.control, "control_surplus"),
        ];
        let mut surplus = |family: Family, stored: u64, expected: u64, name| {
            if stored > expected {
                let why = format!("{} rows of {} do not follow from the log", stored - expected, family.name());
                problems.push(Problem::stored(name, &why));
            }
        };
        for (family, from, expected, name) in counts {
            let mut stored = 0u64;
            each_row(&self.engine, family, from, |row| {
                let is_counted = family == Family::Positions
                    || matches!(ControlKey::decode(&row.key), Some(ControlKey::Event(_)) | None);
                stored += u64::from(is_counted);
            })?;
            surplus(family, stored, expected, name);
        }
        match self.derived.count_rows() {
            Ok((event_ids, entities)) => {
                surplus(Family::EventIds, event_ids, self.expected.event_ids, "event_id_surplus");
                surplus(Family::Entities, entities, self.expected.entities, "entity_surplus");
            }
            Err(error) => drop(readable::<()>(Err(error), "look_up_index", problems)?),
        }
        Ok(())
    }
}

/// What was read; a value that does not decode is a problem of the directory, not of reading it.
fn readable<T>(
    read: Result<T, StorageError>,
    name: &'static str,
    problems: &mut Vec<Problem>,
) -> Result<Option<T>, Failure> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error @ StorageError::BadValue { .. }) => {
            problems.push(Problem::stored(name, &error.to_string()));
            Ok(None)
        }
        Err(error) => Err(storage_failure(&error)),
    }
}
