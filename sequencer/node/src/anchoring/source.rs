//! The logs as the anchor crate reads them: published checkpoints, and proofs that one continues the other.
//!
//! [`ClientLogs`] asks a node over HTTP, with a client that opens every checkpoint under the ledger's keys and joins it to
//! all it saw before. [`NodeLogs`] asks the node of this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tally_anchor::source::{Answer, LogKind, LogSource, Published, SourceError};
use tally_client::api::error::ErrorCode;
use tally_client::api::ledger::Ladder;
use tally_client::{Class, Client, ClientError, Log, SeenCheckpoint};
use tally_core::{ReadError, Reader};
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::hash::NodeHash;
use tally_protocol::id::TreeSize;

/// A node's logs over HTTP.
#[derive(Clone)]
pub struct ClientLogs {
    client: Client,
    /// Whether a checkpoint of outcomes was ever seen: then there is one, whatever a node says that starts.
    outcomes_seen: Arc<AtomicBool>,
}

const fn log_of(kind: LogKind) -> Log {
    match kind {
        LogKind::Events => Log::Events,
        LogKind::Outcomes => Log::Outcomes,
    }
}

fn source_error(error: &ClientError) -> SourceError {
    let why = crate::connect::failure(error).message;
    if error.class() == Class::Retry { SourceError::Unreachable(why) } else { SourceError::Malformed(why) }
}

/// Whether a node says that none of its starts published what was asked for.
fn is_never(error: &ClientError) -> bool {
    let ClientError::Refused(refusal) = error else { return false };
    matches!(refusal.code, Some(ErrorCode::PluginsNotEnabled | ErrorCode::NotYet))
}

fn seen(seen: &SeenCheckpoint) -> Published {
    let (size, root) = (seen.checkpoint.size, seen.checkpoint.root);
    Published { size, root, note: seen.note.clone() }
}

impl ClientLogs {
    /// The logs of the node that this client talks to.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, outcomes_seen: Arc::default() }
    }

    async fn newest_of(&self, kind: LogKind) -> Result<Option<Published>, SourceError> {
        match kind {
            LogKind::Events if self.ladder().await?.published.get() == 0 => Ok(None),
            LogKind::Events => self.client.published_checkpoint().await.map(Some),
            LogKind::Outcomes => self.outcomes().await,
        }
        .map(|newest| newest.map(|checkpoint| seen(&checkpoint)))
        .map_err(|error| source_error(&error))
    }

    /// Nothing applied yet does not mean nothing published: this start may not run plugins, or be making the outcomes
    /// again. Only the node's own word for "never" counts, and only of a log that was never seen: then the refusal is of
    /// the checkpoint itself and not of a proof from an older one. A log that is shorter halts its worker.
    async fn outcomes(&self) -> Result<Option<Arc<SeenCheckpoint>>, ClientError> {
        match self.client.outcomes_checkpoint().await {
            Err(error) if is_never(&error) && !self.outcomes_seen.load(Ordering::Acquire) => Ok(None),
            Err(error) => Err(error),
            Ok(newest) => {
                self.outcomes_seen.store(true, Ordering::Release);
                Ok(Some(newest))
            }
        }
    }

    async fn ladder(&self) -> Result<Ladder, SourceError> {
        self.client.ladder().await.map_err(|error| source_error(&error))
    }
}

impl LogSource for ClientLogs {
    fn newest(&self, kind: LogKind) -> Answer<'_, Option<Published>> {
        Box::pin(self.newest_of(kind))
    }

    fn consistency(&self, kind: LogKind, old: TreeSize, new: TreeSize) -> Answer<'_, Vec<NodeHash>> {
        Box::pin(
            async move { self.client.consistency(log_of(kind), old, new).await.map_err(|error| source_error(&error)) },
        )
    }
}

/// The logs of the node in this process.
#[derive(Clone)]
pub struct NodeLogs(pub Reader);

fn published(checkpoint: &Arc<SignedCheckpoint>) -> Published {
    let SignedCheckpoint { checkpoint, note } = checkpoint.as_ref();
    Published { size: checkpoint.size, root: checkpoint.root, note: note.clone() }
}

impl NodeLogs {
    /// The newest published checkpoint of a log.
    #[must_use]
    pub fn published(&self, kind: LogKind) -> Option<Published> {
        let checkpoint = match kind {
            LogKind::Events => self.0.published(),
            LogKind::Outcomes => self.0.outcomes_published(),
        };
        checkpoint.as_ref().map(published)
    }
}

impl LogSource for NodeLogs {
    fn newest(&self, kind: LogKind) -> Answer<'_, Option<Published>> {
        let newest = self.published(kind);
        Box::pin(async move { Ok(newest) })
    }

    fn consistency(&self, kind: LogKind, old: TreeSize, new: TreeSize) -> Answer<'_, Vec<NodeHash>> {
        let reader = self.0.clone();
        // A few tiles are read; off the async threads all the same.
        let read = move || match kind {
            LogKind::Events => reader.consistency(old, new),
            LogKind::Outcomes => reader.outcome_consistency(old, new),
        };
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(read).await;
            let read = read.map_err(|error| SourceError::Unreachable(error.to_string()))?;
            read.map(|proof| proof.path).map_err(|error| match error {
                ReadError::NotYet { .. } | ReadError::NotFound | ReadError::Invalid(_) => {
                    SourceError::NoProof { old, new }
                }
                error => SourceError::Unreachable(error.to_string()),
            })
        })
    }
}
