//! Which checkpoints this client has seen, and that they are all of one history.
//!
//! Takes signed notes as answers bring them; gives opened checkpoints. Each new one is opened with the pinned keys and
//! related to the newest seen by a consistency proof, one after the other: so every checkpoint this client ever
//! accepted lies on one line, whatever the server shows to others. A pair that cannot be joined is a fork.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tally_api::proof::Consistency;
use tally_protocol::checkpoint::Checkpoint;
use tally_verify::{ExtensionError, Ledger, verify_extension};

use crate::error::{ClientError, ForkEvidence};
use crate::transport::{Http, Request};

/// A checkpoint that was opened and fits all others seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCheckpoint {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The signed note.
    pub note: String,
}

/// How many checkpoints are remembered by their note, so that receipts of one run cost one look.
const RECENT_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Watch {
    newest: tokio::sync::Mutex<Option<Arc<SeenCheckpoint>>>,
    recent: Mutex<VecDeque<Arc<SeenCheckpoint>>>,
}

impl Watch {
    /// Starts from a checkpoint seen in an earlier life.
    pub(crate) async fn start(&self, seen: SeenCheckpoint) {
        *self.newest.lock().await = Some(Arc::new(seen));
    }

    /// The newest checkpoint seen.
    pub(crate) async fn newest(&self) -> Option<Arc<SeenCheckpoint>> {
        self.newest.lock().await.clone()
    }

    /// Opens a note and joins it to what was seen.
    pub(crate) async fn take(
        &self,
        http: &Http,
        ledger: &Ledger,
        note: &str,
    ) -> Result<Arc<SeenCheckpoint>, ClientError> {
        if let Some(known) = self.known(note) {
            return Ok(known);
        }
        let checkpoint = ledger.open_checkpoint(note)?;
        let taken = Arc::new(SeenCheckpoint { checkpoint, note: note.to_owned() });
        let mut newest = self.newest.lock().await;
        match &*newest {
            None => *newest = Some(Arc::clone(&taken)),
            Some(seen) if seen.checkpoint.size <= taken.checkpoint.size => {
                join(http, seen, &taken).await?;
                *newest = Some(Arc::clone(&taken));
            }
            // Answers overtake each other; an older one must lie on the same line.
            Some(seen) => join(http, &taken, seen).await?,
        }
        drop(newest);
        self.remember(&taken);
        Ok(taken)
    }

    fn known(&self, note: &str) -> Option<Arc<SeenCheckpoint>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().rev().find(|seen| seen.note == note).cloned()
    }

    fn remember(&self, seen: &Arc<SeenCheckpoint>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(Arc::clone(seen));
    }
}

/// Shows that `newer` extends `older`, with a path from the server.
async fn join(http: &Http, older: &SeenCheckpoint, newer: &SeenCheckpoint) -> Result<(), ClientError> {
    let (old, new) = (older.checkpoint.size, newer.checkpoint.size);
    let fork = |why: ExtensionError| {
        let (first, second) = (older.note.clone(), newer.note.clone());
        ClientError::Fork(Box::new(ForkEvidence { first, second, why }))
    };
    let path = if old == new {
        Vec::new()
    } else {
        let proof =
            http.json::<Consistency>(&Request::get(format!("/v1/proofs/consistency?old={old}&new={new}"))).await?;
        proof.path
    };
    verify_extension(&older.checkpoint, &newer.checkpoint, &path).map_err(fork)
}
