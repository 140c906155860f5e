//! VES commitments and inclusion proofs in them.
//!
//! Commitments are cut by the core, always from sequence 1 and without gaps; a POST asks to cut now what is not
//! committed yet, and can never choose a range. A commitment of another stream answers like one that does not exist.

use axum::http::StatusCode;
use tally_api::error::ErrorCode;
use tally_api::proof::{VesProofAnswer, VesVerifyAnswer, VesVerifyRequest};
use tally_api::text::read_uuid;
use tally_api::ves as api;
use tally_core::{ReadError, Reader};
use tally_protocol::batch::Commitment;
use tally_protocol::hash::{self, VesLeaf, VesNode};
use tally_protocol::id::{Sequence, Stream};

use super::call::Call;
use super::{Reply, respond};
use crate::envelope::unhex;
use crate::error::ApiError;

fn shape(of: &Commitment) -> api::Commitment {
    api::Commitment {
        batch_id: of.batch_id,
        tenant_id: of.stream.tenant,
        store_id: of.stream.store,
        ves_version: 1,
        tree_depth: u32::from(of.tree_depth),
        leaf_count: of.leaf_count,
        padded_leaf_count: of.padded_leaf_count,
        merkle_root: of.merkle_root,
        prev_state_root: of.prev_state_root,
        new_state_root: of.new_state_root,
        sequence_start: of.sequence_start,
        sequence_end: of.sequence_end,
        committed_at: of.committed_at,
        is_anchored: false,
    }
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::BatchNotFound, "no such commitment in reach of this credential")
}

fn found(result: Result<Commitment, ReadError>) -> Result<Commitment, ApiError> {
    result.map_err(|error| match error {
        ReadError::NotFound => not_found(),
        other => other.into(),
    })
}

fn batch_id(text: &str) -> Result<[u8; 16], ApiError> {
    read_uuid(text).ok_or_else(|| ApiError::field("batch_id", "must be a hyphenated UUID"))
}

/// `GET /api/v1/ves/commitments`
pub(crate) async fn list(call: Call) -> Reply {
    let stream = call.stream_of_query()?;
    let after = call.query_number("after")?.map(Sequence::new);
    let limit = call.limit()?;
    let page = call.gateway.read(move |reader| Ok(reader.commitments(stream, after, limit)?)).await?;
    let next_after = page.last().filter(|_| page.len() == limit).map(|last| last.sequence_end);
    let commitments: Vec<_> = page.iter().map(shape).collect();
    respond::json(&api::CommitmentPage { count: commitments.len(), commitments, next_after })
}

/// `GET /api/v1/ves/commitments/{batch_id}`
pub(crate) async fn by_id(call: Call) -> Reply {
    let id = batch_id(call.param("batch_id")?)?;
    let commitment = call.gateway.read(move |reader| found(reader.commitment(id))).await?;
    if !call.caller.sees(commitment.stream) {
        return Err(not_found());
    }
    respond::json(&shape(&commitment))
}

/// `POST /api/v1/ves/commitments`: 201 with the new commitment, 200 with the one that has the range already.
pub(crate) async fn commit(mut call: Call) -> Reply {
    let request: api::CommitRequest = call.json().await?;
    let stream = Stream::new(request.tenant_id, request.store_id);
    call.caller.must_reach(stream)?;
    let (commitment, is_new) = call.gateway.read(move |reader| cut(reader, stream, &request)).await?;
    respond::json_with(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &shape(&commitment))
}

fn conflict(message: &'static str) -> ApiError {
    ApiError::new(ErrorCode::CommitmentConflict, message)
}

/// Cuts what is not committed yet. A requested range must be one that exists or the one that would be cut: clients
/// of the reference name ranges, but a range of their choosing could make a stream uncommittable for ever.
fn cut(reader: &Reader, stream: Stream, request: &api::CommitRequest) -> Result<(Commitment, bool), ApiError> {
    let (start, end) = (request.sequence_start, request.sequence_end);
    let fits = |commitment: &Commitment| {
        start.is_none_or(|start| start == commitment.sequence_start)
            && end.is_none_or(|end| end == commitment.sequence_end)
    };
    if let Some(start) = start {
        match reader.commitment_covering(stream, start) {
            Ok(existing) if fits(&existing) => return Ok((existing, false)),
            Ok(_) => return Err(conflict("sequence_start is inside another commitment")),
            Err(ReadError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        let previous = start.get().checked_sub(1).filter(|&previous| previous > 0).map(Sequence::new);
        if start.get() == 0 || previous.is_some_and(|previous| reader.commitment_covering(stream, previous).is_err()) {
            return Err(conflict("sequence_start is not where the next commitment starts"));
        }
    }
    let head = reader.stream_head(stream);
    if end.is_some_and(|end| head != Some(end)) {
        return Err(conflict("sequence_end is not the stream's head, where the next commitment ends"));
    }
    match reader.commit_now(stream)? {
        Some(new) => Ok((new, true)),
        None => {
            let head = head.ok_or_else(|| conflict("the stream has no events"))?;
            Ok((found(reader.commitment_covering(stream, head))?, false))
        }
    }
}

/// `GET /api/v1/ves/proofs/{sequence}`; without `batch_id` the commitment that covers the sequence is taken.
pub(crate) async fn proof(call: Call) -> Reply {
    let sequence = Sequence::new(call.param_number("sequence")?);
    let stream = call.stream_of_query()?;
    let id = call.query("batch_id").map(batch_id).transpose()?;
    let answer = call
        .gateway
        .read(move |reader| {
            let commitment = match id {
                Some(id) => found(reader.commitment(id))?,
                None => found(reader.commitment_covering(stream, sequence))?,
            };
            if commitment.stream != stream {
                return Err(not_found());
            }
            let proof = reader.ves_proof(&commitment, sequence)?;
            Ok(VesProofAnswer {
                sequence_number: sequence,
                batch_id: commitment.batch_id,
                merkle_root: commitment.merkle_root,
                leaf_hash: proof.leaf,
                leaf_index: u64::from(proof.leaf_index),
                directions: (0..proof.path.len()).map(|step| proof.leaf_index >> step & 1 == 0).collect(),
                proof_path: proof.path,
                leaf_count: commitment.leaf_count,
            })
        })
        .await?;
    respond::json(&answer)
}

/// A path longer than this belongs to no tree.
const DEPTH_MAX: usize = 32;

/// `POST /api/v1/ves/proofs/verify`
pub(crate) async fn verify(mut call: Call) -> Reply {
    let request: VesVerifyRequest = call.json().await?;
    let node = |name: &'static str, text: &str| {
        let bytes = unhex::<32>(text).ok_or_else(|| ApiError::field(name, "must be 64 hexadecimal digits"));
        bytes.map(VesNode::from_bytes)
    };
    let leaf = node("leaf_hash", &request.leaf_hash)?;
    let root = node("merkle_root", &request.merkle_root)?;
    let path = request.proof_path.iter().map(|text| node("proof_path", text)).collect::<Result<Vec<_>, ApiError>>()?;
    let reason = check(leaf, root, &path, request.leaf_index, request.leaf_count).err();
    respond::json(&VesVerifyAnswer {
        valid: reason.is_none(),
        reason: reason.map(str::to_owned),
        leaf_hash: VesLeaf::from_bytes(*leaf.as_bytes()),
        merkle_root: root,
    })
}

/// Whether a path leads from a leaf at `index` to the root, and has the only length it can have.
fn check(leaf: VesNode, root: VesNode, path: &[VesNode], index: u64, count: Option<u32>) -> Result<(), &'static str> {
    if path.len() > DEPTH_MAX {
        return Err("proof_path is longer than any tree is deep");
    }
    // The padded tree of `count` leaves has the next power of two of them.
    if let Some(count) = count {
        let depth = u64::from(count).next_power_of_two().trailing_zeros();
        if count == 0 || index >= u64::from(count) {
            return Err("leaf_index is not below leaf_count");
        }
        if path.len() != depth as usize {
            return Err("proof_path does not have the length that leaf_count asks for");
        }
    }
    if index >> path.len() != 0 {
        return Err("leaf_index does not fit the length of proof_path");
    }
    let mut node = leaf;
    for (step, sibling) in path.iter().enumerate() {
        let is_left = index >> step & 1 == 0;
        node = if is_left { hash::ves_node(&node, sibling) } else { hash::ves_node(sibling, &node) };
    }
    if node == root { Ok(()) } else { Err("the path does not lead to the root") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_checked_for_its_hashes_its_length_and_its_index() {
        let node = |byte| VesNode::from_bytes([byte; 32]);
        let (a, b, c, pad) = (node(1), node(2), node(3), hash::ves_pad());
        let (left, right) = (hash::ves_node(&a, &b), hash::ves_node(&c, &pad));
        let root = hash::ves_node(&left, &right);
        let path = [pad, left];
        assert_eq!(check(c, root, &path, 2, Some(3)), Ok(()));
        assert_eq!(check(c, root, &path, 2, None), Ok(()));
        // The padding is no leaf of a commitment of three.
        assert!(check(pad, root, &[c, left], 3, Some(3)).is_err());
        // An inner node is no leaf: its path is too short.
        assert!(check(right, root, &[left], 1, Some(3)).is_err());
        for (index, count) in [(6, None), (6, Some(3)), (2, Some(2)), (2, Some(5)), (2, Some(0)), (1, Some(3))] {
            assert!(check(c, root, &path, index, count).is_err(), "{index} {count:?}");
        }
        assert!(check(a, root, &path, 2, Some(3)).is_err());
        assert_eq!(check(a, a, &[], 0, Some(1)), Ok(()));
        assert!(check(a, a, &[], 1, None).is_err());
        assert!(check(a, root, &vec![a; 33], 0, None).is_err());
        assert!(check(a, root, &vec![a; 64], 0, None).is_err());
    }
}
