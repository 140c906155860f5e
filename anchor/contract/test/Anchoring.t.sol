// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITallyAnchor} from "../src/ITallyAnchor.sol";
import {TallyAnchor} from "../src/TallyAnchor.sol";
import {Base} from "./Base.sol";
import {Reference} from "./Reference.sol";

/// @notice What is anchored, what is refused, what is remembered.
contract AnchoringTest is Base {
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

    function test_an_anchor_moves_the_head_and_says_so() public {
        grow(5);
        ITallyAnchor.Anchor memory a = next(9);
        (bytes32 was, bytes32 is_) = (Reference.root(0, 5), Reference.root(0, 9));
        vm.warp(NOW + 60);
        vm.prank(ANCHORER);
        vm.expectEmit(address(target));
        emit Anchored(LOG, 2, 9, is_, 5, was, NOTE, 0);
        target.anchor(a);
        ITallyAnchor.Head memory head = target.headOf(LOG);
        same(head.size, 9, "size");
        same(head.seq, 2, "seq");
        same(head.blockTime, NOW + 60, "time");
        same(head.root, Reference.root(0, 9), "root");
        same(target.headOf(OTHER_LOG).seq, 0, "the other log stays");
    }

    // The four refusals of requirement S-139: another sender, a repeated batch, one out of order, a wrong previous root.

    function test_another_sender_is_refused() public {
        ITallyAnchor.Anchor memory a = next(3);
        address[4] memory others = [ADMIN, GUARDIAN, authority, STRANGER];
        for (uint256 i = 0; i < others.length; i++) {
            vm.prank(others[i]);
            vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NotAnchorer.selector));
            target.anchor(a);
        }
    }

    function test_a_repeated_anchor_is_refused() public {
        ITallyAnchor.Anchor memory a = next(3);
        send(a);
        refuse(a, abi.encodeWithSelector(TallyAnchor.SizeNotGrowing.selector, 3, 3));
    }

    function test_an_anchor_out_of_order_is_refused() public {
        grow(2);
        ITallyAnchor.Anchor memory late = next(5);
        grow(8);
        refuse(late, abi.encodeWithSelector(TallyAnchor.SizeNotGrowing.selector, 8, 5));
    }

    function test_a_wrong_previous_root_is_refused() public {
        grow(6);
        // Another history, with the right proof for its own beginning.
        refuse(anchorOf(target, LOG, 1, 6, 11), abi.encodeWithSelector(TallyAnchor.BadConsistency.selector));
        // A proof from another size of the same history.
        refuse(anchorOf(target, LOG, 0, 5, 11), abi.encodeWithSelector(TallyAnchor.BadConsistency.selector));
    }

    function test_the_same_size_with_another_root_is_refused() public {
        grow(6);
        refuse(anchorOf(target, LOG, 1, 6, 6), abi.encodeWithSelector(TallyAnchor.SizeNotGrowing.selector, 6, 6));
    }

    function test_a_first_anchor_takes_no_proof_and_has_leaves() public {
        ITallyAnchor.Anchor memory a = next(4);
        a.proof = new bytes32[](1);
        refuse(a, abi.encodeWithSelector(TallyAnchor.BadConsistency.selector));
        refuse(next(0), abi.encodeWithSelector(TallyAnchor.SizeNotGrowing.selector, 0, 0));
    }

    function test_a_proof_is_not_longer_than_any_tree_needs() public {
        grow(1);
        ITallyAnchor.Anchor memory a = next(2);
        a.proof = new bytes32[](66);
        refuse(a, abi.encodeWithSelector(TallyAnchor.ProofTooLong.selector, 66));
        a.proof = new bytes32[](65);
        refuse(a, abi.encodeWithSelector(TallyAnchor.BadConsistency.selector));
    }

    function test_an_unknown_log_is_refused() public {
        ITallyAnchor.Anchor memory a = anchorOf(target, keccak256("nobody's"), 0, 0, 1);
        refuse(a, abi.encodeWithSelector(TallyAnchor.UnknownLog.selector, a.logId));
    }

    function test_the_epoch_never_falls() public {
        ITallyAnchor.Anchor memory a = next(1);
        a.epoch = 7;
        signBy(target, a, AUTHORITY_KEY);
        send(a);
        a = next(2);
        a.epoch = 6;
        signBy(target, a, AUTHORITY_KEY);
        refuse(a, abi.encodeWithSelector(TallyAnchor.EpochFell.selector, 7, 6));
        grow(2);
        same(target.headOf(LOG).epoch, 7, "epoch");
    }

    function test_each_signed_field_is_bound() public {
        bytes memory bad = abi.encodeWithSelector(TallyAnchor.BadAuthority.selector);
        ITallyAnchor.Anchor memory a = next(3);
        a.noteHash = keccak256("another note");
        refuse(a, bad);
        a = next(3);
        a.epoch = 1;
        refuse(a, bad);
        a = next(3);
        a.size = 4;
        refuse(a, bad);
        a = next(3);
        a.root = Reference.root(1, 3);
        refuse(a, bad);
        a = next(3);
        a.logId = OTHER_LOG;
        refuse(a, bad);
        // For another contract, and for another chain.
        signBy(deploy(true), a = next(3), AUTHORITY_KEY);
        refuse(a, bad);
        vm.chainId(10);
        a = next(3);
        vm.chainId(31337);
        refuse(a, bad);
    }

    function test_what_is_no_signature_of_an_authority_is_refused() public {
        bytes memory bad = abi.encodeWithSelector(TallyAnchor.BadAuthority.selector);
        ITallyAnchor.Anchor memory a = next(3);
        signBy(target, a, NEXT_KEY);
        refuse(a, bad);
        (a.r, a.vs) = (0, 0);
        refuse(a, bad);
    }

    /// @dev Any (r, s) is a signature of whoever ecrecover names, so that whoever has a signature in the high form can be made
    /// an authority here: its high form is refused, and the same signature in the low form is taken.
    function test_the_high_form_of_a_signature_is_refused() public {
        uint256 n = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        uint256 high = n / 2 + 1;
        ITallyAnchor.Anchor memory a = next(3);
        address signer = ecrecover(target.anchorDigest(LOG, a.size, a.root, NOTE, 0), 27, a.r, bytes32(high));
        vm.prank(ADMIN);
        target.setAuthority(LOG, signer, true);
        a.vs = bytes32(high);
        refuse(a, abi.encodeWithSelector(TallyAnchor.BadAuthority.selector));
        a.vs = bytes32((n - high) | (1 << 255));
        send(a);
    }

    function test_several_logs_go_together_or_not_at_all() public {
        ITallyAnchor.Anchor[] memory both = new ITallyAnchor.Anchor[](2);
        both[0] = next(4);
        both[1] = anchorOf(target, OTHER_LOG, 5, 0, 4);
        vm.prank(ANCHORER);
        target.anchorMany(both);
        both[0] = next(8);
        both[1] = anchorOf(target, OTHER_LOG, 5, 0, 3);
        vm.prank(ANCHORER);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.SizeNotGrowing.selector, 4, 3));
        target.anchorMany(both);
        same(target.headOf(LOG).size, 4, "none moved");
        vm.prank(ANCHORER);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NothingGiven.selector));
        target.anchorMany(new ITallyAnchor.Anchor[](0));
    }

    function test_an_anchorer_of_one_log_cannot_move_another() public {
        bytes32 third = keccak256("third");
        vm.prank(ADMIN);
        target.openLog(third, authority, STRANGER);
        refuse(anchorOf(target, third, 0, 0, 1), abi.encodeWithSelector(TallyAnchor.NotAnchorer.selector));
        ITallyAnchor.Anchor[] memory both = new ITallyAnchor.Anchor[](2);
        both[0] = next(1);
        both[1] = anchorOf(target, third, 0, 0, 1);
        vm.prank(ANCHORER);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NotAnchorer.selector));
        target.anchorMany(both);
    }

    function test_keys_overlap_while_they_rotate_and_older_anchors_still_verify() public {
        grow(4);
        vm.startPrank(ADMIN);
        target.setAuthority(LOG, vm.addr(NEXT_KEY), true);
        target.setAnchorer(LOG, STRANGER, true);
        vm.stopPrank();
        // Both pairs work meanwhile.
        grow(6);
        ITallyAnchor.Anchor memory a = next(9);
        signBy(target, a, NEXT_KEY);
        vm.prank(STRANGER);
        target.anchor(a);
        vm.startPrank(ADMIN);
        target.setAuthority(LOG, authority, false);
        target.setAnchorer(LOG, ANCHORER, false);
        vm.stopPrank();
        a = next(12);
        refuse(a, abi.encodeWithSelector(TallyAnchor.NotAnchorer.selector));
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.BadAuthority.selector));
        target.anchor(a);
        signBy(target, a, NEXT_KEY);
        vm.prank(STRANGER);
        target.anchor(a);
        require(known(1, 4) && known(2, 6) && known(3, 9) && known(4, 12), "older anchors stay");
        bytes32[] memory proof = Reference.inclusion(0, 2, 4);
        require(target.verifyInclusion(LOG, 1, 4, Reference.root(0, 4), Reference.leaf(0, 2), 2, proof), "leaf");
    }

    function test_the_ring_remembers_256_anchors_and_one_a_day_for_ever() public {
        target = cheapTarget();
        for (uint64 size = 1; size <= 256; size++) cheaply(size);
        require(remembered(1, 1), "the first is in the ring");
        for (uint64 size = 257; size <= 300; size++) cheaply(size);
        require(remembered(1, 1), "and kept as the first of its day");
        require(!remembered(2, 2) && !remembered(44, 44), "older ones are forgotten");
        require(remembered(45, 45) && remembered(300, 300), "the last 256 are not");
        require(!remembered(44, 300), "a place in the ring belongs to its newest anchor alone");
        require(!remembered(45, 46) && !remembered(0, 0) && !remembered(301, 301), "and nothing else");
        // Seq 301 is the first of the next day: kept; 302 is not.
        vm.warp(NOW + 1 days);
        for (uint64 size = 301; size <= 600; size++) cheaply(size);
        require(remembered(301, 301) && !remembered(302, 302), "one a day");
    }

    /// @dev With a root out of the air: the cheap variant asks for no proof, and hashing 600 trees would take minutes here.
    function cheaply(uint64 size) private {
        ITallyAnchor.Anchor memory a;
        (a.logId, a.size, a.root) = (LOG, size, keccak256(abi.encode(size)));
        signBy(target, a, AUTHORITY_KEY);
        send(a);
    }

    function remembered(uint64 seq, uint64 size) private view returns (bool) {
        return target.isKnown(LOG, seq, size, keccak256(abi.encode(size)));
    }

    function cheapTarget() private returns (TallyAnchor cheap) {
        cheap = deploy(false);
        vm.prank(ADMIN);
        cheap.openLog(LOG, authority, ANCHORER);
    }

    function test_without_required_consistency_no_proof_is_taken_and_sizes_still_grow() public {
        target = cheapTarget();
        require(!target.REQUIRE_CONSISTENCY(), "variant");
        send(anchorOf(target, LOG, 0, 0, 5));
        refuse(anchorOf(target, LOG, 0, 5, 7), abi.encodeWithSelector(TallyAnchor.BadConsistency.selector));
        ITallyAnchor.Anchor memory a = anchorOf(target, LOG, 0, 0, 7);
        send(a);
        refuse(a, abi.encodeWithSelector(TallyAnchor.SizeNotGrowing.selector, 7, 7));
    }

    function test_inclusion_is_answered_for_known_anchors_only() public {
        grow(5);
        grow(9);
        bytes32 leaf = Reference.leaf(0, 3);
        bytes32[] memory proof = Reference.inclusion(0, 3, 9);
        bytes32 root = Reference.root(0, 9);
        require(target.verifyInclusion(LOG, 2, 9, root, leaf, 3, proof), "honest");
        require(!target.verifyInclusion(LOG, 1, 9, root, leaf, 3, proof), "other seq");
        require(!target.verifyInclusion(LOG, 3, 9, root, leaf, 3, proof), "future seq");
        require(!target.verifyInclusion(OTHER_LOG, 2, 9, root, leaf, 3, proof), "other log");
        require(!target.verifyInclusion(LOG, 2, 8, root, leaf, 3, proof), "other size");
        require(!target.verifyInclusion(LOG, 2, 9, root, leaf, 4, proof), "other place");
        bytes32 foreign = Reference.root(1, 9);
        bytes32[] memory theirs = Reference.inclusion(1, 3, 9);
        require(!target.verifyInclusion(LOG, 2, 9, foreign, Reference.leaf(1, 3), 3, theirs), "unanchored tree");
    }

    function test_inclusion_over_two_levels_needs_both() public {
        // A log of checkpoints of three shards; the middle one is a tree of 6 leaves.
        ITallyAnchor.Place memory inner =
            ITallyAnchor.Place(4, 6, Reference.root(3, 6), Reference.inclusion(3, 4, 6));
        bytes32 shard = keccak256("shard");
        bytes32[3] memory leaves =
            [bytes32(uint256(1)), target.shardLeafHash(shard, 6, inner.root), bytes32(uint256(3))];
        bytes32 root = Reference.node(Reference.node(leaves[0], leaves[1]), leaves[2]);
        ITallyAnchor.Anchor memory a = next(3);
        a.root = root;
        signBy(target, a, AUTHORITY_KEY);
        send(a);
        bytes32[] memory up = Reference.append(Reference.append(new bytes32[](0), leaves[0]), leaves[2]);
        ITallyAnchor.Place memory outer = ITallyAnchor.Place(1, 3, root, up);
        bytes32 leaf = Reference.leaf(3, 4);
        require(target.verifyInclusionNested(LOG, 1, outer, shard, inner, leaf), "honest");
        require(!target.verifyInclusionNested(LOG, 1, outer, LOG, inner, leaf), "other shard");
        require(!target.verifyInclusionNested(LOG, 1, outer, shard, inner, Reference.leaf(3, 5)), "other leaf");
        inner.size = 7;
        require(!target.verifyInclusionNested(LOG, 1, outer, shard, inner, leaf), "other inner size");
        inner.size = 6;
        outer.index = 0;
        require(!target.verifyInclusionNested(LOG, 1, outer, shard, inner, leaf), "other outer place");
    }

    function test_pausing_stops_anchoring_and_no_view() public {
        grow(5);
        ITallyAnchor.Anchor memory a = next(6);
        bytes32[] memory proof = Reference.inclusion(0, 3, 5);
        vm.prank(GUARDIAN);
        target.pause();
        refuse(a, abi.encodeWithSelector(TallyAnchor.Paused.selector));
        ITallyAnchor.Anchor[] memory one = new ITallyAnchor.Anchor[](1);
        one[0] = a;
        vm.prank(ANCHORER);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.Paused.selector));
        target.anchorMany(one);
        require(known(1, 5) && target.headOf(LOG).size == 5, "head");
        require(target.verifyInclusion(LOG, 1, 5, Reference.root(0, 5), Reference.leaf(0, 3), 3, proof), "leaf");
        vm.prank(ADMIN);
        target.unpause();
        send(a);
    }

    function test_a_log_is_opened_once() public {
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.LogExists.selector, LOG));
        target.openLog(LOG, authority, ANCHORER);
    }

    function test_the_contract_holds_no_ether_and_has_no_hidden_door() public {
        vm.deal(address(this), 1 ether);
        (bool paid,) = address(target).call{value: 1}("");
        (bool unknown,) = address(target).call(hex"12345678");
        require(!paid && !unknown, "no fallback, no receive");
    }
}
