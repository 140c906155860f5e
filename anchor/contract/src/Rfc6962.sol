// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Whether a proof in an RFC 6962 tree proves.
/// @notice Takes what was claimed and the root that is believed, gives yes or no. Indexes, sizes and proofs are untrusted and
/// may be anything: the length of a path is fixed by index and size, and a path that is too short, too long or permuted is "no".
/// A root does not bind its size: believe the two only together.
/// @dev The walks are those of RFC 9162 sections 2.1.3.2 and 2.1.4.2 (the same trees as RFC 6962): first the steps where the
/// tree still goes on to the right of the leaf (`fn != sn`), then the right border, where all siblings are on the left.
/// Hashes go through the SHA-256 precompile (address 2): `SHA-256(0x01 | left | right)`, 65 bytes in memory as
/// `[left-1] = 0x01, [left..] = left, [left+32..] = right`; the answer goes to scratch space at 0. A failed call leaves no answer,
/// so success is collected in `ok` and decides together with the roots.
library Rfc6962 {
    /// @notice SHA-256 of nothing: the root of the empty tree.
    bytes32 internal constant EMPTY_ROOT = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855;

    /// @notice The longest proof any two 64-bit sizes can need: 64 steps, and for consistency the node where the walk starts.
    uint256 internal constant PROOF_MAX = 65;

    /// @notice `SHA-256(0x00 | data)`: the hash of a leaf with this content.
    function leafHash(bytes memory data) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), data));
    }

    /// @notice Whether `leaf` is at `index` in the tree of `size` leaves with this `root`.
    function includes(bytes32 leaf, uint64 index, uint64 size, bytes32 root, bytes32[] calldata proof)
        internal
        view
        returns (bool proven)
    {
        if (index >= size || proof.length > PROOF_MAX) return false;
        // Full words: assembly must not meet the unused bits of a shorter number.
        (uint256 fn, uint256 sn) = (index, uint256(size) - 1);
        assembly ("memory-safe") {
            let left := add(mload(0x40), 32)
            mstore(sub(left, 32), 1)
            let at := proof.offset
            let end := add(at, shl(5, proof.length))
            let ok := 1
            let hash := leaf
            for {} and(xor(fn, sn), sub(0, ok)) {
                fn := shr(1, fn)
                sn := shr(1, sn)
            } {
                // An odd place has its sibling on the left, so the hash goes to the right.
                let side := shl(5, and(fn, 1))
                mstore(add(left, side), hash)
                mstore(add(left, sub(32, side)), calldataload(at))
                ok := and(lt(at, end), staticcall(gas(), 2, sub(left, 1), 65, 0, 32))
                hash := mload(0)
                at := add(at, 32)
            }
            for {} and(fn, sub(0, ok)) { fn := shr(1, fn) } {
                if and(fn, 1) {
                    mstore(left, calldataload(at))
                    mstore(add(left, 32), hash)
                    ok := and(lt(at, end), staticcall(gas(), 2, sub(left, 1), 65, 0, 32))
                    hash := mload(0)
                    at := add(at, 32)
                }
            }
            proven := and(ok, and(eq(at, end), eq(hash, root)))
        }
    }

    /// @notice Whether the tree of `newSize` and `newRoot` begins with the tree of `oldSize` and `oldRoot`.
    /// @dev The empty tree begins every tree, with an empty proof; nothing is then said about `newRoot`.
    function extends(uint64 oldSize, bytes32 oldRoot, uint64 newSize, bytes32 newRoot, bytes32[] calldata proof)
        internal
        view
        returns (bool)
    {
        if (oldSize > newSize || proof.length > PROOF_MAX) return false;
        if (oldSize == 0) return proof.length == 0 && oldRoot == EMPTY_ROOT;
        if (oldSize == newSize) return proof.length == 0 && oldRoot == newRoot;
        // Full words: assembly must not meet the unused bits of a shorter number.
        return _extends(uint256(oldSize) - 1, uint256(newSize) - 1, oldRoot, newRoot, proof);
    }

    /// @dev For sizes above 0 that differ. `fn` and `sn` are the places of the last leaf of the old and of the new tree; the walk
    /// starts at the old tree's smallest perfect subtree, which is the whole old tree when its size is a power of two and the
    /// first hash of the proof otherwise. `was` and `now_` climb together; what is on the right did not exist yet for `was`.
    function _extends(uint256 fn, uint256 sn, bytes32 oldRoot, bytes32 newRoot, bytes32[] calldata proof)
        private
        view
        returns (bool proven)
    {
        assembly ("memory-safe") {
            let left := add(mload(0x40), 32)
            mstore(sub(left, 32), 1)
            let at := proof.offset
            let end := add(at, shl(5, proof.length))
            let ok := 1
            for {} and(fn, 1) {} {
                fn := shr(1, fn)
                sn := shr(1, sn)
            }
            let was := oldRoot
            if fn {
                was := calldataload(at)
                ok := lt(at, end)
                at := add(at, 32)
            }
            let now_ := was
            for {} and(xor(fn, sn), sub(0, ok)) {
                fn := shr(1, fn)
                sn := shr(1, sn)
            } {
                ok := lt(at, end)
                switch and(fn, 1)
                case 1 {
                    mstore(left, calldataload(at))
                    mstore(add(left, 32), was)
                    ok := and(ok, staticcall(gas(), 2, sub(left, 1), 65, 0, 32))
                    was := mload(0)
                    mstore(add(left, 32), now_)
                }
                default {
                    mstore(left, now_)
                    mstore(add(left, 32), calldataload(at))
                }
                ok := and(ok, staticcall(gas(), 2, sub(left, 1), 65, 0, 32))
                now_ := mload(0)
                at := add(at, 32)
            }
            for {} and(fn, sub(0, ok)) { fn := shr(1, fn) } {
                if and(fn, 1) {
                    mstore(left, calldataload(at))
                    mstore(add(left, 32), was)
                    ok := and(lt(at, end), staticcall(gas(), 2, sub(left, 1), 65, 0, 32))
                    was := mload(0)
                    mstore(add(left, 32), now_)
                    ok := and(ok, staticcall(gas(), 2, sub(left, 1), 65, 0, 32))
                    now_ := mload(0)
                    at := add(at, 32)
                }
            }
            proven := and(and(ok, eq(at, end)), and(eq(was, oldRoot), eq(now_, newRoot)))
        }
    }
}
