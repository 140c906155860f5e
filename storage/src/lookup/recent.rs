//! The newest rows, in memory until they are many enough for a segment. Nothing here is on the disk yet; the cursor that
//! is stored does not speak of it, and a start reads these events from the log again.

use super::row::{Place, Row};

/// How the rows are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// By place, at once: a hash table.
    Direct,
    /// By looking at all of them: for questions that are seldom and not on the write path.
    Linear,
}

const SLOTS_MIN: usize = 1024;

/// Rows in log order.
#[derive(Debug)]
pub(super) struct Recent {
    /// Where positions are counted from.
    first: u64,
    rows: Vec<Row>,
    /// Open addressing; 0 is free, else the row's number plus one. Empty if the search is linear.
    slots: Vec<u32>,
    search: Search,
}

impl Recent {
    pub(super) fn new(first: u64, search: Search) -> Self {
        let slots = if search == Search::Direct { vec![0; SLOTS_MIN] } else { Vec::new() };
        Self { first, rows: Vec::new(), slots, search }
    }

    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Forgets all rows; later ones are counted from `first`.
    pub(super) fn restart(&mut self, first: u64) {
        self.first = first;
        self.rows.clear();
        self.slots.fill(0);
    }

    /// Adds a row. Its position is at most `u32::MAX` behind the first, which whoever seals makes sure of.
    pub(super) fn push(&mut self, place: Place, index: u64) {
        let at = u32::try_from(index.saturating_sub(self.first)).unwrap_or(u32::MAX);
        self.rows.push(Row { place, at });
        if self.search == Search::Linear {
            return;
        }
        if self.rows.len() * 2 > self.slots.len() {
            let slots = self.slots.len() * 4;
            self.slots.clear();
            self.slots.resize(slots, 0);
            for at in 0..self.rows.len() {
                self.occupy(at);
            }
        } else {
            self.occupy(self.rows.len() - 1);
        }
    }

    fn occupy(&mut self, row: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = self.rows[row].place.low as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = row as u32 + 1;
    }

    /// The first index that was put for a place.
    pub(super) fn find(&self, place: Place) -> Option<u64> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = place.low as usize & mask;
        loop {
            let row = self.rows.get((*self.slots.get(slot)? as usize).checked_sub(1)?)?;
            if row.place == place {
                return Some(self.first + u64::from(row.at));
            }
            slot = (slot + 1) & mask;
        }
    }

    /// All indexes of a place behind `after`, ascending.
    pub(super) fn all(&self, place: Place, after: Option<u64>) -> impl Iterator<Item = u64> + '_ {
        let rows = self.rows.iter().filter(move |row| row.place == place);
        rows.map(|row| self.first + u64::from(row.at)).filter(move |index| after.is_none_or(|after| *index > after))
    }

    /// All rows as a segment has them.
    pub(super) fn sorted(&self) -> Vec<Row> {
        let mut rows = self.rows.clone();
        rows.sort_unstable();
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_and_no_other() {
        let mut recent = Recent::new(100, Search::Direct);
        // Places that all meet in a few slots.
        let place = |number: u64| Place { high: number, low: number % 3 };
        for number in 0..3000 {
            assert_eq!(recent.find(place(number)), None);
            recent.push(place(number), 100 + number);
        }
        for number in 0..3000 {
            assert_eq!(recent.find(place(number)), Some(100 + number));
        }
        recent.push(place(7), 9000);
        assert_eq!(recent.find(place(7)), Some(107), "the first one counts");
        assert_eq!(recent.all(place(7), None).collect::<Vec<_>>(), [107, 9000]);
        assert_eq!(recent.all(place(7), Some(107)).collect::<Vec<_>>(), [9000]);
        assert!(recent.sorted().is_sorted());
        recent.restart(9001);
        assert_eq!((recent.find(place(7)), recent.rows().len()), (None, 0));
    }
}
