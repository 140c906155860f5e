//! Where the next block goes: a bump that falls back to its base whenever nothing is live.
//!
//! Takes sizes and alignments, gives addresses; the memory itself is `abi`'s business. A plugin drops everything
//! between two events, so each event begins with an empty heap at the same addresses, whatever came before it, without
//! a call to reset anything: what is still live is never overwritten. The last block can grow, shrink and be taken
//! back in place, which is how vectors and texts are built.

/// Addresses of a heap between `base` and `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Arena {
    base: usize,
    next: usize,
    end: usize,
    live: usize,
}

impl Arena {
    /// A heap over `base..end`, empty.
    #[must_use]
    pub const fn new(base: usize, end: usize) -> Self {
        Self { base, next: base, end, live: 0 }
    }

    /// Where the memory ends now.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.end
    }

    /// Blocks that were not freed.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.live
    }

    /// The memory has grown to `end`.
    pub fn grow_to(&mut self, end: usize) {
        self.end = self.end.max(end);
    }

    /// Where a block would go: first and one past the last address. Nothing if no address is large enough.
    #[must_use]
    pub const fn place(&self, size: usize, align: usize) -> Option<(usize, usize)> {
        let Some(padded) = self.next.checked_add(align - 1) else { return None };
        let start = padded & !(align - 1);
        match start.checked_add(size) {
            Some(stop) => Some((start, stop)),
            None => None,
        }
    }

    /// Takes a block that [`Arena::place`] named and the memory holds.
    pub fn take(&mut self, stop: usize) {
        self.next = stop;
        self.live += 1;
    }

    /// Whether a block is the last one, so that it can change its size in place.
    #[must_use]
    pub const fn is_last(&self, start: usize, size: usize) -> bool {
        start.wrapping_add(size) == self.next
    }

    /// Gives the last block another end.
    pub fn resize_last(&mut self, stop: usize) {
        self.next = stop;
    }

    /// Takes a block back.
    pub fn free(&mut self, start: usize, size: usize) {
        self.live = self.live.saturating_sub(1);
        if self.live == 0 {
            self.next = self.base;
        } else if self.is_last(start, size) {
            self.next = start;
        }
    }
}
