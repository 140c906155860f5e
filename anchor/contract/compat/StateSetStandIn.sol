// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStateSetAnchor} from "./IStateSetAnchor.sol";

/// @title For tests only: answers `IStateSetAnchor` as the reference's contract does, with its weaknesses.
/// @notice Never deploy it: it accepts any root from its owner, and takes no proof.
contract StateSetStandIn is IStateSetAnchor {
    mapping(bytes32 batchId => bytes32) private _roots;
    mapping(bytes32 batchId => bool) public isAnchored;
    mapping(bytes32 tenantId => mapping(bytes32 storeId => uint64)) public getLatestSequence;
    address public owner;
    bool public permissionless;

    constructor(bool permissionless_) {
        (owner, permissionless) = (msg.sender, permissionless_);
    }

    function anchor(
        bytes32 batchId,
        bytes32 tenantId,
        bytes32 storeId,
        bytes32 eventsRoot,
        bytes32 stateRoot,
        uint64 sequenceStart,
        uint64 sequenceEnd,
        uint32 eventCount
    ) external {
        require(permissionless || msg.sender == owner, "Not authorized");
        require(!isAnchored[batchId], "Already anchored");
        require(sequenceEnd >= sequenceStart, "Invalid sequence range");
        require(eventCount > 0, "Empty batch");
        (_roots[batchId], isAnchored[batchId]) = (eventsRoot, true);
        if (sequenceEnd > getLatestSequence[tenantId][storeId]) getLatestSequence[tenantId][storeId] = sequenceEnd;
        emit CommitmentAnchored(
            batchId, tenantId, storeId, eventsRoot, stateRoot, sequenceStart, sequenceEnd, eventCount, block.timestamp
        );
    }

    function verifyEventsRoot(bytes32 batchId, bytes32 eventsRoot) external view returns (bool) {
        return isAnchored[batchId] && _roots[batchId] == eventsRoot;
    }
}
