//! The look-up indexes: places (keyed hashes) to log positions, for hundreds of millions of rows at a cost per row that
//! does not grow with them.
//!
//! ```text
//! put ─▶ recent rows in memory ─▶ a segment of 262,144 sorted rows ─▶ eight of a size become one ─▶ …
//! ask ─▶ recent ─▶ each segment's filter, in memory ─▶ one page of the segment whose filter says "maybe"
//! ```
//!
//! Takes rows in log order, gives positions by place. A new id is answered from memory alone, but for about one question
//! in a hundred. The general-purpose way, a key per row in the database, costs several µs for each: every row is sorted
//! into a write buffer, logged, and merged by comparing keys; here a row is hashed into a table and copied a few times
//! (`docs/decisions/0010-look-up-segments.md` has the measurements).
//!
//! What is not in a segment yet is lost by a crash together with the cursor that would have spoken of it; recovery puts
//! it again from the log. Damage is [`StorageError::BadValue`].

mod filter;
mod merge;
mod recent;
mod row;
mod segment;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use merge::{FAN_IN, Merge, tier};
use recent::{Recent, Search};
use row::{Page, Place, Row};
use segment::{Sealed, Segment, SegmentReader, SegmentWriter};

use crate::batch::{Batch, Durability, Engine, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{ControlKey, Key, SegmentKey};

/// Rows of a new segment: 5 MB, and what a start reads from the log again at most. Beside it in memory: these rows (6 MiB)
/// and their table (4 MiB).
pub const SEGMENT_ROWS: u64 = 1 << 18;
/// Bytes of filters in memory: enough for 128 million ids. Beyond it the largest segments answer from the disk.
pub const FILTER_BYTES_MAX: usize = 256 << 20;
/// Rows merged for each row put, in each tier; one would just keep up.
const MERGED_PER_ROW: usize = 2;

/// Bounds of one index; tests make them small.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) segment_rows: u64,
    pub(crate) filter_bytes_max: usize,
}

impl Bounds {
    pub(crate) const STANDARD: Self = Self { segment_rows: SEGMENT_ROWS, filter_bytes_max: FILTER_BYTES_MAX };
}

/// One index: a family's rows. One writer, any number of readers.
pub(crate) struct LookUp {
    engine: Arc<dyn Engine>,
    family: Family,
    bounds: Bounds,
    /// Whether segments have filters: asked for by the write path.
    filtered: bool,
    state: RwLock<State>,
    writer: Mutex<Writer>,
}

/// Which of the places asked for may be in which page.
type Candidate = (usize, Arc<Segment>, u32);

/// What readers see.
struct State {
    recent: Recent,
    /// In log order, without overlap.
    sealed: Vec<Sealed>,
    /// How often segments were replaced: who read in between asks again.
    replaced: u64,
}

/// What only the writer needs.
struct Writer {
    next_id: u32,
    merges: Vec<Merge>,
    /// Whether what a crash left over has been looked for.
    swept: bool,
}

impl LookUp {
    /// What is stored; changes nothing.
    pub(crate) fn open(
        engine: Arc<dyn Engine>,
        family: Family,
        bounds: Bounds,
        cursor: u64,
    ) -> Result<Self, StorageError> {
        let from = ControlKey::segments(family);
        let mut sealed = Vec::new();
        let mut next_id = 0;
        // As many as tiers, times a few.
        let range =
            ScanRange { family: Family::Control, to: from.prefix_end(), from, reverse: false, limit: usize::MAX };
        for row in engine.scan(&range)? {
            let Some(ControlKey::Segment(_, id)) = ControlKey::decode(&row.key) else {
                return Err(StorageError::bad_value(Family::Control, &row.key, "not a segment's key"));
            };
            let (segment, filter) = Segment::open(engine.as_ref(), family, id, &row.value)?;
            next_id = next_id.max(id.saturating_add(1));
            sealed.push(Sealed { segment: Arc::new(segment), filter: filter.map(Arc::new) });
        }
        sealed.sort_by_key(|sealed| sealed.segment.first);
        for pair in sealed.windows(2) {
            if let [left, right] = pair
                && left.segment.end > right.segment.first
            {
                return Err(right.segment.damaged("it overlaps the one before"));
            }
        }
        let (search, filtered) = match family {
            Family::EventIds => (Search::Direct, true),
            _ => (Search::Linear, false),
        };
        let mut state = State { recent: Recent::new(cursor, search), sealed, replaced: 0 };
        state.bound_filters(bounds.filter_bytes_max);
        let writer = Mutex::new(Writer { next_id, merges: Vec::new(), swept: false });
        Ok(Self { engine, family, bounds, filtered, state: RwLock::new(state), writer })
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows, in log order; readers see them at once.
    pub(crate) fn put(&self, rows: &[([u8; 16], u64)]) {
        let mut state = self.write();
        for (place, index) in rows {
            state.recent.push(Place::of(place), *index);
        }
    }

    /// How many rows are in memory only.
    pub(crate) fn recent_rows(&self) -> u64 {
        self.read().recent.rows().len() as u64
    }

    /// Whether the recent rows are enough for a segment.
    pub(crate) fn is_due(&self) -> bool {
        self.recent_rows() >= self.bounds.segment_rows
    }

    /// Writes the recent rows up to `end` as a segment and names it in the batch; readers go on finding the rows in memory
    /// until [`Self::sealed`] is told that the batch was written.
    pub(crate) fn seal(&self, batch: &mut Batch, end: u64) -> Result<Option<Sealed>, StorageError> {
        let mut writer = self.writer();
        self.sweep(&mut writer)?;
        let (first, rows) = {
            let state = self.read();
            (state.recent.first(), state.recent.sorted())
        };
        if rows.is_empty() {
            return Ok(None);
        }
        let id = writer.take_id();
        let mut segment = SegmentWriter::new(self.family, id, first..end, rows.len() as u64, self.filtered);
        for row in rows {
            segment.push(self.engine.as_ref(), row)?;
        }
        let sealed = segment.finish(self.engine.as_ref())?;
        sealed.segment.name(batch);
        Ok(Some(sealed))
    }

    /// The batch that names the segment was written.
    pub(crate) fn sealed(&self, sealed: Sealed) {
        let mut state = self.write();
        state.recent.restart(sealed.segment.end);
        state.sealed.push(sealed);
        state.bound_filters(self.bounds.filter_bytes_max);
    }

    /// Begins the merges that are due and moves some rows of each, as many as `rows` new ones pay for.
    pub(crate) fn merge(&self, rows: usize) -> Result<(), StorageError> {
        let mut writer = self.writer();
        self.begin_merges(&mut writer)?;
        let mut at = 0;
        while at < writer.merges.len() {
            match writer.merges[at].step(self.engine.as_ref(), rows * MERGED_PER_ROW)? {
                None => at += 1,
                Some(merged) => {
                    let merge = writer.merges.remove(at);
                    self.replace(&merge, merged)?;
                }
            }
        }
        Ok(())
    }

    fn begin_merges(&self, writer: &mut Writer) -> Result<(), StorageError> {
        let state = self.read();
        let busy: BTreeSet<u32> =
            writer.merges.iter().flat_map(|merge| merge.inputs().map(|segment| segment.id)).collect();
        let mut from = 0;
        let mut due = Vec::new();
        while from < state.sealed.len() {
            let of = |sealed: &Sealed| tier(sealed.segment.rows, self.bounds.segment_rows);
            let this = of(&state.sealed[from]);
            let same = state.sealed[from..].iter().take_while(|sealed| of(sealed) == this).count();
            let group: Vec<_> =
                state.sealed[from..from + same].iter().map(|sealed| Arc::clone(&sealed.segment)).collect();
            let free: Vec<_> = group.into_iter().filter(|segment| !busy.contains(&segment.id)).collect();
            if free.len() >= FAN_IN && writer.merges.iter().all(|merge| merge.tier != this) {
                due.push((this, free));
            }
            from += same;
        }
        drop(state);
        for (tier, segments) in due {
            self.sweep(writer)?;
            let id = writer.take_id();
            writer.merges.extend(Merge::new(tier, &segments[..FAN_IN], id, self.filtered));
        }
        Ok(())
    }

    /// Puts a merged segment in the place of its parts.
    fn replace(&self, merge: &Merge, merged: Sealed) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        merged.segment.name(&mut batch);
        merge.inputs().for_each(|segment| segment.unname(&mut batch));
        // Synced: the parts are deleted next, and no crash may bring their names back.
        self.engine.write(batch, Durability::Synced)?;
        {
            let mut state = self.write();
            let old: BTreeSet<u32> = merge.inputs().map(|segment| segment.id).collect();
            let at = state.sealed.iter().position(|sealed| old.contains(&sealed.segment.id)).unwrap_or(0);
            state.sealed.retain(|sealed| !old.contains(&sealed.segment.id));
            state.sealed.insert(at, merged);
            state.replaced += 1;
            state.bound_filters(self.bounds.filter_bytes_max);
        }
        // A reader that still holds a part finds its pages gone and asks again (`find`, `page`).
        for segment in merge.inputs() {
            self.drop_segment(segment.id)?;
        }
        Ok(())
    }

    fn drop_segment(&self, id: u32) -> Result<(), StorageError> {
        let from = SegmentKey::of_segment(id);
        self.engine.drop_range(self.family, &from, from.prefix_end().as_ref())
    }

    /// Deletes the pieces of segments that no batch ever named: what a crash left over.
    fn sweep(&self, writer: &mut Writer) -> Result<(), StorageError> {
        if writer.swept {
            return Ok(());
        }
        let named: BTreeSet<u32> = self.read().sealed.iter().map(|sealed| sealed.segment.id).collect();
        let mut from = Key::FIRST;
        loop {
            let range = ScanRange { family: self.family, from, to: None, reverse: false, limit: 1 };
            let Some(row) = self.engine.scan(&range)?.pop() else { break };
            let key = SegmentKey::decode(&row.key)
                .ok_or_else(|| StorageError::bad_value(self.family, &row.key, "not a segment's key"))?;
            if !named.contains(&key.segment) {
                self.drop_segment(key.segment)?;
            }
            let Some(next) = SegmentKey::of_segment(key.segment).prefix_end() else { break };
            from = next;
        }
        writer.swept = true;
        Ok(())
    }

    /// One position of each place, if there is any.
    pub(crate) fn find(&self, places: &[[u8; 16]]) -> Result<Vec<Option<u64>>, StorageError> {
        let mut found = vec![None; places.len()];
        loop {
            let (maybe, replaced) = self.candidates(places, &mut found);
            if maybe.is_empty() {
                return Ok(found);
            }
            let keys: Vec<Key> = maybe.iter().map(|(_, segment, page)| segment.page_key(*page)).collect();
            let pages = self.engine.multi_get(self.family, &keys)?;
            if let Some(missing) = pages.iter().position(Option::is_none) {
                // Merged away meanwhile: the new segment has it. Otherwise it is missing indeed.
                if self.read().replaced != replaced {
                    continue;
                }
                return Err(maybe[missing].1.damaged("a page is missing"));
            }
            for ((at, segment, _), page) in maybe.iter().zip(pages.iter().flatten()) {
                let place = Place::of(&places[*at]);
                if let Some(row) = rows_of(segment, page, place, 0)?.next() {
                    found[*at] = Some(segment.first + u64::from(row.at));
                }
            }
            return Ok(found);
        }
    }

    /// What memory knows, and which pages have to be read for the rest.
    fn candidates(&self, places: &[[u8; 16]], found: &mut [Option<u64>]) -> (Vec<Candidate>, u64) {
        let state = self.read();
        let mut open: Vec<(usize, Place)> = Vec::with_capacity(places.len());
        for (at, place) in places.iter().enumerate() {
            let place = Place::of(place);
            found[at] = state.recent.find(place);
            if found[at].is_none() {
                open.push((at, place));
            }
        }
        let mut maybe = Vec::new();
        // Segment by segment, so that the processor waits for the memory of many ids at once.
        for Sealed { segment, filter } in &state.sealed {
            for (at, place) in &open {
                if filter.as_ref().is_none_or(|filter| filter.may_hold(*place)) {
                    maybe.extend(segment.pages_of(*place).map(|page| (*at, Arc::clone(segment), page)));
                }
            }
        }
        (maybe, state.replaced)
    }

    /// The positions of a place behind `after`, ascending, at most `limit`.
    pub(crate) fn page(&self, place: &[u8; 16], after: Option<u64>, limit: usize) -> Result<Vec<u64>, StorageError> {
        let place = Place::of(place);
        loop {
            let (segments, recent, replaced) = {
                let state = self.read();
                let segments: Vec<_> = state.sealed.iter().map(|sealed| Arc::clone(&sealed.segment)).collect();
                let recent: Vec<u64> = state.recent.all(place, after).take(limit).collect();
                (segments, recent, state.replaced)
            };
            match self.page_of(&segments, place, after, limit) {
                Err(StorageError::BadValue { .. }) if self.read().replaced != replaced => {}
                Err(error) => return Err(error),
                Ok(mut found) => {
                    found.extend(recent);
                    found.truncate(limit);
                    return Ok(found);
                }
            }
        }
    }

    fn page_of(
        &self,
        segments: &[Arc<Segment>],
        place: Place,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<u64>, StorageError> {
        let mut found = Vec::new();
        let from = after.map_or(Some(0), |after| after.checked_add(1));
        let Some(from) = from else { return Ok(found) };
        for segment in segments.iter().filter(|segment| segment.end > from) {
            let at = u32::try_from(from.saturating_sub(segment.first)).unwrap_or(u32::MAX);
            let pages = segment.pages_of(place);
            let mut number = self.first_page(segment, pages.clone(), Row { place, at })?;
            while number < pages.end && found.len() < limit {
                let page = segment.read_page(self.engine.as_ref(), number)?;
                let rows = rows_of(segment, &page, place, at)?;
                found.extend(rows.map(|row| segment.first + u64::from(row.at)).take(limit - found.len()));
                number += 1;
            }
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    /// The last of some pages that does not begin behind a row: an entity may fill many pages.
    fn first_page(&self, segment: &Segment, pages: std::ops::Range<u32>, row: Row) -> Result<u32, StorageError> {
        let (mut from, mut to) = (pages.start, pages.end);
        while to - from > 1 {
            let middle = from + (to - from) / 2;
            let page = segment.read_page(self.engine.as_ref(), middle)?;
            let first = Page::new(&page).and_then(Page::first);
            if first.ok_or_else(|| segment.damaged("a page is malformed"))? <= row {
                from = middle;
            } else {
                to = middle;
            }
        }
        Ok(from)
    }

    /// Reads every row and checks it: how many there are. For auditors.
    pub(crate) fn count(&self) -> Result<u64, StorageError> {
        let sealed: Vec<_> = self.read().sealed.iter().map(|sealed| Arc::clone(&sealed.segment)).collect();
        let mut count = self.recent_rows();
        for segment in sealed {
            let mut reader = SegmentReader::new(Arc::clone(&segment));
            let mut rows = 0;
            loop {
                reader.fill(self.engine.as_ref())?;
                let Some(row) = reader.head() else { break };
                if segment.first + u64::from(row.at) >= segment.end {
                    return Err(segment.damaged("a row is outside its stretch"));
                }
                rows += 1;
                reader.step();
            }
            if rows != segment.rows {
                return Err(segment.damaged("it has not the rows its description says"));
            }
            count += rows;
        }
        Ok(count)
    }

    /// Where the stored segments end; 0 if there are none.
    pub(crate) fn sealed_end(&self) -> u64 {
        self.read().sealed.last().map_or(0, |sealed| sealed.segment.end)
    }

    /// Segments, their rows, and the bytes of filters in memory.
    pub(crate) fn stats(&self) -> (u64, u64, u64) {
        let state = self.read();
        let rows = state.sealed.iter().map(|sealed| sealed.segment.rows).sum();
        (state.sealed.len() as u64, rows, state.filter_bytes() as u64)
    }
}

impl Writer {
    fn take_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

impl State {
    fn filter_bytes(&self) -> usize {
        self.sealed.iter().filter_map(|sealed| sealed.filter.as_ref()).map(|filter| filter.bytes()).sum()
    }

    /// The oldest segments are the largest: one filter less there makes the most room, and costs a read for each
    /// question about any other.
    fn bound_filters(&mut self, max: usize) {
        let mut bytes = self.filter_bytes();
        for sealed in &mut self.sealed {
            if bytes <= max {
                return;
            }
            bytes -= sealed.filter.take().map_or(0, |filter| filter.bytes());
        }
    }
}

/// The rows of a place in a page, from a position on.
fn rows_of<'a>(
    segment: &Segment,
    page: &'a Bytes,
    place: Place,
    at: u32,
) -> Result<impl Iterator<Item = Row> + use<'a>, StorageError> {
    let page = Page::new(page).ok_or_else(|| segment.damaged("a page is malformed"))?;
    Ok(page.from(Row { place, at }).take_while(move |row| row.place == place))
}
