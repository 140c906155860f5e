//! Positions and look-up indexes against the log: each row that must be there is, and none that must not.
//!
//! Takes decoded runs in order; gives problems. Rows at or above the cursor may be there or not: they are written
//! behind the log, and a crash between loses the cursor together with the rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tally_protocol::hash::LedgerId;
use tally_protocol::id::{Index, Sequence, Stream, TreeSize};
use tally_protocol::run::{Record, StoredRun};
use tally_storage::keys::{ControlKey, EntityKey, EventIdKey, Key, PositionKey};
use tally_storage::{DerivedIndex, Engine, Family};

use super::expectations::each_row;
use super::report::Problem;
use crate::exit::Failure;
use crate::wire::storage_failure;

/// The check, as far as it came.
pub(super) struct Indexes {
    engine: Arc<dyn Engine>,
    derived: DerivedIndex,
    lookup: tally_protocol::hash::LookupKey,
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
        let derived = DerivedIndex::new(Arc::clone(&engine), ledger);
        let cursor = derived.cursor().map_err(|error| storage_failure(&error))?;
        Ok(Self {
            lookup: tally_protocol::hash::LookupKey::new(ledger),
            engine,
            derived,
            cursor,
            heads: BTreeMap::new(),
            expected: Counts::default(),
            rows: 0,
        })
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
        let row = |record: &Record| {
            let key = EventIdKey::new(&self.lookup, &record.frame.stream(), &record.frame.event_id());
            (key.encode(), record.index, Some(record.index))
        };
        let rows: Vec<_> = records.iter().map(row).collect();
        self.expected.event_ids += rows.len() as u64;
        self.compare(Family::EventIds, "event_id", &rows, problems)
    }

    fn check_entities(&mut self, records: &[Record], problems: &mut Vec<Problem>) -> Result<(), Failure> {
        let row = |record: &Record| {
            let frame = &record.frame;
            let place = EntityKey::place(&self.lookup, &frame.stream(), frame.entity_type(), frame.entity_id());
            (EntityKey { place, index: record.index }.encode(), record.index, None)
        };
        let rows: Vec<_> = records.iter().map(row).collect();
        self.expected.entities += rows.len() as u64;
        self.compare(Family::Entities, "entity", &rows, problems)
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
        let keys: Vec<Key> = rows.iter().map(|(key, ..)| *key).collect();
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
            (Family::EventIds, Key::FIRST, self.expected.event_ids, "event_id_surplus"),
            (Family::Entities, Key::FIRST, self.expected.entities, "entity_surplus"),
            (Family::Control, ControlKey::events(), self.expected.control, "control_surplus"),
        ];
        for (family, from, expected, name) in counts {
            let mut stored = 0u64;
            each_row(&self.engine, family, from, |_| stored += 1)?;
            if stored > expected {
                let why = format!("{} rows of {} do not follow from the log", stored - expected, family.name());
                problems.push(Problem::stored(name, &why));
            }
        }
        Ok(())
    }
}
