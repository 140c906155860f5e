//! When an event counts as anchored where there are several chains: k of n.
//!
//! Pure. Takes what each chain holds of a log at the wanted level, gives the size up to which at least k of them do.

use tally_protocol::id::TreeSize;

use crate::error::AnchorError;

/// How many of the configured chains must hold an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    chains: usize,
    needed: usize,
}

impl Policy {
    /// `needed` of `chains`.
    ///
    /// # Errors
    /// None needed, or more than there are.
    pub fn new(needed: usize, chains: usize) -> Result<Self, AnchorError> {
        if needed == 0 || needed > chains {
            return Err(AnchorError::Config(format!("the policy needs {needed} of {chains} chains")));
        }
        Ok(Self { chains, needed })
    }

    /// The size that at least `needed` chains have anchored: 0 while they are fewer. One entry per chain; a chain that does
    /// not answer gives its last known size.
    #[must_use]
    pub fn anchored(&self, sizes: &[TreeSize]) -> TreeSize {
        debug_assert!(sizes.len() <= self.chains, "more answers than chains");
        let mut sizes = sizes.to_vec();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.get(self.needed - 1).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_three_is_the_second_largest_and_nothing_without_two() {
        let sizes = |sizes: &[u64]| sizes.iter().copied().map(TreeSize::new).collect::<Vec<_>>();
        let policy = Policy::new(2, 3).unwrap();
        assert_eq!(policy.anchored(&sizes(&[5, 9, 7])).get(), 7);
        assert_eq!(policy.anchored(&sizes(&[9])).get(), 0);
        assert!(Policy::new(0, 3).is_err() && Policy::new(4, 3).is_err());
    }
}
