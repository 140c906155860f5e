// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice RFC 6962 section 2.1 as it is written: recursive, slow, and sharing nothing with what it judges.
/// Leaf `i` of tree `seed` has the content `keccak(seed, i)`.
library Reference {
    function leaf(uint256 seed, uint256 i) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), keccak256(abi.encode(seed, i))));
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
    }

    function root(uint256 seed, uint256 size) internal pure returns (bytes32) {
        return size == 0 ? sha256("") : mth(seed, 0, size);
    }

    /// @dev MTH(D[from:from + n])
    function mth(uint256 seed, uint256 from, uint256 n) internal pure returns (bytes32) {
        if (n == 1) return leaf(seed, from);
        uint256 k = split(n);
        return node(mth(seed, from, k), mth(seed, from + k, n - k));
    }

    /// @dev The largest power of two below n.
    function split(uint256 n) internal pure returns (uint256 k) {
        k = 1;
        while (2 * k < n) k *= 2;
    }

    /// @dev PATH(m, D[0:n])
    function inclusion(uint256 seed, uint256 m, uint256 n) internal pure returns (bytes32[] memory) {
        return path(seed, m, 0, n);
    }

    function path(uint256 seed, uint256 m, uint256 from, uint256 n) private pure returns (bytes32[] memory) {
        if (n == 1) return new bytes32[](0);
        uint256 k = split(n);
        return m < k
            ? append(path(seed, m, from, k), mth(seed, from + k, n - k))
            : append(path(seed, m - k, from + k, n - k), mth(seed, from, k));
    }

    /// @dev PROOF(m, D[0:n]); empty for m = 0 and m = n.
    function consistency(uint256 seed, uint256 m, uint256 n) internal pure returns (bytes32[] memory) {
        return m == 0 || m == n ? new bytes32[](0) : subproof(seed, m, 0, n, true);
    }

    function subproof(uint256 seed, uint256 m, uint256 from, uint256 n, bool whole)
        private
        pure
        returns (bytes32[] memory)
    {
        if (m == n) return whole ? new bytes32[](0) : append(new bytes32[](0), mth(seed, from, n));
        uint256 k = split(n);
        return m <= k
            ? append(subproof(seed, m, from, k, whole), mth(seed, from + k, n - k))
            : append(subproof(seed, m - k, from + k, n - k, false), mth(seed, from, k));
    }

    function append(bytes32[] memory list, bytes32 last) internal pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; i++) longer[i] = list[i];
        longer[list.length] = last;
    }
}
