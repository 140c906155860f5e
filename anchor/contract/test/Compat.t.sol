// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStateSetAnchor} from "../compat/IStateSetAnchor.sol";
import {StateSetStandIn} from "../compat/StateSetStandIn.sol";
import {Base} from "./Base.sol";

/// @notice The call shape of the reference's contract, and what README says that it lets through.
contract CompatTest is Base {
    IStateSetAnchor internal old;

    function setUp() public override {
        old = new StateSetStandIn(false);
    }

    function record(bytes32 batch, bytes32 root, uint64 start, uint64 end, uint32 count) private {
        old.anchor(batch, keccak256("tenant"), keccak256("store"), root, 0, start, end, count);
    }

    function test_a_batch_is_recorded_once() public {
        record("1", "root", 1, 10, 10);
        require(old.isAnchored("1") && old.verifyEventsRoot("1", "root") && !old.verifyEventsRoot("1", "other"), "read");
        vm.expectRevert(abi.encodeWithSignature("Error(string)", "Already anchored"));
        record("1", "root", 1, 10, 10);
    }

    function test_its_selectors_are_those_of_the_reference() public pure {
        require(
            IStateSetAnchor.anchor.selector
                == bytes4(keccak256("anchor(bytes32,bytes32,bytes32,bytes32,bytes32,uint64,uint64,uint32)")),
            "anchor"
        );
        require(IStateSetAnchor.isAnchored.selector == bytes4(keccak256("isAnchored(bytes32)")), "isAnchored");
    }

    function test_it_lets_forks_gaps_and_wrong_counts_through() public {
        record("1", "root", 1, 10, 10);
        record("2", "another root for the same events", 1, 10, 10);
        record("3", "after a gap", 1_000, 1_010, 3);
        require(old.isAnchored("1") && old.isAnchored("2") && old.isAnchored("3"), "all of it");
    }
}
