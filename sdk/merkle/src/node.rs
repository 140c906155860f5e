//! Where nodes are: positions only, no hashing, no storage.
//!
//! Node (level, index) is the root of the perfect subtree over leaves `index << level .. (index + 1) << level`. A tree
//! of size n is its *peaks* (one perfect subtree per bit set in n, largest first), joined from the right. All
//! functions are total: every u64 has an answer and none overflows.

/// A step of a path, from the leaf upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sibling {
    /// A perfect subtree.
    Perfect { level: u32, index: u64 },
    /// The joined peaks below this level: the leaves `(size >> level) << level .. size`.
    Border { level: u32 },
}

/// How many bits `value` needs.
pub(crate) const fn bit_length(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// The siblings of the ancestors of leaf `index` in a tree of `size`, for the ancestors of level `from` and above.
pub(crate) fn siblings(from: u32, index: u64, size: u64) -> impl Iterator<Item = Sibling> {
    let last = size.saturating_sub(1);
    (from..bit_length(last)).filter_map(move |level| {
        let sibling = (index >> level) ^ 1;
        if sibling < size >> level {
            Some(Sibling::Perfect { level, index: sibling })
        } else if sibling <= last >> level {
            Some(Sibling::Border { level })
        } else {
            None
        }
    })
}

/// A path's two parts for leaf `index` of a tree of `size > index`: the steps that still turn left and right, and the
/// steps that only have left siblings (the right border).
pub(crate) const fn path_parts(index: u64, size: u64) -> (u32, u32) {
    let inner = bit_length(index ^ (size - 1));
    let border = if inner >= u64::BITS { 0 } else { (index >> inner).count_ones() };
    (inner, border)
}

/// The peaks of a tree, largest first, as (level, index).
pub(crate) fn peaks(size: u64) -> impl DoubleEndedIterator<Item = (u32, u64)> {
    (0..bit_length(size))
        .rev()
        .filter(move |level| size >> level & 1 == 1)
        .map(move |level| (level, (size >> level) - 1))
}

/// The peaks below `level`, largest first: what [`Sibling::Border`] joins.
pub(crate) fn border_peaks(level: u32, size: u64) -> impl DoubleEndedIterator<Item = (u32, u64)> {
    peaks(size).filter(move |(peak, _)| *peak < level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_as_many_siblings_as_its_parts_say() {
        for size in 1..200u64 {
            for index in 0..size {
                let (inner, border) = path_parts(index, size);
                assert_eq!(siblings(0, index, size).count(), (inner + border) as usize, "{index} of {size}");
            }
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        assert_eq!(siblings(0, u64::MAX - 1, u64::MAX).count(), 63);
        assert_eq!(path_parts(0, u64::MAX), (64, 0));
        assert_eq!(peaks(u64::MAX).count(), 64);
        assert_eq!(peaks(0).count(), 0);
    }

    #[test]
    fn peaks_cover_the_tree_without_gap() {
        for size in 0..1000u64 {
            let mut at = 0;
            for (level, index) in peaks(size) {
                assert_eq!(index << level, at);
                at = (index + 1) << level;
            }
            assert_eq!(at, size);
        }
    }
}
