//! Segments: sorted rows of a stretch of the log, written once, never changed. A segment is in use from the moment a
//! batch names it in the control family; pieces of one that was never named are left over from a crash.
//!
//! Takes rows in order, gives pages, the fence (each page's first place, in memory, so that a question reads one page)
//! and the filter. Pieces are loaded past the write-ahead log and are on the disk before the segment is named.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::filter::Filter;
use super::row::{PAGE_ROWS, Page, Place, Row, encode_page};
use crate::batch::{Batch, Engine, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{ControlKey, Key, SegmentKey, SegmentPart};

/// Bytes that are loaded at once, and so held in memory while a segment is written.
const LOAD_BYTES: usize = 16 << 20;
/// Bytes of a piece of a fence or a filter.
const PIECE_BYTES: usize = 64 << 10;
const META_BYTES: usize = 28;

/// A segment's rows are on the disk; this is what is in memory of them.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(super) family: Family,
    pub(super) id: u32,
    /// The stretch of the log: `first..end`.
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) rows: u64,
    /// The high half of each page's first place.
    fence: Vec<u64>,
}

/// A segment in use, with its filter if that is in memory.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(super) segment: Arc<Segment>,
    pub(super) filter: Option<Arc<Filter>>,
}

impl Segment {
    /// How many pages.
    pub(super) fn pages(&self) -> u32 {
        self.fence.len() as u32
    }

    pub(super) fn page_key(&self, number: u32) -> Key {
        SegmentKey { segment: self.id, part: SegmentPart::Page, number }.encode()
    }

    /// The pages that may hold rows of a place.
    pub(super) fn pages_of(&self, place: Place) -> Range<u32> {
        // A page may begin within the rows of a place, so the one before the first such page counts too.
        let from = self.fence.partition_point(|first| *first < place.high).saturating_sub(1);
        let to = self.fence.partition_point(|first| *first <= place.high);
        from as u32..to as u32
    }

    /// Up to `limit` pages from `number` on.
    pub(super) fn read_pages(
        &self,
        engine: &dyn Engine,
        number: u32,
        limit: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        let from = self.page_key(number);
        let to = SegmentKey { segment: self.id, part: SegmentPart::Fence, number: 0 }.encode();
        let limit = limit.min((self.pages() - number.min(self.pages())) as usize);
        let rows = engine.scan(&ScanRange { family: self.family, from, to: Some(to), reverse: false, limit })?;
        if rows.len() != limit {
            return Err(self.damaged("a page is missing"));
        }
        Ok(rows.into_iter().map(|row| row.value).collect())
    }

    pub(super) fn read_page(&self, engine: &dyn Engine, number: u32) -> Result<Bytes, StorageError> {
        let key = self.page_key(number);
        engine.get(self.family, &key)?.ok_or_else(|| self.damaged("a page is missing"))
    }

    pub(super) fn damaged(&self, reason: &str) -> StorageError {
        StorageError::bad_value(self.family, SegmentKey::of_segment(self.id).as_slice(), reason)
    }

    fn meta_key(&self) -> Key {
        ControlKey::Segment(self.family, self.id).encode()
    }

    /// Names the segment: it is in use once the batch is written.
    pub(super) fn name(&self, batch: &mut Batch) {
        let mut value = Vec::with_capacity(META_BYTES);
        for number in [self.first, self.end, self.rows] {
            value.extend_from_slice(&number.to_be_bytes());
        }
        value.extend_from_slice(&self.pages().to_be_bytes());
        batch.put(Family::Control, self.meta_key(), value);
    }

    /// Takes the name away.
    pub(super) fn unname(&self, batch: &mut Batch) {
        batch.delete(Family::Control, self.meta_key());
    }

    /// A named segment, with its filter.
    pub(super) fn open(
        engine: &dyn Engine,
        family: Family,
        id: u32,
        meta: &[u8],
    ) -> Result<(Self, Option<Filter>), StorageError> {
        let mut this = Self { family, id, first: 0, end: 0, rows: 0, fence: Vec::new() };
        let pages = read_meta(&mut this, meta).ok_or_else(|| this.damaged("its description is malformed"))?;
        let fence = pieces(engine, &this, SegmentPart::Fence)?;
        let (fence, rest) = fence.as_chunks::<8>();
        if fence.len() as u64 != u64::from(pages) || !rest.is_empty() {
            return Err(this.damaged("its fence is not whole"));
        }
        this.fence = fence.iter().map(|first| u64::from_be_bytes(*first)).collect();
        let filter = pieces(engine, &this, SegmentPart::Filter)?;
        if filter.is_empty() {
            return Ok((this, None));
        }
        let filter = Filter::decode(&filter, this.rows).ok_or_else(|| this.damaged("its filter is not whole"))?;
        Ok((this, Some(filter)))
    }
}

fn read_meta(segment: &mut Segment, meta: &[u8]) -> Option<u32> {
    let meta: &[u8; META_BYTES] = meta.try_into().ok()?;
    let ([first, end, rows], pages) = meta.as_chunks::<8>() else { return None };
    segment.first = u64::from_be_bytes(*first);
    segment.end = u64::from_be_bytes(*end);
    segment.rows = u64::from_be_bytes(*rows);
    (segment.first < segment.end && segment.rows > 0).then_some(())?;
    Some(u32::from_be_bytes(pages.try_into().ok()?))
}

/// All pieces of a part, one after the other.
fn pieces(engine: &dyn Engine, segment: &Segment, part: SegmentPart) -> Result<Vec<u8>, StorageError> {
    const AT_ONCE: usize = 256;
    let mut bytes = Vec::new();
    let mut number = 0;
    let to = match part {
        SegmentPart::Fence => Some(SegmentKey { segment: segment.id, part: SegmentPart::Filter, number: 0 }.encode()),
        _ => SegmentKey::of_segment(segment.id).prefix_end(),
    };
    loop {
        let from = SegmentKey { segment: segment.id, part, number }.encode();
        let range = ScanRange { family: segment.family, from, to: to.clone(), reverse: false, limit: AT_ONCE };
        let rows = engine.scan(&range)?;
        rows.iter().for_each(|row| bytes.extend_from_slice(&row.value));
        if rows.len() < AT_ONCE {
            return Ok(bytes);
        }
        number += AT_ONCE as u32;
    }
}

/// Writes one segment from rows that come in order.
pub(super) struct SegmentWriter {
    segment: Segment,
    filter: Option<Filter>,
    page: Vec<Row>,
    waiting: Vec<(Key, Bytes)>,
    waiting_bytes: usize,
}

impl SegmentWriter {
    /// Of at most `rows_max` rows over a stretch of the log.
    pub(super) fn new(family: Family, id: u32, stretch: Range<u64>, rows_max: u64, filtered: bool) -> Self {
        let Range { start: first, end } = stretch;
        Self {
            segment: Segment { family, id, first, end, rows: 0, fence: Vec::new() },
            filter: filtered.then(|| Filter::for_rows(rows_max)),
            page: Vec::with_capacity(PAGE_ROWS),
            waiting: Vec::new(),
            waiting_bytes: 0,
        }
    }

    pub(super) fn push(&mut self, engine: &dyn Engine, row: Row) -> Result<(), StorageError> {
        if self.page.len() == PAGE_ROWS {
            self.end_page(engine)?;
        }
        if let Some(filter) = &mut self.filter {
            filter.insert(row.place);
        }
        self.page.push(row);
        self.segment.rows += 1;
        Ok(())
    }

    fn end_page(&mut self, engine: &dyn Engine) -> Result<(), StorageError> {
        let Some(first) = self.page.first() else { return Ok(()) };
        let key = self.segment.page_key(self.segment.pages());
        self.segment.fence.push(first.place.high);
        let page = encode_page(&self.page);
        self.page.clear();
        self.wait(engine, key, page)
    }

    fn wait(&mut self, engine: &dyn Engine, key: Key, value: Vec<u8>) -> Result<(), StorageError> {
        self.waiting_bytes += value.len();
        self.waiting.push((key, value.into()));
        if self.waiting_bytes >= LOAD_BYTES { self.load(engine) } else { Ok(()) }
    }

    fn load(&mut self, engine: &dyn Engine) -> Result<(), StorageError> {
        self.waiting_bytes = 0;
        engine.load(self.segment.family, std::mem::take(&mut self.waiting))
    }

    /// Everything is on the disk; what is left is to name it.
    pub(super) fn finish(mut self, engine: &dyn Engine) -> Result<Sealed, StorageError> {
        self.end_page(engine)?;
        let fence: Vec<u8> = self.segment.fence.iter().flat_map(|first| first.to_be_bytes()).collect();
        let filter = self.filter.as_ref().map(Filter::encode).unwrap_or_default();
        for (part, bytes) in [(SegmentPart::Fence, fence), (SegmentPart::Filter, filter)] {
            for (number, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
                let key = SegmentKey { segment: self.segment.id, part, number: number as u32 }.encode();
                self.wait(engine, key, piece.to_vec())?;
            }
        }
        self.load(engine)?;
        Ok(Sealed { segment: Arc::new(self.segment), filter: self.filter.map(Arc::new) })
    }
}

/// Reads a segment's rows in order, a few pages at a time.
pub(super) struct SegmentReader {
    segment: Arc<Segment>,
    next_page: u32,
    rows: Vec<Row>,
    at: usize,
}

/// Pages read at once: 64 KB.
const PAGES_AT_ONCE: usize = 16;

impl SegmentReader {
    pub(super) fn new(segment: Arc<Segment>) -> Self {
        Self { segment, next_page: 0, rows: Vec::new(), at: 0 }
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The row at hand; [`Self::fill`] first.
    pub(super) fn head(&self) -> Option<Row> {
        self.rows.get(self.at).copied()
    }

    pub(super) fn step(&mut self) {
        self.at += 1;
    }

    /// Makes sure that there is a row at hand, unless all were read.
    pub(super) fn fill(&mut self, engine: &dyn Engine) -> Result<(), StorageError> {
        if self.at < self.rows.len() || self.next_page == self.segment.pages() {
            return Ok(());
        }
        let last = self.rows.last().copied();
        self.rows.clear();
        self.at = 0;
        for page in self.segment.read_pages(engine, self.next_page, PAGES_AT_ONCE)? {
            let rows = Page::new(&page).and_then(Page::rows);
            self.rows.extend(rows.ok_or_else(|| self.segment.damaged("a page is malformed"))?);
            self.next_page += 1;
        }
        let in_order =
            self.rows.is_sorted() && last.is_none_or(|last| self.rows.first().is_some_and(|row| last < *row));
        if in_order { Ok(()) } else { Err(self.segment.damaged("its pages are out of order")) }
    }
}
