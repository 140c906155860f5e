// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITallyAnchor} from "./ITallyAnchor.sol";
import {Rfc6962} from "./Rfc6962.sol";

/// @title TallyAnchor: the chain refuses forks.
/// @notice Keeps the newest checkpoint (size, root) of each log and moves it only to a tree that provably begins with the old
/// one. Whoever holds every key of a log can add to its history here; nobody can change it.
///
/// @dev Invariants, each with a test in `test/`:
///
/// 1. A log's `size` and `seq` strictly increase, its `epoch` never falls; a root at a size never becomes another.
/// 2. With REQUIRE_CONSISTENCY, any two heads of one log, whatever lies between, are joined by valid RFC 6962 consistency proofs.
/// 3. A head moves only in `anchor` and `anchorMany`: by one of the log's anchorers, with a signature of one of the log's
///    authorities over this chain, this contract and this checkpoint, while not paused. ADMIN is neither.
/// 4. No function lowers a size, rewrites a root, deletes a log, or opens one twice; a log that ended never moves again.
/// 5. Views answer the same whether paused or not.
/// 6. `verifyInclusion` accepts exactly the leaves of the trees whose heads are known: the last 256 anchors, one per day kept
///    for ever, and where the log ended.
/// 7. A log goes on in a successor contract only from where it ended here, with `seq` and `epoch` carried on.
///
/// Supersession: when the keys of a log were stolen and it was extended with leaves that are not its own, ADMIN names an earlier
/// anchor; after DELAY the log ends there. The head here stays what it is (nothing is lowered), no anchor is accepted any
/// more, and the anchors after the named one are *disowned*: `isKnown` and the inclusion views say no to them. A successor
/// contract goes on from the named anchor, with a `seq` above all anchors here and an `epoch` not below the last one here.
/// A log can also be *retired* at its head: then nothing is disowned, and no delay is needed.
///
/// Not upgradeable, no proxy, no delegatecall, no ether, no external call but to the precompiles and, for the state of a
/// predecessor, to the address fixed at deployment.
contract TallyAnchor is ITallyAnchor {
    /// @notice Where a log of a predecessor goes on, as the deployer believes it ended there.
    struct Start {
        bytes32 logId;
        uint64 seq;
        uint64 size;
        bytes32 root;
        address authority;
        address anchorer;
    }

    /// @notice An announced supersession.
    /// @param readyAt seconds since 1970 from which on it may be carried out, for GRACE; 0: there is none
    struct Proposal {
        uint64 readyAt;
        uint64 seq;
        uint64 size;
        bytes32 root;
    }

    /// @dev Two slots: all that `anchor` must read of a log but its root fits in the first.
    struct Log {
        uint64 size;
        uint64 seq;
        uint64 blockTime;
        uint32 epoch;
        LogState state;
        bytes32 root;
    }

    /// @dev Where a log ended: written once.
    struct End {
        uint64 seq;
        uint64 size;
        bytes32 root;
    }

    error NotAdmin();
    error NotPendingAdmin();
    error NotAnchorer();
    error NotGuardian();
    error Paused();
    error ZeroAddress();
    error NothingGiven();
    error UnknownLog(bytes32 logId);
    error LogExists(bytes32 logId);
    error LogEnded(bytes32 logId);
    error SizeNotGrowing(uint64 head, uint64 given);
    error EpochFell(uint32 head, uint32 given);
    error BadConsistency();
    error BadAuthority();
    error ProofTooLong(uint256 length);
    error UnknownAnchor(bytes32 logId, uint64 seq);
    error NotEarlier(uint64 head, uint64 given);
    error NoProposal(bytes32 logId);
    error ProposalPending(bytes32 logId);
    error TooEarly(uint64 readyAt);
    error TooLate(uint64 until);
    error DelayTooShort(uint64 least);
    error NoPredecessor();
    error NotTheEnd(bytes32 logId);
    error NoSha256();

    event LogOpened(bytes32 indexed logId);
    event LogContinued(bytes32 indexed logId, uint64 indexed seq, uint64 size, bytes32 root, uint32 epoch, address predecessor);
    event LogRetired(bytes32 indexed logId, uint64 seq, uint64 size, bytes32 root);
    event LogSuperseded(bytes32 indexed logId, uint64 seq, uint64 size, bytes32 root);
    event SupersessionProposed(bytes32 indexed logId, uint64 seq, uint64 size, bytes32 root, uint64 readyAt);
    event SupersessionCancelled(bytes32 indexed logId);
    event AnchorerSet(bytes32 indexed logId, address indexed anchorer, bool active);
    event AuthoritySet(bytes32 indexed logId, address indexed authority, bool active);
    event AdminProposed(address indexed pending);
    event AdminChanged(address indexed previous, address indexed current);
    event GuardianChanged(address indexed previous, address indexed current);
    event PauseChanged(bool paused, address indexed by);

    /// @notice How many recent heads are remembered per log: four hours at one anchor a minute, for proofs on their way.
    uint256 public constant RING = 256;

    /// @notice The longest proof that is looked at.
    uint256 public constant PROOF_MAX = Rfc6962.PROOF_MAX;

    /// @notice The shortest DELAY that can be chosen.
    uint64 public constant DELAY_MIN = 1 days;

    /// @notice How long after DELAY a proposed supersession may be carried out: an old one is no loaded gun.
    uint64 public constant GRACE = 14 days;

    /// @notice The first word of what an authority signs.
    bytes32 public constant ANCHOR_TAG = keccak256("TALLY_ANCHOR_V1");

    /// @notice The first bytes of a leaf in a log of checkpoints.
    bytes14 public constant SHARD_TAG = "TALLY_SHARD_V1";

    /// @dev Half of the order of secp256k1: a signature above it is the other form of one below it.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice Whether an anchor must prove that it extends the head. False is the cheap variant for chains with dear gas:
    /// it takes no proofs, and what it then refuses is only a size that does not grow.
    bool public immutable REQUIRE_CONSISTENCY;

    /// @notice Seconds between a proposed supersession and the first moment it may be carried out.
    uint64 public immutable DELAY;

    /// @notice The contract whose logs go on here, or zero.
    ITallyAnchor public immutable PREDECESSOR;

    /// @notice Opens, retires and supersedes logs, sets the other roles, pauses and unpauses. Never anchors by itself.
    address public admin;

    /// @notice Whether anchoring stands still.
    bool public paused;

    /// @notice Who may become ADMIN by accepting.
    address public pendingAdmin;

    /// @notice Who may pause, and nothing else.
    address public guardian;

    /// @notice Who may send anchors of a log. Several at a time, so that keys can overlap while they rotate.
    mapping(bytes32 logId => mapping(address account => bool)) public isAnchorer;

    /// @notice Whose signature an anchor of a log needs. Several at a time, for the same reason.
    mapping(bytes32 logId => mapping(address account => bool)) public isAuthority;

    /// @notice The announced supersession of a log.
    mapping(bytes32 logId => Proposal) public proposalOf;

    mapping(bytes32 logId => Log) private _logs;
    mapping(bytes32 logId => End) private _ends;

    /// @dev keccak(size, root) of anchor `seq` at `seq % RING`.
    mapping(bytes32 logId => bytes32[RING]) private _ring;

    /// @dev keccak(size, root) of the first anchor of each day (UTC), for ever.
    mapping(bytes32 logId => mapping(uint64 seq => bytes32)) private _kept;

    modifier onlyAdmin() {
        if (msg.sender != admin) revert NotAdmin();
        _;
    }

    /// @param admin_ a multisig behind a timelock, in earnest use
    /// @param guardian_ may pause; zero: nobody but ADMIN may
    /// @param delay of supersession in seconds, at least DELAY_MIN
    /// @param requireConsistency see REQUIRE_CONSISTENCY
    /// @param predecessor whose logs may go on here, or zero
    /// @param starts logs that go on here at once; later ones by `continueLog`
    /// @dev Nothing depends on who deploys, so that CREATE2 gives one address on all chains.
    constructor(
        address admin_,
        address guardian_,
        uint64 delay,
        bool requireConsistency,
        ITallyAnchor predecessor,
        Start[] memory starts
    ) {
        if (admin_ == address(0)) revert ZeroAddress();
        if (delay < DELAY_MIN) revert DelayTooShort(DELAY_MIN);
        // A chain whose precompile answers something else, or nothing, would accept nothing or anything.
        if (sha256("") != Rfc6962.EMPTY_ROOT) revert NoSha256();
        admin = admin_;
        guardian = guardian_;
        DELAY = delay;
        REQUIRE_CONSISTENCY = requireConsistency;
        PREDECESSOR = predecessor;
        emit AdminChanged(address(0), admin_);
        emit GuardianChanged(address(0), guardian_);
        for (uint256 i = 0; i < starts.length; i++) {
            _continueLog(predecessor, starts[i]);
        }
    }

    // ---- anchoring ----

    /// @inheritdoc ITallyAnchor
    function anchor(Anchor calldata a) external {
        if (paused) revert Paused();
        _anchor(a);
    }

    /// @inheritdoc ITallyAnchor
    function anchorMany(Anchor[] calldata many) external {
        if (paused) revert Paused();
        if (many.length == 0) revert NothingGiven();
        for (uint256 i = 0; i < many.length; i++) {
            _anchor(many[i]);
        }
    }

    function _anchor(Anchor calldata a) private {
        Log storage log = _logs[a.logId];
        LogState state = log.state;
        if (state == LogState.Unknown) revert UnknownLog(a.logId);
        if (!isAnchorer[a.logId][msg.sender]) revert NotAnchorer();
        if (state != LogState.Open) revert LogEnded(a.logId);
        (uint64 size, uint64 seq, bytes32 root) = (log.size, log.seq, log.root);
        if (a.size <= size) revert SizeNotGrowing(size, a.size);
        if (a.epoch < log.epoch) revert EpochFell(log.epoch, a.epoch);
        _requireConsistent(size, root, a);
        if (!isAuthority[a.logId][_signerOf(a)]) revert BadAuthority();
        _move(log, a.logId, seq + 1, a.size, a.root, a.epoch);
        emit Anchored(a.logId, seq + 1, a.size, a.root, size, root, a.noteHash, a.epoch);
    }

    /// @dev The first anchor takes no proof, and the cheap variant never takes one: what is not checked is not accepted.
    function _requireConsistent(uint64 size, bytes32 root, Anchor calldata a) private view {
        if (a.proof.length > PROOF_MAX) revert ProofTooLong(a.proof.length);
        if (size == 0 || !REQUIRE_CONSISTENCY) {
            if (a.proof.length != 0) revert BadConsistency();
        } else if (!Rfc6962.extends(size, root, a.size, a.root, a.proof)) {
            revert BadConsistency();
        }
    }

    /// @dev Zero for what is no signature; zero is never an authority.
    function _signerOf(Anchor calldata a) private view returns (address) {
        uint256 s = uint256(a.vs) & (type(uint256).max >> 1);
        if (s > HALF_ORDER) return address(0);
        bytes32 digest = anchorDigest(a.logId, a.size, a.root, a.noteHash, a.epoch);
        return ecrecover(digest, uint8(27 + (uint256(a.vs) >> 255)), a.r, bytes32(s));
    }

    /// @dev The only place where a head is written. The first head of a day is kept for ever, a slot a day.
    function _move(Log storage log, bytes32 logId, uint64 seq, uint64 size, bytes32 root, uint32 epoch) private {
        bytes32 commitment = _commitment(size, root);
        if (block.timestamp / 1 days != log.blockTime / 1 days) _kept[logId][seq] = commitment;
        _ring[logId][seq % RING] = commitment;
        log.size = size;
        log.seq = seq;
        log.blockTime = uint64(block.timestamp);
        log.epoch = epoch;
        log.root = root;
    }

    function _commitment(uint64 size, bytes32 root) private pure returns (bytes32) {
        return keccak256(abi.encode(size, root));
    }

    // ---- reading, paused or not ----

    /// @notice What an authority signs for an anchor: 32 bytes, without a prefix of EIP-191.
    function anchorDigest(bytes32 logId, uint64 size, bytes32 root, bytes32 noteHash, uint32 epoch)
        public
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(ANCHOR_TAG, block.chainid, address(this), logId, size, root, noteHash, epoch));
    }

    /// @inheritdoc ITallyAnchor
    function headOf(bytes32 logId) external view returns (Head memory) {
        Log storage log = _logs[logId];
        return Head(log.size, log.seq, log.blockTime, log.epoch, log.root);
    }

    /// @inheritdoc ITallyAnchor
    function stateOf(bytes32 logId) external view returns (LogState) {
        return _logs[logId].state;
    }

    /// @inheritdoc ITallyAnchor
    function endOf(bytes32 logId) external view returns (uint64 seq, uint64 size, bytes32 root) {
        End storage end = _ends[logId];
        return (end.seq, end.size, end.root);
    }

    /// @inheritdoc ITallyAnchor
    function knowsLog(bytes32 logId) public view returns (bool) {
        if (_logs[logId].state != LogState.Unknown) return true;
        return address(PREDECESSOR) != address(0) && PREDECESSOR.knowsLog(logId);
    }

    /// @inheritdoc ITallyAnchor
    function isKnown(bytes32 logId, uint64 seq, uint64 size, bytes32 root) public view returns (bool) {
        Log storage log = _logs[logId];
        (uint64 newest, LogState state) = (log.seq, log.state);
        if (seq == 0 || seq > newest) return false;
        bytes32 commitment = _commitment(size, root);
        if (state == LogState.Superseded) {
            End storage end = _ends[logId];
            if (seq >= end.seq) return seq == end.seq && commitment == _commitment(end.size, end.root);
        }
        // No commitment is zero, so a slot that was never written matches nothing.
        if (newest - seq < RING && _ring[logId][seq % RING] == commitment) return true;
        return _kept[logId][seq] == commitment;
    }

    /// @inheritdoc ITallyAnchor
    function verifyInclusion(
        bytes32 logId,
        uint64 seq,
        uint64 size,
        bytes32 root,
        bytes32 leafHash,
        uint64 index,
        bytes32[] calldata proof
    ) external view returns (bool) {
        return isKnown(logId, seq, size, root) && Rfc6962.includes(leafHash, index, size, root, proof);
    }

    /// @inheritdoc ITallyAnchor
    function verifyInclusionNested(
        bytes32 logId,
        uint64 seq,
        Place calldata outer,
        bytes32 shardLogId,
        Place calldata inner,
        bytes32 leafHash
    ) external view returns (bool) {
        bytes32 shard = shardLeafHash(shardLogId, inner.size, inner.root);
        return isKnown(logId, seq, outer.size, outer.root)
            && Rfc6962.includes(shard, outer.index, outer.size, outer.root, outer.proof)
            && Rfc6962.includes(leafHash, inner.index, inner.size, inner.root, inner.proof);
    }

    /// @notice The leaf of a log of checkpoints: SHA-256(0x00 | "TALLY_SHARD_V1" | log id of the shard | size, 8 bytes | root).
    function shardLeafHash(bytes32 shardLogId, uint64 size, bytes32 root) public pure returns (bytes32) {
        return Rfc6962.leafHash(abi.encodePacked(SHARD_TAG, shardLogId, size, root));
    }

    /// @notice SHA-256(0x00 | leaf): the hash of a leaf with these bytes.
    function leafHashOf(bytes calldata leaf) external pure returns (bytes32) {
        return Rfc6962.leafHash(leaf);
    }

    /// @notice Whether the tree (newSize, newRoot) begins with the tree (oldSize, oldRoot): the check of `anchor`, for anybody.
    function verifyConsistency(
        uint64 oldSize,
        bytes32 oldRoot,
        uint64 newSize,
        bytes32 newRoot,
        bytes32[] calldata proof
    ) external view returns (bool) {
        return Rfc6962.extends(oldSize, oldRoot, newSize, newRoot, proof);
    }

    // ---- logs, by ADMIN ----

    /// @notice Opens a log that was never anchored, here or in a predecessor.
    function openLog(bytes32 logId, address authority, address anchorer) external onlyAdmin {
        if (knowsLog(logId)) revert LogExists(logId);
        _logs[logId].state = LogState.Open;
        emit LogOpened(logId);
        _setAuthority(logId, authority, true);
        _setAnchorer(logId, anchorer, true);
    }

    /// @notice Goes on with a log of the predecessor where it ended there. The head opens here with that size and root, the
    /// `seq` after the predecessor's last, and its epoch.
    function continueLog(Start calldata start) external onlyAdmin {
        _continueLog(PREDECESSOR, start);
    }

    function _continueLog(ITallyAnchor predecessor, Start memory start) private {
        if (address(predecessor) == address(0)) revert NoPredecessor();
        bytes32 logId = start.logId;
        Log storage log = _logs[logId];
        if (log.state != LogState.Unknown) revert LogExists(logId);
        (uint64 seq, uint64 size, bytes32 root) = predecessor.endOf(logId);
        // While a log goes on there, it may not go on here: two live contracts would be a fork.
        if (seq == 0 || seq != start.seq || size != start.size || root != start.root) revert NotTheEnd(logId);
        Head memory last = predecessor.headOf(logId);
        log.state = LogState.Open;
        _move(log, logId, last.seq + 1, size, root, last.epoch);
        emit LogContinued(logId, last.seq + 1, size, root, last.epoch, address(predecessor));
        _setAuthority(logId, start.authority, true);
        _setAnchorer(logId, start.anchorer, true);
    }

    /// @notice Ends a log at its head, for good: a successor contract may go on from there. Nothing is disowned.
    function retireLog(bytes32 logId) external onlyAdmin {
        Log storage log = _requireOpen(logId);
        if (log.seq == 0) revert UnknownAnchor(logId, 0);
        log.state = LogState.Retired;
        _ends[logId] = End(log.seq, log.size, log.root);
        delete proposalOf[logId];
        emit LogRetired(logId, log.seq, log.size, log.root);
    }

    /// @notice Announces that a log will end at an earlier anchor that is still remembered. Anchoring goes on meanwhile.
    function proposeSupersession(bytes32 logId, uint64 seq, uint64 size, bytes32 root) external onlyAdmin {
        Log storage log = _requireOpen(logId);
        if (proposalOf[logId].readyAt != 0) revert ProposalPending(logId);
        if (seq >= log.seq) revert NotEarlier(log.seq, seq);
        if (!isKnown(logId, seq, size, root)) revert UnknownAnchor(logId, seq);
        uint64 readyAt = uint64(block.timestamp) + DELAY;
        proposalOf[logId] = Proposal(readyAt, seq, size, root);
        emit SupersessionProposed(logId, seq, size, root, readyAt);
    }

    /// @notice Takes an announced supersession back.
    function cancelSupersession(bytes32 logId) external onlyAdmin {
        if (proposalOf[logId].readyAt == 0) revert NoProposal(logId);
        delete proposalOf[logId];
        emit SupersessionCancelled(logId);
    }

    /// @notice Ends a log at the announced anchor, after DELAY and within GRACE. Later anchors are disowned; the head stays.
    function supersede(bytes32 logId) external onlyAdmin {
        Log storage log = _requireOpen(logId);
        Proposal memory proposal = proposalOf[logId];
        if (proposal.readyAt == 0) revert NoProposal(logId);
        if (block.timestamp < proposal.readyAt) revert TooEarly(proposal.readyAt);
        if (block.timestamp > proposal.readyAt + GRACE) revert TooLate(proposal.readyAt + GRACE);
        log.state = LogState.Superseded;
        _ends[logId] = End(proposal.seq, proposal.size, proposal.root);
        delete proposalOf[logId];
        emit LogSuperseded(logId, proposal.seq, proposal.size, proposal.root);
    }

    function _requireOpen(bytes32 logId) private view returns (Log storage log) {
        log = _logs[logId];
        if (log.state == LogState.Unknown) revert UnknownLog(logId);
        if (log.state != LogState.Open) revert LogEnded(logId);
    }

    // ---- roles ----

    /// @notice Lets an account anchor a log, or no longer.
    function setAnchorer(bytes32 logId, address anchorer, bool active) external onlyAdmin {
        if (_logs[logId].state == LogState.Unknown) revert UnknownLog(logId);
        _setAnchorer(logId, anchorer, active);
    }

    /// @notice Lets a key vouch for a log's checkpoints, or no longer.
    function setAuthority(bytes32 logId, address authority, bool active) external onlyAdmin {
        if (_logs[logId].state == LogState.Unknown) revert UnknownLog(logId);
        _setAuthority(logId, authority, active);
    }

    function _setAnchorer(bytes32 logId, address anchorer, bool active) private {
        if (anchorer == address(0)) revert ZeroAddress();
        isAnchorer[logId][anchorer] = active;
        emit AnchorerSet(logId, anchorer, active);
    }

    /// @dev Zero is what ecrecover says of a bad signature: it must never be an authority.
    function _setAuthority(bytes32 logId, address authority, bool active) private {
        if (authority == address(0)) revert ZeroAddress();
        isAuthority[logId][authority] = active;
        emit AuthoritySet(logId, authority, active);
    }

    /// @notice Names the next ADMIN, who must accept; zero takes it back.
    function transferAdmin(address next) external onlyAdmin {
        pendingAdmin = next;
        emit AdminProposed(next);
    }

    /// @notice Becomes ADMIN.
    function acceptAdmin() external {
        if (msg.sender != pendingAdmin) revert NotPendingAdmin();
        emit AdminChanged(admin, msg.sender);
        admin = msg.sender;
        pendingAdmin = address(0);
    }

    /// @notice Names who may pause; zero: nobody but ADMIN.
    function setGuardian(address next) external onlyAdmin {
        emit GuardianChanged(guardian, next);
        guardian = next;
    }

    /// @notice Stops anchoring, and nothing else.
    function pause() external {
        if (msg.sender != guardian && msg.sender != admin) revert NotGuardian();
        paused = true;
        emit PauseChanged(true, msg.sender);
    }

    /// @notice Lets anchoring go on.
    function unpause() external onlyAdmin {
        paused = false;
        emit PauseChanged(false, msg.sender);
    }
}
