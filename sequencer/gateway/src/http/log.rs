//! The two logs of a ledger as C2SP tlog-tiles serves them: checkpoint, hash tiles, entry bundles; events under `/log/`,
//! outcomes under `/outcomes/`.
//!
//! Paths are parsed from the raw request path, by the strict parser of the format; what is not exactly such a path is
//! not found. Tiles never change, so caches may keep them for good; they may share them if the log is public. The log
//! of outcomes has the rules of the log of events: its tiles show as much, and its bundles show all tenants.

use std::sync::Arc;

use axum::http::Response;
use tally_api::error::ErrorCode;
use tally_core::watermarks::Rung;
use tally_core::{ApplyState, ReadError, Reader};
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::hash::{self, LeafHash};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::proof::{ConsistencyProof, InclusionProof};
use tally_protocol::tile::{EntryBundleId, TileId};

use super::call::Call;
use super::{Reply, respond};
use crate::auth::Caller;
use crate::error::ApiError;

/// One of a ledger's logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Events,
    Outcomes,
}

impl Log {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Events => "/log/",
            Self::Outcomes => "/outcomes/",
        }
    }

    /// Why there is no checkpoint: the rung that is missing, or that nothing on this node ever reaches it.
    fn none_yet(self, reader: &Reader, rung: Rung) -> ApiError {
        match self {
            Self::Outcomes if reader.outcome_checkpoint().is_none() => {
                if reader.apply_state() == ApplyState::Off {
                    return ApiError::no_plugins();
                }
                ReadError::NotYet { rung: Rung::Applied }.into()
            }
            _ => ReadError::NotYet { rung }.into(),
        }
    }

    /// The newest published checkpoint.
    fn published(self, reader: &Reader) -> Result<Arc<SignedCheckpoint>, ApiError> {
        let published = match self {
            Self::Events => reader.published(),
            Self::Outcomes => reader.outcomes_published(),
        };
        published.ok_or_else(|| self.none_yet(reader, Rung::Published))
    }

    /// The newest signed checkpoint.
    pub(crate) fn newest(self, reader: &Reader) -> Result<Arc<SignedCheckpoint>, ApiError> {
        match self {
            Self::Events => Ok(reader.checkpoint()),
            Self::Outcomes => reader.outcome_checkpoint().ok_or_else(|| self.none_yet(reader, Rung::Applied)),
        }
    }

    fn tile(self, reader: &Reader, id: TileId) -> Result<Vec<u8>, ReadError> {
        match self {
            Self::Events => reader.tile(id),
            Self::Outcomes => reader.outcome_tile(id),
        }
    }

    fn entries(self, reader: &Reader, id: EntryBundleId) -> Result<Vec<u8>, ReadError> {
        match self {
            Self::Events => reader.entries(id),
            Self::Outcomes => reader.outcome_entries(id),
        }
    }

    pub(crate) fn inclusion(self, reader: &Reader, index: Index, size: TreeSize) -> Result<InclusionProof, ReadError> {
        match self {
            Self::Events => reader.inclusion(index, size),
            Self::Outcomes => reader.outcome_inclusion(index, size),
        }
    }

    pub(crate) fn consistency(
        self,
        reader: &Reader,
        old: TreeSize,
        new: TreeSize,
    ) -> Result<ConsistencyProof, ReadError> {
        match self {
            Self::Events => reader.consistency(old, new),
            Self::Outcomes => reader.outcome_consistency(old, new),
        }
    }

    /// The leaf at a position, if the caller may see the event there. Genesis is everybody's.
    pub(crate) fn leaf_hash(self, reader: &Reader, caller: &Caller, at: Index) -> Result<Option<LeafHash>, ReadError> {
        let event = if at.get() == 0 { None } else { Some(reader.event(at)?) };
        if event.as_ref().is_some_and(|event| !caller.sees(event.frame.stream())) {
            return Ok(None);
        }
        Ok(Some(match (self, event) {
            (Self::Events, Some(event)) => event.leaf_hash(),
            (Self::Events, None) => reader.ledger().genesis.leaf_hash(),
            (Self::Outcomes, _) => hash::leaf(&reader.outcome(at)?),
        }))
    }
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::ResourceNotFound, "no such tile")
}

fn octets(bytes: Vec<u8>, public: bool) -> Response<axum::body::Body> {
    respond::cached(respond::content("application/octet-stream", bytes), true, public)
}

fn serve_checkpoint(call: &Call, log: Log) -> Reply {
    let published = log.published(&call.gateway.reader)?;
    let response = respond::content("text/plain; charset=utf-8", published.note.clone());
    Ok(respond::cached(response, false, call.gateway.config.public.log))
}

/// The path below the log's own, as the client wrote it.
fn tile_path(call: &Call, log: Log) -> Result<&str, ApiError> {
    call.path.strip_prefix(log.prefix()).ok_or_else(not_found)
}

async fn serve_tile(call: Call, log: Log) -> Reply {
    let id = TileId::parse(tile_path(&call, log)?).map_err(|_| not_found())?;
    let bytes = call.gateway.read(move |reader| Ok(log.tile(reader, id)?)).await?;
    Ok(octets(bytes, call.gateway.config.public.log))
}

async fn serve_entries(call: Call, log: Log) -> Reply {
    let id = EntryBundleId::parse(tile_path(&call, log)?).map_err(|_| not_found())?;
    let bytes = call.gateway.read(move |reader| Ok(log.entries(reader, id)?)).await?;
    Ok(octets(bytes, call.gateway.config.public.entries))
}

/// `GET /log/checkpoint`: the newest published checkpoint, verbatim.
pub(crate) async fn checkpoint(call: Call) -> Reply {
    serve_checkpoint(&call, Log::Events)
}

/// `GET /log/tile/<level>/<index>[.p/<width>]`
pub(crate) async fn tile(call: Call) -> Reply {
    serve_tile(call, Log::Events).await
}

/// `GET /log/tile/entries/<index>[.p/<width>]`
pub(crate) async fn entries(call: Call) -> Reply {
    serve_entries(call, Log::Events).await
}

/// `GET /outcomes/checkpoint`
pub(crate) async fn outcomes_checkpoint(call: Call) -> Reply {
    serve_checkpoint(&call, Log::Outcomes)
}

/// `GET /outcomes/tile/<level>/<index>[.p/<width>]`
pub(crate) async fn outcomes_tile(call: Call) -> Reply {
    serve_tile(call, Log::Outcomes).await
}

/// `GET /outcomes/tile/entries/<index>[.p/<width>]`
pub(crate) async fn outcomes_entries(call: Call) -> Reply {
    serve_entries(call, Log::Outcomes).await
}
