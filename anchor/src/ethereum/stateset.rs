//! The ABI of the VES reference's anchor contract.

use alloy_primitives::B256;
use alloy_sol_types::{SolCall as _, sol};

sol! {
    function anchor(bytes32 batchId, bytes32 tenantId, bytes32 storeId, bytes32 eventsRoot, bytes32 stateRoot, uint64 sequenceStart, uint64 sequenceEnd, uint32 eventCount) external;
    function isAnchored(bytes32 batchId) external view returns (bool);
}

/// `anchor`: batch, tenant and store; events root; state root; first and last sequence; count.
pub(crate) fn encode(
    [batch, tenant, store]: [[u8; 32]; 3],
    events_root: [u8; 32],
    state_root: [u8; 32],
    [first, last]: [u64; 2],
    count: u32,
) -> Vec<u8> {
    anchorCall {
        batchId: B256::from(batch),
        tenantId: B256::from(tenant),
        storeId: B256::from(store),
        eventsRoot: B256::from(events_root),
        stateRoot: B256::from(state_root),
        sequenceStart: first,
        sequenceEnd: last,
        eventCount: count,
    }
    .abi_encode()
}

/// `isAnchored`.
pub(crate) fn encode_is_anchored(batch: [u8; 32]) -> Vec<u8> {
    isAnchoredCall { batchId: B256::from(batch) }.abi_encode()
}
