// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What other contracts and the worker call on a `TallyAnchor`.
/// @notice Everything here is stable: a successor contract reads its predecessor through this interface.
interface ITallyAnchor {
    /// @notice The newest anchored state of a log. All zero before the first anchor.
    /// @param size leaves of the tree
    /// @param seq how many anchors the log had, counted from 1 and on through successor contracts
    /// @param blockTime when this head was accepted, in seconds since 1970
    /// @param epoch of the sequencer that anchored it; never falls
    /// @param root RFC 6962 root of the tree
    struct Head {
        uint64 size;
        uint64 seq;
        uint64 blockTime;
        uint32 epoch;
        bytes32 root;
    }

    /// @notice One anchor: a checkpoint, the proof that it extends the head, and the authority's word for it.
    /// @param logId SHA-256("TALLY_LOG_V1" | ledger id | "events" or "outcomes")
    /// @param size leaves of the new tree, more than the head's
    /// @param root RFC 6962 root of the new tree
    /// @param noteHash SHA-256 of the signed note as published; opaque here
    /// @param epoch not below the head's
    /// @param proof RFC 6962 consistency proof from the head; empty for the first anchor
    /// @param r first half of the authority's signature
    /// @param vs second half with the parity in its highest bit (EIP-2098)
    struct Anchor {
        bytes32 logId;
        uint64 size;
        bytes32 root;
        bytes32 noteHash;
        uint32 epoch;
        bytes32[] proof;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice A leaf's place in a tree, and the path to its root.
    struct Place {
        uint64 index;
        uint64 size;
        bytes32 root;
        bytes32[] proof;
    }

    /// @notice What has become of a log in this contract. States only move to the right, and the last two are final.
    enum LogState {
        Unknown,
        Open,
        Retired,
        Superseded
    }

    /// @notice A head was accepted. `prevSize` 0 with the zero root: the log's first.
    event Anchored(
        bytes32 indexed logId,
        uint64 indexed seq,
        uint64 size,
        bytes32 root,
        uint64 prevSize,
        bytes32 prevRoot,
        bytes32 noteHash,
        uint32 epoch
    );

    /// @notice Anchors one log. Only for its anchorers.
    function anchor(Anchor calldata a) external;

    /// @notice Anchors several, in this order, all or none.
    function anchorMany(Anchor[] calldata many) external;

    /// @notice The newest head; all zero for an unknown log or one that was never anchored.
    function headOf(bytes32 logId) external view returns (Head memory);

    /// @notice Whether the anchor `seq` of this log is remembered, was exactly this size and root, and is not disowned.
    function isKnown(bytes32 logId, uint64 seq, uint64 size, bytes32 root) external view returns (bool);

    /// @notice Whether `leafHash` is the leaf at `index` under the anchor `(seq, size, root)` of this log.
    /// @param leafHash SHA-256(0x00 | leaf): compute it from the leaf's bytes, never take it from whom it pays
    function verifyInclusion(
        bytes32 logId,
        uint64 seq,
        uint64 size,
        bytes32 root,
        bytes32 leafHash,
        uint64 index,
        bytes32[] calldata proof
    ) external view returns (bool);

    /// @notice The same over two levels: the leaf in a shard's log, the shard's checkpoint in the anchored log of checkpoints.
    /// @param logId the log of checkpoints
    /// @param seq its anchor, of `outer.size` and `outer.root`
    /// @param outer where the shard's checkpoint is in the log of checkpoints
    /// @param shardLogId the shard's own log id
    /// @param inner where the leaf is in the shard's log; `inner.size` and `inner.root` are the shard's checkpoint
    /// @param leafHash SHA-256(0x00 | leaf)
    function verifyInclusionNested(
        bytes32 logId,
        uint64 seq,
        Place calldata outer,
        bytes32 shardLogId,
        Place calldata inner,
        bytes32 leafHash
    ) external view returns (bool);

    /// @notice What has become of a log here.
    function stateOf(bytes32 logId) external view returns (LogState);

    /// @notice Where a log ended here, and where a successor may go on; all zero while it is open or unknown.
    function endOf(bytes32 logId) external view returns (uint64 seq, uint64 size, bytes32 root);

    /// @notice Whether this contract or one of its predecessors ever opened the log.
    function knowsLog(bytes32 logId) external view returns (bool);
}
