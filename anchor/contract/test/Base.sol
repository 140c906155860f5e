// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITallyAnchor} from "../src/ITallyAnchor.sol";
import {TallyAnchor} from "../src/TallyAnchor.sol";
import {Reference} from "./Reference.sol";

/// @notice The cheat codes of forge that these tests use.
interface Vm {
    function prank(address sender) external;
    function startPrank(address sender) external;
    function stopPrank() external;
    function warp(uint256 time) external;
    function chainId(uint256 id) external;
    function deal(address account, uint256 wei_) external;
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function addr(uint256 key) external pure returns (address);
    function expectRevert(bytes calldata data) external;
    function expectEmit(address emitter) external;
    function snapshotState() external returns (uint256 id);
    function revertToState(uint256 id) external returns (bool);
    function assume(bool condition) external pure;
    function readFile(string calldata path) external view returns (string memory);
    function parseJsonType(string calldata json, string calldata key, string calldata description)
        external
        pure
        returns (bytes memory);
    function parseJsonTypeArray(string calldata json, string calldata key, string calldata description)
        external
        pure
        returns (bytes memory);
    function parseJsonBytes(string calldata json, string calldata key) external pure returns (bytes memory);
}

/// @notice What all tests share: a contract with one open log, its keys, and anchors of reference trees.
/// @dev Leaf i of tree `seed` is `keccak(seed, i)`: another seed is another history.
abstract contract Base {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    bytes32 internal constant LOG = keccak256("log of events");
    bytes32 internal constant OTHER_LOG = keccak256("log of outcomes");
    bytes32 internal constant NOTE = keccak256("note");
    uint256 internal constant AUTHORITY_KEY = 0xa17;
    uint256 internal constant NEXT_KEY = 0xb28;
    uint64 internal constant DELAY = 2 days;
    uint256 internal constant NOW = 1_750_000_000;

    address internal constant ADMIN = address(0xad);
    address internal constant GUARDIAN = address(0x9d);
    address internal constant ANCHORER = address(0xac);
    address internal constant STRANGER = address(0x57);
    address internal authority;

    TallyAnchor internal target;

    function setUp() public virtual {
        vm.warp(NOW);
        authority = vm.addr(AUTHORITY_KEY);
        target = deploy(true);
        vm.startPrank(ADMIN);
        target.openLog(LOG, authority, ANCHORER);
        target.openLog(OTHER_LOG, authority, ANCHORER);
        vm.stopPrank();
    }

    function deploy(bool requireConsistency) internal returns (TallyAnchor) {
        return create(ADMIN, DELAY, requireConsistency, address(0), new TallyAnchor.Start[](0));
    }

    /// @notice Deploys the committed bytes, not what forge compiled: these tests are about what is put on chains.
    function create(
        address admin,
        uint64 delay,
        bool requireConsistency,
        address predecessor,
        TallyAnchor.Start[] memory starts
    ) internal returns (TallyAnchor made) {
        bytes memory init =
            abi.encodePacked(code(), abi.encode(admin, GUARDIAN, delay, requireConsistency, predecessor, starts));
        assembly ("memory-safe") {
            made := create(0, add(init, 32), mload(init))
            if iszero(made) {
                returndatacopy(init, 0, returndatasize())
                revert(init, returndatasize())
            }
        }
    }

    /// @notice The same as a call, whose revert can be expected.
    function born(address admin, uint64 delay, address predecessor, TallyAnchor.Start[] calldata starts)
        external
        returns (TallyAnchor)
    {
        return create(admin, delay, true, predecessor, starts);
    }

    /// @notice The committed creation code.
    function code() internal view returns (bytes memory) {
        return vm.parseJsonBytes(vm.readFile("artifacts/TallyAnchor.json"), ".bytecode");
    }

    /// @notice A signed anchor of tree `seed` at `size`, with the proof from `from`.
    function anchorOf(TallyAnchor on, bytes32 logId, uint256 seed, uint64 from, uint64 size)
        internal
        view
        returns (ITallyAnchor.Anchor memory a)
    {
        a.logId = logId;
        a.size = size;
        a.root = Reference.root(seed, size);
        a.noteHash = NOTE;
        a.epoch = on.headOf(logId).epoch;
        a.proof = Reference.consistency(seed, from, size);
        signBy(on, a, AUTHORITY_KEY);
    }

    /// @notice The next anchor of the tree with seed 0.
    function next(uint64 size) internal view returns (ITallyAnchor.Anchor memory) {
        return anchorOf(target, LOG, 0, target.headOf(LOG).size, size);
    }

    function signBy(TallyAnchor on, ITallyAnchor.Anchor memory a, uint256 key) internal view {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, on.anchorDigest(a.logId, a.size, a.root, a.noteHash, a.epoch));
        a.r = r;
        a.vs = bytes32(uint256(s) | (uint256(v - 27) << 255));
    }

    function send(ITallyAnchor.Anchor memory a) internal {
        vm.prank(ANCHORER);
        target.anchor(a);
    }

    function grow(uint64 size) internal {
        send(next(size));
    }

    function refuse(ITallyAnchor.Anchor memory a, bytes memory reason) internal {
        vm.prank(ANCHORER);
        vm.expectRevert(reason);
        target.anchor(a);
    }

    function known(uint64 seq, uint64 size) internal view returns (bool) {
        return target.isKnown(LOG, seq, size, Reference.root(0, size));
    }

    function same(uint256 a, uint256 b, string memory what) internal pure {
        require(a == b, what);
    }

    function same(bytes32 a, bytes32 b, string memory what) internal pure {
        require(a == b, what);
    }
}
