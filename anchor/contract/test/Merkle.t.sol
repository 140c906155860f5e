// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Rfc6962} from "../src/Rfc6962.sol";
import {Base} from "./Base.sol";
import {Reference} from "./Reference.sol";

/// @notice Lets a test call the library with calldata.
contract Judge {
    function includes(bytes32 leaf, uint64 index, uint64 size, bytes32 root, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        return Rfc6962.includes(leaf, index, size, root, proof);
    }

    function extends(uint64 oldSize, bytes32 oldRoot, uint64 newSize, bytes32 newRoot, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        return Rfc6962.extends(oldSize, oldRoot, newSize, newRoot, proof);
    }
}

/// @notice The library accepts exactly what RFC 6962 says, and what `sdk/merkle` accepts.
contract MerkleTest is Base {
    /// @dev Fields in the order of their names, as forge reads JSON.
    struct Inclusion {
        uint64 index;
        bytes32 leaf;
        bytes32[] proof;
        bytes32 root;
        uint64 size;
        bool verdict;
    }

    struct Consistency {
        uint64 newSize;
        bytes32 newRoot;
        uint64 oldSize;
        bytes32 oldRoot;
        bytes32[] proof;
        bool verdict;
    }

    Judge internal judge;

    function setUp() public override {
        judge = new Judge();
    }

    function test_every_leaf_of_every_small_tree_is_included_at_its_own_place_only() public view {
        for (uint64 size = 1; size <= 18; size++) {
            bytes32 root = Reference.root(0, size);
            for (uint64 index = 0; index < size; index++) {
                bytes32[] memory proof = Reference.inclusion(0, index, size);
                bytes32 leaf = Reference.leaf(0, index);
                for (uint64 claimed = 0; claimed <= size; claimed++) {
                    require(judge.includes(leaf, claimed, size, root, proof) == (claimed == index), "place");
                }
            }
        }
    }

    function test_every_small_tree_extends_exactly_its_beginnings() public view {
        for (uint64 size = 1; size <= 18; size++) {
            for (uint64 old = 0; old <= size; old++) {
                bytes32[] memory proof = Reference.consistency(0, old, size);
                bytes32 was = Reference.root(0, old);
                bytes32 is_ = Reference.root(0, size);
                require(judge.extends(old, was, size, is_, proof), "honest");
                require(!judge.extends(old, Reference.root(1, old == 0 ? 1 : old), size, is_, proof), "other past");
                if (old > 0) require(!judge.extends(old, was, size, Reference.root(1, size), proof), "other future");
                if (old < size) require(!judge.extends(size, is_, old, was, proof), "backwards");
            }
        }
    }

    function testFuzz_a_changed_proof_of_inclusion_is_refused(uint64 size, uint64 index, uint256 how, bytes32 junk)
        public
        view
    {
        size = size % 200 + 1;
        index %= size;
        bytes32[] memory proof = Reference.inclusion(7, index, size);
        bytes32 root = Reference.root(7, size);
        bytes32 leaf = Reference.leaf(7, index);
        require(judge.includes(leaf, index, size, root, proof), "honest");
        (bytes32[] memory bad, bool changed) = mutate(proof, how, junk);
        require(judge.includes(leaf, index, size, root, bad) == !changed, "changed");
        require(!judge.includes(junk, index, size, root, proof), "other leaf");
        require(!judge.includes(leaf, index, size, junk, proof), "other root");
        require(!judge.includes(leaf, size, size, root, proof), "beyond");
    }

    function testFuzz_a_changed_proof_of_consistency_is_refused(uint64 size, uint64 old, uint256 how, bytes32 junk)
        public
        view
    {
        size = size % 200 + 2;
        old = old % (size - 1) + 1;
        bytes32[] memory proof = Reference.consistency(7, old, size);
        (bytes32 was, bytes32 is_) = (Reference.root(7, old), Reference.root(7, size));
        require(judge.extends(old, was, size, is_, proof), "honest");
        (bytes32[] memory bad, bool changed) = mutate(proof, how, junk);
        require(judge.extends(old, was, size, is_, bad) == !changed, "changed");
        require(!judge.extends(old, junk, size, is_, proof), "other past");
        require(!judge.extends(old, was, size, junk, proof), "other future");
    }

    /// @dev Anything at all must be answered, without a revert and without unbounded work.
    function testFuzz_garbage_is_answered_with_no(uint64 a, uint64 b, bytes32 x, bytes32 y, bytes32[] memory proof)
        public
        view
    {
        vm.assume(x != y);
        require(!judge.includes(x, a, b, y, proof), "inclusion");
        require(!judge.extends(a, x, b, y, proof), "consistency");
    }

    function test_a_proof_of_the_longest_length_is_judged_and_a_longer_one_refused() public view {
        // All 64 steps of the first leaf of the largest tree; the siblings are arbitrary, the root follows from them.
        bytes32[] memory proof = new bytes32[](64);
        bytes32 hash = Reference.leaf(0, 0);
        for (uint256 i = 0; i < 64; i++) {
            proof[i] = keccak256(abi.encode(i));
            hash = Reference.node(hash, proof[i]);
        }
        require(judge.includes(Reference.leaf(0, 0), 0, type(uint64).max, hash, proof), "64 steps");
        require(!judge.includes(Reference.leaf(0, 0), 0, type(uint64).max, hash, Reference.append(proof, hash)), "65");
        require(!judge.includes(Reference.leaf(0, 0), 0, type(uint64).max, hash, new bytes32[](1000)), "1000");
    }

    function test_inclusion_is_judged_as_by_the_rust_verifier() public view {
        string memory json = vm.readFile("test/vectors/merkle.json");
        string memory shape =
            "Inclusion(uint64 index,bytes32 leaf,bytes32[] proof,bytes32 root,uint64 size,bool verdict)";
        Inclusion[] memory all = abi.decode(vm.parseJsonTypeArray(json, ".inclusion", shape), (Inclusion[]));
        uint256 yes;
        for (uint256 i = 0; i < all.length; i++) {
            Inclusion memory one = all[i];
            require(judge.includes(one.leaf, one.index, one.size, one.root, one.proof) == one.verdict, "verdict");
            if (one.verdict) yes++;
        }
        require(yes > 50 && all.length > 4 * yes, "too few vectors");
    }

    function test_consistency_is_judged_as_by_the_rust_verifier() public view {
        string memory json = vm.readFile("test/vectors/merkle.json");
        string memory shape =
            "Consistency(uint64 newSize,bytes32 newRoot,uint64 oldSize,bytes32 oldRoot,bytes32[] proof,bool verdict)";
        Consistency[] memory all = abi.decode(vm.parseJsonTypeArray(json, ".consistency", shape), (Consistency[]));
        uint256 yes;
        for (uint256 i = 0; i < all.length; i++) {
            Consistency memory one = all[i];
            bool verdict = judge.extends(one.oldSize, one.oldRoot, one.newSize, one.newRoot, one.proof);
            require(verdict == one.verdict, "verdict");
            if (one.verdict) yes++;
        }
        require(yes > 50 && all.length > 3 * yes, "too few vectors");
    }

    /// @dev Short, long, swapped, one bit flipped; says whether the proof is another one now.
    function mutate(bytes32[] memory proof, uint256 how, bytes32 junk)
        private
        pure
        returns (bytes32[] memory bad, bool changed)
    {
        uint256 spot = proof.length == 0 ? 0 : (how >> 8) % proof.length;
        if (how % 5 == 0 || proof.length == 0) return (Reference.append(proof, junk), true);
        bad = new bytes32[](how % 5 == 1 ? proof.length - 1 : proof.length);
        for (uint256 i = 0; i < bad.length; i++) bad[i] = proof[i];
        if (how % 5 == 1) return (bad, true);
        if (how % 5 == 2) {
            bad[spot] ^= bytes32(uint256(1) << ((how >> 16) % 256));
            return (bad, true);
        }
        if (how % 5 == 3) {
            uint256 other = (how >> 32) % proof.length;
            (bad[spot], bad[other]) = (bad[other], bad[spot]);
            return (bad, bad[spot] != proof[spot]);
        }
        bad[spot] = junk;
        return (bad, junk != proof[spot]);
    }
}
