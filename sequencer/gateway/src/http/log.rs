//! The log as C2SP tlog-tiles serves it: checkpoint, hash tiles, entry bundles, all under `/log/`.
//!
//! Paths are parsed from the raw request path, by the strict parser of the format; what is not exactly such a path is
//! not found. Tiles never change, so caches may keep them for good; they may share them if the log is public.

use axum::http::Response;
use tally_api::error::ErrorCode;
use tally_core::ReadError;
use tally_protocol::tile::{EntryBundleId, TileId};

use super::call::Call;
use super::{Reply, respond};
use crate::error::ApiError;

/// `GET /log/checkpoint`: the newest published checkpoint, verbatim.
pub(crate) async fn checkpoint(call: Call) -> Reply {
    let not_yet = ReadError::NotYet { rung: tally_core::watermarks::Rung::Published };
    let published = call.gateway.reader.published().ok_or(not_yet)?;
    let response = respond::content("text/plain; charset=utf-8", published.note.clone());
    Ok(respond::cached(response, false, call.gateway.config.public.log))
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::ResourceNotFound, "no such tile")
}

/// The path below `/log/`, as the client wrote it.
fn tile_path(call: &Call) -> Result<&str, ApiError> {
    call.path.strip_prefix("/log/").ok_or_else(not_found)
}

fn octets(bytes: Vec<u8>, public: bool) -> Response<axum::body::Body> {
    respond::cached(respond::content("application/octet-stream", bytes), true, public)
}

/// `GET /log/tile/<level>/<index>[.p/<width>]`
pub(crate) async fn tile(call: Call) -> Reply {
    let id = TileId::parse(tile_path(&call)?).map_err(|_| not_found())?;
    let bytes = call.gateway.read(move |reader| Ok(reader.tile(id)?)).await?;
    Ok(octets(bytes, call.gateway.config.public.log))
}

/// `GET /log/tile/entries/<index>[.p/<width>]`
pub(crate) async fn entries(call: Call) -> Reply {
    let id = EntryBundleId::parse(tile_path(&call)?).map_err(|_| not_found())?;
    let bytes = call.gateway.read(move |reader| Ok(reader.entries(id)?)).await?;
    Ok(octets(bytes, call.gateway.config.public.entries))
}
