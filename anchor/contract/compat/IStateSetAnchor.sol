// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The public interface of the reference sequencer's anchor contract, as far as Tally calls it.
/// @notice Written from its ABI, so that a deployed one can be fed while its users move. What it does not protect against is in
/// anchor/contract/README.md, "The reference's contract".
interface IStateSetAnchor {
    event CommitmentAnchored(
        bytes32 indexed batchId,
        bytes32 indexed tenantId,
        bytes32 storeId,
        bytes32 eventsRoot,
        bytes32 stateRoot,
        uint64 sequenceStart,
        uint64 sequenceEnd,
        uint32 eventCount,
        uint256 timestamp
    );

    /// @notice Records a batch once. Sequences are inclusive, `eventCount` is above 0.
    function anchor(
        bytes32 batchId,
        bytes32 tenantId,
        bytes32 storeId,
        bytes32 eventsRoot,
        bytes32 stateRoot,
        uint64 sequenceStart,
        uint64 sequenceEnd,
        uint32 eventCount
    ) external;

    /// @notice Whether anything was recorded under this id. It says nothing about the root: ask `verifyEventsRoot`.
    function isAnchored(bytes32 batchId) external view returns (bool);

    /// @notice Whether this root was recorded under this id.
    function verifyEventsRoot(bytes32 batchId, bytes32 eventsRoot) external view returns (bool);

    /// @notice The highest `sequenceEnd` recorded for a tenant and store; gaps below it are not seen.
    function getLatestSequence(bytes32 tenantId, bytes32 storeId) external view returns (uint64);

    function owner() external view returns (address);

    function permissionless() external view returns (bool);
}
