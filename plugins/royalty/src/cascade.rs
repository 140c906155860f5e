//! `reverse/cascade-1`: how what is left of a sale is divided among those who shared it.
//!
//! Takes the shares of the whole; gives the shares of any part of it. It is monotone (more is left: nobody has less), the
//! same whatever came between, nothing at nothing and the shares themselves at the whole. Public, so that anybody can
//! compute it again from a journal and its order.
//!
//! A tree over the parties: the two lightest nodes are joined until one is left (of equals the lower number first; parties
//! are numbered in order, joints after them), the second that was taken on the left. Of `t` units on a node of weight `T`
//! its left child of weight `L` gets `floor((2·t·L + T) / (2·T))`.

use alloc::vec;
use alloc::vec::Vec;

/// The rule's id, which journals name.
pub const REVERSE_RULE: &str = "reverse/cascade-1";

/// The tree over the shares of one sale.
#[derive(Clone, Debug)]
pub struct Cascade {
    /// Of every node: parties first, then joints in the order they were made.
    weights: Vec<u64>,
    /// Left and right of each joint.
    joints: Vec<(usize, usize)>,
    parties: usize,
}

impl Cascade {
    /// The tree over shares, in minor units; they add up to at most 2^63.
    #[must_use]
    pub fn of(shares: &[u64]) -> Self {
        let mut weights = Vec::from(shares);
        let mut joints = Vec::new();
        // Heaviest first, so that the lightest is taken from the end; who has no share gets nothing.
        let mut open: Vec<(u64, usize)> =
            shares.iter().enumerate().filter(|(_, share)| **share > 0).map(|(at, share)| (*share, at)).collect();
        open.sort_unstable_by(|a, b| b.cmp(a));
        while let (Some(first), Some(second)) = (open.pop(), open.pop()) {
            let joint = (first.0 + second.0, weights.len());
            weights.push(joint.0);
            joints.push((second.1, first.1));
            let place = open.partition_point(|node| *node > joint);
            open.insert(place, joint);
            if open.len() == 1 {
                break;
            }
        }
        Self { weights, joints, parties: shares.len() }
    }

    /// Each party's part of `total`, which is at most the sum of the shares.
    #[must_use]
    pub fn place(&self, total: u64) -> Vec<u64> {
        let mut placed = vec![0; self.weights.len()];
        match self.joints.len() {
            0 => self.place_alone(&mut placed, total),
            count => placed[self.parties + count - 1] = total,
        }
        // A joint is made after what it joins, so from the last backwards every node is known before it is divided.
        for (at, (left, right)) in self.joints.iter().enumerate().rev() {
            let node = self.parties + at;
            let units = placed[node];
            placed[*left] = left_of(units, self.weights[*left], self.weights[node]);
            placed[*right] = units - placed[*left];
        }
        placed.truncate(self.parties);
        placed
    }

    /// One party, or nobody, has a share.
    fn place_alone(&self, placed: &mut [u64], total: u64) {
        if let Some(at) = self.weights.iter().position(|weight| *weight > 0) {
            placed[at] = total;
        }
    }
}

/// `floor((2·units·left + whole) / (2·whole))`, in 64 bits where they do: a guest divides 128 bits slowly.
fn left_of(units: u64, left: u64, whole: u64) -> u64 {
    let narrow = units.checked_mul(left).and_then(|product| product.checked_mul(2)?.checked_add(whole));
    match (narrow, whole.checked_mul(2)) {
        (Some(doubled), Some(divisor)) => doubled / divisor,
        _ => {
            let (units, left, whole) = (u128::from(units), u128::from(left), u128::from(whole));
            u64::try_from((2 * units * left + whole) / (2 * whole)).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors_hold() {
        let check = |shares: &[u64], vectors: &[(u64, &[u64])]| {
            let cascade = Cascade::of(shares);
            for (keep, expected) in vectors {
                assert_eq!(cascade.place(*keep), *expected, "{shares:?} keep {keep}");
            }
        };
        check(&[2, 1, 0], &[(1, &[1, 0, 0]), (2, &[1, 1, 0])]);
        check(
            &[450, 400, 150],
            &[(1, &[0, 1, 0]), (333, &[150, 133, 50]), (500, &[225, 200, 75]), (999, &[450, 399, 150])],
        );
        check(
            &[4249, 500, 166, 84],
            &[
                (1, &[1, 0, 0, 0]),
                (1666, &[1416, 167, 55, 28]),
                (2499, &[2124, 250, 83, 42]),
                (4998, &[4248, 500, 166, 84]),
            ],
        );
        check(
            &[2, 2, 1, 1, 1],
            &[(1, &[0, 0, 0, 1, 0]), (2, &[1, 0, 0, 1, 0]), (3, &[1, 1, 0, 1, 0]), (6, &[2, 1, 1, 1, 1])],
        );
        check(&[98, 1, 1, 1], &[(33, &[32, 0, 1, 0]), (50, &[49, 0, 1, 0]), (100, &[97, 1, 1, 1])]);
    }

    #[test]
    fn one_party_has_it_all_and_none_has_nothing() {
        assert_eq!(Cascade::of(&[0, 7]).place(3), [0, 3]);
        assert_eq!(Cascade::of(&[0, 0]).place(0), [0, 0]);
        assert_eq!(Cascade::of(&[]).place(0), [0; 0]);
    }
}
