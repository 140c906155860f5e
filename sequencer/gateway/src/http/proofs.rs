//! Proofs of both logs: receipts made anew, inclusion, consistency, offline bundles and tlog-proof files.
//!
//! A path shows hashes of the tree and nothing of any event, so inclusion and consistency follow the rule of hash
//! tiles. Receipts and bundles show an event and follow the rule of events.

use axum::http::{HeaderValue, StatusCode, header};
use tally_api::error::ErrorCode;
use tally_api::proof::{Consistency, Inclusion};
use tally_api::receipt::ReceiptAnswer;
use tally_core::ReadError;
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::proof::TlogProof;
use tally_verify::{Bundle, Placed};

use super::call::Call;
use super::events::event_at;
use super::log::Log;
use super::submit::Checkpoints;
use super::{Reply, respond};
use crate::error::ApiError;

/// `GET /v1/receipts/{index}`
pub(crate) async fn receipt(call: Call) -> Reply {
    let index = call.index()?;
    event_at(&call, index).await?;
    let receipt = call.gateway.read(move |reader| Ok(reader.receipt(index)?)).await?;
    let mut checkpoints = Checkpoints::default();
    let receipt = checkpoints.receipt(receipt);
    respond::json(&ReceiptAnswer { receipt, checkpoints: checkpoints.notes() })
}

async fn inclusion_in(call: Call, log: Log) -> Reply {
    let index = Index::new(call.required_number("index")?);
    let size = call.query_number("size")?.map(TreeSize::new);
    let caller = call.caller.clone();
    let answer = call
        .gateway
        .read(move |reader| {
            let newest = log.newest(reader)?;
            let size = size.unwrap_or(newest.checkpoint.size);
            let proof = log.inclusion(reader, index, size)?;
            let leaf_hash = log.leaf_hash(reader, &caller, index)?;
            let root = Some(newest.checkpoint.root).filter(|_| size == newest.checkpoint.size);
            Ok(Inclusion { index, size, leaf_hash, root, path: proof.path })
        })
        .await?;
    respond::json(&answer)
}

async fn consistency_of(call: Call, log: Log) -> Reply {
    let old = TreeSize::new(call.required_number("old")?);
    let new = call.query_number("new")?.map(TreeSize::new);
    let answer = call
        .gateway
        .read(move |reader| {
            let newest = log.newest(reader)?;
            let new = new.unwrap_or(newest.checkpoint.size);
            let proof = log.consistency(reader, old, new)?;
            Ok(Consistency { old, new, path: proof.path })
        })
        .await?;
    respond::json(&answer)
}

/// `GET /v1/proofs/inclusion?index&size`
pub(crate) async fn inclusion(call: Call) -> Reply {
    inclusion_in(call, Log::Events).await
}

/// `GET /v1/proofs/consistency?old&new`
pub(crate) async fn consistency(call: Call) -> Reply {
    consistency_of(call, Log::Events).await
}

/// `GET /v1/outcomes/proofs/inclusion?index&size`
pub(crate) async fn outcome_inclusion(call: Call) -> Reply {
    inclusion_in(call, Log::Outcomes).await
}

/// `GET /v1/outcomes/proofs/consistency?old&new`
pub(crate) async fn outcome_consistency(call: Call) -> Reply {
    consistency_of(call, Log::Outcomes).await
}

/// `GET /v1/bundle/{index}`
pub(crate) async fn bundle(call: Call) -> Reply {
    let event = event_at(&call, call.index()?).await?;
    let gateway = std::sync::Arc::clone(&call.gateway);
    let body = call
        .gateway
        .read(move |reader| {
            let receipt = reader.receipt(event.index)?;
            let placed = Placed {
                index: event.index,
                sequence: event.sequence,
                sequenced_at: event.sequenced_at,
                public_key: event.public_key,
            };
            let note = receipt.checkpoint.note.clone();
            Ok(Bundle::assemble(&gateway.ledger, &event.frame, &placed, receipt.path, note).encode())
        })
        .await?;
    respond::encoded(StatusCode::OK, body)
}

/// `GET /v1/proof/{file}`, with `<index>.tlog-proof` as the file: against the newest published checkpoint, which
/// carries the signature of the log's own key, the one that the world knows.
pub(crate) async fn tlog_proof(call: Call) -> Reply {
    let no_file = || ApiError::new(ErrorCode::ResourceNotFound, "the file is named <index>.tlog-proof");
    let name = call.param("file")?.strip_suffix(".tlog-proof").ok_or_else(no_file)?;
    let index: Index = name.parse().map(Index::new).map_err(|_| no_file())?;
    if index.to_string() != name {
        return Err(no_file());
    }
    event_at(&call, index).await?;
    let proof = call
        .gateway
        .read(move |reader| {
            let not_yet = || ReadError::NotYet { rung: tally_core::watermarks::Rung::Published };
            let published = reader.published().ok_or_else(not_yet)?;
            if !published.checkpoint.size.holds(index) {
                return Err(not_yet().into());
            }
            let path = reader.inclusion(index, published.checkpoint.size)?.path;
            Ok(TlogProof { extra: None, index, path, checkpoint: published.note.clone() }.encode())
        })
        .await?;
    let mut response = respond::content("text/plain; charset=utf-8", proof);
    let disposition = format!("attachment; filename=\"{index}.tlog-proof\"");
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
