// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITallyAnchor} from "../src/ITallyAnchor.sol";
import {TallyAnchor} from "../src/TallyAnchor.sol";
import {Base} from "./Base.sol";
import {Reference} from "./Reference.sol";

/// @notice Who may call what: every function that writes, by every role.
contract RolesTest is Base {
    /// @dev A call and the one role that may make it; `guardianToo` for the only call that has two.
    struct Row {
        bytes call;
        address role;
        bytes4 refusal;
        bool guardianToo;
    }

    address internal constant PENDING = address(0x9e);

    function setUp() public override {
        super.setUp();
        grow(3);
        grow(5);
        grow(8);
        bytes32 root = Reference.root(0, 3);
        vm.startPrank(ADMIN);
        target.transferAdmin(PENDING);
        target.proposeSupersession(LOG, 1, 3, root);
        vm.stopPrank();
        vm.warp(NOW + DELAY);
    }

    function rows() private view returns (Row[] memory all) {
        bytes4 admin = TallyAnchor.NotAdmin.selector;
        all = new Row[](15);
        ITallyAnchor.Anchor[] memory many = new ITallyAnchor.Anchor[](1);
        many[0] = next(9);
        bytes4 anchorer = TallyAnchor.NotAnchorer.selector;
        all[0] = Row(abi.encodeCall(target.anchor, (next(9))), ANCHORER, anchorer, false);
        all[1] = Row(abi.encodeCall(target.anchorMany, (many)), ANCHORER, anchorer, false);
        all[2] = Row(abi.encodeCall(target.openLog, (NOTE, authority, ANCHORER)), ADMIN, admin, false);
        all[3] = Row(abi.encodeCall(target.setAnchorer, (LOG, STRANGER, true)), ADMIN, admin, false);
        all[4] = Row(abi.encodeCall(target.setAuthority, (LOG, STRANGER, true)), ADMIN, admin, false);
        all[5] = Row(abi.encodeCall(target.setGuardian, (STRANGER)), ADMIN, admin, false);
        all[6] = Row(abi.encodeCall(target.transferAdmin, (STRANGER)), ADMIN, admin, false);
        all[7] = Row(abi.encodeCall(target.unpause, ()), ADMIN, admin, false);
        all[8] = Row(abi.encodeCall(target.retireLog, (LOG)), ADMIN, admin, false);
        all[9] = Row(abi.encodeCall(target.cancelSupersession, (LOG)), ADMIN, admin, false);
        all[10] = Row(abi.encodeCall(target.supersede, (LOG)), ADMIN, admin, false);
        all[11] = Row(abi.encodeCall(target.pause, ()), ADMIN, TallyAnchor.NotGuardian.selector, true);
        all[12] = Row(abi.encodeCall(target.acceptAdmin, ()), PENDING, TallyAnchor.NotPendingAdmin.selector, false);
        all[13] = Row(
            abi.encodeCall(target.continueLog, (TallyAnchor.Start(NOTE, 1, 1, NOTE, authority, ANCHORER))),
            address(0), // there is no predecessor, so that not even ADMIN gets through
            admin,
            false
        );
        all[14] = Row(
            abi.encodeCall(target.proposeSupersession, (LOG, 2, 5, Reference.root(0, 5))),
            address(0), // one is pending already
            admin,
            false
        );
    }

    function test_each_call_is_open_to_its_role_and_refused_to_every_other() public {
        address[6] memory callers = [ADMIN, GUARDIAN, ANCHORER, authority, PENDING, STRANGER];
        Row[] memory all = rows();
        uint256 fresh = vm.snapshotState();
        for (uint256 i = 0; i < all.length; i++) {
            for (uint256 j = 0; j < callers.length; j++) {
                require(vm.revertToState(fresh), "fresh");
                Row memory row = all[i];
                bool may = callers[j] == row.role || (row.guardianToo && callers[j] == GUARDIAN);
                vm.prank(callers[j]);
                (bool ok, bytes memory why) = address(target).call(row.call);
                require(ok == may, string.concat("row ", string(abi.encodePacked(uint8(65 + i), uint8(48 + j)))));
                if (!ok && !(callers[j] == ADMIN && row.role == address(0))) {
                    require(bytes4(why) == row.refusal, "refused for the right reason");
                }
            }
        }
    }

    function test_the_matrix_has_every_function_that_writes() public view {
        string memory json = vm.readFile("artifacts/TallyAnchor.json");
        bytes memory kinds = vm.parseJsonTypeArray(json, ".writing", "string");
        same(abi.decode(kinds, (string[])).length, rows().length, "a new function needs a row here");
    }

    function test_admin_changes_hands_only_when_accepted() public {
        same(uint160(target.admin()), uint160(ADMIN), "still");
        vm.prank(PENDING);
        target.acceptAdmin();
        same(uint160(target.admin()), uint160(PENDING), "now");
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NotAdmin.selector));
        target.transferAdmin(ADMIN);
        vm.prank(PENDING);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NotPendingAdmin.selector));
        target.acceptAdmin();
    }

    function test_a_handover_can_be_taken_back() public {
        vm.prank(ADMIN);
        target.transferAdmin(address(0));
        vm.prank(PENDING);
        vm.expectRevert(abi.encodeWithSelector(TallyAnchor.NotPendingAdmin.selector));
        target.acceptAdmin();
    }

    function test_the_zero_address_gets_no_role_that_anybody_could_use() public {
        bytes memory zero = abi.encodeWithSelector(TallyAnchor.ZeroAddress.selector);
        vm.startPrank(ADMIN);
        vm.expectRevert(zero);
        target.setAuthority(LOG, address(0), true);
        vm.expectRevert(zero);
        target.setAnchorer(LOG, address(0), true);
        vm.expectRevert(zero);
        target.openLog(NOTE, address(0), ANCHORER);
        vm.expectRevert(zero);
        target.openLog(NOTE, authority, address(0));
        vm.stopPrank();
        vm.expectRevert(zero);
        this.born(address(0), DELAY, address(0), new TallyAnchor.Start[](0));
    }

    function test_roles_of_an_unknown_log_cannot_be_set() public {
        bytes memory unknown = abi.encodeWithSelector(TallyAnchor.UnknownLog.selector, NOTE);
        vm.startPrank(ADMIN);
        vm.expectRevert(unknown);
        target.setAuthority(NOTE, authority, true);
        vm.expectRevert(unknown);
        target.setAnchorer(NOTE, ANCHORER, true);
        vm.stopPrank();
    }
}
