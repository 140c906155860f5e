// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITallyAnchor} from "../src/ITallyAnchor.sol";
import {TallyAnchor} from "../src/TallyAnchor.sol";
import {Base, Vm} from "./Base.sol";
import {Reference} from "./Reference.sol";

/// @notice Does everything anybody can do, with every key, in any order, and remembers what was accepted.
/// @dev A history is a seed and a fork: leaf i belongs to seed `seeds[i]`. The handler's own model is the list of leaves that were
/// anchored; a forged history differs from it in one leaf below the head.
contract Handler is Base {
    struct Accepted {
        uint64 seq;
        uint64 size;
        uint32 epoch;
        bytes32 root;
    }

    Accepted[] public accepted;
    uint256 public forgeries;
    uint256 public refused;
    uint256 public pauses;
    uint64 public endSeq;
    bool public ended;

    constructor() {
        setUp();
    }

    function targetContract() external view returns (TallyAnchor) {
        return target;
    }

    function count() external view returns (uint256) {
        return accepted.length;
    }

    function grow(uint8 by, uint8 raise) external {
        ITallyAnchor.Head memory head = target.headOf(LOG);
        if (head.size > 120) return;
        ITallyAnchor.Anchor memory a = anchorOf(target, LOG, 0, head.size, head.size + 1 + by % 12);
        a.epoch = head.epoch + raise % 2;
        signBy(target, a, AUTHORITY_KEY);
        attempt(a);
    }

    /// @dev With the right keys: another history, a proof of other sizes, a changed proof, a smaller or the same size.
    function forge(uint8 how, uint8 by, uint256 pick) external {
        ITallyAnchor.Head memory head = target.headOf(LOG);
        if (head.size < 2 || head.size > 120) return;
        uint64 size = head.size + 1 + by % 12;
        ITallyAnchor.Anchor memory a = anchorOf(target, LOG, 0, head.size, size);
        if (how % 6 == 0) a = anchorOf(target, LOG, 1, head.size, size);
        if (how % 6 == 1) a.root = Reference.root(1 + pick % 3, size);
        if (how % 6 == 2) a = anchorOf(target, LOG, pick % 2, 0, uint64(pick % (head.size + 1)));
        if (how % 6 == 3) a.proof = Reference.append(a.proof, bytes32(pick));
        if (how % 6 == 4) a.proof[pick % a.proof.length] ^= bytes32(uint256(1) << (by % 256));
        if (how % 6 == 5) a.proof = Reference.consistency(0, head.size - 1, size);
        signBy(target, a, AUTHORITY_KEY);
        forgeries++;
        uint256 before = accepted.length;
        attempt(a);
        require(accepted.length == before, "a forgery was accepted");
    }

    function attempt(ITallyAnchor.Anchor memory a) private {
        vm.prank(ANCHORER);
        try target.anchor(a) {
            require(!target.paused() && !ended, "accepted while paused or ended");
            ITallyAnchor.Head memory head = target.headOf(LOG);
            accepted.push(Accepted(head.seq, head.size, head.epoch, head.root));
        } catch {
            refused++;
        }
    }

    /// @dev Whoever is no anchorer: changes no head, whatever is called.
    function intrude(uint8 who, uint8 what, uint64 number, bytes32 word) external {
        address[4] memory callers = [ADMIN, GUARDIAN, STRANGER, authority];
        bytes[9] memory calls = [
            abi.encodeCall(target.anchor, (anchorOf(target, LOG, 0, target.headOf(LOG).size, target.headOf(LOG).size + 1))),
            abi.encodeCall(target.openLog, (LOG, STRANGER, STRANGER)),
            abi.encodeCall(target.setGuardian, (GUARDIAN)),
            abi.encodeCall(target.setAuthority, (LOG, STRANGER, number % 2 == 0)),
            abi.encodeCall(target.continueLog, (TallyAnchor.Start(LOG, number, number, word, STRANGER, STRANGER))),
            abi.encodeCall(target.proposeSupersession, (LOG, number % 8, number, word)),
            abi.encodeCall(target.supersede, (LOG)),
            abi.encodeCall(target.cancelSupersession, (LOG)),
            abi.encodeCall(target.setAnchorer, (OTHER_LOG, STRANGER, true))
        ];
        ITallyAnchor.Head memory head = target.headOf(LOG);
        vm.prank(callers[who % 4]);
        (bool ok,) = address(target).call(calls[what % 9]);
        require(keccak256(abi.encode(head)) == keccak256(abi.encode(target.headOf(LOG))), "the head moved");
        if (ok && what % 9 == 6) ending();
    }

    function pauseOrNot(bool pause) external {
        bytes32 before = views();
        vm.prank(pause ? GUARDIAN : ADMIN);
        pause ? target.pause() : target.unpause();
        require(views() == before, "a view changed with the pause");
        pauses++;
    }

    function wait_(uint16 minutes_) external {
        vm.warp(block.timestamp + uint256(minutes_) * 1 minutes);
    }

    /// @dev Rarely, so that most runs have a long life before it.
    function supersede(uint8 chance, uint256 pick) external {
        if (ended || chance > 24 || accepted.length < 2) return;
        Accepted memory past = accepted[pick % (accepted.length - 1)];
        vm.startPrank(ADMIN);
        (uint64 readyAt,,,) = target.proposalOf(LOG);
        if (readyAt != 0) target.cancelSupersession(LOG);
        target.proposeSupersession(LOG, past.seq, past.size, past.root);
        vm.warp(block.timestamp + DELAY);
        target.supersede(LOG);
        vm.stopPrank();
        ending();
    }

    function retire(uint8 chance) external {
        if (ended || chance > 12 || accepted.length == 0) return;
        vm.prank(ADMIN);
        target.retireLog(LOG);
        ending();
    }

    function ending() private {
        ended = true;
        (endSeq,,) = target.endOf(LOG);
    }

    /// @dev All answers about all that was accepted.
    function views() public view returns (bytes32 digest) {
        digest = keccak256(abi.encode(target.headOf(LOG), target.stateOf(LOG)));
        for (uint256 i = 0; i < accepted.length; i++) {
            Accepted memory one = accepted[i];
            digest = keccak256(abi.encode(digest, target.isKnown(LOG, one.seq, one.size, one.root)));
        }
    }
}

/// @notice The invariants of `TallyAnchor`, after every call of the handler.
contract InvariantsTest is Base {
    Handler internal handler;

    function setUp() public override {
        handler = new Handler();
        target = handler.targetContract();
    }

    /// @dev As forge reads it.
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetContracts() external view returns (address[] memory all) {
        all = new address[](1);
        all[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory all) {
        bytes4[] memory calls = new bytes4[](7);
        calls[0] = Handler.grow.selector;
        calls[1] = Handler.forge.selector;
        calls[2] = Handler.intrude.selector;
        calls[3] = Handler.pauseOrNot.selector;
        calls[4] = Handler.wait_.selector;
        calls[5] = Handler.supersede.selector;
        calls[6] = Handler.retire.selector;
        all = new FuzzSelector[](1);
        all[0] = FuzzSelector(address(handler), calls);
    }

    /// @dev One campaign for all of them: each would be the same calls again.
    function invariant_the_chain_refuses_forks() public view {
        size_and_seq_strictly_increase_and_the_epoch_never_falls();
        every_accepted_root_is_the_one_history_at_its_size();
        accepted_anchors_are_known_until_disowned_and_others_never();
        leaves_of_the_head_are_included_and_no_others();
        an_ended_log_says_so_for_ever();
    }

    function size_and_seq_strictly_increase_and_the_epoch_never_falls() private view {
        (uint64 seq, uint64 size, uint32 epoch) = (0, 0, 0);
        for (uint256 i = 0; i < handler.count(); i++) {
            (uint64 s, uint64 n, uint32 e,) = handler.accepted(i);
            require(s == seq + 1 && n > size && e >= epoch, "order");
            (seq, size, epoch) = (s, n, e);
        }
        ITallyAnchor.Head memory head = target.headOf(LOG);
        require(head.seq == seq && head.size == size && head.epoch == epoch, "the head is the last accepted");
    }

    /// @dev Asked after every call, so that each accepted root is the newest once.
    function every_accepted_root_is_the_one_history_at_its_size() private view {
        if (handler.count() == 0) return;
        (, uint64 size,, bytes32 root) = handler.accepted(handler.count() - 1);
        require(root == Reference.root(0, size), "a fork");
    }

    function accepted_anchors_are_known_until_disowned_and_others_never() private view {
        for (uint256 i = 0; i < handler.count(); i++) {
            (uint64 seq, uint64 size,, bytes32 root) = handler.accepted(i);
            // At most 64 calls a run: nothing leaves the ring.
            bool owned = !handler.ended() || seq <= handler.endSeq();
            require(target.isKnown(LOG, seq, size, root) == owned, "known");
            require(!target.isKnown(LOG, seq, size + 1, root) && !target.isKnown(LOG, seq + 1, size, root), "else");
        }
    }

    function leaves_of_the_head_are_included_and_no_others() private view {
        ITallyAnchor.Head memory head = target.headOf(LOG);
        if (head.size == 0 || (handler.ended() && handler.endSeq() < head.seq)) return;
        uint64 index = head.size / 2;
        bytes32[] memory proof = Reference.inclusion(0, index, head.size);
        bytes32 leaf = Reference.leaf(0, index);
        require(target.verifyInclusion(LOG, head.seq, head.size, head.root, leaf, index, proof), "leaf");
        leaf = Reference.leaf(1, index);
        require(!target.verifyInclusion(LOG, head.seq, head.size, head.root, leaf, index, proof), "other leaf");
    }

    function an_ended_log_says_so_for_ever() private view {
        if (!handler.ended()) return;
        require(uint8(target.stateOf(LOG)) >= uint8(ITallyAnchor.LogState.Retired), "ended");
        (uint64 seq,,) = target.endOf(LOG);
        require(seq == handler.endSeq(), "one end");
    }
}
