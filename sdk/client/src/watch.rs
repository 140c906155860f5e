//! Which checkpoints this client has seen, and that they are all of one history.
//!
//! Takes signed notes as answers bring them; gives opened checkpoints. Each new one is opened with the pinned keys and
//! related to the newest seen by a consistency proof, one after the other: so every checkpoint this client ever
//! accepted lies on one line, whatever the server shows to others. A pair that cannot be joined is a fork.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tally_api::proof::Consistency;
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::hash::NodeHash;
use tally_protocol::id::TreeSize;
use tally_protocol::quic::{Outcome, Span};
use tally_verify::{ExtensionError, Ledger, verify_extension};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::error::{ClientError, ForkEvidence};
use crate::outcomes;
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
/// How many proofs are asked for at once, when checkpoints come faster than the server's answers.
const PROOFS_MAX: usize = 16;
/// How many checkpoints of one stream are kept; outcomes refer to the last few.
const SENT_MAX: usize = 1024;

/// Which of a ledger's logs is watched; each has one line of checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Log {
    /// The log of events.
    #[default]
    Events,
    /// The log of outcomes, whose i-th leaf is of the i-th event.
    Outcomes,
}

impl Log {
    fn open(self, ledger: &Ledger, note: &str) -> Result<Checkpoint, ClientError> {
        match self {
            Self::Events => Ok(ledger.open_checkpoint(note)?),
            Self::Outcomes => outcomes::open(ledger, note),
        }
    }

    const fn consistency_path(self) -> &'static str {
        match self {
            Self::Events => "/v1/proofs/consistency",
            Self::Outcomes => "/v1/outcomes/proofs/consistency",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Watch {
    log: Log,
    newest: tokio::sync::Mutex<Option<Arc<SeenCheckpoint>>>,
    recent: Mutex<VecDeque<Arc<SeenCheckpoint>>>,
    /// Opened, and not yet joined to the others.
    waiting: Mutex<Vec<Arc<SeenCheckpoint>>>,
}

impl Watch {
    /// Of one log.
    pub(crate) fn of(log: Log) -> Self {
        Self { log, ..Self::default() }
    }

    /// Starts from a checkpoint seen in an earlier life.
    pub(crate) async fn start(&self, seen: SeenCheckpoint) {
        *self.newest.lock().await = Some(Arc::new(seen));
    }

    /// The newest checkpoint seen.
    pub(crate) async fn newest(&self) -> Option<Arc<SeenCheckpoint>> {
        self.newest.lock().await.clone()
    }

    /// Opens a note and joins it to what was seen. Who finds others waiting joins theirs too, so that many checkpoints
    /// wait for one answer of the server and not for one after the other.
    pub(crate) async fn take(
        &self,
        http: &Http,
        ledger: &Ledger,
        note: &str,
    ) -> Result<Arc<SeenCheckpoint>, ClientError> {
        if let Some(known) = self.known(note) {
            return Ok(known);
        }
        let checkpoint = self.log.open(ledger, note)?;
        let taken = Arc::new(SeenCheckpoint { checkpoint, note: note.to_owned() });
        lock(&self.waiting).push(Arc::clone(&taken));
        let mut newest = self.newest.lock().await;
        if let Some(known) = self.known(note) {
            return Ok(known);
        }
        let batch = self.batch_with(&taken);
        let mut line: Vec<_> = newest.iter().cloned().chain(batch.iter().cloned()).collect();
        line.sort_by_key(|seen| seen.checkpoint.size);
        join_line(http, self.log, &line).await?;
        *newest = line.last().cloned();
        drop(newest);
        batch.iter().for_each(|seen| self.remember(seen));
        Ok(taken)
    }

    /// This one and others that wait; those that are left out find their turn by themselves.
    fn batch_with(&self, taken: &Arc<SeenCheckpoint>) -> Vec<Arc<SeenCheckpoint>> {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|other| other.note != taken.note && self.known(&other.note).is_none());
        let count = waiting.len().min(PROOFS_MAX - 1);
        let mut batch: Vec<_> = waiting.drain(..count).collect();
        batch.dedup_by(|one, other| one.note == other.note);
        batch.push(Arc::clone(taken));
        batch
    }

    fn known(&self, note: &str) -> Option<Arc<SeenCheckpoint>> {
        lock(&self.recent).iter().rev().find(|seen| seen.note == note).cloned()
    }

    fn remember(&self, seen: &Arc<SeenCheckpoint>) {
        let mut recent = lock(&self.recent);
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(Arc::clone(seen));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A checkpoint as a stream of outcomes sent it; opened by the first who needs it.
#[derive(Debug)]
pub(crate) struct Sent {
    note: String,
    seen: OnceCell<Arc<SeenCheckpoint>>,
}

impl Sent {
    pub(crate) async fn open(&self, client: &Client) -> Result<Arc<SeenCheckpoint>, ClientError> {
        self.seen.get_or_try_init(|| client.take_checkpoint(&self.note)).await.cloned()
    }
}

/// The checkpoints of one stream, by the ids it gave them.
#[derive(Debug, Default)]
pub(crate) struct SentCheckpoints(VecDeque<(u32, Arc<Sent>)>);

impl SentCheckpoints {
    /// The next one; ids rise.
    pub(crate) fn take(&mut self, id: u32, note: &str) -> Result<(), String> {
        if self.0.back().is_some_and(|(last, _)| *last >= id) {
            return Err("the ids of checkpoints do not rise".to_owned());
        }
        if self.0.len() == SENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id, Arc::new(Sent { note: note.to_owned(), seen: OnceCell::new() })));
        Ok(())
    }

    /// Those that an outcome refers to.
    pub(crate) fn named_by(&self, outcome: &Outcome) -> Result<Vec<(u32, Arc<Sent>)>, String> {
        let mut named: Vec<(u32, Arc<Sent>)> = Vec::new();
        let duplicates = outcome.spans().iter().filter_map(|span| match span {
            Span::Duplicate(duplicate) => Some(duplicate.checkpoint),
            Span::Placed { .. } | Span::Rejected(_) => None,
        });
        for id in outcome.checkpoint().into_iter().chain(duplicates) {
            if named.last().is_some_and(|(last, _)| *last == id) || named.iter().any(|(known, _)| *known == id) {
                continue;
            }
            let at = self.0.binary_search_by_key(&id, |(known, _)| *known);
            let at = at.map_err(|_| "an outcome names a checkpoint that was not sent")?;
            named.push((id, Arc::clone(&self.0[at].1)));
        }
        Ok(named)
    }
}

/// Shows that each extends the one before it, with the proofs asked for at once.
async fn join_line(http: &Http, log: Log, line: &[Arc<SeenCheckpoint>]) -> Result<(), ClientError> {
    let mut proofs = JoinSet::new();
    for pair in line.windows(2) {
        let (http, older, newer) = (http.clone(), Arc::clone(&pair[0]), Arc::clone(&pair[1]));
        proofs.spawn(async move { join(&http, log, &older, &newer).await });
    }
    while let Some(proof) = proofs.join_next().await {
        proof.map_err(|error| ClientError::malformed(log.consistency_path(), error))??;
    }
    Ok(())
}

/// Shows that `newer` extends `older`, with a path from the server.
async fn join(http: &Http, log: Log, older: &SeenCheckpoint, newer: &SeenCheckpoint) -> Result<(), ClientError> {
    let (old, new) = (older.checkpoint.size, newer.checkpoint.size);
    let fork = |why: ExtensionError| {
        let (first, second) = (older.note.clone(), newer.note.clone());
        ClientError::Fork(Box::new(ForkEvidence { first, second, why }))
    };
    // One size has one root, of the state as well.
    if log == Log::Outcomes && old == new && older.checkpoint != newer.checkpoint {
        return Err(fork(ExtensionError::TwoRoots(new)));
    }
    let path = consistency(http, log, old, new).await?;
    verify_extension(&older.checkpoint, &newer.checkpoint, &path).map_err(fork)
}

/// The nodes between two sizes, as the server gives them.
pub(crate) async fn consistency(
    http: &Http,
    log: Log,
    old: TreeSize,
    new: TreeSize,
) -> Result<Vec<NodeHash>, ClientError> {
    if old == new {
        return Ok(Vec::new());
    }
    let asked = format!("{}?old={old}&new={new}", log.consistency_path());
    Ok(http.json::<Consistency>(&Request::get(asked)).await?.path)
}
