// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITallyAnchor} from "../src/ITallyAnchor.sol";
import {TallyAnchor} from "../src/TallyAnchor.sol";
import {Base} from "./Base.sol";
import {Reference} from "./Reference.sol";

/// @notice How a log ends here, and goes on in a successor.
contract SuccessionTest is Base {
    /// @dev The address of NEXT_KEY.
    address private next_;

    function setUp() public override {
        super.setUp();
        next_ = vm.addr(NEXT_KEY);
        grow(3);
        grow(5);
        grow(8);
        grow(13);
    }

    function propose(uint64 seq, uint64 size) private {
        bytes32 root = Reference.root(0, size);
        vm.prank(ADMIN);
        target.proposeSupersession(LOG, seq, size, root);
    }

    function supersedeAt(uint64 seq, uint64 size) private {
        propose(seq, size);
        vm.warp(NOW + DELAY);
        vm.prank(ADMIN);
        target.supersede(LOG);
    }

    function retire() private {
        vm.prank(ADMIN);
        target.retireLog(LOG);
    }

    function startAt(uint64 seq, uint64 size) private view returns (TallyAnchor.Start memory) {
        return TallyAnchor.Start(LOG, seq, size, Reference.root(0, size), next_, STRANGER);
    }

    function successor(TallyAnchor.Start[] memory starts) private returns (TallyAnchor) {
        return this.born(ADMIN, DELAY, address(target), starts);
    }

    function one(TallyAnchor.Start memory start) private pure returns (TallyAnchor.Start[] memory starts) {
        starts = new TallyAnchor.Start[](1);
        starts[0] = start;
    }

    function test_a_supersession_waits_for_its_delay_and_does_not_wait_for_ever() public {
        propose(2, 5);
        vm.startPrank(ADMIN);
        vm.warp(NOW + DELAY - 1);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.TooEarly.selector, NOW + DELAY));
        target.supersede(LOG);
        vm.warp(NOW + DELAY + 14 days + 1);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.TooLate.selector, NOW + DELAY + 14 days));
        target.supersede(LOG);
        vm.warp(NOW + DELAY + 14 days);
        target.supersede(LOG);
        vm.stopPrank();
        require(target.stateOf(LOG) == ITallyAnchor.LogState.Superseded, "state");
    }

    function test_a_cancelled_supersession_does_nothing() public {
        propose(2, 5);
        vm.startPrank(ADMIN);
        target.cancelSupersession(LOG);
        vm.warp(NOW + DELAY);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NoProposal.selector, LOG));
        target.supersede(LOG);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NoProposal.selector, LOG));
        target.cancelSupersession(LOG);
        vm.stopPrank();
        grow(14);
    }

    function test_only_an_earlier_anchor_that_was_made_can_be_named() public {
        bytes32 root = Reference.root(0, 13);
        vm.startPrank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NotEarlier.selector, 4, 4));
        target.proposeSupersession(LOG, 4, 13, root);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NotEarlier.selector, 4, 5));
        target.proposeSupersession(LOG, 5, 14, root);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.UnknownAnchor.selector, LOG, 2));
        target.proposeSupersession(LOG, 2, 6, root);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.UnknownAnchor.selector, LOG, 0));
        target.proposeSupersession(LOG, 0, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.UnknownLog.selector, NOTE));
        target.proposeSupersession(NOTE, 1, 1, root);
        vm.stopPrank();
    }

    function test_anchoring_goes_on_until_a_log_is_superseded_and_then_never_again() public {
        propose(2, 5);
        grow(20);
        vm.warp(NOW + DELAY);
        vm.prank(ADMIN);
        target.supersede(LOG);
        refuse(next(21), abi.encodeWithSelector(TallyAnchor.LogEnded.selector, LOG));
        bytes memory ended = abi.encodeWithSelector(TallyAnchor.LogEnded.selector, LOG);
        bytes32 root = Reference.root(0, 3);
        vm.startPrank(ADMIN);
        vm.expectRevert(ended);
        target.retireLog(LOG);
        vm.expectRevert(ended);
        target.supersede(LOG);
        vm.expectRevert(ended);
        target.proposeSupersession(LOG, 1, 3, root);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.LogExists.selector, LOG));
        target.openLog(LOG, authority, ANCHORER);
        vm.stopPrank();
    }

    function test_a_superseded_log_keeps_its_head_and_disowns_what_came_after_the_named_anchor() public {
        supersedeAt(2, 5);
        ITallyAnchor.Head memory head = target.headOf(LOG);
        require(head.size == 13 && head.seq == 4 && head.root == Reference.root(0, 13), "the head stays");
        require(known(1, 3) && known(2, 5) && !known(3, 8) && !known(4, 13), "known up to the end");
        bytes32 leaf = Reference.leaf(0, 4);
        require(target.verifyInclusion(LOG, 2, 5, Reference.root(0, 5), leaf, 4, Reference.inclusion(0, 4, 5)), "end");
        require(
            !target.verifyInclusion(LOG, 4, 13, Reference.root(0, 13), leaf, 4, Reference.inclusion(0, 4, 13)), "tail"
        );
        (uint64 seq, uint64 size, bytes32 root) = target.endOf(LOG);
        require(seq == 2 && size == 5 && root == Reference.root(0, 5), "end");
    }

    function test_a_retired_log_disowns_nothing_and_never_moves_again() public {
        propose(2, 5);
        retire();
        require(known(1, 3) && known(4, 13), "known");
        refuse(next(14), abi.encodeWithSelector(TallyAnchor.LogEnded.selector, LOG));
        vm.warp(NOW + DELAY);
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.LogEnded.selector, LOG));
        target.supersede(LOG);
    }

    function test_a_log_without_anchors_cannot_be_retired() public {
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.UnknownAnchor.selector, OTHER_LOG, 0));
        target.retireLog(OTHER_LOG);
    }

    function test_a_successor_goes_on_from_a_retired_head() public {
        retire();
        TallyAnchor later = successor(one(startAt(4, 13)));
        require(address(later.PREDECESSOR()) == address(target), "names its predecessor");
        ITallyAnchor.Head memory head = later.headOf(LOG);
        require(head.size == 13 && head.seq == 5 && head.root == Reference.root(0, 13), "head");
        require(later.isKnown(LOG, 5, 13, Reference.root(0, 13)), "known");
        ITallyAnchor.Anchor memory a = anchorOf(later, LOG, 0, 13, 21);
        signBy(later, a, NEXT_KEY);
        vm.prank(STRANGER);
        later.anchor(a);
        same(later.headOf(LOG).seq, 6, "seq goes on");
    }

    function test_a_successor_of_a_superseded_log_goes_on_from_the_named_anchor_only() public {
        ITallyAnchor.Anchor memory raised = next(14);
        raised.epoch = 3;
        signBy(target, raised, AUTHORITY_KEY);
        send(raised);
        supersedeAt(2, 5);
        TallyAnchor.Start[] memory wrong = one(startAt(5, 14));
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NotTheEnd.selector, LOG));
        successor(wrong);
        TallyAnchor later = successor(one(startAt(2, 5)));
        ITallyAnchor.Head memory head = later.headOf(LOG);
        require(head.size == 5 && head.seq == 6 && head.epoch == 3, "seq above all, epoch not below the last");
        // The disowned continuation cannot come back unless it extends the named anchor, and nothing else can.
        ITallyAnchor.Anchor memory a = anchorOf(later, LOG, 1, 5, 9);
        signBy(later, a, NEXT_KEY);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.BadConsistency.selector));
        later.anchor(a);
        a = anchorOf(later, LOG, 0, 5, 9);
        a.epoch = 2;
        signBy(later, a, NEXT_KEY);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.EpochFell.selector, 3, 2));
        later.anchor(a);
    }

    function test_a_successor_does_not_go_on_with_a_log_that_is_still_alive() public {
        TallyAnchor.Start[] memory starts = one(startAt(4, 13));
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NotTheEnd.selector, LOG));
        successor(starts);
    }

    function test_a_successor_takes_nothing_but_the_end_exactly() public {
        retire();
        TallyAnchor.Start[] memory starts = one(startAt(4, 13));
        bytes memory not = abi.encodeWithSelector(TallyAnchor.NotTheEnd.selector, LOG);
        starts[0].root = Reference.root(1, 13);
        vm.expectRevert(not);
        successor(starts);
        starts[0] = startAt(3, 13);
        vm.expectRevert(not);
        successor(starts);
        starts[0] = startAt(4, 12);
        vm.expectRevert(not);
        successor(starts);
        starts[0].logId = NOTE;
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NotTheEnd.selector, NOTE));
        successor(starts);
        starts = one(startAt(4, 13));
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NoPredecessor.selector));
        this.born(ADMIN, DELAY, address(0), starts);
    }

    function test_a_successor_can_take_logs_later_but_each_once_and_never_anew() public {
        TallyAnchor later = successor(new TallyAnchor.Start[](0));
        TallyAnchor.Start memory here = startAt(4, 13);
        TallyAnchor.Start memory there = startAt(5, 13);
        vm.startPrank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.LogExists.selector, LOG));
        later.openLog(LOG, authority, ANCHORER);
        target.retireLog(LOG);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.LogExists.selector, LOG));
        later.openLog(LOG, authority, ANCHORER);
        later.continueLog(here);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.LogExists.selector, LOG));
        later.continueLog(here);
        // Two generations on, the log is still known, and can only go on from its last contract.
        TallyAnchor last = create(ADMIN, DELAY, true, address(later), new TallyAnchor.Start[](0));
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.LogExists.selector, LOG));
        last.openLog(LOG, authority, ANCHORER);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NotTheEnd.selector, LOG));
        last.continueLog(here);
        later.retireLog(LOG);
        last.continueLog(there);
        vm.stopPrank();
        same(last.headOf(LOG).seq, 6, "seq counts through all contracts");
    }

    function test_a_delay_has_a_least_length() public {
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.DelayTooShort.selector, 1 days));
        this.born(ADMIN, 1 days - 1, address(0), new TallyAnchor.Start[](0));
    }

    function test_the_address_depends_on_nothing_but_salt_code_and_arguments() public {
        bytes memory init = abi.encodePacked(
            code(),
            abi.encode(ADMIN, GUARDIAN, DELAY, true, address(0), new TallyAnchor.Start[](0))
        );
        bytes32 salt = keccak256("tally");
        bytes32 expected =
            keccak256(abi.encodePacked(bytes1(0xff), address(this), salt, keccak256(init)));
        address made;
        assembly {
            made := create2(0, add(init, 32), mload(init), salt)
        }
        same(uint160(made), uint160(uint256(expected)), "CREATE2");
        same(uint160(TallyAnchor(made).admin()), uint160(ADMIN), "the deployer has no role");
    }
}
