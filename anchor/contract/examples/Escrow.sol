// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITallyAnchor} from "../src/ITallyAnchor.sol";

/// @title An example: pays the seller when the log holds the event that was agreed on, else gives the buyer back.
/// @notice The event is "this agent's key, in this stream, said this about this entity", for example that the carrier's key said
/// `Delivered` about order 17. Read it as the shortest correct way to act on an event, not as an escrow to deploy.
///
/// @dev Two texts are proven, from the inside out. The *preimage* is what the agent signed (docs/formats/frame.md); its SHA-256 is
/// the signing hash in the *entry* (docs/formats/entry.md); the entry's bytes are the log's leaf; the leaf is in the anchored tree.
/// What the chain cannot check is the agent's Ed25519 signature itself: that the log took only good ones is what its operator and
/// its auditors vouch for. An escrow that may not rely on that needs the signature checked elsewhere too.
contract Escrow {
    error Settled();
    error WrongLeaf();
    error WrongEvent();
    error NotAnchored();
    error TooEarly();
    error NotPaid();

    ITallyAnchor public immutable ANCHOR;
    bytes32 public immutable LOG_ID;
    address public immutable BUYER;
    address payable public immutable SELLER;
    uint256 public immutable DEADLINE;
    /// @notice The Ed25519 key whose word counts.
    bytes32 public immutable AGENT_KEY;
    /// @notice Tenant and store, 16 bytes each.
    bytes32 public immutable STREAM;
    /// @notice keccak256 and length of the strings entity type, entity id, event type, each behind its u32 length.
    bytes32 public immutable WHAT;
    uint256 public immutable WHAT_LENGTH;

    bool public settled;

    constructor(
        ITallyAnchor anchor,
        bytes32 logId,
        address payable seller,
        uint256 deadline,
        bytes32 agentKey,
        bytes32 stream,
        bytes memory what
    ) payable {
        (ANCHOR, LOG_ID, BUYER, SELLER, DEADLINE) = (anchor, logId, msg.sender, seller, deadline);
        (AGENT_KEY, STREAM, WHAT, WHAT_LENGTH) = (agentKey, stream, keccak256(what), what.length);
    }

    /// @notice Pays the seller. Anybody may bring the proof.
    function release(
        bytes calldata preimage,
        bytes calldata entry,
        uint64 seq,
        ITallyAnchor.Place calldata place
    ) external {
        if (settled) revert Settled();
        _requireAgreed(preimage, entry);
        // The hash is of the bytes given here: a leaf hash taken from a caller says nothing about content.
        bytes32 leafHash = sha256(abi.encodePacked(bytes1(0x00), entry));
        bool proven =
            ANCHOR.verifyInclusion(LOG_ID, seq, place.size, place.root, leafHash, place.index, place.proof);
        if (!proven) revert NotAnchored();
        _settle(SELLER);
    }

    /// @notice Gives back after the deadline.
    function refund() external {
        if (settled) revert Settled();
        if (block.timestamp <= DEADLINE) revert TooEarly();
        _settle(payable(BUYER));
    }

    /// @dev Entry: tag and kind at 0, stream at 15, signing hash at 55, agent key at 151. Preimage: the strings begin at 87.
    function _requireAgreed(bytes calldata preimage, bytes calldata entry) private view {
        if (entry.length != 191 || bytes15(entry[:15]) != bytes15("TALLY_ENTRY_V1\x01")) revert WrongLeaf();
        if (bytes32(entry[55:87]) != sha256(preimage)) revert WrongEvent();
        if (bytes32(entry[15:47]) != STREAM || bytes32(entry[151:183]) != AGENT_KEY) revert WrongEvent();
        if (preimage.length < 87 + WHAT_LENGTH) revert WrongEvent();
        if (keccak256(preimage[87:87 + WHAT_LENGTH]) != WHAT) revert WrongEvent();
    }

    /// @dev Settled before paying: whoever is paid may call back.
    function _settle(address payable to) private {
        settled = true;
        (bool paid,) = to.call{value: address(this).balance}("");
        if (!paid) revert NotPaid();
    }
}
