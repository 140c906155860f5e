//! Certifying. Takes folded runs, gives them under a signed checkpoint, moves `folded` and `signed`. One checkpoint per
//! group of runs that became durable meanwhile; the signature comes after sync and fold, never before (law 3).
//!
//! Before a size is signed it is stored in the fence, synced: no root but this one will ever be signed for it, not
//! even by a copy of the data directory. A fence or a signer that fails poisons the node.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::id::Epoch;
use tally_storage::LatestCheckpoint;

use crate::append::Durable;
use crate::failpoint;
use crate::fence::{Fence, FenceRecord};
use crate::fold::{Folded, Tree};
use crate::shared::{Certified, Shared, lock};
use crate::watermarks::Rung;

/// Folded runs with the tree that certifies them.
pub(crate) struct CertifiedRuns {
    pub(crate) folded: Folded,
    pub(crate) certified: Arc<Certified>,
}

/// Runs folded and signed together at the most: bounds the group's latency and memory.
pub(crate) const GROUP_RUNS_MAX: usize = 8;

/// Owns the tree, the fence and the epoch.
pub(crate) struct Certifier {
    shared: Arc<Shared>,
    tree: Tree,
    fence: Box<dyn Fence>,
    epoch: Epoch,
}

/// The certifying thread's life: until appending is gone or a signature cannot be made.
pub(crate) fn run(certifier: &mut Certifier, queue: &Receiver<Durable>, next: &Sender<CertifiedRuns>) {
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        while group.len() < GROUP_RUNS_MAX {
            let Ok(more) = queue.try_recv() else { break };
            group.push(more);
        }
        let Some(certified) = certifier.certify(group) else { return };
        if next.send(certified).is_err() {
            return;
        }
    }
}

impl Certifier {
    pub(crate) fn new(shared: Arc<Shared>, tree: Tree, fence: Box<dyn Fence>, epoch: Epoch) -> Self {
        Self { shared, tree, fence, epoch }
    }

    /// `None`: nothing could be signed, and the node is poisoned.
    fn certify(&mut self, group: Vec<Durable>) -> Option<CertifiedRuns> {
        let start = self.shared.clock.monotonic_micros();
        let folded = self.tree.fold(group);
        let Some(grown) = &folded.grown else {
            return Some(CertifiedRuns { folded, certified: self.shared.events.certified.load_full() });
        };
        self.shared.watermarks.raise(Rung::Folded, self.tree.size());
        failpoint::hit("fold.done");
        let checkpoint = match self.sign() {
            Ok(checkpoint) => checkpoint,
            Err(why) => {
                // Before the runs are dropped: whoever learns that an outcome is unknown finds the node poisoned.
                self.shared.watermarks.poison(&why);
                return None;
            }
        };
        failpoint::hit("sign.done");
        let certified = Arc::new(Certified { edge: self.tree.edge.clone(), checkpoint: Arc::new(checkpoint) });
        {
            let mut unwritten = lock(&self.shared.events.unwritten);
            for tile in &grown.tiles {
                unwritten.tiles.insert((tile.level, tile.index), tile.clone());
            }
            unwritten.latest = Some(LatestCheckpoint {
                size: self.tree.size(),
                note: certified.checkpoint.note.clone(),
                frontier: self.tree.frontier.encode().into(),
            });
        }
        self.shared.events.certified.store(Arc::clone(&certified));
        self.shared.watermarks.raise(Rung::Signed, self.tree.size());
        // Whoever follows the log is told and not waited for.
        self.shared.applying.ring();
        self.shared.metrics.certify_micros.observe(self.shared.clock.monotonic_micros().saturating_sub(start));
        Some(CertifiedRuns { folded, certified })
    }

    fn sign(&mut self) -> Result<SignedCheckpoint, String> {
        let (size, root) = (self.tree.size(), self.tree.frontier.root());
        let start = self.shared.clock.monotonic_micros();
        failpoint::hit("fence.before_store");
        let record = FenceRecord { ledger_id: self.shared.ledger.ledger_id, epoch: self.epoch, size, root };
        self.fence.store(&record).map_err(|error| error.to_string())?;
        failpoint::hit("fence.after_store");
        self.shared.metrics.fence_micros.observe(self.shared.clock.monotonic_micros().saturating_sub(start));
        let checkpoint = Checkpoint::new(&self.shared.ledger.genesis.origin, size, root);
        SignedCheckpoint::sign(checkpoint, &[self.shared.receipt_signer.as_ref()])
            .map_err(|error| format!("failed to sign a checkpoint: {error}"))
    }
}
