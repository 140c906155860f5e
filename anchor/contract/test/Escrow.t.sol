// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Escrow} from "../examples/Escrow.sol";
import {ITallyAnchor} from "../src/ITallyAnchor.sol";
import {Base} from "./Base.sol";

/// @notice Another contract acts on an event: the one of the format pages, in a tree of a thousand that Rust made.
contract EscrowTest is Base {
    /// @dev Fields in the order of their names, as forge reads JSON.
    struct Event {
        bytes entry;
        uint64 index;
        bytes32 leaf;
        bytes preimage;
        bytes32[] proof;
        bytes32 root;
        uint64 size;
    }

    address payable private constant SELLER = payable(address(0x5e11e4));
    address private constant BUYER = address(0xb1);
    bytes32 private constant STREAM = bytes32(uint256(1) << 128 | 2);

    Event private event_;
    Escrow private escrow;

    function setUp() public override {
        super.setUp();
        string memory shape =
            "Event(bytes entry,uint64 index,bytes32 leaf,bytes preimage,bytes32[] proof,bytes32 root,uint64 size)";
        string memory json = vm.readFile("test/vectors/event.json");
        event_ = abi.decode(vm.parseJsonType(json, "$", shape), (Event));
        ITallyAnchor.Anchor memory a = next(1);
        (a.size, a.root) = (event_.size, event_.root);
        signBy(target, a, AUTHORITY_KEY);
        send(a);
        escrow = agree(string32("InventoryItem"), string32("WIDGET-001"), string32("Adjusted"));
    }

    function string32(string memory text) private pure returns (bytes memory) {
        return abi.encodePacked(uint32(bytes(text).length), text);
    }

    function agree(bytes memory entityType, bytes memory id, bytes memory eventType) private returns (Escrow) {
        bytes32 key = 0xd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a;
        bytes memory what = abi.encodePacked(entityType, id, eventType);
        vm.deal(BUYER, 1 ether);
        vm.prank(BUYER);
        return new Escrow{value: 1 ether}(target, LOG, SELLER, NOW + 7 days, key, STREAM, what);
    }

    function place() private view returns (ITallyAnchor.Place memory) {
        return ITallyAnchor.Place(event_.index, event_.size, event_.root, event_.proof);
    }

    function test_the_seller_is_paid_once_on_proof_of_the_event() public {
        escrow.release(event_.preimage, event_.entry, 1, place());
        same(SELLER.balance, 1 ether, "paid");
        vm.expectRevert(abi.encodeWithSelector(Escrow.Settled.selector));
        escrow.release(event_.preimage, event_.entry, 1, place());
        vm.warp(NOW + 8 days);
        vm.expectRevert(abi.encodeWithSelector(Escrow.Settled.selector));
        escrow.refund();
    }

    function test_another_event_pays_nobody() public {
        Escrow other = agree(string32("InventoryItem"), string32("WIDGET-002"), string32("Adjusted"));
        vm.expectRevert(abi.encodeWithSelector(Escrow.WrongEvent.selector));
        other.release(event_.preimage, event_.entry, 1, place());
        bytes memory preimage = event_.preimage;
        preimage[90] ^= 0x01;
        vm.expectRevert(abi.encodeWithSelector(Escrow.WrongEvent.selector));
        escrow.release(preimage, event_.entry, 1, place());
        bytes memory entry = event_.entry;
        entry[150] ^= 0x01; // the agent's signature: another leaf
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotAnchored.selector));
        escrow.release(event_.preimage, entry, 1, place());
        entry = event_.entry;
        entry[14] = 0x00; // a genesis entry
        vm.expectRevert(abi.encodeWithSelector(Escrow.WrongLeaf.selector));
        escrow.release(event_.preimage, entry, 1, place());
    }

    function test_an_event_that_is_not_anchored_pays_nobody() public {
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotAnchored.selector));
        escrow.release(event_.preimage, event_.entry, 2, place());
        ITallyAnchor.Place memory elsewhere = place();
        elsewhere.index += 1;
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotAnchored.selector));
        escrow.release(event_.preimage, event_.entry, 1, elsewhere);
    }

    function test_a_pause_of_anchoring_stops_no_payment() public {
        vm.prank(GUARDIAN);
        target.pause();
        escrow.release(event_.preimage, event_.entry, 1, place());
        same(SELLER.balance, 1 ether, "paid");
    }

    function test_the_buyer_gets_back_after_the_deadline_only() public {
        vm.expectRevert(abi.encodeWithSelector(Escrow.TooEarly.selector));
        escrow.refund();
        vm.warp(NOW + 7 days + 1);
        escrow.refund();
        same(BUYER.balance, 1 ether, "back");
    }
}
