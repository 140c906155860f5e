//! Merging: several neighbouring segments become one, a few rows at a time, so that no caller waits for a large merge
//! and no thread is needed for it.
//!
//! Segments are of a tier by their rows: eight of a tier become one of the next. So there are at most about eight of each
//! tier, a row is written once per tier, and the work behind each new row is bounded by the number of tiers.

use std::sync::Arc;

use super::row::Row;
use super::segment::{Sealed, Segment, SegmentReader, SegmentWriter};
use crate::batch::Engine;
use crate::error::StorageError;

/// Segments that become one.
pub(super) const FAN_IN: usize = 8;

/// A segment's tier: 0 below eight times the rows of a new segment, and so on.
pub(super) fn tier(rows: u64, rows_of_new: u64) -> u32 {
    (rows / rows_of_new.max(1)).max(1).ilog2() / FAN_IN.ilog2()
}

/// A merge on its way.
pub(super) struct Merge {
    pub(super) tier: u32,
    inputs: Vec<SegmentReader>,
    writer: Option<SegmentWriter>,
}

impl Merge {
    /// Of neighbours, oldest first; `None` if their stretch is longer than positions can count.
    pub(super) fn new(tier: u32, inputs: &[Arc<Segment>], id: u32, filtered: bool) -> Option<Self> {
        let (first, last) = (inputs.first()?, inputs.last()?);
        u32::try_from(last.end - first.first).ok()?;
        let rows = inputs.iter().map(|segment| segment.rows).sum();
        let writer = SegmentWriter::new(first.family, id, first.first..last.end, rows, filtered);
        let inputs = inputs.iter().map(|segment| SegmentReader::new(Arc::clone(segment))).collect();
        Some(Self { tier, inputs, writer: Some(writer) })
    }

    /// The segments that are merged.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.inputs.iter().map(SegmentReader::segment)
    }

    /// Moves at most `rows` rows. Gives the new segment when the last one was moved.
    pub(super) fn step(&mut self, engine: &dyn Engine, rows: usize) -> Result<Option<Sealed>, StorageError> {
        let first = self.inputs.first().map_or(0, |input| input.segment().first);
        let Some(writer) = &mut self.writer else { return Ok(None) };
        let mut heads = Vec::with_capacity(self.inputs.len());
        for input in &mut self.inputs {
            input.fill(engine)?;
            heads.push(head(input, first));
        }
        for _ in 0..rows {
            let least = heads.iter().enumerate().filter_map(|(at, head)| head.map(|row| (row, at))).min();
            let Some((row, at)) = least else { break };
            writer.push(engine, row)?;
            let input = &mut self.inputs[at];
            input.step();
            input.fill(engine)?;
            heads[at] = head(input, first);
        }
        if heads.iter().any(Option::is_some) {
            return Ok(None);
        }
        let Some(writer) = self.writer.take() else { return Ok(None) };
        writer.finish(engine).map(Some)
    }
}

/// The row at hand, with its position counted from the merged stretch's first.
fn head(input: &SegmentReader, first: u64) -> Option<Row> {
    let shift = (input.segment().first - first) as u32;
    input.head().map(|row| Row { at: row.at.saturating_add(shift), ..row })
}
