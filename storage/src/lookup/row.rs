//! A row of a look-up index, and a page of them (`docs/formats/storage-keys.md`).
//!
//! A place is a keyed hash of 16 bytes, so places are spread evenly; a row says that the event `at` positions behind
//! its segment's first has this place. Rows sort by place, then by position. Reading is strict: a page that no writer
//! makes is refused.

/// Bytes of a stored row: the place and the position.
pub(super) const ROW_BYTES: usize = 20;
/// Rows of a full page: 4,000 bytes, one block of the disk's cache.
pub(super) const PAGE_ROWS: usize = 200;

/// A keyed hash as two numbers, which compare as its bytes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Place {
    pub(super) high: u64,
    pub(super) low: u64,
}

impl Place {
    pub(super) fn of(bytes: &[u8; 16]) -> Self {
        let number = u128::from_be_bytes(*bytes);
        Self { high: (number >> 64) as u64, low: number as u64 }
    }
}

/// A place and where its event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) at: u32,
}

impl Row {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.place.high.to_be_bytes());
        out.extend_from_slice(&self.place.low.to_be_bytes());
        out.extend_from_slice(&self.at.to_be_bytes());
    }

    fn read(bytes: &[u8; ROW_BYTES]) -> Self {
        let [place @ .., a, b, c, d] = bytes;
        Self { place: Place::of(place), at: u32::from_be_bytes([*a, *b, *c, *d]) }
    }
}

/// The rows' bytes one after the other.
pub(super) fn encode_page(rows: &[Row]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * ROW_BYTES);
    rows.iter().for_each(|row| row.write(&mut out));
    out
}

/// A page as it is stored.
#[derive(Clone, Copy)]
pub(super) struct Page<'a>(&'a [[u8; ROW_BYTES]]);

impl<'a> Page<'a> {
    /// `None` for bytes that are no page. That the rows rise is believed here and checked where all are read.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        match bytes.as_chunks::<ROW_BYTES>() {
            (rows, []) if !rows.is_empty() && rows.len() <= PAGE_ROWS => Some(Self(rows)),
            _ => None,
        }
    }

    /// All rows; `None` if they do not rise.
    pub(super) fn rows(self) -> Option<Vec<Row>> {
        let rows: Vec<Row> = self.0.iter().map(Row::read).collect();
        rows.is_sorted_by(|left, right| left < right).then_some(rows)
    }

    /// The rows from the first that is not before `row`.
    pub(super) fn from(self, row: Row) -> impl Iterator<Item = Row> + 'a {
        let at = self.0.partition_point(|bytes| Row::read(bytes) < row);
        self.0.get(at..).unwrap_or_default().iter().map(Row::read)
    }

    pub(super) fn first(self) -> Option<Row> {
        self.0.first().map(Row::read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_page_reads_back_as_written_and_nothing_else_reads(
            places in prop::collection::btree_set((any::<[u8; 16]>(), any::<u32>()), 1..PAGE_ROWS),
            ask: [u8; 16],
        ) {
            let rows: Vec<Row> = places.iter().map(|(place, at)| Row { place: Place::of(place), at: *at }).collect();
            prop_assert!(rows.is_sorted(), "numbers sort as the bytes do");
            let bytes = encode_page(&rows);
            prop_assert_eq!(Page::new(&bytes).and_then(Page::rows), Some(rows.clone()));
            let from = Row { place: Place::of(&ask), at: 0 };
            let expected: Vec<Row> = rows.iter().copied().filter(|row| *row >= from).collect();
            prop_assert_eq!(Page::new(&bytes).unwrap().from(from).collect::<Vec<_>>(), expected);
            prop_assert!(Page::new(&bytes[1..]).is_none());
            let twice = [bytes.as_slice(), bytes.as_slice()].concat();
            prop_assert!(Page::new(&twice).and_then(Page::rows).is_none());
        }
    }

    #[test]
    fn an_empty_and_an_overlong_page_are_refused() {
        assert!(Page::new(&[]).is_none());
        assert!(Page::new(&vec![0; ROW_BYTES * (PAGE_ROWS + 1)]).is_none());
    }
}
