//! The state tree under load: what a changed key costs, by the size of the batch.
//!
//! Takes how many leaves a tree has; gives, for each batch size, the time a changed key takes (hashing key and value,
//! reading, checking, changing and encoding pages in memory) and what a host would write. Pages lie in memory: the disk
//! is the host's.

use std::time::Instant;

use tally_merkle::sparse::{CHANGES_MAX, MemoryPages, StateChange, StateNode, prove, update};
use tally_protocol::hash::{state_key, state_value};

use crate::Failure;
use crate::proc::own_thread_nanos;

/// What one batch size cost.
pub struct Cost {
    /// Keys changed at once.
    pub batch: usize,
    /// Keys changed altogether.
    pub keys: usize,
    /// µs of CPU time for a changed key.
    pub cpu_us: f64,
    /// µs of wall time for a changed key.
    pub wall_us: f64,
    /// Pages written for a changed key.
    pub pages: f64,
    /// Bytes of them.
    pub bytes: f64,
}

/// What proofs cost.
pub struct Proofs {
    /// µs of CPU time to make one.
    pub make_us: f64,
    /// µs of CPU time to verify one.
    pub verify_us: f64,
    /// Bytes of one.
    pub bytes: f64,
}

/// A tree of numbered keys.
pub struct StateTree {
    pages: MemoryPages,
    root: StateNode,
    leaves: u64,
    /// Picks keys; the next of a fixed sequence, so that runs compare.
    dice: u64,
    version: u64,
}

fn name(at: u64) -> String {
    format!("licence/{at:016x}")
}

impl StateTree {
    /// With that many leaves.
    ///
    /// # Errors
    /// When an update is refused: a defect.
    pub fn new(leaves: u64) -> Result<Self, Failure> {
        let mut tree =
            Self { pages: MemoryPages::new(), root: StateNode::EMPTY, leaves, dice: 0x9e37_79b9_7f4a_7c15, version: 0 };
        let mut next = 0;
        while next < leaves {
            let end = leaves.min(next + CHANGES_MAX as u64);
            tree.write(&(next..end).collect::<Vec<_>>())?;
            next = end;
        }
        Ok(tree)
    }

    /// Pages and bytes it takes.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.pages.pages.len(), self.pages.pages.values().map(Vec::len).sum())
    }

    fn pick(&mut self) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 24) % self.leaves
    }

    /// Gives these keys a new value; the time of it and what it writes.
    fn write(&mut self, keys: &[u64]) -> Result<(u64, f64, usize, usize), Failure> {
        self.version += 1;
        let value = format!("active:{:056}", self.version);
        let names: Vec<String> = keys.iter().map(|at| name(*at)).collect();
        let writes: Vec<_> = names.iter().map(|name| (name.as_bytes(), Some(value.as_bytes()))).collect();
        let (wall, cpu) = (Instant::now(), own_thread_nanos());
        let changes = StateChange::many(&writes);
        let updated = update(&self.pages, &self.root, &changes).map_err(|error| format!("{error}"))?;
        let (cpu, wall) = (own_thread_nanos() - cpu, wall.elapsed().as_secs_f64());
        let bytes = updated.pages.iter().filter_map(|(_, page)| page.as_ref()).map(Vec::len).sum();
        let pages = updated.pages.len();
        self.root = updated.root;
        self.pages.apply(updated);
        Ok((cpu, wall, pages, bytes))
    }

    /// Changes keys, so many at once, for about so many altogether.
    ///
    /// # Errors
    /// When an update is refused: a defect.
    pub fn measure(&mut self, batch: usize, keys: usize) -> Result<Cost, Failure> {
        let (mut cpu, mut wall, mut pages, mut bytes, mut done) = (0, 0.0, 0, 0, 0);
        while done < keys {
            let mut picked = std::collections::BTreeSet::new();
            while picked.len() < batch {
                picked.insert(self.pick());
            }
            let cost = self.write(&picked.into_iter().collect::<Vec<_>>())?;
            cpu += cost.0;
            wall += cost.1;
            pages += cost.2;
            bytes += cost.3;
            done += batch;
        }
        let each = 1.0 / done as f64;
        Ok(Cost {
            batch,
            keys: done,
            cpu_us: cpu as f64 / 1000.0 * each,
            wall_us: wall * 1e6 * each,
            pages: pages as f64 * each,
            bytes: bytes as f64 * each,
        })
    }

    /// Makes and verifies so many proofs, half of them of absence.
    ///
    /// # Errors
    /// When one does not verify: a defect.
    pub fn proofs(&mut self, count: usize) -> Result<Proofs, Failure> {
        let picked: Vec<u64> = (0..count).map(|_| self.pick()).collect();
        // Present: one key written just now, so that its value is known; absent: names beyond the last.
        self.write(&picked[..1])?;
        let value = state_value(format!("active:{:056}", self.version).as_bytes());
        let (mut make, mut check, mut bytes) = (0, 0, 0);
        for (at, pick) in picked.iter().enumerate() {
            let is_present = at % 2 == 0;
            let key = state_key(name(if is_present { picked[0] } else { pick + self.leaves }).as_bytes());
            let start = own_thread_nanos();
            let proof = prove(&self.pages, &self.root, &key).map_err(|error| format!("{error}"))?;
            let made = own_thread_nanos();
            proof.verify(&self.root, &key, is_present.then_some(&value)).map_err(|error| format!("{error}"))?;
            make += made - start;
            check += own_thread_nanos() - made;
            bytes += proof.encode().len();
        }
        let each = 1.0 / count as f64;
        Ok(Proofs {
            make_us: make as f64 / 1000.0 * each,
            verify_us: check as f64 / 1000.0 * each,
            bytes: bytes as f64 * each,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_tree_is_changed_and_proven() {
        let mut tree = StateTree::new(1000).unwrap();
        let cost = tree.measure(10, 100).unwrap();
        assert_eq!((cost.batch, cost.keys), (10, 100));
        assert!(cost.pages > 0.1 && cost.bytes > 64.0);
        let proofs = tree.proofs(20).unwrap();
        assert!(proofs.bytes > 100.0);
    }
}
